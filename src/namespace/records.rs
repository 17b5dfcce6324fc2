//! Records as they lie one behind the other: in a request, in a log's runs, in an image and in an answer alike.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

/// Some records, in order, as bytes of one form: each its length as a `u32`, and itself.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Records {
    run: Bytes,
    count: usize,
}

/// [`Records`] that borrow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RecordsRef<'a> {
    run: &'a [u8],
    count: usize,
}

impl Records {
    /// The records of an encoded run; `None` if it is none.
    #[must_use]
    pub fn of_run(run: Bytes) -> Option<Self> {
        let count = RecordsRef::of_run(&run)?.count;
        Some(Self { run, count })
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the run: the records', and four for each.
    #[must_use]
    pub const fn run_bytes(&self) -> usize {
        self.run.len()
    }

    /// The records, each sharing this one's memory.
    pub fn iter(&self) -> impl Iterator<Item = Bytes> {
        self.as_ref().iter().map(|record| self.run.slice_ref(record))
    }

    /// The same records, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> RecordsRef<'_> {
        RecordsRef { run: &self.run, count: self.count }
    }
}

impl<R: AsRef<[u8]>> FromIterator<R> for Records {
    fn from_iter<I: IntoIterator<Item = R>>(records: I) -> Self {
        let (mut run, mut count) = (BytesMut::new(), 0);
        for record in records {
            put_record(&mut run, record.as_ref());
            count += 1;
        }
        Self { run: run.freeze(), count }
    }
}

impl<'a> RecordsRef<'a> {
    /// The records of an encoded run; `None` if it is none.
    #[must_use]
    pub fn of_run(run: &'a [u8]) -> Option<Self> {
        let (mut rest, mut count) = (run, 0);
        while !rest.is_empty() {
            rest = split_record(rest)?.1;
            count += 1;
        }
        Some(Self { run, count })
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The records as bytes: what [`Self::of_run`] takes.
    #[must_use]
    pub const fn run(&self) -> &'a [u8] {
        self.run
    }

    /// The records.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.run;
        std::iter::from_fn(move || {
            let (record, after) = split_record(rest)?;
            rest = after;
            Some(record)
        })
    }

    /// The largest record, in bytes.
    #[must_use]
    pub fn record_bytes_max(self) -> usize {
        self.iter().map(<[u8]>::len).max().unwrap_or(0)
    }

    /// An owned copy.
    #[must_use]
    pub fn to_records(self) -> Records {
        Records { run: Bytes::copy_from_slice(self.run), count: self.count }
    }
}

/// The first record of a run, and what follows it; `None` if the run does not begin with a whole record.
pub(super) fn split_record(run: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = run.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}

fn put_record(run: &mut BytesMut, record: &[u8]) {
    run.put_u32_le(u32::try_from(record.len()).expect("a record is bounded far below 4 GiB"));
    run.put_slice(record);
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl fmt::Debug for RecordsRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.iter().map(Bytes::copy_from_slice);
        f.debug_list().entries(records).finish()
    }
}
