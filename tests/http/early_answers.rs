//! Answers that come before the body of a request has ended. Most clients send all of it before they read anything.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use sekali_harness::{Server, is_skipped_on_spin};

const NINE_MEGABYTES: usize = 9 << 20;

/// Sends a request to its end, in chunks or with a length, and then reads the answer.
fn send(server: &Server, head: &str, body: &[u8], chunked: bool) -> String {
    let mut stream = server.connect();
    let length = match chunked {
        true => "transfer-encoding: chunked".to_owned(),
        false => format!("content-length: {}", body.len()),
    };
    let head = format!("{head}\r\nhost: x\r\nconnection: close\r\n{length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    if chunked {
        for chunk in body.chunks(100_000) {
            write!(stream, "{:x}\r\n", chunk.len()).unwrap();
            stream.write_all(chunk).expect("the server takes each chunk");
            stream.write_all(b"\r\n").unwrap();
        }
        stream.write_all(b"0\r\n\r\n").expect("the server takes the end");
    } else {
        stream.write_all(body).expect("the server takes the whole body");
    }
    read(&mut stream)
}

fn read(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the connection ends in order");
    String::from_utf8(answer).unwrap()
}

#[test]
fn an_answer_before_the_end_of_the_body_is_heard() {
    let server = Server::start();
    let locked = Server::with_variables(&[("publish_token", "write"), ("read_token", "read")]);
    let body = vec![b' '; NINE_MEGABYTES];
    for (server, head, status) in [
        (&server, "POST /publish HTTP/1.1", 413),
        (&locked, "POST /publish HTTP/1.1", 401),
        (&locked, "POST /publish HTTP/1.1\r\nauthorization: Bearer read", 403),
        (&server, "POST /publish HTTP/1.1\r\norigin: https://evil.example", 403),
        (&server, "POST /nothing HTTP/1.1", 404),
        (&server, "POST /events HTTP/1.1", 405),
        (&server, "POST /publish HTTP/1.1\r\ncontent-type: text/plain", 415),
        (&server, "POST /publish?x=1 HTTP/1.1", 400),
        (&server, "POST / HTTP/1.1", 405),
        (&server, "POST /docs HTTP/1.1", 405),
        (&server, "PUT /problems/nothing HTTP/1.1", 404),
    ] {
        for chunked in [false, true] {
            let answer = send(server, head, &body, chunked);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head} {chunked}: {answer}");
            assert!(answer.contains("/problems/"), "{answer}");
        }
    }
    assert_eq!(server.stats()["received"], 0);
}

#[test]
fn a_body_that_waits_for_100_continue_is_not_asked_for_in_vain() {
    let server = Server::start();
    let ask = |length: usize| {
        let mut stream = server.connect();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head = format!(
            "POST /publish HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut status = [0; "HTTP/1.1 100".len()];
        stream.read_exact(&mut status).unwrap();
        (String::from_utf8(status.to_vec()).unwrap(), stream)
    };
    assert_eq!(ask(NINE_MEGABYTES).0, "HTTP/1.1 413");
    let body = br#"{"topic":"t","event_id":"1"}"#;
    let (status, mut stream) = ask(body.len());
    assert_eq!(status, "HTTP/1.1 100");
    stream.read_exact(&mut [0; " Continue\r\n\r\n".len()]).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = [0; 64];
    let read = stream.read(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer[..read]).contains("200 OK"), "{:?}", &answer[..read]);
}

#[test]
fn a_body_without_an_end_is_not_taken_in_for_ever() {
    let server = Server::start();
    let mut stream = server.connect();
    write!(stream, "POST /nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000000\r\n\r\n").unwrap();
    let chunk = vec![b' '; 1 << 20];
    let sent = (0..1000).take_while(|_| stream.write_all(&chunk).is_ok()).count();
    assert!((60..200).contains(&sent), "{sent} MiB were taken in");
}

#[test]
fn a_chunk_that_is_none_is_named_in_words() {
    if is_skipped_on_spin("it closes the connection") {
        return;
    }
    let server = Server::start();
    let mut stream = server.connect();
    let head = "POST /publish HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(b"zz\r\n[]\r\n").unwrap();
    let answer = read(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("incomplete-body"), "{answer}");
    let of_rust = ["::", "ErrorCode", "Some(", "Kind", "hyper"];
    assert!(of_rust.iter().all(|text| !answer.contains(text)), "{answer}");
    assert_eq!(server.stats()["received"], 0);
}
