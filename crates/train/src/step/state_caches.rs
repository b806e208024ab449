//! The cached hidden states of a run, and the decision whether to cache them.

use polyhead_model::Depth;

use crate::data::{Dataset, Part};
use crate::step::state_cache::{CacheCounts, StateCache};

/// The caches of a run: a [`StateCache`] for the training rows and one for the dev rows of each
/// source, as far as rows are read more than once.
#[derive(Default)]
pub(crate) struct StateCaches {
    caches: Vec<[Option<StateCache>; 2]>,
    /// Indices of the cached hidden states; `None` before the first phase.
    states: Option<Vec<usize>>,
    /// First step since which the layers below the cached states have not changed.
    since: u64,
    /// Counts of caches of earlier phases.
    before: CacheCounts,
}

/// The passes over the rows of a source while the frozen boundary stays where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Passes {
    pub(crate) train: f64,
    pub(crate) dev: f64,
}

impl StateCaches {
    /// Returns true if these caches hold exactly the states that `depth` reads.
    pub(crate) fn fits(&self, depth: &Depth) -> bool {
        self.states.as_ref() == Some(&depth.cached)
    }

    /// Drops all cached states if the weights after step `step` are restored and layers below the
    /// boundary have changed since.
    pub(crate) fn go_back_to(&mut self, step: u64) {
        if step + 1 < self.since {
            *self = Self { before: self.counts(), ..Self::default() };
        }
    }

    /// Replaces all caches by empty ones for this depth, for rows that are read more than once.
    ///
    /// - `step`: the first step in which the layers below do not change
    /// - `width`: `D`
    /// - `budget`: bytes of memory for all caches; 0 caches nothing
    /// - `passes`: one per source
    pub(crate) fn renew(
        &mut self,
        step: u64,
        depth: &Depth,
        width: usize,
        data: &Dataset,
        budget: u64,
        passes: &[Passes],
    ) {
        self.before = self.counts();
        self.states = Some(depth.cached.clone());
        self.since = step;
        let useful = !depth.embeddings && depth.start > 0 && budget > 0;
        let pays = |passes: f64| useful && passes > 1.0;
        let splits = || {
            data.sources
                .iter()
                .zip(passes)
                .map(|(source, passes)| [(&source.train, passes.train), (&source.dev, passes.dev)])
        };
        let tokens = splits().flatten().filter(|(_, passes)| pays(*passes));
        let all: usize = tokens.map(|(split, _)| split.tokens.tokens()).sum();
        let caches = splits().map(|source| {
            source.map(|(split, passes)| {
                let share = split.tokens.tokens() as f64 / all.max(1) as f64;
                let share = (budget as f64 * share) as u64;
                let states = depth.cached.clone();
                pays(passes).then(|| StateCache::new(states, width, split.tokens.len(), share))
            })
        });
        self.caches = caches.collect();
    }

    /// The cache of this split of a source, if there is one.
    pub(crate) fn of(&mut self, source: usize, part: Part) -> Option<&mut StateCache> {
        let [train, dev] = self.caches.get_mut(source)?;
        match part {
            Part::Train => train.as_mut(),
            Part::Dev => dev.as_mut(),
            Part::Test => None,
        }
    }

    /// The reason why a cache ended, if it was not reported yet.
    pub(crate) fn take_problem(&mut self) -> Option<String> {
        self.caches.iter_mut().flatten().flatten().find_map(StateCache::take_problem)
    }

    /// Peak sizes and saved tokens of all caches of the run.
    pub(crate) fn counts(&self) -> CacheCounts {
        let mut counts = self.before;
        let now = self.caches.iter().flatten().flatten().map(StateCache::counts);
        let (memory, file) = now.clone().fold((0, 0), |(m, f), c| (m + c.memory, f + c.file));
        counts.memory = counts.memory.max(memory);
        counts.file = counts.file.max(file);
        counts.tokens_saved += now.map(|counts| counts.tokens_saved).sum::<u64>();
        counts
    }
}
