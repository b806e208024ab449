//! The parts of a model in the order of the data flow: the same tree for every family.

use std::ops::Range;

use polyhead_model::{LayerWeights, ModelFolder, ParameterGroup};
use serde::Serialize;

use super::summary::module;
use crate::table::{Table, thousands};

/// A part of a model, or neighbouring layers with the same pieces.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    /// Its name in `[[freeze]]`; `None` if it has no parameters.
    pub(crate) freeze: Option<String>,
    /// The number of parameters, of each layer where there are several.
    pub(crate) parameters: usize,
    /// Name and sizes of each of its pieces.
    pub(crate) pieces: Vec<(&'static str, String)>,
}

/// The parts of `folder`.
pub(crate) fn parts(folder: &ModelFolder) -> Vec<Part> {
    let parameters = |group: ParameterGroup| -> usize {
        folder.parameters.iter().filter(|p| p.group == group).map(|p| p.count()).sum()
    };
    let part = |name: String, freeze: &str, group: ParameterGroup, pieces| {
        let parameters = parameters(group);
        let freeze = (parameters > 0).then(|| freeze.to_owned());
        Part { name, freeze, parameters, pieces }
    };
    let embeddings = ParameterGroup::Embeddings;
    let mut parts =
        vec![part("embeddings".to_owned(), "embeddings", embeddings, embedding_pieces(folder))];
    let layers: Vec<_> = folder.weights.layers.iter().enumerate().collect();
    let size_and_pieces = |(i, layer): &(usize, &LayerWeights)| {
        (parameters(ParameterGroup::Layer(*i)), layer_pieces(folder, layer, 0..0))
    };
    for same in layers.chunk_by(|a, b| size_and_pieces(a) == size_and_pieces(b)) {
        let (first, last) = (same[0].0, same[same.len() - 1].0);
        let (name, numbers) = match first == last {
            true => ("layer", first.to_string()),
            false => ("layers", format!("{first}-{last}")),
        };
        let group = ParameterGroup::Layer(first);
        let pieces = layer_pieces(folder, same[0].1, first..last + 1);
        parts.push(part(format!("{name} {numbers}"), &format!("layers.{numbers}"), group, pieces));
    }
    if parameters(ParameterGroup::Pooler) > 0 {
        let pieces = vec![("not used", "kept for other programs".to_owned())];
        parts.push(part("pooler".to_owned(), "pooler", ParameterGroup::Pooler, pieces));
    }
    for (index, spec) in folder.modules.iter().enumerate() {
        parts.push(part(module(spec), "modules", ParameterGroup::Module(index), Vec::new()));
    }
    for (index, head) in folder.heads.iter().enumerate() {
        let (name, group) = (&head.spec.name, ParameterGroup::Head(index));
        parts.push(part(format!("head {name}"), &format!("head.{name}"), group, Vec::new()));
    }
    parts
}

fn embedding_pieces(folder: &ModelFolder) -> Vec<(&'static str, String)> {
    let (config, weights) = (&folder.config, &folder.weights);
    let mut pieces = vec![("words", shape(weights.word.shape()))];
    if let Some(table) = &weights.position {
        let from = match config.first_position {
            0 => String::new(),
            first => format!(", the first one in row {first}"),
        };
        pieces.push(("positions", format!("{}{from}", shape(table.shape()))));
    }
    if let Some(table) = &weights.token_type {
        pieces.push(("token types", shape(table.shape())));
    }
    pieces.push(("norm", shape(&[config.embedding_size])));
    if let Some(projection) = &weights.projection {
        pieces.push(("projection", shape(projection.weight.shape())));
    }
    if let Some(bias) = &weights.distance_bias {
        let size = shape(&[bias.len() / config.heads, config.heads]);
        pieces.push(("bias by distance", format!("{size}, for all layers")));
    }
    pieces
}

/// The pieces of a layer.
///
/// - `layers`: numbers of the layers with the same tensors, whose windows are named
fn layer_pieces(
    folder: &ModelFolder,
    layer: &LayerWeights,
    layers: Range<usize>,
) -> Vec<(&'static str, String)> {
    let config = &folder.config;
    let norm = || ("norm", shape(&[config.hidden_size]));
    let mut attention = format!("{} heads of {}", config.heads, config.head_size());
    if let Some(rotary) = &config.rotary {
        let count = layers.len();
        let whole = layers.filter(|layer| rotary.global_layers.get(*layer) == Some(&true));
        let whole: Vec<String> = whole.map(|layer| layer.to_string()).collect();
        attention += &match whole.len() {
            0 => format!(", rotary, {} tokens to each side", rotary.window),
            all if all == count => ", rotary, all tokens".to_owned(),
            _ => format!(
                ", rotary, {} tokens to each side, all in {}",
                rotary.window,
                whole.join(", ")
            ),
        };
    }
    let made = &layer.query_key_value;
    let count = if made.len() > 1 { format!("{} × ", made.len()) } else { String::new() };
    let (first, second) = (layer.intermediate.weight.shape(), layer.output.weight.shape());
    let gate = if first[0] > second[1] { ", gated" } else { "" };
    let function = config.activation.name();
    let mut pieces = Vec::new();
    pieces.extend(layer.input_norm.iter().map(|_| norm()));
    pieces.extend([
        ("query, key, value", format!("{count}{}", shape(made[0].weight.shape()))),
        ("attention", attention),
        ("attention output", shape(layer.attention_output.weight.shape())),
        norm(),
        ("feed-forward", format!("{}, {function}{gate}, {}", shape(first), shape(second))),
    ]);
    pieces.extend(layer.output_norm.iter().map(|_| norm()));
    pieces
}

fn shape(sizes: &[usize]) -> String {
    format!("{sizes:?}")
}

/// The tree as a table.
pub(crate) fn table(parts: &[Part]) -> Table {
    let mut table = Table::new("llrl");
    table.row(["part", "size", "parameters", "in [[freeze]]"]);
    for Part { name, freeze, parameters, pieces } in parts {
        let count = if *parameters > 0 { thousands(*parameters as u64) } else { String::new() };
        let each = if name.starts_with("layers ") && name.contains('-') { "each" } else { "" };
        table.row([name, each, &count, freeze.as_deref().unwrap_or_default()]);
        for (piece, size) in pieces {
            table.row([&format!("  {piece}"), size]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use polyhead_testing::tiny_model;

    use super::*;

    fn tree(name: &str) -> Vec<String> {
        let parts = parts(&ModelFolder::open(&tiny_model(name)).unwrap());
        let line = |part: &Part| {
            let pieces: Vec<_> =
                part.pieces.iter().map(|(name, size)| format!("{name} {size}")).collect();
            let freeze = part.freeze.as_deref().unwrap_or("-");
            format!("{} [{freeze}] {}: {}", part.name, part.parameters, pieces.join("; "))
        };
        parts.iter().map(line).collect()
    }

    #[test]
    fn every_family_has_the_same_tree() {
        let layer = "query, key, value 3 × [20, 20]; attention 2 heads of 10; \
                     attention output [20, 20]; norm [20]; feed-forward [36, 20], gelu, [20, 36]; \
                     norm [20]";
        assert_eq!(
            tree("tiny-mpnet"),
            [
                "embeddings [embeddings] 4544: words [156, 20]; positions [66, 20], the first one \
                 in row 2; norm [20]; bias by distance [32, 2], for all layers"
                    .to_owned(),
                format!("layers 0-1 [layers.0-1] 3256: {layer}"),
                "pooler [pooler] 420: not used kept for other programs".to_owned(),
                "Pooling (mean) [-] 0: ".to_owned(),
            ]
        );
        let modern = tree("tiny-modernbert");
        for (part, attention) in [
            ("layer 0 [layers.0]", "rotary, all tokens;"),
            ("layers 1-2 [layers.1-2]", "rotary, 4 tokens to each side;"),
            ("layer 3 [layers.3]", "rotary, all tokens;"),
        ] {
            let line = modern.iter().find(|line| line.starts_with(part)).unwrap();
            assert!(line.contains(&format!("2 heads of 10, {attention}")), "{line}");
        }
        let electra = tree("tiny-electra");
        assert!(electra[0].ends_with("norm [12]; projection [20, 12]"), "{}", electra[0]);
        assert_eq!(electra[1], format!("layers 0-1 [layers.0-1] 3256: {layer}"));
        assert_eq!(
            tree("st6-dense")[3..][..2].join(" "),
            "Pooling (mean) [-] 0:  Dense (40 to 24, tanh) [modules] 984: "
        );
    }
}
