//! Large files: streams that can be resumed after a kill, and whose bytes are hashed.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{FileError, folder_of, sync_folder_of};
use crate::open::{file_kind, open_file};
use crate::sha256::Hashing;

/// Length and hash of what a stream holds, as a record keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// Number of bytes, the head included.
    pub bytes: u64,
    /// SHA-256 of the bytes after the head, in hexadecimal.
    pub sha256: String,
}

/// Stream to a file that is written atomically.
///
/// It is written as `NAME.partial` beside `target`, under a lock, and replaces `target` in
/// [`Self::commit`]. A killed program leaves the partial file, which a later one can resume.
///
/// A stream may begin with a *head*, a number of bytes that are only known at the end, such as the
/// shape of a matrix. They are zero until [`Self::seal`], and are not hashed.
#[derive(Debug)]
pub struct AtomicFile {
    file: BufWriter<Hashing<File>>,
    partial: PathBuf,
    target: PathBuf,
    /// Length of the head, in bytes.
    head: usize,
    /// Remove the partial file on drop: it holds nothing that a record names.
    delete_on_drop: bool,
}

impl AtomicFile {
    /// Opens and locks the partial file that a stopped program has left, and changes nothing;
    /// `None` if there is none.
    ///
    /// # Errors
    /// A folder or a device at `target`; a link, folder or device at the partial file; a missing
    /// folder; another process that writes the same file or has just finished it.
    pub fn find(target: &Path) -> Result<Option<Self>, FileError> {
        let (target, partial) = paths(target)?;
        match fs::symlink_metadata(&partial) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileError::new(partial, error)),
            // Opening a pipe would wait for its reader, and a link may lead anywhere.
            Ok(metadata) if !metadata.is_file() => {
                let message = format!("expected a file, found {}", file_kind(metadata.file_type()));
                Err(FileError::other(&partial, message))
            }
            Ok(_) => {
                Self::lock(OpenOptions::new().read(true).write(true), partial, target).map(Some)
            }
        }
    }

    /// Opens and locks a partial file that does not exist yet.
    ///
    /// # Errors
    /// Those of [`Self::find`]; another process that has created it meanwhile.
    pub fn create(target: &Path) -> Result<Self, FileError> {
        let (target, partial) = paths(target)?;
        let options = OpenOptions::new().read(true).write(true).create_new(true).clone();
        let mut stream = Self::lock(&options, partial, target)?;
        stream.delete_on_drop = true;
        Ok(stream)
    }

    fn lock(options: &OpenOptions, partial: PathBuf, target: PathBuf) -> Result<Self, FileError> {
        let file = options.open(&partial).map_err(|error| FileError::new(&target, error))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(FileError::other(&target, "another process is writing this file"));
            }
            // Some network file systems do not support locks.
            Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
                return Err(FileError::new(target, error));
            }
            _ => {}
        }
        // Between opening and locking, another process may have renamed the file.
        if !has_name(&file, &partial) {
            let message = "another process has just written this file; run the command again";
            return Err(FileError::other(&target, message));
        }
        let file = BufWriter::with_capacity(1 << 16, Hashing::new(file));
        Ok(Self { file, partial, target, head: 0, delete_on_drop: false })
    }

    /// Removes all content, then writes `head` zero bytes. From now on, dropping the stream
    /// removes the partial file, until [`Self::keep`].
    ///
    /// # Errors
    /// The error of the file system.
    pub fn start_over(&mut self, head: usize) -> Result<(), FileError> {
        (self.head, self.delete_on_drop) = (head, true);
        self.file.get_mut().reset();
        let file = self.file.get_mut().get_mut();
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(&vec![0; head]))
            .map_err(|error| FileError::new(&self.target, error))
    }

    /// Returns true if anything follows the first `head` bytes.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn has_content(&mut self, head: usize) -> Result<bool, FileError> {
        let metadata = self.file.get_mut().get_mut().metadata();
        let metadata = metadata.map_err(|error| FileError::new(&self.partial, error))?;
        Ok(metadata.len() > head as u64)
    }

    /// Continues the content after what `state` describes, and cuts off the rest. Returns the
    /// number of line ends in it.
    ///
    /// # Errors
    /// Fewer bytes than recorded, or other ones, and the error of the file system.
    pub fn resume(&mut self, head: usize, state: &StreamState) -> Result<u64, FileError> {
        let failed = |error| FileError::new(&self.partial, error);
        let wanted = state.bytes.saturating_sub(head as u64);
        let content = self.file.get_mut();
        content.reset();
        content.get_mut().seek(SeekFrom::Start(head as u64)).map_err(failed)?;
        let lines = count_lines(Read::by_ref(content).take(wanted)).map_err(failed)?;
        let found = StreamState::of(head, content);
        if found.bytes != state.bytes {
            let message =
                format!("expected {} bytes of results, found {}", state.bytes, found.bytes);
            return Err(FileError::other(&self.partial, message));
        }
        if found != *state {
            let message = "the bytes of the results are not those that were recorded";
            return Err(FileError::other(&self.partial, message));
        }
        let file = content.get_mut();
        file.set_len(state.bytes).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed)?;
        self.head = head;
        Ok(lines)
    }

    /// The last eight bytes of the content.
    ///
    /// # Errors
    /// The error of the file system; a shorter content.
    pub fn last_bytes(&mut self) -> Result<[u8; 8], FileError> {
        let mut last = [0; 8];
        let mut read = || {
            self.file.flush()?;
            let file = self.file.get_mut().get_mut();
            file.seek(SeekFrom::End(-8))?;
            file.read_exact(&mut last)
        };
        read().map_err(|error| FileError::new(&self.partial, error))?;
        Ok(last)
    }

    /// Passes all bytes to the operating system, and says what they are.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn state(&mut self) -> Result<StreamState, FileError> {
        self.file.flush().map_err(|error| FileError::new(&self.target, error))?;
        Ok(StreamState::of(self.head, self.file.get_ref()))
    }

    /// Keeps the partial file when the stream is dropped: a record names its content.
    pub fn keep(&mut self) {
        self.delete_on_drop = false;
    }

    /// Removes the partial file when the stream is dropped.
    pub fn discard(&mut self) {
        self.delete_on_drop = true;
    }

    /// Writes the head, and syncs the finished file.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn seal(&mut self, head: &[u8]) -> Result<(), FileError> {
        // Without syncing before the rename, a power cut may leave an empty file.
        let flushed = self.file.flush();
        let file = self.file.get_mut().get_mut();
        flushed
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(head))
            .and_then(|()| file.sync_all())
            .map_err(|error| FileError::new(&self.target, error))
    }

    /// Gives the sealed file the name of the target.
    ///
    /// # Errors
    /// The error of the file system; then the target is unchanged.
    pub fn commit(mut self) -> Result<(), FileError> {
        fs::rename(&self.partial, &self.target)
            .map_err(|error| FileError::new(&self.target, error))?;
        self.delete_on_drop = false;
        sync_folder_of(&self.target);
        Ok(())
    }

    /// Follows links to the file that a stream to `target` replaces.
    pub fn real_path(target: &Path) -> PathBuf {
        fs::canonicalize(target).unwrap_or_else(|_| target.to_owned())
    }

    /// Returns true if `target` is the finished file of a stream with this head and state.
    pub fn is_finished(target: &Path, head: &[u8], state: &StreamState) -> bool {
        let found = || -> io::Result<bool> {
            let mut file = open_file(target)?;
            let mut start = vec![0; head.len()];
            file.read_exact(&mut start)?;
            let mut content = Hashing::new(file);
            count_lines(&mut content)?;
            Ok(start == head && StreamState::of(head.len(), &content) == *state)
        };
        found().unwrap_or(false)
    }
}

impl StreamState {
    fn of(head: usize, content: &Hashing<File>) -> Self {
        let (bytes, sha256) = content.state();
        Self { bytes: head as u64 + bytes, sha256 }
    }
}

/// Reads everything and counts the line ends.
fn count_lines(source: impl Read) -> io::Result<u64> {
    let mut source = BufReader::with_capacity(1 << 16, source);
    let mut lines = 0;
    loop {
        let bytes = source.fill_buf()?;
        if bytes.is_empty() {
            return Ok(lines);
        }
        lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let count = bytes.len();
        source.consume(count);
    }
}

/// The real path of `target`, and that of its partial file.
fn paths(target: &Path) -> Result<(PathBuf, PathBuf), FileError> {
    let other = |message: String| Err(FileError::other(target, message));
    let real = AtomicFile::real_path(target);
    if let Some(found) = fs::metadata(&real).ok().filter(|metadata| !metadata.is_file()) {
        let kind = file_kind(found.file_type());
        return other(format!("expected a file or a free name, found {kind}"));
    }
    let folder = folder_of(&real);
    if !folder.is_dir() {
        return other(format!("no folder `{}`", folder.display()));
    }
    let Some(name) = real.file_name() else {
        return other("expected a path that ends in a name".to_owned());
    };
    let mut name = name.to_owned();
    name.push(".partial");
    let partial = folder.join(name);
    Ok((real, partial))
}

/// Returns true if `file` is what `path` names, and not a file that had this name before.
#[cfg(unix)]
fn has_name(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    let number = |data: fs::Metadata| (data.dev(), data.ino());
    let (open, named) = (file.metadata().map(number), fs::symlink_metadata(path).map(number));
    matches!((open, named), (Ok(open), Ok(named)) if open == named)
}

#[cfg(not(unix))]
fn has_name(_: &File, path: &Path) -> bool {
    path.exists()
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.delete_on_drop {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

impl fmt::Display for AtomicFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::names;
    use super::*;

    /// A new stream without a head.
    fn new(target: &Path) -> AtomicFile {
        let mut file = AtomicFile::create(target).unwrap();
        file.start_over(0).unwrap();
        file
    }

    fn commit(mut file: AtomicFile) {
        file.seal(b"").unwrap();
        file.commit().unwrap();
    }

    #[test]
    fn a_plain_name_is_in_the_current_folder() {
        // The folder is synced after the rename; an empty path could not be opened.
        assert_eq!(folder_of(Path::new("out.npy")), Path::new("."));
    }

    #[test]
    fn complete_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.jsonl");
        fs::write(&target, "old").unwrap();

        let mut file = new(&target);
        file.write_all(b"half").unwrap();
        file.flush().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        drop(file);
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        assert_eq!(names(folder.path()), ["out.jsonl"]);

        let mut file = new(&target);
        file.write_all(b"whole").unwrap();
        commit(file);
        assert_eq!(fs::read_to_string(&target).unwrap(), "whole");
        assert_eq!(names(folder.path()), ["out.jsonl"]);
    }

    #[test]
    fn two_at_once_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.npy");
        let mut first = new(&target);
        first.write_all(b"first").unwrap();
        let error = AtomicFile::find(&target).unwrap_err();
        assert!(error.to_string().ends_with("another process is writing this file"), "{error}");
        assert!(AtomicFile::create(&target).is_err());
        commit(first);
        assert_eq!(fs::read_to_string(&target).unwrap(), "first");
        assert!(AtomicFile::find(&target).unwrap().is_none());
    }

    /// The second process opens the partial file before the first one renames it, and locks it
    /// afterwards.
    #[cfg(unix)]
    #[test]
    fn a_writer_that_comes_too_late_touches_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (target, partial) =
            (folder.path().join("out.npy"), folder.path().join("out.npy.partial"));
        fs::write(&partial, "of the first").unwrap();
        let late = File::open(&partial).unwrap();
        assert!(has_name(&late, &partial));
        commit(AtomicFile::find(&target).unwrap().unwrap());
        assert!(!has_name(&late, &partial), "it is the finished file");
        new(&target);
        fs::write(&partial, "of a third").unwrap();
        assert!(!has_name(&late, &partial), "another file has the name");
        assert_eq!(fs::read_to_string(&target).unwrap(), "of the first");
    }

    #[test]
    fn what_a_kill_left_is_resumed_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.jsonl");
        let partial = folder.path().join("out.jsonl.partial");
        assert!(AtomicFile::find(&target).unwrap().is_none());
        assert_eq!(names(folder.path()), [""; 0], "looking creates nothing");

        let mut file = AtomicFile::create(&target).unwrap();
        file.start_over(4).unwrap();
        file.write_all(b"a\nb\n").unwrap();
        let state = file.state().unwrap();
        assert_eq!(state.bytes, 8);
        file.write_all(b"torn").unwrap();
        file.keep();
        drop(file);
        let good = b"\0\0\0\0a\nb\ntorn";
        assert_eq!(fs::read(&partial).unwrap(), good);

        let open = |state: &StreamState| {
            let mut file = AtomicFile::find(&target).unwrap().unwrap();
            file.resume(4, state).map(|lines| (file, lines))
        };
        for (bytes, words) in
            [(&good[..7], "expected 8 bytes of results, found 7"), (b"\0\0\0\0a\nc\n", "not those")]
        {
            fs::write(&partial, bytes).unwrap();
            let error = open(&state).unwrap_err().to_string();
            assert!(error.contains("out.jsonl.partial: ") && error.contains(words), "{error}");
            assert_eq!(fs::read(&partial).unwrap(), bytes, "a refusal changes nothing");
        }
        assert!(open(&StreamState { bytes: 2, ..state.clone() }).is_err());

        fs::write(&partial, good).unwrap();
        let (mut file, lines) = open(&state).unwrap();
        assert_eq!(lines, 2);
        file.write_all(b"12345678\n").unwrap();
        assert_eq!(&file.last_bytes().unwrap(), b"2345678\n");
        let state = file.state().unwrap();
        file.seal(b"head").unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"heada\nb\n12345678\n");
        assert_eq!(names(folder.path()), ["out.jsonl"]);
        assert!(AtomicFile::is_finished(&target, b"head", &state));
        assert!(!AtomicFile::is_finished(&target, b"HEAD", &state));
        assert!(!AtomicFile::is_finished(&partial, b"head", &state));
    }

    #[test]
    fn a_missing_folder_and_a_folder_in_the_way_are_found_at_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("dir.npy")).unwrap();
        for (name, words) in [("no/out.npy", "no folder"), ("dir.npy", "found a folder")] {
            let target = folder.path().join(name);
            for error in
                [AtomicFile::find(&target).unwrap_err(), AtomicFile::create(&target).unwrap_err()]
            {
                assert!(error.to_string().contains(words), "{error}");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_unless_it_is_the_partial_file() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("real.npy"), folder.path().join("link.npy"));
        fs::write(&target, "old").unwrap();
        symlink(&target, &link).unwrap();
        let mut file = new(&link);
        file.write_all(b"new").unwrap();
        commit(file);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");

        for behind in [target.clone(), folder.path().join("missing")] {
            let partial = folder.path().join("real.npy.partial");
            symlink(&behind, &partial).unwrap();
            let error = AtomicFile::find(&target).unwrap_err().to_string();
            assert!(error.contains("real.npy.partial: expected a file, found a link"), "{error}");
            assert!(AtomicFile::create(&target).is_err());
            fs::remove_file(partial).unwrap();
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(names(folder.path()), ["link.npy", "real.npy"]);
    }
}
