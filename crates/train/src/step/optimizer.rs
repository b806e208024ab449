//! AdamW over the flat parameter store.
//!
//! A loop over the entries of the index: frozen entries have no moments here, and a head without a
//! labelled row in a step is skipped, as PyTorch skips a parameter without a gradient.
//! `Cpu::adamw` of `polyhead_compute` changes the values.

use std::collections::BTreeMap;
use std::ops::Range;

use polyhead_compute::{AdamW as EntryStep, Buffer, Cpu};
use polyhead_model::{ParameterStore, TouchedRows, TrainableLayout};

use crate::config::TrainSettings;
use crate::error::{Error, ErrorKind};

/// The settings that all tensors and steps share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWSettings {
    /// β₁ and β₂: decay rates of the first and the second moment.
    pub betas: (f32, f32),
    /// ε, added to the root of the second moment.
    pub epsilon: f32,
    /// Largest global norm of the gradient; 0 disables clipping.
    pub clip_norm: f32,
}

/// Moments and update counts of the trainable entries.
pub struct AdamW {
    settings: AdamWSettings,
    layout: TrainableLayout,
    /// `[layout.len()]`: the first moments; `second` has the same size.
    first: Buffer,
    second: Buffer,
    /// Number of updates of each entry of the index since it became trainable.
    counts: Vec<u64>,
    /// For each table, by entry: one flag per row, set if its moments may differ from zero.
    /// Computed from the moments at the first use.
    moving: BTreeMap<usize, Vec<bool>>,
}

/// The input of one update.
#[derive(Clone, Copy)]
pub struct Update<'a> {
    /// `[layout.len()]`: the gradients.
    pub gradients: &'a [f32],
    /// The rows with a gradient, for tables of which few rows have one. All rows of other tables
    /// may have one.
    pub reached: &'a TouchedRows,
    /// Peak rate of each entry of the index.
    pub learning_rates: &'a [f32],
    /// Weight decay of each entry, relative to its learning rate.
    pub weight_decays: &'a [f32],
    /// Factor of the schedule in this step.
    pub multiplier: f64,
    /// One flag per entry: whether it has a gradient. Other entries do not change, nor do their
    /// counts.
    pub touched: &'a [bool],
}

/// Norm and clipping of a step's gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientNorm {
    /// Euclidean norm over the trainable entries with a gradient.
    pub norm: f64,
    /// Factor of the gradient; below 1 if it was clipped.
    pub factor: f32,
}

/// Optimizer state of one entry, as checkpoints store it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments<'a> {
    /// Number of updates so far.
    pub count: u64,
    /// Running mean of the gradient.
    pub first: &'a [f32],
    /// Running mean of the squared gradient.
    pub second: &'a [f32],
}

impl AdamWSettings {
    /// The settings of a run.
    pub fn new(train: &TrainSettings) -> Self {
        let (beta1, beta2) = train.betas;
        Self {
            betas: (beta1.get(), beta2.get()),
            epsilon: train.epsilon.get(),
            clip_norm: train.clip_norm.get(),
        }
    }
}

impl AdamW {
    /// An optimizer for `layout` whose moments are zero.
    pub fn new(settings: AdamWSettings, layout: TrainableLayout) -> Self {
        Self {
            settings,
            first: Buffer::zeros(layout.len()),
            second: Buffer::zeros(layout.len()),
            counts: vec![0; layout.ranges().len()],
            moving: BTreeMap::new(),
            layout,
        }
    }

    /// The layout of the moments.
    pub fn layout(&self) -> &TrainableLayout {
        &self.layout
    }

    /// Changes to `layout`, of the same index. Entries that stay trainable keep their moments and
    /// counts, new ones begin at zero, and those of frozen entries are dropped.
    pub fn relayout(&mut self, layout: TrainableLayout) {
        assert_eq!(layout.ranges().len(), self.counts.len(), "entries of the index");
        let mut next = Self::new(self.settings, layout);
        for index in 0..self.counts.len() {
            if let (Some(from), Some(to)) = (self.layout.range(index), next.layout.range(index)) {
                next.first[to.clone()].copy_from_slice(&self.first[from.clone()]);
                next.second[to].copy_from_slice(&self.second[from]);
                next.counts[index] = self.counts[index];
            }
        }
        *self = next;
    }

    /// Clips the gradient by its global norm and updates the parameters in `store`.
    ///
    /// The factor is that of `torch.nn.utils.clip_grad_norm_`: `min(1, clip_norm / (norm + 1e-6))`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFinite`] with the names of the entries whose gradient is not finite; then
    /// nothing has changed.
    ///
    /// # Panics
    /// If gradients or flags are not of this layout and index.
    pub fn step(
        &mut self,
        cpu: Cpu,
        store: &mut ParameterStore,
        update: &Update,
    ) -> Result<GradientNorm, Error> {
        assert_eq!(update.gradients.len(), self.layout.len(), "numbers of the gradients");
        assert_eq!(store.entries().len(), self.counts.len(), "entries of the store");
        assert_eq!(update.touched.len(), self.counts.len(), "flags");
        let moved: Vec<(usize, Range<usize>)> = (0..self.counts.len())
            .filter(|index| update.touched[*index])
            .filter_map(|index| Some((index, self.layout.range(index)?)))
            .collect();
        let norm = self.norm(cpu, store, update, &moved)?;
        let (beta1, beta2) = self.settings.betas;
        for (index, range) in moved {
            self.counts[index] += 1;
            let rate = f64::from(update.learning_rates[index]) * update.multiplier;
            let step = EntryStep {
                learning_rate: rate as f32,
                beta1,
                beta2,
                epsilon: self.settings.epsilon,
                weight_decay: update.weight_decays[index],
                step: self.counts[index],
                gradient_factor: norm.factor,
            };
            let at = store.entries()[index].range.clone();
            let parameters = &mut store.values_mut()[at];
            let gradients = &update.gradients[range.clone()];
            let (first, second) = (&mut self.first[range.clone()], &mut self.second[range]);
            match update.reached.get(&index) {
                None => {
                    self.moving.remove(&index);
                    cpu.adamw(&step, parameters, gradients, first, second);
                }
                Some(reached) => {
                    let moving = self
                        .moving
                        .entry(index)
                        .or_insert_with(|| rows_that_move(reached.len(), first, second));
                    moving.iter_mut().zip(reached).for_each(|(moving, now)| *moving |= now);
                    cpu.adamw_rows(&step, moving, parameters, gradients, first, second);
                }
            }
        }
        Ok(norm)
    }

    /// The global norm of the gradient, and the factor that clips it.
    fn norm(
        &self,
        cpu: Cpu,
        store: &ParameterStore,
        update: &Update,
        moved: &[(usize, Range<usize>)],
    ) -> Result<GradientNorm, Error> {
        let mut sum = 0.0;
        let mut broken = Vec::new();
        for (index, range) in moved {
            // In double precision, in which squares of finite f32 numbers do not overflow.
            let gradients = &update.gradients[range.clone()];
            let squares = match update.reached.get(index) {
                None => cpu.sum_of_squares(gradients),
                Some(rows) => {
                    touched_rows(rows, gradients).map(|numbers| cpu.sum_of_squares(numbers)).sum()
                }
            };
            if !squares.is_finite() {
                broken.push(store.entries()[*index].name.as_str());
            }
            sum += squares;
        }
        if !broken.is_empty() {
            return Err(not_finite(&broken, moved.len()));
        }
        let norm = sum.sqrt();
        let factor = match self.settings.clip_norm {
            0.0 => 1.0,
            clip_norm => (f64::from(clip_norm) / (norm + 1e-6)).min(1.0) as f32,
        };
        Ok(GradientNorm { norm, factor })
    }

    /// Optimizer state of entry `index`; `None` if it is frozen.
    pub fn moments(&self, index: usize) -> Option<Moments<'_>> {
        let range = self.layout.range(index)?;
        let (first, second) = (&self.first[range.clone()], &self.second[range]);
        Some(Moments { count: self.counts[index], first, second })
    }

    /// Restores the state of an entry from a checkpoint.
    ///
    /// # Errors
    /// [`ErrorKind::Run`] if the entry is frozen here or of another size.
    pub fn set_moments(&mut self, index: usize, moments: Moments) -> Result<(), Error> {
        let run = |message: String| Error::new(ErrorKind::Run, message);
        let Some(range) = self.layout.ranges().get(index).cloned().flatten() else {
            return Err(run(format!(
                "optimizer state of entry {index}: expected none, it is frozen"
            )));
        };
        let lengths = [moments.first.len(), moments.second.len()];
        if lengths != [range.len(); 2] {
            return Err(run(format!(
                "optimizer state of entry {index}: expected {} numbers, found {} and {}",
                range.len(),
                lengths[0],
                lengths[1]
            )));
        }
        self.moving.remove(&index);
        self.first[range.clone()].copy_from_slice(moments.first);
        self.second[range].copy_from_slice(moments.second);
        self.counts[index] = moments.count;
        Ok(())
    }

    /// Bytes of both moments: eight per trainable number.
    pub fn state_bytes(&self) -> usize {
        size_of_val(&self.first[..]) + size_of_val(&self.second[..])
    }
}

/// One flag per row of a table: whether it has moments other than zero.
fn rows_that_move(rows: usize, first: &[f32], second: &[f32]) -> Vec<bool> {
    let width = first.len() / rows;
    let moves = |row: &[f32]| row.iter().any(|x| *x != 0.0);
    first
        .chunks_exact(width)
        .zip(second.chunks_exact(width))
        .map(|(first, second)| moves(first) || moves(second))
        .collect()
}

/// The values of the flagged rows of a table; consecutive rows come as one slice.
fn touched_rows<'a>(rows: &'a [bool], table: &'a [f32]) -> impl Iterator<Item = &'a [f32]> {
    let width = table.len() / rows.len();
    let mut row = 0;
    rows.chunk_by(|one, next| one == next).filter_map(move |alike| {
        let begin = row * width;
        row += alike.len();
        alike[0].then(|| &table[begin..row * width])
    })
}

fn not_finite(names: &[&str], of: usize) -> Error {
    let shown = names[..names.len().min(5)].join("`, `");
    let more = match names.len().saturating_sub(5) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "expected finite gradients, found others in {} of {of} tensors: `{shown}`{more}",
        names.len()
    );
    Error::new(ErrorKind::NotFinite, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyhead_compute::{Isa, Team, Threads};
    use polyhead_model::ParameterGroup;

    const PLAIN: AdamWSettings =
        AdamWSettings { betas: (0.9, 0.99), epsilon: 1e-8, clip_norm: 1.0 };

    /// Entries `a` of three numbers and `b` of two.
    fn store() -> ParameterStore {
        let mut store = ParameterStore::default();
        store.push("a", vec![3], ParameterGroup::Embeddings, true, &[0.5, -1.0, 2.0]);
        store.push("b", vec![2], ParameterGroup::Head(0), false, &[0.25, -0.75]);
        store
    }

    fn optimizer(store: &ParameterStore, trainable: &[bool]) -> AdamW {
        AdamW::new(PLAIN, TrainableLayout::new(store, trainable))
    }

    fn step(
        optimizer: &mut AdamW,
        store: &mut ParameterStore,
        gradients: &[f32],
        multiplier: f64,
        touched: &[bool],
    ) -> Result<GradientNorm, Error> {
        let update = Update {
            gradients,
            reached: &TouchedRows::new(),
            learning_rates: &[0.1, 0.01],
            weight_decays: &[0.5, 0.0],
            multiplier,
            touched,
        };
        optimizer.step(Cpu::new(&Team::solo(), Isa::detect()), store, &update)
    }

    #[test]
    fn three_steps_follow_pytorch() {
        struct Step {
            gradients: [f32; 5],
            multiplier: f64,
            touched: [bool; 2],
            norm: f64,
            parameters: [f64; 5],
        }
        // torch.optim.AdamW in double precision with two groups, and
        // clip_grad_norm_(…, 1.0); `b` has no gradient in the second step.
        let steps = [
            Step {
                gradients: [3.0, -4.0, 0.5, 1.0, 2.0],
                multiplier: 1.0,
                touched: [true, true],
                norm: 5.5,
                parameters: [0.375000002, -0.850000001, 1.800000011, 0.240000001, -0.76],
            },
            Step {
                gradients: [0.25, 0.5, -0.125, f32::NAN, f32::NAN],
                multiplier: 0.5,
                touched: [true, false],
                norm: 0.57282196186948,
                parameters: [0.319594457, -0.822227256, 1.765389479, 0.240000001, -0.76],
            },
            Step {
                gradients: [-1.0, 2.0, 0.0, 0.5, -0.25],
                multiplier: 0.25,
                touched: [true, true],
                norm: 2.304886114323222,
                parameters: [0.310567426, -0.821348977, 1.747346792, 0.237499193, -0.761075234],
            },
        ];
        let mut store = store();
        let mut optimizer = optimizer(&store, &[true, true]);
        for (number, expected) in steps.iter().enumerate() {
            let Step { gradients, multiplier, touched, .. } = expected;
            let found = step(&mut optimizer, &mut store, gradients, *multiplier, touched).unwrap();
            assert!((found.norm - expected.norm).abs() < 1e-12, "{number}: {found:?}");
            let factor = (1.0 / (expected.norm + 1e-6)).min(1.0);
            assert!((f64::from(found.factor) - factor).abs() < 1e-7, "{number}: {found:?}");
            for (found, expected) in store.values().iter().zip(expected.parameters) {
                // The values are about 1 in single precision. β₂ = 0.99 is rounded by 1e-8 where 1
                // − β₂ is 0.01, so the corrections have a relative error of 1e-6.
                assert!(
                    (f64::from(*found) - expected).abs() < 5e-7,
                    "{number}: {found} {expected}"
                );
            }
        }
        assert_eq!(optimizer.moments(0).unwrap().count, 3);
        assert_eq!(optimizer.moments(1).unwrap().count, 2);
    }

    #[test]
    fn clipping_can_be_off() {
        let mut store = store();
        let layout = TrainableLayout::new(&store, &[true, true]);
        let mut optimizer = AdamW::new(AdamWSettings { clip_norm: 0.0, ..PLAIN }, layout);
        let found = step(&mut optimizer, &mut store, &[30.0, 40.0, 0.0, 0.0, 0.0], 1.0, &[true; 2]);
        assert_eq!(found.unwrap(), GradientNorm { norm: 50.0, factor: 1.0 });
    }

    #[test]
    fn what_is_frozen_has_no_state_and_does_not_change() {
        let mut store = store();
        let before = store.values().to_vec();
        let mut optimizer = optimizer(&store, &[false, true]);
        assert_eq!(optimizer.state_bytes(), 2 * 2 * 4);
        step(&mut optimizer, &mut store, &[1.0, 1.0], 1.0, &[true; 2]).unwrap();
        assert_eq!(store.values()[..3], before[..3]);
        assert!(store.values()[3..].iter().zip(&before[3..]).all(|(now, before)| now != before));
        assert_eq!(optimizer.moments(0), None);
    }

    #[test]
    fn a_new_layout_keeps_what_stays_and_drops_what_goes() {
        let mut store = store();
        let mut optimizer = optimizer(&store, &[false, true]);
        step(&mut optimizer, &mut store, &[0.5, -0.5], 1.0, &[true; 2]).unwrap();
        let first = optimizer.moments(1).unwrap().first.to_vec();
        let second = optimizer.moments(1).unwrap().second.to_vec();

        optimizer.relayout(TrainableLayout::new(&store, &[true, true]));
        let kept = Moments { count: 1, first: &first, second: &second };
        assert_eq!(optimizer.moments(1), Some(kept));
        let fresh = Moments { count: 0, first: &[0.0; 3], second: &[0.0; 3] };
        assert_eq!(optimizer.moments(0), Some(fresh));

        optimizer.relayout(TrainableLayout::new(&store, &[true, false]));
        assert_eq!((optimizer.moments(1), optimizer.state_bytes()), (None, 2 * 3 * 4));
        // Frozen and unfrozen again: the state begins at zero.
        optimizer.relayout(TrainableLayout::new(&store, &[true, true]));
        let fresh = Moments { count: 0, first: &[0.0; 2], second: &[0.0; 2] };
        assert_eq!(optimizer.moments(1), Some(fresh));
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut store = store();
            let before = store.values().to_vec();
            let mut optimizer = optimizer(&store, &[true, true]);
            let gradients = [1.0, 1.0, 1.0, 1.0, broken];
            let error = step(&mut optimizer, &mut store, &gradients, 1.0, &[true; 2]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFinite);
            assert!(error.to_string().ends_with("found others in 1 of 2 tensors: `b`"), "{error}");
            assert_eq!(store.values(), before);
            assert_eq!(optimizer.moments(0).unwrap().count, 0);
        }
        // The norm of the largest finite numbers is finite.
        let mut store = store();
        let mut optimizer = optimizer(&store, &[true, true]);
        let norm = step(&mut optimizer, &mut store, &[f32::MAX; 5], 1.0, &[true; 2]).unwrap().norm;
        assert!((norm / f64::from(f32::MAX) - 5f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn state_that_is_taken_over_goes_on_to_the_same_bits() {
        let gradients = |i: usize| [0.3, -0.1 * i as f32, 0.7, 0.2, 0.05 * i as f32];
        let mut store = store();
        let mut optimizer = optimizer(&store, &[true, true]);
        for i in 0..3 {
            step(&mut optimizer, &mut store, &gradients(i), 1.0, &[true, i != 1]).unwrap();
        }
        let mut copy = store.clone();
        let layout = TrainableLayout::new(&copy, &[true, true]);
        let mut resumed = AdamW::new(PLAIN, layout);
        for index in 0..2 {
            resumed.set_moments(index, optimizer.moments(index).unwrap()).unwrap();
        }
        for i in 3..6 {
            step(&mut optimizer, &mut store, &gradients(i), 0.5, &[true; 2]).unwrap();
            step(&mut resumed, &mut copy, &gradients(i), 0.5, &[true; 2]).unwrap();
        }
        let bits = |store: &ParameterStore| -> Vec<u32> {
            store.values().iter().map(|value| value.to_bits()).collect()
        };
        assert_eq!(bits(&store), bits(&copy));
    }

    #[test]
    fn state_that_does_not_fit_is_an_error() {
        let store = store();
        let mut optimizer = optimizer(&store, &[false, true]);
        let two = Moments { count: 1, first: &[0.0; 2], second: &[0.0; 2] };
        let three = Moments { count: 1, first: &[0.0; 2], second: &[0.0; 3] };
        for (index, moments, message) in [
            (0, two, "entry 0: expected none, it is frozen"),
            (1, three, "entry 1: expected 2 numbers, found 2 and 3"),
            (2, two, "entry 2: expected none"),
        ] {
            let error = optimizer.set_moments(index, moments).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Run);
            assert!(error.to_string().contains(message), "{error}");
        }
        optimizer.set_moments(1, two).unwrap();
    }

    #[test]
    fn threads_do_not_change_bits() {
        let length = 200_003;
        let values: Vec<f32> = (0..length).map(|i| (i as f32).sin()).collect();
        let run = |threads: usize| {
            let mut store = ParameterStore::default();
            store.push("w", vec![length], ParameterGroup::Embeddings, true, &values);
            let layout = TrainableLayout::new(&store, &[true]);
            let mut optimizer = AdamW::new(PLAIN, layout);
            let gradients: Vec<f32> = values.iter().map(|x| x * x - 0.3).collect();
            let update = Update {
                gradients: &gradients,
                reached: &TouchedRows::new(),
                learning_rates: &[0.1],
                weight_decays: &[0.01],
                multiplier: 1.0,
                touched: &[true],
            };
            let norms: Vec<f64> = Threads::new(threads).unwrap().cpu(Isa::detect(), |cpu| {
                (0..3).map(|_| optimizer.step(cpu, &mut store, &update).unwrap().norm).collect()
            });
            let bits: Vec<u32> = store.values().iter().map(|value| value.to_bits()).collect();
            (norms, bits)
        };
        assert!(run(1) == run(2));
    }

    /// Runs six steps, each of which reaches some rows; some rows are never reached. In between,
    /// moments are saved and restored, and the layout changes.
    #[test]
    fn a_table_has_the_same_bits_if_it_is_known_which_rows_are_reached() {
        const ROWS: usize = 50;
        const WIDTH: usize = 24;
        let run = |named: bool, threads: usize| {
            let mut store = ParameterStore::default();
            let values: Vec<f32> = (0..ROWS * WIDTH).map(|i| (i as f32).sin()).collect();
            store.push("table", vec![ROWS, WIDTH], ParameterGroup::Embeddings, true, &values);
            store.push("bias", vec![3], ParameterGroup::Embeddings, false, &[1.0, 2.0, 3.0]);
            let mut optimizer = optimizer(&store, &[true, true]);
            let threads = Threads::new(threads).unwrap();
            let mut norms = Vec::new();
            for step in 0..6 {
                let rows: Vec<bool> =
                    (0..ROWS).map(|row| row < 40 && (row / 2 + step) % 5 == 0).collect();
                let gradients: Vec<f32> = (0..ROWS * WIDTH)
                    .map(|i| if rows[i / WIDTH] { (i as f32 + step as f32).cos() } else { 0.0 })
                    .chain([0.1, -0.2, 0.3])
                    .collect();
                let mut reached = TouchedRows::new();
                if named {
                    reached.insert(0, rows);
                }
                let update = Update {
                    gradients: &gradients,
                    reached: &reached,
                    learning_rates: &[0.1, 0.1],
                    weight_decays: &[0.5, 0.0],
                    multiplier: 1.0,
                    touched: &[true, true],
                };
                let found = threads
                    .cpu(Isa::detect(), |cpu| optimizer.step(cpu, &mut store, &update))
                    .unwrap();
                norms.push(found);
                match step {
                    2 => {
                        let saved = optimizer;
                        optimizer = self::tests::optimizer(&store, &[true, true]);
                        for index in 0..2 {
                            optimizer.set_moments(index, saved.moments(index).unwrap()).unwrap();
                        }
                    }
                    4 => {
                        optimizer.relayout(TrainableLayout::new(&store, &[true, false]));
                        optimizer.relayout(TrainableLayout::new(&store, &[true, true]));
                    }
                    _ => (),
                }
            }
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let moments = optimizer.moments(0).unwrap();
            (norms, [store.values(), moments.first, moments.second].map(bits))
        };
        let (norms, bits) = run(true, 1);
        assert_eq!((norms.clone(), bits.clone()), run(true, 3));
        let (other_norms, other_bits) = run(false, 1);
        for (one, other) in norms.iter().zip(&other_norms) {
            // Summed in another order, in double precision.
            assert!((one.norm - other.norm).abs() <= 1e-14 * one.norm, "{one:?} and {other:?}");
            assert_eq!(one.factor, other.factor);
        }
        assert!(bits == other_bits);
    }
}
