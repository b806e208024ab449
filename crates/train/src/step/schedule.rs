//! The schedule of learning rates: a function of the step, without state.

use crate::config::{ScheduleKind, TrainSettings};

/// The factor of all learning rates in each step of a run.
///
/// The multipliers are those of transformers (`optimization.py`:
/// `get_constant_schedule_with_warmup`, `get_linear_schedule_with_warmup`,
/// `get_cosine_schedule_with_warmup`), which count the updates before this one. With warm-up the
/// first update therefore has rate 0, and the last one not quite the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    kind: ScheduleKind,
    /// Number of steps at the beginning that have a schedule of their own, and its warm-up.
    contrast: (u64, u64),
    warmup_steps: u64,
    /// Number of steps behind those.
    total_steps: u64,
}

impl Schedule {
    /// The schedule of a run of `total_steps` updates.
    ///
    /// The share `warmup` of them, rounded up, is warm-up, as in `TrainingArguments`. Steps that set
    /// labels apart have a schedule of their own, and so have those behind them.
    pub fn new(settings: &TrainSettings, total_steps: u64) -> Self {
        // The share as the user wrote it: `f64::from(0.1f32)` is slightly more than 0.1, and a
        // tenth of ten steps would be rounded up to two.
        let share: f64 =
            settings.warmup.to_string().parse().expect("digits of a finite number are a number");
        let warmup_steps = |steps: u64| (steps as f64 * share).ceil() as u64;
        let contrast = settings.contrast_steps.map_or(0, |steps| steps.get().min(total_steps));
        let total_steps = total_steps - contrast;
        Self {
            kind: settings.schedule,
            contrast: (contrast, warmup_steps(contrast)),
            warmup_steps: warmup_steps(total_steps),
            total_steps,
        }
    }

    /// Number of warm-up steps, without those of steps that set labels apart.
    pub fn warmup_steps(&self) -> u64 {
        self.warmup_steps
    }

    /// The multiplier of a step; steps are counted from 1.
    ///
    /// # Panics
    /// If `step` is 0.
    pub fn multiplier(&self, step: u64) -> f64 {
        let done = step.checked_sub(1).expect("steps are counted from 1");
        let (contrast, warmup_steps) = self.contrast;
        if done < contrast {
            let first = Self { contrast: (0, 0), warmup_steps, total_steps: contrast, ..*self };
            return first.multiplier(step);
        }
        let done = done - contrast;
        if done < self.warmup_steps {
            return done as f64 / self.warmup_steps as f64;
        }
        let falling = self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64;
        match self.kind {
            ScheduleKind::Constant => 1.0,
            ScheduleKind::Linear => self.total_steps.saturating_sub(done) as f64 / falling,
            ScheduleKind::Cosine => {
                // After the end the cosine would rise again.
                let progress = ((done - self.warmup_steps) as f64 / falling).min(1.0);
                (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ScheduleKind::{Constant, Cosine, Linear};

    fn schedule(kind: ScheduleKind, warmup: f32, total: u64) -> Schedule {
        let text = "[data]\ntrain = \"a\"\n[[task]]\nname = \"a\"\nkind = \"regression\"\n";
        let config = crate::RunConfig::parse(text, std::path::Path::new("c.toml"), &[]).unwrap();
        let warmup = warmup.try_into().unwrap();
        Schedule::new(&TrainSettings { schedule: kind, warmup, ..config.train }, total)
    }

    #[test]
    fn multipliers_computed_by_hand() {
        struct Case {
            kind: ScheduleKind,
            warmup: f32,
            total: u64,
            /// Multipliers from the first update on.
            multipliers: &'static [f64],
        }
        let half_root = std::f64::consts::FRAC_1_SQRT_2 / 2.0;
        let cosine = [0.0, 0.25, 0.5, 0.75, 1.0, 0.5 + half_root, 0.5, 0.5 - half_root, 0.0];
        let cases = [
            Case { kind: Constant, warmup: 0.0, total: 3, multipliers: &[1.0, 1.0, 1.0] },
            Case { kind: Constant, warmup: 0.5, total: 4, multipliers: &[0.0, 0.5, 1.0, 1.0] },
            Case {
                kind: Linear,
                warmup: 0.0,
                total: 4,
                multipliers: &[1.0, 0.75, 0.5, 0.25, 0.0, 0.0],
            },
            Case {
                kind: Linear,
                warmup: 0.2,
                total: 10,
                multipliers: &[
                    0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0, 0.0,
                ],
            },
            // A tenth of ten is one: no rounding error makes it two.
            Case { kind: Linear, warmup: 0.1, total: 10, multipliers: &[0.0, 1.0, 8.0 / 9.0] },
            // Rounded up.
            Case { kind: Linear, warmup: 0.1, total: 11, multipliers: &[0.0, 0.5, 1.0, 8.0 / 9.0] },
            Case { kind: Linear, warmup: 1.0, total: 2, multipliers: &[0.0, 0.5, 0.0] },
            Case { kind: Cosine, warmup: 0.0, total: 2, multipliers: &[1.0, 0.5, 0.0, 0.0] },
            Case { kind: Linear, warmup: 0.1, total: 0, multipliers: &[0.0] },
        ];
        let check = |kind, warmup, total, expected: &[f64]| {
            let schedule = schedule(kind, warmup, total);
            for (done, expected) in expected.iter().enumerate() {
                let found = schedule.multiplier(done as u64 + 1);
                // The cosine is rounded.
                assert!((found - expected).abs() < 1e-15, "{kind:?} {warmup} {done}: {found}");
            }
        };
        for Case { kind, warmup, total, multipliers } in cases {
            check(kind, warmup, total, multipliers);
        }
        check(Cosine, 0.5, 8, &cosine);
    }

    #[test]
    fn steps_that_set_labels_apart_have_a_schedule_of_their_own() {
        let text = "[data]\ntrain = \"a\"\n[[task]]\nname = \"a\"\nkind = \"classification\"\n\
                    [train]\ncontrast_steps = 4\nwarmup = 0.5";
        let config = crate::RunConfig::parse(text, std::path::Path::new("c.toml"), &[]).unwrap();
        let schedule = Schedule::new(&config.train, 6);
        let found: Vec<f64> = (1..=7).map(|step| schedule.multiplier(step)).collect();
        assert_eq!(found, [0.0, 0.5, 1.0, 0.5, 0.0, 1.0, 0.0]);
        assert_eq!(schedule.warmup_steps(), 1);
    }

    #[test]
    fn warm_up_steps_are_rounded_up() {
        for (warmup, total, steps) in [
            (0.1, 189, 19),
            (0.1, 190, 19),
            (0.0, 100, 0),
            (0.06, 50, 3),
            (1e-6, 10, 1),
            (1.0, 7, 7),
        ] {
            assert_eq!(schedule(Linear, warmup, total).warmup_steps(), steps, "{warmup} {total}");
        }
    }
}
