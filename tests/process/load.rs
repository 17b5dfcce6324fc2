//! Load that notices wrong answers.
//!
//! Every writer owns one node and sets it again and again, each time on the condition that it is at the version the writer
//! left it at, several requests in flight. A write lost, applied twice or out of order makes a later one fail. Readers ask
//! for these nodes all the while: an answer older than what was acknowledged before the question was asked is stale.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use quorate::client::{Client, CreateOptions, Expect};

use super::cell::PATIENCE;

/// Requests a writer has in flight.
const IN_FLIGHT: usize = 8;

/// Writers and readers at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    nodes: Vec<Node>,
    writers: Vec<JoinHandle<()>>,
    readers: Vec<JoinHandle<u64>>,
}

#[derive(Clone)]
struct Node {
    path: String,
    /// The newest version that was acknowledged.
    acknowledged: Arc<AtomicU64>,
}

impl Load {
    /// Starts `writers` writers on `endpoints`, and one reader on each of `read_from`.
    pub fn start(writers: usize, endpoints: &str, read_from: &[String]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let setup = connect(endpoints);
        let nodes: Vec<Node> = (0..writers)
            .map(|index| {
                let path = format!("/writer-{index}");
                setup
                    .create(&path, "0", CreateOptions::permanent())
                    .wait_timeout(PATIENCE)
                    .expect("a node to write to");
                Node { path, acknowledged: Arc::default() }
            })
            .collect();
        setup.close().wait_timeout(PATIENCE).expect("the session closes");
        let writers = nodes
            .iter()
            .map(|node| {
                let (client, node, stop) = (connect(endpoints), node.clone(), Arc::clone(&stop));
                std::thread::spawn(move || write(&client, &node, &stop))
            })
            .collect();
        let readers = read_from
            .iter()
            .map(|endpoint| {
                let (client, nodes, stop) = (connect(endpoint), nodes.clone(), Arc::clone(&stop));
                std::thread::spawn(move || read(&client, &nodes, &stop))
            })
            .collect();
        Self { stop, nodes, writers, readers }
    }

    /// Waits until every writer has had `more` further writes acknowledged.
    pub fn progress(&self, more: u64) {
        let wanted: Vec<u64> = self.acknowledged().iter().map(|version| version + more).collect();
        let deadline = Instant::now() + PATIENCE;
        while self.acknowledged().iter().zip(&wanted).any(|(version, wanted)| version < wanted) {
            let died = self.writers.iter().any(|w| w.is_finished()) || self.readers.iter().any(|r| r.is_finished());
            assert!(!died, "a writer or reader saw a wrong answer");
            assert!(Instant::now() < deadline, "no progress: {:?} of {wanted:?}", self.acknowledged());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the load: everything asked is answered. Then the nodes must hold exactly what was acknowledged.
    pub fn finish(self, endpoints: &str) {
        self.stop.store(true, Ordering::Release);
        for writer in self.writers {
            writer.join().expect("no writer saw a wrong answer");
        }
        let reads: Vec<u64> =
            self.readers.into_iter().map(|r| r.join().expect("no reader saw a wrong answer")).collect();
        assert!(reads.iter().all(|count| *count > 0), "every reader was answered: {reads:?}");
        let client = connect(endpoints);
        for node in &self.nodes {
            let acknowledged = node.acknowledged.load(Ordering::Acquire);
            let (data, stat) = client.get(&node.path).wait_timeout(PATIENCE).expect("the node is there");
            assert_eq!(
                stat.version, acknowledged,
                "{}: each acknowledged write was applied once, nothing else was",
                node.path
            );
            assert_eq!(data, acknowledged.to_string(), "{}: the last write is what is there", node.path);
        }
    }

    fn acknowledged(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.acknowledged.load(Ordering::Acquire)).collect()
    }
}

fn write(client: &Client, node: &Node, stop: &AtomicBool) {
    let mut version = 0;
    let mut under_way = std::collections::VecDeque::new();
    while !stop.load(Ordering::Acquire) || !under_way.is_empty() {
        while under_way.len() < IN_FLIGHT && !stop.load(Ordering::Acquire) {
            let next = version + under_way.len() as u64;
            under_way.push_back(client.set(&node.path, (next + 1).to_string(), Expect::Version(next)));
        }
        if let Some(op) = under_way.pop_front() {
            let stat = op.wait_timeout(PATIENCE).unwrap_or_else(|error| panic!("{} at {version}: {error}", node.path));
            version += 1;
            assert_eq!(stat.version, version, "{}: the answer is that of this very write", node.path);
            node.acknowledged.store(version, Ordering::Release);
        }
    }
}

fn read(client: &Client, nodes: &[Node], stop: &AtomicBool) -> u64 {
    let mut count = 0;
    while !stop.load(Ordering::Acquire) {
        for node in nodes {
            let before = node.acknowledged.load(Ordering::Acquire);
            let (data, stat) = client.get(&node.path).wait_timeout(PATIENCE).expect("the node is there");
            assert!(stat.version >= before, "{}: read {} after {before} was acknowledged", node.path, stat.version);
            assert_eq!(data, stat.version.to_string(), "{}: data and stat belong together", node.path);
            count += 1;
        }
    }
    count
}

fn connect(endpoints: &str) -> Client {
    Client::connect(endpoints).wait_timeout(PATIENCE).unwrap_or_else(|error| panic!("{endpoints}: {error}"))
}
