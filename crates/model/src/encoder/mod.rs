//! The transformer: token ids to token vectors.
//!
//! One encoder for the BERT family: what differs between its members is in
//! [`EncoderConfig`] and in the reader of checkpoints. Post-norm layers of
//! Devlin et al. (2019), section 3, as `transformers` computes them.

mod config;
mod parameter;
mod weights;
mod linear;
mod layer;
mod layer_int8;

pub use config::{Architecture, EncoderConfig};
pub(crate) use layer::Layer;
pub use layer::Workspace;
pub(crate) use layer_int8::even_columns;
pub(crate) use linear::PackedLinear;
pub use parameter::{Parameter, ParameterGroup};
pub use weights::{EncoderWeights, LayerWeights, Linear, Norm};

use polyhead_compute::{
    Cpu, EmbeddingTables, Int8Isa, Isa, StoredTensor, StoredType, Threads, WordTable,
};

use crate::measure::Product;
use crate::sentence::Precision;
use layer_int8::{Int8Choice, Int8Layer};

/// An encoder with its weights in the form that the kernels read.
pub struct Encoder {
    isa: Isa,
    config: EncoderConfig,
    tables: Tables,
    embedding_norm: Norm,
    layers: Layers,
}

/// The layers, from the input upwards.
enum Layers {
    F32(Vec<Layer>),
    Int8(Vec<Int8Layer>),
}

/// The embedding tables.
struct Tables {
    word: StoredTensor,
    position: Vec<f32>,
    /// Empty where the encoder has no token types.
    token_type: Vec<f32>,
}

impl Tables {
    fn view(&self) -> EmbeddingTables<'_> {
        EmbeddingTables {
            width: self.word.columns(),
            word: WordTable::Stored(&self.word),
            position: &self.position,
            token_type: &self.token_type,
        }
    }
}

/// Sequences end to end, as [`Encoder::forward`] reads them.
#[derive(Clone, Copy)]
pub struct Sequences<'a> {
    /// `[N]`
    pub ids: &'a [u32],
    /// `[N]`
    pub type_ids: &'a [u32],
    /// `[B + 1]`, from 0 to `N`.
    pub offsets: &'a [usize],
}

impl Encoder {
    /// Packs `weights` for this processor.
    pub fn new(
        config: EncoderConfig,
        weights: EncoderWeights,
        isa: Isa,
        precision: Precision,
        threads: &Threads,
    ) -> Self {
        Self::with_products(config, weights, isa, precision, None, threads)
    }

    /// [`new`](Self::new), with a choice of the products that 8 bits are for.
    pub(crate) fn with_products(
        config: EncoderConfig,
        weights: EncoderWeights,
        isa: Isa,
        precision: Precision,
        products: Option<&[Product]>,
        threads: &Threads,
    ) -> Self {
        threads.cpu(isa, |cpu| {
            let EncoderWeights { word, position, token_type, embedding_norm, layers } = weights;
            let stored = word.stored_type() == StoredType::I8;
            Self {
                isa,
                tables: Tables {
                    position: position.to_vec(),
                    token_type: token_type.map(|t| t.to_vec()).unwrap_or_default(),
                    word,
                },
                layers: Layers::new(layers, stored, &embedding_norm, precision, products, cpu),
                embedding_norm,
                config,
            }
        })
    }

    /// Sizes and functions.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The instruction set that its kernels use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The integer products, where it uses any.
    pub fn int8_isa(&self) -> Option<Int8Isa> {
        match &self.layers {
            Layers::F32(_) => None,
            Layers::Int8(_) => Some(Int8Isa::detect()),
        }
    }

    /// The last hidden state, `[N, D]`, in `workspace`.
    ///
    /// # Panics
    /// If an id lies outside the vocabulary or a sequence is longer than the
    /// position table: callers check both.
    pub fn forward<'w>(
        &self,
        cpu: Cpu,
        input: Sequences,
        workspace: &'w mut Workspace,
    ) -> &'w [f32] {
        self.forward_observed(cpu, input, workspace, &mut |_, _| ())
    }

    /// [`forward`](Self::forward) that shows every hidden state `[N, D]` on the
    /// way: 0 is the sum of embeddings after its norm, `i` the output of layer `i`.
    pub fn forward_observed<'w>(
        &self,
        cpu: Cpu,
        input: Sequences,
        workspace: &'w mut Workspace,
        observe: &mut dyn FnMut(usize, &[f32]),
    ) -> &'w [f32] {
        workspace.resize(&self.config, input.ids.len());
        let Workspace { hidden, .. } = workspace;
        cpu.embed(&self.tables.view(), input.ids, input.type_ids, input.offsets, hidden);
        let (norm, eps) = (&self.embedding_norm, self.config.layer_norm_eps);
        match &self.layers {
            Layers::F32(layers) => {
                cpu.layer_norm(hidden, &norm.weight, &norm.bias, eps);
                observe(0, hidden);
                for (i, layer) in layers.iter().enumerate() {
                    layer.forward(cpu, &self.config, input.offsets, workspace);
                    observe(i + 1, &workspace.hidden);
                }
            }
            Layers::Int8(layers) => {
                let factors = |i: usize| layers.get(i).and_then(Int8Layer::factors);
                let bytes = workspace.int8.normed();
                layer_int8::norm(cpu, hidden, norm, eps, factors(0), bytes);
                observe(0, hidden);
                for (i, layer) in layers.iter().enumerate() {
                    let (config, next) = (&self.config, factors(i + 1));
                    layer.forward(cpu, config, input.offsets, next, workspace);
                    observe(i + 1, &workspace.hidden);
                }
            }
        }
        &workspace.hidden
    }
}

impl Layers {
    /// - `stored`: whether the weights come from an 8-bit folder
    fn new(
        weights: Vec<LayerWeights>,
        stored: bool,
        embedding_norm: &Norm,
        precision: Precision,
        products: Option<&[Product]>,
        cpu: Cpu,
    ) -> Self {
        if precision == Precision::F32 {
            let pack = |layer| Layer::new(layer, cpu);
            return Self::F32(weights.into_iter().map(pack).collect());
        }
        let choice = match products {
            Some(products) => Int8Choice::Only(products),
            None if stored => Int8Choice::Stored,
            None => Int8Choice::All,
        };
        let mut before = embedding_norm.clone();
        let pack = |(i, layer): (usize, LayerWeights)| {
            let next = layer.output_norm.clone();
            let layer = Int8Layer::new(layer, i, &before, &choice, cpu);
            before = next;
            layer
        };
        Self::Int8(weights.into_iter().enumerate().map(pack).collect())
    }
}
