//! The load generator behind `quorate bench`.
//!
//! So many clients, each with its own session and connection, ask for reads and overwrites of random keys. In a *closed
//! loop* each keeps so many operations under way and asks for the next when one is answered: when the system stalls,
//! less is asked of it, and the high percentiles are those of the operations made. In an *open loop* operations are due
//! at random times that do not wait for answers, and latency counts from then: what users of a stalled system see. Say
//! the loop and the shape (connections x depth) with every figure.
//!
//! ```text
//! workload   what to ask next; whether an answer can be true
//! system     what is asked of whom, and what came of it: the seam between the generator and those it measures
//! fleet      many session machines of Quorate and their sockets on one thread
//! peers      the same for ZooKeeper and etcd (feature `peers`)
//! run        the loop: warm up, measure, repeat;   arrivals   when operations are due in an open one
//! prepare    making keys before, verifying and removing them after
//! failover   the longest silence when a replica is lost;   session   opening and holding many sessions
//! dying      very many clients that die together, and what others notice
//! lock       locks taken and given up, alone and in a queue;   exclusion   whether what was told of them can be true
//! fan_out    one writer and many who watch;   telling   whether each was told of every write once, in order
//! course     what those two have in common: their folder, their windows, their end
//! tally      counts and latencies;   cost   CPU seconds and memory of the servers;   report   one measured point;
//! wrong      what no correct system answers;   stand_in   a system of memory alone, for tests of the generator
//! results    a folder of points with all that repeats them;   host   what has to be known of the host
//! judgement  for what a command fails, whatever its figures
//! compare    results against results;   figure, plots, page   SVG, which plots there are, and one page with everything
//! capacity   no measurement: what 16 and 64 cores may be expected to do, from what two did
//! ```
//!
//! # Invariants
//!
//! 1. **Every answer is checked**, always: that a value was written to its key, that nothing is older than what this
//!    process had seen before it asked, that at the end each key counts each acknowledged write exactly once. A run
//!    with a wrong answer fails, whatever its figures, and so does one that did nothing or in which more than 0.1 % of
//!    what was asked came to nothing. Where old answers are allowed (stale reads, ZooKeeper) they are
//!    counted. Of locks: that no two hold one at once, by this process' clock nor by the log's, each holder has a later
//!    generation, and all are free at the end. Of watches: that each watcher is told of every write once, in order, or
//!    of a gap, and reads the last value at the end.
//! 2. **One thread** for all clients, so that the generator's cost can be told, and is small. A run in which it worked
//!    or waited for a core nearly all the time is called the generator's. Only clients that are to die are other processes', so that
//!    they can be killed.
//! 3. Latency runs from handing an operation to its client, or in an open loop from when it was due, until its answer
//!    is decoded: retries, moves to another replica and waiting for a leader are part of it.
//! 4. What ends after the window is checked but not counted. Only in an open loop the latency of all that was due in the
//!    window counts, however late it is answered, and its throughput is what was answered in it. One that could not keep
//!    its rate is called invalid.
//! 5. **Histograms are merged, percentiles never averaged**: results carry the histograms, so that repeats and commands
//!    can be put together later.
//! 6. All systems are asked by the same loop; only the clients differ. Sessions, locks and watches are Quorate's alone,
//!    and always a closed loop: a lock is asked for when the one before is given up, a node written when all were told.
//!
//! # Deliberately not here
//!
//! A second generator process: where one thread is not enough load, start `quorate bench` twice with different
//! prefixes. Judgement of regressions by statistics: repeats that overlap are no change, and the threshold is the
//! caller's.

mod arrivals;
mod capacity;
mod compare;
mod cost;
mod course;
mod dying;
mod exclusion;
mod failover;
mod fan_out;
mod figure;
mod fleet;
mod host;
mod judgement;
mod lock;
mod page;
#[cfg(any(test, feature = "peers"))]
pub mod peers;
mod plots;
mod prepare;
mod report;
mod results;
mod run;
mod session;
#[cfg(test)]
mod stand_in;
mod system;
mod tally;
mod telling;
mod workload;
mod wrong;

pub use capacity::{Capacity, Limit, bound_by};
pub use compare::{Change, Comparison, REPEATS_MIN, Verdict, compare};
pub use cost::{Cost, Meter};
pub use course::{Course, Measured};
pub use dying::{Crowd, Dying, DyingReport, dying};
pub use failover::{Blow, FailoverReport, failover};
pub use fan_out::{FanOutReport, IdleWatches, Watched, fan_out};
pub use fleet::{Fleet, Word, now};
pub use host::{Disk, Host, program};
pub use judgement::{ERRORS_PCT_MAX, Fault, FaultKind, faults};
pub use lock::{LockReport, locks};
pub use prepare::CHORES_UNDER_WAY;
pub use report::{Point, Repeat, Report};
pub use results::{Results, ResultsError, SCHEMA};
pub use run::{Plan, Progress, Run, RunError, Watch, run};
pub use session::{SessionReport, storm};
pub use system::{Ask, Finished, Lost, Numbers, System, Told, Troubles};
pub use tally::{Latencies, TICK_MS, Tally, Tick};
pub use workload::{Operation, VALUE_BYTES_MIN, Workload};
pub use wrong::Wrong;
