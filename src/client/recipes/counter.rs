//! A number that many change.

use super::super::error::{Error, Result};
use super::super::{Client, CreateOptions, Expect};

/// A number in a node, as decimal text; missing, it is 0.
///
#[doc = concat!("```no_run\n", include_str!("../../../tests/process/recipe_examples/counter.rs"), "```")]
///
/// An addition is a conditional write on the version that was read, made again when somebody else came first: of those who
/// meet, one always gets on. Each takes effect once, however often it had to be sent.
///
/// # When something fails
///
/// Of those who meet in it one always gets on, and the others read again. An addition takes effect once, however often it had to
/// be sent and whoever leads; if the session ends under it, [`Error::outcome`] says whether it may have.
#[derive(Clone, Debug)]
pub struct Counter {
    client: Client,
    path: String,
}

impl Counter {
    /// The counter in the node at `path`, which is made by the first addition.
    #[must_use]
    pub fn new(client: &Client, path: impl Into<String>) -> Self {
        Self { client: client.clone(), path: path.into() }
    }

    /// The number now.
    pub async fn get(&self) -> Result<i64> {
        Ok(self.read().await?.map_or(0, |(value, _)| value))
    }

    /// Adds to it; the number after that. [`Error::BadArgument`] if it would leave the range of an `i64`.
    pub async fn add(&self, delta: i64) -> Result<i64> {
        loop {
            let (value, expect) = match self.read().await? {
                Some((value, version)) => (value, Some(version)),
                None => (0, None),
            };
            let sum = value.checked_add(delta).ok_or_else(|| Error::BadArgument {
                why: format!("{value} + {delta} is past the range of the counter {}", self.path),
            })?;
            let written = match expect {
                Some(version) => {
                    self.client.set(&self.path, sum.to_string(), Expect::Version(version)).await.map(|_| ())
                }
                None => {
                    let options = CreateOptions::permanent().parents();
                    self.client.create(&self.path, sum.to_string(), options).await.map(|_| ())
                }
            };
            match written {
                Ok(()) => return Ok(sum),
                // Somebody else was faster.
                Err(Error::BadVersion { .. } | Error::NodeExists { .. } | Error::NoNode { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The number and its node's version; `None` if there is no node.
    async fn read(&self) -> Result<Option<(i64, u64)>> {
        let (data, stat) = match self.client.get(&self.path).await {
            Ok(read) => read,
            Err(Error::NoNode { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let value = std::str::from_utf8(&data).ok().and_then(|text| text.parse().ok());
        let value = value.ok_or_else(|| Error::BadArgument { why: format!("{} holds no number", self.path) })?;
        Ok(Some((value, stat.version)))
    }
}
