//! Random histories in which access lists say who may do what, which the model knows nothing of: a namespace that went through
//! all of it, one that was restored from an image on the way, and a front's mirror are one, to whoever looks.

use core::net::IpAddr;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::acl::{Acl, AclEntry, Principals, Rights, User, Who};
use super::super::codec::{ReadRef, decode_outcome};
use super::super::command::{Answer, Birth, Command, Done, Expect, Handle, Lifetime, Operation, Refusal, Resume, Step};
use super::super::{Applied, CommandOutcome, Gate, Namespace, Tree, answer as answer_to};
use super::generated::{self, Deed, Known};
use super::{batch, create, delete, set};

const GROUP: &str = "/acl/g";
const PATHS: [&str; 9] = ["/", "/a", "/b", "/a/a", "/a/b", "/a/a/c", "/a/s-0000000001", "/acl", GROUP];

/// The tokens of those who are there before anything is left to chance: this one, and those after it.
const FIRST: u64 = 10;
const FIRST_COUNT: u64 = 3;

/// What somebody does whom access lists concern.
#[derive(Clone, Debug)]
enum Act {
    /// Opens a session, from a host; or says so once more, as a late copy does.
    Arrive { token: u64, host: u8 },
    /// Takes one up, from another host, or takes it over.
    Move { which: usize, host: u8, holder: u64 },
    /// What others do too.
    Do(Deed),
}

fn user(name: &str) -> User {
    User::new(name, "secret")
}

fn address(host: u8) -> Option<IpAddr> {
    (host > 0).then(|| IpAddr::from([10, 0, 0, host]))
}

fn host() -> impl Strategy<Value = u8> {
    0..4_u8
}

/// One in two is of those who were there first.
fn token() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, FIRST..FIRST + FIRST_COUNT]
}

fn name() -> impl Strategy<Value = &'static str> {
    select(vec!["alice", "bob"])
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![1 => Just("/"), 8 => select(PATHS.to_vec())].prop_map(str::to_owned)
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        2 => Just(Who::World),
        1 => Just(Who::Auth),
        3 => name().prop_map(|name| Who::User(user(name))),
        2 => host().prop_map(|host| Who::Network { address: IpAddr::from([10, 0, 0, host]), bits: 31 }),
        2 => select(vec![GROUP, "/acl/none"]).prop_map(|path| Who::Group { path: path.to_owned() }),
    ]
}

/// One in some is no list that may be set.
fn acl() -> impl Strategy<Value = Acl> {
    let some = (0..64_u8).prop_map(|bits| Rights::of_bits(bits).expect("every six bits are rights"));
    let rights = prop_oneof![2 => Just(Rights::ALL), 1 => Just(Rights::READ), 2 => some];
    let entry = (who(), rights).prop_map(|(who, rights)| AclEntry { who, rights }).boxed();
    (prop_oneof![9 => vec(entry.clone(), 1..4), 1 => vec(entry, 0..1)], any::<bool>())
        .prop_map(|(entries, inherit)| Acl { entries, inherit })
}

/// The lines of a group.
fn lines() -> impl Strategy<Value = Bytes> {
    let line = prop_oneof![
        name().prop_map(|name| user(name).to_string()),
        select(vec!["world:anyone", "ip:10.0.0.0/30", "# nobody", "no principal", "group:/acl/g"])
            .prop_map(str::to_owned),
    ];
    vec(line, 0..3).prop_map(|lines| Bytes::from(lines.join("\n")))
}

fn set_acl() -> impl Strategy<Value = (String, Option<Acl>, Expect)> {
    (path(), option::weighted(0.8, acl()), prop_oneof![3 => Just(Expect::Any), 1 => generated::expect()])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => generated::step(),
        1 => (generated::creation(), acl()).prop_map(|((path, data, lifetime, sequential), acl)| {
            Step::CreateWithAcl { path, data, lifetime, sequential, acl }
        }),
        1 => set_acl().prop_map(|(path, acl, expect)| Step::SetAcl { path, acl, expect }),
    ]
}

/// Of the node that a handle has open, and below it.
fn through() -> impl Strategy<Value = Operation> {
    let expect = Expect::Any;
    let operation = prop_oneof![
        option::weighted(0.8, acl()).prop_map(move |acl| Operation::SetAcl { path: ".".into(), acl, expect }),
        (generated::creation(), acl()).prop_map(|((_, data, lifetime, _), acl)| {
            Operation::CreateWithAcl { path: "./b".into(), data, lifetime, sequential: false, acl }
        }),
    ];
    (generated::handle(), operation)
        .prop_map(|(handle, operation)| Operation::Through { handle, operation: Box::new(operation) })
}

/// Those that the model does not know.
fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (generated::creation(), acl()).prop_map(|((path, data, lifetime, sequential), acl)| {
            Operation::CreateWithAcl { path, data, lifetime, sequential, acl }
        }),
        5 => set_acl().prop_map(|(path, acl, expect)| Operation::SetAcl { path, acl, expect }),
        3 => (generated::opening(), acl()).prop_map(|(opening, acl)| with_acl(opening, acl)),
        3 => vec(step(), 1..4).prop_map(|steps| Operation::Multi { steps }),
        2 => through(),
        3 => lines().prop_map(|data| Operation::Set { path: GROUP.to_owned(), data, expect: Expect::Any }),
        1 => select(vec!["/acl", GROUP]).prop_map(create),
        1 => Just(delete(GROUP, Expect::Any)),
        2 => (name(), prop::bool::weighted(0.1)).prop_map(|(name, is_super)| authenticate(name, is_super)),
    ]
}

fn with_acl(mut opening: Operation, acl: Acl) -> Operation {
    if let Operation::Open { birth: Some(Birth { acl: own, .. }), .. } = &mut opening {
        *own = Some(acl);
    }
    opening
}

fn authenticate(name: &str, is_super: bool) -> Operation {
    Operation::Authenticate { user: user(name), is_super }
}

fn ask(which: usize, operation: Operation) -> Act {
    Act::Do(Deed::Request { which, ahead: 0, acked_behind: 1, operation })
}

fn acts(count: usize) -> impl Strategy<Value = Vec<Vec<Act>>> {
    let act = prop_oneof![
        2 => (token(), host()).prop_map(|(token, host)| Act::Arrive { token, host }),
        1 => (any::<usize>(), host(), 0..14_u64).prop_map(|(which, host, holder)| Act::Move { which, host, holder }),
        8 => generated::deed().prop_map(Act::Do),
        10 => (any::<usize>(), operation()).prop_map(|(which, operation)| ask(which, operation)),
    ];
    vec(vec(act, 0..6), 1..count)
}

/// Somebody who may do everything, a user and a stranger; a group that holds the user, and a list that children get.
fn prologue() -> Vec<Vec<Act>> {
    let entry = |who, rights| AclEntry { who, rights };
    let group = Who::Group { path: GROUP.to_owned() };
    let acl = Acl::new([entry(group, Rights::ALL), entry(Who::User(user("bob")), Rights::READ)]).inherited();
    let (path, data, lifetime, sequential) = ("/a".to_owned(), Bytes::new(), Lifetime::Permanent, false);
    vec![
        vec![Act::Do(Deed::Reign { rises: true, key: 7 })],
        (FIRST..FIRST + FIRST_COUNT).zip(0..).map(|(token, host)| Act::Arrive { token, host }).collect(),
        vec![ask(0, authenticate("root", true)), ask(1, authenticate("alice", false))],
        vec![ask(0, create("/acl")), ask(0, create(GROUP))],
        vec![ask(0, set(GROUP, user("alice").to_string().as_bytes(), Expect::Any))],
        vec![ask(0, Operation::CreateWithAcl { path, data, lifetime, sequential, acl })],
        vec![ask(1, create("/a/b")), ask(2, create("/a/a"))],
    ]
}

impl Act {
    fn command(&self, known: &Known<'_>) -> Command {
        match self {
            Self::Arrive { token, host } => {
                Command::OpenSession { token: *token, secret: 5, timeout_ms: 3000, address: address(*host) }
            }
            Self::Move { which, host, holder } => {
                let session = known.session(*which);
                let resume = Resume { session, secret: 5, holder: *holder, takes_over: true };
                Command::ResumeSession { token: 8, resume, address: address(*host) }
            }
            Self::Do(deed) => known.command(deed),
        }
    }
}

fn known<'a>(namespace: &'a Namespace, handles: &'a [Handle]) -> Known<'a> {
    let numbers = |path: &str| {
        let stat = namespace.tree().get(path)?.stat();
        Some((stat.instance, stat.lock_generation))
    };
    Known {
        sessions: namespace.sessions().map(|view| (view.session, (view.counter, view.last_number))).collect(),
        reign: Some(namespace.reign()).filter(|reign| *reign > 0),
        handles,
        node: Box::new(numbers),
    }
}

/// The handle that a request was given.
fn opened(outcome: &CommandOutcome) -> Option<Handle> {
    let CommandOutcome::Replied { outcome, .. } = outcome else { return None };
    match decode_outcome(outcome).expect("it was just encoded") {
        Ok(Done::Opened { handle, .. }) => Some(handle),
        _ => None,
    }
}

/// All that somebody is told who looks everywhere.
fn told(tree: &Tree, who: &Principals, handles: &[Handle]) -> Vec<Result<Answer, Refusal>> {
    let gate = Gate::new(tree, who);
    let of_paths = PATHS.into_iter().flat_map(|path| {
        [
            ReadRef::Get { path },
            ReadRef::Entries { path, after: "", limit: 0 },
            ReadRef::Scan { path, after: "", limit: 0, with_data: true },
            ReadRef::Acl { path },
            ReadRef::Quota { path },
            ReadRef::LockHolders { path },
            ReadRef::Records { path, from: 0, bytes: 1000 },
        ]
    });
    let of_handles = handles.iter().map(|handle| ReadRef::HandleGet { handle: handle.as_ref() });
    of_paths.chain(of_handles).map(|read| answer_to(&gate, read)).collect()
}

fn somebodies() -> Vec<Principals> {
    let at = |host| Principals::at(address(host));
    vec![
        at(0),
        at(1),
        at(3),
        Principals { users: vec![user("alice")], ..at(0) },
        Principals { users: vec![user("bob")], ..at(2) },
        Principals { is_super: true, ..at(0) },
    ]
}

#[test]
fn a_history_begins_with_lists_that_tell_one_from_another() {
    let mut namespace = Namespace::new(1);
    let mut applied = Applied::default();
    for act in prologue().concat() {
        let command = act.command(&known(&namespace, &[]));
        namespace.apply(&batch(1, 1, &[command]), &mut applied);
    }
    let told: Vec<_> = somebodies().iter().map(|who| told(namespace.tree(), who, &[])).collect();
    let [stranger, _, _, alice, bob, root] = &told[..] else { panic!("there are six") };
    assert!(stranger != alice && alice != bob && bob != stranger, "{stranger:?}, {alice:?}, {bob:?}");
    assert!(root != stranger && root != bob, "{root:?}");
    let seen: Vec<&str> =
        ["/a", "/a/b", "/a/a"].into_iter().filter(|path| namespace.tree().get(path).is_some()).collect();
    assert_eq!(seen, ["/a", "/a/b"], "the group may create, a stranger may not");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn replay_restoration_and_mirror_agree_whoever_may_do_what(
        acts in acts(30), begin in 0..40_usize, budget in 1..300_usize, slices in 0..4_usize, seeds in any::<[u64; 2]>(),
    ) {
        let turns = [prologue(), acts].concat();
        let begin = begin % turns.len();
        // It goes ahead, one command at a time, so that each act is one in the state it comes upon.
        let mut guide = Namespace::new(0);
        let mut replayed = Namespace::new(seeds[0]);
        let mut mirror = replayed.tree().twin(3);
        let (mut handles, mut applied, mut ahead) = (Vec::new(), Applied::default(), Applied::default());
        let (mut chunks, mut tail) = (Vec::new(), Vec::new());
        for (turn, acts) in turns.iter().enumerate() {
            if turn == begin {
                replayed.begin_image();
            }
            if turn >= begin {
                chunks.extend((0..slices).map_while(|_| replayed.image_rows(budget)));
            }
            let time = turn as u64 * 1_000_000;
            guide.apply(&batch(time, time, &[]), &mut ahead);
            let mut commands = Vec::new();
            for act in acts {
                let command = act.command(&known(&guide, &handles));
                guide.apply(&batch(time, time, std::slice::from_ref(&command)), &mut ahead);
                handles.extend(ahead.outcomes.iter().filter_map(opened));
                ahead.clear();
                commands.push(command);
            }
            let bytes = batch(time, time, &commands);
            let changed = applied.changes.len();
            replayed.apply(&bytes, &mut applied);
            applied.changes[changed..].iter().for_each(|change| mirror.mirror(change));
            prop_assert_eq!(replayed.digest(), guide.digest(), "how commands are gathered, or a seed, shows nowhere");
            if turn >= begin {
                tail.push(bytes);
            }
        }
        chunks.extend(std::iter::from_fn(|| replayed.image_rows(budget)));
        let image = chunks.iter().map(|chunk| &chunk[..]);
        let mut restored = Namespace::from_image(seeds[1], image).expect("the image is whole");
        let mut after = Applied::default();
        tail.iter().for_each(|bytes| restored.apply(bytes, &mut after));
        replayed.invariants();
        restored.invariants();
        mirror.invariants();
        prop_assert_eq!(restored.digest(), replayed.digest());
        let outcomes = &applied.outcomes[applied.outcomes.len() - after.outcomes.len()..];
        prop_assert_eq!(&after.outcomes, outcomes, "who may do what is the same after a recovery");
        for who in somebodies() {
            let wanted = told(replayed.tree(), &who, &handles);
            prop_assert_eq!(told(restored.tree(), &who, &handles), wanted.clone(), "{:?}", who);
            prop_assert_eq!(told(&mirror, &who, &handles), wanted, "{:?}", who);
        }
    }
}
