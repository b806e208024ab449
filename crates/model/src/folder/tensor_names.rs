//! Which tensors an encoder has: names, shapes and their order.
//!
//! BERT and DistilBERT differ here and nowhere else. The order of [`expected`]
//! is the order of the tensor index, and [`assemble`] hands the tensors to their
//! roles in that same order, so that names are matched once, on reading.

use polyhead_compute::StoredTensor;

use crate::encoder::ParameterGroup;
use crate::encoder::{Architecture, EncoderConfig};
use crate::encoder::{EncoderWeights, LayerWeights, Linear, Norm};
use crate::measure::{Product, ProductRole};

/// A tensor that the configuration calls for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TensorSpec {
    /// Without the model's prefix, with today's names of norms.
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) group: ParameterGroup,
    pub(crate) role: Role,
}

/// What a tensor does in its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A matrix or an embedding table: weight decay applies.
    Weight,
    /// What is added: begins as 0.
    Bias,
    /// The factor of a layer norm: begins as 1.
    Scale,
}

/// How a family names its tensors.
pub(crate) struct Layout {
    /// Stands before every name when the checkpoint was saved with heads.
    pub(crate) prefix: &'static str,
    /// Heads of pre-training: part of published checkpoints, no part of an encoder.
    pub(crate) pretraining_heads: &'static [&'static str],
    layers: &'static str,
    query: &'static str,
    key: &'static str,
    value: &'static str,
    attention_output: &'static str,
    attention_norm: &'static str,
    intermediate: &'static str,
    output: &'static str,
    output_norm: &'static str,
}

const BERT: Layout = Layout {
    prefix: "bert.",
    pretraining_heads: &["cls.predictions.", "cls.seq_relationship."],
    layers: "encoder.layer",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    intermediate: "intermediate.dense",
    output: "output.dense",
    output_norm: "output.LayerNorm",
};

const DISTILBERT: Layout = Layout {
    prefix: "distilbert.",
    pretraining_heads: &["vocab_transform.", "vocab_layer_norm.", "vocab_projector."],
    layers: "transformer.layer",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    intermediate: "ffn.lin1",
    output: "ffn.lin2",
    output_norm: "output_layer_norm",
};

/// The names of a family.
pub(crate) fn layout(architecture: Architecture) -> &'static Layout {
    match architecture {
        Architecture::Bert => &BERT,
        Architecture::DistilBert => &DISTILBERT,
    }
}

/// Every tensor of the encoder, in the order of the index.
pub(crate) fn expected(config: &EncoderConfig) -> Vec<TensorSpec> {
    let layout = layout(config.architecture);
    let hidden = config.hidden_size;
    let mut list = List(Vec::new());
    let group = ParameterGroup::Embeddings;
    list.add(
        "embeddings.word_embeddings.weight",
        vec![config.vocab_size, hidden],
        group,
        Role::Weight,
    );
    list.add(
        "embeddings.position_embeddings.weight",
        vec![config.max_positions, hidden],
        group,
        Role::Weight,
    );
    if config.type_vocab_size > 0 {
        let shape = vec![config.type_vocab_size, hidden];
        list.add("embeddings.token_type_embeddings.weight", shape, group, Role::Weight);
    }
    list.norm("embeddings.LayerNorm", hidden, group);
    for layer in 0..config.layers {
        let group = ParameterGroup::Layer(layer);
        let name = |part: &str| format!("{}.{layer}.{part}", layout.layers);
        // All three weights, then all three biases: in a flat buffer each three are one
        // matrix and one vector, which the stacked product reads as they stand.
        let stacked = [layout.query, layout.key, layout.value];
        for part in stacked {
            list.add(&format!("{}.weight", name(part)), vec![hidden, hidden], group, Role::Weight);
        }
        for part in stacked {
            list.add(&format!("{}.bias", name(part)), vec![hidden], group, Role::Bias);
        }
        list.linear(&name(layout.attention_output), hidden, hidden, group);
        list.norm(&name(layout.attention_norm), hidden, group);
        list.linear(&name(layout.intermediate), config.intermediate_size, hidden, group);
        list.linear(&name(layout.output), hidden, config.intermediate_size, group);
        list.norm(&name(layout.output_norm), hidden, group);
    }
    list.0
}

/// The names of the weights that a product reads, without prefix.
pub(crate) fn weights_of(config: &EncoderConfig, product: Product) -> Vec<String> {
    let layout = layout(config.architecture);
    let parts = match product.role {
        ProductRole::QueryKeyValue => vec![layout.query, layout.key, layout.value],
        ProductRole::AttentionOutput => vec![layout.attention_output],
        ProductRole::Intermediate => vec![layout.intermediate],
        ProductRole::Output => vec![layout.output],
    };
    let name = |part: &str| format!("{}.{}.{part}.weight", layout.layers, product.layer);
    parts.into_iter().map(name).collect()
}

/// The tensors of BERT's pooler: kept where they are, not missed where not.
pub(crate) fn pooler(config: &EncoderConfig) -> Vec<TensorSpec> {
    let mut list = List(Vec::new());
    if config.architecture == Architecture::Bert {
        let hidden = config.hidden_size;
        list.linear("pooler.dense", hidden, hidden, ParameterGroup::Pooler);
    }
    list.0
}

struct List(Vec<TensorSpec>);

impl List {
    fn add(&mut self, name: &str, shape: Vec<usize>, group: ParameterGroup, role: Role) {
        self.0.push(TensorSpec { name: name.to_owned(), shape, group, role });
    }

    fn linear(&mut self, name: &str, outputs: usize, inputs: usize, group: ParameterGroup) {
        self.add(&format!("{name}.weight"), vec![outputs, inputs], group, Role::Weight);
        self.add(&format!("{name}.bias"), vec![outputs], group, Role::Bias);
    }

    fn norm(&mut self, name: &str, width: usize, group: ParameterGroup) {
        self.add(&format!("{name}.weight"), vec![width], group, Role::Scale);
        self.add(&format!("{name}.bias"), vec![width], group, Role::Bias);
    }
}

/// Gives tensors in the order of [`expected`] their roles.
///
/// # Panics
/// If there are fewer than [`expected`] lists; the caller has matched them.
pub(crate) fn assemble<'a>(
    config: &EncoderConfig,
    tensors: impl IntoIterator<Item = &'a StoredTensor>,
) -> EncoderWeights {
    let mut roles = Roles(tensors.into_iter());
    EncoderWeights {
        word: roles.next(),
        position: roles.next(),
        token_type: (config.type_vocab_size > 0).then(|| roles.next()),
        embedding_norm: roles.norm(),
        layers: (0..config.layers)
            .map(|_| {
                let [query, key, value] = roles.stacked();
                LayerWeights {
                    query,
                    key,
                    value,
                    attention_output: roles.linear(),
                    attention_norm: roles.norm(),
                    intermediate: roles.linear(),
                    output: roles.linear(),
                    output_norm: roles.norm(),
                }
            })
            .collect(),
    }
}

struct Roles<I>(I);

impl<'a, I: Iterator<Item = &'a StoredTensor>> Roles<I> {
    fn next(&mut self) -> StoredTensor {
        self.0.next().expect("one tensor per entry of `expected`, matched by the reader").clone()
    }

    // Fields of a struct expression are evaluated in the order in which they are
    // written, so weight comes before bias here as in `List`.
    fn linear(&mut self) -> Linear {
        Linear { weight: self.next(), bias: Some(self.next().to_vec()) }
    }

    /// Layers of which all weights stand before all biases.
    fn stacked<const COUNT: usize>(&mut self) -> [Linear; COUNT] {
        let mut layers = [(); COUNT].map(|()| Linear { weight: self.next(), bias: None });
        for layer in &mut layers {
            layer.bias = Some(self.next().to_vec());
        }
        layers
    }

    fn norm(&mut self) -> Norm {
        Norm { weight: self.next().to_vec(), bias: self.next().to_vec() }
    }
}
