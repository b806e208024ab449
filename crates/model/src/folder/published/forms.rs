//! The classifiers of `transformers` as data: where each of their classes has its layers.
//!
//! Source: `modeling_NAME.py` of each family, classes `NAMEForSequenceClassification`,
//! `NAMEForTokenClassification` and the heads that they use.

use crate::encoder::Key;

/// The classifiers of a family.
pub(super) struct Classifiers {
    /// The beginnings of the names of the classes, before `ForSequenceClassification`.
    pub(super) classes: &'static [&'static str],
    pub(super) sequence: ClassifierForm,
    pub(super) tokens: ClassifierForm,
}

/// The layers of a classifier and the keys of `config.json` that they depend on.
#[derive(Debug)]
pub(super) struct ClassifierForm {
    /// Name of the pooling of sequence classifiers.
    pub(super) pooling: Key<&'static str>,
    pub(super) hidden: Option<HiddenPart>,
    /// Name of the output layer.
    pub(super) output: &'static str,
    /// Dropout before the output layer.
    pub(super) dropout: Key<f64>,
}

/// The hidden layer of a classifier, as wide as the encoder.
#[derive(Debug)]
pub(super) struct HiddenPart {
    /// Name of the linear layer.
    pub(super) dense: &'static str,
    pub(super) activation: Key<&'static str>,
    /// True if training applies dropout before it.
    pub(super) input_dropout: bool,
    /// Key that is true if the linear layer has a bias.
    pub(super) bias: Key<bool>,
    pub(super) norm: Option<NormPart>,
}

/// The layer norm after a classifier's hidden layer.
#[derive(Debug)]
pub(super) struct NormPart {
    pub(super) name: &'static str,
    pub(super) eps: Key<f64>,
    pub(super) bias: Key<bool>,
}

/// `classifier_dropout` or, where it is absent, the dropout of hidden states.
const DROPOUT: Key<f64> =
    Key { names: &["classifier_dropout", "hidden_dropout_prob"], default: 0.1 };

/// The dropout of hidden states, whatever `classifier_dropout` says.
const HIDDEN_DROPOUT: Key<f64> = Key { names: &["hidden_dropout_prob"], default: 0.1 };

/// One linear layer.
const LINEAR: ClassifierForm = ClassifierForm {
    pooling: Key { names: &[], default: "cls" },
    hidden: None,
    output: "classifier",
    dropout: DROPOUT,
};

/// A hidden layer with a bias and no norm.
const fn dense(name: &'static str, activation: &'static str, input_dropout: bool) -> HiddenPart {
    HiddenPart {
        dense: name,
        activation: Key { names: &[], default: activation },
        input_dropout,
        bias: Key { names: &[], default: true },
        norm: None,
    }
}

/// The head of its own class that RoBERTa, ELECTRA and MPNet have.
const fn own_class(activation: &'static str) -> ClassifierForm {
    ClassifierForm {
        hidden: Some(dense("classifier.dense", activation, true)),
        output: "classifier.out_proj",
        ..LINEAR
    }
}

/// The `ModernBertPredictionHead` and what follows it, for texts and for tokens.
const PREDICTION_HEAD: ClassifierForm = ClassifierForm {
    pooling: Key { names: &["classifier_pooling"], default: "cls" },
    hidden: Some(HiddenPart {
        dense: "head.dense",
        activation: Key { names: &["classifier_activation"], default: "gelu" },
        input_dropout: false,
        bias: Key { names: &["classifier_bias"], default: false },
        norm: Some(NormPart {
            name: "head.norm",
            eps: Key { names: &["norm_eps"], default: 1e-5 },
            bias: Key { names: &["norm_bias"], default: false },
        }),
    }),
    output: "classifier",
    dropout: Key { names: &["classifier_dropout"], default: 0.0 },
};

/// All families.
pub(super) const FAMILIES: &[Classifiers] = &[
    Classifiers {
        classes: &["Bert"],
        sequence: ClassifierForm { hidden: Some(dense("pooler.dense", "tanh", false)), ..LINEAR },
        tokens: LINEAR,
    },
    Classifiers {
        classes: &["DistilBert"],
        sequence: ClassifierForm {
            hidden: Some(dense("pre_classifier", "relu", false)),
            dropout: Key { names: &["seq_classif_dropout"], default: 0.2 },
            ..LINEAR
        },
        tokens: ClassifierForm { dropout: Key { names: &["dropout"], default: 0.1 }, ..LINEAR },
    },
    Classifiers {
        classes: &["Roberta", "XLMRoberta", "Camembert"],
        sequence: own_class("tanh"),
        tokens: LINEAR,
    },
    Classifiers { classes: &["Electra"], sequence: own_class("gelu"), tokens: LINEAR },
    Classifiers {
        classes: &["MPNet"],
        sequence: ClassifierForm { dropout: HIDDEN_DROPOUT, ..own_class("tanh") },
        tokens: ClassifierForm { dropout: HIDDEN_DROPOUT, ..LINEAR },
    },
    Classifiers { classes: &["ModernBert"], sequence: PREDICTION_HEAD, tokens: PREDICTION_HEAD },
];
