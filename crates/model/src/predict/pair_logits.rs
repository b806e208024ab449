//! The logits of heads that read two vectors, after the pass that gave these.

use std::time::Instant;

use polyhead_compute::Cpu;

use crate::heads::pair_features;
use crate::predict::multi_task::MultiTaskModel;
use crate::predict::pass::{BatchLogits, GroupNumbers, PassText, logits};

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
            let Some(product) = head.spec.pair_product() else { continue };
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
            let mut x = Vec::new();
            pair_features(&both, rows, product, &mut x);
            let logits = logits(cpu, head, &x);
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
