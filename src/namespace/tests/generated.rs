//! Random batches: the namespace agrees with the model, a mirror with its tree, and a seed with every other seed.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::codec::{ReadRef, decode_outcome};
use super::super::command::{
    Answer, Birth, Command, Expect, Handle, HandleMode, Lifetime, LockHolders, LockMode, LockPlace, Operation, Quota,
    QuotaBounds, Records, Refusal, Resume, Scanned, Sequencer, SessionId, Step,
};
use super::super::{Applied, CommandOutcome, Namespace, Tree};
use super::model::{Expected, Model, ModelNode};
use super::{answer, batch};

fn path() -> impl Strategy<Value = String> {
    let good = ["/", "/a", "/b", "/a/a", "/a/b", "/a/a/c", "/b/-", "/a/b/", "/a/s-0000000001"];
    let bad = ["", "a", "//", "/a//b", "/a/.", "/a/../b", "/\0"];
    prop_oneof![
        12 => prop::sample::select(good.to_vec()).prop_map(str::to_owned),
        1 => prop::sample::select(bad.to_vec()).prop_map(str::to_owned),
    ]
}

fn data() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..5).prop_map(Bytes::from)
}

pub(super) fn expect() -> impl Strategy<Value = Expect> {
    prop_oneof![6 => Just(Expect::Any), 3 => (0..3_u64).prop_map(Expect::Version), 1 => Just(Expect::Absent)]
}

fn mode() -> impl Strategy<Value = LockMode> {
    prop_oneof![Just(LockMode::Exclusive), Just(LockMode::Shared)]
}

/// Of a lock taken at one of the first revisions: by luck it is one of those that are held.
fn sequencer() -> impl Strategy<Value = Sequencer> {
    (path(), 0..4_u64, mode(), 0..12_u64).prop_map(|(path, instance, mode, generation)| Sequencer {
        path,
        instance,
        mode,
        generation,
    })
}

fn quota() -> impl Strategy<Value = Option<Quota>> {
    let bounds = (option::of(1..6_u64), option::of(0..12_u64));
    let bounds = bounds.prop_map(|(nodes, bytes)| QuotaBounds { nodes, bytes });
    option::weighted(0.8, (bounds.clone(), bounds).prop_map(|(hard, soft)| Quota { hard, soft }))
}

pub(super) fn creation() -> impl Strategy<Value = (String, Bytes, Lifetime, bool)> {
    let lifetime = prop_oneof![
        3 => Just(Lifetime::Permanent),
        2 => Just(Lifetime::Ephemeral),
        1 => Just(Lifetime::Container),
        1 => (0..4_u64).prop_map(|ms| Lifetime::Ttl { ms }),
        1 => Just(Lifetime::Transient),
    ];
    let plain = (path(), data(), lifetime.clone(), Just(false));
    let sequential =
        (prop_oneof![Just("/a/s-".to_owned()), Just("/".to_owned()), path()], data(), lifetime, Just(true));
    prop_oneof![3 => plain, 1 => sequential]
}

pub(super) fn opening() -> impl Strategy<Value = Operation> {
    let transient = creation().prop_map(|(path, data, _, sequential)| (path, data, Lifetime::Transient, sequential));
    let birth = (prop_oneof![1 => creation(), 3 => transient], any::<bool>());
    let mode = (0..16_u8).prop_map(|bits| HandleMode::from_bits(bits).expect("every four bits are a mode"));
    (birth, mode, option::weighted(0.8, Just(()))).prop_map(
        |(((path, data, lifetime, sequential), must), mode, made)| Operation::Open {
            path,
            mode,
            birth: made.map(|()| Birth { data, lifetime, sequential, must, acl: None }),
        },
    )
}

/// Stands for the handle given out as the `instance`th; of `digits` 0 it is that one, of others it is tampered with.
pub(super) fn handle() -> impl Strategy<Value = Handle> {
    let bits = (0..16_u8).prop_map(|bits| HandleMode::from_bits(bits).expect("every four bits are a mode"));
    (any::<u64>(), bits, prop_oneof![6 => Just(0), 1 => 1..4_u64]).prop_map(|(instance, mode, digits)| Handle {
        path: "/a".into(),
        instance,
        session: SessionId(1),
        opened: 1,
        reign: 1,
        mode,
        digits,
    })
}

/// A path of `.` stands for the one that the handle has open, and one that begins with it is below that.
fn through() -> impl Strategy<Value = Operation> {
    let expect = Expect::Any;
    let own = prop_oneof![6 => Just(".".to_owned()), 1 => path()];
    let below = prop_oneof![6 => Just("./b".to_owned()), 1 => Just(".".to_owned()), 1 => path()];
    let operation = prop_oneof![
        3 => (own.clone(), data()).prop_map(move |(path, data)| Operation::Set { path, data, expect }),
        2 => own.clone().prop_map(move |path| Operation::Delete { path, expect }),
        1 => own.clone().prop_map(move |path| Operation::DeleteTree { path, expect, part: 0 }),
        1 => own.clone().prop_map(|path| Operation::SetQuota { path, quota: None }),
        1 => own.clone().prop_map(|path| Operation::Release { path }),
        2 => (own, mode()).prop_map(|(path, mode)| {
            Operation::Acquire { path, mode, wait: true, create: false, lock_delay_ms: 0 }
        }),
        2 => (below.clone(), creation())
            .prop_map(|(path, (_, data, lifetime, sequential))| Operation::Create { path, data, lifetime, sequential }),
        2 => (below, opening()).prop_map(|(below, opening)| match opening {
            Operation::Open { mode, birth, .. } => Operation::Open { path: below, mode, birth },
            other => panic!("{other:?} opens nothing"),
        }),
    ];
    (handle(), operation).prop_map(|(handle, operation)| Operation::Through { handle, operation: Box::new(operation) })
}

fn appending() -> impl Strategy<Value = (String, Records, Option<u64>)> {
    (path(), vec(data(), 0..4), option::weighted(0.3, 0..4_u64))
        .prop_map(|(path, records, end)| (path, records.iter().collect(), end))
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (path(), expect()).prop_map(|(path, expect)| Step::Check { path, expect }),
        4 => creation()
            .prop_map(|(path, data, lifetime, sequential)| Step::Create { path, data, lifetime, sequential }),
        2 => (path(), data(), expect()).prop_map(|(path, data, expect)| Step::Set { path, data, expect }),
        2 => (path(), expect()).prop_map(|(path, expect)| Step::Delete { path, expect }),
        1 => path().prop_map(|path| Step::Get { path }),
        1 => sequencer().prop_map(|sequencer| Step::CheckLock { sequencer }),
        1 => handle().prop_map(|handle| Step::CheckHandle { handle }),
        2 => appending().prop_map(|(path, records, end)| Step::Append { path, records, end }),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => creation()
            .prop_map(|(path, data, lifetime, sequential)| Operation::Create { path, data, lifetime, sequential }),
        4 => (path(), data(), expect()).prop_map(|(path, data, expect)| Operation::Set { path, data, expect }),
        4 => (path(), expect()).prop_map(|(path, expect)| Operation::Delete { path, expect }),
        2 => (path(), expect(), 0..4_u32)
            .prop_map(|(path, expect, part)| Operation::DeleteTree { path, expect, part }),
        3 => (path(), quota()).prop_map(|(path, quota)| Operation::SetQuota { path, quota }),
        8 => (path(), mode(), any::<[bool; 2]>(), prop_oneof![Just(0), 1..5_u32]).prop_map(
            |(path, mode, [wait, create], lock_delay_ms)| Operation::Acquire { path, mode, wait, create, lock_delay_ms }
        ),
        4 => path().prop_map(|path| Operation::Release { path }),
        2 => (sequencer(), path(), data()).prop_map(|(sequencer, path, data)| Operation::Guarded {
            sequencer,
            operation: Box::new(Operation::Set { path, data, expect: Expect::Any }),
        }),
        2 => (sequencer(), appending()).prop_map(|(sequencer, (path, records, end))| Operation::Guarded {
            sequencer,
            operation: Box::new(Operation::Append { path, records, end }),
        }),
        4 => creation()
            .prop_map(|(path, _, lifetime, sequential)| Operation::CreateLog { path, lifetime, sequential }),
        6 => appending().prop_map(|(path, records, end)| Operation::Append { path, records, end }),
        3 => (path(), 0..6_u64).prop_map(|(path, upto)| Operation::Trim { path, upto }),
        1 => path().prop_map(|path| Operation::Seal { path }),
        6 => vec(step(), 0..5).prop_map(|steps| Operation::Multi { steps }),
        6 => opening(),
        3 => handle().prop_map(|handle| Operation::Close { handle }),
        5 => through(),
        1 => Just(Operation::Sync),
        1 => Just(Operation::CloseSession),
    ]
}

/// What a generated client does; numbers become real ones when it is known where its session stands.
#[derive(Clone, Debug)]
pub enum Deed {
    Open {
        token: u64,
    },
    Resume {
        which: usize,
        secret: u128,
        holder: u64,
        takes_over: bool,
    },
    Expire {
        which: usize,
        late: bool,
    },
    Settle {
        path: String,
    },
    /// A reign that is new, or not.
    Reign {
        rises: bool,
        key: u128,
    },
    Mark {
        which: usize,
    },
    Request {
        which: usize,
        ahead: i64,
        acked_behind: u64,
        operation: Operation,
    },
}

pub(super) fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        2 => (0..4_u64).prop_map(|token| Deed::Open { token }),
        1 => (any::<usize>(), 5..7_u128, 7..10_u64, any::<bool>())
            .prop_map(|(which, secret, holder, takes_over)| Deed::Resume { which, secret, holder, takes_over }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(which, late)| Deed::Expire { which, late }),
        2 => path().prop_map(|path| Deed::Settle { path }),
        1 => (any::<bool>(), any::<u128>()).prop_map(|(rises, key)| Deed::Reign { rises, key }),
        1 => any::<usize>().prop_map(|which| Deed::Mark { which }),
        16 => (any::<usize>(), prop_oneof![8 => Just(0), 1 => -3..3_i64], 0..4_u64, operation())
            .prop_map(|(which, ahead, acked_behind, operation)| Deed::Request { which, ahead, acked_behind, operation }),
    ]
}

pub fn deeds(count: usize) -> impl Strategy<Value = Vec<Vec<Deed>>> {
    let first = vec![Deed::Reign { rises: true, key: 7 }];
    vec(vec(deed(), 0..6), 1..count).prop_map(move |turns| [vec![first.clone()], turns].concat())
}

/// What a generated client knows of the state it acts in.
pub(super) struct Known<'a> {
    /// Each session's counter and last request.
    pub sessions: BTreeMap<SessionId, (u64, u64)>,
    pub reign: Option<u64>,
    /// Every handle ever given out.
    pub handles: &'a [Handle],
    pub node: FindNode<'a>,
}

/// The instance and the lock generation of a node.
pub(super) type FindNode<'a> = Box<dyn Fn(&str) -> Option<(u64, u64)> + 'a>;

/// The command of a deed, done in the model's state.
pub fn command(model: &Model, deed: &Deed) -> Command {
    Known::of(model).command(deed)
}

impl<'a> Known<'a> {
    fn of(model: &'a Model) -> Self {
        Self {
            sessions: model.sessions.iter().map(|(id, found)| (*id, (found.counter, found.last))).collect(),
            reign: model.reign.map(|reign| reign.number),
            handles: &model.handles,
            node: Box::new(|path| model.nodes.get(path).map(|node| (node.stat.instance, node.stat.lock_generation))),
        }
    }

    /// One of the sessions that live, or another.
    pub fn session(&self, which: usize) -> SessionId {
        let known: Vec<_> = self.sessions.keys().copied().chain([SessionId(1)]).collect();
        known[which % known.len()]
    }

    /// The command of a deed.
    pub fn command(&self, deed: &Deed) -> Command {
        match deed {
            Deed::Open { token } => Command::OpenSession { token: *token, secret: 5, timeout_ms: 3000, address: None },
            Deed::Resume { which, secret, holder, takes_over } => {
                let (session, secret) = (self.session(*which), *secret);
                let resume = Resume { session, secret, holder: *holder, takes_over: *takes_over };
                Command::ResumeSession { token: 8, resume, address: None }
            }
            Deed::Expire { which, late } => {
                let session = self.session(*which);
                let counter = self.sessions.get(&session).map_or(1, |found| found.0);
                Command::ExpireSession { session, counter: counter - u64::from(*late) }
            }
            Deed::Settle { path } => {
                let instance = (self.node)(path).map_or(1, |(instance, _)| instance);
                Command::Settle { path: path.clone(), instance }
            }
            Deed::Reign { rises, key } => {
                let number = self.reign.map_or(1, |number| number + u64::from(*rises));
                Command::BeginReign { reign: number, key: *key }
            }
            Deed::Mark { which } => Command::MarkCaching { session: self.session(*which) },
            Deed::Request { which, ahead, acked_behind, operation } => {
                let session = self.session(*which);
                let next = self.sessions.get(&session).map_or(1, |found| found.1 + 1);
                let number = next.saturating_add_signed(*ahead);
                let acked_upto = next.saturating_sub(1 + acked_behind);
                Command::Request { session, number, acked_upto, operation: self.real(operation) }
            }
        }
    }

    /// The operation with real sequencers and handles in it.
    fn real(&self, operation: &Operation) -> Operation {
        let mut operation = operation.clone();
        if let Operation::Guarded { sequencer, .. } = &mut operation
            && sequencer.generation % 2 == 0
            && let Some(found) = (self.node)(&sequencer.path)
        {
            (sequencer.instance, sequencer.generation) = found;
        }
        match &mut operation {
            Operation::Close { handle } => *handle = real(self.handles, handle),
            Operation::Through { handle, operation } => {
                *handle = real(self.handles, handle);
                relate(operation, &handle.path);
            }
            Operation::Multi { steps } => steps.iter_mut().for_each(|step| {
                if let Step::CheckHandle { handle } = step {
                    *handle = real(self.handles, handle);
                }
            }),
            _ => {}
        }
        operation
    }
}

/// The handle that another stands for.
fn real(known: &[Handle], standing: &Handle) -> Handle {
    let latest = known.len().saturating_sub(4);
    let which = standing.instance as usize % 4;
    let Some(mut handle) = known.get(latest + which).or(known.last()).cloned() else { return standing.clone() };
    match standing.digits {
        0 => {}
        1 => handle.digits ^= 1,
        2 => handle.mode = standing.mode,
        _ => handle.instance += 1,
    }
    handle
}

/// Puts the path of a handle in the place of a leading dot.
fn relate(operation: &mut Operation, handle: &str) {
    let (Operation::Set { path, .. }
    | Operation::Delete { path, .. }
    | Operation::DeleteTree { path, .. }
    | Operation::SetQuota { path, .. }
    | Operation::Release { path }
    | Operation::Acquire { path, .. }
    | Operation::Create { path, .. }
    | Operation::CreateWithAcl { path, .. }
    | Operation::SetAcl { path, .. }
    | Operation::Open { path, .. }) = operation
    else {
        panic!("{operation:?} does not go through a handle")
    };
    if let Some(below) = path.strip_prefix('.') {
        *path = if below.is_empty() { handle.to_owned() } else { format!("{}{below}", handle.trim_end_matches('/')) };
    }
}

fn expected(outcome: &CommandOutcome) -> Expected {
    let decoded = |bytes: &Bytes| decode_outcome(bytes).expect("the namespace encoded it");
    match outcome {
        CommandOutcome::SessionOpened { session, .. } => Expected::Opened(*session),
        CommandOutcome::SessionResumed { last_number, before, .. } => {
            Expected::Resumed { last: *last_number, before: *before }
        }
        CommandOutcome::SessionExpired { .. } => Expected::Expired,
        CommandOutcome::SessionRefused { why, .. } => Expected::NotResumed(*why),
        CommandOutcome::ExpiryMissed { .. } | CommandOutcome::RequestMissed { .. } => Expected::Missed,
        CommandOutcome::Replied { revision, outcome, .. } => Expected::Replied(*revision, decoded(outcome)),
        CommandOutcome::SessionClosed { revision, outcome, .. } => Expected::Closed(*revision, decoded(outcome)),
        CommandOutcome::Gap { expected, .. } => Expected::Gap(*expected),
        CommandOutcome::Settled { .. } => Expected::Settled,
        CommandOutcome::ReignBegun => Expected::Began,
        CommandOutcome::CachingMarked { .. } => Expected::Marked,
        CommandOutcome::SessionsFull { .. } => panic!("no generated history opens so many"),
        CommandOutcome::Unacknowledged { .. } => panic!("no generated client is that far behind"),
    }
}

fn same_nodes(tree: &Tree, model: &Model) {
    assert_eq!(tree.len(), model.nodes.len());
    for (path, node) in &model.nodes {
        let found = tree.get(path).unwrap_or_else(|| panic!("{path} is missing"));
        assert_eq!((found.data(), found.stat()), (&node.data[..], node.stat), "{path}");
        same_lock(tree, model, path);
        same_records(tree, node, path);
        let quota = node.quota.map(|quota| (quota, model.usage(path)));
        assert_eq!(answer(tree, ReadRef::Quota { path }), Ok(Answer::Quota { quota }), "{path}");
        let below: Vec<_> =
            model.nodes.keys().filter(|other| super::super::path::parent(other) == Some(path)).collect();
        let Ok(Answer::Children { names, .. }) = answer(tree, ReadRef::List { path, after: "", limit: 0 }) else {
            panic!("{path} is there")
        };
        let mut names_below: Vec<_> = below.iter().map(|path| super::super::path::name(path)).collect();
        names_below.sort_unstable();
        assert_eq!(names, names_below, "{path}");
        same_subtree(tree, model, path);
    }
    for handle in &model.handles {
        let read = ReadRef::HandleStat { handle: handle.as_ref() };
        let stat = model.opened(handle, HandleMode::NONE).map(|stat| Answer::Exists { stat: Some(stat) });
        assert_eq!(answer(tree, read), stat, "{handle}");
        let read = ReadRef::HandleGet { handle: handle.as_ref() };
        let data = model.opened(handle, HandleMode::READ);
        let data = data.and_then(|stat| {
            let node = &model.nodes[&handle.path];
            let path = handle.path.clone();
            if node.log.is_some() {
                Err(Refusal::IsLog { path })
            } else {
                Ok(Answer::Node { data: node.data.clone(), stat })
            }
        });
        assert_eq!(answer(tree, read), data, "{handle}");
    }
}

/// Pages of one row, each going on from the last.
fn same_subtree(tree: &Tree, model: &Model, top: &str) {
    let names_of = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    let mut below: Vec<_> = model.nodes.keys().filter(|path| super::super::path::is_within(path, top)).collect();
    below.sort_by_key(|path| names_of(path));
    let mut after = String::new();
    for path in below {
        let page = answer(tree, ReadRef::Scan { path: top, after: &after, limit: 1, with_data: true });
        let Ok(Answer::Scanned { nodes, .. }) = page else { panic!("{page:?}") };
        let ModelNode { data, stat, .. } = &model.nodes[path];
        let wanted = Scanned { path: path.clone(), stat: *stat, data: Some(data.clone()) };
        assert_eq!(nodes, [wanted], "after {after}");
        after.clone_from(path);
    }
    let page = answer(tree, ReadRef::Scan { path: top, after: &after, limit: 1, with_data: true });
    assert_eq!(page, Ok(Answer::Scanned { nodes: Vec::new(), more: false }), "after {after}");
}

/// From every position, in pages of any size.
fn same_records(tree: &Tree, node: &ModelNode, path: &str) {
    let end = if node.log.is_some() { node.stat.version } else { 0 };
    for from in 0..=end + 1 {
        for bytes in [1, 9, 1000] {
            let found = answer(tree, ReadRef::Records { path, from, bytes });
            assert_eq!(found, node.records(path, from, bytes as usize), "{path} from {from}");
        }
    }
    let got = answer(tree, ReadRef::Get { path });
    let is_log = got == Err(Refusal::IsLog { path: path.to_owned() });
    assert_eq!(is_log, node.log.is_some(), "{path} is got if it is no log");
}

fn same_lock(tree: &Tree, model: &Model, path: &str) {
    let node = &model.nodes[path];
    let sequencer_of = |mode| Sequencer {
        path: path.to_owned(),
        instance: node.stat.instance,
        mode,
        generation: node.stat.lock_generation,
    };
    let wanted = LockHolders {
        sequencer: node.lock.holders.first().map(|claim| sequencer_of(claim.1)),
        sessions: node.lock.holders.iter().map(|claim| claim.0).collect(),
        lost: node.lock.shut.len() as u32,
        waiting: node.lock.waiting.len() as u32,
    };
    assert_eq!(answer(tree, ReadRef::LockHolders { path }), Ok(Answer::Lock { holders: wanted }), "{path}");
    for session in model.sessions.keys().copied() {
        let held = node.lock.holders.iter().find(|claim| claim.0 == session);
        let waits = node.lock.waiting.iter().any(|claim| claim.0 == session);
        let place = held.map_or(if waits { LockPlace::Waiting } else { LockPlace::Nowhere }, |claim| LockPlace::Held {
            sequencer: sequencer_of(claim.1),
        });
        assert_eq!(answer(tree, ReadRef::AwaitLock { path, session }), Ok(Answer::LockPlace { place }), "{path}");
    }
    for (mode, generation) in [(LockMode::Exclusive, 0), (LockMode::Shared, 0), (LockMode::Exclusive, 1)] {
        let mut sequencer = sequencer_of(mode);
        sequencer.generation -= generation.min(sequencer.generation);
        let found = answer(tree, ReadRef::CheckSequencer { sequencer: sequencer.as_ref() });
        assert_eq!(found, Ok(Answer::Sequencer { valid: model.is_valid(&sequencer) }), "{path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_namespace_does_what_the_model_does(deeds in deeds(30), seeds in any::<[u64; 2]>()) {
        let mut model = Model::new();
        let (mut one, mut other) = (Namespace::new(seeds[0]), Namespace::new(seeds[1]));
        let mut mirror = one.tree().twin(3);
        let (mut applied, mut applied_by_other) = (Applied::default(), Applied::default());
        for (turn, deeds) in (1..).zip(&deeds) {
            let (wall_ms, log_time_ns) = (1_000_000 - turn, turn * 1_000_000);
            let mut commands = Vec::new();
            let mut wanted = Vec::new();
            for deed in deeds {
                let command = command(&model, deed);
                wanted.push(model.apply(&command, log_time_ns, wall_ms));
                commands.push(command);
            }
            let bytes = batch(log_time_ns, wall_ms, &commands);
            let before = one.revision();
            one.apply(&bytes, &mut applied);
            other.apply(&bytes, &mut applied_by_other);
            one.invariants();

            let found: Vec<_> = applied.outcomes.iter().map(expected).collect();
            prop_assert_eq!(&found, &wanted);
            prop_assert_eq!(applied.revision, model.revision);
            prop_assert_eq!(one.session_count(), model.sessions.len());
            for (id, session) in &model.sessions {
                let view = one.session(*id).expect("it lives in the model");
                prop_assert_eq!((view.counter, view.last_number), (session.counter, session.last));
                prop_assert_eq!(view.marked, session.marked);
                prop_assert_eq!(view.results, session.results.len());
            }
            same_nodes(one.tree(), &model);

            let mut last = before;
            for change in &applied.changes {
                prop_assert!(change.revision > before && change.revision >= last, "revisions rise");
                last = change.revision;
                mirror.mirror(change);
            }
            prop_assert!(last <= applied.revision);
            mirror.invariants();
            same_nodes(&mirror, &model);
            prop_assert_eq!(mirror.digest(), one.tree().digest());

            prop_assert_eq!(one.digest(), other.digest(), "a seed shows nowhere");
            prop_assert_eq!(&applied.outcomes, &applied_by_other.outcomes);
            prop_assert_eq!(&applied.changes, &applied_by_other.changes);
            applied.clear();
            applied_by_other.clear();
        }
    }
}
