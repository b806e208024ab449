//! One transformer layer in training: a forward that keeps what its backward
//! reads, and the backward.

use std::ops::Range;

use polyhead_compute::{Activation, Buffer, Cpu, Dropout, Isa, PackedMatrix};

use crate::encoder::{EncoderConfig, Layer, LayerTensors, PackedLinear, Pair};
use crate::training::dropout::{DropoutStream, Site};
use crate::training::gradients::Gradients;
use crate::training::store::ParameterStore;

/// A layer, where its numbers stand in the index, and its weights transposed.
pub(super) struct TrainableLayer {
    pub(super) layer: Layer<PackedLinear>,
    places: LayerPlaces,
    /// Made when the backward first comes here.
    transposed: Option<Transposed>,
}

/// Entries of the index: query, key and value are neighbours, in this order.
struct LayerPlaces {
    query_key_value: LinearEntries,
    attention_output: LinearEntries,
    attention_norm: NormEntries,
    intermediate: LinearEntries,
    output: LinearEntries,
    output_norm: NormEntries,
}

struct LinearEntries {
    weight: Range<usize>,
    bias: Range<usize>,
    outputs: usize,
}

struct NormEntries {
    weight: usize,
    bias: usize,
}

/// `Wᵀ` of each product, for the gradients of the inputs.
struct Transposed {
    query_key_value: PackedMatrix,
    attention_output: PackedMatrix,
    intermediate: PackedMatrix,
    output: PackedMatrix,
}

/// What the forward keeps: `16 · D` numbers a token for `F = 4 · D`, the
/// layer's input and output (kept elsewhere) included.
#[derive(Default)]
pub(super) struct LayerCache {
    /// `[N, 3·D]`
    query_key_value: Buffer,
    /// `[N, D]`: attention's answer, before its output layer.
    context: Buffer,
    /// `[N, D]`: what the first norm reads.
    attention_sum: Buffer,
    /// `[N, 2]`
    attention_stats: Buffer,
    /// `[N, D]`: what the first norm gives.
    attended: Buffer,
    /// `[N, F]`: before the activation.
    pre: Buffer,
    /// `[N, F]`: after it.
    intermediate: Buffer,
    /// `[N, D]`: what the second norm reads.
    output_sum: Buffer,
    /// `[N, 2]`
    output_stats: Buffer,
}

/// Room for gradients on their way down, one layer's at a time.
#[derive(Default)]
pub(super) struct LayerScratch {
    /// `[N, D]`: of a norm's sum.
    dsum: Buffer,
    /// `[N, D]`: of a branch, behind its dropout.
    dbranch: Buffer,
    /// `[N, D]`
    dattended: Buffer,
    /// `[N, F]`
    dintermediate: Buffer,
    /// `[N, 3·D]`
    dquery_key_value: Buffer,
}

/// What is the same for every layer of a pass.
#[derive(Clone, Copy)]
pub(super) struct LayerPass<'a> {
    pub(super) cpu: Cpu<'a>,
    pub(super) config: &'a EncoderConfig,
    pub(super) offsets: &'a [usize],
    /// `[N]`: who each token is, for dropout.
    pub(super) tokens: &'a [u64],
    pub(super) stream: DropoutStream,
}

impl LayerPass<'_> {
    fn attention_dropout(&self, layer: usize) -> Dropout {
        self.stream.dropout(self.config.attention_dropout, layer, Site::Attention)
    }

    fn attention_output_dropout(&self, layer: usize) -> Dropout {
        if self.config.family.attention_output_dropout {
            self.stream.dropout(self.config.hidden_dropout, layer, Site::AttentionOutput)
        } else {
            Dropout::none()
        }
    }

    fn output_dropout(&self, layer: usize) -> Dropout {
        self.stream.dropout(self.config.hidden_dropout, layer, Site::Output)
    }
}

impl TrainableLayer {
    /// - `entries`: the entries of its tensors in the store
    pub(super) fn new(config: &EncoderConfig, isa: Isa, entries: &LayerTensors<usize>) -> Self {
        let LayerTensors { query, value, .. } = entries;
        let hidden = config.hidden_size;
        let linear = LinearEntries::new;
        let norm = |pair: &Pair<usize>| NormEntries { weight: pair.weight, bias: pair.bias };
        let places = LayerPlaces {
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
        Self { layer: Layer::zeros(config, isa), places, transposed: None }
    }

    /// Whether the optimizer changes any of it.
    pub(super) fn is_trainable(&self, flags: &dyn Fn(usize) -> bool) -> bool {
        let first = self.places.query_key_value.weight.start;
        (first..=self.places.output_norm.bias).any(flags)
    }

    /// Takes the numbers of the store.
    pub(super) fn refresh(&mut self, store: &ParameterStore, cpu: Cpu) {
        let Self { layer, places, transposed } = self;
        let linear = |packed: &mut PackedLinear, place: &LinearEntries| {
            packed.refresh(
                store.span(place.weight.clone()),
                Some(store.span(place.bias.clone())),
                cpu,
            );
        };
        linear(&mut layer.query_key_value, &places.query_key_value);
        linear(&mut layer.attention_output, &places.attention_output);
        linear(&mut layer.intermediate, &places.intermediate);
        linear(&mut layer.output, &places.output);
        for (norm, place) in [
            (&mut layer.attention_norm, &places.attention_norm),
            (&mut layer.output_norm, &places.output_norm),
        ] {
            norm.weight.copy_from_slice(store.get(place.weight));
            norm.bias.copy_from_slice(store.get(place.bias));
        }
        if let Some(transposed) = transposed {
            transposed.refresh(places, store, cpu);
        }
    }

    /// Makes the transposed weights if they are not there yet.
    pub(super) fn prepare_backward(
        &mut self,
        config: &EncoderConfig,
        store: &ParameterStore,
        cpu: Cpu,
    ) {
        if self.transposed.is_none() {
            let mut transposed = Transposed::zeros(config, cpu.isa());
            transposed.refresh(&self.places, store, cpu);
            self.transposed = Some(transposed);
        }
    }

    /// Gives the transposed weights back, where no backward comes any more.
    pub(super) fn drop_backward(&mut self) {
        self.transposed = None;
    }

    /// - `x`, `out`: `[N, D]`, input and output of layer `index`
    pub(super) fn forward(
        &self,
        pass: LayerPass,
        index: usize,
        x: &[f32],
        kept: &mut LayerCache,
        out: &mut [f32],
    ) {
        let LayerPass { cpu, config, offsets, tokens, .. } = pass;
        let layer = &self.layer;
        kept.resize(config, tokens.len());
        let identity = Activation::Identity;
        layer.query_key_value.forward(cpu, x, identity, None, &mut kept.query_key_value);
        cpu.attention_train(
            config.attention_shape(),
            &kept.query_key_value,
            offsets,
            &pass.attention_dropout(index),
            tokens,
            &mut kept.context,
        );
        layer.attention_output.forward(cpu, &kept.context, identity, None, &mut kept.attention_sum);
        cpu.residual_layer_norm(
            &mut kept.attention_sum,
            &pass.attention_output_dropout(index),
            tokens,
            Some(x),
            &layer.attention_norm.weight,
            &layer.attention_norm.bias,
            config.layer_norm_eps,
            &mut kept.attention_stats,
            &mut kept.attended,
        );
        cpu.linear_train(
            &kept.attended,
            &layer.intermediate.matrix,
            layer.intermediate.bias.as_deref().expect("layers of an encoder have biases"),
            config.activation,
            &mut kept.pre,
            &mut kept.intermediate,
        );
        layer.output.forward(cpu, &kept.intermediate, identity, None, &mut kept.output_sum);
        cpu.residual_layer_norm(
            &mut kept.output_sum,
            &pass.output_dropout(index),
            tokens,
            Some(&kept.attended),
            &layer.output_norm.weight,
            &layer.output_norm.bias,
            config.layer_norm_eps,
            &mut kept.output_stats,
            out,
        );
    }

    /// `dhidden`, `[N, D]`, is the gradient of the output and, where `below`
    /// says that somebody reads it, becomes that of the input.
    ///
    /// - `x`: `[N, D]`, the input of layer `index`
    #[allow(clippy::too_many_arguments)] // What goes in, what was kept, what comes out.
    pub(super) fn backward(
        &self,
        pass: LayerPass,
        index: usize,
        x: &[f32],
        kept: &LayerCache,
        dhidden: &mut [f32],
        below: bool,
        scratch: &mut LayerScratch,
        gradients: &mut Gradients,
    ) {
        let LayerPass { cpu, config, offsets, tokens, .. } = pass;
        let Self { layer, places, transposed } = self;
        let transposed = transposed.as_ref().expect("prepared before the backward");
        scratch.resize(config, tokens.len());
        let LayerScratch { dsum, dbranch, dattended, dintermediate, dquery_key_value } = scratch;

        // Feed-forward: out = norm(dropout(output(act(intermediate(attended)))) + attended).
        cpu.layer_norm_backward(
            &kept.output_sum,
            &kept.output_stats,
            &layer.output_norm.weight,
            dhidden,
            dsum,
            places.output_norm.gradients(gradients),
        );
        cpu.dropout_to(&pass.output_dropout(index), tokens, dsum, dbranch);
        places.output.gradients(cpu, dbranch, &kept.intermediate, gradients);
        let derivative = Some((config.activation, &kept.pre[..]));
        cpu.input_gradient(dbranch, &transposed.output, None, derivative, dintermediate);
        places.intermediate.gradients(cpu, dintermediate, &kept.attended, gradients);
        let weight = &transposed.intermediate;
        cpu.input_gradient(dintermediate, weight, Some(dsum), None, dattended);

        // Attention: attended = norm(dropout(attention_output(context)) + x).
        cpu.layer_norm_backward(
            &kept.attention_sum,
            &kept.attention_stats,
            &layer.attention_norm.weight,
            dattended,
            dsum,
            places.attention_norm.gradients(gradients),
        );
        cpu.dropout_to(&pass.attention_output_dropout(index), tokens, dsum, dbranch);
        places.attention_output.gradients(cpu, dbranch, &kept.context, gradients);
        let dcontext = dattended;
        cpu.input_gradient(dbranch, &transposed.attention_output, None, None, dcontext);
        cpu.attention_backward(
            config.attention_shape(),
            &kept.query_key_value,
            offsets,
            &pass.attention_dropout(index),
            tokens,
            &kept.context,
            dcontext,
            dquery_key_value,
        );
        places.query_key_value.gradients(cpu, dquery_key_value, x, gradients);
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
    fn gradients(&self, cpu: Cpu, dout: &[f32], x: &[f32], gradients: &mut Gradients) {
        let (weight, bias) = (self.weight.clone(), Some(self.bias.clone()));
        gradients.add_linear(cpu, weight, bias, self.outputs, dout, x);
    }
}

impl NormEntries {
    fn gradients<'a>(
        &self,
        gradients: &'a mut Gradients,
    ) -> Option<(&'a mut [f32], &'a mut [f32])> {
        gradients.pair(self.weight..self.weight + 1, self.bias..self.bias + 1)
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

    fn refresh(&mut self, places: &LayerPlaces, store: &ParameterStore, cpu: Cpu) {
        let weight = |place: &LinearEntries| store.span(place.weight.clone());
        cpu.repack_transposed(&mut self.query_key_value, weight(&places.query_key_value));
        cpu.repack_transposed(&mut self.attention_output, weight(&places.attention_output));
        cpu.repack_transposed(&mut self.intermediate, weight(&places.intermediate));
        cpu.repack_transposed(&mut self.output, weight(&places.output));
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
