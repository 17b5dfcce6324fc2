//! A cell of real processes on this host, for `quorate dev`: its folder, its configuration, its processes.
//!
//! ```text
//! DIR/cell.toml         the configuration all replicas share; there once every replica's folder has been made
//! DIR/cell.making       the same while they are being made
//! DIR/replica-1/        a replica's folder, as `quorate format` makes it
//! DIR/replica-1.log     what that replica says
//! DIR/replica-1.pid     the process that holds the folder, while one does
//! ```
//!
//! 1. Whatever state a crash left DIR in, the next start goes on from there: the configuration and each replica's folder
//!    come to their names by a rename, so that each is there as a whole or not at all. What processes of a killed `dev` hold
//!    for a moment longer is waited for.
//! 2. A replica's folder is made once, before `cell.toml` has its name. One that is missing later was lost, and what it
//!    promised with it: it is not made anew in silence.
//! 3. What a person wrote into `cell.toml` stays: settings of one run are handed to the processes of that run.
//! 4. No process is left behind: each dies with this one ([`super::supervised`]), and is waited for.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use quorate::paxos::{CellId, ReplicaId};
use quorate::runtime::disk::rename_durably;
use quorate::server::config::{Address, Override, ReplicaSection};
use quorate::server::{self, Code, Config, Failure, Purpose};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

/// For so long the processes of a `dev` that was killed may still be there.
const LINGER_MAX: Duration = Duration::from_secs(3);

const LINGER_LOOK: Duration = Duration::from_millis(20);

/// The configuration's name in a cell's folder.
pub const CONFIG: &str = "cell.toml";

/// What tells a cell's folder, however early the making of the cell was cut off.
const OF_A_CELL: [&str; 3] = [LOCK, CONFIG, MAKING];

const LOCK: &str = ".lock";
const MAKING: &str = "cell.making";

/// How a cell is to be made, where it does not exist yet.
pub struct Plan {
    pub replicas: Option<u8>,
    pub port_base: Option<u16>,
    pub settings: Vec<Override>,
}

/// The cell, and those of its processes that run.
pub struct Cell {
    dir: PathBuf,
    temporary: bool,
    config: Config,
    /// The cores of each replica, in order of their ids; empty: all run unpinned.
    cores: Vec<Vec<usize>>,
    running: Vec<(ReplicaId, Child)>,
    /// Settings of this run alone.
    settings: Vec<Override>,
    /// What a person should know of how the cell was found.
    note: Option<String>,
    _lock: File,
}

impl Cell {
    /// Opens the cell in `dir`, making what is not there; `None` is a fresh folder that is removed at the end.
    pub fn open(dir: Option<&Path>, plan: &Plan) -> Result<Self, Failure> {
        let (dir, temporary) = match dir {
            Some(dir) => (dir.to_path_buf(), false),
            None => (temporary_folder(), true),
        };
        refuse_foreign(&dir)?;
        fs::create_dir_all(&dir).map_err(|error| Failure::io(Code::DiskFailed, "make", &dir, &error))?;
        let dir = fs::canonicalize(&dir).map_err(|error| Failure::io(Code::DiskFailed, "find", &dir, &error))?;
        let lock = once_they_ended(|| lock(&dir))?;
        let path = dir.join(CONFIG);
        let config = if path.exists() { Config::read(&path, &plan.settings) } else { make(&path, plan) };
        let config = config.inspect_err(|_| {
            if temporary {
                let _ = fs::remove_dir_all(&dir);
            }
        })?;
        let mut cell = Self {
            dir,
            temporary,
            config,
            cores: Vec::new(),
            running: Vec::new(),
            settings: plan.settings.clone(),
            note: None,
            _lock: lock,
        };
        cell.hold_against(plan)?;
        // Before the configuration is changed: a replica that runs already is what holds its ports.
        once_they_ended(|| {
            let mut folders = cell.config.replicas.iter().map(|replica| cell.folder(replica.id));
            folders.try_for_each(|folder| server::folder::check_ready(&folder))
        })?;
        cell.move_ports(plan)?;
        Ok(cell)
    }

    /// The cell that is there is the one that is wanted, and whole.
    fn hold_against(&self, plan: &Plan) -> Result<(), Failure> {
        let there = self.config.replicas.len();
        if let Some(wanted) = plan.replicas.filter(|wanted| usize::from(*wanted) != there) {
            return Err(Failure::new(Code::Usage, format!("{} is a cell of {there}", self.dir.display()))
                .found(format!("--replicas {wanted}"))
                .fix("leave --replicas out, or name another --dir"));
        }
        match self.config.replicas.iter().find(|replica| !self.folder(replica.id).exists()) {
            Some(replica) => Err(self.folder_lost(replica.id)),
            None => Ok(()),
        }
    }

    fn folder_lost(&self, id: ReplicaId) -> Failure {
        let (folder, config) = (self.folder(id), self.config_path());
        let (folder, config, dir) = (folder.display(), config.display(), self.dir.display());
        Failure::new(Code::NotFormatted, format!("{folder} is gone, and the cell in {dir} counts on it"))
            .why("what that replica promised and stored is lost with it: made anew it has no vote before it has caught up")
            .fix(format!(
                "bring the folder back, or remove {dir} to begin with another cell, or make the folder anew, start, and ask \
                 the others to take it:\n\
                 quorate recover --no-ask --replica {id} --config {config} {folder}\n\
                 quorate recover --replica {id} --config {config} {folder}"
            ))
    }

    /// Gives the replicas other ports where something else took theirs meanwhile, or others are wanted.
    fn move_ports(&mut self, plan: &Plan) -> Result<(), Failure> {
        let wanted = plan.port_base.is_some();
        let free = |replica: &ReplicaSection| is_mine(&replica.client) && is_mine(&replica.peer);
        if !wanted && wait_for(|| self.config.replicas.iter().all(free)) {
            return Ok(());
        }
        let fresh = addresses(self.config.replicas.len(), plan.port_base)?;
        let path = self.config_path();
        // Without this run's settings, which do not belong into the file.
        let mut written = Config::read(&path, &[])?;
        for config in [&mut self.config, &mut written] {
            for (replica, (client, peer)) in config.replicas.iter_mut().zip(&fresh) {
                (replica.client, replica.peer) = ((*client).into(), (*peer).into());
            }
        }
        let before = Config::read(&path, &[])?;
        if written != before {
            write_whole(&path, &written.to_toml())?;
            let why = if wanted { "--port-base was given" } else { "some were taken" };
            self.note = Some(format!("{} has other ports now: {why}", path.display()));
        }
        Ok(())
    }

    /// From now on replicas are started on these cores, in order of their ids; one without any is not pinned.
    pub fn place(&mut self, cores: Vec<Vec<usize>>) {
        self.cores = cores;
    }

    /// Starts the process of one replica, unless it runs.
    pub fn start(&mut self, id: ReplicaId) -> Result<(), Failure> {
        if self.running.iter().any(|(running, _)| *running == id) {
            return Ok(());
        }
        let program = own_program()?;
        let log_path = self.beside(id, "log");
        let log = File::options().create(true).append(true).open(&log_path);
        let log = log.map_err(|error| Failure::io(Code::DiskFailed, "open", &log_path, &error))?;
        let errors = log.try_clone().map_err(|error| Failure::io(Code::DiskFailed, "open", &log_path, &error))?;
        let mut command = Command::new(&program);
        command.args(["supervised", "--parent", &std::process::id().to_string(), "--"]).arg(&program);
        command.arg("start").arg("--config").arg(self.config_path());
        for setting in &self.settings {
            command.arg("--set").arg(format!("{}.{}={}", setting.section, setting.key, setting.text));
        }
        if let Some(cores) = self.cores_of(id) {
            command.arg("--cores").arg(cores.iter().map(usize::to_string).collect::<Vec<_>>().join(","));
        }
        // In a process group of its own, so that Ctrl-C reaches `dev` alone, which then stops the replicas in order.
        command.arg(self.folder(id)).stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let child = command.spawn().map_err(|error| Failure::io(Code::RunFailed, "start", &program, &error))?;
        let pid_path = self.beside(id, "pid");
        fs::write(&pid_path, format!("{}\n", child.id()))
            .map_err(|error| Failure::io(Code::DiskFailed, "write", &pid_path, &error))?;
        self.running.push((id, child));
        self.running.sort_by_key(|(id, _)| *id);
        Ok(())
    }

    /// The replicas whose processes ended since the last call, and how.
    pub fn reap(&mut self) -> Vec<(ReplicaId, ExitStatus)> {
        let mut ended = Vec::new();
        self.running.retain_mut(|(id, child)| match child.try_wait() {
            Ok(Some(status)) => {
                ended.push((*id, status));
                false
            }
            Ok(None) => true,
            Err(error) => {
                panic!("the kernel does not know replica {}'s process, which nobody else waits for: {error}", id.0)
            }
        });
        for (id, _) in &ended {
            // The file only helps scripts; that it is gone already is no fault.
            let _ = fs::remove_file(self.beside(*id, "pid"));
        }
        ended
    }

    /// Sends `signal` to one replica's process, if it runs.
    pub fn signal(&self, id: ReplicaId, signal: Signal) -> bool {
        let child = self.running.iter().find(|(running, _)| *running == id);
        child
            .and_then(|(_, child)| Pid::from_raw(child.id() as i32))
            .is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    /// Ends one replica's process, and waits until it has; whether it ran. `reap` tells of it.
    pub fn kill(&mut self, id: ReplicaId) -> Result<bool, Failure> {
        let Some((_, child)) = self.running.iter_mut().find(|(running, _)| *running == id) else { return Ok(false) };
        let killed = child.kill().and_then(|()| child.wait());
        killed.map_err(|error| {
            Failure::new(Code::RunFailed, format!("cannot end replica {id}")).found(error.to_string())
        })?;
        Ok(true)
    }

    /// Sends `signal` to every process that runs.
    pub fn signal_all(&self, signal: Signal) {
        for (id, _) in &self.running {
            self.signal(*id, signal);
        }
    }

    pub fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What a person should know of how the cell was found.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.join(CONFIG)
    }

    /// What to do after a replica ended.
    pub fn way_back(&self, id: ReplicaId) -> String {
        let (log, config, folder) = (self.beside(id, "log"), self.config_path(), self.folder(id));
        format!(
            "  its last words are in {}\n  start it again (at the prompt, where there is one, with `start {id}`):\n    \
             quorate start --config {} {}\n  (or let dev do it: --restart)",
            log.display(),
            config.display(),
            folder.display()
        )
    }

    pub fn pid(&self, id: ReplicaId) -> Option<u32> {
        self.running.iter().find(|(running, _)| *running == id).map(|(_, child)| child.id())
    }

    /// Where clients connect, as `QUORATE_ENDPOINTS` wants it.
    pub fn endpoints(&self) -> String {
        self.config.replicas.iter().map(|replica| replica.client.to_string()).collect::<Vec<_>>().join(",")
    }

    /// The cores one replica is pinned to.
    pub fn cores_of(&self, id: ReplicaId) -> Option<&[usize]> {
        let index = self.config.replicas.iter().position(|replica| replica.id == id)?;
        self.cores.get(index).map(Vec::as_slice)
    }

    /// The end of what a replica said.
    pub fn last_words(&self, id: ReplicaId) -> String {
        let log = fs::read(self.beside(id, "log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log[log.len().saturating_sub(4096)..]).into_owned();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    fn folder(&self, id: ReplicaId) -> PathBuf {
        folder_in(&self.dir, id)
    }

    fn beside(&self, id: ReplicaId, suffix: &str) -> PathBuf {
        self.dir.join(format!("replica-{}.{suffix}", id.0))
    }
}

impl Drop for Cell {
    /// Reached with processes running only when something failed: they are killed, by their handles, and waited for.
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.temporary {
            let _ = fs::remove_dir_all(&self.dir);
        } else {
            for (id, _) in &self.running {
                let _ = fs::remove_file(self.beside(*id, "pid"));
            }
        }
    }
}

pub fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::new(Code::RunFailed, "cannot find this program's own file").found(error.to_string()))
}

/// A folder that is on a disk wherever `/tmp` is kept in memory.
fn temporary_folder() -> PathBuf {
    let var_tmp = PathBuf::from("/var/tmp");
    let base = if var_tmp.is_dir() { var_tmp } else { std::env::temp_dir() };
    base.join(format!("quorate-dev-{}-{:08x}", std::process::id(), getrandom::u32().unwrap_or_default()))
}

/// A folder in which something else lives does not become a cell's, which would lay its files among it.
fn refuse_foreign(dir: &Path) -> Result<(), Failure> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| Failure::io(Code::DiskFailed, "look into", dir, &error))?,
    };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    // A disk mounted there has a folder of its own file system.
    let mut names: Vec<OsString> = names.filter(|name| name != "lost+found").collect();
    names.sort();
    if names.is_empty() || names.iter().any(|name| OF_A_CELL.iter().any(|ours| name == ours)) {
        return Ok(());
    }
    Err(Failure::new(Code::FolderNotEmpty, format!("{} is no cell's folder", dir.display()))
        .found(format!("{}{}", names[0].display(), if names.len() > 1 { " and more" } else { "" }))
        .needed(format!("{CONFIG}, or an empty folder, or none"))
        .why("a cell's files would lie among what is there")
        .fix("name another --dir; one that does not exist is made"))
}

/// Does what the processes of a `dev` that was just killed may still be in the way of: they die after it, and the kernel
/// takes what they held apart some time later.
fn once_they_ended<T>(attempt: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
    let in_use = |done: &Result<T, Failure>| matches!(done, Err(failure) if failure.code() == Code::FolderInUse);
    let mut done = attempt();
    if in_use(&done) {
        wait_for(|| {
            done = attempt();
            !in_use(&done)
        });
    }
    done
}

/// Looks until it is so, for as long as whoever was killed may be there; whether it came to be so.
#[expect(clippy::disallowed_methods, reason = "nothing tells when a process that is no child of ours is gone")]
fn wait_for(mut is_so: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + LINGER_MAX;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(LINGER_LOOK);
    }
}

/// Two cells in one folder would fight over its processes.
fn lock(dir: &Path) -> Result<File, Failure> {
    let path = dir.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| Failure::io(Code::DiskFailed, "open", &path, &error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(Failure::new(Code::FolderInUse, format!("another `quorate dev` runs in {}", dir.display()))
                .fix("stop it first, or name another --dir"))
        }
        Err(error) => Err(Failure::io(Code::DiskFailed, "lock", &path, &error.into())),
    }
}

/// Makes the cell: its configuration under another name, each replica's folder, and then the configuration's name.
fn make(path: &Path, plan: &Plan) -> Result<Config, Failure> {
    let making = path.with_file_name(MAKING);
    let config = if making.exists() {
        Config::read(&making, &[])?
    } else {
        let config = new_configuration(plan)?;
        write_whole(&making, &config.to_toml())?;
        config
    };
    for replica in &config.replicas {
        let folder = folder_in(path.parent().unwrap_or(Path::new(".")), replica.id);
        if !folder.exists() {
            server::format(&config, replica.id, Purpose::Found, &folder)?;
        }
    }
    rename_durably(&making, path).map_err(|error| Failure::io(Code::DiskFailed, "write", path, &error))?;
    Ok(config)
}

fn folder_in(dir: &Path, id: ReplicaId) -> PathBuf {
    dir.join(format!("replica-{}", id.0))
}

pub fn new_configuration(plan: &Plan) -> Result<Config, Failure> {
    let count = usize::from(plan.replicas.unwrap_or(3));
    let id = random_id()?;
    let mut text = format!("[cell]\nid = \"{id}\"\n");
    for (index, (client, peer)) in addresses(count, plan.port_base)?.into_iter().enumerate() {
        text += &format!("[[replica]]\nid = {}\nclient = \"{client}\"\npeer = \"{peer}\"\n", index + 1);
    }
    Config::parse(&text, "the development cell", &plan.settings)
}

fn random_id() -> Result<CellId, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(Code::RunFailed, "the kernel gives no random numbers").found(error.to_string())
    })?;
    Ok(CellId(u128::from_le_bytes(bytes).max(1)))
}

/// Writes a file so that it is there as a whole or not at all.
pub fn write_whole(path: &Path, text: &str) -> Result<(), Failure> {
    let part = path.with_extension("part");
    let write = || {
        fs::write(&part, text)?;
        File::open(&part)?.sync_all()?;
        rename_durably(&part, path)
    };
    write().map_err(|error| Failure::io(Code::DiskFailed, "write", path, &error))
}

/// Client and peer addresses of `count` replicas: from `base` on, ten ports apart, or free ones.
fn addresses(count: usize, base: Option<u16>) -> Result<Vec<(SocketAddr, SocketAddr)>, Failure> {
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if let Some(base) = base {
        let last = usize::from(base) + 10 * count;
        if base == 0 || last > usize::from(u16::MAX) {
            return Err(Failure::new(Code::Usage, format!("--port-base {base} leaves no room for {count} replicas"))
                .needed(format!("1 to {}", usize::from(u16::MAX) - 10 * count)));
        }
        return Ok((0..count as u16).map(|index| (local(base + 10 * index), local(base + 10 * index + 1))).collect());
    }
    let ports = free_ports(2 * count)?;
    Ok(ports.chunks(2).map(|pair| (local(pair[0]), local(pair[1]))).collect())
}

/// Ports that nothing listens on, outside the range from which the kernel serves outgoing connections: a port in there
/// could be taken by anyone's connection between two lives of a replica.
fn free_ports(count: usize) -> Result<Vec<u16>, Failure> {
    const LOWEST: u16 = 10_240;
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let highest = range.split_whitespace().next().and_then(|low| low.parse().ok()).unwrap_or(32_768);
    let highest = if highest > LOWEST + 1_000 { highest } else { u16::MAX };
    let span = u32::from(highest - LOWEST);
    let start = getrandom::u32().unwrap_or_default() % span;
    let candidates = (0..span).map(|step| LOWEST + ((start + step) % span) as u16);
    let ports: Vec<u16> =
        candidates.filter(|port| is_free(SocketAddr::from((Ipv4Addr::LOCALHOST, *port)))).take(count).collect();
    if ports.len() < count {
        return Err(Failure::new(Code::ListenFailed, format!("cannot find {count} free ports on 127.0.0.1"))
            .fix("end what listens there, or name --port-base"));
    }
    Ok(ports)
}

/// Whether a replica can listen there.
fn is_mine(address: &Address) -> bool {
    address.resolve().is_ok_and(|found| found.iter().any(|address| is_free(*address)))
}

fn is_free(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_ok()
}

/// How a process ended, for a person.
pub fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => String::from("an unknown end"),
    }
}

/// A command to be run by the shell, which does not outlive this process.
pub fn shell_command(text: &str) -> Result<Command, Failure> {
    let program = own_program()?;
    let mut command = Command::new(program);
    let args: [OsString; 7] = [
        "supervised".into(),
        "--parent".into(),
        std::process::id().to_string().into(),
        "--".into(),
        "sh".into(),
        "-c".into(),
        text.into(),
    ];
    command.args(args);
    Ok(command)
}
