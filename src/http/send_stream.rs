//! Sends a streamed answer: the order in which its pieces are made and sent.

use std::pin::pin;

use futures::StreamExt;
use futures::future::{Either, select};

use super::reply::{Comments, Pieces};
use crate::store::StoreError;

/// The reason for which an answer was broken off.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// A piece could not be made.
    Unmade(StoreError),
    /// The client went away, or did not read in time.
    Unread,
}

/// Sends the pieces of an answer to their end. `send` returns false when the client does not take a piece.
///
/// Each piece is made while the one before it is sent. A comment is sent only while no piece is ready. The next piece
/// is polled until it is there, also while the client reads nothing: its read may hold a connection that other followers
/// need.
///
/// # Errors
/// When the answer was broken off. The client must not take a part for the whole.
pub async fn send_stream(
    mut pieces: Pieces,
    mut comments: Comments,
    mut send: impl AsyncFnMut(Vec<u8>) -> bool,
) -> Result<(), Broken> {
    let mut ready = None;
    loop {
        let next = match ready.take() {
            Some(next) => next,
            None => match select(pieces.next(), comments.next()).await {
                Either::Left((piece, _)) => piece,
                Either::Right((comment, _)) => comment.map(Ok),
            },
        };
        let Some(piece) = next else { return Ok(()) };
        let sending = pin!(send(piece.map_err(Broken::Unmade)?));
        let is_sent = match select(sending, pieces.next()).await {
            Either::Left((is_sent, _)) => is_sent,
            Either::Right((following, sending)) => {
                ready = Some(following);
                sending.await
            }
        };
        if !is_sent {
            return Err(Broken::Unread);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use futures::stream;

    use super::*;

    fn texts(texts: &[&str]) -> Pieces {
        let texts: Vec<_> = texts.iter().map(|text| Ok(text.as_bytes().to_vec())).collect();
        Box::pin(stream::iter(texts))
    }

    fn silent() -> Comments {
        Box::pin(stream::pending())
    }

    #[tokio::test]
    async fn pieces_are_sent_in_order_to_the_end_or_to_the_first_that_is_not_taken() {
        for (taken, expected) in [(9, Ok(())), (2, Err(Broken::Unread))] {
            let sent = RefCell::new(Vec::new());
            let send = async |piece: Vec<u8>| {
                sent.borrow_mut().push(String::from_utf8(piece).unwrap());
                sent.borrow().len() <= taken
            };
            assert_eq!(send_stream(texts(&["a", "b", "c"]), silent(), send).await, expected);
            assert_eq!(*sent.borrow(), ["a", "b", "c"]);
        }
        let failing = stream::iter([Ok(vec![]), Err(StoreError::Busy)]);
        let broken = send_stream(Box::pin(failing), silent(), async |_| true).await;
        assert_eq!(broken, Err(Broken::Unmade(StoreError::Busy)));
    }

    #[tokio::test]
    async fn the_next_piece_is_made_while_a_comment_is_not_read() {
        let is_made = Rc::new(Cell::new(false));
        let making = Rc::clone(&is_made);
        let pieces = stream::once(async move {
            for _ in 0..9 {
                tokio::task::yield_now().await;
            }
            making.set(true);
            Ok(vec![])
        });
        // The comment is ready before the piece, and its client never takes it.
        let comments: Comments = Box::pin(stream::repeat(b":".to_vec()));
        let stuck = send_stream(Box::pin(pieces), comments, async |_| futures::future::pending().await);
        let made = async {
            while !is_made.get() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = stuck => panic!("nobody read the comment"),
            () = made => {}
        }
    }
}
