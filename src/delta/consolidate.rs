//! Consolidation: the same change with every row at most once and no weight 0; and digests of changes.
//!
//! Rows are hashed a batch at a time, then grouped in one hash table by value ([`Equality::Row`]); what stays is taken
//! out of the batches it came in. O(rows) time, 24 bytes a row of scratch. No order is promised.

use arrow::array::{Int64Array, UInt32Array};
use hashbrown::HashTable;

use super::compare::{Equality, RowsView};
use super::hash::hash_rows;
use super::size::neighbours;
use super::{Delta, take_rows, total_rows};
use crate::error::{Error, Result};

/// Batches smaller than this are put together when a consolidated delta would otherwise be many small ones.
const SMALL: usize = 1024;
/// Rows of a batch put together that way.
const BATCH: usize = 8 * 1024;

/// One distinct row: where it stands and its weight so far.
struct Group {
    hash: u64,
    delta: u32,
    row: u32,
    weight: i64,
}

/// Adds up the weights of equal rows and drops those with weight 0. All deltas have the same columns.
pub fn consolidate(deltas: Vec<Delta>) -> Result<Vec<Delta>> {
    let total = total_rows(&deltas);
    if total == 0 {
        return Ok(Vec::new());
    }
    if total == 1 {
        return Ok(deltas.into_iter().filter(|delta| !delta.is_empty() && delta.weight(0) != 0).collect());
    }
    let views = deltas.iter().map(|d| RowsView::new(d.rows().columns(), Equality::Row)).collect::<Result<Vec<_>>>()?;
    let mut groups: Vec<Group> = Vec::with_capacity(total);
    let mut table: HashTable<u32> = HashTable::with_capacity(total);
    let mut hashes = Vec::new();
    for (number, delta) in deltas.iter().enumerate() {
        hash_rows(delta.rows().columns(), delta.len(), &mut hashes)?;
        for (row, &hash) in hashes.iter().enumerate() {
            let weight = delta.weight(row);
            let same = |&group: &u32| {
                let group = &groups[group as usize];
                group.hash == hash && views[group.delta as usize].equal(group.row as usize, &views[number], row)
            };
            match table.find(hash, same) {
                Some(&group) => {
                    let group = &mut groups[group as usize];
                    group.weight = group.weight.checked_add(weight).ok_or_else(overflow)?;
                }
                None => {
                    let group = groups.len() as u32;
                    groups.push(Group { hash, delta: number as u32, row: row as u32, weight });
                    table.insert_unique(hash, group, |&group| groups[group as usize].hash);
                }
            }
        }
    }
    if groups.len() == total && groups.iter().all(|group| group.weight != 0) {
        drop(views);
        return coalesce(deltas.into_iter().filter(|delta| !delta.is_empty()).collect());
    }
    // Groups stand in the order of their first row: delta by delta.
    let mut out = Vec::new();
    let mut rest = groups.as_slice();
    for (number, delta) in deltas.iter().enumerate() {
        let here = rest.partition_point(|group| group.delta as usize <= number);
        let (mine, others) = rest.split_at(here);
        rest = others;
        let kept = || mine.iter().filter(|group| group.weight != 0);
        let indices = UInt32Array::from_iter_values(kept().map(|group| group.row));
        if indices.is_empty() {
            continue;
        }
        let rows = if indices.len() == delta.len() { delta.rows().clone() } else { take_rows(delta.rows(), &indices)? };
        let all_ones = kept().all(|group| group.weight == 1);
        let weights = (!all_ones).then(|| Int64Array::from_iter_values(kept().map(|group| group.weight)));
        out.push(Delta::from_parts(rows, weights));
    }
    coalesce(out)
}

/// A row occurs more often than can be counted.
pub fn overflow() -> Error {
    Error::internal("the weight of a row overflowed")
}

/// Puts small neighbours together, so that what flows on has few batches.
fn coalesce(deltas: Vec<Delta>) -> Result<Vec<Delta>> {
    if deltas.len() < 2 || total_rows(&deltas) / deltas.len() >= SMALL {
        return Ok(deltas);
    }
    let schema = deltas[0].schema();
    neighbours(&deltas, BATCH).into_iter().map(|run| Delta::concat(&schema, &deltas[run])).collect()
}

/// A number that depends on the change alone, not on order, slicing or how it was batched: the sum over rows of
/// weight times hash, wrapping. The digest of a sum is the sum of digests, so a view's digest is maintained by adding.
pub fn digest(deltas: &[Delta]) -> Result<u64> {
    let mut hashes = Vec::new();
    let mut sum = 0u64;
    for delta in deltas {
        hash_rows(delta.rows().columns(), delta.len(), &mut hashes)?;
        for (row, hash) in hashes.iter().enumerate() {
            sum = sum.wrapping_add(hash.wrapping_mul(delta.weight(row) as u64));
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::delta::text;

    #[test]
    fn equal_rows_add_up_and_zeros_go() {
        let schema = text::schema("a int8, b text, f float8");
        let parse = |lines: &str| text::parse(&schema, lines).unwrap();
        let deltas = vec![
            parse("+1 | 1 | 'a' | 0.0\n +1 | 2 | NULL | NaN\n -3 | 3 | '' | NULL"),
            parse("-1 | 1 | 'a' | 0.0\n +1 | 2 | NULL | NaN\n +1 | 1 | 'a' | -0.0"),
        ];
        let sum = digest(&deltas).unwrap();
        let out = consolidate(deltas).unwrap();
        assert_eq!(text::print(&out).unwrap(), "+1 | 1 | 'a' | -0.0\n+2 | 2 | NULL | NaN\n-3 | 3 | '' | NULL\n");
        assert_eq!(digest(&out).unwrap(), sum);
    }

    #[test]
    fn random_deltas_consolidate_to_their_sums() {
        let schema = text::schema("a int4, b text");
        for seed in 0..50 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut model: HashMap<(i32, String), i64> = HashMap::new();
            let mut deltas = Vec::new();
            for _ in 0..random.random_range(0..5) {
                let mut lines = String::new();
                for _ in 0..random.random_range(0..40) {
                    let (a, b) = (random.random_range(0..4), format!("{}", random.random_range(0..3)));
                    let weight = random.random_range(-2..=2);
                    lines += &format!("{weight:+} | {a} | '{b}'\n");
                    *model.entry((a, b)).or_default() += weight;
                }
                deltas.push(text::parse(&schema, &lines).unwrap());
            }
            let sum = digest(&deltas).unwrap();
            let out = consolidate(deltas).unwrap();
            let mut expected: Vec<String> = model
                .into_iter()
                .filter(|(_, weight)| *weight != 0)
                .map(|((a, b), weight)| format!("{weight:+} | {a} | '{b}'\n"))
                .collect();
            expected.sort_by_key(|line| line.split_once(" | ").map(|(_, row)| row.to_string()));
            assert_eq!(text::print(&out).unwrap(), expected.concat(), "seed {seed}");
            assert_eq!(digest(&out).unwrap(), sum);
            assert_eq!(total_rows(&out), expected.len(), "seed {seed}: a row stands twice");
        }
    }
}
