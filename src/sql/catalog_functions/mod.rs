//! Functions that answer from the catalog: pg_get_viewdef, format_type, pg_table_is_visible, regclass as text ...
//!
//! They are bound to the catalog, search path and user of the statement, so that within it they are pure functions of their
//! arguments. What exists nowhere here (triggers, comments, partitions) has the answer of a Postgres without any. Catalogs
//! are small: one row at a time is fine.

mod names;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, UInt32Array, new_null_array};
use arrow::datatypes::{DataType, Int32Type, UInt32Type};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use self::names::{Names, function_name, function_oid};
use super::BindContext;
use super::registry::{self, CastContext, Typed};
use crate::catalog::{PG_CATALOG, RR_CATALOG, RelationKind, definition, objects};
use crate::error::{Error, Result, SqlState};
use crate::types::Type;

/// What a function computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    RelationIsVisible,
    /// Types, functions, operators: everything the system has is on the path.
    Always,
    UserName,
    ViewDefinition,
    IndexDefinition,
    ConstraintDefinition,
    RuleDefinition,
    /// The first argument, as it is kept.
    Expression,
    FormatType,
    ToRegclass,
    ToRegtype,
    ToRegnamespace,
    RegclassText,
    RegnamespaceText,
    RegprocText,
    RegprocFromText,
    RegclassFromText,
    RegtypeFromText,
    RegnamespaceFromText,
    EncodingName,
    DatabaseEncoding,
    EncodingNumber,
    /// Of the session; 42704 for one that is not there, unless the second argument says that it may be missing.
    Setting,
    EmptyText,
    False,
    Zero,
    Null,
    FunctionResult,
    FunctionArguments,
    Updatable,
    /// None: what the function does is the session's, who does it for calls in one place only.
    OfSession,
}

/// Name, how many arguments at least, the types of all it may have (`None`: any), the result's type, the answer.
type Entry = (&'static str, usize, &'static [Option<Type>], Type, Answer);

const OID: Option<Type> = Some(Type::Oid);
const TEXT: Option<Type> = Some(Type::Text);
const BOOL: Option<Type> = Some(Type::Bool);
const INT: Option<Type> = Some(Type::Int4);
const BIGINT: Option<Type> = Some(Type::Int8);
const DOUBLE: Option<Type> = Some(Type::Float8);
const ANY: Option<Type> = None;

const ENTRIES: &[Entry] = &[
    ("pg_table_is_visible", 1, &[OID], Type::Bool, Answer::RelationIsVisible),
    ("pg_type_is_visible", 1, &[OID], Type::Bool, Answer::Always),
    ("pg_function_is_visible", 1, &[OID], Type::Bool, Answer::Always),
    ("pg_operator_is_visible", 1, &[OID], Type::Bool, Answer::Always),
    ("pg_collation_is_visible", 1, &[OID], Type::Bool, Answer::Always),
    ("pg_conversion_is_visible", 1, &[OID], Type::Bool, Answer::Always),
    ("pg_opclass_is_visible", 1, &[OID], Type::Bool, Answer::Always),
    ("pg_opfamily_is_visible", 1, &[OID], Type::Bool, Answer::Always),
    ("pg_statistics_obj_is_visible", 1, &[OID], Type::Bool, Answer::Always),
    ("pg_ts_config_is_visible", 1, &[OID], Type::Bool, Answer::Always),
    ("pg_ts_dict_is_visible", 1, &[OID], Type::Bool, Answer::Always),
    ("pg_ts_parser_is_visible", 1, &[OID], Type::Bool, Answer::Always),
    ("pg_ts_template_is_visible", 1, &[OID], Type::Bool, Answer::Always),
    ("has_table_privilege", 2, &[ANY, ANY, ANY], Type::Bool, Answer::Always),
    ("has_any_column_privilege", 2, &[ANY, ANY, ANY], Type::Bool, Answer::Always),
    ("has_column_privilege", 3, &[ANY, ANY, ANY, ANY], Type::Bool, Answer::Always),
    ("has_schema_privilege", 2, &[ANY, ANY, ANY], Type::Bool, Answer::Always),
    ("has_database_privilege", 2, &[ANY, ANY, ANY], Type::Bool, Answer::Always),
    ("has_function_privilege", 2, &[ANY, ANY, ANY], Type::Bool, Answer::Always),
    ("has_sequence_privilege", 2, &[ANY, ANY, ANY], Type::Bool, Answer::Always),
    ("has_tablespace_privilege", 2, &[ANY, ANY, ANY], Type::Bool, Answer::Always),
    ("has_type_privilege", 2, &[ANY, ANY, ANY], Type::Bool, Answer::Always),
    ("has_language_privilege", 2, &[ANY, ANY, ANY], Type::Bool, Answer::Always),
    ("pg_has_role", 2, &[ANY, ANY, ANY], Type::Bool, Answer::Always),
    ("pg_get_userbyid", 1, &[OID], Type::Name, Answer::UserName),
    ("pg_get_viewdef", 1, &[ANY, ANY], Type::Text, Answer::ViewDefinition),
    ("pg_get_indexdef", 1, &[OID, INT, BOOL], Type::Text, Answer::IndexDefinition),
    ("pg_get_constraintdef", 1, &[OID, BOOL], Type::Text, Answer::ConstraintDefinition),
    ("pg_get_ruledef", 1, &[OID, BOOL], Type::Text, Answer::RuleDefinition),
    ("pg_get_expr", 2, &[TEXT, OID, BOOL], Type::Text, Answer::Expression),
    ("format_type", 2, &[OID, INT], Type::Text, Answer::FormatType),
    ("to_regclass", 1, &[TEXT], Type::Regclass, Answer::ToRegclass),
    ("to_regtype", 1, &[TEXT], Type::Regtype, Answer::ToRegtype),
    ("to_regnamespace", 1, &[TEXT], Type::Regnamespace, Answer::ToRegnamespace),
    ("pg_encoding_to_char", 1, &[INT], Type::Name, Answer::EncodingName),
    ("pg_char_to_encoding", 1, &[Some(Type::Name)], Type::Int4, Answer::EncodingNumber),
    ("current_setting", 1, &[TEXT, BOOL], Type::Text, Answer::Setting),
    ("set_config", 3, &[TEXT, TEXT, BOOL], Type::Text, Answer::OfSession),
    ("pg_cancel_backend", 1, &[INT], Type::Bool, Answer::OfSession),
    ("pg_terminate_backend", 1, &[INT, BIGINT], Type::Bool, Answer::OfSession),
    ("pg_sleep", 1, &[DOUBLE], Type::Text, Answer::OfSession),
    // There are no advisory locks.
    ("pg_advisory_unlock_all", 0, &[], Type::Text, Answer::EmptyText),
    ("getdatabaseencoding", 0, &[], Type::Name, Answer::DatabaseEncoding),
    ("pg_tablespace_location", 1, &[OID], Type::Text, Answer::EmptyText),
    ("pg_relation_is_publishable", 1, &[Some(Type::Regclass)], Type::Bool, Answer::False),
    ("pg_is_other_temp_schema", 1, &[OID], Type::Bool, Answer::False),
    ("pg_my_temp_schema", 0, &[], Type::Oid, Answer::Zero),
    ("pg_relation_is_updatable", 2, &[Some(Type::Regclass), BOOL], Type::Int4, Answer::Updatable),
    ("pg_get_triggerdef", 1, &[OID, BOOL], Type::Text, Answer::Null),
    ("pg_get_partkeydef", 1, &[OID], Type::Text, Answer::Null),
    ("pg_get_partition_constraintdef", 1, &[OID], Type::Text, Answer::Null),
    ("pg_get_statisticsobjdef", 1, &[OID], Type::Text, Answer::Null),
    ("pg_get_statisticsobjdef_columns", 1, &[OID], Type::Text, Answer::Null),
    ("pg_get_serial_sequence", 2, &[TEXT, TEXT], Type::Text, Answer::Null),
    ("pg_get_functiondef", 1, &[OID], Type::Text, Answer::Null),
    ("pg_get_function_sqlbody", 1, &[OID], Type::Text, Answer::Null),
    ("pg_get_function_result", 1, &[OID], Type::Text, Answer::FunctionResult),
    ("pg_get_function_arguments", 1, &[OID], Type::Text, Answer::FunctionArguments),
    ("pg_get_function_identity_arguments", 1, &[OID], Type::Text, Answer::FunctionArguments),
    ("obj_description", 1, &[OID, ANY], Type::Text, Answer::Null),
    ("col_description", 2, &[OID, INT], Type::Text, Answer::Null),
    ("shobj_description", 2, &[OID, ANY], Type::Text, Answer::Null),
    ("pg_relation_size", 1, &[Some(Type::Regclass), TEXT], Type::Int8, Answer::Null),
    ("pg_table_size", 1, &[Some(Type::Regclass)], Type::Int8, Answer::Null),
    ("pg_indexes_size", 1, &[Some(Type::Regclass)], Type::Int8, Answer::Null),
    ("pg_total_relation_size", 1, &[Some(Type::Regclass)], Type::Int8, Answer::Null),
    ("pg_database_size", 1, &[ANY], Type::Int8, Answer::Null),
    ("pg_tablespace_size", 1, &[ANY], Type::Int8, Answer::Null),
    ("pg_stat_get_numscans", 1, &[OID], Type::Int8, Answer::Null),
    ("pg_sequence_last_value", 1, &[Some(Type::Regclass)], Type::Int8, Answer::Null),
];

/// Whether it is one of these functions.
pub fn exists(name: &str) -> bool {
    matches!(name, "current_schema" | "current_schemas") || ENTRIES.iter().any(|entry| entry.0 == name)
}

/// A call of one of these functions. 42883 for arguments that don't fit.
pub fn call(name: &str, args: Vec<Typed>, context: &BindContext) -> Result<Typed> {
    match (name, args.as_slice()) {
        ("current_schema", []) => {
            let literal = ScalarValue::Utf8(creation_schemas(context).next().cloned());
            return Ok(Typed::new(Expr::Literal(literal, None), Type::Name));
        }
        ("current_schemas", [with_system]) => {
            let with_system = matches!(with_system.expr, Expr::Literal(ScalarValue::Boolean(Some(true)), _));
            let own: Vec<&String> = creation_schemas(context).collect();
            let system = context.search_path.iter().filter(|schema| with_system && SYSTEM.contains(&schema.as_str()));
            let names: Vec<ScalarValue> =
                system.chain(own.iter().copied()).map(|name| ScalarValue::Utf8(Some(name.clone()))).collect();
            let list = ScalarValue::List(ScalarValue::new_list_nullable(&names, &DataType::Utf8));
            return Ok(Typed::new(Expr::Literal(list, None), Type::Array(Box::new(Type::Name))));
        }
        _ => {}
    }
    let entry = ENTRIES.iter().find(|entry| entry.0 == name);
    let fits = entry.filter(|(_, least, declared, ..)| args.len() >= *least && args.len() <= declared.len());
    let Some((_, _, declared, result, answer)) = fits else {
        let types: Vec<String> = args.iter().map(|arg| arg.ty.bare_name()).collect();
        let message = format!("function {name}({}) does not exist", types.join(", "));
        return Err(Error::new(SqlState::UNDEFINED_FUNCTION, message).with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        ));
    };
    let mut coerced = Vec::with_capacity(args.len());
    for (arg, declared) in args.into_iter().zip(*declared) {
        coerced.push(match declared {
            Some(ty) if arg.ty == *ty => arg,
            Some(ty) => match cast(&arg, ty, context)? {
                Some(cast) => cast,
                None => registry::coerce(arg, ty, CastContext::Assignment)?,
            },
            None if arg.ty == Type::Unknown => registry::coerce(arg, &Type::Text, CastContext::Implicit)?,
            None => arg,
        });
    }
    if *answer == Answer::OfSession {
        let hint = format!("Call it as an item of the outermost select list: SELECT {name}(...) FROM ... WHERE ...");
        return Err(Error::unsupported(format!("{name} in this place"), hint));
    }
    Ok(build(name, coerced, result.clone(), *answer, context))
}

/// Casts between the types that name objects and text, which need the catalog. `None`: an ordinary cast.
pub fn cast(arg: &Typed, to: &Type, context: &BindContext) -> Result<Option<Typed>> {
    let is_text = |ty: &Type| matches!(ty, Type::Text | Type::Varchar(_) | Type::Name | Type::Unknown);
    let answer = match (&arg.ty, to) {
        (Type::Regclass, to) if is_text(to) => Answer::RegclassText,
        (Type::Regnamespace, to) if is_text(to) => Answer::RegnamespaceText,
        (Type::Regproc, to) if is_text(to) => Answer::RegprocText,
        (Type::Regtype, to) if is_text(to) => Answer::FormatType,
        (from, Type::Regclass) if is_text(from) => Answer::RegclassFromText,
        (from, Type::Regproc) if is_text(from) => Answer::RegprocFromText,
        (from, Type::Regnamespace) if is_text(from) => Answer::RegnamespaceFromText,
        (from, Type::Regtype) if is_text(from) => Answer::RegtypeFromText,
        _ => return Ok(None),
    };
    // A parameter is the name's text: what it names is known here, not where its bytes are read.
    let arg = match arg.ty {
        Type::Unknown => registry::coerce(arg.clone(), &Type::Text, CastContext::Implicit)?,
        _ => arg.clone(),
    };
    Ok(Some(build(&format!("to_{}", to.type_name()), vec![arg], to.clone(), answer, context)))
}

/// Schemas that nobody creates in.
const SYSTEM: [&str; 2] = [PG_CATALOG, RR_CATALOG];

/// Schemas of the search path that users create in.
fn creation_schemas(context: &BindContext) -> impl Iterator<Item = &String> {
    context.search_path.iter().filter(|schema| !SYSTEM.contains(&schema.as_str()) && context.catalog.has_schema(schema))
}

fn build(name: &str, args: Vec<Typed>, result: Type, answer: Answer, context: &BindContext) -> Typed {
    let (exprs, types) = args.into_iter().map(|arg| (arg.expr, arg.ty)).unzip();
    let function = CatalogFunction {
        name: name.to_string(),
        answer,
        types,
        result: result.clone(),
        names: Arc::new(Names::new(context)),
        signature: Signature::user_defined(Volatility::Immutable),
    };
    let udf = Arc::new(ScalarUDF::new_from_impl(function));
    Typed::new(Expr::ScalarFunction(ScalarFunction::new_udf(udf, exprs)), result)
}

struct CatalogFunction {
    name: String,
    answer: Answer,
    types: Vec<Type>,
    result: Type,
    names: Arc<Names>,
    signature: Signature,
}

impl std::fmt::Debug for CatalogFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// Within one plan there is one catalog, so what is asked decides.
impl PartialEq for CatalogFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.types == other.types && self.result == other.result
    }
}

impl Eq for CatalogFunction {}

impl Hash for CatalogFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.types.hash(state);
    }
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.result.arrow())
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<DfResult<Vec<_>>>()?;
        Ok(ColumnarValue::Array(self.evaluate(&arrays, rows)?))
    }
}

impl CatalogFunction {
    fn evaluate(&self, args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let names = &self.names;
        let oid = |arg: usize, row: usize| -> Option<u32> {
            let array = args.get(arg)?.as_primitive_opt::<UInt32Type>()?;
            array.is_valid(row).then(|| array.value(row))
        };
        let integer = |arg: usize, row: usize| -> Option<i32> {
            let array = args.get(arg)?.as_primitive_opt::<Int32Type>()?;
            array.is_valid(row).then(|| array.value(row))
        };
        let flag = |arg: usize, row: usize| -> Option<bool> {
            let array = args.get(arg)?.as_boolean_opt()?;
            array.is_valid(row).then(|| array.value(row))
        };
        let text = |arg: usize, row: usize| -> Option<&str> {
            let array = args.get(arg)?.as_string_opt::<i32>()?;
            array.is_valid(row).then(|| array.value(row))
        };
        let texts =
            |of: &dyn Fn(usize) -> Option<String>| -> ArrayRef { Arc::new((0..rows).map(of).collect::<StringArray>()) };
        let flags =
            |of: &dyn Fn(usize) -> Option<bool>| -> ArrayRef { Arc::new((0..rows).map(of).collect::<BooleanArray>()) };
        let oids = |of: &dyn Fn(usize) -> Result<Option<u32>>| -> Result<ArrayRef> {
            Ok(Arc::new((0..rows).map(of).collect::<Result<UInt32Array>>()?))
        };
        let given = |row: usize| args.iter().all(|arg| arg.is_valid(row));
        Ok(match self.answer {
            Answer::Null | Answer::OfSession => new_null_array(&self.result.arrow(), rows),
            Answer::Always => flags(&|row| given(row).then_some(true)),
            Answer::False => flags(&|row| given(row).then_some(false)),
            Answer::Zero => oids(&|_| Ok(Some(0)))?,
            Answer::Updatable => Arc::new(
                (0..rows)
                    .map(|row| {
                        let table = names.relation(oid(0, row)?)?;
                        // Bits of the commands: 8 INSERT, 4 UPDATE, 16 DELETE.
                        Some(match &table.kind {
                            RelationKind::Table(_) => 28,
                            RelationKind::Stream(stream) if stream.connector.is_none() => 8,
                            _ => 0,
                        })
                    })
                    .collect::<arrow::array::Int32Array>(),
            ),
            Answer::EmptyText => texts(&|row| given(row).then(String::new)),
            Answer::EncodingNumber => Arc::new(
                (0..rows)
                    .map(|row| {
                        let name = text(0, row)?.to_ascii_uppercase().replace(['-', '_'], "");
                        Some(if matches!(name.as_str(), "UTF8" | "UNICODE") { 6 } else { -1 })
                    })
                    .collect::<arrow::array::Int32Array>(),
            ),
            Answer::Setting => {
                let mut values = Vec::with_capacity(rows);
                for row in 0..rows {
                    let Some(name) = text(0, row) else {
                        values.push(None);
                        continue;
                    };
                    let found = names.settings.iter().find(|setting| setting.name.eq_ignore_ascii_case(name));
                    if found.is_none() && flag(1, row) != Some(true) {
                        let message = format!("unrecognized configuration parameter \"{name}\"");
                        return Err(Error::new(SqlState::UNDEFINED_OBJECT, message));
                    }
                    values.push(found.map(|setting| setting.value.clone()));
                }
                Arc::new(StringArray::from(values))
            }
            Answer::DatabaseEncoding => texts(&|_| Some("UTF8".to_string())),
            Answer::EncodingName => {
                texts(&|row| Some(if integer(0, row)? == 6 { "UTF8".to_string() } else { String::new() }))
            }
            Answer::RelationIsVisible => flags(&|row| names.is_visible(oid(0, row)?)),
            Answer::UserName => texts(&|row| {
                let oid = oid(0, row)?;
                let known = oid == objects::OWNER;
                Some(if known { objects::OWNER_NAME.to_string() } else { format!("unknown (OID={oid})") })
            }),
            Answer::ViewDefinition => texts(&|row| {
                let by_name = || names.relation_oid(text(0, row)?).ok().flatten();
                names.view_definition(oid(0, row).or_else(by_name)?)
            }),
            Answer::IndexDefinition => texts(&|row| {
                let (column, pretty) = (integer(1, row).unwrap_or(0), flag(2, row).unwrap_or(false));
                names.index_definition(oid(0, row)?, column, pretty)
            }),
            Answer::ConstraintDefinition => texts(&|row| names.constraint_definition(oid(0, row)?)),
            Answer::RuleDefinition => texts(&|row| names.rule_definition(oid(0, row)?)),
            Answer::Expression => texts(&|row| text(0, row).map(str::to_string)),
            Answer::FormatType => texts(&|row| Some(names.format_type(oid(0, row)?, integer(1, row)))),
            Answer::RegclassText => texts(&|row| Some(names.shown(oid(0, row)?))),
            Answer::RegnamespaceText => texts(&|row| {
                let oid = oid(0, row)?;
                let found = names.schemas.iter().find(|schema| schema.1 == oid);
                Some(found.map_or(oid.to_string(), |schema| definition::quote_identifier(&schema.0)))
            }),
            Answer::RegprocText => texts(&|row| {
                let oid = oid(0, row)?;
                Some(match function_name(oid) {
                    None if oid == 0 => "-".to_string(),
                    None => oid.to_string(),
                    Some(name) => name.to_string(),
                })
            }),
            Answer::RegprocFromText => oids(&|row| text(0, row).map(function_oid).transpose())?,
            Answer::ToRegclass => {
                oids(&|row| Ok(text(0, row).and_then(|text| names.relation_oid(text).ok().flatten())))?
            }
            Answer::RegclassFromText => oids(&|row| {
                let Some(text) = text(0, row) else { return Ok(None) };
                match names.relation_oid(text)? {
                    Some(oid) => Ok(Some(oid)),
                    None => Err(Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{text}\" does not exist"))),
                }
            })?,
            Answer::RegtypeFromText => oids(&|row| text(0, row).map(names::type_oid).transpose())?,
            Answer::ToRegtype => oids(&|row| Ok(text(0, row).and_then(|text| names::type_oid(text).ok())))?,
            Answer::RegnamespaceFromText => oids(&|row| text(0, row).map(|text| names.schema_oid(text)).transpose())?,
            Answer::ToRegnamespace => oids(&|row| Ok(text(0, row).and_then(|text| names.schema_oid(text).ok())))?,
            Answer::FunctionResult => texts(&|row| {
                let oid = oid(0, row)?;
                let function = registry::functions().find(|function| function.oid == oid)?;
                Some(names.format_type(function.prorettype, None))
            }),
            Answer::FunctionArguments => texts(&|row| {
                let oid = oid(0, row)?;
                let function = registry::functions().find(|function| function.oid == oid)?;
                let types = function.proargtypes.iter().map(|ty| names.format_type(*ty, None));
                Some(types.collect::<Vec<_>>().join(", "))
            }),
        })
    }
}
