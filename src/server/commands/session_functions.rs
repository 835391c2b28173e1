//! Functions whose work is the session's, not the query's: set_config, pg_cancel_backend, pg_terminate_backend, pg_sleep.
//!
//! A call that is an item of the outermost select list is done for each row of the query's answer, when the row is there. The
//! query gives the arguments behind its own columns:
//!
//! ```text
//!   SELECT pid, pg_cancel_backend(pid + 0) FROM ...            as it is written
//!   SELECT pid, CAST(NULL AS boolean), CAST(pid + 0 AS integer) FROM ...     as it runs
//! ```
//!
//! Anywhere else such a call is refused by the binder: how often it would be done, and whether, is nobody's to say.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, Int32Type};
use sqlparser::ast::{self, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, SelectItem, SetExpr};

use crate::error::{Error, Result, SqlState};
use crate::server::interrupt::Reason;
use crate::server::rows::{Columns, Rows};
use crate::server::session::{Flow, Session};
use crate::sql::statement::fold;
use crate::types::arrow_schema;

/// Rows that are answered between two waits.
const PIECE: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    SetConfig,
    Interrupt(Reason),
    Sleep,
}

impl Function {
    fn of(name: &str) -> Option<Function> {
        Some(match name {
            "set_config" => Function::SetConfig,
            "pg_cancel_backend" => Function::Interrupt(Reason::Cancel),
            "pg_terminate_backend" => Function::Interrupt(Reason::Terminate),
            "pg_sleep" => Function::Sleep,
            _ => return None,
        })
    }

    /// The types of its arguments, and how many there are at least.
    fn arguments(self) -> (&'static [DataType], usize) {
        match self {
            Function::SetConfig => (&[DataType::Text, DataType::Text, DataType::Boolean], 3),
            // How long to wait for the other's end, which nobody does.
            Function::Interrupt(Reason::Terminate) => (&[DataType::Integer(None), DataType::BigInt(None)], 1),
            Function::Interrupt(Reason::Cancel) => (&[DataType::Integer(None)], 1),
            Function::Sleep => (&[DataType::DoublePrecision], 1),
        }
    }

    fn result(self) -> DataType {
        match self {
            Function::SetConfig | Function::Sleep => DataType::Text,
            Function::Interrupt(_) => DataType::Boolean,
        }
    }
}

/// An item of a select list: which one, if all before it are one column each, or all behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    FromStart(usize),
    FromEnd(usize),
}

struct Call {
    function: Function,
    item: Item,
    /// The first of its arguments among those of all calls, and how many there are.
    first: usize,
    count: usize,
}

/// What a query asks of the session.
#[derive(Default)]
pub struct Calls {
    calls: Vec<Call>,
    /// Arguments of all calls.
    arguments: usize,
}

/// The query as it runs, and its calls, if it has any.
pub fn take(query: &Arc<ast::Query>) -> Option<(Arc<ast::Query>, Calls)> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    if select.distinct.is_some() || !select.projection.iter().any(|item| call(item).is_some()) {
        return None;
    }
    let mut query = query.as_ref().clone();
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let is_list = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    let first_list = select.projection.iter().position(is_list).unwrap_or(usize::MAX);
    let last_list = select.projection.iter().rposition(is_list).unwrap_or(0);
    let length = select.projection.len();
    let mut calls = Calls::default();
    let mut arguments = Vec::new();
    for (at, item) in select.projection.iter_mut().enumerate() {
        let place = match at {
            _ if at < first_list => Item::FromStart(at),
            _ if at > last_list => Item::FromEnd(length - 1 - at),
            _ => continue,
        };
        let Some((function, alias, given)) = call(item) else { continue };
        calls.calls.push(Call { function, item: place, first: arguments.len(), count: given.len() });
        let (types, _) = function.arguments();
        for (expr, ty) in given.into_iter().zip(types) {
            arguments.push(SelectItem::UnnamedExpr(cast(expr.clone(), ty.clone())));
        }
        let result = cast(Expr::Value(ast::Value::Null.into()), function.result());
        *item = SelectItem::ExprWithAlias { expr: result, alias };
    }
    calls.arguments = arguments.len();
    select.projection.extend(arguments);
    Some((query.into(), calls))
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: ast::CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

/// The call that an item is, with the column's name and the arguments.
fn call(item: &SelectItem) -> Option<(Function, ast::Ident, Vec<&Expr>)> {
    let (expr, alias) = match item {
        SelectItem::UnnamedExpr(expr) => (expr, None),
        SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias)),
        _ => return None,
    };
    let Expr::Function(call) = expr else { return None };
    let parts: Vec<String> = call.name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
    let name = match parts.as_slice() {
        [name] => name,
        [schema, name] if schema == "pg_catalog" => name,
        _ => return None,
    };
    let function = Function::of(name)?;
    let FunctionArguments::List(list) = &call.args else { return None };
    let is_plain = call.filter.is_none()
        && call.over.is_none()
        && call.null_treatment.is_none()
        && call.within_group.is_empty()
        && list.duplicate_treatment.is_none()
        && list.clauses.is_empty();
    let mut given = Vec::with_capacity(list.args.len());
    for argument in &list.args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument else { return None };
        given.push(expr);
    }
    let (types, least) = function.arguments();
    let alias = alias.cloned().unwrap_or_else(|| ast::Ident::new(name));
    (is_plain && given.len() >= least && given.len() <= types.len()).then_some((function, alias, given))
}

impl Calls {
    /// The columns of the query as it is written.
    pub fn columns(&self, columns: &Columns) -> Columns {
        columns.first(columns.len() - self.arguments)
    }

    /// Does the work of all rows, and gives them with its results.
    pub async fn answer(&self, session: &mut Session, mut rows: Rows) -> Flow<Rows> {
        let columns = self.columns(&rows.columns);
        let schema = arrow_schema(&columns);
        // Until they are sent.
        let mut held = session.keep(0)?;
        let mut answered = Vec::new();
        while let Some(batch) = rows.next(PIECE).await? {
            let mut arrays = batch.columns()[..columns.len()].to_vec();
            let results = self.results(session, &batch).await?;
            for (call, result) in self.calls.iter().zip(results) {
                let place = match call.item {
                    Item::FromStart(at) => at,
                    Item::FromEnd(behind) => columns.len() - 1 - behind,
                };
                arrays[place] = result;
            }
            let batch = RecordBatch::try_new(schema.clone(), arrays).map_err(Error::from)?;
            held.grow(batch.get_array_memory_size())?;
            answered.push(batch);
            // Whoever wants to stop us has its turn.
            tokio::task::yield_now().await;
        }
        Ok(Rows::ready(columns, answered))
    }

    /// The results of each call over a batch's rows. Row by row, as what one call does others may see.
    async fn results(&self, session: &mut Session, batch: &RecordBatch) -> Flow<Vec<ArrayRef>> {
        let given = &batch.columns()[batch.num_columns() - self.arguments..];
        let mut results = vec![Results::default(); self.calls.len()];
        for row in 0..batch.num_rows() {
            for (call, results) in self.calls.iter().zip(&mut results) {
                let arguments = &given[call.first..call.first + call.count];
                match call.function {
                    Function::SetConfig => results.texts.push(Some(set_config(session, arguments, row)?)),
                    Function::Interrupt(reason) => {
                        let pid = arguments[0].as_primitive::<Int32Type>();
                        let interrupt = || session.shared.registry.interrupt(pid.value(row), reason);
                        results.flags.push(arguments.iter().all(|value| value.is_valid(row)).then(interrupt));
                    }
                    Function::Sleep => {
                        let seconds = arguments[0].as_primitive::<Float64Type>();
                        if seconds.is_valid(row) {
                            // A century is for ever.
                            let seconds = seconds.value(row).clamp(0.0, 3e9);
                            tokio::time::sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default()).await;
                        }
                        results.texts.push(seconds.is_valid(row).then(String::new));
                    }
                }
            }
        }
        let made = self.calls.iter().zip(results).map(|(call, results)| -> ArrayRef {
            match call.function.result() {
                DataType::Boolean => Arc::new(BooleanArray::from(results.flags)),
                _ => Arc::new(StringArray::from(results.texts)),
            }
        });
        Ok(made.collect())
    }
}

/// One call's results so far, in the list of their type.
#[derive(Clone, Default)]
struct Results {
    texts: Vec<Option<String>>,
    flags: Vec<Option<bool>>,
}

/// Sets a setting and gives its new value; as in Postgres, NULL goes back to the default.
fn set_config(session: &mut Session, arguments: &[ArrayRef], row: usize) -> Result<String> {
    let text = |at: usize| arguments[at].is_valid(row).then(|| arguments[at].as_string::<i32>().value(row));
    let Some(name) = text(0) else {
        return Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, "SET requires parameter name"));
    };
    let local = arguments[2].is_valid(row) && arguments[2].as_boolean().value(row);
    match text(1) {
        Some(value) => session.set(name, value, local)?,
        None => session.reset(name, local)?,
    }
    // A client's own setting is no more once it is reset.
    Ok(session.settings.show(name).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse::parse_query;

    fn taken(text: &str) -> Option<String> {
        take(&Arc::new(*parse_query(text).unwrap())).map(|(query, calls)| {
            let items: Vec<String> = calls.calls.iter().map(|call| format!("{:?}", call.item)).collect();
            format!("{query} -- {}", items.join(", "))
        })
    }

    #[test]
    fn calls_that_are_items_of_the_outermost_list_are_taken() {
        insta::assert_snapshot!(
            taken("select pid, pg_cancel_backend(pid + 0), Set_Config('a', $1, true) as b from s where pid > 1").unwrap(),
            @"SELECT pid, CAST(NULL AS BOOLEAN) AS pg_cancel_backend, CAST(NULL AS TEXT) AS b, CAST(pid + 0 AS INTEGER), CAST('a' AS TEXT), CAST($1 AS TEXT), CAST(true AS BOOLEAN) FROM s WHERE pid > 1 -- FromStart(1), FromStart(2)"
        );
        insta::assert_snapshot!(
            taken("select pg_catalog.pg_sleep(1), *, pg_terminate_backend(1, 2), pid from s").unwrap(),
            @"SELECT CAST(NULL AS TEXT) AS pg_sleep, *, CAST(NULL AS BOOLEAN) AS pg_terminate_backend, pid, CAST(1 AS DOUBLE PRECISION), CAST(1 AS INTEGER), CAST(2 AS BIGINT) FROM s -- FromStart(0), FromEnd(1)"
        );
        for other in [
            "select coalesce(set_config('a', 'b', true))",
            "select distinct set_config('a', 'b', true)",
            "select 1 where pg_sleep(1) is null",
            "select * from (select pg_sleep(1)) s",
            "select pg_sleep(1) union select ''",
            "select set_config('a', 'b')",
            "select pg_sleep(1) over ()",
            "select s.*, pg_sleep(1), t.* from s, t",
            "select mine.pg_sleep(1)",
        ] {
            let taken = taken(other);
            assert!(taken.as_ref().is_none_or(|taken| taken.ends_with("-- ")), "{other}: {taken:?}");
        }
    }
}
