//! The endpoint: it notes what arrives and what it answered, and is now and then slow, ill or away.
//!
//! Whoever answers 500 to an event, then takes others, and then answers 500 to the same event again, says that the event is
//! at fault. So an illness is over when each event that suffered from it was answered, and no other begins before.

mod request;

use std::collections::{BTreeSet, HashMap};
use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;

use self::request::Request;
pub use self::request::SIGNER;
use super::{LOOK, provider};

/// The longest time between an illness and the next, and that of an illness.
const WELL: Duration = Duration::from_secs(2);
const ILL: Duration = Duration::from_secs(2);

/// Answers after which nothing is left that was on its way when an illness began, and was not seen: more than there are
/// topics, of each of which the forwarder sends one at a time.
const ANSWERS: usize = 20;

/// What arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its `webhook-id`.
    pub id: String,
    /// Its `sekali-topic`.
    pub topic: String,
    /// Its body.
    pub body: String,
    /// True if it is signed.
    pub is_signed: bool,
    /// When it was answered or given up, since the start of the endpoint.
    pub at: Duration,
    /// What became of it.
    pub fate: Fate,
}

/// What became of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is taken, and answered by 200.
    Taken,
    /// It is taken, and not answered.
    TakenInSilence,
    /// It is refused, by this status.
    Refused(u16),
    /// It is neither taken nor answered.
    Dropped,
}

/// The state of the endpoint's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// It takes everything but what is poisoned.
    Well,
    /// The same, later.
    Slow,
    /// It takes it, and closes the connection without an answer.
    Silent,
    /// It refuses everything by this status.
    Refusing(u16),
    /// It does not answer.
    Hanging,
    /// It closes connections without an answer.
    Closing,
    /// Nobody listens, and all connections are broken.
    Away,
}

/// The last is as frequent as all others, since it is what killing it is.
const ILLNESSES: [Health; 12] = [
    Health::Slow,
    Health::Silent,
    Health::Refusing(500),
    Health::Refusing(503),
    Health::Refusing(429),
    Health::Hanging,
    Health::Closing,
    Health::Away,
    Health::Away,
    Health::Away,
    Health::Away,
    Health::Away,
];

/// An endpoint in this process. It is over on drop.
pub struct Endpoint {
    address: SocketAddr,
    state: Arc<Shared>,
}

struct Shared {
    began: Instant,
    state: Mutex<State>,
}

struct State {
    health: Health,
    is_over: bool,
    arrivals: Vec<Arrival>,
    /// What suffered from an illness and is to be taken yet, by `webhook-id`. What is poisoned may be dead before it is answered.
    unwell: BTreeSet<String>,
    /// Answers since it was last ill.
    answers: usize,
    /// How often it was away.
    outages: usize,
    connections: HashMap<SocketAddr, TcpStream>,
}

impl Endpoint {
    /// An endpoint that is well.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = State {
            health: Health::Well,
            is_over: false,
            arrivals: Vec::new(),
            unwell: BTreeSet::new(),
            answers: 0,
            outages: 0,
            connections: HashMap::new(),
        };
        let state = Arc::new(Shared { began: Instant::now(), state: Mutex::new(state) });
        let shared = Arc::clone(&state);
        thread::spawn(move || shared.listen(listener, address));
        Ok(Self { address, state })
    }

    /// Its address, also after it was away.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All that has arrived, in the order in which it was taken.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.state.lock().arrivals.clone()
    }

    /// How often it was away.
    pub fn outages(&self) -> usize {
        self.state.lock().outages
    }

    /// Makes it ill again and again until a time. Then it is well.
    pub fn torment(&self, rng: &mut Rng, until: Instant) {
        loop {
            sleep(WELL.mul_f64(rng.f64()));
            let (illness, time) = (ILLNESSES[rng.usize(..ILLNESSES.len())], ILL.mul_f64(rng.f64()));
            while !self.state.lock().is_cured() && Instant::now() < until {
                sleep(LOOK);
            }
            if Instant::now() + time > until {
                return;
            }
            self.state.lock().turn(illness);
            sleep(time);
            self.state.lock().turn(Health::Well);
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        state.is_over = true;
        state.turn(Health::Away);
    }
}

impl State {
    fn is_cured(&self) -> bool {
        self.unwell.is_empty() && self.answers >= ANSWERS
    }

    fn turn(&mut self, health: Health) {
        self.health = health;
        if health == Health::Away {
            self.outages += 1;
            for connection in self.connections.values() {
                let _ = connection.shutdown(Shutdown::Both); // it may have ended
            }
        }
        if health != Health::Well {
            self.answers = 0;
        }
    }

    /// Decides what becomes of a request, and notes it.
    fn note(&mut self, request: Request, at: Duration) -> Fate {
        let Request { id, topic, body, is_signed } = request;
        let payload: Value = serde_json::from_str(&body).unwrap_or_default();
        let is_poisoned = provider::is_poisoned(payload["id"].as_str().unwrap_or_default());
        let fate = match self.health {
            Health::Well | Health::Slow if is_poisoned => Fate::Refused(400),
            Health::Well | Health::Slow => Fate::Taken,
            Health::Silent if !is_poisoned => Fate::TakenInSilence,
            Health::Refusing(status) => Fate::Refused(status),
            Health::Silent | Health::Hanging | Health::Closing | Health::Away => Fate::Dropped,
        };
        if matches!(fate, Fate::Taken | Fate::Refused(400)) {
            self.unwell.remove(&id);
            self.answers += 1;
        } else if !is_poisoned {
            self.unwell.insert(id.clone());
        }
        self.arrivals.push(Arrival { id, topic, body, is_signed, at, fate });
        fate
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes connections until it is over, and none while it is away.
    fn listen(self: Arc<Self>, first: TcpListener, address: SocketAddr) {
        let mut listener = Some(first);
        while !self.lock().is_over {
            if self.lock().health == Health::Away {
                listener = None;
            } else if listener.is_none() {
                listener = TcpListener::bind(address).ok(); // its last connections may be about to end
            }
            let accepted = listener.as_ref().and_then(|listener| {
                listener.set_nonblocking(true).ok()?;
                listener.accept().ok()
            });
            let Some((stream, client)) = accepted else {
                sleep(LOOK / 4);
                continue;
            };
            let shared = Arc::clone(&self);
            thread::spawn(move || {
                let _ = shared.serve(&stream, client); // its client finds the connection closed
                shared.lock().connections.remove(&client);
                let _ = stream.shutdown(Shutdown::Both);
            });
        }
    }

    /// Answers the requests of a connection.
    fn serve(&self, stream: &TcpStream, client: SocketAddr) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        self.lock().connections.insert(client, stream.try_clone()?);
        let mut reader = BufReader::new(stream);
        while let Some(request) = Request::read(&mut reader)? {
            let effort = request.body.len() as u32 % 4;
            match self.lock().health {
                Health::Slow => sleep(LOOK * effort * 2),
                _ => sleep(LOOK / 20 * effort),
            }
            let fate = self.lock().note(request, self.began.elapsed());
            let status = match fate {
                Fate::Taken => "200 OK",
                Fate::Refused(400) => "400 Bad Request",
                Fate::Refused(429) => "429 Too Many Requests\r\nretry-after: 1",
                Fate::Refused(503) => "503 Service Unavailable\r\nretry-after: 2",
                Fate::Refused(_) => "500 Internal Server Error",
                Fate::TakenInSilence | Fate::Dropped => {
                    while self.lock().health == Health::Hanging {
                        sleep(LOOK);
                    }
                    return Ok(());
                }
            };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            (&mut &*stream).write_all(answer.as_bytes())?;
        }
        Ok(())
    }
}
