//! The transformer: token ids to token vectors.
//!
//! One encoder for the BERT family: what differs between its members is in
//! [`EncoderConfig`] and in the reader of checkpoints. Post-norm layers of
//! Devlin et al. (2019), section 3, as `transformers` computes them.

use polyhead_compute::{
    Activation, AttentionShape, Buffer, EmbeddingTables, Epilogue, Isa, PackedMatrix, StoredTensor,
    Team, Threads, WordTable, attention, embed, layer_norm, linear,
};

use crate::config::EncoderConfig;
use crate::weights::{EncoderWeights, LayerWeights, Linear, Norm};

/// An encoder with its weights in the form that the kernels read.
pub struct Encoder {
    isa: Isa,
    config: EncoderConfig,
    tables: Tables,
    embedding_norm: Norm,
    layers: Vec<Layer>,
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

/// A linear layer, packed.
pub(crate) struct PackedLinear {
    matrix: PackedMatrix,
    bias: Option<Vec<f32>>,
}

struct Layer {
    /// Query, key and value stacked: one product.
    query_key_value: PackedLinear,
    attention_output: PackedLinear,
    attention_norm: Norm,
    intermediate: PackedLinear,
    output: PackedLinear,
    output_norm: Norm,
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

/// Activations of one forward pass: made once, grown to the largest batch, reused.
#[derive(Default)]
pub struct Workspace {
    /// `[N, D]`
    hidden: Buffer,
    /// `[N, 3·D]`
    query_key_value: Buffer,
    /// `[N, D]`: what attention gives, before its output layer.
    context: Buffer,
    /// `[N, D]`: after attention and its norm.
    attended: Buffer,
    /// `[N, F]`
    intermediate: Buffer,
}

impl Encoder {
    /// Packs `weights` for this processor.
    pub fn new(
        config: EncoderConfig,
        weights: EncoderWeights,
        isa: Isa,
        threads: &Threads,
    ) -> Self {
        threads.team(|team| Self {
            isa,
            tables: Tables {
                position: weights.position.to_vec(),
                token_type: weights.token_type.map(|t| t.to_vec()).unwrap_or_default(),
                word: weights.word,
            },
            embedding_norm: weights.embedding_norm,
            layers: weights.layers.into_iter().map(|layer| Layer::new(layer, isa, team)).collect(),
            config,
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

    /// The last hidden state, `[N, D]`, in `workspace`.
    ///
    /// # Panics
    /// If an id lies outside the vocabulary or a sequence is longer than the
    /// position table: callers check both.
    pub fn forward<'w>(
        &self,
        team: &Team,
        input: Sequences,
        workspace: &'w mut Workspace,
    ) -> &'w [f32] {
        self.forward_observed(team, input, workspace, &mut |_, _| ())
    }

    /// [`forward`](Self::forward) that shows every hidden state `[N, D]` on the
    /// way: 0 is the sum of embeddings after its norm, `i` the output of layer `i`.
    pub fn forward_observed<'w>(
        &self,
        team: &Team,
        input: Sequences,
        workspace: &'w mut Workspace,
        observe: &mut dyn FnMut(usize, &[f32]),
    ) -> &'w [f32] {
        workspace.resize(&self.config, input.ids.len());
        let Workspace { hidden, .. } = workspace;
        embed(team, &self.tables.view(), input.ids, input.type_ids, input.offsets, hidden);
        self.norm(team, hidden, &self.embedding_norm);
        observe(0, hidden);
        for (i, layer) in self.layers.iter().enumerate() {
            self.layer(team, layer, input.offsets, workspace);
            observe(i + 1, &workspace.hidden);
        }
        &workspace.hidden
    }

    /// `hidden` becomes the output of `layer`.
    fn layer(&self, team: &Team, layer: &Layer, offsets: &[usize], workspace: &mut Workspace) {
        let Workspace { hidden, query_key_value, context, attended, intermediate } = workspace;
        let shape = AttentionShape {
            heads: self.config.heads,
            head_size: self.config.hidden_size / self.config.heads,
        };
        layer.query_key_value.forward(team, hidden, Activation::Identity, None, query_key_value);
        attention(team, self.isa, shape, query_key_value, offsets, context);
        layer.attention_output.forward(team, context, Activation::Identity, Some(hidden), attended);
        self.norm(team, attended, &layer.attention_norm);
        layer.intermediate.forward(team, attended, self.config.activation, None, intermediate);
        layer.output.forward(team, intermediate, Activation::Identity, Some(attended), hidden);
        self.norm(team, hidden, &layer.output_norm);
    }

    fn norm(&self, team: &Team, rows: &mut [f32], norm: &Norm) {
        layer_norm(team, self.isa, rows, &norm.weight, &norm.bias, self.config.layer_norm_eps);
    }
}

impl Layer {
    fn new(weights: LayerWeights, isa: Isa, team: &Team) -> Self {
        let LayerWeights { query, key, value, .. } = weights;
        Self {
            query_key_value: PackedLinear::stacked(&[query, key, value], isa, team),
            attention_output: PackedLinear::stacked(&[weights.attention_output], isa, team),
            attention_norm: weights.attention_norm,
            intermediate: PackedLinear::stacked(&[weights.intermediate], isa, team),
            output: PackedLinear::stacked(&[weights.output], isa, team),
            output_norm: weights.output_norm,
        }
    }
}

impl PackedLinear {
    /// Packs layers with the same input on top of each other.
    pub(crate) fn stacked(layers: &[Linear], isa: Isa, team: &Team) -> Self {
        let weights: Vec<_> = layers.iter().map(|layer| &layer.weight).collect();
        let bias = layers.iter().any(|layer| layer.bias.is_some()).then(|| {
            let zeros = |layer: &Linear| vec![0.0; layer.weight.rows()];
            layers
                .iter()
                .flat_map(|layer| layer.bias.clone().unwrap_or_else(|| zeros(layer)))
                .collect()
        });
        Self { matrix: PackedMatrix::pack(isa, &weights, team), bias }
    }

    /// Numbers of an output row.
    pub(crate) fn outputs(&self) -> usize {
        self.matrix.outputs()
    }

    /// `out = f(x Wᵀ + b) (+ residual)`
    ///
    /// - `x`: `[rows, in]`; `residual`, `out`: `[rows, out]`
    pub(crate) fn forward(
        &self,
        team: &Team,
        x: &[f32],
        activation: Activation,
        residual: Option<&[f32]>,
        out: &mut [f32],
    ) {
        let epilogue = Epilogue { bias: self.bias.as_deref(), activation, residual };
        linear(team, x, &self.matrix, epilogue, out);
    }
}

impl Workspace {
    fn resize(&mut self, config: &EncoderConfig, tokens: usize) {
        self.hidden.resize(tokens * config.hidden_size);
        self.query_key_value.resize(tokens * 3 * config.hidden_size);
        self.context.resize(tokens * config.hidden_size);
        self.attended.resize(tokens * config.hidden_size);
        self.intermediate.resize(tokens * config.intermediate_size);
    }
}
