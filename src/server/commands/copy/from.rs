//! COPY FROM STDIN: the client's records to columns, and one write at the end.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use pgwire::messages::copy::CopyInResponse;

use super::format::Format;
use super::lines::Lines;
use super::text::{self, Fields};
use super::{Outcome, csv};
use crate::catalog::{Relation, RelationKind};
use crate::engine::{WriteJob, WriteOutcome, WriteScope};
use crate::error::{Error, Result, SqlState};
use crate::query::CompleteRows;
use crate::query::write::InsertRows;
use crate::server::Read;
use crate::server::aside::LONG;
use crate::server::session::{Failure, Flow, Guard, Session};
use crate::server::wire::{self, Frontend, Inbox, Refused};
use crate::sql;
use crate::sql::statement::{Copy, CopyHeader, CopyWhat};
use crate::types::{TextColumnBuilder, TextSettings};

/// Rows that become one batch.
const BATCH_ROWS: usize = 8192;
/// Bytes that become one batch, if its rows are long.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Characters of a wrong value that an error shows.
const SHOWN: usize = 100;

pub async fn run(session: &mut Session, inbox: &mut Inbox<Read>, copy: &Copy) -> Flow<Outcome> {
    let CopyWhat::Table { name, columns } = &copy.what else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "COPY FROM needs a table or stream").into());
    };
    let relation = session.relation(name)?;
    check_target(&relation)?;
    let catalog = session.catalog()?;
    let context = session.bind_context(catalog, Vec::new());
    let places = super::places(&relation, columns)?;
    let complete = CompleteRows::new(&sql::bind::bind_complete_row(&context, &relation, &places)?, &relation, &places)?;
    let names: Vec<String> = places.iter().map(|place| relation.columns[*place].name.clone()).collect();
    let format = Format::new(&copy.options, &names, true)?;
    let longest = session.shared.settings.int("max_message_size") as usize;
    let lines = Lines::new(&format, longest);
    let settings = &session.shared.settings;
    let most =
        Most { rows: settings.int("max_transaction_rows") as usize, bytes: settings.int("max_copy_size") as usize };
    let mut input = Input::new(relation.clone(), places, names, format, session.text_settings()?, complete, most);

    session.out.push(CopyInResponse::new(0, input.names.len() as i16, vec![0; input.names.len()]));
    let guard = Guard::new(session);
    guard.run(None, receive(session, inbox, lines, &mut input)).await?;
    let rows = input.rows;
    let job = CopyRows { relation, batches: input.batches };
    if rows > 0 {
        guard.settle(Some(inbox), async { Ok(session.write(Box::new(job)).await?) }).await?;
    }
    Ok(Outcome::Done(format!("COPY {rows}")))
}

fn check_target(relation: &Relation) -> Result<()> {
    let refuse = |what: &str| {
        let message = format!("cannot copy to {what} \"{}\"", relation.name);
        Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message))
    };
    match &relation.kind {
        RelationKind::Table(_) => Ok(()),
        RelationKind::Stream(stream) if stream.connector.is_none() => Ok(()),
        RelationKind::Stream(_) => refuse("connected stream"),
        _ => refuse(relation.kind_name()),
    }
}

/// Takes the client's messages until it says that it is done.
async fn receive(session: &mut Session, inbox: &mut Inbox<Read>, mut lines: Lines, input: &mut Input) -> Flow<()> {
    session.out.flush().await?;
    loop {
        let message = match inbox.next().await? {
            None => return Err(Failure::Gone),
            Some(Err(Refused { error, fatal, .. })) if fatal => return Err(Failure::Session(error)),
            Some(Err(Refused { error, .. })) => return Err(Failure::Statement(error)),
            Some(Ok(message)) => message,
        };
        match message {
            Frontend::CopyData(data) => {
                let mut take = || {
                    lines.push(&data);
                    while let Some(record) = lines.next().map_err(|error| input.at_next_line(error))? {
                        input.take(&record)?;
                    }
                    Ok::<_, Error>(())
                };
                if data.len() > LONG {
                    tokio::task::block_in_place(take)?;
                    // Whoever wants to stop us has its turn.
                    tokio::task::yield_now().await;
                } else {
                    take()?;
                }
            }
            Frontend::CopyDone => {
                if let Some(record) = lines.rest().map_err(|error| input.at_next_line(error))? {
                    input.take(&record)?;
                }
                input.end_batch()?;
                return Ok(());
            }
            Frontend::CopyFail(reason) => {
                let message = format!("COPY from stdin failed: {reason}");
                return Err(input.at_next_line(Error::new(SqlState::QUERY_CANCELED, message)).into());
            }
            // Clients may have sent these ahead, as Postgres allows.
            Frontend::Flush | Frontend::Sync => {}
            Frontend::Terminate => return Err(Failure::Gone),
            _ => {
                let message = "unexpected message type during COPY from stdin";
                return Err(Failure::Session(Error::new(SqlState::PROTOCOL_VIOLATION, message)));
            }
        }
        if session.waiter().check().is_err() {
            return Err(Failure::Gone);
        }
    }
}

/// What one COPY may gather.
struct Most {
    rows: usize,
    bytes: usize,
}

/// Records on their way to batches of stored rows.
struct Input {
    relation: Arc<Relation>,
    names: Vec<String>,
    format: Format,
    fields: Fields,
    builders: Vec<TextColumnBuilder>,
    complete: CompleteRows,
    /// Rows in the builders.
    pending: usize,
    batches: Vec<RecordBatch>,
    rows: usize,
    /// Bytes of the batches.
    bytes: usize,
    most: Most,
    /// The record that is read, from 1, headers included.
    line: usize,
}

impl Input {
    fn new(
        relation: Arc<Relation>,
        places: Vec<usize>,
        names: Vec<String>,
        format: Format,
        settings: TextSettings,
        complete: CompleteRows,
        most: Most,
    ) -> Input {
        let columns = places.iter().map(|place| &relation.columns[*place]);
        let builders = columns.map(|column| TextColumnBuilder::new(&column.ty, &settings, BATCH_ROWS)).collect();
        Input {
            relation,
            names,
            format,
            fields: Fields::default(),
            builders,
            complete,
            pending: 0,
            batches: Vec::new(),
            rows: 0,
            bytes: 0,
            most,
            line: 0,
        }
    }

    fn take(&mut self, record: &[u8]) -> Result<()> {
        self.line += 1;
        if self.line == 1 && self.format.header != CopyHeader::No {
            return self.header(record).map_err(|error| self.at_line(error));
        }
        self.split(record).map_err(|error| self.in_record(error, record))?;
        // A table without columns to copy has empty lines.
        if self.names.is_empty() && record.is_empty() {
            self.fields.clear();
        }
        text::check_count(&self.fields, &self.names).map_err(|error| self.in_record(error, record))?;
        for (column, builder) in self.builders.iter_mut().enumerate() {
            let appended = match self.fields.get(column) {
                None => builder.append_null(),
                Some(bytes) => wire::text(bytes).and_then(|text| builder.append(text)),
            };
            if let Err(error) = appended {
                let value = self.fields.get(column).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                let shown = match value {
                    Some(value) => format!("\"{}\"", shorten(&value)),
                    None => "null input".to_string(),
                };
                let (table, name) = (&self.relation.name, &self.names[column]);
                let context = format!("COPY {table}, line {}, column {name}: {shown}", self.line);
                return Err(error.with_context(context));
            }
        }
        self.rows += 1;
        self.pending += 1;
        if self.rows > self.most.rows {
            let message = format!("COPY has more rows than one transaction may write: the limit is {}", self.most.rows);
            let hint = "The limit is the setting max_transaction_rows; copy the rows in several pieces.";
            return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message).with_hint(hint));
        }
        let bytes = || self.builders.iter().map(TextColumnBuilder::bytes).sum::<usize>();
        if self.pending >= BATCH_ROWS || bytes() >= BATCH_BYTES {
            self.end_batch()?;
        }
        Ok(())
    }

    fn split(&mut self, record: &[u8]) -> Result<()> {
        match self.format.csv {
            true => csv::split(record, &self.format, &mut self.fields),
            false => text::split(record, &self.format, &mut self.fields),
        }
    }

    /// The first line names the columns; with MATCH it must name ours.
    fn header(&mut self, record: &[u8]) -> Result<()> {
        if self.format.header != CopyHeader::Match {
            return Ok(());
        }
        self.split(record)?;
        if self.fields.len() != self.names.len() {
            let (got, due) = (self.fields.len(), self.names.len());
            let message = format!("wrong number of fields in header line: got {got}, expected {due}");
            return Err(Error::new(SqlState::BAD_COPY_FILE_FORMAT, message));
        }
        for (at, name) in self.names.iter().enumerate() {
            let got = match self.fields.get(at) {
                Some(bytes) => wire::text(bytes)?.to_string(),
                None => self.format.null.clone(),
            };
            if got != *name {
                let field = at + 1;
                let message =
                    format!("column name mismatch in header line field {field}: got \"{got}\", expected \"{name}\"");
                return Err(Error::new(SqlState::BAD_COPY_FILE_FORMAT, message));
            }
        }
        Ok(())
    }

    fn end_batch(&mut self) -> Result<()> {
        if self.pending == 0 {
            return Ok(());
        }
        let columns: Vec<ArrayRef> = self.builders.iter_mut().map(TextColumnBuilder::finish).collect::<Result<_>>()?;
        // Defaults may be any expressions.
        let rows = tokio::task::block_in_place(|| self.complete.rows(columns, self.pending))?;
        self.bytes += rows.get_array_memory_size();
        if self.bytes > self.most.bytes {
            let message = format!("COPY has more bytes than it may gather: the limit is {}", self.most.bytes);
            let hint = "The limit is the setting max_copy_size; copy the rows in several pieces.";
            return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message).with_hint(hint));
        }
        self.batches.push(rows);
        self.pending = 0;
        Ok(())
    }

    fn at_line(&self, error: Error) -> Error {
        error.with_context(format!("COPY {}, line {}", self.relation.name, self.line))
    }

    /// Of a record that was not read to its end.
    fn at_next_line(&self, error: Error) -> Error {
        error.with_context(format!("COPY {}, line {}", self.relation.name, self.line + 1))
    }

    fn in_record(&self, error: Error, record: &[u8]) -> Error {
        let shown = shorten(&String::from_utf8_lossy(record));
        error.with_context(format!("COPY {}, line {}: \"{shown}\"", self.relation.name, self.line))
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_string(),
    }
}

/// All of a COPY's rows as one write.
struct CopyRows {
    relation: Arc<Relation>,
    batches: Vec<RecordBatch>,
}

impl WriteJob for CopyRows {
    fn run(&mut self, scope: &mut dyn WriteScope) -> Result<WriteOutcome> {
        let mut total = WriteOutcome::default();
        for rows in &self.batches {
            let mut piece = InsertRows { relation: self.relation.clone(), rows: rows.clone() };
            total.rows += piece.run(scope)?.rows;
        }
        Ok(total)
    }
}
