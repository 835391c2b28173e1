//! An arrangement under churn: 10 M rows, 1 k random updates a step, one key updated a million times, four scanning readers.
//!
//! ```text
//!   cargo bench --bench churn [-- ROWS STEPS READERS SINGLE]        defaults 10000000 2000 4 1000000
//! ```
//!
//! SINGLE is how often one key is updated, once a step. Prints one JSON line a phase: step times in microseconds (median, p99,
//! maximum; the writer thread's CPU time beside them, which other work on the machine does not touch), bytes of state and the
//! process's memory at its peak in the phase, and how often readers read all of it meanwhile. A row is (key int8, version int8,
//! amount float8, name text of about 16 bytes).

#[allow(dead_code)]
mod measure;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use measure::Usage;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use riverrun::delta::Delta;
use riverrun::state::{Arrangement, Deletes, HoldKind, Holds, IndexId, Spec, Version};

const LOAD_STEP: usize = 10_000;
const UPDATES: usize = 1000;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("version", DataType::Int64, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("name", DataType::Utf8, true),
    ]))
}

fn rows(rows: &[(i64, i64)]) -> RecordBatch {
    let key = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
    let version = Int64Array::from_iter_values(rows.iter().map(|row| row.1));
    let amount = Float64Array::from_iter_values(rows.iter().map(|row| (row.0 * 31 + row.1) as f64 / 8.0));
    let name = StringArray::from_iter_values(rows.iter().map(|row| format!("customer {:07}", row.0)));
    let columns: Vec<ArrayRef> = vec![Arc::new(key), Arc::new(version), Arc::new(amount), Arc::new(name)];
    RecordBatch::try_new(schema(), columns).expect("columns of the schema")
}

/// One of each of these rows out, one of those in.
fn update(old: &[(i64, i64)], new: &[(i64, i64)]) -> [Delta; 2] {
    [Delta::deletions(rows(old)), Delta::insertions(rows(new))]
}

/// Elapsed and CPU time of a step.
type Times = (Duration, Duration);

/// CPU time of this thread.
fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every Linux, and `time` is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

struct Bench {
    arrangement: Arc<Arrangement>,
    index: IndexId,
    holds: Holds,
    version: Version,
    /// Version of each key's row.
    versions: Vec<i64>,
}

impl Bench {
    fn step(&mut self, deltas: &[Delta]) -> Times {
        self.version += 1;
        let (start, used) = (Instant::now(), cpu());
        self.arrangement.append(deltas, self.version, self.holds.oldest(self.version - 1)).expect("append");
        self.holds.publish(self.version, self.version);
        (start.elapsed(), cpu() - used)
    }

    fn update_random(&mut self, random: &mut StdRng) -> Times {
        let (mut old, mut new) = (Vec::with_capacity(UPDATES), Vec::with_capacity(UPDATES));
        for _ in 0..UPDATES {
            let key = random.random_range(0..self.versions.len());
            old.push((key as i64, self.versions[key]));
            self.versions[key] += 1;
            new.push((key as i64, self.versions[key]));
        }
        self.step(&update(&old, &new))
    }

    fn report(&self, phase: &str, times: Vec<Times>, extra: &str) {
        let steps = times.len();
        let (mut wall, mut used): (Vec<Duration>, Vec<Duration>) = times.into_iter().unzip();
        wall.sort();
        used.sort();
        let at = |times: &[Duration], part: f64| times[((steps - 1) as f64 * part) as usize].as_micros();
        let (p50, p99, max) = (at(&wall, 0.5), at(&wall, 0.99), at(&wall, 1.0));
        let (cpu50, cpu99, cpu_max) = (at(&used, 0.5), at(&used, 0.99), at(&used, 1.0));
        let arrangement = &self.arrangement;
        let (bytes, stored, chunks) = (arrangement.state_bytes(), arrangement.stored_rows(), arrangement.chunk_count());
        println!(
            "{{\"bench\":\"churn\",\"phase\":\"{phase}\",\"steps\":{steps},\"p50_us\":{p50},\"p99_us\":{p99},\
             \"max_us\":{max},\"cpu_p50_us\":{cpu50},\"cpu_p99_us\":{cpu99},\"cpu_max_us\":{cpu_max},\
             \"live_rows\":{},\"stored_rows\":{stored},\"chunks\":{chunks},\"state_bytes\":{bytes},\
             \"bytes_per_row\":{},\"peak_memory_bytes\":{}{extra}}}",
            self.versions.len(),
            bytes / self.versions.len().max(1),
            Usage::now().peak_bytes,
        );
        Usage::reset_peak();
    }

    /// Looks one key up `times` times.
    fn lookups(&self, random: &mut StdRng, times: usize) -> Duration {
        let start = Instant::now();
        for _ in 0..times {
            let key: ArrayRef = Arc::new(Int64Array::from(vec![random.random_range(0..self.versions.len()) as i64]));
            let mut matches = self.arrangement.probe(self.index, &[key], 1, self.version, false).expect("probe");
            let piece = matches.next(100).expect("a piece").expect("a match");
            assert_eq!(piece.rows.num_rows(), 1);
        }
        start.elapsed()
    }
}

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let argument = |place: usize, default: usize| numbers.get(place).copied().unwrap_or(default);
    let (total, steps, readers) = (argument(0, 10_000_000), argument(1, 2000), argument(2, 4));
    let single = argument(3, 1_000_000);
    for (name, deletes) in [("by_key", Deletes::Key(vec![0])), ("by_row", Deletes::Row)] {
        run(name, deletes, total, steps, readers, single);
    }
}

fn run(name: &str, deletes: Deletes, total: usize, steps: usize, readers: usize, single: usize) {
    let arrangement = Arrangement::new(schema(), Spec::new(deletes)).expect("an arrangement");
    let index = arrangement.add_index(&[0]).expect("an index");
    let mut bench = Bench { arrangement, index, holds: Holds::default(), version: 0, versions: vec![0; total] };
    let mut random = StdRng::seed_from_u64(1);

    let mut times = Vec::new();
    for first in (0..total).step_by(LOAD_STEP) {
        let batch: Vec<(i64, i64)> = (first..total.min(first + LOAD_STEP)).map(|key| (key as i64, 0)).collect();
        times.push(bench.step(&[Delta::insertions(rows(&batch))]));
    }
    let arrow = bench.arrangement.stored_rows() * (3 * 8 + 4 + 16);
    bench.report(&format!("{name}: load {LOAD_STEP} rows a step"), times, &format!(",\"arrow_bytes\":{arrow}"));

    let times = (0..steps).map(|_| bench.update_random(&mut random)).collect();
    bench.report(&format!("{name}: {UPDATES} random updates a step"), times, "");

    // One key: a thousand updates a step, so that most rows die in the step they come in; then one a step, each of
    // which the next one ends.
    let mut times = Vec::new();
    for _ in 0..100 {
        let versions: Vec<(i64, i64)> = (0..=1000).map(|n| (7, bench.versions[7] + n)).collect();
        bench.versions[7] += 1000;
        times.push(bench.step(&update(&versions[..1000], &versions[1..])));
    }
    bench.report(&format!("{name}: one key, 1000 updates a step"), times, "");
    let mut times = Vec::new();
    for _ in 0..single {
        let (old, new) = ((7, bench.versions[7]), (7, bench.versions[7] + 1));
        bench.versions[7] += 1;
        times.push(bench.step(&update(&[old], &[new])));
    }
    let lookup = bench.lookups(&mut random, 10_000).as_nanos() / 10_000;
    bench.report(&format!("{name}: one key, one update a step"), times, &format!(",\"lookup_ns\":{lookup}"));

    // The same with a hold from before: nothing can be reclaimed, and no chain may become slow for it.
    let hold = bench.holds.hold_published(HoldKind::Backfill, "bench");
    let mut times = Vec::new();
    for _ in 0..single / 10 {
        let (old, new) = ((7, bench.versions[7]), (7, bench.versions[7] + 1));
        bench.versions[7] += 1;
        times.push(bench.step(&update(&[old], &[new])));
    }
    bench.report(&format!("{name}: one key, one update a step, held"), times, "");
    drop(hold);

    let (stop, scans) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut times = Vec::new();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..readers {
            let (arrangement, holds, stop, scans) = (bench.arrangement.clone(), bench.holds.clone(), &stop, &scans);
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    let hold = holds.hold_published(HoldKind::Read, "bench");
                    let mut rows = 0;
                    for delta in arrangement.snapshot(hold.version()).expect("a snapshot") {
                        rows += delta.expect("a batch").len();
                    }
                    assert_eq!(rows, total);
                    scans.fetch_add(1, Relaxed);
                }
            });
        }
        for _ in 0..steps {
            times.push(bench.update_random(&mut random));
        }
        stop.store(true, Relaxed);
    });
    let scans = scans.load(Relaxed);
    let rate = scans as f64 * total as f64 / start.elapsed().as_secs_f64() / 1e6;
    let extra = format!(",\"readers\":{readers},\"scans\":{scans},\"scanned_mrows_per_s\":{rate:.0}");
    bench.report(&format!("{name}: {UPDATES} random updates a step, {readers} readers"), times, &extra);
}
