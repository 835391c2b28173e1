//! The input with its weights negated: what `a - b` adds to `a`. Stateless; rows are not copied.

use super::{Operator, Progress, Step};
use crate::delta::Delta;
use crate::error::Result;

pub struct Negate;

impl Operator for Negate {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        step.out.extend(inputs.iter().copied().flatten().map(Delta::negate));
        Ok(Progress::Done)
    }
}
