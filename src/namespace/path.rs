//! Which paths there are, and how they come apart.
//!
//! A path is `/`, or `/` and names parted by `/`. A name is not empty, not `.` or `..`, and holds none of the letters that
//! are no text or that ZooKeeper refuses (`is_forbidden`): a listing stays one name a line, and a tree can be moved
//! between the two. Everything else of Unicode may stand in it; two paths are the same node only if they are the same bytes.

use super::command::Refusal;
use crate::limits::{NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX};

/// The path that always exists.
pub const ROOT: &str = "/";

/// Refuses what is not a path, and says how to mend it.
pub fn check(path: &str) -> Result<(), Refusal> {
    if path.len() > PATH_BYTES_MAX {
        return Err(too_large("bytes in the path", path.len(), PATH_BYTES_MAX));
    }
    let Some(names) = path.strip_prefix('/') else {
        return Err(bad(format!("the path {path:?} is not absolute: start it with '/'")));
    };
    if names.is_empty() {
        return Ok(());
    }
    let mut depth = 0;
    for name in names.split('/') {
        depth += 1;
        check_name(path, name)?;
    }
    if depth > PATH_DEPTH_MAX {
        return Err(too_large("names in the path", depth, PATH_DEPTH_MAX));
    }
    Ok(())
}

/// The path one name shorter; `None` for the root.
#[must_use]
pub fn parent(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        0 if path.len() == 1 => None,
        0 => Some(ROOT),
        at => Some(&path[..at]),
    }
}

/// The last name of a path; empty for the root.
#[must_use]
pub fn name(path: &str) -> &str {
    path.rfind('/').map_or(path, |at| &path[at + 1..])
}

/// The path of the node made next where the log appends a number to a name.
#[cfg(feature = "server")]
pub(super) fn sequential(prefix: &str, number: u64) -> String {
    format!("{prefix}{number:010}")
}

/// Whether the path is `top`, or below it.
#[must_use]
pub fn is_within(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| top == ROOT || rest.is_empty() || rest.starts_with('/'))
}

fn check_name(path: &str, name: &str) -> Result<(), Refusal> {
    if name.is_empty() {
        let mend = if path.ends_with('/') { "leave out the '/' at its end" } else { "write single '/'s" };
        return Err(bad(format!("the path {path:?} has an empty name: {mend}")));
    }
    if name == "." || name == ".." {
        return Err(bad(format!("the path {path:?} has the name {name:?}: write the path out, nothing resolves it")));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(too_large("bytes in a name of the path", name.len(), NAME_BYTES_MAX));
    }
    match name.chars().find(|letter| is_forbidden(*letter)) {
        Some(letter) => Err(bad(format!(
            "the path {path:?} holds U+{:04X}, which no name may: leave it out or encode it",
            u32::from(letter)
        ))),
        None => Ok(()),
    }
}

/// Control characters, the private use area, and the end of the basic plane.
fn is_forbidden(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{E000}'..='\u{F8FF}' | '\u{FFF0}'..='\u{FFFF}')
}

fn bad(why: String) -> Refusal {
    Refusal::BadArgument { why }
}

pub(super) fn too_large(what: &str, size: usize, limit: usize) -> Refusal {
    Refusal::TooLarge { what: what.to_owned(), size: size as u64, limit: limit as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lawful_paths_pass() {
        let deepest = "/n".repeat(PATH_DEPTH_MAX);
        let longest_name = format!("/{}", "n".repeat(NAME_BYTES_MAX));
        for path in
            ["/", "/a", "/a/b", "/.hidden", "/...", "/a b", "/é", "/\u{a0}", "/\u{1F600}", &deepest, &longest_name]
        {
            assert_eq!(check(path), Ok(()), "{path:?}");
        }
    }

    #[test]
    fn malformed_paths_are_refused_with_their_cure() {
        for (path, cure) in [
            ("", "start it with '/'"),
            ("a/b", "start it with '/'"),
            ("/a/", "leave out the '/' at its end"),
            ("//", "leave out the '/' at its end"),
            ("/a//b", "write single '/'s"),
            ("/.", "write the path out"),
            ("/a/../b", "write the path out"),
            ("/a\0b", "holds U+0000"),
            ("/a/b\n", "holds U+000A, which no name may: leave it out or encode it"),
            ("/\u{1b}[31m", "holds U+001B"),
            ("/a\u{7f}", "holds U+007F"),
            ("/a\u{9f}", "holds U+009F"),
            ("/\u{e000}", "holds U+E000"),
            ("/\u{fffd}", "holds U+FFFD"),
        ] {
            let Err(Refusal::BadArgument { why }) = check(path) else { panic!("{path:?} passes") };
            assert!(why.contains(cure), "{path:?}: {why}");
        }
    }

    #[test]
    fn paths_past_a_limit_are_refused_with_the_limit() {
        for (path, size, limit) in [
            (format!("/{}", "n".repeat(NAME_BYTES_MAX + 1)), NAME_BYTES_MAX + 1, NAME_BYTES_MAX),
            ("/n".repeat(PATH_DEPTH_MAX + 1), PATH_DEPTH_MAX + 1, PATH_DEPTH_MAX),
            (format!("/{}", "n/".repeat(PATH_BYTES_MAX)), 2 * PATH_BYTES_MAX + 1, PATH_BYTES_MAX),
        ] {
            let Err(Refusal::TooLarge { size: found, limit: at_most, .. }) = check(&path) else { panic!("it passes") };
            assert_eq!((found, at_most), (size as u64, limit as u64));
        }
    }

    #[test]
    fn a_path_is_its_parent_and_its_name() {
        assert_eq!((parent("/"), name("/")), (None, ""));
        assert_eq!((parent("/a"), name("/a")), (Some("/"), "a"));
        assert_eq!((parent("/a/b"), name("/a/b")), (Some("/a"), "b"));
        assert_eq!((parent("/a/"), name("/a/")), (Some("/a"), ""));
    }
    #[test]
    fn a_path_is_within_itself_and_what_is_above_it() {
        for (path, top) in [("/", "/"), ("/a", "/"), ("/a", "/a"), ("/a/b/c", "/a"), ("/a/b", "/a/b")] {
            assert!(is_within(path, top), "{path} {top}");
        }
        for (path, top) in [("/", "/a"), ("/ab", "/a"), ("/b", "/a"), ("/a", "/a/b")] {
            assert!(!is_within(path, top), "{path} {top}");
        }
    }
}
