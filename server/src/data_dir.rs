//! The data directory: what the server keeps between starts.
//!
//! Holds a lock file, so that two servers cannot share it, and `organisation.toml` when the
//! configuration has no organisation of its own. Nothing of sessions is kept here. The directory
//! is for its owner only (0700); secrets are stored as digests.

mod organisation;

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub use self::organisation::{Credentials, NewOrg, Organisation};

/// An open data directory. The lock lasts as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Never read; closing it lets another server in.
    _lock: File,
}

/// Why the data directory cannot be used. Displays a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The directory, or a file in it, cannot be made, opened, read or written.
    #[error(
        "{path}: {what} failed: {source}. Check that this path is on a writable disk and \
             belongs to the user who runs whosthere."
    )]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error(
        "{path} is used by another whosthere. Stop that one, or choose another directory \
             with --data-dir."
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// `organisation.toml` was written by another version.
    #[error(
        "{path} has format {format}, and this whosthere reads format {known}. Start the \
             version that wrote it, or move the file away to have a new organisation made."
    )]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// The format it has.
        format: i64,
        /// The format that can be read.
        known: i64,
    },
    /// `organisation.toml` is not what this program has written.
    #[error(
        "{path} is damaged: {why}. Restore it from a backup, or move it away to have a new \
             organisation made; its key and its user stop working then."
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, without any value.
        why: String,
    },
}

impl DataDir {
    /// Makes the directory if it is missing, and locks it.
    ///
    /// # Errors
    ///
    /// [`DataDirError::InUse`] when another server has it, [`DataDirError::Io`] otherwise.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |what| DataDirError::io(path, what);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed("creating the directory"))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(failed("opening the lock file"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse {
                path: path.to_owned(),
            }),
            Err(TryLockError::Error(error)) => Err(failed("locking the directory")(error)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The organisation kept here, or a new one that [`DataDir::keep`] can write down.
    ///
    /// # Errors
    ///
    /// When the file is there but unreadable, damaged or of another format; when the system has
    /// no random bytes.
    pub fn organisation(&self) -> Result<Organisation, DataDirError> {
        organisation::load(&self.path)
    }

    /// Writes a new organisation down: all of it or nothing, and lasting when this returns.
    /// Show its [`Credentials`] right after; they cannot be had again.
    ///
    /// # Errors
    ///
    /// [`DataDirError::Io`]; then nothing is kept.
    pub fn keep(&self, new: &NewOrg) -> Result<(), DataDirError> {
        organisation::store(&self.path, new)
    }
}

impl DataDirError {
    /// Makes the error of a failed system call on `path`.
    fn io(path: &Path, what: &'static str) -> impl Fn(io::Error) -> Self + Copy {
        move |source| Self::Io {
            path: path.to_owned(),
            what,
            source,
        }
    }
}

#[cfg(test)]
mod tests;
