//! The durable store: one RocksDB in the data folder, few column families, one atomic batch a commit.
//!
//! | column family | key                               | value |
//! |---------------|-----------------------------------|-------|
//! | `meta`        | name                              | format version, identity of the data folder |
//! | `commits`     | sequence number, u64 big-endian   | which relations a committed write changed |
//! | `rows`        | relation u32, sequence number u64 | a relation's rows of that commit |
//! | `epochs`      | epoch, u64 big-endian             | the epoch's cut |
//!
//! Keys are big-endian so that RocksDB's byte order is the numbers' order. Values start with a version byte.

mod room;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rocksdb::{BoundColumnFamily, ColumnFamilyDescriptor, DBWithThreadMode, IteratorMode, MultiThreaded, Options};
use rocksdb::{Direction, ReadOptions, WriteBatch, WriteOptions};

use crate::error::{Error, Result, SqlState};

/// What this release writes. A folder of a newer format is refused.
const FORMAT: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    Meta,
    Commits,
    Rows,
    Epochs,
}

impl Family {
    const ALL: [Family; 4] = [Family::Meta, Family::Commits, Family::Rows, Family::Epochs];

    fn name(self) -> &'static str {
        match self {
            Family::Meta => "meta",
            Family::Commits => "commits",
            Family::Rows => "rows",
            Family::Epochs => "epochs",
        }
    }
}

/// The open data folder. A second process that opens it is refused.
pub struct Store {
    db: DBWithThreadMode<MultiThreaded>,
    path: PathBuf,
    /// Bytes of the disk that writes leave free.
    reserve: u64,
    /// Keys of writes that failed. What failed may be in RocksDB's log all the same, and a restart would bring it back.
    refused: Mutex<BTreeSet<(Family, Vec<u8>)>>,
    /// The next write does what it does and says that it could not.
    #[cfg(test)]
    pub breaks: std::sync::atomic::AtomicBool,
    /// Held as long as the store is open; the system lets go of it however the process ends.
    _lock: std::fs::File,
}

fn unknown(error: &Error) -> Error {
    let message = format!("the data folder can't be written: {}", error.message());
    Error::new(SqlState::TRANSACTION_RESOLUTION_UNKNOWN, message)
        .with_detail("Whether what was being written stays is known when the server has been started again.")
}

/// Changes that are made together or not at all.
#[derive(Default)]
pub struct Batch(Vec<(Family, Vec<u8>, Vec<u8>)>);

impl Batch {
    pub fn put(&mut self, family: Family, key: Vec<u8>, value: Vec<u8>) {
        self.0.push((family, key, value));
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// What it adds to the disk.
    fn bytes(&self) -> u64 {
        self.0.iter().map(|(_, key, value)| (key.len() + value.len()) as u64).sum()
    }
}

impl Store {
    /// `reserve`: bytes of the disk that [`Store::check_room`] wants free; 0 lets everything try.
    pub fn open(path: &Path, reserve: u64) -> Result<Store> {
        let name = path.display();
        std::fs::create_dir_all(path)
            .map_err(|error| Error::new(SqlState::IO_ERROR, format!("cannot create {name}: {error}")))?;
        let lock = std::fs::File::create(path.join("riverrun.lock"))?;
        if let Err(std::fs::TryLockError::WouldBlock) = lock.try_lock() {
            let message = format!("data folder {name} is in use by another riverrun");
            return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                .with_hint("Stop it, or start this one with another --data-dir."));
        }
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_max_open_files(256);
        options.set_keep_log_file_num(2);
        options.set_max_total_wal_size(256 << 20);
        options.set_db_write_buffer_size(128 << 20);
        options.set_compression_type(rocksdb::DBCompressionType::Lz4);
        let families = Family::ALL.map(|family| ColumnFamilyDescriptor::new(family.name(), Options::default()));
        let db = DBWithThreadMode::open_cf_descriptors(&options, path.join("store"), families)?;
        let store = Store {
            db,
            path: path.to_path_buf(),
            reserve,
            refused: Mutex::default(),
            #[cfg(test)]
            breaks: Default::default(),
            _lock: lock,
        };
        store.check_format()?;
        Ok(store)
    }

    fn check_format(&self) -> Result<()> {
        match self.get(Family::Meta, b"format")? {
            None => {
                let mut batch = Batch::default();
                batch.put(Family::Meta, b"format".to_vec(), vec![FORMAT]);
                self.write(batch)
            }
            Some(format) if format == [FORMAT] => Ok(()),
            Some(format) => {
                let message = format!("data folder {} has format {format:?}, not {FORMAT}", self.path.display());
                Err(Error::new(SqlState::DATA_CORRUPTED, message)
                    .with_hint("It was written by another release of riverrun; use that one."))
            }
        }
    }

    /// 53100 when the disk would be nearly full after this write: with the reserve kept free, what follows from it (its epoch's cut, flushes)
    /// still finds room.
    pub fn check_room(&self, batch: &Batch) -> Result<()> {
        match room::free(&self.path) {
            Ok(free) if self.reserve > 0 && free < self.reserve.saturating_add(batch.bytes()) => {
                let message = format!("only {} MB are free on the data disk", free >> 20);
                let reserve = self.reserve >> 20;
                Err(Error::new(SqlState::DISK_FULL, message).with_hint(format!(
                    "Free some space: writes leave {reserve} MB free (disk_reserve). Reads go on, and writes are taken again then."
                )))
            }
            // A file system that does not tell is asked by writing.
            _ => Ok(()),
        }
    }

    /// Makes the batch durable: when this returns, it survives a power cut. On an error nothing of it is there; if its log took it
    /// before the disk was full (53100), the next write that succeeds deletes it. After a write for which the disk had no room RocksDB takes
    /// none, and tries every few seconds whether it can again. After any other error (08007) nobody knows what of it is on the disk until
    /// the store is opened again.
    pub fn write(&self, batch: Batch) -> Result<()> {
        let refused = self.refused.lock();
        let mut writes = WriteBatch::default();
        for (family, key) in refused.iter() {
            writes.delete_cf(&self.family(*family)?, key);
        }
        for (family, key, value) in &batch.0 {
            writes.put_cf(&self.family(*family)?, key, value);
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        // Two may write at a time and share an fsync, unless there is something to delete.
        let held = (!refused.is_empty()).then_some(refused);
        let written = self.db.write_opt(writes, &options).map_err(Error::from);
        #[cfg(test)]
        let written = match self.breaks.swap(false, std::sync::atomic::Ordering::Relaxed) {
            true => Err(Error::new(SqlState::IO_ERROR, "IO error: While fdatasync: Input/output error")),
            false => written,
        };
        match (written, held) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(mut refused)) => {
                refused.clear();
                Ok(())
            }
            (Err(error), held) => {
                let mut refused = held.unwrap_or_else(|| self.refused.lock());
                refused.extend(batch.0.into_iter().map(|(family, key, _)| (family, key)));
                Err(if error.state() == SqlState::DISK_FULL { error } else { unknown(&error) })
            }
        }
    }

    pub fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.db.get_cf(&self.family(family)?, key)?)
    }

    /// Entries with `from <= key < to`, in order.
    pub fn range(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
    ) -> Result<impl Iterator<Item = Result<Entry>> + use<'_>> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(to.to_vec());
        let mode = IteratorMode::From(from, Direction::Forward);
        let entries = self.db.iterator_cf_opt(&self.family(family)?, options, mode);
        Ok(entries.map(|entry| entry.map_err(Error::from)))
    }

    /// The entry with the greatest key.
    pub fn last(&self, family: Family) -> Result<Option<Entry>> {
        Ok(self.db.iterator_cf(&self.family(family)?, IteratorMode::End).next().transpose()?)
    }

    /// Bytes RocksDB holds in memory: write buffers, block cache, table readers.
    pub fn memory_bytes(&self) -> usize {
        let names =
            ["rocksdb.cur-size-all-mem-tables", "rocksdb.estimate-table-readers-mem", "rocksdb.block-cache-usage"];
        let families = Family::ALL.iter().filter_map(|family| self.family(*family).ok());
        let bytes = families.flat_map(|family| names.map(|name| self.db.property_int_value_cf(&family, name)));
        bytes.filter_map(|value| value.ok().flatten()).sum::<u64>() as usize
    }

    /// How often the log was synced since the start, as RocksDB counts it.
    #[cfg(test)]
    pub fn syncs(&self) -> u64 {
        let statistics = self.db.property_value("rocksdb.dbstats").ok().flatten().expect("RocksDB's statistics");
        let line = statistics.lines().find(|line| line.starts_with("Cumulative WAL:")).expect("a line about its log");
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "syncs,").expect("how often it was synced");
        words[at - 1].parse().expect("a number that is not shortened")
    }

    fn family(&self, family: Family) -> Result<Arc<BoundColumnFamily<'_>>> {
        let name = family.name();
        self.db.cf_handle(name).ok_or_else(|| Error::internal(format!("column family {name} is missing")))
    }
}

/// Key and value.
pub type Entry = (Box<[u8]>, Box<[u8]>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opener_is_refused_and_a_later_one_sees_what_was_written() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path(), 0).expect("opens");
        let refused = Store::open(folder.path(), 0).err().expect("is refused");
        assert!(refused.message().contains("in use"), "{refused}");
        let mut batch = Batch::default();
        for number in [1u64, 256, 2] {
            batch.put(Family::Epochs, number.to_be_bytes().to_vec(), vec![number as u8]);
        }
        store.write(batch).expect("writes");
        drop(store);

        let store = Store::open(folder.path(), 0).expect("opens again");
        let keys = |from: u64, to: u64| -> Vec<u64> {
            let entries = store.range(Family::Epochs, &from.to_be_bytes(), &to.to_be_bytes()).expect("ranges");
            let key = |entry: Entry| u64::from_be_bytes(entry.0.as_ref().try_into().expect("eight bytes"));
            entries.map(|entry| key(entry.expect("an entry"))).collect()
        };
        assert_eq!(keys(0, 1000), [1, 2, 256]);
        assert_eq!(keys(2, 256), [2]);
        assert_eq!(store.last(Family::Epochs).expect("reads").expect("is there").0.as_ref(), 256u64.to_be_bytes());
        assert!(store.last(Family::Rows).expect("reads").is_none());
    }

    #[test]
    fn what_was_refused_is_gone_with_the_next_write() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path(), 0).expect("opens");
        let batch = |number: u64| {
            let mut batch = Batch::default();
            batch.put(Family::Rows, number.to_be_bytes().to_vec(), vec![1]);
            batch.put(Family::Commits, number.to_be_bytes().to_vec(), vec![1]);
            batch
        };
        // A write that was told to have failed, but stands in the log.
        store.write(batch(1)).expect("writes");
        let keys = batch(1).0.into_iter().map(|(family, key, _)| (family, key));
        store.refused.lock().extend(keys);
        // Its number is given again, to a write that changes another relation.
        let mut again = Batch::default();
        again.put(Family::Commits, 1u64.to_be_bytes().to_vec(), vec![2]);
        store.write(again).expect("writes");
        store.write(batch(2)).expect("writes");
        drop(store);
        let store = Store::open(folder.path(), 0).expect("opens again");
        let get = |family, number: u64| store.get(family, &number.to_be_bytes()).expect("reads");
        assert_eq!(get(Family::Rows, 1), None);
        assert_eq!(get(Family::Commits, 1), Some(vec![2]));
        assert_eq!((get(Family::Rows, 2), get(Family::Commits, 2)), (Some(vec![1]), Some(vec![1])));
    }
}
