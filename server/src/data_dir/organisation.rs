//! The organisation of a server that was started without a configuration file.
//!
//! Made at the first start with random secrets that are shown once; `organisation.toml` keeps
//! their digests. The file carries a format number, so that a later version can tell.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Deserialize;

use super::DataDirError;
use crate::accounts::{Digest, GeneratedOrg};

const FILE: &str = "organisation.toml";
const FORMAT: i64 = 1;
/// Ours has less than 400 bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024;
const USERNAME: &str = "me";

/// What [`super::DataDir::organisation`] found.
#[derive(Debug)]
pub enum Organisation {
    /// Kept by an earlier start.
    Kept(GeneratedOrg),
    /// Just made, and not written yet.
    New(NewOrg),
}

impl Organisation {
    /// The organisation itself, kept or new.
    pub fn generated(&self) -> &GeneratedOrg {
        match self {
            Self::Kept(org) => org,
            Self::New(new) => &new.org,
        }
    }
}

/// An organisation with its secrets still in the clear.
#[derive(Debug)]
pub struct NewOrg {
    /// What is kept of it.
    pub org: GeneratedOrg,
    /// What is shown once.
    pub credentials: Credentials,
}

/// The secrets of a new organisation, 128 random bits each. `Debug` hides them.
pub struct Credentials {
    /// The key of the HTTP API, `sk_…`.
    pub secret_key: String,
    /// The password of the user.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

impl NewOrg {
    fn generate() -> io::Result<Self> {
        let credentials = Credentials {
            secret_key: format!("sk_{}", random_hex::<16>()?),
            password: random_hex::<16>()?,
        };
        let org = GeneratedOrg {
            id: format!("org_{}", random_hex::<8>()?),
            secret_key: Digest::of(credentials.secret_key.as_bytes()),
            username: USERNAME.to_owned(),
            password: Digest::of(credentials.password.as_bytes()),
        };
        Ok(Self { org, credentials })
    }
}

/// `BYTES` random bytes as lower-case hexadecimal digits.
fn random_hex<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Reads the file in `dir`, or makes a new organisation when there is none.
pub(super) fn load(dir: &Path) -> Result<Organisation, DataDirError> {
    let path = dir.join(FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let random = DataDirError::io(dir, "taking random bytes for a secret key");
            return NewOrg::generate().map(Organisation::New).map_err(random);
        }
        Err(error) => return Err(DataDirError::io(&path, "opening the file")(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(DataDirError::io(&path, "reading the file"))?;
    parse(&path, &bytes).map(Organisation::Kept)
}

/// What every version of the file has.
#[derive(Deserialize)]
struct Versioned {
    format: i64,
}

/// The file in format 1.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    #[expect(
        dead_code,
        reason = "was read as Versioned; here so that it is not unknown"
    )]
    format: i64,
    id: String,
    secret_key_sha256: String,
    user: ContentsUser,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContentsUser {
    username: String,
    password_sha256: String,
}

fn parse(path: &Path, bytes: &[u8]) -> Result<GeneratedOrg, DataDirError> {
    let damaged = |why: &str| DataDirError::Damaged {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
    let Versioned { format } =
        toml::from_str(text).map_err(|_| damaged("it has no readable format number"))?;
    if format != FORMAT {
        return Err(DataDirError::OtherFormat {
            path: path.to_owned(),
            format,
            known: FORMAT,
        });
    }
    let contents: Contents =
        toml::from_str(text).map_err(|_| damaged("its lines are not those of format 1"))?;
    let digest = |hex: &str| Digest::from_hex(hex).ok_or_else(|| damaged("a digest is incomplete"));
    let org = GeneratedOrg {
        secret_key: digest(&contents.secret_key_sha256)?,
        password: digest(&contents.user.password_sha256)?,
        id: contents.id,
        username: contents.user.username,
    };
    if org.id.is_empty() || org.id.contains('@') || org.username.is_empty() {
        return Err(damaged("a name is impossible"));
    }
    Ok(org)
}

/// Writes the file: complete under another name first, so that a crash at any point leaves
/// either no file or the whole one.
pub(super) fn store(dir: &Path, new: &NewOrg) -> Result<(), DataDirError> {
    let (path, draft) = (dir.join(FILE), dir.join("organisation.toml.draft"));
    let failed = DataDirError::io(&path, "writing the file");
    // A draft left by a crash may have any mode.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    write_draft(&draft, &contents_of(&new.org)).map_err(failed)?;
    fs::rename(&draft, &path).map_err(failed)?;
    // The name lasts only once the directory itself is on disk.
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(failed)
}

fn write_draft(draft: &Path, contents: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)?;
    file.write_all(contents.as_bytes())?;
    file.sync_all()
}

fn contents_of(org: &GeneratedOrg) -> String {
    format!(
        "# The organisation made at the first start of whosthere, which showed its secret key\n\
         # and password. Only their SHA-256 digests are kept. Do not edit.\n\
         format = {FORMAT}\n\
         id = \"{id}\"\n\
         secret_key_sha256 = \"{key}\"\n\
         \n\
         [user]\n\
         username = \"{username}\"\n\
         password_sha256 = \"{password}\"\n",
        id = org.id,
        key = org.secret_key.to_hex(),
        username = org.username,
        password = org.password.to_hex(),
    )
}
