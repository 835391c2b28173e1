//! Answers that are remembered: in the memory that all queries share, as sorts and groups are. When there is no more of it, or too many,
//! they start over.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};

/// Answers at most.
const MOST: usize = 64 * 1024;

pub struct Remembered<K, A> {
    answers: HashMap<K, A>,
    reservation: MemoryReservation,
}

impl<K: Eq + Hash, A: Clone> Remembered<K, A> {
    pub fn new(pool: &Arc<dyn MemoryPool>) -> Remembered<K, A> {
        let reservation = MemoryConsumer::new("answers of a subquery").register(pool);
        Remembered { answers: HashMap::new(), reservation }
    }

    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<A>
    where
        K: Borrow<Q>,
    {
        self.answers.get(key).cloned()
    }

    /// Remembers an answer of so many bytes, if there is room.
    pub fn insert(&mut self, key: K, answer: A, bytes: usize) {
        let bytes = bytes + 2 * size_of::<(K, A)>();
        if self.answers.len() >= MOST {
            self.clear();
        }
        let mut room = self.reservation.try_grow(bytes).is_ok();
        if !room {
            self.clear();
            room = self.reservation.try_grow(bytes).is_ok();
        }
        if room {
            self.answers.insert(key, answer);
        }
    }

    fn clear(&mut self) {
        self.answers = HashMap::new();
        self.reservation.free();
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    #[test]
    fn answers_stay_within_the_pool() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(10_000));
        let mut remembered = Remembered::new(&pool);
        for key in 0..100 {
            remembered.insert(key, "answer", 900);
            assert_eq!(remembered.get(&key), Some("answer"));
            assert!(pool.reserved() <= 10_000);
        }
        assert!(remembered.answers.len() > 5);
        assert_eq!(remembered.get(&0), None, "they started over");
        // What doesn't fit at all is not remembered; and others may need the room.
        remembered.insert(200, "large", 20_000);
        assert_eq!(remembered.get(&200), None);
        let other = MemoryConsumer::new("a sort").register(&pool);
        other.try_grow(9_500).unwrap();
        remembered.insert(300, "answer", 900);
        assert_eq!(remembered.get(&300), None);
        drop((remembered, other));
        assert_eq!(pool.reserved(), 0);
    }
}
