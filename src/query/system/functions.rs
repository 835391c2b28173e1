//! pg_proc, pg_operator, pg_cast and pg_aggregate: the registry's rows, and the input and output functions of types.

use std::collections::{HashMap, HashSet};

use super::Known;
use super::rows::{SystemRows, list, row};
use super::types::{INTERNAL_LANGUAGE, PG_CATALOG};
use crate::catalog::objects::OWNER;
use crate::error::Result;
use crate::sql::registry;
use crate::types::io_functions;

pub fn fill(name: &str, _: &Known, rows: &mut SystemRows) -> Result<bool> {
    match name {
        "pg_proc" => {
            io_functions(rows)?;
            functions(rows)?;
        }
        "pg_operator" => operators(rows)?,
        "pg_cast" => {
            for cast in registry::casts() {
                let method = if cast.function == 0 { 'b' } else { 'f' };
                row!(rows; oid: cast.oid, castsource: cast.source, casttarget: cast.target, castfunc: cast.function,
                    castcontext: cast.context, castmethod: method);
            }
        }
        "pg_aggregate" => {
            for aggregate in registry::aggregates() {
                row!(rows; aggfnoid: aggregate.aggfnoid, aggkind: aggregate.aggkind, aggfinalmodify: 'r',
                    aggmfinalmodify: 'r');
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn functions(rows: &mut SystemRows) -> Result<()> {
    // A function may have several entries under one oid (another name, a narrower numeric); it is one row.
    let mut seen: HashSet<u32> = io_functions::names().iter().map(|(oid, _)| *oid).collect();
    for function in registry::functions().filter(|function| seen.insert(function.oid)) {
        let strict = function.prokind == 'f';
        row!(rows; oid: function.oid, proname: function.proname, pronamespace: PG_CATALOG, proowner: OWNER,
            prolang: INTERNAL_LANGUAGE, procost: 1.0, prorows: if function.proretset { 1000.0 } else { 0.0 },
            provariadic: function.provariadic, prokind: function.prokind, proisstrict: strict,
            proretset: function.proretset, provolatile: function.provolatile, proparallel: 's',
            pronargs: function.proargtypes.len() as i32, prorettype: function.prorettype,
            proargtypes: list(function.proargtypes.iter().copied()), prosrc: function.proname);
    }
    Ok(())
}

fn operators(rows: &mut SystemRows) -> Result<()> {
    let by_name: HashMap<&str, u32> = registry::functions().map(|function| (function.proname, function.oid)).collect();
    for operator in registry::operators() {
        let prefix = operator.oprleft == 0;
        row!(rows; oid: operator.oid, oprname: operator.oprname, oprnamespace: PG_CATALOG, oprowner: OWNER,
            oprkind: if prefix { 'l' } else { 'b' }, oprcanmerge: operator.oprname == "=",
            oprcanhash: operator.oprname == "=", oprleft: operator.oprleft, oprright: operator.oprright,
            oprresult: operator.oprresult, oprcode: by_name.get(operator.oprcode).copied().unwrap_or(0));
    }
    Ok(())
}

fn io_functions(rows: &mut SystemRows) -> Result<()> {
    for (oid, name) in io_functions::names() {
        row!(rows; oid: *oid, proname: name, pronamespace: PG_CATALOG, proowner: OWNER, prolang: INTERNAL_LANGUAGE,
            procost: 1.0, prokind: 'f', proisstrict: true, provolatile: 'i', proparallel: 's', pronargs: 1,
            prosrc: name);
    }
    Ok(())
}
