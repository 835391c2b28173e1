//! What the engine knows of itself at run time: failed expressions, dead letters, progress, where sources stand and what waits of them.
//!
//! Written by the epoch thread and the fillers, read by the system relations and the metrics. Everything is bounded, but for 16 bytes
//! for each different failure of an expression.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::error::SqlState;
use crate::ingest::{DeadLetter, QueueBytes, Statuses};
use crate::operators::RowError;
use crate::types::RelationId;

/// Different failures told a view.
const ERRORS_A_VIEW: usize = 1000;

pub struct Facts {
    errors: Mutex<HashMap<RelationId, ViewErrors>>,
    dead: Mutex<DeadLetters>,
    /// Bytes of dead letters kept for all streams together.
    dead_letter_retention: usize,
    statuses: Mutex<HashMap<RelationId, Statuses>>,
    queues: Mutex<HashMap<RelationId, QueueBytes>>,
    ddl: Mutex<BTreeMap<u64, Arc<DdlProgress>>>,
    next_ddl: AtomicU64,
}

/// Failures of one view. How many rows fail in each way is counted for all of them, by the hash of the way, so that what fails no more
/// is taken away from what it was added to; words are kept for the first [`ERRORS_A_VIEW`] of them only.
#[derive(Default)]
struct ViewErrors {
    counts: HashMap<u64, i64>,
    told: BTreeMap<(&'static str, String), Told>,
}

struct Told {
    way: u64,
    sample: String,
}

impl ViewErrors {
    fn add(&mut self, error: &RowError) {
        let way = way(error);
        let count = self.counts.entry(way).or_default();
        *count += error.weight;
        let key = (error.state.0, error.message.clone());
        if *count == 0 {
            self.counts.remove(&way);
            self.told.remove(&key);
        } else if self.told.len() < ERRORS_A_VIEW {
            self.told.entry(key).or_insert_with(|| Told { way, sample: error.sample.clone() });
        }
    }

    fn list(&self, view: RelationId) -> Vec<ExpressionErrors> {
        let told = self.told.iter().map(|((state, message), told)| ExpressionErrors {
            view,
            state: SqlState(state),
            message: message.clone(),
            count: self.counts.get(&told.way).copied().unwrap_or_default(),
            sample: told.sample.clone(),
        });
        let mut list: Vec<ExpressionErrors> = told.collect();
        let rest = self.counts.values().sum::<i64>() - list.iter().map(|error| error.count).sum::<i64>();
        if rest != 0 {
            list.push(ExpressionErrors {
                view,
                state: SqlState::INTERNAL_ERROR,
                message: "other failures, too many different ones to be told apart".to_string(),
                count: rest,
                sample: String::new(),
            });
        }
        list
    }
}

fn way(error: &RowError) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    hasher.update(error.state.0.as_bytes());
    hasher.update(error.message.as_bytes());
    hasher.digest()
}

/// Failed expressions of a view.
#[derive(Clone, Debug)]
pub struct ExpressionErrors {
    pub view: RelationId,
    pub state: SqlState,
    pub message: String,
    pub count: i64,
    pub sample: String,
}

#[derive(Default)]
struct DeadLetters {
    letters: VecDeque<(RelationId, DeadLetter)>,
    bytes: usize,
    total: HashMap<RelationId, u64>,
}

/// What DDL does that takes its time; `rr_ddl_progress.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DdlWork {
    /// A materialized view.
    Filling,
    /// An index.
    Building,
}

impl DdlWork {
    pub fn name(self) -> &'static str {
        match self {
            DdlWork::Filling => "filling",
            DdlWork::Building => "building",
        }
    }
}

/// A view or an index on its way.
pub struct DdlProgress {
    pub pid: i32,
    pub work: DdlWork,
    pub object: String,
    pub rows_done: AtomicU64,
    /// Rows there were when it began; what comes meanwhile is done beside.
    pub rows_total: Option<u64>,
}

impl Facts {
    /// Keeps the newest dead letters, as many as have so many bytes.
    pub fn new(dead_letter_retention: usize) -> Facts {
        Facts {
            errors: Mutex::default(),
            dead: Mutex::default(),
            dead_letter_retention,
            statuses: Mutex::default(),
            queues: Mutex::default(),
            ddl: Mutex::default(),
            next_ddl: AtomicU64::default(),
        }
    }

    pub fn record_error(&self, view: RelationId, error: &RowError) {
        self.errors.lock().entry(view).or_default().add(error);
    }

    /// All failures there are now.
    pub fn errors(&self) -> Vec<ExpressionErrors> {
        let errors = self.errors.lock();
        errors.iter().flat_map(|(view, errors)| errors.list(*view)).collect()
    }

    /// Failures of one view: a reader of it gets a NOTICE while there are any.
    pub fn errors_of(&self, view: RelationId) -> i64 {
        self.errors.lock().get(&view).map_or(0, |errors| errors.counts.values().sum())
    }

    pub fn record_dead_letters(&self, stream: RelationId, letters: Vec<DeadLetter>) {
        if letters.is_empty() {
            return;
        }
        let mut dead = self.dead.lock();
        *dead.total.entry(stream).or_default() += letters.len() as u64;
        for letter in letters {
            dead.bytes += letter.bytes();
            dead.letters.push_back((stream, letter));
        }
        while dead.bytes > self.dead_letter_retention
            && let Some((_, oldest)) = dead.letters.pop_front()
        {
            dead.bytes -= oldest.bytes();
        }
    }

    /// The dead letters that are kept, oldest first.
    pub fn dead_letters(&self) -> Vec<(RelationId, DeadLetter)> {
        self.dead.lock().letters.iter().cloned().collect()
    }

    /// Bytes of the dead letters that are kept.
    pub fn dead_letter_bytes(&self) -> usize {
        self.dead.lock().bytes
    }

    /// How many there ever were, by stream.
    pub fn dead_letter_counts(&self) -> Vec<(RelationId, u64)> {
        self.dead.lock().total.iter().map(|(stream, count)| (*stream, *count)).collect()
    }

    /// Where a stream's reader tells how it is.
    pub fn statuses(&self, stream: RelationId) -> Statuses {
        self.statuses.lock().entry(stream).or_default().clone()
    }

    pub fn all_statuses(&self) -> Vec<(RelationId, Statuses)> {
        self.statuses.lock().iter().map(|(stream, statuses)| (*stream, statuses.clone())).collect()
    }

    /// Where a stream's reader and queue count what waits between them and the engine.
    pub fn queue_bytes(&self, stream: RelationId) -> QueueBytes {
        self.queues.lock().entry(stream).or_default().clone()
    }

    pub fn all_queue_bytes(&self) -> Vec<(RelationId, QueueBytes)> {
        self.queues.lock().iter().map(|(stream, bytes)| (*stream, bytes.clone())).collect()
    }

    pub fn begin_ddl(
        &self,
        pid: i32,
        work: DdlWork,
        object: String,
        rows_total: Option<u64>,
    ) -> (u64, Arc<DdlProgress>) {
        let progress = Arc::new(DdlProgress { pid, work, object, rows_done: AtomicU64::new(0), rows_total });
        let number = self.next_ddl.fetch_add(1, Ordering::Relaxed);
        self.ddl.lock().insert(number, progress.clone());
        (number, progress)
    }

    pub fn end_ddl(&self, number: u64) {
        self.ddl.lock().remove(&number);
    }

    pub fn ddl(&self) -> Vec<Arc<DdlProgress>> {
        self.ddl.lock().values().cloned().collect()
    }

    pub fn forget(&self, relation: RelationId) {
        self.errors.lock().remove(&relation);
        self.statuses.lock().remove(&relation);
        self.queues.lock().remove(&relation);
        let mut dead = self.dead.lock();
        dead.total.remove(&relation);
        dead.letters.retain(|(stream, _)| *stream != relation);
        dead.bytes = dead.letters.iter().map(|(_, letter)| letter.bytes()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_beyond_the_bound_are_counted_too() {
        let (facts, view) = (Facts::new(0), RelationId(1));
        let record = |number: usize, weight: i64| {
            let message = format!("failure {number}");
            let state = SqlState::DIVISION_BY_ZERO;
            facts.record_error(view, &RowError { state, message, sample: "(1)".into(), weight });
        };
        let all = 3 * ERRORS_A_VIEW;
        (0..all).for_each(|number| record(number, 2));
        assert_eq!(facts.errors_of(view), 2 * all as i64);
        let listed = facts.errors();
        assert_eq!(listed.len(), ERRORS_A_VIEW + 1);
        assert_eq!(listed.iter().map(|error| error.count).sum::<i64>(), 2 * all as i64);
        // The ones that are told go first, then the others; no count is ever less than there is.
        for number in 0..all {
            record(number, -2);
            if number % 100 == 0 {
                assert!(facts.errors().iter().all(|error| error.count > 0));
                assert_eq!(facts.errors_of(view), 2 * (all - number - 1) as i64);
            }
        }
        assert_eq!((facts.errors().len(), facts.errors_of(view)), (0, 0));
    }

    #[test]
    fn the_newest_dead_letters_are_kept_and_their_bytes_counted() {
        let letter = |offset: i64| {
            let (key, value, reason) = (None, Some(vec![0; 1000]), "no JSON".to_string());
            DeadLetter { partition: 0, offset, key, value, reason, at: None }
        };
        let size = letter(0).bytes();
        let (facts, one, two) = (Facts::new(5 * size), RelationId(1), RelationId(2));
        facts.record_dead_letters(one, (0..4).map(letter).collect());
        assert_eq!(facts.dead_letter_bytes(), 4 * size);
        facts.record_dead_letters(two, (4..8).map(letter).collect());
        let kept: Vec<i64> = facts.dead_letters().iter().map(|(_, letter)| letter.offset).collect();
        assert_eq!((kept, facts.dead_letter_bytes()), (vec![3, 4, 5, 6, 7], 5 * size));
        facts.forget(two);
        assert_eq!((facts.dead_letters().len(), facts.dead_letter_bytes()), (1, size));
        assert_eq!(facts.dead_letter_counts(), [(one, 4)]);
        // Nothing is kept, and all are counted.
        let none = Facts::new(0);
        none.record_dead_letters(one, (0..4).map(letter).collect());
        assert_eq!((none.dead_letters().len(), none.dead_letter_bytes()), (0, 0));
        assert_eq!(none.dead_letter_counts(), [(one, 4)]);
    }
}
