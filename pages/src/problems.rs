//! The pages that the types of problems lead to (RFC 9457): what each problem means, and what to do.

use sekali_common::problems::{self as kinds, Kind};

/// An explanation of a problem.
pub struct Explanation {
    /// The problem, as the service knows it.
    pub kind: Kind,
    meaning: &'static str,
    stored: &'static str,
    remedy: &'static str,
}

const NOTHING: &str = "Nothing. The request was refused before anything of it was stored.";
const NO_WRITE: &str = "Nothing: such a request stores nothing.";

/// All of them.
pub const ALL: [Explanation; kinds::ALL.len()] = [
    Explanation {
        kind: kinds::MALFORMED_REQUEST,
        meaning: "The head of the request is not one that this service can take: CONNECT, which asks for a proxy, or a target or header that is not valid.",
        stored: NOTHING,
        remedy: "Send one of the requests of the reference. The same request fails again.",
    },
    Explanation {
        kind: kinds::MALFORMED_BODY,
        meaning: "The body is not what its Content-Type says: not valid JSON, not valid UTF-8, an event field given twice, values nested deeper than 128, or gzip that does not inflate. The detail says where.",
        stored: NOTHING,
        remedy: "Mend the body. The same bytes fail again.",
    },
    Explanation {
        kind: kinds::INCOMPLETE_BODY,
        meaning: "The connection ended before the body did.",
        stored: NOTHING,
        remedy: "Send the request again. If it keeps happening, look for a proxy or a time-out that cuts connections.",
    },
    Explanation {
        kind: kinds::INVALID_PARAMETER,
        meaning: "A query parameter is unknown or has a value that it cannot have. The detail names it. Unknown parameters are refused because a misspelt filter would otherwise return everything.",
        stored: NO_WRITE,
        remedy: "Correct the parameter: the reference lists those that each path takes.",
    },
    Explanation {
        kind: kinds::INVALID_HEADER,
        meaning: "A header that matters here has a value that it cannot have, such as an Idempotency-Key of more than 255 characters. The detail names it.",
        stored: NOTHING,
        remedy: "Correct the header, or leave it out.",
    },
    Explanation {
        kind: kinds::UNAUTHORIZED,
        meaning: "This service asks for a token, and the request has none or a wrong one.",
        stored: NOTHING,
        remedy: "Send the header Authorization: Bearer, followed by the token. Publishing and reading may have different ones; the operator of the service knows them.",
    },
    Explanation {
        kind: kinds::INVALID_SIGNATURE,
        meaning: "A delivery to a receiver of webhooks is not its provider's, as far as its signature tells. The detail says which: there is no signature, no secret of the receiver made it, or it was signed too long ago or for a time too far ahead.",
        stored: NOTHING,
        remedy: "Compare the secret of the receiver with the provider's. What is signed are the bytes as they came: a proxy must not change them. Where the provider signs the URL, too, the field public_url has to be the URL that the provider has. A clock that is wrong makes deliveries too old or too new.",
    },
    Explanation {
        kind: kinds::FORBIDDEN,
        meaning: "The token is valid, but it does not allow this request: tokens to publish, to read and to remove events are different ones.",
        stored: NOTHING,
        remedy: "Use the token for what you want to do.",
    },
    Explanation {
        kind: kinds::FORBIDDEN_TOPIC,
        meaning: "The token has a name, and what it is for is limited to some topics. The detail names the token and the first topic that it is not for. A reader who names no topic asks for all of them.",
        stored: NOTHING,
        remedy: "Name topics among those of the token: topic=prefix.* means all with a prefix. The variable tokens has what each token is for.",
    },
    Explanation {
        kind: kinds::FOREIGN_ORIGIN,
        meaning: "The request comes from a web page of another origin, which this service does not list. Without this check, any page that a browser opens could publish to an inbox on the same machine.",
        stored: NOTHING,
        remedy: "If the page is meant to call the service, ask its operator to add the origin to the variable cors_origins. If it is the service's own console, a proxy stands between that does not pass the Host header on: let it (in nginx: proxy_set_header Host $http_host). A server that sends Origin is let in by its token.",
    },
    Explanation {
        kind: kinds::ADMINISTRATION_DISABLED,
        meaning: "The request would remove events, and this service has no token of administration, so nobody may.",
        stored: "Nothing, and nothing was removed.",
        remedy: "Ask the operator to set the variable admin_token, and send it as a bearer token.",
    },
    Explanation {
        kind: kinds::NOT_FOUND,
        meaning: "There is nothing at this path, or no event with this topic and id.",
        stored: NO_WRITE,
        remedy: "Check the path: it is case-sensitive, and a topic or id in it is percent-encoded.",
    },
    Explanation {
        kind: kinds::UNKNOWN_HOOK,
        meaning: "The path is one of a receiver of webhooks, and the service has none of this name.",
        stored: NOTHING,
        remedy: "Correct the path, or add the receiver to the variable hooks. GET /hooks lists the receivers.",
    },
    Explanation {
        kind: kinds::UNKNOWN_CONSUMER,
        meaning: "The path is one of a consumer, and the service has none of this name.",
        stored: NOTHING,
        remedy: "Correct the path, or make the consumer: PUT /consumers/{name}. GET /consumers lists those that there are.",
    },
    Explanation {
        kind: kinds::METHOD_NOT_ALLOWED,
        meaning: "The path exists, but not for this method.",
        stored: NOTHING,
        remedy: "Use one of the methods that the Allow header of the answer lists.",
    },
    Explanation {
        kind: kinds::NOT_ACCEPTABLE,
        meaning: "The Accept header leaves none of the formats that this path has.",
        stored: NO_WRITE,
        remedy: "Accept application/json, application/x-ndjson or, for the live feed, text/event-stream.",
    },
    Explanation {
        kind: kinds::SLOW_BODY,
        meaning: "The body took too long to arrive.",
        stored: NOTHING,
        remedy: "Send the request again, in smaller batches if the connection is slow.",
    },
    Explanation {
        kind: kinds::CURSOR_AHEAD,
        meaning: "The parameter after, or Last-Event-ID, is beyond every seq that this service has given. The reader has followed another store: most likely this one was replaced or restored.",
        stored: NO_WRITE,
        remedy: "The member last_seq is the newest seq of this store. Find out which events the reader has, and start again from a seq that both agree on, or from 0.",
    },
    Explanation {
        kind: kinds::IDEMPOTENCY_KEY_IN_USE,
        meaning: "A request with the same Idempotency-Key is still running.",
        stored: "Nothing of this request; the other one has an outcome of its own.",
        remedy: "Wait a moment and send it again: it gets the answer of the other one.",
    },
    Explanation {
        kind: kinds::CLAIMED,
        meaning: "Others have all claims of this consumer; holders says who, and until when.",
        stored: NOTHING,
        remedy: "Stand by and try again after Retry-After: a claim that runs out goes to whoever asks next. For several at a time, give the consumer workers and order none.",
    },
    Explanation {
        kind: kinds::CLAIM_LOST,
        meaning: "The claim ran out and may be given to another holder, or was ended by a seek, a change of the consumer or a commit of its end.",
        stored: NOTHING,
        remedy: "Stop what is done for this claim, and claim again: what was not committed comes again. A longer lease, or a commit without upto now and then, keeps a claim alive.",
    },
    Explanation {
        kind: kinds::TOO_MANY_CONSUMERS,
        meaning: "A store has a thousand consumers at most.",
        stored: NOTHING,
        remedy: "DELETE those that nobody uses any more; GET /consumers shows which have not moved.",
    },
    Explanation {
        kind: kinds::GONE,
        meaning: "An event with this topic and id was stored, and has expired or was erased. Only its identity is left.",
        stored: NO_WRITE,
        remedy: "None: its content is gone. A later delivery of it is dropped as a duplicate until the identity is forgotten.",
    },
    Explanation {
        kind: kinds::TOO_LARGE,
        meaning: "The body, the number of events or one event exceeds a limit. The detail says which, and the variable that sets it. Limits apply to what is inflated.",
        stored: NOTHING,
        remedy: "Split the batch, or ask the operator to raise the limit.",
    },
    Explanation {
        kind: kinds::UNSUPPORTED_MEDIA_TYPE,
        meaning: "The Content-Type or Content-Encoding of the body is not one that is read here.",
        stored: NOTHING,
        remedy: "Send one of the content types that the detail lists, as it is or compressed by gzip, and say so in the headers.",
    },
    Explanation {
        kind: kinds::UNKNOWN_HOST,
        meaning: "A browser addresses the service by a name that is not known to be the service's. Without this check, a page of any site could make a name of its own lead here (DNS rebinding), and read and publish what it likes on an inbox without tokens.",
        stored: NOTHING,
        remedy: "If the name is the service's, ask its operator to add it to the variable hosts, such as hosts=inbox.example. IP addresses, localhost and the machine's own name are always known, and a request with a valid token needs none of them.",
    },
    Explanation {
        kind: kinds::INVALID_EVENT,
        meaning: "One or more events break a rule. The member errors lists each by its index in the request, the field and what is wrong with it; it ends after the first hundred, and error_count says how many there are.",
        stored: "Nothing: a batch is stored whole or not at all.",
        remedy: "Mend or take out the events that are listed and send the batch again, or publish with partial=true to store the valid ones.",
    },
    Explanation {
        kind: kinds::INVALID_FIELD,
        meaning: "A field of the body is unknown, missing, of another type, or breaks its rule; the detail names it.",
        stored: NOTHING,
        remedy: "Correct the field as /docs describes it.",
    },
    Explanation {
        kind: kinds::IDEMPOTENCY_KEY_MISMATCH,
        meaning: "The same Idempotency-Key came before with another body. A key stands for one request.",
        stored: "Nothing of this request; the first one with this key has its own outcome.",
        remedy: "Use a new key for each new request, and the same one only to send the very same body again.",
    },
    Explanation {
        kind: kinds::INTERNAL,
        meaning: "The request failed here, not because of what was sent. The cause is in the log of the service.",
        stored: "Nothing of the request, or all of it: the answer may have been lost after the write.",
        remedy: "Send it again. That is safe: what was stored is recognised and dropped as a duplicate. If it persists, tell the operator of the service.",
    },
    Explanation {
        kind: kinds::BUSY,
        meaning: "Other writes kept the database locked for five seconds.",
        stored: "Nothing.",
        remedy: "Send the request again after the seconds in Retry-After.",
    },
    Explanation {
        kind: kinds::OVERLOADED,
        meaning: "The service already holds as many request bodies, streamed answers or followers as its memory allows. The detail says which.",
        stored: "Nothing.",
        remedy: "Send the request again after the seconds in Retry-After. If it persists, use fewer connections at once, or ask the operator to start more instances.",
    },
    Explanation {
        kind: kinds::STORAGE_FULL,
        meaning: "There is no room to store anything. What is stored can still be read.",
        stored: "Nothing.",
        remedy: "Keep the events and send them again later. The operator has to make room.",
    },
    Explanation {
        kind: kinds::NOT_READY,
        meaning: "The database cannot be read or not be written, or settings of the service are invalid, and are named. \
            The log of the service says why.",
        stored: NO_WRITE,
        remedy: "Wait for /readyz to answer 200. The operator finds the cause in the log.",
    },
];

impl Explanation {
    /// The page of the problem.
    pub fn page(&self) -> String {
        let Self { kind, meaning, stored, remedy } = self;
        let status = format!("{} {}", kind.status, kind.reason());
        [
            ("name", kind.name),
            ("status", &status),
            ("title", kind.title),
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
    fn every_problem_of_the_table_has_one_page() {
        for kind in kinds::ALL {
            assert_eq!(
                ALL.iter().filter(|explanation| explanation.kind == *kind).count(),
                1,
                "{}",
                kind.name
            );
        }
    }

    #[test]
    fn every_place_of_the_template_is_filled_and_no_text_needs_escaping() {
        for explanation in ALL {
            let Explanation { kind, meaning, stored, remedy } = explanation;
            assert!(!explanation.page().contains("{{"), "{}", kind.name);
            assert!(
                ![kind.name, kind.title, meaning, stored, remedy].concat().contains(['<', '>', '&', '"'])
            );
        }
    }
}
