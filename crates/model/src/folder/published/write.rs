//! A trained model as `transformers` reads it: the class that the model began with, if its heads
//! have the form of that class, else the encoder alone.

use polyhead_files::safetensors::Tensor;
use serde_json::{Map, Value};

use super::{Published, READ, cross_encoder};
use crate::heads::{HeadDims, HeadSpec, HeadWeights, PairForm};

impl Published {
    /// The class of the encoder alone.
    fn encoder_class(&self) -> String {
        let ends = READ.iter().find_map(|(end, _)| self.class.strip_suffix(end));
        format!("{}Model", ends.unwrap_or_default())
    }

    /// Checks that the heads of a model are one of the form of this class.
    ///
    /// # Errors
    /// A line for the user with the classes and the reason.
    pub(crate) fn check_form<'a>(
        &self,
        heads: impl IntoIterator<Item = &'a HeadSpec>,
    ) -> Result<(), String> {
        let heads: Vec<&HeadSpec> = heads.into_iter().collect();
        let reason = match heads[..] {
            [head] => match self.other_part(head) {
                None => return Ok(()),
                Some(part) => format!("head `{}` has another {part}", head.name),
            },
            [] => "the model has no head".to_owned(),
            _ => format!("the model has {} heads", heads.len()),
        };
        Err(format!(
            "config.json of the trained model names {} in place of {}, whose head transformers would \
             make of random numbers: {reason}",
            self.encoder_class(),
            self.class
        ))
    }

    /// The part in which a head differs from those of the class.
    fn other_part(&self, head: &HeadSpec) -> Option<&'static str> {
        let own = &self.spec;
        let tags = head.kind.reads_words();
        let has_kind = tags || head.kind.problem_type().is_some();
        let hidden = |spec: &HeadSpec| spec.hidden.map(|width| (width, spec.activation));
        let parts = [
            ("kind", own.kind.reads_words() == tags && has_kind),
            ("hidden layer", hidden(own) == hidden(head) && own.hidden_form == head.hidden_form),
            ("layer", own.layer == head.layer),
            ("input", own.input == head.input),
            ("pooling", tags || own.pooling.modes == head.pooling.modes),
            ("unit of its targets", head.target.is_none()),
            ("form of pairs", !head.pair.is_some_and(PairForm::is_separate)),
        ];
        parts.into_iter().find(|(_, same)| !same).map(|(part, _)| part)
    }

    /// Makes the keys of `config.json` those of the class with this head; without one, those of the
    /// encoder.
    pub(crate) fn set_keys(&self, head: Option<&HeadSpec>, config: &mut Map<String, Value>) {
        let one_label = |config: &Map<String, Value>| {
            config.get("id2label").and_then(Value::as_object).is_some_and(|ids| ids.len() == 1)
        };
        let labels: Vec<String> = match head {
            Some(head) if head.kind.has_labels() => head.labels.clone(),
            Some(_) if one_label(config) => Vec::new(),
            Some(_) => vec!["LABEL_0".to_owned()],
            None => Vec::new(),
        };
        config.remove("num_labels");
        if head.is_none() || !labels.is_empty() {
            config.remove("id2label");
            config.remove("label2id");
        }
        if !labels.is_empty() {
            let ids = labels.iter().enumerate();
            let (names, numbers): (Map<String, Value>, Map<String, Value>) = ids
                .map(|(id, label)| {
                    ((id.to_string(), Value::from(label.as_str())), (label.clone(), id.into()))
                })
                .unzip();
            config.insert("id2label".to_owned(), names.into());
            config.insert("label2id".to_owned(), numbers.into());
        }
        match head.and_then(|head| head.kind.problem_type()) {
            Some(problem) => config.insert("problem_type".to_owned(), problem.into()),
            None => config.remove("problem_type"),
        };
        cross_encoder::set_keys(head, config);
        let class = head.map_or_else(|| self.encoder_class(), |_| self.class.clone());
        config.insert("architectures".to_owned(), vec![class].into());
    }

    /// The tensors of a head under the names of `transformers`.
    ///
    /// - `prefix`: what precedes the names of the encoder, such as `bert.`
    pub(crate) fn head_tensors<'a>(
        &self,
        head: &'a HeadWeights,
        dims: &HeadDims,
        prefix: &str,
    ) -> Vec<(String, Tensor<'a>)> {
        let parts = head.spec.tensors(dims).into_iter().zip(head.values());
        parts
            .map(|((part, shape, _), values)| {
                let name = self.tensor_name(part);
                // The pooler is part of BERT's encoder.
                let prefix = if name.starts_with("pooler.") { prefix } else { "" };
                (format!("{prefix}{name}"), Tensor { shape, values: values.into() })
            })
            .collect()
    }
}
