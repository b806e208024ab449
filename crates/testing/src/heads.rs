//! Heads for tiny models.

use polyhead_model::{HeadInput, HeadLayer, HeadSpec, HeadWeights, ModelFolder, TaskKind};

/// Heads of every kind, with everything that a head can have.
pub fn heads(folder: &ModelFolder) -> Vec<HeadWeights> {
    let spec = HeadSpec::new;
    let mut topic = spec("topic", TaskKind::Classification, &["sport", "politics", "ünïcode ☃"]);
    topic.temperature = 1.7;
    let mut moods = spec("moods", TaskKind::MultiLabel, &["glad", "sad"]);
    moods.hidden = Some(9);
    moods.thresholds = vec![0.4, 0.6];
    moods.layer = HeadLayer::Mix;
    let mut urgency = spec("urgency", TaskKind::Regression, &[]);
    urgency.input = HeadInput::Embedding;
    let mut entities = spec("entities", TaskKind::Tokens, &["O", "B-x", "I-x"]);
    entities.layer = HeadLayer::At(1);
    let mut grade = spec("grade", TaskKind::Ordinal, &["poor", "fair", "good", "great"]);
    grade.temperature = 2.5;
    let site = folder.head_dims();
    let mut heads: Vec<HeadWeights> = [topic, moods, urgency, entities, grade]
        .into_iter()
        .map(|spec| HeadWeights::random(spec, &site, 7))
        .collect();
    heads[1].mix = Some((0..=site.layers).map(|i| 0.3 * i as f32 - 0.1).collect());
    heads[0].output.1[1] = -0.25;
    heads
}
