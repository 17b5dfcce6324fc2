//! Access lists on real processes: who is told what, before and after the leader died, and what a command line does.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use quorate::client::{
    Acl, AclEntry, ChangeAnswer, Client, CreateOptions, Credentials, Error, Expect, LockOptions, MemberChange,
    ReplicaId, Rights, Slot, SnapshotSource, WatchOptions, members,
};

use super::cell::{Cell, PATIENCE, QUORATE, folder};

/// Nobody else says these words.
const PASSWORD: &str = "correct horse battery staple";

fn user(name: &str) -> Credentials {
    Credentials::new(name, PASSWORD)
}

/// A cell whose super principal is `root`.
fn guarded_cell() -> Cell {
    Cell::start(3, &format!("[acl]\nsuper = \"{}\"\n", user("root").user()))
}

fn nobody(cell: &Cell) -> Client {
    Client::connect(&cell.endpoints()).wait_timeout(PATIENCE).expect("a session")
}

fn connect(cell: &Cell, name: &str) -> Client {
    let builder = Client::builder(&cell.endpoints()).expect("a target").auth(user(name));
    builder.connect().wait_timeout(PATIENCE).expect("a session")
}

fn entry(text: &str) -> AclEntry {
    text.parse().expect("an entry")
}

fn create(client: &Client, path: &str, data: &str, options: CreateOptions) {
    client.create(path, data.to_owned(), options).wait_timeout(PATIENCE).expect("it may be made");
}

/// To a client without any right the node does not exist, whatever it tries.
fn is_nothing_to(client: &Client, path: &str) {
    let (parent, name) = path.rsplit_once('/').expect("it is absolute");
    let parent = if parent.is_empty() { "/" } else { parent };
    assert!(matches!(client.get(path).wait_timeout(PATIENCE), Err(Error::NoNode { .. })));
    assert_eq!(client.exists(path).wait_timeout(PATIENCE).expect("an answer"), None);
    assert!(matches!(client.set(path, "mine", Expect::Any).wait_timeout(PATIENCE), Err(Error::NoNode { .. })));
    assert!(matches!(client.acl(path).wait_timeout(PATIENCE), Err(Error::NoNode { .. })));
    assert!(matches!(
        client.try_lock(path, LockOptions::exclusive()).wait_timeout(PATIENCE),
        Err(Error::NodeExists { .. })
    ));
    let below = client.create(&format!("{path}/mine"), "", CreateOptions::permanent()).wait_timeout(PATIENCE);
    assert!(matches!(below, Err(Error::NoParent { .. })), "{below:?}");
    let (names, _) = client.list(parent).wait_timeout(PATIENCE).expect("its parent is open to all");
    assert!(!names.iter().any(|other| other == name), "{names:?}");
}

/// Whether any file of the folder holds these words.
fn is_written_down(folder: &Path, words: &str) -> bool {
    let found = Command::new("grep").args(["-raqF", "-e", words]).arg(folder).status().expect("grep runs");
    assert!(found.code().is_some_and(|code| code < 2), "grep could not look: {found}");
    found.success()
}

#[test]
fn a_list_holds_under_another_leader_and_after_a_restart_of_all() {
    let mut cell = guarded_cell();
    let (alice, bob, stranger) = (connect(&cell, "alice"), connect(&cell, "bob"), nobody(&cell));
    let mut watch = stranger.watch("/", WatchOptions::recursive()).wait_timeout(PATIENCE).expect("it stands");
    let own = Acl::new([entry("auth::all"), entry("group:/acl/readers:r")]).inherited();
    create(&alice, "/private", "secret", CreateOptions::permanent().acl(own));
    create(&alice, "/private/x", "inherits", CreateOptions::permanent());
    create(&alice, "/acl/readers", "# nobody yet\n", CreateOptions::permanent().parents());
    is_nothing_to(&stranger, "/private");
    is_nothing_to(&bob, "/private");

    let members = format!("{}\n", user("bob").user());
    alice.set("/acl/readers", members, Expect::Any).wait_timeout(PATIENCE).expect("she made it");
    let leader = cell.kill_leader();
    let read = |client: &Client, path: &str| client.get(path).wait_timeout(PATIENCE).map(|(data, _)| data);
    assert_eq!(read(&bob, "/private/x").expect("he is in the group"), "inherits");
    let refused = bob.set("/private/x", "mine", Expect::Any).wait_timeout(PATIENCE);
    assert!(matches!(&refused, Err(Error::NotAuthorized { path, needed: Rights::WRITE }) if path == "/private/x"));
    alice.set("/private/x", "hers", Expect::Any).wait_timeout(PATIENCE).expect("the session is still hers");
    is_nothing_to(&stranger, "/private");
    cell.restart(leader);
    cell.kill_all();
    (0..3).for_each(|index| cell.restart(index));

    is_nothing_to(&stranger, "/private");
    assert_eq!(read(&bob, "/private/x").expect("he still is in the group"), "hers");
    let root = connect(&cell, "root");
    assert_eq!(root.delete_tree("/private", Expect::Any).wait_timeout(PATIENCE).expect("nothing stops her"), 2);
    create(&alice, "/end", "", CreateOptions::permanent());
    let mut told = Vec::new();
    while told.last().is_none_or(|path| path != "/end") {
        let event = watch.next_timeout(PATIENCE).expect("the session lives").expect("it is told");
        told.extend(event.path().map(str::to_owned));
    }
    assert_eq!(told, ["/acl", "/acl/readers", "/acl/readers", "/end"], "nothing of what was private");
    cell.kill_all();
    for index in 0..3 {
        assert!(is_written_down(cell.folder(index), "# nobody yet"), "the search finds what there is");
        assert!(!is_written_down(cell.folder(index), PASSWORD), "the log knows no password");
    }
}

#[test]
fn an_address_is_a_principal_and_a_wrong_password_is_nobody() {
    let cell = guarded_cell();
    let root = connect(&cell, "root");
    let local = Acl::new([entry("ip:127.0.0.0/8:rw")]);
    create(&root, "/near", "here", CreateOptions::permanent().acl(local));
    create(&root, "/far", "", CreateOptions::permanent().acl(Acl::new([entry("ip:10.0.0.0/8:all")])));
    let stranger = nobody(&cell);
    stranger.set("/near", "there", Expect::Any).wait_timeout(PATIENCE).expect("it is near");
    let refused = stranger.set_acl("/near", Acl::new([entry("world:anyone:all")]), Expect::Any).wait_timeout(PATIENCE);
    assert!(matches!(refused, Err(Error::NotAuthorized { needed: Rights::ADMIN, .. })), "{refused:?}");
    is_nothing_to(&stranger, "/far");
    stranger.authenticate(Credentials::new("root", "guessed")).wait_timeout(PATIENCE).expect("anybody may say so");
    is_nothing_to(&stranger, "/far");
    stranger.authenticate(user("root")).wait_timeout(PATIENCE).expect("it is taken");
    assert!(stranger.exists("/far").wait_timeout(PATIENCE).expect("an answer").is_some(), "this one was right");
}

/// `users`: for whom it stands, by name, with a space between them.
fn quorate(cell: &Cell, args: &[&str], users: Option<&str>, input: &str) -> (Option<i32>, String, String) {
    let proof = |name| format!("digest:{name}:{PASSWORD}");
    quorate_as(cell, args, users.map(|users| users.split(' ').map(proof).collect::<Vec<_>>().join("\n")), input)
}

/// `proofs`: what the variable holds.
fn quorate_as(cell: &Cell, args: &[&str], proofs: Option<String>, input: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(QUORATE);
    command.args(args).env("QUORATE_ENDPOINTS", cell.endpoints()).env_remove("QUORATE_AUTH");
    command.envs(proofs.map(|proofs| ("QUORATE_AUTH", proofs)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    child.stdin.take().expect("it is a pipe").write_all(input.as_bytes()).expect("it reads");
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is text");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn the_command_line_sets_shows_and_obeys_lists() {
    let cell = guarded_cell();
    let run = |args: &[&str], auth| quorate(&cell, args, auth, "");
    let (code, digest, words) = quorate(&cell, &["acl", "digest", "alice"], None, &format!("{PASSWORD}\n"));
    assert_eq!((code, digest.trim_end()), (Some(0), user("alice").user().to_string().as_str()), "{words}");
    let (_, who, words) = run(&["acl", "whoami"], Some("alice"));
    assert_eq!(who, format!("{digest}ip:127.0.0.1\nworld:anyone\n"), "{words}");
    let (code, _, words) = run(&["create", "--acl", "auth::all", "--acl", "world:anyone:r", "/a", "x"], Some("alice"));
    assert_eq!(code, Some(0), "{words}");
    let (code, said, words) = run(&["get", "/a"], None);
    assert_eq!((code, said.as_str()), (Some(0), "x\n"), "{words}");
    let (code, _, words) = run(&["set", "/a", "y"], None);
    assert!(code == Some(6) && words.contains("error[E006]") && words.contains("`write`"), "{words}");
    let (code, said, words) = run(&["acl", "get", "--json", "/a"], Some("alice"));
    let said: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{code:?} {said} {words}"));
    assert_eq!((&said["entries"][0], &said["acl_version"]), (&"world:anyone:r".into(), &0.into()), "{said}");
    assert_eq!(run(&["acl", "get", "/a"], None).0, Some(6), "not everybody is told");
    let open = ["open", "--must-create", "--acl", "auth::all", "/mine", "x", "--", "true"];
    assert_eq!(run(&open, Some("alice")).0, Some(0));
    assert_eq!(run(&["acl", "get", "/mine"], Some("alice")).1, format!("{}:rwcdal\n", digest.trim_end()));
    assert_eq!(run(&["get", "/mine"], None).0, Some(1), "it is hers from its making on");
    assert_eq!(
        run(&["open", "--acl", "auth::all", "/mine", "--", "true"], Some("alice")).0,
        Some(2),
        "nothing is made"
    );
    let (code, _, words) = run(&["acl", "set", "--version", "0", "/a", "auth::all"], Some("alice"));
    assert_eq!(code, Some(0), "{words}");
    assert_eq!(run(&["acl", "set", "--version", "0", "/a", "auth::r"], Some("alice")).0, Some(1), "it has changed");
    assert_eq!(run(&["get", "/a"], None).0, Some(1), "to nobody it is nothing");
    let (_, said, words) = quorate(&cell, &["shell"], Some("alice"), "get /a\nls /\n");
    assert_eq!(said, "x\na\nmine\n", "the prompt stands for whom it was started for: {words}");
    assert_eq!(run(&["acl", "rm", "/a"], Some("root")).0, Some(0));
    assert_eq!(run(&["acl", "get", "/a"], None).1, "world:anyone:rwcdal\n");
    let (code, _, words) = run(&["get", "/a", "--auth", "alice:secret"], None);
    assert!(code == Some(2) && words.contains("digest:USER:PASSWORD") && !words.contains("secret"), "{words}");
}

#[test]
fn the_command_line_stands_for_several_users_at_once() {
    let cell = guarded_cell();
    let (alice, bob) = (format!("digest:alice:{PASSWORD}"), format!("digest:bob:{PASSWORD}"));
    for name in ["alice", "bob"] {
        let path = format!("/{name}");
        let made = quorate(&cell, &["create", "--acl", "auth::all", &path, name], Some(name), "");
        assert_eq!(made.0, Some(0), "{made:?}");
    }
    let both = "get /alice\nget /bob\n";
    for (args, users) in
        [(vec!["shell"], Some("alice bob")), (vec!["shell", "--auth", &alice, "--auth", &bob], Some("carol"))]
    {
        let (code, said, words) = quorate(&cell, &args, users, both);
        assert_eq!((code, said.as_str()), (Some(0), "alice\nbob\n"), "{args:?}: {words}");
    }
    for proofs in [format!("{alice}\n{bob}\n"), format!("{alice}\r\n{bob}\r\n"), format!("\n{alice}\n\n{bob}")] {
        let (code, said, words) = quorate_as(&cell, &["shell"], Some(proofs.clone()), both);
        assert_eq!((code, said.as_str()), (Some(0), "alice\nbob\n"), "as a file has it, {proofs:?}: {words}");
    }
    let (code, said, words) = quorate_as(&cell, &["get", "/bob"], Some(format!("{bob}\n")), "");
    assert_eq!((code, said.as_str()), (Some(0), "bob\n"), "a line has an end: {words}");
    let (code, said, words) = quorate(&cell, &["acl", "whoami", "--auth", &bob], Some("alice root"), "");
    let is_told = |name| said.contains(&user(name).user().to_string());
    assert_eq!(["alice", "bob", "root"].map(is_told), [false, true, false], "a flag wins: {code:?} {said} {words}");
}

/// What a replica says to somebody who wants its newest image.
fn borrow(cell: &Cell, index: usize, name: Option<&str>) -> Result<(), Error> {
    let mut source = SnapshotSource::open(&cell.address(index).to_string(), PATIENCE).expect("it listens");
    name.map_or(Ok(()), |name| source.authenticate(&user(name))).expect("anybody may say so");
    // A piece is asked for as well: who guesses a name is told no more than who asks for one.
    let piece = source.piece(Slot(1), 0).map(|_| ());
    let image = source.image(0).map(|_| ());
    assert_eq!(piece.is_ok(), image.is_ok(), "{piece:?}, {image:?}");
    image
}

#[test]
fn only_the_super_principal_fetches_an_image_or_changes_the_members() {
    let mut cell = guarded_cell();
    create(
        &connect(&cell, "alice"),
        "/private",
        "hers",
        CreateOptions::permanent().acl(Acl::new([entry("auth::all")])),
    );
    let leader = cell.kill_leader();
    cell.leader();
    let lends = (leader + 1) % 3;
    for name in [None, Some("alice")] {
        assert!(matches!(borrow(&cell, lends, name), Err(Error::NotSuper)), "{name:?}");
    }
    borrow(&cell, lends, Some("root")).expect("she may have everything");
    cell.restart(leader);

    let home = folder();
    let file = home.path().join("one.snapshot");
    let save = ["snapshot", "save", file.to_str().expect("it is text")];
    for newest in [&save[..], &[&save[..], &["--newest"]].concat()] {
        let (status, _, stderr) = quorate(&cell, newest, Some("alice"), "");
        assert!(status == Some(6) && stderr.contains("acl.super"), "{status:?}: {stderr}");
        assert!(!home.path().join("one.snapshot.partial").exists(), "nothing is left behind");
    }
    let (status, _, stderr) = quorate(&cell, &save, Some("alice root bob"), "");
    assert_eq!(status, Some(0), "one of them may: {stderr}");
    let saved = quorate::server::snapshot::verify(&file).expect("a snapshot").namespace;
    assert!(saved.tree().get("/private").is_some(), "everything is in it");

    for name in [None, Some("alice")] {
        let (status, _, stderr) = quorate(&cell, &["member", "remove", "3"], name, "");
        assert!(status == Some(6) && stderr.contains("acl.super"), "{status:?}: {stderr}");
    }
    let listed = quorate(&cell, &["member", "list"], None, "").1;
    assert_eq!(listed.matches("voter").count(), 3, "anybody may look, and nothing changed: {listed}");
    // Refused until the one that was started again is back.
    let remove = |cell: &Cell| quorate(cell, &["member", "remove", "3"], Some("alice root bob"), "").0;
    cell.wait("a removal", |cell| (remove(cell) == Some(0)).then_some(()));
}

#[test]
fn without_a_super_principal_the_first_list_shuts_everybody_out() {
    let cell = Cell::start(1, "");
    let client = nobody(&cell);
    borrow(&cell, 0, None).expect("there is no list");
    create(&client, "/private", "", CreateOptions::permanent().acl(Acl::new([entry("world:anyone:all")])));
    for name in [None, Some("root")] {
        assert!(matches!(borrow(&cell, 0, name), Err(Error::NotSuper)), "{name:?}");
    }
    let change = || Some(MemberChange::Remove { replica: ReplicaId(9) });
    let ask = |change| members(&cell.endpoints(), change, None, PATIENCE).map(|members| members.answer);
    assert!(matches!(ask(change()), Err(Error::NotSuper)));
    assert_eq!(ask(None).expect("anybody may look"), ChangeAnswer::Listed);
    client.delete("/private", Expect::Any).wait_timeout(PATIENCE).expect("all may");
    borrow(&cell, 0, None).expect("there is no list any more");
    let home = folder();
    let file = home.path().join("after.snapshot");
    let save = ["snapshot", "save", "--newest", file.to_str().expect("it is text")];
    let (status, _, stderr) = quorate(&cell, &save, None, "");
    assert_eq!(status, Some(0), "{stderr}");
    let saved = quorate::server::snapshot::verify(&file).expect("a snapshot").namespace;
    assert!(saved.tree().get("/private").is_none(), "the one of before is lent to nobody");
    assert!(ask(change()).is_ok_and(|answer| answer != ChangeAnswer::Listed), "it is looked into");
}
