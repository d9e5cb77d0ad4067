//! HTTP/1.1 by hand: a client that may send anything, and that shows all that comes back.

use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The longest wait for a part of an answer. Beyond it a client counts as left without an answer.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection.
pub struct RawClient(BufReader<TcpStream>);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawAnswer {
    /// Its status.
    pub status: u16,
    /// Its header lines, in lower case.
    pub head: String,
    /// Its body.
    pub body: String,
}

impl RawAnswer {
    /// The value of a header, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.head.lines().filter_map(|line| line.split_once(':'));
        values.filter(|(found, _)| *found == name).map(|(_, value)| value.trim()).next()
    }

    /// The name of its problem, if it is one.
    pub fn problem(&self) -> Option<String> {
        let document: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        Some(document["type"].as_str()?.trim_start_matches("/problems/").to_owned())
    }
}

impl RawClient {
    /// Connects.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SOCKET_TIMEOUT))?;
        stream.set_write_timeout(Some(SOCKET_TIMEOUT))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Sends a GET and reads the answer.
    ///
    /// # Errors
    /// A connection that ends before the answer does, or an answer that is not HTTP.
    pub fn get(&mut self, path: &str) -> io::Result<RawAnswer> {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())?;
        self.answer()
    }

    /// Publishes a body of JSON, with more header lines, and reads the answer.
    ///
    /// # Errors
    /// See [`Self::get`].
    pub fn publish(&mut self, headers: &str, body: &str) -> io::Result<RawAnswer> {
        self.post("/publish", headers, body.as_bytes())
    }

    /// Sends a body, with more header lines, and reads the answer.
    ///
    /// # Errors
    /// See [`Self::get`].
    pub fn post(&mut self, path: &str, headers: &str, body: &[u8]) -> io::Result<RawAnswer> {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n{headers}\r\n");
        let sent = self.send(&[head.as_bytes(), body].concat());
        // A server that refuses a body may not read it to its end.
        self.answer().or_else(|error| sent.and(Err(error)))
    }

    /// Reads an answer to its end.
    ///
    /// # Errors
    /// See [`Self::get`].
    pub fn answer(&mut self) -> io::Result<RawAnswer> {
        let (status, head) = self.head()?;
        let mut answer = RawAnswer { status, head, body: String::new() };
        let body = if answer.header("transfer-encoding") == Some("chunked") {
            self.chunks()?
        } else {
            let length = answer.header("content-length").map_or(Ok(0), str::parse);
            self.exactly(length.map_err(|_| invalid("its content-length is no number"))?)?
        };
        answer.body = String::from_utf8(body).map_err(|_| invalid("its body is not UTF-8"))?;
        Ok(answer)
    }

    /// Reads the head of an answer: its status, and its header lines in lower case.
    ///
    /// # Errors
    /// See [`Self::get`].
    pub fn head(&mut self) -> io::Result<(u16, String)> {
        let mut head = String::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            head.push_str(&line.to_ascii_lowercase());
            head.push('\n');
        }
        let status = head.strip_prefix("http/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| invalid("it does not begin like HTTP"))?;
        Ok((status, head))
    }

    /// Reads a chunk of an answer of unknown length; an empty one is the last.
    ///
    /// # Errors
    /// See [`Self::get`].
    pub fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let size = usize::from_str_radix(&self.line()?, 16).map_err(|_| invalid("a chunk has no size"))?;
        let chunk = self.exactly(size)?;
        self.line()?;
        Ok(chunk)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                return Ok(body);
            }
            body.extend(chunk);
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        if self.0.read_until(b'\n', &mut line)? == 0 || line.last() != Some(&b'\n') {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the connection ended within an answer"));
        }
        let line = String::from_utf8(line).map_err(|_| invalid("its head is not UTF-8"))?;
        Ok(line.trim_end().to_owned())
    }
}

fn invalid(fault: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the answer is broken: {fault}"))
}
