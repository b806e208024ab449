//! The weights of heads: from pooled vectors or token vectors to logits.
//!
//! Inference and training use the same [`Head`]; the backward pass is in
//! [`network`](crate::training::network).

use polyhead_compute::{Activation, Cpu, Random};

use crate::encoder::{EncoderConfig, PackedLinear};
use crate::error::{Error, ErrorKind, fail};
use crate::heads::kinds::soft_max;
use crate::heads::spec::{HeadInput, HeadLayer, HeadSpec, check_heads};
use crate::modules::{Module, output_width};

/// The weights of a head, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadWeights {
    /// The specification of the head.
    pub spec: HeadSpec,
    /// `[L + 1]`: the mix weights before the soft-max; `None` unless the head reads a
    /// [`HeadLayer::Mix`].
    pub mix: Option<Vec<f32>>,
    /// `[hidden, in]` and `[hidden]`: weight and bias of the hidden layer, if there is one.
    pub hidden: Option<(Vec<f32>, Vec<f32>)>,
    /// `[outputs, in]` or `[outputs, hidden]`, and `[outputs]`: weight and bias of the output
    /// layer.
    pub output: (Vec<f32>, Vec<f32>),
}

/// The sizes of a model that the shapes of its heads depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadDims {
    /// `D`: the width of a token vector.
    pub hidden_size: usize,
    /// `L`: the number of encoder layers.
    pub layers: usize,
    /// The width of a sentence vector.
    pub embedding: usize,
}

impl HeadDims {
    /// The sizes of an encoder with these modules.
    ///
    /// # Errors
    /// The errors of [`output_width`].
    pub(crate) fn new(config: &EncoderConfig, modules: &[Module]) -> Result<Self, Error> {
        let (hidden_size, layers) = (config.hidden_size, config.layers);
        Ok(Self { hidden_size, layers, embedding: output_width(hidden_size, modules)? })
    }
}

/// Standard deviation of new weights, as in BERT and its heads.
pub(crate) const INITIAL_DEVIATION: f32 = 0.02;

impl HeadSpec {
    /// Width of the vectors that the head reads.
    pub fn inputs(&self, site: &HeadDims) -> usize {
        match self.input {
            _ if self.kind.reads_words() => site.hidden_size,
            HeadInput::Embedding => site.embedding,
            HeadInput::Pooled => site.hidden_size * self.pooling.modes.len(),
        }
    }

    /// The tensors of the head by role, in the order of the index: name after `heads.NAME.`,
    /// shape, whether weight decay applies.
    pub fn tensors(&self, site: &HeadDims) -> Vec<(&'static str, Vec<usize>, bool)> {
        let mut tensors = Vec::new();
        if self.layer == HeadLayer::Mix {
            tensors.push(("mix", vec![site.layers + 1], false));
        }
        let mut inputs = self.inputs(site);
        if let Some(hidden) = self.hidden {
            tensors.push(("hidden.weight", vec![hidden, inputs], true));
            tensors.push(("hidden.bias", vec![hidden], false));
            inputs = hidden;
        }
        tensors.push(("weight", vec![self.outputs(), inputs], true));
        tensors.push(("bias", vec![self.outputs()], false));
        tensors
    }

    /// Checks that the head fits a model of these sizes, and can be written and read again.
    ///
    /// # Errors
    /// [`ErrorKind::Option`]; the message names the head and what does not fit.
    pub fn check(&self, site: &HeadDims) -> Result<(), Error> {
        check_heads(std::iter::once(self))
            .map_err(|problem| Error::new(ErrorKind::Option, problem))?;
        let fail = |message: String| {
            Err(Error::new(ErrorKind::Option, format!("head `{}`: {message}", self.name)))
        };
        match self.layer {
            HeadLayer::At(layer) if layer > site.layers => {
                return fail(format!("layer: expected 0 to {}, found {layer}", site.layers));
            }
            _ => (),
        }
        if self.input == HeadInput::Embedding
            && (self.layer != HeadLayer::Last || self.kind.reads_words())
        {
            return fail(
                "input = \"embedding\": expected a sentence task on the last layer".into(),
            );
        }
        Ok(())
    }
}

impl HeadWeights {
    /// Makes a head with weights from a normal distribution, biases of 0 and an equal mix of all
    /// layers. The values depend only on the seed and the head's name, not on other heads.
    pub fn random(spec: HeadSpec, site: &HeadDims, seed: u64) -> Self {
        let mut random = Random::named(seed, &spec.name);
        let mut normal = |count: usize| -> Vec<f32> {
            (0..count).map(|_| INITIAL_DEVIATION * random.normal()).collect()
        };
        let inputs = spec.inputs(site);
        let hidden = spec.hidden.map(|width| (normal(width * inputs), vec![0.0; width]));
        let inputs = spec.hidden.unwrap_or(inputs);
        let output = (normal(spec.outputs() * inputs), vec![0.0; spec.outputs()]);
        let mix = (spec.layer == HeadLayer::Mix).then(|| vec![0.0; site.layers + 1]);
        Self { mix, hidden, output, spec }
    }

    /// Checks that the head with these weights fits a model of these sizes.
    ///
    /// # Errors
    /// [`ErrorKind::Option`]; the message names the head and what does not fit.
    pub fn check(&self, site: &HeadDims) -> Result<(), Error> {
        self.spec.check(site)?;
        let shapes = self.spec.tensors(site);
        let wanted: Vec<usize> =
            shapes.iter().map(|(_, shape, _)| shape.iter().product()).collect();
        let found: Vec<usize> = self.values().iter().map(|values| values.len()).collect();
        if wanted != found {
            let name = &self.spec.name;
            fail!(
                Option,
                "head `{name}`: expected tensors of {wanted:?} numbers for {} layers of width {} \
                 and sentence vectors of {}, found {found:?}",
                site.layers,
                site.hidden_size,
                site.embedding
            );
        }
        Ok(())
    }

    /// The values of each tensor, in the order of [`HeadSpec::tensors`].
    pub fn values(&self) -> Vec<&[f32]> {
        let mut values: Vec<&[f32]> = Vec::new();
        values.extend(self.mix.as_deref());
        if let Some((weight, bias)) = &self.hidden {
            values.extend([&weight[..], &bias[..]]);
        }
        values.extend([&self.output.0[..], &self.output.1[..]]);
        values
    }

    /// Makes a head from values in the order of [`values`](Self::values).
    ///
    /// # Panics
    /// If there are fewer values than [`HeadSpec::tensors`].
    pub fn from_values(spec: HeadSpec, values: impl IntoIterator<Item = Vec<f32>>) -> Self {
        let mut values = values.into_iter();
        let mut next = || values.next().expect("a list for each tensor of the head");
        let mix = (spec.layer == HeadLayer::Mix).then(&mut next);
        let hidden = spec.hidden.is_some().then(|| (next(), next()));
        let output = (next(), next());
        Self { spec, mix, hidden, output }
    }
}

/// A head with its weights in the form that the kernels read.
pub(crate) struct Head {
    pub(crate) spec: HeadSpec,
    /// `[L + 1]`: the share of each hidden state, after the soft-max.
    pub(crate) mix: Option<Vec<f32>>,
    pub(crate) hidden: Option<PackedLinear>,
    pub(crate) output: PackedLinear,
}

impl Head {
    pub(crate) fn new(weights: &HeadWeights, cpu: Cpu) -> Self {
        let pack = |(weight, bias): &(Vec<f32>, Vec<f32>)| {
            let outputs = bias.len();
            let mut packed =
                PackedLinear::zeros(cpu.isa(), outputs, weight.len() / outputs.max(1), true);
            packed.refresh(weight, Some(bias), cpu);
            packed
        };
        Self {
            spec: weights.spec.clone(),
            mix: weights.mix.as_deref().map(soft_max),
            hidden: weights.hidden.as_ref().map(pack),
            output: pack(&weights.output),
        }
    }

    /// Computes the logits, `[rows, outputs]`, of `x`, `[rows, in]`.
    pub(crate) fn forward(&self, cpu: Cpu, x: &[f32]) -> Vec<f32> {
        let rows = x.len() / self.inputs();
        let mut logits = vec![0.0; rows * self.output.outputs()];
        match &self.hidden {
            None => self.output.forward(cpu, x, Activation::Identity, None, &mut logits),
            Some(hidden) => {
                let mut between = vec![0.0; rows * hidden.outputs()];
                hidden.forward(cpu, x, self.spec.activation, None, &mut between);
                self.output.forward(cpu, &between, Activation::Identity, None, &mut logits);
            }
        }
        logits
    }

    pub(crate) fn inputs(&self) -> usize {
        self.hidden.as_ref().unwrap_or(&self.output).inputs()
    }
}
