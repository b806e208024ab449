//! A BERT of candle as a worker of `bench/peers`.
//!
//!     RAYON_NUM_THREADS=N candle-worker --model DIR
//!
//! Batches are those of sentence-transformers, pooling is the mean, and vectors have unit length.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use protocol::{BATCH, Encoder, Failure, longest_first, serve};
use tokenizers::{PaddingParams, Tokenizer, TruncationParams};

#[path = "../../protocol.rs"]
mod protocol;

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
        let mut tokenizer = Tokenizer::from_file(folder.join("tokenizer.json"))?;
        let truncation = TruncationParams { max_length: max_length(folder)?, ..Default::default() };
        tokenizer.with_truncation(Some(truncation))?.with_padding(Some(PaddingParams::default()));
        Ok(Self { tokenizer, model })
    }

    /// The vectors of one batch, padded to its longest text.
    fn encode_batch(&self, texts: Vec<&str>) -> Result<Vec<Vec<f32>>, Failure> {
        let encodings = self.tokenizer.encode_batch(texts, true)?;
        let shape = (encodings.len(), encodings[0].len());
        let numbers = |of: fn(&tokenizers::Encoding) -> &[u32]| {
            let all: Vec<u32> = encodings.iter().flat_map(|one| of(one).iter().copied()).collect();
            Tensor::from_vec(all, shape, &Device::Cpu)
        };
        let ids = numbers(tokenizers::Encoding::get_ids)?;
        let mask = numbers(tokenizers::Encoding::get_attention_mask)?;
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
        let mut vectors = vec![Vec::new(); texts.len()];
        for places in longest_first(texts).chunks(BATCH) {
            let batch = places.iter().map(|&at| texts[at].as_str()).collect();
            for (&at, vector) in places.iter().zip(self.encode_batch(batch)?) {
                vectors[at] = vector;
            }
        }
        Ok(vectors)
    }

    fn count_tokens(&self, texts: &[String]) -> Result<usize, Failure> {
        let texts = texts.iter().map(String::as_str).collect();
        let encodings = self.tokenizer.encode_batch(texts, true)?;
        Ok(encodings.iter().flat_map(|one| one.get_attention_mask()).sum::<u32>() as usize)
    }
}

/// Where sentence-transformers cuts texts of this model.
fn max_length(model: &Path) -> Result<usize, Failure> {
    let file = std::fs::read(model.join("sentence_bert_config.json"))?;
    let config: serde_json::Value = serde_json::from_slice(&file)?;
    Ok(config["max_seq_length"].as_u64().ok_or("sentence_bert_config.json: no max_seq_length")?
        as usize)
}
