//! One transformer layer in training: a forward that stores the activations which
//! its backward reads, and the backward.

use polyhead_compute::{Activation, Buffer, Cpu, Dropout, Isa};

use crate::encoder::{EncoderConfig, Layer, LayerTensors, Norm, Pair};
use crate::training::dropout::{DropoutSite, DropoutStream};
use crate::training::gradients::Gradients;
use crate::training::module::TrainableLinear;
use crate::training::store::ParameterStore;

/// A layer: its weights, and the entries of its norms in the store.
pub(super) struct TrainableLayer {
    pub(super) layer: Layer<TrainableLinear>,
    attention_norm: Pair<usize>,
    output_norm: Pair<usize>,
}

/// Activations of a layer that its backward reads: `16 · D` numbers per token for
/// `F = 4 · D`, including the input and output of the layer, which [`Pass`] holds.
///
/// [`Pass`]: crate::training::Pass
#[derive(Default)]
pub(super) struct LayerCache {
    /// `[N, 3·D]`: queries, keys and values.
    query_key_value: Buffer,
    /// `[N, D]`: the output of attention, before its output layer.
    context: Buffer,
    /// `[N, D]`: the input of the first norm.
    attention_sum: Buffer,
    /// `[N, 2]`: mean and 1 / deviation of each row of the first norm.
    attention_stats: Buffer,
    /// `[N, D]`: the output of the first norm.
    attended: Buffer,
    /// `[N, F]`: the first feed-forward layer before its activation.
    pre: Buffer,
    /// `[N, F]`: the first feed-forward layer after its activation.
    intermediate: Buffer,
    /// `[N, D]`: the input of the second norm.
    output_sum: Buffer,
    /// `[N, 2]`: mean and 1 / deviation of each row of the second norm.
    output_stats: Buffer,
}

/// Buffers for the gradients of activations inside one layer; all layers share them.
#[derive(Default)]
pub(super) struct LayerScratch {
    /// `[N, D]`: the gradient of the input of a norm.
    dsum: Buffer,
    /// `[N, D]`: the gradient of the output of a branch, before its dropout.
    dbranch: Buffer,
    /// `[N, D]`: the gradient of the output of the first norm, then of `context`.
    dattended: Buffer,
    /// `[N, F]`: the gradient of the first feed-forward layer before its activation.
    dintermediate: Buffer,
    /// `[N, 3·D]`: the gradient of queries, keys and values.
    dquery_key_value: Buffer,
}

/// The inputs that all layers of a pass share.
#[derive(Clone, Copy)]
pub(super) struct LayerPass<'a> {
    pub(super) cpu: Cpu<'a>,
    pub(super) config: &'a EncoderConfig,
    pub(super) offsets: &'a [usize],
    /// `[N]`: the dropout key of each token.
    pub(super) tokens: &'a [u64],
    pub(super) stream: DropoutStream,
}

impl LayerPass<'_> {
    fn attention_dropout(&self, layer: usize) -> Dropout {
        self.stream.dropout(self.config.attention_dropout, layer, DropoutSite::Attention)
    }

    fn attention_output_dropout(&self, layer: usize) -> Dropout {
        if self.config.family.attention_output_dropout {
            self.stream.dropout(self.config.hidden_dropout, layer, DropoutSite::AttentionOutput)
        } else {
            Dropout::none()
        }
    }

    fn output_dropout(&self, layer: usize) -> Dropout {
        self.stream.dropout(self.config.hidden_dropout, layer, DropoutSite::Output)
    }
}

impl TrainableLayer {
    /// A layer whose weights are set by [`refresh`](Self::refresh).
    ///
    /// - `entries`: the entries of its tensors in the store
    pub(super) fn new(config: &EncoderConfig, isa: Isa, entries: &LayerTensors<usize>) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let linear = |first: &Pair<usize>, last: &Pair<usize>, outputs, inputs| {
            let (weight, bias) = (first.weight..last.weight + 1, first.bias..last.bias + 1);
            TrainableLinear::of_entries(isa, (outputs, inputs), weight, bias)
        };
        let norm = || Norm { weight: vec![0.0; hidden], bias: vec![0.0; hidden] };
        let LayerTensors { query, value, attention_output, intermediate, output, .. } = entries;
        let layer = Layer {
            // Query, key and value are neighbours in the store, in this order.
            query_key_value: linear(query, value, 3 * hidden, hidden),
            attention_output: linear(attention_output, attention_output, hidden, hidden),
            attention_norm: norm(),
            intermediate: linear(intermediate, intermediate, inner, hidden),
            output: linear(output, output, hidden, inner),
            output_norm: norm(),
        };
        let (attention_norm, output_norm) = (entries.attention_norm, entries.output_norm);
        Self { layer, attention_norm, output_norm }
    }

    /// Whether any parameter of the layer is trained.
    pub(super) fn is_trainable(&self, flags: &dyn Fn(usize) -> bool) -> bool {
        (self.layer.query_key_value.weight.start..=self.output_norm.bias).any(flags)
    }

    /// Copies the parameters from the store into the packed weights.
    pub(super) fn refresh(&mut self, store: &ParameterStore, cpu: Cpu) {
        self.linears_mut().into_iter().for_each(|linear| linear.refresh(store, cpu));
        for (norm, entries) in [
            (&mut self.layer.attention_norm, self.attention_norm),
            (&mut self.layer.output_norm, self.output_norm),
        ] {
            norm.weight.copy_from_slice(store.get(entries.weight));
            norm.bias.copy_from_slice(store.get(entries.bias));
        }
    }

    /// The linear layers, in the order of the data flow.
    pub(super) fn linears_mut(&mut self) -> [&mut TrainableLinear; 4] {
        let Layer { query_key_value, attention_output, intermediate, output, .. } = &mut self.layer;
        [query_key_value, attention_output, intermediate, output]
    }

    /// Computes layer `index` and stores in `cache` what the backward reads.
    ///
    /// - `x`, `out`: `[N, D]`, input and output of the layer
    pub(super) fn forward(
        &self,
        pass: LayerPass,
        index: usize,
        x: &[f32],
        cache: &mut LayerCache,
        out: &mut [f32],
    ) {
        let LayerPass { cpu, config, offsets, tokens, .. } = pass;
        let layer = &self.layer;
        cache.resize(config, tokens.len());
        let identity = Activation::Identity;
        layer.query_key_value.packed.forward(cpu, x, identity, None, &mut cache.query_key_value);
        cpu.attention_train(
            config.attention_shape(),
            &cache.query_key_value,
            offsets,
            &pass.attention_dropout(index),
            tokens,
            &mut cache.context,
        );
        let sum = &mut cache.attention_sum;
        layer.attention_output.packed.forward(cpu, &cache.context, identity, None, sum);
        cpu.residual_layer_norm(
            &mut cache.attention_sum,
            &pass.attention_output_dropout(index),
            tokens,
            Some(x),
            &layer.attention_norm.weight,
            &layer.attention_norm.bias,
            config.layer_norm_eps,
            &mut cache.attention_stats,
            &mut cache.attended,
        );
        cpu.linear_train(
            &cache.attended,
            &layer.intermediate.packed.matrix,
            layer.intermediate.packed.bias.as_deref().expect("layers of an encoder have biases"),
            config.activation,
            &mut cache.pre,
            &mut cache.intermediate,
        );
        layer.output.packed.forward(
            cpu,
            &cache.intermediate,
            identity,
            None,
            &mut cache.output_sum,
        );
        cpu.residual_layer_norm(
            &mut cache.output_sum,
            &pass.output_dropout(index),
            tokens,
            Some(&cache.attended),
            &layer.output_norm.weight,
            &layer.output_norm.bias,
            config.layer_norm_eps,
            &mut cache.output_stats,
            out,
        );
    }

    /// Adds the gradients of the parameters of layer `index`. If `below` is set, replaces
    /// the gradient of the output by the gradient of the input.
    ///
    /// - `x`: `[N, D]`, the input of the layer
    /// - `dhidden`: `[N, D]`, the gradient of the output, then of the input
    #[expect(clippy::too_many_arguments, reason = "inputs, the cache, and the gradients")]
    pub(super) fn backward(
        &self,
        pass: LayerPass,
        index: usize,
        x: &[f32],
        cache: &LayerCache,
        dhidden: &mut [f32],
        below: bool,
        scratch: &mut LayerScratch,
        gradients: &mut Gradients,
    ) {
        let LayerPass { cpu, config, offsets, tokens, .. } = pass;
        let layer = &self.layer;
        scratch.resize(config, tokens.len());
        let LayerScratch { dsum, dbranch, dattended, dintermediate, dquery_key_value } = scratch;

        // Feed-forward: out = norm(dropout(output(act(intermediate(attended)))) + attended).
        cpu.layer_norm_backward(
            &cache.output_sum,
            &cache.output_stats,
            &layer.output_norm.weight,
            dhidden,
            dsum,
            gradients.pair_mut(&self.output_norm),
        );
        cpu.dropout_to(&pass.output_dropout(index), tokens, dsum, dbranch);
        layer.output.parameter_gradients(cpu, dbranch, &cache.intermediate, gradients);
        let derivative = Some((config.activation, &cache.pre[..]));
        cpu.input_gradient(dbranch, layer.output.transposed(), None, derivative, dintermediate);
        layer.intermediate.parameter_gradients(cpu, dintermediate, &cache.attended, gradients);
        layer.intermediate.input_gradient(cpu, dintermediate, Some(dsum), dattended);

        // Attention: attended = norm(dropout(attention_output(context)) + x).
        cpu.layer_norm_backward(
            &cache.attention_sum,
            &cache.attention_stats,
            &layer.attention_norm.weight,
            dattended,
            dsum,
            gradients.pair_mut(&self.attention_norm),
        );
        cpu.dropout_to(&pass.attention_output_dropout(index), tokens, dsum, dbranch);
        layer.attention_output.parameter_gradients(cpu, dbranch, &cache.context, gradients);
        let dcontext = dattended;
        layer.attention_output.input_gradient(cpu, dbranch, None, dcontext);
        cpu.attention_backward(
            config.attention_shape(),
            &cache.query_key_value,
            offsets,
            &pass.attention_dropout(index),
            tokens,
            &cache.context,
            dcontext,
            dquery_key_value,
        );
        layer.query_key_value.parameter_gradients(cpu, dquery_key_value, x, gradients);
        if below {
            layer.query_key_value.input_gradient(cpu, dquery_key_value, Some(dsum), dhidden);
        }
    }
}

impl LayerCache {
    fn resize(&mut self, config: &EncoderConfig, tokens: usize) {
        let (hidden, intermediate) =
            (tokens * config.hidden_size, tokens * config.intermediate_size);
        self.query_key_value.resize(3 * hidden);
        self.attention_stats.resize(2 * tokens);
        self.output_stats.resize(2 * tokens);
        for buffer in
            [&mut self.context, &mut self.attention_sum, &mut self.attended, &mut self.output_sum]
        {
            buffer.resize(hidden);
        }
        self.pre.resize(intermediate);
        self.intermediate.resize(intermediate);
    }
}

impl LayerScratch {
    fn resize(&mut self, config: &EncoderConfig, tokens: usize) {
        let hidden = tokens * config.hidden_size;
        for buffer in [&mut self.dsum, &mut self.dbranch, &mut self.dattended] {
            buffer.resize(hidden);
        }
        self.dintermediate.resize(tokens * config.intermediate_size);
        self.dquery_key_value.resize(3 * hidden);
    }
}
