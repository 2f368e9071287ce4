//! Cursors: where a listing goes on, as opaque text.
//!
//! A position means something only to the process that gave it out, so each process marks its
//! cursors with a random tag and recognises those of an earlier one.

use std::io;

use presence::Position;

use super::problem::Problem;

/// Characters of one number.
const DIGITS: usize = 16;

/// Writes and reads the cursors of this process.
pub(super) struct Cursors {
    tag: u64,
}

impl Cursors {
    /// With a new random tag.
    pub(super) fn of_this_process() -> io::Result<Self> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self {
            tag: u64::from_ne_bytes(bytes),
        })
    }

    /// The text for a position.
    pub(super) fn write(&self, position: Position) -> String {
        let Position { user, session } = position;
        format!("{:016x}{user:016x}{session:016x}", self.tag)
    }

    /// The position in a text.
    pub(super) fn read(&self, text: &str) -> Result<Position, Problem> {
        let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if text.len() != 3 * DIGITS || !digits {
            return Err(Problem::BadCursor);
        }
        let number = |at: usize| {
            let digits = text.get(at * DIGITS..(at + 1) * DIGITS).unwrap_or_default();
            u64::from_str_radix(digits, 16).map_err(|_| Problem::BadCursor)
        };
        if number(0)? != self.tag {
            return Err(Problem::StaleCursor);
        }
        Ok(Position {
            user: number(1)?,
            session: number(2)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_as_the_position_it_was_written_for() {
        let cursors = Cursors::of_this_process().unwrap();
        for position in [(0, 0), (1, u64::MAX), (u64::MAX, 7)] {
            let (user, session) = position;
            let read = cursors
                .read(&cursors.write(Position { user, session }))
                .unwrap();
            assert_eq!((read.user, read.session), position);
        }
    }

    #[test]
    fn a_cursor_of_another_process_is_stale_and_other_text_is_no_cursor() {
        let [ours, theirs] = [1, 2].map(|tag| Cursors { tag });
        let text = theirs.write(Position {
            user: 3,
            session: 4,
        });
        assert_eq!(ours.read(&text).err(), Some(Problem::StaleCursor));
        let wrong = [
            "",
            "x",
            &text[1..],
            &text.replace('3', "+"),
            &"é".repeat(24),
        ];
        for text in wrong {
            assert_eq!(theirs.read(text).err(), Some(Problem::BadCursor), "{text}");
        }
    }
}
