//! Metrics in the text format of Prometheus, for whoever asks at an address.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// The most of a request that is read.
const REQUEST_BYTES: usize = 8 << 10;

/// The time that a request may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Answers every request at this address with what `text` says then, until the program ends.
///
/// # Errors
/// The address cannot be listened at.
pub async fn serve<F>(address: SocketAddr, text: impl Fn() -> F + Send + Sync + 'static) -> Result<()>
where
    F: Future<Output = Exposition> + Send,
{
    let listener = TcpListener::bind(address).await.with_context(|| format!("--metrics: {address}"))?;
    tokio::spawn(async move {
        loop {
            // One after the other: whoever asks is a scraper. An error is one connection's.
            if let Ok((stream, _)) = listener.accept().await {
                let _ = timeout(LIMIT, answer(stream, &text)).await;
            }
        }
    });
    Ok(())
}

async fn answer<F>(mut stream: TcpStream, text: impl Fn() -> F) -> std::io::Result<()>
where
    F: Future<Output = Exposition>,
{
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_BYTES {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let Exposition(body) = text().await;
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// A text of metrics.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// Adds a metric: its name, `counter` or another type, what it means, and a value for each set of labels.
    pub fn add<'a, const LABELS: usize>(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        samples: impl IntoIterator<Item = ([(&'a str, &'a str); LABELS], f64)>,
    ) {
        let Self(text) = self;
        // Writing to memory cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let labels = labels.map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).join(",");
            let _ = writeln!(text, "{name}{{{labels}}} {value}");
        }
    }
}

/// The value of a label.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_has_a_line_for_each_set_of_labels() {
        let mut text = Exposition::default();
        let samples = [
            ([("input", "a\"b\\c\nd"), ("outcome", "new")], 7.0),
            ([("input", "x"), ("outcome", "new")], 0.25),
        ];
        text.add(("lines_total", "counter", "Lines."), samples);
        let expected = "# HELP lines_total Lines.\n# TYPE lines_total counter\n\
            lines_total{input=\"a\\\"b\\\\c\\nd\",outcome=\"new\"} 7\n\
            lines_total{input=\"x\",outcome=\"new\"} 0.25\n";
        assert_eq!(text.0, expected);
    }
}
