//! Token ids to vectors: the sum of word, token type and position embeddings.

use std::ops::Range;

use crate::cpu::Cpu;
use crate::memory::StoredTensor;
use crate::simd::{Op, Simd};
use crate::threads::SharedPointer;

/// Columns of the tables whose gradients one part of a team sums.
const COLUMNS_PER_PART: usize = 64;

/// The word embeddings, `[V, D]`.
#[derive(Clone, Copy)]
pub enum WordTable<'a> {
    /// The table as a file stores it: only the rows that occur are converted, since the
    /// table is half of a small model.
    Stored(&'a StoredTensor),
    /// The table of a training store, in single precision.
    Flat(&'a [f32]),
}

/// The tables of an encoder.
#[derive(Clone, Copy)]
pub struct EmbeddingTables<'a> {
    /// `D`
    pub width: usize,
    /// `[V, D]`
    pub word: WordTable<'a>,
    /// `[positions, D]`; empty where the encoder has no table of them.
    pub position: &'a [f32],
    /// The row of a sequence's first token in `position`: 0, or for the family of RoBERTa the id of
    /// the padding token plus 1, since the rows before belong to padding.
    pub first_position: usize,
    /// `[types, D]`; empty where the encoder has no token types.
    pub token_type: &'a [f32],
}

/// Embedding tables.
impl Cpu<'_> {
    /// `out[n] = word[id] + token_type[type] + position[row]`
    ///
    /// The rows of positions count the tokens of a sequence from `first_position` on. A token of
    /// padding that is part of a text has the row of padding, and is not counted.
    ///
    /// - `ids`, `type_ids`: `[N]`
    /// - `offsets`: `[B + 1]`
    /// - `out`: `[N, D]`
    ///
    /// # Panics
    /// If an id, a type or a position lies outside its table: callers check batches first.
    pub fn embed(
        self,
        tables: &EmbeddingTables,
        ids: &[u32],
        type_ids: &[u32],
        offsets: &[usize],
        out: &mut [f32],
    ) {
        let team = self.team;
        let width = tables.width;
        check_lengths(width, ids, type_ids, offsets, out);
        let out = SharedPointer(out.as_mut_ptr());
        team.run(offsets.len() - 1, &|sequence| {
            let (start, end) = (offsets[sequence], offsets[sequence + 1]);
            assert!(start <= end && end <= ids.len(), "offsets {start} and {end}");
            // SAFETY: the rows of this sequence, which no other part has: offsets grow, as just
            // checked, and end at the length of `out`.
            let rows = unsafe { out.slice(start * width..end * width) };
            let positions = position_rows(tables.first_position, &ids[start..end]);
            for ((n, row), position) in (start..).zip(rows.chunks_exact_mut(width)).zip(positions) {
                match tables.word {
                    WordTable::Stored(table) => table.read_row(ids[n] as usize, row),
                    WordTable::Flat(table) => row.copy_from_slice(table_row(table, ids[n], width)),
                }
                if !tables.token_type.is_empty() {
                    add(row, table_row(tables.token_type, type_ids[n], width));
                }
                if !tables.position.is_empty() {
                    add(row, &tables.position[position * width..][..width]);
                }
            }
        });
    }

    /// The backward of [`embed`](Self::embed): `dword[id] += dout[n]`, and so on.
    ///
    /// - `dout`: `[N, D]`
    /// - `first_position`: as in [`EmbeddingTables`]
    /// - `dword`: `[V, D]`, `dposition`: `[positions, D]`, `dtoken_type`: `[types, D]`,
    ///   `None` for a table that is frozen
    ///
    /// Each gradient is summed token after token, beginning with the value in the buffer:
    /// threads have columns of their own, not tokens.
    ///
    /// # Panics
    /// If the lengths do not fit, or an id, a type or a position lies outside its table.
    #[expect(clippy::too_many_arguments, reason = "the batch, and where three gradients go")]
    pub fn embed_backward(
        self,
        ids: &[u32],
        type_ids: &[u32],
        offsets: &[usize],
        first_position: usize,
        dout: &[f32],
        dword: Option<&mut [f32]>,
        dposition: Option<&mut [f32]>,
        dtoken_type: Option<&mut [f32]>,
    ) {
        let Self { team, isa, .. } = self;
        if ids.is_empty() {
            return;
        }
        let width = dout.len() / ids.len();
        check_lengths(width, ids, type_ids, offsets, dout);
        let [dword, dposition, dtoken_type] = [dword, dposition, dtoken_type]
            .map(|table| table.map(|t| (SharedPointer(t.as_mut_ptr()), t.len() / width)));
        team.run_ranges(width, COLUMNS_PER_PART, &|columns| {
            let scatter = |table: Option<(SharedPointer, usize)>, rows| {
                if let Some((table, count)) = table {
                    isa.run(Scatter { dout, width, columns: columns.clone(), rows, table, count });
                }
            };
            scatter(dword, TableRows::Of(ids));
            scatter(dposition, TableRows::Positions { ids, offsets, first: first_position });
            scatter(dtoken_type, TableRows::Of(type_ids));
        });
    }
}

/// The row of the position table for each token of a sequence (`transformers`,
/// `create_position_ids_from_input_ids` in `modeling_roberta.py`).
fn position_rows(first: usize, ids: &[u32]) -> impl Iterator<Item = usize> {
    let mut next = first;
    ids.iter().map(move |id| {
        let padding = *id as usize;
        if padding + 1 == first {
            return padding;
        }
        next += 1;
        next - 1
    })
}

fn check_lengths(width: usize, ids: &[u32], type_ids: &[u32], offsets: &[usize], rows: &[f32]) {
    assert!(width > 0, "embeddings have a width");
    assert_eq!(rows.len(), ids.len() * width, "{} rows of {width}", ids.len());
    assert_eq!(offsets.last(), Some(&ids.len()), "the last offset is the number of tokens");
    assert_eq!(type_ids.len(), ids.len(), "a type for each token");
}

fn table_row(table: &[f32], row: u32, width: usize) -> &[f32] {
    &table[row as usize * width..][..width]
}

fn add(row: &mut [f32], other: &[f32]) {
    for (x, y) in row.iter_mut().zip(other) {
        *x += y;
    }
}

/// Which row of a table each token belongs to.
#[derive(Clone, Copy)]
enum TableRows<'a> {
    Of(&'a [u32]),
    /// The [`position_rows`] of each sequence.
    Positions {
        ids: &'a [u32],
        offsets: &'a [usize],
        first: usize,
    },
}

/// Adds some columns of `dout` to the rows of a table.
struct Scatter<'a> {
    dout: &'a [f32],
    width: usize,
    columns: Range<usize>,
    rows: TableRows<'a>,
    table: SharedPointer,
    /// Rows of the table.
    count: usize,
}

impl Op for Scatter<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        match self.rows {
            TableRows::Of(ids) => {
                for (n, id) in ids.iter().enumerate() {
                    self.add(n, *id as usize);
                }
            }
            TableRows::Positions { ids, offsets, first } => {
                for sequence in offsets.windows(2) {
                    let rows = position_rows(first, &ids[sequence[0]..sequence[1]]);
                    for (n, row) in (sequence[0]..).zip(rows) {
                        // As in PyTorch, the row of padding is not trained.
                        if row >= first {
                            self.add(n, row);
                        }
                    }
                }
            }
        }
    }
}

impl Scatter<'_> {
    #[inline(always)]
    fn add(&self, n: usize, row: usize) {
        assert!(row < self.count, "row {row} of a table of {}", self.count);
        let from = &self.dout[n * self.width..][..self.width][self.columns.clone()];
        let at = row * self.width + self.columns.start;
        // SAFETY: the row lies in the table; its columns belong to this part alone.
        let to = unsafe { self.table.slice(at..at + from.len()) };
        for (to, from) in to.iter_mut().zip(from) {
            *to += *from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Isa;
    use crate::testing::{numbers, wide};
    use crate::threads::{Team, Threads};

    #[test]
    fn sums_the_rows_of_three_tables() {
        let word = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let stored = StoredTensor::from_f32(vec![3, 2], &word);
        for word in [WordTable::Stored(&stored), WordTable::Flat(&word)] {
            let tables = EmbeddingTables {
                width: 2,
                word,
                position: &[10.0, 20.0, 30.0, 40.0],
                first_position: 0,
                token_type: &[100.0, 200.0, 300.0, 400.0],
            };
            let mut out = vec![f32::NAN; 6];
            Cpu::new(&Team::solo(), Isa::detect()).embed(
                &tables,
                &[2, 0, 1],
                &[0, 1, 0],
                &[0, 2, 3],
                &mut out,
            );
            assert_eq!(out, [115.0, 226.0, 331.0, 442.0, 113.0, 224.0]);
        }
    }

    #[test]
    fn padding_in_a_text_has_its_own_position_and_is_not_counted() {
        let rows = |first, ids: &[u32]| position_rows(first, ids).collect::<Vec<_>>();
        assert_eq!(rows(2, &[0, 5, 1, 6, 1, 2]), [2, 3, 1, 4, 1, 5]);
        assert_eq!(rows(1, &[0, 0, 7]), [0, 0, 1]);
        assert_eq!(rows(0, &[0, 1, 0]), [0, 1, 2]);
    }

    struct Batch {
        ids: Vec<u32>,
        type_ids: Vec<u32>,
        offsets: Vec<usize>,
        dout: Vec<f32>,
        first_position: usize,
    }

    impl Batch {
        /// Of 11 words, 2 types and 20 positions, `width` wide.
        fn new(width: usize) -> Self {
            let ids: Vec<u32> = (0..37).map(|n| n * n % 11).collect();
            Self {
                type_ids: ids.iter().map(|id| id % 2).collect(),
                offsets: vec![0, 5, 5, 18, 37],
                dout: numbers(37 * width, 1),
                first_position: 0,
                ids,
            }
        }

        /// Adds the gradients of some sequences.
        fn gradients(
            &self,
            team: &Team,
            isa: Isa,
            sequences: Range<usize>,
            tables: &mut [Vec<f32>; 3],
        ) {
            let width = self.dout.len() / self.ids.len();
            let (first, end) = (self.offsets[sequences.start], self.offsets[sequences.end]);
            let offsets: Vec<usize> =
                self.offsets[sequences.start..=sequences.end].iter().map(|o| o - first).collect();
            let [word, position, token_type] = tables;
            Cpu::new(team, isa).embed_backward(
                &self.ids[first..end],
                &self.type_ids[first..end],
                &offsets,
                self.first_position,
                &self.dout[first * width..end * width],
                Some(word),
                Some(position),
                Some(token_type),
            );
        }
    }

    fn gradients(width: usize) -> [Vec<f32>; 3] {
        [numbers(11 * width, 2), numbers(20 * width, 3), numbers(2 * width, 4)]
    }

    #[test]
    fn gradients_follow_the_plain_loops() {
        for isa in Isa::available() {
            for width in [1, 5, 64, 70, 384] {
                for first_position in [0, 2] {
                    let batch = Batch { first_position, ..Batch::new(width) };
                    let mut tables = gradients(width);
                    batch.gradients(&Team::solo(), isa, 0..4, &mut tables);
                    let index = |ids: &[u32]| ids.iter().map(|id| Some(*id as usize)).collect();
                    let positions = batch.offsets.windows(2).flat_map(|ends| {
                        let rows = position_rows(first_position, &batch.ids[ends[0]..ends[1]]);
                        // The row of padding has no gradient.
                        rows.map(|row| (row >= first_position).then_some(row)).collect::<Vec<_>>()
                    });
                    let positions: Vec<_> = positions.collect();
                    assert_eq!(positions.contains(&None), first_position > 0);
                    let rows: [Vec<_>; 3] = [index(&batch.ids), positions, index(&batch.type_ids)];
                    for ((table, before), rows) in tables.iter().zip(gradients(width)).zip(rows) {
                        let mut exact = wide(&before);
                        embed_backward_reference(&wide(&batch.dout), &rows, width, &mut exact);
                        for (a, b) in table.iter().zip(exact) {
                            // Up to 37 terms, below 20 on the way, each rounded to 2⁻²⁴ of it.
                            assert!((f64::from(*a) - b).abs() < 4e-5, "{a}, not {b}");
                        }
                    }
                }
            }
        }
    }

    /// Whole numbers, so that every sum is exact: a table entry that grows by one changes
    /// `Σ out · dout` by its gradient.
    #[test]
    fn gradients_are_those_of_the_sum() {
        let (ids, type_ids, offsets) = ([2u32, 0, 2, 1], [0u32, 1, 1, 0], [0, 3, 4]);
        let whole = |count, seed| -> Vec<f32> {
            numbers(count, seed).iter().map(|x| (8.0 * x).round()).collect()
        };
        let tables = [whole(6, 1), whole(6, 2), whole(4, 3)];
        let dout = whole(8, 4);
        let loss = |tables: &[Vec<f32>; 3]| -> f32 {
            let tables = EmbeddingTables {
                width: 2,
                word: WordTable::Flat(&tables[0]),
                position: &tables[1],
                first_position: 0,
                token_type: &tables[2],
            };
            let mut out = vec![0.0; 8];
            Cpu::new(&Team::solo(), Isa::detect())
                .embed(&tables, &ids, &type_ids, &offsets, &mut out);
            out.iter().zip(&dout).map(|(y, d)| y * d).sum()
        };
        for isa in Isa::available() {
            let mut d = [vec![0.0; 6], vec![0.0; 6], vec![0.0; 4]];
            let [word, position, token_type] = &mut d;
            let (ids, types) = (&ids[..], &type_ids[..]);
            let solo = Team::solo();
            Cpu::new(&solo, isa).embed_backward(
                ids,
                types,
                &offsets,
                0,
                &dout,
                Some(word),
                Some(position),
                Some(token_type),
            );
            for table in 0..3 {
                for i in 0..d[table].len() {
                    let mut moved = tables.clone();
                    moved[table][i] += 1.0;
                    assert_eq!(loss(&moved) - loss(&tables), d[table][i], "table {table} at {i}");
                }
            }
        }
    }

    #[test]
    fn gradients_have_the_same_bits_in_any_team_and_however_sequences_are_cut() {
        for isa in Isa::available() {
            let batch = Batch::new(150);
            let mut whole = gradients(150);
            batch.gradients(&Team::solo(), isa, 0..4, &mut whole);
            for threads in [2, 3, 5] {
                let mut other = gradients(150);
                let threads = Threads::new(threads).expect("threads");
                threads.team(|team| batch.gradients(team, isa, 0..4, &mut other));
                assert_eq!(whole, other, "{}", isa.name());
            }
            for cut in 0..=4 {
                let mut other = gradients(150);
                batch.gradients(&Team::solo(), isa, 0..cut, &mut other);
                batch.gradients(&Team::solo(), isa, cut..4, &mut other);
                assert_eq!(whole, other, "{}", isa.name());
            }
        }
    }

    #[test]
    fn only_the_wanted_gradients_are_computed() {
        let batch = Batch::new(8);
        let mut position = vec![0.0; 20 * 8];
        Cpu::new(&Team::solo(), Isa::detect()).embed_backward(
            &batch.ids,
            &batch.type_ids,
            &batch.offsets,
            0,
            &batch.dout,
            None,
            Some(&mut position),
            None,
        );
        let mut all = [vec![0.0; 11 * 8], vec![0.0; 20 * 8], vec![0.0; 2 * 8]];
        batch.gradients(&Team::solo(), Isa::detect(), 0..4, &mut all);
        assert_eq!(position, all[1]);
    }

    /// The plain loops: document and oracle of [`embed_backward`](Cpu::embed_backward), for one table.
    ///
    /// - `rows`: `[N]`, the row of the table that each token came from; `None` for a row without
    ///   a gradient
    fn embed_backward_reference(
        dout: &[f64],
        rows: &[Option<usize>],
        width: usize,
        dtable: &mut [f64],
    ) {
        for (n, row) in rows.iter().enumerate() {
            let Some(row) = row else { continue };
            for c in 0..width {
                dtable[row * width + c] += dout[n * width + c];
            }
        }
    }
}
