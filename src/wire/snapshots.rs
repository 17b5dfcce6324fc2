//! Fetching an image from a replica, for a copy outside the cell.

use bytes::{BufMut, Bytes, BytesMut};

use crate::namespace::codec::{DecodeError, Reader, put_bytes};
use crate::namespace::command::Revision;
use crate::paxos::ballot::Slot;

/// What is asked of a replica's images.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotQuestion {
    /// "Which image holds that revision?" It is taken if there is none yet and nobody fetches another; 0: any will do.
    Image { at_least: Revision },
    /// "Send a piece of the image up to slot `image`, from byte `offset` on."
    Piece { image: Slot, offset: u64 },
}

/// What the replica says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SnapshotAnswer {
    /// This one does, and can be fetched.
    Image { image: Slot },
    /// None yet, or the disk is busy: ask again in a moment. `revision` is what the replica has applied.
    NotYet { revision: Revision },
    /// The bytes there; none if the file ends before, or is not readable.
    Piece { image: Slot, offset: u64, bytes: Bytes },
    /// It is not there any more, newer ones are: begin again.
    Gone { image: Slot },
}

impl SnapshotQuestion {
    pub(super) fn put(&self, out: &mut BytesMut) {
        match self {
            Self::Image { at_least } => {
                out.put_u8(0);
                out.put_u64_le(*at_least);
            }
            Self::Piece { image, offset } => {
                out.put_u8(1);
                out.put_u64_le(image.0);
                out.put_u64_le(*offset);
            }
        }
    }

    pub(super) fn take(f: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match f.u8("question")? {
            0 => Ok(Self::Image { at_least: f.u64("at_least")? }),
            1 => Ok(Self::Piece { image: Slot(f.u64("image")?), offset: f.u64("offset")? }),
            tag => Err(DecodeError::UnknownTag { what: "question", tag }),
        }
    }
}

impl SnapshotAnswer {
    pub(super) fn put(&self, out: &mut BytesMut) {
        match self {
            Self::Image { image } => {
                out.put_u8(0);
                out.put_u64_le(image.0);
            }
            Self::NotYet { revision } => {
                out.put_u8(1);
                out.put_u64_le(*revision);
            }
            Self::Piece { image, offset, bytes } => {
                out.put_u8(2);
                out.put_u64_le(image.0);
                out.put_u64_le(*offset);
                put_bytes(out, bytes);
            }
            Self::Gone { image } => {
                out.put_u8(3);
                out.put_u64_le(image.0);
            }
        }
    }

    pub(super) fn take(f: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match f.u8("answer")? {
            0 => Ok(Self::Image { image: Slot(f.u64("image")?) }),
            1 => Ok(Self::NotYet { revision: f.u64("revision")? }),
            2 => {
                let (image, offset) = (Slot(f.u64("image")?), f.u64("offset")?);
                Ok(Self::Piece { image, offset, bytes: Bytes::copy_from_slice(f.bytes("a piece")?) })
            }
            3 => Ok(Self::Gone { image: Slot(f.u64("image")?) }),
            tag => Err(DecodeError::UnknownTag { what: "answer", tag }),
        }
    }
}
