//! Sentences in, vectors out: tokenizer, encoder, pooling and what follows.

mod matrix;
mod text_reader;
mod options;
mod plan;
mod group_pass;
mod pipeline;
mod search;

pub(crate) use group_pass::{ExtraState, Group, PassInput, Workspaces};
pub use matrix::Matrix;
pub use options::{EncodeOptions, LoadOptions, OnTruncate, Prompt, Vectors};
pub(crate) use pipeline::{CHUNK_TEXTS, stream_texts};
pub use search::{Hit, cosine, cosine_similarity, semantic_search};
pub use text_reader::TextReader;

use polyhead_compute::{Bytes, Cpu, Int8Isa, Isa, Threads, check_memory};
use polyhead_text::{TextInput, TextTokens, TokenBatch};

use crate::encoder::{Encoder, EncoderConfig, Precision};
use crate::error::{Error, ErrorKind, fail};
use crate::folder::{FileRecords, ModelFolder, REFERENCE_FILE};
use crate::hub::resolve;
use crate::modules::SentenceModules;
use crate::modules::{Module, PoolingSpec};
use group_pass::parts;

/// Memory beside the weights, in bytes: threads, the vocabulary and the workspace of a batch.
const WORKING_BYTES: u64 = 96 << 20;

/// Sentences to vectors, as `sentence-transformers` gives them.
///
/// The vector of a text has the same bits whatever else is encoded with it, in
/// any order, on any number of threads.
pub struct SentenceEncoder {
    reader: TextReader,
    pub(crate) encoder: Encoder,
    pub(crate) modules: SentenceModules,
    pub(crate) threads: Threads,
    pub(crate) workspaces: Workspaces,
    truncate_dim: Option<usize>,
    notices: Vec<String>,
    /// The files as they were when the folder was written, if it says so.
    pub(crate) records: Option<FileRecords>,
    /// The content of the [`REFERENCE_FILE`], if the folder has one.
    pub(crate) reference_vectors: Option<Bytes>,
}

/// Vectors of some texts, and what tokenization did to each.
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    /// `[texts, dimension]`
    pub embeddings: Matrix,
    /// Token counts before and after cutting, one per text. A text of which no token is kept has a
    /// vector of zeros.
    pub texts: Vec<TextTokens>,
}

/// Last hidden state of every token.
#[derive(Clone, Debug, Default)]
pub struct TokenVectors {
    /// `[N, D]`, texts end to end.
    pub vectors: Matrix,
    /// `[texts + 1]`: where each text begins in `vectors`.
    pub offsets: Vec<usize>,
    /// Token counts before and after cutting, one per text.
    pub texts: Vec<TextTokens>,
}

impl SentenceEncoder {
    /// Loads a folder, or a model of the hub by name (feature `hub`).
    ///
    /// # Errors
    /// If there is no such model, its files are damaged, or it needs something
    /// that Polyhead does not have. The message names the file and the reason.
    pub fn load(model: &str) -> Result<Self, Error> {
        Self::load_with(model, &LoadOptions::default())
    }

    /// [`load`](Self::load) with options.
    ///
    /// # Errors
    /// As [`load`](Self::load); also if an option does not fit the model.
    pub fn load_with(model: &str, options: &LoadOptions) -> Result<Self, Error> {
        Self::from_folder(ModelFolder::open(&resolve(model, options.offline)?)?, options)
    }

    /// The model that is compiled into the program: all-MiniLM-L6-v2.
    ///
    /// # Errors
    /// As [`load`](Self::load), though none is expected.
    #[cfg(feature = "builtin")]
    pub fn builtin() -> Result<Self, Error> {
        Self::builtin_with(&LoadOptions::default())
    }

    /// [`builtin`](Self::builtin) with options.
    ///
    /// # Errors
    /// If an option does not fit the model.
    #[cfg(feature = "builtin")]
    pub fn builtin_with(options: &LoadOptions) -> Result<Self, Error> {
        Self::from_folder(ModelFolder::builtin()?, options)
    }

    /// Makes a folder that has been read ready to run.
    ///
    /// # Errors
    /// If the tokenizer cannot be loaded, does not fit the encoder, or an option
    /// does not fit the model.
    pub fn from_folder(folder: ModelFolder, options: &LoadOptions) -> Result<Self, Error> {
        let threads = Threads::new(options.threads.unwrap_or_else(Threads::available))
            .map_err(Error::no_thread)?;
        let isa = Isa::detect();
        check_memory(folder.config.packed_bytes(options.precision).saturating_add(WORKING_BYTES))
            .map_err(|shortage| {
            Error::with_source(ErrorKind::Memory, shortage.to_string(), shortage)
        })?;
        let mut modules = folder.modules.clone();
        if let (Some(modes), Some(Module::Pooling(spec))) = (&options.pooling, modules.first_mut())
        {
            spec.modes.clone_from(modes);
        }
        let modules = SentenceModules::new(modules, folder.config.hidden_size, isa, &threads)?;
        // Reading a vocabulary takes as long as packing the weights.
        let (reader, encoder) = std::thread::scope(|scope| {
            let reader = std::thread::Builder::new()
                .spawn_scoped(scope, || TextReader::from_folder(&folder, options.max_length))
                .map_err(Error::no_thread)?;
            let (config, weights) = (folder.config.clone(), folder.weights.clone());
            let products = options.int8_products.as_deref();
            let encoder =
                Encoder::with_products(config, weights, isa, options.precision, products, &threads);
            let reader = reader.join().expect("the tokenizer's loader catches panics")?;
            Ok::<_, Error>((reader, encoder))
        })?;
        Ok(Self {
            reference_vectors: folder.file(REFERENCE_FILE)?,
            reader,
            encoder,
            modules,
            threads,
            workspaces: Workspaces::default(),
            truncate_dim: folder.truncate_dim,
            notices: folder.notices,
            records: folder.records,
        })
    }

    /// Vectors of `texts`, one row each.
    ///
    /// # Errors
    /// If a vector would hold a number that is not finite.
    pub fn encode(&self, texts: &[impl AsRef<str> + Sync]) -> Result<Matrix, Error> {
        Ok(self.encode_with(texts, &EncodeOptions::default())?.embeddings)
    }

    /// Vectors of `texts`, with options.
    ///
    /// # Errors
    /// As [`encode`](Self::encode); also if an option does not fit the model, or
    /// a text is too long and must not be cut. [`Error::text`] tells which text.
    pub fn encode_with(
        &self,
        texts: &[impl AsRef<str> + Sync],
        options: &EncodeOptions,
    ) -> Result<Encoded, Error> {
        let plan = self.resolve(options)?;
        if texts.len() <= CHUNK_TEXTS {
            return self.encode_batch(&self.threads, &self.tokenize_texts(&plan, texts)?, &plan);
        }
        let count = texts.len();
        let mut all = Encoded::default();
        let mut values = Vec::new();
        stream_texts(
            (0..count).step_by(CHUNK_TEXTS).map(Ok::<_, Error>),
            |start| self.tokens_of(&plan, &texts[*start..count.min(start + CHUNK_TEXTS)]),
            |batch| self.encode_batch(&self.threads, &batch, &plan),
            |_, part| {
                all.texts.extend(part.texts);
                values.extend(part.embeddings.into_vec());
                Ok(())
            },
        )?;
        all.embeddings = Matrix::new(count, values.len() / count, values);
        Ok(all)
    }

    /// Encodes any number of texts as a stream: while one chunk is encoded, the next is
    /// read and tokenized and the one before is written. Memory is that of a few chunks.
    ///
    /// - `chunks`: the input, read in a thread of its own
    /// - `sink`: receives each chunk with its vectors, in order, in another thread
    ///
    /// # Errors
    /// The first error of `chunks`, of encoding or of `sink`, which ends the stream.
    /// [`Error::text`] counts from the first text of the first chunk.
    pub fn encode_stream<T, C, E>(
        &self,
        chunks: impl Iterator<Item = Result<C, E>> + Send + 'static,
        options: &EncodeOptions,
        sink: impl FnMut(C, Encoded) -> Result<(), E> + Send,
    ) -> Result<(), E>
    where
        T: AsRef<str> + Sync,
        C: AsRef<[T]> + Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let plan = self.resolve(options)?;
        let encode = |batch| self.encode_batch(&self.threads, &batch, &plan);
        stream_texts(chunks, |chunk: &C| self.tokens_of(&plan, chunk.as_ref()), encode, sink)
    }

    /// [`encode_stream`](Self::encode_stream) of the last hidden states of all tokens:
    /// see [`encode_tokens`](Self::encode_tokens).
    ///
    /// # Errors
    /// As [`encode_stream`](Self::encode_stream).
    pub fn encode_tokens_stream<T, C, E>(
        &self,
        chunks: impl Iterator<Item = Result<C, E>> + Send + 'static,
        options: &EncodeOptions,
        sink: impl FnMut(C, TokenVectors) -> Result<(), E> + Send,
    ) -> Result<(), E>
    where
        T: AsRef<str> + Sync,
        C: AsRef<[T]> + Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let plan = self.resolve(options)?;
        let encode = |batch| self.token_vectors(batch);
        stream_texts(chunks, |chunk: &C| self.tokens_of(&plan, chunk.as_ref()), encode, sink)
    }

    /// Every token's last hidden state, before pooling. Of the options, those
    /// about vectors (`normalize`, `dim`) have no effect.
    ///
    /// # Errors
    /// As [`encode_with`](Self::encode_with).
    pub fn encode_tokens(
        &self,
        texts: &[impl AsRef<str> + Sync],
        options: &EncodeOptions,
    ) -> Result<TokenVectors, Error> {
        self.token_vectors(self.tokenize(texts, options)?)
    }

    fn token_vectors(&self, batch: TokenBatch) -> Result<TokenVectors, Error> {
        let width = self.encoder.config().hidden_size;
        let mut values = vec![0.0; batch.tokens() * width];
        self.workspaces.forward_groups(
            &self.encoder,
            &self.threads,
            PassInput { batch: &batch, inner: &[] },
            &mut |_| (),
            |groups| parts(&mut values, groups, |sequence| batch.offsets[sequence] * width),
            |_, group, out| out.copy_from_slice(group.hidden),
        );
        check_finite(&values, |at| {
            batch.offsets.partition_point(|offset| offset * width <= at) - 1
        })?;
        let vectors = Matrix::new(batch.tokens(), width, values);
        Ok(TokenVectors { vectors, offsets: batch.offsets, texts: batch.texts })
    }

    /// Tokens of `texts` as they are encoded: with the prompt, cut to
    /// [`max_length`](Self::max_length).
    ///
    /// # Errors
    /// As [`encode_with`](Self::encode_with).
    pub fn tokenize(
        &self,
        texts: &[impl AsRef<str> + Sync],
        options: &EncodeOptions,
    ) -> Result<TokenBatch, Error> {
        self.tokenize_texts(&self.resolve(options)?, texts)
    }

    /// Tokens at the beginning of each text that are the prompt's and that pooling leaves out.
    ///
    /// # Errors
    /// As [`encode_with`](Self::encode_with).
    pub fn prompt_tokens(&self, options: &EncodeOptions) -> Result<usize, Error> {
        Ok(self.resolve(options)?.prompt_tokens)
    }

    /// Numbers per vector, without [`EncodeOptions::dim`].
    pub fn dimension(&self) -> usize {
        self.truncate_dim.unwrap_or(self.modules.dimension())
    }

    /// Tokens after which a text is cut, special tokens included.
    pub fn max_length(&self) -> usize {
        self.reader.max_length()
    }

    /// Threads used for encoding, the calling one included.
    pub fn threads(&self) -> usize {
        self.threads.count()
    }

    /// The instruction set of the kernels.
    pub fn isa(&self) -> Isa {
        self.encoder.isa()
    }

    /// In what its products are computed.
    pub fn precision(&self) -> Precision {
        match self.int8_isa() {
            None => Precision::F32,
            Some(_) => Precision::Int8,
        }
    }

    /// The integer products that the encoder uses, where it runs in 8 bits.
    pub fn int8_isa(&self) -> Option<Int8Isa> {
        self.encoder.int8_isa()
    }

    /// Sizes and functions of the encoder.
    pub fn config(&self) -> &EncoderConfig {
        self.encoder.config()
    }

    /// How token vectors become one vector.
    pub fn pooling(&self) -> &PoolingSpec {
        self.modules.pooling()
    }

    /// How texts become tokens: prompt, case, tokenizer, maximum length.
    pub fn reader(&self) -> &TextReader {
        &self.reader
    }

    /// Remarks from loading that a user should see, one line each.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Settles `options` for this model.
    pub(crate) fn resolve(&self, options: &EncodeOptions) -> Result<EncodePlan, Error> {
        let prompt = self.reader.prompt(&options.prompt)?;
        let prompt_tokens = if self.modules.pooling().include_prompt {
            0
        } else {
            self.reader.prompt_tokens(&prompt)?
        };
        let whole = self.modules.dimension();
        let dim = options.dim.or(self.truncate_dim).unwrap_or(whole);
        if !(1..=whole).contains(&dim) {
            fail!(Option, "dimension: expected 1 to {whole}, found {dim}");
        }
        Ok(EncodePlan {
            prompt,
            prompt_tokens,
            dim,
            normalize_modules: options.normalize != Some(false),
            normalize_last: options.normalize == Some(true),
            on_truncate: options.on_truncate,
        })
    }

    /// The number of `texts`, and their tokens.
    fn tokens_of(
        &self,
        plan: &EncodePlan,
        texts: &[impl AsRef<str> + Sync],
    ) -> Result<(usize, TokenBatch), Error> {
        Ok((texts.len(), self.tokenize_texts(plan, texts)?))
    }

    fn tokenize_texts(
        &self,
        plan: &EncodePlan,
        texts: &[impl AsRef<str> + Sync],
    ) -> Result<TokenBatch, Error> {
        let inputs: Vec<_> = texts.iter().map(|text| TextInput::One(text.as_ref())).collect();
        self.tokenize_inputs(plan, &inputs)
    }

    pub(crate) fn tokenize_inputs(
        &self,
        plan: &EncodePlan,
        inputs: &[TextInput<impl AsRef<str> + Sync>],
    ) -> Result<TokenBatch, Error> {
        self.reader.tokenize(&self.threads, inputs, &plan.prompt, plan.on_truncate)
    }

    pub(crate) fn encode_batch(
        &self,
        threads: &Threads,
        batch: &TokenBatch,
        plan: &EncodePlan,
    ) -> Result<Encoded, Error> {
        let mut values = vec![0.0; batch.len() * plan.dim];
        self.workspaces.forward_groups(
            &self.encoder,
            threads,
            PassInput { batch, inner: &[] },
            &mut |_| (),
            |groups| parts(&mut values, groups, |sequence| sequence * plan.dim),
            |cpu, group, out| {
                let sequences: Vec<_> = group
                    .offsets
                    .windows(2)
                    .map(|ends| (ends[0]..ends[1], plan.prompt_tokens))
                    .collect();
                let normalize = plan.normalize_modules;
                let vectors = self.modules.forward(cpu, group.hidden, &sequences, normalize);
                self.cut(cpu, plan, &vectors, out);
            },
        );
        check_finite(&values, |at| at / plan.dim)?;
        Ok(Encoded {
            embeddings: Matrix::new(batch.len(), plan.dim, values),
            texts: batch.texts.clone(),
        })
    }

    /// Keeps what a caller gets of each vector.
    ///
    /// - `vectors`: `[b, dimension of the modules]`, `out`: `[b, plan.dim]`
    pub(crate) fn cut(&self, cpu: Cpu, plan: &EncodePlan, vectors: &[f32], out: &mut [f32]) {
        let whole = self.modules.dimension();
        for (vector, out) in vectors.chunks_exact(whole).zip(out.chunks_exact_mut(plan.dim)) {
            out.copy_from_slice(&vector[..plan.dim]);
        }
        if plan.normalize_last {
            cpu.normalize(out, plan.dim);
        }
    }
}

/// [`EncodeOptions`] settled for a model.
pub(crate) struct EncodePlan {
    pub(crate) prompt: String,
    /// Tokens at the beginning of each sequence that pooling leaves out.
    pub(crate) prompt_tokens: usize,
    /// Numbers of each vector that are kept.
    pub(crate) dim: usize,
    pub(crate) normalize_modules: bool,
    normalize_last: bool,
    pub(crate) on_truncate: OnTruncate,
}

/// - `text_of`: which text the number at an index belongs to
fn check_finite(values: &[f32], text_of: impl Fn(usize) -> usize) -> Result<(), Error> {
    match values.iter().position(|x| !x.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let message =
                format!("the vector holds {}: the weights of this model are damaged", values[at]);
            Err(Error::new(ErrorKind::NotFinite, message).of_text(text_of(at)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn can_be_shared_between_threads() {
        fn check<T: Send + Sync>() {}
        check::<SentenceEncoder>();
    }
}
