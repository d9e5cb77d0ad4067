//! In place of `postgres.rs`, in a host that was built without the feature `postgres`: no server is allowed.

use anyhow::Result;

use super::servers::AllowedServers;

/// What a component asks for a connection. It gets none.
pub struct ConnectionBuilder;

/// A connection. There is none.
pub enum Connection {}

/// Accepts any address: [`AllowedServers::parse`] has refused all servers.
///
/// # Errors
/// None.
pub fn check_address(_: &str, _: &AllowedServers) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_in_the_manifest_is_refused_with_the_remedy() {
        assert!(AllowedServers::parse(&[]).is_ok());
        let error = AllowedServers::parse(&["postgres://db.example".to_owned()]).err().unwrap();
        assert!(error.to_string().contains("--features postgres"), "{error}");
    }
}
