//! The encoder in training: the forward of its frozen part, and the backward through its layers.

use polyhead_compute::{Buffer, Cpu};

use crate::encoder::Sequences;
use crate::training::depth::Depth;
use crate::training::dropout::DropoutStream;
use crate::training::gradients::Gradients;
use crate::training::layer::LayerPass;
use crate::training::network::{Network, NetworkInput};
use crate::training::pass::Pass;

impl Network {
    /// The inputs that all layers of a pass share.
    pub(super) fn layer_pass<'a>(
        &'a self,
        cpu: Cpu<'a>,
        input: &NetworkInput<'a>,
        tokens: &'a [u64],
        stream: DropoutStream,
    ) -> LayerPass<'a> {
        let offsets = input.sequences.offsets;
        let distance_bias = self.entries.distance_bias.zip(self.distance_bias.as_deref());
        LayerPass { cpu, config: &self.config, offsets, distance_bias, tokens, stream }
    }

    /// Computes the hidden states up to `end` as in answering, and copies those to `pass.states`
    /// that a layer above, a head or a cache reads.
    pub(super) fn frozen_layers(
        &self,
        cpu: Cpu,
        input: &NetworkInput,
        depth: &Depth,
        end: usize,
        pass: &mut Pass,
    ) {
        if let Some(known) = input.known {
            for (state, values) in depth.cached.iter().zip(known) {
                pass.states[*state].resize(values.len());
                pass.states[*state].copy_from_slice(values);
            }
            if end == depth.start {
                return;
            }
        }
        let Sequences { ids, offsets, .. } = input.sequences;
        let first = if input.known.is_some() { depth.start } else { 0 };
        let Pass { workspace, states, .. } = pass;
        workspace.resize(&self.config, ids.len());
        if input.known.is_some() {
            workspace.hidden.copy_from_slice(&states[first]);
        } else {
            self.embed(cpu, input.sequences, workspace);
        }
        for (index, state) in states.iter_mut().enumerate().take(end + 1).skip(first) {
            if index > first {
                let layer = &self.layers[index - 1].layer;
                let attention = self.config.attention(self.distance_bias.as_deref());
                layer.forward(cpu, &self.config, attention, offsets, None, workspace);
            }
            if index == end || depth.read.contains(&index) || depth.cached.contains(&index) {
                state.resize(workspace.hidden.len());
                state.copy_from_slice(&workspace.hidden);
            }
        }
    }

    /// Adds the gradients of layers and embeddings, from the gradients of hidden states in `pass`.
    ///
    /// - `lowest`: the lowest hidden state that needs a gradient
    pub(super) fn encoder_backward(
        &self,
        cpu: Cpu,
        input: &NetworkInput,
        depth: &Depth,
        lowest: usize,
        pass: &mut Pass,
        gradients: &mut Gradients,
    ) {
        let stream = pass.stream;
        // The gradient that flows down; empty above the highest state that a head reads.
        let mut dhidden = Buffer::default();
        for state in (lowest..=depth.top).rev() {
            if pass.live[state] {
                if dhidden.is_empty() {
                    std::mem::swap(&mut dhidden, &mut pass.dstates[state]);
                } else {
                    cpu.add(&pass.dstates[state], &mut dhidden);
                }
            }
            if dhidden.is_empty() {
                continue;
            }
            if state == 0 {
                self.embeddings_backward(cpu, input, pass, &mut dhidden, gradients);
                continue;
            }
            let index = state - 1;
            let layer_pass = self.layer_pass(cpu, input, &pass.tokens, stream);
            self.layers[index].backward(
                layer_pass,
                index,
                &pass.states[index],
                &pass.layers[index],
                &mut dhidden,
                index >= lowest,
                &mut pass.scratch,
                gradients,
            );
        }
        // Return the buffer to the pass for reuse.
        if let Some(state) = (lowest..=depth.top).rev().find(|state| pass.live[*state]) {
            pass.dstates[state] = dhidden;
        }
    }
}
