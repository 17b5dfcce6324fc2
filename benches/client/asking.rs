//! Requests of the client library, so many of them under way, on a cell of three real processes.

use std::collections::VecDeque;
use std::process::Command;

use bytes::Bytes;
use quorate::client::{Client, CreateOptions, Expect, Op, Result};

/// Says to a program that it runs beside a cell.
const INSIDE: &str = "--inside";

/// Where the requests go, and how many.
pub struct Asking {
    pub client: Client,
    pub depth: usize,
    pub requests: usize,
    pub rounds: usize,
}

/// The sorts of requests, and how many allocations each carries: the path, and of a read the data.
pub const SORTS: [(&str, usize); 3] = [("exists", 1), ("get", 2), ("set", 1)];

/// Runs this program again beside a cell, and `measure` there.
pub fn beside_a_cell(measure: impl FnOnce(&Asking)) {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if !args.iter().any(|arg| arg == INSIDE) {
        let own = std::env::current_exe().expect("this program");
        let inside = format!("{} {INSIDE} {}", own.display(), args.join(" "));
        let done = Command::new(env!("CARGO_BIN_EXE_quorate")).args(["dev", "--exec", &inside]).status();
        std::process::exit(done.expect("the program starts").code().unwrap_or(1));
    }
    let of = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let measured = args.iter().any(|arg| arg == "--bench");
    let number = |name: &str, full: usize, moment: usize| {
        of(name).map_or(if measured { full } else { moment }, |text| text.parse().expect("a number"))
    };
    let endpoints = std::env::var("QUORATE_ENDPOINTS").expect("`quorate dev` tells where the cell is");
    let asking = Asking {
        client: Client::connect(&endpoints).wait().expect("a session"),
        depth: number("--depth", 64, 64),
        requests: number("--requests", 200_000, 5_000),
        rounds: number("--rounds", 5, 1),
    };
    asking.client.create("/node", vec![b'7'; DATA_BYTES], CreateOptions::permanent()).wait().expect("made");
    measure(&asking);
    asking.client.close().wait().expect("closed");
}

impl Asking {
    /// Has `requests` of a sort answered, after some that fetch, grow or learn what is fetched, grown or learned once.
    pub fn measure<T>(&self, sort: &str, begin: impl FnOnce() -> T) -> T {
        self.ask(sort, self.requests / 10 + self.depth);
        let begun = begin();
        self.ask(sort, self.requests);
        begun
    }

    fn ask(&self, sort: &str, requests: usize) {
        let (client, depth) = (&self.client, self.depth);
        let data = Bytes::from_static(&[b'7'; DATA_BYTES]);
        let answered = match sort {
            "exists" => run(depth, requests, || client.exists("/node")),
            "get" => run(depth, requests, || client.get("/node")),
            _ => run(depth, requests, || client.set("/node", data.clone(), Expect::Any)),
        };
        answered.expect("answered");
    }
}

/// Makes so many requests, `depth` of them under way, and takes the answers in the order it asked.
fn run<T>(depth: usize, requests: usize, ask: impl Fn() -> Op<T>) -> Result<()> {
    let mut under_way = VecDeque::with_capacity(depth);
    for _ in 0..requests {
        if under_way.len() == depth {
            Op::wait(under_way.pop_front().expect("it is full"))?;
        }
        under_way.push_back(ask());
    }
    under_way.into_iter().try_for_each(|op| op.wait().map(|_| ()))
}

/// Bytes of the node's data.
pub const DATA_BYTES: usize = 128;
