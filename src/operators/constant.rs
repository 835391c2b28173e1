//! Rows that are always there (VALUES, SELECT without FROM): emitted once, in the first step, on worker 0.
//! Keeps whether that has happened.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::changes::emit;
use super::saved::{Reader, Writer};
use super::union::renamed;
use super::{Operator, Progress, Step};
use crate::delta::Delta;
use crate::error::Result;

pub struct Constant {
    rows: Delta,
    emitted: bool,
}

impl Constant {
    /// `here`: this worker is the one that emits.
    pub fn new(rows: &RecordBatch, here: bool, output: &SchemaRef) -> Result<Constant> {
        Ok(Constant { rows: renamed(&Delta::insertions(rows.clone()), output)?, emitted: !here })
    }
}

impl Operator for Constant {
    fn step(&mut self, _inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        if !self.emitted {
            self.emitted = true;
            emit(step.out, self.rows.clone());
        }
        Ok(Progress::Done)
    }

    fn state_bytes(&self) -> usize {
        self.rows.bytes()
    }

    fn save(&self) -> Result<Vec<u8>> {
        let mut writer = Writer::new(1);
        writer.value(&self.emitted)?;
        Ok(writer.finish())
    }

    fn load(&mut self, saved: &[u8]) -> Result<()> {
        self.emitted = Reader::new(1, saved)?.value()?;
        Ok(())
    }
}
