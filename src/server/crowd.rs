//! Places for sockets that have not said anything that counts. Whoever comes when all are taken gets the place of the one that
//! has held its own for longest: who means it is served, however many others only hold the door.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

pub struct Crowd {
    most: usize,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    next: u64,
    /// Oldest first.
    places: VecDeque<(u64, oneshot::Sender<()>)>,
}

/// A place; given back when it is dropped.
pub struct Place {
    crowd: Arc<Crowd>,
    number: u64,
    lost: oneshot::Receiver<()>,
}

impl Crowd {
    pub fn new(most: usize) -> Arc<Crowd> {
        Arc::new(Crowd { most, inside: Mutex::default() })
    }

    pub fn enter(self: &Arc<Crowd>) -> Place {
        let (sender, lost) = oneshot::channel();
        let mut inside = self.inside.lock();
        let number = inside.next;
        inside.next += 1;
        inside.places.push_back((number, sender));
        if inside.places.len() > self.most {
            // Dropping its sender tells the oldest.
            inside.places.pop_front();
        }
        Place { crowd: self.clone(), number, lost }
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
        if let Ok(at) = inside.places.binary_search_by_key(&self.number, |(number, _)| *number) {
            inside.places.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_gives_way() {
        let crowd = Crowd::new(2);
        let (mut first, mut second) = (crowd.enter(), crowd.enter());
        assert!(first.lost().try_recv() == Err(oneshot::error::TryRecvError::Empty));
        let mut third = crowd.enter();
        assert!(first.lost().try_recv() == Err(oneshot::error::TryRecvError::Closed));
        // A place that was left is there for the next.
        drop(second);
        second = crowd.enter();
        for place in [&mut third, &mut second] {
            assert!(place.lost().try_recv() == Err(oneshot::error::TryRecvError::Empty));
        }
    }
}
