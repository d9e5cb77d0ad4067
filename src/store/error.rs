//! Why a call of the store failed, and what the errors of databases mean.

/// The reason of a failed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another connection is writing. Nothing was done; the same call may succeed in a moment.
    #[error("the database is busy")]
    Busy,
    /// The connection had ended before the statement was run. Nothing was done; another connection may do it.
    #[error("the connection has ended: {0}")]
    Ended(String),
    /// Other reads hold all connections. Nothing was done; the same call may succeed in a moment.
    #[error("all connections are reading")]
    Overloaded,
    /// The host may not connect to the database, or cannot read its address. Nothing was done, and nothing will be until
    /// an operator has mended it.
    #[error("{0}")]
    Misconfigured(String),
    /// There is no room for more. Nothing was done.
    #[error("the disk is full: {0}")]
    Full(String),
    /// The call failed. Nothing was done.
    #[error("{0}")]
    Failed(String),
    /// These keys of requests of the group were answered before, maybe by another host. Nothing was done.
    #[error("a request was answered before")]
    Repeated(Vec<String>),
    /// A write may have been done, and its outcomes are not known.
    #[error("after a write: {0}")]
    Uncertain(String),
}

impl StoreError {
    /// The error that a text of SQLite's means: the interfaces of hosts carry no codes.
    pub fn of_sqlite(message: String) -> Self {
        match message {
            // libSQL's server interrupts a statement also for another that was given up on the same connection. SQLite
            // rolls back what it interrupts.
            message if message.contains("is locked") || message.contains("interrupted") => Self::Busy,
            // It ends connections that were idle for ten seconds, and knows none of those from before its start.
            message if message.contains("STREAM_EXPIRED") || message.contains("baton") => {
                Self::Ended(message)
            }
            message if message.contains("is full") => Self::Full(message),
            message => Self::Failed(message),
        }
    }

    /// The error that a SQLSTATE means (PostgreSQL's documentation, appendix A).
    pub fn of_sqlstate(severity: &str, code: &str, message: &str) -> Self {
        let told = || format!("{code}: {message}");
        let ends_session = ["FATAL", "PANIC"].contains(&severity);
        match code {
            // The session ends, for the server or for a pooler between. It may have committed before.
            _ if ends_session || code.starts_with("08") || code.starts_with("57P") => Self::Uncertain(told()),
            // Deadlocks and serialization failures, locks that others hold for too long, a statement that took longer
            // than an operator allows, a server that is a replica: the statement was not run, or rolled back.
            "40001" | "40P01" | "55P03" | "57014" | "25006" | "55000" | "53300" => Self::Busy,
            "53100" => Self::Full(told()),
            _ => Self::Failed(told()),
        }
    }

    /// The error of a connection that could not be made, by what the host says. Both hosts name what the manifest does not
    /// allow and an address that they cannot read.
    pub fn of_opening(cause: String) -> Self {
        let is = |texts: &[&str]| texts.iter().any(|text| cause.contains(text));
        if is(&["is not permitted", "does not allow connections"]) {
            return Self::Misconfigured(format!(
                "the manifest does not allow the server of database_url: set the variables database_host and \
                database_standby_host to what it names ({cause})"
            ));
        }
        if is(&[
            "invalid connection string",
            "invalid configuration",
            "invalid value for option",
            "unknown option",
        ]) {
            return Self::Misconfigured(format!("the variable database_url is no address: {cause}"));
        }
        Self::Failed(cause)
    }

    /// The error of a connection that was lost with a statement under way.
    pub fn of_lost_connection(cause: String) -> Self {
        Self::Uncertain(cause)
    }

    /// True for an error that says nothing about the statement: the same one may succeed another time.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Failed(cause) => {
                ["disk I/O error", "unable to open", "was moved"].iter().any(|text| cause.contains(text))
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_ends_the_session_leaves_a_write_uncertain_and_others_say_what_was_done() {
        let kind = |severity, code| StoreError::of_sqlstate(severity, code, "m");
        for (severity, code) in [
            ("ERROR", "08P01"), // a pooler whose server is gone
            ("FATAL", "08P01"),
            ("ERROR", "08006"),
            ("FATAL", "57P01"),
            ("FATAL", "57P05"),
            ("FATAL", "25P03"),
            ("PANIC", "XX000"),
            ("FATAL", "53300"),
        ] {
            assert!(matches!(kind(severity, code), StoreError::Uncertain(_)), "{severity} {code}");
        }
        for code in ["40001", "40P01", "55P03", "57014", "25006"] {
            assert_eq!(kind("ERROR", code), StoreError::Busy, "{code}");
        }
        assert!(matches!(kind("ERROR", "53100"), StoreError::Full(_)));
        assert!(matches!(kind("ERROR", "22P02"), StoreError::Failed(_)));
    }
}
