//! The oracle: random programs in which every view must equal the batch answer at every epoch.
//!
//! A program is a few tables and streams, views over them and over each other, and epochs of random writes, alone and in
//! transactions, with 1 to 3 workers and steps of few or many rows. Views come and go between the writes; the engine is
//! stopped and its log replayed by another number of workers. After each step every view's rows are compared with what its
//! query answers when it is run over the tables. A share of the programs is also judged by a real PostgreSQL: view and
//! batch share one binder and one planner, it shares nothing with us.
//!
//! `ORACLE_PROGRAMS` and `ORACLE_SEED` choose how many and where to start, `ORACLE_POSTGRES` how many of a hundred
//! PostgreSQL judges; a failure is shortened and printed with the seed of its program.

mod constructs;
mod correlated;
mod database;
mod differences;
mod expressions;
mod from;
mod generator;
mod grouped;
mod postgres;
mod program;
mod queries;
mod run;
mod schema;
mod shrink;
mod text;
mod writes;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use constructs::CONSTRUCTS;
use database::Database;
use futures::FutureExt;
use postgres::Postgres;
use program::{EPOCHS, Program, Step};
use run::{Done, Failure, Run};

/// Programs that share a data folder, one after the other.
const PROGRAMS_A_FOLDER: u64 = 20;
/// Failing programs after which it is enough.
const FAILURES_SHOWN: usize = 8;
/// Rows of a batch in reads, by the first seed: with few of them a program's rows make several. (Fewer still, and sorting a
/// thousand batches takes all the time.)
const BATCH_ROWS: [usize; 3] = [8192, 64, 16];
/// A construct seen less often than this in a full run was not tested.
const SEEN_AT_LEAST: usize = 50;
/// Programs of a full run.
const FULL: u64 = 800;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// What all programs came to.
#[derive(Default)]
struct Outcome {
    seen: BTreeMap<&'static str, usize>,
    refused: BTreeMap<String, usize>,
    judged: postgres::Verdicts,
    programs: u64,
    /// Milliseconds of the slowest program, and its seed.
    slowest: (u128, u64),
    failures: Vec<String>,
}

#[test]
fn views_equal_the_batch_answer_at_every_epoch() {
    let (programs, first) = (number("ORACLE_PROGRAMS", FULL), number("ORACLE_SEED", 1));
    let share = number("ORACLE_POSTGRES", 12);
    riverrun::query::set_batch_rows(BATCH_ROWS[(first % 3) as usize]);
    let judge = (share > 0).then(Postgres::start);
    let (outcome, next) = (Mutex::new(Outcome::default()), AtomicU64::new(first));
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get().min(2));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
                let runtime = runtime.expect("a runtime");
                loop {
                    let seed = next.fetch_add(PROGRAMS_A_FOLDER, Ordering::Relaxed);
                    let end = (first + programs).min(seed + PROGRAMS_A_FOLDER);
                    if seed >= end || outcome.lock().expect("no panic").failures.len() >= FAILURES_SHOWN {
                        break;
                    }
                    runtime.block_on(folder(seed..end, share, judge.as_ref(), &outcome));
                    println!("{} programs so far", outcome.lock().expect("no panic").programs);
                }
            });
        }
    });
    let outcome = outcome.into_inner().expect("no panic");
    let (slowest, seed) = outcome.slowest;
    println!("{} programs of {EPOCHS} epochs from seed {first}; {}", outcome.programs, outcome.judged);
    println!("the slowest took {slowest} ms: seed {seed}");
    for (construct, times) in &outcome.seen {
        println!("{times:>8} {construct}");
    }
    for (construct, times) in &outcome.refused {
        println!("{times:>8} refused: {construct}");
    }
    let failures = &outcome.failures;
    assert!(failures.is_empty(), "{} programs failed:\n{}", failures.len(), failures.join("\n"));
    // All that the generator makes can be maintained.
    assert!(outcome.refused.is_empty(), "views were refused: {:?}", outcome.refused);
    let unlisted: Vec<_> = outcome.seen.keys().filter(|construct| !CONSTRUCTS.contains(construct)).collect();
    assert!(unlisted.is_empty(), "constructs that constructs.rs does not know: {unlisted:?}");
    if programs >= FULL {
        let times = |construct: &&str| outcome.seen.get(construct).copied().unwrap_or(0);
        let rare: Vec<_> = CONSTRUCTS.iter().filter(|construct| times(construct) < SEEN_AT_LEAST).collect();
        assert!(rare.is_empty(), "seen too rarely to say they were tested: {rare:?}");
        assert!(outcome.judged.enough(programs, share), "PostgreSQL judged too few: {}", outcome.judged);
    }
}

/// Whether PostgreSQL judges the program: spread over the seeds.
fn is_judged(seed: u64, share: u64) -> bool {
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) % 100 < share
}

/// Programs that share an engine.
async fn folder(seeds: std::ops::Range<u64>, share: u64, judge: Option<&Postgres>, outcome: &Mutex<Outcome>) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut workers = 1 + (seeds.start / PROGRAMS_A_FOLDER) as usize % 3;
    let mut step_rows = [65536, 7, 64][(seeds.start / PROGRAMS_A_FOLDER / 3) as usize % 3];
    let mut database = Database::open(folder.path().into(), workers, step_rows).await.expect("opens");
    for seed in seeds {
        let judged = is_judged(seed, share);
        let (began, mut steps) = ((workers, step_rows), Vec::new());
        let start = Instant::now();
        let run = program(&mut database, seed, judge.filter(|_| judged), &mut steps, outcome);
        let failure = match AssertUnwindSafe(run).catch_unwind().await {
            Ok(outcome) => outcome.err(),
            Err(_) => Some(Failure { what: "a panic, see above".to_string(), sort: "panic".to_string() }),
        };
        for step in &steps {
            if let Step::Restart { workers: with, step_rows: of } = step {
                (workers, step_rows) = (*with, *of);
            }
        }
        {
            let mut outcome = outcome.lock().expect("no panic");
            outcome.slowest = outcome.slowest.max((start.elapsed().as_millis(), seed));
        }
        let Some(failure) = failure else { continue };
        println!("{}", failure.what);
        let share = if judged { 100 } else { 0 };
        let (steps, failure) = match failure.sort.starts_with("PostgreSQL") {
            true => (Vec::new(), failure),
            false => shrink::shrink(steps, began.0, began.1, failure).await,
        };
        let script: Vec<String> = steps.iter().map(Step::script).collect();
        let text = format!(
            "ORACLE_SEED={seed} ORACLE_PROGRAMS=1 ORACLE_POSTGRES={share} ({} workers, steps of {} rows)\n{}\n{}\n",
            began.0,
            began.1,
            failure.what,
            script.join("\n")
        );
        println!("{text}");
        outcome.lock().expect("no panic").failures.push(text);
        break;
    }
    database.close().await;
}

/// Runs one program; `steps` is what was done when it ends.
async fn program(
    database: &mut Database,
    seed: u64,
    judge: Option<&Postgres>,
    steps: &mut Vec<Step>,
    outcome: &Mutex<Outcome>,
) -> Result<(), Failure> {
    let mut program = Program::new(seed, judge.is_some());
    // Views and reads join subqueries by the same code; where they are run row by row it is judged by another, but that takes long.
    database.each_row = seed % 6 == 2;
    let mut run = Run::new(database);
    while let Some(step) = program.next() {
        steps.push(step.clone());
        if let Done::Refused(construct) = run.step(&step).await? {
            program.refused();
            *outcome.lock().expect("no panic").refused.entry(construct).or_default() += 1;
        } else if let Step::View { view, .. } = &step {
            let mut outcome = outcome.lock().expect("no panic");
            for tag in &view.tags {
                *outcome.seen.entry(tag).or_default() += 1;
            }
        }
        run.compare().await?;
    }
    let verdicts = match judge {
        Some(judge) => judge.judge(seed, &run).await?,
        None => Default::default(),
    };
    run.clean().await?;
    let mut outcome = outcome.lock().expect("no panic");
    outcome.judged.add(&verdicts);
    outcome.programs += 1;
    for tag in &program.tags {
        *outcome.seen.entry(tag).or_default() += 1;
    }
    Ok(())
}
