//! `cargo xtask tidy`: rules for files that no linter knows.
//!
//! Each rule looks at one thing and gives its findings as lines `path: what is wrong`. The rules
//! read the work tree only, so they hold for files that are not committed yet.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Outcome, root};

/// Applies every rule to the workspace.
pub(crate) fn run() -> Outcome {
    let findings = findings(&root())?;
    if findings.is_empty() {
        return Ok(());
    }
    Err(format!("not tidy:\n  {}", findings.join("\n  ")))
}

fn findings(root: &Path) -> Result<Vec<String>, String> {
    let mut findings = missing_documents(root);
    findings.extend(unmapped_crates(root)?);
    for path in rust_files(root)? {
        let text = read(&path)?;
        let wrong = [
            headless(&text),
            unreachable(&path),
            named_for_nothing(&path),
            unowned_work(&text),
        ];
        let name = path.strip_prefix(root).unwrap_or(&path).display();
        findings.extend(wrong.into_iter().flatten().map(|w| format!("{name}: {w}")));
    }
    Ok(findings)
}

/// Every file says in its first line what it is for.
fn headless(text: &str) -> Option<String> {
    (!text.starts_with("//! ")).then(|| "does not open with a `//!` header".to_owned())
}

/// A file that no `mod` declares is not compiled, and nothing else would notice.
fn unreachable(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?;
    if is_crate_root(path, stem) {
        return None;
    }
    let parents = parents(path, stem);
    let declared = parents
        .iter()
        .filter_map(|parent| fs::read_to_string(parent).ok())
        .any(|text| text.lines().any(|line| declares(line, stem)));
    (!declared).then(|| "no `mod` declares it".to_owned())
}

/// What cargo compiles without a `mod`: the roots of libraries and programs, and the files
/// directly in `tests/`, `benches/`, `examples/` and `src/bin/`.
fn is_crate_root(path: &Path, stem: &str) -> bool {
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
    let in_source_folder = ["lib", "main", "build"].contains(&stem);
    let root_folders = ["tests", "benches", "examples", "bin", "fuzz_targets"];
    in_source_folder || root_folders.iter().any(|name| folder == *name)
}

/// The files that may declare a module: `name.rs` beside the folder, or the crate's root in it.
fn parents(path: &Path, stem: &str) -> Vec<PathBuf> {
    let folder = match path.parent() {
        Some(folder) if stem == "mod" => folder.parent().unwrap_or(folder),
        Some(folder) => folder,
        None => return Vec::new(),
    };
    let mut parents: Vec<PathBuf> = ["lib.rs", "main.rs", "mod.rs"]
        .map(|name| folder.join(name))
        .into();
    parents.push(folder.with_extension("rs"));
    parents
}

/// Whether a line is `mod name;`, with any visibility.
fn declares(line: &str, name: &str) -> bool {
    let words = line.trim().split(&[' ', '\t'][..]);
    let mut words = words.skip_while(|word| word.starts_with("pub"));
    words.next() == Some("mod") && words.next().is_some_and(|word| word == format!("{name};"))
}

/// Drawers for everything end up holding everything.
fn named_for_nothing(path: &Path) -> Option<String> {
    let drawers = [
        "utils", "util", "common", "helpers", "helper", "manager", "types", "misc",
    ];
    let stem = path.file_stem()?.to_str()?;
    drawers
        .contains(&stem)
        .then(|| "the name does not say what the file is for".to_owned())
}

/// Work put off needs an owner: a note is followed by the number of an issue, as in `(#12)`.
fn unowned_work(text: &str) -> Option<String> {
    let notes = ["TO\u{44}O", "FIX\u{4d}E"];
    text.lines().enumerate().find_map(|(index, line)| {
        let note = notes.iter().find_map(|note| line.split_once(note))?;
        let owned = note.1.starts_with("(#");
        (!owned).then(|| format!("line {}: a note without an issue number", index + 1))
    })
}

fn missing_documents(root: &Path) -> Vec<String> {
    let documents = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
    ];
    let missing = documents.iter().filter(|name| !root.join(name).is_file());
    missing.map(|name| format!("{name}: missing")).collect()
}

/// The code map of ARCHITECTURE.md names every crate.
fn unmapped_crates(root: &Path) -> Result<Vec<String>, String> {
    let map = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap_or_default();
    let crates = crates(root)?;
    let unmapped = crates
        .iter()
        .filter(|name| !map.contains(&format!("`{name}`")));
    Ok(unmapped
        .map(|name| format!("ARCHITECTURE.md: the code map does not name `{name}`"))
        .collect())
}

/// The workspace is flat: a crate is a folder of the root with a manifest in it.
fn crates(root: &Path) -> Result<Vec<String>, String> {
    let mut crates: Vec<String> = entries(root)?
        .into_iter()
        .filter(|path| path.join("Cargo.toml").is_file())
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    crates.sort();
    Ok(crates)
}

fn rust_files(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = crates(root)?.iter().map(|name| root.join(name)).collect();
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |e| format!("cannot read {}: {e}", folder.display());
    fs::read_dir(folder)
        .map_err(unreadable)?
        .map(|entry| entry.map(|entry| entry.path()).map_err(unreadable))
        .collect()
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_is_tidy() {
        assert_eq!(findings(&root()), Ok(Vec::new()));
    }

    #[test]
    fn a_file_opens_with_a_header() {
        assert_eq!(headless("//! What it is for.\n"), None);
        assert!(headless("use std::fs;\n").is_some());
        assert!(headless("\n//! Too late.\n").is_some());
    }

    #[test]
    fn a_module_is_declared_with_any_visibility_but_not_by_another_name() {
        for line in ["mod name;", "pub mod name;", "    pub(crate) mod name;"] {
            assert!(declares(line, "name"), "{line}");
        }
        for line in ["mod names;", "mod name {", "// mod name;", "use name;"] {
            assert!(!declares(line, "name"), "{line}");
        }
    }

    #[test]
    fn a_file_that_nothing_declares_is_found() {
        let src = root().join("xtask/src");
        assert_eq!(unreachable(&src.join("tidy.rs")), None);
        assert_eq!(unreachable(&src.join("main.rs")), None);
        assert!(unreachable(&src.join("orphan.rs")).is_some());
    }

    #[test]
    fn a_drawer_is_found_by_its_name() {
        assert!(named_for_nothing(Path::new("server/src/utils.rs")).is_some());
        assert_eq!(named_for_nothing(Path::new("server/src/router.rs")), None);
    }

    #[test]
    fn a_note_needs_an_issue_number() {
        assert!(unowned_work("// TO\u{44}O: later").is_some());
        assert_eq!(unowned_work("// TO\u{44}O(#12): later"), None);
        assert!(unowned_work("//! x\n// FIX\u{4d}E soon").is_some_and(|w| w.contains("line 2")));
    }
}
