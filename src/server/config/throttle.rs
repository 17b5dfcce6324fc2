//! `[throttle]`: how much one principal may ask.

use serde::{Deserialize, Serialize};

use super::{Config, Failure};
use crate::front::Rate;

/// `[throttle]`. Whoever asks more is told to wait; its client does, and asks again by itself. Sessions are kept alive all the same.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ThrottleSection {
    /// Reads and requests a second, and sessions opened, that a user at one address, or an address that proves to be nobody,
    /// may ask of each core that serves clients; 0: as many as it likes. Of one address 16 users count apart at once.
    pub requests_per_second: u32,
    /// How many of them at once after a pause; 0: a second's worth.
    pub burst: u32,
}

impl ThrottleSection {
    /// What a front holds everybody to.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        let burst = if self.burst == 0 { self.requests_per_second } else { self.burst };
        (self.requests_per_second > 0).then_some(Rate { per_second: self.requests_per_second, burst })
    }
}

impl Config {
    pub(super) fn check_throttle(&self, wrong: &dyn Fn(String, &str, &str) -> Failure) -> Result<(), Failure> {
        let ThrottleSection { requests_per_second, burst } = self.throttle;
        if requests_per_second == 0 && burst > 0 {
            return Err(wrong(
                format!("throttle.requests_per_second = 0, burst = {burst}"),
                "a rate above zero, or no burst",
                "a burst is what may come at once of what may come in a second",
            ));
        }
        Ok(())
    }
}
