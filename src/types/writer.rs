//! A column on its way to a client: text or binary, row by row into the connection's buffer.

use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use bytes::BytesMut;

use super::text::{Printer, TextSettings};
use super::{Type, binary, text};
use crate::error::Result;

/// Writes one column of a batch. Made once a batch; a row costs one call.
pub struct Writer {
    nulls: Option<NullBuffer>,
    print: Printer,
}

impl Writer {
    /// In Postgres's text form.
    pub fn text(ty: &Type, array: &ArrayRef, settings: &TextSettings) -> Result<Writer> {
        Ok(Writer { nulls: array.logical_nulls(), print: text::printer(ty, array, settings)? })
    }

    /// In Postgres's binary form.
    pub fn binary(ty: &Type, array: &ArrayRef) -> Result<Writer> {
        Ok(Writer { nulls: array.logical_nulls(), print: binary::printer(ty, array)? })
    }

    /// Appends the value, without a length; true, with nothing appended, for NULL.
    #[inline]
    pub fn write(&self, row: usize, out: &mut BytesMut) -> bool {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return true;
        }
        (self.print)(row, out);
        false
    }
}
