//! How a client comes to be.

use std::time::Duration;

use super::api::Client;
use super::clock;
use super::credentials::Credentials;
use super::driver::Driver;
use super::error::Result;
use super::machine::{CacheSettings, Prefer, Settings};
use super::op::Op;
use super::saved::SavedSession;
use super::target::Target;
use crate::paxos::ballot::CellId;

/// How to connect, for those who need more than a connect string.
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientBuilder {
    target: Target,
    grace: Duration,
    open_timeout: Duration,
    connect_timeout: Duration,
    patience: Duration,
    backoff_min: Duration,
    backoff_max: Duration,
    deadline: Option<Duration>,
    calls_max: usize,
    cache: Option<CacheSettings>,
    name: String,
    credentials: Vec<Credentials>,
    resume: Option<SavedSession>,
    io_cpu: Option<usize>,
}

impl ClientBuilder {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            grace: Duration::from_secs(45),
            open_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_millis(1000),
            patience: Duration::from_millis(500),
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_millis(1000),
            deadline: None,
            calls_max: 65_536,
            cache: None,
            name: String::new(),
            credentials: Vec::new(),
            resume: None,
            io_cpu: None,
        }
    }

    /// Refuses any other cell.
    pub fn cell(mut self, cell: CellId) -> Self {
        self.target.cell = Some(cell);
        self
    }

    /// The session's timeout: how long the session, and what lives with it, outlasts a silent client. Default 12 s.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.target.session_timeout = Some(timeout);
        self
    }

    /// How long calls wait, after the lease ran out, for the cell to confirm the session. Default 45 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long to try for a session. Default 15 s.
    pub fn open_timeout(mut self, timeout: Duration) -> Self {
        self.open_timeout = timeout;
        self
    }

    /// How long one connection may take to come about. Default 1 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a connection that owes an answer may be silent before another replica is tried; doubled, up to 16 times
    /// as long, while no replica answers. Default 500 ms.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The pause between attempts once every replica was tried: from `min`, doubled each time, up to `max`. Default 10 ms
    /// to 1 s.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff_min = min.max(Duration::from_millis(1));
        self.backoff_max = max.max(self.backoff_min);
        self
    }

    /// How long each call is waited for, as [`Client::with_deadline`] has it. Default: until it is answered, or the session ends.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Calls that may wait for an answer. Default 65,536.
    pub fn calls_max(mut self, calls: usize) -> Self {
        self.calls_max = calls.max(1);
        self
    }

    /// Keeps answers: [`get`](Client::get), [`exists`](Client::exists), [`list`](Client::list) and
    /// [`list_page`](Client::list_page) are then answered from memory, on the caller's thread, as long as nothing has changed
    /// them, and are as linearizable as without. The cell sees to it: it has a client drop what a write is about to change
    /// before the write takes effect. So whoever writes what many keep waits for all of them to drop it, and for one that is
    /// gone at most [`CACHE_LEASE`](crate::limits::CACHE_LEASE). Default: nothing is kept.
    pub fn cache(mut self, settings: CacheSettings) -> Self {
        self.cache = Some(settings);
        self
    }

    /// Whom to be connected to. Default the leader.
    pub fn prefer(mut self, prefer: Prefer) -> Self {
        self.target.prefer = Some(prefer);
        self
    }

    /// What the client calls itself in the servers' diagnostics.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Proves to be that user before anything else; said again, that one too. A session that is [resumed](Self::resume) and stands
    /// for the user already proves nothing, and so makes no request.
    pub fn auth(mut self, credentials: Credentials) -> Self {
        self.credentials.push(credentials);
        self
    }

    /// Takes over a session that was [saved](Client::save), with all that lives with it, from the process that has had it: that
    /// one, should it still live, can do nothing more with it, and finds [`Error::SessionTaken`](super::Error::SessionTaken).
    /// [`Client::applied_before`] tells how far it came. Watches have to be opened anew. The timeout stays the session's own.
    ///
    /// A process that is paused or cut off may find that only when its lease has run out, and until then think that it holds its
    /// locks: what it does elsewhere under them has to be fenced by their tokens, as it must be anyhow.
    pub fn resume(mut self, saved: SavedSession) -> Self {
        self.target.cell = Some(saved.cell());
        self.resume = Some(saved);
        self
    }

    /// Has the library's thread run on that CPU only, from now on: for programs that keep their own threads off it. The thread
    /// is the process's, so this counts for all its clients, and what was said last holds. [`Error::BadArgument`] if this
    /// process may not use that CPU. Default: wherever the kernel likes.
    ///
    /// [`Error::BadArgument`]: super::Error::BadArgument
    pub fn io_cpu(mut self, cpu: usize) -> Self {
        self.io_cpu = Some(cpu);
        self
    }

    /// Connects. It is done when the session exists, and stands for whom it is to.
    ///
    /// [`Error::Unreachable`](super::Error::Unreachable) if no replica gave it a session within the
    /// [time](Self::open_timeout) for that; [`Error::WrongCell`](super::Error::WrongCell) if another cell answers, and
    /// [`Error::Version`](super::Error::Version) if none of its replicas speaks this client's protocol. Of one that is
    /// [resumed](Self::resume) [`Error::SessionExpired`](super::Error::SessionExpired) if it is over, and
    /// [`Error::SessionTaken`](super::Error::SessionTaken) if yet another process took it.
    /// [`Error::BadArgument`](super::Error::BadArgument) for the [CPU](Self::io_cpu); what
    /// [`authenticate`](Client::authenticate) is refused for, for the [credentials](Self::auth); and
    /// [`Error::Io`](super::Error::Io) if the operating system gives it no thread, file descriptors or random numbers.
    pub fn connect(self) -> Op<Client> {
        let (op, promise) = Op::new();
        let driver = match Driver::shared() {
            Ok(driver) => driver,
            Err(error) => return Op::ready(Err(error)),
        };
        let root = self.target.chroot.as_str().into();
        let mut credentials = self.credentials.clone();
        credentials.reverse();
        let (deadline, cache, io_cpu, resumed) = (self.deadline, self.cache, self.io_cpu, self.resume.is_some());
        let settings = match self.settings() {
            Ok(settings) => settings,
            Err(error) => return Op::ready(Err(error)),
        };
        let (client, id, observed) = Client::begin(&driver, root, deadline, cache);
        let opened = move |opened: Result<()>| match opened {
            Ok(()) => client.introduce(credentials, resumed, promise),
            Err(error) => promise.keep(Err(error)),
        };
        driver.open(id, (settings, io_cpu), observed, Box::new(opened));
        op
    }

    fn settings(self) -> Result<Settings> {
        let (mut secret, mut seeds) = ([0; 16], [0; 16]);
        getrandom::fill(&mut secret).map_err(std::io::Error::other)?;
        let secret = self.resume.map_or(u128::from_le_bytes(secret), |saved| saved.secret());
        getrandom::fill(&mut seeds).map_err(std::io::Error::other)?;
        let seeds = u128::from_le_bytes(seeds);
        Ok(Settings {
            endpoints: self.target.endpoints,
            cell: self.target.cell,
            name: self.name,
            prefer: self.target.prefer.unwrap_or_default(),
            session_timeout: self.target.session_timeout.unwrap_or(SESSION_TIMEOUT).into(),
            grace: self.grace.into(),
            open_timeout: self.open_timeout.into(),
            connect_timeout: self.connect_timeout.into(),
            patience: self.patience.into(),
            backoff_min: self.backoff_min.into(),
            backoff_max: self.backoff_max.into(),
            calls_max: self.calls_max,
            token: seeds as u64,
            resume: self.resume.map(|saved| saved.session()),
            secret,
            seed: (seeds >> 64) as u64 ^ clock::now().as_nanos(),
        })
    }
}

/// The cell's own default.
const SESSION_TIMEOUT: Duration = Duration::from_secs(12);
