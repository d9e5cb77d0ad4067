//! A TCP proxy between a host and its database. It can be cut, and may lead to several servers.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Forwards connections to an address that may change, until it is cut. It lasts as long as the process.
pub struct TcpProxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    /// The servers that connections lead to, in turn; none while it is cut.
    to: Vec<SocketAddr>,
    connections: Vec<TcpStream>,
}

impl TcpProxy {
    /// A wire that leads to an address.
    ///
    /// # Errors
    /// When no port is free.
    pub fn to(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let state = Arc::new(Mutex::new(State { to: vec![address], connections: Vec::new() }));
        let wire = Self { address: listener.local_addr()?, state: Arc::clone(&state) };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let _ = forward(client, &state); // its client finds the connection closed
            }
        });
        Ok(wire)
    }

    /// The address at which it begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks all connections, and refuses new ones.
    pub fn cut(&self) {
        self.lead(&[]);
    }

    /// Breaks all connections, and leads new ones to an address.
    pub fn lead_to(&self, address: SocketAddr) {
        self.lead(&[address]);
    }

    /// Leads new connections to an address, and leaves those that are there, as a name that changes does.
    pub fn lead_new_to(&self, address: SocketAddr) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).to = vec![address];
    }

    /// Breaks all connections, and leads new ones to each of these addresses in turn.
    pub fn lead_in_turn(&self, addresses: &[SocketAddr]) {
        self.lead(addresses);
    }

    fn lead(&self, to: &[SocketAddr]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.to = to.to_vec();
        for connection in state.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both); // it may have ended
        }
    }
}

/// Connects a client, and copies what comes from either side to the other.
fn forward(client: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(&to) = state.to.first() else { return Ok(()) };
    state.to.rotate_left(1);
    let server = TcpStream::connect(to)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    state.connections.extend([client.try_clone()?, server.try_clone()?]);
    for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        thread::spawn(move || {
            let _ = copy(&from, &to); // a broken connection ends as one that was closed
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        });
    }
    Ok(())
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            read => to.write_all(&buffer[..read])?,
        }
    }
}
