//! Messages of the client, decoded from whole frames.
//!
//! A frame that is well formed but whose text is not UTF-8 is the client's mistake (22021) and costs it that
//! statement only; a frame whose inside does not add up is a protocol violation (08P01).

use bytes::{Buf, Bytes};

use crate::error::{Error, Result, SqlState};

#[derive(Debug, PartialEq)]
pub enum Frontend {
    Query(String),
    Parse {
        /// Empty: the unnamed statement.
        name: String,
        text: String,
        /// Type oids of $1, $2, ...; 0 where the client leaves it open.
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe(Target),
    Close(Target),
    Execute {
        portal: String,
        /// 0: all rows.
        max_rows: u32,
    },
    Flush,
    Sync,
    CopyData(Bytes),
    CopyDone,
    /// With the client's reason.
    CopyFail(String),
    Password,
    Terminate,
}

/// A prepared statement or a portal, by name.
#[derive(Debug, PartialEq)]
pub enum Target {
    Statement(String),
    Portal(String),
}

#[derive(Debug, PartialEq)]
pub struct Bind {
    pub portal: String,
    pub statement: String,
    /// None: all text; one: for all; else one a parameter. 0 text, 1 binary.
    pub parameter_formats: Vec<i16>,
    /// `None`: NULL.
    pub parameters: Vec<Option<Bytes>>,
    /// As `parameter_formats`, for the result's columns.
    pub result_formats: Vec<i16>,
}

/// What comes before a session: it has no type byte.
#[derive(Debug, PartialEq)]
pub enum Startup {
    Ssl,
    GssEncryption,
    Cancel { pid: i32, secret: Bytes },
    Session { minor: u16, parameters: Vec<(String, String)> },
    Unsupported { major: u16, minor: u16 },
}

/// Bytes of a message's body that are text of a statement, for the limit on statements.
pub fn is_statement(kind: u8) -> bool {
    matches!(kind, b'Q' | b'P')
}

pub fn unknown(kind: u8) -> Error {
    Error::new(SqlState::PROTOCOL_VIOLATION, format!("invalid frontend message type {kind}"))
}

/// Whether this byte begins a message of a client.
pub fn is_known(kind: u8) -> bool {
    b"QPBDCEHSdcfpXF".contains(&kind)
}

impl Frontend {
    /// Decodes one frame's body.
    pub fn decode(kind: u8, body: Bytes) -> Result<Frontend> {
        let mut body = Reader(body);
        let message = match kind {
            b'Q' => Frontend::Query(body.text()?),
            b'P' => {
                let (name, text) = (body.text()?, body.text()?);
                let count = body.u16()?;
                let types = (0..count).map(|_| body.u32()).collect::<Result<_>>()?;
                Frontend::Parse { name, text, types }
            }
            b'B' => Frontend::Bind(Bind {
                portal: body.text()?,
                statement: body.text()?,
                parameter_formats: body.formats()?,
                parameters: body.values()?,
                result_formats: body.formats()?,
            }),
            b'D' => Frontend::Describe(body.target()?),
            b'C' => Frontend::Close(body.target()?),
            b'E' => {
                let portal = body.text()?;
                // A negative limit is no limit, as in Postgres.
                let max_rows = u32::try_from(body.u32()? as i32).unwrap_or(0);
                Frontend::Execute { portal, max_rows }
            }
            b'H' => Frontend::Flush,
            b'S' => Frontend::Sync,
            b'd' => return Ok(Frontend::CopyData(body.0)),
            b'c' => Frontend::CopyDone,
            b'f' => Frontend::CopyFail(body.text()?),
            // While no users exist nobody is asked for a password; a client that sends one is not wrong.
            b'p' => return Ok(Frontend::Password),
            b'X' => Frontend::Terminate,
            b'F' => return Err(Error::unsupported("the function call message", "Use SELECT function(...).")),
            _ => return Err(unknown(kind)),
        };
        body.end()?;
        Ok(message)
    }
}

impl Startup {
    /// Decodes the packet behind the length.
    pub fn decode(body: Bytes) -> Result<Startup> {
        let mut body = Reader(body);
        let (major, minor) = (body.u16()?, body.u16()?);
        match (major, minor) {
            (1234, 5678) => Ok(Startup::Cancel { pid: body.u32()? as i32, secret: body.0 }),
            (1234, 5679) => Ok(Startup::Ssl),
            (1234, 5680) => Ok(Startup::GssEncryption),
            (3, minor) => {
                let mut parameters = Vec::new();
                loop {
                    let name = body.text()?;
                    if name.is_empty() {
                        break;
                    }
                    parameters.push((name, body.text()?));
                }
                Ok(Startup::Session { minor, parameters })
            }
            (major, minor) => Ok(Startup::Unsupported { major, minor }),
        }
    }
}

/// Takes values off a frame's body; what is missing is a protocol violation.
struct Reader(Bytes);

impl Reader {
    fn u16(&mut self) -> Result<u16> {
        self.0.try_get_u16().map_err(|_| short())
    }

    fn u32(&mut self) -> Result<u32> {
        self.0.try_get_u32().map_err(|_| short())
    }

    /// Text up to a NUL byte.
    fn text(&mut self) -> Result<String> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or_else(short)?;
        let bytes = self.0.split_to(end);
        self.0.advance(1);
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_string()),
            Err(error) => Err(invalid_utf8(&bytes, &error)),
        }
    }

    fn formats(&mut self) -> Result<Vec<i16>> {
        let count = self.u16()?;
        (0..count)
            .map(|_| match self.u16()? {
                format @ (0 | 1) => Ok(format as i16),
                other => {
                    let message = format!("unsupported format code: {}", other as i16);
                    Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message))
                }
            })
            .collect()
    }

    fn values(&mut self) -> Result<Vec<Option<Bytes>>> {
        let count = self.u16()?;
        (0..count)
            .map(|_| match self.u32()? as i32 {
                -1 => Ok(None),
                length => match usize::try_from(length) {
                    Ok(length) if length <= self.0.len() => Ok(Some(self.0.split_to(length))),
                    _ => Err(short()),
                },
            })
            .collect()
    }

    fn target(&mut self) -> Result<Target> {
        let kind = self.0.try_get_u8().map_err(|_| short())?;
        let name = self.text()?;
        match kind {
            b'S' => Ok(Target::Statement(name)),
            b'P' => Ok(Target::Portal(name)),
            other => {
                let message = format!("invalid target {other} of a Describe or Close message");
                Err(Error::new(SqlState::PROTOCOL_VIOLATION, message))
            }
        }
    }

    fn end(&self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::new(SqlState::PROTOCOL_VIOLATION, "invalid message format")) }
    }
}

fn short() -> Error {
    Error::new(SqlState::PROTOCOL_VIOLATION, "insufficient data left in message")
}

/// Bytes as a value's text: 22021 for what is not UTF-8, and for 0, which no text holds.
pub fn text(bytes: &[u8]) -> Result<&str> {
    if bytes.contains(&0) {
        let message = "invalid byte sequence for encoding \"UTF8\": 0x00";
        return Err(Error::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message));
    }
    std::str::from_utf8(bytes).map_err(|error| invalid_utf8(bytes, &error))
}

/// 22021, with the first bytes that are wrong.
fn invalid_utf8(bytes: &[u8], error: &std::str::Utf8Error) -> Error {
    let wrong = &bytes[error.valid_up_to()..];
    let shown: Vec<String> = wrong
        .iter()
        .take(error.error_len().unwrap_or(wrong.len()).clamp(1, 4))
        .map(|byte| format!("0x{byte:02x}"))
        .collect();
    let message = format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" "));
    Error::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bind_message_is_read_whole() {
        let body = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02hi\xff\xff\xff\xff\0\0";
        let bind = Frontend::decode(b'B', Bytes::from_static(body)).unwrap();
        let expected = Bind {
            portal: "p".into(),
            statement: "s".into(),
            parameter_formats: vec![1],
            parameters: vec![Some(Bytes::from_static(b"hi")), None],
            result_formats: vec![],
        };
        assert_eq!(bind, Frontend::Bind(expected));
        for length in 0..body.len() {
            let error = Frontend::decode(b'B', Bytes::from_static(&body[..length])).unwrap_err();
            assert_eq!(error.state(), SqlState::PROTOCOL_VIOLATION, "cut at {length}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_named_byte_by_byte() {
        let error = Frontend::decode(b'Q', Bytes::from_static(b"select '\xe4'\0")).unwrap_err();
        assert_eq!(error.state(), SqlState::CHARACTER_NOT_IN_REPERTOIRE);
        assert!(error.message().contains("0xe4"), "{}", error.message());
    }

    #[test]
    fn startup_packets() {
        let ssl = Startup::decode(Bytes::from_static(b"\x04\xd2\x16\x2f")).unwrap();
        assert_eq!(ssl, Startup::Ssl);
        let session = Startup::decode(Bytes::from_static(b"\0\x03\0\0user\0ann\0application_name\0\0\0")).unwrap();
        let parameters = vec![("user".into(), "ann".into()), ("application_name".into(), String::new())];
        assert_eq!(session, Startup::Session { minor: 0, parameters });
    }

    proptest! {
        #[test]
        fn no_bytes_panic(kind: u8, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Frontend::decode(kind, Bytes::from(body.clone()));
            let _ = Startup::decode(Bytes::from(body));
        }
    }
}
