//! What Postgres's catalog says about each type: oid, array oid, name, length, category. Oids are Postgres's own, so
//! drivers that decode by oid need no mapping.

use super::{Numeric, StructField, Type};

/// Postgres's type oids, pseudo-types included (entries of the function registry are written with them).
pub mod oid {
    pub const BOOL: u32 = 16;
    pub const BYTEA: u32 = 17;
    pub const CHAR: u32 = 18;
    pub const NAME: u32 = 19;
    pub const INT8: u32 = 20;
    pub const INT2: u32 = 21;
    pub const INT4: u32 = 23;
    pub const REGPROC: u32 = 24;
    pub const TEXT: u32 = 25;
    pub const OID: u32 = 26;
    pub const JSON: u32 = 114;
    pub const FLOAT4: u32 = 700;
    pub const FLOAT8: u32 = 701;
    pub const UNKNOWN: u32 = 705;
    pub const BPCHAR: u32 = 1042;
    pub const VARCHAR: u32 = 1043;
    pub const DATE: u32 = 1082;
    pub const TIME: u32 = 1083;
    pub const TIMESTAMP: u32 = 1114;
    pub const TIMESTAMPTZ: u32 = 1184;
    pub const INTERVAL: u32 = 1186;
    pub const NUMERIC: u32 = 1700;
    pub const REGCLASS: u32 = 2205;
    pub const REGTYPE: u32 = 2206;
    pub const RECORD: u32 = 2249;
    pub const ANY: u32 = 2276;
    pub const ANYARRAY: u32 = 2277;
    pub const VOID: u32 = 2278;
    pub const ANYELEMENT: u32 = 2283;
    pub const ANYNONARRAY: u32 = 2776;
    pub const UUID: u32 = 2950;
    pub const JSONB: u32 = 3802;
    pub const REGNAMESPACE: u32 = 4089;
    pub const ANYCOMPATIBLE: u32 = 5077;
    pub const ANYCOMPATIBLEARRAY: u32 = 5078;
    pub const INT4_ARRAY: u32 = 1007;
    pub const FLOAT8_ARRAY: u32 = 1022;
    pub const TEXT_ARRAY: u32 = 1009;
}

/// A row of pg_type, as far as it does not depend on the server.
#[derive(Clone, Copy, Debug)]
pub struct PgType {
    pub oid: u32,
    /// 0: has no array type.
    pub array_oid: u32,
    /// `typname`.
    pub name: &'static str,
    /// As `format_type` prints it without modifier.
    pub display: &'static str,
    /// `typlen`: bytes, -1 variable, -2 C string.
    pub len: i16,
    /// `typtype`: b base, p pseudo.
    pub kind: char,
    pub category: char,
    pub preferred: bool,
    /// `typelem` of a fixed-length array-like type.
    pub element: u32,
    pub align: char,
    pub storage: char,
    pub collation: u32,
    /// Stem of the input and output functions' names (`int4` of `int4in`).
    pub io: &'static str,
}

macro_rules! pg_types {
    ($($oid:literal $array:literal $name:literal $display:literal $len:literal $kind:literal $category:literal
       $preferred:literal $element:literal $align:literal $storage:literal $collation:literal $io:literal;)*) => {
        /// Base and pseudo types; array types follow from `array_oid`.
        pub const PG_TYPES: &[PgType] = &[$(PgType {
            oid: $oid, array_oid: $array, name: $name, display: $display, len: $len, kind: $kind, category: $category,
            preferred: $preferred, element: $element, align: $align, storage: $storage, collation: $collation, io: $io,
        }),*];
    };
}

pg_types! {
    16 1000 "bool" "boolean" 1 'b' 'B' true 0 'c' 'p' 0 "bool";
    17 1001 "bytea" "bytea" -1 'b' 'U' false 0 'i' 'x' 0 "bytea";
    18 1002 "char" "\"char\"" 1 'b' 'Z' false 0 'c' 'p' 0 "char";
    19 1003 "name" "name" 64 'b' 'S' false 18 'c' 'p' 950 "name";
    20 1016 "int8" "bigint" 8 'b' 'N' false 0 'd' 'p' 0 "int8";
    21 1005 "int2" "smallint" 2 'b' 'N' false 0 's' 'p' 0 "int2";
    23 1007 "int4" "integer" 4 'b' 'N' false 0 'i' 'p' 0 "int4";
    24 1008 "regproc" "regproc" 4 'b' 'N' false 0 'i' 'p' 0 "regproc";
    25 1009 "text" "text" -1 'b' 'S' true 0 'i' 'x' 100 "text";
    26 1028 "oid" "oid" 4 'b' 'N' true 0 'i' 'p' 0 "oid";
    700 1021 "float4" "real" 4 'b' 'N' false 0 'i' 'p' 0 "float4";
    701 1022 "float8" "double precision" 8 'b' 'N' true 0 'd' 'p' 0 "float8";
    705 0 "unknown" "unknown" -2 'p' 'X' false 0 'c' 'p' 0 "unknown";
    1042 1014 "bpchar" "character" -1 'b' 'S' false 0 'i' 'x' 100 "bpchar";
    1043 1015 "varchar" "character varying" -1 'b' 'S' false 0 'i' 'x' 100 "varchar";
    1082 1182 "date" "date" 4 'b' 'D' false 0 'i' 'p' 0 "date_";
    1083 1183 "time" "time without time zone" 8 'b' 'D' false 0 'd' 'p' 0 "time_";
    1114 1115 "timestamp" "timestamp without time zone" 8 'b' 'D' false 0 'd' 'p' 0 "timestamp_";
    1184 1185 "timestamptz" "timestamp with time zone" 8 'b' 'D' true 0 'd' 'p' 0 "timestamptz_";
    1186 1187 "interval" "interval" 16 'b' 'T' true 0 'd' 'p' 0 "interval_";
    1700 1231 "numeric" "numeric" -1 'b' 'N' false 0 'i' 'm' 0 "numeric_";
    2205 2210 "regclass" "regclass" 4 'b' 'N' true 0 'i' 'p' 0 "regclass";
    2206 2211 "regtype" "regtype" 4 'b' 'N' true 0 'i' 'p' 0 "regtype";
    2249 2287 "record" "record" -1 'p' 'P' false 0 'd' 'x' 0 "record_";
    2276 0 "any" "\"any\"" 4 'p' 'P' false 0 'i' 'p' 0 "any_";
    2277 0 "anyarray" "anyarray" -1 'p' 'P' false 0 'd' 'x' 0 "anyarray_";
    2278 0 "void" "void" 4 'p' 'P' false 0 'i' 'p' 0 "void_";
    2283 0 "anyelement" "anyelement" 4 'p' 'P' false 0 'i' 'p' 0 "anyelement_";
    2776 0 "anynonarray" "anynonarray" 4 'p' 'P' false 0 'i' 'p' 0 "anynonarray_";
    2950 2951 "uuid" "uuid" 16 'b' 'U' false 0 'c' 'p' 0 "uuid_";
    3802 3807 "jsonb" "jsonb" -1 'b' 'U' false 0 'i' 'x' 0 "jsonb_";
    4089 4090 "regnamespace" "regnamespace" 4 'b' 'N' false 0 'i' 'p' 0 "regnamespace";
    5077 0 "anycompatible" "anycompatible" 4 'p' 'P' false 0 'i' 'p' 0 "anycompatible_";
    5078 0 "anycompatiblearray" "anycompatiblearray" -1 'p' 'P' false 0 'd' 'x' 0 "anycompatiblearray_";
}

/// The base or pseudo type with this oid.
pub fn pg_type(oid: u32) -> Option<&'static PgType> {
    PG_TYPES.binary_search_by_key(&oid, |row| row.oid).ok().map(|index| &PG_TYPES[index])
}

/// The element type of an array type's oid.
pub fn element_of(array: u32) -> Option<&'static PgType> {
    if array == 0 {
        return None;
    }
    PG_TYPES.iter().find(|row| row.array_oid == array)
}

/// The array type over an element type; 0 if it has none.
pub fn array_of(element: u32) -> u32 {
    pg_type(element).map_or(0, |row| row.array_oid)
}

/// `typcategory`; arrays are 'A'.
pub fn category(oid: u32) -> char {
    match pg_type(oid) {
        Some(row) => row.category,
        None if element_of(oid).is_some() => 'A',
        None => 'X',
    }
}

pub fn is_preferred(oid: u32) -> bool {
    pg_type(oid).is_some_and(|row| row.preferred)
}

/// How `format_type(oid, NULL)` prints a type; `???` for an oid that is none of ours.
pub fn display(oid: u32) -> String {
    match (pg_type(oid), element_of(oid)) {
        (Some(row), _) => row.display.to_string(),
        (None, Some(element)) => format!("{}[]", element.display),
        (None, None) => "???".to_string(),
    }
}

/// `timestamp(3) without time zone`.
pub fn with_digits(display: &str, digits: i32) -> String {
    match display.split_once(' ') {
        Some((word, rest)) => format!("{word}({digits}) {rest}"),
        None => format!("{display}({digits})"),
    }
}

/// A field's name as it has to be written; any word may be one.
fn quoted(name: &str) -> String {
    let plain = name.bytes().enumerate().all(|(place, byte)| match byte {
        b'a'..=b'z' | b'_' => true,
        b'0'..=b'9' => place > 0,
        _ => false,
    });
    if plain && !name.is_empty() { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

impl Type {
    /// The type's oid in pg_type. A struct is `record`.
    pub fn oid(&self) -> u32 {
        match self {
            Type::Bool => oid::BOOL,
            Type::Int2 => oid::INT2,
            Type::Int4 => oid::INT4,
            Type::Int8 => oid::INT8,
            Type::Float4 => oid::FLOAT4,
            Type::Float8 => oid::FLOAT8,
            Type::Numeric(_) => oid::NUMERIC,
            Type::Text => oid::TEXT,
            Type::Varchar(_) => oid::VARCHAR,
            Type::Char(_) => oid::BPCHAR,
            Type::Bytea => oid::BYTEA,
            Type::Date => oid::DATE,
            Type::Time => oid::TIME,
            Type::Timestamp => oid::TIMESTAMP,
            Type::Timestamptz => oid::TIMESTAMPTZ,
            Type::Rounded(ty, _) => ty.oid(),
            Type::Interval => oid::INTERVAL,
            Type::Uuid => oid::UUID,
            Type::Jsonb => oid::JSONB,
            Type::Array(item) => item.array_oid(),
            Type::Struct(_) => oid::RECORD,
            Type::Oid => oid::OID,
            Type::Name => oid::NAME,
            Type::SingleChar => oid::CHAR,
            Type::Regclass => oid::REGCLASS,
            Type::Regtype => oid::REGTYPE,
            Type::Regproc => oid::REGPROC,
            Type::Regnamespace => oid::REGNAMESPACE,
            Type::Unknown => oid::UNKNOWN,
        }
    }

    /// Oid of the array type over this one. An array of arrays is the array itself, as in Postgres; `unknown`'s is
    /// text's.
    pub fn array_oid(&self) -> u32 {
        match self {
            Type::Array(_) => self.oid(),
            Type::Unknown => oid::TEXT_ARRAY,
            other => array_of(other.oid()),
        }
    }

    /// The type with this oid and without modifier; `None` for pseudo-types and oids that are none of ours.
    pub fn from_oid(type_oid: u32) -> Option<Type> {
        Some(match type_oid {
            oid::BOOL => Type::Bool,
            oid::INT2 => Type::Int2,
            oid::INT4 => Type::Int4,
            oid::INT8 => Type::Int8,
            oid::FLOAT4 => Type::Float4,
            oid::FLOAT8 => Type::Float8,
            oid::NUMERIC => Type::NUMERIC,
            oid::TEXT => Type::Text,
            oid::VARCHAR => Type::Varchar(None),
            oid::BPCHAR => Type::Char(Type::MAX_CHAR_LENGTH),
            oid::BYTEA => Type::Bytea,
            oid::DATE => Type::Date,
            oid::TIME => Type::Time,
            oid::TIMESTAMP => Type::Timestamp,
            oid::TIMESTAMPTZ => Type::Timestamptz,
            oid::INTERVAL => Type::Interval,
            oid::UUID => Type::Uuid,
            oid::JSONB | oid::JSON => Type::Jsonb,
            oid::OID => Type::Oid,
            oid::NAME => Type::Name,
            oid::CHAR => Type::SingleChar,
            oid::REGCLASS => Type::Regclass,
            oid::REGTYPE => Type::Regtype,
            oid::REGPROC => Type::Regproc,
            oid::REGNAMESPACE => Type::Regnamespace,
            oid::UNKNOWN => Type::Unknown,
            other => {
                return element_of(other).and_then(|row| Type::from_oid(row.oid)).map(|t| Type::Array(Box::new(t)));
            }
        })
    }

    /// The longest `char(n)` and `varchar(n)`; `char` of this length stands for `bpchar` without a length.
    pub const MAX_CHAR_LENGTH: u32 = 10_485_760;

    /// `atttypmod`: -1 where there is none.
    pub fn typmod(&self) -> i32 {
        match self {
            Type::Varchar(Some(n)) => *n as i32 + 4,
            Type::Char(n) if *n != Type::MAX_CHAR_LENGTH => *n as i32 + 4,
            Type::Numeric(Numeric::Fixed { precision, scale }) => {
                ((i32::from(*precision) << 16) | (i32::from(*scale) & 0x7ff)) + 4
            }
            Type::Rounded(_, digits) => i32::from(*digits),
            Type::Array(item) => item.typmod(),
            _ => -1,
        }
    }

    pub fn typlen(&self) -> i16 {
        pg_type(self.oid()).map_or(-1, |row| row.len)
    }

    /// `typcategory`: N numeric, S string, D date and time, T interval, B boolean, A array, U other, X unknown.
    pub fn category(&self) -> char {
        match self {
            Type::Array(_) => 'A',
            other => category(other.oid()),
        }
    }

    /// As `format_type(oid, typmod)` prints it: `character varying(10)`, `numeric(10,2)`, `integer[]`. A struct prints
    /// as it is declared: `struct<a integer, b text>`.
    pub fn name(&self) -> String {
        match self {
            Type::Varchar(Some(n)) => format!("character varying({n})"),
            Type::Char(n) if *n != Type::MAX_CHAR_LENGTH => format!("character({n})"),
            Type::Numeric(Numeric::Fixed { precision, scale }) => format!("numeric({precision},{scale})"),
            Type::Rounded(ty, digits) => with_digits(&ty.bare_name(), i32::from(*digits)),
            Type::Array(item) => format!("{}[]", item.name()),
            Type::Struct(fields) => {
                let fields: Vec<String> =
                    fields.iter().map(|field| format!("{} {}", quoted(&field.name), field.ty.name())).collect();
                format!("struct<{}>", fields.join(", "))
            }
            other => other.bare_name(),
        }
    }

    /// The name without modifier, as error messages about operators and functions print it.
    pub fn bare_name(&self) -> String {
        match self {
            Type::Array(item) => format!("{}[]", item.bare_name()),
            other => pg_type(other.oid()).map_or("???", |row| row.display).to_string(),
        }
    }

    /// `typname`: `int4`, `_text` for an array.
    pub fn type_name(&self) -> String {
        match self {
            Type::Array(item) => format!("_{}", item.type_name()),
            other => pg_type(other.oid()).map_or("???", |row| row.name).to_string(),
        }
    }

    /// Same type, whatever the modifiers: `varchar(5)` and `varchar`, any two numerics.
    pub fn same_base(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Array(a), Type::Array(b)) => a.same_base(b),
            (Type::Struct(a), Type::Struct(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.ty.same_base(&b.ty))
            }
            _ => self.oid() == other.oid(),
        }
    }

    /// The type without a length or a scale: `varchar`, `numeric`.
    pub fn without_modifier(&self) -> Type {
        match self {
            Type::Varchar(_) => Type::Varchar(None),
            Type::Char(_) => Type::Char(Type::MAX_CHAR_LENGTH),
            Type::Numeric(_) => Type::NUMERIC,
            Type::Array(item) => Type::Array(Box::new(item.without_modifier())),
            Type::Rounded(ty, _) => ty.as_ref().clone(),
            other => other.clone(),
        }
    }

    /// The type that a column's values have in expressions: without the digits of seconds.
    pub fn unrounded(&self) -> Type {
        match self {
            Type::Rounded(ty, _) => ty.as_ref().clone(),
            Type::Array(item) => Type::Array(Box::new(item.unrounded())),
            Type::Struct(fields) => {
                let field = |field: &StructField| StructField { name: field.name.clone(), ty: field.ty.unrounded() };
                Type::Struct(fields.iter().map(field).collect())
            }
            other => other.clone(),
        }
    }

    pub fn is_integer(&self) -> bool {
        matches!(self, Type::Int2 | Type::Int4 | Type::Int8)
    }

    pub fn is_numeric(&self) -> bool {
        matches!(self, Type::Numeric(_))
    }

    /// text, varchar, char, name.
    pub fn is_string(&self) -> bool {
        self.category() == 'S'
    }

    /// This numeric, or the narrowest one that holds every value of this integer type.
    pub fn as_numeric(&self) -> Option<Numeric> {
        Some(match self {
            Type::Numeric(numeric) => *numeric,
            Type::Int2 => Numeric::Fixed { precision: 5, scale: 0 },
            Type::Int4 => Numeric::Fixed { precision: 10, scale: 0 },
            Type::Int8 => Numeric::Fixed { precision: 19, scale: 0 },
            _ => return None,
        })
    }
}

impl Numeric {
    /// The numeric with so many digits before and behind the point; free where 38 are not enough.
    pub fn with_digits(integer: i32, scale: i32) -> Numeric {
        let (integer, scale) = (integer.max(0), scale.max(0));
        match u8::try_from((integer + scale).max(1)) {
            Ok(precision) if precision <= super::MAX_NUMERIC_PRECISION => {
                Numeric::Fixed { precision, scale: scale as i8 }
            }
            _ => Numeric::Free,
        }
    }

    /// The narrowest numeric that holds both: what CASE, UNION and comparisons compute in.
    pub fn union(self, other: Numeric) -> Numeric {
        match (self, other) {
            (Numeric::Fixed { precision: p1, scale: s1 }, Numeric::Fixed { precision: p2, scale: s2 }) => {
                let integer = (i32::from(p1) - i32::from(s1)).max(i32::from(p2) - i32::from(s2));
                Numeric::with_digits(integer, i32::from(s1.max(s2)))
            }
            _ => Numeric::Free,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_every_type_is_among_them() {
        assert!(PG_TYPES.windows(2).all(|pair| pair[0].oid < pair[1].oid));
        for row in PG_TYPES.iter().filter(|row| row.kind == 'b') {
            let ty = Type::from_oid(row.oid).expect(row.name);
            assert_eq!(ty.oid(), row.oid);
            let array = Type::from_oid(row.array_oid).expect(row.name);
            assert_eq!((array.oid(), array.category()), (row.array_oid, 'A'));
        }
    }

    #[test]
    fn names_are_those_of_format_type() {
        let cases = [
            (Type::Varchar(Some(10)), "character varying(10)", 14),
            (Type::Char(3), "character(3)", 7),
            (Type::fixed_numeric(10, 2), "numeric(10,2)", 655_366),
            (Type::NUMERIC, "numeric", -1),
            (Type::Array(Box::new(Type::Timestamptz)), "timestamp with time zone[]", -1),
            (Type::SingleChar, "\"char\"", -1),
        ];
        for (ty, name, typmod) in cases {
            assert_eq!((ty.name().as_str(), ty.typmod()), (name, typmod));
        }
    }

    #[test]
    fn a_union_keeps_every_digit() {
        let fixed = |precision, scale| Numeric::Fixed { precision, scale };
        assert_eq!(fixed(5, 2).union(fixed(10, 0)), fixed(12, 2));
        assert_eq!(fixed(38, 0).union(fixed(3, 2)), Numeric::Free);
    }
}
