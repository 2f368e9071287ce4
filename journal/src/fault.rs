//! What can be wrong with the journal's files, each said so that whoever runs the server knows what
//! to do.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::storage::Storage;
use crate::wire::DecodeError;

/// A file of the journal could not be used.
#[derive(Debug, Error)]
pub enum Fault {
    /// The operating system refused. It may succeed later.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried: "read", "write", "sync"…
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Data that had been committed is not what was written. Trying again does not help.
    #[error(
        "{} is damaged at byte {offset} ({what}); restore the data directory from a backup, or \
         move it away to start with an empty journal",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it the damaged part begins.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A file that belongs between others, or holds what others build on, is not there.
    #[error(
        "{} is missing; restore the data directory from a backup, or move it away to start with \
         an empty journal",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file has a format that this program does not read.
    #[error(
        "{} has format {found} and this program reads format {reads}: start the version of \
         whosthere that wrote it, or move the data directory away to start with an empty journal",
        path.display()
    )]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// The number of its format.
        found: u32,
        /// The number of the format that this program reads and writes.
        reads: u32,
    },
    /// The file holds a fact, or a word in one, that this program does not know.
    #[error(
        "{} was written by a newer version of whosthere ({what} {number} at byte {offset} is \
         unknown here): start that version",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Where the block begins that holds the fact.
        offset: u64,
        /// What is unknown: "the kind of fact", "the reason of an ending"…
        what: &'static str,
        /// Its number.
        number: u8,
    },
}

impl Fault {
    /// For `map_err`: the system refused to do something with the file of this name.
    pub(crate) fn io<'a>(
        storage: &'a dyn Storage,
        name: &'a str,
        doing: &'static str,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io {
            doing,
            path: storage.path(name),
            source,
        }
    }

    /// A record in the block at `offset` is no fact.
    pub(crate) fn decode(path: PathBuf, offset: u64, error: DecodeError) -> Self {
        match error {
            DecodeError::Unknown { what, number } => Self::Newer {
                path,
                offset,
                what,
                number,
            },
            DecodeError::Malformed(what) => Self::Damaged { path, offset, what },
        }
    }
}
