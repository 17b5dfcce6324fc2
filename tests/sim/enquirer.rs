//! Somebody who asks single replicas what they answer out of themselves: how one is, who the members are and whether they
//! may be changed, which sessions live, for an image and its pieces. Each answer is held against what the oracle, the disk
//! and the model know.

use bytes::{Bytes, BytesMut};
use quorate::limits::SESSIONS_PAGE_MAX;
use quorate::namespace::command::{Revision, SessionId};
use quorate::paxos::{MemberChange, ReplicaId, Slot};
use quorate::wire::client::{
    ClientMessage, FaultCode, Hello, PROTOCOL_MAX, PROTOCOL_MIN, Role, ServerMessage, SessionsPage, Status,
};
use quorate::wire::frame::{CLIENT_MAGIC, FrameReader};
use quorate::wire::members::{ChangeAnswer, Members};
use quorate::wire::snapshots::{SnapshotAnswer, SnapshotQuestion};

use super::acls;
use super::links::replica;
use super::model::Model;
use super::network::{Arrival, Host, Port};
use super::node::CELL;
use super::outsiders::{self, SESSION_TIMEOUT_MS};
use super::run::Run;
use super::world::{Event, Moment, Random, SECOND};

/// Who enquires, of one replica at a time.
#[derive(Debug, Default)]
pub struct Enquirer {
    line: Option<Line>,
    pages: Vec<Page>,
    /// In the calm: of which nodes an answer is still wanted.
    pub due: Vec<usize>,
    /// What was asked and answered.
    pub words: Vec<&'static str>,
}

/// A connection to one replica.
#[derive(Debug)]
struct Line {
    conn: u64,
    node: usize,
    /// The process that was dialled.
    life: u64,
    dialled_at: Moment,
    reader: FrameReader,
    stage: Stage,
    /// It stands for the super principal, or is to.
    is_super: bool,
    /// What waits for an answer, and what the replica had applied when it was asked.
    asked: Option<(Question, Slot)>,
    /// What was heard last of how the replica is.
    heard: (Slot, Revision),
    /// An image, and what was brought of it.
    image: Option<(Slot, Vec<u8>)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Dialling,
    Greeting,
    Opening,
    Proving,
    Ready,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Question {
    Status,
    Members(Option<MemberChange>),
    Sessions { after: SessionId },
    Snapshot(SnapshotQuestion),
}

/// A page of sessions, judged when the whole log is known.
#[derive(Debug)]
struct Page {
    after: SessionId,
    page: SessionsPage,
    /// What the replica had applied when it was asked, and the most that it can have applied when it answered.
    applied: Slot,
    chosen: Slot,
}

/// An answer that was asked for.
enum Answer {
    Status(Status),
    Members(Members),
    Sessions(SessionsPage),
    Snapshot(SnapshotAnswer),
}

impl Enquirer {
    /// Whether everybody has answered who had to.
    pub fn is_done(&self) -> bool {
        self.due.is_empty()
    }
}

/// The words of questions and of answers to them.
pub const WORDS: &[&str] = &[
    "status",
    "status of a leader",
    "members",
    "change of members",
    "change of members: not authorized",
    "change of members: refused",
    "sessions",
    "image",
    "image: not yet",
    "image: not authorized",
    "piece of an image",
];

/// It is time to ask something.
pub fn enquire(run: &mut Run) {
    let Some(every) = run.plan.enquire_every else { return };
    if run.calm && run.enquirer.is_done() {
        return hang_up(run);
    }
    let delay = run.world.random.around(every);
    run.world.after(delay, Event::Enquire);
    match &run.enquirer.line {
        None => {
            let any = run.world.random.below(run.nodes.len() as u64) as usize;
            dial(run, run.enquirer.due.last().copied().unwrap_or(any));
        }
        Some(line) if line.stage == Stage::Ready && line.asked.is_none() => {
            if !run.calm && run.world.random.below(12) == 0 {
                hang_up(run);
            } else {
                ask(run);
            }
        }
        Some(line) if run.world.now > line.dialled_at + PATIENCE => hang_up(run),
        Some(_) => {}
    }
}

/// Nothing fails any more: every replica that runs has to answer once.
pub fn be_sure(run: &mut Run) {
    if run.plan.enquire_every.is_some() {
        hang_up(run);
        run.enquirer.due = run.nodes.iter().filter(|node| node.running.is_some()).map(|node| node.index).collect();
    }
}

/// Something reaches the enquirer's host.
pub fn reached(run: &mut Run, arrival: &Arrival) {
    match arrival {
        Arrival::Connected { conn, .. } if is_mine(run, *conn) => greet(run),
        Arrival::Bytes { conn, bytes, .. } if is_mine(run, *conn) => received(run, bytes),
        Arrival::Failed { conn, .. } | Arrival::Closed { conn, .. } if is_mine(run, *conn) => run.enquirer.line = None,
        _ => {}
    }
}

fn is_mine(run: &Run, conn: u64) -> bool {
    run.enquirer.line.as_ref().is_some_and(|line| line.conn == conn)
}

fn dial(run: &mut Run, node: usize) {
    let me = me(run);
    let conn = run.network.dial(&mut run.world, me, Host::Node(node), Port::Clients);
    run.enquirer.line = Some(Line {
        conn,
        node,
        life: run.nodes[node].life,
        dialled_at: run.world.now,
        reader: FrameReader::new(CLIENT_MAGIC),
        stage: Stage::Dialling,
        is_super: run.world.random.below(2) == 0,
        asked: None,
        heard: (Slot(0), 0),
        image: None,
    });
}

fn hang_up(run: &mut Run) {
    if let Some(line) = run.enquirer.line.take() {
        let me = me(run);
        run.network.close(&mut run.world, line.conn, me);
    }
}

fn say(run: &mut Run, message: &ClientMessage<'_>) {
    let mut out = BytesMut::new();
    message.encode(&mut out);
    let (conn, me) = (run.enquirer.line.as_ref().expect("it has a line").conn, me(run));
    run.network.send(&mut run.world, conn, me, out.freeze());
}

fn greet(run: &mut Run) {
    let (protocol_min, protocol_max) = (PROTOCOL_MIN, PROTOCOL_MAX);
    let hello = Hello { protocol_min, protocol_max, cell: Some(CELL), name: "enquirer", seen: 0, resume: None };
    say(run, &ClientMessage::Hello(hello));
    stage(run, Stage::Greeting);
}

fn stage(run: &mut Run, stage: Stage) {
    run.enquirer.line.as_mut().expect("it has a line").stage = stage;
}

fn ask(run: &mut Run) {
    let line = run.enquirer.line.as_ref().expect("it has a line");
    let applied = applied_by(run, line.node);
    let question = question(&mut run.world.random, line);
    say(run, &question.as_message());
    run.enquirer.line.as_mut().expect("it has a line").asked = Some((question, applied));
}

fn applied_by(run: &Run, node: usize) -> Slot {
    run.nodes[node].running.as_ref().map_or(Slot(0), |running| running.replica.applied_upto())
}

fn question(random: &mut Random, line: &Line) -> Question {
    if let Some((image, brought)) = line.image.as_ref().filter(|_| random.below(4) > 0) {
        return Question::Snapshot(SnapshotQuestion::Piece { image: *image, offset: brought.len() as u64 });
    }
    match random.below(6) {
        0 => Question::Status,
        1 => Question::Members(None),
        // Nobody has that number: whoever may ask is refused all the same.
        2 => Question::Members(Some(MemberChange::Remove { replica: NOBODY })),
        3 => Question::Sessions { after: SessionId(random.below(3) * random.below(50)) },
        4 => Question::Snapshot(SnapshotQuestion::Image { at_least: 0 }),
        _ => Question::Snapshot(SnapshotQuestion::Image { at_least: line.heard.1 }),
    }
}

fn received(run: &mut Run, bytes: &[u8]) {
    let line = run.enquirer.line.as_mut().expect("it has a line");
    let mut reader = std::mem::replace(&mut line.reader, FrameReader::new(CLIENT_MAGIC));
    if !outsiders::feed(run, &mut reader, bytes, heard) {
        hang_up(run);
    } else if let Some(line) = &mut run.enquirer.line {
        line.reader = reader;
    }
}

fn heard(run: &mut Run, message: ServerMessage<'_>) {
    // What comes behind the word that made it hang up is for nobody.
    let Some(line) = &run.enquirer.line else { return };
    let (stage_now, is_super) = (line.stage, line.is_super);
    match (message, stage_now) {
        (ServerMessage::Welcome(welcome), Stage::Greeting) => {
            assert_eq!((welcome.cell, welcome.replica), (CELL, replica(line.node)), "who greets is who was dialled");
            if is_super {
                let (token, secret) = (run.world.random.draw(), u128::from(run.world.random.draw()));
                say(run, &ClientMessage::OpenSession { token, secret, timeout_ms: SESSION_TIMEOUT_MS });
            }
            stage(run, if is_super { Stage::Opening } else { Stage::Ready });
        }
        (ServerMessage::SessionOpened { .. }, Stage::Opening) => {
            let (name, password) = acls::SUPER;
            say(run, &ClientMessage::Authenticate { number: 1, acked_upto: 0, name, password });
            stage(run, Stage::Proving);
        }
        // Where frames between replicas are doubled the answer comes twice.
        (ServerMessage::Reply { number: 1, .. }, Stage::Proving | Stage::Ready) => stage(run, Stage::Ready),
        (ServerMessage::StatusReply { number, status }, Stage::Ready) => answered(run, number, Answer::Status(status)),
        (ServerMessage::MembersReply { number, members }, Stage::Ready) => {
            answered(run, number, Answer::Members(members))
        }
        (ServerMessage::SessionsReply { number, page }, Stage::Ready) => answered(run, number, Answer::Sessions(page)),
        (ServerMessage::Snapshot { number, answer }, Stage::Ready) => answered(run, number, Answer::Snapshot(answer)),
        (ServerMessage::Leader { .. } | ServerMessage::Progress { .. }, _) => {}
        (ServerMessage::Refused { .. } | ServerMessage::SessionOver { .. }, _) => hang_up(run),
        (ServerMessage::Fault { code: FaultCode::Unavailable, .. }, _) => hang_up(run),
        (ServerMessage::Fault { code: FaultCode::Damaged, .. }, _) if run.plan.network.flipped > 0 => hang_up(run),
        (other, _) => panic!("an enquirer that is {stage_now:?} was told {other:?}"),
    }
}

fn answered(run: &mut Run, number: u64, answer: Answer) {
    let line = run.enquirer.line.as_mut().expect("it has a line");
    let (question, applied) = line.asked.take().expect("nobody answers unasked");
    assert_eq!(number, NUMBER, "an answer names its question");
    let node = line.node;
    let word = match (question, answer) {
        (Question::Status, Answer::Status(status)) => told_status(run, &status),
        (Question::Members(change), Answer::Members(members)) => told_members(run, change.is_some(), &members),
        (Question::Sessions { after }, Answer::Sessions(page)) => {
            let chosen = run.oracle.chosen_upto();
            run.enquirer.pages.push(Page { after, page, applied, chosen });
            "sessions"
        }
        (Question::Snapshot(question), Answer::Snapshot(answer)) => told_snapshot(run, question, &answer),
        (question, _) => panic!("{question:?} was answered with something else"),
    };
    run.enquirer.words.push(word);
    if run.enquirer.due.last() == Some(&node) {
        run.enquirer.due.pop();
        hang_up(run);
    }
}

fn told_status(run: &mut Run, status: &Status) -> &'static str {
    let chosen_upto = run.oracle.chosen_upto();
    let line = run.enquirer.line.as_mut().expect("it has a line");
    assert_eq!((status.cell, status.replica), (CELL, replica(line.node)), "a replica knows who it is");
    assert!(status.applied_upto <= status.chosen_upto, "what is applied is chosen: {status:?}");
    assert!(status.chosen_upto <= chosen_upto, "what is told to be chosen is, up to {chosen_upto:?}: {status:?}");
    assert!(status.trimmed_upto <= status.applied_upto, "what is not to be had is applied: {status:?}");
    let (applied, revision) = line.heard;
    assert!(status.applied_upto >= applied && status.revision >= revision, "a replica does not go back: {status:?}");
    let node = &run.nodes[line.node];
    assert!(node.life != line.life || status.incarnation == node.incarnation(), "a replica knows its disk: {status:?}");
    line.heard = (status.applied_upto, status.revision);
    let leads = status.role == Role::Leader;
    assert!(!leads || status.leader == Some(status.replica), "who leads follows itself: {status:?}");
    if leads { "status of a leader" } else { "status" }
}

fn told_members(run: &Run, is_change: bool, members: &Members) -> &'static str {
    assert!(members.chosen_upto <= run.oracle.chosen_upto(), "what is told to be chosen is: {members:?}");
    assert!(members.config_slot <= run.oracle.chosen_upto(), "a list that is told is chosen: {members:?}");
    if members.config_slot > Slot(0) {
        let named = run.oracle.lists.beginning(members.in_force_from);
        let named = named.unwrap_or_else(|| panic!("no list is in force from there: {members:?}"));
        let told =
            members.members.iter().map(|told| (told.member.replica, told.member.incarnation, told.member.standing));
        let known = named.members().iter().map(|member| (member.replica, member.incarnation, member.standing));
        assert!(told.eq(known), "the members of {:?} are {named:?}: {members:?}", members.config_slot);
    }
    let is_super = run.enquirer.line.as_ref().is_some_and(|line| line.is_super);
    match &members.answer {
        ChangeAnswer::Listed if !is_change => "members",
        ChangeAnswer::NotAuthorized if is_change && !is_super => "change of members: not authorized",
        ChangeAnswer::Refused { .. } if is_change && is_super => "change of members: refused",
        // A member that is none is removed already.
        ChangeAnswer::Changed { .. } if is_change && is_super => "change of members",
        answer => panic!("a change ({is_change}) by the super principal ({is_super}) came to {answer:?}"),
    }
}

fn told_snapshot(run: &mut Run, question: SnapshotQuestion, answer: &SnapshotAnswer) -> &'static str {
    let line = run.enquirer.line.as_mut().expect("it has a line");
    let is_refused = *answer == SnapshotAnswer::NotAuthorized;
    assert_eq!(is_refused, !line.is_super, "an image is lent to the super principal alone: {answer:?}");
    match (question, answer) {
        (_, SnapshotAnswer::NotAuthorized) => "image: not authorized",
        (SnapshotQuestion::Image { .. }, SnapshotAnswer::Image { image }) => {
            line.image = Some((*image, Vec::new()));
            "image"
        }
        (_, SnapshotAnswer::NotYet { .. }) => "image: not yet",
        (SnapshotQuestion::Piece { image, .. }, SnapshotAnswer::Gone { image: gone }) => {
            assert_eq!(image, *gone, "what is gone is what was asked for");
            line.image = None;
            "image: gone"
        }
        (SnapshotQuestion::Piece { image, offset }, SnapshotAnswer::Piece { image: of, offset: at, bytes }) => {
            assert_eq!((image, offset), (*of, *at), "a piece is the one that was asked for");
            brought(run, image, bytes);
            "piece of an image"
        }
        (question, answer) => panic!("{question:?} was answered with {answer:?}"),
    }
}

/// A piece is what the replica's disk holds there, if it still does, and was not damaged meanwhile.
fn brought(run: &mut Run, image: Slot, bytes: &Bytes) {
    let line = run.enquirer.line.as_mut().expect("it has a line");
    let Some((_, held)) = &mut line.image else { return };
    held.extend_from_slice(bytes);
    let file = run.nodes[line.node].disk.images.get(&image);
    let is_read = run.plan.damaged_images == 0 && run.plan.misreads == 0;
    let is_sound = is_read && !run.plan.is_struck(line.node) && run.plan.weights.put_back == 0;
    if let Some(file) = file.filter(|_| is_sound) {
        assert!(file.starts_with(held), "a piece of {image:?} is not what node {} holds", line.node);
    }
    if bytes.is_empty() || file.is_some_and(|file| file.len() == held.len()) {
        line.image = None;
    }
}

/// Every page lists who lived at some moment between question and answer, and leaves out nobody who lived all along.
pub fn judge(enquirer: &Enquirer, model: &Model) {
    for Page { after, page, applied, chosen } in &enquirer.pages {
        let listed: Vec<SessionId> = page.sessions.iter().map(|account| account.session).collect();
        assert!(listed.is_sorted_by(|one, next| one < next), "sessions are listed in their order: {listed:?}");
        assert!(listed.len() <= SESSIONS_PAGE_MAX && listed.iter().all(|session| session > after), "{listed:?}");
        for session in &listed {
            let lived =
                model.lived(*session).is_some_and(|(from, to)| from <= *chosen && to.is_none_or(|to| to > *applied));
            assert!(lived, "{session:?} is listed, and did not live from {applied:?} to {chosen:?}");
        }
        let end = listed.last().filter(|_| page.more).copied().unwrap_or(SessionId(u64::MAX));
        for (session, (from, to)) in model.lives().filter(|(session, _)| session > after && *session <= end) {
            let stays = from <= *applied && to.is_none_or(|to| to > *chosen);
            assert!(!stays || listed.contains(&session), "{session:?} lived from {applied:?} to {chosen:?}, unlisted");
        }
    }
}

impl Question {
    fn as_message(&self) -> ClientMessage<'static> {
        let number = NUMBER;
        match self {
            Self::Status => ClientMessage::Status { number },
            Self::Members(change) => ClientMessage::Members { number, change: change.clone() },
            Self::Sessions { after } => ClientMessage::Sessions { number, after: *after },
            Self::Snapshot(question) => ClientMessage::Snapshot { number, question: *question },
        }
    }
}

/// Its host, behind those of the clients.
fn me(run: &Run) -> Host {
    Host::Client(run.clients.len())
}

/// One question at a time: each has the same number.
const NUMBER: u64 = 7;

/// A replica that is no member of any cell here.
const NOBODY: ReplicaId = ReplicaId(60);

/// How long a line may take to come to something.
const PATIENCE: Moment = 2 * SECOND;
