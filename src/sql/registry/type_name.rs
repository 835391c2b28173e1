//! Type names as people write them, from the parser's tree.

use sqlparser::ast::{ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, TimezoneInfo};

use crate::error::{Error, Result, SqlState};
use crate::types::pg_type::PG_TYPES;
use crate::types::{MAX_NUMERIC_PRECISION, StructField, Type};

/// The type an AST names. Errors: 42704 for a name that is none, 22023 for a modifier out of range, 0A000 for a
/// Postgres type we lack.
pub fn parse_type(ast: &DataType) -> Result<Type> {
    Ok(match ast {
        DataType::Boolean | DataType::Bool => Type::Bool,
        DataType::SmallInt(None) | DataType::Int2(None) => Type::Int2,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => Type::Int4,
        DataType::BigInt(None) | DataType::Int8(None) => Type::Int8,
        DataType::Real | DataType::Float4 => Type::Float4,
        DataType::DoublePrecision | DataType::Float8 | DataType::Double(ExactNumberInfo::None) => Type::Float8,
        DataType::Float(info) => float(info)?,
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(info)?,
        DataType::Text => Type::Text,
        DataType::Varchar(length) | DataType::CharVarying(length) | DataType::CharacterVarying(length) => {
            Type::Varchar(char_length(length.as_ref(), "varchar")?)
        }
        DataType::Char(length) | DataType::Character(length) => {
            Type::Char(char_length(length.as_ref(), "char")?.unwrap_or(1))
        }
        DataType::Bytea => Type::Bytea,
        DataType::Date => Type::Date,
        DataType::Time(precision, zone) => match zone {
            TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => rounded(Type::Time, *precision),
            _ => return Err(Error::unsupported("type time with time zone", "Use time, or timestamptz.")),
        },
        DataType::Timestamp(precision, zone) => {
            let plain = match zone {
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => Type::Timestamp,
                _ => Type::Timestamptz,
            };
            rounded(plain, *precision)
        }
        DataType::Interval { fields: None, precision } => {
            whole_precision(*precision, "interval")?;
            Type::Interval
        }
        DataType::Interval { .. } => {
            return Err(Error::unsupported("interval with a field restriction", "Use interval."));
        }
        DataType::Uuid => Type::Uuid,
        DataType::JSON | DataType::JSONB => Type::Jsonb,
        DataType::Regclass => Type::Regclass,
        DataType::Array(ArrayElemTypeDef::SquareBracket(item, _) | ArrayElemTypeDef::AngleBracket(item)) => {
            match parse_type(item)? {
                // Postgres's arrays have no declared dimensions; ours have one.
                Type::Array(_) => {
                    return Err(Error::unsupported("an array of arrays", "Use jsonb, or an array of structs."));
                }
                item => Type::Array(Box::new(item)),
            }
        }
        DataType::Struct(fields, _) => {
            let fields = fields
                .iter()
                .map(|field| {
                    let name = field
                        .field_name
                        .as_ref()
                        .ok_or_else(|| Error::new(SqlState::SYNTAX_ERROR, "a field of a struct needs a name"))?;
                    let name = match name.quote_style {
                        Some(_) => name.value.clone(),
                        None => name.value.to_lowercase(),
                    };
                    Ok(StructField { name, ty: parse_type(&field.field_type)? })
                })
                .collect::<Result<_>>()?;
            Type::Struct(fields)
        }
        DataType::Custom(name, modifiers) => custom(name, modifiers)?,
        other => return Err(unknown_type(&other.to_string().to_lowercase())),
    })
}

pub(super) fn unknown_type(name: &str) -> Error {
    let error = Error::new(SqlState::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist"));
    match super::foreign::type_named(name) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn custom(name: &sqlparser::ast::ObjectName, modifiers: &[String]) -> Result<Type> {
    let parts: Vec<(String, bool)> = name
        .0
        .iter()
        .filter_map(|part| part.as_ident())
        .map(|ident| match ident.quote_style {
            Some(_) => (ident.value.clone(), true),
            None => (ident.value.to_lowercase(), false),
        })
        .collect();
    let (last, quoted) = match &parts[..] {
        [(last, quoted)] => (last.as_str(), *quoted),
        [(schema, _), (last, quoted)] if schema == "pg_catalog" => (last.as_str(), *quoted || last != "char"),
        _ => return Err(unknown_type(&name.to_string())),
    };
    let number = |index: usize| modifiers.get(index).and_then(|text| text.trim().parse::<u64>().ok());
    match (last, number(0)) {
        ("char", None) if quoted => Ok(Type::SingleChar),
        ("varchar", Some(n)) => Ok(Type::Varchar(Some(length(n, "varchar")?))),
        ("bpchar", Some(n)) => Ok(Type::Char(length(n, "char")?)),
        ("numeric" | "decimal", Some(p)) => fixed(p, number(1).unwrap_or(0) as i64),
        (other, Some(_)) if simple_type(other).is_none() => Err(unknown_type(other)),
        (_, Some(_)) => {
            Err(Error::new(SqlState::SYNTAX_ERROR, format!("type modifier is not allowed for type \"{last}\"")))
        }
        (other, None) => simple_type(other).ok_or_else(|| unknown_type(other)),
    }
}

/// A type by its unquoted name, as in `typname` (`int4`, `_text`) or as one word of SQL (`integer`, `json`).
pub fn simple_type(name: &str) -> Option<Type> {
    Some(match name {
        "boolean" => Type::Bool,
        "smallint" => Type::Int2,
        "int" | "integer" => Type::Int4,
        "bigint" => Type::Int8,
        "real" => Type::Float4,
        "float" => Type::Float8,
        "decimal" => Type::NUMERIC,
        "json" => Type::Jsonb,
        "string" => Type::Text,
        "xid" | "cid" => Type::Oid,
        "char" => Type::Char(1),
        "unknown" => return None,
        other => {
            let (element, array) = other.strip_prefix('_').map_or((other, false), |element| (element, true));
            let row = PG_TYPES.iter().find(|row| row.name == element && row.kind == 'b')?;
            return Type::from_oid(if array { row.array_oid } else { row.oid });
        }
    })
}

/// Values have six digits of a second, so more are none to round to.
fn rounded(plain: Type, digits: Option<u64>) -> Type {
    match digits {
        Some(digits @ 0..=5) => Type::Rounded(Box::new(plain), digits as u8),
        _ => plain,
    }
}

fn whole_precision(precision: Option<u64>, name: &str) -> Result<()> {
    match precision {
        None | Some(6) => Ok(()),
        Some(p) => Err(Error::unsupported(
            format!("type {name}({p})"),
            "Values have microseconds; date_trunc('milliseconds', ...) shortens them.",
        )),
    }
}

fn float(info: &ExactNumberInfo) -> Result<Type> {
    match info {
        ExactNumberInfo::None => Ok(Type::Float8),
        ExactNumberInfo::Precision(p) if (1..=24).contains(p) => Ok(Type::Float4),
        ExactNumberInfo::Precision(p) if (25..=53).contains(p) => Ok(Type::Float8),
        ExactNumberInfo::Precision(0) => {
            Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "precision for type float must be at least 1 bit"))
        }
        _ => Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "precision for type float must be less than 54 bits")),
    }
}

fn numeric(info: &ExactNumberInfo) -> Result<Type> {
    match info {
        ExactNumberInfo::None => Ok(Type::NUMERIC),
        ExactNumberInfo::Precision(p) => fixed(*p, 0),
        ExactNumberInfo::PrecisionAndScale(p, s) => fixed(*p, *s),
    }
}

fn fixed(precision: u64, scale: i64) -> Result<Type> {
    if !(1..=1000).contains(&precision) {
        let message = format!("NUMERIC precision {precision} must be between 1 and 1000");
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    if !(-1000..=1000).contains(&scale) {
        let message = format!("NUMERIC scale {scale} must be between -1000 and 1000");
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    if precision > u64::from(MAX_NUMERIC_PRECISION) || !(0..=precision as i64).contains(&scale) {
        return Err(Error::unsupported(
            format!("type numeric({precision},{scale})"),
            "A precision may be 1 to 38 with a scale from 0 to the precision; numeric without them is wider.",
        ));
    }
    Ok(Type::fixed_numeric(precision as u8, scale as i8))
}

fn char_length(value: Option<&CharacterLength>, name: &str) -> Result<Option<u32>> {
    match value {
        None => Ok(None),
        Some(CharacterLength::IntegerLength { length: n, .. }) => length(*n, name).map(Some),
        Some(CharacterLength::Max) => Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"max\"")),
    }
}

fn length(n: u64, name: &str) -> Result<u32> {
    if n < 1 {
        return Err(Error::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("length for type {name} must be at least 1"),
        ));
    }
    if n > u64::from(Type::MAX_CHAR_LENGTH) {
        return Err(Error::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("length for type {name} cannot exceed {}", Type::MAX_CHAR_LENGTH),
        ));
    }
    Ok(n as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    fn parsed(text: &str) -> Result<Type> {
        let ast = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).unwrap().parse_data_type().unwrap();
        parse_type(&ast)
    }

    #[test]
    fn names_lead_to_types() {
        let cases = [
            ("int", "integer"),
            ("INT8", "bigint"),
            ("float(10)", "real"),
            ("double precision", "double precision"),
            ("numeric", "numeric"),
            ("decimal(12, 2)", "numeric(12,2)"),
            ("varchar(7)", "character varying(7)"),
            ("char", "character(1)"),
            ("\"char\"", "\"char\""),
            ("timestamp with time zone", "timestamp with time zone"),
            ("timestamptz", "timestamp with time zone"),
            ("text[]", "text[]"),
            ("interval", "interval"),
            ("pg_catalog.text", "text"),
            ("pg_catalog.regclass", "regclass"),
            ("name", "name"),
            ("oid", "oid"),
            ("json", "jsonb"),
        ];
        for (text, name) in cases {
            assert_eq!(parsed(text).map(|ty| ty.name()), Ok(name.to_string()), "{text}");
        }
        assert_eq!(parsed("nonsense").unwrap_err().state(), SqlState::UNDEFINED_OBJECT);
        assert_eq!(parsed("numeric(50, 2)").unwrap_err().state(), SqlState::FEATURE_NOT_SUPPORTED);
    }
}
