//! The embeddings in training: the tables of words, positions and token types, their norm, dropout
//! and projection, forward and backward.

use polyhead_compute::{Activation, Buffer, Cpu, Dropout, EmbeddingTables, WordTable};

use crate::encoder::{EncoderTensors, Norm, Pair, Sequences, Workspace};
use crate::training::dropout::{DropoutSite, DropoutStream};
use crate::training::gradients::Gradients;
use crate::training::network::{Network, NetworkInput};
use crate::training::pass::Pass;

/// Activations of the embeddings that their backward reads.
#[derive(Default)]
pub(super) struct EmbeddingCache {
    /// `[N, E]`: the input of the norm.
    sum: Buffer,
    /// `[N, 2]`: mean and 1 / deviation of each row of the norm.
    stats: Buffer,
    /// `[N, E]`: the input of the projection, if there is one.
    normed: Buffer,
}

impl Network {
    /// The embedding tables, from the store.
    fn embedding_tables(&self) -> EmbeddingTables<'_> {
        let EncoderTensors { word, position, token_type, .. } = self.entries;
        let position = position.map_or(&[][..], |entry| self.store.get(entry));
        EmbeddingTables {
            width: self.config.embedding_size,
            word: WordTable::Flat(self.store.get(word)),
            position,
            first_position: self.config.first_position,
            token_type: token_type.map_or(&[], |entry| self.store.get(entry)),
        }
    }

    /// The norm after the sum of the tables.
    fn embedding_norm(&self) -> Norm {
        let Pair { weight, bias } = self.entries.norm;
        let weight = self.store.get(weight).to_vec();
        let zeros = || vec![0.0; weight.len()];
        let bias = bias.map_or_else(zeros, |entry| self.store.get(entry).to_vec());
        Norm { weight, bias }
    }

    /// Computes hidden state 0 in `workspace`, as in answering.
    pub(super) fn embed(&self, cpu: Cpu, input: Sequences, workspace: &mut Workspace) {
        let Workspace { embedded, hidden, .. } = workspace;
        let sum = if self.projection.is_some() { &mut *embedded } else { &mut *hidden };
        cpu.embed(&self.embedding_tables(), input.ids, input.type_ids, input.offsets, sum);
        let Norm { weight, bias } = self.embedding_norm();
        cpu.layer_norm(sum, &weight, &bias, self.config.layer_norm_eps);
        if let Some(projection) = &self.projection {
            projection.packed.forward(cpu, embedded, Activation::Identity, None, hidden);
        }
    }

    /// Computes hidden state 0 with dropout and stores what the backward reads.
    pub(super) fn embed_train(&self, cpu: Cpu, input: &NetworkInput, pass: &mut Pass) {
        let Sequences { ids, type_ids, offsets } = input.sequences;
        let Pass { embeddings, states, tokens, stream, .. } = pass;
        let EmbeddingCache { sum, stats, normed } = embeddings;
        sum.resize(ids.len() * self.config.embedding_size);
        stats.resize(2 * ids.len());
        states[0].resize(ids.len() * self.config.hidden_size);
        let out = if self.projection.is_some() { normed } else { &mut states[0] };
        out.resize(sum.len());
        cpu.embed(&self.embedding_tables(), ids, type_ids, offsets, sum);
        let Norm { weight, bias } = self.embedding_norm();
        cpu.residual_layer_norm(
            sum,
            &Dropout::none(),
            tokens,
            None,
            &weight,
            &bias,
            self.config.layer_norm_eps,
            stats,
            out,
        );
        cpu.dropout(&self.embedding_dropout(*stream), tokens, out);
        if let Some(projection) = &self.projection {
            let normed = &embeddings.normed;
            projection.packed.forward(cpu, normed, Activation::Identity, None, &mut states[0]);
        }
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
        let width = self.config.embedding_size;
        if let Some(projection) = &self.projection {
            projection.parameter_gradients(cpu, dhidden, &pass.embeddings.normed, gradients);
            let mut dnormed = Buffer::default();
            dnormed.resize(ids.len() * width);
            projection.input_gradient(cpu, dhidden, None, &mut dnormed);
            *dhidden = dnormed;
        }
        cpu.dropout(&self.embedding_dropout(pass.stream), &pass.tokens, dhidden);
        let mut dsum = Buffer::default();
        dsum.resize(dhidden.len());
        cpu.layer_norm_backward(
            &pass.embeddings.sum,
            &pass.embeddings.stats,
            &self.embedding_norm().weight,
            dhidden,
            &mut dsum,
            gradients.norm_mut(norm),
        );
        let add_to_table = |table: Option<&mut [f32]>, which: usize| {
            let mut tables = [None, None, None];
            tables[which] = table;
            let [word, position, token_type] = tables;
            let first = self.config.first_position;
            cpu.embed_backward(ids, type_ids, offsets, first, &dsum, word, position, token_type);
        };
        add_to_table(gradients.table_mut(*word, ids, width), 0);
        if let Some(position) = position {
            add_to_table(gradients.span_mut(*position..position + 1), 1);
        }
        if let Some(token_type) = token_type {
            add_to_table(gradients.span_mut(*token_type..token_type + 1), 2);
        }
    }
}
