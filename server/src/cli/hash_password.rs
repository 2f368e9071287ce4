//! `whosthere hash-password`: a password in, its argon2id hash out.
//!
//! From a terminal the password is asked for twice and not shown; otherwise the first line of the
//! standard input is it. It is never taken from the command line, which others can see.

use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;

use super::EXIT_USAGE;
use crate::accounts;

/// The protocol's bound on a password, and two bytes for the end of the line.
const LINE_BYTES_MAX: u64 = 65_535 + 2;

/// Exit code 64 when there is no password to be hashed.
pub(super) fn run() -> ExitCode {
    let password = match read() {
        Ok(password) => password,
        Err(why) => {
            eprintln!("whosthere: {why}");
            return EXIT_USAGE.into();
        }
    };
    match accounts::hash(&password) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("whosthere: {error}");
            ExitCode::FAILURE
        }
    }
}

fn read() -> Result<Vec<u8>, String> {
    let password = if io::stdin().is_terminal() {
        ask().map_err(|error| format!("cannot read the password: {error}"))?
    } else {
        first_line(io::stdin().lock())
    };
    match password {
        Some(password) if password.is_empty() => Err("the password is empty".to_owned()),
        Some(password) if password.len() as u64 > LINE_BYTES_MAX - 2 => {
            Err("the password is longer than 65535 bytes".to_owned())
        }
        Some(password) => Ok(password),
        None => Err("the two passwords differ".to_owned()),
    }
}

/// Asks at the terminal; none if the second try is not as the first.
fn ask() -> io::Result<Option<Vec<u8>>> {
    let first = rpassword::prompt_password("Password: ")?;
    let again = rpassword::prompt_password("Again: ")?;
    Ok((first == again).then(|| first.into_bytes()))
}

/// The first line without its end; what cannot be read is as if it were not there.
fn first_line(input: impl BufRead) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    // An input that breaks off gives an empty password, which is refused.
    let _ = input.take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
    let end = line.strip_suffix(b"\n").unwrap_or(&line);
    let end = end.strip_suffix(b"\r").unwrap_or(end);
    Some(end.to_vec())
}
