//! UNION ALL: the sum of the inputs. Stateless; nothing is copied.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::{Operator, Progress, Step};
use crate::delta::Delta;
use crate::error::Result;

pub struct Union {
    output: SchemaRef,
}

impl Union {
    pub fn new(output: &SchemaRef) -> Union {
        Union { output: output.clone() }
    }
}

impl Operator for Union {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        for delta in inputs.iter().copied().flatten() {
            step.out.push(renamed(delta, &self.output)?);
        }
        Ok(Progress::Done)
    }
}

/// The same columns under the output's names.
pub fn renamed(delta: &Delta, output: &SchemaRef) -> Result<Delta> {
    let options = RecordBatchOptions::new().with_row_count(Some(delta.len()));
    let rows = RecordBatch::try_new_with_options(output.clone(), delta.rows().columns().to_vec(), &options)?;
    Ok(delta.with_rows(rows))
}
