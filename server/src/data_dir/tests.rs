//! First start, later starts, damage, and two servers at once, in real directories.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::accounts::{Accounts, Digest};

/// A directory path of its own for each test, removed when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let name = format!("whosthere-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn data(&self) -> PathBuf {
        self.0.join("deep/data")
    }

    fn file(&self) -> PathBuf {
        self.data().join("organisation.toml")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn first_start(scratch: &Scratch) -> NewOrg {
    let dir = DataDir::open(&scratch.data()).unwrap();
    let Organisation::New(new) = dir.organisation().unwrap() else {
        panic!("an empty directory has no organisation");
    };
    dir.keep(&new).unwrap();
    new
}

fn later_start(scratch: &Scratch) -> Result<Organisation, DataDirError> {
    DataDir::open(&scratch.data()).unwrap().organisation()
}

#[test]
fn the_directory_and_its_file_are_for_their_owner_only() {
    let scratch = Scratch::new("modes");
    first_start(&scratch);
    assert_eq!(mode(&scratch.data()), 0o700);
    assert_eq!(mode(&scratch.file()), 0o600);
    assert_eq!(mode(&scratch.data().join("lock")), 0o600);
}

#[test]
fn a_later_start_reads_the_organisation_back() {
    let scratch = Scratch::new("back");
    let new = first_start(&scratch);
    let Organisation::Kept(kept) = later_start(&scratch).unwrap() else {
        panic!("the organisation was kept");
    };
    assert_eq!(kept, new.org);
    let accounts = Accounts::from_generated(&kept, &Default::default()).unwrap();
    assert!(accounts.org_of_key(&new.credentials.secret_key).is_some());
    let password = new.credentials.password.as_bytes();
    let decision = accounts.log_in(Some("me"), Some(password), "c", 0);
    assert!(matches!(decision, crate::accounts::Decision::Admitted(_)));
}

#[test]
fn secrets_have_128_random_bits_and_are_neither_kept_nor_shown_by_debug() {
    let scratch = Scratch::new("secrets");
    let new = first_start(&scratch);
    let Credentials {
        secret_key,
        password,
    } = &new.credentials;
    assert!(secret_key.starts_with("sk_") && secret_key.len() == 3 + 32);
    assert!(password.len() == 32 && !secret_key.contains(password.as_str()));
    let seen = fs::read_to_string(scratch.file()).unwrap() + &format!("{new:?}");
    assert!(!seen.contains(secret_key.as_str()) && !seen.contains(password.as_str()));
}

#[test]
fn an_organisation_that_was_not_kept_is_made_anew() {
    let scratch = Scratch::new("anew");
    let first = later_start(&scratch).unwrap();
    let second = later_start(&scratch).unwrap();
    assert_ne!(first.generated().id, second.generated().id);
}

#[test]
fn a_second_server_on_the_same_directory_is_told_so() {
    let scratch = Scratch::new("lock");
    let first = DataDir::open(&scratch.data()).unwrap();
    let second = DataDir::open(&scratch.data()).unwrap_err();
    assert!(matches!(second, DataDirError::InUse { .. }));
    assert!(second.to_string().contains("another whosthere"), "{second}");
    drop(first);
    DataDir::open(&scratch.data()).unwrap();
}

#[test]
fn a_draft_left_by_a_crash_is_no_organisation_and_in_nobodys_way() {
    let scratch = Scratch::new("draft");
    drop(DataDir::open(&scratch.data()).unwrap());
    fs::write(
        scratch.data().join("organisation.toml.draft"),
        "format = 1\nid = \"or",
    )
    .unwrap();
    first_start(&scratch);
    assert_eq!(mode(&scratch.file()), 0o600);
    assert!(matches!(later_start(&scratch), Ok(Organisation::Kept(_))));
}

#[test]
fn another_format_is_an_error_that_says_what_to_do() {
    let scratch = Scratch::new("format");
    first_start(&scratch);
    let text = fs::read_to_string(scratch.file()).unwrap();
    fs::write(
        scratch.file(),
        text.replace("format = 1", "format = 2\nnews = true"),
    )
    .unwrap();
    let error = later_start(&scratch).unwrap_err().to_string();
    assert!(
        error.contains("format 2") && error.contains("organisation.toml"),
        "{error}"
    );
}

#[test]
fn damage_is_an_error_that_says_what_to_do_and_changes_nothing() {
    let scratch = Scratch::new("damage");
    first_start(&scratch);
    let whole = fs::read_to_string(scratch.file()).unwrap();
    let digest = whole.split('"').nth(3).unwrap();
    assert!(Digest::from_hex(digest).is_some());
    let damaged = [
        String::new(),
        whole[..whole.len() / 2].to_owned(),
        whole.replace(digest, &digest[1..]),
        whole.replace("id = \"org_", "id = \"@"),
        whole.clone() + "extra = 1",
        whole.replace("[user]", "\u{0}"),
    ];
    for text in damaged {
        fs::write(scratch.file(), &text).unwrap();
        let error = later_start(&scratch).unwrap_err();
        assert!(matches!(error, DataDirError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("backup"), "{error}");
        assert_eq!(fs::read_to_string(scratch.file()).unwrap(), text);
    }
    fs::write(scratch.file(), [0xff, 0xfe]).unwrap();
    assert!(matches!(
        later_start(&scratch),
        Err(DataDirError::Damaged { .. })
    ));
}

#[test]
fn a_path_that_cannot_be_a_directory_is_named() {
    let scratch = Scratch::new("path");
    fs::create_dir_all(&scratch.0).unwrap();
    fs::write(scratch.0.join("deep"), "a file").unwrap();
    let error = DataDir::open(&scratch.data()).unwrap_err();
    assert!(error.to_string().contains("deep/data"), "{error}");
}
