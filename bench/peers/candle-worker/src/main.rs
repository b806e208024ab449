//! A BERT of candle as a worker of `bench/peers`.
//!
//!     RAYON_NUM_THREADS=N candle-worker --model DIR
//!
//! Batches are those of sentence-transformers, pooling is the mean, and vectors have unit length.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use protocol::{Encoder, Failure, serve};
use tokenizers::{Encoding, Tokenizer};
use tokens::{count_tokens, encode_in_batches, load_tokenizer, numbers};

#[path = "../../protocol.rs"]
mod protocol;
#[path = "../../tokens.rs"]
mod tokens;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [_, folder] = &arguments[..] else { return Err("usage: candle-worker --model DIR".into()) };
    serve(&mut CandleBert::load(Path::new(folder))?)
}

struct CandleBert {
    tokenizer: Tokenizer,
    model: BertModel,
}

impl CandleBert {
    fn load(folder: &Path) -> Result<Self, Failure> {
        let config: Config = serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?;
        let tensors =
            candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu)?;
        let model =
            BertModel::load(VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu), &config)?;
        Ok(Self { tokenizer: load_tokenizer(folder)?, model })
    }

    /// The vectors of one batch, padded to its longest text.
    fn encode_batch(&self, encodings: &[Encoding]) -> Result<Vec<Vec<f32>>, Failure> {
        let shape = (encodings.len(), encodings[0].len());
        let tensor = |of| Tensor::from_vec(numbers(encodings, of).collect(), shape, &Device::Cpu);
        let ids = tensor(Encoding::get_ids)?;
        let mask = tensor(Encoding::get_attention_mask)?;
        let hidden = self.model.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
        let mask = mask.to_dtype(DType::F32)?;
        // Sum of the real tokens' vectors as a product with the mask: [B, 1, T] × [B, T, D].
        let sum = mask.unsqueeze(1)?.matmul(&hidden)?.squeeze(1)?;
        let mean = sum.broadcast_div(&mask.sum_keepdim(1)?)?;
        let length = mean.sqr()?.sum_keepdim(1)?.sqrt()?;
        Ok(mean.broadcast_div(&length)?.to_vec2()?)
    }
}

impl Encoder for CandleBert {
    fn encode(&mut self, texts: &[String]) -> Result<Vec<Vec<f32>>, Failure> {
        encode_in_batches(&self.tokenizer, texts, |batch| self.encode_batch(batch))
    }

    fn count_tokens(&self, texts: &[String]) -> Result<usize, Failure> {
        count_tokens(&self.tokenizer, texts)
    }
}
