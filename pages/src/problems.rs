//! What each problem of the API means: the pages that the types of problem bodies lead to (RFC 9457).

/// A type of problem.
pub struct Problem {
    /// The last part of its type.
    pub name: &'static str,
    status: &'static str,
    title: &'static str,
    meaning: &'static str,
    stored: &'static str,
    remedy: &'static str,
}

const NOTHING: &str = "Nothing. The request was refused before anything of it was stored.";
const NO_WRITE: &str = "Nothing: such a request stores nothing.";

/// All of them.
pub const ALL: [Problem; 19] = [
    Problem {
        name: "malformed-body",
        status: "400 Bad Request",
        title: "The body is malformed",
        meaning: "The body is not what its Content-Type says: not valid JSON, not valid UTF-8, an event field given twice, values nested deeper than 128, or gzip that does not inflate. The detail says where.",
        stored: NOTHING,
        remedy: "Mend the body. The same bytes fail again.",
    },
    Problem {
        name: "incomplete-body",
        status: "400 Bad Request",
        title: "The body is incomplete",
        meaning: "The connection ended before the body did.",
        stored: NOTHING,
        remedy: "Send the request again. If it keeps happening, look for a proxy or a time-out that cuts connections.",
    },
    Problem {
        name: "invalid-parameter",
        status: "400 Bad Request",
        title: "A parameter is invalid",
        meaning: "A query parameter is unknown or has a value that it cannot have. The detail names it. Unknown parameters are refused because a misspelt filter would otherwise return everything.",
        stored: NO_WRITE,
        remedy: "Correct the parameter: the reference lists those that each path takes.",
    },
    Problem {
        name: "invalid-header",
        status: "400 Bad Request",
        title: "A header is invalid",
        meaning: "A header that matters here has a value that it cannot have, such as an Idempotency-Key of more than 255 characters. The detail names it.",
        stored: NOTHING,
        remedy: "Correct the header, or leave it out.",
    },
    Problem {
        name: "unauthorized",
        status: "401 Unauthorized",
        title: "A token is required",
        meaning: "This service asks for a token, and the request has none or a wrong one.",
        stored: NOTHING,
        remedy: "Send the header Authorization: Bearer, followed by the token. Publishing and reading may have different ones; whoever runs the service knows them.",
    },
    Problem {
        name: "forbidden",
        status: "403 Forbidden",
        title: "The token does not allow this",
        meaning: "The token is a valid one, but not for this: a token to read does not allow to publish, nor the other way round.",
        stored: NOTHING,
        remedy: "Use the token for what you want to do.",
    },
    Problem {
        name: "not-found",
        status: "404 Not Found",
        title: "Not found",
        meaning: "There is nothing at this path, or no event with this topic and id.",
        stored: NO_WRITE,
        remedy: "Check the path: it is case-sensitive, and a topic or id in it is percent-encoded.",
    },
    Problem {
        name: "method-not-allowed",
        status: "405 Method Not Allowed",
        title: "The method is not allowed",
        meaning: "The path exists, but not for this method.",
        stored: NOTHING,
        remedy: "Use one of the methods that the Allow header of the answer lists.",
    },
    Problem {
        name: "not-acceptable",
        status: "406 Not Acceptable",
        title: "No such representation",
        meaning: "The Accept header leaves none of the formats that this path has.",
        stored: NO_WRITE,
        remedy: "Accept application/json, application/x-ndjson or, for the live feed, text/event-stream.",
    },
    Problem {
        name: "slow-body",
        status: "408 Request Timeout",
        title: "The body is too slow",
        meaning: "The body took too long to arrive.",
        stored: NOTHING,
        remedy: "Send the request again, in smaller batches if the connection is slow.",
    },
    Problem {
        name: "idempotency-key-in-use",
        status: "409 Conflict",
        title: "The idempotency key is in use",
        meaning: "A request with the same Idempotency-Key is still running.",
        stored: "Nothing of this request; the other one has an outcome of its own.",
        remedy: "Wait a moment and send it again: it gets the answer of the other one.",
    },
    Problem {
        name: "too-large",
        status: "413 Content Too Large",
        title: "The request is too large",
        meaning: "The body, the number of events or one event exceeds a limit. The detail says which, and the variable that sets it. Limits apply to what is inflated.",
        stored: NOTHING,
        remedy: "Split the batch, or have whoever runs the service raise the limit.",
    },
    Problem {
        name: "unsupported-media-type",
        status: "415 Unsupported Media Type",
        title: "Unsupported media type",
        meaning: "The Content-Type or Content-Encoding of the body is not one that is read here.",
        stored: NOTHING,
        remedy: "Send JSON, NDJSON or CloudEvents, as they are or compressed by gzip, and say so in the headers.",
    },
    Problem {
        name: "invalid-event",
        status: "422 Unprocessable Content",
        title: "Invalid events",
        meaning: "One or more events break a rule. The member errors lists each by its index in the request, the field and what is wrong with it; it ends after the first hundred, and error_count says how many there are.",
        stored: "Nothing: a batch is stored whole or not at all.",
        remedy: "Mend or take out the events that are listed and send the batch again, or publish with partial=true to store the valid ones.",
    },
    Problem {
        name: "idempotency-key-mismatch",
        status: "422 Unprocessable Content",
        title: "The idempotency key belongs to another request",
        meaning: "The same Idempotency-Key came before with another body. A key stands for one request.",
        stored: "Nothing of this request; the first one with this key has its own outcome.",
        remedy: "Use a new key for each new request, and the same one only to send the very same body again.",
    },
    Problem {
        name: "internal",
        status: "500 Internal Server Error",
        title: "Internal error",
        meaning: "The request failed here, not because of what was sent. The cause is in the log of the service.",
        stored: "Nothing of the request, or all of it: the answer may have been lost after the write.",
        remedy: "Send it again. That is safe: what was stored is recognised and dropped as a duplicate. If it persists, tell whoever runs the service.",
    },
    Problem {
        name: "busy",
        status: "503 Service Unavailable",
        title: "The service is busy",
        meaning: "The database was locked for too long, or the service already holds as many bodies or streams as it may.",
        stored: "Nothing.",
        remedy: "Send it again after the seconds that Retry-After says.",
    },
    Problem {
        name: "storage-full",
        status: "503 Service Unavailable",
        title: "The disk is full",
        meaning: "There is no room to store anything. What is stored can still be read.",
        stored: "Nothing.",
        remedy: "Keep the events and send them again later. Whoever runs the service has to make room.",
    },
    Problem {
        name: "not-ready",
        status: "503 Service Unavailable",
        title: "Not ready",
        meaning: "The database cannot be read. The log of the service says why.",
        stored: NO_WRITE,
        remedy: "Wait for /readyz to answer 200. Whoever runs the service finds the cause in its log.",
    },
];

impl Problem {
    /// Its page.
    pub fn page(&self) -> String {
        let Self { name, status, title, meaning, stored, remedy } = self;
        [
            ("name", name),
            ("status", status),
            ("title", title),
            ("meaning", meaning),
            ("stored", stored),
            ("remedy", remedy),
        ]
        .into_iter()
        .fold(include_str!("../site/problem.html").to_owned(), |page, (place, text)| {
            page.replace(&format!("{{{{ {place} }}}}"), text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_the_template_is_filled_and_no_text_needs_escaping() {
        for problem in ALL {
            let Problem { name, status, title, meaning, stored, remedy } = problem;
            assert!(!problem.page().contains("{{"), "{name}");
            assert!(![name, status, title, meaning, stored, remedy].concat().contains(['<', '>', '&', '"']));
        }
    }
}
