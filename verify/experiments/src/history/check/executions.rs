//! The requests that were carried out: which of them, where several have one key, the answers and the replays tell.

use std::collections::HashSet;

use crate::history::record::{Answer, History, NEVER, Outcome, Publish, Span};

/// A request that was carried out, or may have been.
#[derive(Clone, Copy, Debug)]
pub struct Execution<'h> {
    /// The request.
    pub publish: &'h Publish,
    /// Its time, until its answer came to any client.
    pub span: Span,
    /// The answer, unless it was lost.
    pub answer: Option<&'h Answer>,
}

/// The requests that were carried out or may have been, and the replayed answers that belong to none of them.
pub fn executions(history: &History) -> (Vec<Execution<'_>>, Vec<&Publish>) {
    let (mut executions, mut replays) = (Vec::new(), Vec::new());
    for publish in &history.publishes {
        let mut add = |ended, answer| {
            let span = Span { began: publish.span.began, ended };
            executions.push(Execution { publish, span, answer });
        };
        match &publish.outcome {
            Outcome::Unsent => {}
            Outcome::Lost(_) | Outcome::Late(_) => add(NEVER, None),
            Outcome::Answered(answer) if answer.is_replayed => replays.push((publish, answer)),
            Outcome::Answered(answer) if answer.status < 300 => add(publish.span.ended, Some(answer)),
            Outcome::Answered(answer) if answer.status >= 500 && answer.status != 503 => add(NEVER, None),
            Outcome::Answered(_) => {}
        }
    }
    replays.sort_by_key(|(publish, _)| publish.span.ended);
    let mut strays = Vec::new();
    for (publish, answer) in replays {
        let is_like = |execution: &&mut Execution<'_>| {
            publish.key.is_some()
                && execution.publish.key == publish.key
                && execution.publish.request == publish.request
                && execution.span.began < publish.span.ended
        };
        let mut alike: Vec<_> = executions.iter_mut().filter(is_like).collect();
        let is_answered = |execution: &&mut Execution<'_>| {
            execution.answer.is_some_and(|first| (first.status, &first.body) == (answer.status, &answer.body))
        };
        if alike.iter().any(is_answered) {
            continue;
        }
        // The answer that was lost comes late: that of the first, since any of them may have been carried out.
        let unanswered = alike.iter_mut().filter(|execution| execution.answer.is_none());
        match unanswered.min_by_key(|execution| execution.span.began) {
            Some(execution) => {
                execution.answer = Some(answer);
                execution.span.ended = publish.span.ended;
            }
            None => strays.push(publish),
        }
    }
    // One request of a key is carried out: if one was answered, none of those that were lost was.
    let answered = executions.iter().filter(|execution| execution.answer.is_some());
    let answered: HashSet<_> = answered.filter_map(|execution| execution.publish.key.as_deref()).collect();
    executions.retain(|execution| {
        execution.answer.is_some()
            || !execution.publish.key.as_deref().is_some_and(|key| answered.contains(key))
    });
    (executions, strays)
}
