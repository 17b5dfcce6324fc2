//! A file system of a test's own, to cut its power and to fill it up.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::cell::{folder, path};
use super::privileges;

/// An ext4 in a file of its own.
pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    /// Makes and mounts one of so many bytes, in a folder of its own; none where the tests may not mount.
    pub fn make(bytes: u64) -> Option<(TempDir, Self)> {
        if !privileges::may("mounting a file system of its own") {
            return None;
        }
        let home = folder();
        let disk = Self { image: home.path().join("disk"), mount: home.path().join("mounted") };
        std::fs::create_dir(&disk.mount).expect("a folder to mount on");
        let file = File::create(&disk.image).expect("a file for the disk");
        file.set_len(bytes).expect("room for the disk");
        // Without blocks kept for root, who runs these tests.
        command("mkfs.ext4", &["-q", "-F", "-m", "0", path(&disk.image)]);
        command("mount", &["-o", "loop", path(&disk.image), path(&disk.mount)]);
        Some((home, disk))
    }

    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a file that takes the room");
        let mut piece = vec![7; 1 << 20];
        while piece.len() >= 4096 {
            if ballast.write_all(&piece).and_then(|()| ballast.sync_data()).is_err() {
                piece.truncate(piece.len() / 2);
            }
        }
    }

    /// Gives it back.
    pub fn empty(&self) {
        std::fs::remove_file(self.ballast()).expect("it was filled");
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }

    /// FS_IOC_SHUTDOWN without flushing: from now on every access is an error, and what was not on the disk is gone.
    pub fn cut_power(&self) {
        let script =
            "open(my $f, '<', $ARGV[0]) or die $!; my $how = pack('L', 2); ioctl($f, 0x8004587d, $how) or die $!";
        command("perl", &["-e", script, path(&self.mount)]);
    }

    /// FIFREEZE: no write to it comes back before it thaws, when what this returns is dropped. Reads go on.
    pub fn freeze(&self) -> Frozen {
        // Whoever waits for a frozen disk cannot be killed. So it thaws when this end of the pipe goes, however that goes.
        let thaws = Command::new("sh")
            .args([
                "-c",
                "read -r _; for _ in 1 2 3 4 5; do fsfreeze -u \"$0\" && break; sleep 1; done",
                path(&self.mount),
            ])
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn();
        let frozen = Frozen(thaws.expect("sh runs"));
        command("timeout", &["20", "fsfreeze", "-f", path(&self.mount)]);
        frozen
    }

    pub fn remount(&self) {
        command("umount", &[path(&self.mount)]);
        command("mount", &["-o", "loop", path(&self.image), path(&self.mount)]);
    }
}

/// A disk that takes no write, and who thaws it.
pub struct Frozen(Child);

impl Drop for Frozen {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        _ = self.0.wait();
    }
}

/// What was done since the system started.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Writes with content that the device completed.
    pub writes: u64,
    pub flushes: u64,
    pub bytes: u64,
    /// Commits of the file system's own journal.
    pub commits: u64,
}

impl Disk {
    /// What the kernel counted of the device, and of the file system on it.
    pub fn counts(&self) -> Counts {
        let listed = Command::new("losetup").args(["-n", "-O", "NAME", "-j", path(&self.image)]).output();
        let listed = String::from_utf8(listed.expect("losetup runs").stdout).expect("names are text");
        let device = listed.trim().rsplit('/').next().expect("the disk is on a loop device").to_owned();
        let counted = std::fs::read_to_string(format!("/sys/block/{device}/stat")).expect("the kernel counts");
        let counted: Vec<u64> = counted.split_whitespace().map(|n| n.parse().expect("a number")).collect();
        let info = std::fs::read_to_string(format!("/proc/fs/jbd2/{device}-8/info")).expect("ext4 counts");
        let commits = info.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number of transactions");
        // The kernel counts a flush among the writes too, one without content.
        let (writes, sectors, flushes) = (counted[4] - counted[15], counted[6], counted[15]);
        Counts { writes, flushes, bytes: sectors * 512, commits }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A process that a failed test left may be about to end; the folder is removed only when this succeeds.
        for _ in 0..100 {
            if Command::new("umount").arg(&self.mount).stderr(Stdio::null()).status().is_ok_and(|s| s.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn command(program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}
