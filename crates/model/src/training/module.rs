//! The modules behind the pooling in training: Dense, LayerNorm, Normalize.
//!
//! They see one row a sequence, so nothing here is on the hot path.

use std::ops::Range;

use polyhead_compute::{Activation, Cpu, Dropout, Isa, PackedMatrix};

use crate::encoder::PackedLinear;
use crate::encoder::ParameterGroup;
use crate::modules::{Module, Residual};
use crate::training::gradients::Gradients;
use crate::training::store::ParameterStore;

/// A linear layer that can be trained: its packed weights both ways, and where
/// its numbers stand in the index.
pub(super) struct TrainableLinear {
    pub(super) packed: PackedLinear,
    /// Of `Wᵀ`, for the gradient of the input.
    pub(super) transposed: PackedMatrix,
    pub(super) weight: Range<usize>,
    pub(super) bias: Option<Range<usize>>,
}

impl TrainableLinear {
    /// Appends a layer to the store.
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
        Self {
            packed: PackedLinear::zeros(isa, outputs, inputs, bias.is_some()),
            transposed: PackedMatrix::zeros(isa, inputs, outputs),
            weight: at..at + 1,
            bias,
        }
    }

    /// Takes the numbers of the store.
    pub(super) fn refresh(&mut self, store: &ParameterStore, cpu: Cpu) {
        let weight = store.span(self.weight.clone());
        let bias = self.bias.clone().map(|bias| store.span(bias));
        self.packed.refresh(weight, bias, cpu);
        cpu.repack_transposed(&mut self.transposed, weight);
    }

    /// Whether the optimizer changes it.
    pub(super) fn is_trainable(&self, gradients: &Gradients) -> bool {
        gradients.layout().is_trainable(self.weight.start)
    }

    /// Adds the gradients of weight and bias.
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

    /// `dx = dout · W (+ residual)`
    pub(super) fn input_gradient(
        &self,
        cpu: Cpu,
        dout: &[f32],
        residual: Option<&[f32]>,
        dx: &mut [f32],
    ) {
        cpu.input_gradient(dout, &self.transposed, residual, None, dx);
    }
}

/// A module with parameters in the store.
pub(super) enum TrainableModule {
    Dense { linear: TrainableLinear, activation: Activation, residual: Option<Shortcut> },
    LayerNorm { weight: usize, bias: usize, eps: f32 },
    Normalize,
}

pub(super) enum Shortcut {
    Identity,
    Projection(Box<TrainableLinear>),
}

/// What a module keeps for its backward.
#[derive(Default)]
pub(super) struct ModuleCache {
    rows: usize,
    /// `[rows, in]`; of a layer norm its sum, of Normalize its input.
    x: Vec<f32>,
    /// Dense: before the activation.
    pre: Vec<f32>,
    /// Layer norm: mean and 1 / deviation of each row.
    stats: Vec<f32>,
}

impl TrainableModule {
    /// Appends a module to the store. The name of its tensors is that in its
    /// folder: `2_Dense/linear.weight`.
    pub(super) fn push(
        store: &mut ParameterStore,
        module: &Module,
        names: &[String],
        index: usize,
        isa: Isa,
    ) -> Option<Self> {
        let group = ParameterGroup::Module(index);
        // The name of the first tensor without its last part.
        let stem = |name: &String| name.trim_end_matches(".weight").to_owned();
        match module {
            Module::Pooling(_) => None,
            Module::Normalize => Some(Self::Normalize),
            Module::LayerNorm { norm, eps } => {
                let name = stem(&names[0]);
                let shape = vec![norm.weight.len()];
                let weight =
                    store.push(format!("{name}.weight"), shape.clone(), group, false, &norm.weight);
                let bias = store.push(format!("{name}.bias"), shape, group, false, &norm.bias);
                Some(Self::LayerNorm { weight, bias, eps: *eps })
            }
            Module::Dense { linear, activation, residual } => {
                let outputs = linear.weight.rows();
                let dense = TrainableLinear::push(
                    store,
                    &stem(&names[0]),
                    group,
                    &linear.weight.to_vec(),
                    linear.bias.as_deref(),
                    outputs,
                    isa,
                );
                let residual = residual.as_ref().map(|residual| match residual {
                    Residual::Identity => Shortcut::Identity,
                    Residual::Projection(linear) => {
                        let name = stem(names.last().expect("a projection has a name"));
                        Shortcut::Projection(Box::new(TrainableLinear::push(
                            store,
                            &name,
                            group,
                            &linear.weight.to_vec(),
                            linear.bias.as_deref(),
                            outputs,
                            isa,
                        )))
                    }
                });
                Some(Self::Dense { linear: dense, activation: *activation, residual })
            }
        }
    }

    pub(super) fn refresh(&mut self, store: &ParameterStore, cpu: Cpu) {
        if let Self::Dense { linear, residual, .. } = self {
            linear.refresh(store, cpu);
            if let Some(Shortcut::Projection(linear)) = residual {
                linear.refresh(store, cpu);
            }
        }
    }

    /// - `x`: `[rows, in]`; returns `[rows, out]`
    pub(super) fn forward(
        &self,
        cpu: Cpu,
        store: &ParameterStore,
        x: Vec<f32>,
        rows: usize,
        kept: &mut ModuleCache,
    ) -> Vec<f32> {
        kept.rows = rows;
        match self {
            Self::Normalize => {
                kept.x.clone_from(&x);
                let mut out = x;
                let width = out.len() / rows.max(1);
                cpu.normalize(&mut out, width.max(1));
                out
            }
            Self::LayerNorm { weight, bias, eps } => {
                let mut out = vec![0.0; x.len()];
                kept.x = x;
                kept.stats = vec![0.0; 2 * rows];
                cpu.residual_layer_norm(
                    &mut kept.x,
                    &Dropout::none(),
                    &[],
                    None,
                    store.get(*weight),
                    store.get(*bias),
                    *eps,
                    &mut kept.stats,
                    &mut out,
                );
                out
            }
            Self::Dense { linear: dense, activation, residual } => {
                let mut out = vec![0.0; rows * dense.packed.outputs()];
                kept.pre = vec![0.0; out.len()];
                let zeros;
                let bias = match &dense.packed.bias {
                    Some(bias) => bias,
                    None => {
                        zeros = vec![0.0; dense.packed.outputs()];
                        &zeros
                    }
                };
                cpu.linear_train(
                    &x,
                    &dense.packed.matrix,
                    bias,
                    *activation,
                    &mut kept.pre,
                    &mut out,
                );
                match residual {
                    None => (),
                    Some(Shortcut::Identity) => cpu.add(&x, &mut out),
                    Some(Shortcut::Projection(projection)) => {
                        let mut projected = vec![0.0; out.len()];
                        projection.packed.forward(
                            cpu,
                            &x,
                            Activation::Identity,
                            None,
                            &mut projected,
                        );
                        cpu.add(&projected, &mut out);
                    }
                }
                kept.x = x;
                out
            }
        }
    }

    /// - `dout`: `[rows, out]`; returns `[rows, in]`
    pub(super) fn backward(
        &self,
        cpu: Cpu,
        store: &ParameterStore,
        kept: &ModuleCache,
        mut dout: Vec<f32>,
        gradients: &mut Gradients,
    ) -> Vec<f32> {
        match self {
            Self::Normalize => {
                let width = kept.x.len() / kept.rows.max(1);
                cpu.normalize_backward(&kept.x, width.max(1), &mut dout);
                dout
            }
            Self::LayerNorm { weight, bias, .. } => {
                let mut dx = vec![0.0; dout.len()];
                let pair = gradients.pair(*weight..*weight + 1, *bias..*bias + 1);
                let weight = store.get(*weight);
                cpu.layer_norm_backward(&kept.x, &kept.stats, weight, &dout, &mut dx, pair);
                dx
            }
            Self::Dense { linear: dense, activation, residual } => {
                let mut dpre = dout.clone();
                cpu.activation_backward(*activation, &kept.pre, &mut dpre);
                dense.parameter_gradients(cpu, &dpre, &kept.x, gradients);
                let shortcut = match residual {
                    None => None,
                    Some(Shortcut::Identity) => Some(dout),
                    Some(Shortcut::Projection(projection)) => {
                        projection.parameter_gradients(cpu, &dout, &kept.x, gradients);
                        let mut dx = vec![0.0; kept.x.len()];
                        projection.input_gradient(cpu, &dout, None, &mut dx);
                        Some(dx)
                    }
                };
                let mut dx = vec![0.0; kept.x.len()];
                dense.input_gradient(cpu, &dpre, shortcut.as_deref(), &mut dx);
                dx
            }
        }
    }
}
