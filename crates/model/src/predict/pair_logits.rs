//! The logits of heads that read two vectors, after the pass that gave these: from features of both,
//! or their cosine where the kind compares vectors.

use std::time::Instant;

use polyhead_compute::Cpu;

use crate::heads::{Head, pair_features};
use crate::predict::multi_task::MultiTaskModel;
use crate::predict::pass::{BatchLogits, GroupNumbers, PassText, logits};
use crate::sentence::cosine;

impl MultiTaskModel {
    /// Completes the numbers of texts by the logits of heads that read two vectors.
    pub(super) fn answer_pairs(
        &self,
        cpu: Cpu,
        texts: &[PassText],
        mut numbers: GroupNumbers,
    ) -> BatchLogits {
        let vectors: Vec<Vec<Vec<f32>>> =
            numbers.sequences.iter_mut().map(|of| std::mem::take(&mut of.vectors)).collect();
        let mut found = numbers.of_texts(texts);
        for (task, time) in &mut found.head_times {
            let head = &self.heads[*task];
            if !head.spec.reads_two_vectors() {
                continue;
            }
            let begun = Instant::now();
            let asked = |text: &PassText| text.request.tasks.contains(task);
            let (mut both, mut rows) = (Vec::new(), 0);
            for text in texts.iter().filter(|text| asked(text)) {
                let earlier = text.request.tasks.iter().take_while(|other| *other != task);
                let place = earlier.filter(|other| self.heads[**other].spec.reads_two_vectors());
                let place = place.count();
                for side in text.sequences.sides.into_iter().flatten() {
                    both.extend_from_slice(&vectors[side][place]);
                }
                rows += 1;
            }
            let logits = pair_logits(cpu, head, &both, rows);
            let rows = logits.chunks_exact(head.spec.outputs());
            let of_task = texts.iter().zip(&mut found.texts).filter(|(text, _)| asked(text));
            for ((text, found), logits) in of_task.zip(rows) {
                // Tasks come in order, so that all before this one are there.
                let place = text.request.tasks.iter().position(|other| other == task);
                found.logits.insert(place.unwrap_or_default(), logits.to_vec());
            }
            *time += begun.elapsed();
        }
        found
    }
}

/// `[rows, outputs]`.
///
/// - `vectors`: `[2 · rows, width]`, both of a pair beside each other
fn pair_logits(cpu: Cpu, head: &Head, vectors: &[f32], rows: usize) -> Vec<f32> {
    if let Some(product) = head.spec.pair_product() {
        let mut x = Vec::new();
        pair_features(vectors, rows, product, &mut x);
        return logits(cpu, head, &x);
    }
    let width = vectors.len() / (2 * rows).max(1);
    let pairs = vectors.chunks_exact((2 * width).max(1)).map(|pair| pair.split_at(width));
    let score =
        |(first, second): (&[f32], &[f32])| match first.iter().chain(second).all(|x| x.is_finite())
        {
            true => cosine(first, second) as f32,
            false => f32::NAN,
        };
    pairs.map(score).collect()
}
