//! From a setting to the files of one host: placeholders and patterns are filled in, values are read and written.
//!
//! Everything happens below a root, which is `/` unless somebody tries something out.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What the placeholders of the profile stand for on this host.
#[derive(Clone, Default, Debug)]
pub struct Host {
    /// `{disk}`: the disks below the replicas' folders.
    pub disks: Vec<String>,
    /// `{irq}`: the interrupts of these network cards.
    pub cards: Vec<String>,
    /// `{cores}`: Quorate's.
    pub cores: Vec<usize>,
    /// How many cores there are; those that are not Quorate's are `{other_cores}`.
    pub cores_there: usize,
    pub root: PathBuf,
}

/// What has to be said before a setting means something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unasked(pub &'static str);

impl Host {
    /// The host whose files lie below `root`, of which nothing is said yet.
    pub fn at(root: PathBuf) -> Self {
        let host = Self { root, ..Self::default() };
        // Every core that there is, like 0-3, whether or not this process may use it.
        let present = read_value(&host.below("/sys/devices/system/cpu/present")).unwrap_or_default();
        let last = present.rsplit(['-', ',']).next().and_then(|last| last.parse::<usize>().ok());
        Self { cores_there: last.map_or(1, |last| last + 1), ..host }
    }

    /// Which start of the host this is; none where the kernel does not tell.
    pub fn boot(&self) -> Option<String> {
        read_value(&self.below("/proc/sys/kernel/random/boot_id")).ok()
    }

    /// Whether a program of that name runs.
    pub fn runs(&self, program: &str) -> bool {
        let is_number = |name: &String| name.bytes().all(|letter| letter.is_ascii_digit());
        let names = self.names("/proc", "", "").into_iter().filter(is_number);
        let comms = names.map(|number| self.below(&format!("/proc/{number}/comm")));
        comms.into_iter().any(|comm| read_value(&comm).is_ok_and(|name| name == program))
    }

    /// Where `path`, written from `/`, lies.
    pub fn below(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Makes a file of a host that a test pretends.
    #[cfg(test)]
    pub fn write(&self, path: &str, text: &str) {
        let path = self.below(path);
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    /// Every reading of `text`: one for each disk or interrupt it is about.
    pub fn fill(&self, text: &str) -> Result<Vec<String>, Unasked> {
        let mut texts = vec![text.to_owned()];
        if text.contains("{cores}") || text.contains("{other_cores}") {
            let others: Vec<usize> = (0..self.cores_there).filter(|core| !self.cores.contains(core)).collect();
            if self.cores.is_empty() || others.is_empty() {
                return Err(Unasked("--cores, and leave some to the host"));
            }
            let filled = text.replace("{cores}", &list(&self.cores)).replace("{other_cores}", &list(&others));
            texts = vec![filled];
        }
        texts = spread(texts, "{disk}", &self.disks, "--dir or --disk")?;
        if text.contains("{irq}") {
            texts = spread(texts, "{irq}", &self.interrupts(), "--card")?;
        }
        Ok(texts)
    }

    /// The files that `pattern`, filled in, means; none if this kernel has no such thing.
    pub fn files(&self, pattern: &str) -> Result<Vec<String>, Unasked> {
        let mut found = Vec::new();
        for path in self.fill(pattern)? {
            found.extend(self.matching(&path));
        }
        Ok(found)
    }

    /// Paths from `/` that exist and fit a pattern in which `*` stands for any letters of one name.
    fn matching(&self, pattern: &str) -> Vec<String> {
        let mut found = vec![String::new()];
        for name in pattern.trim_start_matches('/').split('/') {
            found = found
                .iter()
                .flat_map(|folder| {
                    let names = match name.split_once('*') {
                        None => vec![name.to_owned()],
                        Some((start, end)) => self.names(folder, start, end),
                    };
                    names.into_iter().map(move |name| format!("{folder}/{name}"))
                })
                .collect();
        }
        found.retain(|path| self.below(path).is_file());
        found
    }

    fn names(&self, folder: &str, start: &str, end: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.below(folder)) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let fits =
            |name: &String| name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end);
        let mut names: Vec<String> = names.filter(fits).collect();
        names.sort();
        names
    }

    /// Every interrupt of the cards: each queue has one of its own, or two, and the card itself some.
    fn interrupts(&self) -> Vec<String> {
        self.cards.iter().flat_map(|card| self.interrupts_of(&format!("/sys/class/net/{card}/device"))).collect()
    }

    fn interrupts_of(&self, device: &str) -> Vec<String> {
        let bus = fs::read_link(self.below(&format!("{device}/subsystem")));
        // A virtual card has those of the PCI device that carries it.
        let carrier = if bus.is_ok_and(|bus| bus.ends_with("virtio")) { "/.." } else { "" };
        let own = self.names(&format!("{device}{carrier}/msi_irqs"), "", "");
        if !own.is_empty() {
            return own;
        }
        // One interrupt by wire, as old cards have it; 0 is none.
        let wired = read_value(&self.below(&format!("{device}{carrier}/irq")));
        wired.into_iter().filter(|number| number != "0").collect()
    }
}

/// A value of the kernel's: of several words in which one is in brackets, that one; otherwise all, one space apart.
pub fn read_value(path: &Path) -> io::Result<String> {
    let text = fs::read_to_string(path)?;
    let chosen = text.split_once('[').and_then(|(_, rest)| Some(rest.split_once(']')?.0.to_owned()));
    Ok(chosen.unwrap_or_else(|| text.split_whitespace().collect::<Vec<_>>().join(" ")))
}

/// Writes a value into a file that is there.
pub fn write_value(path: &Path, value: &str) -> io::Result<()> {
    let mut file = fs::File::options().write(true).truncate(true).open(path)?;
    file.write_all(format!("{value}\n").as_bytes())
}

fn spread(
    texts: Vec<String>,
    placeholder: &str,
    values: &[String],
    hint: &'static str,
) -> Result<Vec<String>, Unasked> {
    if !texts.iter().any(|text| text.contains(placeholder)) {
        return Ok(texts);
    }
    if values.is_empty() {
        return Err(Unasked(hint));
    }
    Ok(texts.iter().flat_map(|text| values.iter().map(|value| text.replace(placeholder, value))).collect())
}

fn list(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(root: &Path) -> Host {
        let disks = vec!["sda".to_owned(), "sdb".to_owned()];
        Host { disks, cards: vec!["eth0".into()], cores: vec![1, 2], cores_there: 4, root: root.to_owned() }
    }

    #[test]
    fn placeholders_and_patterns_become_the_files_that_are_there() {
        let root = tempfile::tempdir().expect("a folder");
        let host = host(root.path());
        host.write("sys/block/sda/queue/scheduler", "x");
        host.write("sys/cpu/policy10/governor", "x");
        host.write("sys/cpu/policy2/governor", "x");
        host.write("sys/cpu/other/governor", "x");
        host.write("sys/class/net/eth0/device/msi_irqs/41", "x");
        host.write("proc/irq/41/smp_affinity_list", "0-3");
        assert_eq!(host.files("/sys/block/{disk}/queue/scheduler"), Ok(vec!["/sys/block/sda/queue/scheduler".into()]));
        let policies = ["/sys/cpu/policy10/governor".to_owned(), "/sys/cpu/policy2/governor".into()];
        assert_eq!(host.files("/sys/cpu/policy*/governor"), Ok(policies.to_vec()));
        assert_eq!(host.files("/proc/irq/{irq}/smp_affinity_list"), Ok(vec!["/proc/irq/41/smp_affinity_list".into()]));
        assert_eq!(host.files("/proc/sys/not/there"), Ok(vec![]));
        assert_eq!(host.fill("{cores} and {other_cores}"), Ok(vec!["1,2 and 0,3".into()]));
        assert_eq!(host.fill("KERNEL={disk}"), Ok(vec!["KERNEL=sda".into(), "KERNEL=sdb".into()]));
    }

    #[test]
    fn all_interrupts_of_a_card_are_meant_wherever_they_are_listed() {
        let root = tempfile::tempdir().expect("a folder");
        let host = host(root.path());
        let link = |to: &str, path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("made");
            std::os::unix::fs::symlink(to, path).expect("linked");
        };
        // A card with four queues, a virtual one whose carrier has them, and one with a wire.
        for number in [40, 41, 42, 43] {
            host.write(&format!("sys/devices/pci/card/msi_irqs/{number}"), "msix");
        }
        host.write("sys/devices/pci/card/irq", "40");
        for number in [50, 51] {
            host.write(&format!("sys/devices/pci/carrier/msi_irqs/{number}"), "msix");
        }
        fs::create_dir_all(root.path().join("sys/devices/pci/carrier/virtio2")).expect("made");
        link("../../../../bus/virtio", "sys/devices/pci/carrier/virtio2/subsystem");
        host.write("sys/devices/pci/old/irq", "19");
        host.write("sys/devices/pci/msi_irqs/99", "the bridge's own");
        for (card, device) in [("eth0", "card"), ("eth1", "carrier/virtio2"), ("eth2", "old")] {
            link(&format!("../../../devices/pci/{device}"), &format!("sys/class/net/{card}/device"));
        }
        for number in [40, 41, 42, 43, 50, 51, 19, 99] {
            host.write(&format!("proc/irq/{number}/smp_affinity_list"), "0-3");
        }
        let of = |card: &str| {
            let host = Host { cards: vec![card.into()], ..host.clone() };
            host.files("/proc/irq/{irq}/smp_affinity_list").expect("the card has some").len()
        };
        assert_eq!((of("eth0"), of("eth1"), of("eth2")), (4, 2, 1));
        let both = Host { cards: vec!["eth1".into(), "eth2".into()], ..host.clone() };
        assert_eq!(both.fill("{irq}"), Ok(vec!["50".into(), "51".into(), "19".into()]));
    }

    #[test]
    fn a_program_that_runs_and_a_start_are_known_by_the_kernels_files() {
        let root = tempfile::tempdir().expect("a folder");
        let host = Host::at(root.path().to_owned());
        assert_eq!((host.boot(), host.runs("irqbalance"), host.cores_there), (None, false, 1));
        host.write("proc/sys/kernel/random/boot_id", "829fb15d\n");
        host.write("proc/self/comm", "irqbalance\n");
        host.write("proc/77/comm", "irqbalance-ui\n");
        host.write("sys/devices/system/cpu/present", "0-3\n");
        let host = Host::at(root.path().to_owned());
        assert_eq!((host.boot(), host.cores_there), (Some("829fb15d".into()), 4));
        assert!(!host.runs("irqbalance"), "a number's, and the whole name");
        host.write("proc/412/comm", "irqbalance\n");
        assert!(host.runs("irqbalance"));
    }

    #[test]
    fn what_was_not_said_is_asked_for() {
        let host = Host { cores_there: 2, root: "/".into(), ..Host::default() };
        assert_eq!(host.fill("{disk}"), Err(Unasked("--dir or --disk")));
        assert_eq!(host.fill("{irq}"), Err(Unasked("--card")));
        assert!(host.fill("{other_cores}").is_err());
        let greedy = Host { cores: vec![0, 1], ..host };
        assert!(greedy.fill("{cores}").is_err(), "nothing would be left to the host");
    }

    #[test]
    fn values_are_read_as_the_kernel_writes_them() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("value");
        for (written, read) in [
            ("none [mq-deadline] kyber\n", "mq-deadline"),
            ("4096\t131072\t6291456\n", "4096 131072 6291456"),
            ("1\n", "1"),
            ("\n", ""),
        ] {
            fs::write(&path, written).expect("written");
            assert_eq!(read_value(&path).expect("read"), read);
        }
        write_value(&path, "none").expect("written");
        assert_eq!(read_value(&path).expect("read"), "none");
        assert!(write_value(&root.path().join("missing"), "1").is_err(), "nothing is made that the kernel has not");
    }
}
