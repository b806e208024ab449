//! The embeddings in training: the tables of words, positions and token types, their norm and
//! dropout, forward and backward.

use polyhead_compute::{Buffer, Cpu, Dropout, EmbeddingTables, WordTable};

use crate::encoder::{EncoderTensors, Sequences};
use crate::training::dropout::{DropoutSite, DropoutStream};
use crate::training::gradients::Gradients;
use crate::training::network::{Network, NetworkInput};
use crate::training::pass::Pass;

/// Activations of the embeddings that their backward reads.
#[derive(Default)]
pub(super) struct EmbeddingCache {
    /// `[N, D]`: the input of the norm.
    sum: Buffer,
    /// `[N, 2]`: mean and 1 / deviation of each row of the norm.
    stats: Buffer,
}

impl Network {
    /// The embedding tables, from the store.
    pub(super) fn embedding_tables(&self) -> EmbeddingTables<'_> {
        let EncoderTensors { word, position, token_type, .. } = self.entries;
        EmbeddingTables {
            width: self.config.hidden_size,
            word: WordTable::Flat(self.store.get(word)),
            position: self.store.get(position),
            token_type: token_type.map_or(&[], |entry| self.store.get(entry)),
        }
    }

    /// Weight and bias of the norm after the sum of the tables.
    pub(super) fn embedding_norm(&self) -> (&[f32], &[f32]) {
        let norm = &self.entries.norm;
        (self.store.get(norm.weight), self.store.get(norm.bias))
    }

    /// Computes hidden state 0 with dropout and stores what the backward reads.
    pub(super) fn embed_train(&self, cpu: Cpu, input: &NetworkInput, pass: &mut Pass) {
        let Sequences { ids, type_ids, offsets } = input.sequences;
        let size = ids.len() * self.config.hidden_size;
        let EmbeddingCache { sum, stats } = &mut pass.embeddings;
        sum.resize(size);
        stats.resize(2 * ids.len());
        let out = &mut pass.states[0];
        out.resize(size);
        cpu.embed(&self.embedding_tables(), ids, type_ids, offsets, sum);
        let (weight, bias) = self.embedding_norm();
        cpu.residual_layer_norm(
            sum,
            &Dropout::none(),
            &pass.tokens,
            None,
            weight,
            bias,
            self.config.layer_norm_eps,
            stats,
            out,
        );
        cpu.dropout(&self.embedding_dropout(pass.stream), &pass.tokens, out);
    }

    fn embedding_dropout(&self, stream: DropoutStream) -> Dropout {
        stream.dropout(self.config.hidden_dropout, 0, DropoutSite::Embeddings)
    }

    /// Adds the gradients of tables and norm.
    ///
    /// - `dhidden`: `[N, D]`, the gradient of hidden state 0; overwritten
    pub(super) fn embeddings_backward(
        &self,
        cpu: Cpu,
        input: &NetworkInput,
        pass: &mut Pass,
        dhidden: &mut Buffer,
        gradients: &mut Gradients,
    ) {
        let Sequences { ids, type_ids, offsets } = input.sequences;
        let EncoderTensors { word, position, token_type, norm, .. } = &self.entries;
        cpu.dropout(&self.embedding_dropout(pass.stream), &pass.tokens, dhidden);
        let mut dsum = Buffer::default();
        dsum.resize(dhidden.len());
        cpu.layer_norm_backward(
            &pass.embeddings.sum,
            &pass.embeddings.stats,
            self.embedding_norm().0,
            dhidden,
            &mut dsum,
            gradients.pair_mut(norm),
        );
        let add_to_table = |table: Option<&mut [f32]>, which: usize| {
            let mut tables = [None, None, None];
            tables[which] = table;
            let [word, position, token_type] = tables;
            cpu.embed_backward(ids, type_ids, offsets, &dsum, word, position, token_type);
        };
        add_to_table(gradients.table_mut(*word, ids, self.config.hidden_size), 0);
        add_to_table(gradients.span_mut(*position..position + 1), 1);
        if let Some(token_type) = token_type {
            add_to_table(gradients.span_mut(*token_type..token_type + 1), 2);
        }
    }
}
