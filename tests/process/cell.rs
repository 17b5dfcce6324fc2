//! A cell of real processes. Only processes started here are ever ended, by their handles.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use quorate::client::{self, Client, Role};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tempfile::TempDir;

use super::disk::Disk;
use super::proxy::Proxy;

/// The program under test.
pub const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");

/// Longer than anything a healthy cell takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running cell; its processes end with it.
pub struct Cell {
    id: String,
    replicas: Vec<Replica>,
    config: PathBuf,
    /// Where folders of it are, if not on the host's: below `home`, and so unmounted before.
    disk: Option<Disk>,
    /// Removed last.
    home: TempDir,
}

struct Replica {
    address: SocketAddr,
    /// A file of its own, if the cell's does not list it.
    config: Option<PathBuf>,
    peer: SocketAddr,
    folder: PathBuf,
    child: Option<Child>,
}

impl Cell {
    /// Formats and starts a cell of `count` replicas; `settings` are further lines of the configuration.
    pub fn start(count: usize, settings: &str) -> Self {
        let home = folder();
        let data = home.path().to_owned();
        Self::start_in(home, &data, free_ports(2 * count), settings, &[])
    }

    /// As [`Cell::start`], with a proxy before each replica, which is all that clients know.
    pub fn start_behind_proxies(count: usize, settings: &str) -> (Self, Vec<Proxy>) {
        let home = folder();
        let data = home.path().to_owned();
        let ports = free_ports(2 * count);
        let server = |index: usize| SocketAddr::from((Ipv4Addr::LOCALHOST, ports[2 * index]));
        let proxies: Vec<Proxy> = (0..count).map(|index| Proxy::before(server(index), index as u64)).collect();
        let advertised: Vec<SocketAddr> = proxies.iter().map(Proxy::address).collect();
        (Self::start_in(home, &data, ports, settings, &advertised), proxies)
    }

    /// As [`Cell::start`], with two ports for each replica and the replicas' folders in `data`; clients are told the
    /// `advertised` addresses.
    pub fn start_in(home: TempDir, data: &Path, ports: Vec<u16>, settings: &str, advertised: &[SocketAddr]) -> Self {
        let cell = Self::describe(home, data, ports, settings, advertised);
        cell.formatted().started()
    }

    /// As [`Cell::start`], with the replicas' folders on a disk of so many bytes; none where the tests may not mount.
    pub fn start_on_a_disk(count: usize, bytes: u64, settings: &str) -> Option<Self> {
        let (home, disk) = Disk::make(bytes)?;
        let data = disk.mount().to_owned();
        let mut cell = Self::describe(home, &data, free_ports(2 * count), settings, &[]);
        cell.disk = Some(disk);
        Some(cell.formatted().started())
    }

    /// As [`Cell::start_on_a_disk`], with three replicas, of which the last alone is there.
    pub fn start_with_one_on_a_disk(bytes: u64, settings: &str) -> Option<Self> {
        let (home, disk) = Disk::make(bytes)?;
        let others = home.path().to_owned();
        let mut cell = Self::describe(home, &others, free_ports(6), settings, &[]);
        cell.replicas[2].folder = disk.mount().join("replica-3");
        cell.disk = Some(disk);
        Some(cell.formatted().started())
    }

    /// A cell of `count` replicas that begins with what a snapshot holds.
    pub fn restored(count: usize, snapshot: &Path) -> Self {
        let home = folder();
        let data = home.path().join("restored");
        let cell = Self::describe(home, &data, free_ports(2 * count), "", &[]);
        let done = run(&["snapshot", "restore", "--config", path(&cell.config), path(snapshot), path(&data)]);
        assert!(done.status.success(), "restore: {}", String::from_utf8_lossy(&done.stderr));
        cell.started()
    }

    fn describe(home: TempDir, data: &Path, ports: Vec<u16>, settings: &str, advertised: &[SocketAddr]) -> Self {
        let count = ports.len() / 2;
        let id = format!("{:032x}", u128::from(std::process::id()) << 64 | u128::from(ports[0]));
        let mut text = format!("[cell]\nid = \"{id}\"\n");
        for index in 0..count {
            let (client, peer) = (ports[2 * index], ports[2 * index + 1]);
            text += &format!(
                "[[replica]]\nid = {}\nclient = \"127.0.0.1:{client}\"\npeer = \"127.0.0.1:{peer}\"\n",
                index + 1
            );
            if let Some(address) = advertised.get(index) {
                text += &format!("advertise = \"{address}\"\n");
            }
        }
        text += "[journal]\n";
        if !settings.contains("segment = ") {
            text += "segment = \"16MiB\"\n";
        }
        text += settings;
        let config = home.path().join("cell.toml");
        std::fs::write(&config, text).expect("the configuration is written");
        let replicas = (0..count)
            .map(|index| Replica {
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, ports[2 * index])),
                config: None,
                peer: SocketAddr::from((Ipv4Addr::LOCALHOST, ports[2 * index + 1])),
                folder: data.join(format!("replica-{}", index + 1)),
                child: None,
            })
            .collect();
        Self { id, replicas, config, disk: None, home }
    }

    fn formatted(self) -> Self {
        (0..self.replicas.len()).for_each(|index| self.format(index));
        self
    }

    /// Where its folders are, if they are on a disk of its own.
    pub fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("it was started on a disk")
    }

    fn started(mut self) -> Self {
        (0..self.replicas.len()).for_each(|index| self.restart(index));
        self.wait_until_whole();
        self
    }

    /// Waits until every replica has been met: one that was not has no vote yet, and a cell that then loses another one has
    /// no majority. The log of a cell that nobody uses stands still once all disks are named in it.
    fn wait_until_whole(&self) {
        let mut still_since = (Instant::now(), None);
        self.wait("a whole cell", |cell| {
            let applied: Vec<_> = (0..cell.replicas.len())
                .map(|index| cell.status(index).filter(|s| s.leader.is_some()).map(|s| s.applied_upto))
                .collect();
            let equal = applied[0].filter(|_| applied.iter().all(|state| *state == applied[0]));
            if equal.is_none() || equal != still_since.1 {
                still_since = (Instant::now(), equal);
            }
            (still_since.0.elapsed() > Duration::from_millis(150)).then_some(())
        });
    }

    pub fn folder(&self, index: usize) -> &Path {
        &self.replicas[index].folder
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn config(&self) -> &Path {
        &self.config
    }

    pub fn address(&self, index: usize) -> SocketAddr {
        self.replicas[index].address
    }

    /// Where the other replicas find one.
    pub fn peer_address(&self, index: usize) -> SocketAddr {
        self.replicas[index].peer
    }

    /// Where clients of the whole cell connect.
    pub fn endpoints(&self) -> String {
        self.replicas.iter().map(|replica| replica.address.to_string()).collect::<Vec<_>>().join(",")
    }

    pub fn format(&self, index: usize) {
        let (replica, folder) = ((index + 1).to_string(), self.folder(index));
        let place = ["--config", path(&self.config), path(folder)];
        let done = run(&[&["format", "--cell", &self.id, "--replica", &replica], &place[..]].concat());
        assert!(done.status.success(), "format: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// A replica that does not run gets a new disk, of which the cell is not told.
    pub fn lose_disk(&self, index: usize) {
        self.remove_folder(index);
        self.make_folder(index);
    }

    /// Makes the folder of a replica that is to join, and asks nobody for its vote.
    pub fn make_folder(&self, index: usize) {
        let (replica, folder, config) = ((index + 1).to_string(), self.folder(index), self.config_of(index));
        let made = run(&["recover", "--no-ask", "--replica", &replica, "--config", path(config), path(folder)]);
        assert!(made.status.success(), "recover: {}", String::from_utf8_lossy(&made.stderr));
    }

    /// A replica that does not run is to be made anew in another place, on addresses that only its own file has.
    pub fn move_away(&mut self, index: usize) {
        assert!(self.replicas[index].child.is_none(), "replica {} runs", index + 1);
        let (ports, number) = (free_ports(2), index + 1);
        let mut text = std::fs::read_to_string(self.config_of(index)).expect("the configuration");
        let (config, folder) = (format!("cell-{number}-moved.toml"), format!("replica-{number}-moved"));
        let (config, folder) = (self.home.path().join(config), self.home.path().join(folder));
        let replica = &mut self.replicas[index];
        for (address, port) in [(&mut replica.address, ports[0]), (&mut replica.peer, ports[1])] {
            let elsewhere = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            text = text.replace(&format!("\"{address}\""), &format!("\"{elsewhere}\""));
            *address = elsewhere;
        }
        std::fs::write(&config, text).expect("written");
        (replica.config, replica.folder) = (Some(config), folder);
    }

    /// The folder of a replica that does not run is gone.
    pub fn remove_folder(&self, index: usize) {
        assert!(self.replicas[index].child.is_none(), "replica {} runs", index + 1);
        std::fs::remove_dir_all(self.folder(index)).expect("the folder can be removed");
    }

    /// One replica more, which no running one knows of; it is neither made nor started. Its index.
    pub fn add_unlisted(&mut self) -> usize {
        let (index, ports) = (self.replicas.len(), free_ports(2));
        let (client, peer) = (ports[0], ports[1]);
        let number = index + 1;
        let section =
            format!("[[replica]]\nid = {number}\nclient = \"127.0.0.1:{client}\"\npeer = \"127.0.0.1:{peer}\"\n");
        let text = std::fs::read_to_string(&self.config).expect("the configuration");
        let config = self.home.path().join(format!("cell-{number}.toml"));
        std::fs::write(&config, text.replace("[journal]", &(section + "[journal]"))).expect("written");
        self.replicas.push(Replica {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, client)),
            config: Some(config),
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, peer)),
            folder: self.home.path().join(format!("replica-{number}")),
            child: None,
        });
        index
    }

    /// `quorate recover` at work on a replica that does not run.
    pub fn recover(&self, index: usize) -> Child {
        let number = (index + 1).to_string();
        Command::new(QUORATE)
            .args(["recover", "--replica", &number, "--patience", "60s", "--config", path(self.config_of(index))])
            .arg(self.folder(index))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts")
    }

    fn config_of(&self, index: usize) -> &Path {
        self.replicas[index].config.as_ref().unwrap_or(&self.config)
    }

    /// Starts a replica that does not run.
    pub fn restart(&mut self, index: usize) {
        assert!(self.replicas[index].child.is_none(), "replica {} runs", index + 1);
        let log = File::options().create(true).append(true).open(self.log_path(index)).expect("a log");
        let child = Command::new(QUORATE)
            .args(["start", "--config", path(self.config_of(index)), path(&self.replicas[index].folder)])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the program starts");
        self.replicas[index].child = Some(child);
    }

    /// kill -9.
    pub fn kill(&mut self, index: usize) {
        let mut child = self.replicas[index].child.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it can be waited for");
    }

    /// kill -9 for whoever leads; its index.
    pub fn kill_leader(&mut self) -> usize {
        let leader = self.leader();
        self.kill(leader);
        leader
    }

    /// Kills whoever leads and starts it again, with `progress` made without it and with it.
    pub fn outlive_leader(&mut self, mut progress: impl FnMut(&Self)) {
        let leader = self.kill_leader();
        progress(self);
        self.restart(leader);
        progress(self);
    }

    /// kill -9 for all of them, as close together as can be.
    pub fn kill_all(&mut self) {
        (0..self.replicas.len()).for_each(|index| self.signal(index, Signal::STOP));
        (0..self.replicas.len()).for_each(|index| self.kill(index));
    }

    /// The process of a replica that runs.
    pub fn pid(&self, index: usize) -> u32 {
        self.replicas[index].child.as_ref().expect("it runs").id()
    }

    /// Sends a signal; a process that is to stop stands still afterwards.
    pub fn signal(&self, index: usize, signal: Signal) {
        let child = self.replicas[index].child.as_ref().expect("it runs");
        let pid = Pid::from_raw(child.id() as i32).expect("a child has a number");
        kill_process(pid, signal).expect("it can be signalled");
        if signal == Signal::STOP {
            // Should it have ended instead, that is what is heard, and left for whoever waits for its end.
            let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            let stands =
                waitid(WaitId::Pid(pid), options).expect("it is a child of this process").expect("it was waited for");
            assert!(stands.stopped(), "replica {} has ended", index + 1);
        }
    }

    /// Waits for a process to end by itself; its exit status.
    pub fn wait_for_end(&mut self, index: usize) -> Option<i32> {
        let mut child = self.replicas[index].child.take().expect("it runs");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait().expect("it can be waited for") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.replicas[index].child = Some(child);
        panic!("replica {} did not end", index + 1);
    }

    /// Whether a process that was started has ended by itself, and with which status.
    pub fn has_ended(&mut self, index: usize) -> Option<Option<i32>> {
        let child = self.replicas[index].child.as_mut()?;
        let status = child.try_wait().expect("it can be waited for")?;
        self.replicas[index].child = None;
        Some(status.code())
    }

    /// Waits until two of three processes have ended by themselves, and kills the third if it has not; the exit statuses of
    /// those that ended.
    pub fn wait_for_two_ends(&mut self) -> Vec<Option<i32>> {
        let mut statuses = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while statuses.len() < 2 {
            assert!(Instant::now() < deadline, "the processes did not end: {statuses:?}");
            for replica in &mut self.replicas {
                let ended = replica.child.as_mut().and_then(|child| child.try_wait().expect("it can be waited for"));
                if let Some(status) = ended {
                    replica.child = None;
                    statuses.push(status.code());
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let left: Vec<usize> = (0..self.replicas.len()).filter(|index| self.replicas[*index].child.is_some()).collect();
        left.into_iter().for_each(|index| self.kill(index));
        statuses
    }

    /// Waits for a leader that is reachable and serves; its index.
    pub fn leader(&self) -> usize {
        self.wait("a leader", |cell| {
            (0..cell.replicas.len()).find(|index| cell.status(*index).is_some_and(|status| status.role == Role::Leader))
        })
    }

    /// Waits until every running replica has applied the same, and everything that was chosen.
    pub fn wait_until_equal(&self) {
        self.wait("equal replicas", |cell| {
            let running = (0..cell.replicas.len()).filter(|index| cell.replicas[*index].child.is_some());
            let applied: Vec<_> =
                running.map(|index| cell.status(index).map(|s| (s.applied_upto, s.revision))).collect();
            (applied[0].is_some() && applied.iter().all(|state| *state == applied[0])).then_some(())
        });
    }

    pub fn status(&self, index: usize) -> Option<client::Status> {
        let address = self.replicas[index].address.to_string();
        client::status(&address, Duration::from_secs(1)).ok().map(|report| report.status)
    }

    /// A session with the cell.
    pub fn connect(&self) -> Client {
        Client::connect(&self.endpoints())
            .wait_timeout(PATIENCE)
            .unwrap_or_else(|error| panic!("{error}: {}", self.logs()))
    }

    /// `quorate watch` with these arguments, and what it said once the watch stood; its standard output is a pipe.
    pub fn start_watching(&self, args: &[&str]) -> (Child, String) {
        let mut child = Command::new(QUORATE)
            .arg("watch")
            .args(args)
            .args(["--endpoints", &self.endpoints()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stderr.take().expect("piped")).read_line(&mut line).expect("it says that it watches");
        (child, line)
    }

    /// What the replicas said, for a failure's text.
    pub fn logs(&self) -> String {
        (0..self.replicas.len())
            .map(|index| std::fs::read_to_string(self.log_path(index)).unwrap_or_default())
            .collect::<Vec<_>>()
            .join("\n--\n")
    }

    fn log_path(&self, index: usize) -> PathBuf {
        self.home.path().join(format!("replica-{}.log", index + 1))
    }

    pub fn wait<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}:\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        for replica in &mut self.replicas {
            if let Some(child) = &mut replica.child {
                // It may have ended already; then there is nothing to do.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

/// A folder for one test, on a file system with direct I/O.
pub fn folder() -> TempDir {
    tempfile::Builder::new().prefix("quorate-test-").tempdir_in("/var/tmp").expect("a folder")
}

/// Runs the program to its end.
pub fn run(args: &[&str]) -> Output {
    Command::new(QUORATE).args(args).stdin(Stdio::null()).output().expect("the program runs")
}

pub fn path(path: &Path) -> &str {
    path.to_str().expect("the folder's name is text")
}

/// Ports below the range from which the kernel serves outgoing connections, so that nobody takes one between two lives of
/// a replica.
pub fn free_ports(count: usize) -> Vec<u16> {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 12_000 + (std::process::id() % 1_500) as u16 * 12;
    std::iter::from_fn(|| Some(start + NEXT.fetch_add(1, Ordering::Relaxed)))
        .filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .take(count)
        .collect()
}
