//! The modules after the pooling in training: Dense, LayerNorm, Normalize.
//!
//! They read one row per sequence, so nothing here is on the hot path.

use std::ops::Range;

use polyhead_compute::{Activation, Buffer, Cpu, Dropout, Isa, PackedMatrix, QuantizedRows};

use crate::encoder::{Int8Linear, LayerLinear, Linear, PackedLinear, Pair, ParameterGroup};
use crate::modules::{Module, Residual};
use crate::training::gradients::Gradients;
use crate::training::store::ParameterStore;

/// A linear layer that can be trained: its packed weights in both directions, and the
/// entries of its parameters in the store.
pub(super) struct TrainableLinear {
    pub(super) packed: PackedLinear,
    /// `Wᵀ`, which the gradient of the input needs; `None` while no backward needs it.
    transposed: Option<PackedMatrix>,
    /// Several entries where layers are stacked.
    pub(super) weight: Range<usize>,
    pub(super) bias: Option<Range<usize>>,
}

impl TrainableLinear {
    /// Appends the parameters of a layer to the store.
    pub(super) fn push(
        store: &mut ParameterStore,
        name: &str,
        group: ParameterGroup,
        weight: &[f32],
        bias: Option<&[f32]>,
        outputs: usize,
        isa: Isa,
    ) -> Self {
        let inputs = weight.len() / outputs.max(1);
        let at = store.push(format!("{name}.weight"), vec![outputs, inputs], group, true, weight);
        let bias = bias.map(|bias| {
            let at = store.push(format!("{name}.bias"), vec![outputs], group, false, bias);
            at..at + 1
        });
        let transposed = Some(PackedMatrix::zeros(isa, inputs, outputs));
        let packed = PackedLinear::zeros(isa, outputs, inputs, bias.is_some());
        Self { packed, transposed, weight: at..at + 1, bias }
    }

    /// A layer of parameters that are in the store, without [`transposed`](Self::transposed)
    /// weights.
    ///
    /// - `entries`: the layers with the same input that it stacks, neighbours in the store
    pub(super) fn of_entries(
        isa: Isa,
        (outputs, inputs): (usize, usize),
        entries: &[Pair<usize>],
    ) -> Self {
        let (first, last) = (&entries[0], &entries[entries.len() - 1]);
        let weight = first.weight..last.weight + 1;
        let bias = first.bias.zip(last.bias).map(|(first, last)| first..last + 1);
        let packed = PackedLinear::zeros(isa, outputs, inputs, bias.is_some());
        Self { packed, transposed: None, weight, bias }
    }

    /// Copies the parameters from the store into the packed weights.
    pub(super) fn refresh(&mut self, store: &ParameterStore, cpu: Cpu) {
        let weight = store.span(self.weight.clone());
        let bias = self.bias.clone().map(|bias| store.span(bias));
        self.packed.refresh(weight, bias, cpu);
        if let Some(transposed) = &mut self.transposed {
            cpu.repack_transposed(transposed, weight);
        }
    }

    /// Makes the transposed weights unless they exist.
    pub(super) fn prepare_backward(&mut self, store: &ParameterStore, cpu: Cpu) {
        if self.transposed.is_none() {
            let (inputs, outputs) = (self.packed.inputs(), self.packed.outputs());
            let mut transposed = PackedMatrix::zeros(cpu.isa(), inputs, outputs);
            cpu.repack_transposed(&mut transposed, store.span(self.weight.clone()));
            self.transposed = Some(transposed);
        }
    }

    /// Drops the transposed weights, for a layer that no backward passes through.
    pub(super) fn drop_backward(&mut self) {
        self.transposed = None;
    }

    /// `Wᵀ`, for a backward.
    pub(super) fn transposed(&self) -> &PackedMatrix {
        self.transposed.as_ref().expect("prepared before the backward")
    }

    /// Whether the layer is trained.
    pub(super) fn is_trainable(&self, gradients: &Gradients) -> bool {
        gradients.layout().is_trainable(self.weight.start)
    }

    /// Adds the gradients of weight and bias, unless they are frozen.
    ///
    /// - `dout`: `[rows, out]`, `x`: `[rows, in]`
    pub(super) fn parameter_gradients(
        &self,
        cpu: Cpu,
        dout: &[f32],
        x: &[f32],
        gradients: &mut Gradients,
    ) {
        let (weight, bias) = (self.weight.clone(), self.bias.clone());
        gradients.add_linear(cpu, weight, bias, self.packed.outputs(), dout, x);
    }

    /// Computes the gradient of the input, `dx = dout · W (+ residual)`.
    ///
    /// - `dout`: `[rows, out]`; `residual`, `dx`: `[rows, in]`
    pub(super) fn input_gradient(
        &self,
        cpu: Cpu,
        dout: &[f32],
        residual: Option<&[f32]>,
        dx: &mut [f32],
    ) {
        cpu.input_gradient(dout, self.transposed(), residual, None, dx);
    }
}

impl LayerLinear for TrainableLinear {
    fn as_int8(&self) -> Option<&Int8Linear> {
        None
    }

    fn forward(
        &self,
        cpu: Cpu,
        x: &[f32],
        _: &QuantizedRows,
        activation: Activation,
        residual: Option<&[f32]>,
        out: &mut [f32],
    ) {
        self.packed.forward(cpu, x, activation, residual, out);
    }

    fn forward_gated(
        &self,
        cpu: Cpu,
        x: &[f32],
        _: &QuantizedRows,
        activation: Activation,
        _: &mut Buffer,
        out: &mut [f32],
    ) {
        self.packed.forward_gated(cpu, x, activation, out);
    }
}

/// A module after the pooling, with its parameters in the store.
pub(super) enum TrainableModule {
    Dense { linear: TrainableLinear, activation: Activation, residual: Option<TrainableResidual> },
    LayerNorm { norm: Pair<usize>, eps: f32 },
    Normalize,
}

/// The shortcut around a Dense module.
pub(super) enum TrainableResidual {
    Identity,
    Projection(Box<TrainableLinear>),
}

/// Activations of a module that its backward reads.
#[derive(Default)]
pub(super) struct ModuleCache {
    rows: usize,
    /// `[rows, in]`: the input.
    x: Vec<f32>,
    /// `[rows, out]`: the output of a Dense module before its activation.
    pre: Vec<f32>,
    /// `[rows, 2]`: mean and 1 / deviation of each row of a layer norm.
    stats: Vec<f32>,
}

impl TrainableModule {
    /// Appends the parameters of a module to the store; `None` for the pooling, which has none.
    ///
    /// - `names`: the names of its tensors in the folder, such as `2_Dense/linear.weight`
    pub(super) fn push(
        store: &mut ParameterStore,
        module: &Module,
        names: &[String],
        index: usize,
        isa: Isa,
    ) -> Option<Self> {
        let group = ParameterGroup::Module(index);
        // The name of a layer is that of its weight without the last part.
        let layer_name = |name: &String| name.trim_end_matches(".weight").to_owned();
        match module {
            Module::Pooling(_) => None,
            Module::Normalize => Some(Self::Normalize),
            Module::LayerNorm { norm, eps } => {
                let name = layer_name(&names[0]);
                let shape = vec![norm.weight.len()];
                let weight =
                    store.push(format!("{name}.weight"), shape.clone(), group, false, &norm.weight);
                let bias = store.push(format!("{name}.bias"), shape, group, false, &norm.bias);
                Some(Self::LayerNorm { norm: Pair { weight, bias: Some(bias) }, eps: *eps })
            }
            Module::Dense { linear, activation, residual } => {
                let mut push = |name: &String, linear: &Linear| {
                    let (name, bias) = (layer_name(name), linear.bias.as_deref());
                    let (weight, outputs) = (linear.weight.to_vec(), linear.weight.rows());
                    TrainableLinear::push(store, &name, group, &weight, bias, outputs, isa)
                };
                let linear = push(&names[0], linear);
                let residual = residual.as_ref().map(|residual| match residual {
                    Residual::Identity => TrainableResidual::Identity,
                    Residual::Projection(linear) => {
                        let name = names.last().expect("a projection has a name");
                        TrainableResidual::Projection(Box::new(push(name, linear)))
                    }
                });
                Some(Self::Dense { linear, activation: *activation, residual })
            }
        }
    }

    /// Copies the parameters from the store into packed weights.
    pub(super) fn refresh(&mut self, store: &ParameterStore, cpu: Cpu) {
        if let Self::Dense { linear, residual, .. } = self {
            linear.refresh(store, cpu);
            if let Some(TrainableResidual::Projection(linear)) = residual {
                linear.refresh(store, cpu);
            }
        }
    }

    /// Computes the output and stores in `cache` what the backward reads.
    ///
    /// - `x`: `[rows, in]`; returns `[rows, out]`
    pub(super) fn forward(
        &self,
        cpu: Cpu,
        store: &ParameterStore,
        x: Vec<f32>,
        rows: usize,
        cache: &mut ModuleCache,
    ) -> Vec<f32> {
        cache.rows = rows;
        match self {
            Self::Normalize => {
                cache.x.clone_from(&x);
                let mut out = x;
                let width = out.len() / rows.max(1);
                cpu.normalize(&mut out, width.max(1));
                out
            }
            Self::LayerNorm { norm, eps } => {
                let mut out = vec![0.0; x.len()];
                cache.x = x;
                cache.stats = vec![0.0; 2 * rows];
                cpu.residual_layer_norm(
                    &mut cache.x,
                    &Dropout::none(),
                    &[],
                    None,
                    store.get(norm.weight),
                    store.get(norm.bias.expect("a module's norm has a bias")),
                    *eps,
                    &mut cache.stats,
                    &mut out,
                );
                out
            }
            Self::Dense { linear: dense, activation, residual } => {
                let mut out = vec![0.0; rows * dense.packed.outputs()];
                cache.pre = vec![0.0; out.len()];
                let PackedLinear { matrix, bias } = &dense.packed;
                let zeros = vec![0.0; matrix.outputs()];
                let bias = bias.as_deref().unwrap_or(&zeros);
                cpu.linear_train(&x, matrix, bias, *activation, &mut cache.pre, &mut out);
                match residual {
                    None => (),
                    Some(TrainableResidual::Identity) => cpu.add(&x, &mut out),
                    Some(TrainableResidual::Projection(projection)) => {
                        let mut projected = vec![0.0; out.len()];
                        let identity = Activation::Identity;
                        projection.packed.forward(cpu, &x, identity, None, &mut projected);
                        cpu.add(&projected, &mut out);
                    }
                }
                cache.x = x;
                out
            }
        }
    }

    /// Adds the gradients of the parameters and returns the gradient of the input.
    ///
    /// - `dout`: `[rows, out]`; returns `[rows, in]`
    pub(super) fn backward(
        &self,
        cpu: Cpu,
        store: &ParameterStore,
        cache: &ModuleCache,
        mut dout: Vec<f32>,
        gradients: &mut Gradients,
    ) -> Vec<f32> {
        match self {
            Self::Normalize => {
                let width = cache.x.len() / cache.rows.max(1);
                cpu.normalize_backward(&cache.x, width.max(1), &mut dout);
                dout
            }
            Self::LayerNorm { norm, .. } => {
                let mut dx = vec![0.0; dout.len()];
                let pair = gradients.norm_mut(norm);
                let weight = store.get(norm.weight);
                cpu.layer_norm_backward(&cache.x, &cache.stats, weight, &dout, &mut dx, pair);
                dx
            }
            Self::Dense { linear: dense, activation, residual } => {
                let mut dpre = dout.clone();
                cpu.activation_backward(*activation, &cache.pre, &mut dpre);
                dense.parameter_gradients(cpu, &dpre, &cache.x, gradients);
                let shortcut = match residual {
                    None => None,
                    Some(TrainableResidual::Identity) => Some(dout),
                    Some(TrainableResidual::Projection(projection)) => {
                        projection.parameter_gradients(cpu, &dout, &cache.x, gradients);
                        let mut dx = vec![0.0; cache.x.len()];
                        projection.input_gradient(cpu, &dout, None, &mut dx);
                        Some(dx)
                    }
                };
                let mut dx = vec![0.0; cache.x.len()];
                dense.input_gradient(cpu, &dpre, shortcut.as_deref(), &mut dx);
                dx
            }
        }
    }
}
