//! What may be sent to other threads, shared between them, moved about and kept: what does not hold does not compile.

use std::future::Future;

use super::super::recipes::{
    Barrier, Counter, DoubleBarrier, Election, Fence, Group, Inside, Leader, Leadership, Members, Membership, Observe,
    Permit, Queue, ReadWriteLock, Rendezvous, Semaphore, Setting,
};
use super::*;

/// What any runtime, and any structure of a program, may do with it.
const fn free<T: Send + Sync + Unpin + 'static>() {}

/// What `?` makes any error of.
const fn error<E: std::error::Error + Send + Sync + 'static>() {}

/// An answer is as free as what it is, and never pinned.
const fn answers<T: Send + Sync + 'static, S: Send + 'static>() {
    const fn sent<T: Send>() {}
    const fn unpinned<T: Unpin>() {}
    free::<Op<T>>();
    sent::<Op<S>>();
    unpinned::<Op<std::marker::PhantomPinned>>();
}

const _: () = {
    answers::<Client, std::cell::Cell<u8>>();
    error::<Error>();
    free::<(Client, ClientBuilder, Target, Credentials, SavedSession, Consistency, Outcome)>();
    free::<(SessionEvents, SessionEvent, SessionState, SessionId, CacheSettings, CacheStats, Prefer)>();
    free::<(CreateOptions, Created, Expect, Stat, Page, Txn, TxnOutcome, TxnReply)>();
    free::<(Scan, ScanOptions, ScanPage, Scanned, Watch, WatchOptions, WatchEvent)>();
    free::<(Next<'static, Watch>, Blocking<Watch>, Blocking<&'static mut Scan>)>();
    free::<(Handle, HandleToken, HandleMode, OpenOptions, HandleEvents, HandleEvent, HandleLost)>();
    free::<(LockGuard, LockOptions, LockHolders, LockMode, LockLost, Lost, Guarded<'static>, Sequencer)>();
    free::<(Log, LogStat, LogPage, LogTail, Tailed, Appended)>();
    free::<(Acl, AclEntry, Principals, Rights, User, Who, Quota, QuotaBounds, Usage)>();
    free::<(SnapshotSource, SnapshotPiece, Report, Status, SessionsPage)>();
    free::<(Barrier, Counter, DoubleBarrier, Inside, Election, Leader, Leadership, Observe, Fence)>();
    free::<(Group, Members, Membership, Queue, ReadWriteLock, Rendezvous, Permit, Semaphore, Setting)>();
};

/// What the recipes do goes on on any thread of a runtime.
const _: fn(&Client) = |client| {
    fn sent(_: impl Future + Send) {}
    let path = "/path";
    let (election, group, queue) = (Election::new(client, path), Group::new(client, path), Queue::new(client, path));
    sent(election.campaign(""));
    sent(election.try_campaign(""));
    sent(election.leader());
    sent(election.observe().next());
    sent(group.join("name", ""));
    sent(group.members());
    sent(group.watch().next());
    sent(queue.put(""));
    sent(queue.put_at(1, ""));
    sent(queue.take());
    sent(queue.take_with(|txn, _| txn));
    sent(queue.len());
    sent(Barrier::new(client, path).pass());
    sent(Counter::new(client, path).add(1));
    sent(DoubleBarrier::new(client, path, 2).enter());
    sent(ReadWriteLock::new(client, path).read());
    sent(ReadWriteLock::new(client, path).write());
    sent(Rendezvous::new(client, path).announce(""));
    sent(Rendezvous::new(client, path).meet());
    sent(Semaphore::new(client, path, 2).acquire(""));
    sent(Setting::new(client, path).next());
    sent(client.scan(path, ScanOptions::new()).next());
};
