//! Modes of locks, sequencers, and what is told of locks.

use bytes::{BufMut, Bytes, BytesMut};

use super::reader::{DecodeError, Reader, put_maybe, put_text};
use crate::limits::LOCK_SESSIONS_MAX;
use crate::namespace::command::{LockHolders, LockMode, LockPlace, Sequencer, SessionId};

/// A [`Sequencer`] that borrows from the bytes it was decoded from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SequencerRef<'a> {
    pub path: &'a str,
    pub instance: u64,
    pub mode: LockMode,
    pub generation: u64,
}

impl<'a> SequencerRef<'a> {
    /// An owned copy.
    #[must_use]
    pub fn to_sequencer(self) -> Sequencer {
        let Self { path, instance, mode, generation } = self;
        Sequencer { path: path.to_owned(), instance, mode, generation }
    }

    pub(super) fn put(self, out: &mut BytesMut) {
        put_text(out, self.path);
        out.put_u64_le(self.instance);
        out.put_u8(self.mode.tag());
        out.put_u64_le(self.generation);
    }

    pub(super) fn take(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            path: reader.text("a path")?,
            instance: reader.u64("an instance")?,
            mode: LockMode::take(reader)?,
            generation: reader.u64("a lock's generation")?,
        })
    }
}

impl Sequencer {
    /// The sequencer as bytes, to be handed to others.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.as_ref().put(&mut out);
        out.freeze()
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let sequencer = SequencerRef::take(&mut reader)?;
        reader.finish("a sequencer")?;
        Ok(sequencer.to_sequencer())
    }

    /// The same sequencer, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> SequencerRef<'_> {
        let Self { path, instance, mode, generation } = self;
        SequencerRef { path, instance: *instance, mode: *mode, generation: *generation }
    }
}

impl LockMode {
    pub(in crate::namespace) const fn tag(self) -> u8 {
        match self {
            Self::Exclusive => 0,
            Self::Shared => 1,
        }
    }

    pub(in crate::namespace) fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8("a lock's mode")? {
            0 => Ok(Self::Exclusive),
            1 => Ok(Self::Shared),
            tag => Err(DecodeError::UnknownTag { what: "lock mode", tag }),
        }
    }
}

impl LockHolders {
    pub(super) fn put(&self, out: &mut BytesMut) {
        put_maybe(out, self.sequencer.as_ref(), |out, sequencer| sequencer.as_ref().put(out));
        out.put_u32_le(u32::try_from(self.sessions.len()).expect("holders are bounded far below 2^32"));
        self.sessions.iter().for_each(|session| out.put_u64_le(session.0));
        out.put_u32_le(self.lost);
        out.put_u32_le(self.waiting);
    }

    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let sequencer = reader.maybe("a sequencer", SequencerRef::take)?.map(SequencerRef::to_sequencer);
        let count = reader.count("holders of a lock", LOCK_SESSIONS_MAX, 8)?;
        let sessions = (0..count).map(|_| reader.u64("a session").map(SessionId)).collect::<Result<_, _>>()?;
        Ok(Self { sequencer, sessions, lost: reader.u32("a count")?, waiting: reader.u32("a count")? })
    }
}

impl LockPlace {
    pub(super) fn put(&self, out: &mut BytesMut) {
        match self {
            Self::Nowhere => out.put_u8(0),
            Self::Waiting => out.put_u8(1),
            Self::Held { sequencer } => {
                out.put_u8(2);
                sequencer.as_ref().put(out);
            }
        }
    }

    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8("a place")? {
            0 => Ok(Self::Nowhere),
            1 => Ok(Self::Waiting),
            2 => Ok(Self::Held { sequencer: SequencerRef::take(reader)?.to_sequencer() }),
            tag => Err(DecodeError::UnknownTag { what: "place", tag }),
        }
    }
}
