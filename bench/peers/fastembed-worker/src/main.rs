//! fastembed as a worker of `bench/peers`: an exported ONNX file, given to the
//! crate as a model of the user's own, run by the ONNX Runtime of a Python wheel.
//!
//!     ORT_DYLIB_PATH=libonnxruntime.so.1.32.0 RAYON_NUM_THREADS=N fastembed-worker --model DIR --threads N

use std::collections::HashMap;
use std::path::Path;

use fastembed::{
    InitOptionsUserDefined, Pooling, TextEmbedding, TokenizerFiles, UserDefinedEmbeddingModel,
};
use protocol::{BATCH, Encoder, Failure, longest_first, serve};

#[path = "../../protocol.rs"]
mod protocol;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options: HashMap<&str, &str> =
        arguments.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let folder = Path::new(options.get("--model").ok_or("no --model")?);
    let threads = options.get("--threads").map_or(Ok(2), |n| n.parse())?;
    serve(&mut FastEmbed(load(folder, threads)?))
}

/// The export wrote the model's own limit into `tokenizer_config.json`, which the crate reads.
fn load(folder: &Path, threads: usize) -> Result<TextEmbedding, Failure> {
    let read =
        |name: &str| std::fs::read(folder.join(name)).map_err(|error| format!("{name}: {error}"));
    let tokenizer = TokenizerFiles {
        tokenizer_file: read("tokenizer.json")?,
        config_file: read("config.json")?,
        special_tokens_map_file: read("special_tokens_map.json")?,
        tokenizer_config_file: read("tokenizer_config.json")?,
    };
    let model = UserDefinedEmbeddingModel::new(read("onnx/model.onnx")?, tokenizer)
        .with_pooling(Pooling::Mean);
    let options = InitOptionsUserDefined::new()
        .with_intra_threads(threads)
        // Other workers want the cores between runs.
        .with_session_config("session.force_spinning_stop", "1");
    Ok(TextEmbedding::try_new_from_user_defined(model, options)?)
}

struct FastEmbed(TextEmbedding);

impl Encoder for FastEmbed {
    /// fastembed pads texts in the order in which they come. Its user can sort them to
    /// pad less, so that is done here, in favour of the crate.
    fn encode(&mut self, texts: &[String]) -> Result<Vec<Vec<f32>>, Failure> {
        let order = longest_first(texts);
        let sorted: Vec<&str> = order.iter().map(|&at| texts[at].as_str()).collect();
        let mut vectors = vec![Vec::new(); texts.len()];
        for (at, vector) in order.into_iter().zip(self.0.embed(sorted, Some(BATCH))?) {
            vectors[at] = vector;
        }
        Ok(vectors)
    }

    fn count_tokens(&self, texts: &[String]) -> Result<usize, Failure> {
        let texts = texts.iter().map(String::as_str).collect();
        let encodings = self.0.tokenizer.encode_batch(texts, true)?;
        Ok(encodings.iter().flat_map(|one| one.get_attention_mask()).sum::<u32>() as usize)
    }
}
