//! Words that people bring from other tools, and what each of them is called here.
//!
//! An alias is a hint in a message, never a second spelling: a configuration has one.

/// The meaning of a word of another tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyAlias {
    /// The key or table that the word means, as in [`Key::path`](super::Key::path); `None` if there is none.
    pub path: Option<&'static str>,
    /// Explanation for the user; empty if the path says all.
    pub note: &'static str,
}

/// Finds what a word of another tool means here.
pub fn key_alias(word: &str) -> Option<KeyAlias> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let found = KEYS.iter().find(|(words, ..)| words.split(' ').any(|other| other == word));
    found.map(|(_, path, note)| KeyAlias { path: (!path.is_empty()).then_some(*path), note })
}

/// Finds the value of a key that a word of another tool means.
///
/// - `key`: last part of the key's path
pub(super) fn value_alias(key: &str, value: &str) -> Option<&'static str> {
    let value = value.to_ascii_lowercase().replace(['-', ' '], "_");
    let mut values = VALUES.iter().filter(|(known, ..)| *known == key);
    let found = values.find(|(_, words, _)| words.split(' ').any(|other| other == value));
    found.map(|(.., meaning)| *meaning)
}

/// Words separated by blanks, the key or table that they mean, and a note.
const KEYS: &[(&str, &str, &str)] = &[
    ("random_seed random_state manual_seed", "seed", ""),
    // Tables.
    ("training trainer training_args training_arguments hyperparameters", "train", ""),
    ("dataset datasets dataset_args", "data", ""),
    ("tasks heads", "task", ""),
    ("checkpoints saving", "checkpoint", ""),
    // [encoder]
    (
        "model_name model_name_or_path model_id model_path base_model pretrained pretrained_model backbone",
        "encoder.model",
        "",
    ),
    (
        "max_seq_length max_seq_len max_len max_tokens seq_length sequence_length model_max_length",
        "encoder.max_length",
        "",
    ),
    ("pool pooling_mode pooling_strategy", "encoder.pooling", ""),
    ("hidden_dropout hidden_dropout_prob dropout_rate dropout_prob", "encoder.dropout", ""),
    ("attention_probs_dropout_prob attn_dropout", "encoder.attention_dropout", ""),
    ("num_layers n_layers num_hidden_layers", "encoder.layers", ""),
    // [data]
    ("train_file train_files train_path train_data training_data", "data.train", ""),
    (
        "valid val validation validation_file val_file dev_file dev_path eval_file eval_dataset",
        "data.dev",
        "",
    ),
    ("test_file test_path test_data", "data.test", ""),
    (
        "text_column text_field text_col sentence sentence_column input_column column",
        "data.text",
        "",
    ),
    ("token_column tokens_column tokens_field words_field word_column", "data.tokens", ""),
    // [sampler]
    ("sampling sampling_strategy mixing", "sampler.kind", ""),
    // [[task]]
    ("task_name", "task.name", ""),
    ("type task_type problem_type head_type", "task.kind", ""),
    (
        "label label_column label_field label_col target target_column labels_column",
        "task.field",
        "the name of the field with the label",
    ),
    ("classes class_names label_names label_list id2label", "task.labels", "an array of names"),
    ("num_labels num_classes n_classes", "task.labels", "they are counted in the training data"),
    ("loss_weight task_weight", "task.weight", ""),
    ("class_weight label_weights", "task.class_weights", ""),
    ("pos_weight pos_weights positive_weight", "task.positive_weights", ""),
    ("smoothing label_smoothing_factor", "task.label_smoothing", ""),
    ("hidden_size hidden_dim", "task.hidden", ""),
    ("metrics eval_metric", "task.metric", ""),
    (
        "concatenation_sent_rep concatenation_sent_difference",
        "task.pair",
        "`pair = \"separate\"`, which gives the head both vectors and their difference",
    ),
    ("concatenation_sent_multiplication", "task.pair_product", ""),
    // [train]
    ("preset recipe_name training_recipe", "train.recipe", ""),
    ("num_train_epochs num_epochs n_epochs max_epochs", "train.epochs", ""),
    (
        "batch bs batchsize train_batch_size per_device_train_batch_size mini_batch_size",
        "train.batch_size",
        "",
    ),
    (
        "gradient_accumulation gradient_accumulation_steps accumulate_grad_batches accumulation_steps",
        "train.accumulation",
        "the parts of one step of `batch_size` rows, so `batch_size` is the whole batch",
    ),
    ("lr encoder_lr base_lr", "train.learning_rate", ""),
    ("head_lr classifier_lr", "train.head_learning_rate", ""),
    ("llrd layerwise_lr_decay lr_decay", "train.layer_decay", ""),
    ("lr_scheduler lr_scheduler_type scheduler", "train.schedule", ""),
    ("warmup_ratio warmup_proportion", "train.warmup", ""),
    ("warmup_steps num_warmup_steps", "train.warmup", "the share of all steps, such as 0.1"),
    ("wd decay", "train.weight_decay", ""),
    (
        "max_grad_norm grad_clip gradient_clip gradient_clip_val gradient_clipping",
        "train.clip_norm",
        "",
    ),
    ("beta1 beta2 adam_beta1 adam_beta2", "train.betas", "an array of both"),
    ("eps adam_eps adam_epsilon", "train.epsilon", ""),
    ("steps num_steps max_train_steps num_train_steps total_steps", "train.max_steps", ""),
    ("early_stopping early_stopping_patience", "train.patience", "a number of evaluations"),
    ("logging_steps log_steps log_interval", "train.log_every", ""),
    (
        "eval_steps eval_every evaluation_steps eval_strategy evaluation_strategy",
        "train.evaluate_every",
        "a number of steps; 0: once an epoch",
    ),
    ("metric_for_best_model monitor best_metric", "train.best", "`mean` or `TASK.METRIC`"),
    // [checkpoint]
    ("save_steps save_every checkpoint_every", "checkpoint.every", ""),
    ("save_total_limit max_checkpoints keep_last", "checkpoint.keep", ""),
    // [[freeze]]
    (
        "freeze_encoder freeze_layers freeze_embeddings freeze_base_model frozen",
        "freeze.parameters",
        "such as `parameters = \"encoder\"`",
    ),
    // What is no key.
    ("loss loss_fn loss_function criterion", "", "the loss follows from the `kind` of the task"),
    (
        "optimizer optim",
        "",
        "the optimizer is AdamW, with `betas`, `epsilon` and `weight_decay` in `[train]`",
    ),
    ("fp16 bf16 amp mixed_precision precision dtype", "", "training computes in single precision"),
    ("device devices gpu gpus cuda n_gpu use_cuda", "", "training runs on the CPU"),
    (
        "threads num_threads workers num_workers n_jobs dataloader_num_workers",
        "",
        "the number of threads is the flag `--threads N`",
    ),
    ("out out_dir output output_dir save_dir", "", "the folder of the run is the flag `--out DIR`"),
    ("resume resume_from_checkpoint", "", "a run is continued by the flag `--resume`"),
    ("shuffle", "", "rows are shuffled in each epoch, by `seed`"),
];

/// A key, words separated by blanks, and the value that they mean.
const VALUES: &[(&str, &str, &str)] = &[
    ("kind", "class classify multiclass multi_class binary text_classification", "classification"),
    ("kind", "sequence_classification single_label sentiment label", "classification"),
    ("kind", "multi_label multi_label_classification multilabel_classification tags", "multilabel"),
    ("kind", "regress number numeric float score", "regression"),
    ("kind", "ordered grade grades rating likert", "ordinal"),
    ("kind", "ner pos token tagging tagger sequence_labeling token_classification", "tokens"),
    ("recipe", "automatic default", "auto"),
    ("recipe", "defaults none off finetune fine_tune everything", "full"),
    ("recipe", "head head_only heads_only linear_probe frozen", "heads"),
    ("schedule", "linear_with_warmup linear_decay", "linear"),
    ("schedule", "cosine_with_warmup cosine_with_restarts cosine_annealing", "cosine"),
    ("schedule", "none constant_with_warmup", "constant"),
    ("pooling", "avg average mean_pooling mean_tokens", "mean"),
    ("pooling", "cls_token first first_token", "cls"),
    ("pooling", "max_pooling max_tokens", "max"),
    ("pooling", "last last_token eos", "lasttoken"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::keys::{config_keys, is_table};
    use super::*;

    #[test]
    fn every_alias_leads_to_a_key_that_there_is() {
        let keys: Vec<String> = config_keys().into_iter().map(|key| key.path).collect();
        let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
        let mut seen = HashSet::new();
        for (words, path, note) in KEYS {
            let known = keys.iter().any(|key| key == path) || is_table(path);
            assert!(known || (path.is_empty() && !note.is_empty()), "{words}: {path}");
            for word in words.split(' ') {
                assert!(seen.insert(word), "{word} twice");
                let in_its_table = keys.iter().any(|key| last(key) == word && last(path) == word);
                assert!(!in_its_table, "{word} is the key itself");
            }
        }
        for (key, words, meaning) in VALUES {
            let expected: Vec<String> = config_keys()
                .into_iter()
                .filter(|known| last(&known.path) == *key)
                .map(|known| known.expected)
                .collect();
            let quoted = format!("\"{meaning}\"");
            assert!(expected.iter().any(|text| text.contains(&quoted)), "{words}: {meaning}");
            assert!(
                !words.split(' ').any(|word| word == *meaning),
                "{meaning} is the value itself"
            );
        }
    }

    #[test]
    fn spelling_does_not_matter() {
        for word in ["max_seq_length", "Max-Seq-Length"] {
            assert_eq!(key_alias(word).unwrap().path, Some("encoder.max_length"));
        }
        assert_eq!(value_alias("kind", "Token-Classification"), Some("tokens"));
        assert_eq!(value_alias("schedule", "ner"), None);
        assert_eq!(key_alias("learning_rate"), None);
    }
}
