//! The flags for the vector of a text: pooling, scaling, prompt.

use std::num::NonZeroUsize;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use polyhead_model::{EncodeOptions, OnTruncate, PoolingMode, Prompt};

/// How token vectors become the vector of a text.
#[derive(Debug, Args)]
#[command(next_help_heading = "Vectors")]
pub(crate) struct VectorArgs {
    /// Pooling to use in place of the model's own; the vectors of several are joined
    #[arg(long, value_name = "MODE,…", value_delimiter = ',', value_parser = pooling_mode())]
    pooling: Vec<PoolingMode>,

    /// Scale every vector to length 1
    #[arg(long, overrides_with = "no_normalize")]
    normalize: bool,

    /// Do not scale vectors to length 1, even if the model does
    #[arg(long, overrides_with = "normalize")]
    no_normalize: bool,

    /// Keep only the first N numbers of each vector; add --normalize for length 1
    #[arg(long, value_name = "N")]
    dim: Option<NonZeroUsize>,

    /// Put this text before each text
    #[arg(long, value_name = "TEXT", group = "the prompt")]
    prompt: Option<String>,

    /// Put the model's prompt with this name before each text
    #[arg(long, value_name = "NAME", group = "the prompt")]
    prompt_name: Option<String>,

    /// Use no prompt, even if the model has a default prompt
    #[arg(long, group = "the prompt")]
    no_prompt: bool,
}

impl VectorArgs {
    /// The pooling that the user has given, if any.
    pub(crate) fn pooling(&self) -> Option<Vec<PoolingMode>> {
        (!self.pooling.is_empty()).then(|| self.pooling.clone())
    }

    /// The options for encoding a text.
    pub(crate) fn options(&self) -> EncodeOptions {
        EncodeOptions {
            normalize: self.normalize(),
            dim: self.dim.map(NonZeroUsize::get),
            prompt: self.prompt(),
            on_truncate: OnTruncate::Cut,
        }
    }

    /// The first given flag that has no meaning for token vectors, if any.
    pub(crate) fn only_for_sentences(&self) -> Option<&'static str> {
        [
            (!self.pooling.is_empty(), "--pooling"),
            (self.normalize, "--normalize"),
            (self.no_normalize, "--no-normalize"),
            (self.dim.is_some(), "--dim"),
        ]
        .into_iter()
        .find_map(|(given, flag)| given.then_some(flag))
    }

    fn normalize(&self) -> Option<bool> {
        (self.normalize || self.no_normalize).then_some(self.normalize)
    }

    fn prompt(&self) -> Prompt {
        match (&self.prompt, &self.prompt_name, self.no_prompt) {
            (Some(text), _, _) => Prompt::Text(text.clone()),
            (_, Some(name), _) => Prompt::Named(name.clone()),
            (_, _, true) => Prompt::None,
            (None, None, false) => Prompt::Default,
        }
    }
}

/// Reads a pooling mode, spelled as in `sentence-transformers`; the help lists the choices.
fn pooling_mode() -> impl TypedValueParser<Value = PoolingMode> {
    PossibleValuesParser::new(PoolingMode::ALL.map(PoolingMode::name))
        .try_map(|name| name.parse::<PoolingMode>())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        vector: VectorArgs,
    }

    fn parse(line: &str) -> Result<VectorArgs, clap::Error> {
        Line::try_parse_from(["test"].into_iter().chain(line.split_whitespace()))
            .map(|line| line.vector)
    }

    #[test]
    fn pooling_modes_have_the_names_of_sentence_transformers() {
        let args =
            parse("--pooling cls,mean,max,mean_sqrt_len_tokens,weightedmean,lasttoken").unwrap();
        assert_eq!(
            args.pooling().unwrap(),
            [
                PoolingMode::Cls,
                PoolingMode::Mean,
                PoolingMode::Max,
                PoolingMode::MeanSqrtLenTokens,
                PoolingMode::WeightedMean,
                PoolingMode::LastToken
            ]
        );
        assert_eq!(parse("").unwrap().pooling(), None);
        assert!(parse("--pooling average").is_err());
    }

    #[test]
    fn the_last_word_on_normalizing_counts() {
        for (line, expected) in [
            ("", None),
            ("--normalize", Some(true)),
            ("--no-normalize", Some(false)),
            ("--normalize --no-normalize", Some(false)),
            ("--no-normalize --normalize", Some(true)),
        ] {
            assert_eq!(parse(line).unwrap().options().normalize, expected, "{line}");
        }
    }

    #[test]
    fn there_is_one_prompt_at_most() {
        assert_eq!(parse("").unwrap().options().prompt, Prompt::Default);
        assert_eq!(parse("--no-prompt").unwrap().options().prompt, Prompt::None);
        assert_eq!(parse("--prompt q:").unwrap().options().prompt, Prompt::Text("q:".into()));
        assert_eq!(
            parse("--prompt-name query").unwrap().options().prompt,
            Prompt::Named("query".into())
        );
        assert!(parse("--prompt q: --prompt-name query").is_err());
        assert!(parse("--prompt q: --no-prompt").is_err());
    }

    #[test]
    fn a_dimension_is_at_least_one() {
        assert_eq!(parse("--dim 64").unwrap().options().dim, Some(64));
        assert!(parse("--dim 0").is_err());
    }
}
