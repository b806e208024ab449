//! A head in training.

use polyhead_compute::{Activation, Cpu, Isa};

use crate::encoder::ParameterGroup;
use crate::heads::HeadSpec;
use crate::heads::{HeadDims, HeadWeights, soft_max};
use crate::training::dropout::{DropoutStream, Site};
use crate::training::gradients::Gradients;
use crate::training::module::TrainableLinear;
use crate::training::store::ParameterStore;

/// A head and where its numbers stand in the index.
pub(super) struct TrainableHead {
    pub(super) spec: HeadSpec,
    index: usize,
    mix: Option<Mix>,
    hidden: Option<TrainableLinear>,
    output: TrainableLinear,
}

struct Mix {
    entry: usize,
    /// `[L + 1]`, after the soft-max.
    shares: Vec<f32>,
}

/// What a head keeps between forward and backward.
#[derive(Default)]
pub(super) struct HeadCache {
    /// `[rows]`: who each row is, for dropout.
    pub(super) keys: Vec<u64>,
    /// `[rows, in]`: the input, after dropout.
    pub(super) x: Vec<f32>,
    /// `[rows, hidden]`: before the activation.
    pre: Vec<f32>,
    /// `[rows, hidden]`: after activation and dropout.
    between: Vec<f32>,
    /// `[rows, outputs]`
    pub(super) logits: Vec<f32>,
    /// `[rows, outputs]`: filled by the losses.
    pub(super) dlogits: Vec<f32>,
}

impl TrainableHead {
    /// Appends a head to the store.
    pub(super) fn push(
        store: &mut ParameterStore,
        weights: &HeadWeights,
        index: usize,
        site: &HeadDims,
        isa: Isa,
    ) -> Self {
        let spec = weights.spec.clone();
        let group = ParameterGroup::Head(index);
        let name = format!("heads.{}", spec.name);
        let mix = weights.mix.as_ref().map(|mix| Mix {
            entry: store.push(format!("{name}.mix"), vec![site.layers + 1], group, false, mix),
            shares: soft_max(mix),
        });
        let mut linear = |name: String, (weight, bias): &(Vec<f32>, Vec<f32>)| {
            TrainableLinear::push(store, &name, group, weight, Some(bias), bias.len(), isa)
        };
        let hidden = weights.hidden.as_ref().map(|hidden| linear(format!("{name}.hidden"), hidden));
        let output = linear(name, &weights.output);
        Self { spec, index, mix, hidden, output }
    }

    /// Takes the numbers of the store.
    pub(super) fn refresh(&mut self, store: &ParameterStore, cpu: Cpu) {
        if let Some(mix) = &mut self.mix {
            mix.shares = soft_max(store.get(mix.entry));
        }
        if let Some(hidden) = &mut self.hidden {
            hidden.refresh(store, cpu);
        }
        self.output.refresh(store, cpu);
    }

    /// Its weights as they stand in the store.
    pub(super) fn weights(&self, store: &ParameterStore) -> HeadWeights {
        let pair = |linear: &TrainableLinear| {
            let bias = linear.bias.clone().expect("layers of a head have biases");
            (store.span(linear.weight.clone()).to_vec(), store.span(bias).to_vec())
        };
        HeadWeights {
            spec: self.spec.clone(),
            mix: self.mix.as_ref().map(|mix| store.get(mix.entry).to_vec()),
            hidden: self.hidden.as_ref().map(pair),
            output: pair(&self.output),
        }
    }

    /// Whether it reads the final sentence vector, not token vectors or their pooling.
    pub(super) fn reads_embedding(&self) -> bool {
        self.spec.reads_sentence_vector()
    }

    /// How much of each hidden state it reads, if it mixes them.
    pub(super) fn shares(&self) -> Option<&[f32]> {
        self.mix.as_ref().map(|mix| &mix.shares[..])
    }

    /// Logits of `kept.x`, on which dropout has not been yet.
    pub(super) fn forward(&self, cpu: Cpu, stream: DropoutStream, kept: &mut HeadCache) {
        let rows = kept.keys.len();
        let drop = |site| stream.dropout(self.spec.dropout, self.index, site);
        cpu.dropout(&drop(Site::HeadInput), &kept.keys, &mut kept.x);
        kept.logits.resize(rows * self.output.packed.outputs(), 0.0);
        kept.dlogits.clear();
        kept.dlogits.resize(kept.logits.len(), 0.0);
        let input = match &self.hidden {
            None => &kept.x,
            Some(hidden) => {
                kept.pre.resize(rows * hidden.packed.outputs(), 0.0);
                kept.between.resize(kept.pre.len(), 0.0);
                cpu.linear_train(
                    &kept.x,
                    &hidden.packed.matrix,
                    hidden.packed.bias.as_deref().expect("layers of a head have biases"),
                    self.spec.activation,
                    &mut kept.pre,
                    &mut kept.between,
                );
                cpu.dropout(&drop(Site::HeadHidden), &kept.keys, &mut kept.between);
                &kept.between
            }
        };
        self.output.packed.forward(cpu, input, Activation::Identity, None, &mut kept.logits);
    }

    /// The gradient of the input, `[rows, in]`, from `kept.dlogits`.
    pub(super) fn backward(
        &self,
        cpu: Cpu,
        stream: DropoutStream,
        kept: &HeadCache,
        input_wanted: bool,
        gradients: &mut Gradients,
    ) -> Vec<f32> {
        let drop = |site| stream.dropout(self.spec.dropout, self.index, site);
        let mut dx = vec![0.0; if input_wanted { kept.x.len() } else { 0 }];
        match &self.hidden {
            None => {
                self.output.parameter_gradients(cpu, &kept.dlogits, &kept.x, gradients);
                if input_wanted {
                    self.output.input_gradient(cpu, &kept.dlogits, None, &mut dx);
                }
            }
            Some(hidden) => {
                self.output.parameter_gradients(cpu, &kept.dlogits, &kept.between, gradients);
                let mut dbetween = vec![0.0; kept.between.len()];
                if input_wanted || hidden.is_trainable(gradients) {
                    self.output.input_gradient(cpu, &kept.dlogits, None, &mut dbetween);
                    cpu.dropout(&drop(Site::HeadHidden), &kept.keys, &mut dbetween);
                    cpu.activation_backward(self.spec.activation, &kept.pre, &mut dbetween);
                    hidden.parameter_gradients(cpu, &dbetween, &kept.x, gradients);
                }
                if input_wanted {
                    hidden.input_gradient(cpu, &dbetween, None, &mut dx);
                }
            }
        }
        if input_wanted {
            cpu.dropout(&drop(Site::HeadInput), &kept.keys, &mut dx);
        }
        dx
    }

    /// Adds the gradient of the mix, from the dot product of the gradient of
    /// what it read with each hidden state: `dwⱼ = pⱼ (gⱼ − Σ pᵢ gᵢ)`.
    pub(super) fn mix_gradient(&self, dots: &[f64], gradients: &mut Gradients) {
        let Some(mix) = &self.mix else { return };
        let Some(dmix) = gradients.of(mix.entry..mix.entry + 1) else { return };
        let mean: f64 = mix.shares.iter().zip(dots).map(|(p, g)| f64::from(*p) * g).sum();
        for ((dmix, p), g) in dmix.iter_mut().zip(&mix.shares).zip(dots) {
            *dmix += (f64::from(*p) * (g - mean)) as f32;
        }
    }

    /// Whether the optimizer changes any of it.
    pub(super) fn is_trainable(&self, gradients: &Gradients) -> bool {
        let mix = self.mix.as_ref().is_some_and(|m| gradients.layout().is_trainable(m.entry));
        mix || self.output.is_trainable(gradients)
            || self.hidden.as_ref().is_some_and(|hidden| hidden.is_trainable(gradients))
    }
}
