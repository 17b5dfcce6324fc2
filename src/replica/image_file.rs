//! An image as a file: pieces that are written one after the other, and read back the same way.
//!
//! ```text
//! image-00000000000000081234   the number is the slot up to which everything is in it
//!
//! piece   kind u8 | 3 zeros | length u32 | CRC-32 of kind to length and of the body | body      (little-endian)
//!   1 head   "QuorImag" | format u16 | cell u128 | replica u8 | incarnation u128 | slot u64 | revision u64
//!            | the newest member list and the one before
//!   2 rows   length u32 | that many bytes of LZ4 (one block): a chunk of the namespace's image (namespace/image.rs)
//!   3 end    pieces before it u64 | bytes before it u64
//! ```
//!
//! The length is the chunk's own. The pieces' sums are of what lies on disk and tell a damaged file; the digest within the rows tells whether what comes out is what went in.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::journal::Identity;
use crate::namespace::{ImageError, ImageLoader, Namespace};
use crate::paxos::{CellId, Configs, Incarnation, ReplicaId, Slot};

/// What an image says before its rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageHead {
    /// Who took it.
    pub identity: Identity,
    /// Everything up to there is in it.
    pub slot: Slot,
    /// The namespace's revision there.
    pub revision: u64,
    /// The newest member list up to there, and the one before it.
    pub configs: Configs,
}

/// Why a file is no image to start from.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ImageFileError {
    /// Its bytes are not those that were written.
    #[error("the image is damaged at byte {at}")]
    Damaged { at: u64 },
    /// It ends too early.
    #[error("the image has no end; it has {bytes} bytes")]
    Cut { bytes: u64 },
    /// A newer program wrote it.
    #[error("the image is in format {found}, and this program reads up to {FORMAT}; start the newer program")]
    NewerFormat { found: u16 },
    /// A replica of another cell took it.
    #[error("the image was taken in another cell: {found:?}")]
    Foreign { found: Identity },
    /// The rows are not the namespace's.
    #[error(transparent)]
    Rows(#[from] ImageError),
}

/// Writes the pieces of one image.
#[derive(Debug, Default)]
pub(super) struct ImageWriter {
    pieces: u64,
    bytes: u64,
}

/// Reads an image, given its bytes in order, cut anywhere.
#[derive(Debug)]
pub struct ImageReader {
    unpacker: ImageUnpacker,
    rows: ImageLoader,
}

/// Unpacks the rows of an image, given its bytes in order, cut anywhere; who takes the rows in may be another thread.
#[derive(Debug, Default)]
pub struct ImageUnpacker {
    check: ImageCheck,
}

/// Checks the pieces of an image, given its bytes in order, cut anywhere. What the rows say it leaves to others.
#[derive(Debug, Default)]
pub struct ImageCheck {
    buffer: BytesMut,
    /// Bytes of whole pieces.
    taken: u64,
    pieces: u64,
    head: Option<ImageHead>,
    ended: bool,
}

/// Takes the body of rows that begins behind so many bytes of whole pieces.
type TakeRows<'a> = dyn FnMut(u64, &[u8]) -> Result<(), ImageFileError> + 'a;

impl ImageHead {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(512);
        out.put_slice(MAGIC);
        out.put_u16_le(FORMAT);
        out.put_u128_le(self.identity.cell.0);
        out.put_u8(self.identity.replica.0);
        out.put_u128_le(self.identity.incarnation.0);
        out.put_u64_le(self.slot.0);
        out.put_u64_le(self.revision);
        self.configs.put(&mut out);
        out.freeze()
    }

    /// `None`: these are not the bytes of a head.
    fn decode(mut body: &[u8]) -> Result<Option<Self>, ImageFileError> {
        let Some(numbers) = body.split_off(..FIXED_BYTES) else { return Ok(None) };
        if numbers[..8] != *MAGIC {
            return Ok(None);
        }
        let found = u16::from_le_bytes([numbers[8], numbers[9]]);
        if found > FORMAT {
            return Err(ImageFileError::NewerFormat { found });
        }
        let number = |at: usize| u64::from_le_bytes(numbers[at..at + 8].try_into().expect("8 bytes"));
        let wide = |at: usize| u128::from_le_bytes(numbers[at..at + 16].try_into().expect("16 bytes"));
        let identity =
            Identity { cell: CellId(wide(10)), replica: ReplicaId(numbers[26]), incarnation: Incarnation(wide(27)) };
        let Some(configs) = Configs::take(&mut body) else { return Ok(None) };
        let (slot, revision) = (Slot(number(43)), number(51));
        Ok(Some(Self { identity, slot, revision, configs }))
    }
}

/// Hands out the bytes of an image of the whole namespace, which `head` describes.
///
/// # Errors
///
/// What `put` fails with.
pub fn write_image<E>(
    head: &ImageHead,
    namespace: &mut Namespace,
    mut put: impl FnMut(Bytes) -> Result<(), E>,
) -> Result<(), E> {
    let revision = namespace.begin_image();
    assert_eq!(revision, head.revision, "an image is what its head says");
    let mut writer = ImageWriter::default();
    put(writer.head(head))?;
    while let Some(rows) = namespace.image_rows(super::image::PIECE_BYTES) {
        put(writer.rows(&rows))?;
    }
    put(writer.end())
}

impl ImageWriter {
    pub(super) fn head(&mut self, head: &ImageHead) -> Bytes {
        self.piece(HEAD, &head.encode())
    }

    pub(super) fn rows(&mut self, chunk: &[u8]) -> Bytes {
        assert!(chunk.len() <= CHUNK_BYTES_MAX, "a chunk ends soon after its budget");
        self.piece(ROWS, &lz4_flex::block::compress_prepend_size(chunk))
    }

    pub(super) fn end(&mut self) -> Bytes {
        let mut body = [0; 16];
        body[..8].copy_from_slice(&self.pieces.to_le_bytes());
        body[8..].copy_from_slice(&self.bytes.to_le_bytes());
        self.piece(END, &body)
    }

    /// Of all pieces so far; of the file, once it has its end.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn piece(&mut self, kind: u8, body: &[u8]) -> Bytes {
        assert!(body.len() <= PIECE_BYTES_MAX, "a piece holds a chunk at most");
        let mut out = BytesMut::with_capacity(PIECE_HEAD_BYTES + body.len());
        out.put_slice(&[kind, 0, 0, 0]);
        out.put_u32_le(body.len() as u32);
        out.put_u32_le(sum_of(&out, body));
        out.put_slice(body);
        self.pieces += 1;
        self.bytes += out.len() as u64;
        out.freeze()
    }
}

impl ImageReader {
    /// Nothing read yet. `seed` is as in [`Namespace::new`].
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { unpacker: ImageUnpacker::default(), rows: ImageLoader::new(seed) }
    }

    /// Takes the file's next bytes.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), ImageFileError> {
        let Self { unpacker, rows } = self;
        unpacker.add(bytes, &mut |chunk| Ok(rows.add(&chunk)?))
    }

    /// What the image says of itself, once its first piece is in.
    #[must_use]
    pub fn head(&self) -> Option<&ImageHead> {
        self.unpacker.check.head.as_ref()
    }

    /// The image, once all of the file is in; it is of that cell.
    pub fn finish(self, cell: CellId) -> Result<(ImageHead, Namespace), ImageFileError> {
        let head = self.unpacker.finish(cell)?;
        Ok((head, self.rows.finish()?))
    }
}

impl ImageUnpacker {
    /// Takes the file's next bytes, and hands on each chunk of rows, for an [`ImageLoader`].
    pub fn add(
        &mut self,
        bytes: &[u8],
        hand_on: &mut dyn FnMut(Vec<u8>) -> Result<(), ImageFileError>,
    ) -> Result<(), ImageFileError> {
        self.check.take(bytes, &mut |at, body| {
            let mut chunk = Vec::new();
            if unpack(body, &mut chunk) { hand_on(chunk) } else { Err(ImageFileError::Damaged { at }) }
        })
    }

    /// What the image says of itself, once all of the file is in; it is of that cell.
    pub fn finish(self, cell: CellId) -> Result<ImageHead, ImageFileError> {
        let bytes = self.check.taken + self.check.buffer.len() as u64;
        let head = self.check.into_head().ok_or(ImageFileError::Cut { bytes })?;
        if head.identity.cell == cell { Ok(head) } else { Err(ImageFileError::Foreign { found: head.identity }) }
    }
}

impl ImageCheck {
    /// Takes the file's next bytes.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), ImageFileError> {
        self.take(bytes, &mut |_, _| Ok(()))
    }

    /// Whether all of the image is in, and nothing else.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.ended && self.buffer.is_empty()
    }

    /// What it says before its rows, once it is whole.
    #[must_use]
    pub fn into_head(self) -> Option<ImageHead> {
        if self.is_whole() { self.head } else { None }
    }

    fn take(&mut self, bytes: &[u8], rows: &mut TakeRows<'_>) -> Result<(), ImageFileError> {
        self.buffer.put_slice(bytes);
        while let Some(head) = self.buffer.first_chunk::<PIECE_HEAD_BYTES>().copied() {
            let damaged = ImageFileError::Damaged { at: self.taken };
            let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            if length > PIECE_BYTES_MAX || self.ended {
                return Err(damaged);
            }
            if self.buffer.len() < PIECE_HEAD_BYTES + length {
                break;
            }
            let piece = self.buffer.split_to(PIECE_HEAD_BYTES + length);
            let body = &piece[PIECE_HEAD_BYTES..];
            if sum_of(&head[..8], body).to_le_bytes() != head[8..] || (head[0] == HEAD) != self.head.is_none() {
                return Err(damaged);
            }
            match head[0] {
                HEAD => self.head = Some(ImageHead::decode(body)?.ok_or(damaged)?),
                ROWS => rows(self.taken, body)?,
                END if body == [self.pieces.to_le_bytes(), self.taken.to_le_bytes()].concat() => self.ended = true,
                _ => return Err(damaged),
            }
            self.pieces += 1;
            self.taken += piece.len() as u64;
        }
        Ok(())
    }
}

/// Makes the chunk in the body of rows, in `room`. Whether there is one.
fn unpack(body: &[u8], room: &mut Vec<u8>) -> bool {
    let Some((length, packed)) = body.split_first_chunk() else { return false };
    let length = u32::from_le_bytes(*length) as usize;
    if length > CHUNK_BYTES_MAX.min(packed.len() * LZ4_RATIO_MAX) {
        return false;
    }
    room.resize(length, 0);
    lz4_flex::block::decompress_into(packed, room).is_ok_and(|made| made == length)
}

fn sum_of(head: &[u8], body: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(head);
    sum.update(body);
    sum.finalize()
}

const MAGIC: &[u8; 8] = b"QuorImag";
const FORMAT: u16 = 2;

const HEAD: u8 = 1;
const ROWS: u8 = 2;
const END: u8 = 3;

const PIECE_HEAD_BYTES: usize = 12;

/// A head's bytes before its member lists.
const FIXED_BYTES: usize = 59;

/// A chunk holds its budget and one row at most; the largest row is a session with all its results.
const CHUNK_BYTES_MAX: usize = super::image::PIECE_BYTES + 2 * crate::limits::SESSION_RESULT_BYTES_MAX;

/// No byte of LZ4 stands for more bytes than this.
const LZ4_RATIO_MAX: usize = 255;

/// What cannot be made smaller grows by little.
const PIECE_BYTES_MAX: usize = CHUNK_BYTES_MAX + CHUNK_BYTES_MAX / 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::Applied;
    use crate::namespace::codec::BATCH_HEADER_BYTES;
    use crate::namespace::codec::batch_header;
    use crate::namespace::command::{Command, SessionId};
    use crate::paxos::Config;
    use crate::replica::exchange::Submission;

    fn identity() -> Identity {
        Identity { cell: CellId(7), replica: ReplicaId(2), incarnation: Incarnation(9) }
    }

    fn namespace() -> Namespace {
        let mut namespace = Namespace::new(1);
        let open = Command::OpenSession { token: 5, secret: 6, timeout_ms: 4000, address: None };
        let expire = Command::ExpireSession { session: SessionId(99), counter: 1 };
        for command in [open, expire] {
            let Submission { run, count } = Submission::of(&command);
            let mut batch = Vec::with_capacity(BATCH_HEADER_BYTES + run.len());
            batch.extend_from_slice(&batch_header(1, 1, count));
            batch.extend_from_slice(&run);
            namespace.apply(&batch, &mut Applied::default());
        }
        namespace
    }

    fn image() -> (ImageHead, u128, Vec<u8>) {
        let mut namespace = namespace();
        let mut configs = Configs::of_operator(Config::of_voters((1..=3).map(ReplicaId)));
        let config = configs.newest().bound(ReplicaId(2), Incarnation(9));
        assert!(configs.chosen(Slot(3), Slot(0), config));
        let revision = namespace.begin_image();
        let head = ImageHead { identity: identity(), slot: Slot(12), revision, configs };
        let mut writer = ImageWriter::default();
        let mut file = writer.head(&head).to_vec();
        while let Some(rows) = namespace.image_rows(16) {
            file.extend_from_slice(&writer.rows(&rows));
        }
        file.extend_from_slice(&writer.end());
        (head, namespace.digest(), file)
    }

    fn read(file: &[u8], step: usize) -> Result<(ImageHead, Namespace), ImageFileError> {
        let mut reader = ImageReader::new(3);
        file.chunks(step).try_for_each(|bytes| reader.add(bytes))?;
        reader.finish(CellId(7))
    }

    #[test]
    fn an_image_is_read_as_it_was_written_however_it_is_cut() {
        let (head, digest, file) = image();
        for step in [1, 7, 100, file.len()] {
            let (found, namespace) = read(&file, step).expect("it is whole");
            assert_eq!((found, namespace.digest()), (head.clone(), digest));
        }
    }

    #[test]
    fn rows_take_less_room_than_they_say_and_no_length_is_believed() {
        let chunk = b"/services/search/0001 /services/search/0002 ".repeat(500);
        let piece = ImageWriter::default().rows(&chunk);
        assert!(piece.len() < chunk.len() / 10, "{} bytes of {}", piece.len(), chunk.len());
        let mut room = Vec::new();
        let mut body = piece[PIECE_HEAD_BYTES..].to_vec();
        assert!(unpack(&body, &mut room) && room == chunk);
        for length in [0, chunk.len() - 1, chunk.len() + 1, 255 * piece.len(), CHUNK_BYTES_MAX + 1, u32::MAX as usize] {
            body[..4].copy_from_slice(&(length as u32).to_le_bytes());
            assert!(!unpack(&body, &mut room), "{length} is not its length");
            assert!(room.len() <= 255 * piece.len(), "{length} is no reason to take so much memory");
        }
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_noticed() {
        let (.., file) = image();
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(read(&damaged, 64).is_err(), "byte {at} is damaged");
            assert!(read(&file[..at], 64).is_err(), "cut at {at}");
        }
        let longer = [&file[..], &[0]].concat();
        assert!(read(&longer, 64).is_err(), "there is more than an image");
    }

    #[test]
    fn an_image_of_another_cell_is_refused() {
        let (.., file) = image();
        let mut reader = ImageReader::new(3);
        reader.add(&file).expect("it is whole");
        assert_eq!(reader.finish(CellId(8)).unwrap_err(), ImageFileError::Foreign { found: identity() });
    }
}
