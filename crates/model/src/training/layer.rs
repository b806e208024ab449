//! One transformer layer in training: a forward that stores the activations which
//! its backward reads, and the backward.

use std::ops::Range;

use polyhead_compute::{Activation, Buffer, Cpu, Dropout, Isa, PackedMatrix};

use crate::encoder::{EncoderConfig, Layer, LayerTensors, PackedLinear, Pair};
use crate::training::dropout::{DropoutSite, DropoutStream};
use crate::training::gradients::Gradients;
use crate::training::store::ParameterStore;

/// A layer: its packed weights, the entries of its parameters in the store, and its
/// transposed weights.
pub(super) struct TrainableLayer {
    pub(super) layer: Layer<PackedLinear>,
    entries: LayerEntries,
    /// `Wᵀ` of each product; made before the first backward through this layer.
    transposed: Option<Transposed>,
}

/// The entries of a layer in the store. Query, key and value are neighbours, in this order.
struct LayerEntries {
    query_key_value: LinearEntries,
    attention_output: LinearEntries,
    attention_norm: NormEntries,
    intermediate: LinearEntries,
    output: LinearEntries,
    output_norm: NormEntries,
}

/// The entries of a linear layer in the store; several where layers are stacked.
struct LinearEntries {
    weight: Range<usize>,
    bias: Range<usize>,
    outputs: usize,
}

/// The entries of a layer norm in the store.
struct NormEntries {
    weight: usize,
    bias: usize,
}

/// `Wᵀ` of each product, which the gradients of its inputs need.
struct Transposed {
    query_key_value: PackedMatrix,
    attention_output: PackedMatrix,
    intermediate: PackedMatrix,
    output: PackedMatrix,
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
        let LayerTensors { query, value, .. } = entries;
        let hidden = config.hidden_size;
        let linear = LinearEntries::new;
        let norm = |pair: &Pair<usize>| NormEntries { weight: pair.weight, bias: pair.bias };
        let entries = LayerEntries {
            // Query, key and value are neighbours in the store, in this order.
            query_key_value: LinearEntries {
                weight: query.weight..value.weight + 1,
                bias: query.bias..value.bias + 1,
                outputs: 3 * hidden,
            },
            attention_output: linear(&entries.attention_output, hidden),
            attention_norm: norm(&entries.attention_norm),
            intermediate: linear(&entries.intermediate, config.intermediate_size),
            output: linear(&entries.output, hidden),
            output_norm: norm(&entries.output_norm),
        };
        Self { layer: Layer::zeros(config, isa), entries, transposed: None }
    }

    /// Whether any parameter of the layer is trained.
    pub(super) fn is_trainable(&self, flags: &dyn Fn(usize) -> bool) -> bool {
        let first = self.entries.query_key_value.weight.start;
        (first..=self.entries.output_norm.bias).any(flags)
    }

    /// Copies the parameters from the store into the packed weights.
    pub(super) fn refresh(&mut self, store: &ParameterStore, cpu: Cpu) {
        let Self { layer, entries, transposed } = self;
        let refresh_linear = |packed: &mut PackedLinear, entry: &LinearEntries| {
            packed.refresh(
                store.span(entry.weight.clone()),
                Some(store.span(entry.bias.clone())),
                cpu,
            );
        };
        refresh_linear(&mut layer.query_key_value, &entries.query_key_value);
        refresh_linear(&mut layer.attention_output, &entries.attention_output);
        refresh_linear(&mut layer.intermediate, &entries.intermediate);
        refresh_linear(&mut layer.output, &entries.output);
        for (norm, entry) in [
            (&mut layer.attention_norm, &entries.attention_norm),
            (&mut layer.output_norm, &entries.output_norm),
        ] {
            norm.weight.copy_from_slice(store.get(entry.weight));
            norm.bias.copy_from_slice(store.get(entry.bias));
        }
        if let Some(transposed) = transposed {
            transposed.refresh(entries, store, cpu);
        }
    }

    /// Makes the transposed weights unless they exist.
    pub(super) fn prepare_backward(
        &mut self,
        config: &EncoderConfig,
        store: &ParameterStore,
        cpu: Cpu,
    ) {
        if self.transposed.is_none() {
            let mut transposed = Transposed::zeros(config, cpu.isa());
            transposed.refresh(&self.entries, store, cpu);
            self.transposed = Some(transposed);
        }
    }

    /// Drops the transposed weights, for a layer that no backward passes through.
    pub(super) fn drop_backward(&mut self) {
        self.transposed = None;
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
        layer.query_key_value.forward(cpu, x, identity, None, &mut cache.query_key_value);
        cpu.attention_train(
            config.attention_shape(),
            &cache.query_key_value,
            offsets,
            &pass.attention_dropout(index),
            tokens,
            &mut cache.context,
        );
        layer.attention_output.forward(
            cpu,
            &cache.context,
            identity,
            None,
            &mut cache.attention_sum,
        );
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
            &layer.intermediate.matrix,
            layer.intermediate.bias.as_deref().expect("layers of an encoder have biases"),
            config.activation,
            &mut cache.pre,
            &mut cache.intermediate,
        );
        layer.output.forward(cpu, &cache.intermediate, identity, None, &mut cache.output_sum);
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
        let Self { layer, entries, transposed } = self;
        let transposed = transposed.as_ref().expect("prepared before the backward");
        scratch.resize(config, tokens.len());
        let LayerScratch { dsum, dbranch, dattended, dintermediate, dquery_key_value } = scratch;

        // Feed-forward: out = norm(dropout(output(act(intermediate(attended)))) + attended).
        cpu.layer_norm_backward(
            &cache.output_sum,
            &cache.output_stats,
            &layer.output_norm.weight,
            dhidden,
            dsum,
            entries.output_norm.gradients_mut(gradients),
        );
        cpu.dropout_to(&pass.output_dropout(index), tokens, dsum, dbranch);
        entries.output.add_gradients(cpu, dbranch, &cache.intermediate, gradients);
        let derivative = Some((config.activation, &cache.pre[..]));
        cpu.input_gradient(dbranch, &transposed.output, None, derivative, dintermediate);
        entries.intermediate.add_gradients(cpu, dintermediate, &cache.attended, gradients);
        let weight = &transposed.intermediate;
        cpu.input_gradient(dintermediate, weight, Some(dsum), None, dattended);

        // Attention: attended = norm(dropout(attention_output(context)) + x).
        cpu.layer_norm_backward(
            &cache.attention_sum,
            &cache.attention_stats,
            &layer.attention_norm.weight,
            dattended,
            dsum,
            entries.attention_norm.gradients_mut(gradients),
        );
        cpu.dropout_to(&pass.attention_output_dropout(index), tokens, dsum, dbranch);
        entries.attention_output.add_gradients(cpu, dbranch, &cache.context, gradients);
        let dcontext = dattended;
        cpu.input_gradient(dbranch, &transposed.attention_output, None, None, dcontext);
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
        entries.query_key_value.add_gradients(cpu, dquery_key_value, x, gradients);
        if below {
            let weight = &transposed.query_key_value;
            cpu.input_gradient(dquery_key_value, weight, Some(dsum), None, dhidden);
        }
    }
}

impl LinearEntries {
    fn new(pair: &Pair<usize>, outputs: usize) -> Self {
        Self { weight: pair.weight..pair.weight + 1, bias: pair.bias..pair.bias + 1, outputs }
    }

    /// Adds the gradients of weight and bias, unless they are frozen.
    fn add_gradients(&self, cpu: Cpu, dout: &[f32], x: &[f32], gradients: &mut Gradients) {
        let (weight, bias) = (self.weight.clone(), Some(self.bias.clone()));
        gradients.add_linear(cpu, weight, bias, self.outputs, dout, x);
    }
}

impl NormEntries {
    /// The gradients of weight and bias; `None` if they are frozen.
    fn gradients_mut<'a>(
        &self,
        gradients: &'a mut Gradients,
    ) -> Option<(&'a mut [f32], &'a mut [f32])> {
        gradients.pair_mut(self.weight..self.weight + 1, self.bias..self.bias + 1)
    }
}

impl Transposed {
    fn zeros(config: &EncoderConfig, isa: Isa) -> Self {
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        Self {
            query_key_value: PackedMatrix::zeros(isa, hidden, 3 * hidden),
            attention_output: PackedMatrix::zeros(isa, hidden, hidden),
            intermediate: PackedMatrix::zeros(isa, hidden, intermediate),
            output: PackedMatrix::zeros(isa, intermediate, hidden),
        }
    }

    fn refresh(&mut self, entries: &LayerEntries, store: &ParameterStore, cpu: Cpu) {
        let weight_of = |linear: &LinearEntries| store.span(linear.weight.clone());
        cpu.repack_transposed(&mut self.query_key_value, weight_of(&entries.query_key_value));
        cpu.repack_transposed(&mut self.attention_output, weight_of(&entries.attention_output));
        cpu.repack_transposed(&mut self.intermediate, weight_of(&entries.intermediate));
        cpu.repack_transposed(&mut self.output, weight_of(&entries.output));
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
