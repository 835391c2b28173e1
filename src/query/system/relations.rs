//! pg_class and what hangs on it: namespaces, columns, indexes, constraints, defaults, dependencies.

use super::Known;
use super::rows::{SystemRows, Value, list, row};
use crate::catalog::definition;
use crate::catalog::objects::{self, Index, OWNER};
use crate::catalog::{IndexMethod, Relation, RelationKind};
use crate::error::Result;
use crate::types::pg_type::{PgType, element_of, pg_type};
use crate::types::{Column, MAX_NUMERIC_PRECISION, Numeric, Type};

/// Oids of the catalogs that other rows refer to.
const PG_CLASS: u32 = 1259;
const PG_REWRITE: u32 = 2618;
const HEAP: u32 = 2;
pub const BTREE: u32 = 403;
pub const HASH: u32 = 405;

pub fn fill(name: &str, known: &Known, rows: &mut SystemRows) -> Result<bool> {
    match name {
        "pg_namespace" => namespaces(known, rows)?,
        "pg_class" => classes(known, rows)?,
        "pg_attribute" => attributes(known, rows)?,
        "pg_index" => indexes(known, rows)?,
        "pg_constraint" => constraints(known, rows)?,
        "pg_attrdef" => defaults(known, rows)?,
        "pg_rewrite" => rules(known, rows)?,
        "pg_depend" => dependencies(known, rows)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn namespaces(known: &Known, rows: &mut SystemRows) -> Result<()> {
    for (name, oid) in known.catalog.schemas() {
        row!(rows; oid: oid, nspname: name, nspowner: OWNER);
    }
    Ok(())
}

fn classes(known: &Known, rows: &mut SystemRows) -> Result<()> {
    for relation in &known.objects.relations {
        let kind = objects::kind(relation);
        let stored = matches!(kind, 'r' | 'm');
        let has_index = known.objects.indexes_on(relation.id).next().is_some();
        // -1: not known, as before Postgres's first ANALYZE.
        let rows_now = if stored { known.view.row_count(relation.id).map_or(-1.0, |rows| rows as f64) } else { 0.0 };
        row!(rows;
            oid: relation.id.oid(),
            relname: &relation.name,
            relnamespace: known.objects.schema_oid(&relation.schema),
            reltype: objects::row_type(relation.id),
            relowner: OWNER,
            relam: if stored { HEAP } else { 0 },
            relfilenode: if stored { relation.id.oid() } else { 0 },
            reltuples: rows_now,
            relhasindex: has_index,
            relpersistence: 'p',
            relkind: kind,
            relnatts: relation.columns.len() as i32,
            relhasrules: is_view(relation),
            relispopulated: true,
            relreplident: if stored && relation.kind != RelationKind::System { 'd' } else { 'n' },
        );
    }
    for index in known.objects.indexes.values() {
        row!(rows;
            oid: index.oid,
            relname: &index.name,
            relnamespace: known.objects.schema_oid(&index.schema),
            relowner: OWNER,
            relam: match index.method {
                IndexMethod::Btree => BTREE,
                IndexMethod::Hash => HASH,
            },
            relfilenode: index.oid,
            reltuples: known.view.row_count(index.on.id).map_or(-1.0, |rows| rows as f64),
            relpersistence: 'p',
            relkind: 'i',
            relnatts: index.keys.len() as i32,
            relispopulated: true,
            relreplident: 'n',
        );
    }
    Ok(())
}

fn is_view(relation: &Relation) -> bool {
    matches!(relation.kind, RelationKind::View(_) | RelationKind::MaterializedView(_))
}

fn attributes(known: &Known, rows: &mut SystemRows) -> Result<()> {
    for relation in &known.objects.relations {
        for (place, column) in relation.columns.iter().enumerate() {
            let expression = definition::column_expression(relation, place);
            let generated = if matches!(expression, Some((_, true))) { "s" } else { "" };
            let flags = (is_not_null(relation, place), expression.is_some(), generated);
            let modifier = match &column.ty {
                ty if is_row(ty) => objects::row_modifier(relation.id, place),
                _ => shown(relation, column).typmod(),
            };
            attribute(relation.id.oid(), place, (column, modifier), flags, rows)?;
        }
    }
    for index in known.objects.indexes.values() {
        for (place, key) in index.keys.iter().enumerate() {
            if let Some(column) = index.on.columns.get(key.column) {
                let modifier = shown(&index.on, column).typmod();
                attribute(index.oid, place, (column, modifier), (false, false, ""), rows)?;
            }
        }
    }
    Ok(())
}

/// A computed column of a view has a scale that its expression gave it; as in Postgres only what somebody declared
/// shows.
/// (A declared numeric of 38 digits is rare enough to be taken for one of these.)
pub fn shown(relation: &Relation, column: &Column) -> Type {
    match &column.ty {
        Type::Numeric(Numeric::Fixed { precision, .. }) if *precision == MAX_NUMERIC_PRECISION && is_view(relation) => {
            Type::NUMERIC
        }
        ty => ty.clone(),
    }
}

/// Of a type that only its column's declaration names.
fn is_row(ty: &Type) -> bool {
    match ty {
        Type::Struct(_) => true,
        Type::Array(item) => is_row(item),
        _ => false,
    }
}

/// NOT NULL as declared, and what a primary key implies.
pub fn is_not_null(relation: &Relation, column: usize) -> bool {
    let declared = relation.columns.get(column).is_some_and(|column| column.not_null);
    declared || matches!(&relation.kind, RelationKind::Table(table) if table.primary_key.contains(&column))
}

fn attribute(
    relation: u32,
    place: usize,
    (column, modifier): (&Column, i32),
    (not_null, has_default, generated): (bool, bool, &str),
    rows: &mut SystemRows,
) -> Result<()> {
    let storage = Storage::of(&column.ty);
    row!(rows;
        attrelid: relation,
        attname: &column.name,
        atttypid: column.ty.oid(),
        attstattarget: -1,
        attlen: storage.len,
        attnum: place as i32 + 1,
        attndims: i32::from(matches!(column.ty, Type::Array(_))),
        attcacheoff: -1,
        atttypmod: modifier,
        attbyval: storage.by_value,
        attalign: storage.align,
        attstorage: storage.storage,
        attnotnull: not_null,
        atthasdef: has_default,
        attgenerated: generated,
        attislocal: true,
        attcollation: storage.collation,
    );
    Ok(())
}

/// How Postgres would keep values of a type.
pub struct Storage {
    pub len: i16,
    pub by_value: bool,
    pub align: char,
    pub storage: char,
    pub collation: u32,
}

impl Storage {
    pub fn of(ty: &Type) -> Storage {
        match (ty, pg_type(ty.oid())) {
            (Type::Array(item), _) => {
                let element = pg_type(item.oid()).or_else(|| element_of(ty.oid()));
                Storage::of_array(element)
            }
            (_, Some(row)) => Storage::of_base(row),
            (_, None) => Storage { len: -1, by_value: false, align: 'i', storage: 'x', collation: 0 },
        }
    }

    pub fn of_base(row: &PgType) -> Storage {
        let by_value = matches!(row.len, 1 | 2 | 4 | 8);
        Storage { len: row.len, by_value, align: row.align, storage: row.storage, collation: row.collation }
    }

    pub fn of_array(element: Option<&PgType>) -> Storage {
        let align = if element.is_some_and(|element| element.align == 'd') { 'd' } else { 'i' };
        let collation = element.map_or(0, |element| element.collation);
        Storage { len: -1, by_value: false, align, storage: 'x', collation }
    }
}

fn indexes(known: &Known, rows: &mut SystemRows) -> Result<()> {
    for index in known.objects.indexes.values() {
        let keys = index.keys.len() as i32;
        let column = |index: &Index, place: usize| index.on.columns.get(place).map(|column| column.ty.clone());
        let types: Vec<Option<Type>> = index.keys.iter().map(|key| column(index, key.column)).collect();
        let collation = |ty: &Option<Type>| ty.as_ref().map_or(0, |ty| Storage::of(ty).collation);
        let class = |ty: &Option<Type>| ty.as_ref().map_or(0, super::types::operator_class);
        row!(rows;
            indexrelid: index.oid,
            indrelid: index.on.id.oid(),
            indnatts: keys,
            indnkeyatts: keys,
            indisunique: index.primary,
            indisprimary: index.primary,
            indimmediate: true,
            indisvalid: true,
            indisready: true,
            indislive: true,
            indkey: list(index.keys.iter().map(|key| key.column as i32 + 1)),
            indcollation: list(types.iter().map(collation)),
            indclass: list(types.iter().map(class)),
            indoption: list(index.keys.iter().map(|key| i32::from(key.descending) + 2 * i32::from(key.nulls_first))),
        );
    }
    Ok(())
}

fn constraints(known: &Known, rows: &mut SystemRows) -> Result<()> {
    for index in known.objects.indexes.values().filter(|index| index.primary) {
        row!(rows;
            oid: objects::primary_key(index.on.id),
            conname: &index.name,
            connamespace: known.objects.schema_oid(&index.schema),
            contype: 'p',
            convalidated: true,
            conrelid: index.on.id.oid(),
            conindid: index.oid,
            confupdtype: ' ',
            confdeltype: ' ',
            confmatchtype: ' ',
            conislocal: true,
            connoinherit: true,
            conkey: list(index.keys.iter().map(|key| key.column as i32 + 1)),
        );
    }
    Ok(())
}

fn defaults(known: &Known, rows: &mut SystemRows) -> Result<()> {
    for relation in known.objects.user_relations() {
        for place in 0..relation.columns.len() {
            if let Some((text, _)) = definition::column_expression(relation, place) {
                let number = place as i16 + 1;
                let oid = objects::default(relation.id, number);
                row!(rows; oid: oid, adrelid: relation.id.oid(), adnum: number, adbin: text);
            }
        }
    }
    Ok(())
}

fn rules(known: &Known, rows: &mut SystemRows) -> Result<()> {
    for view in known.objects.user_relations().filter(|relation| is_view(relation)) {
        row!(rows;
            oid: objects::rule(view.id),
            rulename: "_RETURN",
            ev_class: view.id.oid(),
            ev_type: '1',
            ev_enabled: 'O',
            is_instead: true,
        );
    }
    Ok(())
}

/// A view depends on what its query reads (through its rule, as in Postgres); an index on its relation.
fn dependencies(known: &Known, rows: &mut SystemRows) -> Result<()> {
    for view in known.objects.user_relations().filter(|relation| is_view(relation)) {
        let rule = objects::rule(view.id);
        let own: Value = Value::from(view.id.oid());
        row!(rows; classid: PG_REWRITE, objid: rule, refclassid: PG_CLASS, refobjid: own, deptype: 'i');
        for on in &view.depends_on {
            row!(rows; classid: PG_REWRITE, objid: rule, refclassid: PG_CLASS, refobjid: on.oid(), deptype: 'n');
        }
    }
    for index in known.objects.indexes.values() {
        let on = index.on.id.oid();
        row!(rows; classid: PG_CLASS, objid: index.oid, refclassid: PG_CLASS, refobjid: on, deptype: 'a');
    }
    Ok(())
}
