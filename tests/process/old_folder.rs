//! An older copy of a folder is put back whole: the others remember what was acknowledged since.

use std::path::{Path, PathBuf};

use quorate::client::Expect;

use super::cell::{Cell, PATIENCE, path, run};
use super::load::Load;

/// The folder of a replica that does not run, copied.
fn copy(cell: &Cell, index: usize) -> PathBuf {
    let to = cell.folder(index).with_extension("copy");
    copy_files(cell.folder(index), &to);
    to
}

fn put_back(cell: &Cell, index: usize, from: &Path) {
    cell.remove_folder(index);
    copy_files(from, cell.folder(index));
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("the folder is there") {
        let file = entry.expect("it can be listed").path();
        let name = file.file_name().expect("files have names");
        std::fs::copy(&file, to.join(name)).unwrap_or_else(|error| panic!("{}: {error}", path(&file)));
    }
}

/// It holds what anybody held a moment ago.
fn catches_up(cell: &Cell, index: usize) {
    let applied = |index| cell.status(index).map(|status| status.applied_upto);
    let upto = applied(cell.leader()).expect("a leader answers");
    cell.wait("a replica that catches up", |_| (applied(index) >= Some(upto)).then_some(()));
}

/// Up to which slot a replica's disk remembers that another's voted.
fn remembered(cell: &Cell, index: usize, of: usize) -> u64 {
    let shown = run(&["inspect", "hard-state", "--json", path(cell.folder(index))]);
    let copies = String::from_utf8_lossy(&shown.stdout).into_owned();
    let words = copies.lines().filter_map(|copy| {
        let copy: serde_json::Value = serde_json::from_str(copy).expect("a line of JSON");
        let words = copy["acknowledged"].as_array()?.clone();
        words.into_iter().find(|word| word["replica"] == of + 1)?["slot"].as_u64()
    });
    words.min().unwrap_or(0)
}

/// It ends before it had a say, with its own status and what to do.
fn is_refused(cell: &mut Cell, index: usize) {
    assert_eq!(cell.wait_for_end(index), Some(55), "{}", cell.logs());
    let said = format!("is an older copy of replica {}'s folder", index + 1);
    assert!(cell.logs().contains(&said), "{}", cell.logs());
    assert!(cell.logs().contains("quorate recover"), "it says what to do: {}", cell.logs());
}

#[test]
fn a_follower_with_an_older_copy_of_its_folder_is_refused_and_comes_back_with_a_new_one() {
    let mut cell = Cell::start(3, "");
    let load = Load::start(3, &cell.endpoints(), &[cell.endpoints()]);
    load.progress(50);
    let old = (cell.leader() + 1) % 3;
    cell.kill(old);
    let kept = copy(&cell, old);
    cell.restart(old);
    catches_up(&cell, old);
    // Without the third nothing is written that the copied one does not vote for.
    let third = 3 - old - cell.leader();
    cell.kill(third);
    load.progress(200);
    cell.restart(third);
    catches_up(&cell, third);
    cell.kill(old);
    // The newer folder is good as it is: nothing is refused that should not be.
    cell.restart(old);
    load.progress(50);
    catches_up(&cell, old);
    cell.kill(old);

    put_back(&cell, old, &kept);
    cell.restart(old);
    is_refused(&mut cell, old);
    let third = 3 - old - cell.leader();
    load.progress(50);
    cell.remove_folder(old);
    let recovering = cell.recover(old);
    cell.wait("a new folder", |cell| cell.folder(old).join("hard-state").exists().then_some(()));
    cell.restart(old);
    let recovered = recovering.wait_with_output().expect("it can be waited for");
    assert!(recovered.status.success(), "{}", String::from_utf8_lossy(&recovered.stderr));
    cell.kill(third);
    load.progress(50);
    cell.restart(third);
    load.finish(&cell.endpoints());
    cell.wait_until_equal();
}

/// The whole cell is stopped, one folder is taken back to what it was, and all start: what the others remember lies on
/// their disks.
#[test]
fn an_older_copy_is_refused_by_replicas_that_were_all_started_anew() {
    let mut cell = Cell::start(3, "");
    let load = Load::start(3, &cell.endpoints(), &[cell.endpoints()]);
    load.progress(50);
    let old = cell.leader();
    cell.kill(old);
    let kept = copy(&cell, old);
    cell.restart(old);
    load.progress(50);
    catches_up(&cell, old);
    let voted_upto = cell.status(old).expect("it answers").applied_upto;
    cell.wait("what is remembered on two disks", |cell| {
        let others = (0..3).filter(|index| *index != old);
        others.clone().all(|index| remembered(cell, index, old) > voted_upto.0).then_some(())
    });
    load.finish(&cell.endpoints());
    cell.kill_all();
    put_back(&cell, old, &kept);
    (0..3).for_each(|index| cell.restart(index));
    is_refused(&mut cell, old);
    let set = cell.connect().set("/writer-0", "the others go on", Expect::Any);
    set.wait_timeout(PATIENCE).expect("two of three go on");
}
