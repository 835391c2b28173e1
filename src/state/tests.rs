//! Arrangements against a model that keeps every version as a map from row to weight.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow::array::*;
use arrow::datatypes::SchemaRef;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::delta::{Delta, text};

type Row = (Option<i32>, Option<i32>);
type Model = BTreeMap<Row, i64>;

fn schema() -> SchemaRef {
    text::schema("a int4, b text")
}

fn delta(rows: &[(Row, i64)]) -> Delta {
    let a: Int32Array = rows.iter().map(|((a, _), _)| *a).collect();
    let b: StringArray = rows.iter().map(|((_, b), _)| b.map(|b| b.to_string())).collect();
    let batch = RecordBatch::try_new(schema(), vec![Arc::new(a), Arc::new(b)]).unwrap();
    let weights = rows.iter().any(|(_, w)| *w != 1).then(|| rows.iter().map(|(_, w)| *w).collect());
    Delta::from_parts(batch, weights)
}

fn rows_of(delta: &Delta) -> Vec<(Row, i64)> {
    let a = delta.rows().column(0).as_primitive::<arrow::datatypes::Int32Type>();
    let b = delta.rows().column(1).as_string::<i32>();
    let value = |row: usize| {
        let a = a.is_valid(row).then(|| a.value(row));
        let b = b.is_valid(row).then(|| b.value(row).parse().unwrap());
        ((a, b), delta.weight(row))
    };
    (0..delta.len()).map(value).collect()
}

fn sum(deltas: impl IntoIterator<Item = Delta>) -> Model {
    let mut model = Model::new();
    for delta in deltas {
        assert!(delta.len() <= 8 * 1024 && !delta.is_empty());
        rows_of(&delta).into_iter().for_each(|(row, weight)| *model.entry(row).or_default() += weight);
    }
    model.retain(|_, weight| *weight != 0);
    model
}

fn tiny() -> Limits {
    Limits { chunk_rows: 16, chunk_bytes: 1 << 20, slice_rows: 3, reclaim_rows: 4, window: 150, counts: 4 }
}

struct Case {
    arrangement: Arc<Arrangement>,
    key: IndexId,
    both: IndexId,
    ordered: IndexId,
}

const ORDER: [Order; 2] = [
    Order { column: 0, descending: true, nulls_first: true },
    Order { column: 1, descending: false, nulls_first: false },
];

fn case(deletes: Deletes) -> Case {
    let arrangement = Arrangement::new(schema(), Spec { deletes, limits: tiny() }).unwrap();
    let key = arrangement.add_index(&[0]).unwrap();
    let both = arrangement.add_index(&[1, 0]).unwrap();
    let ordered = arrangement.begin_ordered_index(&ORDER).unwrap();
    while !arrangement.build_index(ordered, usize::MAX).unwrap() {}
    Case { arrangement, key, both, ordered }
}

fn probe_all(case: &Case, version: Version, nulls: bool, limit: usize) -> (Vec<Option<i32>>, Vec<Model>) {
    let keys: Vec<Option<i32>> = (0..8).map(Some).chain([None]).collect();
    let array: ArrayRef = Arc::new(Int32Array::from(keys.clone()));
    let mut found = vec![Model::new(); keys.len()];
    let mut matches = case.arrangement.probe(case.key, &[array], keys.len(), version, nulls).unwrap();
    while let Some(piece) = matches.next(limit).unwrap() {
        assert!(piece.rows.num_rows() <= limit);
        let delta = Delta::from_parts(piece.rows, piece.weights);
        for ((row, weight), key) in rows_of(&delta).into_iter().zip(piece.probes.values()) {
            *found[*key as usize].entry(row).or_default() += weight;
        }
    }
    found.iter_mut().for_each(|model| model.retain(|_, weight| *weight != 0));
    (keys, found)
}

fn check(case: &Case, models: &BTreeMap<Version, Model>, version: Version, random: &mut StdRng) {
    let arrangement = &case.arrangement;
    let model = &models[&version];
    let snapshot = arrangement.snapshot(version).unwrap().map(Result::unwrap);
    assert_eq!(sum(snapshot), *model, "snapshot at {version}");
    assert_eq!(arrangement.row_count(version).unwrap(), model.values().sum::<i64>(), "count at {version}");
    for nulls in [false, true] {
        let (keys, found) = probe_all(case, version, nulls, random.random_range(1..20));
        for (key, found) in keys.iter().zip(&found) {
            let mut wanted = model.clone();
            wanted.retain(|(a, _), _| a == key && (nulls || a.is_some()));
            assert_eq!(*found, wanted, "key {key:?} at {version}, NULLs equal: {nulls}");
        }
        let array: ArrayRef = Arc::new(Int32Array::from(keys.clone()));
        let exists = arrangement.exists(case.key, &[array], keys.len(), version, nulls).unwrap();
        let sums: Vec<i64> = found.iter().map(|found| found.values().sum()).collect();
        assert_eq!(exists, sums.iter().map(|sum| *sum > 0).collect::<Vec<_>>());
    }
    let pairs: Vec<Row> = model.keys().copied().collect();
    let (a, b): (Vec<_>, Vec<_>) = pairs.iter().map(|(a, b)| (*a, b.map(|b| b.to_string()))).unzip();
    let keys: [ArrayRef; 2] = [Arc::new(StringArray::from(b)), Arc::new(Int32Array::from(a))];
    let weights = arrangement.key_weights(case.both, &keys, pairs.len(), version, true).unwrap();
    assert_eq!(weights, model.values().copied().collect::<Vec<_>>());
    check_ranges(case, model, version, random);
}

fn check_ranges(case: &Case, model: &Model, version: Version, random: &mut StdRng) {
    let one = |a: i32| -> ArrayRef { Arc::new(Int32Array::from(vec![a])) };
    let value = random.random_range(0..8);
    let bound = |random: &mut StdRng| match random.random_range(0..3) {
        0 => Bound::Unbounded,
        1 => Bound::Included(random.random_range(0..8)),
        _ => Bound::Excluded(random.random_range(0..8)),
    };
    let (lower, upper) = (bound(random), bound(random));
    let open = matches!((lower, upper), (Bound::Unbounded, Bound::Unbounded));
    let mut range = KeyRange { prefix: vec![], lower: lower.map(one), upper: upper.map(one) };
    let within = |a: Option<i32>| match a {
        None => open,
        Some(a) => std::ops::RangeBounds::contains(&(lower, upper), &a),
    };
    let mut wanted = model.clone();
    if random.random_bool(0.5) {
        wanted.retain(|(a, _), _| within(*a));
    } else {
        range = KeyRange::prefix(vec![one(value)]);
        wanted.retain(|(a, _), _| *a == Some(value));
    }
    let reverse = random.random_bool(0.5);
    let scan = case.arrangement.range(case.ordered, &range, version, reverse).unwrap();
    let deltas: Vec<Delta> = scan.map(Result::unwrap).collect();
    let mut rows: Vec<Row> = deltas.iter().flat_map(rows_of).map(|(row, _)| row).collect();
    assert_eq!(sum(deltas), wanted, "{range:?} at {version}");
    if reverse {
        rows.reverse();
    }
    // Descending, NULLs first; then text ascending, NULLs last.
    let place = |(a, b): &Row| (a.map_or(i32::MIN, |a| -a), b.is_none(), b.map(|b| b.to_string()));
    assert!(rows.is_sorted_by_key(place), "{rows:?}");
    check_several_ranges(case, model, version, random);
}

/// Several keys, and for each the texts between two bounds.
fn check_several_ranges(case: &Case, model: &Model, version: Version, random: &mut StdRng) {
    let mut keys: Vec<i32> = (0..9).collect();
    keys.retain(|_| random.random_bool(0.3));
    let array: ArrayRef = Arc::new(keys.iter().map(|key| Some(*key)).chain([None]).collect::<Int32Array>());
    let (lower, upper) = (random.random_range(0..100).to_string(), random.random_range(0..100).to_string());
    let text = |text: &String| -> ArrayRef { Arc::new(StringArray::from(vec![text.as_str()])) };
    let between = Between { column: 1, lower: Bound::Excluded(text(&lower)), upper: Bound::Included(text(&upper)) };
    let between = random.random_bool(0.7).then_some(between);
    let asked = (&[0usize][..], std::slice::from_ref(&array), keys.len() + 1, between.as_ref(), version);
    let look = || case.arrangement.lookup_between(asked.0, asked.1, asked.2, asked.3, asked.4).unwrap().unwrap();
    let mut wanted = model.clone();
    wanted.retain(|(a, b), _| {
        let within = b.is_some_and(|b| lower < b.to_string() && b.to_string() <= upper);
        a.is_some_and(|a| keys.contains(&a)) && (between.is_none() || within)
    });
    assert_eq!(sum(look().map(Result::unwrap)), wanted, "{keys:?} {between:?} at {version}");
    // Dead entries count too, so that a bound can only be passed too early.
    assert!(look().at_most(usize::MAX).unwrap());
    assert!(wanted.is_empty() || !look().at_most(wanted.len() - 1).unwrap());
    let no_order = case.arrangement.lookup_between(&[1], std::slice::from_ref(&array), 1, None, version).unwrap();
    assert!(no_order.is_none(), "no index begins with the second column");
}

fn difference(new: &Model, old: &Model) -> Model {
    let mut model = new.clone();
    old.iter().for_each(|(row, weight)| *model.entry(*row).or_default() -= weight);
    model.retain(|_, weight| *weight != 0);
    model
}

/// A random step: rows inserted, deleted, inserted and deleted again, deleted before they come.
fn random_step(model: &Model, unique: bool, random: &mut StdRng) -> Vec<(Row, i64)> {
    let mut rows = Vec::new();
    let value = |random: &mut StdRng, to| Some(random.random_range(0..to)).filter(|_| random.random_bool(0.9));
    if unique {
        let mut current = model.clone();
        for _ in 0..random.random_range(0..12) {
            let a = Some(random.random_range(0..8));
            let old: Vec<Row> = current.keys().filter(|row| row.0 == a).copied().collect();
            let new = (a, value(random, 100));
            old.iter().for_each(|row| rows.push((*row, -1)));
            current.retain(|row, _| row.0 != a);
            if random.random_bool(0.8) {
                rows.push((new, 1));
                current.insert(new, 1);
            }
        }
        return rows;
    }
    for _ in 0..random.random_range(0..12) {
        let row = (value(random, 8), value(random, 4));
        match random.random_range(0..10) {
            0..5 => rows.push((row, 1)),
            5 => rows.push((row, random.random_range(1..4))),
            6..9 if !model.is_empty() => {
                let (row, weight) = model.iter().nth(random.random_range(0..model.len())).unwrap();
                rows.push((*row, -weight.signum() * random.random_range(1..=weight.abs())));
            }
            _ => rows.push((row, -1)),
        }
    }
    rows
}

fn run(seed: u64, deletes: Deletes, append_only: bool) {
    let mut random = StdRng::seed_from_u64(seed);
    let unique = matches!(deletes, Deletes::Key(_));
    let mut case_now = case(deletes.clone());
    let mut models = BTreeMap::from([(0, Model::new())]);
    let mut held: Vec<Version> = Vec::new();
    for version in 1..120 {
        let mut model = models[&(version - 1)].clone();
        let mut rows = random_step(&model, unique, &mut random);
        if append_only {
            rows.iter_mut().for_each(|(_, weight)| *weight = 1);
        }
        rows.iter().for_each(|(row, weight)| *model.entry(*row).or_default() += weight);
        model.retain(|_, weight| *weight != 0);
        models.insert(version, model);
        if random.random_bool(0.2) {
            held.push(version - 1);
        }
        if random.random_bool(0.2) && !held.is_empty() {
            held.swap_remove(random.random_range(0..held.len()));
        }
        let oldest = held.iter().copied().min().unwrap_or(version - 1).min(version - 1);
        let cut = random.random_range(0..=rows.len());
        let deltas: Vec<Delta> = [&rows[..cut], &rows[cut..]].into_iter().map(delta).collect();
        case_now.arrangement.append(&deltas, version, oldest).unwrap();
        if random.random_bool(0.1) {
            let bytes = case_now.arrangement.save().unwrap();
            case_now = case(deletes.clone());
            case_now.arrangement.load(&bytes).unwrap();
        }
        if random.random_bool(0.05) {
            case_now.arrangement.remove_index(case_now.key);
            case_now.key = case_now.arrangement.begin_index(&[0]).unwrap();
            while !case_now.arrangement.build_index(case_now.key, 7).unwrap() {}
            held.retain(|held| *held >= version);
            check(&case_now, &models, version, &mut random);
            models = models.split_off(&version);
            continue;
        }
        models = models.split_off(&oldest);
        let some = *models.keys().nth(random.random_range(0..models.len())).unwrap();
        for version in held.iter().copied().chain([version - 1, version, some]) {
            if models.contains_key(&version) {
                check(&case_now, &models, version, &mut random);
            }
        }
        let changes = case_now.arrangement.changes(some, version).unwrap().map(Result::unwrap);
        assert_eq!(sum(changes), difference(&models[&version], &models[&some]), "{some} to {version}");
        if random.random_bool(0.05) {
            let last = models[&version].clone();
            case_now.arrangement.rebase(version).unwrap();
            held.clear();
            models = BTreeMap::from([(version, last)]);
            check(&case_now, &models, version, &mut random);
        }
    }
}

#[test]
fn every_version_held_reads_as_the_model_has_it() {
    for seed in 0..6 {
        run(seed, Deletes::Row, false);
        run(seed, Deletes::None, false);
        run(seed, Deletes::None, true);
        run(seed, Deletes::Key(vec![0]), false);
    }
}

#[test]
fn what_nobody_can_see_is_given_back() {
    let case = case(Deletes::Row);
    let arrangement = &case.arrangement;
    let row = |version: u64| (Some(1), Some(version as i32));
    arrangement.append(&[delta(&[(row(0), 1)])], 1, 0).unwrap();
    for version in 2..5000 {
        let rows = [(row(version - 2), -1), (row(version - 1), 1)];
        arrangement.append(&[delta(&rows)], version, version - 1).unwrap();
    }
    assert!(arrangement.stored_rows() < 64, "{} rows", arrangement.stored_rows());
    assert!(arrangement.state_bytes() < 64 * 1024, "{} bytes", arrangement.state_bytes());
    // A hold keeps all of it; letting go gives it back in bounded pieces.
    for version in 5000..6000 {
        let rows = [(row(version - 2), -1), (row(version - 1), 1)];
        arrangement.append(&[delta(&rows)], version, 4999).unwrap();
    }
    assert!(arrangement.stored_rows() >= 1000);
    assert_eq!(sum(arrangement.snapshot(5500).unwrap().map(Result::unwrap)), Model::from([(row(5499), 1)]));
    for version in 6000..6600 {
        arrangement.append(&[], version, version - 1).unwrap();
    }
    assert!(arrangement.stored_rows() < 64, "{} rows", arrangement.stored_rows());
    assert_eq!(sum(arrangement.snapshot(6599).unwrap().map(Result::unwrap)), Model::from([(row(5998), 1)]));
    assert!(arrangement.snapshot(5500).is_err(), "a version that is gone is refused");
}

/// Wants the chunks whose first column goes above a number.
struct Above(i32);

impl ChunkFilter for Above {
    fn may_hold(&self, chunks: &Chunks<'_>) -> crate::error::Result<Vec<bool>> {
        assert_eq!(chunks.count(), chunks.rows().count());
        let above = |bounds: Option<&Bounds>| {
            let (least, greatest) = bounds.expect("integers are ordered").range.clone()?;
            let value = |end: &ArrayRef| end.as_primitive::<arrow::datatypes::Int32Type>().value(0);
            assert!(value(&least) <= value(&greatest));
            Some(value(&greatest) > self.0)
        };
        Ok(chunks.bounds(0).map(|bounds| above(bounds).unwrap_or(false)).collect())
    }
}

#[test]
fn a_scan_leaves_out_chunks_in_which_it_would_find_nothing() {
    let case = case(Deletes::None);
    for version in 1..=20 {
        let value = |row: i32| if version == 7 { None } else { Some(version as i32 * 100 + row) };
        let rows: Vec<(Row, i64)> = (0..16).map(|row| ((value(row), None), 1)).collect();
        case.arrangement.append(&[delta(&rows)], version, version - 1).unwrap();
    }
    let all = sum(case.arrangement.snapshot(20).unwrap().map(Result::unwrap));
    let some = sum(case.arrangement.snapshot_of(20, &Above(1510)).unwrap().map(Result::unwrap));
    let wanted = |rows: &Model| rows.keys().filter(|(a, _)| a.is_some_and(|a| a > 1510)).count();
    assert_eq!((wanted(&some), wanted(&all)), (85, 85));
    assert!(some.len() < 160, "{} of {} rows", some.len(), all.len());
    assert!(sum(case.arrangement.snapshot_of(20, &Above(9999)).unwrap().map(Result::unwrap)).is_empty());
}

/// A writer moves one unit between accounts in every step; readers must always see the same total, by scan and by key.
#[test]
fn readers_in_threads_see_whole_versions() {
    let spec = Spec { deletes: Deletes::Key(vec![0]), limits: tiny() };
    let arrangement = Arrangement::new(schema(), spec).unwrap();
    let holds = Holds::default();
    let mut balances = [100i32; 20];
    let rows: Vec<(Row, i64)> = (0..20).map(|a| ((Some(a), Some(100)), 1)).collect();
    arrangement.append(&[delta(&rows)], 1, 0).unwrap();
    holds.publish(1, 1);
    let (stop, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (arrangement, holds, stop, reads) = (&arrangement, &holds, &stop, &reads);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let hold = holds.hold_published(HoldKind::Read, "test");
                    let deltas: Vec<Delta> = if reader == 0 {
                        arrangement.snapshot(hold.version()).unwrap().map(Result::unwrap).collect()
                    } else {
                        let keys: ArrayRef = Arc::new(Int32Array::from_iter_values(0..20));
                        let mut matches = arrangement.lookup(&[0], &[keys], 20, hold.version()).unwrap().unwrap();
                        let mut deltas = Vec::new();
                        while let Some(piece) = matches.next(7).unwrap() {
                            deltas.push(Delta::from_parts(piece.rows, piece.weights));
                        }
                        deltas
                    };
                    let rows: Vec<(Row, i64)> = deltas.iter().flat_map(rows_of).collect();
                    assert_eq!(rows.len(), 20, "at {}", hold.version());
                    assert_eq!(rows.iter().map(|((_, b), _)| b.unwrap()).sum::<i32>(), 2000);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut random = StdRng::seed_from_u64(1);
        let mut version = 1;
        while version < 3000 || (reads.load(Ordering::Relaxed) < 300 && version < 1_000_000) {
            version += 1;
            let (from, to) = (random.random_range(0..20usize), random.random_range(0..19usize));
            let to = if to >= from { to + 1 } else { to };
            let row = |account: usize, balance: i32| (Some(account as i32), Some(balance));
            let rows = [
                (row(from, balances[from]), -1),
                (row(to, balances[to]), -1),
                (row(from, balances[from] - 1), 1),
                (row(to, balances[to] + 1), 1),
            ];
            (balances[from], balances[to]) = (balances[from] - 1, balances[to] + 1);
            arrangement.append(&[delta(&rows)], version, holds.oldest(version - 1)).unwrap();
            holds.publish(version, version);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(reads.load(Ordering::Relaxed) >= 300);
}

/// An index leads to no row that died before it was there: versions that see such rows are not read by it.
#[test]
fn an_index_made_later_is_not_for_older_versions() {
    let case = case(Deletes::Row);
    let arrangement = &case.arrangement;
    arrangement.append(&[delta(&[((Some(1), Some(1)), 1), ((Some(2), Some(7)), 1)])], 1, 0).unwrap();
    arrangement.append(&[delta(&[((Some(1), Some(1)), -1)])], 2, 1).unwrap();
    let index = arrangement.add_index(&[1]).unwrap();
    let found = |version: Version| -> Option<usize> {
        let keys: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
        let mut matches = arrangement.lookup(&[1], &[keys], 1, version).unwrap()?;
        let mut rows = 0;
        while let Some(piece) = matches.next(7).unwrap() {
            rows += piece.rows.num_rows();
        }
        Some(rows)
    };
    assert_eq!((found(1), found(2)), (None, Some(0)));
    // Another use of it changes nothing; and what dies from now on is found.
    assert_eq!(arrangement.add_index(&[1]).unwrap(), index);
    arrangement.append(&[delta(&[((Some(3), Some(1)), 1)])], 3, 1).unwrap();
    arrangement.append(&[delta(&[((Some(3), Some(1)), -1)])], 4, 1).unwrap();
    assert_eq!((found(2), found(3), found(4)), (Some(0), Some(1), Some(0)));
}

#[test]
fn chunks_of_wide_rows_are_few_rows() {
    let arrangement = Arrangement::new(schema(), Spec { deletes: Deletes::Row, limits: Limits::default() }).unwrap();
    let wide = |first: i32| {
        let numbers: Int32Array = (first..first + 50).map(Some).collect();
        let texts = StringArray::from(vec!["x".repeat(1 << 20); 50]);
        Delta::insertions(RecordBatch::try_new(schema(), vec![Arc::new(numbers), Arc::new(texts)]).unwrap())
    };
    let sizes = |arrangement: &Arrangement| -> Vec<(usize, usize)> {
        arrangement.arena().chunks.iter().map(|chunk| (chunk.len(), chunk.bytes())).collect()
    };
    arrangement.append(&[wide(0), wide(50)], 1, 0).unwrap();
    assert_eq!(sizes(&arrangement).iter().map(|(rows, _)| rows).sum::<usize>(), 100);
    assert!(sizes(&arrangement).iter().all(|(_, bytes)| *bytes < 40 << 20), "{:?}", sizes(&arrangement));
    // More than half of the first chunk dies: it is written anew, and with its neighbours it would be too large.
    let before = sizes(&arrangement).len();
    arrangement.append(&[Delta::deletions(wide(0).rows().slice(0, 16))], 2, 1).unwrap();
    arrangement.append(&[], 3, 3).unwrap();
    let after = sizes(&arrangement);
    assert_eq!((after.len(), after.iter().map(|(rows, _)| rows).sum::<usize>()), (before, 84), "{after:?}");
    assert!(after.iter().all(|(_, bytes)| *bytes < 40 << 20), "{after:?}");
}
