//! The tags inside commands, reads, outcomes and answers, on record: a line for each variant of each enum, for each right,
//! and for each thing that a handle is opened for.
//!
//! What `golden` has on record is drawn at random, and of an enum inside only what happened to be drawn; here all of it is.

use core::net::IpAddr;

use super::lines::{Lines, Tagged, hex, tagged};
use super::*;
use crate::namespace::acl::{Acl, AclEntry, Principals, Rights, User, Who};

tagged! {
    Command { OpenSession, ResumeSession, ExpireSession, Settle, BeginReign, MarkCaching, Request }
    Operation {
        Create, Set, Delete, DeleteTree, SetQuota, Multi, Acquire, Release, Guarded, Open, Close, Through, CreateWithAcl,
        SetAcl, Authenticate, CreateLog, Append, Trim, Seal, Sync, CloseSession,
    }
    Step { Check, Create, Set, Delete, CreateWithAcl, SetAcl, Get, CheckLock, CheckHandle, Append }
    Read {
        Get, Exists, List, Entries, Scan, Quota, Acl, WhoAmI, LockHolders, AwaitLock, CheckSequencer, HandleGet,
        HandleEntries, HandleStat, Records,
    }
    Done {
        Created, Set, Deleted, TreeDeleted, QuotaSet, Multi, Granted, Queued, Released, Opened, Closed, AclSet,
        Authenticated, Appended, Trimmed, Sealed, Synced, SessionClosed,
    }
    StepDone { Checked, Created, Set, Deleted, AclSet, Got, Appended }
    Refusal {
        NoNode, NoParent, NodeExists, NotEmpty, BadVersion, EphemeralParent, BadArgument, Fenced, LockBusy, LockTwice,
        LockNotHeld, HandleGone, HandleClosed, HandleForged, HandleLacks, HandleForeign, NodesOverQuota, BytesOverQuota,
        NotAuthorized, IsLog, NotLog, LogSealed, LogEnd, LogTrimmed, TooLarge, NotNow, Aborted, NoSession, ResultDropped,
    }
    Answer {
        Node, Exists, Children, Entries, Scanned, Quota, Acl, Principals, Lock, LockPlace, Sequencer, Records,
    }
    Lifetime { Permanent, Ephemeral, Container, Ttl, Transient }
    Expect { Any, Version, Absent }
    Expiry { Emptied, Idle, Closed }
    LockMode { Exclusive, Shared }
    LockPlace { Held, Waiting, Nowhere }
    Who { World, Auth, User, Network, Group }
    IpAddr { V4, V6 }
}

const SESSION: SessionId = SessionId(0x0102_0304_0506_0708);

fn content() -> Bytes {
    Bytes::from_static(b"data")
}

fn path() -> String {
    "/a/b".to_owned()
}

fn stat_of_all() -> Stat {
    Stat {
        created: 1,
        modified: 2,
        children_modified: 3,
        version: 4,
        children_version: 5,
        acl_version: 6,
        created_ms: 7,
        modified_ms: 8,
        owner: Some(SESSION),
        expiry: None,
        data_bytes: 9,
        children: 10,
        instance: 11,
        lock_generation: 12,
        checksum: 13,
        log: None,
    }
}

fn held(mode: LockMode) -> Sequencer {
    Sequencer { path: path(), instance: 11, mode, generation: 12 }
}

fn opened() -> Handle {
    Handle { path: path(), instance: 11, session: SESSION, opened: 14, reign: 15, mode: HandleMode::READ, digits: 16 }
}

fn records_of_two() -> Records {
    ["one", "two"].into_iter().collect()
}

fn ann() -> User {
    User { name: "ann".to_owned(), digest: [7; 32] }
}

fn list_of(who: Who) -> Acl {
    Acl { entries: vec![AclEntry { who, rights: Rights::READ }], inherit: false }
}

fn bounds() -> Quota {
    let (hard, soft) = (QuotaBounds { nodes: Some(1), bytes: Some(2) }, QuotaBounds { nodes: Some(3), bytes: Some(4) });
    Quota { hard, soft }
}

/// The value's bytes, once they are read as that value again, and nothing less or more of them as any.
fn line<T: std::fmt::Debug + PartialEq>(
    value: T,
    encode: impl Fn(&T, &mut BytesMut),
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
) -> String {
    let bytes = encoded(|out| encode(&value, out));
    assert_eq!(decode(&bytes), Ok(value));
    takes_the_whole(&bytes, decode);
    hex(&bytes)
}

fn logged(command: Command) -> String {
    line(command, Command::encode, Command::decode)
}

fn asked(operation: Operation) -> String {
    line(operation, Operation::encode, Operation::decode)
}

fn stepped(step: Step) -> String {
    asked(Operation::Multi { steps: vec![step] })
}

fn questioned(read: Read) -> String {
    line(read, Read::encode, Read::decode)
}

fn done_so(done: Done) -> String {
    line(Ok(done), encode_outcome, decode_outcome)
}

fn step_done_so(done: StepDone) -> String {
    done_so(Done::Multi { results: vec![done] })
}

fn refused(refusal: Refusal) -> String {
    line(Err(refusal), encode_outcome, decode_outcome)
}

fn answered(answer: Answer) -> String {
    line(Ok(answer), encode_read_outcome, decode_read_outcome)
}

fn put_commands(lines: &mut Lines) {
    let resume = Resume { session: SESSION, secret: 2, holder: 3, takes_over: true };
    let request = Operation::Release { path: path() };
    lines.each(
        [
            Command::OpenSession { token: 1, secret: 2, timeout_ms: 3, address: None },
            Command::ResumeSession { token: 1, resume, address: None },
            Command::ExpireSession { session: SESSION, counter: 1 },
            Command::Settle { path: path(), instance: 11 },
            Command::BeginReign { reign: 15, key: 2 },
            Command::MarkCaching { session: SESSION },
            Command::Request { session: SESSION, number: 2, acked_upto: 1, operation: request },
        ],
        logged,
    );
    let addresses = [IpAddr::from([10, 1, 2, 3]), IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 2])];
    lines.each(addresses, |address| {
        logged(Command::OpenSession { token: 1, secret: 2, timeout_ms: 3, address: Some(address) })
    });
    lines.add("Batch", batch());
}

/// What stands in a slot of the log behind its kind: a header, and each command behind its length.
fn batch() -> String {
    let command = encoded(|out| Command::MarkCaching { session: SESSION }.encode(out));
    let bytes = [&batch_header(5, 6, 1)[..], &command_prefix(command.len())[..], &command[..]].concat();
    let batch = Batch::decode(&bytes).expect("it was just written");
    assert_eq!((batch.log_time_ns, batch.wall_ms), (5, 6));
    assert_eq!(batch.collect::<Vec<_>>(), [Ok(CommandRef::MarkCaching { session: SESSION })]);
    hex(&bytes)
}

fn put_operations(lines: &mut Lines) {
    let (data, lifetime, sequential, acl) = (content(), Lifetime::Permanent, true, list_of(Who::World));
    let (expect, mode, release) = (Expect::Any, LockMode::Exclusive, Box::new(Operation::Release { path: path() }));
    let birth = Birth { data: content(), lifetime, sequential, must: false, acl: Some(acl.clone()) };
    lines.each(
        [
            Operation::Create { path: path(), data: data.clone(), lifetime, sequential },
            Operation::Set { path: path(), data: data.clone(), expect },
            Operation::Delete { path: path(), expect },
            Operation::DeleteTree { path: path(), expect, part: 7 },
            Operation::SetQuota { path: path(), quota: Some(bounds()) },
            Operation::Multi { steps: vec![] },
            Operation::Acquire { path: path(), mode, wait: true, create: false, lock_delay_ms: 7 },
            Operation::Release { path: path() },
            Operation::Guarded { sequencer: held(mode), operation: release.clone() },
            Operation::Open { path: path(), mode: HandleMode::READ, birth: Some(birth) },
            Operation::Close { handle: opened() },
            Operation::Through { handle: opened(), operation: release },
            Operation::CreateWithAcl { path: path(), data, lifetime, sequential, acl: acl.clone() },
            Operation::SetAcl { path: path(), acl: Some(acl), expect },
            Operation::Authenticate { user: ann(), is_super: true },
            Operation::CreateLog { path: path(), lifetime, sequential },
            Operation::Append { path: path(), records: records_of_two(), end: Some(7) },
            Operation::Trim { path: path(), upto: 7 },
            Operation::Seal { path: path() },
            Operation::Sync,
            Operation::CloseSession,
        ],
        asked,
    );
}

fn put_steps(lines: &mut Lines) {
    let (data, lifetime, sequential, acl) = (content(), Lifetime::Permanent, true, list_of(Who::World));
    let expect = Expect::Any;
    lines.each(
        [
            Step::Check { path: path(), expect },
            Step::Create { path: path(), data: data.clone(), lifetime, sequential },
            Step::Set { path: path(), data: data.clone(), expect },
            Step::Delete { path: path(), expect },
            Step::CreateWithAcl { path: path(), data, lifetime, sequential, acl: acl.clone() },
            Step::SetAcl { path: path(), acl: Some(acl), expect },
            Step::Get { path: path() },
            Step::CheckLock { sequencer: held(LockMode::Exclusive) },
            Step::CheckHandle { handle: opened() },
            Step::Append { path: path(), records: records_of_two(), end: Some(7) },
        ],
        stepped,
    );
}

fn put_reads(lines: &mut Lines) {
    let (after, limit) = ("a".to_owned(), 7);
    lines.each(
        [
            Read::Get { path: path() },
            Read::Exists { path: path() },
            Read::List { path: path(), after: after.clone(), limit },
            Read::Entries { path: path(), after: after.clone(), limit },
            Read::Scan { path: path(), after: after.clone(), limit, with_data: true },
            Read::Quota { path: path() },
            Read::Acl { path: path() },
            Read::WhoAmI,
            Read::LockHolders { path: path() },
            Read::AwaitLock { path: path(), session: SESSION },
            Read::CheckSequencer { sequencer: held(LockMode::Exclusive) },
            Read::HandleGet { handle: opened() },
            Read::HandleEntries { handle: opened(), after, limit },
            Read::HandleStat { handle: opened() },
            Read::Records { path: path(), from: 7, bytes: 8 },
        ],
        questioned,
    );
}

/// What operations take: how long a node lives, on what condition, how a lock is held, by whom a node may be used.
fn put_arguments(lines: &mut Lines) {
    let lifetimes = [
        Lifetime::Permanent,
        Lifetime::Ephemeral,
        Lifetime::Container,
        Lifetime::Ttl { ms: 60_000 },
        Lifetime::Transient,
    ];
    lines.each(lifetimes, |lifetime| {
        asked(Operation::Create { path: path(), data: content(), lifetime, sequential: false })
    });
    let conditions = [Expect::Any, Expect::Version(7), Expect::Absent];
    lines.each(conditions, |expect| stepped(Step::Check { path: path(), expect }));
    let modes = [LockMode::Exclusive, LockMode::Shared];
    lines.each(modes, |mode| {
        asked(Operation::Acquire { path: path(), mode, wait: true, create: true, lock_delay_ms: 7 })
    });
    for mode in modes {
        let bytes = held(mode).to_bytes();
        assert_eq!(Sequencer::from_bytes(&bytes), Ok(held(mode)));
        lines.add(format!("Sequencer of LockMode::{}", mode.variant()), hex(&bytes));
    }
    let everyone = [
        Who::World,
        Who::Auth,
        Who::User(ann()),
        Who::Network { address: IpAddr::from([10, 0, 0, 0]), bits: 8 },
        Who::Group { path: "/acl/ops".to_owned() },
    ];
    lines.each(everyone, |who| asked(Operation::SetAcl { path: path(), acl: Some(list_of(who)), expect: Expect::Any }));
}

fn put_done(lines: &mut Lines) {
    let stat = stat_of_all();
    lines.each(
        [
            Done::Created { path: path(), stat },
            Done::Set { stat },
            Done::Deleted,
            Done::TreeDeleted { nodes: 7, more: true },
            Done::QuotaSet,
            Done::Multi { results: vec![] },
            Done::Granted { sequencer: held(LockMode::Exclusive) },
            Done::Queued,
            Done::Released,
            Done::Opened { handle: opened(), stat, created: true },
            Done::Closed,
            Done::AclSet { stat },
            Done::Authenticated,
            Done::Appended { first: 7, end: 8 },
            Done::Trimmed { first: 7 },
            Done::Sealed { end: 7 },
            Done::Synced,
            Done::SessionClosed,
        ],
        done_so,
    );
    lines.each(
        [
            StepDone::Checked,
            StepDone::Created { path: path(), stat },
            StepDone::Set { stat },
            StepDone::Deleted,
            StepDone::AclSet { stat },
            StepDone::Got { node: Some((content(), stat)) },
            StepDone::Appended { first: 7, end: 8 },
        ],
        step_done_so,
    );
    lines.add("StepDone::Got of nothing", step_done_so(StepDone::Got { node: None }));
}

fn put_refusals(lines: &mut Lines) {
    let (expected, found, limit, why) = (7, 8, 8, "why".to_owned());
    let cause = Box::new(Refusal::NoNode { path: path() });
    lines.each(
        [
            Refusal::NoNode { path: path() },
            Refusal::NoParent { path: path() },
            Refusal::NodeExists { path: path() },
            Refusal::NotEmpty { path: path() },
            Refusal::BadVersion { path: path(), expected, found },
            Refusal::EphemeralParent { path: path() },
            Refusal::BadArgument { why: why.clone() },
            Refusal::Fenced { path: path(), presented: 7, current: 8 },
            Refusal::LockBusy { path: path() },
            Refusal::LockTwice { path: path() },
            Refusal::LockNotHeld { path: path() },
            Refusal::HandleGone { path: path() },
            Refusal::HandleClosed { path: path() },
            Refusal::HandleForged { path: path() },
            Refusal::HandleLacks { path: path(), lacks: HandleMode::WRITE },
            Refusal::HandleForeign { path: path(), session: SESSION },
            Refusal::NodesOverQuota { path: path(), needed: 7, limit },
            Refusal::BytesOverQuota { path: path(), needed: 7, limit },
            Refusal::NotAuthorized { path: path(), needed: Rights::WRITE },
            Refusal::IsLog { path: path() },
            Refusal::NotLog { path: path() },
            Refusal::LogSealed { path: path(), end: 7 },
            Refusal::LogEnd { path: path(), expected, found },
            Refusal::LogTrimmed { path: path(), from: 7, first: 8 },
            Refusal::TooLarge { what: path(), size: 7, limit },
            Refusal::NotNow { why },
            Refusal::Aborted { index: 7, cause },
            Refusal::NoSession,
            Refusal::ResultDropped,
        ],
        refused,
    );
}

fn put_answers(lines: &mut Lines) {
    let (stat, more) = (stat_of_all(), true);
    let sequencer = Some(held(LockMode::Exclusive));
    let holders = LockHolders { sequencer, sessions: vec![SESSION], lost: 7, waiting: 8 };
    let principals = Principals { address: Some(IpAddr::from([10, 1, 2, 3])), users: vec![ann()], is_super: true };
    let nodes = vec![Scanned { path: path(), stat, data: Some(content()) }];
    lines.each(
        [
            Answer::Node { data: content(), stat },
            Answer::Exists { stat: Some(stat) },
            Answer::Children { names: vec!["c".to_owned()], stat, more },
            Answer::Entries { entries: vec![("c".to_owned(), stat)], stat, more },
            Answer::Scanned { nodes, more },
            Answer::Quota { quota: Some((bounds(), Usage { nodes: 5, bytes: 6 })) },
            Answer::Acl { acl: Some(list_of(Who::World)), stat },
            Answer::Principals { principals },
            Answer::Lock { holders },
            Answer::LockPlace { place: LockPlace::Waiting },
            Answer::Sequencer { valid: true },
            Answer::Records { from: 7, records: records_of_two(), stat },
        ],
        answered,
    );
    lines.add("Answer::Exists of nothing", answered(Answer::Exists { stat: None }));
    lines.add("Answer to a refused read", line(Err(Refusal::NoSession), encode_read_outcome, decode_read_outcome));
    let places = [LockPlace::Held { sequencer: held(LockMode::Exclusive) }, LockPlace::Waiting, LockPlace::Nowhere];
    lines.each(places, |place| answered(Answer::LockPlace { place }));
}

/// What a stat says by a number that stands for something else: what ends the node, and whether it is a log.
fn put_stats(lines: &mut Lines) {
    let stat = |stat: Stat| answered(Answer::Exists { stat: Some(stat) });
    let plain = Stat { owner: None, ..stat_of_all() };
    let ends = [Expiry::Emptied, Expiry::Idle { ttl_ms: 60_000 }, Expiry::Closed];
    lines.each(ends, |expiry| stat(Stat { expiry: Some(expiry), ..plain }));
    lines.add("Stat of a permanent node", stat(plain));
    for (name, sealed) in [("Stat of a log", false), ("Stat of a sealed log", true)] {
        lines.add(name, stat(Stat { log: Some(LogStat { first: 7, sealed }), ..plain }));
    }
}

/// A line for each bit of a set.
fn put_bits<const N: usize>(lines: &mut Lines, all: u8, bits: [(&str, u8); N], write: impl Fn(u8) -> String) {
    let single = bits.iter().all(|(_, bit)| bit.is_power_of_two());
    let named = bits.iter().fold(0, |named, (_, bit)| named ^ bit);
    assert!(single && named == all, "{all:#b} is all there is, {named:#b} has lines: give each bit one of its own");
    bits.into_iter().for_each(|(name, bit)| lines.add(name, write(bit)));
}

fn put_sets(lines: &mut Lines) {
    let rights = [
        ("Rights::READ", Rights::READ.bits()),
        ("Rights::WRITE", Rights::WRITE.bits()),
        ("Rights::CREATE", Rights::CREATE.bits()),
        ("Rights::DELETE", Rights::DELETE.bits()),
        ("Rights::ADMIN", Rights::ADMIN.bits()),
        ("Rights::LOCK", Rights::LOCK.bits()),
    ];
    put_bits(lines, Rights::ALL.bits(), rights, |bit| {
        let needed = Rights::of_bits(bit).expect("a right");
        refused(Refusal::NotAuthorized { path: path(), needed })
    });
    let modes = [
        ("HandleMode::READ", HandleMode::READ.bits()),
        ("HandleMode::WRITE", HandleMode::WRITE.bits()),
        ("HandleMode::LOCK", HandleMode::LOCK.bits()),
        ("HandleMode::ADMIN", HandleMode::ADMIN.bits()),
    ];
    put_bits(lines, HandleMode::ALL.bits(), modes, |bit| {
        let mode = HandleMode::from_bits(bit).expect("a mode");
        asked(Operation::Open { path: path(), mode, birth: None })
    });
}

#[test]
fn every_tag_in_what_clients_ask_and_the_log_carries_is_on_record() {
    let mut lines = Lines::of("command_tags.txt");
    put_commands(&mut lines);
    put_operations(&mut lines);
    put_steps(&mut lines);
    put_reads(&mut lines);
    put_arguments(&mut lines);
    lines.hold();
}

#[test]
fn every_tag_in_what_clients_are_answered_is_on_record() {
    let mut lines = Lines::of("answer_tags.txt");
    put_done(&mut lines);
    put_refusals(&mut lines);
    put_answers(&mut lines);
    put_stats(&mut lines);
    put_sets(&mut lines);
    lines.hold();
}
