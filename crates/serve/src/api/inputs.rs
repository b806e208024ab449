//! Texts of a request: one or several, or token ids in their place.

use serde::de::{Error, SeqAccess};
use utoipa::openapi::schema::{ArrayBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{ObjectBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::one_or_many::{FromTextOrList, OneOrMany, deserialize_text_or_list, read_rest};
use crate::InputText;
use crate::http::app::App;
use crate::http::errors::{ApiError, ApiErrorKind};
use crate::http::settings::TokenIds;

/// One text or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Texts(pub(crate) OneOrMany<String>);

/// One text or several; token ids may replace a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inputs(pub(crate) OneOrMany<InputText>);

deserialize_text_or_list!(Texts, Inputs, InputElement);

impl FromTextOrList for Texts {
    const EXPECTED: &'static str = "a text or a list of texts";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self(OneOrMany::One(text.to_owned())))
    }

    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        read_rest(None, list).map(|texts| Self(OneOrMany::Many(texts)))
    }
}

impl FromTextOrList for Inputs {
    const EXPECTED: &'static str = "a text, a list of texts, or token ids in place of texts";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self(OneOrMany::One(InputText::from(text.to_owned()))))
    }

    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut texts = Vec::new();
        while let Some(element) = list.next_element()? {
            match element {
                InputElement::Text(text) => texts.push(text),
                // A list of ids is one text.
                InputElement::Id(id) if texts.is_empty() => {
                    let ids = read_rest(Some(id), list)?;
                    return Ok(Self(OneOrMany::One(InputText::Ids(ids))));
                }
                InputElement::Id(id) => {
                    return Err(A::Error::custom(format!(
                        "token id {id}: expected a text or a list of token ids, as before it"
                    )));
                }
            }
        }
        Ok(Self(OneOrMany::Many(texts)))
    }
}

/// An element of a list of [`Inputs`].
enum InputElement {
    Text(InputText),
    Id(u32),
}

impl FromTextOrList for InputElement {
    const EXPECTED: &'static str = "a text, a token id or a list of token ids";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self::Text(InputText::from(text.to_owned())))
    }

    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        read_rest(None, list).map(|ids| Self::Text(InputText::Ids(ids)))
    }

    fn from_number<E: Error>(id: i128) -> Result<Self, E> {
        let limit = if id < 0 { "0 or more".to_owned() } else { format!("at most {}", u32::MAX) };
        u32::try_from(id)
            .map(Self::Id)
            .map_err(|_| E::custom(format!("token id {id}: expected {limit}")))
    }
}

/// Refuses empty texts, and token ids unless they are accepted.
pub(crate) fn check_texts(
    app: &App,
    texts: Vec<InputText>,
    field: &'static str,
) -> Result<Vec<InputText>, ApiError> {
    for (index, text) in texts.iter().enumerate() {
        let is_empty = match text {
            InputText::Ids(_) if app.settings.token_ids == TokenIds::Refuse => {
                return Err(token_ids(field));
            }
            InputText::Ids(ids) => ids.is_empty(),
            InputText::Text(text) => text.bytes() == 0,
        };
        if is_empty {
            return Err(empty_text(index, field));
        }
    }
    Ok(texts)
}

/// Refuses more texts than a request may have.
pub(crate) fn check_count(app: &App, count: usize, field: &'static str) -> Result<(), ApiError> {
    let limit = app.settings.max_inputs;
    if count <= limit {
        return Ok(());
    }
    let message = format!("{field}: expected at most {limit} texts, found {count}");
    Err(ApiError::new(ApiErrorKind::TooManyTexts, message).about(field))
}

/// - `index`: index of the text, counted from 0
pub(crate) fn empty_text(index: usize, field: &'static str) -> ApiError {
    let message = format!("{field}: text {}: expected a text, found an empty one", index + 1);
    ApiError::new(ApiErrorKind::Empty, message).about(field)
}

/// The error for token ids. The message names the client option that turns them off.
fn token_ids(field: &'static str) -> ApiError {
    let message = format!(
        "{field}: expected text, found token ids, which clients take from another model's \
         tokenizer unless told otherwise (LangChain: \
         OpenAIEmbeddings(check_embedding_ctx_length=False)); a server that is started with \
         --allow-token-ids takes ids of its own model's vocabulary"
    );
    ApiError::new(ApiErrorKind::TokenIds, message).about(field)
}

/// Schema of a string.
pub(crate) fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// Description of texts on routes that take no fields.
pub(crate) const AS_IS: &str = "Texts are read as they are, without the fields of a model that makes \
                                its text of several: only `/v1/predict` takes these";

fn ids() -> ArrayBuilder {
    let id = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    ArrayBuilder::new().items(id).description(Some("Token ids of one text"))
}

impl PartialSchema for Texts {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .description(Some(AS_IS))
            .item(string().description(Some("One text")))
            .item(ArrayBuilder::new().items(string()).description(Some("Several texts")))
            .into()
    }
}

impl ToSchema for Texts {}

impl PartialSchema for Inputs {
    fn schema() -> RefOr<Schema> {
        let text = OneOfBuilder::new().item(string()).item(ids());
        OneOfBuilder::new()
            .description(Some(AS_IS))
            .item(string().description(Some("One text")))
            .item(ids())
            .item(
                ArrayBuilder::new()
                    .items(text)
                    .description(Some("Several texts, or token ids in their place")),
            )
            .into()
    }
}

impl ToSchema for Inputs {}

#[cfg(test)]
mod tests {
    use polyhead_testing::check_mutations;
    use polyhead_text::TextInput;
    use serde_json::{Value, json};

    use super::OneOrMany::{Many, One};
    use super::*;

    #[test]
    fn what_is_read_of_a_changed_body_is_what_it_says() {
        let value = |text: &InputText| match text {
            InputText::Text(TextInput::One(text)) => json!(text),
            InputText::Text(other) => panic!("{other:?}"),
            InputText::Ids(ids) => json!(ids),
        };
        for good in [r#"["a",[1,2],"b\u00e9"]"#, "[0,4294967295]", r#""a""#] {
            check_mutations(good.as_bytes(), 128, |bytes| {
                if let Ok(Inputs(inputs)) = serde_json::from_slice(bytes) {
                    let read = match &inputs {
                        One(text) => value(text),
                        Many(texts) => texts.iter().map(value).collect(),
                    };
                    assert_eq!(read, serde_json::from_slice::<Value>(bytes).unwrap());
                }
            });
        }
    }

    fn text(text: &str) -> InputText {
        InputText::from(text.to_owned())
    }

    #[test]
    fn every_form_is_read() {
        let ids = InputText::Ids;
        let cases = [
            (r#""a""#, One(text("a"))),
            ("[]", Many(vec![])),
            (r#"["a","b"]"#, Many(vec![text("a"), text("b")])),
            ("[1,2]", One(ids(vec![1, 2]))),
            ("[[1],[]]", Many(vec![ids(vec![1]), ids(vec![])])),
            (r#"["a",[4294967295]]"#, Many(vec![text("a"), ids(vec![u32::MAX])])),
        ];
        for (json, expected) in cases {
            assert_eq!(serde_json::from_str::<Inputs>(json).unwrap().0, expected, "{json}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let cases = [
            ("5", "expected a text, a list of texts"),
            ("null", "expected a text, a list of texts"),
            ("[null]", "expected a text, a token id"),
            ("[-1]", "token id -1"),
            ("[4294967296]", "token id 4294967296"),
            ("[1.5]", "expected a text, a token id"),
            (r#"["a",1]"#, "token id 1"),
            (r#"[1,"a"]"#, "expected u32"),
            ("[[[1]]]", "expected u32"),
        ];
        for (json, expected) in cases {
            let error = serde_json::from_str::<Inputs>(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
        for (json, expected) in [
            ("5", "integer `5`, expected a text or a list of texts"),
            ("-5", "`-5`"),
            ("[1]", "expected a string"),
        ] {
            let error = serde_json::from_str::<Texts>(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
}
