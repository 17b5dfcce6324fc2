//! What a completion belongs to, packed into the 64 bits the kernel hands back: kind, generation and slot.

/// What was asked of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Connections arriving at a listener; `slot` is the listener.
    Accept,
    /// Bytes arriving on a connection.
    Receive,
    /// Bytes leaving on a connection.
    Send,
    /// A connection being made.
    Connect,
    /// The end of whatever else a connection has in flight.
    Cancel,
    /// The same by other means, for what a cancellation missed.
    Shutdown,
    /// A connection's descriptor being given back.
    Close,
    /// The write of a durable write; `slot` is its place in the table of writes.
    Write,
    /// The flush of a durable write.
    Flush,
    /// The ring's own eventfd.
    Bell,
    /// A wake sent by another ring: arrives, was never asked for.
    Woken,
    /// A wake sent to another ring; `slot` is its place in the table of wakes.
    Wake,
    /// Nothing depends on the answer.
    Ignored,
}

/// A completion's owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tag {
    pub kind: Kind,
    /// Which owner of the slot; only the lowest [`GENERATION_BITS`] travel.
    pub generation: u32,
    pub slot: u32,
}

impl Tag {
    pub(super) fn new(kind: Kind, generation: u32, slot: u32) -> Self {
        Self { kind, generation: generation & GENERATION_MASK, slot }
    }

    pub(super) fn pack(self) -> u64 {
        (self.kind as u64) << 56 | u64::from(self.generation & GENERATION_MASK) << 32 | u64::from(self.slot)
    }

    pub(super) fn unpack(word: u64) -> Self {
        let kind = KINDS[(word >> 56) as usize];
        Self { kind, generation: (word >> 32) as u32 & GENERATION_MASK, slot: word as u32 }
    }
}

/// Generations wrap here; a slot would have to be reused this often while one request of it is in flight.
pub(super) const GENERATION_BITS: u32 = 24;
pub(super) const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

const KINDS: [Kind; 13] = [
    Kind::Accept,
    Kind::Receive,
    Kind::Send,
    Kind::Connect,
    Kind::Cancel,
    Kind::Shutdown,
    Kind::Close,
    Kind::Write,
    Kind::Flush,
    Kind::Bell,
    Kind::Woken,
    Kind::Wake,
    Kind::Ignored,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_survives_the_kernel() {
        for kind in KINDS {
            let tag = Tag::new(kind, 0xabcdef, u32::MAX - 3);
            assert_eq!(Tag::unpack(tag.pack()), tag);
        }
        assert_eq!(Tag::new(Kind::Send, u32::MAX, 0).generation, GENERATION_MASK);
    }
}
