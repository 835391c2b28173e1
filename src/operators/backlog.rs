//! Input that is not worked off: where one row may give any number of rows, a step ends when it has given enough, and
//! the next one goes on from here.
//!
//! Keeps the input's deltas and a place in the first of them. Saved as them; nothing when there is none.

use std::collections::VecDeque;

use super::Progress;
use super::saved::{Reader, Writer};
use crate::delta::{self, Delta};
use crate::error::Result;

const VERSION: u8 = 1;

#[derive(Default)]
pub struct Backlog {
    deltas: VecDeque<Delta>,
    place: Place,
}

/// The next row of the first delta, and how many of the rows that it gives were given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub row: usize,
    pub given: usize,
}

impl Backlog {
    /// Works off what is left and this input, until there is nothing more or a step has given `most` (`delta::size::volume`). `work` starts
    /// at a place of a delta and says where it has stopped, and how much it has given.
    pub fn work_off(
        &mut self,
        input: &[Delta],
        most: usize,
        mut work: impl FnMut(&Delta, Place) -> Result<(Place, usize)>,
    ) -> Result<Progress> {
        self.deltas.extend(input.iter().filter(|delta| !delta.is_empty()).cloned());
        let mut volume = 0;
        while let Some(first) = self.deltas.front().cloned() {
            let (next, given) = work(&first, self.place)?;
            self.advance(next);
            volume += given;
            if volume >= most && !self.deltas.is_empty() {
                return Ok(Progress::More);
            }
        }
        Ok(Progress::Done)
    }

    /// The first delta is worked off up to this place.
    fn advance(&mut self, place: Place) {
        self.place = place;
        if self.deltas.front().is_some_and(|delta| place.row >= delta.len()) {
            self.deltas.pop_front();
            self.place = Place::default();
        }
    }

    pub fn bytes(&self) -> usize {
        self.deltas.iter().map(Delta::bytes).sum()
    }

    pub fn save(&self) -> Result<Vec<u8>> {
        if self.deltas.is_empty() {
            return Ok(Vec::new());
        }
        let mut writer = Writer::new(VERSION);
        writer.value(&(self.place.row, self.place.given))?;
        let deltas: Vec<Delta> = self.deltas.iter().cloned().collect();
        writer.section(&delta::saved::save(&deltas)?);
        Ok(writer.finish())
    }

    pub fn load(&mut self, saved: &[u8]) -> Result<()> {
        *self = Backlog::default();
        if !saved.is_empty() {
            let mut reader = Reader::new(VERSION, saved)?;
            (self.place.row, self.place.given) = reader.value()?;
            self.deltas = delta::saved::load(reader.section()?)?.into();
        }
        Ok(())
    }
}
