//! From a folder to a replica: what the disk tells is read, judged and applied, before anything is said to anyone.

use std::path::Path;

use super::config::Config;
use super::failure::{Code, Failure};
use super::folder::{Folder, HARD_STATE, random_u128};
use crate::journal::hard_state::HardStateFile;
use crate::journal::{Identity, Journal, SegmentId};
use crate::limits::{CLOCK_ERROR_PPM, LOG_MEMORY_BYTES};
use crate::namespace::Namespace;
use crate::paxos;
use crate::replica::{Recovered, Replica, Storage};
use crate::runtime::background::Background;
use crate::runtime::{clock, disk};

/// A replica ready to run.
pub(super) struct Started {
    pub(super) replica: Replica,
    pub(super) folder: Folder,
    pub(super) identity: Identity,
    pub(super) background: Background,
}
