//! Durable writes as the journal makes them: through a ring, direct, to a file that was written with zeros once.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use hdrhistogram::Histogram;
use quorate::limits::BLOCK_BYTES;
use quorate::runtime::disk::{self, Access, AlignedBuffer, Alignment};
use quorate::runtime::{self, Event, FileId, Ring, clock};
use quorate::server::folder::zero_file;
use quorate::server::measured::{Method, Run};
use quorate::server::{Code, Failure};
use quorate::time::{Duration, Instant};

/// A file to measure with. It has no name any more, so that nothing is left behind however the process ends.
pub struct Trial {
    file: std::fs::File,
    bytes: u64,
    alignment: Alignment,
    path: PathBuf,
}

/// When a run is over: whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub time: Duration,
    pub writes: u64,
}

impl Trial {
    /// A file of `bytes` zeros in `folder`, all of them written.
    pub fn open(folder: &Path, bytes: u64) -> Result<Self, Failure> {
        let path = folder.join(format!(".quorate-trial-{}", std::process::id()));
        let opened = zero_file(&path, bytes)
            .map_err(|error| Failure::io(Code::DiskFailed, "write with zeros", &path, &error))
            .and_then(|()| {
                disk::open_direct(&path, Access::ReadWrite)
                    .map_err(|error| Failure::new(Code::FilesystemUnfit, error.to_string()))
            });
        // Gone before anything is said of it; a name that was never made need not be removed.
        let _ = std::fs::remove_file(&path);
        let (file, alignment) = opened?;
        Ok(Self { file, bytes, alignment, path })
    }

    /// What the kernel asks of direct writes to it.
    pub fn alignment(&self) -> Alignment {
        self.alignment
    }

    /// Writes of `bytes` each, `depth` at a time, one behind the other through the file and round again.
    pub fn measure(&self, method: Method, bytes: usize, depth: usize, budget: Budget) -> Result<Run, Failure> {
        Ok(self.sample(method, bytes, depth, budget)?.run())
    }

    /// The same by each method, which take turns, and take turns at being first: what else the host does meanwhile happens
    /// to all of them. The budget is each method's.
    pub fn compare<const METHODS: usize>(
        &self,
        methods: [Method; METHODS],
        (bytes, depth): (usize, usize),
        budget: Budget,
    ) -> Result<[Run; METHODS], Failure> {
        let slice = Budget {
            time: Duration::from_nanos(budget.time.as_nanos() / ROUNDS),
            writes: budget.writes.div_ceil(ROUNDS),
        };
        let mut samples: [Option<Sample>; METHODS] = [const { None }; METHODS];
        for index in turns(METHODS) {
            let sample = self.sample(methods[index], bytes, depth, slice)?;
            match &mut samples[index] {
                Some(earlier) => earlier.add(&sample),
                first => *first = Some(sample),
            }
        }
        Ok(samples.map(|sample| sample.expect("there is more than one round").run()))
    }

    fn sample(&self, method: Method, bytes: usize, depth: usize, budget: Budget) -> Result<Sample, Failure> {
        assert!(depth > 0 && (bytes * depth) as u64 <= self.bytes, "writes in flight do not overlap");
        let options = runtime::Options {
            entries: 64,
            receive_buffers: 1,
            receive_buffer_bytes: 4096,
            connections: 1,
            files: 1,
            durability: method.into(),
            ..runtime::Options::default()
        };
        let mut ring = Ring::new(options).map_err(|error| Failure::new(Code::RingUnavailable, error.to_string()))?;
        let file = self.file.try_clone().and_then(|file| ring.register_file(file));
        let file = file.map_err(|error| Failure::io(Code::DiskFailed, "register", &self.path, &error))?;
        let mut stream = Stream { file, content: content(bytes), room: self.bytes, sent: Vec::new(), writes: 0 };
        let mut latencies =
            Histogram::<u64>::new_with_bounds(1_000, 60_000_000_000, 3).expect("the bounds are in order");
        let began = clock::now();
        (0..depth).for_each(|_| stream.write(&mut ring));
        let mut ended_at = began;
        while ring.writes_in_flight() > 0 {
            let mut failed = None;
            ring.turn(None, &mut |ring, event| {
                let Event::Written { token, result } = event else { return };
                ended_at = clock::now();
                latencies.saturating_record(ended_at.since(stream.sent[token as usize]).as_nanos());
                failed = failed.take().or(result.err());
                let more = stream.writes < budget.writes && ended_at.since(began) < budget.time;
                if more && failed.is_none() {
                    stream.write(ring);
                }
            })
            .map_err(|error| Failure::new(Code::LoopFailed, "the ring failed").found(error.to_string()))?;
            if let Some(error) = failed {
                return Err(Failure::io(Code::DiskFailed, "write to", &self.path, &error));
            }
        }
        Ok(Sample { method, bytes, depth, latencies, took: ended_at.since(began) })
    }
}

/// Which of so many is measured next, all rounds long: the first of one round is the last of the next.
fn turns(methods: usize) -> impl Iterator<Item = usize> {
    let round =
        move |round: u64| (0..methods).map(move |at| if round.is_multiple_of(2) { at } else { methods - 1 - at });
    (0..ROUNDS).flat_map(round)
}

/// What was measured of one method, at one size and depth.
struct Sample {
    method: Method,
    bytes: usize,
    depth: usize,
    latencies: Histogram<u64>,
    took: Duration,
}

impl Sample {
    fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("the bounds are the same");
        self.took = self.took + other.took;
    }

    fn run(&self) -> Run {
        let Self { method, bytes, depth, latencies, took } = self;
        let micros = |nanos: u64| (nanos as f64 / 100.0).round() / 10.0;
        let at = |quantile: f64| micros(latencies.value_at_quantile(quantile));
        let per_second = latencies.len() as f64 * 1e9 / took.as_nanos().max(1) as f64;
        Run {
            method: *method,
            bytes: *bytes,
            depth: *depth,
            writes: latencies.len(),
            per_second: per_second.round(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: micros(latencies.max()),
        }
    }
}

/// The writes of one run.
struct Stream {
    file: FileId,
    content: Bytes,
    room: u64,
    /// When each was handed over, by its token.
    sent: Vec<Instant>,
    writes: u64,
}

impl Stream {
    fn write(&mut self, ring: &mut Ring) {
        let bytes = self.content.len() as u64;
        let offset = self.writes % (self.room / bytes) * bytes;
        let token = self.writes;
        self.writes += 1;
        self.sent.push(clock::now());
        ring.write_durable(self.file, offset, vec![self.content.clone()], token);
    }
}

/// Bytes that no device can take for zeros or compress to nothing.
fn content(bytes: usize) -> Bytes {
    struct Owned(AlignedBuffer);
    impl AsRef<[u8]> for Owned {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    assert_eq!(bytes % BLOCK_BYTES, 0, "the journal writes whole blocks");
    let mut buffer = AlignedBuffer::zeroed(bytes);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for word in buffer.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    Bytes::from_owner(Owned(buffer))
}

/// How often each method has its turn in a comparison: an even number, so that each is first as often as last.
const ROUNDS: u64 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_methods_are_measured_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
        let trial = Trial::open(folder.path(), 1 << 20).expect("a disk with direct writes");
        assert!(BLOCK_BYTES.is_multiple_of(trial.alignment().position));
        let budget = Budget { time: Duration::from_secs(60), writes: 9 };
        for method in Method::ALL {
            for (bytes, depth) in [(4096, 1), (64 << 10, 2)] {
                let run = trial.measure(method, bytes, depth, budget).expect("it writes");
                assert_eq!((run.method, run.bytes, run.depth, run.writes), (method, bytes, depth, 9));
                assert!(run.p50_us > 0.0 && run.p50_us <= run.p99_us && run.p99_us <= run.max_us, "{run:?}");
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 0);
    }

    #[test]
    fn what_is_compared_takes_turns() {
        assert_eq!(turns(2).collect::<Vec<_>>(), [0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0]);
        assert_eq!(turns(1).count() as u64, ROUNDS);
        let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
        let trial = Trial::open(folder.path(), 1 << 20).expect("a disk with direct writes");
        let budget = Budget { time: Duration::from_secs(60), writes: 20 };
        let runs = trial.compare(Method::ALL, (4096, 2), budget).expect("it writes");
        for (run, method) in runs.iter().zip(Method::ALL) {
            assert_eq!((run.method, run.bytes, run.depth), (method, 4096, 2));
            assert_eq!(run.writes, 24, "six rounds of four, merged");
            assert!(run.p50_us > 0.0 && run.p50_us <= run.max_us && run.per_second > 0.0, "{run:?}");
        }
    }

    #[test]
    fn a_folder_without_direct_writes_is_named() {
        let failure = Trial::open(Path::new("/proc"), 4096).err().expect("nothing is written there");
        assert!(failure.report().contains("/proc"), "{}", failure.report());
    }
}
