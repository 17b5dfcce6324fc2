//! The load of `quorate bench`, put on ZooKeeper: the same keys, values, mix, clock, latencies and checks, on one thread,
//! so that the two can be held against each other. One JSON object on standard output.
//!
//! A read asks the server at hand, which may answer with old data; with `--sync-reads` a `sync` goes before it in the same
//! pipeline, which is as fresh as ZooKeeper can promise. Answers older than what was already seen are counted.

mod connection;

use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use connection::{Ask, Fleet, NODE_EXISTS};
use quorate::bench::{Meter, Tally, Workload, now};
use quorate::time::{Duration, Instant};
use serde_json::{Value, json};

#[derive(Parser)]
struct Args {
    /// Servers; connections go round them
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2181")]
    endpoints: Vec<SocketAddr>,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Operations each connection keeps under way
    #[arg(long, default_value_t = 8)]
    depth: usize,
    #[arg(long, default_value_t = 0)]
    read_pct: u8,
    #[arg(long, default_value_t = 1024)]
    value_bytes: usize,
    #[arg(long, default_value_t = 10_000)]
    keys: u32,
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    #[arg(long, default_value_t = 3.0)]
    warmup: f64,
    /// Put a sync in front of each read
    #[arg(long)]
    sync_reads: bool,
    /// Servers whose CPU time and memory to report
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.connections > 0 && args.depth > 0 && !args.endpoints.is_empty(), "there is nothing to do");
    let mut workload = Workload::new("/quorate-bench", args.keys, args.value_bytes, args.read_pct, 1);
    let mut fleet = Fleet::connect(&args.endpoints, args.connections)?;
    fill(&mut fleet, &mut workload)?;

    let mut tally = Tally::default();
    let span = |seconds: f64| Duration::from(std::time::Duration::from_secs_f64(seconds));
    load(&mut fleet, &mut workload, &mut tally, &args, now() + span(args.warmup))?;
    tally.reset();
    let meter = Meter::start(&args.pids);
    let began = now();
    load(&mut fleet, &mut workload, &mut tally, &args, began + span(args.seconds))?;
    let seconds = now().since(began).as_nanos() as f64 / 1e9;

    let (wrong_answers, wrong) = workload.wrong();
    let report = json!({
        "workload": "zookeeper", "connections": args.connections, "depth": args.depth,
        "outstanding": args.connections * args.depth, "read_pct": args.read_pct,
        "consistency": if args.sync_reads { "sync and read" } else { "stale" },
        "value_bytes": args.value_bytes, "keys": args.keys, "seconds": seconds,
        "ops_per_s": tally.ops_per_s(seconds), "reads": tally.reads(seconds), "writes": tally.writes(seconds),
        "errors": tally.errors, "first_error": tally.first_error, "old_answers": wrong_answers, "old": wrong,
    });
    println!("{}", merged(report, serde_json::to_value(meter.read())?));
    Ok(())
}

/// Makes folders and keys, and gives every key a value of this run.
fn fill(fleet: &mut Fleet, workload: &mut Workload) -> Result<()> {
    for folder in workload.folders() {
        let mut asks = Some(Ask::Create { path: folder, data: bytes::Bytes::new() });
        fleet.exchange(1, None, false, workload, &mut |_, _| asks.take(), &mut |_, _, reply, _| made(reply.error))?;
    }
    let mut keys = 0..workload.key_count();
    let mut create = |workload: &mut Workload, _| {
        keys.next().map(|key| Ask::Create { path: workload.path(key).to_owned(), data: workload.value(key) })
    };
    fleet.exchange(16, None, false, workload, &mut create, &mut |_, _, reply, _| made(reply.error))?;
    let mut keys = 0..workload.key_count();
    let mut set = |workload: &mut Workload, now| keys.next().map(|key| Ask::Write(workload.operation(false, key, now)));
    fleet.exchange(16, None, false, workload, &mut set, &mut |workload, ask, reply, _| {
        let (Ask::Write(operation), Some(version)) = (ask, reply.version) else { bail!("error {}", reply.error) };
        workload.begin_at(operation.key, version);
        Ok(())
    })
}

fn made(error: i32) -> Result<()> {
    ensure!(error == 0 || error == NODE_EXISTS, "ZooKeeper refused to make a node: error {error}");
    Ok(())
}

fn load(fleet: &mut Fleet, workload: &mut Workload, tally: &mut Tally, args: &Args, until: Instant) -> Result<()> {
    let mut next = |workload: &mut Workload, now| {
        let operation = workload.next(now);
        Some(if operation.is_read { Ask::Read(operation) } else { Ask::Write(operation) })
    };
    fleet.exchange(args.depth, Some(until), args.sync_reads, workload, &mut next, &mut |workload, ask, reply, now| {
        let (Ask::Read(operation) | Ask::Write(operation)) = ask else { bail!("only reads and writes are asked for") };
        match (reply.version, operation.is_read) {
            (Some(version), true) => workload.has_read(operation, reply.data, version),
            (Some(version), false) => workload.has_written(operation, version),
            (None, _) => {
                tally.errors += 1;
                tally.note(|| format!("ZooKeeper error {}", reply.error));
                return Ok(());
            }
        }
        if now < until {
            tally.done(operation, now);
        }
        Ok(())
    })
}

fn merged(mut report: Value, more: Value) -> Value {
    if let (Some(report), Value::Object(more)) = (report.as_object_mut(), more) {
        report.extend(more);
    }
    report
}
