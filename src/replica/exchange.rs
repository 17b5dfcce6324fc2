//! What goes in and out of a replica: closed enums of plain data.

use core::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::image_file::ImageFileError;
pub use super::submission::{Gathering, Submission};
use crate::journal::SegmentId;
use crate::namespace::command::{Resume, Revision, SessionId};
use crate::namespace::{Change, CommandOutcome, NotResumed};
use crate::paxos::{Acknowledged, Ballot, Incarnation, MemberChange, ReplicaId, Slot, Value};
use crate::wire::cache::{Recall, Wish, Word};
use crate::wire::client::{MemberAddress, SessionsPage, Status};
use crate::wire::members::Members;
use crate::wire::peer::PeerMessage;
use crate::wire::snapshots::{SnapshotAnswer, SnapshotQuestion};

/// One front of this replica.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FrontId(pub u8);

/// Something happened.
#[derive(Debug)]
pub enum Input {
    /// A frame of another replica arrived.
    Peer { from: ReplicaId, incarnation: Incarnation, message: PeerMessage },
    /// A replica says what this one's disk acknowledged. It comes before everything else of that replica's on the same link.
    Reminded { by: ReplicaId, word: Acknowledged },
    /// That disk of that replica can be spoken to.
    PeerUp { replica: ReplicaId, incarnation: Incarnation },
    /// The link to that replica broke; what was under way on it may be lost.
    PeerDown { replica: ReplicaId },
    /// One of our fronts asks.
    Front { front: FrontId, request: FrontRequest },
    /// The disk write with that token is durable, whole.
    Written { token: u64 },
    /// The segment asked for with [`Effect::PrepareSegment`] or [`Effect::RecycleSegment`] can be written to.
    SegmentReady { segment: SegmentId },
    /// The oldest unanswered [`Effect::ImagePiece`] of that image is appended to its file.
    ImageWritten { slot: Slot },
    /// The file of [`Effect::FinishImage`] is whole and durable, its name included.
    ImageDurable { slot: Slot },
    /// The disk has no room for the segment asked for with [`Effect::PrepareSegment`], or not even for the name asked for
    /// with [`Effect::RecycleSegment`]: what was there is there as before.
    NoRoomForSegment,
    /// The disk has no room for that image: its oldest unanswered [`Effect::ImagePiece`] or its [`Effect::FinishImage`] came
    /// to nothing, and so does all that is still asked for it. Nothing of it is left there.
    NoRoomForImage { slot: Slot },
    /// The bytes asked for with [`Effect::ReadImage`]; none if the link to that peer has enough to carry, or they cannot be
    /// read.
    ImageRead { to: Borrower, image: Slot, offset: u64, bytes: Bytes },
    /// The values asked for with [`Effect::ReadLog`], in slot order, as many as could be read.
    LogRead { to: ReplicaId, from: Slot, values: Vec<Value> },
    /// What was asked for with [`Effect::ReadBack`], less only at the file's end; none if the disk does not read it, or the
    /// file is not there any more.
    ReadBack { bytes: Option<Bytes> },
    /// These commands, which were to be forwarded, could not leave.
    NotForwarded { submission: Submission },
    /// The deadline given by [`super::Replica::next_deadline`] has come.
    Tick,
    /// Give the leadership to somebody else, if we have it; we are about to stop.
    HandOver,
    /// Nothing more arrives this turn: batches are cut, writes and notices go out.
    TurnEnd { wall_ms: u64 },
}

/// Something is to be done.
#[derive(Debug)]
pub enum Effect {
    /// Send this to that replica; drop it if there is no link.
    Peer { to: ReplicaId, message: PeerMessage },
    /// Write the pieces, one aligned run, and make them durable; then [`Input::Written`] with the token. An error is fatal.
    Write { token: u64, file: DiskFile, offset: u64, pieces: Vec<Bytes> },
    /// Prepare that segment in the background: all zeros, durable; then [`Input::SegmentReady`].
    PrepareSegment { segment: SegmentId },
    /// Give the file of the segment `from`, which was given up, the name of `segment`, durably; then
    /// [`Input::SegmentReady`].
    RecycleSegment { from: SegmentId, segment: SegmentId },
    /// Remove that segment's file, which was given up. Those of higher numbers must not go before it.
    RemoveSegment { segment: SegmentId },
    /// Begin the file of the image up to that slot, under a partial name.
    BeginImage { slot: Slot },
    /// Append this to it; then [`Input::ImageWritten`].
    ImagePiece { slot: Slot, bytes: Bytes },
    /// Make it durable and give it its name; then [`Input::ImageDurable`].
    FinishImage { slot: Slot },
    /// Drop the unfinished file of that image.
    DiscardImage { slot: Slot },
    /// Remove the image up to that slot.
    RemoveImage { slot: Slot },
    /// Read that much of the image's file in the background, for somebody else; then [`Input::ImageRead`].
    ReadImage { to: Borrower, image: Slot, offset: u64, bytes: usize },
    /// Start anew from what the disk holds. Nothing is under way, and nothing more will be asked for.
    StartAgain,
    /// Read the values of these records in the background, for a peer far behind; then [`Input::LogRead`].
    ReadLog { to: ReplicaId, from: Slot, places: Vec<crate::journal::Place> },
    /// Read that much in the background, when there is nothing better to do; then [`Input::ReadBack`].
    ReadBack { file: Still, offset: u64, bytes: usize },
    /// For the operator.
    Scrubbed(Scrubbed),
    /// For the operator: what that replica sent is not an image to begin from, and is asked of another.
    ImageRefused { from: ReplicaId, image: Slot, error: ImageFileError },
    /// End at once, and say why; what goes to peers before it should leave.
    Diverged(Diverged),
    /// End at once: the disk does not hold what it acknowledged, as that replica remembers. Nothing more is said to any.
    Forgotten { by: ReplicaId, word: Acknowledged },
    /// End at once: most copies of the hard state, so many, are not what was written.
    HardStateLost { damaged: usize },
    /// Tell that front.
    Front { front: FrontId, notice: FrontNotice },
}

/// A file of the replica's folder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DiskFile {
    /// One segment of the journal.
    Segment(SegmentId),
    /// The four copies of the hard state.
    HardState,
}

/// Who is sent pieces of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Borrower {
    /// Another replica.
    Peer(ReplicaId),
    /// A client of that front, by the front's ticket.
    Front(FrontId, u64),
}

/// A file that is read to see whether it is still whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Still {
    /// One segment of the journal.
    Segment(SegmentId),
    /// The image up to that slot.
    Image(Slot),
    /// The four copies of the hard state.
    HardState,
}

/// What came of reading what lies still.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scrubbed {
    /// Damage; images are taken until both that are kept end at or behind `past`. Of an image that was read: what it is not.
    Damaged { file: Still, offset: u64, past: Slot, error: Option<ImageFileError> },
    /// So many copies of the hard state are damaged; they are written again.
    CopiesDamaged(usize),
    /// Everything was read once.
    Pass { bytes: u64, damaged: u64 },
}

/// This replica's state is not what it should be, or nobody knows what it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diverged {
    /// Everything up to there was applied.
    pub slot: Slot,
    /// The digest of this replica's state there.
    pub own: u128,
    /// The digest that a majority has; none if there is no majority.
    pub majority: Option<u128>,
    /// What the voters told, this replica's own among them if it votes.
    pub votes: Vec<(ReplicaId, u128)>,
}

/// What a front asks of its replica.
#[derive(Debug)]
pub enum FrontRequest {
    /// Commands to be proposed.
    Submit(Submission),
    /// Sessions to be taken up again: the log is asked for those that can be, and the others are refused.
    Resume(Vec<Resumption>),
    /// From now on outcomes of that session go to the asking front too; other fronts that have it keep getting them.
    Attach(SessionId),
    /// From now on they do not.
    Detach(SessionId),
    /// Those sessions have so many watches at the asking front.
    Watching(Vec<(SessionId, u32)>),
    /// "Which slot must I have applied to answer reads asked before now?" `sessions` were heard from.
    ReadPoint { ticket: u64, sessions: Vec<SessionId>, wish: Wish },
    /// A session's client dropped what it was asked to.
    Recalled { session: SessionId, reign: Ballot, number: u64 },
    /// Reads were answered under the leader lease: it is worth renewing.
    LeaseUsed,
    /// How is the replica?
    Status { ticket: u64 },
    /// Who are the members? And make that change of them, if there is one.
    Members { ticket: u64, trust: Trust, change: Option<MemberChange> },
    /// Which sessions live, after that one?
    Sessions { ticket: u64, after: SessionId },
    /// An image for a copy outside the cell, or a piece of one.
    Snapshot { ticket: u64, trust: Trust, question: SnapshotQuestion },
}

/// A session that a client wants to take up again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resumption {
    /// Finds the waiting connection again.
    pub token: u64,
    /// What the client shows for it.
    pub resume: Resume,
    /// From where the client is connected.
    pub address: Option<IpAddr>,
}

/// How far somebody is trusted with what stands behind all access lists at once: images, in which everything is, and the
/// list of members, on which more disks could be put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// It is the super principal.
    Super,
    /// The configuration names no super principal: anybody may, until a node has a list.
    Anybody,
    /// There is a super principal, and it is somebody else.
    Stranger,
}

/// What a replica tells a front.
#[derive(Debug)]
pub enum FrontNotice {
    /// The log was applied further.
    Applied(Applied),
    /// The answer to [`FrontRequest::ReadPoint`]: reads asked before the request may be answered once `upto` is applied.
    /// `upto` is `None` when no leader could be asked: ask again when one is known. The sessions of the request live on, but for those
    /// `withheld`. `word`: what came of the wish; nothing did without an `upto`.
    ReadPoint { ticket: u64, upto: Option<Slot>, withheld: Vec<SessionId>, word: Word },
    /// That session's client is to drop answers that it keeps.
    Recall { session: SessionId, recall: Recall },
    /// Another leader, or none: what was submitted and is not yet answered may be lost.
    Leader { leader: Option<ReplicaId> },
    /// The answer to [`FrontRequest::Status`]; the front knows the number of its connections.
    Status { ticket: u64, status: Box<Status> },
    /// The answer to [`FrontRequest::Members`].
    Members { ticket: u64, members: Box<Members> },
    /// Where clients find the cell's members from now on.
    Found { members: Vec<MemberAddress> },
    /// The answer to [`FrontRequest::Sessions`].
    Sessions { ticket: u64, page: SessionsPage },
    /// The answer to [`FrontRequest::Snapshot`].
    Snapshot { ticket: u64, answer: SnapshotAnswer },
    /// Sessions that were not taken up again, by token, and why. The log was not asked: it would refuse them too.
    NotResumed(Vec<(u64, SessionId, NotResumed)>),
    /// These requests were not proposed, and will not be; (token, 0) is an opening.
    Refused { requests: Vec<(SessionId, u64)>, overloaded: bool },
}

/// One step forward of the applied state.
#[derive(Debug)]
pub struct Applied {
    /// Everything up to this slot is applied.
    pub upto: Slot,
    /// The revision before it: what is not of the notices before and not among `changes` was loaded whole.
    pub since: Revision,
    /// The revision after it.
    pub revision: Revision,
    /// What changed in the tree, in order.
    pub changes: Arc<[Change]>,
    /// What became of the commands of the front's own sessions, in order.
    pub outcomes: Vec<CommandOutcome>,
}
