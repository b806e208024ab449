//! One head in training: its layers, forward and backward.

use polyhead_compute::{Activation, Cpu, Isa};

use crate::encoder::ParameterGroup;
use crate::heads::{HeadDims, HeadSpec, HeadWeights, soft_max};
use crate::training::dropout::{DropoutSite, DropoutStream};
use crate::training::gradients::Gradients;
use crate::training::module::TrainableLinear;
use crate::training::store::ParameterStore;

/// A head: its specification, its linear layers, and the entries of its parameters in the store.
pub(super) struct TrainableHead {
    pub(super) spec: HeadSpec,
    index: usize,
    mix: Option<MixWeights>,
    hidden: Option<TrainableLinear>,
    output: TrainableLinear,
}

/// How much a head reads of each hidden state.
struct MixWeights {
    /// The entry of the weights in the store.
    entry: usize,
    /// `[L + 1]`, after the soft-max.
    shares: Vec<f32>,
}

/// Activations of a head that its backward reads.
#[derive(Default)]
pub(super) struct HeadCache {
    /// `[rows]`: the dropout key of each row.
    pub(super) keys: Vec<u64>,
    /// `[rows, in]`: the input; after the forward with dropout applied.
    pub(super) x: Vec<f32>,
    /// `[rows, hidden]`: the hidden layer before its activation.
    pre: Vec<f32>,
    /// `[rows, hidden]`: the hidden layer after activation and dropout.
    post: Vec<f32>,
    /// `[rows, outputs]`: the output of the head.
    pub(super) logits: Vec<f32>,
    /// `[rows, outputs]`: the gradient of the loss with respect to `logits`, which the loss writes.
    pub(super) dlogits: Vec<f32>,
}

impl TrainableHead {
    /// Appends the parameters of a head to the store.
    pub(super) fn push(
        store: &mut ParameterStore,
        weights: &HeadWeights,
        index: usize,
        dims: &HeadDims,
        isa: Isa,
    ) -> Self {
        let spec = weights.spec.clone();
        let group = ParameterGroup::Head(index);
        let name = format!("heads.{}", spec.name);
        let mix = weights.mix.as_ref().map(|mix| MixWeights {
            entry: store.push(format!("{name}.mix"), vec![dims.layers + 1], group, false, mix),
            shares: soft_max(mix),
        });
        let mut push_linear = |name: String, (weight, bias): &(Vec<f32>, Vec<f32>)| {
            TrainableLinear::push(store, &name, group, weight, Some(bias), bias.len(), isa)
        };
        let hidden =
            weights.hidden.as_ref().map(|hidden| push_linear(format!("{name}.hidden"), hidden));
        let output = push_linear(name, &weights.output);
        Self { spec, index, mix, hidden, output }
    }

    /// Copies the parameters from the store into the packed layers.
    pub(super) fn refresh(&mut self, store: &ParameterStore, cpu: Cpu) {
        if let Some(mix) = &mut self.mix {
            mix.shares = soft_max(store.get(mix.entry));
        }
        if let Some(hidden) = &mut self.hidden {
            hidden.refresh(store, cpu);
        }
        self.output.refresh(store, cpu);
    }

    /// The current weights, from the store.
    pub(super) fn weights(&self, store: &ParameterStore) -> HeadWeights {
        let values_of = |linear: &TrainableLinear| {
            let bias = linear.bias.clone().expect("layers of a head have biases");
            (store.span(linear.weight.clone()).to_vec(), store.span(bias).to_vec())
        };
        HeadWeights {
            spec: self.spec.clone(),
            mix: self.mix.as_ref().map(|mix| store.get(mix.entry).to_vec()),
            hidden: self.hidden.as_ref().map(values_of),
            output: values_of(&self.output),
        }
    }

    /// `[L + 1]`: the share of each hidden state in the mix; `None` if the head reads a single state.
    pub(super) fn shares(&self) -> Option<&[f32]> {
        self.mix.as_ref().map(|mix| &mix.shares[..])
    }

    /// Computes the logits of `cache.x`. Applies dropout to `cache.x` first.
    pub(super) fn forward(&self, cpu: Cpu, stream: DropoutStream, cache: &mut HeadCache) {
        let rows = cache.keys.len();
        let dropout_at = |site| stream.dropout(self.spec.dropout, self.index, site);
        cpu.dropout(&dropout_at(DropoutSite::HeadInput), &cache.keys, &mut cache.x);
        cache.logits.resize(rows * self.output.packed.outputs(), 0.0);
        cache.dlogits.clear();
        cache.dlogits.resize(cache.logits.len(), 0.0);
        let input = match &self.hidden {
            None => &cache.x,
            Some(hidden) => {
                cache.pre.resize(rows * hidden.packed.outputs(), 0.0);
                cache.post.resize(cache.pre.len(), 0.0);
                cpu.linear_train(
                    &cache.x,
                    &hidden.packed.matrix,
                    hidden.packed.bias.as_deref().expect("layers of a head have biases"),
                    self.spec.activation,
                    &mut cache.pre,
                    &mut cache.post,
                );
                cpu.dropout(&dropout_at(DropoutSite::HeadHidden), &cache.keys, &mut cache.post);
                &cache.post
            }
        };
        self.output.packed.forward(cpu, input, Activation::Identity, None, &mut cache.logits);
    }

    /// Adds the gradients of the parameters, from `cache.dlogits`. Returns the gradient of the
    /// input, `[rows, in]`; empty unless `input_wanted`.
    pub(super) fn backward(
        &self,
        cpu: Cpu,
        stream: DropoutStream,
        cache: &HeadCache,
        input_wanted: bool,
        gradients: &mut Gradients,
    ) -> Vec<f32> {
        let dropout_at = |site| stream.dropout(self.spec.dropout, self.index, site);
        let mut dx = vec![0.0; if input_wanted { cache.x.len() } else { 0 }];
        match &self.hidden {
            None => {
                self.output.parameter_gradients(cpu, &cache.dlogits, &cache.x, gradients);
                if input_wanted {
                    self.output.input_gradient(cpu, &cache.dlogits, None, &mut dx);
                }
            }
            Some(hidden) => {
                self.output.parameter_gradients(cpu, &cache.dlogits, &cache.post, gradients);
                let mut dhidden = vec![0.0; cache.post.len()];
                if input_wanted || hidden.is_trainable(gradients) {
                    self.output.input_gradient(cpu, &cache.dlogits, None, &mut dhidden);
                    cpu.dropout(&dropout_at(DropoutSite::HeadHidden), &cache.keys, &mut dhidden);
                    cpu.activation_backward(self.spec.activation, &cache.pre, &mut dhidden);
                    hidden.parameter_gradients(cpu, &dhidden, &cache.x, gradients);
                }
                if input_wanted {
                    hidden.input_gradient(cpu, &dhidden, None, &mut dx);
                }
            }
        }
        if input_wanted {
            cpu.dropout(&dropout_at(DropoutSite::HeadInput), &cache.keys, &mut dx);
        }
        dx
    }

    /// Adds the gradient of the mix weights: `dwⱼ = pⱼ (gⱼ − Σ pᵢ gᵢ)`.
    ///
    /// - `dots`: `[L + 1]`, `gᵢ`: the dot product of hidden state `i` with the gradient of the mix
    pub(super) fn mix_gradient(&self, dots: &[f64], gradients: &mut Gradients) {
        let Some(mix) = &self.mix else { return };
        let Some(dmix) = gradients.span_mut(mix.entry..mix.entry + 1) else { return };
        let mean: f64 = mix.shares.iter().zip(dots).map(|(p, g)| f64::from(*p) * g).sum();
        for ((dmix, p), g) in dmix.iter_mut().zip(&mix.shares).zip(dots) {
            *dmix += (f64::from(*p) * (g - mean)) as f32;
        }
    }

    /// Whether any parameter of the head is trained.
    pub(super) fn is_trainable(&self, gradients: &Gradients) -> bool {
        let mix = self.mix.as_ref().is_some_and(|m| gradients.layout().is_trainable(m.entry));
        mix || self.output.is_trainable(gradients)
            || self.hidden.as_ref().is_some_and(|hidden| hidden.is_trainable(gradients))
    }
}
