//! A hash index: from a key to the ids of the rows that have it.
//!
//! ```text
//!   live:  hash of key -> newest id --next--> id --next--> id      rows alive in the newest version, linked both ways
//!   dead:  hash of key -> last died --next--> died before it       rows that some held version may still see
//! ```
//!
//! A row is in at most one of the two chains, so each row has one pair of links. A death moves a row from one chain to
//! the front of the other in O(1): no chain is ever walked to delete. A probe at version `s` reads the live chain (skipping
//! ids born after `s`) and the dead one until a death by `s`; so it costs what it finds plus what changed since `s`,
//! however often the key was updated before. What died before the oldest held version leaves from the dead chain's far end.
//!
//! Ids are kept as their low 32 bits: the arrangement sees to it that ids in use span less than 2^32 (it appends old rows
//! anew). A link to itself means none. 8 bytes a key (and hashbrown's slack), 8 a row.
//!
//! A big table grows by doubling, which takes long: from [`SPLIT_AT`] keys on there are 256 tables of uneven share, so
//! that they double one after another.

use std::sync::LazyLock;

use hashbrown::HashTable;

/// Keys from which on a table is split into [`PARTITIONS`].
const SPLIT_AT: usize = 32 * 1024;
const PARTITIONS: usize = 256;
const ROUTE_BITS: u32 = 12;
const SEGMENT_BITS: u32 = 9;
const SEGMENT: usize = 1 << SEGMENT_BITS;

#[derive(Clone, Copy)]
struct Entry {
    hash: u32,
    head: u32,
}

/// hashbrown takes its tag from the top bits and the place from the low ones; the low ones stay those of the hash.
#[inline(always)]
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// From the top bits of a hash to a partition; the shares rise from one to two times.
static ROUTE: LazyLock<Box<[u8]>> = LazyLock::new(|| {
    let share = |partition: usize| 2f64.powf(partition as f64 / PARTITIONS as f64);
    let total: f64 = (0..PARTITIONS).map(share).sum();
    let slots = 1usize << ROUTE_BITS;
    let mut route = Vec::with_capacity(slots);
    let mut sum = 0.0;
    for partition in 0..PARTITIONS {
        sum += share(partition);
        let end = (sum / total * slots as f64).round() as usize;
        route.resize(end.min(slots), partition as u8);
    }
    route.resize(slots, (PARTITIONS - 1) as u8);
    route.into_boxed_slice()
});

/// A map from key hashes to entries; equality of keys is the caller's.
struct Table {
    parts: Vec<HashTable<Entry>>,
    len: usize,
}

impl Table {
    fn new() -> Table {
        Table { parts: vec![HashTable::new()], len: 0 }
    }

    #[inline(always)]
    fn part(&self, hash: u32) -> usize {
        if self.parts.len() == 1 { 0 } else { ROUTE[(hash >> (32 - ROUTE_BITS)) as usize] as usize }
    }

    #[inline]
    fn find(&self, hash: u32, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let table = &self.parts[self.part(hash)];
        table.find(spread(hash), |entry| entry.hash == hash && same(entry.head)).map(|entry| entry.head)
    }

    #[inline]
    fn find_mut(&mut self, hash: u32, mut same: impl FnMut(u32) -> bool) -> Option<&mut Entry> {
        let part = self.part(hash);
        self.parts[part].find_mut(spread(hash), |entry| entry.hash == hash && same(entry.head))
    }

    fn insert(&mut self, hash: u32, head: u32) {
        if self.len == SPLIT_AT && self.parts.len() == 1 {
            let old = std::mem::replace(&mut self.parts, (0..PARTITIONS).map(|_| HashTable::new()).collect());
            for entry in old.into_iter().flatten() {
                let part = self.part(entry.hash);
                self.parts[part].insert_unique(spread(entry.hash), entry, |entry| spread(entry.hash));
            }
        }
        let part = self.part(hash);
        self.parts[part].insert_unique(spread(hash), Entry { hash, head }, |entry| spread(entry.hash));
        self.len += 1;
    }

    /// Removes the entry whose chain starts with `head`.
    fn remove(&mut self, hash: u32, head: u32) {
        let part = self.part(hash);
        if let Ok(entry) = self.parts[part].find_entry(spread(hash), |entry| entry.hash == hash && entry.head == head) {
            entry.remove();
            self.len -= 1;
        }
    }

    fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.allocation_size() + size_of::<HashTable<Entry>>()).sum()
    }
}

struct Segment {
    /// Rows of the segment that are in a chain.
    used: u32,
    next: [u32; SEGMENT],
    prev: [u32; SEGMENT],
}

/// The links of all rows from the oldest one in use on.
#[derive(Default)]
struct Links {
    /// The number of the first segment in the list; row `id` is in segment `id >> SEGMENT_BITS`.
    first: u64,
    segments: Vec<Option<Box<Segment>>>,
    held: usize,
}

impl Links {
    #[inline(always)]
    fn get(&self, id: u64) -> Option<&Segment> {
        let at = (id >> SEGMENT_BITS).checked_sub(self.first)?;
        self.segments.get(at as usize)?.as_deref()
    }

    #[inline(always)]
    fn get_mut(&mut self, id: u64) -> Option<&mut Segment> {
        let at = (id >> SEGMENT_BITS).checked_sub(self.first)?;
        self.segments.get_mut(at as usize)?.as_deref_mut()
    }

    fn open(&mut self, id: u64) -> &mut Segment {
        let number = id >> SEGMENT_BITS;
        if self.segments.is_empty() {
            self.first = number;
        }
        if number < self.first {
            let missing = (self.first - number) as usize;
            self.segments.splice(0..0, (0..missing).map(|_| None));
            self.first = number;
        }
        let at = (number - self.first) as usize;
        if at >= self.segments.len() {
            self.segments.resize_with(at + 1, || None);
        }
        let held = &mut self.held;
        self.segments[at].get_or_insert_with(|| {
            *held += 1;
            let own: [u32; SEGMENT] = std::array::from_fn(|row| ((number << SEGMENT_BITS) as u32) | row as u32);
            Box::new(Segment { used: 0, next: own, prev: own })
        })
    }

    /// The row left its chain for good.
    fn release(&mut self, id: u64) {
        let Some(segment) = self.get_mut(id) else { return };
        let row = id as usize % SEGMENT;
        segment.next[row] = id as u32;
        segment.prev[row] = id as u32;
        segment.used -= 1;
        if segment.used > 0 {
            return;
        }
        let at = ((id >> SEGMENT_BITS) - self.first) as usize;
        self.segments[at] = None;
        self.held -= 1;
        let free = self.segments.iter().take_while(|segment| segment.is_none()).count();
        // Shifting the list is paid for by the segments freed.
        if free * 2 > self.segments.len() {
            self.segments.drain(..free);
            self.first += free as u64;
        }
    }

    fn bytes(&self) -> usize {
        self.held * size_of::<Segment>() + self.segments.capacity() * 8
    }
}

/// One step of a walk along a chain.
pub(super) enum Walk {
    /// Take the row or not, and go on.
    On,
    Stop,
}

pub(super) struct HashIndex {
    live: Table,
    dead: Table,
    links: Links,
    /// The greatest id ever inserted, from which low bits are read as ids.
    top: u64,
    /// Whether dead rows stay until they are reclaimed; without, only the newest version can be asked.
    history: bool,
    /// Counts changes, so that a walk that let go of the lock can tell whether it may go on.
    pub generation: u64,
}

impl HashIndex {
    pub fn new(history: bool) -> HashIndex {
        HashIndex { live: Table::new(), dead: Table::new(), links: Links::default(), top: 0, history, generation: 0 }
    }

    #[inline(always)]
    fn id(&self, low: u32) -> u64 {
        id_of(self.top, low)
    }

    /// Makes `id` readable from its low bits: to be called with the greatest id in use before inserting.
    pub fn raise(&mut self, id: u64) {
        self.top = self.top.max(id);
    }

    /// Adds a row at the front of its key's live chain; `same` tells whether a stored row has that key.
    pub fn insert(&mut self, id: u64, hash: u32, mut same: impl FnMut(u64) -> bool) {
        self.generation += 1;
        self.raise(id);
        let low = id as u32;
        let top = self.top;
        let old = match self.live.find_mut(hash, |head| same(id_of(top, head))) {
            Some(entry) => Some(std::mem::replace(&mut entry.head, low)),
            None => {
                self.live.insert(hash, low);
                None
            }
        };
        let segment = self.links.open(id);
        segment.used += 1;
        if let Some(old) = old {
            segment.next[low as usize % SEGMENT] = old;
            let old = self.id(old);
            if let Some(segment) = self.links.get_mut(old) {
                segment.prev[old as usize % SEGMENT] = low;
            }
        }
    }

    /// Takes a row out of the chain that it is in. False if it is in none (it was never indexed).
    fn unlink(table: &mut Table, links: &mut Links, top: u64, id: u64, hash: u32) -> bool {
        let (low, row) = (id as u32, id as usize % SEGMENT);
        let Some(segment) = links.get_mut(id) else { return false };
        let (next, prev) = (segment.next[row], segment.prev[row]);
        segment.next[row] = low;
        segment.prev[row] = low;
        let next = (next != low).then(|| id_of(top, next));
        if prev == low {
            match (table.find_mut(hash, |head| head == low), next) {
                (None, _) => return false,
                (Some(entry), Some(next)) => entry.head = next as u32,
                (Some(_), None) => table.remove(hash, low),
            }
        } else {
            let prev = id_of(top, prev);
            if let Some(segment) = links.get_mut(prev) {
                segment.next[prev as usize % SEGMENT] = next.map_or(prev, |next| next) as u32;
            }
        }
        if let Some(next) = next
            && let Some(segment) = links.get_mut(next)
        {
            segment.prev[next as usize % SEGMENT] = if prev == low { next as u32 } else { prev };
        }
        true
    }

    /// A live row died in the newest version.
    pub fn kill(&mut self, id: u64, hash: u32, mut same: impl FnMut(u64) -> bool) {
        self.generation += 1;
        if !Self::unlink(&mut self.live, &mut self.links, self.top, id, hash) {
            return;
        }
        if !self.history {
            self.links.release(id);
            return;
        }
        let (low, top) = (id as u32, self.top);
        match self.dead.find_mut(hash, |head| same(id_of(top, head))) {
            Some(entry) => {
                let old = id_of(top, std::mem::replace(&mut entry.head, low));
                if let Some(segment) = self.links.get_mut(id) {
                    segment.next[id as usize % SEGMENT] = old as u32;
                }
                if let Some(segment) = self.links.get_mut(old) {
                    segment.prev[old as usize % SEGMENT] = low;
                }
            }
            None => self.dead.insert(hash, low),
        }
    }

    /// No one will ask for a version that sees this dead row.
    pub fn reclaim(&mut self, id: u64, hash: u32) {
        self.generation += 1;
        if self.history && Self::unlink(&mut self.dead, &mut self.links, self.top, id, hash) {
            self.links.release(id);
        }
    }

    /// The newest live row of a key.
    #[inline]
    pub fn first_live(&self, hash: u32, mut same: impl FnMut(u64) -> bool) -> Option<u64> {
        self.live.find(hash, |head| same(self.id(head))).map(|head| self.id(head))
    }

    /// The row of a key that died last, among those kept.
    #[inline]
    pub fn first_dead(&self, hash: u32, mut same: impl FnMut(u64) -> bool) -> Option<u64> {
        if self.dead.len == 0 {
            return None;
        }
        self.dead.find(hash, |head| same(self.id(head))).map(|head| self.id(head))
    }

    /// The row after this one in its chain.
    #[inline]
    pub fn next(&self, id: u64) -> Option<u64> {
        let next = self.links.get(id)?.next[id as usize % SEGMENT];
        (next != id as u32).then(|| self.id(next))
    }

    /// Walks a chain from `id` on.
    #[inline]
    pub fn walk(&self, mut id: u64, mut visit: impl FnMut(u64) -> Walk) {
        while let Walk::On = visit(id) {
            match self.next(id) {
                Some(next) => id = next,
                None => return,
            }
        }
    }

    pub fn bytes(&self) -> usize {
        self.live.bytes() + self.dead.bytes() + self.links.bytes()
    }
}

/// The id at most `top` with these low bits.
#[inline(always)]
fn id_of(top: u64, low: u32) -> u64 {
    top - u64::from((top as u32).wrapping_sub(low))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn chain(index: &HashIndex, first: Option<u64>) -> Vec<u64> {
        let mut ids = Vec::new();
        if let Some(first) = first {
            index.walk(first, |id| {
                ids.push(id);
                Walk::On
            });
        }
        ids
    }

    /// Keys collide on purpose (hash = key / 2), ids start so that their low bits wrap around.
    #[test]
    fn chains_are_right_under_random_inserts_deaths_and_reclaims() {
        for seed in 0..30 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut index = HashIndex::new(true);
            let start = (1u64 << 32) - 700;
            let mut key_of: BTreeMap<u64, u32> = BTreeMap::new();
            let mut live: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
            let mut dead: BTreeMap<u32, VecDeque<u64>> = BTreeMap::new();
            let mut queue = VecDeque::new();
            let mut next = start;
            for _ in 0..2000 {
                match random.random_range(0..4) {
                    0 | 1 => {
                        let key = random.random_range(0..20u32);
                        key_of.insert(next, key);
                        index.insert(next, key / 2, |id| key_of[&id] == key);
                        live.entry(key).or_default().insert(0, next);
                        next += 1;
                    }
                    2 => {
                        let key = random.random_range(0..20u32);
                        let Some(ids) = live.get_mut(&key).filter(|ids| !ids.is_empty()) else { continue };
                        let id = ids.remove(random.random_range(0..ids.len()));
                        index.kill(id, key / 2, |id| key_of[&id] == key);
                        dead.entry(key).or_default().push_front(id);
                        queue.push_back((id, key));
                    }
                    _ => {
                        if let Some((id, key)) = queue.pop_front() {
                            index.reclaim(id, key / 2);
                            assert_eq!(dead.get_mut(&key).and_then(VecDeque::pop_back), Some(id));
                        }
                    }
                }
            }
            for key in 0..20u32 {
                let found = chain(&index, index.first_live(key / 2, |id| key_of[&id] == key));
                assert_eq!(found, live.get(&key).cloned().unwrap_or_default(), "seed {seed} key {key}");
                let found = chain(&index, index.first_dead(key / 2, |id| key_of[&id] == key));
                assert_eq!(found, Vec::from(dead.get(&key).cloned().unwrap_or_default()), "seed {seed} key {key}");
            }
        }
    }

    #[test]
    fn nothing_is_left_of_rows_that_are_gone() {
        let mut index = HashIndex::new(true);
        for id in 0..200_000u64 {
            let key = (id % 70_000) as u32;
            index.insert(id, key, |other| other % 70_000 == id % 70_000);
        }
        assert_eq!(index.live.len, 70_000);
        for id in 0..200_000u64 {
            index.kill(id, (id % 70_000) as u32, |other| other % 70_000 == id % 70_000);
            if id >= 100 {
                index.reclaim(id - 100, ((id - 100) % 70_000) as u32);
            }
        }
        for id in 199_900..200_000u64 {
            index.reclaim(id, (id % 70_000) as u32);
        }
        assert_eq!((index.live.len, index.dead.len, index.links.held), (0, 0, 0));
    }
}
