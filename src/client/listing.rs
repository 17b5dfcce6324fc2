//! Listings: a node's children, with or without their stats, and whole subtrees, all at once or page by page.
//!
//! A page is of one revision. Pages that follow it are asked for with the revision of the first, so a listing that takes
//! several never goes back, but later pages may know of more than earlier ones.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::api::{Client, answer, outward, unfit};
use super::call::{Call, Next, Then};
use super::error::Result;
use super::machine::Answered;
use super::op::{Op, Promise};
use crate::namespace::command::{Answer, Read, Revision, Scanned, Stat};
use crate::wire::client::Consistency;

/// A part of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Names and stats of children, in byte order of their names.
    pub entries: Vec<(String, Stat)>,
    /// The parent's stat.
    pub stat: Stat,
    /// Whether more follow: the last name here is where the next page goes on.
    pub more: bool,
    /// What the page is of.
    pub revision: Revision,
}

/// A part of a scan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScanPage {
    /// The nodes, in order.
    pub nodes: Vec<Scanned>,
    /// Whether more follow: the last path here is where the next page goes on.
    pub more: bool,
    /// What the page is of.
    pub revision: Revision,
}

/// How to scan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct ScanOptions {
    with_data: bool,
    page: u32,
    consistency: Consistency,
}

/// The nodes of a subtree, in order: a stream. It asks for nothing before the first node is waited for, then for a page
/// whenever all nodes of the one before were taken; memory holds one page. It ends after an error.
#[derive(Debug)]
#[must_use = "it asks for nothing until its nodes are awaited, or waited for"]
pub struct Scan {
    client: Client,
    path: String,
    options: ScanOptions,
    fetched: VecDeque<Scanned>,
    /// The page under way.
    fetching: Option<Op<ScanPage>>,
    /// Where the next page goes on; `None`: it is under way, or there is none.
    after: Option<String>,
}

impl Client {
    /// The names of a node's children, in byte order, and the node's own stat. A listing too long for one answer is
    /// fetched in pages, of which later ones may be of later revisions; the stat is that of the first.
    /// [`Error::NoNode`](super::Error::NoNode) if there is none.
    pub fn list(&self, path: &str) -> Op<(Vec<String>, Stat)> {
        self.list_as(path, Consistency::Linearizable)
    }

    /// As [`list`](Self::list), as fresh as asked for.
    pub fn list_as(&self, path: &str, consistency: Consistency) -> Op<(Vec<String>, Stat)> {
        let (op, promise) = Op::new();
        match self.inward(path) {
            Ok(path) => {
                let first = Read::List { path: path.clone(), after: String::new(), limit: 0 };
                let listing = Listing { path, names: Vec::new(), stat: None, root: self.root(), promise };
                match self.look(&first, consistency) {
                    // A listing of several pages is not kept.
                    Some(answered) => _ = listing.take(Ok(answered)),
                    None => self.call(self.asking(first, consistency), Then::new(move |result| listing.take(result))),
                }
            }
            Err(error) => promise.keep(Err(error)),
        }
        self.timed(op)
    }

    /// A part of a node's listing, with stats: the children whose names follow `after` (all if empty), at most `limit` of
    /// them (0: as many as fit one answer). [`Error::NoNode`](super::Error::NoNode) if there is no such node.
    pub fn list_page(&self, path: &str, after: &str, limit: u32, consistency: Consistency) -> Op<Page> {
        let (after, root) = (after.to_owned(), self.root());
        match self.inward(path) {
            Ok(path) => {
                let read = Read::Entries { path, after, limit };
                self.read(read, consistency, move |answered| match answer(answered, &root)? {
                    (revision, Answer::Entries { entries, stat, more }) => Ok(Page { entries, stat, more, revision }),
                    _ => Err(unfit("a listing")),
                })
            }
            Err(error) => Op::ready(Err(error)),
        }
    }

    /// The node and all below it, each before its children, children in byte order of their names.
    /// [`Error::NoNode`](super::Error::NoNode) comes first, and last, if there is none.
    pub fn scan(&self, path: &str, options: ScanOptions) -> Scan {
        let (path, after) = (path.to_owned(), Some(String::new()));
        Scan { client: self.clone(), path, options, fetched: VecDeque::new(), fetching: None, after }
    }

    /// A part of a scan: the nodes that follow the node `after` (all if empty). That node need not exist any more.
    /// [`Error::NoNode`](super::Error::NoNode) if there is no node `path`,
    /// [`Error::BadArgument`](super::Error::BadArgument) if `after` is not below it.
    pub fn scan_page(&self, path: &str, after: &str, options: ScanOptions) -> Op<ScanPage> {
        let root = self.root();
        let inward = |path: &str| if path.is_empty() { Ok(String::new()) } else { self.inward(path) };
        let (path, after) = match (self.inward(path), inward(after)) {
            (Ok(path), Ok(after)) => (path, after),
            (Err(error), _) | (_, Err(error)) => return Op::ready(Err(error)),
        };
        let ScanOptions { with_data, page: limit, consistency } = options;
        let read = Read::Scan { path, after, limit, with_data };
        self.submit(Call::Read(read, consistency), move |answered| match answer(answered, &root)? {
            (revision, Answer::Scanned { mut nodes, more }) => {
                for node in &mut nodes {
                    node.path = outward(&root, std::mem::take(&mut node.path));
                }
                Ok(ScanPage { nodes, more, revision })
            }
            _ => Err(unfit("a scan")),
        })
    }
}

impl ScanOptions {
    /// Paths and stats, linearizable, in pages as large as an answer may be.
    pub const fn new() -> Self {
        Self { with_data: false, page: 0, consistency: Consistency::Linearizable }
    }

    /// The nodes' data as well.
    pub const fn with_data(mut self) -> Self {
        self.with_data = true;
        self
    }

    /// At most so many nodes a page; 0: as many as fit one answer.
    pub const fn page(mut self, nodes: u32) -> Self {
        self.page = nodes;
        self
    }

    /// As fresh as asked for.
    pub const fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl Scan {
    /// Whether nothing more will come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.fetched.is_empty() && self.fetching.is_none() && self.after.is_none()
    }

    /// Takes in a page, which was asked for once all before were taken.
    fn take(&mut self, page: ScanPage) {
        self.options.consistency = Consistency::AtLeast(page.revision);
        self.fetched.extend(page.nodes);
        // An empty page that promises more would be asked for again without end.
        self.after = self.fetched.back().filter(|_| page.more).map(|node| node.path.clone());
    }
}

impl Stream for Scan {
    type Item = Result<Scanned>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Scanned>>> {
        let scan = self.get_mut();
        loop {
            if let Some(node) = scan.fetched.pop_front() {
                return Poll::Ready(Some(Ok(node)));
            }
            if let Some(after) = scan.after.take() {
                scan.fetching = Some(scan.client.scan_page(&scan.path, &after, scan.options));
            }
            let Some(fetching) = &mut scan.fetching else { return Poll::Ready(None) };
            let page = ready!(Pin::new(fetching).poll(context));
            scan.fetching = None;
            match page {
                Ok(page) => scan.take(page),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

/// A listing being fetched page by page.
struct Listing {
    path: String,
    names: Vec<String>,
    stat: Option<Stat>,
    root: Arc<str>,
    promise: Promise<(Vec<String>, Stat)>,
}

impl Listing {
    fn page(self, consistency: Consistency) -> (Call, Then) {
        let after = self.names.last().cloned().unwrap_or_default();
        let read = Read::List { path: self.path.clone(), after, limit: 0 };
        (Call::Read(read, consistency), Then::new(move |result| self.take(result)))
    }

    fn take(mut self, result: Result<Answered>) -> Next {
        let (revision, names, stat, more) = match result.and_then(|answered| answer(answered, &self.root)) {
            Ok((revision, Answer::Children { names, stat, more })) => (revision, names, stat, more),
            Ok(_) => return self.promise.finish(Err(unfit("a listing"))),
            Err(error) => return self.promise.finish(Err(error)),
        };
        // An empty page that promises more would be asked for again without end.
        let more = more && !names.is_empty();
        self.names.extend(names);
        let stat = *self.stat.get_or_insert(stat);
        if more {
            let (call, then) = self.page(Consistency::AtLeast(revision));
            return Next::Call(call, then);
        }
        self.promise.finish(Ok((self.names, stat)))
    }
}
