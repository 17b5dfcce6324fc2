//! Every value survives its bytes, and no bytes harm a decoder.

mod acl;
mod golden;
pub(crate) mod lines;
mod tags;

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use self::acl::{acl, address, principals, rights, user};
use super::*;
use crate::namespace::command::{
    Answer, Birth, Command, Done, Expect, Expiry, Handle, HandleMode, Lifetime, LockHolders, LockMode, LockPlace,
    LogStat, Operation, Outcome, Quota, QuotaBounds, Read, Records, Refusal, Resume, Scanned, Sequencer, SessionId,
    Stat, Step, StepDone, Usage,
};

fn text() -> impl Strategy<Value = String> {
    "[/a-zé]{0,12}"
}

fn data() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn records() -> impl Strategy<Value = Records> {
    vec(data(), 0..5).prop_map(|records| records.iter().collect())
}

fn session() -> impl Strategy<Value = SessionId> {
    (1..u64::MAX).prop_map(SessionId)
}

fn lifetime() -> impl Strategy<Value = Lifetime> {
    prop_oneof![
        Just(Lifetime::Permanent),
        Just(Lifetime::Ephemeral),
        Just(Lifetime::Container),
        any::<u64>().prop_map(|ms| Lifetime::Ttl { ms }),
        Just(Lifetime::Transient),
    ]
}

fn mode() -> impl Strategy<Value = LockMode> {
    prop_oneof![Just(LockMode::Exclusive), Just(LockMode::Shared)]
}

fn sequencer() -> impl Strategy<Value = Sequencer> {
    (text(), any::<u64>(), mode(), any::<u64>()).prop_map(|(path, instance, mode, generation)| Sequencer {
        path,
        instance,
        mode,
        generation,
    })
}

fn handle_mode() -> impl Strategy<Value = HandleMode> {
    (0..16_u8).prop_map(|bits| HandleMode::from_bits(bits).expect("every four bits are a mode"))
}

fn handle() -> impl Strategy<Value = Handle> {
    (text(), any::<[u64; 4]>(), session(), handle_mode()).prop_map(
        |(path, [instance, opened, reign, digits], session, mode)| Handle {
            path,
            instance,
            session,
            opened,
            reign,
            mode,
            digits,
        },
    )
}

fn birth() -> impl Strategy<Value = Birth> {
    (data(), lifetime(), any::<[bool; 2]>(), option::of(acl()))
        .prop_map(|(data, lifetime, [sequential, must], acl)| Birth { data, lifetime, sequential, must, acl })
}

fn quota() -> impl Strategy<Value = Quota> {
    let bounds = (option::of(any::<u64>()), option::of(any::<u64>()));
    let bounds = bounds.prop_map(|(nodes, bytes)| QuotaBounds { nodes, bytes });
    (bounds.clone(), bounds).prop_map(|(hard, soft)| Quota { hard, soft })
}

fn expect() -> impl Strategy<Value = Expect> {
    prop_oneof![Just(Expect::Any), any::<u64>().prop_map(Expect::Version), Just(Expect::Absent)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (text(), expect()).prop_map(|(path, expect)| Step::Check { path, expect }),
        (text(), data(), lifetime(), any::<bool>()).prop_map(|(path, data, lifetime, sequential)| Step::Create {
            path,
            data,
            lifetime,
            sequential
        }),
        (text(), data(), expect()).prop_map(|(path, data, expect)| Step::Set { path, data, expect }),
        (text(), expect()).prop_map(|(path, expect)| Step::Delete { path, expect }),
        (text(), data(), lifetime(), any::<bool>(), acl()).prop_map(|(path, data, lifetime, sequential, acl)| {
            Step::CreateWithAcl { path, data, lifetime, sequential, acl }
        }),
        (text(), option::of(acl()), expect()).prop_map(|(path, acl, expect)| Step::SetAcl { path, acl, expect }),
        text().prop_map(|path| Step::Get { path }),
        sequencer().prop_map(|sequencer| Step::CheckLock { sequencer }),
        handle().prop_map(|handle| Step::CheckHandle { handle }),
        (text(), records(), option::of(any::<u64>())).prop_map(|(path, records, end)| Step::Append {
            path,
            records,
            end
        }),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => plain_operation(),
        1 => (sequencer(), plain_operation())
            .prop_filter("a guard is put around what clients do with nodes", |(_, operation)| {
                !matches!(operation, Operation::CloseSession | Operation::Authenticate { .. })
            })
            .prop_map(|(sequencer, operation)| Operation::Guarded { sequencer, operation: Box::new(operation) }),
    ]
}

fn plain_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (text(), data(), lifetime(), any::<bool>()).prop_map(|(path, data, lifetime, sequential)| Operation::Create {
            path,
            data,
            lifetime,
            sequential
        }),
        (text(), data(), expect()).prop_map(|(path, data, expect)| Operation::Set { path, data, expect }),
        (text(), expect()).prop_map(|(path, expect)| Operation::Delete { path, expect }),
        (text(), expect(), any::<u32>()).prop_map(|(path, expect, part)| Operation::DeleteTree { path, expect, part }),
        (text(), option::of(quota())).prop_map(|(path, quota)| Operation::SetQuota { path, quota }),
        vec(step(), 0..6).prop_map(|steps| Operation::Multi { steps }),
        (text(), mode(), any::<bool>(), any::<bool>(), any::<u32>()).prop_map(
            |(path, mode, wait, create, lock_delay_ms)| Operation::Acquire { path, mode, wait, create, lock_delay_ms }
        ),
        text().prop_map(|path| Operation::Release { path }),
        (text(), handle_mode(), option::of(birth())).prop_map(|(path, mode, birth)| Operation::Open {
            path,
            mode,
            birth
        }),
        handle().prop_map(|handle| Operation::Close { handle }),
        (handle(), text(), data(), expect()).prop_map(|(handle, path, data, expect)| Operation::Through {
            handle,
            operation: Box::new(Operation::Set { path, data, expect }),
        }),
        (text(), data(), lifetime(), any::<bool>(), acl()).prop_map(|(path, data, lifetime, sequential, acl)| {
            Operation::CreateWithAcl { path, data, lifetime, sequential, acl }
        }),
        (text(), option::of(acl()), expect()).prop_map(|(path, acl, expect)| Operation::SetAcl { path, acl, expect }),
        (user(), any::<bool>()).prop_map(|(user, is_super)| Operation::Authenticate { user, is_super }),
        (text(), lifetime(), any::<bool>()).prop_map(|(path, lifetime, sequential)| Operation::CreateLog {
            path,
            lifetime,
            sequential
        }),
        (text(), records(), option::of(any::<u64>())).prop_map(|(path, records, end)| Operation::Append {
            path,
            records,
            end
        }),
        (text(), any::<u64>()).prop_map(|(path, upto)| Operation::Trim { path, upto }),
        text().prop_map(|path| Operation::Seal { path }),
        Just(Operation::Sync),
        Just(Operation::CloseSession),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        (any::<u64>(), any::<u128>(), any::<u32>(), address()).prop_map(|(token, secret, timeout_ms, address)| {
            Command::OpenSession { token, secret, timeout_ms, address }
        }),
        (any::<u64>(), session(), any::<u128>(), address()).prop_map(|(token, session, secret, address)| {
            Command::ResumeSession {
                token,
                resume: Resume { session, secret, holder: token ^ 1, takes_over: token % 2 == 1 },
                address,
            }
        }),
        (session(), any::<u64>()).prop_map(|(session, counter)| Command::ExpireSession { session, counter }),
        session().prop_map(|session| Command::MarkCaching { session }),
        (text(), any::<u64>()).prop_map(|(path, instance)| Command::Settle { path, instance }),
        (any::<u64>(), any::<u128>()).prop_map(|(reign, key)| Command::BeginReign { reign, key }),
        (session(), any::<u64>(), any::<u64>(), operation()).prop_map(|(session, number, acked_upto, operation)| {
            Command::Request { session, number, acked_upto, operation }
        }),
    ]
}

fn read() -> impl Strategy<Value = Read> {
    prop_oneof![
        text().prop_map(|path| Read::Get { path }),
        text().prop_map(|path| Read::Exists { path }),
        (text(), text(), any::<u32>()).prop_map(|(path, after, limit)| Read::List { path, after, limit }),
        (text(), text(), any::<u32>()).prop_map(|(path, after, limit)| Read::Entries { path, after, limit }),
        (text(), text(), any::<u32>(), any::<bool>()).prop_map(|(path, after, limit, with_data)| Read::Scan {
            path,
            after,
            limit,
            with_data
        }),
        text().prop_map(|path| Read::Quota { path }),
        text().prop_map(|path| Read::Acl { path }),
        Just(Read::WhoAmI),
        text().prop_map(|path| Read::LockHolders { path }),
        (text(), session()).prop_map(|(path, session)| Read::AwaitLock { path, session }),
        sequencer().prop_map(|sequencer| Read::CheckSequencer { sequencer }),
        handle().prop_map(|handle| Read::HandleGet { handle }),
        (handle(), text(), any::<u32>()).prop_map(|(handle, after, limit)| Read::HandleEntries {
            handle,
            after,
            limit
        }),
        handle().prop_map(|handle| Read::HandleStat { handle }),
        (text(), any::<u64>(), any::<u32>()).prop_map(|(path, from, bytes)| Read::Records { path, from, bytes }),
    ]
}

fn stat() -> impl Strategy<Value = Stat> {
    let idle = (1..u64::MAX - 1).prop_map(|ttl_ms| Expiry::Idle { ttl_ms });
    let expiry = option::of(prop_oneof![Just(Expiry::Emptied), Just(Expiry::Closed), idle]);
    let log = (any::<u64>(), any::<bool>()).prop_map(|(first, sealed)| LogStat { first, sealed });
    let numbers = (any::<[u64; 10]>(), any::<[u32; 3]>(), option::of(session()), expiry, option::of(log));
    numbers.prop_map(|(long, short, owner, expiry, log)| Stat {
        created: long[0],
        modified: long[1],
        children_modified: long[2],
        version: long[3],
        children_version: long[4],
        acl_version: long[5],
        created_ms: long[6],
        modified_ms: long[7],
        owner,
        expiry,
        data_bytes: short[0],
        children: short[1],
        instance: long[8],
        lock_generation: long[9],
        checksum: short[2],
        log,
    })
}

fn step_done() -> impl Strategy<Value = StepDone> {
    prop_oneof![
        Just(StepDone::Checked),
        (text(), stat()).prop_map(|(path, stat)| StepDone::Created { path, stat }),
        stat().prop_map(|stat| StepDone::Set { stat }),
        Just(StepDone::Deleted),
        stat().prop_map(|stat| StepDone::AclSet { stat }),
        option::of((data(), stat())).prop_map(|node| StepDone::Got { node }),
        any::<[u64; 2]>().prop_map(|[first, end]| StepDone::Appended { first, end }),
    ]
}

fn done() -> impl Strategy<Value = Done> {
    prop_oneof![
        (text(), stat()).prop_map(|(path, stat)| Done::Created { path, stat }),
        stat().prop_map(|stat| Done::Set { stat }),
        Just(Done::Deleted),
        (any::<u32>(), any::<bool>()).prop_map(|(nodes, more)| Done::TreeDeleted { nodes, more }),
        Just(Done::QuotaSet),
        stat().prop_map(|stat| Done::AclSet { stat }),
        Just(Done::Authenticated),
        vec(step_done(), 0..6).prop_map(|results| Done::Multi { results }),
        sequencer().prop_map(|sequencer| Done::Granted { sequencer }),
        Just(Done::Queued),
        Just(Done::Released),
        (handle(), stat(), any::<bool>()).prop_map(|(handle, stat, created)| Done::Opened { handle, stat, created }),
        Just(Done::Closed),
        any::<[u64; 2]>().prop_map(|[first, end]| Done::Appended { first, end }),
        any::<u64>().prop_map(|first| Done::Trimmed { first }),
        any::<u64>().prop_map(|end| Done::Sealed { end }),
        Just(Done::Synced),
        Just(Done::SessionClosed),
    ]
}

fn cause() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        text().prop_map(|path| Refusal::NoNode { path }),
        text().prop_map(|path| Refusal::NoParent { path }),
        text().prop_map(|path| Refusal::NodeExists { path }),
        text().prop_map(|path| Refusal::NotEmpty { path }),
        (text(), any::<u64>(), any::<u64>()).prop_map(|(path, expected, found)| Refusal::BadVersion {
            path,
            expected,
            found
        }),
        text().prop_map(|path| Refusal::EphemeralParent { path }),
        (text(), any::<u64>(), any::<u64>()).prop_map(|(path, presented, current)| Refusal::Fenced {
            path,
            presented,
            current
        }),
        text().prop_map(|path| Refusal::LockBusy { path }),
        text().prop_map(|path| Refusal::LockTwice { path }),
        text().prop_map(|path| Refusal::LockNotHeld { path }),
        text().prop_map(|path| Refusal::HandleGone { path }),
        text().prop_map(|path| Refusal::HandleClosed { path }),
        text().prop_map(|path| Refusal::HandleForged { path }),
        (text(), handle_mode()).prop_map(|(path, lacks)| Refusal::HandleLacks { path, lacks }),
        (text(), session()).prop_map(|(path, session)| Refusal::HandleForeign { path, session }),
        (text(), any::<u64>(), any::<u64>()).prop_map(|(path, needed, limit)| Refusal::NodesOverQuota {
            path,
            needed,
            limit
        }),
        (text(), any::<u64>(), any::<u64>()).prop_map(|(path, needed, limit)| Refusal::BytesOverQuota {
            path,
            needed,
            limit
        }),
        (text(), rights()).prop_map(|(path, needed)| Refusal::NotAuthorized { path, needed }),
        text().prop_map(|why| Refusal::BadArgument { why }),
        (text(), any::<u64>(), any::<u64>()).prop_map(|(what, size, limit)| Refusal::TooLarge { what, size, limit }),
        text().prop_map(|path| Refusal::IsLog { path }),
        text().prop_map(|path| Refusal::NotLog { path }),
        (text(), any::<u64>()).prop_map(|(path, end)| Refusal::LogSealed { path, end }),
        (text(), any::<u64>(), any::<u64>()).prop_map(|(path, expected, found)| Refusal::LogEnd {
            path,
            expected,
            found
        }),
        (text(), any::<u64>(), any::<u64>()).prop_map(|(path, from, first)| Refusal::LogTrimmed { path, from, first }),
        Just(Refusal::NoSession),
        Just(Refusal::ResultDropped),
    ]
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        4 => cause(),
        1 => (any::<u32>(), cause()).prop_map(|(index, cause)| Refusal::Aborted { index, cause: Box::new(cause) }),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![done().prop_map(Ok), refusal().prop_map(Err)]
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        (data(), stat()).prop_map(|(data, stat)| Answer::Node { data, stat }),
        option::of(stat()).prop_map(|stat| Answer::Exists { stat }),
        (option::of(sequencer()), vec(session(), 0..6), any::<u32>(), any::<u32>()).prop_map(
            |(sequencer, sessions, lost, waiting)| Answer::Lock {
                holders: LockHolders { sequencer, sessions, lost, waiting }
            }
        ),
        prop_oneof![
            sequencer().prop_map(|sequencer| LockPlace::Held { sequencer }),
            Just(LockPlace::Waiting),
            Just(LockPlace::Nowhere)
        ]
        .prop_map(|place| Answer::LockPlace { place }),
        option::of((quota(), any::<[u64; 2]>())).prop_map(|quota| Answer::Quota {
            quota: quota.map(|(quota, [nodes, bytes])| (quota, Usage { nodes, bytes }))
        }),
        (option::of(acl()), stat()).prop_map(|(acl, stat)| Answer::Acl { acl, stat }),
        principals().prop_map(|principals| Answer::Principals { principals }),
        any::<bool>().prop_map(|valid| Answer::Sequencer { valid }),
        (any::<u64>(), records(), stat()).prop_map(|(from, records, stat)| Answer::Records { from, records, stat }),
        (vec(text(), 0..6), stat(), any::<bool>()).prop_map(|(names, stat, more)| Answer::Children {
            names,
            stat,
            more
        }),
        (vec((text(), stat()), 0..6), stat(), any::<bool>()).prop_map(|(entries, stat, more)| Answer::Entries {
            entries,
            stat,
            more
        }),
        (vec((text(), stat(), option::of(data())), 0..6), any::<bool>()).prop_map(|(nodes, more)| Answer::Scanned {
            nodes: nodes.into_iter().map(|(path, stat, data)| Scanned { path, stat, data }).collect(),
            more
        }),
    ]
}

fn encoded(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    encode(&mut out);
    out.freeze()
}

/// Every proper prefix is refused, and so is a longer input: a decoder takes the whole or nothing.
fn takes_the_whole<T>(bytes: &Bytes, decode: impl Fn(&[u8]) -> Result<T, DecodeError>) {
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err(), "{len} of {} bytes decode", bytes.len());
    }
    let longer = [bytes, &[0_u8][..]].concat();
    assert!(decode(&longer).is_err(), "a byte too many is taken");
}

proptest! {
    #[test]
    fn commands_survive_their_bytes(command in command()) {
        let bytes = encoded(|out| command.encode(out));
        prop_assert_eq!(Command::decode(&bytes), Ok(command.clone()));
        takes_the_whole(&bytes, |bytes| CommandRef::decode(bytes).map(drop));
        if let Command::Request { session, number, acked_upto, operation } = &command {
            let joined = encoded(|out| {
                out.extend_from_slice(&request_prefix(*session, *number, *acked_upto));
                operation.encode(out);
            });
            prop_assert_eq!(&joined, &bytes, "the prefix and a client's own bytes make the command");
            prop_assert_eq!(Operation::decode(&bytes[REQUEST_PREFIX_BYTES..]), Ok(operation.clone()));
        }
    }

    #[test]
    fn reads_survive_their_bytes(read in read()) {
        let bytes = encoded(|out| read.encode(out));
        prop_assert_eq!(Read::decode(&bytes), Ok(read.clone()));
        prop_assert_eq!(ReadRef::decode(&bytes), Ok(read.as_ref()));
        takes_the_whole(&bytes, |bytes| ReadRef::decode(bytes).map(drop));
    }

    #[test]
    fn sequencers_survive_their_bytes(sequencer in sequencer()) {
        let bytes = sequencer.to_bytes();
        prop_assert_eq!(Sequencer::from_bytes(&bytes), Ok(sequencer.clone()));
        takes_the_whole(&bytes, Sequencer::from_bytes);
    }

    #[test]
    fn outcomes_survive_their_bytes(outcome in outcome()) {
        let bytes = encoded(|out| encode_outcome(&outcome, out));
        prop_assert_eq!(decode_outcome(&bytes), Ok(outcome.clone()));
        takes_the_whole(&bytes, decode_outcome);
    }

    #[test]
    fn answers_survive_their_bytes(answer in prop_oneof![answer().prop_map(Ok), refusal().prop_map(Err)]) {
        let bytes = encoded(|out| encode_read_outcome(&answer, out));
        prop_assert_eq!(decode_read_outcome(&bytes), Ok(answer.clone()));
        takes_the_whole(&bytes, decode_read_outcome);
    }

    #[test]
    fn batches_survive_their_bytes(log_time in any::<u64>(), wall in any::<u64>(), commands in vec(command(), 0..5)) {
        let count = u32::try_from(commands.len()).expect("few");
        let bytes = encoded(|out| {
            out.extend_from_slice(&batch_header(log_time, wall, count));
            for command in &commands {
                let command = encoded(|out| command.encode(out));
                out.extend_from_slice(&command_prefix(command.len()));
                out.extend_from_slice(&command);
            }
        });
        let batch = Batch::decode(&bytes).expect("it was just written");
        prop_assert_eq!((batch.log_time_ns, batch.wall_ms), (log_time, wall));
        let back: Result<Vec<_>, _> = batch.map(|command| command.map(|command| command.to_command())).collect();
        prop_assert_eq!(back, Ok(commands));
        takes_the_whole(&bytes, |bytes| Batch::decode(bytes)?.try_for_each(|command| command.map(drop)));
    }

    /// Whatever decodes encodes to the same bytes again: one value, one form.
    #[test]
    fn noise_is_refused_or_has_one_form(tag in 0..40_u8, noise in vec(prop_oneof![0..12_u8, any::<u8>()], 0..120)) {
        let bytes = [&[tag][..], &noise].concat();
        if let Ok(command) = Command::decode(&bytes) {
            prop_assert_eq!(encoded(|out| command.encode(out)), &bytes[..]);
        }
        if let Ok(operation) = Operation::decode(&bytes) {
            prop_assert_eq!(encoded(|out| operation.encode(out)), &bytes[..]);
        }
        if let Ok(read) = Read::decode(&bytes) {
            prop_assert_eq!(encoded(|out| read.encode(out)), &bytes[..]);
        }
        if let Ok(outcome) = decode_outcome(&bytes) {
            prop_assert_eq!(encoded(|out| encode_outcome(&outcome, out)), &bytes[..]);
        }
        if let Ok(answer) = decode_read_outcome(&bytes) {
            prop_assert_eq!(encoded(|out| encode_read_outcome(&answer, out)), &bytes[..]);
        }
        if let Ok(batch) = Batch::decode(&bytes) {
            prop_assert!(batch.take(1000).count() <= bytes.len());
        }
    }

    /// One byte changed in good bytes is refused, or is another value with a form of its own.
    #[test]
    fn a_changed_byte_does_no_harm(command in command(), place in any::<usize>(), change in 1..=255_u8) {
        let mut bytes = encoded(|out| command.encode(out)).to_vec();
        let place = place % bytes.len();
        bytes[place] ^= change;
        if let Ok(other) = Command::decode(&bytes) {
            prop_assert_ne!(&other, &command);
            prop_assert_eq!(encoded(|out| other.encode(out)), &bytes[..]);
        }
    }
}

#[test]
fn a_huge_count_is_refused_before_room_is_made_for_it() {
    let operation = [&[4_u8][..], &4096_u32.to_le_bytes()].concat();
    assert!(matches!(OperationRef::decode(&operation), Err(DecodeError::Truncated { needed: 20_480, .. })));
    let operation = [&[4_u8][..], &u32::MAX.to_le_bytes()].concat();
    assert!(matches!(OperationRef::decode(&operation), Err(DecodeError::TooMany { limit: 4096, .. })));
    let batch = batch_header(0, 0, u32::MAX);
    assert!(matches!(Batch::decode(&batch), Err(DecodeError::Truncated { .. })));
}

#[test]
fn a_guard_inside_another_or_around_a_close_is_refused() {
    let sequencer = Sequencer { path: "/a".into(), instance: 1, mode: LockMode::Shared, generation: 2 };
    let guard = [&[11_u8][..], &sequencer.to_bytes()].concat();
    for (guarded, tag) in [(&[5_u8][..], None), (&[6], Some(6)), (&guard, Some(11))] {
        let found = OperationRef::decode(&[&guard[..], guarded].concat()).err();
        assert_eq!(found, tag.map(|tag| DecodeError::UnknownTag { what: "guarded operation", tag }));
    }
}

#[test]
fn only_what_is_about_one_node_goes_through_a_handle() {
    let handle = Handle {
        path: "/a".into(),
        instance: 1,
        session: SessionId(2),
        opened: 3,
        reign: 4,
        mode: HandleMode::ALL,
        digits: 5,
    };
    let release = Operation::Release { path: "/a".into() };
    let through = encoded(|out| {
        Operation::Through { handle: handle.clone(), operation: Box::new(release.clone()) }.encode(out);
    });
    let (head, _) = through.split_at(through.len() - encoded(|out| release.encode(out)).len());
    for inner in
        [Operation::Sync, Operation::CloseSession, Operation::Multi { steps: vec![] }, Operation::Close { handle }]
    {
        let bytes = [head, &encoded(|out| inner.encode(out))].concat();
        let found = OperationRef::decode(&bytes).err();
        assert!(matches!(found, Some(DecodeError::UnknownTag { what: "operation through a handle", .. })), "{inner:?}");
    }
    let nested = [head, &through].concat();
    assert!(OperationRef::decode(&nested).is_err());
    let no_mode = [&[30_u8][..], &0_u32.to_le_bytes(), &[16, 0]].concat();
    assert_eq!(
        OperationRef::decode(&no_mode),
        Err(DecodeError::UnknownTag { what: "mode of a handle", tag: 16 }),
        "a bit without a meaning"
    );
}

#[test]
fn an_aborted_multi_inside_another_is_refused() {
    let bytes = [&[1_u8, 9][..], &[0; 4], &[9], &[0; 4], &[10]].concat();
    assert_eq!(decode_outcome(&bytes), Err(DecodeError::UnknownTag { what: "refusal", tag: 9 }));
}
