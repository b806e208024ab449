//! The modules after the encoder, with packed weights: from token vectors to sentence vectors.

use std::ops::Range;

use polyhead_compute::{Activation, Cpu, Isa, PooledSequence, Threads};

use crate::encoder::{Norm, PackedLinear};
use crate::error::Error;
use crate::modules::spec::{Module, PoolingSpec, Residual, output_width};

/// The pooling and the modules after it, with packed weights.
pub(crate) struct SentenceModules {
    pooling: PoolingSpec,
    steps: Vec<Step>,
    /// The width of a token vector.
    hidden_size: usize,
    /// The width of a sentence vector.
    dimension: usize,
}

/// A module after the pooling.
enum Step {
    Dense { linear: PackedLinear, activation: Activation, residual: Option<Shortcut> },
    LayerNorm { norm: Norm, eps: f32 },
    Normalize,
}

/// The shortcut around a Dense module.
enum Shortcut {
    Identity,
    Projection(PackedLinear),
}

impl SentenceModules {
    /// Packs the weights of `modules`, of which the first is the pooling.
    ///
    /// # Errors
    /// If the widths do not fit each other.
    pub(crate) fn new(
        modules: Vec<Module>,
        hidden_size: usize,
        isa: Isa,
        threads: &Threads,
    ) -> Result<Self, Error> {
        let dimension = output_width(hidden_size, &modules)?;
        let mut modules = modules.into_iter();
        let Some(Module::Pooling(pooling)) = modules.next() else {
            unreachable!("the pooling is the first module: see ModelFolder::modules")
        };
        let steps = threads.cpu(isa, |cpu| modules.map(|m| Step::new(m, cpu)).collect());
        Ok(Self { pooling, steps, hidden_size, dimension })
    }

    /// The width of a sentence vector.
    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    /// The pooling of the model.
    pub(crate) fn pooling(&self) -> &PoolingSpec {
        &self.pooling
    }

    /// Computes the sentence vectors, `[B, dimension]`, of `B` sequences.
    ///
    /// - `tokens`: `[N, D]`
    /// - `sequences`: the tokens of each sequence, and how many of them belong to the prompt
    /// - `normalize`: whether to run Normalize modules
    pub(crate) fn forward(
        &self,
        cpu: Cpu,
        tokens: &[f32],
        sequences: &[(Range<usize>, usize)],
        normalize: bool,
    ) -> Vec<f32> {
        let width = self.hidden_size;
        let mut vectors = vec![0.0; sequences.len() * self.pooling.modes.len() * width];
        let sequences: Vec<PooledSequence> = sequences
            .iter()
            .map(|(tokens, prompt_tokens)| self.pooling.sequence(tokens.clone(), *prompt_tokens))
            .collect();
        cpu.pool(&self.pooling.modes, tokens, width, &sequences, &mut vectors);
        for step in &self.steps {
            vectors = match step {
                Step::Normalize if !normalize => vectors,
                step => step.forward(cpu, vectors, sequences.len()),
            };
        }
        vectors
    }
}

impl Step {
    fn new(module: Module, cpu: Cpu) -> Self {
        match module {
            Module::Pooling(_) => {
                unreachable!("one pooling, in the first place: checked on reading")
            }
            Module::Dense { linear, activation, residual } => Self::Dense {
                linear: PackedLinear::stacked(&[linear], cpu),
                activation,
                residual: residual.map(|residual| match residual {
                    Residual::Identity => Shortcut::Identity,
                    Residual::Projection(linear) => {
                        Shortcut::Projection(PackedLinear::stacked(&[linear], cpu))
                    }
                }),
            },
            Module::LayerNorm { norm, eps } => Self::LayerNorm { norm, eps },
            Module::Normalize => Self::Normalize,
        }
    }

    /// Computes the module.
    ///
    /// - `x`: `[rows, in]`, returns `[rows, out]`
    fn forward(&self, cpu: Cpu, mut x: Vec<f32>, rows: usize) -> Vec<f32> {
        match self {
            Self::Dense { linear, activation, residual } => {
                let mut out = vec![0.0; rows * linear.outputs()];
                let shortcut = residual.as_ref().map(|residual| match residual {
                    Shortcut::Identity => x.clone(),
                    Shortcut::Projection(projection) => {
                        let mut projected = vec![0.0; rows * projection.outputs()];
                        projection.forward(cpu, &x, Activation::Identity, None, &mut projected);
                        projected
                    }
                });
                linear.forward(cpu, &x, *activation, shortcut.as_deref(), &mut out);
                out
            }
            Self::LayerNorm { norm, eps } => {
                cpu.layer_norm(&mut x, &norm.weight, &norm.bias, *eps);
                x
            }
            Self::Normalize => {
                let width = x.len() / rows.max(1);
                cpu.normalize(&mut x, width.max(1));
                x
            }
        }
    }
}
