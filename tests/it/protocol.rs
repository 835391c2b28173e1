//! A client that says exactly what a test writes, and writes down what it hears, one line a message.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::fixture::{PATIENCE, Server};

pub struct Wire {
    pub socket: TcpStream,
    pub pid: i32,
    pub secret: Vec<u8>,
}

impl Wire {
    /// A session as user `postgres`; what the server says at its start is read and checked to end in ReadyForQuery.
    pub fn connect(server: &Server) -> Wire {
        let mut wire = Wire::open(server);
        wire.send_startup(&[("user", "postgres"), ("database", "postgres")]);
        let start = wire.until_ready();
        assert!(start.ends_with("Z I"), "{start}");
        wire
    }

    /// A connection on which nothing has been said.
    pub fn open(server: &Server) -> Wire {
        let socket = TcpStream::connect(("127.0.0.1", server.port)).expect("the server takes a connection");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Wire { socket, pid: 0, secret: Vec::new() }
    }

    pub fn send_startup(&mut self, parameters: &[(&str, &str)]) {
        let mut body = vec![0, 3, 0, 0];
        for (name, value) in parameters {
            body.extend_from_slice(name.as_bytes());
            body.push(0);
            body.extend_from_slice(value.as_bytes());
            body.push(0);
        }
        body.push(0);
        let mut packet = (body.len() as u32 + 4).to_be_bytes().to_vec();
        packet.extend(body);
        self.send(&packet);
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the server reads");
    }

    pub fn query(&mut self, text: &str) -> String {
        self.send(&query(text));
        self.until_ready()
    }

    /// One message; `None` at the end of the stream.
    pub fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 5];
        match self.socket.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the server does not answer"),
            Err(_) => return None,
        }
        let length = u32::from_be_bytes(header[1..5].try_into().unwrap()) as usize;
        let mut body = vec![0; length - 4];
        self.socket.read_exact(&mut body).expect("a whole message");
        Some((header[0], body))
    }

    /// The messages up to the given number of ReadyForQuery, or the end, as lines.
    pub fn until_ready(&mut self) -> String {
        self.until(b"Z")
    }

    /// The same, or up to CopyInResponse.
    pub fn until_ready_or_copy(&mut self) -> String {
        self.until(b"ZG")
    }

    fn until(&mut self, last: &[u8]) -> String {
        let mut lines = Vec::new();
        while let Some((kind, body)) = self.message() {
            if kind == b'K' {
                self.pid = i32::from_be_bytes(body[..4].try_into().unwrap());
                self.secret = body[4..].to_vec();
            }
            lines.push(line(kind, &body));
            if last.contains(&kind) {
                break;
            }
        }
        lines.join("\n")
    }

    /// Reads and forgets everything up to the end of the stream.
    pub fn drain(&mut self) {
        let mut bytes = [0; 4096];
        loop {
            match self.socket.read(&mut bytes) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the server does not close"),
                Err(_) => return,
            }
        }
    }

    /// Everything up to the end of the stream.
    pub fn until_end(&mut self) -> String {
        let mut lines = Vec::new();
        while let Some((kind, body)) = self.message() {
            lines.push(line(kind, &body));
        }
        lines.join("\n")
    }

    /// A cancel request for this session, on a connection of its own.
    pub fn cancel(&self, server: &Server) {
        let mut packet = (12 + self.secret.len() as u32).to_be_bytes().to_vec();
        packet.extend(80_877_102_u32.to_be_bytes());
        packet.extend(self.pid.to_be_bytes());
        packet.extend(&self.secret);
        let mut other = Wire::open(server);
        other.send(&packet);
        assert_eq!(other.until_end(), "", "a cancel request is not answered");
    }
}

pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend((body.len() as u32 + 4).to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

fn text(parts: &[&str]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.bytes().chain([0])).collect()
}

pub fn query(statement: &str) -> Vec<u8> {
    frame(b'Q', &text(&[statement]))
}

pub fn parse(name: &str, statement: &str, types: &[u32]) -> Vec<u8> {
    let mut body = text(&[name, statement]);
    body.extend((types.len() as u16).to_be_bytes());
    types.iter().for_each(|oid| body.extend(oid.to_be_bytes()));
    frame(b'P', &body)
}

/// Parameters in text, results in text.
pub fn bind(portal: &str, statement: &str, parameters: &[Option<&str>]) -> Vec<u8> {
    bind_formats(portal, statement, parameters, &[])
}

pub fn bind_formats(portal: &str, statement: &str, parameters: &[Option<&str>], results: &[u16]) -> Vec<u8> {
    let mut body = text(&[portal, statement]);
    body.extend(0_u16.to_be_bytes());
    body.extend((parameters.len() as u16).to_be_bytes());
    for parameter in parameters {
        match parameter {
            Some(value) => {
                body.extend((value.len() as u32).to_be_bytes());
                body.extend(value.bytes());
            }
            None => body.extend((-1_i32).to_be_bytes()),
        }
    }
    body.extend((results.len() as u16).to_be_bytes());
    results.iter().for_each(|format| body.extend(format.to_be_bytes()));
    frame(b'B', &body)
}

pub fn describe(kind: u8, name: &str) -> Vec<u8> {
    let mut body = vec![kind];
    body.extend(text(&[name]));
    frame(b'D', &body)
}

pub fn close(kind: u8, name: &str) -> Vec<u8> {
    let mut body = vec![kind];
    body.extend(text(&[name]));
    frame(b'C', &body)
}

pub fn execute(portal: &str, max_rows: u32) -> Vec<u8> {
    let mut body = text(&[portal]);
    body.extend(max_rows.to_be_bytes());
    frame(b'E', &body)
}

pub fn sync() -> Vec<u8> {
    frame(b'S', &[])
}

/// A message as one line: its type byte and what matters of its body.
fn line(kind: u8, body: &[u8]) -> String {
    let mut rest = Body(body);
    let text = match kind {
        b'T' => {
            let count = rest.u16();
            let fields = (0..count).map(|_| {
                let name = rest.text();
                let (table, column) = (rest.u32(), rest.u16());
                let oid = rest.u32();
                let _size = rest.u16();
                let modifier = match rest.u32() as i32 {
                    -1 => String::new(),
                    modifier => format!("({modifier})"),
                };
                let origin = if table == 0 { String::new() } else { format!("@{table}.{column}") };
                let format = if rest.u16() == 1 { " binary" } else { "" };
                format!("{name}:{oid}{modifier}{origin}{format}")
            });
            fields.collect::<Vec<_>>().join(" ")
        }
        b'D' => {
            let count = rest.u16();
            let values = (0..count).map(|_| match rest.u32() as i32 {
                -1 => "NULL".to_string(),
                length => shown(rest.take(length as usize)),
            });
            values.collect::<Vec<_>>().join("|")
        }
        b't' => {
            let count = rest.u16();
            (0..count).map(|_| rest.u32().to_string()).collect::<Vec<_>>().join(" ")
        }
        b'E' | b'N' => {
            let mut fields = Vec::new();
            while let Some(field) = rest.byte().filter(|field| *field != 0) {
                let value = rest.text();
                match field {
                    b'V' => {}
                    b'P' => fields.push(format!("@{value}")),
                    b'S' | b'C' | b'M' => fields.push(value),
                    other => fields.push(format!("({} {value})", other as char)),
                }
            }
            fields.join(" ")
        }
        b'C' => rest.text(),
        b'S' => format!("{}={}", rest.text(), rest.text()),
        b'K' => "key".to_string(),
        b'Z' => shown(body),
        b'd' => shown(body),
        b'G' | b'H' => format!("format {} columns {}", body[0], u16::from_be_bytes([body[1], body[2]])),
        b'R' => u32::from_be_bytes(body[..4].try_into().unwrap()).to_string(),
        _ => String::new(),
    };
    format!("{} {text}", kind as char).trim_end().to_string()
}

/// Text as it is, anything else in hex.
fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') => text.escape_debug().to_string(),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    fn text(&mut self) -> String {
        let end = self.0.iter().position(|byte| *byte == 0).expect("a text ends in NUL");
        let text = String::from_utf8(self.take(end).to_vec()).expect("the server sends UTF-8");
        self.take(1);
        text
    }
}
