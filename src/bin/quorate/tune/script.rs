//! `script`: the same settings as a shell script, for a host without this program, or for somebody who wants to read first
//! what will be done. Paths and lines are those of the host it is written on.

use super::apply::HEAD;
use super::check::{standing, wants_line};
use super::profile::{Accept, Kind, Profile, Setting};
use super::target::Host;

/// The script's text.
pub fn script(profile: &Profile, chosen: &[&Setting], host: &Host) -> String {
    let mut text = FRAME.to_owned();
    for setting in chosen {
        text += &of_setting(profile, setting, host);
    }
    for file in &profile.files {
        let lines = chosen.iter().filter(|setting| wants_line(setting, host));
        let lines: String = lines.filter_map(|setting| kept_in(setting, &file.name, host)).collect();
        if !lines.is_empty() {
            text += &whole(&file.path, &format!("{HEAD}\n{lines}"));
        }
    }
    text + END
}

fn of_setting(profile: &Profile, setting: &Setting, host: &Host) -> String {
    let Setting { name, .. } = setting;
    match &setting.kind {
        Kind::Value(value) => {
            let (Ok(paths), Ok(wanted)) = (value.files(host), host.fill(&value.wanted)) else {
                return left_out(profile, setting, host);
            };
            let rule = match value.accept {
                Accept::Exactly => "=",
                Accept::AtLeast => "-ge",
                Accept::AtMost => "-le",
            };
            let (wanted, other) = (quoted(&wanted.concat()), quoted(&value.also.concat()));
            let kept = setting.kept().filter(|_| wants_line(setting, host));
            let kept = quoted(kept.map_or("-", |(file, _)| &profile.file(file).path));
            let line = |path: &String| format!("  value {name} {rule} {wanted} {other} {} {kept}\n", quoted(path));
            paths.iter().map(line).collect()
        }
        Kind::Whole(file) => match host.fill(file.content()) {
            Ok(contents) => whole(&file.path, &contents.concat()),
            Err(_) => left_out(profile, setting, host),
        },
        Kind::Line(_) => String::new(),
        Kind::Advice(advice) => format!("  # {name}, up to you: {}\n", advice.set),
    }
}

fn left_out(profile: &Profile, setting: &Setting, host: &Host) -> String {
    let standing = standing(profile, setting, host);
    format!("  # {}: left out; {}\n", setting.name, standing.found)
}

fn kept_in(setting: &Setting, file: &str, host: &Host) -> Option<String> {
    let (_, text) = setting.kept().filter(|(kept, _)| *kept == file)?;
    let lines: String = host.fill(&text).ok()?.iter().map(|line| format!("{line}\n")).collect();
    Some(format!("\n# {}: {}\n{lines}", setting.name, setting.why))
}

fn whole(path: &str, content: &str) -> String {
    format!("  whole {} <<'{MARK}'\n{}\n{MARK}\n", quoted(path), content.trim_end_matches('\n'))
}

/// A word for the shell, whatever is in it.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

const FRAME: &str = include_str!("frame.sh");

const END: &str = "  :
}

case ${1:-} in
  apply) apply ;;
  undo) undo ;;
  *) sed -n '2,5s/^# //p' \"$0\"; exit 2 ;;
esac
exit \"$failed\"
";

/// Ends a file's content; no content has such a line.
const MARK: &str = "END-OF-FILE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word() {
        assert_eq!(quoted("4096 131072"), "'4096 131072'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn no_content_ends_early() {
        let profile = Profile::built_in();
        let host = Host { cores: vec![1], cores_there: 2, root: "/".into(), ..Host::default() };
        let all: Vec<&Setting> = profile.settings.iter().collect();
        let text = script(&profile, &all, &host);
        let opened = text.matches(&format!("<<'{MARK}'\n")).count();
        assert!(opened > 4);
        assert_eq!(text.lines().filter(|line| *line == MARK).count(), opened);
        assert!(text.contains("# scheduler: left out; it takes --dir or --disk"), "{text}");
    }
}
