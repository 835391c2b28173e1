//! What the client sends, frame by frame, in bounded memory.
//!
//! A frame longer than its limit is not held: its bytes are read and dropped, and its place is taken by an error
//! (54000), so that the connection lives on. While a statement runs, [`Inbox::closed`] notices a client that has gone.

use bytes::{Buf, Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::frontend::{Frontend, Startup, is_known, is_statement, unknown};
use crate::error::{Error, Result, SqlState};

/// Bytes that are read ahead while a statement runs.
const READ_AHEAD: usize = 64 * 1024;
/// As Postgres: no start-up packet is longer.
const LONGEST_STARTUP: usize = 10_000;
/// As Postgres: a length beyond this is no length.
const LONGEST_FRAME: usize = 0x3fff_ffff;

/// The longest messages that are taken, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub statement: usize,
    pub message: usize,
}

pub struct Inbox<R> {
    read: R,
    buffer: BytesMut,
    /// Bytes of a frame that was too long, still to come.
    skip: usize,
    limits: Limits,
    at_end: bool,
}

/// A message, or what is wrong with it.
pub type Received = std::result::Result<Frontend, Refused>;

#[derive(Debug)]
pub struct Refused {
    pub error: Error,
    /// The stream of messages is out of step or the client broke the protocol: the connection ends.
    pub fatal: bool,
    pub of: Part,
}

/// The part of the protocol that a message belongs to, which says how an error in it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Simple,
    /// The client will send Sync.
    Extended,
    /// Rows of COPY FROM, which may still come when the COPY has failed.
    Copy,
}

impl Part {
    fn of(kind: u8) -> Part {
        match kind {
            b'P' | b'B' | b'D' | b'C' | b'E' | b'H' => Part::Extended,
            b'd' | b'c' | b'f' => Part::Copy,
            _ => Part::Simple,
        }
    }
}

impl<R: AsyncRead + Unpin> Inbox<R> {
    pub fn new(read: R, limits: Limits) -> Inbox<R> {
        Inbox { read, buffer: BytesMut::new(), skip: 0, limits, at_end: false }
    }

    /// The next message; `None` at the end of the stream. May be dropped and called again.
    pub async fn next(&mut self) -> io::Result<Option<Received>> {
        loop {
            if let Some(message) = self.take() {
                return Ok(Some(message));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Whether a whole message is there already. Answers are sent together while more questions wait.
    pub fn has_message(&self) -> bool {
        match self.header() {
            Some((_, length)) => self.skip == 0 && self.buffer.len() > length,
            None => false,
        }
    }

    /// Whether the next message is Sync, so that nothing more belongs to this transaction. Looks at what has arrived, and
    /// waits for nothing: `false` where the next message is not here yet.
    pub async fn ends_pipeline(&mut self) -> bool {
        if self.header().is_none() {
            tokio::select! {
                biased;
                _ = self.fill() => {}
                _ = std::future::ready(()) => {}
            }
        }
        self.skip == 0 && matches!(self.header(), Some((b'S', _)))
    }

    /// The next packet before the session starts; `None` at the end of the stream.
    pub async fn startup(&mut self) -> io::Result<Option<Result<Startup>>> {
        loop {
            if self.buffer.len() >= 4 {
                let length = (&self.buffer[..4]).get_u32() as usize;
                if !(8..=LONGEST_STARTUP).contains(&length) {
                    let message = "invalid length of startup packet";
                    return Ok(Some(Err(Error::new(SqlState::PROTOCOL_VIOLATION, message))));
                }
                if self.buffer.len() >= length {
                    let mut packet = self.buffer.split_to(length).freeze();
                    packet.advance(4);
                    return Ok(Some(Startup::decode(packet)));
                }
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Completes when the client has gone. Reads ahead, up to a bound, to find out: beyond it a client that
    /// keeps sending is known to be there.
    pub async fn closed(&mut self) {
        while self.buffer.len() < READ_AHEAD {
            match self.fill().await {
                Ok(true) => {}
                Ok(false) | Err(_) => return,
            }
        }
        std::future::pending().await
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.buffer.capacity()
    }

    async fn fill(&mut self) -> io::Result<bool> {
        if self.at_end {
            return Ok(false);
        }
        if self.buffer.is_empty() && self.buffer.capacity() > READ_AHEAD {
            // A long message is behind us; its memory need not stay.
            self.buffer = BytesMut::new();
        }
        self.buffer.reserve(8 * 1024);
        let read = self.read.read_buf(&mut self.buffer).await?;
        let dropped = self.skip.min(self.buffer.len());
        self.buffer.advance(dropped);
        self.skip -= dropped;
        self.at_end = read == 0;
        Ok(!self.at_end)
    }

    /// Type byte and length (which counts itself) of the frame in front.
    fn header(&self) -> Option<(u8, usize)> {
        match self.buffer.len() {
            0..5 => None,
            _ => Some((self.buffer[0], (&self.buffer[1..5]).get_u32() as usize)),
        }
    }

    fn take(&mut self) -> Option<Received> {
        if self.skip > 0 {
            return None;
        }
        let (kind, length) = self.header()?;
        let of = Part::of(kind);
        let refuse =
            |state, message: String, fatal| Some(Err(Refused { error: Error::new(state, message), fatal, of }));
        if !is_known(kind) {
            return Some(Err(Refused { error: unknown(kind), fatal: true, of }));
        }
        if !(4..=LONGEST_FRAME).contains(&length) {
            return refuse(SqlState::PROTOCOL_VIOLATION, "invalid message length".into(), true);
        }
        let (what, limit) = match is_statement(kind) {
            true => ("statement", self.limits.statement),
            false => ("message", self.limits.message),
        };
        if length > limit {
            let dropped = (1 + length).min(self.buffer.len());
            self.buffer.advance(dropped);
            self.skip = 1 + length - dropped;
            let error = Error::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("{what} is too long: {length} bytes, the limit is {limit}"),
            )
            .with_hint(format!("The limit is the setting max_{what}_size; COPY loads any amount of rows."));
            return Some(Err(Refused { error, fatal: false, of }));
        }
        if self.buffer.len() <= length {
            // One allocation for the whole frame rather than many growing ones.
            self.buffer.reserve(1 + length - self.buffer.len());
            return None;
        }
        let mut body: Bytes = self.buffer.split_to(1 + length).freeze();
        body.advance(5);
        Some(Frontend::decode(kind, body).map_err(|error| {
            let fatal = error.state() == SqlState::PROTOCOL_VIOLATION && of != Part::Extended;
            Refused { error, fatal, of }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { statement: 100, message: 1000 };

    fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind];
        frame.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        frame.extend_from_slice(body);
        frame
    }

    async fn read_all(bytes: Vec<u8>) -> Vec<Received> {
        let mut inbox = Inbox::new(&bytes[..], LIMITS);
        let mut messages = Vec::new();
        while let Some(message) = inbox.next().await.unwrap() {
            let fatal = matches!(&message, Err(refused) if refused.fatal);
            messages.push(message);
            if fatal {
                break;
            }
        }
        messages
    }

    #[tokio::test]
    async fn a_statement_over_the_limit_is_skipped_and_the_next_one_read() {
        let mut bytes = frame(b'Q', &[b'x'; 50_000]);
        bytes.extend(frame(b'Q', b"select 1\0"));
        let messages = read_all(bytes).await;
        assert_eq!(messages.len(), 2);
        let refused = messages[0].as_ref().unwrap_err();
        assert_eq!((refused.error.state(), refused.fatal), (SqlState::PROGRAM_LIMIT_EXCEEDED, false));
        assert_eq!(messages[1].as_ref().unwrap(), &Frontend::Query("select 1".into()));
    }

    #[tokio::test]
    async fn what_is_no_message_ends_the_connection() {
        for bytes in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), b"Q\0\0\0\x01".to_vec(), b"Q\xff\xff\xff\xff".to_vec()] {
            let messages = read_all(bytes).await;
            assert!(messages.last().unwrap().as_ref().unwrap_err().fatal);
        }
    }

    #[tokio::test]
    async fn a_message_may_come_byte_by_byte() {
        let (mut client, server) = tokio::io::duplex(1);
        let mut inbox = Inbox::new(server, LIMITS);
        let sender = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut client, &frame(b'Q', b"select 1\0")).await.unwrap();
        });
        assert_eq!(inbox.next().await.unwrap().unwrap().unwrap(), Frontend::Query("select 1".into()));
        sender.await.unwrap();
        inbox.closed().await;
        assert!(inbox.next().await.unwrap().is_none());
    }
}
