//! HTTP/1.1 (RFC 9112), as much of it as the clients speak.

use anyhow::{Context, Result, bail};

/// Writes a request. `headers` are whole lines, each with its line end.
pub fn write(request: &mut Vec<u8>, method: &str, path: &str, headers: &str, body: &[u8]) {
    let length = body.len().to_string();
    let head = [
        method,
        " ",
        path,
        " HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n",
        headers,
        "content-length: ",
        &length,
        "\r\n\r\n",
    ];
    for part in head {
        request.extend_from_slice(part.as_bytes());
    }
    request.extend_from_slice(body);
}

/// The length of the answer at the start of the buffer, or `None` while a part of it is missing.
///
/// # Errors
/// A status other than success, or an answer without a length.
pub fn answer(buffer: &[u8]) -> Result<Option<usize>> {
    let Some(head) = head(buffer)? else { return Ok(None) };
    let length = head.bytes + head.content_length.context("the answer has no length")?;
    Ok((buffer.len() >= length).then_some(length))
}

/// The status and the length of the answer in the buffer, or `None` while a part of it is missing. Its body may come in
/// chunks, then nothing may follow it.
///
/// # Errors
/// An answer of which one cannot tell where it ends.
pub fn any_answer(buffer: &[u8]) -> Result<Option<(u16, usize)>> {
    let Some(head) = any_head(buffer)? else { return Ok(None) };
    if head.is_chunked {
        // JSON has no such line ends in it.
        return Ok(buffer.ends_with(b"\r\n0\r\n\r\n").then_some((head.status, buffer.len())));
    }
    let body = match head.status {
        204 | 304 => 0,
        _ => head.content_length.context("the answer has no length")?,
    };
    Ok((buffer.len() >= head.bytes + body).then_some((head.status, head.bytes + body)))
}

/// The body of a whole answer.
pub fn body(answer: &[u8]) -> Result<&[u8]> {
    let head = head(answer)?.context("the answer is not whole")?;
    Ok(&answer[head.bytes..])
}

struct Head {
    status: u16,
    bytes: usize,
    content_length: Option<usize>,
    is_chunked: bool,
}

/// The head of an answer that tells of success.
fn head(buffer: &[u8]) -> Result<Option<Head>> {
    let head = any_head(buffer)?;
    if let Some(Head { status, .. }) = head
        && !(200..300).contains(&status)
    {
        bail!("the server answered {status}: {}", String::from_utf8_lossy(buffer));
    }
    Ok(head)
}

fn any_head(buffer: &[u8]) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(bytes) = response.parse(buffer)? else { return Ok(None) };
    let status = response.code.context("the answer has no status")?;
    let find = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| std::str::from_utf8(header.value)).transpose()
    };
    let length = find("content-length")?;
    let content_length = length.map(|length| length.parse().context("content-length")).transpose()?;
    let is_chunked =
        find("transfer-encoding")?.is_some_and(|encoding| encoding.eq_ignore_ascii_case("chunked"));
    Ok(Some(Head { status, bytes, content_length, is_chunked }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(answer(whole).unwrap(), Some(whole.len()));
        assert_eq!(answer(&whole[..whole.len() - 1]).unwrap(), None);
        assert_eq!(answer(&whole[..20]).unwrap(), None);
        assert_eq!(body(whole).unwrap(), b"ok");
        assert!(answer(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").is_err());
    }

    #[test]
    fn an_answer_of_any_status_is_told_with_its_status() {
        let busy = b"HTTP/1.1 503 Busy\r\ncontent-length: 2\r\n\r\nno";
        assert_eq!(any_answer(busy).unwrap(), Some((503, busy.len())));
        assert_eq!(any_answer(&busy[..busy.len() - 1]).unwrap(), None);
        let erased = b"HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(any_answer(erased).unwrap(), Some((204, erased.len())));
        assert!(any_answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        let chunks = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n";
        assert_eq!(any_answer(chunks).unwrap(), Some((200, chunks.len())));
        assert_eq!(any_answer(&chunks[..chunks.len() - 3]).unwrap(), None);
    }
}
