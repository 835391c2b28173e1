//! The one error type: what went wrong in words an analyst understands, with the SQLSTATE a client branches on.
//!
//! Every floor may use this file. Messages are written as Postgres writes them: lower case, no full stop, the
//! offending name in double quotes; what to do instead goes into the hint.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// SQLSTATE codes, named as Postgres's `errcodes.txt` names them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(pub &'static str);

macro_rules! states {
    ($($name:ident = $code:literal;)*) => {
        impl SqlState { $(pub const $name: SqlState = SqlState($code);)* }
    };
}

states! {
    SUCCESSFUL_COMPLETION = "00000";
    CONNECTION_FAILURE = "08001";
    TRANSACTION_RESOLUTION_UNKNOWN = "08007";
    PROTOCOL_VIOLATION = "08P01";
    FEATURE_NOT_SUPPORTED = "0A000";
    CARDINALITY_VIOLATION = "21000";
    STRING_DATA_RIGHT_TRUNCATION = "22001";
    NUMERIC_VALUE_OUT_OF_RANGE = "22003";
    NULL_VALUE_NOT_ALLOWED = "22004";
    INVALID_DATETIME_FORMAT = "22007";
    DATETIME_FIELD_OVERFLOW = "22008";
    INVALID_TIME_ZONE = "22009";
    DIVISION_BY_ZERO = "22012";
    INVALID_PRECEDING_OR_FOLLOWING_SIZE = "22013";
    INVALID_ARGUMENT_FOR_NTILE = "22014";
    INTERVAL_FIELD_OVERFLOW = "22015";
    INVALID_ARGUMENT_FOR_NTH_VALUE = "22016";
    INVALID_ARGUMENT_FOR_LOG = "2201E";
    INVALID_ARGUMENT_FOR_POWER = "2201F";
    INVALID_ROW_COUNT_IN_LIMIT = "2201W";
    INVALID_ROW_COUNT_IN_OFFSET = "2201X";
    INVALID_REGULAR_EXPRESSION = "2201B";
    CHARACTER_NOT_IN_REPERTOIRE = "22021";
    INVALID_PARAMETER_VALUE = "22023";
    INVALID_ESCAPE_SEQUENCE = "22025";
    SUBSTRING_ERROR = "22011";
    ARRAY_SUBSCRIPT_ERROR = "2202E";
    INVALID_TEXT_REPRESENTATION = "22P02";
    INVALID_BINARY_REPRESENTATION = "22P03";
    BAD_COPY_FILE_FORMAT = "22P04";
    UNTRANSLATABLE_CHARACTER = "22P05";
    NOT_NULL_VIOLATION = "23502";
    UNIQUE_VIOLATION = "23505";
    INVALID_CURSOR_STATE = "24000";
    ACTIVE_SQL_TRANSACTION = "25001";
    READ_ONLY_SQL_TRANSACTION = "25006";
    NO_ACTIVE_SQL_TRANSACTION = "25P01";
    IN_FAILED_SQL_TRANSACTION = "25P02";
    IDLE_IN_TRANSACTION_SESSION_TIMEOUT = "25P03";
    INVALID_SQL_STATEMENT_NAME = "26000";
    INVALID_AUTHORIZATION_SPECIFICATION = "28000";
    DEPENDENT_OBJECTS_STILL_EXIST = "2BP01";
    INVALID_CURSOR_NAME = "34000";
    INVALID_SAVEPOINT = "3B001";
    INVALID_CATALOG_NAME = "3D000";
    INVALID_SCHEMA_NAME = "3F000";
    SERIALIZATION_FAILURE = "40001";
    SYNTAX_ERROR = "42601";
    INSUFFICIENT_PRIVILEGE = "42501";
    CANNOT_COERCE = "42846";
    GROUPING_ERROR = "42803";
    GENERATED_ALWAYS = "428C9";
    WINDOWING_ERROR = "42P20";
    DATATYPE_MISMATCH = "42804";
    INDETERMINATE_DATATYPE = "42P18";
    WRONG_OBJECT_TYPE = "42809";
    UNDEFINED_COLUMN = "42703";
    UNDEFINED_FUNCTION = "42883";
    UNDEFINED_TABLE = "42P01";
    UNDEFINED_PARAMETER = "42P02";
    UNDEFINED_OBJECT = "42704";
    DUPLICATE_COLUMN = "42701";
    DUPLICATE_CURSOR = "42P03";
    DUPLICATE_PREPARED_STATEMENT = "42P05";
    DUPLICATE_SCHEMA = "42P06";
    DUPLICATE_TABLE = "42P07";
    DUPLICATE_ALIAS = "42712";
    DUPLICATE_OBJECT = "42710";
    AMBIGUOUS_ALIAS = "42P09";
    AMBIGUOUS_COLUMN = "42702";
    AMBIGUOUS_FUNCTION = "42725";
    INVALID_COLUMN_REFERENCE = "42P10";
    INVALID_TABLE_DEFINITION = "42P16";
    INVALID_OBJECT_DEFINITION = "42P17";
    INVALID_RECURSION = "42P19";
    RESERVED_NAME = "42939";
    DISK_FULL = "53100";
    OUT_OF_MEMORY = "53200";
    TOO_MANY_CONNECTIONS = "53300";
    PROGRAM_LIMIT_EXCEEDED = "54000";
    STATEMENT_TOO_COMPLEX = "54001";
    TOO_MANY_COLUMNS = "54011";
    OBJECT_NOT_IN_PREREQUISITE_STATE = "55000";
    CANT_CHANGE_RUNTIME_PARAM = "55P02";
    QUERY_CANCELED = "57014";
    ADMIN_SHUTDOWN = "57P01";
    IDLE_SESSION_TIMEOUT = "57P05";
    CANNOT_CONNECT_NOW = "57P03";
    IO_ERROR = "58030";
    INTERNAL_ERROR = "XX000";
    DATA_CORRUPTED = "XX001";
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// An error as a Postgres client sees it.
///
/// `position` is the 1-based character (not byte) in the statement as sent.
#[derive(Clone, PartialEq)]
pub struct Error {
    fields: Box<Fields>,
}

#[derive(Clone, PartialEq)]
struct Fields {
    state: SqlState,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    position: Option<u32>,
    context: Option<String>,
    object: Object,
}

/// The schema object an error is about, as the fields s t c n of the protocol name it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    pub schema: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
    pub constraint: Option<String>,
}

impl Error {
    pub fn new(state: SqlState, message: impl Into<String>) -> Error {
        let (message, object) = (message.into(), Object::default());
        let fields = Fields { state, message, detail: None, hint: None, position: None, context: None, object };
        Error { fields: Box::new(fields) }
    }

    /// A broken invariant of ours: reported, logged, never blamed on the user.
    pub fn internal(message: impl fmt::Display) -> Error {
        Error::new(SqlState::INTERNAL_ERROR, format!("internal error: {message}"))
    }

    /// A construct that exists in SQL but not (yet) here; `hint` says what to write instead.
    pub fn unsupported(construct: impl fmt::Display, hint: impl Into<String>) -> Error {
        Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("{construct} is not supported")).with_hint(hint)
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.fields.hint = Some(hint.into());
        self
    }

    pub fn with_detail(mut self, detail: impl Into<String>) -> Error {
        self.fields.detail = Some(detail.into());
        self
    }

    /// Where in the input it happened: `COPY t, line 3, column a: "x"`.
    pub fn with_context(mut self, context: impl Into<String>) -> Error {
        self.fields.context = Some(context.into());
        self
    }

    /// Which schema object it is about.
    pub fn with_object(mut self, object: Object) -> Error {
        self.fields.object = object;
        self
    }

    /// Sets the position unless a more precise one is already known.
    pub fn or_position(mut self, position: Option<u32>) -> Error {
        self.fields.position = self.fields.position.or(position);
        self
    }

    pub fn state(&self) -> SqlState {
        self.fields.state
    }
    pub fn message(&self) -> &str {
        &self.fields.message
    }
    pub fn detail(&self) -> Option<&str> {
        self.fields.detail.as_deref()
    }
    pub fn hint(&self) -> Option<&str> {
        self.fields.hint.as_deref()
    }
    pub fn position(&self) -> Option<u32> {
        self.fields.position
    }
    pub fn context(&self) -> Option<&str> {
        self.fields.context.as_deref()
    }
    pub fn object(&self) -> &Object {
        &self.fields.object
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fields.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.fields.state, self.fields.message)?;
        if let Some(detail) = &self.fields.detail {
            write!(f, " (detail: {detail})")?;
        }
        if let Some(hint) = &self.fields.hint {
            write!(f, " (hint: {hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Errors cross DataFusion wrapped as `External`; they come out as they went in. What DataFusion itself
/// raises is classified by its kind, since its messages are not written for analysts.
impl From<datafusion::error::DataFusionError> for Error {
    fn from(error: datafusion::error::DataFusionError) -> Error {
        from_datafusion(&error)
    }
}

/// By reference, since DataFusion shares the errors of what several operators wait for.
fn from_datafusion(error: &datafusion::error::DataFusionError) -> Error {
    use datafusion::error::DataFusionError as E;
    match error {
        E::External(inner) => from_boxed(inner.as_ref()),
        E::ArrowError(inner, _) => from_arrow(inner),
        E::Context(_, inner) | E::Diagnostic(_, inner) => from_datafusion(inner),
        E::Shared(inner) => from_datafusion(inner),
        E::Collection(errors) => errors.first().map_or_else(|| Error::internal(error), from_datafusion),
        E::ResourcesExhausted(message) => Error::new(SqlState::OUT_OF_MEMORY, "out of memory")
            .with_detail(message.lines().next().unwrap_or_default())
            .with_hint("Read less at a time, or raise memory_limit."),
        E::NotImplemented(message) => Error::new(SqlState::FEATURE_NOT_SUPPORTED, message.as_str()),
        E::Execution(message) if message.contains("more than one row") => Error::new(
            SqlState::CARDINALITY_VIOLATION,
            "more than one row returned by a subquery used as an expression",
        ),
        other => Error::internal(other),
    }
}

/// An error of ours, DataFusion's or Arrow's that travelled as a plain one.
fn from_boxed(error: &(dyn std::error::Error + 'static)) -> Error {
    if let Some(own) = error.downcast_ref::<Error>() {
        own.clone()
    } else if let Some(inner) = error.downcast_ref::<datafusion::error::DataFusionError>() {
        from_datafusion(inner)
    } else if let Some(inner) = error.downcast_ref::<arrow::error::ArrowError>() {
        from_arrow(inner)
    } else {
        Error::internal(error)
    }
}

impl From<Error> for datafusion::error::DataFusionError {
    fn from(error: Error) -> Self {
        datafusion::error::DataFusionError::External(Box::new(error))
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Error {
        from_arrow(&error)
    }
}

/// Arrow says little by kind; a few messages tell the rest. Our own kernels raise errors of ours instead.
fn from_arrow(error: &arrow::error::ArrowError) -> Error {
    use arrow::error::ArrowError as A;
    match error {
        A::DivideByZero => Error::new(SqlState::DIVISION_BY_ZERO, "division by zero"),
        A::ArithmeticOverflow(_) => Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range"),
        A::ExternalError(inner) => from_boxed(inner.as_ref()),
        A::InvalidArgumentError(message) if message.contains("Decimal") && message.contains("too ") => {
            Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").with_detail(message.as_str())
        }
        A::CastError(message) if message.starts_with("Can't cast value") => {
            Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range").with_detail(message.as_str())
        }
        A::CastError(message) | A::ParseError(message) => {
            Error::new(SqlState::INVALID_TEXT_REPRESENTATION, message.as_str())
        }
        A::OffsetOverflowError(_) => {
            Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "more than 2 gigabytes of text in one batch of rows")
        }
        other => Error::internal(other),
    }
}

impl From<Error> for arrow::error::ArrowError {
    fn from(error: Error) -> Self {
        arrow::error::ArrowError::ExternalError(Box::new(error))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        let state = match error.kind() {
            std::io::ErrorKind::StorageFull => SqlState::DISK_FULL,
            _ => SqlState::IO_ERROR,
        };
        Error::new(state, error.to_string())
    }
}

/// RocksDB reports a full disk only in words.
impl From<rocksdb::Error> for Error {
    fn from(error: rocksdb::Error) -> Error {
        let text = error.to_string();
        if text.contains("No space left") {
            Error::new(SqlState::DISK_FULL, "no space left on the data disk")
                .with_hint("Free some space; reads go on, and writes are taken again within seconds.")
        } else if error.kind() == rocksdb::ErrorKind::Corruption {
            Error::new(SqlState::DATA_CORRUPTED, text)
        } else {
            Error::new(SqlState::IO_ERROR, text)
        }
    }
}

/// A panic is an error of what was being done, not the end of its thread.
pub fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = match panic.downcast_ref::<String>() {
            Some(text) => text,
            None => panic.downcast_ref::<&str>().copied().unwrap_or("a panic without words"),
        };
        Err(Error::internal(text))
    })
}
