//! Mistakes of an operator: each is refused, with its own status, and nothing is harmed.

use super::cell::{Cell, QUORATE, path, run};

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_second_process_on_one_folder_is_refused() {
    let cell = Cell::start(1, "");
    cell.leader();
    let second = run(&["start", "--config", path(cell.config()), path(cell.folder(0))]);
    assert_eq!(second.status.code(), Some(31), "{}", stderr(&second));
    assert!(stderr(&second).contains("E031"), "{}", stderr(&second));
    assert!(cell.status(0).is_some(), "the first process is not disturbed");
}

#[test]
fn a_folder_of_another_cell_is_refused() {
    let mut ours = Cell::start(1, "");
    let other = Cell::start(1, "");
    ours.kill(0);
    let mixed = run(&["start", "--config", path(other.config()), path(ours.folder(0))]);
    assert_eq!(mixed.status.code(), Some(32), "{}", stderr(&mixed));
}

#[test]
fn a_folder_with_content_is_not_formatted_again() {
    let mut cell = Cell::start(1, "");
    cell.leader();
    cell.kill(0);
    let text = std::fs::read_to_string(cell.config()).expect("the configuration");
    let id = text.lines().find_map(|line| line.strip_prefix("id = \"")).expect("the cell's id").trim_end_matches('"');
    let args = ["format", "--cell", id, "--replica", "1", "--config", path(cell.config()), path(cell.folder(0))];
    let again = run(&args);
    assert_eq!(again.status.code(), Some(30), "{}", stderr(&again));
    cell.restart(0);
    cell.leader();
}

#[test]
fn a_folder_in_memory_is_refused_where_something_must_last() {
    let cell = Cell::start(1, "");
    let memory = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let folder = memory.path().join("replica");
    let formatted =
        run(&["format", "--cell", cell.id(), "--replica", "1", "--config", path(cell.config()), path(&folder)]);
    assert_eq!(formatted.status.code(), Some(22), "{}", stderr(&formatted));
    assert!(stderr(&formatted).contains("found: tmpfs"), "{}", stderr(&formatted));
    let developed = run(&["dev", "--replicas", "1", "--dir", path(memory.path()), "--exec", "true"]);
    assert_eq!(developed.status.code(), Some(22), "{}", stderr(&developed));
}

#[test]
fn a_host_has_a_name_wherever_it_has_an_address() {
    let cell = Cell::start(3, "");
    let text = std::fs::read_to_string(cell.config()).expect("the configuration").replace("127.0.0.1", "localhost");
    std::fs::write(cell.config(), text).expect("it can be written");
    let mut cell = cell;
    cell.kill_all();
    (0..3).for_each(|index| cell.restart(index));
    cell.leader();
    let endpoints = cell.endpoints().replace("127.0.0.1", "localhost");
    let (said, words, code) = cell.wait("all to be there", |_| {
        Some(status(&endpoints, &[])).filter(|(said, ..)| (0..3).all(|index| said["replicas"][index]["votes"] == true))
    });
    assert_eq!(code, Some(0), "{said} {words}");
    let read = run(&["stat", "/", "--endpoints", &endpoints]);
    assert_eq!(read.status.code(), Some(0), "{}", stderr(&read));
}

#[test]
fn an_address_of_another_host_is_refused() {
    let mut cell = Cell::start(1, "");
    cell.kill(0);
    let address = cell.address(0).to_string();
    // Of a network that no host is in.
    let text = std::fs::read_to_string(cell.config()).expect("the configuration").replace(&address, "192.0.2.1:7400");
    std::fs::write(cell.config(), text).expect("it can be written");
    for cores in ["0", "0,0"] {
        let started = run(&["start", "--cores", cores, "--config", path(cell.config()), path(cell.folder(0))]);
        assert_eq!(started.status.code(), Some(41), "{}", stderr(&started));
        assert!(stderr(&started).contains("an address of this host"), "{}", stderr(&started));
    }
}

#[test]
fn who_is_silent_under_two_names_is_told_of_once() {
    let mut cell = Cell::start(3, "");
    // A follower, so that the others are as healthy as before.
    let (here, gone) = (cell.leader(), (cell.leader() + 1) % 3);
    cell.kill(gone);
    let named = format!("{},{}", cell.address(here), cell.address(gone).to_string().replace("127.0.0.1", "localhost"));
    let (said, words, code) = status(&named, &[]);
    assert_eq!((said["replicas"].as_array().map(Vec::len), code), (Some(3), Some(0)), "{said}");
    assert_eq!(words.matches(&cell.address(gone).port().to_string()).count(), 1, "{words}");
}

#[test]
fn who_cannot_be_reached_is_listed_with_the_cause() {
    let closed = super::cell::free_ports(2);
    let endpoints = format!("127.0.0.1:{},127.0.0.1:{},no-such-host.invalid:1", closed[0], closed[1]);
    let read = run(&["get", "/a", "--endpoints", &endpoints, "--timeout", "3"]);
    let words = stderr(&read);
    assert_eq!(read.status.code(), Some(3), "{words}");
    for endpoint in endpoints.split(',') {
        assert!(words.lines().any(|line| line.contains(&format!("{endpoint}: "))), "{endpoint}: {words}");
    }
}

#[test]
fn a_folder_that_was_never_formatted_is_refused() {
    let cell = Cell::start(1, "");
    let empty = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let started = run(&["start", "--config", path(cell.config()), path(empty.path())]);
    assert_eq!(started.status.code(), Some(33), "{}", stderr(&started));
}

#[test]
fn a_folder_that_cannot_be_looked_into_is_not_called_empty() {
    let cell = Cell::start(1, "");
    let home = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let round = home.path().join("round");
    std::os::unix::fs::symlink(&round, &round).expect("a link to itself");
    let started = run(&["start", "--config", path(cell.config()), path(&round)]);
    assert_eq!(started.status.code(), Some(40), "{}", stderr(&started));
    assert!(!stderr(&started).contains("recover"), "a disk that is there is not given up: {}", stderr(&started));
}

#[test]
fn a_folder_that_is_there_and_empty_is_filled_where_it_is() {
    let cell = Cell::start(1, "");
    let home = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let (folder, neighbour) = (home.path().join("replica.1"), home.path().join("replica.formatting"));
    for made in [&folder, &folder.join("lost+found"), &neighbour] {
        std::fs::create_dir(made).expect("a folder");
    }
    std::fs::write(neighbour.join("mine"), "x").expect("a file");
    let inode =
        |path: &std::path::Path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).expect("it is there"));
    let before = inode(&folder);
    let format = || {
        let args = ["format", "--cell", cell.id(), "--replica", "1", "--config", path(cell.config()), "."];
        std::process::Command::new(QUORATE).args(args).current_dir(&folder).output().expect("the program runs")
    };
    // As a crash leaves it.
    std::fs::create_dir(folder.join("formatting")).expect("a folder");
    std::fs::write(folder.join("formatting/segment-00000001"), "x").expect("a file");
    let formatted = format();
    assert_eq!(formatted.status.code(), Some(0), "{}", stderr(&formatted));
    assert_eq!(inode(&folder), before, "the folder is the one that was there");
    assert!(folder.join("hard-state").is_file() && !folder.join("formatting").exists());
    assert!(neighbour.join("mine").is_file(), "nothing beside it is touched");
    assert_eq!(format().status.code(), Some(30), "once it is whole it has content");
}

#[test]
fn an_address_that_another_cell_serves_is_refused_on_many_cores_too() {
    let cell = Cell::start(1, "[server]\ncores = [0, 0]\n");
    cell.leader();
    let mut other = Cell::start(1, "[server]\ncores = [0, 0]\n");
    other.kill(0);
    let text = std::fs::read_to_string(other.config()).expect("the configuration");
    let text = text.replace(&other.address(0).to_string(), &cell.address(0).to_string());
    std::fs::write(other.config(), text).expect("it can be written");
    let started = run(&["start", "--config", path(other.config()), path(other.folder(0))]);
    assert_eq!(started.status.code(), Some(41), "{}", stderr(&started));
}

#[test]
fn a_process_that_may_lock_no_memory_is_told_which_limit_is_too_low() {
    let mut cell = Cell::start(1, "");
    cell.kill(0);
    let command =
        format!("ulimit -l 0 && exec {QUORATE} start --config {} {}", path(cell.config()), path(cell.folder(0)));
    let started = std::process::Command::new("sh").args(["-c", &command]).output().expect("the shell runs");
    assert_eq!(started.status.code(), Some(12), "{}", stderr(&started));
    for part in ["error[E012]: ", "RLIMIT_MEMLOCK 0", "LimitMEMLOCK=infinity"] {
        assert!(stderr(&started).contains(part), "{part}: {}", stderr(&started));
    }
}

#[test]
fn a_bench_of_no_time_is_refused() {
    let refused = run(&["bench", "write", "--seconds", "0", "--endpoints", "127.0.0.1:1"]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
}

/// What `quorate status --json` says, and its exit status.
fn status(endpoints: &str, more: &[&str]) -> (serde_json::Value, String, Option<i32>) {
    let done = run(&[&["status", "--json", "--timeout", "4s", "--endpoints", endpoints], more].concat());
    let said = serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(&done)));
    (said, stderr(&done), done.status.code())
}

#[test]
fn a_replica_with_a_new_disk_has_no_vote_and_the_status_says_so() {
    let mut cell = Cell::start(3, "");
    let (said, _, code) = status(&cell.endpoints(), &[]);
    assert_eq!((&said["healthy"], code), (&true.into(), Some(0)), "{said}");
    assert!((0..3).all(|index| said["replicas"][index]["votes"] == true), "{said}");
    cell.kill(2);
    cell.lose_disk(2);
    cell.restart(2);
    let (said, ..) = cell.wait("the new disk to answer", |cell| {
        Some(status(&cell.endpoints(), &[]))
            .filter(|(said, ..)| said["replicas"][2]["role"] == "follower" && said["healthy"] == true)
    });
    assert_eq!(said["replicas"][2]["votes"], false, "{said}");
    cell.wait("the log to say so", |cell| {
        cell.logs().contains("replica 3 has no vote in this cell: the cell counts on another disk").then_some(())
    });
    assert_eq!(cell.logs().matches("has no vote in this cell").count(), 1, "once, and of no other replica");
    cell.kill(1);
    let (said, words, code) = cell.wait("the loss to be seen", |cell| {
        Some(status(&cell.endpoints(), &[])).filter(|(said, ..)| said["replicas"][1]["role"].is_null())
    });
    assert_eq!((&said["healthy"], code), (&false.into(), Some(3)), "two answer, one of them votes: {said}");
    assert!(words.contains("1 of them have a vote"), "{words}");
}

#[test]
fn the_status_of_another_cell_or_of_the_port_for_replicas_says_what_is_wrong() {
    let cell = Cell::start(1, "");
    let (_, words, code) = status(&cell.endpoints(), &["--cell", "000000000000000000000000000000ff"]);
    assert_eq!(code, Some(5), "{words}");
    assert!(words.contains("another cell"), "{words}");
    let (_, words, code) = status(&cell.peer_address(0).to_string(), &[]);
    assert_eq!(code, Some(5), "{words}");
    assert!(words.contains(&format!("clients connect to {}", cell.address(0))), "{words}");
}

/// Whether the other end closes the connection, in time.
fn is_closed(stream: &mut std::net::TcpStream) -> bool {
    use std::io::{ErrorKind, Read};
    stream.set_read_timeout(Some(super::cell::PATIENCE)).expect("a time-out can be set");
    match stream.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

#[test]
fn who_says_nothing_on_the_port_for_replicas_is_dropped() {
    let cell = Cell::start(1, "");
    let mut stream = std::net::TcpStream::connect(cell.peer_address(0)).expect("it listens");
    assert!(is_closed(&mut stream), "a link begins with a hello");
}

#[test]
fn a_replica_that_dials_again_takes_the_place_of_its_older_link() {
    use quorate::paxos::ReplicaId;
    use quorate::wire::peer::{Hello, PEER_PROTOCOL, encode_hello};
    use std::io::Write;
    let mut cell = Cell::start(3, "");
    let status = cell.status(2).expect("it answers");
    cell.kill(2);
    let (from, to) = (ReplicaId(3), ReplicaId(1));
    let hello = Hello {
        protocol: PEER_PROTOCOL,
        cell: status.cell,
        from,
        incarnation: status.incarnation,
        to,
        acknowledged: None,
    };
    let dial = || {
        let mut stream = std::net::TcpStream::connect(cell.peer_address(0)).expect("it listens");
        stream.write_all(&encode_hello(&hello)).expect("it takes bytes");
        stream
    };
    let mut first = dial();
    let _second = dial();
    assert!(is_closed(&mut first), "one link a direction");
}

#[test]
fn strangers_on_either_port_cost_nobody_anything() {
    use std::io::{Read, Write};
    let cell = Cell::start(3, "");
    let client = cell.connect();
    for index in 0..3 {
        for noise in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 4096], &[0; 64]] {
            let mut stream = std::net::TcpStream::connect(cell.address(index)).expect("it listens");
            stream.write_all(noise).expect("it takes bytes");
            let mut answer = Vec::new();
            // A refusal, then the end; or a reset, since the rest of the noise was not read.
            let _ = stream.read_to_end(&mut answer);
        }
    }
    client.sync().wait_timeout(super::cell::PATIENCE).expect("the cell serves on");
}

#[test]
fn a_write_to_no_node_is_told_what_makes_one() {
    let cell = Cell::start(1, "");
    let endpoints = cell.endpoints();
    let written = run(&["set", "/new", "x", "--endpoints", &endpoints, "--timeout", "30s"]);
    assert_eq!(written.status.code(), Some(1), "{}", stderr(&written));
    assert!(stderr(&written).contains("`quorate create` makes a node"), "{}", stderr(&written));
}
