//! A state that is not what the log makes: the replica that has it ends, and says so.

use std::path::{Path, PathBuf};

use quorate::client::{CreateOptions, Expect};
use quorate::namespace::codec::batch_header;
use quorate::namespace::command::Command;
use quorate::namespace::{Applied, Namespace};
use quorate::replica::exchange::Submission;
use quorate::replica::{ImageHead, ImageReader, write_image};

use super::cell::{Cell, PATIENCE, path};

/// The smallest segments there may be, and an image for each.
const SMALL: &str = "segment = \"8MiB\"\nimage_after = \"8MiB\"\nmax = \"256MiB\"\n";

fn images(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|file| path(file).contains("/image-") && file.extension().is_none()).collect()
}

/// Writes an image anew with something in it that no log said, and every sum right.
fn tamper(image: &Path) {
    let mut reader = ImageReader::new(1);
    reader.add(&std::fs::read(image).expect("it is there")).expect("it is whole");
    let cell = reader.head().expect("it has a head").identity.cell;
    let (head, mut namespace): (ImageHead, Namespace) = reader.finish(cell).expect("it is whole");
    let revision = namespace.revision();
    let Submission { run, count } =
        Submission::of(&Command::OpenSession { token: 0xbad, secret: 1, timeout_ms: 60_000, address: None });
    let batch = [&batch_header(namespace.log_time_ns(), 1, count)[..], &run].concat();
    namespace.apply(&batch, &mut Applied::default());
    assert_eq!(namespace.revision(), revision + 1, "it is another state");
    let mut bytes = Vec::new();
    let head = ImageHead { revision: namespace.revision(), ..head };
    let put = |piece: bytes::Bytes| {
        bytes.extend_from_slice(&piece);
        Ok::<(), ()>(())
    };
    write_image(&head, &mut namespace, put).expect("memory takes it");
    std::fs::write(image, bytes).expect("written");
}

#[test]
fn a_replica_whose_state_differs_ends_and_the_others_go_on() {
    let mut cell = Cell::start(3, SMALL);
    let writer = cell.connect();
    writer.create("/bulk", vec![0; 512 << 10], CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    let write = |number: u64, bytes: usize| {
        writer.set("/bulk", vec![number as u8; bytes], Expect::Any).wait_timeout(PATIENCE).expect("written");
    };
    (0..40).for_each(|number| write(number, 512 << 10));
    cell.wait("images", |cell| (0..3).all(|index| !images(cell.folder(index)).is_empty()).then_some(()));
    let wrong = (cell.leader() + 1) % 3;
    cell.kill(wrong);
    images(cell.folder(wrong)).iter().for_each(|image| tamper(image));
    cell.restart(wrong);
    // One write an entry, until the next digest.
    (0..1100).for_each(|number| write(number, 10));
    assert_eq!(cell.wait_for_end(wrong), Some(43), "{}", cell.logs());
    let said = cell.logs();
    let told = ["found:  digest ", "needed: digest ", "as a majority has it"].iter().all(|words| said.contains(words));
    assert!(told, "both digests are told: {said}");
    (0..3).filter(|index| *index != wrong).for_each(|index| assert!(cell.status(index).is_some(), "{said}"));
    write(7, 10);
    // With an empty disk it is one of them again.
    cell.remove_folder(wrong);
    let recovering = cell.recover(wrong);
    cell.wait("a new folder", |cell| cell.folder(wrong).join("hard-state").exists().then_some(()));
    cell.restart(wrong);
    assert!(recovering.wait_with_output().expect("it ends").status.success(), "{}", cell.logs());
    (0..1100).for_each(|number| write(number, 10));
    cell.wait_until_equal();
    (0..3).for_each(|index| assert!(cell.status(index).is_some(), "all are well: {}", cell.logs()));
}
