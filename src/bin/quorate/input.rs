//! Where a command's data comes from.

use std::io::Read;

use bytes::Bytes;
use quorate::server::{Code, Failure};

#[derive(clap::Args)]
pub struct Data {
    /// The data; `-` reads standard input to its end
    #[arg(default_value = "", allow_hyphen_values = true)]
    data: String,
}

impl Data {
    /// The bytes.
    pub fn read(&self) -> Result<Bytes, Failure> {
        if self.data != "-" {
            return Ok(Bytes::copy_from_slice(self.data.as_bytes()));
        }
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::new(Code::Usage, "cannot read standard input").found(error.to_string()))?;
        Ok(bytes.into())
    }
}
