//! A batch: what one slot of the log holds, behind its kind byte.

use super::command::CommandRef;
use super::reader::{DecodeError, Reader};

/// Bytes in front of a batch's first command.
pub const BATCH_HEADER_BYTES: usize = 20;

/// The start of a batch of `count` commands. Log time is a duration since the cell began; wall time is for people only.
#[must_use]
pub fn batch_header(log_time_ns: u64, wall_ms: u64, count: u32) -> [u8; BATCH_HEADER_BYTES] {
    let mut header = [0; BATCH_HEADER_BYTES];
    header[..8].copy_from_slice(&log_time_ns.to_le_bytes());
    header[8..16].copy_from_slice(&wall_ms.to_le_bytes());
    header[16..].copy_from_slice(&count.to_le_bytes());
    header
}

/// What stands in a batch in front of a command of `command_bytes` bytes.
#[must_use]
pub fn command_prefix(command_bytes: usize) -> [u8; 4] {
    u32::try_from(command_bytes).expect("a command is bounded far below 4 GiB").to_le_bytes()
}

/// A batch being read.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// The leader's log time when it closed the batch, in nanoseconds.
    pub log_time_ns: u64,
    /// The leader's wall clock then, in milliseconds since 1970.
    pub wall_ms: u64,
    /// Commands not yet read.
    left: u32,
    reader: Reader<'a>,
}

impl<'a> Batch<'a> {
    /// Reads the header; the commands follow as the batch is iterated.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let log_time_ns = reader.u64("a batch's log time")?;
        let wall_ms = reader.u64("a batch's wall time")?;
        let count = reader.count("commands in a batch", u32::MAX as usize, 4)?;
        let left = u32::try_from(count).expect("it was read from 32 bits");
        Ok(Self { log_time_ns, wall_ms, left, reader })
    }
}

impl<'a> Iterator for Batch<'a> {
    type Item = Result<CommandRef<'a>, DecodeError>;

    /// The next command. After an error nothing that follows means anything.
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let end = self.reader.finish("a batch");
            let _ = self.reader.remainder();
            return end.err().map(Err);
        }
        self.left -= 1;
        Some(self.reader.bytes("a command").and_then(CommandRef::decode))
    }
}
