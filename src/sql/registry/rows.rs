//! The registry as the catalog shows it: rows in the shape of pg_type, pg_cast, pg_operator, pg_proc and pg_aggregate.

use datafusion::logical_expr::Volatility;

use super::aggregate::AGGREGATES;
use super::cast_rows::CASTS;
pub use super::cast_rows::CastRow;
use super::composite::COMPOSITES;
use crate::sql::functions::{self, SET_RETURNING};
use crate::types::pg_type::{PG_TYPES, oid};

/// A row of pg_type; array types included.
#[derive(Clone, Debug)]
pub struct TypeRow {
    pub oid: u32,
    pub typname: String,
    pub typlen: i16,
    pub typbyval: bool,
    /// b or p.
    pub typtype: char,
    pub typcategory: char,
    pub typispreferred: bool,
    pub typelem: u32,
    pub typarray: u32,
    pub typinput: String,
    pub typoutput: String,
    pub typreceive: String,
    pub typsend: String,
    pub typalign: char,
    pub typstorage: char,
    pub typcollation: u32,
}

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
    pub doc: &'static str,
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
    pub doc: &'static str,
}

/// A row of pg_aggregate, as far as it is not about how Postgres computes it.
#[derive(Clone, Debug)]
pub struct AggregateRow {
    pub aggfnoid: u32,
    pub proname: &'static str,
    /// n: plain, o: with WITHIN GROUP.
    pub aggkind: char,
}

pub fn types() -> impl Iterator<Item = TypeRow> {
    let base = PG_TYPES.iter().map(|row| TypeRow {
        oid: row.oid,
        typname: row.name.to_string(),
        typlen: row.len,
        typbyval: row.len > 0 && row.len <= 8,
        typtype: row.kind,
        typcategory: row.category,
        typispreferred: row.preferred,
        typelem: row.element,
        typarray: row.array_oid,
        typinput: format!("{}in", row.io),
        typoutput: format!("{}out", row.io),
        typreceive: format!("{}recv", row.io),
        typsend: format!("{}send", row.io),
        typalign: row.align,
        typstorage: row.storage,
        typcollation: row.collation,
    });
    let arrays = PG_TYPES.iter().filter(|row| row.array_oid != 0).map(|row| TypeRow {
        oid: row.array_oid,
        typname: format!("_{}", row.name),
        typlen: -1,
        typbyval: false,
        typtype: if row.oid == oid::RECORD { 'p' } else { 'b' },
        typcategory: if row.oid == oid::RECORD { 'P' } else { 'A' },
        typispreferred: false,
        typelem: row.oid,
        typarray: 0,
        typinput: "array_in".to_string(),
        typoutput: "array_out".to_string(),
        typreceive: "array_recv".to_string(),
        typsend: "array_send".to_string(),
        typalign: if row.align == 'd' { 'd' } else { 'i' },
        typstorage: 'x',
        typcollation: row.collation,
    });
    base.chain(arrays)
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
        doc: op.doc,
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
        doc: entry.doc,
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
        doc: entry.doc,
    });
    let windows = super::window::ROWS.iter().map(|&(oid, proname, proargtypes, prorettype, doc)| ProcRow {
        oid,
        proname,
        prokind: 'w',
        proretset: false,
        provolatile: 'i',
        prorettype,
        proargtypes,
        provariadic: 0,
        doc,
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
        doc: entry.doc,
    });
    scalar.chain(aggregates).chain(composites).chain(windows)
}

pub fn aggregates() -> impl Iterator<Item = AggregateRow> {
    let plain = AGGREGATES.iter().map(|entry| (entry.oid, entry.name, 'n'));
    let kind = |entry: &super::composite::Composite| if entry.within_group { 'o' } else { 'n' };
    let composites = COMPOSITES.iter().map(move |entry| (entry.oid, entry.name, kind(entry)));
    plain.chain(composites).map(|(aggfnoid, proname, aggkind)| AggregateRow { aggfnoid, proname, aggkind })
}
