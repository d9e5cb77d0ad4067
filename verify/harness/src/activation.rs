//! A socket that outlives the host that serves it, passed as systemd passes one (sd_listen_fds(3)).

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;

use rustix::io::{FdFlags, fcntl_setfd};

/// The shell makes the socket descriptor 3, and says that it is meant for the process which it becomes.
const PASS: &str = r#"LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" 3<&"#;

/// A listening socket.
pub struct Socket(TcpListener);

impl Socket {
    /// A socket at a free port, which programs started from now on inherit.
    ///
    /// # Errors
    /// When no port is free.
    pub fn listen() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        fcntl_setfd(&listener, FdFlags::empty())?;
        Ok(Self(listener))
    }

    /// Its address.
    ///
    /// # Errors
    /// The errors of the operating system.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The starter of a [`Setup`](crate::deployment::Setup) that passes the socket.
    pub fn starter(&self) -> Vec<String> {
        let pass = format!("{PASS}{}", self.0.as_raw_fd());
        ["bash", "-c", &pass, "bash"].map(str::to_owned).to_vec()
    }
}
