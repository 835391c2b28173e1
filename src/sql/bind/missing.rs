//! Rows that an outer join has none of: `SELECT y FROM x LEFT JOIN y` is NULL there, not a row of NULLs.
//!
//! ```text
//!   x LEFT JOIN y   =   Join <- x
//!                            <- Projection y's columns, true AS present
//!   y, as a value   =   CASE WHEN present THEN row of y's columns END
//! ```
//!
//! The column is in no one's sight; where no whole row asks for it the optimizer leaves it out.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Case, Expr};

use super::from::From;
use super::scope::{Presence, ScopeTable};
use super::table_function::is_unnest;
use super::{Binder, project};
use crate::error::{Error, Result};
use crate::sql::registry::Typed;

impl Binder<'_> {
    /// What becomes the side of an outer join whose rows may be missing.
    pub(super) fn may_miss(&mut self, mut side: From) -> Result<From> {
        // A function of the other side's columns needs no join: its rows stand beside those, and nothing is below them.
        let function = side.lateral && is_unnest(&side.plan);
        let mut marks = Vec::new();
        for table in &mut side.scope.tables {
            if let Some(source) = &mut table.relation {
                source.nullable = true;
            }
            if table.scalar || table.presence != Presence::Always {
                continue;
            }
            table.presence = match function {
                true => Presence::Unknown,
                false => {
                    let name = self.fresh("present");
                    marks.push(Expr::Literal(ScalarValue::Boolean(Some(true)), None).alias(&name));
                    Presence::Column(name)
                }
            };
        }
        if !marks.is_empty() {
            let columns = side.plan.schema().columns().into_iter().map(Expr::Column);
            side.plan = project(Arc::new(side.plan), columns.chain(marks).collect())?;
        }
        Ok(side)
    }

    /// The column that says whether a table has a row, if that is a question. 0A000 where nothing does.
    pub(super) fn presence(&mut self, depth: usize, table: &ScopeTable, at: Option<u32>) -> Result<Option<Expr>> {
        let shown = table.name.as_deref().unwrap_or_default();
        match table.presence_column() {
            Some(column) => Ok(Some(self.column(depth, column, &format!("{shown}.*"), at)?.expr)),
            None if table.presence == Presence::Unknown => {
                let construct = "the whole row of a function that an outer join may find no rows of";
                Err(Error::unsupported(construct, "Name its columns.").or_position(at))
            }
            None => Ok(None),
        }
    }

    /// A table's row without the question whether it is there.
    pub(super) fn row_itself<'a>(&self, expr: &'a Expr) -> &'a Expr {
        let Expr::Case(Case { expr: None, when_then_expr, else_expr: None }) = expr else { return expr };
        let [(there, row)] = when_then_expr.as_slice() else { return expr };
        let (Expr::Column(column) | Expr::OuterReferenceColumn(_, column)) = there.as_ref() else { return expr };
        let mut tables = self.levels.iter().flat_map(|level| &level.scope.tables);
        match tables.any(|table| matches!(&table.presence, Presence::Column(name) if *name == column.name)) {
            true => row,
            false => expr,
        }
    }
}

/// A row, NULL where it is not there.
pub(super) fn row_if(there: Option<Expr>, row: Typed) -> Typed {
    let Some(there) = there else { return row };
    let when = vec![(Box::new(there), Box::new(row.expr))];
    Typed::new(Expr::Case(Case { expr: None, when_then_expr: when, else_expr: None }), row.ty)
}
