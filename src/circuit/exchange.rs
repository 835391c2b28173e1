//! Exchange: the only way rows cross from one worker to another, and the workers' only meeting place.
//!
//! Every worker runs the same nodes in the same order, so between two workers one first-in first-out channel a
//! direction is enough: the next message from a peer always belongs to the exchange that is being run. Volume is
//! bounded by the step's. A peer that is gone (it panicked) is an error, never a hang.

use arrow::array::{ArrayRef, UInt32Array};
use crossbeam_channel::{Receiver, Sender, unbounded};

use super::graph::NodeId;
use super::plan::ExchangeTo;
use crate::delta::{Delta, hash_rows, shard};
use crate::error::{Error, Result, guarded};

enum Message {
    Rows { node: NodeId, deltas: Vec<Delta> },
    Vote(Vec<NodeId>),
}

/// One worker's ends of the channels to all others.
pub struct Mesh {
    pub worker: usize,
    pub workers: usize,
    to: Vec<Option<Sender<Message>>>,
    from: Vec<Option<Receiver<Message>>>,
}

/// The ends for each of `workers` workers.
pub fn mesh(workers: usize) -> Vec<Mesh> {
    let mut ends: Vec<Mesh> =
        (0..workers).map(|worker| Mesh { worker, workers, to: Vec::new(), from: Vec::new() }).collect();
    for sender in 0..workers {
        for receiver in 0..workers {
            if sender == receiver {
                ends[sender].to.push(None);
                ends[receiver].from.push(None);
            } else {
                let (to, from) = unbounded();
                ends[sender].to.push(Some(to));
                ends[receiver].from.push(Some(from));
            }
        }
    }
    ends
}

impl Mesh {
    /// Sends every row where it belongs and gives the rows that belong here.
    pub fn exchange(&self, node: NodeId, to: &ExchangeTo, deltas: &[Delta]) -> Result<Vec<Delta>> {
        if self.workers == 1 {
            return Ok(deltas.to_vec());
        }
        let mut parts: Vec<Vec<Delta>> = vec![Vec::new(); self.workers];
        let split = guarded(|| deltas.iter().try_for_each(|delta| self.split(to, delta, &mut parts)));
        if split.is_err() {
            // The peers wait for a message all the same: without one they would take the next exchange's for this one's.
            parts = vec![Vec::new(); self.workers];
        }
        let mut mine = std::mem::take(&mut parts[self.worker]);
        for (peer, deltas) in parts.into_iter().enumerate() {
            self.send(peer, Message::Rows { node, deltas })?;
        }
        for peer in 0..self.workers {
            match self.receive(peer)? {
                None => {}
                Some(Message::Rows { node: theirs, deltas }) if theirs == node => mine.extend(deltas),
                Some(_) => return Err(Error::internal(format!("workers disagree at exchange {}", node.0))),
            }
        }
        split.map(|()| mine)
    }

    /// The union of all workers' sets.
    pub fn vote(&self, mut nodes: Vec<NodeId>) -> Result<Vec<NodeId>> {
        for peer in 0..self.workers {
            self.send(peer, Message::Vote(nodes.clone()))?;
        }
        for peer in 0..self.workers {
            match self.receive(peer)? {
                None => {}
                Some(Message::Vote(theirs)) => nodes.extend(theirs),
                Some(_) => return Err(Error::internal("workers disagree at a vote")),
            }
        }
        nodes.sort_unstable();
        nodes.dedup();
        Ok(nodes)
    }

    fn split(&self, to: &ExchangeTo, delta: &Delta, parts: &mut [Vec<Delta>]) -> Result<()> {
        let columns: Vec<ArrayRef> = match to {
            ExchangeTo::One => {
                parts[0].push(delta.clone());
                return Ok(());
            }
            ExchangeTo::All => {
                parts.iter_mut().for_each(|part| part.push(delta.clone()));
                return Ok(());
            }
            ExchangeTo::Row => delta.rows().columns().to_vec(),
            ExchangeTo::Key(key) => key.iter().map(|column| delta.rows().column(*column).clone()).collect(),
        };
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.workers];
        let mut hashes = Vec::new();
        hash_rows(&columns, delta.len(), &mut hashes)?;
        for (row, hash) in hashes.into_iter().enumerate() {
            rows[shard(hash) % self.workers].push(row as u32);
        }
        for (part, rows) in parts.iter_mut().zip(rows) {
            if rows.len() == delta.len() {
                part.push(delta.clone());
            } else if !rows.is_empty() {
                part.push(delta.take(&UInt32Array::from(rows))?);
            }
        }
        Ok(())
    }

    fn send(&self, peer: usize, message: Message) -> Result<()> {
        match &self.to[peer] {
            Some(channel) => channel.send(message).map_err(|_| gone(peer)),
            None => Ok(()),
        }
    }

    /// `None` for the worker itself.
    fn receive(&self, peer: usize) -> Result<Option<Message>> {
        match &self.from[peer] {
            Some(channel) => channel.recv().map(Some).map_err(|_| gone(peer)),
            None => Ok(None),
        }
    }
}

fn gone(peer: usize) -> Error {
    Error::internal(format!("worker {peer} has stopped"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::text;

    #[test]
    fn an_error_of_one_worker_leaves_the_next_exchange_right() {
        let delta = || text::parse(&text::schema("a int4"), "1\n2\n3").unwrap();
        let ends = mesh(2);
        let (first, second) = (NodeId(1), NodeId(2));
        let outcomes: Vec<(bool, usize)> = std::thread::scope(|scope| {
            let work = |end: Mesh| {
                // One of them has rows without the column to go by.
                let sent = if end.worker == 0 { vec![delta()] } else { Vec::new() };
                let failed = end.exchange(first, &ExchangeTo::Key(vec![9]), &sent).is_err();
                let received = end.exchange(second, &ExchangeTo::All, &[delta()]);
                (failed, received.map_or(0, |deltas| deltas.len()))
            };
            let threads: Vec<_> = ends.into_iter().map(|end| scope.spawn(move || work(end))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(outcomes, [(true, 2), (false, 2)]);
    }
}
