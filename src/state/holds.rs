//! Holds: who may still ask for which version.
//!
//! A version that is held stays readable in every arrangement of its circuit. Holds are few (readers, transactions,
//! backfills), short critical sections, one lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::Version;

/// What a hold is for; `rr_holds.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HoldKind {
    Read,
    Transaction,
    Backfill,
}

impl HoldKind {
    pub fn name(self) -> &'static str {
        match self {
            HoldKind::Read => "read",
            HoldKind::Transaction => "transaction",
            HoldKind::Backfill => "backfill",
        }
    }
}

/// A row of `rr_holds`.
#[derive(Clone, Debug)]
pub struct HoldInfo {
    pub kind: HoldKind,
    /// Who holds: a session's pid, a view's name.
    pub owner: String,
    pub epoch: u64,
    pub since: SystemTime,
}

/// The registry of held versions, and the version that new readers take. Cheap to clone; clones are one registry.
#[derive(Clone, Default)]
pub struct Holds {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    held: BTreeMap<u64, HoldInfo>,
    /// How many holds each version has.
    versions: BTreeMap<Version, usize>,
    /// Epoch and version that readers take now.
    published: (u64, Version),
}

impl Inner {
    fn add(&mut self, kind: HoldKind, owner: &str, epoch: u64, version: Version) -> u64 {
        let number = self.next;
        self.next += 1;
        let info = HoldInfo { kind, owner: owner.to_string(), epoch, since: SystemTime::now() };
        self.held.insert(number, info);
        *self.versions.entry(version).or_default() += 1;
        number
    }
}

/// Keeps a version readable until it is dropped.
pub struct Hold {
    holds: Holds,
    number: u64,
    epoch: u64,
    version: Version,
}

impl Holds {
    /// Makes an epoch the one that [`Holds::hold_published`] takes. Its version must be complete.
    pub fn publish(&self, epoch: u64, version: Version) {
        self.inner.lock().published = (epoch, version);
    }

    /// Takes the published epoch and holds it, in one: it can't be reclaimed in between.
    pub fn hold_published(&self, kind: HoldKind, owner: &str) -> Hold {
        let mut inner = self.inner.lock();
        let (epoch, version) = inner.published;
        let number = inner.add(kind, owner, epoch, version);
        Hold { holds: self.clone(), number, epoch, version }
    }

    /// Holds a version that is still readable: because another hold or the publication keeps it.
    pub fn hold(&self, kind: HoldKind, owner: &str, epoch: u64, version: Version) -> Hold {
        let number = self.inner.lock().add(kind, owner, epoch, version);
        Hold { holds: self.clone(), number, epoch, version }
    }

    /// The oldest version that anyone may ask for: what is held or published, and `newest` at most.
    pub fn oldest(&self, newest: Version) -> Version {
        let inner = self.inner.lock();
        let held = inner.versions.keys().next().copied().unwrap_or(Version::MAX);
        newest.min(held).min(inner.published.1)
    }

    pub fn list(&self) -> Vec<HoldInfo> {
        self.inner.lock().held.values().cloned().collect()
    }
}

impl Hold {
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn version(&self) -> Version {
        self.version
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut inner = self.holds.inner.lock();
        inner.held.remove(&self.number);
        if let Some(count) = inner.versions.get_mut(&self.version) {
            *count -= 1;
            if *count == 0 {
                inner.versions.remove(&self.version);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_hold_decides_and_dropping_it_lets_go() {
        let holds = Holds::default();
        holds.publish(3, 30);
        assert_eq!(holds.oldest(35), 30);
        let reader = holds.hold_published(HoldKind::Read, "7");
        assert_eq!((reader.epoch(), reader.version()), (3, 30));
        holds.publish(4, 40);
        let backfill = holds.hold(HoldKind::Backfill, "v", 4, 40);
        assert_eq!(holds.oldest(45), 30);
        assert_eq!(holds.list().iter().map(|hold| hold.kind.name()).collect::<Vec<_>>(), ["read", "backfill"]);
        drop(reader);
        assert_eq!(holds.oldest(45), 40);
        holds.publish(5, 50);
        assert_eq!(holds.oldest(55), 40);
        drop(backfill);
        assert_eq!(holds.oldest(55), 50);
        assert!(holds.list().is_empty());
    }
}
