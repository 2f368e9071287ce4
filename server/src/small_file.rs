//! Files that are read whole: certificates, keys, authorities. Some are read again while the server
//! runs, so none may keep its reader waiting or be of any size.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The content of a file.
///
/// # Errors
///
/// When it cannot be read, has more than `bytes_max` bytes, or is something else than a file: a pipe
/// would be waited for, and says what it says only once.
pub(crate) fn read(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut content = Vec::new();
    let mut start = File::open(path)?.take(bytes_max as u64 + 1);
    start.read_to_end(&mut content)?;
    if content.len() > bytes_max {
        let why = format!("it is larger than {bytes_max} bytes");
        return Err(io::Error::other(why));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_or_too_large_is_not_read() {
        let path = std::env::temp_dir().join(format!("whosthere-small-{}", std::process::id()));
        fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        let too_large = read(&path, 4).unwrap_err().to_string();
        assert_eq!(too_large, "it is larger than 4 bytes");
        fs::remove_file(&path).unwrap();
        assert_eq!(read(&path, 5).unwrap_err().kind(), io::ErrorKind::NotFound);
        for other in ["/dev/zero", "/"] {
            let why = read(Path::new(other), 5).unwrap_err().to_string();
            assert_eq!(why, "it is not a regular file");
        }
    }
}
