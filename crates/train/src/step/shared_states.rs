//! Hidden states below a frozen boundary that several runs use.
//!
//! Runs that begin with the same model and freeze the same lower layers compute the same states for
//! equal texts, to the bit. So a run hands them on to the next one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polyhead_text::TokenBatch;
use sha2::{Digest, Sha256};

use crate::step::state_cache::StateCache;

/// The hidden states that runs from one starting model share.
#[derive(Clone, Default)]
pub(crate) struct SharedStates(Arc<Mutex<HashMap<StatesKey, StateCache>>>);

/// The states of a split: they depend on the model, and on what is here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StatesKey {
    /// Indices of the hidden states.
    states: Vec<usize>,
    /// SHA-256 of the tokens of all sequences.
    tokens: [u8; 32],
}

impl StatesKey {
    /// - `states`: indices of the hidden states
    pub(crate) fn of(states: &[usize], tokens: &TokenBatch) -> Self {
        let mut hash = Sha256::new();
        for list in [&tokens.ids, &tokens.type_ids] {
            list.iter().for_each(|id| hash.update(id.to_le_bytes()));
        }
        tokens.offsets.iter().for_each(|offset| hash.update((*offset as u64).to_le_bytes()));
        Self { states: states.to_vec(), tokens: hash.finalize().into() }
    }
}

impl SharedStates {
    /// Takes the states of a key; they come back with [`put`](Self::put).
    pub(crate) fn take(&self, key: &StatesKey) -> Option<StateCache> {
        let mut cache = self.all().remove(key).filter(StateCache::still_caches)?;
        cache.forget_savings();
        Some(cache)
    }

    /// Keeps states for the next run. Of splits with the same texts, the first one stays.
    pub(crate) fn put(&self, key: StatesKey, cache: StateCache) {
        self.all().entry(key).or_insert(cache);
    }

    /// Bytes in memory of the states that no run has taken.
    pub(crate) fn memory(&self) -> u64 {
        self.all().values().map(|cache| cache.counts().memory).sum()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<StatesKey, StateCache>> {
        // Each call leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
