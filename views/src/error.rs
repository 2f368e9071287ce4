//! What can go wrong, one type per kind of call; the texts say what an operator can do.

use std::path::PathBuf;

use journal::Position;

/// Why a file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It was written by another version of the server.
    #[error(
        "{path} has format {found}, this version reads format {expected}: start the version that wrote it, or {remedy}"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i32,
        /// The only format that can be read.
        expected: i32,
        /// What else helps, and what it costs.
        remedy: &'static str,
    },
    /// It is not, or no longer, a database.
    #[error("{path} is damaged: {remedy}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What helps, and what it costs.
        remedy: &'static str,
        /// What SQLite found.
        source: rusqlite::Error,
    },
    /// Anything else, such as a missing folder or permission.
    #[error("cannot open {path}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

/// Why a fact was not folded. Nothing has changed; the same fact can be tried again.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// Facts come in the order of the journal, each once.
    #[error("fact {} came where fact {} was due", found.0, expected.0)]
    OutOfOrder {
        /// What was due: [`crate::Views::position`].
        expected: Position,
        /// What came.
        found: Position,
    },
    /// As much as memory may hold is waiting for a flush that succeeds.
    #[error("the views cannot be written, and no more events are kept in memory")]
    Full,
    /// The user's row could not be read.
    #[error("cannot look up the user: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// Why a flush, a checkpoint or a pruning did not happen: most often a full disk. Nothing is lost:
/// what is not written is still in memory and is tried again next time.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the views: {0}")]
pub struct FlushError(#[from] pub rusqlite::Error);

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the views: {0}")]
pub struct ReadError(#[from] pub rusqlite::Error);

/// Why the state of deliveries could not be read or written; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep the state of deliveries: {0}")]
pub struct DeliveryError(#[from] pub rusqlite::Error);
