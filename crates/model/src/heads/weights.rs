//! The weights of heads: from pooled vectors or token vectors to logits.
//!
//! Inference and training use the same [`Head`]; the backward pass is in
//! [`network`](crate::training::network).

use polyhead_compute::{Activation, Cpu, Random};

use crate::encoder::{EncoderConfig, PackedLinear};
use crate::error::{Error, ErrorKind, fail};
use crate::heads::kinds::soft_max;
use crate::heads::spec::{
    HeadInput, HeadLayer, HeadSpec, HiddenForm, HiddenNorm, PairForm, check_heads,
};
use crate::modules::{Module, output_width};

/// The weights of a head, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadWeights {
    /// The specification of the head.
    pub spec: HeadSpec,
    /// `[L + 1]`: the mix weights before the soft-max; `None` unless the head reads a
    /// [`HeadLayer::Mix`].
    pub mix: Option<Vec<f32>>,
    /// The hidden layer, if there is one.
    pub hidden: Option<HiddenWeights>,
    /// `[outputs, in]` or `[outputs, hidden]`, and `[outputs]`: weight and bias of the output
    /// layer; both are empty if the kind compares vectors.
    pub output: (Vec<f32>, Vec<f32>),
}

/// The weights of a head's hidden layer, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct HiddenWeights {
    /// `[hidden, in]`: the weight.
    pub weight: Vec<f32>,
    /// `[hidden]`: the bias; `None` if the layer has none.
    pub bias: Option<Vec<f32>>,
    /// `[hidden]` each: factor and bias of the norm after the activation; `None` if there is no norm.
    pub norm: Option<(Vec<f32>, Option<Vec<f32>>)>,
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
    /// Width of what the head reads: a vector, or what it makes of the two vectors of a pair.
    pub fn inputs(&self, site: &HeadDims) -> usize {
        self.pair.map_or(1, PairForm::vectors) * self.vector_width(site)
    }

    /// Width of the vector of a sequence or a word that the head reads.
    fn vector_width(&self, site: &HeadDims) -> usize {
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
            let HiddenForm { bias, norm, .. } = self.hidden_form;
            let vectors = [
                ("hidden.bias", bias),
                ("hidden.norm.weight", norm.is_some()),
                ("hidden.norm.bias", norm.is_some_and(|norm| norm.bias)),
            ];
            let present = vectors.into_iter().filter(|(_, present)| *present);
            tensors.extend(present.map(|(name, _)| (name, vec![hidden], false)));
            inputs = hidden;
        }
        if !self.kind.compares() {
            tensors.push(("weight", vec![self.outputs(), inputs], true));
            tensors.push(("bias", vec![self.outputs()], false));
        }
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
        let HiddenForm { bias, norm, .. } = spec.hidden_form;
        let hidden = spec.hidden.map(|width| HiddenWeights {
            weight: normal(width * inputs),
            bias: bias.then(|| vec![0.0; width]),
            norm: norm.map(|norm| (vec![1.0; width], norm.bias.then(|| vec![0.0; width]))),
        });
        let inputs = spec.hidden.unwrap_or(inputs);
        let outputs = if spec.kind.compares() { 0 } else { spec.outputs() };
        let output = (normal(outputs * inputs), vec![0.0; outputs]);
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
        if let Some(HiddenWeights { weight, bias, norm }) = &self.hidden {
            values.push(weight);
            values.extend(bias.as_deref());
            if let Some((factor, bias)) = norm {
                values.push(factor);
                values.extend(bias.as_deref());
            }
        }
        if !self.spec.kind.compares() {
            values.extend([&self.output.0[..], &self.output.1]);
        }
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
        let HiddenForm { bias, norm, .. } = spec.hidden_form;
        let hidden = spec.hidden.is_some().then(|| HiddenWeights {
            weight: next(),
            bias: bias.then(&mut next),
            norm: norm.map(|norm| (next(), norm.bias.then(&mut next))),
        });
        let output = if spec.kind.compares() { Default::default() } else { (next(), next()) };
        Self { spec, mix, hidden, output }
    }
}

/// A head with its weights in the form that the kernels read.
pub(crate) struct Head {
    pub(crate) spec: HeadSpec,
    /// `[L + 1]`: the share of each hidden state, after the soft-max.
    pub(crate) mix: Option<Vec<f32>>,
    pub(crate) hidden: Option<PackedLinear>,
    /// The norm after the hidden layer.
    norm: Option<HeadNorm>,
    /// `None` if the kind compares vectors.
    output: Option<PackedLinear>,
}

/// A layer norm after a head's hidden layer.
struct HeadNorm {
    /// `[hidden]` each: factor and bias, 0 where the head has no bias.
    pair: (Vec<f32>, Vec<f32>),
    eps: f32,
}

impl Head {
    /// Packs a head.
    pub(crate) fn new(weights: &HeadWeights, cpu: Cpu) -> Self {
        let pack = |weight: &[f32], bias: Option<&[f32]>, outputs: usize| {
            let inputs = weight.len() / outputs.max(1);
            let mut packed = PackedLinear::zeros(cpu.isa(), outputs, inputs, bias.is_some());
            packed.refresh(weight, bias, cpu);
            packed
        };
        let HeadWeights { spec, mix, hidden, output: (weight, bias) } = weights;
        let norm =
            hidden.as_ref().and_then(|hidden| hidden.norm.clone()).zip(spec.hidden_form.norm);
        Self {
            spec: spec.clone(),
            mix: mix.as_deref().map(soft_max),
            hidden: hidden.as_ref().map(|hidden| {
                pack(&hidden.weight, hidden.bias.as_deref(), spec.hidden.unwrap_or_default())
            }),
            norm: norm.map(|((factor, bias), HiddenNorm { eps, .. })| {
                let bias = bias.unwrap_or_else(|| vec![0.0; factor.len()]);
                HeadNorm { pair: (factor, bias), eps }
            }),
            output: (!spec.kind.compares()).then(|| pack(weight, Some(bias), bias.len())),
        }
    }

    /// Computes the logits, `[rows, outputs]`, of `x`, `[rows, in]`.
    ///
    /// # Panics
    /// If the kind compares vectors.
    pub(crate) fn forward(&self, cpu: Cpu, x: &[f32]) -> Vec<f32> {
        let output = self.output();
        let rows = x.len() / self.inputs();
        let mut logits = vec![0.0; rows * output.outputs()];
        match &self.hidden {
            None => output.forward(cpu, x, Activation::Identity, None, &mut logits),
            Some(hidden) => {
                let mut between = vec![0.0; rows * hidden.outputs()];
                hidden.forward(cpu, x, self.spec.activation, None, &mut between);
                if let Some(HeadNorm { pair: (factor, bias), eps }) = &self.norm {
                    cpu.layer_norm(&mut between, factor, bias, *eps);
                }
                output.forward(cpu, &between, Activation::Identity, None, &mut logits);
            }
        }
        logits
    }

    /// Width of a row that the weights read.
    ///
    /// # Panics
    /// If the kind compares vectors.
    pub(crate) fn inputs(&self) -> usize {
        self.hidden.as_ref().unwrap_or_else(|| self.output()).inputs()
    }

    fn output(&self) -> &PackedLinear {
        self.output.as_ref().expect("the kind has an output layer")
    }
}
