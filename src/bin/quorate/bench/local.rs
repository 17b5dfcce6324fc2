//! A cell of this command's own: real processes with real journals, gone when it was measured; its folder is too, unless it
//! was named.

use std::path::Path;
use std::time::Duration;

use quorate::paxos::ReplicaId;
use quorate::server::{Code, Failure};

use super::load::Servers;
use crate::cell::{Cell, Plan};
use crate::connect;

/// How long a fresh cell may take to serve; each replica fills its first journal file.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts `count` replicas, their folders below `data` or in a temporary one, and waits until they serve.
pub fn start(count: u8, data: Option<&Path>) -> Result<Servers, Failure> {
    let folder = data.map(|data| data.join(format!("bench-{}-of-{count}", std::process::id())));
    let mut cell =
        Cell::open(folder.as_deref(), &Plan { replicas: Some(count), port_base: None, settings: Vec::new() })?;
    let ids: Vec<ReplicaId> = cell.config().replicas.iter().map(|replica| replica.id).collect();
    for id in &ids {
        cell.start(*id)?;
    }
    connect::first_read(&cell.endpoints(), PATIENCE)?;
    if let Some((id, _)) = cell.reap().into_iter().next() {
        return Err(Failure::new(Code::ReplicaEnded, format!("replica {} ended", id.0)).found(cell.last_words(id)));
    }
    Ok(Servers {
        endpoints: cell.endpoints(),
        pids: ids.iter().filter_map(|id| cell.pid(*id)).collect(),
        replicas: Some(count),
        config: cell.config().to_toml(),
        cell: Some(cell),
    })
}
