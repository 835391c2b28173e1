//! Places for sockets that have not said anything that counts. When all are taken, the next one waits until somebody has said
//! what he wants, or has held his place for so long that he only holds the door: then it is the next one's. A burst of
//! clients is served in turn, and nobody can keep all others out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

pub struct Crowd {
    most: usize,
    /// How long a place is one's own.
    patience: Duration,
    inside: Mutex<Inside>,
    left: Notify,
}

#[derive(Default)]
struct Inside {
    next: u64,
    /// Oldest first.
    places: VecDeque<Taken>,
}

struct Taken {
    number: u64,
    since: Instant,
    /// Dropping it tells who holds the place.
    _lost: oneshot::Sender<()>,
}

/// A place; given back when it is dropped.
pub struct Place {
    crowd: Arc<Crowd>,
    number: u64,
    lost: oneshot::Receiver<()>,
}

impl Crowd {
    pub fn new(most: usize) -> Arc<Crowd> {
        Crowd::with_patience(most, Duration::from_secs(3))
    }

    fn with_patience(most: usize, patience: Duration) -> Arc<Crowd> {
        Arc::new(Crowd { most, patience, inside: Mutex::default(), left: Notify::new() })
    }

    /// Waits until somebody may enter. Nobody else may enter between.
    pub async fn room(&self) {
        loop {
            let left = self.left.notified();
            let oldest = {
                let inside = self.inside.lock();
                match inside.places.front() {
                    Some(oldest) if inside.places.len() >= self.most => oldest.since,
                    _ => return,
                }
            };
            if oldest.elapsed() >= self.patience {
                return;
            }
            tokio::select! {
                _ = left => {}
                _ = tokio::time::sleep_until(oldest + self.patience) => {}
            }
        }
    }

    /// Takes a place, where there is none the oldest one's.
    pub fn enter(self: &Arc<Crowd>) -> Place {
        let (sender, lost) = oneshot::channel();
        let mut inside = self.inside.lock();
        let number = inside.next;
        inside.next += 1;
        if inside.places.len() >= self.most {
            inside.places.pop_front();
        }
        inside.places.push_back(Taken { number, since: Instant::now(), _lost: sender });
        Place { crowd: self.clone(), number, lost }
    }

    /// Takes the oldest place away if it has been held for long: something else than places has run out.
    pub fn give_way(&self) {
        let mut inside = self.inside.lock();
        if inside.places.front().is_some_and(|oldest| oldest.since.elapsed() >= self.patience) {
            inside.places.pop_front();
        }
    }
}

impl Place {
    /// Completes when the place was given to another.
    pub fn lost(&mut self) -> &mut oneshot::Receiver<()> {
        &mut self.lost
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.crowd.inside.lock();
        if let Ok(at) = inside.places.binary_search_by_key(&self.number, |taken| taken.number) {
            inside.places.remove(at);
        }
        self.crowd.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_lost(place: &mut Place) -> bool {
        place.lost().try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    /// Whether there is room now.
    async fn has_room(crowd: &Crowd) -> bool {
        tokio::time::timeout(Duration::ZERO, crowd.room()).await.is_ok()
    }

    #[tokio::test]
    async fn the_young_keep_their_places() {
        let crowd = Crowd::with_patience(2, Duration::from_secs(100_000));
        assert!(has_room(&crowd).await);
        let (mut first, second) = (crowd.enter(), crowd.enter());
        assert!(!has_room(&crowd).await);
        crowd.give_way();
        assert!(!is_lost(&mut first));
        // A place that is left is there for who waits.
        let waits = tokio::spawn({
            let crowd = crowd.clone();
            async move { crowd.room().await }
        });
        tokio::task::yield_now().await;
        drop(second);
        waits.await.unwrap();
        let _second = crowd.enter();
        assert!(!is_lost(&mut first));
    }

    #[tokio::test]
    async fn the_oldest_gives_way_after_a_time() {
        let crowd = Crowd::with_patience(2, Duration::from_millis(20));
        let start = Instant::now();
        let (mut first, mut second) = (crowd.enter(), crowd.enter());
        crowd.room().await;
        assert!(start.elapsed() >= crowd.patience);
        let mut third = crowd.enter();
        assert!(is_lost(&mut first) && !is_lost(&mut second) && !is_lost(&mut third));
        // What was lost is not given back too.
        drop(first);
        assert_eq!(crowd.inside.lock().places.len(), 2);
        crowd.give_way();
        assert!(is_lost(&mut second));
    }
}
