//! An image as a file: pieces that are written one after the other, and read back the same way.
//!
//! ```text
//! image-00000000000000081234   the number is the slot up to which everything is in it
//!
//! piece   kind u8 | 3 zeros | length u32 | CRC-32 of kind to length and of the body | body      (little-endian)
//!   1 head   "QuorImag" | format u16 | cell u128 | replica u8 | incarnation u128 | slot u64 | revision u64
//!            | the newest member list and the one before
//!   2 rows   length u32 | that many bytes of LZ4 (one block): a chunk of the namespace's image (namespace/image.rs)
//!   3 end    pieces before it u64 | bytes before it u64 | BLAKE3 of the bytes before it, 32 bytes
//! ```
//!
//! The length is the chunk's own. Three things tell whether an image is what was written:
//!
//! | | of | tells |
//! |---|---|---|
//! | a piece's sum | what lies on disk of it | damage, as soon as the piece is read, and where it is |
//! | the end's hash | all pieces before it | pieces that are whole and missing, doubled, out of place or another image's |
//! | the rows' digest | what they hold | whether the state that comes out is the one that went in |
//!
//! Whoever reads an image compares the first two, piece by piece and at its end, whatever it reads it for: to start from
//! it, to take it over from a peer, to look after what lies still, to save or to show it. So nobody who reads it to its end
//! has it hashed twice: what is known then as *its hash* is that of the whole file, the end included, as `b3sum` prints it.
//!
//! Format 2 is as this one, and its end holds no hash. Its images are read, so that a cell can be started anew one replica
//! after the other; their sums must do. Newer formats are refused.

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
    /// Each piece is whole, and together they are not what was written.
    #[error(
        "the image's pieces have BLAKE3 {found}, and its end says {needed}: some are missing, doubled, out of place or \
         another image's; use another image"
    )]
    Hash { found: blake3::Hash, needed: blake3::Hash },
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

impl ImageFileError {
    /// Whether the file may be whole: a newer program reads it.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::NewerFormat { .. } | Self::Rows(ImageError::Version { .. }))
    }
}

/// Writes the pieces of one image.
#[derive(Debug, Default)]
pub(super) struct ImageWriter {
    pieces: u64,
    bytes: u64,
    /// Of all pieces so far.
    hash: blake3::Hasher,
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
    /// Of whole pieces.
    hash: blake3::Hasher,
    head: Option<ImageHead>,
    /// As the head says; 0 before it.
    format: u16,
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

    /// With the format that the image is in. `None`: these are not the bytes of a head.
    fn decode(mut body: &[u8]) -> Result<Option<(u16, Self)>, ImageFileError> {
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
        Ok(Some((found, Self { identity, slot, revision, configs })))
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
        let body = [&counts(self.pieces, self.bytes)[..], self.hash.finalize().as_bytes()].concat();
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
        self.hash.update(&out);
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

    /// As [`ImageCheck::hash`].
    #[must_use]
    pub fn hash(&self) -> Option<blake3::Hash> {
        self.unpacker.check.hash()
    }

    /// Whether its end says a hash to compare with, once its first piece is in: in the format before this one it does not.
    #[must_use]
    pub fn says_its_hash(&self) -> bool {
        self.unpacker.check.format >= HASHED_SINCE
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

    /// BLAKE3 of the whole image, its end included, once it is whole.
    #[must_use]
    pub fn hash(&self) -> Option<blake3::Hash> {
        self.is_whole().then(|| self.hash.finalize())
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
                HEAD => {
                    let (format, head) = ImageHead::decode(body)?.ok_or(damaged)?;
                    (self.format, self.head) = (format, Some(head));
                }
                ROWS => rows(self.taken, body)?,
                END => self.take_end(body)?,
                _ => return Err(damaged),
            }
            self.pieces += 1;
            self.taken += piece.len() as u64;
            self.hash.update(&piece);
        }
        Ok(())
    }

    /// Compares what the end says of the pieces before it with what came.
    fn take_end(&mut self, body: &[u8]) -> Result<(), ImageFileError> {
        let damaged = ImageFileError::Damaged { at: self.taken };
        let Some(said) = body.strip_prefix(&counts(self.pieces, self.taken)[..]) else { return Err(damaged) };
        match <[u8; blake3::OUT_LEN]>::try_from(said) {
            Ok(said) if self.format >= HASHED_SINCE => {
                let (found, needed) = (self.hash.finalize(), blake3::Hash::from_bytes(said));
                if found != needed {
                    return Err(ImageFileError::Hash { found, needed });
                }
            }
            Err(_) if self.format < HASHED_SINCE && said.is_empty() => {}
            _ => return Err(damaged),
        }
        self.ended = true;
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

/// What an end begins with.
fn counts(pieces: u64, bytes: u64) -> Vec<u8> {
    [pieces.to_le_bytes(), bytes.to_le_bytes()].concat()
}

fn sum_of(head: &[u8], body: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(head);
    sum.update(body);
    sum.finalize()
}

const MAGIC: &[u8; 8] = b"QuorImag";
const FORMAT: u16 = 3;

/// The format since which an image's end holds the hash of what is before it.
const HASHED_SINCE: u16 = 3;

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

    /// Every row is a piece of its own.
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

    fn pieces(mut file: &[u8]) -> Vec<&[u8]> {
        let mut pieces = Vec::new();
        while let Some(head) = file.first_chunk::<PIECE_HEAD_BYTES>() {
            let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            pieces.push(file.split_off(..PIECE_HEAD_BYTES + length).expect("pieces are whole"));
        }
        assert!(file.is_empty(), "a file is pieces and nothing else");
        pieces
    }

    /// These pieces, and an end that counts them, and says `hash`.
    fn ended(pieces: &[&[u8]], hash: &[u8]) -> Vec<u8> {
        let before = pieces.concat();
        let counts = counts(pieces.len() as u64, before.len() as u64);
        let end = ImageWriter::default().piece(END, &[&counts[..], hash].concat());
        [&before[..], &end].concat()
    }

    /// What is wrong with it, so far as that can be said without its rows.
    fn checked(file: &[u8]) -> Result<(), ImageFileError> {
        let mut check = ImageCheck::default();
        check.add(file)?;
        assert!(check.is_whole(), "it has its end");
        Ok(())
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
    fn whole_pieces_that_are_not_those_that_were_written_are_refused_by_the_hash() {
        let (_, digest, file) = image();
        let written = pieces(&file);
        let (end, before) = written.split_last().expect("it has an end");
        let hash = end.last_chunk::<32>().expect("it says a hash");
        assert_eq!(ended(before, hash), file, "that is how an end is made");
        let refused = |pieces: &[&[u8]], how: &str| {
            let file = ended(pieces, hash);
            let error = checked(&file).expect_err(how);
            assert!(matches!(error, ImageFileError::Hash { .. }), "{how}: {error}");
            assert!(read(&file, 64).is_err(), "{how}");
        };
        let (mut exchanged, mut alike) = (0, 0);
        for at in 1..before.len() {
            refused(&[&before[..at], &before[at + 1..]].concat(), "one is missing");
            refused(&[&before[..=at], &before[at..]].concat(), "one is doubled");
            for other in (at + 1..before.len()).filter(|other| before[*other] != before[at]) {
                let mut pieces = before.to_vec();
                pieces.swap(at, other);
                refused(&pieces, "two are exchanged");
                exchanged += 1;
                // With the hash of what is there now, and no other: the rows themselves may come in many orders.
                let hash = *blake3::hash(&pieces.concat()).as_bytes();
                alike += usize::from(read(&ended(&pieces, &hash), 64).is_ok_and(|(_, found)| found.digest() == digest));
            }
        }
        assert!(alike > 0, "of {exchanged} exchanges some are seen by the hash alone");
    }

    #[test]
    fn an_image_that_ends_between_two_pieces_is_cut() {
        let (.., file) = image();
        let mut bytes = 0;
        for piece in pieces(&file) {
            assert_eq!(read(&file[..bytes], 64).map(|_| ()), Err(ImageFileError::Cut { bytes: bytes as u64 }));
            bytes += piece.len();
        }
    }

    #[test]
    fn the_hash_of_an_image_is_that_of_its_whole_file() {
        let (.., file) = image();
        let (mut check, mut reader) = (ImageCheck::default(), ImageReader::new(3));
        for bytes in file.chunks(7) {
            assert_eq!((check.hash(), reader.hash()), (None, None), "it is not whole yet");
            check.add(bytes).expect("it is an image");
            reader.add(bytes).expect("it is an image");
        }
        let whole = Some(blake3::hash(&file));
        assert_eq!((check.hash(), reader.hash()), (whole, whole));
        assert!(reader.says_its_hash());
    }

    #[test]
    fn an_image_of_the_format_before_is_read_and_need_not_say_its_hash() {
        let (head, digest, file) = image();
        let written = pieces(&file);
        let in_format = |format: u16| {
            let mut body = written[0][PIECE_HEAD_BYTES..].to_vec();
            body[8..10].copy_from_slice(&format.to_le_bytes());
            ImageWriter::default().piece(HEAD, &body)
        };
        let of = |format: u16, hash: &[u8]| {
            let head = in_format(format);
            let pieces = [&[&head[..]][..], &written[1..written.len() - 1]].concat();
            ended(&pieces, hash)
        };
        let older = of(2, &[]);
        let (found, namespace) = read(&older, 64).expect("its sums are right");
        assert_eq!((found, namespace.digest()), (head, digest));
        let mut reader = ImageReader::new(3);
        reader.add(&older).expect("it is whole");
        assert!(!reader.says_its_hash());
        assert_eq!(reader.hash(), Some(blake3::hash(&older)), "it has one all the same");
        let at = older.len() as u64 - (PIECE_HEAD_BYTES + 16) as u64;
        for file in [of(3, &[]), of(2, &[0; 32]), of(3, &[0; 31]), of(3, &[0; 33])] {
            assert_eq!(
                checked(&file),
                Err(ImageFileError::Damaged { at }),
                "it is neither the one format nor the other"
            );
        }
        assert_eq!(checked(&of(4, &[])), Err(ImageFileError::NewerFormat { found: 4 }));
    }

    #[test]
    fn an_image_of_another_cell_is_refused() {
        let (.., file) = image();
        let mut reader = ImageReader::new(3);
        reader.add(&file).expect("it is whole");
        assert_eq!(reader.finish(CellId(8)).unwrap_err(), ImageFileError::Foreign { found: identity() });
    }
}
