//! The chunks of an arena, oldest first, with the first id of each beside them, so that a row is found without touching
//! other chunks than its own.
//!
//! ```text
//!   settled: shared by all copies of the list     recent: copied with it, 16 to 64 chunks
//! ```
//!
//! Each step publishes a list of its own, so a copy must not cost a reference count for every chunk of a large arena: only
//! the recent part is copied. Changing a settled chunk (a rewrite of what is mostly dead) copies the settled part.

use std::ops::{Index, Range};
use std::sync::Arc;

use super::chunk::Chunk;

/// Recent chunks at which all but [`KEPT`] are settled. Those that still merge with their neighbours, a few of each size, are
/// fewer than that.
const RECENT: usize = 64;
const KEPT: usize = 32;

#[derive(Clone, Default)]
pub(super) struct ChunkList {
    settled: Arc<Part>,
    recent: Part,
}

#[derive(Clone, Default)]
struct Part {
    firsts: Vec<u64>,
    chunks: Vec<Arc<Chunk>>,
}

impl Part {
    fn splice(&mut self, range: Range<usize>, chunk: Option<Arc<Chunk>>) {
        self.firsts.splice(range.clone(), chunk.iter().map(|chunk| chunk.first_id()));
        self.chunks.splice(range, chunk);
    }
}

impl ChunkList {
    pub fn len(&self) -> usize {
        self.settled.chunks.len() + self.recent.chunks.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, at: usize) -> Option<&Arc<Chunk>> {
        match at.checked_sub(self.settled.chunks.len()) {
            None => self.settled.chunks.get(at),
            Some(at) => self.recent.chunks.get(at),
        }
    }

    pub fn first(&self) -> Option<&Arc<Chunk>> {
        self.get(0)
    }

    pub fn last(&self) -> Option<&Arc<Chunk>> {
        self.recent.chunks.last().or(self.settled.chunks.last())
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Chunk>> {
        self.settled.chunks.iter().chain(&self.recent.chunks)
    }

    pub fn range(&self, range: Range<usize>) -> impl Iterator<Item = &Arc<Chunk>> {
        self.iter().take(range.end).skip(range.start)
    }

    /// The last chunk that starts at this id or before it: the one that has the row, if any has.
    #[inline]
    pub fn find(&self, id: u64) -> Option<usize> {
        let settled = &self.settled.firsts;
        match self.recent.firsts.first() {
            Some(first) if *first <= id => {
                Some(settled.len() + self.recent.firsts.partition_point(|first| *first <= id) - 1)
            }
            _ => settled.partition_point(|first| *first <= id).checked_sub(1),
        }
    }

    /// How many chunks come before the first for which `before` does not hold; it holds for none after that.
    pub fn partition_point(&self, before: impl Fn(&Chunk) -> bool) -> usize {
        let settled = self.settled.chunks.partition_point(|chunk| before(chunk));
        match settled == self.settled.chunks.len() {
            true => settled + self.recent.chunks.partition_point(|chunk| before(chunk)),
            false => settled,
        }
    }

    pub fn push(&mut self, chunk: Arc<Chunk>) {
        if self.recent.chunks.len() >= RECENT {
            let settled = Arc::make_mut(&mut self.settled);
            settled.firsts.extend(self.recent.firsts.drain(..RECENT - KEPT));
            settled.chunks.extend(self.recent.chunks.drain(..RECENT - KEPT));
        }
        self.recent.firsts.push(chunk.first_id());
        self.recent.chunks.push(chunk);
    }

    /// Puts one chunk, or none, in the place of some.
    pub fn replace(&mut self, range: Range<usize>, chunk: Option<Arc<Chunk>>) {
        let settled = self.settled.chunks.len();
        if range.start >= settled {
            self.recent.splice(range.start - settled..range.end - settled, chunk);
        } else if range.end <= settled {
            Arc::make_mut(&mut self.settled).splice(range, chunk);
        } else {
            self.recent.splice(0..range.end - settled, chunk);
            Arc::make_mut(&mut self.settled).splice(range.start..settled, None);
        }
    }
}

impl Index<usize> for ChunkList {
    type Output = Arc<Chunk>;

    #[inline]
    fn index(&self, at: usize) -> &Arc<Chunk> {
        match at.checked_sub(self.settled.chunks.len()) {
            None => &self.settled.chunks[at],
            Some(at) => &self.recent.chunks[at],
        }
    }
}

impl FromIterator<Arc<Chunk>> for ChunkList {
    fn from_iter<I: IntoIterator<Item = Arc<Chunk>>>(chunks: I) -> ChunkList {
        let mut list = ChunkList::default();
        chunks.into_iter().for_each(|chunk| list.push(chunk));
        list
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn chunk(first: u64, rows: usize) -> Arc<Chunk> {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![0; rows]));
        let rows = RecordBatch::try_from_iter([("a", column)]).expect("a batch");
        Arc::new(Chunk::new(rows, None, first, 1))
    }

    /// Against a plain vector, through pushes and replacements in both parts and across their border.
    #[test]
    fn behaves_like_a_vector_of_chunks() {
        let mut random = StdRng::seed_from_u64(5);
        let mut list = ChunkList::default();
        let mut plain: Vec<(u64, usize)> = Vec::new();
        let mut next = 0;
        for _ in 0..2000 {
            if random.random_bool(0.8) || plain.is_empty() {
                let rows = random.random_range(1..5);
                list.push(chunk(next, rows));
                plain.push((next, rows));
                next += rows as u64;
            } else {
                let start = random.random_range(0..plain.len());
                let end = (start + random.random_range(1..6)).min(plain.len());
                let (first, _) = plain[start];
                let (last, rows) = plain[end - 1];
                let whole = (random.random_bool(0.7)).then(|| (first, (last + rows as u64 - first) as usize));
                list.replace(start..end, whole.map(|(first, rows)| chunk(first, rows)));
                plain.splice(start..end, whole);
            }
            assert_eq!(list.len(), plain.len());
            let seen: Vec<(u64, usize)> = list.iter().map(|chunk| (chunk.first_id(), chunk.len())).collect();
            assert_eq!(seen, plain);
            let id = random.random_range(0..next + 2);
            let expected = plain.partition_point(|(first, _)| *first <= id).checked_sub(1);
            assert_eq!(list.find(id), expected);
            assert_eq!(list.partition_point(|chunk| chunk.first_id() <= id).checked_sub(1), expected);
            if let Some(at) = expected {
                assert_eq!(
                    (list[at].first_id(), list.get(at).map(|chunk| chunk.len())),
                    (plain[at].0, Some(plain[at].1))
                );
            }
        }
        assert_eq!(list.last().map(|chunk| chunk.first_id()), plain.last().map(|(first, _)| *first));
        let copy: ChunkList = list.iter().cloned().collect();
        assert_eq!(
            copy.range(3..7).map(|chunk| chunk.first_id()).collect::<Vec<_>>(),
            plain[3..7].iter().map(|(first, _)| *first).collect::<Vec<_>>()
        );
    }
}
