//! The configuration: one TOML file, the same on every replica of a cell.
//!
//! ```toml
//! [cell]
//! id = "5d3c0f6c1c0a4a3d8d1f0d5f5b0e7a11"
//!
//! [[replica]]
//! id = 1
//! client = "10.0.0.1:7400"
//! peer = "10.0.0.1:7401"
//!
//! [paxos]
//! lease = "250ms"
//! ```
//!
//! What is left out has its default. Later wins: file, then environment (`QUORATE_PAXOS_LEASE=300ms` sets `lease` of
//! `[paxos]`), then flags. A key that does not exist is an error wherever it comes from. Which replica a process is, its
//! folder says, so that the file can be byte for byte the same everywhere.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

mod address;
mod overlay;
mod super_user;
mod throttle;
mod units;

pub use address::Address;
pub use overlay::{Override, Setting};
pub use super_user::SuperUser;
pub use throttle::ThrottleSection;
pub use units::{Size, Span};

use super::failure::{Code, Failure};
use crate::limits::{BLOCK_BYTES, REPLICAS_MAX, SPIN_MAX, VALUE_BYTES_MAX};
use crate::paxos::{CellId, ReplicaId};
use crate::time::Duration;

/// The whole configuration, checked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which cell this is.
    pub cell: CellSection,
    /// Its replicas, ordered by id.
    #[serde(rename = "replica")]
    pub replicas: Vec<ReplicaSection>,
    /// What a process takes of its host.
    #[serde(default)]
    pub server: ServerSection,
    /// Elections and leases.
    #[serde(default)]
    pub paxos: PaxosSection,
    /// The files that hold the log.
    #[serde(default)]
    pub journal: JournalSection,
    /// What clients may ask of a session.
    #[serde(default)]
    pub session: SessionSection,
    /// Who is above the access lists.
    #[serde(default)]
    pub acl: AclSection,
    /// How much one principal may ask.
    #[serde(default)]
    pub throttle: ThrottleSection,
}

/// `[cell]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellSection {
    /// 32 hexadecimal digits, chosen at random when the cell is made.
    #[serde(serialize_with = "as_text", deserialize_with = "cell_id")]
    pub id: CellId,
}

/// One `[[replica]]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicaSection {
    /// 1 to 63, never used again for another machine.
    #[serde(serialize_with = "replica_number", deserialize_with = "replica_id")]
    pub id: ReplicaId,
    /// Where it listens for clients: an address, or a host's name and a port. Port 0: any free one, printed at start.
    pub client: Address,
    /// Where it listens for the other replicas.
    pub peer: Address,
    /// Where clients are told to find it, if that is another address than it listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<Address>,
}

/// `[server]`
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSection {
    /// Empty: one loop, pinned nowhere. One core: one loop, pinned there. More: the first runs the replica, each other
    /// one a front.
    pub cores: Vec<usize>,
    /// So long each loop watches for work before it sleeps; `0s`: not at all. Only where `cores` are named, here or to
    /// `start`, as it takes them whole, idle or not.
    pub spin: Span,
}

/// `[paxos]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PaxosSection {
    /// How often an idle leader says that it lives.
    pub heartbeat: Span,
    /// How long a follower's promise to follow one leader holds: the leader's lease D.
    pub lease: Span,
    /// The shortest silence of the leader after which a follower looks for another. Default: `lease`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub election_min: Option<Span>,
    /// The longest. Default: one and a half times `lease`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub election_max: Option<Span>,
    /// Taken off the leader's lease beside the clocks' error.
    pub margin: Span,
    /// Whether the leader answers reads under its lease. If not, each read costs a round trip to a majority.
    pub lease_reads: bool,
}

/// `[journal]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalSection {
    /// The size of one file of the log; each is written with zeros once, then only overwritten.
    pub segment: Size,
    /// What all of them may take. Writes are refused before it is passed.
    pub max: Size,
    /// After so much log the state is written out whole, so that the log before can be given up.
    pub image_after: Size,
    /// So much of it is kept for members that are away, which then need no image, as long as there is room; a quarter of
    /// `max` if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_for_lagging: Option<Size>,
    /// Log and images are read back once in so long, to find damage while it can be repaired; `0s`: never.
    pub scrub_period: Span,
    /// How a write is made durable.
    pub durability: Durability,
}

/// How the journal's writes are made durable.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// By a flush linked to the write.
    Flush,
    /// By writing synchronously.
    #[default]
    Synchronous,
    /// As `quorate iotest` found better on the replica's folder.
    Measured,
}

/// `[session]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionSection {
    /// The shortest time-out a client gets, whatever it asks for.
    pub timeout_min: Span,
    /// The longest.
    pub timeout_max: Span,
    /// What a client gets that does not ask.
    pub timeout_default: Span,
}

/// `[acl]`
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AclSection {
    /// The user who may do everything, as `quorate acl digest` prints it; or `none`, and a node whose list shuts everybody
    /// out stays shut.
    #[serde(rename = "super")]
    pub super_user: SuperUser,
}

impl Config {
    /// Reads the file at `path`, lays `overrides` over it in order, and checks the whole.
    pub fn read(path: &Path, overrides: &[Override]) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::io(Code::ConfigUnreadable, "read the configuration", path, &error))?;
        Self::parse(&text, &path.display().to_string(), overrides)
    }

    /// As [`Config::read`], from text; `origin` names it in messages.
    pub fn parse(text: &str, origin: &str, overrides: &[Override]) -> Result<Self, Failure> {
        // First as it stands, so that a mistake in the file is shown with its line; then with what is laid over it.
        let alone: Self = toml::from_str(text).map_err(|error| misread(origin, &error))?;
        let mut config = alone.clone();
        if !overrides.is_empty() {
            let mut table: toml::Table = toml::from_str(text).map_err(|error| misread(origin, &error))?;
            for setting in overrides {
                setting.lay_over(&mut table)?;
                config = table.clone().try_into().map_err(|error: toml::de::Error| misread(&setting.origin, &error))?;
            }
        }
        config.replicas.sort_by_key(|replica| replica.id);
        config.check(&alone.blamed(origin, overrides))?;
        Ok(config)
    }

    /// Who is at fault if something is wrong, should this stand in the file: the file, unless it is sound without what was laid
    /// over it.
    fn blamed(mut self, origin: &str, overrides: &[Override]) -> Blamed {
        self.replicas.sort_by_key(|replica| replica.id);
        let file = Blamed {
            what: format!("{origin} contradicts itself"),
            fix: format!("edit {origin}; it must be the same on every replica"),
        };
        if overrides.is_empty() || self.check(&file).is_err() {
            return file;
        }
        let laid = overrides.iter().map(|setting| setting.origin.as_str()).collect::<Vec<_>>().join(", ");
        let fix = format!("change or drop {laid}: {origin} is sound without");
        Blamed { what: format!("what is laid over {origin} by {laid} contradicts it"), fix }
    }

    /// The file's text: what `dev` writes.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration is tables of texts, numbers and lists")
    }

    /// The same configuration with every default worked out and written down: what a server does.
    #[must_use]
    pub fn in_full(&self) -> Self {
        let mut whole = self.clone();
        for replica in &mut whole.replicas {
            replica.advertise = Some(replica.advertised().clone());
        }
        whole.paxos.election_min = Some(self.paxos.election_min());
        whole.paxos.election_max = Some(self.paxos.election_max());
        whole.journal.keep_for_lagging = Some(self.journal.keep_for_lagging());
        whole
    }

    /// The replica of that id.
    #[must_use]
    pub fn replica(&self, id: ReplicaId) -> Option<&ReplicaSection> {
        self.replicas.iter().find(|replica| replica.id == id)
    }

    /// What is sound, and hardly what anybody wants: more than a warning it is not.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        match self.replicas.len() {
            1 => Some("1 replica survives no crash; 3 survive one".into()),
            2 => Some("2 replicas survive no crash; 3 survive one".into()),
            _ => None,
        }
    }

    fn check(&self, Blamed { what, fix }: &Blamed) -> Result<(), Failure> {
        let wrong = |found: String, needed: &str, why: &str| {
            Failure::new(Code::ConfigInvalid, what).found(found).needed(needed).why(why).fix(fix)
        };
        self.check_replicas(&wrong)?;
        let paxos = &self.paxos;
        if paxos.heartbeat.0 == Duration::ZERO || paxos.lease.0 < paxos.heartbeat.0.scaled(4, 1) {
            return Err(wrong(
                format!("paxos.heartbeat = {}, lease = {}", paxos.heartbeat, paxos.lease),
                "a heartbeat above zero and a lease of at least four",
                "one late heartbeat must not cost the leader its lease",
            ));
        }
        if paxos.margin.0.scaled(4, 1) > paxos.lease.0 {
            return Err(wrong(
                format!("paxos.margin = {}, lease = {}", paxos.margin, paxos.lease),
                "a margin of at most a quarter of the lease",
                "what is left of the lease would be too short to serve reads under",
            ));
        }
        if paxos.election_min().0 < paxos.lease.0 || paxos.election_max().0 < paxos.election_min().0 {
            return Err(wrong(
                format!("election_min = {}, election_max = {}", paxos.election_min(), paxos.election_max()),
                "lease <= election_min <= election_max",
                "a candidate that asks before the lease ran out is refused anyway",
            ));
        }
        let session = &self.session;
        if session.timeout_min.0 == Duration::ZERO
            || session.timeout_min > session.timeout_default
            || session.timeout_default > session.timeout_max
        {
            return Err(wrong(
                format!(
                    "timeout_min = {}, timeout_default = {}, timeout_max = {}",
                    session.timeout_min, session.timeout_default, session.timeout_max
                ),
                "0 < timeout_min <= timeout_default <= timeout_max",
                "every session gets a time-out between the two ends",
            ));
        }
        self.check_server(&wrong)?;
        self.check_throttle(&wrong)?;
        self.check_journal(&wrong)
    }

    fn check_server(&self, wrong: &dyn Fn(String, &str, &str) -> Failure) -> Result<(), Failure> {
        let spin = self.server.spin;
        if spin.0 > SPIN_MAX {
            return Err(wrong(
                format!("server.spin = {spin}"),
                &format!("at most {SPIN_MAX}"),
                "a sleeping loop is awake again in a small part of that: more of it costs current and heat, and gains nothing",
            ));
        }
        Ok(())
    }

    fn check_replicas(&self, wrong: &dyn Fn(String, &str, &str) -> Failure) -> Result<(), Failure> {
        if self.cell.id == CellId(0) {
            return Err(wrong(
                "cell.id = 0".into(),
                "a random id",
                "two cells of one id would take each other's frames",
            ));
        }
        if self.replicas.is_empty() || self.replicas.len() > REPLICAS_MAX {
            return Err(wrong(
                format!("{} replicas", self.replicas.len()),
                &format!("1 to {REPLICAS_MAX}, best 3 or 5"),
                "a cell is as available as its majority",
            ));
        }
        if let Some(pair) = self.replicas.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(wrong(format!("two replicas with id {}", pair[0].id.0), "one of each", "votes go by id"));
        }
        let mut addresses: Vec<_> = self.replicas.iter().flat_map(|replica| [&replica.client, &replica.peer]).collect();
        addresses.retain(|address| address.port() != 0);
        addresses.sort();
        if let Some(pair) = addresses.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(wrong(
                format!("{} twice", pair[0]),
                "a different address for everything that listens",
                "only one socket can listen there",
            ));
        }
        Ok(())
    }

    fn check_journal(&self, wrong: &dyn Fn(String, &str, &str) -> Failure) -> Result<(), Failure> {
        let journal = &self.journal;
        let segment_min = 2 * VALUE_BYTES_MAX as u64;
        if journal.segment.0 < segment_min || !journal.segment.0.is_multiple_of(BLOCK_BYTES as u64) {
            return Err(wrong(
                format!("journal.segment = {}", journal.segment),
                &format!("at least {}, in whole blocks of {}", Size(segment_min), Size(BLOCK_BYTES as u64)),
                "the largest entry has to fit a segment",
            ));
        }
        if journal.max.0 / 3 < journal.segment.0 {
            return Err(wrong(
                format!("journal.max = {}, segment = {}", journal.max, journal.segment),
                "room for at least three segments",
                "one is written, one is ready, one is trimmed",
            ));
        }
        let needed = journal.image_after.0.saturating_mul(3).saturating_add(2 * journal.segment.0);
        if journal.image_after.0 == 0 || journal.max.0 < needed {
            return Err(wrong(
                format!("journal.image_after = {}, max = {}", journal.image_after, journal.max),
                &format!("an image_after above zero, and a max of at least {}", Size(needed)),
                "the log goes back to the image before the newest, and grows while one is being taken",
            ));
        }
        Ok(())
    }
}

impl ReplicaSection {
    /// Where clients find it.
    #[must_use]
    pub fn advertised(&self) -> &Address {
        self.advertise.as_ref().unwrap_or(&self.client)
    }
}

impl JournalSection {
    /// What is kept for members that are away, its default worked out.
    #[must_use]
    pub fn keep_for_lagging(&self) -> Size {
        self.keep_for_lagging.unwrap_or(Size(self.max.0 / 4))
    }
}

impl PaxosSection {
    /// The shortest election time-out, its default worked out.
    #[must_use]
    pub fn election_min(&self) -> Span {
        self.election_min.unwrap_or(self.lease)
    }

    /// The longest election time-out, its default worked out.
    #[must_use]
    pub fn election_max(&self) -> Span {
        self.election_max.unwrap_or(Span(self.lease.0.scaled(3, 2).max(self.election_min().0)))
    }
}

impl Default for PaxosSection {
    fn default() -> Self {
        Self {
            heartbeat: Span(Duration::from_millis(25)),
            lease: Span(Duration::from_millis(250)),
            election_min: None,
            election_max: None,
            margin: Span(Duration::from_millis(5)),
            lease_reads: true,
        }
    }
}

impl Default for JournalSection {
    fn default() -> Self {
        Self {
            segment: Size(64 << 20),
            max: Size(8 << 30),
            image_after: Size(256 << 20),
            keep_for_lagging: None,
            scrub_period: Span(Duration::from_secs(24 * 60 * 60)),
            durability: Durability::Synchronous,
        }
    }
}

impl Default for SessionSection {
    fn default() -> Self {
        Self {
            timeout_min: Span(Duration::from_secs(2)),
            timeout_max: Span(Duration::from_secs(60)),
            timeout_default: Span(Duration::from_secs(12)),
        }
    }
}

/// Turns the parser's error, which shows the line, into a failure, with the nearest name for a key that does not exist.
fn misread(origin: &str, error: &toml::de::Error) -> Failure {
    let failure =
        Failure::new(Code::ConfigInvalid, format!("{origin} is no valid configuration")).found(error.to_string());
    let message = error.message();
    if !message.starts_with("unknown field") {
        return failure.fix(format!("correct {origin}"));
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = names.next().unwrap_or_default();
    match nearest(unknown, names) {
        Some(known) => failure.fix(format!("did you mean `{known}`?")),
        None => failure.fix(format!("remove `{unknown}` from {origin}")),
    }
}

/// The name that `unknown` was probably meant to be.
fn nearest<'a>(unknown: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, known) = names.map(|known| (edits(unknown, known), known)).min()?;
    (distance <= known.len().max(3) / 2).then_some(known)
}

/// How many letters have to be changed, added or left out to make one name of the other.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

/// Reads a cell id: exactly 32 hexadecimal digits.
pub fn parse_cell_id(text: &str) -> Result<CellId, String> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match u128::from_str_radix(text, 16) {
        Ok(id) if digits => Ok(CellId(id)),
        _ => Err(format!("`{text}` is no cell id; it has 32 hexadecimal digits")),
    }
}

fn as_text<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn cell_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CellId, D::Error> {
    parse_cell_id(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn replica_number<S: Serializer>(id: &ReplicaId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(id.0)
}

fn replica_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ReplicaId, D::Error> {
    match i64::deserialize(deserializer)? {
        id @ 1..=63 => Ok(ReplicaId(id as u8)),
        id => Err(de::Error::custom(format!("{id} is no replica id; they go from 1 to 63"))),
    }
}

/// How a contradiction is told.
struct Blamed {
    what: String,
    fix: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: &str = r#"
[cell]
id = "5d3c0f6c1c0a4a3d8d1f0d5f5b0e7a11"
[[replica]]
id = 2
client = "127.0.0.1:7410"
peer = "127.0.0.1:7411"
[[replica]]
id = 1
client = "127.0.0.1:7400"
peer = "127.0.0.1:7401"
[paxos]
lease = "300ms"
"#;

    fn refused(text: &str) -> String {
        Config::parse(text, "cell.toml", &[]).expect_err("it is wrong").report()
    }

    #[test]
    fn a_contradiction_is_blamed_on_whoever_brought_it() {
        let laid = |key: &str, text: &str| Override::flag(&format!("QUORATE_PAXOS_{key}"), "paxos", key, text);
        let report = |text: &str, overrides: &[Override]| {
            Config::parse(text, "cell.toml", overrides).expect_err("it is wrong").report()
        };
        let by_variable = report(THREE, &[laid("heartbeat", "200ms"), laid("margin", "1ms")]);
        assert!(by_variable.contains("laid over cell.toml by QUORATE_PAXOS_heartbeat"), "{by_variable}");
        assert!(by_variable.contains("cell.toml is sound without"), "{by_variable}");
        let by_file = report(&THREE.replace("\"300ms\"", "\"1ms\""), &[laid("margin", "100us")]);
        assert!(by_file.contains("cell.toml contradicts itself") && by_file.contains("edit cell.toml"), "{by_file}");
    }

    #[test]
    fn what_is_left_out_has_its_default_and_replicas_are_ordered() {
        let config = Config::parse(THREE, "cell.toml", &[]).unwrap();
        assert_eq!(config.replicas.iter().map(|replica| replica.id.0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(config.paxos.lease.0, Duration::from_millis(300));
        assert_eq!(config.paxos.election_max().0, Duration::from_millis(450));
        assert_eq!(config.journal, JournalSection::default());
        assert_eq!(config.server.spin.0, Duration::ZERO, "a loop sleeps as soon as there is nothing to do");
        assert_eq!(Config::parse(&config.to_toml(), "again", &[]).unwrap(), config, "what is written reads the same");
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_the_nearest_one() {
        let report = refused(&THREE.replace("lease", "leese"));
        assert!(report.starts_with("error[E011]"), "{report}");
        assert!(report.contains("did you mean `lease`?"), "{report}");
        assert!(report.contains("leese = \"300ms\""), "the line is shown: {report}");
    }

    /// The keys that may stand where `no-such-key` does.
    fn keys(section: &str) -> Vec<String> {
        let text = THREE.replace("[paxos]\nlease = \"300ms\"\n", "") + section + "\nno-such-key = 1\n";
        let error = toml::from_str::<Config>(&text).expect_err("there is no such key");
        error.message().split('`').skip(3).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn in_full_it_has_every_key_there_is() {
        let config = Config::parse(THREE, "cell.toml", &[]).unwrap().in_full();
        let table: toml::Table = toml::from_str(&config.to_toml()).unwrap();
        let mut checked = 0;
        for (section, value) in &table {
            let (line, tables) = match value {
                toml::Value::Array(replicas) => (format!("[[{section}]]"), replicas.iter().collect::<Vec<_>>()),
                section_itself => (format!("[{section}]"), vec![section_itself]),
            };
            // The cell's own section is in the text already; its one key cannot be left out.
            let known = if section == "cell" { vec!["id".to_owned()] } else { keys(&line) };
            for key in known {
                assert!(tables.iter().all(|table| table.get(&key).is_some()), "{section}.{key} is not in {table}");
                checked += 1;
            }
        }
        assert!(checked > 15, "{checked} keys");
        assert_eq!(Config::parse(&config.to_toml(), "again", &[]).unwrap(), config, "it means the same");
    }

    #[test]
    fn contradictions_are_refused() {
        for (from, to, hint) in [
            ("id = 2", "id = 1", "two replicas with id 1"),
            ("7410", "7400", "127.0.0.1:7400 twice"),
            ("300ms", "50ms", "at least four"),
            ("300ms", "300", "no span of time"),
            ("lease = \"300ms\"", "lease = 300", "300 has no unit"),
            ("id = 2", "id = 64", "from 1 to 63"),
            ("5d3c0f6c1c0a4a3d8d1f0d5f5b0e7a11", "00000000000000000000000000000000", "random id"),
            ("5d3c0f6c1c0a4a3d8d1f0d5f5b0e7a11", "+d3c0f6c1c0a4a3d8d1f0d5f5b0e7a11", "32 hexadecimal"),
            ("[paxos]\nlease = \"300ms\"", "[journal]\nsegment = \"1MiB\"", "largest entry"),
            ("[paxos]\nlease = \"300ms\"", "[journal]\nmax = \"-1\"", "no size"),
            ("[paxos]\nlease = \"300ms\"", "[journal]\nmax = \"99999999999TiB\"", "no size"),
            ("[paxos]\nlease = \"300ms\"", "[session]\ntimeout_min = \"61s\"", "timeout_min <="),
            ("[paxos]\nlease = \"300ms\"", "[server]\ncores = [0]\nspin = \"1001us\"", "at most 1ms"),
            ("[paxos]\nlease = \"300ms\"", "[server]\nspin = 50", "50 has no unit"),
        ] {
            let report = refused(&THREE.replace(from, to));
            assert!(report.contains(hint), "{from} -> {to}: {report}");
        }
    }

    #[test]
    fn the_environment_wins_over_the_file_and_flags_over_both() {
        let variables =
            [("QUORATE_PAXOS_LEASE", "400ms"), ("QUORATE_SERVER_CORES", "[0, 1]"), ("QUORATE_ENDPOINTS", "x")];
        let variables = variables.iter().map(|(name, text)| (name.into(), text.into()));
        let mut overrides = Override::from_variables(variables).unwrap();
        assert_eq!(overrides.len(), 2, "only what names a section is a setting: {overrides:?}");
        let config = Config::parse(THREE, "cell.toml", &overrides).unwrap();
        assert_eq!((config.paxos.lease.0.as_millis(), config.server.cores), (400, vec![0, 1]));
        overrides.push(Override::flag("--no-lease-reads", "paxos", "lease_reads", "false"));
        assert!(!Config::parse(THREE, "cell.toml", &overrides).unwrap().paxos.lease_reads);

        let wrong = Override::from_variables([("QUORATE_PAXOS_LEESE".into(), "1s".into())].into_iter()).unwrap();
        let report = Config::parse(THREE, "cell.toml", &wrong).unwrap_err().report();
        assert!(report.contains("QUORATE_PAXOS_LEESE") && report.contains("`lease`"), "{report}");
        let report =
            |name: &str| Override::from_variables([(name.into(), "1s".into())].into_iter()).unwrap_err().report();
        assert!(report("QUORATE_PAXO_LEASE").contains("did you mean `QUORATE_PAXOS_LEASE`?"));
        assert!(report("QUORATE_ENDPOINT").contains("did you mean `QUORATE_ENDPOINTS`?"));
        let foreign = || [("QUORATE_WEATHER_TODAY", "1s"), ("QUORATE_PAXOS_LEASE", "1s"), ("QUORATE_ENDPOINTS", "x")];
        let foreign = || foreign().map(|(name, text)| (name.into(), text.into())).into_iter();
        assert_eq!(Override::from_variables(foreign()).unwrap().len(), 1, "somebody else's variable stops nothing");
        assert_eq!(Override::strangers(foreign()), ["QUORATE_WEATHER_TODAY"]);
    }
}
