//! The inputs of heads: from hidden states to vectors, and the gradients back to hidden states.

use polyhead_compute::{Buffer, Cpu};

use crate::encoder::ParameterGroup;
use crate::modules::PoolingSpec;
use crate::training::gradients::Gradients;
use crate::training::head::TrainableHead;
use crate::training::network::{Network, NetworkInput};
use crate::training::pass::Pass;

/// Forward: from hidden states to the inputs of heads.
impl Network {
    /// Fills `x` and `keys` in the cache of head `index`.
    pub(super) fn head_input(
        &self,
        cpu: Cpu,
        head: &TrainableHead,
        input: &NetworkInput,
        index: usize,
        pass: &mut Pass,
    ) {
        self.head_vectors(cpu, head, input, index, pass);
        if let Some(product) = head.spec.pair_product() {
            pass.heads[index].pair_up(product);
        }
    }

    /// Fills `x` with the vectors of all sequences, or of all words, and `keys` with their keys.
    fn head_vectors(
        &self,
        cpu: Cpu,
        head: &TrainableHead,
        input: &NetworkInput,
        index: usize,
        pass: &mut Pass,
    ) {
        let width = self.config.hidden_size;
        let offsets = input.sequences.offsets;
        let mut cache = std::mem::take(&mut pass.heads[index]);
        cache.x.clear();
        cache.keys.clear();
        if head.spec.reads_sentence_vector() {
            if pass.sentence.vectors.is_empty() {
                self.fill_sentence_vectors(cpu, input, pass);
            }
            cache.x.extend_from_slice(&pass.sentence.vectors);
            cache.keys.extend(offsets[..offsets.len() - 1].iter().map(|at| pass.key_at(*at)));
            pass.heads[index] = cache;
            return;
        }
        let mixed;
        let state: &[f32] = match head.shares() {
            Some(shares) => {
                mixed = mix(cpu, shares, &pass.states, offsets[offsets.len() - 1] * width);
                &mixed
            }
            None => &pass.states[self.state_of(head)],
        };
        if head.spec.kind.reads_words() {
            cache.x.resize(input.words.len() * width, 0.0);
            cpu.gather_rows(state, width, input.words, &mut cache.x);
            cache.keys.extend(input.words.iter().map(|word| pass.tokens[*word]));
        } else {
            let spec = &head.spec.pooling;
            let sequences = spec.sequences(offsets, input.prompt_tokens);
            cache.x.resize(sequences.len() * spec.modes.len() * width, 0.0);
            cpu.pool(&spec.modes, state, width, &sequences, &mut cache.x);
            cache.keys.extend(offsets[..sequences.len()].iter().map(|at| pass.key_at(*at)));
        }
        pass.heads[index] = cache;
    }

    /// Computes the sentence vectors of the pass, and the caches of the modules.
    pub(super) fn fill_sentence_vectors(&self, cpu: Cpu, input: &NetworkInput, pass: &mut Pass) {
        let width = self.config.hidden_size;
        let offsets = input.sequences.offsets;
        let rows = offsets.len() - 1;
        let PoolingSpec { modes, .. } = &self.pooling;
        let sequences = self.pooling.sequences(offsets, input.prompt_tokens);
        let mut vectors = vec![0.0; rows * modes.len() * width];
        cpu.pool(modes, &pass.states[self.config.layers], width, &sequences, &mut vectors);
        pass.sentence.modules.resize_with(self.modules.len(), Default::default);
        for (module, cache) in self.modules.iter().zip(&mut pass.sentence.modules) {
            vectors = module.forward(cpu, &self.store, vectors, rows, cache);
        }
        pass.sentence.vectors = vectors;
    }
}

/// Backward: from the gradients of those inputs to those of hidden states.
impl Network {
    /// Whether trained parameters lie below the input of this head.
    pub(super) fn reads_trainable(
        &self,
        head: &TrainableHead,
        lowest: usize,
        gradients: &Gradients,
    ) -> bool {
        self.state_of(head) >= lowest
            || (head.spec.reads_sentence_vector() && self.modules_trainable(gradients))
    }

    /// Whether the modules after the pooling are trained.
    pub(super) fn modules_trainable(&self, gradients: &Gradients) -> bool {
        self.store.entries().iter().enumerate().any(|(i, entry)| {
            matches!(entry.group, ParameterGroup::Module(_)) && gradients.layout().is_trainable(i)
        })
    }

    /// Adds `dx`, the gradient of the vectors that a head reads, to the gradients of the hidden states that
    /// the head reads, and adds the gradient of its mix.
    ///
    /// - `lowest`: the lowest hidden state that needs a gradient
    #[expect(clippy::too_many_arguments, reason = "the pass, and the gradients")]
    pub(super) fn add_to_states(
        &self,
        cpu: Cpu,
        head: &TrainableHead,
        input: &NetworkInput,
        lowest: usize,
        dx: &[f32],
        pass: &mut Pass,
        gradients: &mut Gradients,
    ) {
        let width = self.config.hidden_size;
        let offsets = input.sequences.offsets;
        let size = offsets[offsets.len() - 1] * width;
        let spread = |state: &[f32], dstate: &mut [f32]| {
            if head.spec.kind.reads_words() {
                return cpu.gather_rows_backward(dx, width, input.words, dstate);
            }
            let spec = &head.spec.pooling;
            let sequences = spec.sequences(offsets, input.prompt_tokens);
            cpu.pool_backward(&spec.modes, state, width, &sequences, dx, dstate);
        };
        let Some(shares) = head.shares() else {
            let state = self.state_of(head);
            if state >= lowest {
                pass.begin_gradient(state, size);
                let Pass { states, dstates, .. } = pass;
                spread(&states[state], &mut dstates[state]);
            }
            return;
        };
        let mut dmixed = vec![0.0; size];
        spread(&mix(cpu, shares, &pass.states, size), &mut dmixed);
        let dots: Vec<f64> = pass.states[..shares.len()]
            .iter()
            .map(|state| cpu.dot(&state[..size], &dmixed))
            .collect();
        head.mix_gradient(&dots, gradients);
        for (state, share) in shares.iter().enumerate().skip(lowest) {
            pass.begin_gradient(state, size);
            cpu.add_scaled(*share, &dmixed, &mut pass.dstates[state]);
        }
    }

    /// From the gradient of the sentence vectors to those of the modules and of the last state.
    ///
    /// - `dvectors`: `[B, embedding]`
    pub(super) fn modules_backward(
        &self,
        cpu: Cpu,
        input: &NetworkInput,
        lowest: usize,
        mut dvectors: Vec<f32>,
        pass: &mut Pass,
        gradients: &mut Gradients,
    ) {
        let width = self.config.hidden_size;
        let offsets = input.sequences.offsets;
        let rows = offsets.len() - 1;
        for (module, cache) in self.modules.iter().zip(&pass.sentence.modules).rev() {
            dvectors = module.backward(cpu, &self.store, cache, dvectors, gradients);
        }
        let last = self.config.layers;
        if last < lowest {
            return;
        }
        pass.begin_gradient(last, offsets[rows] * width);
        let PoolingSpec { modes, .. } = &self.pooling;
        let sequences = self.pooling.sequences(offsets, input.prompt_tokens);
        let (states, dstates) = (&pass.states[last], &mut pass.dstates[last]);
        cpu.pool_backward(modes, states, width, &sequences, &dvectors, dstates);
    }
}

/// The mix of hidden states that a head reads, `Σ shareᵢ · stateᵢ`.
fn mix(cpu: Cpu, shares: &[f32], states: &[Buffer], size: usize) -> Vec<f32> {
    let mut mixed = vec![0.0; size];
    for (share, state) in shares.iter().zip(states) {
        cpu.add_scaled(*share, &state[..size], &mut mixed);
    }
    mixed
}
