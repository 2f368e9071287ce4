//! A disk in memory that can be full, fail, be cut off in the middle of a write, and lose power.
//!
//! It forgets at a loss of power what was not synced, piece by piece in any order. After a failed
//! sync it holds the data for clean, as Linux does: a later sync says yes and does nothing.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::storage::{Storage, StoredFile};

/// What a loss of power takes or leaves as a whole: one size or the other.
const SECTORS: [usize; 2] = [16, 128];

#[derive(Clone, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    files: Vec<Data>,
    faults: Faults,
    /// A call was interrupted, and nothing more gets through.
    stopped: bool,
}

/// What goes wrong from now on.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Faults {
    /// All files together can have so many bytes.
    pub(super) capacity: Option<u64>,
    /// So many more calls that change something succeed; the next, if it writes, writes half.
    pub(super) calls_left: Option<u64>,
    /// Files cannot be synced.
    pub(super) syncs_fail: bool,
    /// Which files there are cannot be synced.
    pub(super) name_syncs_fail: bool,
    /// Files cannot be cut or removed.
    pub(super) removals_fail: bool,
}

#[derive(Clone, Default)]
struct Data {
    content: Vec<u8>,
    durable: Vec<u8>,
    dirty: Vec<Range<usize>>,
    size_dirty: bool,
}

struct Handle {
    disk: Disk,
    file: usize,
}

impl Disk {
    /// Another disk with the same content.
    pub(super) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.lock().clone())))
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        let mut state = self.lock();
        state.faults = faults;
        state.stopped = false;
    }

    /// What a new process finds after a kill: everything as it was last seen.
    pub(super) fn after_kill(&self) -> Self {
        let disk = self.copy();
        disk.set_faults(Faults::default());
        disk
    }

    /// What is there when power comes back: all that was synced, and of the rest what `keeps`
    /// says.
    pub(super) fn after_power_loss(&self, mut keeps: impl FnMut() -> bool) -> Self {
        let mut state = self.lock().clone();
        for data in &mut state.files {
            data.lose_power(&mut keeps);
        }
        let (seen, durable) = (&state.names, &state.durable_names);
        let mut names = BTreeMap::new();
        // Every change of a name can be durable or not, whatever became of those before it.
        for name in seen.keys().chain(durable.keys()) {
            let changed = seen.get(name) != durable.get(name);
            let file = if changed && keeps() {
                seen.get(name)
            } else {
                durable.get(name)
            };
            if let (Some(&file), false) = (file, names.contains_key(name)) {
                names.insert(name.clone(), file);
            }
        }
        state.names = names;
        state.durable_names.clone_from(&state.names);
        state.faults = Faults::default();
        state.stopped = false;
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }

    pub(super) fn content(&self, name: &str) -> Vec<u8> {
        let state = self.lock();
        state.files[state.names[name]].content.clone()
    }

    pub(super) fn put(&self, name: &str, content: &[u8]) {
        let mut state = self.lock();
        let file = state.files.len();
        let (content, durable) = (content.to_vec(), content.to_vec());
        state.files.push(Data {
            content,
            durable,
            ..Data::default()
        });
        state.names.insert(name.to_owned(), file);
        state.durable_names.insert(name.to_owned(), file);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    /// Counts a call that changes something.
    fn change(&mut self) -> io::Result<()> {
        match &mut self.faults.calls_left {
            Some(0) => {
                self.stopped = true;
                Err(ErrorKind::Other.into())
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn used(&self) -> u64 {
        self.names
            .values()
            .map(|&file| self.files[file].content.len() as u64)
            .sum()
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Data {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.content.len() < end {
            self.content.resize(end, 0);
            self.size_dirty = true;
        }
        self.content[offset..end].copy_from_slice(bytes);
        self.dirty.push(offset..end);
    }

    fn sync(&mut self) {
        if std::mem::take(&mut self.size_dirty) || self.durable.len() < self.content.len() {
            self.durable.resize(self.content.len(), 0);
        }
        for range in self.dirty.drain(..) {
            let range = range.start..range.end.min(self.content.len());
            if !range.is_empty() {
                self.durable[range.clone()].copy_from_slice(&self.content[range]);
            }
        }
    }

    fn lose_power(&mut self, keeps: &mut impl FnMut() -> bool) {
        if self.size_dirty && keeps() {
            self.durable.resize(self.content.len(), 0);
        }
        for range in self.dirty.drain(..) {
            let sector = SECTORS[usize::from(keeps())];
            for start in range.clone().step_by(sector) {
                let end = (start + sector).min(range.end);
                if end <= self.content.len().min(self.durable.len()) && keeps() {
                    self.durable[start..end].copy_from_slice(&self.content[start..end]);
                }
            }
        }
        self.content.clone_from(&self.durable);
        self.size_dirty = false;
    }
}

impl Storage for Disk {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        let mut state = self.lock();
        state.change()?;
        if state.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let file = state.files.len();
        state.files.push(Data::default());
        state.names.insert(name.to_owned(), file);
        Ok(Box::new(Handle {
            disk: self.clone(),
            file,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        let file = self.lock().find(name)?;
        Ok(Box::new(Handle {
            disk: self.clone(),
            file,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.change()?;
        let file = state.find(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.find(name)?;
        state.change()?;
        if state.faults.removals_fail {
            return Err(ErrorKind::PermissionDenied.into());
        }
        state.names.remove(name);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.change()?;
        if state.faults.name_syncs_fail {
            return Err(ErrorKind::Other.into());
        }
        let names = state.names.clone();
        state.durable_names = names;
        Ok(())
    }
}

impl StoredFile for Handle {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[self.file].content.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.lock();
        let content = &state.files[self.file].content;
        let from = content.get(offset as usize..).unwrap_or_default();
        let length = from.len().min(into.len());
        into[..length].copy_from_slice(&from[..length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.lock();
        let stopped = state.stopped;
        if let Err(error) = state.change() {
            if !stopped {
                state.files[self.file].write(&bytes[..bytes.len() / 2], offset as usize);
            }
            return Err(error);
        }
        let size = state.files[self.file].content.len() as u64;
        let free = state
            .faults
            .capacity
            .map_or(u64::MAX, |all| all.saturating_sub(state.used()));
        let length = size
            .saturating_sub(offset)
            .saturating_add(free)
            .min(bytes.len() as u64);
        if length == 0 && !bytes.is_empty() {
            return Err(ErrorKind::StorageFull.into());
        }
        state.files[self.file].write(&bytes[..length as usize], offset as usize);
        Ok(length as usize)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.change()?;
        if state.faults.removals_fail {
            return Err(ErrorKind::PermissionDenied.into());
        }
        let data = &mut state.files[self.file];
        if data.content.len() as u64 != size {
            data.content.resize(size as usize, 0);
            data.size_dirty = true;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.change()?;
        let fails = state.faults.syncs_fail;
        let data = &mut state.files[self.file];
        if fails {
            data.dirty.clear();
            data.size_dirty = false;
            return Err(ErrorKind::Other.into());
        }
        data.sync();
        Ok(())
    }
}
