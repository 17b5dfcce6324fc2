//! Whether tests may change the machine: some mount file systems or make network namespaces.

use std::io::Write;

/// Whether a test may do what takes root. If not it is to be skipped: this says so on standard error, past the harness. If it
/// may, and the machine does not let it, it is to fail: a test skipped unseen checks nothing.
pub fn may(to: &str) -> bool {
    let why = if std::env::var_os("QUORATE_TEST_UNPRIVILEGED").is_some() {
        "and QUORATE_TEST_UNPRIVILEGED is set"
    } else if !rustix::process::geteuid().is_root() {
        "and this is not root"
    } else {
        return true;
    };
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Nobody may be there to read it.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {to} takes root, {why}");
    false
}
