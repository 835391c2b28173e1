//! Plan nodes that DataFusion has no form for. Views lower them to operators; reads expand them (`plan.rs`).

use std::cmp::Ordering;
use std::fmt;

use datafusion::common::{DFSchemaRef, TableReference};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::error::{Error, Result};
use crate::operators::spec::SetOpKind;

/// INTERSECT or EXCEPT, with the multiplicities SQL gives them: with ALL min(l, r) and max(l - r, 0).
///
/// Columns are named as the left input's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SetOpNode {
    pub left: LogicalPlan,
    pub right: LogicalPlan,
    pub kind: SetOpKind,
    pub all: bool,
}

/// Each row of the input once for each window [start, start + size), start a multiple of `slide` (microseconds
/// since 1970), that holds its `time` column; window_start and window_end are added as the last two columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HopNode {
    pub input: LogicalPlan,
    /// A column of the input.
    pub time: String,
    pub slide: i64,
    pub size: i64,
    pub schema: DFSchemaRef,
}

impl HopNode {
    /// `start` and `end` name the new columns; their type is the time column's.
    pub fn try_new(input: LogicalPlan, time: &str, slide: i64, size: i64, start: &str, end: &str) -> Result<HopNode> {
        let field = input.schema().field_with_unqualified_name(time)?.clone();
        let mut fields: Vec<(Option<TableReference>, arrow::datatypes::FieldRef)> =
            input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone())).collect();
        for name in [start, end] {
            let field = arrow::datatypes::Field::new(name, field.data_type().clone(), true);
            fields.push((None, std::sync::Arc::new(field)));
        }
        let schema = datafusion::common::DFSchema::new_with_metadata(fields, Default::default())?;
        Ok(HopNode { input, time: time.to_string(), slide, size, schema: schema.into() })
    }

    /// Names of the columns that are added.
    pub fn added(&self) -> (&str, &str) {
        let count = self.schema.fields().len();
        (self.schema.field(count - 2).name(), self.schema.field(count - 1).name())
    }
}

impl PartialOrd for SetOpNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl PartialOrd for HopNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for SetOpNode {
    fn name(&self) -> &str {
        match self.kind {
            SetOpKind::Intersect => "Intersect",
            SetOpKind::Except => "Except",
        }
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.left.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}{}", self.name(), if self.all { " All" } else { "" })
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        let (Some(right), Some(left)) = (inputs.pop(), inputs.pop()) else {
            return Err(Error::internal("a set operation has two inputs").into());
        };
        Ok(SetOpNode { left, right, kind: self.kind, all: self.all })
    }

    /// Whole rows count: every column is needed of both.
    fn necessary_children_exprs(&self, _output: &[usize]) -> Option<Vec<Vec<usize>>> {
        let all = |plan: &LogicalPlan| (0..plan.schema().fields().len()).collect();
        Some(vec![all(&self.left), all(&self.right)])
    }

    /// Inputs name their columns differently: nothing is pushed through by name.
    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        self.left.schema().fields().iter().map(|field| field.name().clone()).collect()
    }
}

impl UserDefinedLogicalNodeCore for HopNode {
    fn name(&self) -> &str {
        "Hop"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Hop: {} slide={}us size={}us", self.time, self.slide, self.size)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        let Some(input) = inputs.pop() else { return Err(Error::internal("a window function has an input").into()) };
        let (start, end) = self.added();
        Ok(HopNode::try_new(input, &self.time, self.slide, self.size, start, end)?)
    }

    fn necessary_children_exprs(&self, output: &[usize]) -> Option<Vec<Vec<usize>>> {
        let inputs = self.input.schema().fields().len();
        let time = self.input.schema().index_of_column_by_name(None, &self.time)?;
        let mut needed: Vec<usize> = output.iter().copied().filter(|column| *column < inputs).collect();
        needed.push(time);
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }

    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        let (start, end) = self.added();
        [start.to_string(), end.to_string()].into()
    }
}
