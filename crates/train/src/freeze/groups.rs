//! Names of parameter groups: `embeddings`, `layers.0-3`, `head.topic`.

use std::collections::BTreeSet;

use polyhead_model::ParameterGroup;

use crate::error::{Error, ErrorKind};

/// The groups of a model by the names in configurations.
pub(super) struct GroupNames<'a> {
    /// The group of each entry of the index.
    index: Vec<ParameterGroup>,
    heads: &'a [String],
}

impl<'a> GroupNames<'a> {
    pub(super) fn new(index: Vec<ParameterGroup>, heads: &'a [String]) -> Self {
        Self { index, heads }
    }

    /// One flag per entry: whether any of the patterns matches it.
    pub(super) fn matches(&self, patterns: &[String]) -> Result<Vec<bool>, Error> {
        let mut matches = vec![false; self.index.len()];
        for pattern in patterns {
            let found = self.resolve(pattern).and_then(|holds| {
                let found: Vec<bool> = self.index.iter().map(|group| holds.holds(*group)).collect();
                if found.contains(&true) {
                    Ok(found)
                } else {
                    Err("the model has no such part".to_owned())
                }
            });
            let found = found.map_err(|problem| {
                let shown: String = pattern.chars().take(80).collect();
                let message = format!("freeze rule `{shown}`: {problem}; {}", self.there_are());
                Error::new(ErrorKind::Config, message)
            })?;
            for (flag, found) in matches.iter_mut().zip(found) {
                *flag |= found;
            }
        }
        Ok(matches)
    }

    fn resolve(&self, pattern: &str) -> Result<GroupPattern, String> {
        if let Some(range) = pattern.strip_prefix("layers.") {
            return self.layers(range);
        }
        if let Some(name) = pattern.strip_prefix("head.") {
            let known = || {
                let all: Vec<String> =
                    self.heads.iter().map(|head| format!("head.{head}")).collect();
                format!("the heads are {}", all.join(", "))
            };
            return self
                .heads
                .iter()
                .position(|head| head == name)
                .map(GroupPattern::Head)
                .ok_or_else(known);
        }
        match pattern {
            "all" => Ok(GroupPattern::All),
            "encoder" => Ok(GroupPattern::Encoder),
            "embeddings" => Ok(GroupPattern::Embeddings),
            "pooler" => Ok(GroupPattern::Pooler),
            "modules" => Ok(GroupPattern::Modules),
            "heads" => Ok(GroupPattern::Heads),
            _ => Err("no such group".to_owned()),
        }
    }

    /// Parses `A-B` or `I`. All layers must exist: a range that is too long was meant for another
    /// model.
    fn layers(&self, range: &str) -> Result<GroupPattern, String> {
        // `parse` alone would accept a sign.
        let number = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<usize>().ok())?
        };
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err("expected layers.FIRST-LAST or layers.NUMBER, counted from 0".to_owned());
        };
        if first > last {
            return Err("expected layers.FIRST-LAST with FIRST up to LAST".to_owned());
        }
        match self.layer_count() {
            0 => Err("the encoder has no layers".to_owned()),
            1 if last > 0 => Err("the encoder has layers.0 alone".to_owned()),
            count if last >= count => Err(format!("the encoder has layers.0-{}", count - 1)),
            _ => Ok(GroupPattern::Layers(first, last)),
        }
    }

    fn layer_count(&self) -> usize {
        let above = self.index.iter().filter_map(|group| match group {
            ParameterGroup::Layer(layer) => Some(layer + 1),
            _ => None,
        });
        above.max().unwrap_or(0)
    }

    fn there_are(&self) -> String {
        let parts = names(self.index.iter().copied(), &[]);
        // The heads are the last names.
        let (heads, mut all): (Vec<String>, Vec<String>) =
            parts.into_iter().partition(|name| name == "heads");
        all.splice(0..0, ["all".to_owned(), "encoder".to_owned()]);
        all.extend(heads);
        all.extend(self.heads.iter().map(|head| format!("head.{head}")));
        format!("there are {}", all.join(", "))
    }
}

/// The parameters that a pattern of a freeze rule matches.
enum GroupPattern {
    All,
    /// Encoder layers, embeddings and pooler.
    Encoder,
    Embeddings,
    Layers(usize, usize),
    Pooler,
    Modules,
    Heads,
    Head(usize),
}

impl GroupPattern {
    fn holds(&self, group: ParameterGroup) -> bool {
        use ParameterGroup as G;
        match (self, group) {
            (Self::All, _)
            | (Self::Encoder, G::Embeddings | G::Layer(_) | G::Pooler)
            | (Self::Embeddings, G::Embeddings)
            | (Self::Pooler, G::Pooler)
            | (Self::Modules, G::Module(_))
            | (Self::Heads, G::Head(_)) => true,
            (Self::Layers(first, last), G::Layer(layer)) => (*first..=*last).contains(&layer),
            (Self::Head(head), G::Head(other)) => *head == other,
            _ => false,
        }
    }
}

/// Names of groups in the order of the index. Consecutive layers become one name, and all `heads`
/// become `heads`.
pub(super) fn names(groups: impl Iterator<Item = ParameterGroup>, heads: &[String]) -> Vec<String> {
    let groups: BTreeSet<ParameterGroup> = groups.collect();
    let mut names: Vec<String> = Vec::new();
    let mut layers: Vec<(usize, usize)> = Vec::new();
    for group in &groups {
        if let ParameterGroup::Layer(layer) = group {
            match layers.last_mut() {
                Some((_, last)) if *last + 1 == *layer => *last = *layer,
                _ => layers.push((*layer, *layer)),
            }
        }
    }
    let marked = |group: fn(&ParameterGroup) -> bool| groups.iter().any(group);
    if marked(|group| *group == ParameterGroup::Embeddings) {
        names.push("embeddings".to_owned());
    }
    names.extend(layers.into_iter().map(|(first, last)| {
        if first == last { format!("layers.{first}") } else { format!("layers.{first}-{last}") }
    }));
    if marked(|group| *group == ParameterGroup::Pooler) {
        names.push("pooler".to_owned());
    }
    if marked(|group| matches!(group, ParameterGroup::Module(_))) {
        names.push("modules".to_owned());
    }
    let of_heads: Vec<usize> = groups
        .iter()
        .filter_map(|group| match group {
            ParameterGroup::Head(head) => Some(*head),
            _ => None,
        })
        .collect();
    let every = of_heads.len() >= heads.len() && heads.len() != 1;
    if every && !of_heads.is_empty() {
        names.push("heads".to_owned());
    } else {
        names.extend(of_heads.iter().map(|head| match heads.get(*head) {
            Some(name) => format!("head.{name}"),
            None => format!("head.{head}"),
        }));
    }
    names
}
