//! The views from outside: what is folded, flushed, lost, folded again and asked for.

mod deliveries;
mod disk;
mod facts;
mod model;
mod queries;
mod retention;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use journal::{Fact, Position};

use crate::Views;

/// A folder that goes when the test is over.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("views-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("file.sqlite")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Folds facts that follow what was folded so far.
pub(crate) fn fold_all(views: &mut Views, facts: &[Fact]) {
    for fact in facts {
        let position = views.position();
        views.fold(position, fact.clone()).unwrap();
    }
}

/// Folds what `journal` has beyond the views' position.
pub(crate) fn follow(views: &mut Views, journal: &[Fact]) {
    let from = usize::try_from(views.position().0).unwrap();
    fold_all(views, &journal[from..]);
}

pub(crate) fn open(path: &Path) -> Views {
    Views::open(path).unwrap()
}

pub(crate) const ZERO: Position = Position(0);
