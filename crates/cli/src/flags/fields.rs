//! The flags for the fields of a row.

use anyhow::Result;
use clap::Args;
use polyhead_model::{InputFields, TextFields, TextTemplate};

use crate::failure::usage;

/// The fields that make the input of a model.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Input")]
pub(crate) struct FieldArgs {
    /// Field or column that holds the text; several need --join or --template [default: as the
    /// model was trained, or text]
    #[arg(long, visible_alias = "text", value_name = "NAME,…", value_delimiter = ',')]
    field: Vec<String>,

    /// Text between several fields; \n is a line end, \t a tab
    #[arg(long, value_name = "TEXT")]
    join: Option<String>,

    /// Text with fields in braces, such as "{title}: {body}"
    #[arg(long, value_name = "TEXT", value_parser = template)]
    template: Option<TextTemplate>,

    /// Field that holds the words, for tasks that tag words [default: tokens]
    #[arg(long, value_name = "NAME")]
    tokens_field: Option<String>,
}

impl FieldArgs {
    /// The flags with at most a single field.
    pub(crate) fn of_field(field: Option<String>) -> Self {
        Self { field: field.into_iter().collect(), ..Self::default() }
    }

    /// The first of these flags that is given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--field", !self.field.is_empty()),
            ("--join", self.join.is_some()),
            ("--template", self.template.is_some()),
            ("--tokens-field", self.tokens_field.is_some()),
        ];
        flags.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag)
    }

    /// The fields with the text; `None` if no flag names them.
    pub(crate) fn text(&self) -> Result<Option<TextFields>> {
        if self.field.is_empty() && self.join.is_none() && self.template.is_none() {
            return Ok(None);
        }
        let join = self.join.as_deref().map(unescaped);
        let fields = TextFields::new(&self.field, join.as_deref(), self.template.as_ref());
        let flag = self.given().unwrap_or_default();
        fields.map(Some).map_err(|problem| usage(format!("{flag}: {problem}")))
    }

    /// The field with the words, if a flag names it.
    pub(crate) fn tokens(&self) -> Option<String> {
        self.tokens_field.clone()
    }

    /// All fields: those of the flags, else those of the model, else the usual names.
    pub(crate) fn input_fields(&self, model: Option<&TextFields>) -> Result<InputFields> {
        let usual = InputFields::default();
        let text = self.text()?.or_else(|| model.cloned()).unwrap_or(usual.text);
        Ok(InputFields { text, tokens: self.tokens().unwrap_or(usual.tokens) })
    }
}

fn template(text: &str) -> Result<TextTemplate, String> {
    unescaped(text).parse()
}

/// Shells pass `\n` as two characters.
fn unescaped(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t")
}
