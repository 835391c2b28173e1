//! Decoders: payload bytes to rows of a declared schema.
//!
//! A decoder's answer depends on the bytes and the declared schema alone. Each record is a row or a reason why it is
//! not one; a bad record leaves no trace in the rows around it.

pub mod json;
