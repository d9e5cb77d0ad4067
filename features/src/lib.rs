//! No code: `Cargo.toml` says why.
