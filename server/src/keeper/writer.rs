//! The thread that writes SQLite's file for the keeper, so that nobody's answer waits for it. One
//! task at a time; the keeper is rung when it is done.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use messages::{Done, Task, Writer};

use super::KeeperMetrics;
use super::requests::Queue;

/// The keeper's end of it.
pub(super) struct WriterThread {
    tasks: Sender<Task>,
    done: Receiver<Done>,
    thread: JoinHandle<Writer>,
}

impl WriterThread {
    pub(super) fn start(
        mut writer: Writer,
        queue: Arc<Queue>,
        metrics: KeeperMetrics,
    ) -> io::Result<Self> {
        let (tasks, to_do) = channel();
        let (say, done) = channel();
        let thread = std::thread::Builder::new()
            .name("keeper-sqlite".to_owned())
            .spawn(move || {
                for task in to_do {
                    let began = Instant::now();
                    let done = writer.run(task);
                    metrics.write_seconds.observe(began.elapsed().as_secs_f64());
                    if say.send(done).is_err() {
                        break;
                    }
                    queue.ring();
                }
                writer
            })?;
        Ok(Self {
            tasks,
            done,
            thread,
        })
    }

    pub(super) fn give(&self, task: Task) {
        if self.tasks.send(task).is_err() {
            tracing::error!("nobody writes messages.sqlite any more");
        }
    }

    /// What was done, if anything.
    pub(super) fn done(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }

    /// As [`done`](Self::done), when it is.
    pub(super) fn wait(&self) -> Option<Done> {
        self.done.recv().ok()
    }

    /// Gives the writer back, and what it has done last.
    pub(super) fn finish(self) -> (Option<Writer>, Vec<Done>) {
        drop(self.tasks);
        let done = self.done.iter().collect();
        let writer = self.thread.join();
        if writer.is_err() {
            tracing::error!("the writer of messages.sqlite had panicked");
        }
        (writer.ok(), done)
    }
}
