//! The log on disk, pure.
