//! The arena: a relation's rows in order of arrival, as a list of [`Chunk`]s that readers take whole.
//!
//! A row's id is its arrival number. Ids ascend through the list and are kept when chunks merge or dead rows are cut out,
//! so an index may hold them. Small chunks merge with their neighbours: four of about one size make one of the next
//! (sizes go by powers of four), until a chunk has half the full size; a row is copied some log4(64 k / rows a step) times.
//!
//! The list is immutable; a change makes another one (see [`ChunkList`] for what that costs) and publishes it.

use std::cell::OnceCell;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;

use super::Version;
use super::chunk::Chunk;
use super::chunk_list::ChunkList;
use crate::delta::{Delta, Equality, RowsView};
use crate::error::{Error, Result};

/// How many chunks of a size make one of the next.
const FAN_IN: usize = 4;

#[derive(Clone)]
pub(super) struct Arena {
    pub schema: SchemaRef,
    pub chunks: ChunkList,
    /// The id that the next row gets.
    pub next_id: u64,
    /// The last version appended to.
    pub newest: Version,
    /// Versions before this one can't be asked for any more.
    pub since: Version,
}

impl Arena {
    pub fn new(schema: SchemaRef) -> Arena {
        Arena { schema, chunks: ChunkList::default(), next_id: 0, newest: 0, since: 0 }
    }

    /// Appends rows born at `version` as a chunk; there is at least one.
    pub fn push(&mut self, delta: Delta, version: Version) {
        let length = delta.len() as u64;
        let (rows, weights) = delta.into_parts();
        self.chunks.push(Arc::new(Chunk::new(rows, weights, self.next_id, version)));
        self.next_id += length;
    }

    /// Where the row with this id is.
    #[inline]
    pub fn locate(&self, id: u64) -> Option<(usize, usize)> {
        let chunk = self.chunks.find(id)?;
        Some((chunk, self.chunks[chunk].row_of(id)?))
    }

    /// Rows with ids below this one, and no others, were born by `version`.
    pub fn end_id(&self, version: Version) -> u64 {
        if version >= self.newest {
            return self.next_id;
        }
        match self.chunks.partition_point(|chunk| chunk.first_birth() <= version).checked_sub(1) {
            None => 0,
            Some(last) => {
                let chunk = &self.chunks[last];
                match chunk.born_by(version) {
                    all if all == chunk.len() => chunk.end_id(),
                    row => chunk.id(row),
                }
            }
        }
    }

    pub fn check(&self, version: Version) -> Result<()> {
        if version < self.since {
            return Err(Error::internal(format!("version {version} is gone, the oldest kept is {}", self.since)));
        }
        Ok(())
    }

    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes()).sum()
    }

    /// Which chunks at the end should become one now, if any.
    pub fn mergeable_tail(&self, limits: &super::Limits) -> Option<std::ops::Range<usize>> {
        let size = |rows: usize| (rows.max(1)).ilog2() / FAN_IN.ilog2();
        let end = self.chunks.len();
        let last = self.chunks.last()?;
        let small = |chunk: &Chunk| chunk.len() < limits.chunk_rows / 2 && chunk.bytes() < limits.chunk_bytes / 2;
        let same = self.chunks.iter().rev().take_while(|chunk| small(chunk) && size(chunk.len()) <= size(last.len()));
        let start = end - same.count();
        if end - start < FAN_IN {
            return None;
        }
        let (mut rows, mut bytes, mut to) = (0, 0, start);
        while to < end {
            rows += self.chunks[to].len();
            bytes += self.chunks[to].bytes();
            if rows > limits.chunk_rows || bytes > limits.chunk_bytes {
                break;
            }
            to += 1;
        }
        (to - start >= 2).then_some(start..to)
    }

    /// The neighbours with which a chunk that lost rows would still be one of full size. None much larger than itself, so
    /// that a row is not copied again and again for small ones; and none at all if nothing of it is left.
    pub fn mergeable_around(&self, chunk: usize, limits: &super::Limits) -> std::ops::Range<usize> {
        let left = |at: usize| self.chunks[at].len() - self.chunks[at].reclaimed().min(self.chunks[at].len());
        let (mut rows, mut bytes) = (left(chunk), self.chunks[chunk].bytes());
        let (mut from, mut to) = (chunk, chunk + 1);
        if rows == 0 {
            return from..to;
        }
        let mut joins = |at: usize| {
            let (more, size) = (left(at), self.chunks[at].bytes());
            let fits = more <= 2 * rows && rows + more <= limits.chunk_rows / 2 && bytes + size <= limits.chunk_bytes;
            if fits {
                (rows, bytes) = (rows + more, bytes + size);
            }
            fits
        };
        while from > 0 && joins(from - 1) {
            from -= 1;
        }
        while to < self.chunks.len() && joins(to) {
            to += 1;
        }
        from..to
    }

    /// Puts the chunks of the range into one, without rows dead by `gone`.
    pub fn merge(&mut self, range: std::ops::Range<usize>, gone: Option<Version>) -> Result<()> {
        let parts: Vec<&Chunk> = self.chunks.range(range.clone()).map(Arc::as_ref).collect();
        let merged = Chunk::merge(&self.schema, &parts, gone, self.since)?;
        self.chunks.replace(range, merged.map(Arc::new));
        Ok(())
    }

    /// The weights of the rows at these places; `None` where all their chunks do without.
    pub fn weights(&self, places: &[(usize, usize)]) -> Option<Int64Array> {
        let weighted = places.iter().any(|(chunk, _)| self.chunks[*chunk].weights.is_some());
        let weight = |(chunk, row): &(usize, usize)| self.chunks[*chunk].weight(*row);
        weighted.then(|| Int64Array::from_iter_values(places.iter().map(weight)))
    }

    /// The rows at these places, in this order, with these columns only; pays for the chunks that occur, not for all.
    pub fn gather(&self, places: &[(usize, usize)], columns: &[usize]) -> Result<RecordBatch> {
        let mut used: Vec<usize> = Vec::new();
        let mut slot = vec![u32::MAX; self.chunks.len()];
        let mut indices = Vec::with_capacity(places.len());
        for &(chunk, row) in places {
            if slot[chunk] == u32::MAX {
                slot[chunk] = used.len() as u32;
                used.push(chunk);
            }
            indices.push((slot[chunk] as usize, row));
        }
        let schema = Arc::new(self.schema.project(columns)?);
        let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
        let arrays = columns.iter().map(|&column| -> Result<ArrayRef> {
            if indices.is_empty() {
                return Ok(arrow::array::new_empty_array(self.schema.field(column).data_type()));
            }
            let parts: Vec<&dyn arrow::array::Array> =
                used.iter().map(|&chunk| self.chunks[chunk].rows.column(column).as_ref()).collect();
            Ok(interleave(&parts, &indices)?)
        });
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
    }
}

/// Rows of an arena, found by id, ready to be compared; a chunk's columns are downcast when first needed.
pub(super) struct Stored<'a> {
    arena: &'a Arena,
    columns: &'a [usize],
    equality: Equality,
    views: Vec<OnceCell<RowsView<'a>>>,
}

impl<'a> Stored<'a> {
    pub fn new(arena: &'a Arena, columns: &'a [usize], equality: Equality) -> Stored<'a> {
        let views = (0..arena.chunks.len()).map(|_| OnceCell::new()).collect();
        Stored { arena, columns, equality, views }
    }

    #[inline]
    pub fn locate(&self, id: u64) -> Option<(usize, usize)> {
        self.arena.locate(id)
    }

    pub fn view(&self, chunk: usize) -> Result<&RowsView<'a>> {
        if let Some(view) = self.views[chunk].get() {
            return Ok(view);
        }
        let view = RowsView::of(self.arena.chunks[chunk].rows.columns(), self.columns, self.equality)?;
        Ok(self.views[chunk].get_or_init(|| view))
    }

    /// Whether the stored row `id` equals row `row` of `other`. A row that is gone equals nothing.
    #[inline]
    pub fn equal(&self, id: u64, other: &RowsView, row: usize) -> bool {
        match self.locate(id) {
            Some((chunk, at)) => self.view(chunk).is_ok_and(|view| view.equal(at, other, row)),
            None => false,
        }
    }
}
