//! The encoder in training: its frozen part as in answering, and the backward through its layers.

use polyhead_compute::{Buffer, Cpu};

use crate::encoder::Sequences;
use crate::training::depth::Depth;
use crate::training::gradients::Gradients;
use crate::training::layer::LayerPass;
use crate::training::network::{Network, NetworkInput};
use crate::training::pass::Pass;

impl Network {
    /// Hidden states up to `end` as in answering; those that something reads are
    /// copied to `pass.states`.
    pub(super) fn lower_part(
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
        let Sequences { ids, type_ids, offsets } = input.sequences;
        let first = if input.known.is_some() { depth.start } else { 0 };
        let Pass { workspace, states, .. } = pass;
        workspace.resize(&self.config, ids.len());
        if input.known.is_some() {
            workspace.hidden.copy_from_slice(&states[first]);
        } else {
            cpu.embed(&self.tables(), ids, type_ids, offsets, &mut workspace.hidden);
            let (weight, bias) = self.norm_of_embeddings();
            let eps = self.config.layer_norm_eps;
            cpu.layer_norm(&mut workspace.hidden, weight, bias, eps);
        }
        for (index, state) in states.iter_mut().enumerate().take(end + 1).skip(first) {
            if index > first {
                let layer = &self.layers[index - 1].layer;
                layer.forward(cpu, &self.config, offsets, None, workspace);
            }
            if index == end || depth.read.contains(&index) || depth.cached.contains(&index) {
                state.resize(workspace.hidden.len());
                state.copy_from_slice(&workspace.hidden);
            }
        }
    }

    /// From the gradients of hidden states to those of layers and embeddings.
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
        // The gradient that flows down; empty as long as no head has added to it.
        let mut dhidden = Buffer::default();
        for state in (lowest..=depth.top).rev() {
            if pass.live[state] {
                match dhidden.is_empty() {
                    true => std::mem::swap(&mut dhidden, &mut pass.dstates[state]),
                    false => cpu.add(&pass.dstates[state], &mut dhidden),
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
            let layer_pass = LayerPass {
                cpu,
                config: &self.config,
                offsets: input.sequences.offsets,
                tokens: &pass.tokens,
                stream,
            };
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
        // The memory goes back to where it came from.
        if let Some(state) = (lowest..=depth.top).rev().find(|state| pass.live[*state]) {
            pass.dstates[state] = dhidden;
        }
    }
}
