//! Files that stand where a file of a model should: what downloads and clones leave behind.

/// Names the kind of bytes that are no file of a model, and what the user can do; `None` if they are none of the
/// things that are known to be mistaken for one.
///
/// The bytes may be a file of a model: the header of safetensors may begin with any byte, `{` follows it
/// at 8.
pub(crate) fn mistaken_file(bytes: &[u8]) -> Option<&'static str> {
    const LFS: &str = "found a Git LFS pointer in its place: run `git lfs pull` in the clone, or \
                       download the file itself";
    const EMPTY: &str = "found an empty file: fetch it again";
    const PAGE: &str = "found a web page in its place: download the file itself, not the page that \
                        shows it";
    const ZIP: &str = "found a zip archive, as PyTorch saves weights: convert it in Python with \
                       `save_pretrained(…, safe_serialization=True)`";
    const PICKLE: &str = "found a Python pickle, which can run code when it is opened: convert it in \
                          Python with `save_pretrained(…, safe_serialization=True)`";
    const GZIP: &str = "found a file packed with gzip: unpack it";
    if bytes.is_empty() {
        return Some(EMPTY);
    }
    let begins: [(&[u8], &'static str); 3] = [
        (b"version https://git-lfs.github.com/spec/", LFS),
        (b"PK\x03\x04", ZIP),
        (b"\x1f\x8b\x08", GZIP),
    ];
    if let Some((_, found)) = begins.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Some(found);
    }
    // Protocols 2 to 5; pickles of older ones are text.
    if matches!(bytes, [0x80, 2..=5, ..]) && bytes.get(8) != Some(&b'{') {
        return Some(PICKLE);
    }
    let start = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let page = |tag: &str| {
        start.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes()))
    };
    ["<!doctype html", "<html", "<?xml"].into_iter().any(page).then_some(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mistaken_for_a_file_is_named() {
        let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d59\nsize 68973776\n";
        for (bytes, word) in [
            (&lfs[..], "git lfs pull"),
            (b"", "an empty file"),
            (b"<!DOCTYPE html><html>", "a web page"),
            (b"\n  <html lang=\"en\">", "a web page"),
            (b"\xef\xbb\xbf<?xml version=\"1.0\"?><Error/>", "a web page"),
            (b"PK\x03\x04\x00", "a zip archive"),
            (b"\x80\x02}q\x00", "a Python pickle"),
            (b"\x1f\x8b\x08\x00", "gzip"),
        ] {
            let found = mistaken_file(bytes).unwrap();
            assert!(found.contains(word), "{found}");
        }
        for bytes in [&b"{}"[..], b"[PAD]\n[UNK]\n", b"<"] {
            assert_eq!(mistaken_file(bytes), None);
        }
        for high in 1..=5 {
            assert_eq!(mistaken_file(&[0x80, high, 0, 0, 0, 0, 0, 0, b'{']), None, "{high}");
        }
    }
}
