//! The transformer encoder: from token ids to token vectors.
//!
//! There is one encoder for every [`Family`] of checkpoints. Its layers are those of Devlin et al.
//! (2019), section 3, with norms after or before the blocks, as `transformers` computes them.

mod families;
mod config;
pub(crate) mod distance_bias;
mod parameter;
mod weights;
mod product;
mod tensors;
mod linear;
mod int8_linear;
mod mixed_linear;
mod workspace;
mod positions;
mod layer;

pub use config::{Biases, EncoderConfig};
pub use families::Family;
pub(crate) use families::{Key, RotaryKeys, TensorNames};
pub(crate) use int8_linear::{Int8Linear, even_columns};
pub(crate) use layer::{Layer, LayerLinear};
pub(crate) use linear::PackedLinear;
pub use parameter::{Parameter, ParameterGroup};
pub(crate) use positions::LayerPositions;
pub use positions::Rotary;
pub use product::{Precision, Product, ProductRole};
pub(crate) use tensors::{
    EncoderTensors, LayerTensors, Pair, TensorKind, TensorSpec, pooler_specs,
};
pub use weights::{EncoderWeights, LayerWeights, Linear, Norm};
pub use workspace::Workspace;

use polyhead_compute::{
    Activation, Cpu, EmbeddingTables, Int8Isa, Isa, StoredTensor, StoredType, Threads, WordTable,
};

use mixed_linear::MixedLinear;

/// An encoder with packed weights, the form that the kernels read.
pub struct Encoder {
    isa: Isa,
    config: EncoderConfig,
    tables: Tables,
    embedding_norm: Norm,
    /// The layer from narrow tables to hidden states.
    projection: Option<PackedLinear>,
    /// `[H, 2·L − 1]`: the bias of attention by distance, for sequences of at most `L` tokens.
    distance_bias: Option<Vec<f32>>,
    /// The layers from the input upwards.
    layers: Vec<Layer<MixedLinear>>,
}

/// The embedding tables.
struct Tables {
    word: StoredTensor,
    /// The position table; empty if the encoder has none.
    position: Vec<f32>,
    /// The row of a sequence's first token in the position table.
    first_position: usize,
    /// The token type table; empty if the encoder has none.
    token_type: Vec<f32>,
}

impl Tables {
    fn view(&self) -> EmbeddingTables<'_> {
        EmbeddingTables {
            width: self.word.columns(),
            word: WordTable::Stored(&self.word),
            position: &self.position,
            first_position: self.first_position,
            token_type: &self.token_type,
        }
    }
}

/// A batch of token sequences, one after the other, as [`Encoder::forward`] reads them.
#[derive(Clone, Copy)]
pub struct Sequences<'a> {
    /// `[N]`: the token ids of all sequences.
    pub ids: &'a [u32],
    /// `[N]`: the token types of all sequences.
    pub type_ids: &'a [u32],
    /// `[B + 1]`: the first token of each sequence; the last entry is `N`.
    pub offsets: &'a [usize],
}

impl Encoder {
    /// Builds an encoder: packs `weights` for this processor.
    pub fn new(
        config: EncoderConfig,
        weights: EncoderWeights,
        isa: Isa,
        precision: Precision,
        threads: &Threads,
    ) -> Self {
        Self::with_products(config, weights, isa, precision, None, threads)
    }

    /// [`new`](Self::new) with a choice of the products that are computed in 8 bits.
    pub(crate) fn with_products(
        config: EncoderConfig,
        weights: EncoderWeights,
        isa: Isa,
        precision: Precision,
        products: Option<&[Product]>,
        threads: &Threads,
    ) -> Self {
        let EncoderWeights { word, position, token_type, embedding_norm, .. } = weights;
        // Of a folder in 8 bits the products that are stored so; of others all, quantized here.
        let all = word.stored_type() != StoredType::I8;
        let in_int8 = |product, stored| match (precision, products) {
            (Precision::F32, _) => false,
            (Precision::Int8, Some(products)) => products.contains(&product),
            (Precision::Int8, None) => stored || all,
        };
        // The norm whose output a layer reads, unless it has one of its own.
        let mut before = weights.projection.is_none().then(|| embedding_norm.clone());
        let (projection, layers) = threads.cpu(isa, |cpu| {
            let mut positions = config.layer_positions();
            let pack_layer = |(i, layer): (usize, LayerWeights)| {
                let next = layer.output_norm.clone();
                let positions = std::mem::take(&mut positions[i]);
                let layer = Layer::new(layer, i, positions, before.as_ref(), &in_int8, cpu);
                before = next;
                layer
            };
            let projection = weights.projection.map(|layer| PackedLinear::stacked(&[layer], cpu));
            (projection, weights.layers.into_iter().enumerate().map(pack_layer).collect())
        });
        let longest = config.longest_sequence();
        let distance_bias =
            weights.distance_bias.map(|table| distance_bias::by_distance(&table, longest));
        Self {
            isa,
            tables: Tables {
                position: position.map(|table| table.to_vec()).unwrap_or_default(),
                first_position: config.first_position,
                token_type: token_type.map(|t| t.to_vec()).unwrap_or_default(),
                word,
            },
            config,
            embedding_norm,
            projection,
            distance_bias,
            layers,
        }
    }

    /// The sizes and functions of the encoder.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The instruction set that its kernels use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The instruction set of the products in 8 bits; `None` if all are in single precision.
    pub fn int8_isa(&self) -> Option<Int8Isa> {
        self.layers.iter().any(Layer::has_int8).then(Int8Isa::detect)
    }

    /// Computes the last hidden state, `[N, D]`, in `workspace`.
    ///
    /// # Panics
    /// If an id lies outside the vocabulary or a sequence is longer than the
    /// position table. Callers check both.
    pub fn forward<'w>(
        &self,
        cpu: Cpu,
        input: Sequences,
        workspace: &'w mut Workspace,
    ) -> &'w [f32] {
        self.forward_observed(cpu, input, workspace, &mut |_, _| ())
    }

    /// The same as [`forward`](Self::forward), and passes every hidden state, `[N, D]`, to
    /// `observe`: state 0 is the sum of the token embeddings after its norm, state `i` the output
    /// of layer `i`.
    pub fn forward_observed<'w>(
        &self,
        cpu: Cpu,
        input: Sequences,
        workspace: &'w mut Workspace,
        observe: &mut dyn FnMut(usize, &[f32]),
    ) -> &'w [f32] {
        workspace.resize(&self.config, input.ids.len());
        let Workspace { embedded, hidden, normed_bytes, .. } = workspace;
        let factors_of = |i: usize| self.layers.get(i).and_then(|l| l.query_key_value.factors());
        let sum = if self.projection.is_some() { &mut *embedded } else { &mut *hidden };
        cpu.embed(&self.tables.view(), input.ids, input.type_ids, input.offsets, sum);
        let factors = factors_of(0).filter(|_| self.projection.is_none());
        let eps = self.config.layer_norm_eps;
        layer::norm(cpu, sum, &self.embedding_norm, eps, factors, normed_bytes);
        if let Some(projection) = &self.projection {
            projection.forward(cpu, embedded, Activation::Identity, None, hidden);
            if factors_of(0).is_some() {
                cpu.quantize_rows(hidden, self.config.hidden_size, normed_bytes);
            }
        }
        observe(0, hidden);
        for (i, layer) in self.layers.iter().enumerate() {
            let next = factors_of(i + 1);
            let attention = self.config.attention(self.distance_bias.as_deref());
            layer.forward(cpu, &self.config, attention, input.offsets, next, workspace);
            observe(i + 1, &workspace.hidden);
        }
        &workspace.hidden
    }
}
