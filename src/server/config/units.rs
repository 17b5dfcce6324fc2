//! Spans of time and sizes, as an operator writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::time::{Duration, number_with_unit};

/// A span of time that is written like `250ms`, `10s`, `2m`, `12h` or `7d`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A number of bytes that is written like `4096`, `64KiB` or `1GiB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const SIZE_UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.trim().parse::<u64>().ok();
        plain
            .or_else(|| number_with_unit(text, &SIZE_UNITS))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no size; write it like 4096, 64KiB, 64MiB or 1GiB"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [larger @ .., smallest] = &SIZE_UNITS;
        let divides = |(_, worth): &&(&str, u64)| self.0 != 0 && self.0.is_multiple_of(*worth);
        let (unit, worth) = larger.iter().find(divides).unwrap_or(smallest);
        write!(f, "{}{unit}", self.0 / worth)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written("a span of time like \"250ms\"")).and_then(parsed)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written("a size like \"64MiB\"")).and_then(parsed)
    }
}

/// A text in quotation marks; a bare number is answered with what it lacks.
struct Written(&'static str);

impl de::Visitor<'_> for Written {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
        Err(E::custom(format!("{number} has no unit; write {} with its unit, in quotation marks", self.0)))
    }
}

fn parsed<T: FromStr<Err = String>, E: de::Error>(text: String) -> Result<T, E> {
    text.parse().map_err(E::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_are_spelt_as_they_are_read() {
        for text in ["25ms", "10s", "2m", "12h", "7d", "500us", "1ns", "0ns"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in ["64MiB", "1GiB", "4KiB", "17B"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for text in ["", "s", "1.5s", "-1s", "1 w", "18446744073709551615s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
