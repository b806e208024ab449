//! Hidden states below a frozen boundary, computed once.
//!
//! If everything up to a hidden state is frozen, that state is a function of the text alone
//! (dropout is off there), with the same bits in every batch. So it is cached: in memory up to a
//! budget, beyond that in an unnamed file that disappears with the process. If that file cannot be
//! written, caching ends: this costs time and changes no result.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use crate::error::{Error, ErrorKind};

/// The cached hidden states of the rows of one split.
pub struct StateCache {
    /// Indices of the cached hidden states, ascending.
    states: Vec<usize>,
    /// `D`: the width of a hidden state.
    width: usize,
    /// Memory budget in bytes.
    budget: u64,
    /// Location of each row's values: all its states one after the other.
    rows: Vec<Option<CachedRow>>,
    memory: Vec<Vec<f32>>,
    file: Option<File>,
    file_end: u64,
    counts: CacheCounts,
    /// True if the file could not be written.
    gave_up: bool,
    problem: Option<String>,
}

#[derive(Clone, Copy)]
enum CachedRow {
    /// Index of a vector in `memory`.
    Memory(usize),
    /// Position in the file, and number of values.
    File(u64, usize),
}

/// Sizes of a cache and the work that it saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Number of bytes in memory.
    pub memory: u64,
    /// Number of bytes in the file.
    pub file: u64,
    /// Number of tokens whose lower layers were not computed again.
    pub tokens_saved: u64,
}

impl StateCache {
    /// An empty cache for `rows` rows.
    ///
    /// - `states`: indices of the hidden states of width `width` to cache
    pub fn new(states: Vec<usize>, width: usize, rows: usize, budget: u64) -> Self {
        Self {
            states,
            width,
            budget,
            rows: vec![None; rows],
            memory: Vec::new(),
            file: None,
            file_end: 0,
            counts: CacheCounts::default(),
            gave_up: false,
            problem: None,
        }
    }

    /// Indices of the cached hidden states.
    pub fn states(&self) -> &[usize] {
        &self.states
    }

    /// Sizes of this cache and the work that it saved.
    pub fn counts(&self) -> CacheCounts {
        self.counts
    }

    /// Returns false if caching has ended, since the file could not be written.
    pub(super) fn still_caches(&self) -> bool {
        !self.gave_up
    }

    /// Counts the tokens that are saved from 0 again: another run goes on with the cache.
    pub(super) fn forget_savings(&mut self) {
        self.counts.tokens_saved = 0;
    }

    /// Returns true if all of these rows are cached.
    pub fn has(&self, rows: &[u32]) -> bool {
        !self.states.is_empty() && rows.iter().all(|row| self.rows[*row as usize].is_some())
    }

    /// The reason why caching ended, once; `None` if it did not end or was reported before.
    pub fn take_problem(&mut self) -> Option<String> {
        self.problem.take()
    }

    /// Caches the states of row `row`.
    ///
    /// - `states`: `[T, D]` for each of [`states`](Self::states)
    ///
    /// If the file cannot be written, all cached states are dropped and caching ends: see [`take_problem`](Self::take_problem).
    pub fn put(&mut self, row: u32, states: &[&[f32]]) {
        if self.rows[row as usize].is_some() || self.states.is_empty() || self.gave_up {
            return;
        }
        let values: Vec<f32> = states.concat();
        let bytes = 4 * values.len() as u64;
        if self.counts.memory + bytes <= self.budget {
            self.counts.memory += bytes;
            self.memory.push(values);
            self.rows[row as usize] = Some(CachedRow::Memory(self.memory.len() - 1));
            return;
        }
        match self.write(&values) {
            Ok(()) => {
                self.rows[row as usize] = Some(CachedRow::File(self.file_end, values.len()));
                self.file_end += bytes;
                self.counts.file += bytes;
            }
            Err(error) => {
                // The cache of a batch is used only if all its rows are there.
                self.rows.fill(None);
                (self.memory, self.file) = (Vec::new(), None);
                self.gave_up = true;
                self.problem = Some(format!(
                    "hidden states cannot be cached in {} ({error}): they are computed again each \
                     time",
                    std::env::temp_dir().display()
                ));
            }
        }
    }

    /// Appends to the file; creates it first if there is none.
    fn write(&mut self, values: &[f32]) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        let encoded: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        file.seek(SeekFrom::Start(self.file_end))?;
        file.write_all(&encoded)
    }

    /// The states of `rows` end to end, in the form of a batch: `[N, D]` for each of
    /// [`states`](Self::states).
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file cannot be read.
    ///
    /// # Panics
    /// If a row is missing: see [`has`](Self::has).
    pub fn get(&mut self, rows: &[u32]) -> Result<Vec<Vec<f32>>, Error> {
        let mut states = vec![Vec::new(); self.states.len()];
        let mut from_file = Vec::new();
        for row in rows {
            let values = match self.rows[*row as usize].expect("the rows are cached: see `has`") {
                CachedRow::Memory(at) => &self.memory[at],
                CachedRow::File(at, count) => {
                    self.read(at, count, &mut from_file)?;
                    &from_file
                }
            };
            let each = values.len() / states.len();
            self.counts.tokens_saved += (each / self.width) as u64;
            for (state, part) in states.iter_mut().zip(values.chunks_exact(each.max(1))) {
                state.extend_from_slice(part);
            }
        }
        Ok(states)
    }

    fn read(&self, at: u64, count: usize, values: &mut Vec<f32>) -> Result<(), Error> {
        let mut file = self.file.as_ref().expect("the row is in the file");
        let mut bytes = vec![0; 4 * count];
        file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes)).map_err(|e| {
            let message = format!("cached hidden states could not be read back: {e}");
            Error::with_source(ErrorKind::Io, message, e)
        })?;
        values.clear();
        values.extend(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_from_memory_and_file() {
        // Memory for the first row only: 2 states of 2 tokens of 2 numbers are 32 bytes.
        let mut cache = StateCache::new(vec![0, 2], 2, 3, 32);
        let rows: Vec<[Vec<f32>; 2]> = (0..3)
            .map(|row| {
                let tokens = row + 1;
                let state =
                    |k: usize| (0..2 * tokens).map(move |i| (100 * row + 10 * k + i) as f32);
                [state(0).collect(), state(1).collect()]
            })
            .collect();
        assert!(!cache.has(&[1]));
        for row in [1, 0, 2] {
            cache.put(row as u32, &[&rows[row][0], &rows[row][1]]);
        }
        assert!(cache.has(&[0, 1, 2]));
        assert!(cache.counts().memory <= 32 && cache.counts().file > 0);
        let states = cache.get(&[2, 0, 1]).unwrap();
        for k in 0..2 {
            let expected = [&rows[2][k][..], &rows[0][k], &rows[1][k]].concat();
            assert_eq!(states[k], expected);
        }
        assert_eq!(cache.counts().tokens_saved, 6);
    }
}
