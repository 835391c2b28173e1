//! SQL types: what a value means, how Arrow holds it, how Postgres names and prints it.
//!
//! | SQL                         | Arrow                                | note |
//! |-----------------------------|--------------------------------------|------|
//! | boolean                     | Boolean                              | |
//! | smallint, integer, bigint   | Int16, Int32, Int64                  | |
//! | real, double precision      | Float32, Float64                     | |
//! | numeric(p,s), p <= 38       | Decimal128(p, s)                     | prints s digits |
//! | numeric                     | Decimal256(76, 38)                   | prints without padding zeros |
//! | text, varchar(n), char(n)   | Utf8                                 | char(n) is held without its padding |
//! | bytea                       | Binary                               | |
//! | date                        | Date32                               | |
//! | time                        | Time64(us)                           | |
//! | timestamp, timestamptz      | Timestamp(us), Timestamp(us, "UTC")  | |
//! | time(p), timestamp(p), ...  | as without p                         | rounded when written |
//! | interval                    | Interval(MonthDayNano)               | whole microseconds |
//! | uuid                        | FixedSizeBinary(16)                  | |
//! | jsonb                       | Utf8                                 | Postgres's canonical text |
//! | T[]                         | List(T)                              | |
//! | struct<a T, ...>            | Struct                               | Postgres calls it a row type |
//! | oid, regclass, ...          | UInt32                               | catalog only |
//! | name, "char"                | Utf8                                 | catalog only |
//!
//! Two types may share one Arrow form (text and jsonb), so the SQL type travels beside the Arrow schema: in
//! [`Column`] for relations, and in the binder's scopes for expressions. Arrow fields carry no type metadata.

use std::fmt;
mod array_input;
pub mod binary;
pub mod builder;
pub mod datetime;
pub mod datetime_input;
pub mod float;
pub mod hex;
pub mod interval;
pub mod interval_input;
pub mod io_functions;
pub mod iso;
pub mod json;
pub mod numeric;
pub mod pg_type;
#[cfg(test)]
mod round_trip;
pub mod text;
pub mod time_shift;
pub mod writer;
pub mod zone;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

pub use builder::TextColumnBuilder;
pub use text::TextSettings;
pub use writer::Writer;
pub use zone::Zone;

/// Digits of the widest unconstrained `numeric`: 38 before the point and 38 behind it.
pub const FREE_NUMERIC_PRECISION: u8 = 76;
pub const FREE_NUMERIC_SCALE: i8 = 38;
/// Digits of the widest `numeric(p,s)`.
pub const MAX_NUMERIC_PRECISION: u8 = 38;

/// A SQL type with its modifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Type {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric(Numeric),
    Text,
    /// `varchar` or `varchar(n)`, n in characters.
    Varchar(Option<u32>),
    /// `char(n)`, n in characters.
    Char(u32),
    Bytea,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    /// `time(p)`, `timestamp(p)`, `timestamptz(p)` of a column: its values are rounded to so many digits of a second, 0
    /// to 5. In expressions they are of the plain type.
    Rounded(Box<Type>, u8),
    Interval,
    Uuid,
    Jsonb,
    /// One-dimensional array; elements may be NULL.
    Array(Box<Type>),
    Struct(Vec<StructField>),
    /// Catalog types.
    Oid,
    Name,
    /// Postgres's single-byte `"char"`.
    SingleChar,
    Regclass,
    Regtype,
    Regproc,
    Regnamespace,
    /// The type of a bare NULL or string literal before it is resolved. No column has it.
    Unknown,
}

/// Scale of a numeric: fixed by its type, or free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Numeric {
    /// `numeric(p,s)`, or a derived scale (a literal's, a sum's). Decimal128.
    Fixed { precision: u8, scale: i8 },
    /// Bare `numeric`. Decimal256(76, 38).
    Free,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StructField {
    pub name: String,
    pub ty: Type,
}

/// Number of an object, never reused. Postgres oids are these plus 16384.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RelationId(pub u32);

impl RelationId {
    /// That of a system relation, whose oid is Postgres's (below 16384).
    pub fn system(oid: u32) -> RelationId {
        RelationId(oid.wrapping_sub(16_384))
    }

    pub fn oid(self) -> u32 {
        self.0.wrapping_add(16_384)
    }
}

impl fmt::Display for RelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A column of a relation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    pub ty: Type,
    pub not_null: bool,
}

impl Column {
    pub fn new(name: impl Into<String>, ty: Type) -> Column {
        Column { name: name.into(), ty, not_null: false }
    }
}

impl Type {
    pub const NUMERIC: Type = Type::Numeric(Numeric::Free);

    pub fn fixed_numeric(precision: u8, scale: i8) -> Type {
        Type::Numeric(Numeric::Fixed { precision, scale })
    }

    /// How Arrow holds values of this type. `Unknown` is held as text.
    pub fn arrow(&self) -> DataType {
        match self {
            Type::Bool => DataType::Boolean,
            Type::Int2 => DataType::Int16,
            Type::Int4 => DataType::Int32,
            Type::Int8 => DataType::Int64,
            Type::Float4 => DataType::Float32,
            Type::Float8 => DataType::Float64,
            Type::Numeric(Numeric::Fixed { precision, scale }) => DataType::Decimal128(*precision, *scale),
            Type::Numeric(Numeric::Free) => DataType::Decimal256(FREE_NUMERIC_PRECISION, FREE_NUMERIC_SCALE),
            Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Jsonb => DataType::Utf8,
            Type::Name | Type::SingleChar | Type::Unknown => DataType::Utf8,
            Type::Bytea => DataType::Binary,
            Type::Date => DataType::Date32,
            Type::Time => DataType::Time64(TimeUnit::Microsecond),
            Type::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Type::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Type::Rounded(ty, _) => ty.arrow(),
            Type::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Type::Uuid => DataType::FixedSizeBinary(16),
            Type::Array(item) => DataType::List(Arc::new(Field::new_list_field(item.arrow(), true))),
            Type::Struct(fields) => {
                DataType::Struct(fields.iter().map(|field| Field::new(&field.name, field.ty.arrow(), true)).collect())
            }
            Type::Oid | Type::Regclass | Type::Regtype | Type::Regproc | Type::Regnamespace => DataType::UInt32,
        }
    }
}

/// The Arrow schema of a relation. Every field is nullable: NOT NULL is a promise about rows that writes
/// check, not one the kernels may lean on (the NULL of a failed expression must fit too).
pub fn arrow_schema(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(
        columns.iter().map(|column| Field::new(&column.name, column.ty.arrow(), true)).collect::<Vec<_>>(),
    ))
}
