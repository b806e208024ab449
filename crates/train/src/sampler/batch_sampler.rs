//! The batch of each step of a run.

use std::ops::Range;

use polyhead_compute::Random;

use super::order::source_order;
use crate::config::{SamplerKind, SamplerSettings, exact};
use crate::error::{Error, ErrorKind};

/// Key that separates these random numbers from those that order rows.
const DRAW: u64 = 2;

/// Number of draws that are counted one by one.
const COUNTED: u64 = 1 << 22;

/// The batches of a run. A batch depends only on the seed, the sampler, the batch size, the
/// numbers of rows and the step.
///
/// With one source, an epoch is one pass over its rows. With several, each step takes the next
/// batch of one source, and an epoch has as many steps as all rows fill. A source that is drawn
/// often is then read more than once in an epoch, in another order each time; one that is drawn
/// seldom is read in part. Round-robin takes the sources in turn, and its epoch ends with the
/// source that has the fewest batches; the other sources continue in the next epoch.
///
/// Sources without rows are never drawn.
#[derive(Clone, Debug)]
pub struct BatchSampler {
    seed: u64,
    batch_size: usize,
    /// Number of rows of each source, including sources without rows.
    rows: Vec<usize>,
    draw: Draw,
    steps_per_epoch: u64,
    /// The number of draws of each source before the last requested step.
    drawn: Drawn,
    /// For each source, the pass whose order was computed last, and that order.
    orders: Vec<Option<(u64, Vec<u32>)>>,
}

/// The rows of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Index of the source.
    pub source: usize,
    /// Rows of the source's training split: `batch_size` of them, or fewer at the end of a pass.
    pub rows: Vec<u32>,
    /// Complete passes over the source before this one.
    pub pass: u64,
}

/// The rule by which the source of a step is chosen.
#[derive(Clone, Debug)]
enum Draw {
    /// Takes these sources one after the other.
    InTurn(Vec<usize>),
    /// Draws a source at random; each entry has the cumulative share up to it, the last 1.
    ByShare(Vec<(usize, f64)>),
}

#[derive(Clone, Debug)]
struct Drawn {
    before: u64,
    counts: Vec<u64>,
}

impl BatchSampler {
    /// Makes a sampler.
    ///
    /// - `rows`: number of training rows of each source
    ///
    /// # Errors
    /// `Config` if the batch size is 0; `Data` if no source has rows, or a source has more rows than
    /// 32 bits can count.
    pub fn new(
        seed: u64,
        sampler: SamplerSettings,
        batch_size: usize,
        rows: &[usize],
    ) -> Result<Self, Error> {
        if batch_size == 0 {
            let message = "train.batch_size: expected 1 or more, found 0";
            return Err(Error::new(ErrorKind::Config, message));
        }
        if let Some(most) = rows.iter().find(|&&rows| u32::try_from(rows).is_err()) {
            let message = format!("expected at most {} rows, found {most}", u32::MAX);
            return Err(Error::new(ErrorKind::Data, message));
        }
        let sources: Vec<usize> = (0..rows.len()).filter(|&source| rows[source] > 0).collect();
        let Some(fewest) = sources.iter().map(|&source| rows[source]).min() else {
            return Err(Error::new(ErrorKind::Data, "expected rows to train on, found none"));
        };
        let steps_per_epoch = match sampler.kind {
            SamplerKind::RoundRobin => sources.len() * fewest.div_ceil(batch_size),
            _ => rows.iter().sum::<usize>().div_ceil(batch_size),
        };
        Ok(Self {
            seed,
            batch_size,
            rows: rows.to_vec(),
            draw: Draw::new(sampler, rows, sources),
            steps_per_epoch: steps_per_epoch as u64,
            drawn: Drawn { before: 0, counts: vec![0; rows.len()] },
            orders: vec![None; rows.len()],
        })
    }

    /// Number of steps of an epoch, at least one.
    pub fn steps_per_epoch(&self) -> u64 {
        self.steps_per_epoch
    }

    /// Number of steps of a run of `epochs` epochs, but at most `max_steps`; a limit of 0 is none, and
    /// 0 epochs are as many as those steps take.
    pub fn total_steps(&self, epochs: usize, max_steps: u64) -> u64 {
        match (epochs as u64, max_steps) {
            (0, steps) => steps,
            (epochs, 0) => self.steps_per_epoch.saturating_mul(epochs),
            (epochs, most) => self.steps_per_epoch.saturating_mul(epochs).min(most),
        }
    }

    /// The batch of a step; steps are counted from 1 over the whole run.
    ///
    /// The result depends on the step alone. Ascending steps are fast; a step before the last
    /// requested one makes the sampler count from the beginning.
    ///
    /// # Panics
    /// If `step` is 0.
    pub fn batch(&mut self, step: u64) -> Batch {
        let step = step.checked_sub(1).expect("steps are counted from 1");
        self.count_to(step);
        let source = self.draw.source(self.seed, step);
        let (pass, range) = self.place(source, self.drawn.counts[source]);
        let known = self.orders[source].take().filter(|(known, _)| *known == pass);
        let (_, order) =
            self.orders[source].insert(known.unwrap_or_else(|| {
                (pass, source_order(self.seed, source, pass, self.rows[source]))
            }));
        Batch { source, rows: order[range].to_vec(), pass }
    }

    /// A batch of any source that has rows, for a look at it beside a step; the batches of the steps stay
    /// the same.
    ///
    /// - `source`: index of the source
    pub(crate) fn beside(&self, step: u64, source: usize) -> Batch {
        let (pass, range) = self.place(source, step);
        let order = source_order(self.seed, source, pass, self.rows[source]);
        Batch { source, rows: order[range].to_vec(), pass }
    }

    /// Complete passes over a source before its batch number `nth`, and the places of that batch in the
    /// order of its pass.
    fn place(&self, source: usize, nth: u64) -> (u64, Range<usize>) {
        let rows = self.rows[source];
        let per_pass = rows.div_ceil(self.batch_size) as u64;
        let start = (nth % per_pass) as usize * self.batch_size;
        (nth / per_pass, start..rows.min(start + self.batch_size))
    }

    /// The passes over each source after this many steps; 0 for sources without rows. Above
    /// four million steps, as in runs that a time limit ends, the value is extrapolated.
    pub fn effective_epochs(&self, steps: u64) -> Vec<f64> {
        let counted = steps.min(COUNTED);
        let factor = steps as f64 / counted.max(1) as f64;
        let passes = |(&rows, &batches): (&usize, &u64)| {
            if rows == 0 {
                return 0.0;
            }
            let per_pass = rows.div_ceil(self.batch_size) as u64;
            let begun = (batches % per_pass) as usize * self.batch_size;
            ((batches / per_pass) as f64 + begun as f64 / rows as f64) * factor
        };
        self.rows.iter().zip(&self.draws(counted)).map(passes).collect()
    }

    /// Number of the first `steps` steps that draw each source.
    pub(crate) fn draws(&self, steps: u64) -> Vec<u64> {
        let mut drawn = Drawn { before: 0, counts: vec![0; self.rows.len()] };
        drawn.count_to(steps, &self.draw, self.seed);
        drawn.counts
    }

    fn count_to(&mut self, step: u64) {
        if step < self.drawn.before {
            self.drawn = Drawn { before: 0, counts: vec![0; self.rows.len()] };
        }
        self.drawn.count_to(step, &self.draw, self.seed);
    }
}

impl Draw {
    fn new(sampler: SamplerSettings, rows: &[usize], sources: Vec<usize>) -> Self {
        let exponent = match sampler.kind {
            SamplerKind::RoundRobin => return Self::InTurn(sources),
            SamplerKind::Proportional => 1.0,
            SamplerKind::Uniform => 0.0,
            SamplerKind::Temperature => sampler.temperature.map_or(1.0, |t| 1.0 / exact(t.get())),
        };
        // Relative to the largest source: a low temperature would otherwise exceed the range of
        // floats.
        let most = sources.iter().map(|&source| rows[source]).max().unwrap_or(1) as f64;
        let weight = |source: usize| (rows[source] as f64 / most).powf(exponent);
        let total: f64 = sources.iter().map(|&source| weight(source)).sum();
        let mut up_to = 0.0;
        let mut shares: Vec<(usize, f64)> = Vec::with_capacity(sources.len());
        for source in sources {
            up_to += weight(source);
            shares.push((source, up_to / total));
        }
        if let Some((_, share)) = shares.last_mut() {
            *share = 1.0;
        }
        Self::ByShare(shares)
    }

    fn source(&self, seed: u64, step: u64) -> usize {
        match self {
            Self::InTurn(sources) => sources[(step % sources.len() as u64) as usize],
            Self::ByShare(shares) => {
                let number = Random::keyed(&[seed, DRAW]).unit_at(step);
                shares[shares.partition_point(|&(_, up_to)| up_to <= number)].0
            }
        }
    }
}

impl Drawn {
    fn count_to(&mut self, step: u64, draw: &Draw, seed: u64) {
        for earlier in self.before..step {
            self.counts[draw.source(seed, earlier)] += 1;
        }
        self.before = self.before.max(step);
    }
}

#[cfg(test)]
mod tests {
    use super::SamplerKind::*;
    use super::*;
    use crate::config::Positive;

    fn of(kind: SamplerKind) -> SamplerSettings {
        SamplerSettings { kind, temperature: None }
    }

    fn temperature(temperature: f32) -> SamplerSettings {
        let temperature = Some(Positive::try_from(temperature).unwrap());
        SamplerSettings { kind: Temperature, temperature }
    }

    fn plan(sampler: SamplerSettings, rows: &[usize]) -> BatchSampler {
        BatchSampler::new(7, sampler, 4, rows).unwrap()
    }

    /// The number of draws of each source in this many steps.
    fn draws(sampler: SamplerSettings, rows: &[usize], steps: u64) -> Vec<u64> {
        let mut plan = plan(sampler, rows);
        let mut counts = vec![0; rows.len()];
        (1..=steps).for_each(|step| counts[plan.batch(step).source] += 1);
        counts
    }

    #[test]
    fn one_source_is_gone_through_in_the_order_of_each_epoch() {
        for sampler in [of(Proportional), of(Uniform), temperature(3.0), of(RoundRobin)] {
            let mut plan = plan(sampler, &[10]);
            assert_eq!((plan.steps_per_epoch(), plan.total_steps(3, 0)), (3, 9));
            for step in 0..9 {
                let batch = plan.batch(step + 1);
                let order = super::super::epoch_order(7, step / 3, 10);
                let start = step as usize % 3 * 4;
                assert_eq!(batch.rows, order[start..10.min(start + 4)]);
                assert_eq!(batch.pass, step / 3);
            }
            assert_eq!(plan.effective_epochs(9), [3.0]);
            assert_eq!(plan.effective_epochs(1), [0.4]);
        }
    }

    #[test]
    fn epochs_of_endless_runs_are_known_at_once() {
        let plan = plan(of(Proportional), &[100, 300]);
        for epochs in plan.effective_epochs(100 << 40) {
            let expected = (100u64 << 40) as f64 / 100.0;
            assert!((epochs / expected - 1.0).abs() < 0.01, "{epochs}, not about {expected}");
        }
    }

    #[test]
    fn any_step_can_be_asked_for_in_any_order() {
        for sampler in [of(Proportional), temperature(2.0), of(RoundRobin)] {
            let rows = [9, 0, 31, 4];
            let mut forward = plan(sampler, &rows);
            let batches: Vec<Batch> = (1..=60).map(|step| forward.batch(step)).collect();
            let mut other = plan(sampler, &rows);
            for step in [59, 0, 30, 30, 29, 58] {
                assert_eq!(other.batch(step + 1), batches[step as usize], "{sampler:?} {step}");
            }
        }
    }

    #[test]
    fn each_source_goes_on_through_passes_of_its_own() {
        let rows = [9, 30];
        let mut plan = plan(of(Uniform), &rows);
        let batches: Vec<Batch> = (1..=200).map(|step| plan.batch(step)).collect();
        for (source, &rows) in rows.iter().enumerate() {
            let own: Vec<&Batch> = batches.iter().filter(|batch| batch.source == source).collect();
            for pass in 0..own.last().unwrap().pass {
                let of_pass = own.iter().filter(|batch| batch.pass == pass);
                let mut seen: Vec<u32> = of_pass.flat_map(|batch| batch.rows.clone()).collect();
                assert_eq!(seen, source_order(7, source, pass, rows));
                seen.sort_unstable();
                assert!(seen.into_iter().eq(0..rows as u32));
            }
            let last = own.last().unwrap();
            let seen: usize = own.iter().map(|batch| batch.rows.len()).sum();
            let effective = plan.effective_epochs(200)[source];
            assert!((effective - seen as f64 / rows as f64).abs() < 1e-9);
            assert_eq!(effective.ceil() as u64, last.pass + 1);
        }
    }

    #[test]
    fn sources_are_drawn_by_their_share() {
        // Shares of 100, 400 and 0 rows, and how often each is drawn in 10,000 steps. The standard
        // deviations are at most √(10,000 · 0.25) = 50, and five of them are allowed.
        for (sampler, expected) in [
            (of(Proportional), [2000, 8000, 0]),
            (of(Uniform), [5000, 5000, 0]),
            (temperature(1.0), [2000, 8000, 0]),
            (temperature(2.0), [3333, 6667, 0]),
            (temperature(1e9), [5000, 5000, 0]),
            (temperature(1e-9), [0, 10_000, 0]),
            (of(RoundRobin), [5000, 5000, 0]),
        ] {
            let found = draws(sampler, &[100, 400, 0], 10_000);
            let near = found.iter().zip(&expected).all(|(found, want)| found.abs_diff(*want) < 250);
            assert!(near, "{sampler:?}: {found:?}");
            assert_eq!(found[2], 0, "{sampler:?}");
        }
    }

    #[test]
    fn epochs_are_as_long_as_the_sampler_says() {
        for (sampler, rows, expected) in [
            (of(Proportional), &[9, 30][..], 10),
            (of(Uniform), &[9, 30, 0], 10),
            (of(RoundRobin), &[9, 30], 6),
            (of(RoundRobin), &[9, 0, 30, 1], 3),
            (of(Proportional), &[1], 1),
        ] {
            assert_eq!(plan(sampler, rows).steps_per_epoch(), expected, "{sampler:?} {rows:?}");
        }
        // The shortest source is read once per epoch, the other one continues.
        let mut in_turn = plan(of(RoundRobin), &[9, 30]);
        let batches: Vec<Batch> = (1..=12).map(|step| in_turn.batch(step)).collect();
        assert!(batches.iter().enumerate().all(|(step, batch)| batch.source == step % 2));

        assert_eq!(in_turn.effective_epochs(12), [2.0, 0.8]);
    }

    #[test]
    fn what_cannot_be_planned() {
        for (sampler, batch_size, rows, expected) in [
            (of(Uniform), 0, &[1][..], "train.batch_size: expected 1 or more, found 0"),
            (of(Uniform), 1, &[], "expected rows to train on, found none"),
            (of(RoundRobin), 1, &[0, 0], "expected rows to train on, found none"),
            (of(Uniform), 1, &[1 << 32], "expected at most 4294967295 rows, found 4294967296"),
        ] {
            let error = BatchSampler::new(7, sampler, batch_size, rows).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
