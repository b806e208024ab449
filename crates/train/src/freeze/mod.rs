//! Which parameters are frozen in which step, by the configuration's rules.
//!
//! A [`FreezePlan`] is made once, before the first step, and is then a function of the step: a
//! tensor is frozen if any active rule matches it. Rules name groups of the model's index, never
//! tensors. After the run, [`FrozenTensors`] proves that frozen tensors did not change.

mod groups;
mod proof;

pub use proof::FrozenTensors;

use polyhead_model::{ParameterGroup, ParameterStore};

use crate::config::{FreezePhase, Moment};
use crate::error::{Error, ErrorKind};

use groups::GroupNames;

/// The parameters that each step of a run trains.
#[derive(Clone, Debug)]
pub struct FreezePlan {
    rules: Vec<Rule>,
    index: Vec<(ParameterGroup, usize)>,
    heads: Vec<String>,
    total_steps: u64,
}

/// A freeze rule, resolved for a model.
#[derive(Clone, Debug)]
struct Rule {
    /// One flag per entry of the index.
    matches: Vec<bool>,
    /// The first and the last step in which the rule is active, both included.
    first: u64,
    last: u64,
}

/// The parts of a network that at least one step of a run trains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrainedParts {
    /// True if the embeddings or a layer train.
    pub(crate) encoder: bool,
    /// True if a module behind the pooling trains.
    pub(crate) modules: bool,
    /// True if a head trains.
    pub(crate) heads: bool,
}

/// Consecutive steps in which the same tensors are trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreezeSpan {
    /// The first step, counted from 1.
    pub first: u64,
    /// The last step, included.
    pub last: u64,
    /// One flag per entry of the index: whether it is trained.
    pub trainable: Vec<bool>,
}

impl FreezePlan {
    /// Resolves the rules against the index of a model.
    ///
    /// - `heads`: names of the tasks, in the order of [`ParameterGroup::Head`]
    /// - `steps_per_epoch`, `total_steps`: numbers of optimizer steps
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind) for a group that the model does
    /// not have; the message names those that it has.
    pub fn new(
        phases: &[FreezePhase],
        store: &ParameterStore,
        heads: &[String],
        steps_per_epoch: u64,
        total_steps: u64,
    ) -> Result<Self, Error> {
        let index = store.entries().iter().map(|entry| (entry.group, entry.range.len()));
        Self::of_index(phases, index.collect(), heads, steps_per_epoch, total_steps)
    }

    /// Resolves the rules as [`new`](Self::new) does, against the group and the number of
    /// parameters of each entry.
    ///
    /// # Errors
    /// The errors of [`new`](Self::new).
    pub(crate) fn of_index(
        phases: &[FreezePhase],
        index: Vec<(ParameterGroup, usize)>,
        heads: &[String],
        steps_per_epoch: u64,
        total_steps: u64,
    ) -> Result<Self, Error> {
        let groups = GroupNames::new(index.iter().map(|(group, _)| *group).collect(), heads);
        let rules = phases.iter().map(|phase| {
            let first = match phase.from {
                None => 1,
                Some(Moment::Step(step)) => step,
                Some(Moment::Epoch(epoch)) => {
                    epoch.saturating_sub(1).saturating_mul(steps_per_epoch).saturating_add(1)
                }
            };
            let last = match phase.until {
                None => u64::MAX,
                Some(Moment::Step(step)) => step,
                Some(Moment::Epoch(epoch)) => epoch.saturating_mul(steps_per_epoch),
            };
            let matches = groups.matches(&phase.parameters)?;
            if first > last {
                let message = format!(
                    "freeze rule `{}`: expected an end that is not before its beginning, found \
                     from step {first} until step {last} with {steps_per_epoch} steps an epoch",
                    phase.parameters.join(", ")
                );
                return Err(Error::new(ErrorKind::Config, message));
            }
            Ok(Rule { matches, first, last })
        });
        let rules = rules.collect::<Result<_, Error>>()?;
        Ok(Self { rules, index, heads: heads.to_vec(), total_steps })
    }

    /// Freezes the heads from index `first` on, which have no task.
    pub fn without_heads_from(mut self, first: usize) -> Self {
        let is_one = |group| matches!(group, ParameterGroup::Head(head) if head >= first);
        let matches: Vec<bool> = self.index.iter().map(|(group, _)| is_one(*group)).collect();
        if matches.contains(&true) {
            self.rules.push(Rule { matches, first: 1, last: u64::MAX });
        }
        self
    }

    /// Name of head `head`.
    pub(crate) fn head_name(&self, head: usize) -> String {
        self.heads.get(head).map_or_else(|| head.to_string(), String::clone)
    }

    /// One flag per entry of the index: whether step `step` trains it.
    ///
    /// - `step`: counted from 1
    pub fn trainable(&self, step: u64) -> Vec<bool> {
        let mut trainable = vec![true; self.index.len()];
        for rule in self.rules.iter().filter(|rule| (rule.first..=rule.last).contains(&step)) {
            for (flag, matches) in trainable.iter_mut().zip(&rule.matches) {
                *flag &= !matches;
            }
        }
        trainable
    }

    /// The spans of steps between which the trained parameters change.
    ///
    /// A run without steps has one span, as if it had one step.
    pub fn spans(&self) -> Vec<FreezeSpan> {
        let end = self.total_steps.max(1);
        let mut starts: Vec<u64> = self
            .rules
            .iter()
            .flat_map(|rule| [rule.first, rule.last.saturating_add(1)])
            .chain([1])
            .filter(|start| (1..=end).contains(start))
            .collect();
        starts.sort_unstable();
        starts.dedup();
        let mut spans: Vec<FreezeSpan> = Vec::new();
        for start in starts {
            let trainable = self.trainable(start);
            match spans.last_mut() {
                Some(span) if span.trainable == trainable => {}
                previous => {
                    if let Some(span) = previous {
                        span.last = start - 1;
                    }
                    spans.push(FreezeSpan { first: start, last: end, trainable });
                }
            }
        }
        spans
    }

    /// The steps after the first whose trained tensors differ from those of the step before.
    pub fn changes(&self) -> Vec<u64> {
        self.spans().iter().skip(1).map(|span| span.first).collect()
    }

    /// Whether no step trains anything; such a run only evaluates.
    pub fn trains_nothing(&self) -> bool {
        self.ever_trainable().iter().all(|trainable| !trainable)
    }

    /// The parts that at least one step trains.
    pub(crate) fn trained_parts(&self) -> TrainedParts {
        use ParameterGroup::{Embeddings, Head, Layer, Module};
        let ever = self.ever_trainable();
        let trains = |part: fn(ParameterGroup) -> bool| {
            self.index.iter().zip(&ever).any(|((group, _), ever)| *ever && part(*group))
        };
        TrainedParts {
            encoder: trains(|group| matches!(group, Embeddings | Layer(_))),
            modules: trains(|group| matches!(group, Module(_))),
            heads: trains(|group| matches!(group, Head(_))),
        }
    }

    /// One flag per entry: whether any step trains it.
    pub fn ever_trainable(&self) -> Vec<bool> {
        self.trained_until(u64::MAX)
    }

    /// One flag per entry: whether any step up to this one trains it.
    pub fn trained_until(&self, step: u64) -> Vec<bool> {
        let mut ever = vec![false; self.index.len()];
        for span in self.spans().into_iter().filter(|span| span.first <= step) {
            for (flag, trainable) in ever.iter_mut().zip(span.trainable) {
                *flag |= trainable;
            }
        }
        ever
    }

    /// One flag per entry: whether it is frozen in every step.
    pub fn always_frozen(&self) -> Vec<bool> {
        self.ever_trainable().into_iter().map(|trainable| !trainable).collect()
    }

    /// One line per span: `steps 1–189: training 12 of 103 tensors, 3.1 M of 22.7 M parameters;
    /// frozen: embeddings, layers.0-3`. Rules that never become active have a line too.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.spans().iter().map(|span| self.line(span)).collect();
        for rule in self.rules.iter().filter(|rule| rule.first > self.total_steps.max(1)) {
            let names = self.names(&rule.matches);
            lines.push(format!(
                "not in this run of {} steps: freezing {names} from step {}",
                self.total_steps, rule.first
            ));
        }
        lines
    }

    fn line(&self, span: &FreezeSpan) -> String {
        let all = self.index.iter().zip(&span.trainable);
        let trained = all.filter(|(_, trainable)| **trainable);
        let (tensors, numbers) = trained
            .fold((0, 0), |(tensors, numbers), ((_, count), _)| (tensors + 1, numbers + count));
        let total = self.index.iter().map(|(_, count)| count).sum();
        let steps = if span.first == span.last {
            format!("step {}", span.first)
        } else {
            format!("steps {}–{}", span.first, span.last)
        };
        let frozen: Vec<bool> = span.trainable.iter().map(|trainable| !trainable).collect();
        format!(
            "{steps}: training {tensors} of {} tensors, {} of {} parameters; frozen: {}",
            self.index.len(),
            short(numbers),
            short(total),
            self.names(&frozen)
        )
    }

    /// The groups of the marked entries, consecutive layers as one.
    fn names(&self, marked: &[bool]) -> String {
        if marked.iter().all(|marked| *marked) && !marked.is_empty() {
            return "everything".to_owned();
        }
        let of = self.index.iter().zip(marked).filter(|(_, marked)| **marked);
        let names = groups::names(of.map(|((group, _), _)| *group), &self.heads);
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    }
}

/// A number of parameters in short form: `512`, `13.2 k`, `22.7 M`.
pub(crate) fn short(count: usize) -> String {
    let count = count as f64;
    // Where the rounded digits would read 1000.0, the next unit begins.
    match count {
        0.0..1e3 => format!("{count}"),
        1e3..999_950.0 => format!("{:.1} k", count / 1e3),
        999_950.0..999_950_000.0 => format!("{:.1} M", count / 1e6),
        _ => format!("{:.1} G", count / 1e9),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A model of six layers with two heads: a matrix and a bias in each part.
    pub(crate) fn store() -> ParameterStore {
        use ParameterGroup::{Embeddings, Head, Layer, Module, Pooler};
        let mut store = ParameterStore::default();
        let layers = (0..6).map(Layer);
        for group in
            [Embeddings].into_iter().chain(layers).chain([Pooler, Module(1), Head(0), Head(1)])
        {
            let start = store.values().len() as f32;
            let weight: Vec<f32> = (0..100).map(|i| (start + i as f32).sin()).collect();
            store.push(format!("{group} weight"), vec![10, 10], group, true, &weight);
            store.push(format!("{group} bias"), vec![10], group, false, &weight[..10]);
        }
        store
    }

    pub(crate) fn heads() -> Vec<String> {
        vec!["topic".to_owned(), "sentiment".to_owned()]
    }

    pub(crate) fn phase(groups: &str, from: Option<Moment>, until: Option<Moment>) -> FreezePhase {
        let parameters = groups.split(' ').map(str::to_owned).collect();
        FreezePhase { parameters, from, until }
    }

    pub(crate) fn plan(phases: &[FreezePhase]) -> FreezePlan {
        FreezePlan::new(phases, &store(), &heads(), 10, 30).unwrap()
    }

    #[test]
    fn each_case_of_the_design_in_lines() {
        use Moment::{Epoch, Step};
        struct Case {
            name: &'static str,
            phases: Vec<FreezePhase>,
            changes: Vec<u64>,
            lines: &'static [&'static str],
        }
        let cases = [
            Case {
                name: "nothing frozen",
                phases: vec![],
                changes: vec![],
                lines: &[
                    "steps 1–30: training 22 of 22 tensors, 1.2 k of 1.2 k parameters; frozen: nothing",
                ],
            },
            Case {
                name: "everything",
                phases: vec![phase("all", None, None)],
                changes: vec![],
                lines: &[
                    "steps 1–30: training 0 of 22 tensors, 0 of 1.2 k parameters; frozen: everything",
                ],
            },
            Case {
                name: "only the backbone",
                phases: vec![phase("encoder modules", None, None)],
                changes: vec![],
                lines: &["steps 1–30: training 4 of 22 tensors, 220 of 1.2 k parameters; frozen: \
                          embeddings, layers.0-5, pooler, modules"],
            },
            Case {
                name: "one head",
                phases: vec![phase("head.sentiment", None, None)],
                changes: vec![],
                lines: &[
                    "steps 1–30: training 20 of 22 tensors, 1.1 k of 1.2 k parameters; frozen: \
                          head.sentiment",
                ],
            },
            Case {
                name: "embeddings and lower layers",
                phases: vec![phase("embeddings layers.0-3", None, None)],
                changes: vec![],
                lines: &[
                    "steps 1–30: training 12 of 22 tensors, 660 of 1.2 k parameters; frozen: \
                          embeddings, layers.0-3",
                ],
            },
            Case {
                name: "heads first, then all",
                phases: vec![phase("encoder", None, Some(Epoch(1)))],
                changes: vec![11],
                lines: &[
                    "steps 1–10: training 6 of 22 tensors, 330 of 1.2 k parameters; frozen: embeddings, \
                     layers.0-5, pooler",
                    "steps 11–30: training 22 of 22 tensors, 1.2 k of 1.2 k parameters; frozen: nothing",
                ],
            },
            Case {
                name: "gradual unfreezing from the top",
                phases: vec![
                    phase("embeddings layers.0-4", None, Some(Epoch(1))),
                    phase("embeddings layers.0 layers.2", None, Some(Epoch(2))),
                ],
                changes: vec![11, 21],
                lines: &[
                    "steps 1–10: training 10 of 22 tensors, 550 of 1.2 k parameters; frozen: embeddings, \
                     layers.0-4",
                    "steps 11–20: training 16 of 22 tensors, 880 of 1.2 k parameters; frozen: \
                     embeddings, layers.0, layers.2",
                    "steps 21–30: training 22 of 22 tensors, 1.2 k of 1.2 k parameters; frozen: nothing",
                ],
            },
            Case {
                name: "freezing later, one step, and never",
                phases: vec![
                    phase("heads", Some(Epoch(3)), None),
                    phase("pooler", Some(Step(5)), Some(Step(5))),
                    phase("modules", Some(Step(31)), None),
                    // The end of the last epoch changes nothing.
                    phase("layers.1", None, Some(Epoch(3))),
                ],
                changes: vec![5, 6, 21],
                lines: &[
                    "steps 1–4: training 20 of 22 tensors, 1.1 k of 1.2 k parameters; frozen: layers.1",
                    "step 5: training 18 of 22 tensors, 990 of 1.2 k parameters; frozen: layers.1, pooler",
                    "steps 6–20: training 20 of 22 tensors, 1.1 k of 1.2 k parameters; frozen: layers.1",
                    "steps 21–30: training 16 of 22 tensors, 880 of 1.2 k parameters; frozen: layers.1, \
                     heads",
                    "not in this run of 30 steps: freezing modules from step 31",
                ],
            },
            Case {
                name: "a change of rules that changes nothing",
                phases: vec![
                    phase("layers.0-5", None, Some(Step(8))),
                    phase("encoder", None, None),
                ],
                changes: vec![],
                lines: &["steps 1–30: training 6 of 22 tensors, 330 of 1.2 k parameters; frozen: \
                          embeddings, layers.0-5, pooler"],
            },
        ];
        for case in cases {
            let plan = plan(&case.phases);
            assert_eq!(plan.lines(), case.lines, "{}", case.name);
            assert_eq!(plan.changes(), case.changes, "{}", case.name);
            for span in plan.spans() {
                for step in span.first..=span.last {
                    assert_eq!(plan.trainable(step), span.trainable, "{}: {step}", case.name);
                }
            }
        }
    }

    #[test]
    fn what_is_ever_trained() {
        let plan = plan(&[
            phase("encoder", None, Some(Moment::Epoch(1))),
            phase("embeddings head.topic", None, None),
        ]);
        let names: Vec<&str> = plan
            .index
            .iter()
            .zip(plan.always_frozen())
            .filter_map(|((group, _), frozen)| match group {
                ParameterGroup::Embeddings if frozen => Some("embeddings"),
                ParameterGroup::Head(0) if frozen => Some("topic"),
                _ if frozen => Some("other"),
                _ => None,
            })
            .collect();
        assert_eq!(names, ["embeddings", "embeddings", "topic", "topic"]);
        let count = |step| plan.trained_until(step).into_iter().filter(|trained| *trained).count();
        // The modules and one head, then layers and pooler too.
        assert_eq!([0, 1, 10, 11, 30].map(count), [0, 4, 4, 18, 18]);
        assert!(!plan.trains_nothing());
    }

    #[test]
    fn all_frozen_by_several_rules_trains_nothing() {
        assert!(
            plan(&[phase("encoder modules", None, None), phase("heads", None, None)])
                .trains_nothing()
        );
        // Only up to the last step, but that is every step of the run.
        assert!(plan(&[phase("all", None, Some(Moment::Epoch(3)))]).trains_nothing());
        assert!(!plan(&[phase("all", None, Some(Moment::Step(29)))]).trains_nothing());
    }

    #[test]
    fn a_run_without_steps_has_one_span() {
        let plan = FreezePlan::new(&[], &store(), &heads(), 0, 0).unwrap();
        assert_eq!(plan.spans().len(), 1);
        assert!(plan.changes().is_empty());
    }

    #[test]
    fn moments_far_away_do_not_overflow() {
        let far = phase("all", Some(Moment::Epoch(u64::MAX)), Some(Moment::Epoch(u64::MAX)));
        let plan = FreezePlan::new(&[far], &store(), &heads(), u64::MAX, 30).unwrap();
        assert!(plan.changes().is_empty());
    }

    #[test]
    fn a_rule_without_match_names_the_groups_there_are() {
        let there = "there are all, encoder, embeddings, layers.0-5, pooler, modules, heads, \
                     head.topic, head.sentiment";
        let cases = [
            ("layers.6", "`layers.6`: the encoder has layers.0-5"),
            ("layers.4-6", "`layers.4-6`: the encoder has layers.0-5"),
            ("layers.3-2", "`layers.3-2`: expected layers.FIRST-LAST"),
            ("layers.x", "`layers.x`: expected layers.FIRST-LAST"),
            ("layers.", "`layers.`: expected layers.FIRST-LAST"),
            ("layers.-1", "`layers.-1`: expected layers.FIRST-LAST"),
            ("layers.+1", "`layers.+1`: expected layers.FIRST-LAST"),
            ("layers", "`layers`: no such group"),
            ("head.topics", "`head.topics`: the heads are head.topic, head.sentiment"),
            ("embedding", "`embedding`: no such group"),
            ("", "``: no such group"),
        ];
        for (group, message) in cases {
            let error = FreezePlan::new(&[phase(group, None, None)], &store(), &heads(), 10, 30);
            let error = error.expect_err(group);
            assert_eq!(error.kind(), ErrorKind::Config);
            let text = error.to_string();
            assert!(text.starts_with(&format!("freeze rule {message}")), "{text}");
            assert!(text.ends_with(there), "{text}");
        }
    }

    #[test]
    fn a_part_that_the_model_lacks_is_no_match() {
        use ParameterGroup::{Embeddings, Head};
        let mut store = ParameterStore::default();
        store.push("e", vec![1], Embeddings, true, &[1.0]);
        store.push("h", vec![1], Head(0), true, &[1.0]);
        for group in ["pooler", "modules", "layers.0"] {
            let heads = ["a".to_owned()];
            let plan = FreezePlan::new(&[phase(group, None, None)], &store, &heads, 1, 1);
            let error = plan.expect_err(group).to_string();
            assert!(error.contains(group), "{error}");
            assert!(error.contains("all, encoder, embeddings, heads, head.a"), "{error}");
        }
    }

    #[test]
    fn a_rule_that_ends_before_it_begins_is_an_error() {
        // Ten steps an epoch: from step 21 until step 5.
        let phase = phase("heads", Some(Moment::Epoch(3)), Some(Moment::Step(5)));
        let error = FreezePlan::new(&[phase], &store(), &heads(), 10, 30).unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("freeze rule `heads`: expected an end"), "{message}");
        assert!(message.contains("from step 21 until step 5"), "{message}");
    }

    #[test]
    fn heads_without_a_task_are_frozen() {
        let plan = plan(&[]).without_heads_from(1);
        assert_eq!(plan.always_frozen().iter().filter(|frozen| **frozen).count(), 2);
        let line = "steps 1–30: training 20 of 22 tensors, 1.1 k of 1.2 k parameters; frozen: \
                    head.sentiment";
        assert_eq!(plan.lines(), [line]);
    }

    #[test]
    fn numbers_are_short() {
        for (count, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.0 k"),
            (999_949, "999.9 k"),
            (999_950, "1.0 M"),
            (22_713_216, "22.7 M"),
            (1_500_000_000, "1.5 G"),
        ] {
            assert_eq!(short(count), text);
        }
    }
}
