//! What a folder lies on: its filesystem, how that is mounted, and the disk below.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor, stat};

/// The filesystem of one folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// `ext4`
    pub filesystem: String,
    /// `noatime`, `discard` ...: those of the mount, then those of the filesystem.
    pub options: Vec<String>,
    /// Where it is mounted.
    pub point: PathBuf,
    /// The disk below, if it is one disk with a queue of its own.
    pub disk: Option<Disk>,
}

/// A whole disk as the kernel shows it below `/sys/block`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Disk {
    /// `nvme0n1`
    pub name: String,
}

impl Mount {
    /// What `folder`, which exists, lies on.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let folder = fs::canonicalize(folder)?;
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        let mut mount =
            find(&table, &folder).ok_or_else(|| io::Error::other(format!("no mount holds {}", folder.display())))?;
        let device = stat(&folder)?.st_dev;
        mount.disk = Disk::of(Path::new("/sys"), major(device), minor(device));
        Ok(mount)
    }
}

impl Disk {
    fn of(sys: &Path, major: u32, minor: u32) -> Option<Self> {
        let device = fs::canonicalize(sys.join(format!("dev/block/{major}:{minor}"))).ok()?;
        let whole = if device.join("partition").exists() { device.parent()? } else { &device };
        let name = whole.file_name()?.to_str()?.to_owned();
        whole.join("queue").is_dir().then_some(Self { name })
    }

    /// One fact of its queue, if this kernel tells it.
    pub fn queue(&self, fact: &str) -> Option<String> {
        let text = fs::read_to_string(Path::new("/sys/block").join(&self.name).join("queue").join(fact)).ok()?;
        Some(text.trim().to_owned())
    }
}

/// The nearest folder at or above `path` that exists.
pub fn existing(path: &Path) -> &Path {
    let above = path.ancestors().find(|path| path.is_dir());
    above.unwrap_or(Path::new("."))
}

/// The last of the mounts whose point is the longest start of `folder`'s path.
fn find(table: &str, folder: &Path) -> Option<Mount> {
    table
        .lines()
        .filter_map(parse)
        .filter(|mount| folder.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count())
}

/// `27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard`
fn parse(line: &str) -> Option<Mount> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(4);
    let mut filesystem = filesystem.split(' ');
    let point = PathBuf::from(unescape(mount.next()?));
    let name = filesystem.next()?.to_owned();
    let options = [mount.next()?, filesystem.nth(1).unwrap_or_default()];
    let options = options.iter().flat_map(|list| list.split(',')).filter(|option| !option.is_empty());
    Some(Mount { filesystem: name, options: options.map(str::to_owned).collect(), point, disk: None })
}

/// Spaces and their like are written in octal.
fn unescape(text: &str) -> String {
    let mut plain = text.to_owned();
    for (code, letter) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        plain = plain.replace(code, letter);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
31 27 0:40 / /var/lib/a\\040b rw,noatime - tmpfs tmpfs rw,size=4k
32 27 259:1 / /var rw,noatime - xfs /dev/nvme0n1p1 rw,nobarrier
";

    #[test]
    fn a_folder_lies_on_the_nearest_mount_above_it() {
        let on = |folder: &str| find(TABLE, Path::new(folder)).expect("a mount");
        assert_eq!(on("/home/x").filesystem, "ext4");
        assert_eq!(on("/home/x").options, ["rw", "relatime", "rw", "discard"]);
        assert_eq!(on("/var/lib/quorate").filesystem, "xfs");
        assert!(on("/var/lib/quorate").options.contains(&"nobarrier".to_owned()));
        assert_eq!(on("/var/lib/a b/c").filesystem, "tmpfs");
        assert_eq!(on("/variable").filesystem, "ext4", "names are compared whole");
        assert_eq!(find("", Path::new("/")), None);
    }

    #[test]
    fn a_partition_belongs_to_its_disk() {
        let sys = tempfile::tempdir().expect("a folder");
        let sys = sys.path();
        fs::create_dir_all(sys.join("block/sda/sda1")).expect("made");
        fs::create_dir_all(sys.join("block/sda/queue")).expect("made");
        fs::create_dir_all(sys.join("dev/block")).expect("made");
        fs::write(sys.join("block/sda/sda1/partition"), "1").expect("written");
        for (number, target) in [("8:0", "sda"), ("8:1", "sda/sda1")] {
            let link = sys.join("dev/block").join(number);
            std::os::unix::fs::symlink(sys.join("block").join(target), link).expect("linked");
        }
        assert_eq!(Disk::of(sys, 8, 1), Some(Disk { name: "sda".into() }));
        assert_eq!(Disk::of(sys, 8, 0), Some(Disk { name: "sda".into() }));
        assert_eq!(Disk::of(sys, 8, 2), None);
    }

    #[test]
    fn what_does_not_exist_yet_lies_where_its_parent_does() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(existing(&folder.path().join("a/b")), folder.path());
        assert!(!Mount::of(folder.path()).expect("it lies somewhere").filesystem.is_empty());
    }
}
