//! Values that the configuration writes as words: choices by name, lists that
//! may be a single word, and the few keys that take a word or something else.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use polyhead_compute::Activation;
use polyhead_model::{
    EmptyCell, HeadInput, HeadLayer, LabelMatching, NumberRange, PoolingMode, TaskKind,
    TextTemplate,
};
use serde::de::IntoDeserializer;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::number::{NonNegative, exact};
use super::reader::read_as;
use super::{ClassWeights, Moment};
use crate::tasks::TripletDistance;

/// A choice among words.
pub(super) trait Word: Copy + 'static {
    /// All choices, in the order in which messages name them.
    const ALL: &'static [Self];
    /// The word for this choice.
    fn word(self) -> &'static str;
}

/// Names the choices of types that belong to other crates.
macro_rules! words {
    ($($type:ty: $all:expr, $name:expr;)+) => {$(
        impl Word for $type {
            const ALL: &'static [Self] = &$all;

            fn word(self) -> &'static str {
                $name(self)
            }
        }
    )+};
}

words! {
    TaskKind: TaskKind::ALL, TaskKind::name;
    PoolingMode: PoolingMode::ALL, PoolingMode::name;
    Activation: Activation::ALL, Activation::name;
    LabelMatching: LabelMatching::ALL, LabelMatching::name;
    EmptyCell: EmptyCell::ALL, EmptyCell::name;
    TripletDistance: [TripletDistance::Euclidean, TripletDistance::Cosine], |distance| match distance {
        TripletDistance::Euclidean => "euclidean",
        TripletDistance::Cosine => "cosine",
    };
    HeadInput: [HeadInput::Pooled, HeadInput::Embedding], |input| match input {
        HeadInput::Pooled => "pooled",
        HeadInput::Embedding => "embedding",
    };
}

/// For `#[serde(with = "word")]`: the choice as its word.
pub(super) mod word {
    use super::*;

    pub(in super::super) fn serialize<T: Word, S: Serializer>(
        choice: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(choice.word())
    }

    pub(in super::super) fn deserialize<'de, T: Word, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        read_as(deserializer, &one_of::<T>(), |text: String| {
            T::ALL.iter().copied().find(|choice| choice.word() == text)
        })
    }
}

/// For `#[serde(with = "some_word")]`: the choice as its word, if the key is written.
pub(super) mod some_word {
    use super::*;

    pub(in super::super) fn serialize<T: Word, S: Serializer>(
        choice: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        choice.map(T::word).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, T: Word, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        word::deserialize(deserializer).map(Some)
    }
}

/// For `#[serde(with = "names")]`: a string or several; a single one is written as a string.
pub(super) mod names {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        names: &[String],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match names {
            [name] => name.serialize(serializer),
            names => names.serialize(serializer),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<String>, D::Error> {
        strings(deserializer)
    }
}

/// For `#[serde(with = "poolings")]`: one mode or several, each once.
pub(super) mod poolings {
    use super::*;

    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Mode(#[serde(with = "word")] PoolingMode);

    pub(in super::super) fn serialize<S: Serializer>(
        modes: &Option<Vec<PoolingMode>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let words =
            |modes: &Vec<PoolingMode>| -> Vec<_> { modes.iter().map(|mode| mode.word()).collect() };
        modes.as_ref().map(words).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<PoolingMode>>, D::Error> {
        let expected = format!("one or more of {}", one_of::<PoolingMode>());
        let visitor = OneOrMore::<Mode> { expected, least: 1, item: PhantomData };
        let modes = deserializer.deserialize_any(visitor)?;
        let modes: Vec<PoolingMode> = modes.into_iter().map(|mode| mode.0).collect();
        let twice = (1..modes.len()).find(|index| modes[..*index].contains(&modes[*index]));
        if let Some(index) = twice {
            let word = modes[index].word();
            return Err(de::Error::custom(format!("expected each once, found `{word}` twice")));
        }
        Ok(Some(modes))
    }
}

/// For `#[serde(deserialize_with = "strings")]`: a string or several.
pub(super) fn strings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_any(OneOrMore::strings())
}

/// For `#[serde(with = "template")]`: a text with fields in braces.
pub(super) mod template {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        template: &Option<TextTemplate>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        template.as_ref().map(TextTemplate::to_string).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<TextTemplate>, D::Error> {
        const EXPECTED: &str = "a text with fields in braces, such as \"{title}: {body}\"";
        read_as(deserializer, EXPECTED, |text: String| text.parse().ok()).map(Some)
    }
}

/// For `#[serde(with = "range")]`: two numbers, the smaller one first.
pub(super) mod range {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        range: &Option<NumberRange>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        range.map(|range| [range.least(), range.most()].map(exact)).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<NumberRange>, D::Error> {
        const EXPECTED: &str = "two numbers, the smaller one first, such as [1, 5]";
        read_as(deserializer, EXPECTED, |[least, most]: [f32; 2]| {
            NumberRange::new(least, most).ok()
        })
        .map(Some)
    }
}

/// For `#[serde(deserialize_with = "paths")]`: a path or several.
pub(super) fn paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    let names = deserializer.deserialize_any(OneOrMore::<String>::strings())?;
    Ok(names.into_iter().map(PathBuf::from).collect())
}

/// For `#[serde(with = "head_layer")]`: a number or a word.
pub(super) mod head_layer {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        layer: &HeadLayer,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match layer {
            HeadLayer::Last => serializer.serialize_str("last"),
            HeadLayer::Mix => serializer.serialize_str("mix"),
            HeadLayer::At(layer) => layer.serialize(serializer),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<HeadLayer, D::Error> {
        const EXPECTED: &str = "\"last\", \"mix\" or the number of a layer (0: the embeddings)";
        read_as(deserializer, EXPECTED, |layer| match layer {
            WordOrNumber::Word(word) if word == "last" => Some(HeadLayer::Last),
            WordOrNumber::Word(word) if word == "mix" => Some(HeadLayer::Mix),
            // More layers than any encoder has.
            WordOrNumber::Number(layer @ 0..=1000) => Some(HeadLayer::At(layer as usize)),
            _ => None,
        })
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum WordOrNumber {
        Word(String),
        Number(u64),
    }
}

impl<'de> Deserialize<'de> for ClassWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WeightsVisitor)
    }
}

struct WeightsVisitor;

impl<'de> de::Visitor<'de> for WeightsVisitor {
    type Value = ClassWeights;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("\"balanced\" or a table with a number of at least 0 for each label")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ClassWeights, E> {
        match text {
            "balanced" => Ok(ClassWeights::Balanced),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ClassWeights, A::Error> {
        read_weights(map).map(ClassWeights::Given)
    }
}

impl Serialize for ClassWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Balanced => serializer.serialize_str("balanced"),
            Self::Given(given) => write_weights(given, serializer),
        }
    }
}

/// Reads a table with a number of at least 0 for each name, sorted by name: the order in a file has no
/// meaning.
pub(super) fn read_weights<'de, A: de::MapAccess<'de>>(
    mut map: A,
) -> Result<Vec<(String, f32)>, A::Error> {
    let mut given = Vec::new();
    while let Some((name, weight)) = map.next_entry::<String, NonNegative>()? {
        given.push((name, weight.get()));
    }
    given.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(given)
}

/// Writes the table of [`read_weights`].
pub(super) fn write_weights<S: Serializer>(
    given: &[(String, f32)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(given.len()))?;
    for (name, weight) in given {
        map.serialize_entry(name, &exact(*weight))?;
    }
    map.end()
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_as(deserializer, "\"epoch N\" or \"step N\", counted from 1", |text: String| {
            let (unit, number) = text.split_once(' ')?;
            let number = number.trim().parse::<u64>().ok().filter(|number| *number > 0)?;
            match unit {
                "epoch" => Some(Self::Epoch(number)),
                "step" => Some(Self::Step(number)),
                _ => None,
            }
        })
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Epoch(epoch) => serializer.collect_str(&format_args!("epoch {epoch}")),
            Self::Step(step) => serializer.collect_str(&format_args!("step {step}")),
        }
    }
}

/// Reads an array, or a single string as an array of one.
struct OneOrMore<T> {
    expected: String,
    least: usize,
    item: PhantomData<T>,
}

impl OneOrMore<String> {
    fn strings() -> Self {
        let expected = "a string or an array of strings".to_owned();
        Self { expected, least: 0, item: PhantomData }
    }
}

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for OneOrMore<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
        Ok(vec![T::deserialize(text.into_deserializer())?])
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element()? {
            found.push(item);
        }
        if found.len() < self.least {
            return Err(de::Error::invalid_length(found.len(), &self));
        }
        Ok(found)
    }
}

/// `"a"`, `"a" or "b"`, `"a", "b" or "c"`.
fn one_of<T: Word>() -> String {
    let words: Vec<&str> = T::ALL.iter().map(|choice| choice.word()).collect();
    choices(&words)
}

/// Words as messages list them: `"a", "b" or "c"`.
pub(super) fn choices(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
