//! COPY TO STDOUT: the rows of a relation or a query, one message a row.

use bytes::{BufMut, BytesMut};
use pgwire::messages::copy::{CopyDone, CopyOutResponse};
use std::sync::Arc;

use super::format::Format;
use super::{Outcome, csv, text};
use crate::catalog::RelationKind;
use crate::catalog::definition::{qualified, quote_identifier};
use crate::error::{Error, Result, SqlState};
use crate::query::Parameters;
use crate::server::commands::select;
use crate::server::rows::{self, Columns};
use crate::server::session::{Flow, Session};
use crate::sql;
use crate::sql::statement::{Copy, CopyHeader, CopyWhat, fold};
use crate::types::{TextSettings, Writer};
use arrow::array::RecordBatch;

pub async fn run(session: &mut Session, copy: &Copy) -> Flow<Outcome> {
    let none: Parameters = Arc::new([]);
    let (mut rows, _) = match &copy.what {
        CopyWhat::Query(query) => select::start(session, query, &[], &none).await?,
        CopyWhat::Table { name, columns } => {
            let query = table_query(session, name, columns)?;
            let query = sql::parse::parse_query(&query)?;
            select::start(session, &query, &[], &none).await?
        }
    };
    let columns = rows.columns.clone();
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let format = Format::new(&copy.options, &names, false)?;
    let settings = session.text_settings()?;
    session.out.push(CopyOutResponse::new(0, columns.len() as i16, vec![0; columns.len()]));
    let mut encoder = Encoder { columns, format, settings, scratch: BytesMut::new() };
    if encoder.format.header != CopyHeader::No {
        encoder.header(&names, session.out.buffer());
    }
    let mut sent = 0;
    while let Some(batch) = rows.next(rows::PIECE).await? {
        sent += batch.num_rows();
        encoder.encode(&batch, session.out.buffer())?;
        session.out.drain().await?;
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
    let list = match columns {
        [] => "*".to_string(),
        some => some.iter().map(|column| quote_identifier(&fold(column))).collect::<Vec<_>>().join(", "),
    };
    Ok(format!("SELECT {list} FROM {}", qualified(&relation.schema, &relation.name)))
}

struct Encoder {
    columns: Columns,
    format: Format,
    settings: TextSettings,
    /// One value before it is escaped.
    scratch: BytesMut,
}

impl Encoder {
    fn header(&mut self, names: &[String], out: &mut BytesMut) {
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
        end(out, start);
    }

    fn encode(&mut self, batch: &RecordBatch, out: &mut BytesMut) -> Result<()> {
        let columns = batch.columns().iter().zip(self.columns.iter());
        let writers = columns
            .map(|(array, column)| Writer::text(&column.ty, array, &self.settings))
            .collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            let start = begin(out);
            for (at, writer) in writers.iter().enumerate() {
                if at > 0 {
                    out.put_u8(self.format.delimiter);
                }
                self.scratch.clear();
                if writer.write(row, &mut self.scratch) {
                    out.put_slice(self.format.null.as_bytes());
                } else if self.format.csv {
                    csv::write(&self.scratch, &self.format, self.format.force_quote[at], writers.len() == 1, out);
                } else {
                    text::write(&self.scratch, &self.format, out);
                }
            }
            end(out, start);
        }
        Ok(())
    }
}

/// Starts a CopyData message; gives the place of its length.
fn begin(out: &mut BytesMut) -> usize {
    out.put_u8(b'd');
    out.put_u32(0);
    out.len() - 4
}

fn end(out: &mut BytesMut, start: usize) {
    out.put_u8(b'\n');
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}
