//! What runs came to, added up: how much happened, and how much of it was judged.

use std::collections::BTreeSet;

use super::coverage::Struck;
use super::history::Tally;
use super::watching::WatchTally;

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub trace: u64,
    pub events: u64,
    pub misfortunes: u64,
    /// Damage that was found by reading what lay still.
    pub mended: u64,
    pub slots: u64,
    pub images: u64,
    pub recycled: u64,
    /// Starts from another's image.
    pub transfers: u64,
    /// Disks that were new to the cell and got a vote.
    pub joins: u64,
    pub removals: u64,
    /// Leaders that were lost in the calm, and cells that were watched coming to rest.
    pub successions: u64,
    pub rests: u64,
    /// Calms in which a leader had to have a lease, and sessions that nobody had and that ended in time.
    pub leases_owed: u64,
    pub ends_owed: u64,
    /// Old copies of disks that were put back and noticed.
    pub put_back: u64,
    /// Runs beyond repair that stood still in the calm.
    pub stood_still: u64,
    /// Segments and pieces of images for which there was no room.
    pub no_room: u64,
    /// Blocks of logs that were damaged, and starts that could not tell something for it.
    pub damaged: u64,
    pub doubts: u64,
    /// Turns of fronts on cores of their own.
    pub front_turns: u64,
    pub tally: Tally,
    pub watches: WatchTally,
    /// Nodes that ended because their time was over.
    pub ended: u64,
    /// Operations that were searched for an order.
    pub searched: u64,
    /// Calls that met another client's.
    pub conflicts: u64,
    /// What of the protocol was exercised.
    pub words: BTreeSet<&'static str>,
    pub struck: Struck,
}

impl Report {
    /// Adds what another run came to.
    pub fn add(&mut self, other: Self) {
        self.events += other.events;
        self.misfortunes += other.misfortunes;
        self.mended += other.mended;
        self.slots += other.slots;
        self.images += other.images;
        self.recycled += other.recycled;
        self.transfers += other.transfers;
        self.joins += other.joins;
        self.removals += other.removals;
        self.successions += other.successions;
        self.rests += other.rests;
        self.leases_owed += other.leases_owed;
        self.ends_owed += other.ends_owed;
        self.put_back += other.put_back;
        self.stood_still += other.stood_still;
        self.no_room += other.no_room;
        self.damaged += other.damaged;
        self.doubts += other.doubts;
        self.front_turns += other.front_turns;
        self.tally.requests += other.tally.requests;
        self.tally.reads += other.tally.reads;
        self.tally.refused += other.tally.refused;
        self.tally.unknown += other.tally.unknown;
        self.tally.handed_on += other.tally.handed_on;
        self.tally.kept += other.tally.kept;
        self.tally.records += other.tally.records;
        self.tally.taken_over += other.tally.taken_over;
        self.watches.watches += other.watches.watches;
        self.watches.events += other.watches.events;
        self.watches.gaps += other.watches.gaps;
        self.watches.brought += other.watches.brought;
        self.watches.bare += other.watches.bare;
        self.watches.wanted += other.watches.wanted;
        self.ended += other.ended;
        self.searched += other.searched;
        self.conflicts += other.conflicts;
        self.words.extend(other.words);
        for (cell, times) in other.struck {
            *self.struck.entry(cell).or_default() += times;
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            events,
            misfortunes,
            mended,
            slots,
            images,
            recycled,
            transfers,
            no_room,
            damaged,
            doubts,
            joins,
            removals,
            successions,
            rests,
            leases_owed,
            ends_owed,
            put_back,
            stood_still,
            searched,
            conflicts,
            ended,
            front_turns,
            ..
        } = self;
        let Tally { requests, reads, refused, unknown, handed_on, kept, records, taken_over } = self.tally;
        let WatchTally { watches, events: told, gaps, brought, bare, wanted } = self.watches;
        write!(
            f,
            "{events} events, {misfortunes} misfortunes, {slots} slots, {images} images, {recycled} recycled, {transfers} fetched, {no_room} times no room, "
        )?;
        write!(
            f,
            "{damaged} blocks damaged ({doubts} starts in doubt, {mended} found by reading), {joins} joined, {removals} removed, {put_back} put back, {stood_still} stood still, {successions} succeeded, {rests} at rest, {leases_owed} leases and {ends_owed} ends owed, "
        )?;
        write!(
            f,
            "{requests} requests ({refused} refused), {reads} reads ({kept} kept), {unknown} unknown, {handed_on} locks handed on, {records} records read, {taken_over} sessions taken over, {ended} nodes ended, {front_turns} turns of fronts apart, "
        )?;
        write!(
            f,
            "{watches} watches ({told} told, {brought} with data, {bare} changed since, {gaps} gaps, {wanted} locks wanted), {searched} searched, {conflicts} calls met"
        )
    }
}
