//! How large a request may be: what is larger is refused before it takes a number, so nothing of it reaches the cell.

use crate::client::error::Error;
use crate::limits::{ACL_ENTRIES_MAX, MULTI_OPS_MAX, NODE_DATA_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::namespace::acl::Acl;
use crate::namespace::command::{Birth, Operation, Step};

/// The bounds of the server that was last met; until one is, those of this version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) request_bytes_max: u64,
    pub(super) data_bytes_max: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { request_bytes_max: REQUEST_BYTES_MAX as u64, data_bytes_max: NODE_DATA_BYTES_MAX as u64 }
    }
}

impl Sizes {
    /// Refuses what the server would.
    pub(super) fn check(self, operation: &Operation) -> Result<(), Error> {
        let (bytes, data_bytes) = (operation_bytes(operation), data_bytes(operation));
        let past = |what: &str, size, limit| Err(Error::TooLarge { what: what.to_owned(), size, limit });
        if data_bytes > self.data_bytes_max {
            return past("bytes of data", data_bytes, self.data_bytes_max);
        }
        let entries = entries(operation);
        if entries > ACL_ENTRIES_MAX {
            return past("entries in the access list", entries as u64, ACL_ENTRIES_MAX as u64);
        }
        let steps = steps(operation);
        if steps > MULTI_OPS_MAX {
            return past("steps in the transaction", steps as u64, MULTI_OPS_MAX as u64);
        }
        if bytes > self.request_bytes_max {
            return past("bytes in the request", bytes, self.request_bytes_max);
        }
        Ok(())
    }
}

/// Bytes of data in the largest node the operation would make, or of the largest record it would append.
fn data_bytes(operation: &Operation) -> u64 {
    match operation {
        Operation::Create { data, .. } | Operation::CreateWithAcl { data, .. } | Operation::Set { data, .. } => {
            data.len() as u64
        }
        Operation::Open { birth, .. } => birth.as_ref().map_or(0, |birth| birth.data.len() as u64),
        Operation::Guarded { operation, .. } | Operation::Through { operation, .. } => data_bytes(operation),
        Operation::Append { records, .. } => records.as_ref().record_bytes_max() as u64,
        Operation::Multi { steps } => steps
            .iter()
            .map(|step| match step {
                Step::Create { data, .. } | Step::CreateWithAcl { data, .. } | Step::Set { data, .. } => {
                    data.len() as u64
                }
                Step::Append { records, .. } => records.as_ref().record_bytes_max() as u64,
                Step::Check { .. }
                | Step::Delete { .. }
                | Step::SetAcl { .. }
                | Step::Get { .. }
                | Step::CheckLock { .. }
                | Step::CheckHandle { .. } => 0,
            })
            .max()
            .unwrap_or(0),
        Operation::Delete { .. }
        | Operation::DeleteTree { .. }
        | Operation::SetQuota { .. }
        | Operation::Acquire { .. }
        | Operation::Release { .. }
        | Operation::Close { .. }
        | Operation::SetAcl { .. }
        | Operation::Authenticate { .. }
        | Operation::CreateLog { .. }
        | Operation::Trim { .. }
        | Operation::Seal { .. }
        | Operation::Sync
        | Operation::CloseSession => 0,
    }
}

/// Steps of the transaction, if it is one, guarded or not.
fn steps(operation: &Operation) -> usize {
    match operation {
        Operation::Multi { steps } => steps.len(),
        Operation::Guarded { operation, .. } | Operation::Through { operation, .. } => steps(operation),
        _ => 0,
    }
}

/// Entries in the longest access list it would set.
fn entries(operation: &Operation) -> usize {
    match operation {
        Operation::CreateWithAcl { acl, .. } | Operation::SetAcl { acl: Some(acl), .. } => acl.entries.len(),
        Operation::Open { birth: Some(birth), .. } => birth.acl.as_ref().map_or(0, |acl| acl.entries.len()),
        Operation::Guarded { operation, .. } | Operation::Through { operation, .. } => entries(operation),
        Operation::Multi { steps } => {
            let lists = steps.iter().map(|step| match step {
                Step::CreateWithAcl { acl, .. } | Step::SetAcl { acl: Some(acl), .. } => acl.entries.len(),
                _ => 0,
            });
            lists.max().unwrap_or(0)
        }
        _ => 0,
    }
}

/// An operation's size on the wire, rounded up a little.
fn operation_bytes(operation: &Operation) -> u64 {
    let node = |path: &str, data: usize| (path.len() + data + NODE_OVERHEAD) as u64;
    match operation {
        Operation::Create { path, data, .. } | Operation::Set { path, data, .. } => node(path, data.len()),
        Operation::CreateWithAcl { path, data, acl, .. } => node(path, data.len()) + acl.bytes() as u64,
        Operation::SetAcl { path, acl, .. } => node(path, 0) + acl.as_ref().map_or(0, Acl::bytes) as u64,
        Operation::Authenticate { user, .. } => node(&user.name, user.digest.len()),
        Operation::Delete { path, .. }
        | Operation::DeleteTree { path, .. }
        | Operation::SetQuota { path, .. }
        | Operation::Acquire { path, .. }
        | Operation::Release { path }
        | Operation::CreateLog { path, .. }
        | Operation::Trim { path, .. }
        | Operation::Seal { path } => node(path, 0),
        Operation::Append { path, records, .. } => node(path, records.run_bytes()),
        Operation::Guarded { sequencer, operation } => node(&sequencer.path, 0) + operation_bytes(operation),
        Operation::Open { path, birth: None, .. } => node(path, 0),
        Operation::Open { path, birth: Some(Birth { data, acl, .. }), .. } => {
            node(path, data.len()) + acl.as_ref().map_or(0, Acl::bytes) as u64
        }
        Operation::Close { handle } => node(&handle.path, HANDLE_OVERHEAD),
        Operation::Through { handle, operation } => node(&handle.path, HANDLE_OVERHEAD) + operation_bytes(operation),
        Operation::Multi { steps } => steps
            .iter()
            .map(|step| match step {
                Step::Create { path, data, .. } | Step::Set { path, data, .. } => node(path, data.len()),
                Step::CreateWithAcl { path, data, acl, .. } => node(path, data.len()) + acl.bytes() as u64,
                Step::SetAcl { path, acl, .. } => node(path, 0) + acl.as_ref().map_or(0, Acl::bytes) as u64,
                Step::Check { path, .. } | Step::Delete { path, .. } | Step::Get { path } => node(path, 0),
                Step::CheckLock { sequencer } => node(&sequencer.path, 0),
                Step::CheckHandle { handle } => node(&handle.path, HANDLE_OVERHEAD),
                Step::Append { path, records, .. } => node(path, records.run_bytes()),
            })
            .sum(),
        Operation::Sync | Operation::CloseSession => NODE_OVERHEAD as u64,
    }
}

/// Tags, lengths and versions around a path and its data.
const NODE_OVERHEAD: usize = 32;

/// What a handle has besides, its check digits included.
const HANDLE_OVERHEAD: usize = 16;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::namespace::acl::{AclEntry, Rights, Who};
    use crate::namespace::command::{Handle, HandleMode, Lifetime, LockMode, Sequencer, SessionId};

    fn acl(entries: usize) -> Acl {
        Acl::new(vec![AclEntry { who: Who::World, rights: Rights::ALL }; entries])
    }

    fn create(entries: usize) -> Operation {
        let (path, data, lifetime) = ("/a".to_owned(), Bytes::new(), Lifetime::Permanent);
        Operation::CreateWithAcl { path, data, lifetime, sequential: false, acl: acl(entries) }
    }

    fn open(entries: usize) -> Operation {
        let (data, lifetime, acl) = (Bytes::new(), Lifetime::Permanent, Some(acl(entries)));
        let birth = Some(Birth { data, lifetime, sequential: false, must: false, acl });
        Operation::Open { path: "/a".to_owned(), mode: HandleMode::ALL, birth }
    }

    fn guarded(operation: Operation) -> Operation {
        let sequencer = Sequencer { path: "/l".to_owned(), instance: 1, mode: LockMode::Exclusive, generation: 2 };
        Operation::Guarded { sequencer, operation: Box::new(operation) }
    }

    fn through(operation: Operation) -> Operation {
        let (path, mode) = ("/h".to_owned(), HandleMode::ALL);
        let handle = Handle { path, instance: 1, session: SessionId(1), opened: 2, reign: 3, mode, digits: 4 };
        Operation::Through { handle, operation: Box::new(operation) }
    }

    /// A server does not even decode a list that is far too long, and breaks the connection each time that it is sent again.
    #[test]
    fn a_list_is_measured_whatever_it_is_wrapped_in() {
        let sizes = Sizes::default();
        let forms: [fn(usize) -> Operation; 6] = [
            create,
            open,
            |entries| guarded(create(entries)),
            |entries| through(create(entries)),
            |entries| through(open(entries)),
            |entries| guarded(through(create(entries))),
        ];
        for form in forms {
            let longest = form(ACL_ENTRIES_MAX);
            assert!(sizes.check(&longest).is_ok(), "{longest:?}");
            let refused = sizes.check(&form(ACL_ENTRIES_MAX + 1));
            assert!(
                matches!(refused, Err(Error::TooLarge { size, .. }) if size == ACL_ENTRIES_MAX as u64 + 1),
                "{longest:?}"
            );
            let tight = Sizes { request_bytes_max: acl(ACL_ENTRIES_MAX).bytes() as u64, ..sizes };
            assert!(tight.check(&longest).is_err(), "the list counts as well: {longest:?}");
        }
    }
}
