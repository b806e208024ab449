//! Positions of the special tokens around the texts: `[CLS] A [SEP] B [SEP]`.
//!
//! The post-processor of a tokenizer runs once, on a marker token for each text, and its result is
//! kept as data. Truncation then needs no library call and cannot lose a special token.

use tokenizers::{Encoding, Token};

use crate::error::Cause;

/// One entry of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// A special token.
    Special { id: u32, type_id: u32 },
    /// All tokens of a text: the first, or the second of a pair.
    Text { second: bool, type_id: u32 },
}

/// The order of special tokens and texts in a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    /// The entries in order.
    pub(crate) slots: Vec<Slot>,
}

/// Ids that mark the texts; no vocabulary reaches them.
const FIRST: u32 = u32::MAX;
const SECOND: u32 = u32::MAX - 1;

impl Template {
    /// Runs the post-processor of `tokenizer` on a single text or a pair; each must appear once.
    pub(crate) fn probe(tokenizer: &tokenizers::Tokenizer, pair: bool) -> Result<Self, Cause> {
        let marked =
            |id, type_id| Encoding::from_tokens(vec![Token::new(id, "a".into(), (0, 1))], type_id);
        let answer =
            tokenizer.post_process(marked(FIRST, 0), pair.then(|| marked(SECOND, 1)), true)?;
        let slots: Vec<Slot> = answer
            .get_ids()
            .iter()
            .zip(answer.get_type_ids())
            .zip(answer.get_special_tokens_mask())
            .map(|((&id, &type_id), &special)| match (special, id) {
                (0, FIRST | SECOND) => Slot::Text { second: id == SECOND, type_id },
                _ => Slot::Special { id, type_id },
            })
            .collect();
        let is =
            |slot: &&Slot, wanted| matches!(slot, Slot::Text { second, .. } if *second == wanted);
        let count = |wanted: bool| slots.iter().filter(|slot| is(slot, wanted)).count();
        match (count(false), count(true), pair) {
            (1, 0, false) | (1, 1, true) => Ok(Self { slots }),
            (first, second, _) => Err(format!(
                "the post-processor places the first text {first} times and the second {second} times"
            )
            .into()),
        }
    }

    /// The template with token type 0 everywhere.
    pub(crate) fn without_types(mut self) -> Self {
        for slot in &mut self.slots {
            let (Slot::Special { type_id, .. } | Slot::Text { type_id, .. }) = slot;
            *type_id = 0;
        }
        self
    }

    /// The special tokens in order.
    pub(crate) fn special_ids(&self) -> impl Iterator<Item = u32> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Special { id, .. } => Some(*id),
            Slot::Text { .. } => None,
        })
    }

    /// Number of special tokens.
    pub(crate) fn specials(&self) -> usize {
        self.special_ids().count()
    }
}

#[cfg(test)]
mod tests {
    use tokenizers::models::wordpiece::WordPiece;
    use tokenizers::processors::bert::BertProcessing;
    use tokenizers::processors::roberta::RobertaProcessing;
    use tokenizers::processors::template::TemplateProcessing;
    use tokenizers::{PostProcessorWrapper, Tokenizer};

    use super::*;

    /// A template in one line: `101:0 A:0 102:0`.
    fn shown(template: &Template) -> String {
        let slot = |slot: &Slot| match slot {
            Slot::Special { id, type_id } => format!("{id}:{type_id}"),
            Slot::Text { second: false, type_id } => format!("A:{type_id}"),
            Slot::Text { second: true, type_id } => format!("B:{type_id}"),
        };
        template.slots.iter().map(slot).collect::<Vec<_>>().join(" ")
    }

    fn template(single: &str, pair: &str) -> PostProcessorWrapper {
        TemplateProcessing::builder()
            .try_single(single)
            .unwrap()
            .try_pair(pair)
            .unwrap()
            .special_tokens(vec![("<s>", 5), ("</s>", 6)])
            .build()
            .unwrap()
            .into()
    }

    #[test]
    fn templates_of_the_common_post_processors() {
        struct Case {
            name: &'static str,
            processor: Option<PostProcessorWrapper>,
            single: &'static str,
            pair: &'static str,
        }
        let bert = BertProcessing::new(("[SEP]".into(), 102), ("[CLS]".into(), 101));
        let roberta = RobertaProcessing::new(("</s>".into(), 2), ("<s>".into(), 0));
        let cases = [
            Case { name: "none", processor: None, single: "A:0", pair: "A:0 B:1" },
            Case {
                name: "bert",
                processor: Some(bert.into()),
                single: "101:0 A:0 102:0",
                pair: "101:0 A:0 102:0 B:1 102:1",
            },
            Case {
                name: "roberta",
                processor: Some(roberta.into()),
                single: "0:0 A:0 2:0",
                pair: "0:0 A:0 2:0 2:0 B:0 2:0",
            },
            Case {
                name: "template",
                processor: Some(template("$A </s>", "$B </s>:3 $A")),
                single: "A:0 6:0",
                pair: "B:0 6:3 A:0",
            },
        ];
        for Case { name, processor, single, pair } in cases {
            let mut tokenizer = Tokenizer::new(WordPiece::default());
            tokenizer.with_post_processor(processor);
            assert_eq!(shown(&Template::probe(&tokenizer, false).unwrap()), single, "{name}");
            assert_eq!(shown(&Template::probe(&tokenizer, true).unwrap()), pair, "{name}");
        }
    }

    #[test]
    fn a_text_that_stands_twice_is_refused() {
        let mut tokenizer = Tokenizer::new(WordPiece::default());
        tokenizer.with_post_processor(Some(template("$A <s> $A", "$A $B")));
        let found = Template::probe(&tokenizer, false).unwrap_err();
        assert!(found.to_string().contains("first text 2 times"), "{found}");
    }
}
