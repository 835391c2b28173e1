//! The registry as the catalog shows it: rows in the shape of pg_cast, pg_operator, pg_proc and pg_aggregate.

use datafusion::logical_expr::Volatility;

use super::aggregate::AGGREGATES;
use super::cast_rows::CASTS;
pub use super::cast_rows::CastRow;
use super::composite::COMPOSITES;
use crate::sql::functions::{self, SET_RETURNING};

/// A row of pg_operator.
#[derive(Clone, Debug)]
pub struct OperatorRow {
    pub oid: u32,
    pub oprname: &'static str,
    /// 0 for a prefix operator.
    pub oprleft: u32,
    pub oprright: u32,
    pub oprresult: u32,
    pub oprcode: &'static str,
}

/// A row of pg_proc.
#[derive(Clone, Debug)]
pub struct ProcRow {
    pub oid: u32,
    pub proname: &'static str,
    /// f function, a aggregate, w window function.
    pub prokind: char,
    pub proretset: bool,
    /// i immutable, s stable, v volatile.
    pub provolatile: char,
    pub prorettype: u32,
    pub proargtypes: &'static [u32],
    pub provariadic: u32,
}

/// A row of pg_aggregate, as far as it is not about how Postgres computes it.
#[derive(Clone, Debug)]
pub struct AggregateRow {
    pub aggfnoid: u32,
    /// n: plain, o: with WITHIN GROUP.
    pub aggkind: char,
}

pub fn casts() -> impl Iterator<Item = CastRow> {
    CASTS.iter().copied()
}

pub fn operators() -> impl Iterator<Item = OperatorRow> {
    functions::operators().map(|op| OperatorRow {
        oid: op.oid,
        oprname: op.name,
        oprleft: op.left,
        oprright: op.right,
        oprresult: op.returns.oid(),
        oprcode: op.code,
    })
}

/// Scalar functions, aggregates and window functions. Set-returning functions are the binder's own and not among them.
pub fn functions() -> impl Iterator<Item = ProcRow> {
    // A function whose last arguments may be left out has an entry for each length, and one row.
    let longest = |entry: &&functions::Function| {
        !functions::functions().any(|other| other.oid == entry.oid && other.args.len() > entry.args.len())
    };
    let scalar = functions::functions().filter(longest).map(|entry| ProcRow {
        oid: entry.oid,
        proname: entry.name,
        prokind: 'f',
        proretset: SET_RETURNING.contains(&entry.name),
        provolatile: match entry.volatility {
            Volatility::Immutable => 'i',
            Volatility::Stable => 's',
            Volatility::Volatile => 'v',
        },
        prorettype: entry.returns.oid(),
        proargtypes: entry.args,
        provariadic: if entry.variadic { entry.args.last().copied().unwrap_or(0) } else { 0 },
    });
    let aggregates = AGGREGATES.iter().map(|entry| ProcRow {
        oid: entry.oid,
        proname: entry.name,
        prokind: 'a',
        proretset: false,
        provolatile: 'i',
        prorettype: entry.returns.oid(),
        proargtypes: entry.args,
        provariadic: 0,
    });
    let windows = super::window::ROWS.iter().map(|&(oid, proname, proargtypes, prorettype, _)| ProcRow {
        oid,
        proname,
        prokind: 'w',
        proretset: false,
        provolatile: 'i',
        prorettype,
        proargtypes,
        provariadic: 0,
    });
    let composites = COMPOSITES.iter().map(|entry| ProcRow {
        oid: entry.oid,
        proname: entry.name,
        prokind: 'a',
        proretset: false,
        provolatile: 'i',
        prorettype: entry.returns,
        proargtypes: entry.args,
        provariadic: 0,
    });
    scalar.chain(aggregates).chain(composites).chain(windows)
}

pub fn aggregates() -> impl Iterator<Item = AggregateRow> {
    let plain = AGGREGATES.iter().map(|entry| AggregateRow { aggfnoid: entry.oid, aggkind: 'n' });
    let kind = |entry: &super::composite::Composite| if entry.within_group { 'o' } else { 'n' };
    plain.chain(COMPOSITES.iter().map(move |entry| AggregateRow { aggfnoid: entry.oid, aggkind: kind(entry) }))
}
