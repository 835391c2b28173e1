//! DECLARE, FETCH, MOVE and CLOSE: cursors, which are portals with a name in SQL.
//!
//! A cursor without SCROLL runs its query only as far as it is fetched and keeps nothing. With SCROLL it keeps the
//! rows it has passed; WITH HOLD it reads the rest when its transaction ends. What is kept is bounded (54000).

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use pgwire::messages::extendedquery::PortalSuspended;

use super::{Call, Outcome, select};
use crate::error::{Error, Result, SqlState};
use crate::server::Read;
use crate::server::budget::Share;
use crate::server::portal::{Portal, RowTag, State};
use crate::server::prepared::Prepared;
use crate::server::rows::{self, Columns, Rows};
use crate::server::session::{Flow, Guard, Session};
use crate::server::wire::Inbox;
use crate::sql::statement::{DeclareCursor, Fetch, FetchDirection};

/// Bytes of rows that one cursor keeps, and that one FETCH gathers.
const MOST_BYTES: usize = 256 * 1024 * 1024;
/// Rows that are read before they are counted.
const PIECE: usize = 1024;

pub struct Cursor {
    rows: Rows,
    /// No row is left in `rows`.
    done: bool,
    /// With SCROLL every row that was read, in order.
    kept: Option<Vec<RecordBatch>>,
    /// Rows read from `rows` so far.
    read: usize,
    bytes: usize,
    /// 0: before the first row; n: on the n-th; one past the last row: behind them all.
    position: usize,
    /// Without SCROLL: the row it is on.
    current: Option<RecordBatch>,
    pub with_hold: bool,
    held: bool,
    /// A fetch did not come to its end: where it stands is not known.
    failed: bool,
    pub binary: bool,
    /// The part that `bytes` have of what the session may keep.
    share: Share,
}

impl Cursor {
    fn new(rows: Rows, scroll: bool, with_hold: bool, binary: bool, share: Share) -> Cursor {
        let kept = scroll.then(Vec::new);
        let (done, read, bytes, position) = (false, 0, 0, 0);
        Cursor {
            rows,
            done,
            kept,
            read,
            bytes,
            position,
            current: None,
            with_hold,
            held: false,
            failed: false,
            binary,
            share,
        }
    }

    pub fn columns(&self) -> Columns {
        self.rows.columns.clone()
    }

    /// Its rows no longer belong to a transaction.
    pub fn is_held(&self) -> bool {
        self.held
    }

    pub fn is_scrollable(&self) -> bool {
        self.kept.is_some()
    }

    /// Moves and gives the rows passed, in the order they were passed.
    async fn fetch(&mut self, direction: FetchDirection) -> Result<Vec<RecordBatch>> {
        // It may also be given up half-way.
        self.failed = true;
        let passed = self.go(direction).await?;
        self.failed = false;
        Ok(passed)
    }

    async fn go(&mut self, direction: FetchDirection) -> Result<Vec<RecordBatch>> {
        use FetchDirection::{Absolute, Backward, Forward, Relative};
        match direction {
            Forward(Some(count)) if count < 0 => self.backward(to_count(count)).await,
            Backward(Some(count)) if count < 0 => self.forward(to_count(count)).await,
            Forward(Some(0)) | Backward(Some(0)) | Relative(0) => self.here(),
            Forward(Some(count)) => self.forward(to_count(count)).await,
            Forward(None) => self.forward(usize::MAX).await,
            Backward(Some(count)) => self.backward(to_count(count)).await,
            Backward(None) => self.backward(usize::MAX).await,
            Relative(count) if count > 0 => {
                self.forward(to_count(count) - 1).await?;
                self.forward(1).await
            }
            Relative(count) => {
                self.backward(to_count(count) - 1).await?;
                self.backward(1).await
            }
            Absolute(row) if row < 0 => {
                self.forward(usize::MAX).await?;
                self.backward(to_count(row) - 1).await?;
                self.backward(1).await
            }
            Absolute(row) => {
                let row = to_count(row);
                if row <= self.position {
                    self.backward(usize::MAX).await?;
                }
                if row == 0 {
                    return Ok(Vec::new());
                }
                self.forward(row - self.position - 1).await?;
                self.forward(1).await
            }
        }
    }

    fn here(&mut self) -> Result<Vec<RecordBatch>> {
        match &self.kept {
            None => Ok(self.current.iter().cloned().collect()),
            Some(_) if self.position >= 1 && self.position <= self.read => {
                Ok(self.kept_rows(self.position - 1, self.position))
            }
            Some(_) => Ok(Vec::new()),
        }
    }

    async fn forward(&mut self, count: usize) -> Result<Vec<RecordBatch>> {
        let start = self.position;
        let end = start.saturating_add(count);
        let mut passed = Vec::new();
        if self.kept.is_some() && start < self.read {
            passed = self.kept_rows(start, end.min(self.read));
        }
        let mut at = end.min(self.read.max(start));
        let mut bytes = 0;
        while at < end && !self.done {
            match self.rows.next((end - at).min(PIECE)).await? {
                Some(batch) => {
                    at += batch.num_rows();
                    self.read += batch.num_rows();
                    let size = bytes_of(&batch);
                    bytes += size;
                    if let Some(kept) = &mut self.kept {
                        self.share.grow(size)?;
                        self.bytes += size;
                        kept.push(batch.clone());
                    }
                    check_bytes(bytes.max(self.bytes))?;
                    passed.push(batch);
                }
                None => self.done = true,
            }
        }
        if count > 0 {
            self.current = match at == end {
                true => passed.last().map(|batch| batch.slice(batch.num_rows() - 1, 1)),
                false => None,
            };
            self.position = if at == end { end } else { self.read + 1 };
        }
        Ok(passed)
    }

    async fn backward(&mut self, count: usize) -> Result<Vec<RecordBatch>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        if self.kept.is_none() {
            let message = "cursor can only scan forward";
            return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                .with_hint("Declare it with SCROLL option to enable backward scan."));
        }
        // Rows strictly before the position.
        let end = self.position.saturating_sub(1).min(self.read);
        let start = end.saturating_sub(count);
        self.position = if self.position > count { self.position - count } else { 0 };
        let passed = self.kept_rows(start, end);
        reversed(&passed)
    }

    /// Kept rows [start, end), counted from 0.
    fn kept_rows(&self, start: usize, end: usize) -> Vec<RecordBatch> {
        let mut rows = Vec::new();
        let mut first = 0;
        for batch in self.kept.iter().flatten() {
            let last = first + batch.num_rows();
            let (from, to) = (start.max(first), end.min(last));
            if from < to {
                rows.push(batch.slice(from - first, to - from));
            }
            first = last;
        }
        rows
    }

    /// Reads the rest, so that nothing of the transaction is needed any more.
    async fn hold(&mut self) -> Result<()> {
        let mut rest = Vec::new();
        let mut bytes = self.bytes;
        while let Some(batch) = self.rows.next(usize::MAX).await? {
            let size = bytes_of(&batch);
            bytes += size;
            self.share.grow(size)?;
            check_bytes(bytes)?;
            rest.push(batch);
        }
        self.rows = Rows::ready(self.rows.columns.clone(), rest);
        self.held = true;
        Ok(())
    }
}

/// Bytes of a batch that may be a slice of a larger one.
fn bytes_of(batch: &RecordBatch) -> usize {
    let size = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(column.get_array_memory_size());
    batch.columns().iter().map(size).sum()
}

fn check_bytes(bytes: usize) -> Result<()> {
    if bytes <= MOST_BYTES {
        return Ok(());
    }
    let message = format!("a cursor can keep {} MB of rows", MOST_BYTES >> 20);
    Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
        .with_hint("Fetch fewer rows at once, and use NO SCROLL without HOLD."))
}

fn to_count(count: i64) -> usize {
    usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX)
}

fn reversed(batches: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let all = concat_batches(&first.schema(), batches)?;
    let order = UInt32Array::from_iter_values((0..all.num_rows() as u32).rev());
    Ok(vec![take_record_batch(&all, &order)?])
}

pub async fn declare(session: &mut Session, declare: &DeclareCursor, call: Call<'_>) -> Flow<Outcome> {
    if !declare.hold && !session.transaction.is_active() {
        let message = "DECLARE CURSOR can only be used in transaction blocks";
        return Err(Error::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, message).into());
    }
    session.check_portal(&declare.name)?;
    let rows = select::start(session, &declare.query, call).await?;
    let kept = session.keep(0)?;
    let mut cursor = Cursor::new(rows, declare.scroll == Some(true), declare.hold, declare.binary, kept);
    if declare.hold && !session.transaction.is_active() {
        cursor.hold().await?;
    }
    let columns = cursor.columns();
    let statement = Prepared {
        text: call.parsed.text.clone(),
        parsed: None,
        parameters: Vec::new(),
        columns: Some(columns.clone()),
        from_sql: true,
        at: crate::server::now(),
        _kept: session.keep(call.parsed.text.len())?,
    };
    let portal = Portal {
        statement: Arc::new(statement),
        parameters: Arc::new([]),
        formats: vec![i16::from(declare.binary); columns.len()],
        state: State::Cursor(cursor),
        opened: session.next_portal(),
        _kept: session.keep(0)?,
    };
    session.portals.insert(declare.name.clone(), portal);
    Outcome::tag("DECLARE CURSOR")
}

/// The cursor of this name, or 34000.
pub fn find<'a>(session: &'a Session, name: &str) -> Result<&'a Cursor> {
    match session.portals.get(name).map(|portal| &portal.state) {
        Some(State::Cursor(cursor)) => Ok(cursor),
        _ => Err(missing(name)),
    }
}

/// The same to be moved: 55000 for one that failed before.
fn find_mut<'a>(session: &'a mut Session, name: &str) -> Result<&'a mut Cursor> {
    match session.portals.get_mut(name).map(|portal| &mut portal.state) {
        Some(State::Cursor(Cursor { failed: true, .. })) => {
            let message = format!("portal \"{name}\" cannot be run");
            Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message))
        }
        Some(State::Cursor(cursor)) => Ok(cursor),
        _ => Err(missing(name)),
    }
}

fn missing(name: &str) -> Error {
    Error::new(SqlState::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
}

pub async fn fetch(session: &mut Session, fetch: &Fetch) -> Flow<Outcome> {
    let cursor = find_mut(session, &fetch.cursor)?;
    // MOVE gathers what it passes as FETCH does, and no more.
    let passed = cursor.fetch(fetch.direction).await?;
    let count: usize = passed.iter().map(RecordBatch::num_rows).sum();
    if fetch.skip {
        return Ok(Outcome::Done(format!("MOVE {count}")));
    }
    let mut rows = Rows::ready(cursor.columns(), passed);
    rows.binary = cursor.binary;
    Ok(Outcome::Rows(rows, RowTag::All("FETCH", count as u64)))
}

pub fn close(session: &mut Session, name: Option<&str>) -> Flow<Outcome> {
    match name {
        None => {
            session.portals.retain(|_, portal| !matches!(portal.state, State::Cursor(_)));
            Outcome::tag("CLOSE CURSOR ALL")
        }
        Some(name) => {
            find(session, name)?;
            session.portals.remove(name);
            Outcome::tag("CLOSE CURSOR")
        }
    }
}

/// Before a COMMIT: cursors WITH HOLD take the rest of their rows with them. Of a block that failed nothing is held.
pub async fn hold(session: &mut Session) -> Flow<()> {
    if session.transaction.is_failed() {
        return Ok(());
    }
    for portal in session.portals.values_mut() {
        if let State::Cursor(cursor) = &mut portal.state
            && cursor.with_hold
            && !cursor.held
        {
            cursor.hold().await?;
        }
    }
    Ok(())
}

/// The protocol's Execute of a cursor's portal: the next rows, as FETCH FORWARD would give them.
pub async fn execute(session: &mut Session, inbox: &mut Inbox<Read>, name: &str, max_rows: u32) -> Flow<()> {
    let guard = Guard::new(session);
    let count = if max_rows == 0 { None } else { Some(i64::from(max_rows)) };
    let formats = match session.portals.get(name) {
        Some(portal) => portal.formats.clone(),
        None => return Err(missing(name).into()),
    };
    guard
        .run(Some(inbox), async {
            let cursor = find_mut(session, name)?;
            let columns = cursor.columns();
            let passed = cursor.fetch(FetchDirection::Forward(count)).await?;
            let encoder = rows::Encoder::new(&columns, &formats, session)?;
            let mut sent = 0;
            for batch in passed {
                sent += batch.num_rows() as u64;
                rows::send(batch, &encoder, &mut session.out).await?;
            }
            match max_rows > 0 && sent == u64::from(max_rows) {
                true => session.out.push(PortalSuspended::new()),
                false => session.out.complete(RowTag::Counted("SELECT").text(sent)),
            }
            Ok(())
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::budget::Budget;
    use crate::types::{Column, Type, arrow_schema};
    use arrow::array::{AsArray, Int32Array};
    use arrow::datatypes::Int32Type;

    /// A cursor over 1, 2, ... n in batches of three.
    fn cursor(n: i32, scroll: bool) -> Cursor {
        let columns = vec![Column::new("n", Type::Int4)];
        let numbers: Vec<i32> = (1..=n).collect();
        let batches = numbers
            .chunks(3)
            .map(|chunk| {
                let column = Arc::new(Int32Array::from(chunk.to_vec()));
                RecordBatch::try_new(arrow_schema(&columns), vec![column]).unwrap()
            })
            .collect();
        let share = Budget::new(usize::MAX).take(0).unwrap();
        Cursor::new(Rows::ready(columns.into(), batches), scroll, false, false, share)
    }

    async fn numbers(cursor: &mut Cursor, direction: FetchDirection) -> Vec<i32> {
        let batches = cursor.fetch(direction).await.unwrap();
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int32Type>().values().to_vec()).collect()
    }

    #[tokio::test]
    async fn a_scrolling_cursor_goes_everywhere() {
        use FetchDirection::{Absolute, Backward, Forward, Relative};
        let mut cursor = cursor(7, true);
        let steps: &[(FetchDirection, &[i32])] = &[
            (Forward(Some(0)), &[]),
            (Forward(Some(2)), &[1, 2]),
            (Forward(Some(0)), &[2]),
            (Backward(Some(1)), &[1]),
            (Backward(Some(1)), &[]),
            (Forward(Some(3)), &[1, 2, 3]),
            (Forward(None), &[4, 5, 6, 7]),
            (Forward(Some(1)), &[]),
            (Backward(Some(2)), &[7, 6]),
            (Relative(-2), &[4]),
            (Relative(2), &[6]),
            (Relative(0), &[6]),
            (Absolute(2), &[2]),
            (Absolute(-1), &[7]),
            (Absolute(-7), &[1]),
            (Absolute(-8), &[]),
            (Absolute(9), &[]),
            (Backward(None), &[7, 6, 5, 4, 3, 2, 1]),
            (Absolute(0), &[]),
            (Forward(Some(-1)), &[]),
            (Forward(Some(1)), &[1]),
        ];
        for (at, (direction, expected)) in steps.iter().enumerate() {
            assert_eq!(numbers(&mut cursor, *direction).await, *expected, "step {at}: {direction:?}");
        }
    }

    #[tokio::test]
    async fn without_scroll_it_only_goes_forward() {
        use FetchDirection::{Absolute, Backward, Forward};
        let mut cursor = cursor(7, false);
        assert_eq!(numbers(&mut cursor, Forward(Some(2))).await, [1, 2]);
        assert_eq!(numbers(&mut cursor, Forward(Some(0))).await, [2]);
        assert_eq!(numbers(&mut cursor, Absolute(5)).await, [5]);
        let error = cursor.go(Backward(Some(1))).await.unwrap_err();
        assert_eq!(error.state(), SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
        assert_eq!(numbers(&mut cursor, Forward(None)).await, [6, 7]);
        assert_eq!(numbers(&mut cursor, Forward(Some(1))).await, [] as [i32; 0]);
    }
}
