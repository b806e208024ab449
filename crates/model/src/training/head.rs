//! One head in training: its layers, forward and backward.

use std::ops::Range;

use polyhead_compute::{Activation, Cpu, Dropout, Isa};

use crate::encoder::{PackedLinear, ParameterGroup};
use crate::heads::{
    HeadDims, HeadSpec, HeadWeights, HiddenWeights, pair_features, pair_features_backward, soft_max,
};
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
    /// The norm after the hidden layer.
    norm: Option<TrainableNorm>,
    /// `None` if the loss compares vectors: the head gives those that it reads, or its hidden layer
    /// makes of them.
    output: Option<TrainableLinear>,
}

/// How much a head reads of each hidden state.
struct MixWeights {
    /// The entry of the weights in the store.
    entry: usize,
    /// `[L + 1]`, after the soft-max.
    shares: Vec<f32>,
}

/// The layer norm after a head's hidden layer.
struct TrainableNorm {
    /// The entries of the factor and, if the head has one, the bias in the store.
    entries: Range<usize>,
    /// `[hidden]`: the factor.
    factor: Vec<f32>,
    /// `[hidden]`: the bias, 0 where the head has none.
    bias: Vec<f32>,
    eps: f32,
}

/// Activations of a head that its backward reads.
#[derive(Default)]
pub(super) struct HeadCache {
    /// `[rows]`: the dropout key of each row.
    pub(super) keys: Vec<u64>,
    /// `[rows, in]`: the input; after the forward with dropout applied.
    pub(super) x: Vec<f32>,
    /// `[2 · rows, width]`: the vectors of both texts, of a head that reads two; else empty.
    pairs: Vec<f32>,
    /// `[rows, hidden]`: the hidden layer before its activation.
    pre: Vec<f32>,
    /// `[rows, hidden]`: the hidden layer after activation, norm and dropout.
    post: Vec<f32>,
    /// `[rows, hidden]`: the input of the norm; empty without one.
    activated: Vec<f32>,
    /// `[rows, 2]`: mean and 1 / deviation of each row of the norm; empty without one.
    stats: Vec<f32>,
    /// `[rows, outputs]`: the output of the head.
    pub(super) logits: Vec<f32>,
    /// `[rows, outputs]`: the gradient of the loss with respect to `logits`, which the loss writes.
    pub(super) dlogits: Vec<f32>,
}

impl HeadCache {
    /// Makes the input of a head that reads two vectors, of those of all sequences in `x`: two for each
    /// row. A row has the key of its first sequence.
    ///
    /// # Panics
    /// If a sequence has no partner.
    pub(super) fn pair_up(&mut self, product: bool) {
        std::mem::swap(&mut self.x, &mut self.pairs);
        self.keys = self.keys.iter().copied().step_by(2).collect();
        self.x.clear();
        pair_features(&self.pairs, self.keys.len(), product, &mut self.x);
    }
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
        let width = spec.hidden.unwrap_or_default();
        let mut norm = None;
        let hidden = weights.hidden.as_ref().map(|HiddenWeights { weight, bias, norm: pair }| {
            let name = format!("{name}.hidden");
            let linear =
                TrainableLinear::push(store, &name, group, weight, bias.as_deref(), width, isa);
            norm = pair.as_ref().zip(spec.hidden_form.norm).map(|((factor, bias), form)| {
                let begin = store.entries().len();
                for (part, values) in [("weight", Some(factor)), ("bias", bias.as_ref())] {
                    let Some(values) = values else { continue };
                    store.push(format!("{name}.norm.{part}"), vec![width], group, false, values);
                }
                let (factor, bias) = (vec![0.0; width], vec![0.0; width]);
                TrainableNorm { entries: begin..store.entries().len(), factor, bias, eps: form.eps }
            });
            linear
        });
        let (weight, bias) = &weights.output;
        let output = (!spec.kind.compares()).then(|| {
            TrainableLinear::push(store, &name, group, weight, Some(bias), bias.len(), isa)
        });
        Self { spec, index, mix, hidden, norm, output }
    }

    /// Copies the parameters from the store into the packed layers.
    pub(super) fn refresh(&mut self, store: &ParameterStore, cpu: Cpu) {
        if let Some(mix) = &mut self.mix {
            mix.shares = soft_max(store.get(mix.entry));
        }
        if let Some(hidden) = &mut self.hidden {
            hidden.refresh(store, cpu);
        }
        if let Some(TrainableNorm { entries, factor, bias, .. }) = &mut self.norm {
            let values = store.span(entries.clone()).chunks_exact(factor.len());
            for (to, values) in [factor, bias].into_iter().zip(values) {
                to.copy_from_slice(values);
            }
        }
        if let Some(output) = &mut self.output {
            output.refresh(store, cpu);
        }
    }

    /// The current weights, from the store.
    pub(super) fn weights(&self, store: &ParameterStore) -> HeadWeights {
        let linear = |linear: &TrainableLinear| {
            std::iter::once(linear.weight.clone()).chain(linear.bias.clone()).collect::<Vec<_>>()
        };
        // In the order of `HeadSpec::tensors`.
        let mut spans: Vec<Range<usize>> = Vec::new();
        spans.extend(self.mix.iter().map(|mix| mix.entry..mix.entry + 1));
        spans.extend(self.hidden.iter().flat_map(linear));
        let norm = self.norm.iter().flat_map(|norm| norm.entries.clone());
        spans.extend(norm.map(|entry| entry..entry + 1));
        spans.extend(self.output.iter().flat_map(linear));
        let values = spans.into_iter().map(|span| store.span(span).to_vec());
        HeadWeights::from_values(self.spec.clone(), values)
    }

    /// `[L + 1]`: the share of each hidden state in the mix; `None` if the head reads a single state.
    pub(super) fn shares(&self) -> Option<&[f32]> {
        self.mix.as_ref().map(|mix| &mix.shares[..])
    }

    /// Computes the logits of `cache.x`. Applies dropout to `cache.x` first.
    pub(super) fn forward(&self, cpu: Cpu, stream: DropoutStream, cache: &mut HeadCache) {
        let rows = cache.keys.len();
        let Some(output) = &self.output else {
            match &self.hidden {
                None => cache.logits.clone_from(&cache.x),
                Some(hidden) => {
                    cache.logits.resize(rows * hidden.packed.outputs(), 0.0);
                    let logits = &mut cache.logits;
                    hidden.packed.forward(cpu, &cache.x, Activation::Identity, None, logits);
                }
            }
            cache.dlogits.clear();
            cache.dlogits.resize(cache.logits.len(), 0.0);
            return;
        };
        cpu.dropout(&self.input_dropout(stream), &cache.keys, &mut cache.x);
        cache.logits.resize(rows * output.packed.outputs(), 0.0);
        cache.dlogits.clear();
        cache.dlogits.resize(cache.logits.len(), 0.0);
        let input = match &self.hidden {
            None => &cache.x,
            Some(hidden) => {
                cache.pre.resize(rows * hidden.packed.outputs(), 0.0);
                cache.post.resize(cache.pre.len(), 0.0);
                let PackedLinear { matrix, bias } = &hidden.packed;
                let zeros = vec![0.0; if bias.is_none() { matrix.outputs() } else { 0 }];
                cpu.linear_train(
                    &cache.x,
                    matrix,
                    bias.as_deref().unwrap_or(&zeros),
                    self.spec.activation,
                    &mut cache.pre,
                    &mut cache.post,
                );
                if let Some(TrainableNorm { factor, bias, eps, .. }) = &self.norm {
                    cache.activated.clone_from(&cache.post);
                    cache.stats.resize(2 * rows, 0.0);
                    cpu.residual_layer_norm(
                        &mut cache.activated,
                        &Dropout::none(),
                        &[],
                        None,
                        factor,
                        bias,
                        *eps,
                        &mut cache.stats,
                        &mut cache.post,
                    );
                }
                cpu.dropout(&self.hidden_dropout(stream), &cache.keys, &mut cache.post);
                &cache.post
            }
        };
        output.packed.forward(cpu, input, Activation::Identity, None, &mut cache.logits);
    }

    /// Adds the gradients of the parameters, from `cache.dlogits`. Returns the gradient of the
    /// vectors that the head reads, `[rows, in]`, or `[2 · rows, width]` of those of pairs; empty
    /// unless `input_wanted`.
    pub(super) fn backward(
        &self,
        cpu: Cpu,
        stream: DropoutStream,
        cache: &HeadCache,
        input_wanted: bool,
        gradients: &mut Gradients,
    ) -> Vec<f32> {
        let mut dx = vec![0.0; if input_wanted { cache.x.len() } else { 0 }];
        let Some(output) = &self.output else {
            let Some(hidden) = &self.hidden else { return cache.dlogits.clone() };
            hidden.parameter_gradients(cpu, &cache.dlogits, &cache.x, gradients);
            if input_wanted {
                hidden.input_gradient(cpu, &cache.dlogits, None, &mut dx);
            }
            return dx;
        };
        match &self.hidden {
            None => {
                output.parameter_gradients(cpu, &cache.dlogits, &cache.x, gradients);
                if input_wanted {
                    output.input_gradient(cpu, &cache.dlogits, None, &mut dx);
                }
            }
            Some(hidden) => {
                output.parameter_gradients(cpu, &cache.dlogits, &cache.post, gradients);
                let mut dhidden = vec![0.0; cache.post.len()];
                if input_wanted || hidden.is_trainable(gradients) {
                    output.input_gradient(cpu, &cache.dlogits, None, &mut dhidden);
                    cpu.dropout(&self.hidden_dropout(stream), &cache.keys, &mut dhidden);
                    if let Some(norm) = &self.norm {
                        dhidden = norm.backward(cpu, cache, &dhidden, gradients);
                    }
                    cpu.activation_backward(self.spec.activation, &cache.pre, &mut dhidden);
                    hidden.parameter_gradients(cpu, &dhidden, &cache.x, gradients);
                }
                if input_wanted {
                    hidden.input_gradient(cpu, &dhidden, None, &mut dx);
                }
            }
        }
        if !input_wanted {
            return dx;
        }
        cpu.dropout(&self.input_dropout(stream), &cache.keys, &mut dx);
        match self.spec.pair_product() {
            Some(product) => pair_features_backward(&cache.pairs, cache.keys.len(), product, &dx),
            None => dx,
        }
    }

    /// The dropout of the head's input.
    fn input_dropout(&self, stream: DropoutStream) -> Dropout {
        stream.dropout(self.spec.input_dropout(), self.index, DropoutSite::HeadInput)
    }

    /// The dropout of the hidden layer's output.
    fn hidden_dropout(&self, stream: DropoutStream) -> Dropout {
        stream.dropout(self.spec.dropout, self.index, DropoutSite::HeadHidden)
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
        let mut layers = [&self.output, &self.hidden].into_iter().flatten();
        mix || layers.any(|layer| layer.is_trainable(gradients))
    }
}

impl TrainableNorm {
    /// Adds the gradients of factor and bias, unless they are frozen, and returns the gradient of the
    /// norm's input, `[rows, hidden]`.
    ///
    /// - `dout`: `[rows, hidden]`
    fn backward(
        &self,
        cpu: Cpu,
        cache: &HeadCache,
        dout: &[f32],
        gradients: &mut Gradients,
    ) -> Vec<f32> {
        let width = self.factor.len();
        // The gradient of a bias that the head does not have.
        let mut unused = vec![0.0; width];
        let pair = gradients.span_mut(self.entries.clone()).map(|span| {
            let (dfactor, dbias) = span.split_at_mut(width);
            (dfactor, if dbias.is_empty() { &mut unused[..] } else { dbias })
        });
        let mut dx = vec![0.0; dout.len()];
        let HeadCache { activated, stats, .. } = cache;
        cpu.layer_norm_backward(activated, stats, &self.factor, dout, &mut dx, pair);
        dx
    }
}
