//! A sorted map made for many small ones: a sorted vector while there are few entries, a B-tree beyond.
//!
//! Operators keep one map for each group or partition, most of which hold a handful of entries: a vector of exactly
//! those takes a third of a B-tree's smallest node and is searched within a cache line or two. Insertion into the
//! vector moves at most [`FEW`] entries; beyond, everything is O(log n).

use std::borrow::Borrow;
use std::collections::{BTreeMap, btree_map};
use std::slice;

/// Most entries of a vector: its insertions still cost less than a B-tree's.
const FEW: usize = 48;

#[derive(Debug)]
pub enum SortedMap<K, V> {
    Few(Vec<(K, V)>),
    Many(Box<BTreeMap<K, V>>),
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> SortedMap<K, V> {
        SortedMap::Few(Vec::new())
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    pub fn len(&self) -> usize {
        match self {
            SortedMap::Few(entries) => entries.len(),
            SortedMap::Many(entries) => entries.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets `change` at the value of `key`, or at the one `make` gives where there is none; the entry stays if it
    /// returns true. Returns by how much the number of entries changed.
    pub fn change<Q: Ord + ?Sized>(
        &mut self,
        key: &Q,
        make: impl FnOnce() -> (K, V),
        mut change: impl FnMut(&mut V) -> bool,
    ) -> isize
    where
        K: Borrow<Q>,
    {
        let changed = match self {
            SortedMap::Few(entries) => match entries.binary_search_by(|(own, _)| own.borrow().cmp(key)) {
                Ok(at) => {
                    if change(&mut entries[at].1) {
                        return 0;
                    }
                    entries.remove(at);
                    -1
                }
                Err(at) => {
                    let (key, mut value) = make();
                    if !change(&mut value) {
                        return 0;
                    }
                    entries.insert(at, (key, value));
                    1
                }
            },
            SortedMap::Many(entries) => match entries.get_mut(key) {
                Some(value) => {
                    if change(value) {
                        return 0;
                    }
                    entries.remove(key);
                    -1
                }
                None => {
                    let (key, mut value) = make();
                    if !change(&mut value) {
                        return 0;
                    }
                    entries.insert(key, value);
                    1
                }
            },
        };
        self.fit();
        changed
    }

    /// Takes the form that fits the number of entries; with some slack, so that it does not flutter.
    fn fit(&mut self) {
        match self {
            SortedMap::Few(entries) if entries.len() > FEW => {
                *self = SortedMap::Many(Box::new(std::mem::take(entries).into_iter().collect()));
            }
            SortedMap::Few(entries) if entries.is_empty() => *entries = Vec::new(),
            SortedMap::Many(entries) if entries.len() < FEW / 4 => {
                *self = SortedMap::Few(std::mem::take(&mut **entries).into_iter().collect());
            }
            _ => {}
        }
    }

    pub fn last(&self) -> Option<(&K, &V)> {
        self.iter().next_back()
    }

    pub fn pop_last(&mut self) -> Option<(K, V)> {
        let last = match self {
            SortedMap::Few(entries) => entries.pop(),
            SortedMap::Many(entries) => entries.pop_last(),
        };
        self.fit();
        last
    }

    /// Entries in order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        match self {
            SortedMap::Few(entries) => Iter::Few(entries.iter()),
            SortedMap::Many(entries) => Iter::Many(entries.iter()),
        }
    }
}

pub enum Iter<'a, K, V> {
    Few(slice::Iter<'a, (K, V)>),
    Many(btree_map::Iter<'a, K, V>),
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Iter::Few(entries) => entries.next().map(|(key, value)| (key, value)),
            Iter::Many(entries) => entries.next(),
        }
    }
}

impl<K, V> DoubleEndedIterator for Iter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Iter::Few(entries) => entries.next_back().map(|(key, value)| (key, value)),
            Iter::Many(entries) => entries.next_back(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn is_a_sorted_map_in_either_form() {
        let mut rng = StdRng::seed_from_u64(3);
        let (mut map, mut model) = (SortedMap::<u32, i64>::default(), BTreeMap::<u32, i64>::new());
        for round in 0..20_000 {
            let key = rng.random_range(0..150);
            // Grows for a while, then shrinks.
            let weight = if (round / 2000) % 2 == 0 { 1 } else { -1 };
            let before = model.len() as isize;
            let total = model.entry(key).or_insert(0);
            *total = (*total + weight).max(0);
            if *total == 0 {
                model.remove(&key);
            }
            let changed = map.change(
                &key,
                || (key, 0),
                |total| {
                    *total = (*total + weight).max(0);
                    *total != 0
                },
            );
            assert_eq!(changed, model.len() as isize - before);
            if round % 100 == 0 {
                assert!(map.iter().eq(model.iter()));
                assert!(map.iter().rev().eq(model.iter().rev()));
                assert_eq!(map.last(), model.last_key_value());
            }
            if round % 500 == 0 {
                assert_eq!(map.pop_last(), model.pop_last());
            }
        }
    }
}
