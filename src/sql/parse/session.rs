//! Statements about the session: settings, transactions, prepared statements, cursors, notifications, SHOW.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use super::StatementParser;
use crate::error::{Error, Result, SqlState};
use crate::sql::statement::{
    DeclareCursor, Discard, Fetch, FetchDirection, Isolation, ObjectKind, Parsed, Set, Show, Statement,
    TransactionModes,
};

impl StatementParser<'_> {
    pub(super) fn show(&mut self) -> Result<Statement> {
        self.parser.next_token();
        if self.word("create") {
            let _ = self.object_kind_opt();
            return Ok(Statement::Show(Show::Create(self.object_name()?)));
        }
        let objects = [
            (&["streams"][..], ObjectKind::Stream),
            (&["sources"], ObjectKind::Stream),
            (&["tables"], ObjectKind::Table),
            (&["materialized", "views"], ObjectKind::MaterializedView),
            (&["views"], ObjectKind::View),
            (&["sinks"], ObjectKind::Sink),
            (&["indexes"], ObjectKind::Index),
            (&["indices"], ObjectKind::Index),
        ];
        for (words, kind) in objects {
            if self.words(words) {
                let schema = if self.word("from") || self.word("in") { Some(self.name()?) } else { None };
                let like = if self.word("like") { Some(self.string()?) } else { None };
                return Ok(Statement::Show(Show::Objects { kind, schema, like }));
            }
        }
        Ok(Statement::Show(if self.word("schemas") {
            Show::Schemas
        } else if self.word("databases") {
            Show::Databases
        } else if self.word("topics") {
            Show::Topics
        } else if self.word("jobs") {
            Show::Jobs
        } else if self.words(&["columns", "from"]) {
            Show::Columns(self.object_name()?)
        } else if self.word("all") {
            Show::All
        } else if self.words(&["time", "zone"]) {
            Show::Setting("timezone".to_string())
        } else if self.words(&["transaction", "isolation", "level"]) {
            Show::Setting("transaction_isolation".to_string())
        } else if self.words(&["session", "authorization"]) {
            Show::Setting("session_authorization".to_string())
        } else {
            Show::Setting(self.setting_name()?)
        }))
    }

    /// The kind after SHOW CREATE, unless the word is the object's name.
    fn object_kind_opt(&mut self) -> Option<ObjectKind> {
        let named = matches!(self.parser.peek_nth_token_ref(1).token, Token::Word(_));
        if named { self.object_kind().ok() } else { None }
    }

    fn setting_name(&mut self) -> Result<String> {
        let mut name = self.any_word()?.value.to_ascii_lowercase();
        while self.parser.consume_token(&Token::Period) {
            name.push('.');
            name.push_str(&self.any_word()?.value.to_ascii_lowercase());
        }
        Ok(name)
    }

    pub(super) fn set(&mut self) -> Result<Statement> {
        self.parser.next_token();
        if self.words(&["session", "characteristics", "as", "transaction"]) {
            return Ok(Statement::SetTransaction { modes: self.transaction_modes()?, session: true });
        }
        let local = self.word("local");
        if !local && self.is_word("session") && !self.nth_is_word(1, "authorization") {
            self.parser.next_token();
        }
        if self.is_word("transaction") && self.parser.peek_nth_token_ref(1).token != Token::Eq {
            self.parser.next_token();
            return Ok(Statement::SetTransaction { modes: self.transaction_modes()?, session: false });
        }
        if self.words(&["time", "zone"]) {
            let values = self.time_zone()?;
            return Ok(Statement::Set(Set { name: "timezone".to_string(), values, local }));
        }
        for (words, name) in [
            (&["session", "authorization"][..], "session_authorization"),
            (&["role"], "role"),
            (&["names"], "client_encoding"),
        ] {
            if self.words(words) {
                let _ = self.parser.consume_token(&Token::Eq);
                let values = if self.at_end() { None } else { self.set_values()? };
                return Ok(Statement::Set(Set { name: name.to_string(), values, local }));
            }
        }
        if let Token::SingleQuotedString(name) = &self.parser.peek_token_ref().token {
            let hint = match name.as_str() {
                "auto.offset.reset" => {
                    "Write \"scan.startup.mode\" = 'earliest', the default, or 'latest' in WITH (...) of CREATE STREAM."
                }
                _ => "Write SET name = value; options of a connector stand in WITH (...) of CREATE STREAM.",
            };
            return Err(self.unexpected().with_hint(hint));
        }
        let name = match self.words(&["xml", "option"]) {
            true => "xmloption".to_string(),
            false => {
                let name = self.setting_name()?;
                if !self.parser.consume_token(&Token::Eq) && !self.keyword(Keyword::TO) {
                    return Err(self.unexpected());
                }
                name
            }
        };
        let values = self.set_values()?;
        Ok(Statement::Set(Set { name, values, local }))
    }

    /// A list of values; `None` for DEFAULT.
    fn set_values(&mut self) -> Result<Option<Vec<String>>> {
        if self.word("default") {
            return Ok(None);
        }
        Ok(Some(self.comma_separated(Self::set_value)?))
    }

    fn set_value(&mut self) -> Result<String> {
        let sign = match self.parser.peek_token_ref().token {
            Token::Minus => "-",
            Token::Plus => "",
            _ => return self.unsigned_value(),
        };
        self.parser.next_token();
        Ok(format!("{sign}{}", self.unsigned_value()?))
    }

    fn unsigned_value(&mut self) -> Result<String> {
        match self.parser.peek_token().token {
            Token::Number(digits, _) => {
                self.parser.next_token();
                Ok(digits)
            }
            Token::Word(word) => {
                self.parser.next_token();
                Ok(if word.quote_style.is_some() { word.value } else { word.value.to_ascii_lowercase() })
            }
            _ => self.string(),
        }
    }

    fn time_zone(&mut self) -> Result<Option<Vec<String>>> {
        if self.word("local") || self.word("default") {
            return Ok(None);
        }
        if self.word("interval") {
            let text = self.string()?;
            while self.word("hour") || self.word("to") || self.word("minute") {}
            return Ok(Some(vec![text]));
        }
        Ok(Some(vec![self.set_value()?]))
    }

    pub(super) fn reset(&mut self) -> Result<Statement> {
        self.parser.next_token();
        if self.word("all") {
            return Ok(Statement::Reset(None));
        }
        let name = if self.words(&["time", "zone"]) {
            "timezone".to_string()
        } else if self.words(&["session", "authorization"]) {
            "session_authorization".to_string()
        } else if self.words(&["transaction", "isolation", "level"]) {
            "transaction_isolation".to_string()
        } else {
            self.setting_name()?
        };
        Ok(Statement::Reset(Some(name)))
    }

    pub(super) fn discard(&mut self) -> Result<Statement> {
        self.parser.next_token();
        Ok(Statement::Discard(if self.word("all") {
            Discard::All
        } else if self.word("plans") {
            Discard::Plans
        } else if self.word("sequences") {
            Discard::Sequences
        } else if self.word("temp") || self.word("temporary") {
            Discard::Temporary
        } else {
            return Err(self.unexpected());
        }))
    }

    pub(super) fn transaction(&mut self) -> Result<Statement> {
        let noise = |parser: &mut Self| parser.word("work") || parser.word("transaction");
        if self.words(&["start", "transaction"]) {
            return Ok(Statement::Begin { modes: self.transaction_modes()?, start: true });
        }
        if self.word("begin") {
            noise(self);
            return Ok(Statement::Begin { modes: self.transaction_modes()?, start: false });
        }
        if self.word("savepoint") {
            return Ok(Statement::Savepoint(self.name()?));
        }
        if self.word("release") {
            self.word("savepoint");
            return Ok(Statement::Release(self.name()?));
        }
        if self.word("commit") || self.word("end") {
            if self.is_word("prepared") {
                return Err(self.unsupported("COMMIT PREPARED", "Use COMMIT."));
            }
            noise(self);
            return Ok(Statement::Commit { chain: self.chain()? });
        }
        if self.word("rollback") || self.word("abort") {
            if self.is_word("prepared") {
                return Err(self.unsupported("ROLLBACK PREPARED", "Use ROLLBACK."));
            }
            noise(self);
            if self.keyword(Keyword::TO) {
                self.word("savepoint");
                return Ok(Statement::RollbackTo(self.name()?));
            }
            return Ok(Statement::Rollback { chain: self.chain()? });
        }
        self.parser.next_token();
        Err(self.unexpected())
    }

    fn chain(&mut self) -> Result<bool> {
        if self.words(&["and", "no", "chain"]) {
            return Ok(false);
        }
        Ok(self.words(&["and", "chain"]))
    }

    fn transaction_modes(&mut self) -> Result<TransactionModes> {
        let mut modes = TransactionModes::default();
        while !self.at_end() {
            if self.words(&["isolation", "level"]) {
                modes.isolation = Some(if self.words(&["read", "uncommitted"]) {
                    Isolation::ReadUncommitted
                } else if self.words(&["read", "committed"]) {
                    Isolation::ReadCommitted
                } else if self.words(&["repeatable", "read"]) {
                    Isolation::RepeatableRead
                } else if self.word("serializable") {
                    Isolation::Serializable
                } else {
                    return Err(self.unexpected());
                });
            } else if self.words(&["read", "only"]) {
                modes.read_only = Some(true);
            } else if self.words(&["read", "write"]) {
                modes.read_only = Some(false);
            } else if self.words(&["not", "deferrable"]) {
                modes.deferrable = Some(false);
            } else if self.word("deferrable") {
                modes.deferrable = Some(true);
            } else {
                return Err(self.unexpected());
            }
            let _ = self.parser.consume_token(&Token::Comma);
        }
        Ok(modes)
    }

    pub(super) fn prepare(&mut self) -> Result<Statement> {
        self.parser.next_token();
        if self.is_word("transaction") {
            return Err(self.unsupported("PREPARE TRANSACTION", "Use COMMIT."));
        }
        let name = self.name()?;
        let types = match self.parser.peek_token_ref().token {
            Token::LParen => self.parenthesized(|parser| parser.comma_separated(Self::data_type))?,
            _ => Vec::new(),
        };
        self.expect_keyword(Keyword::AS)?;
        let start = self.position();
        let statement = self.statement()?;
        if !matches!(
            statement,
            Statement::Query(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_)
        ) {
            let message = format!("{} can't be prepared", statement.tag());
            return Err(self
                .invalid(SqlState::SYNTAX_ERROR, message)
                .with_hint("PREPARE takes SELECT, INSERT, UPDATE, DELETE or VALUES."));
        }
        let text = self.text_since(start);
        Ok(Statement::Prepare {
            name,
            types,
            statement: Box::new(Parsed { statement, text, start: start as usize - 1 }),
        })
    }

    pub(super) fn execute(&mut self) -> Result<Statement> {
        self.parser.next_token();
        let name = self.name()?;
        let arguments = match self.parser.peek_token_ref().token {
            Token::LParen => self.parenthesized(|parser| parser.comma_separated(Self::expression))?,
            _ => Vec::new(),
        };
        Ok(Statement::Execute { name, arguments })
    }

    pub(super) fn deallocate(&mut self) -> Result<Statement> {
        self.parser.next_token();
        self.word("prepare");
        Ok(Statement::Deallocate(if self.word("all") { None } else { Some(self.name()?) }))
    }

    pub(super) fn declare(&mut self) -> Result<Statement> {
        self.parser.next_token();
        let name = self.name()?;
        let (mut binary, mut scroll, mut hold) = (false, None, false);
        loop {
            if self.word("binary") {
                binary = true;
            } else if self.words(&["no", "scroll"]) {
                scroll = Some(false);
            } else if self.word("scroll") {
                scroll = Some(true);
            } else if !(self.word("insensitive") || self.word("asensitive")) {
                break;
            }
        }
        self.expect_word("cursor")?;
        if self.words(&["with", "hold"]) {
            hold = true;
        } else {
            self.words(&["without", "hold"]);
        }
        self.expect_keyword(Keyword::FOR)?;
        Ok(Statement::DeclareCursor(DeclareCursor { name, binary, scroll, hold, query: self.query()?.into() }))
    }

    pub(super) fn fetch(&mut self) -> Result<Statement> {
        let skip = self.is_word("move");
        self.parser.next_token();
        let direction = if self.word("next") {
            FetchDirection::Forward(Some(1))
        } else if self.word("prior") {
            FetchDirection::Backward(Some(1))
        } else if self.word("first") {
            FetchDirection::Absolute(1)
        } else if self.word("last") {
            FetchDirection::Absolute(-1)
        } else if self.word("all") {
            FetchDirection::Forward(None)
        } else if self.word("absolute") {
            FetchDirection::Absolute(self.integer()?)
        } else if self.word("relative") {
            FetchDirection::Relative(self.integer()?)
        } else if self.word("forward") {
            FetchDirection::Forward(self.count()?)
        } else if self.word("backward") {
            FetchDirection::Backward(self.count()?)
        } else if matches!(self.parser.peek_token_ref().token, Token::Number(..) | Token::Minus | Token::Plus) {
            match self.integer()? {
                count if count < 0 => FetchDirection::Backward(Some(count.saturating_neg())),
                count => FetchDirection::Forward(Some(count)),
            }
        } else {
            FetchDirection::Forward(Some(1))
        };
        let _ = self.word("from") || self.word("in");
        Ok(Statement::Fetch(Fetch { cursor: self.name()?, direction, skip }))
    }

    /// After FORWARD and BACKWARD: ALL (`None`), a number, or nothing (1).
    fn count(&mut self) -> Result<Option<i64>> {
        if self.word("all") {
            return Ok(None);
        }
        match self.parser.peek_token_ref().token {
            Token::Number(..) | Token::Minus | Token::Plus => Ok(Some(self.integer()?)),
            _ => Ok(Some(1)),
        }
    }

    fn integer(&mut self) -> Result<i64> {
        let negative = self.parser.consume_token(&Token::Minus);
        if !negative {
            let _ = self.parser.consume_token(&Token::Plus);
        }
        let Token::Number(digits, _) = self.parser.peek_token().token else { return Err(self.unexpected()) };
        let value: i64 = digits.parse().map_err(|_| self.unexpected())?;
        self.parser.next_token();
        Ok(if negative { -value } else { value })
    }

    pub(super) fn close(&mut self) -> Result<Statement> {
        self.parser.next_token();
        Ok(Statement::CloseCursor(if self.word("all") { None } else { Some(self.name()?) }))
    }

    pub(super) fn notifications(&mut self) -> Result<Statement> {
        if self.word("listen") {
            return Ok(Statement::Listen(self.name()?));
        }
        if self.word("unlisten") {
            let all = self.parser.consume_token(&Token::Mul);
            return Ok(Statement::Unlisten(if all { None } else { Some(self.name()?) }));
        }
        self.parser.next_token();
        let channel = self.name()?;
        let payload = if self.parser.consume_token(&Token::Comma) { Some(self.string()?) } else { None };
        Ok(Statement::Notify { channel, payload })
    }

    pub(super) fn do_block(&mut self) -> Result<Statement> {
        self.parser.next_token();
        let (mut language, mut body) = ("plpgsql".to_string(), None);
        while !self.at_end() {
            if self.word("language") {
                language = match self.parser.peek_token_ref().token {
                    Token::Word(_) => self.name()?,
                    _ => self.string()?,
                };
            } else {
                body = Some(self.string()?);
            }
        }
        match body {
            Some(body) => Ok(Statement::Do { language, body }),
            None => Err(Error::new(SqlState::SYNTAX_ERROR, "no inline code specified")),
        }
    }
}
