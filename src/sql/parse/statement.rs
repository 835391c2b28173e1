//! Which statement it is, by its first words.

use std::sync::Arc;

use sqlparser::ast;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use super::{StatementParser, names};
use crate::error::{Error, Result};
use crate::sql::statement::{
    CreateView, Delete, Drop, Explain, ExplainTarget, Insert, ObjectKind, Statement, Truncate, Update,
};

const ANEW: &str = "Create a new one, INSERT ... SELECT into it, drop the old one; or add the column in a view.";

/// Statements that Postgres or a peer has and Riverrun knows by name only, with what to do instead.
const REFUSED: &[(&[&str], &str, &str)] = &[
    (&["create", "sink"], "CREATE SINK", "Read the view with SELECT; sinks come in a later release."),
    (&["drop", "sink"], "DROP SINK", "There are no sinks yet."),
    (&["subscribe"], "SUBSCRIBE", "Read the view with SELECT; subscriptions come in a later release."),
    (&["print"], "PRINT", "Declare a stream over the topic and SELECT from it."),
    (&["alter", "system"], "ALTER SYSTEM", "Put the setting into riverrun.toml and restart."),
    (&["alter", "table"], "ALTER TABLE", ANEW),
    (&["alter", "stream"], "ALTER STREAM", ANEW),
    (&["alter", "source"], "ALTER SOURCE", ANEW),
    (&["alter", "view"], "ALTER VIEW", "Write CREATE OR REPLACE VIEW."),
    (&["alter", "materialized", "view"], "ALTER MATERIALIZED VIEW", "Write CREATE OR REPLACE MATERIALIZED VIEW."),
    (&["alter"], "ALTER", "Drop the object and create it anew."),
    (&["list"], "LIST", "Write SHOW STREAMS, TABLES, VIEWS, MATERIALIZED VIEWS, INDEXES, TOPICS or JOBS."),
    (
        &["show", "queries"],
        "SHOW QUERIES",
        "Write SHOW MATERIALIZED VIEWS for the queries that are kept current; pg_stat_activity has those that run.",
    ),
    (&["create", "function"], "CREATE FUNCTION", "Write the expression into a view."),
    (&["create", "procedure"], "CREATE PROCEDURE", "Run the statements from the client."),
    (&["create", "trigger"], "CREATE TRIGGER", "Write a materialized view: it changes with its input."),
    (&["create", "type"], "CREATE TYPE", "Use STRUCT<name type, ...> as the column's type."),
    (&["create", "domain"], "CREATE DOMAIN", "Use the base type."),
    (&["create", "sequence"], "CREATE SEQUENCE", "Use uuid keys, or let the client number rows."),
    (&["create", "extension"], "CREATE EXTENSION", "Extensions can't be loaded."),
    (
        &["create", "aggregate"],
        "CREATE AGGREGATE",
        "Write it with the aggregates there are; docs/functions.md lists them.",
    ),
    (&["create", "operator"], "CREATE OPERATOR", "Write the expression into a view."),
    (&["create", "cast"], "CREATE CAST", "Write the expression into a view."),
    (&["create", "collation"], "CREATE COLLATION", "Text orders by bytes; order by lower(...) or another expression."),
    (&["create", "rule"], "CREATE RULE", "Write a view."),
    (&["create", "policy"], "CREATE POLICY", "Filter in a view; there are no privileges yet."),
    (&["create", "statistics"], "CREATE STATISTICS", "Nothing needs them."),
    (&["create", "tablespace"], "CREATE TABLESPACE", "Everything is in the data folder."),
    (&["create", "foreign"], "a foreign table", "Declare a stream with a connector: CREATE STREAM ... WITH (...)."),
    (&["create", "server"], "CREATE SERVER", "Declare a stream with a connector: CREATE STREAM ... WITH (...)."),
    (&["create", "publication"], "CREATE PUBLICATION", "Read the view with SELECT; replication is not there yet."),
    (&["create", "subscription"], "CREATE SUBSCRIPTION", "Declare a stream over a Kafka topic with the changes."),
    (&["drop", "function"], "DROP FUNCTION", "There are no functions but the built-in ones."),
    (&["drop", "procedure"], "DROP PROCEDURE", "There are no procedures."),
    (&["drop", "trigger"], "DROP TRIGGER", "There are no triggers."),
    (&["drop", "type"], "DROP TYPE", "There are no types but the built-in ones."),
    (&["drop", "domain"], "DROP DOMAIN", "There are no domains."),
    (&["drop", "sequence"], "DROP SEQUENCE", "There are no sequences."),
    (&["drop", "extension"], "DROP EXTENSION", "There are no extensions."),
    (&["drop", "database"], "DROP DATABASE", "There is one database, postgres; use DROP SCHEMA."),
    (&["drop", "role"], "DROP ROLE", "There are no roles; any user name is accepted."),
    (&["drop", "user"], "DROP USER", "There are no roles; any user name is accepted."),
    (&["create", "database"], "CREATE DATABASE", "There is one database, postgres; use CREATE SCHEMA."),
    (&["create", "role"], "CREATE ROLE", "Any user name is accepted."),
    (&["create", "user"], "CREATE USER", "Any user name is accepted."),
    (&["create", "temporary"], "a temporary relation", "Create it without TEMPORARY and drop it when done."),
    (&["create", "temp"], "a temporary relation", "Create it without TEMP and drop it when done."),
    (&["create", "local"], "a temporary relation", "Create it without TEMPORARY and drop it when done."),
    (&["create", "global"], "a temporary relation", "Create it without TEMPORARY and drop it when done."),
    (&["create", "unlogged"], "an unlogged table", "Create it without UNLOGGED."),
    (&["create", "connector"], "CREATE CONNECTOR", "Write CREATE STREAM ... WITH (connector = 'kafka', ...)."),
    (
        &["create", "connection"],
        "CREATE CONNECTION",
        "Write the options into CREATE STREAM ... WITH (connector = 'kafka', ...).",
    ),
    (&["grant"], "GRANT", "There are no privileges yet."),
    (&["revoke"], "REVOKE", "There are no privileges yet."),
    (&["merge"], "MERGE", "Use INSERT ... ON CONFLICT DO UPDATE."),
    (&["lock"], "LOCK", "Writes are serialised anyway: the first committer wins, the other gets 40001."),
    (&["call"], "CALL", "There are no procedures."),
    (&["vacuum"], "VACUUM", "Nothing needs it: space is reclaimed as rows die."),
    (&["analyze"], "ANALYZE", "Nothing needs it."),
    (&["cluster"], "CLUSTER", "Nothing needs it."),
    (&["reindex"], "REINDEX", "Nothing needs it."),
    (&["comment"], "COMMENT", "Keep comments in the text of the statements."),
    (&["checkpoint"], "CHECKPOINT", "Writes are durable when they are acknowledged."),
];

impl StatementParser<'_> {
    pub(super) fn whole_statement(&mut self) -> Result<Statement> {
        let statement = self.statement()?;
        self.expect_end()?;
        Ok(statement)
    }

    pub(super) fn statement(&mut self) -> Result<Statement> {
        // CREATE OR REPLACE of what isn't there is no other statement.
        let replace = if self.nth_is_word(1, "or") && self.nth_is_word(2, "replace") { 2 } else { 0 };
        let place = |n: usize| if n == 0 { 0 } else { n + replace };
        let begins = |words: &[&str]| words.iter().enumerate().all(|(n, word)| self.nth_is_word(place(n), word));
        if let Some((_, construct, hint)) = REFUSED.iter().find(|(words, _, _)| begins(words)) {
            return Err(self.unsupported(construct, hint).or_position(Some(self.position() as u32)));
        }
        let token = self.parser.peek_token();
        let word = match &token.token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_lowercase(),
            Token::LParen => return Ok(Statement::Query(self.query()?.into())),
            _ => return Err(self.unexpected()),
        };
        match word.as_str() {
            "select" | "values" | "with" | "table" | "insert" | "update" | "delete" => self.query_or_change(),
            "truncate" => self.truncate(),
            "create" => self.create(),
            "drop" => self.drop_objects(),
            "refresh" => self.refresh(),
            "show" => self.show(),
            "describe" | "desc" => {
                self.parser.next_token();
                let _ = self.word("table")
                    || self.word("stream")
                    || self.words(&["materialized", "view"])
                    || self.word("view");
                Ok(Statement::Describe(self.object_name()?))
            }
            "explain" => self.explain(),
            "copy" => self.copy(),
            "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => self.transaction(),
            "set" => self.set(),
            "reset" => self.reset(),
            "discard" => self.discard(),
            "prepare" => self.prepare(),
            "execute" => self.execute(),
            "deallocate" => self.deallocate(),
            "declare" => self.declare(),
            "fetch" | "move" => self.fetch(),
            "close" => self.close(),
            "flush" => {
                self.parser.next_token();
                Ok(Statement::Flush)
            }
            "listen" | "unlisten" | "notify" => self.notifications(),
            "do" => self.do_block(),
            _ => Err(self.unexpected()),
        }
    }

    /// SELECT, VALUES, TABLE, INSERT, UPDATE, DELETE; WITH in front of any of them.
    fn query_or_change(&mut self) -> Result<Statement> {
        if self.is_word("insert") {
            return self.insert(None);
        }
        if self.is_word("update") || self.is_word("delete") {
            let parsed = self.run(|parser| parser.parse_statement())?;
            return self.change(None, parsed);
        }
        let query = self.query()?;
        match *query.body {
            ast::SetExpr::Insert(statement) | ast::SetExpr::Update(statement) | ast::SetExpr::Delete(statement) => {
                self.change(query.with, statement)
            }
            ast::SetExpr::Merge(_) => Err(self.unsupported("MERGE", "Use INSERT ... ON CONFLICT DO UPDATE.")),
            _ => Ok(Statement::Query(query.into())),
        }
    }

    fn insert(&mut self, with: Option<ast::With>) -> Result<Statement> {
        let parsed = self.run(|parser| parser.parse_statement())?;
        self.change(with, parsed)
    }

    fn change(&mut self, with: Option<ast::With>, parsed: ast::Statement) -> Result<Statement> {
        names::check_all(&parsed)?;
        Ok(match parsed {
            ast::Statement::Insert(insert) => {
                let default_values = insert.source.is_none();
                Statement::Insert(Arc::new(Insert { with, insert, default_values }))
            }
            ast::Statement::Update(update) => Statement::Update(Arc::new(Update { with, update })),
            ast::Statement::Delete(delete) => Statement::Delete(Arc::new(Delete { with, delete })),
            _ => return Err(Error::internal("sqlparser gave another statement than its first word says")),
        })
    }

    fn truncate(&mut self) -> Result<Statement> {
        self.parser.next_token();
        self.word("table");
        let names = self.comma_separated(|parser| {
            parser.word("only");
            parser.object_name()
        })?;
        let _ = self.words(&["restart", "identity"]) || self.words(&["continue", "identity"]);
        let cascade = self.word("cascade");
        self.word("restrict");
        Ok(Statement::Truncate(Truncate { names, cascade }))
    }

    fn create(&mut self) -> Result<Statement> {
        let start = self.position();
        self.parser.next_token();
        let or_replace = self.keywords(&[Keyword::OR, Keyword::REPLACE]);
        if self.word("stream") || self.word("source") {
            self.refuse_replace(or_replace, "CREATE OR REPLACE STREAM")?;
            return Ok(Statement::CreateStream(self.create_relation("CREATE STREAM")?));
        }
        if self.word("table") {
            self.refuse_replace(or_replace, "CREATE OR REPLACE TABLE")?;
            return Ok(Statement::CreateTable(self.create_relation("CREATE TABLE")?));
        }
        if self.words(&["materialized", "view"]) {
            return self.create_view(true, or_replace);
        }
        if self.word("recursive") && self.is_word("view") {
            return Err(self.unsupported("CREATE RECURSIVE VIEW", "Recursion is not maintained yet."));
        }
        if self.word("view") {
            return self.create_view(false, or_replace);
        }
        if self.is_word("index") || self.is_word("unique") {
            return self.create_index();
        }
        if self.word("schema") {
            let if_not_exists = self.if_not_exists();
            let name = self.identifier()?;
            if self.word("authorization") {
                self.identifier()?;
            }
            return Ok(Statement::CreateSchema { name, if_not_exists });
        }
        Err(self.unexpected().or_position(Some(start as u32)))
    }

    fn refuse_replace(&self, or_replace: bool, construct: &str) -> Result<()> {
        match or_replace {
            true => Err(self.unsupported(construct, "Drop it first, or use IF NOT EXISTS.")),
            false => Ok(()),
        }
    }

    fn create_view(&mut self, materialized: bool, or_replace: bool) -> Result<Statement> {
        let if_not_exists = self.if_not_exists();
        let name = self.object_name()?;
        let columns = match self.parser.peek_token_ref().token {
            Token::LParen => self.parenthesized(|parser| parser.comma_separated(Self::identifier))?,
            _ => Vec::new(),
        };
        if self.is_word("with") {
            return Err(self.unsupported("WITH (...) on a view", "Leave it out."));
        }
        self.expect_keyword(Keyword::AS)?;
        let (query, query_text) = self.query_with_text()?;
        if self.words(&["with", "no", "data"]) {
            return Err(self.unsupported("WITH NO DATA", "A materialized view always holds its rows; leave it out."));
        }
        self.words(&["with", "data"]);
        if self.is_word("emit") {
            return Err(self.unexpected());
        }
        Ok(Statement::CreateView(CreateView {
            name,
            materialized,
            or_replace,
            if_not_exists,
            columns,
            query,
            query_text,
        }))
    }

    fn drop_objects(&mut self) -> Result<Statement> {
        self.parser.next_token();
        let kind = self.object_kind()?;
        if kind == ObjectKind::Index {
            self.word("concurrently");
        }
        let if_exists = self.if_exists();
        let names = self.comma_separated(Self::object_name)?;
        let cascade = self.word("cascade");
        self.word("restrict");
        Ok(Statement::Drop(Drop { kind, names, if_exists, cascade }))
    }

    pub(super) fn object_kind(&mut self) -> Result<ObjectKind> {
        Ok(if self.word("stream") || self.word("source") {
            ObjectKind::Stream
        } else if self.word("table") {
            ObjectKind::Table
        } else if self.words(&["materialized", "view"]) {
            ObjectKind::MaterializedView
        } else if self.word("view") {
            ObjectKind::View
        } else if self.word("index") {
            ObjectKind::Index
        } else if self.word("schema") {
            ObjectKind::Schema
        } else {
            return Err(self.unexpected());
        })
    }

    fn refresh(&mut self) -> Result<Statement> {
        self.parser.next_token();
        if !self.words(&["materialized", "view"]) {
            return Err(self.unexpected());
        }
        self.word("concurrently");
        Ok(Statement::Refresh { name: self.object_name()? })
    }

    fn explain(&mut self) -> Result<Statement> {
        self.parser.next_token();
        let (mut analyze, mut json) = (false, false);
        if self.parser.peek_token_ref().token == Token::LParen {
            self.parenthesized(|parser| {
                parser.comma_separated(|parser| {
                    let at = parser.position();
                    let name = parser.any_name()?;
                    let value = match parser.parser.peek_token_ref().token {
                        Token::Comma | Token::RParen => None,
                        Token::SingleQuotedString(_) => Some(parser.string()?.to_ascii_lowercase()),
                        Token::Number(ref digits, _) => {
                            let digits = digits.clone();
                            parser.parser.next_token();
                            Some(digits)
                        }
                        _ => Some(parser.any_name()?),
                    };
                    let on = !matches!(value.as_deref(), Some("off" | "false" | "0"));
                    match (name.as_str(), value.as_deref()) {
                        ("analyze", _) => analyze = on,
                        ("format", Some("text")) => json = false,
                        ("format", Some("json")) => json = true,
                        ("format", _) => {
                            let hint = "The formats are TEXT and JSON.";
                            return Err(parser.unsupported("this EXPLAIN format", hint).or_position(Some(at as u32)));
                        }
                        ("verbose" | "costs" | "buffers" | "timing" | "summary" | "settings" | "wal", _) => {}
                        _ => {
                            let message = format!("unrecognized EXPLAIN option \"{name}\"");
                            let state = crate::error::SqlState::SYNTAX_ERROR;
                            return Err(Error::new(state, message).or_position(Some(at as u32)));
                        }
                    }
                    Ok(())
                })
            })?;
        } else {
            analyze = self.word("analyze");
            self.word("verbose");
        }
        let explained = self.position();
        let target = if self.words(&["materialized", "view"]) {
            ExplainTarget::MaterializedView(self.object_name()?)
        } else {
            let at = self.position();
            match self.statement()? {
                statement @ (Statement::Query(_)
                | Statement::Insert(_)
                | Statement::Update(_)
                | Statement::Delete(_)
                | Statement::CreateView(_)) => ExplainTarget::Statement(Box::new(statement)),
                other => {
                    let construct = format!("EXPLAIN {}", other.tag());
                    let hint = "EXPLAIN takes a query, INSERT, UPDATE, DELETE or CREATE MATERIALIZED VIEW.";
                    return Err(self.unsupported(&construct, hint).or_position(Some(at as u32)));
                }
            }
        };
        let is_circuit = match &target {
            ExplainTarget::MaterializedView(_) => true,
            ExplainTarget::Statement(statement) => {
                matches!(&**statement, Statement::CreateView(view) if view.materialized)
            }
        };
        let unused = match (json, analyze) {
            (true, _) => Some("FORMAT JSON"),
            (_, true) => Some("ANALYZE"),
            _ => None,
        };
        if let Some(option) = unused.filter(|_| is_circuit) {
            let construct = format!("EXPLAIN with {option} of a materialized view");
            return Err(self
                .unsupported(&construct, "A circuit is shown as text.")
                .or_position(Some(explained as u32)));
        }
        Ok(Statement::Explain(Explain { analyze, json, target }))
    }
}
