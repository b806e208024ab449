//! One transformer layer in training: a forward that stores the activations which
//! its backward reads, and the backward.

use std::ops::Range;

use polyhead_compute::{Activation, Attention, Buffer, Cpu, Dropout, Isa};

use crate::encoder::{EncoderConfig, Layer, LayerPositions, LayerTensors, Norm, Pair};
use crate::training::dropout::{DropoutSite, DropoutStream};
use crate::training::gradients::Gradients;
use crate::training::module::TrainableLinear;
use crate::training::store::ParameterStore;

/// A layer: its weights, and the entries of its norms in the store.
pub(super) struct TrainableLayer {
    pub(super) layer: Layer<TrainableLinear>,
    input_norm: Option<Pair<usize>>,
    attention_norm: Pair<usize>,
    output_norm: Option<Pair<usize>>,
    /// All its entries in the store, which are neighbours.
    entries: Range<usize>,
}

/// Activations of a layer that its backward reads: `16 · D` numbers per token for
/// `F = 4 · D`, including the input and output of the layer, which [`Pass`] holds. A layer that
/// normalizes first stores no output of its norms, and no gated activation: they are computed again.
///
/// [`Pass`]: crate::training::Pass
#[derive(Default)]
pub(super) struct LayerCache {
    /// `[N, 2]`: mean and 1 / deviation of each row of that norm.
    input_stats: Buffer,
    /// `[N, 3·D]`: queries, keys and values.
    query_key_value: Buffer,
    /// `[N, D]`: the output of attention, before its output layer.
    context: Buffer,
    /// `[N, D]`: the input of the norm between attention and feed-forward.
    attention_sum: Buffer,
    /// `[N, 2]`: mean and 1 / deviation of each row of that norm.
    attention_stats: Buffer,
    /// `[N, D]`: the output of that norm, unless the layer normalizes first.
    attended: Buffer,
    /// `[N, F]`, or `[N, 2·F]` where it is gated: the first feed-forward layer before its activation.
    pre: Buffer,
    /// `[N, F]`: the first feed-forward layer after its activation, unless it is gated.
    intermediate: Buffer,
    /// `[N, D]`: the input of the norm after the feed-forward layers, if there is one.
    output_sum: Buffer,
    /// `[N, 2]`: mean and 1 / deviation of each row of that norm.
    output_stats: Buffer,
}

/// Buffers inside one layer, for gradients of activations and for activations that are computed
/// again; all layers share them.
#[derive(Default)]
pub(super) struct LayerScratch {
    /// `[N, D]`: the output of a norm in a layer that normalizes first.
    normed: Buffer,
    /// `[N, 2]`: mean and 1 / deviation of its rows, once more.
    stats: Buffer,
    /// `[N, F]`: the gated activation, where there is one.
    gated: Buffer,
    /// `[N, D]`: the gradient of a sum of a block and its input.
    dsum: Buffer,
    /// `[N, D]`: the gradient of the output of a branch, before its dropout.
    dbranch: Buffer,
    /// `[N, D]`: the gradient of `attended`, then of `context`.
    dattended: Buffer,
    /// `[N, F]`: the gradient of the gated activation, where there is one.
    dgated: Buffer,
    /// `[N, F]`, or `[N, 2·F]` where it is gated: the gradient of the first feed-forward layer before
    /// its activation.
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
    /// The entry of the bias by distance in the store, and the bias as attention reads it.
    pub(super) distance_bias: Option<(usize, &'a [f32])>,
    /// `[N]`: the dropout key of each token.
    pub(super) tokens: &'a [u64],
    pub(super) stream: DropoutStream,
}

impl<'a> LayerPass<'a> {
    fn attention(&self, layer: usize, window: Option<usize>) -> Attention<'a> {
        let Self { config, tokens, .. } = *self;
        let dropout = self.stream.dropout(config.attention_dropout, layer, DropoutSite::Attention);
        let bias = self.distance_bias.map(|(_, bias)| bias);
        Attention { dropout, rows: tokens, window, ..config.attention(bias) }
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
    pub(super) fn new(
        config: &EncoderConfig,
        isa: Isa,
        entries: &LayerTensors<usize>,
        positions: LayerPositions,
    ) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let linear = |entries: &[Pair<usize>], outputs, inputs| {
            TrainableLinear::of_entries(isa, (outputs, inputs), entries)
        };
        let one = std::slice::from_ref;
        let norm = || Norm { weight: vec![0.0; hidden], bias: vec![0.0; hidden] };
        let LayerTensors { input_norm, attention_norm, output_norm, .. } = *entries;
        let layer = Layer {
            positions,
            input_norm: input_norm.map(|_| norm()),
            query_key_value: linear(&entries.query_key_value, 3 * hidden, hidden),
            attention_output: linear(one(&entries.attention_output), hidden, hidden),
            attention_norm: norm(),
            intermediate: linear(one(&entries.intermediate), config.inner_outputs(), hidden),
            output: linear(one(&entries.output), hidden, inner),
            output_norm: output_norm.map(|_| norm()),
        };
        Self { layer, input_norm, attention_norm, output_norm, entries: entries.span() }
    }

    /// Whether any parameter of the layer is trained.
    pub(super) fn is_trainable(&self, flags: &dyn Fn(usize) -> bool) -> bool {
        self.entries.clone().any(flags)
    }

    /// Copies the parameters from the store into the packed weights.
    pub(super) fn refresh(&mut self, store: &ParameterStore, cpu: Cpu) {
        self.linears_mut().into_iter().for_each(|linear| linear.refresh(store, cpu));
        let Layer { input_norm, attention_norm, output_norm, .. } = &mut self.layer;
        let copy = |norm: &mut Norm, entries: Pair<usize>| {
            norm.weight.copy_from_slice(store.get(entries.weight));
            if let Some(bias) = entries.bias {
                norm.bias.copy_from_slice(store.get(bias));
            }
        };
        copy(attention_norm, self.attention_norm);
        for (norm, entries) in [(input_norm, self.input_norm), (output_norm, self.output_norm)] {
            norm.as_mut().zip(entries).into_iter().for_each(|(norm, entries)| copy(norm, entries));
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
        scratch: &mut LayerScratch,
        out: &mut [f32],
    ) {
        let LayerPass { cpu, config, offsets, tokens, .. } = pass;
        let layer = &self.layer;
        cache.resize(config, tokens.len(), layer);
        scratch.resize_for_forward(config, tokens.len());
        let identity = Activation::Identity;
        let (eps, first) = (config.layer_norm_eps, config.normalizes_first());
        let input = match &layer.input_norm {
            None => x,
            Some(norm) => {
                let normed = &mut scratch.normed;
                cpu.layer_norm_to(x, norm.with_eps(eps), &mut cache.input_stats, normed);
                &scratch.normed
            }
        };
        let query_key_value = &mut cache.query_key_value;
        layer.query_key_value.packed.forward(cpu, input, identity, None, query_key_value);
        let attention = pass.attention(index, layer.positions.window);
        if let Some(table) = &layer.positions.rotary {
            cpu.rotate(attention.shape, table, offsets, query_key_value);
        }
        cpu.attention(attention, &cache.query_key_value, offsets, &mut cache.context);
        let sum = &mut cache.attention_sum;
        layer.attention_output.packed.forward(cpu, &cache.context, identity, None, sum);
        let attended = if first { &mut scratch.normed } else { &mut cache.attended };
        cpu.residual_layer_norm(
            &mut cache.attention_sum,
            &pass.attention_output_dropout(index),
            tokens,
            Some(x),
            &layer.attention_norm.weight,
            &layer.attention_norm.bias,
            eps,
            &mut cache.attention_stats,
            attended,
        );
        if config.family.gated {
            let (pre, width) = (&mut cache.pre, config.intermediate_size);
            layer.intermediate.packed.forward(cpu, attended, identity, None, pre);
            cpu.gate(config.activation, pre, width, &mut scratch.gated);
        } else {
            let intermediate = &layer.intermediate.packed;
            let no_bias = if intermediate.bias.is_none() {
                vec![0.0; intermediate.outputs()]
            } else {
                Vec::new()
            };
            cpu.linear_train(
                attended,
                &intermediate.matrix,
                intermediate.bias.as_deref().unwrap_or(&no_bias),
                config.activation,
                &mut cache.pre,
                &mut cache.intermediate,
            );
        }
        let inner = if config.family.gated { &scratch.gated } else { &cache.intermediate };
        let residual = if first { &cache.attention_sum } else { &cache.attended };
        let Some(norm) = &layer.output_norm else {
            layer.output.packed.forward(cpu, inner, identity, None, out);
            cpu.dropout(&pass.output_dropout(index), tokens, out);
            cpu.add(residual, out);
            return;
        };
        let sum = &mut cache.output_sum;
        layer.output.packed.forward(cpu, inner, identity, None, sum);
        cpu.residual_layer_norm(
            &mut cache.output_sum,
            &pass.output_dropout(index),
            tokens,
            Some(residual),
            &norm.weight,
            &norm.bias,
            eps,
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
        let LayerScratch {
            normed,
            stats,
            gated,
            dsum,
            dbranch,
            dattended,
            dgated,
            dintermediate,
            dquery_key_value,
        } = scratch;
        let (eps, first) = (config.layer_norm_eps, config.normalizes_first());

        // Feed-forward: out = norm(dropout(output(act(intermediate(attended)))) + attended), or
        // without the norm; in a layer that normalizes first, + attention_sum.
        match (&layer.output_norm, &self.output_norm) {
            (Some(norm), Some(entries)) => cpu.layer_norm_backward(
                &cache.output_sum,
                &cache.output_stats,
                &norm.weight,
                dhidden,
                dsum,
                gradients.norm_mut(entries),
            ),
            _ => cpu.copy(dhidden, dsum),
        }
        cpu.dropout_to(&pass.output_dropout(index), tokens, dsum, dbranch);
        if config.family.gated {
            let (pre, width) = (&cache.pre, config.intermediate_size);
            cpu.gate(config.activation, pre, width, gated);
            layer.output.parameter_gradients(cpu, dbranch, gated, gradients);
            layer.output.input_gradient(cpu, dbranch, None, dgated);
            cpu.gate_backward(config.activation, pre, width, dgated, dintermediate);
        } else {
            layer.output.parameter_gradients(cpu, dbranch, &cache.intermediate, gradients);
            let derivative = Some((config.activation, &cache.pre[..]));
            cpu.input_gradient(dbranch, layer.output.transposed(), None, derivative, dintermediate);
        }
        let attended = if first {
            let norm = layer.attention_norm.with_eps(eps);
            cpu.layer_norm_to(&cache.attention_sum, norm, stats, normed);
            &*normed
        } else {
            &cache.attended
        };
        layer.intermediate.parameter_gradients(cpu, dintermediate, attended, gradients);
        let residual = if first { None } else { Some(&dsum[..]) };
        layer.intermediate.input_gradient(cpu, dintermediate, residual, dattended);

        // Attention: attended = norm(attention_sum),
        // attention_sum = dropout(attention_output(context)) + x.
        if first {
            // The gradient that goes around the feed-forward layers.
            cpu.copy(dsum, dbranch);
        }
        cpu.layer_norm_backward(
            &cache.attention_sum,
            &cache.attention_stats,
            &layer.attention_norm.weight,
            dattended,
            dsum,
            gradients.norm_mut(&self.attention_norm),
        );
        if first {
            cpu.add(dbranch, dsum);
        }
        cpu.dropout_to(&pass.attention_output_dropout(index), tokens, dsum, dbranch);
        layer.attention_output.parameter_gradients(cpu, dbranch, &cache.context, gradients);
        let dcontext = dattended;
        layer.attention_output.input_gradient(cpu, dbranch, None, dcontext);
        let attention = pass.attention(index, layer.positions.window);
        cpu.attention_backward(
            attention,
            &cache.query_key_value,
            offsets,
            &cache.context,
            dcontext,
            dquery_key_value,
            pass.distance_bias
                .and_then(|(entry, bias)| gradients.distance_bias_mut(entry, bias.len(), index)),
        );
        if let Some(table) = &layer.positions.rotary {
            cpu.rotate_backward(attention.shape, table, offsets, dquery_key_value);
        }
        let input = match &layer.input_norm {
            None => x,
            Some(norm) => {
                cpu.layer_norm_to(x, norm.with_eps(eps), stats, normed);
                &*normed
            }
        };
        layer.query_key_value.parameter_gradients(cpu, dquery_key_value, input, gradients);
        match (&layer.input_norm, &self.input_norm) {
            (Some(norm), Some(entries)) => {
                let (dnormed, dx) = (dcontext, dbranch);
                layer.query_key_value.input_gradient(cpu, dquery_key_value, None, dnormed);
                let gradient = gradients.norm_mut(entries);
                cpu.layer_norm_backward(x, &cache.input_stats, &norm.weight, dnormed, dx, gradient);
                cpu.add(dsum, dx);
                cpu.copy(dx, dhidden);
            }
            _ if below => {
                layer.query_key_value.input_gradient(cpu, dquery_key_value, Some(dsum), dhidden);
            }
            _ => {}
        }
    }
}

impl LayerCache {
    fn resize<L>(&mut self, config: &EncoderConfig, tokens: usize, layer: &Layer<L>) {
        let (hidden, intermediate) =
            (tokens * config.hidden_size, tokens * config.intermediate_size);
        self.query_key_value.resize(3 * hidden);
        self.attention_stats.resize(2 * tokens);
        self.context.resize(hidden);
        self.attention_sum.resize(hidden);
        if !config.normalizes_first() {
            self.attended.resize(hidden);
        }
        if layer.input_norm.is_some() {
            self.input_stats.resize(2 * tokens);
        }
        if layer.output_norm.is_some() {
            self.output_sum.resize(hidden);
            self.output_stats.resize(2 * tokens);
        }
        self.pre.resize(tokens * config.inner_outputs());
        if !config.family.gated {
            self.intermediate.resize(intermediate);
        }
    }
}

impl LayerScratch {
    /// Resizes the buffers that the forward needs.
    fn resize_for_forward(&mut self, config: &EncoderConfig, tokens: usize) {
        if config.normalizes_first() {
            self.normed.resize(tokens * config.hidden_size);
            self.stats.resize(2 * tokens);
        }
        if config.family.gated {
            self.gated.resize(tokens * config.intermediate_size);
        }
    }

    fn resize(&mut self, config: &EncoderConfig, tokens: usize) {
        self.resize_for_forward(config, tokens);
        let hidden = tokens * config.hidden_size;
        for buffer in [&mut self.dsum, &mut self.dbranch, &mut self.dattended] {
            buffer.resize(hidden);
        }
        if config.family.gated {
            self.dgated.resize(tokens * config.intermediate_size);
        }
        self.dintermediate.resize(tokens * config.inner_outputs());
        self.dquery_key_value.resize(3 * hidden);
    }
}
