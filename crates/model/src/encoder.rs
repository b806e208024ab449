//! The transformer: token ids to token vectors.
//!
//! One encoder for the BERT family: what differs between its members is in
//! [`EncoderConfig`] and in the reader of checkpoints. Post-norm layers of
//! Devlin et al. (2019), section 3, as `transformers` computes them.

use polyhead_compute::{
    EmbeddingTables, Isa, StoredTensor, Team, Threads, WordTable, embed, layer_norm,
};

use crate::config::EncoderConfig;
use crate::layer::{Layer, Workspace};
use crate::weights::{EncoderWeights, Norm};

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
            layer.forward(team, self.isa, &self.config, input.offsets, workspace);
            observe(i + 1, &workspace.hidden);
        }
        &workspace.hidden
    }

    fn norm(&self, team: &Team, rows: &mut [f32], norm: &Norm) {
        layer_norm(team, self.isa, rows, &norm.weight, &norm.bias, self.config.layer_norm_eps);
    }
}
