//! What the program says and how it exits when it is not to run.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A directory of its own for each test, removed when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("whosthere-it-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("the scratch directory can be made");
        Self(path)
    }

    /// Writes a configuration file.
    fn config(&self, text: &str) -> String {
        let path = self.0.join("whosthere.toml");
        fs::write(&path, text).expect("the scratch directory can be written");
        path.display().to_string()
    }

    /// Runs the program in the directory to its end, with these variables and no others of ours.
    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_whosthere"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WHOSTHERE_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(&self.0)
            .args(arguments)
            .envs(variables.iter().copied());
        Run(command.output().expect("the program starts"))
    }

    /// As [`Scratch::run`], with a text on standard input.
    fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Run {
        let mut child = Command::new(env!("CARGO_BIN_EXE_whosthere"))
            .current_dir(&self.0)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("it has a standard input");
        // A program that has read enough may close it early.
        let _ = stdin.write_all(input);
        drop(stdin);
        Run(child.wait_with_output().expect("the program ends"))
    }

    /// Names of what is in the directory.
    fn entries(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).expect("the scratch directory is there");
        names
            .map(|entry| {
                entry
                    .expect("an entry can be read")
                    .file_name()
                    .to_string_lossy()
                    .into()
            })
            .collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Run(Output);

impl Run {
    /// Exit code, and the texts on standard output and standard error that must be there.
    #[track_caller]
    fn check(&self, code: i32, out: &[&str], err: &[&str]) {
        let [stdout, stderr] = [&self.0.stdout, &self.0.stderr].map(|b| String::from_utf8_lossy(b));
        assert_eq!(self.0.status.code(), Some(code), "{stdout}{stderr}");
        for part in out {
            assert!(stdout.contains(part), "{part:?} is not in: {stdout}");
        }
        for part in err {
            assert!(stderr.contains(part), "{part:?} is not in: {stderr}");
        }
    }
}

#[test]
fn check_accepts_a_right_file_and_makes_nothing() {
    let scratch = Scratch::new("right");
    let file = scratch.config("[listen]\nhttp = \"127.0.0.1:0\"");
    let run = scratch.run(&["check", "--config", &file], &[]);
    run.check(0, &["http listens on 127.0.0.1:0", "first start"], &[]);
    assert_eq!(scratch.entries(), ["whosthere.toml"]);
}

#[test]
fn check_accepts_the_defaults() {
    Scratch::new("defaults")
        .run(&["check"], &[])
        .check(0, &["127.0.0.1:1883"], &[]);
}

#[test]
fn a_wrong_file_ends_both_check_and_serve_with_64_before_anything_is_made() {
    let scratch = Scratch::new("wrong");
    let file = scratch.config("[mqtt]\nspeed = 1");
    for command in ["check", "serve"] {
        let run = scratch.run(&[command, "--config", &file], &[]);
        run.check(64, &[], &["whosthere.toml", "line 2", "mqtt.speed"]);
    }
    assert_eq!(scratch.entries(), ["whosthere.toml"]);
}

#[test]
fn a_missing_file_ends_with_64() {
    let run = Scratch::new("missing").run(&["serve", "--config", "none.toml"], &[]);
    run.check(64, &[], &["none.toml"]);
}

#[test]
fn an_unknown_variable_ends_with_64() {
    let scratch = Scratch::new("variable");
    for command in ["check", "serve"] {
        let run = scratch.run(&[command], &[("WHOSTHERE_SPEED", "1")]);
        run.check(64, &[], &["WHOSTHERE_SPEED"]);
    }
    let run = scratch.run(&["check"], &[("WHOSTHERE_LISTEN__HTTP", "[::1]:7")]);
    run.check(0, &["http listens on [::1]:7"], &[]);
}

#[test]
fn a_wrong_command_line_ends_with_64_and_help_with_0() {
    let scratch = Scratch::new("line");
    for arguments in [
        &["fly"][..],
        &["serve", "--speed", "1"],
        &["check", "--config"],
        &["listen", "--app-key", "k"],
        &["listen", "--hang", "--status", "500"],
        &["listen", "--status", "100"],
    ] {
        scratch.run(arguments, &[]).check(64, &[], &["error"]);
    }
    scratch
        .run(&["--help"], &[])
        .check(0, &["serve", "check"], &[]);
    scratch
        .run(&["--version"], &[])
        .check(0, &["whosthere"], &[]);
}

#[test]
fn listen_refuses_keys_and_files_that_cannot_be_used() {
    let scratch = Scratch::new("listen");
    let secret = "whsec_hush-hush";
    let run = scratch.run(&["listen", "--port", "0", "--secret", secret], &[]);
    run.check(64, &[], &["--secret", "base64"]);
    assert!(!String::from_utf8_lossy(&run.0.stderr).contains(secret));
    let run = scratch.run(&["listen", "--port", "0", "--record", "none/r"], &[]);
    run.check(64, &[], &["--record", "none/r"]);
    assert!(scratch.entries().is_empty());
}

#[test]
fn a_damaged_organisation_stops_the_start_and_says_what_to_do() {
    let scratch = Scratch::new("damaged");
    fs::create_dir(scratch.0.join("data")).unwrap();
    fs::write(
        scratch.0.join("data/organisation.toml"),
        "format = 1\nid = \"or",
    )
    .unwrap();
    let run = scratch.run(&["serve", "--data-dir", "data"], &[]);
    run.check(1, &[], &["organisation.toml", "damaged", "backup"]);
}

#[test]
fn a_password_becomes_a_hash_that_a_configuration_takes() {
    let scratch = Scratch::new("hash");
    let run = scratch.run_with_input(&["hash-password"], b"alice-password\n");
    run.check(0, &["$argon2id$v=19$m=19456,t=2,p=1$"], &[]);
    let stdout = String::from_utf8_lossy(&run.0.stdout);
    assert!(!stdout.contains("alice-password"));
    let file = scratch.config(&format!(
        "[[org]]\nid = \"a\"\n[[org.user]]\nusername = \"alice\"\npassword_hash = \"{}\"",
        stdout.trim()
    ));
    let run = scratch.run(&["check", "--config", &file], &[]);
    run.check(0, &["organisation a: 0 secret keys, 1 users"], &[]);
    for nothing in [&b""[..], b"\n", b"\r\n"] {
        let run = scratch.run_with_input(&["hash-password"], nothing);
        run.check(64, &[], &["the password is empty"]);
    }
    let run = scratch.run_with_input(&["hash-password"], &[b'x'; 65_540]);
    run.check(64, &[], &["longer than 65535 bytes"]);
}
