//! The tensors of an encoder by role, generic over what is held for each of them.
//!
//! [`EncoderTensors`] holds a [`TensorSpec`] per tensor before a checkpoint is read, a
//! [`Parameter`] after it has been read, and the index of an entry of the store in
//! training. [`try_map`](EncoderTensors::try_map) visits the tensors in the order
//! of the tensor index; no other code depends on that order.

use std::convert::Infallible;

use crate::encoder::{
    EncoderConfig, EncoderWeights, LayerWeights, Linear, Norm, Parameter, ParameterGroup, Product,
    ProductRole,
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
    /// A vector that is added; initially 0.
    Bias,
    /// The factor of a layer norm; initially 1.
    Scale,
}

/// One `T` per tensor of an encoder.
pub(crate) struct EncoderTensors<T> {
    pub(crate) word: T,
    pub(crate) position: T,
    pub(crate) token_type: Option<T>,
    pub(crate) norm: Pair<T>,
    pub(crate) layers: Vec<LayerTensors<T>>,
}

/// One `T` per tensor of a transformer layer.
pub(crate) struct LayerTensors<T> {
    pub(crate) query: Pair<T>,
    pub(crate) key: Pair<T>,
    pub(crate) value: Pair<T>,
    pub(crate) attention_output: Pair<T>,
    pub(crate) attention_norm: Pair<T>,
    pub(crate) intermediate: Pair<T>,
    pub(crate) output: Pair<T>,
    pub(crate) output_norm: Pair<T>,
}

/// One `T` for the weight and one for the bias of a linear layer or of a norm.
#[derive(Clone, Copy)]
pub(crate) struct Pair<T> {
    pub(crate) weight: T,
    pub(crate) bias: T,
}

impl<T> EncoderTensors<T> {
    /// Replaces every tensor by `f` of it, in the order of the tensor index.
    pub(crate) fn try_map<U, E>(
        self,
        f: &mut impl FnMut(T) -> Result<U, E>,
    ) -> Result<EncoderTensors<U>, E> {
        Ok(EncoderTensors {
            word: f(self.word)?,
            position: f(self.position)?,
            token_type: self.token_type.map(&mut *f).transpose()?,
            norm: self.norm.try_map(f)?,
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
        let Self { query, key, value, .. } = self;
        // All three weights, then all three biases: in a flat buffer the weights are one matrix
        // and the biases one vector, which the stacked product reads without a copy.
        let weights = [f(query.weight)?, f(key.weight)?, f(value.weight)?];
        let biases = [f(query.bias)?, f(key.bias)?, f(value.bias)?];
        let ([query, key, value], [query_bias, key_bias, value_bias]) = (weights, biases);
        Ok(LayerTensors {
            query: Pair { weight: query, bias: query_bias },
            key: Pair { weight: key, bias: key_bias },
            value: Pair { weight: value, bias: value_bias },
            attention_output: self.attention_output.try_map(f)?,
            attention_norm: self.attention_norm.try_map(f)?,
            intermediate: self.intermediate.try_map(f)?,
            output: self.output.try_map(f)?,
            output_norm: self.output_norm.try_map(f)?,
        })
    }

    /// The linear layers whose stacked weights a product reads.
    pub(crate) fn linears_of(&self, role: ProductRole) -> Vec<&Pair<T>> {
        match role {
            ProductRole::QueryKeyValue => vec![&self.query, &self.key, &self.value],
            ProductRole::AttentionOutput => vec![&self.attention_output],
            ProductRole::Intermediate => vec![&self.intermediate],
            ProductRole::Output => vec![&self.output],
        }
    }
}

impl<T> Pair<T> {
    fn try_map<U, E>(self, f: &mut impl FnMut(T) -> Result<U, E>) -> Result<Pair<U>, E> {
        Ok(Pair { weight: f(self.weight)?, bias: f(self.bias)? })
    }
}

impl EncoderTensors<TensorSpec> {
    /// The tensors that `config` requires.
    pub(crate) fn specs(config: &EncoderConfig) -> Self {
        let names = &config.family.tensors;
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        let group = ParameterGroup::Embeddings;
        let table = |name: &str, rows: usize| TensorSpec {
            name: format!("embeddings.{name}_embeddings.weight"),
            shape: vec![rows, hidden],
            group,
            kind: TensorKind::Weight,
        };
        let types = config.type_vocab_size;
        Self {
            word: table("word", config.vocab_size),
            position: table("position", config.max_positions),
            token_type: (types > 0).then(|| table("token_type", types)),
            norm: Pair::norm("embeddings.LayerNorm", hidden, group),
            layers: (0..config.layers)
                .map(|layer| {
                    let group = ParameterGroup::Layer(layer);
                    let name = |part: &str| format!("{}.{layer}.{part}", names.layers);
                    let linear = |part: &str, outputs: usize, inputs: usize| {
                        Pair::linear(&name(part), outputs, inputs, group)
                    };
                    let norm = |part: &str| Pair::norm(&name(part), hidden, group);
                    LayerTensors {
                        query: linear(names.query, hidden, hidden),
                        key: linear(names.key, hidden, hidden),
                        value: linear(names.value, hidden, hidden),
                        attention_output: linear(names.attention_output, hidden, hidden),
                        attention_norm: norm(names.attention_norm),
                        intermediate: linear(names.intermediate, intermediate, hidden),
                        output: linear(names.output, hidden, intermediate),
                        output_norm: norm(names.output_norm),
                    }
                })
                .collect(),
        }
    }

    /// The names of the weights that `product` reads, without the model's prefix.
    pub(crate) fn weights_of(&self, product: Product) -> Vec<&str> {
        let linears = self.layers[product.layer].linears_of(product.role);
        linears.into_iter().map(|linear| linear.weight.name.as_str()).collect()
    }
}

impl Pair<TensorSpec> {
    fn linear(name: &str, outputs: usize, inputs: usize, group: ParameterGroup) -> Self {
        Self::new(name, vec![outputs, inputs], TensorKind::Weight, group)
    }

    fn norm(name: &str, width: usize, group: ParameterGroup) -> Self {
        Self::new(name, vec![width], TensorKind::Scale, group)
    }

    fn new(name: &str, shape: Vec<usize>, kind: TensorKind, group: ParameterGroup) -> Self {
        let bias = vec![shape[0]];
        let spec = |part: &str, shape, kind| TensorSpec {
            name: format!("{name}.{part}"),
            shape,
            group,
            kind,
        };
        Self { weight: spec("weight", shape, kind), bias: spec("bias", bias, TensorKind::Bias) }
    }
}

/// The tensors of the pooler, if the family has one. A checkpoint need not have them.
pub(crate) fn pooler_specs(config: &EncoderConfig) -> Vec<TensorSpec> {
    if !config.family.pooler {
        return Vec::new();
    }
    let hidden = config.hidden_size;
    let Pair { weight, bias } =
        Pair::linear("pooler.dense", hidden, hidden, ParameterGroup::Pooler);
    vec![weight, bias]
}

impl EncoderTensors<Parameter> {
    /// The weights by role. Matrices stay as stored; biases and norms are converted to f32.
    pub(crate) fn weights(&self) -> EncoderWeights {
        EncoderWeights {
            word: self.word.tensor.clone(),
            position: self.position.tensor.clone(),
            token_type: self.token_type.as_ref().map(|parameter| parameter.tensor.clone()),
            embedding_norm: self.norm.as_norm(),
            layers: self
                .layers
                .iter()
                .map(|layer| LayerWeights {
                    query: layer.query.as_linear(),
                    key: layer.key.as_linear(),
                    value: layer.value.as_linear(),
                    attention_output: layer.attention_output.as_linear(),
                    attention_norm: layer.attention_norm.as_norm(),
                    intermediate: layer.intermediate.as_linear(),
                    output: layer.output.as_linear(),
                    output_norm: layer.output_norm.as_norm(),
                })
                .collect(),
        }
    }
}

impl Pair<Parameter> {
    fn as_linear(&self) -> Linear {
        Linear { weight: self.weight.tensor.clone(), bias: Some(self.bias.tensor.to_vec()) }
    }

    fn as_norm(&self) -> Norm {
        Norm { weight: self.weight.tensor.to_vec(), bias: self.bias.tensor.to_vec() }
    }
}
