//! The tensors of an encoder by role, generic over what is held for each of them.
//!
//! [`EncoderTensors`] holds a [`TensorSpec`] per tensor before a checkpoint is read, a
//! [`Parameter`] after it has been read, and the index of an entry of the store in
//! training. [`try_map`](EncoderTensors::try_map) visits the tensors in the order
//! of the tensor index; no other code depends on that order.

use std::convert::Infallible;
use std::ops::Range;

use crate::encoder::{
    EncoderConfig, EncoderWeights, LayerWeights, Linear, Norm, Parameter, ParameterGroup, Product,
    ProductRole, distance_bias,
};

/// A tensor that the configuration requires.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TensorSpec {
    /// The name without the prefix of the model, with the current names of norms.
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) group: ParameterGroup,
    pub(crate) kind: TensorKind,
}

/// The role of a tensor in its layer. Weight decay and initial values depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TensorKind {
    /// A matrix or an embedding table: weight decay applies.
    Weight,
    /// A vector or a table of biases; initially 0.
    Bias,
    /// The factor of a layer norm; initially 1.
    Scale,
}

/// One `T` per tensor of an encoder.
pub(crate) struct EncoderTensors<T> {
    pub(crate) word: T,
    pub(crate) position: Option<T>,
    pub(crate) token_type: Option<T>,
    pub(crate) norm: Pair<T>,
    pub(crate) projection: Option<Pair<T>>,
    pub(crate) distance_bias: Option<T>,
    pub(crate) layers: Vec<LayerTensors<T>>,
}

/// One `T` per tensor of a transformer layer.
pub(crate) struct LayerTensors<T> {
    pub(crate) input_norm: Option<Pair<T>>,
    /// The layers that make queries, keys and values: three, or one that makes them all.
    pub(crate) query_key_value: Vec<Pair<T>>,
    pub(crate) attention_output: Pair<T>,
    pub(crate) attention_norm: Pair<T>,
    pub(crate) intermediate: Pair<T>,
    pub(crate) output: Pair<T>,
    /// The norm after the feed-forward layers, or the one after the last layer.
    pub(crate) output_norm: Option<Pair<T>>,
}

/// One `T` for the weight and one for the bias of a linear layer or of a norm.
#[derive(Clone, Copy)]
pub(crate) struct Pair<T> {
    pub(crate) weight: T,
    pub(crate) bias: Option<T>,
}

impl<T> EncoderTensors<T> {
    /// Replaces every tensor by `f` of it, in the order of the tensor index.
    pub(crate) fn try_map<U, E>(
        self,
        f: &mut impl FnMut(T) -> Result<U, E>,
    ) -> Result<EncoderTensors<U>, E> {
        Ok(EncoderTensors {
            word: f(self.word)?,
            position: self.position.map(&mut *f).transpose()?,
            token_type: self.token_type.map(&mut *f).transpose()?,
            norm: self.norm.try_map(f)?,
            projection: self.projection.map(|pair| pair.try_map(f)).transpose()?,
            distance_bias: self.distance_bias.map(&mut *f).transpose()?,
            layers: self
                .layers
                .into_iter()
                .map(|layer| layer.try_map(f))
                .collect::<Result<_, E>>()?,
        })
    }

    /// Replaces every tensor by `f` of it, in the order of the tensor index.
    pub(crate) fn map<U>(self, mut f: impl FnMut(T) -> U) -> EncoderTensors<U> {
        let Ok(mapped) = self.try_map(&mut |tensor| Ok::<U, Infallible>(f(tensor)));
        mapped
    }

    /// The tensors in the order of the tensor index.
    pub(crate) fn into_index(self) -> Vec<T> {
        let mut index = Vec::new();
        self.map(|tensor| index.push(tensor));
        index
    }
}

impl<T> LayerTensors<T> {
    fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<LayerTensors<U>, E> {
        let input_norm = self.input_norm.map(|norm| norm.try_map(f)).transpose()?;
        // All three weights, then all three biases: in a flat buffer the weights are one matrix
        // and the biases one vector, which the stacked product reads without a copy.
        let (mut pairs, mut biases) = (Vec::new(), Vec::new());
        for Pair { weight, bias } in self.query_key_value {
            pairs.push(Pair { weight: f(weight)?, bias: None });
            biases.push(bias);
        }
        for (pair, bias) in pairs.iter_mut().zip(biases) {
            pair.bias = bias.map(&mut *f).transpose()?;
        }
        Ok(LayerTensors {
            input_norm,
            query_key_value: pairs,
            attention_output: self.attention_output.try_map(f)?,
            attention_norm: self.attention_norm.try_map(f)?,
            intermediate: self.intermediate.try_map(f)?,
            output: self.output.try_map(f)?,
            output_norm: self.output_norm.map(|norm| norm.try_map(f)).transpose()?,
        })
    }

    /// The linear layers whose stacked weights a product reads.
    pub(crate) fn linears_of(&self, role: ProductRole) -> &[Pair<T>] {
        match role {
            ProductRole::QueryKeyValue => &self.query_key_value,
            ProductRole::AttentionOutput => std::slice::from_ref(&self.attention_output),
            ProductRole::Intermediate => std::slice::from_ref(&self.intermediate),
            ProductRole::Output => std::slice::from_ref(&self.output),
        }
    }
}

impl LayerTensors<usize> {
    /// The entries of the store that a layer has: neighbours, like its tensors in the index.
    pub(crate) fn span(&self) -> Range<usize> {
        let first = self.input_norm.as_ref().unwrap_or(&self.query_key_value[0]).weight;
        let last = self.output_norm.as_ref().unwrap_or(&self.output);
        first..last.bias.unwrap_or(last.weight) + 1
    }
}

impl<T> Pair<T> {
    fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<Pair<U>, E> {
        Ok(Pair { weight: f(self.weight)?, bias: self.bias.map(f).transpose()? })
    }
}

impl EncoderTensors<TensorSpec> {
    /// The tensors that `config` requires.
    pub(crate) fn specs(config: &EncoderConfig) -> Self {
        let names = &config.family.tensors;
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        let width = config.embedding_size;
        let group = ParameterGroup::Embeddings;
        let table = |name: &str, rows: usize| TensorSpec {
            name: format!("{name}.weight"),
            shape: vec![rows, width],
            group,
            kind: TensorKind::Weight,
        };
        let types = config.type_vocab_size;
        Self {
            word: table(names.word, config.vocab_size),
            position: names.position.map(|name| table(name, config.max_positions)),
            token_type: (types > 0).then(|| table(names.token_type, types)),
            norm: Pair::norm(names.embedding_norm, width, config.biases.norm, group),
            projection: (width != hidden)
                .then(|| Pair::linear(names.projection, [hidden, width], true, group)),
            // It belongs to no layer, and no layer can be computed before it is known.
            distance_bias: names.distance_bias.map(|name| TensorSpec {
                name: format!("{name}.weight"),
                shape: vec![distance_bias::BUCKETS, config.heads],
                group,
                kind: TensorKind::Bias,
            }),
            layers: (0..config.layers)
                .map(|layer| Self::layer_specs(config, layer, hidden, intermediate))
                .collect(),
        }
    }

    fn layer_specs(
        config: &EncoderConfig,
        layer: usize,
        hidden: usize,
        intermediate: usize,
    ) -> LayerTensors<TensorSpec> {
        let (names, biases) = (&config.family.tensors, config.biases);
        let group = ParameterGroup::Layer(layer);
        let name = |part: &str| format!("{}.{layer}.{part}", names.layers);
        let norm = |name: &str| Pair::norm(name, hidden, biases.norm, group);
        let attention = |part: &str, outputs: usize| {
            Pair::linear(&name(part), [outputs, hidden], biases.attention, group)
        };
        let feed_forward =
            |part: &str, shape| Pair::linear(&name(part), shape, biases.feed_forward, group);
        let stacked = 3 * hidden / names.query_key_value.len();
        let made = names.query_key_value.iter();
        let is_last = layer + 1 == config.layers;
        let final_norm = names.final_norm.filter(|_| is_last).map(&norm);
        LayerTensors {
            input_norm: names.input_norm.filter(|_| layer > 0).map(|part| norm(&name(part))),
            query_key_value: made.map(|part| attention(part, stacked)).collect(),
            attention_output: attention(names.attention_output, hidden),
            attention_norm: norm(&name(names.attention_norm)),
            intermediate: feed_forward(names.intermediate, [config.inner_outputs(), hidden]),
            output: feed_forward(names.output, [hidden, intermediate]),
            output_norm: names.output_norm.map(|part| norm(&name(part))).or(final_norm),
        }
    }

    /// The names of the weights that `product` reads, without the model's prefix.
    pub(crate) fn weights_of(&self, product: Product) -> Vec<&str> {
        let linears = self.layers[product.layer].linears_of(product.role);
        linears.iter().map(|linear| linear.weight.name.as_str()).collect()
    }

    /// The names of the weights that stay in single precision in an 8-bit file: small tables and
    /// the layer after them, whose rounding would affect every text.
    pub(crate) fn small_weights(&self) -> Vec<&str> {
        let tables = [&self.position, &self.token_type, &self.distance_bias].into_iter().flatten();
        let projection = self.projection.iter().map(|pair| &pair.weight);
        tables.chain(projection).map(|spec| spec.name.as_str()).collect()
    }
}

impl Pair<TensorSpec> {
    /// A linear layer of shape `[out, in]`.
    fn linear(name: &str, shape: [usize; 2], bias: bool, group: ParameterGroup) -> Self {
        Self::new(name, shape.to_vec(), TensorKind::Weight, bias, group)
    }

    fn norm(name: &str, width: usize, bias: bool, group: ParameterGroup) -> Self {
        Self::new(name, vec![width], TensorKind::Scale, bias, group)
    }

    fn new(
        name: &str,
        shape: Vec<usize>,
        kind: TensorKind,
        bias: bool,
        group: ParameterGroup,
    ) -> Self {
        let outputs = vec![shape[0]];
        let spec = |part: &str, shape, kind| TensorSpec {
            name: format!("{name}.{part}"),
            shape,
            group,
            kind,
        };
        Self {
            weight: spec("weight", shape, kind),
            bias: bias.then(|| spec("bias", outputs, TensorKind::Bias)),
        }
    }
}

/// The tensors of the pooler, if the family has one. A checkpoint need not have them.
pub(crate) fn pooler_specs(config: &EncoderConfig) -> Vec<TensorSpec> {
    if !config.family.pooler {
        return Vec::new();
    }
    let hidden = config.hidden_size;
    let Pair { weight, bias } =
        Pair::linear("pooler.dense", [hidden, hidden], true, ParameterGroup::Pooler);
    [weight].into_iter().chain(bias).collect()
}

impl EncoderTensors<Parameter> {
    /// The weights by role. Matrices stay as stored; biases and norms are converted to f32.
    pub(crate) fn weights(&self) -> EncoderWeights {
        EncoderWeights {
            word: self.word.tensor.clone(),
            position: self.position.as_ref().map(|parameter| parameter.tensor.clone()),
            token_type: self.token_type.as_ref().map(|parameter| parameter.tensor.clone()),
            embedding_norm: self.norm.as_norm(),
            projection: self.projection.as_ref().map(Pair::as_linear),
            distance_bias: self.distance_bias.as_ref().map(|parameter| parameter.tensor.to_vec()),
            layers: self
                .layers
                .iter()
                .map(|layer| LayerWeights {
                    input_norm: layer.input_norm.as_ref().map(Pair::as_norm),
                    query_key_value: layer.query_key_value.iter().map(Pair::as_linear).collect(),
                    attention_output: layer.attention_output.as_linear(),
                    attention_norm: layer.attention_norm.as_norm(),
                    intermediate: layer.intermediate.as_linear(),
                    output: layer.output.as_linear(),
                    output_norm: layer.output_norm.as_ref().map(Pair::as_norm),
                })
                .collect(),
        }
    }
}

impl Pair<Parameter> {
    fn as_linear(&self) -> Linear {
        let bias = self.bias.as_ref().map(|bias| bias.tensor.to_vec());
        Linear { weight: self.weight.tensor.clone(), bias }
    }

    fn as_norm(&self) -> Norm {
        let weight = self.weight.tensor.to_vec();
        let zeros = || vec![0.0; weight.len()];
        let bias = self.bias.as_ref().map_or_else(zeros, |bias| bias.tensor.to_vec());
        Norm { weight, bias }
    }
}
