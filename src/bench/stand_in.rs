//! A system of memory alone, for tests of the generator: its clock moves only when it is waited for, and what it answers
//! can be spoilt.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use bytes::Bytes;

use super::report::Point;
use super::run::Plan;
use super::system::{Ask, Finished, Lost, Numbers, System, Told, Troubles};
use crate::time::{Duration, Instant};

/// What becomes of an answer: it is given the time, the question, and the right answer.
type Spoil = Box<dyn FnMut(Instant, &Ask, Told) -> Result<Told, Lost>>;

/// Its clock when it is made.
const BEGAN: Instant = Instant::from_nanos(1_000_000_000);

/// Holds keys, each with its value and the number of its writes.
pub struct StandIn {
    now: Instant,
    clients: usize,
    closed: bool,
    keys: BTreeMap<String, (Bytes, u64)>,
    /// In the order of their asking, and when each is answered.
    answers: VecDeque<(Instant, Finished)>,
    /// Until when the answer before the next one keeps it.
    pub busy_until: Instant,
    /// How long each question keeps it: one after the other.
    pub service: Duration,
    /// So long after its beginning it stands still once, for so long.
    pub stall: Option<(Duration, Duration)>,
    /// What it does to answers.
    pub spoil: Spoil,
    troubles: Troubles,
}

impl StandIn {
    /// Answers rightly, and ten thousand questions a second.
    pub fn new(clients: usize) -> Self {
        Self {
            now: BEGAN,
            clients,
            closed: false,
            keys: BTreeMap::new(),
            answers: VecDeque::new(),
            busy_until: Instant::ZERO,
            service: Duration::from_micros(100),
            stall: None,
            spoil: Box::new(|_, _, told| Ok(told)),
            troubles: Troubles::default(),
        }
    }

    fn answer(&mut self, ask: &Ask) -> Told {
        let seen = |(data, writes): &(Bytes, u64)| (data.clone(), *writes);
        match ask {
            Ask::Folder { .. } => Told::Made,
            Ask::Make { path, data } => {
                self.keys.insert(path.clone(), (data.clone(), 0));
                Told::Made
            }
            Ask::Write { path, data } => self.keys.get_mut(path).map_or(Told::Missing, |key| {
                *key = (data.clone(), key.1 + 1);
                Told::Written { order: key.1 }
            }),
            Ask::Read { path } => {
                self.keys.get(path).map(seen).map_or(Told::Missing, |(data, order)| Told::Value { data, order })
            }
            Ask::Look { path } => Told::Seen(self.keys.get(path).map(|key| Numbers { order: key.1, writes: key.1 })),
            Ask::Delete { path } => {
                self.keys.remove(path);
                Told::Deleted
            }
        }
    }
}

impl System for StandIn {
    fn ask(&mut self, client: usize, tag: u64, ask: Ask) -> Result<(), Lost> {
        let told = self.answer(&ask);
        let result = (self.spoil)(self.now, &ask, told);
        if let Some((_, span)) = self.stall.take_if(|(after, _)| self.now >= BEGAN + *after) {
            self.busy_until = self.busy_until.max(self.now) + span;
        }
        self.busy_until = self.busy_until.max(self.now) + self.service;
        self.answers.push_back((self.busy_until, Finished { client, tag, result }));
        Ok(())
    }

    fn turn(&mut self, patience: Duration, finished: &mut Vec<Finished>) -> io::Result<()> {
        let until = self.now + patience;
        let next = self.answers.front().map_or(until, |(at, _)| *at);
        self.now = self.now.max(next.min(until));
        while self.answers.front().is_some_and(|(at, _)| *at <= self.now) {
            finished.extend(self.answers.pop_front().map(|(_, answer)| answer));
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn clients(&self) -> usize {
        self.clients
    }

    fn is_over(&self, _: usize) -> bool {
        self.closed
    }

    fn close(&mut self) {
        self.closed = true;
    }

    fn troubles(&mut self) -> &mut Troubles {
        &mut self.troubles
    }
}

/// One second of a point of ten keys, half of it reads.
pub fn plan(connections: usize, depth: usize, rate: Option<f64>) -> Plan {
    let outstanding = connections * depth;
    let (workload, read_pct, value_bytes, keys) = ("mix".to_owned(), 50, 64, 10);
    Plan {
        point: Point {
            workload,
            connections,
            depth,
            outstanding,
            rate,
            read_pct,
            value_bytes,
            keys,
            ..Point::default()
        },
        old_allowed: false,
        prefix: "/bench".into(),
        warmup: Duration::from_millis(100),
        measure: Duration::from_secs(1),
        repeats: 1,
        pids: Vec::new(),
        keep: false,
        seed: 7,
    }
}
