//! How large rows are. Wherever rows are gathered, repeated, decoded or put together, a batch is bounded by bytes as well as by
//! rows: a column of text holds no more than 2 GiB, and memory is to be as small for wide rows as for many.
//!
//! Neighbouring rows are measured in O(columns), from their offsets. Rows picked one by one are measured one by one only where
//! some are so wide that it matters ([`RowSizes`]).

use std::ops::{AddAssign, Range, SubAssign};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;

use super::Delta;

/// Bytes of a batch; one row may be larger.
pub const BATCH_BYTES: usize = 32 << 20;
/// Of rows that are no wider than this, thousands put side by side in pairs make no batch too large.
const NARROW: usize = BATCH_BYTES / (8 * 1024) / 2;
/// Bytes that count as one row where work is bounded by rows.
const ROW_BYTES: usize = 1024;

/// Bytes of the rows `from .. to` in these columns.
pub fn bytes_of(columns: &[ArrayRef], from: usize, to: usize) -> usize {
    columns.iter().map(|column| array_bytes(column, from, to)).sum()
}

fn array_bytes(array: &dyn Array, from: usize, to: usize) -> usize {
    let rows = to - from;
    let between = |offsets: &[i32]| (offsets[from] as usize, offsets[to] as usize);
    match array.data_type() {
        DataType::Boolean => rows.div_ceil(8),
        DataType::Utf8 | DataType::Binary => {
            let (first, last) = match array.data_type() {
                DataType::Utf8 => between(array.as_string::<i32>().value_offsets()),
                _ => between(array.as_binary::<i32>().value_offsets()),
            };
            4 * rows + last - first
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (first, last) = between(list.value_offsets());
            4 * rows + array_bytes(list.values(), first, last)
        }
        DataType::Struct(_) => bytes_of(array.as_struct().columns(), from, to),
        DataType::FixedSizeBinary(width) => rows * *width as usize,
        other => match other.primitive_width() {
            Some(width) => rows * width,
            None => array.slice(from, rows).to_data().get_slice_memory_size().unwrap_or(0),
        },
    }
}

/// How many of the rows `from .. to` fit a batch, each with so many bytes `beside` it: at least one, at most `most`.
pub fn rows_that_fit(columns: &[ArrayRef], from: usize, to: usize, most: usize, beside: usize) -> usize {
    let rows = most.max(1).min(to - from);
    let fit = |rows: usize| bytes_of(columns, from, from + rows) + rows * beside <= BATCH_BYTES;
    if fit(rows) {
        return rows;
    }
    let (mut fits, mut too_many) = (1, rows);
    while fits + 1 < too_many {
        let middle = fits.midpoint(too_many);
        match fit(middle) {
            true => fits = middle,
            false => too_many = middle,
        }
    }
    fits
}

/// Cuts rows of these sizes into runs of at most `most` that fit a batch each.
pub fn runs(sizes: impl IntoIterator<Item = usize>, most: usize) -> Vec<Range<usize>> {
    grouped(sizes.into_iter().map(|size| (1, size)), most)
}

/// Cuts deltas into runs of neighbours that have at most `most` rows and fit a batch each; a delta is not cut.
pub fn neighbours(deltas: &[Delta], most: usize) -> Vec<Range<usize>> {
    let bytes = |delta: &Delta| bytes_of(delta.rows.columns(), 0, delta.len());
    grouped(deltas.iter().map(|delta| (delta.len(), bytes(delta))), most)
}

fn grouped(items: impl Iterator<Item = (usize, usize)>, most: usize) -> Vec<Range<usize>> {
    let (mut runs, mut start, mut end, mut rows, mut bytes) = (Vec::new(), 0, 0, 0usize, 0usize);
    for (length, size) in items {
        (rows, bytes) = (rows.saturating_add(length), bytes.saturating_add(size));
        if end > start && (rows > most || bytes > BATCH_BYTES) {
            runs.push(start..end);
            (start, rows, bytes) = (end, length, size);
        }
        end += 1;
    }
    if end > start {
        runs.push(start..end);
    }
    runs
}

/// How much rows are where work is bounded: their number, or their kilobytes if those are more.
pub fn volume(rows: &RecordBatch) -> usize {
    Held::of(rows).volume()
}

/// Rows that something holds, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub rows: usize,
    pub bytes: usize,
}

impl Held {
    pub fn of(rows: &RecordBatch) -> Held {
        Held { rows: rows.num_rows(), bytes: bytes_of(rows.columns(), 0, rows.num_rows()) }
    }

    /// See [`volume`].
    pub fn volume(&self) -> usize {
        self.rows.max(self.bytes / ROW_BYTES)
    }
}

impl AddAssign for Held {
    fn add_assign(&mut self, other: Held) {
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Held {
    fn sub_assign(&mut self, other: Held) {
        self.rows -= other.rows;
        self.bytes -= other.bytes;
    }
}

impl Delta {
    /// See [`volume`].
    pub fn volume(&self) -> usize {
        volume(&self.rows)
    }

    /// The delta in slices of at most `most` rows that fit a batch each.
    pub fn pieces(&self, most: usize) -> impl Iterator<Item = Delta> {
        let mut from = 0;
        std::iter::from_fn(move || {
            if from >= self.len() {
                return None;
            }
            let rows = rows_that_fit(self.rows.columns(), from, self.len(), most, 0);
            from += rows;
            Some(self.slice(from - rows, rows))
        })
    }
}

/// The sizes of single rows. Where all are narrow, each is said to be as large as the widest may be.
#[derive(Clone, Debug, Default)]
pub struct RowSizes {
    columns: Vec<ArrayRef>,
    widest: usize,
}

impl RowSizes {
    /// Looks at every row of the columns whose values differ in length, once.
    pub fn new(rows: &RecordBatch) -> RowSizes {
        let widest = rows.columns().iter().map(widest).sum();
        RowSizes { columns: rows.columns().to_vec(), widest }
    }

    pub fn at(&self, row: usize) -> usize {
        if self.are_narrow() { self.widest } else { bytes_of(&self.columns, row, row + 1) }
    }

    /// No number of rows that a batch may have is too large.
    pub fn are_narrow(&self) -> bool {
        self.widest <= NARROW
    }
}

/// No row of the column is larger.
fn widest(column: &ArrayRef) -> usize {
    let most = |offsets: &[i32]| 4 + offsets.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0) as usize;
    match column.data_type() {
        DataType::Utf8 => most(column.as_string::<i32>().value_offsets()),
        DataType::Binary => most(column.as_binary::<i32>().value_offsets()),
        DataType::Struct(_) => column.as_struct().columns().iter().map(widest).sum(),
        DataType::List(_) => (0..column.len()).map(|row| array_bytes(column, row, row + 1)).max().unwrap_or(0),
        _ if column.is_empty() => 0,
        _ => array_bytes(column, 0, 1),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn delta(lengths: &[usize]) -> Delta {
        let texts = StringArray::from_iter_values(lengths.iter().map(|length| "x".repeat(*length)));
        let numbers = Int64Array::from_iter_values(0..lengths.len() as i64);
        let fields = vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8, true)];
        let columns: Vec<ArrayRef> = vec![Arc::new(numbers), Arc::new(texts)];
        Delta::insertions(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap())
    }

    #[test]
    fn pieces_are_bounded_by_rows_and_by_bytes() {
        let narrow = delta(&[3; 100]);
        assert_eq!(narrow.pieces(30).map(|piece| piece.len()).collect::<Vec<_>>(), [30, 30, 30, 10]);
        assert_eq!(narrow.volume(), 100);
        // One row is larger than a batch.
        let wide = delta(&[BATCH_BYTES / 2 - 12, 5, BATCH_BYTES / 2 - 40, 1, BATCH_BYTES + 1, 2]);
        assert_eq!(wide.pieces(30).map(|piece| piece.len()).collect::<Vec<_>>(), [3, 1, 1, 1]);
        assert_eq!(wide.volume(), 2 * BATCH_BYTES / ROW_BYTES);
        let again = Delta::concat(&wide.schema(), &wide.pieces(30).collect::<Vec<_>>()).unwrap();
        assert_eq!(again.rows(), wide.rows());
    }

    #[test]
    fn runs_are_bounded_by_rows_and_by_bytes() {
        assert_eq!(runs([1; 5], 2), [0..2, 2..4, 4..5]);
        assert_eq!(runs([BATCH_BYTES, 1, BATCH_BYTES - 1, 2 * BATCH_BYTES, 7], 9), [0..1, 1..3, 3..4, 4..5]);
        assert!(runs([], 9).is_empty());
    }

    #[test]
    fn single_rows_are_measured_where_some_are_wide() {
        let narrow = RowSizes::new(delta(&[3, 1, 9]).rows());
        assert!(narrow.are_narrow());
        assert_eq!((narrow.at(0), narrow.at(2)), (21, 21));
        let wide = RowSizes::new(delta(&[3, NARROW]).slice(0, 2).rows());
        assert_eq!((wide.at(0), wide.at(1)), (15, NARROW + 12));
    }
}
