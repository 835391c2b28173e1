//! The SQL front: text to statements, statements to typed plans, plans to circuits.
//!
//! ```text
//!   text -> parse -> Statement -> bind (names, types: Postgres's meaning) -> LogicalPlan, every expression typed
//!        -> plan (optimizer rules that hold for reads, or only those that hold for views)
//!        -> DataFusion's execution (query/), or lower -> CircuitPlan
//! ```
//!
//! Nothing here touches data, time or disk: the same text over the same catalog gives the same plan.

pub mod aggregates;
pub mod arrays;
pub mod bind;
pub mod catalog_functions;
pub mod decorrelate;
pub mod dependencies;
pub mod filters;
pub mod functions;
mod grouping;
pub mod guard;
pub mod in_lists;
pub mod lateral;
pub mod lower;
pub mod nodes;
pub mod nullable;
pub mod parse;
pub mod plan;
pub mod refusals;
pub mod registry;
pub mod row_count;
pub mod same;
pub mod statement;
pub mod subquery;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::DFSchema;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use crate::catalog::{Catalog, PG_CATALOG, PUBLIC, RR_CATALOG, Relation, RelationId};
use crate::types::{Column, Type};

/// What a statement is bound against.
#[derive(Clone)]
pub struct BindContext {
    pub catalog: Arc<Catalog>,
    /// Full path, system schemas included.
    pub search_path: Vec<String>,
    /// Types given for $1, $2, ...; `None` where the client left it to us.
    pub parameter_types: Vec<Option<Type>>,
    /// Values that are fixed for the statement: current_user, current_database(), TimeZone, version() ...
    pub session: SessionConstants,
    /// Binding a view's body: `now()` and volatile functions are refused, parameters too.
    pub for_view: bool,
}

impl BindContext {
    /// As a session binds a statement without parameters when it has changed no setting.
    pub fn new(catalog: Arc<Catalog>) -> BindContext {
        let search_path = [PG_CATALOG, RR_CATALOG, PUBLIC].map(String::from).to_vec();
        let session = SessionConstants::default();
        BindContext { catalog, search_path, parameter_types: Vec::new(), session, for_view: false }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct SessionConstants {
    pub user: String,
    pub database: String,
    /// IANA name or fixed offset, as TimeZone shows it.
    pub time_zone: String,
    /// Microseconds since 1970 UTC, for now() and friends; the transaction's start.
    pub now: i64,
    pub backend_pid: i32,
    /// Of the transaction, or of the statement by itself: those that begin later have greater ones.
    pub transaction: i64,
    /// When the server was started: microseconds since 1970 UTC.
    pub server_start: i64,
    /// Every setting of the session, by name: current_setting(), pg_settings.
    pub settings: Arc<[SettingRow]>,
}

/// The user and the database that are always there, in 1970.
impl Default for SessionConstants {
    fn default() -> SessionConstants {
        SessionConstants {
            user: "postgres".to_string(),
            database: "postgres".to_string(),
            time_zone: "UTC".to_string(),
            now: 0,
            backend_pid: 0,
            transaction: 0,
            server_start: 0,
            settings: Arc::new([]),
        }
    }
}

/// A setting as `pg_settings` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingRow {
    pub name: String,
    /// As SHOW prints it.
    pub value: String,
    pub default: String,
    pub unit: Option<&'static str>,
    /// `pg_settings.vartype`.
    pub kind: &'static str,
    pub context: &'static str,
    pub description: &'static str,
}

impl SettingRow {
    /// A client's own setting (`myapp.user`).
    pub fn custom(name: &str, value: &str) -> SettingRow {
        SettingRow {
            name: name.to_string(),
            value: value.to_string(),
            default: String::new(),
            unit: None,
            kind: "string",
            context: "user",
            description: "",
        }
    }
}

/// A column of a relation, as a result's description names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub relation: RelationId,
    /// Counted from 1.
    pub column: i16,
}

/// A query with all names and types resolved.
#[derive(Clone, Debug)]
pub struct BoundQuery {
    /// Arrow columns are `columns`' types in order; names in the plan are unique but not the user's.
    pub plan: LogicalPlan,
    /// What the client sees. Names may repeat.
    pub columns: Vec<Column>,
    /// For each of them the relation's column that it shows unchanged, if it does.
    pub origins: Vec<Option<Origin>>,
    /// Types of $1, $2, ... as given or inferred.
    pub parameters: Vec<Type>,
    /// Every relation that is scanned, each once.
    pub relations: Vec<RelationId>,
}

/// The relation behind a `TableScan` of a bound plan. Its Arrow columns are the relation's visible ones, or the stored ones
/// (DML needs the row id).
#[derive(Debug, Clone)]
pub struct RelationSource {
    pub relation: Arc<Relation>,
    pub schema: arrow::datatypes::SchemaRef,
}

impl datafusion::logical_expr::TableSource for RelationSource {
    fn schema(&self) -> arrow::datatypes::SchemaRef {
        self.schema.clone()
    }
}

/// INSERT as a query: `source` yields the stored columns, in order, cast and with defaults, generated columns in;
/// the row id column, where there is one, is NULL and filled by the engine.
#[derive(Clone, Debug)]
pub struct BoundInsert {
    pub relation: Arc<Relation>,
    pub source: BoundQuery,
    pub on_conflict: Option<OnConflict>,
    pub returning: Option<BoundReturning>,
}

#[derive(Clone, Debug)]
pub enum OnConflict {
    Nothing,
    /// `assignments` is over the existing stored row's columns, then the proposed row's (`excluded`), and yields the new
    /// stored row; `condition` over the same.
    Update {
        assignments: Vec<datafusion::logical_expr::Expr>,
        condition: Option<datafusion::logical_expr::Expr>,
    },
}

/// UPDATE as a query that yields each affected row's old stored columns, then its new stored columns.
/// DELETE yields the old ones only.
#[derive(Clone, Debug)]
pub struct BoundChange {
    pub relation: Arc<Relation>,
    pub source: BoundQuery,
    pub returning: Option<BoundReturning>,
}

/// RETURNING: expressions over the stored columns of the affected row (new, or for DELETE old).
#[derive(Clone, Debug)]
pub struct BoundReturning {
    pub expressions: Vec<datafusion::logical_expr::Expr>,
    pub columns: Vec<Column>,
    /// Columns of other relations that the expressions name; the source yields them last.
    pub beside: Vec<Column>,
}

/// The circuit of a materialized view, from its definition. The same definition over the same catalog gives the same
/// circuit: nothing of a session gets in.
pub fn plan_view(catalog: &Arc<Catalog>, view: &Relation) -> crate::error::Result<crate::circuit::plan::CircuitPlan> {
    lower::lower(&bind::bind_view(&of_nobody(catalog.clone()), view)?)
}

/// Expressions that make a relation's stored row of its columns at these places, generated columns and defaults included. They
/// read batches of `given`, and nothing of a session.
pub fn complete_row(
    relation: &Relation,
    places: &[usize],
    given: &SchemaRef,
) -> crate::error::Result<Vec<Arc<dyn PhysicalExpr>>> {
    let context = of_nobody(Arc::new(Catalog::default()));
    let row = bind::bind_complete_row(&context, &Arc::new(relation.clone()), places)?;
    let columns = DFSchema::try_from(given.clone())?;
    let (props, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    row.iter().map(|expr| Ok(create_physical_expr(expr, &columns, &props, &planning)?)).collect()
}

/// What definitions are bound against: no session's settings, names or path.
fn of_nobody(catalog: Arc<Catalog>) -> BindContext {
    let session = SessionConstants { user: String::new(), database: String::new(), ..SessionConstants::default() };
    BindContext { search_path: Vec::new(), session, for_view: true, ..BindContext::new(catalog) }
}
