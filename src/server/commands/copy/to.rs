//! COPY TO STDOUT: the rows of a relation or a query, one message a row.

use bytes::{BufMut, BytesMut};
use pgwire::messages::copy::{CopyDone, CopyOutResponse};
use std::sync::Arc;

use super::format::Format;
use super::{Call, Outcome, csv, text};
use crate::catalog::RelationKind;
use crate::catalog::definition::{qualified, quote_identifier};
use crate::error::{Error, Result, SqlState};
use crate::server::commands::select;
use crate::server::rows::{self, Columns, Encode};
use crate::server::session::{Flow, Session};
use crate::sql;
use crate::sql::statement::{Copy, CopyHeader, CopyWhat};
use crate::types::{TextSettings, Writer};
use arrow::array::RecordBatch;

pub async fn run(session: &mut Session, copy: &Copy, call: Call<'_>) -> Flow<Outcome> {
    let mut rows = match &copy.what {
        CopyWhat::Query(query) => select::start(session, query, call).await?,
        CopyWhat::Table { name, columns } => {
            let query = table_query(session, name, columns)?;
            let query = Arc::from(sql::parse::parse_query(&query)?);
            select::start(session, &query, call).await?
        }
    };
    let columns = rows.columns.clone();
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let format = Format::new(&copy.options, &names, false)?;
    let settings = session.text_settings()?;
    session.out.push(CopyOutResponse::new(0, columns.len() as i16, vec![0; columns.len()]));
    let encoder = Arc::new(Encoder { columns, format, settings });
    if encoder.format.header != CopyHeader::No {
        encoder.header(&names, session.out.buffer())?;
    }
    let mut sent = 0;
    while let Some(batch) = rows.next(usize::MAX).await? {
        sent += batch.num_rows();
        rows::send(batch, &encoder, &mut session.out).await?;
    }
    session.out.push(CopyDone::new());
    Ok(Outcome::Done(format!("COPY {sent}")))
}

/// The query of the rows that COPY of a relation's name means.
fn table_query(
    session: &mut Session,
    name: &sqlparser::ast::ObjectName,
    columns: &[sqlparser::ast::Ident],
) -> Result<String> {
    let relation = session.relation(name)?;
    match relation.kind {
        RelationKind::View(_) => {
            let message = format!("cannot copy from view \"{}\"", relation.name);
            return Err(
                Error::new(SqlState::WRONG_OBJECT_TYPE, message).with_hint("Try the COPY (SELECT ...) TO variant.")
            );
        }
        RelationKind::Index(_) => {
            let message = format!("cannot copy from index \"{}\"", relation.name);
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message));
        }
        _ => {}
    }
    let names = super::places(&relation, columns)?.into_iter().map(|place| &relation.columns[place].name);
    let list = names.map(|name| quote_identifier(name)).collect::<Vec<_>>().join(", ");
    Ok(format!("SELECT {list} FROM {}", qualified(&relation.schema, &relation.name)))
}

/// Writes rows as CopyData messages.
struct Encoder {
    columns: Columns,
    format: Format,
    settings: TextSettings,
}

impl Encoder {
    fn header(&self, names: &[String], out: &mut BytesMut) -> Result<()> {
        let start = begin(out);
        for (at, name) in names.iter().enumerate() {
            if at > 0 {
                out.put_u8(self.format.delimiter);
            }
            match self.format.csv {
                true => csv::write(name.as_bytes(), &self.format, false, names.len() == 1, out),
                false => text::write(name.as_bytes(), &self.format, out),
            }
        }
        end(out, start)
    }
}

impl Encode for Encoder {
    fn encode(&self, batch: &RecordBatch, first: usize, out: &mut BytesMut) -> Result<usize> {
        let columns = batch.columns().iter().zip(self.columns.iter());
        let writers = columns
            .map(|(array, column)| Writer::text(&column.ty, array, &self.settings))
            .collect::<Result<Vec<_>>>()?;
        // One value before it is escaped.
        let mut scratch = BytesMut::new();
        rows::append(batch, first, out, |row, out| {
            let start = begin(out);
            for (at, writer) in writers.iter().enumerate() {
                if at > 0 {
                    out.put_u8(self.format.delimiter);
                }
                scratch.clear();
                if writer.write(row, &mut scratch) {
                    out.put_slice(self.format.null.as_bytes());
                } else if self.format.csv {
                    csv::write(&scratch, &self.format, self.format.force_quote[at], writers.len() == 1, out);
                } else {
                    text::write(&scratch, &self.format, out);
                }
                // So that many long values are not gathered in vain.
                rows::set_length(out, start, start)?;
            }
            end(out, start)
        })
    }
}

/// Starts a CopyData message; gives the place of its length.
fn begin(out: &mut BytesMut) -> usize {
    out.put_u8(b'd');
    out.put_u32(0);
    out.len() - 4
}

fn end(out: &mut BytesMut, start: usize) -> Result<()> {
    out.put_u8(b'\n');
    rows::set_length(out, start, start)
}
