//! Where a command's data comes from.

use std::io::{BufRead, Read};

use bytes::Bytes;
use quorate::server::{Code, Failure};

/// The first line of standard input, without the line's end.
pub fn password() -> Result<String, Failure> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::new(Code::Usage, "cannot read standard input").found(error.to_string()))?;
    let password = line.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        return Err(Failure::new(Code::Usage, "standard input has no password").fix("put it on the first line"));
    }
    Ok(password.to_owned())
}

/// What a node is made with: often nothing.
#[derive(clap::Args)]
pub struct Data {
    /// The data; `-` reads standard input to its end
    #[arg(default_value = "", allow_hyphen_values = true)]
    data: String,
}

/// What takes the place of what a node holds: nobody empties one by forgetting a word.
#[derive(clap::Args)]
pub struct NewData {
    /// The new data, '' for none; `-` reads standard input to its end
    #[arg(allow_hyphen_values = true)]
    data: String,
}

impl Data {
    /// The bytes.
    pub fn read(&self) -> Result<Bytes, Failure> {
        bytes(&self.data)
    }
}

impl NewData {
    /// The bytes.
    pub fn read(&self) -> Result<Bytes, Failure> {
        bytes(&self.data)
    }
}

fn bytes(text: &str) -> Result<Bytes, Failure> {
    if text != "-" {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(Code::Usage, "cannot read standard input").found(error.to_string()))?;
    Ok(bytes.into())
}
