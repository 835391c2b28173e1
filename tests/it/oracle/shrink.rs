//! Makes a failing program short: leaves out what the failure does not need.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt;

use super::database::Database;
use super::program::Step;
use super::run::{Failure, Run};

/// Long enough for most; what is left then is shown.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the steps on a new engine, comparing after each. Steps that lack something are passed over: what they needed was
/// left out.
async fn replay(steps: &[Step], workers: usize, step_rows: usize, sort: &str) -> Option<Failure> {
    let folder = tempfile::tempdir().ok()?;
    let mut database = Database::open(folder.path().into(), workers, step_rows).await.ok()?;
    let mut run = Run::new(&mut database);
    let mut found = None;
    for step in steps {
        let outcome = AssertUnwindSafe(async {
            run.step(step).await?;
            run.compare().await
        });
        let panic = |_| Err(Failure { what: "a panic, see above".to_string(), sort: "panic".to_string() });
        let outcome = outcome.catch_unwind().await.unwrap_or_else(panic);
        if let Err(failure) = outcome
            && failure.sort == sort
        {
            found = Some(failure);
            break;
        }
    }
    database.close().await;
    found
}

/// The shortest list found that still fails in the same way, and how.
pub async fn shrink(steps: Vec<Step>, workers: usize, step_rows: usize, failure: Failure) -> (Vec<Step>, Failure) {
    let end = Instant::now() + PATIENCE;
    let Some(mut failure) = replay(&steps, workers, step_rows, &failure.sort).await else {
        let what = format!("(not again when replayed alone)\n{}", failure.what);
        return (steps, Failure { what, ..failure });
    };
    let mut steps = steps;
    let mut length = steps.len().div_ceil(2);
    loop {
        let mut at = 0;
        while at < steps.len() && Instant::now() < end {
            let fewer: Vec<Step> = [&steps[..at], &steps[(at + length).min(steps.len())..]].concat();
            match replay(&fewer, workers, step_rows, &failure.sort).await {
                Some(again) => (steps, failure) = (fewer, again),
                None => at += length,
            }
        }
        if length == 1 || Instant::now() >= end {
            return (steps, failure);
        }
        length = length.div_ceil(2);
    }
}
