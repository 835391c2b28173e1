//! What goes to the client: encoded into one bounded buffer, written when it is full or when the client waits.
//!
//! Whoever fills the buffer waits in [`Outbox::drain`] for a client that does not read: a result is made only as fast as it
//! is taken, and nobody else is held up.

use bytes::{BufMut, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::response::{CommandComplete, ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus};
use std::io;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::response::{Severity, fields};
use crate::error::Error;

/// Bytes gathered before they are written: who makes rows stops there, and waits for the client.
pub const FULL: usize = 64 * 1024;

pub struct Outbox<W> {
    write: W,
    buffer: BytesMut,
}

impl<W: AsyncWrite + Unpin> Outbox<W> {
    pub fn new(write: W) -> Outbox<W> {
        Outbox { write, buffer: BytesMut::new() }
    }

    /// Adds a message. One that is too long for the protocol becomes an error message.
    pub fn push(&mut self, message: impl Message) {
        let start = self.buffer.len();
        if let Err(error) = message.encode(&mut self.buffer) {
            self.buffer.truncate(start);
            self.error(Severity::Error, &Error::internal(error));
        }
    }

    pub fn error(&mut self, severity: Severity, error: &Error) {
        let response = ErrorResponse::new(fields(severity, error));
        // Its limit is 2 GB, which no error reaches.
        let _ = response.encode(&mut self.buffer);
    }

    pub fn notice(&mut self, severity: Severity, notice: &Error) {
        self.push(NoticeResponse::new(fields(severity, notice)));
    }

    pub fn complete(&mut self, tag: impl Into<String>) {
        self.push(CommandComplete::new(tag.into()));
    }

    pub fn ready(&mut self, status: TransactionStatus) {
        self.push(ReadyForQuery::new(status));
    }

    /// The buffer, for whoever encodes rows. Only whole messages may be in it when it is drained.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Adds whole messages that were encoded elsewhere.
    pub async fn take_in(&mut self, messages: BytesMut) -> io::Result<()> {
        if self.buffer.len() + messages.len() > 2 * FULL {
            self.flush().await?;
        }
        match self.buffer.is_empty() {
            true => self.buffer = messages,
            false => self.buffer.extend_from_slice(&messages),
        }
        Ok(())
    }

    pub fn byte(&mut self, byte: u8) {
        self.buffer.put_u8(byte);
    }

    /// Writes the buffer out if it is full, waiting for the client to take it.
    pub async fn drain(&mut self) -> io::Result<()> {
        if self.buffer.len() >= FULL { self.flush().await } else { Ok(()) }
    }

    /// Writes everything. May be dropped half-way: what is written is no longer in the buffer.
    pub async fn flush(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty() {
            if self.write.write_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        if self.buffer.capacity() > 4 * FULL {
            self.buffer = BytesMut::new();
        }
        self.write.flush().await
    }

    /// Says goodbye at the level of TCP.
    pub async fn close(&mut self) {
        let _ = self.write.shutdown().await;
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.buffer.capacity()
    }
}
