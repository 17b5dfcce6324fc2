//! Access lists: who may do what with a node, and who this client is.

use super::api::{Client, done, unfit};
use super::call::{Call, Next, Then};
use super::credentials::Credentials;
use super::error::Result;
use super::machine::Answered;
use super::op::{Op, Promise};
use crate::namespace::acl::{Acl, Principals};
use crate::namespace::command::{Answer, Done, Expect, Operation, Read, Stat};
use crate::wire::client::Consistency;

impl Client {
    /// From now on the session stands for that user too. Nobody is refused here: a wrong password makes a user whom no
    /// access list names. Calls made after it are judged by it, and a session that is taken up again still stands for the
    /// user; [`ClientBuilder::auth`](super::ClientBuilder::auth) does it for every session that is opened.
    ///
    /// A watch judges what it tells when it tells it: one that is opened before may have passed over what it was not to tell.
    ///
    /// [`Error::BadArgument`](super::Error::BadArgument) of a name that is empty, or holds a colon or a control
    /// character; [`Error::TooLarge`](super::Error::TooLarge) past
    /// [`PRINCIPAL_NAME_BYTES_MAX`](crate::limits::PRINCIPAL_NAME_BYTES_MAX) bytes of it, or past
    /// [`SESSION_USERS_MAX`](crate::limits::SESSION_USERS_MAX) users of the session.
    pub fn authenticate(&self, credentials: Credentials) -> Op<()> {
        self.submit(Call::Authenticate(credentials), |answered| match done(answered, "")? {
            Done::Authenticated => Ok(()),
            _ => Err(unfit("a proof of identity")),
        })
    }

    /// Whom the session stands for.
    pub fn who_am_i(&self) -> Op<Principals> {
        let pick = |answer, _: &_| match answer {
            Answer::Principals { principals } => Some(principals),
            _ => None,
        };
        self.ask("/", Consistency::Linearizable, |_| Read::WhoAmI, pick)
    }

    /// A node's access list, and its stat; `None` if it has no list, and so is open to all. Needs the right `admin`.
    /// [`Error::NoNode`](super::Error::NoNode) if there is no such node.
    pub fn acl(&self, path: &str) -> Op<(Option<Acl>, Stat)> {
        let pick = |answer, _: &_| match answer {
            Answer::Acl { acl, stat } => Some((acl, stat)),
            _ => None,
        };
        self.ask(path, Consistency::Linearizable, |path| Read::Acl { path }, pick)
    }

    /// Sets a node's access list, in the place of the one it has, if [`Stat::acl_version`] is as expected:
    /// [`Error::NoNode`](super::Error::NoNode) or [`Error::BadVersion`](super::Error::BadVersion) otherwise. Needs the
    /// right `admin`. An entry `auth:` becomes one for each user that this session stands for. Groups are nodes of the
    /// whole cell, whatever the client's root is.
    ///
    /// [`Error::BadArgument`](super::Error::BadArgument) with [`Expect::Absent`], of a list without entries, with
    /// `auth:` from a session that is nobody, and of an entry that gives no right or names nobody who can be.
    /// [`Error::TooLarge`](super::Error::TooLarge) past [`ACL_ENTRIES_MAX`](crate::limits::ACL_ENTRIES_MAX) entries.
    ///
    /// Nothing keeps one from shutting oneself out: then only the super principal helps.
    pub fn set_acl(&self, path: &str, acl: Acl, expect: Expect) -> Op<Stat> {
        self.change_acl(path, Some(acl), expect)
    }

    /// Takes a node's access list away, if its version is as expected: it is open to all then. Needs the right `admin`.
    /// [`Error::NoNode`](super::Error::NoNode) or [`Error::BadVersion`](super::Error::BadVersion) otherwise, and
    /// [`Error::BadArgument`](super::Error::BadArgument) with [`Expect::Absent`].
    pub fn remove_acl(&self, path: &str, expect: Expect) -> Op<Stat> {
        self.change_acl(path, None, expect)
    }

    fn change_acl(&self, path: &str, acl: Option<Acl>, expect: Expect) -> Op<Stat> {
        let change = |path| Operation::SetAcl { path, acl, expect };
        self.mutate(path, change, |done, _| match done {
            Done::AclSet { stat } => Some(stat),
            _ => None,
        })
    }

    /// Proves to be each of them, then keeps the promise of a client. A proof is a request, and has a number: a session that was
    /// `resumed` is asked first for whom it stands, so that what it knows is not proved again.
    pub(super) fn introduce(self, mut credentials: Vec<Credentials>, resumed: bool, promise: Promise<Self>) {
        let first = if resumed && !credentials.is_empty() {
            Some(Call::Read(Read::WhoAmI, Consistency::Linearizable))
        } else {
            introduction(&mut credentials)
        };
        match first {
            None => promise.keep(Ok(self)),
            Some(first) => {
                let client = self.clone();
                let introducing = Introducing { client: self, credentials, promise };
                client.call(first, introducing.then());
            }
        }
    }
}

/// A client that is still proving who it is.
struct Introducing {
    client: Client,
    credentials: Vec<Credentials>,
    promise: Promise<Client>,
}

impl Introducing {
    fn then(self) -> Then {
        Then::new(move |result| self.take(result))
    }

    fn take(mut self, result: Result<Answered>) -> Next {
        match result.and_then(|answered| self.told(answered)) {
            Err(error) => self.promise.finish(Err(error)),
            Ok(()) => match introduction(&mut self.credentials) {
                None => self.promise.finish(Ok(self.client)),
                Some(next) => Next::Call(next, self.then()),
            },
        }
    }

    /// Whom the session stands for is not to be proved; or somebody was.
    fn told(&mut self, answered: Answered) -> Result<()> {
        match answered {
            Answered::Read { answer: Ok(Answer::Principals { principals }), .. } => {
                self.credentials.retain(|credentials| !principals.users.contains(&credentials.user()));
                Ok(())
            }
            answered => done(answered, "").map(|_| ()),
        }
    }
}

/// The next call that proves who one is; the last of the list is the first.
fn introduction(credentials: &mut Vec<Credentials>) -> Option<Call> {
    credentials.pop().map(Call::Authenticate)
}
