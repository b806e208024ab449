//! Opens files to read them: a pipe or a device in place of a file is refused, not waited for.

use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::path::Path;

/// Opens a regular file, or a link to one.
///
/// # Errors
/// The error of the operating system; for a folder, a pipe or a device, the kind that was found.
pub fn open_file(path: &Path) -> io::Result<File> {
    // Opening a pipe waits for a writer, and opening a device may do anything: so the kind is
    // looked at before. The name may get another file in between, so it is looked at again.
    expect_file(fs::metadata(path)?.file_type())?;
    let file = File::open(path)?;
    expect_file(file.metadata()?.file_type())?;
    Ok(file)
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// Those of [`open_file`]; [`io::ErrorKind::FileTooLarge`] if the file is longer.
pub fn read_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte above the limit, so that a file which grows while it is read is noticed.
    open_file(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let message = format!("expected at most {limit} bytes, found more");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// Reads a regular file of at most `limit` bytes as UTF-8.
///
/// # Errors
/// Those of [`read_file`]; also if the bytes are no text.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read_file(path, limit)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes()[at];
        let message = format!("expected UTF-8, found byte 0x{byte:02x} at position {}", at + 1);
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

fn expect_file(found: FileType) -> io::Result<()> {
    if found.is_file() {
        return Ok(());
    }
    Err(io::Error::other(format!("expected a file, found {}", file_kind(found))))
}

/// Describes an entry of a folder for a message.
pub fn file_kind(found: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if found.is_fifo() {
            return "a named pipe";
        }
        if found.is_char_device() || found.is_block_device() {
            return "a device";
        }
        if found.is_socket() {
            return "a socket";
        }
    }
    match found {
        found if found.is_dir() => "a folder",
        found if found.is_file() => "a file",
        found if found.is_symlink() => "a link",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"a\xff").unwrap();
        assert_eq!(read_file(&file, 2).unwrap(), b"a\xff");
        let text = |path: &Path, limit| read_text(path, limit).unwrap_err().to_string();
        assert_eq!(text(&file, 1), "expected at most 1 bytes, found more");
        assert_eq!(text(&file, 2), "expected UTF-8, found byte 0xff at position 2");
        assert_eq!(text(folder.path(), 2), "expected a file, found a folder");
        let missing = open_file(&folder.path().join("none")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn pipes_devices_and_sockets_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let made = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
        assert!(made.success());
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        std::os::unix::fs::symlink(path("pipe"), path("link")).unwrap();
        for (path, found) in [
            (path("pipe"), "a named pipe"),
            (path("link"), "a named pipe"),
            (path("socket"), "a socket"),
            ("/dev/zero".into(), "a device"),
        ] {
            let error = open_file(&path).unwrap_err().to_string();
            assert_eq!(error, format!("expected a file, found {found}"), "{}", path.display());
        }
    }
}
