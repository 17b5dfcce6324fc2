//! Tests that change the machine they run on, in corners of their own: they mount file systems and make networks.

use std::io::Write;

/// Whether the tests may do what only root may. Where they may not, a test that has to is passed over, and says so whatever the
/// harness keeps to itself. Where they may, a machine on which it cannot be done fails the test: one that is passed over
/// unseen checks nothing.
pub fn allow(to: &str) -> bool {
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
