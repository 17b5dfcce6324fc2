//! Frames: how messages are cut out of a byte stream.
//!
//! ```text
//!  offset  bytes
//!     0      2    magic       which protocol; a stranger is told apart by it
//!     2      1    version     of this header
//!     3      1    kind        of message
//!     4      4    body bytes  not counting the header
//!     8      8    number      what is being asked or answered; its meaning is the kind's
//!    16      4    CRC-32      of the whole frame with these four bytes as zeros
//!    20      4    CRC-32      of the first 16 bytes, from version 2 on: no damaged length is waited for, and
//!                            no damaged byte is taken for another version's
//!    24      .    body
//! ```
//!
//! All numbers are little-endian.

use bytes::{BufMut, BytesMut};
use crc32fast::Hasher;
use thiserror::Error;

/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 24;

/// The version of the header this code writes and reads.
pub const VERSION: u8 = 2;

/// First bytes of every frame between a client and a server ("QC").
pub const CLIENT_MAGIC: u16 = u16::from_le_bytes(*b"QC");

/// First bytes of every frame between two replicas ("QP").
pub const PEER_MAGIC: u16 = u16::from_le_bytes(*b"QP");

/// One whole frame whose checksum held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// What kind of message the body is.
    pub kind: u8,
    /// The header's number.
    pub number: u64,
    /// The message.
    pub body: &'a [u8],
    sums: Sums,
}

/// What checking a frame came to, with zeros where its checksum stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sums {
    /// CRC-32 of the header alone.
    header: u32,
    /// CRC-32 of the whole.
    whole: u32,
}

/// Why a byte stream is no sequence of frames. The connection is of no further use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The stream is of another protocol, or out of step.
    #[error(
        "not a frame of this protocol: it starts with {found:#06x} instead of {expected:#06x}; check address and port"
    )]
    Magic { expected: u16, found: u16 },
    /// The header is of another generation.
    #[error("frame version {found} is unknown, this side reads {VERSION}; upgrade the older side")]
    Version { found: u8 },
    /// Longer than the receiver allows.
    #[error("a frame of {bytes} bytes is past the limit of {limit}; send less at once")]
    TooLarge { bytes: u64, limit: u64 },
    /// The bytes were damaged on their way.
    #[error(
        "a frame of kind {kind} failed its checksum: found {found:#010x}, computed {computed:#010x}; connect again"
    )]
    Checksum { kind: u8, found: u32, computed: u32 },
}

/// Cuts one connection's bytes into frames.
///
/// Whole frames are handed out from where they lie; only one that arrived in pieces is put together in a buffer here,
/// which grows as its bytes arrive.
#[derive(Debug)]
pub struct FrameReader {
    magic: u16,
    partial: Vec<u8>,
    /// Room kept between frames that arrive in pieces.
    kept_bytes: usize,
}

impl<'a> Frame<'a> {
    /// A frame that came from nowhere, for checks of what reads them.
    #[must_use]
    pub fn of(kind: u8, number: u64, body: &'a [u8]) -> Self {
        let header = unsealed(PEER_MAGIC, kind, number, body_length(body.len()));
        Self { kind, number, body, sums: summed(&header, body) }
    }

    /// CRC-32 of the last `bytes` of the body, taken from that of the whole without going over them again. `None` if
    /// going over them costs less.
    #[must_use]
    pub fn tail_crc(&self, bytes: usize) -> Option<u32> {
        if bytes < COMBINED_BYTES_MIN {
            return None;
        }
        let fields = &self.body[..self.body.len() - bytes];
        let mut before = Hasher::new_with_initial_len(self.sums.header, HEADER_BYTES as u64);
        before.update(fields);
        // A CRC is linear: what stands before the tail weighs as if zeros followed it.
        before.combine(&Hasher::new_with_initial_len(0, bytes as u64));
        Some(self.sums.whole ^ before.finalize())
    }
}

impl FrameReader {
    /// A reader of frames that start with `magic`. One large frame does not make it expensive afterwards.
    #[must_use]
    pub fn new(magic: u16) -> Self {
        Self::keeping(magic, PARTIAL_BYTES_KEPT)
    }

    /// A reader that keeps room for frames of `kept_bytes`, once one has come: for the few links on which most are large.
    #[must_use]
    pub fn keeping(magic: u16, kept_bytes: usize) -> Self {
        Self { magic, partial: Vec::new(), kept_bytes }
    }

    /// Takes the next bytes of the stream and hands every frame they complete to `on_frame`, in order. A frame, header
    /// included, may have at most `max` bytes.
    ///
    /// After an error, its own or `on_frame`'s, the place in the stream is lost: the connection must be closed.
    pub fn feed<E: From<FrameError>>(
        &mut self,
        mut bytes: &[u8],
        max: usize,
        mut on_frame: impl FnMut(Frame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            if self.partial.is_empty() {
                let Some(size) = self.measure(bytes, max)?.filter(|size| *size <= bytes.len()) else {
                    self.partial.extend_from_slice(bytes);
                    return Ok(());
                };
                let (whole, rest) = bytes.split_at(size);
                bytes = rest;
                on_frame(checked(whole)?)?;
                continue;
            }
            let wanted = self.measure(&self.partial, max)?.unwrap_or(HEADER_BYTES);
            let (piece, rest) = bytes.split_at(bytes.len().min(wanted - self.partial.len()));
            self.partial.extend_from_slice(piece);
            bytes = rest;
            if self.measure(&self.partial, max)? == Some(self.partial.len()) {
                on_frame(checked(&self.partial)?)?;
                self.forget_partial();
            }
        }
        Ok(())
    }

    /// Bytes of an unfinished frame held here.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.partial.len()
    }

    /// Starts over for a new connection.
    pub fn reset(&mut self) {
        self.forget_partial();
    }

    /// The size of the frame that starts with `bytes`; `None` while its header is incomplete.
    fn measure(&self, bytes: &[u8], max: usize) -> Result<Option<usize>, FrameError> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let found = u16::from_le_bytes([header[0], header[1]]);
        if found != self.magic {
            return Err(FrameError::Magic { expected: self.magic, found });
        }
        let (found, computed) = (u32_at(header, FIELDS_CRC_AT), fields_crc(header));
        if found != computed {
            return Err(FrameError::Checksum { kind: header[3], found, computed });
        }
        if header[2] != VERSION {
            return Err(FrameError::Version { found: header[2] });
        }
        let size = HEADER_BYTES as u64 + u64::from(u32_at(header, BODY_BYTES_AT));
        if size > max as u64 {
            return Err(FrameError::TooLarge { bytes: size, limit: max as u64 });
        }
        Ok(Some(size as usize))
    }

    fn forget_partial(&mut self) {
        self.partial.clear();
        self.partial.shrink_to(self.kept_bytes);
    }
}

/// Appends one frame to `out`; `body` appends what goes inside.
pub fn append(out: &mut BytesMut, magic: u16, kind: u8, number: u64, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_bytes(0, HEADER_BYTES);
    body(out);
    let body_bytes = body_length(out.len() - start - HEADER_BYTES);
    out[start..][..HEADER_BYTES].copy_from_slice(&unsealed(magic, kind, number, body_bytes));
    let crc = crc32fast::hash(&out[start..]);
    out[start + CRC_AT..][..4].copy_from_slice(&crc.to_le_bytes());
}

/// The header of a frame whose body is `fields` and then `tail`: for a vectored send that leaves both where they are.
/// `tail_crc`: the tail's own CRC-32, if it is known.
#[must_use]
pub fn header(
    magic: u16,
    kind: u8,
    number: u64,
    fields: &[u8],
    (tail, tail_crc): (&[u8], Option<u32>),
) -> [u8; HEADER_BYTES] {
    let mut header = unsealed(magic, kind, number, body_length(fields.len() + tail.len()));
    let mut hasher = Hasher::new();
    hasher.update(&header);
    hasher.update(fields);
    match tail_crc.filter(|_| tail.len() >= COMBINED_BYTES_MIN) {
        Some(crc) => hasher.combine(&Hasher::new_with_initial_len(crc, tail.len() as u64)),
        None => hasher.update(tail),
    }
    header[CRC_AT..][..4].copy_from_slice(&hasher.finalize().to_le_bytes());
    header
}

/// The frame in `whole`, once its checksum holds.
fn checked(whole: &[u8]) -> Result<Frame<'_>, FrameError> {
    let (header, body) = whole.split_first_chunk::<HEADER_BYTES>().expect("a measured frame has a whole header");
    let found = u32_at(header, CRC_AT);
    let mut zeroed = *header;
    zeroed[CRC_AT..][..4].fill(0);
    let sums = summed(&zeroed, body);
    let kind = header[3];
    if found != sums.whole {
        return Err(FrameError::Checksum { kind, found, computed: sums.whole });
    }
    let number = u64::from_le_bytes(header[8..16].try_into().expect("eight bytes"));
    Ok(Frame { kind, number, body, sums })
}

fn summed(zeroed: &[u8; HEADER_BYTES], body: &[u8]) -> Sums {
    let header = crc32fast::hash(zeroed);
    let mut whole = Hasher::new_with_initial_len(header, HEADER_BYTES as u64);
    whole.update(body);
    Sums { header, whole: whole.finalize() }
}

/// A header without the checksum of the whole.
fn unsealed(magic: u16, kind: u8, number: u64, body_bytes: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..2].copy_from_slice(&magic.to_le_bytes());
    header[2] = VERSION;
    header[3] = kind;
    header[BODY_BYTES_AT..][..4].copy_from_slice(&body_bytes.to_le_bytes());
    header[8..16].copy_from_slice(&number.to_le_bytes());
    let crc = fields_crc(&header);
    header[FIELDS_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// CRC-32 of what stands before the checksums.
fn fields_crc(header: &[u8; HEADER_BYTES]) -> u32 {
    crc32fast::hash(&header[..CRC_AT])
}

fn body_length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("every message is far below 4 GiB")
}

fn u32_at(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"))
}

const BODY_BYTES_AT: usize = 4;
const CRC_AT: usize = 16;
const FIELDS_CRC_AT: usize = 20;

/// A part of a frame from which on combining checksums costs less than going over the bytes: a microsecond or two.
const COMBINED_BYTES_MIN: usize = 16 << 10;

/// Room kept between frames that arrive in pieces, unless told otherwise.
const PARTIAL_BYTES_KEPT: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1 << 20;

    fn read(reader: &mut FrameReader, bytes: &[u8]) -> Result<Vec<(u8, u64, Vec<u8>)>, FrameError> {
        let mut frames = Vec::new();
        reader.feed(bytes, MAX, |frame| {
            frames.push((frame.kind, frame.number, frame.body.to_vec()));
            Ok::<(), FrameError>(())
        })?;
        Ok(frames)
    }

    fn one(kind: u8, number: u64, body: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        append(&mut out, CLIENT_MAGIC, kind, number, |out| out.put_slice(body));
        out
    }

    #[test]
    fn a_header_made_for_pieces_is_that_of_the_whole() {
        let whole = one(7, 99, b"abcdef");
        assert_eq!(header(CLIENT_MAGIC, 7, 99, b"ab", (b"cdef", None)), whole[..HEADER_BYTES]);
        assert_eq!(header(CLIENT_MAGIC, 7, 99, b"abcdef", (b"", None)), whole[..HEADER_BYTES]);
    }

    #[test]
    fn a_tails_checksum_goes_into_its_frames_and_comes_out_of_it() {
        for (fields, tail) in [(0, COMBINED_BYTES_MIN), (49, COMBINED_BYTES_MIN), (3, 100_001), (4096, 1 << 20)] {
            let body: Vec<u8> = (0..fields + tail).map(|at| (at * 7 + at / 251) as u8).collect();
            let crc = crc32fast::hash(&body[fields..]);
            let whole = one(7, 99, &body);
            let made = header(CLIENT_MAGIC, 7, 99, &body[..fields], (&body[fields..], Some(crc)));
            assert_eq!(made, whole[..HEADER_BYTES], "{fields} and {tail} bytes");
            assert_eq!(checked(&whole).unwrap().tail_crc(tail), Some(crc), "{fields} and {tail} bytes");
            assert_eq!(checked(&whole).unwrap().tail_crc(COMBINED_BYTES_MIN - 1), None, "short ones are summed anew");
        }
    }

    #[test]
    fn every_single_flipped_bit_is_noticed() {
        let good = one(3, 0x0102_0304, b"a body");
        for bit in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            let mut reader = FrameReader::new(CLIENT_MAGIC);
            let read = read(&mut reader, &bad);
            assert!(read.is_err(), "bit {bit} went unnoticed: {read:?}");
        }
    }

    #[test]
    fn each_fault_has_its_own_error() {
        let good = one(3, 4, b"body");
        let with = |at: usize, byte: u8| {
            let mut bad = good.to_vec();
            bad[at] = byte;
            read(&mut FrameReader::new(CLIENT_MAGIC), &bad).expect_err("damaged")
        };
        assert!(matches!(with(0, b'G'), FrameError::Magic { .. }));
        assert!(matches!(with(2, 9), FrameError::Checksum { kind: 3, .. }));
        assert!(matches!(with(7, 0x7f), FrameError::Checksum { kind: 3, .. }));
        assert!(matches!(with(24, b'x'), FrameError::Checksum { kind: 3, .. }));
        let large = unsealed(CLIENT_MAGIC, 3, 4, MAX as u32);
        let large = read(&mut FrameReader::new(CLIENT_MAGIC), &large).expect_err("too large");
        assert_eq!(large, FrameError::TooLarge { bytes: (MAX + HEADER_BYTES) as u64, limit: MAX as u64 });
        let mut newer = unsealed(CLIENT_MAGIC, 3, 4, 0);
        newer[2] = 9;
        let crc = fields_crc(&newer);
        newer[FIELDS_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        let newer = read(&mut FrameReader::new(CLIENT_MAGIC), &newer).expect_err("another version");
        assert_eq!(newer, FrameError::Version { found: 9 });
        let peer = read(&mut FrameReader::new(PEER_MAGIC), &good).expect_err("another protocol");
        assert!(matches!(peer, FrameError::Magic { expected: PEER_MAGIC, found: CLIENT_MAGIC }));
    }

    #[test]
    fn a_declared_length_alone_reserves_nothing() {
        let mut reader = FrameReader::new(CLIENT_MAGIC);
        let announced = unsealed(CLIENT_MAGIC, 1, 1, (MAX - HEADER_BYTES) as u32);
        assert_eq!(read(&mut reader, &announced), Ok(Vec::new()));
        assert!(reader.partial.capacity() < 1024, "only what arrived is held");
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_the_bytes_are_cut(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..8),
            cuts in prop::collection::vec(1usize..90, 1..40),
        ) {
            let mut stream = BytesMut::new();
            for (index, body) in bodies.iter().enumerate() {
                append(&mut stream, CLIENT_MAGIC, index as u8, index as u64 * 3, |out| out.put_slice(body));
            }
            let mut reader = FrameReader::new(CLIENT_MAGIC);
            let mut frames = Vec::new();
            let mut rest = &stream[..];
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let cut = (*cuts.next().expect("it cycles")).min(rest.len());
                frames.extend(read(&mut reader, &rest[..cut]).expect("sound frames"));
                rest = &rest[cut..];
            }
            prop_assert_eq!(reader.buffered(), 0);
            let expected: Vec<_> =
                bodies.into_iter().enumerate().map(|(index, body)| (index as u8, index as u64 * 3, body)).collect();
            prop_assert_eq!(frames, expected);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), honest in any::<bool>()) {
            let mut bytes = bytes;
            if honest && bytes.len() >= 3 {
                bytes[..2].copy_from_slice(&CLIENT_MAGIC.to_le_bytes());
                bytes[2] = VERSION;
            }
            let _ = read(&mut FrameReader::new(CLIENT_MAGIC), &bytes);
        }
    }
}
