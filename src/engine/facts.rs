//! What the engine knows of itself at run time: failed expressions, dead letters, progress, where sources stand.
//!
//! Written by the epoch thread and the fillers, read by the system relations and the metrics. Everything is bounded.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::error::SqlState;
use crate::ingest::{DeadLetter, Statuses};
use crate::operators::RowError;
use crate::types::RelationId;

/// Bytes of dead letters kept for all streams together.
const DEAD_LETTER_BYTES: usize = 64 << 20;
/// Different failures kept a view.
const ERRORS_A_VIEW: usize = 1000;

#[derive(Default)]
pub struct Facts {
    errors: Mutex<HashMap<RelationId, BTreeMap<(&'static str, String), ErrorCount>>>,
    dead: Mutex<DeadLetters>,
    statuses: Mutex<HashMap<RelationId, Statuses>>,
    fills: Mutex<BTreeMap<u64, Arc<FillProgress>>>,
    next_fill: AtomicU64,
}

/// How many rows of a view fail in one way, and one of them.
#[derive(Clone, Debug)]
pub struct ErrorCount {
    pub count: i64,
    pub sample: String,
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

/// A view on its way.
pub struct FillProgress {
    pub pid: i32,
    pub object: String,
    pub rows_done: AtomicU64,
    pub rows_total: Option<u64>,
}

impl Facts {
    pub fn record_error(&self, view: RelationId, error: &RowError) {
        let mut errors = self.errors.lock();
        let of_view = errors.entry(view).or_default();
        let key = (error.state.0, error.message.clone());
        if of_view.len() >= ERRORS_A_VIEW && !of_view.contains_key(&key) {
            return;
        }
        let entry = of_view.entry(key.clone()).or_insert_with(|| ErrorCount { count: 0, sample: error.sample.clone() });
        entry.count += error.weight;
        if entry.count == 0 {
            of_view.remove(&key);
        }
    }

    /// All failures there are now.
    pub fn errors(&self) -> Vec<ExpressionErrors> {
        let errors = self.errors.lock();
        let all = errors.iter().flat_map(|(view, errors)| errors.iter().map(|(key, count)| (*view, key, count)));
        all.map(|(view, (state, message), count)| ExpressionErrors {
            view,
            state: SqlState(state),
            message: message.clone(),
            count: count.count,
            sample: count.sample.clone(),
        })
        .collect()
    }

    /// Failures of one view: a reader of it gets a NOTICE while there are any.
    pub fn errors_of(&self, view: RelationId) -> i64 {
        self.errors.lock().get(&view).map_or(0, |errors| errors.values().map(|error| error.count).sum())
    }

    pub fn record_dead_letters(&self, stream: RelationId, letters: Vec<DeadLetter>) {
        if letters.is_empty() {
            return;
        }
        let mut dead = self.dead.lock();
        *dead.total.entry(stream).or_default() += letters.len() as u64;
        for letter in letters {
            dead.bytes += size_of_letter(&letter);
            dead.letters.push_back((stream, letter));
        }
        while dead.bytes > DEAD_LETTER_BYTES
            && let Some((_, oldest)) = dead.letters.pop_front()
        {
            dead.bytes -= size_of_letter(&oldest);
        }
    }

    /// The dead letters that are kept, oldest first.
    pub fn dead_letters(&self) -> Vec<(RelationId, DeadLetter)> {
        self.dead.lock().letters.iter().cloned().collect()
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

    pub fn begin_fill(&self, pid: i32, object: String, rows_total: Option<u64>) -> (u64, Arc<FillProgress>) {
        let progress = Arc::new(FillProgress { pid, object, rows_done: AtomicU64::new(0), rows_total });
        let number = self.next_fill.fetch_add(1, Ordering::Relaxed);
        self.fills.lock().insert(number, progress.clone());
        (number, progress)
    }

    pub fn end_fill(&self, number: u64) {
        self.fills.lock().remove(&number);
    }

    pub fn fills(&self) -> Vec<Arc<FillProgress>> {
        self.fills.lock().values().cloned().collect()
    }

    pub fn forget(&self, relation: RelationId) {
        self.errors.lock().remove(&relation);
        self.statuses.lock().remove(&relation);
        let mut dead = self.dead.lock();
        dead.total.remove(&relation);
        dead.letters.retain(|(stream, _)| *stream != relation);
        dead.bytes = dead.letters.iter().map(|(_, letter)| size_of_letter(letter)).sum();
    }
}

fn size_of_letter(letter: &DeadLetter) -> usize {
    let bytes = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
    size_of::<DeadLetter>() + bytes(&letter.key) + bytes(&letter.value) + letter.reason.len()
}
