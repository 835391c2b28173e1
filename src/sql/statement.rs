//! Statements as they were written, before any name is looked up.
//!
//! Where sqlparser's tree says what was meant it is kept (queries, INSERT, UPDATE, DELETE); what it has no form for, or
//! reads differently from Postgres, has a form of ours. Spans in these trees do not hold lines: `line` is always 1 and
//! `column` is the 1-based character of the whole text sent, which is what an error's position is.

use std::sync::Arc;

use sqlparser::ast;

use crate::catalog::{IncludeKind, IndexMethod};

/// One statement of a text that may hold several.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub statement: Statement,
    /// The statement's own text, without the semicolon.
    pub text: String,
    /// 0-based character of the whole text at which `text` starts.
    pub start: usize,
}

/// What may be long is shared: it is bound on another thread than the session's.
#[derive(Clone, Debug)]
pub enum Statement {
    /// SELECT, VALUES, TABLE x, WITH ...
    Query(Arc<ast::Query>),
    Insert(Arc<Insert>),
    Update(Arc<Update>),
    Delete(Arc<Delete>),
    Truncate(Truncate),
    CreateStream(CreateRelation),
    CreateTable(CreateRelation),
    CreateView(CreateView),
    CreateIndex(CreateIndex),
    CreateSchema {
        name: ast::Ident,
        if_not_exists: bool,
    },
    Drop(Drop),
    /// REFRESH MATERIALIZED VIEW: accepted, there is nothing to do.
    Refresh {
        name: ast::ObjectName,
    },
    Show(Show),
    /// DESCRIBE x
    Describe(ast::ObjectName),
    Explain(Explain),
    Copy(Box<Copy>),
    Begin {
        modes: TransactionModes,
        /// Written START TRANSACTION.
        start: bool,
    },
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    Set(Set),
    SetTransaction {
        modes: TransactionModes,
        /// SET SESSION CHARACTERISTICS: for the transactions to come.
        session: bool,
    },
    /// `None`: RESET ALL.
    Reset(Option<String>),
    Discard(Discard),
    Prepare {
        name: String,
        types: Vec<ast::DataType>,
        statement: Box<Parsed>,
    },
    Execute {
        name: String,
        arguments: Vec<ast::Expr>,
    },
    /// `None`: ALL.
    Deallocate(Option<String>),
    DeclareCursor(DeclareCursor),
    Fetch(Fetch),
    /// `None`: ALL.
    CloseCursor(Option<String>),
    /// Accepted and empty: a read waits for acknowledged writes anyway.
    Flush,
    Listen(String),
    /// `None`: *.
    Unlisten(Option<String>),
    Notify {
        channel: String,
        payload: Option<String>,
    },
    Do {
        language: String,
        body: String,
    },
}

#[derive(Clone, Debug)]
pub struct Insert {
    pub with: Option<ast::With>,
    pub insert: ast::Insert,
    /// INSERT ... DEFAULT VALUES
    pub default_values: bool,
}

#[derive(Clone, Debug)]
pub struct Update {
    pub with: Option<ast::With>,
    pub update: ast::Update,
}

#[derive(Clone, Debug)]
pub struct Delete {
    pub with: Option<ast::With>,
    pub delete: ast::Delete,
}

#[derive(Clone, Debug)]
pub struct Truncate {
    pub names: Vec<ast::ObjectName>,
    pub cascade: bool,
}

/// CREATE STREAM and CREATE TABLE.
#[derive(Clone, Debug)]
pub struct CreateRelation {
    pub name: ast::ObjectName,
    pub if_not_exists: bool,
    pub columns: Vec<ColumnDefinition>,
    /// PRIMARY KEY (a, b) as a table constraint.
    pub primary_key: Option<Vec<ast::Ident>>,
    pub includes: Vec<Include>,
    /// Names as written, quoted or not.
    pub options: Vec<(ast::Ident, String)>,
}

#[derive(Clone, Debug)]
pub struct ColumnDefinition {
    pub name: ast::Ident,
    pub ty: ast::DataType,
    pub not_null: bool,
    pub primary_key: bool,
    /// Source text and tree.
    pub default: Option<(String, ast::Expr)>,
    pub generated: Option<(String, ast::Expr)>,
}

#[derive(Clone, Debug)]
pub struct Include {
    pub kind: IncludeKind,
    pub name: Option<ast::Ident>,
}

#[derive(Clone, Debug)]
pub struct CreateView {
    pub name: ast::ObjectName,
    pub materialized: bool,
    pub or_replace: bool,
    pub if_not_exists: bool,
    pub columns: Vec<ast::Ident>,
    pub query: Box<ast::Query>,
    /// The query as written.
    pub query_text: String,
}

#[derive(Clone, Debug)]
pub struct CreateIndex {
    /// `None`: named after the relation and its columns, as Postgres does.
    pub name: Option<ast::Ident>,
    pub if_not_exists: bool,
    pub unique: bool,
    pub on: ast::ObjectName,
    pub method: IndexMethod,
    pub keys: Vec<ast::OrderByExpr>,
}

#[derive(Clone, Debug)]
pub struct Drop {
    pub kind: ObjectKind,
    pub names: Vec<ast::ObjectName>,
    pub if_exists: bool,
    pub cascade: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    Stream,
    Table,
    View,
    MaterializedView,
    Index,
    Schema,
    Sink,
}

impl ObjectKind {
    /// As Postgres writes it in messages.
    pub fn word(self) -> &'static str {
        match self {
            ObjectKind::Stream => "stream",
            ObjectKind::Table => "table",
            ObjectKind::View => "view",
            ObjectKind::MaterializedView => "materialized view",
            ObjectKind::Index => "index",
            ObjectKind::Schema => "schema",
            ObjectKind::Sink => "sink",
        }
    }
}

#[derive(Clone, Debug)]
pub enum Show {
    /// SHOW STREAMS [FROM schema] [LIKE pattern], ...
    Objects {
        kind: ObjectKind,
        schema: Option<String>,
        like: Option<String>,
    },
    Schemas,
    Databases,
    Topics,
    Jobs,
    /// SHOW COLUMNS FROM x
    Columns(ast::ObjectName),
    /// SHOW CREATE [TABLE | VIEW | ...] x
    Create(ast::ObjectName),
    /// A setting, in lower case.
    Setting(String),
    All,
}

#[derive(Clone, Debug)]
pub struct Explain {
    pub analyze: bool,
    pub json: bool,
    pub target: ExplainTarget,
}

#[derive(Clone, Debug)]
pub enum ExplainTarget {
    /// A query, INSERT, UPDATE or DELETE, or CREATE MATERIALIZED VIEW.
    Statement(Box<Statement>),
    /// EXPLAIN MATERIALIZED VIEW v: the circuit as installed.
    MaterializedView(ast::ObjectName),
}

#[derive(Clone, Debug)]
pub struct Copy {
    pub what: CopyWhat,
    /// FROM STDIN, else TO STDOUT.
    pub from: bool,
    pub options: CopyOptions,
}

#[derive(Clone, Debug)]
pub enum CopyWhat {
    Table { name: ast::ObjectName, columns: Vec<ast::Ident> },
    Query(Arc<ast::Query>),
}

/// As written; what is not given has the format's default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CopyOptions {
    pub format: CopyFormat,
    pub delimiter: Option<char>,
    pub null: Option<String>,
    pub header: CopyHeader,
    pub quote: Option<char>,
    pub escape: Option<char>,
    pub force_quote: Option<CopyColumns>,
    pub force_not_null: Option<CopyColumns>,
    pub force_null: Option<CopyColumns>,
    pub encoding: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyFormat {
    #[default]
    Text,
    Csv,
    Binary,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyHeader {
    #[default]
    No,
    Yes,
    /// The header must name the columns.
    Match,
}

#[derive(Clone, Debug, PartialEq)]
pub enum CopyColumns {
    All,
    Some(Vec<String>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransactionModes {
    pub isolation: Option<Isolation>,
    pub read_only: Option<bool>,
    pub deferrable: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

/// SET name = values; for TIME ZONE the name is `timezone`.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    /// In lower case.
    pub name: String,
    /// `None`: DEFAULT.
    pub values: Option<Vec<String>>,
    pub local: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    All,
    Plans,
    Sequences,
    Temporary,
}

#[derive(Clone, Debug)]
pub struct DeclareCursor {
    pub name: String,
    pub binary: bool,
    /// `Some(true)`: SCROLL, `Some(false)`: NO SCROLL.
    pub scroll: Option<bool>,
    pub hold: bool,
    pub query: Arc<ast::Query>,
}

#[derive(Clone, Debug)]
pub struct Fetch {
    pub cursor: String,
    pub direction: FetchDirection,
    /// MOVE: the rows are skipped, not sent.
    pub skip: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchDirection {
    /// `None`: ALL.
    Forward(Option<i64>),
    Backward(Option<i64>),
    Absolute(i64),
    Relative(i64),
}

impl Statement {
    /// The command tag, without counts: `CREATE TABLE`, `SELECT`, ...
    pub fn tag(&self) -> &'static str {
        match self {
            Statement::Query(_) => "SELECT",
            Statement::Insert(_) => "INSERT",
            Statement::Update(_) => "UPDATE",
            Statement::Delete(_) => "DELETE",
            Statement::Truncate(_) => "TRUNCATE TABLE",
            Statement::CreateStream(_) => "CREATE STREAM",
            Statement::CreateTable(_) => "CREATE TABLE",
            Statement::CreateView(view) if view.materialized => "CREATE MATERIALIZED VIEW",
            Statement::CreateView(_) => "CREATE VIEW",
            Statement::CreateIndex(_) => "CREATE INDEX",
            Statement::CreateSchema { .. } => "CREATE SCHEMA",
            Statement::Drop(drop) => match drop.kind {
                ObjectKind::Stream => "DROP STREAM",
                ObjectKind::Table => "DROP TABLE",
                ObjectKind::View => "DROP VIEW",
                ObjectKind::MaterializedView => "DROP MATERIALIZED VIEW",
                ObjectKind::Index => "DROP INDEX",
                ObjectKind::Schema => "DROP SCHEMA",
                ObjectKind::Sink => "DROP SINK",
            },
            Statement::Refresh { .. } => "REFRESH MATERIALIZED VIEW",
            Statement::Show(_) => "SHOW",
            Statement::Describe(_) => "DESCRIBE",
            Statement::Explain(_) => "EXPLAIN",
            Statement::Copy(_) => "COPY",
            Statement::Begin { start: false, .. } => "BEGIN",
            Statement::Begin { start: true, .. } => "START TRANSACTION",
            Statement::Commit { .. } => "COMMIT",
            Statement::Rollback { .. } | Statement::RollbackTo(_) => "ROLLBACK",
            Statement::Savepoint(_) => "SAVEPOINT",
            Statement::Release(_) => "RELEASE",
            Statement::Set(_) | Statement::SetTransaction { .. } => "SET",
            Statement::Reset(_) => "RESET",
            Statement::Discard(Discard::All) => "DISCARD ALL",
            Statement::Discard(Discard::Plans) => "DISCARD PLANS",
            Statement::Discard(Discard::Sequences) => "DISCARD SEQUENCES",
            Statement::Discard(Discard::Temporary) => "DISCARD TEMP",
            Statement::Prepare { .. } => "PREPARE",
            Statement::Execute { .. } => "EXECUTE",
            Statement::Deallocate(None) => "DEALLOCATE ALL",
            Statement::Deallocate(Some(_)) => "DEALLOCATE",
            Statement::DeclareCursor(_) => "DECLARE CURSOR",
            Statement::Fetch(fetch) if fetch.skip => "MOVE",
            Statement::Fetch(_) => "FETCH",
            Statement::CloseCursor(None) => "CLOSE CURSOR ALL",
            Statement::CloseCursor(Some(_)) => "CLOSE CURSOR",
            Statement::Flush => "FLUSH",
            Statement::Listen(_) => "LISTEN",
            Statement::Unlisten(_) => "UNLISTEN",
            Statement::Notify { .. } => "NOTIFY",
            Statement::Do { .. } => "DO",
        }
    }
}

/// A name as SQL folds it: lower case unless quoted. Postgres cuts names at 63 bytes, with a notice.
pub fn fold(ident: &ast::Ident) -> String {
    let name = match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    };
    truncate_name(name)
}

/// The longest prefix of at most 63 bytes that ends at a character.
pub fn truncate_name(mut name: String) -> String {
    const LONGEST: usize = 63;
    if name.len() > LONGEST {
        let mut end = LONGEST;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
    }
    name
}
