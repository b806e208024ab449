//! RTen as a worker of `bench/peers`: an exported ONNX file of a BERT.
//!
//!     RTEN_NUM_THREADS=N rten-worker --model DIR --file onnx/model.onnx
//!
//! Batches are those of sentence-transformers, pooling is the mean, and vectors have unit length.

use std::path::Path;

use protocol::{Encoder, Failure, serve};
use rten::{Model, NodeId};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, NdTensorView};
use tokenizers::{Encoding, Tokenizer};
use tokens::{count_tokens, encode_in_batches, load_tokenizer, numbers};

#[path = "../../protocol.rs"]
mod protocol;
#[path = "../../tokens.rs"]
mod tokens;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [_, folder, _, file] = &arguments[..] else {
        return Err("usage: rten-worker --model DIR --file FILE".into());
    };
    let folder = Path::new(folder);
    let model = Model::load_file(folder.join(file))?;
    serve(&mut Rten { tokenizer: load_tokenizer(folder)?, model })
}

struct Rten {
    tokenizer: Tokenizer,
    model: Model,
}

impl Rten {
    /// The vectors of one batch, padded to its longest text.
    fn encode_batch(&self, encodings: &[Encoding]) -> Result<Vec<Vec<f32>>, Failure> {
        let shape = [encodings.len(), encodings[0].len()];
        let mut inputs = Vec::new();
        for &id in self.model.input_ids() {
            let of = match self.name(id) {
                "input_ids" => Encoding::get_ids,
                "attention_mask" => Encoding::get_attention_mask,
                "token_type_ids" => Encoding::get_type_ids,
                other => return Err(format!("input {other} of the ONNX file").into()),
            };
            let values: Vec<i32> = numbers(encodings, of).map(|number| number as i32).collect();
            inputs.push((id, NdTensor::<i32, 2>::from_data(shape, values).into()));
        }
        let output = self.model.node_id("last_hidden_state")?;
        let [hidden] = self.model.run_n(inputs, [output], None)?;
        let hidden: NdTensor<f32, 3> = hidden.try_into()?;
        let pooled = encodings.iter().enumerate();
        Ok(pooled.map(|(i, one)| mean(hidden.slice(i), one.get_attention_mask())).collect())
    }

    fn name(&self, id: NodeId) -> &str {
        self.model.node_info(id).and_then(|node| node.name()).unwrap_or_default()
    }
}

/// The mean of the real tokens' vectors, `[T, D]`, with unit length.
fn mean(hidden: NdTensorView<f32, 2>, mask: &[u32]) -> Vec<f32> {
    let mut sum = vec![0.0; hidden.size(1)];
    for (token, _) in mask.iter().enumerate().filter(|(_, mask)| **mask == 1) {
        for (sum, x) in sum.iter_mut().zip(hidden.slice(token).iter()) {
            *sum += x;
        }
    }
    let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
    sum.iter().map(|x| x / length).collect()
}

impl Encoder for Rten {
    fn encode(&mut self, texts: &[String]) -> Result<Vec<Vec<f32>>, Failure> {
        encode_in_batches(&self.tokenizer, texts, |batch| self.encode_batch(batch))
    }

    fn count_tokens(&self, texts: &[String]) -> Result<usize, Failure> {
        count_tokens(&self.tokenizer, texts)
    }
}
