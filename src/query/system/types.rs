//! pg_type and the catalogs it leads to: operator classes, collations, access methods.

use super::Known;
use super::relations::{BTREE, HASH, Storage};
use super::rows::{SystemRows, row};
use crate::catalog::objects::{self, OWNER};
use crate::error::Result;
use crate::types::Type;
use crate::types::io_functions::{ARRAY_ANALYZE, ARRAY_IO, ARRAY_SUBSCRIPT, FUNCTIONS, RECORD_IO};
use crate::types::pg_type::{PG_TYPES, PgType};

pub const PG_CATALOG: u32 = 11;
pub const INTERNAL_LANGUAGE: u32 = 12;
const RECORD_ARRAY: u32 = 2287;

/// Default btree operator classes: oid, name, family, type.
const OPERATOR_CLASSES: &[(u32, &str, u32, u32)] = &[
    (10_003, "bool_ops", 424, 16),
    (10_006, "bytea_ops", 428, 17),
    (10_007, "char_ops", 429, 18),
    (10_028, "name_ops", 1994, 19),
    (3124, "int8_ops", 1976, 20),
    (1979, "int2_ops", 1976, 21),
    (1978, "int4_ops", 1976, 23),
    (3126, "text_ops", 1994, 25),
    (1981, "oid_ops", 1989, 26),
    (10_012, "float4_ops", 1970, 700),
    (3123, "float8_ops", 1970, 701),
    (10_004, "bpchar_ops", 426, 1042),
    (3122, "date_ops", 434, 1082),
    (10_038, "time_ops", 1996, 1083),
    (3128, "timestamp_ops", 434, 1114),
    (3127, "timestamptz_ops", 434, 1184),
    (10_022, "interval_ops", 1982, 1186),
    (3125, "numeric_ops", 1988, 1700),
    (10_034, "record_ops", 2994, 2249),
    (10_000, "array_ops", 397, 2277),
    (10_065, "uuid_ops", 2968, 2950),
    (10_088, "jsonb_ops", 4033, 3802),
];

const OPERATOR_FAMILIES: &[(u32, &str)] = &[
    (397, "array_ops"),
    (424, "bool_ops"),
    (426, "bpchar_ops"),
    (428, "bytea_ops"),
    (429, "char_ops"),
    (434, "datetime_ops"),
    (1970, "float_ops"),
    (1976, "integer_ops"),
    (1982, "interval_ops"),
    (1988, "numeric_ops"),
    (1989, "oid_ops"),
    (2994, "record_ops"),
    (1994, "text_ops"),
    (1996, "time_ops"),
    (2968, "uuid_ops"),
    (4033, "jsonb_ops"),
];

/// The default btree operator class of a column; varchar uses text's.
pub fn operator_class(ty: &Type) -> u32 {
    let wanted = match ty {
        Type::Varchar(_) => 25,
        Type::Array(_) => 2277,
        other => other.oid(),
    };
    OPERATOR_CLASSES.iter().find(|class| class.3 == wanted).map_or(0, |class| class.0)
}

pub fn fill(name: &str, known: &Known, rows: &mut SystemRows) -> Result<bool> {
    match name {
        "pg_type" => types(known, rows)?,
        "pg_am" => {
            row!(rows; oid: 2, amname: "heap", amtype: 't');
            row!(rows; oid: BTREE, amname: "btree", amtype: 'i');
            row!(rows; oid: HASH, amname: "hash", amtype: 'i');
        }
        "pg_opclass" => {
            for (oid, name, family, ty) in OPERATOR_CLASSES {
                row!(rows; oid: *oid, opcmethod: BTREE, opcname: *name, opcnamespace: PG_CATALOG, opcowner: OWNER,
                    opcfamily: *family, opcintype: *ty, opcdefault: true);
            }
        }
        "pg_opfamily" => {
            for (oid, name) in OPERATOR_FAMILIES {
                row!(rows; oid: *oid, opfmethod: BTREE, opfname: *name, opfnamespace: PG_CATALOG, opfowner: OWNER);
            }
        }
        "pg_collation" => collations(rows)?,
        "pg_language" => {
            row!(rows; oid: INTERNAL_LANGUAGE, lanname: "internal", lanowner: OWNER);
            row!(rows; oid: 14, lanname: "sql", lanowner: OWNER, lanpltrusted: true);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn collations(rows: &mut SystemRows) -> Result<()> {
    for (oid, name, provider, locale) in
        [(100, "default", 'd', None), (950, "C", 'c', Some("C")), (951, "POSIX", 'c', Some("POSIX"))]
    {
        row!(rows; oid: oid, collname: name, collnamespace: PG_CATALOG, collowner: OWNER, collprovider: provider,
            collisdeterministic: true, collencoding: -1, collcollate: locale, collctype: locale);
    }
    Ok(())
}

fn types(known: &Known, rows: &mut SystemRows) -> Result<()> {
    for ty in PG_TYPES {
        base_type(ty, rows)?;
        // `record`'s array is a pseudo-type of its own; the others' arrays are base types.
        if ty.array_oid != 0 {
            array_type(ty.array_oid, &format!("_{}", ty.name), ty.oid, PG_CATALOG, Storage::of_array(Some(ty)), rows)?;
        }
    }
    for relation in &known.objects.relations {
        let schema = known.objects.schema_oid(&relation.schema);
        let (own, array) = (objects::row_type(relation.id), objects::row_type_array(relation.id));
        let [input, output, receive, send] = RECORD_IO;
        row!(rows; oid: own, typname: &relation.name, typnamespace: schema, typowner: OWNER, typlen: -1, typtype: 'c',
            typcategory: 'C', typisdefined: true, typdelim: ',', typrelid: relation.id.oid(), typarray: array,
            typinput: input, typoutput: output, typreceive: receive, typsend: send, typalign: 'd', typstorage: 'x',
            typtypmod: -1);
        let storage = Storage { len: -1, by_value: false, align: 'd', storage: 'x', collation: 0 };
        array_type(array, &format!("_{}", relation.name), own, schema, storage, rows)?;
    }
    Ok(())
}

fn base_type(ty: &PgType, rows: &mut SystemRows) -> Result<()> {
    let storage = Storage::of_base(ty);
    let found = FUNCTIONS.iter().find(|functions| functions.ty == ty.oid);
    let [input, output, receive, send] = found.map_or([0; 4], |functions| functions.io);
    let [modifier_in, modifier_out] = found.map_or([0; 2], |functions| functions.modifier);
    row!(rows; oid: ty.oid, typname: ty.name, typnamespace: PG_CATALOG, typowner: OWNER, typlen: ty.len,
        typbyval: storage.by_value, typtype: ty.kind, typcategory: ty.category, typispreferred: ty.preferred,
        typisdefined: true, typdelim: ',', typsubscript: found.map_or(0, |functions| functions.subscript),
        typelem: ty.element, typarray: ty.array_oid, typinput: input, typoutput: output, typreceive: receive,
        typsend: send, typmodin: modifier_in, typmodout: modifier_out, typalign: ty.align, typstorage: ty.storage,
        typtypmod: -1, typcollation: ty.collation);
    Ok(())
}

fn array_type(oid: u32, name: &str, element: u32, schema: u32, storage: Storage, rows: &mut SystemRows) -> Result<()> {
    let [input, output, receive, send] = ARRAY_IO;
    let (kind, category) = if oid == RECORD_ARRAY { ('p', 'P') } else { ('b', 'A') };
    row!(rows; oid: oid, typname: name, typnamespace: schema, typowner: OWNER, typlen: -1, typtype: kind,
        typcategory: category, typisdefined: true, typdelim: ',', typsubscript: ARRAY_SUBSCRIPT, typelem: element,
        typinput: input, typoutput: output, typreceive: receive, typsend: send, typanalyze: ARRAY_ANALYZE,
        typalign: storage.align, typstorage: storage.storage, typtypmod: -1, typcollation: storage.collation);
    Ok(())
}
