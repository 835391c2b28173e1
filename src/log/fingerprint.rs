//! Fingerprints: how a replay knows that it saw the same records.

use serde::{Deserialize, Serialize};

/// Count of a range of records, and the wrapping sum of xxh3 over each one's position, key and value. Sums, so that it does
/// not matter how a range is cut into chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    pub records: u64,
    pub hash: u64,
}

impl Fingerprint {
    /// Adds one record.
    pub fn add(&mut self, position: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        hasher.update(&position.to_le_bytes());
        for part in [key, value] {
            hasher.update(&part.map_or(-1, |bytes| bytes.len() as i64).to_le_bytes());
            hasher.update(part.unwrap_or_default());
        }
        self.records += 1;
        self.hash = self.hash.wrapping_add(hasher.digest());
    }

    /// Adds the range that follows.
    pub fn extend(&mut self, other: Fingerprint) {
        self.records += other.records;
        self.hash = self.hash.wrapping_add(other.hash);
    }
}
