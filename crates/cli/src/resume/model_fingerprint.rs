//! The hash of a model: its tokenizer, its heads and all weights.
//!
//! The result of one text depends on the model's settings and on nearly all weights, but only on a
//! few rows of the tables and a few words of the vocabulary. So this hash is needed too; it does
//! not contain settings.

use std::sync::OnceLock;

use anyhow::{Context, Result};
use polyhead_compute::Threads;
use polyhead_files::{add_pieces, hex};
use polyhead_model::{ModelFolder, Parameter};
use sha2::{Digest, Sha256};

/// All files that affect tokenization.
const TOKENIZER: [&str; 7] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
];

/// The hash of the model in `folder`, in hexadecimal.
pub(super) fn fingerprint(folder: &ModelFolder, threads: usize) -> Result<String> {
    let mut hash = Sha256::new();
    for name in TOKENIZER {
        if let Some(bytes) = folder.file(name)? {
            add_pieces(&mut hash, [name.as_bytes(), bytes.as_slice()]);
        }
    }
    for head in &folder.heads {
        hash.update(format!("{:?}\n", head.spec));
    }
    hash.update([u8::from(folder.lower_case)]);

    // In parallel: the weights of a large model can exceed a gigabyte.
    let tensors: Vec<_> =
        folder.parameters.iter().map(|parameter| (parameter, OnceLock::new())).collect();
    let threads = Threads::new(threads).context("no worker threads")?;
    threads.for_each(tensors.len(), |_, i| {
        let (parameter, digest) = &tensors[i];
        digest.get_or_init(|| numbers(parameter));
    });
    for (_, digest) in &tensors {
        hash.update(digest.get().expect("every tensor had its turn"));
    }
    Ok(hex(hash.finalize()))
}

/// The hash of a tensor: its name, its shape and its values as used in arithmetic.
fn numbers(parameter: &Parameter) -> [u8; 32] {
    let Parameter { name, shape, tensor, .. } = parameter;
    let mut hash = Sha256::new();
    hash.update(format!("{name} {shape:?}\n"));
    let mut row = vec![0.0_f32; tensor.columns()];
    let mut bytes = vec![0; 4 * row.len()];
    for index in 0..tensor.rows() {
        tensor.read_row(index, &mut row);
        for (bytes, number) in bytes.as_chunks_mut().0.iter_mut().zip(&row) {
            *bytes = number.to_le_bytes();
        }
        hash.update(&bytes);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use polyhead_testing::copy_folder;

    use super::*;

    #[test]
    fn a_number_or_a_word_makes_another_model() {
        let tiny = polyhead_testing::tiny_model("tiny-bert");
        let folder = tempfile::tempdir().unwrap();
        let of = |path: &Path| fingerprint(&ModelFolder::open(path).unwrap(), 2).unwrap();
        let expected = of(&tiny);
        assert_eq!(of(&tiny), expected);

        let changed = folder.path().join("number");
        copy_folder(&tiny, &changed);
        assert_eq!(of(&changed), expected, "where it stands does not count");
        let weights = changed.join("model.safetensors");
        let mut bytes = fs::read(&weights).unwrap();
        // The lowest bit of the last number.
        let at = bytes.len() - 4;
        bytes[at] ^= 1;
        fs::write(&weights, bytes).unwrap();
        assert_ne!(of(&changed), expected);

        let changed = folder.path().join("word");
        copy_folder(&tiny, &changed);
        let tokenizer = changed.join("tokenizer_config.json");
        fs::write(&tokenizer, fs::read_to_string(&tokenizer).unwrap() + "\n").unwrap();
        assert_ne!(of(&changed), expected);
    }
}
