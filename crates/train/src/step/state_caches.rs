//! The cached hidden states of a run, and the decision whether to cache them.

use polyhead_model::Depth;
use polyhead_text::TokenBatch;

use crate::data::{Dataset, Part};
use crate::step::shared_states::{SharedStates, StatesKey};
use crate::step::state_cache::{CacheCounts, StateCache};

/// The caches of a run: a [`StateCache`] for the rows of each split of each source, as far as rows are
/// read more than once.
#[derive(Default)]
pub(crate) struct StateCaches {
    /// In the order of [`Part::ALL`].
    caches: Vec<[Option<RowStates>; 3]>,
    /// States that other runs from the same starting model use too, if there are such runs.
    shared: Option<SharedStates>,
    /// Indices of the cached hidden states; `None` before the first phase.
    states: Option<Vec<usize>>,
    /// First step since which the layers below the cached states have not changed.
    since: u64,
    /// Counts of caches of earlier phases.
    before: CacheCounts,
}

/// The cached states of one split of a source.
struct RowStates {
    cache: StateCache,
    /// The key under which other runs find them; `None` if no other run may use them.
    key: Option<StatesKey>,
}

/// The passes over the rows of a source while the frozen boundary stays where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Passes {
    pub(crate) train: f64,
    pub(crate) dev: f64,
}

impl StateCaches {
    /// Empty caches of a run that shares what the starting model gives with other runs.
    pub(crate) fn sharing(shared: Option<SharedStates>) -> Self {
        let mut caches = Self::default();
        caches.shared = shared;
        caches
    }

    /// Returns true if these caches hold exactly the states that `depth` reads.
    pub(crate) fn fits(&self, depth: &Depth) -> bool {
        self.states.as_ref() == Some(&depth.cached)
    }

    /// Drops all cached states if the weights after step `step` are restored and layers below the
    /// boundary have changed since.
    pub(crate) fn go_back_to(&mut self, step: u64) {
        if step + 1 < self.since {
            let before = self.counts();
            *self = Self::sharing(self.shared.clone());
            self.before = before;
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
        self.give_back();
        self.states = Some(depth.cached.clone());
        self.since = step;
        // Later the layers below may have been trained.
        let shared = self.shared.as_ref().filter(|_| step <= 1);
        let useful = !depth.embeddings && depth.start > 0 && budget > 0;
        // What other runs have left in memory counts, also what this one takes.
        let budget = budget.saturating_sub(shared.map_or(0, SharedStates::memory));
        let pays = |passes: f64| useful && (passes > 1.0 || passes > 0.0 && shared.is_some());
        let passes_of = |source: usize, part: Part| match part {
            Part::Train => passes[source].train,
            Part::Dev => passes[source].dev,
            // The finished model reads them once.
            Part::Test => 1.0,
        };
        let found: Vec<_> = (data.sources.iter().enumerate())
            .map(|(at, source)| {
                Part::ALL.map(|part| {
                    pays(passes_of(at, part)).then(|| {
                        let tokens = &source.split(part).tokens;
                        let key = shared.map(|_| StatesKey::of(&depth.cached, tokens));
                        let cache = key.as_ref().and_then(|key| shared?.take(key));
                        (tokens, key, cache)
                    })
                })
            })
            .collect();
        let new = found.iter().flatten().flatten().filter(|(_, _, cache)| cache.is_none());
        let all: usize = new.map(|(tokens, _, _)| tokens.tokens()).sum();
        let new_cache = |tokens: &TokenBatch| {
            let share = tokens.tokens() as f64 / all.max(1) as f64;
            let share = (budget as f64 * share) as u64;
            StateCache::new(depth.cached.clone(), width, tokens.len(), share)
        };
        let row_states = |(tokens, key, cache): (&TokenBatch, _, Option<StateCache>)| RowStates {
            cache: cache.unwrap_or_else(|| new_cache(tokens)),
            key,
        };
        let caches = found.into_iter().map(|parts| parts.map(|found| found.map(row_states)));
        self.caches = caches.collect();
    }

    /// Hands the states that other runs may use to them.
    fn give_back(&mut self) {
        let Some(shared) = &self.shared else { return };
        for RowStates { cache, key } in
            std::mem::take(&mut self.caches).into_iter().flatten().flatten()
        {
            if let Some(key) = key {
                shared.put(key, cache);
            }
        }
    }

    /// The cache of this split of a source, if there is one.
    pub(crate) fn of(&mut self, source: usize, part: Part) -> Option<&mut StateCache> {
        let at = Part::ALL.iter().position(|other| *other == part)?;
        Some(&mut self.caches.get_mut(source)?[at].as_mut()?.cache)
    }

    /// The reason why a cache ended, if it was not reported yet.
    pub(crate) fn take_problem(&mut self) -> Option<String> {
        let mut all = self.caches.iter_mut().flatten().flatten();
        all.find_map(|states| states.cache.take_problem())
    }

    /// Peak sizes and saved tokens of all caches of the run.
    pub(crate) fn counts(&self) -> CacheCounts {
        let mut counts = self.before;
        let now = self.caches.iter().flatten().flatten().map(|states| states.cache.counts());
        let (memory, file) = now.clone().fold((0, 0), |(m, f), c| (m + c.memory, f + c.file));
        counts.memory = counts.memory.max(memory);
        counts.file = counts.file.max(file);
        counts.tokens_saved += now.map(|counts| counts.tokens_saved).sum::<u64>();
        counts
    }
}

impl Drop for StateCaches {
    fn drop(&mut self) {
        self.give_back();
    }
}
