//! Token ids to vectors: the sum of word, token type and position embeddings.

use crate::storage::StoredTensor;
use crate::team::{SharedPointer, Team};

/// The tables of an encoder.
///
/// The word table stays as it is stored, and only the rows that occur are
/// converted: it is half of a small model. The other two are small.
pub struct EmbeddingTables {
    /// `[V, D]`
    pub word: StoredTensor,
    /// `[positions, D]`
    pub position: Vec<f32>,
    /// `[types, D]`; empty where the encoder has no token types.
    pub token_type: Vec<f32>,
}

/// `out[n] = word[id] + token_type[type] + position[n − beginning of its sequence]`
///
/// - `ids`, `type_ids`: `[N]`
/// - `offsets`: `[B + 1]`
/// - `out`: `[N, D]`
///
/// # Panics
/// If an id, a type or a position lies outside its table: callers check batches first.
pub fn embed(
    team: &Team,
    tables: &EmbeddingTables,
    ids: &[u32],
    type_ids: &[u32],
    offsets: &[usize],
    out: &mut [f32],
) {
    let width = tables.word.columns();
    assert_eq!(out.len(), ids.len() * width, "length of the output");
    assert_eq!(offsets.last(), Some(&ids.len()), "the last offset is the number of tokens");
    assert_eq!(type_ids.len(), ids.len(), "a type for each token");
    let out = SharedPointer(out.as_mut_ptr());
    team.run(offsets.len() - 1, &|sequence| {
        let (start, end) = (offsets[sequence], offsets[sequence + 1]);
        // SAFETY: the rows of this sequence, which no other part has: offsets grow (the slice
        // creation below and `ids[n]` would panic otherwise), and end at the length of `out`.
        let rows = unsafe {
            assert!(start <= end && end <= ids.len(), "offsets {start} and {end}");
            std::slice::from_raw_parts_mut(out.get().add(start * width), (end - start) * width)
        };
        for (position, row) in rows.chunks_exact_mut(width).enumerate() {
            let n = start + position;
            tables.word.read_row(ids[n] as usize, row);
            if !tables.token_type.is_empty() {
                add(row, &tables.token_type[type_ids[n] as usize * width..][..width]);
            }
            add(row, &tables.position[position * width..][..width]);
        }
    });
}

fn add(row: &mut [f32], other: &[f32]) {
    for (x, y) in row.iter_mut().zip(other) {
        *x += y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_the_rows_of_three_tables() {
        let tables = EmbeddingTables {
            word: StoredTensor::from_f32(vec![3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            position: vec![10.0, 20.0, 30.0, 40.0],
            token_type: vec![100.0, 200.0, 300.0, 400.0],
        };
        let mut out = vec![f32::NAN; 6];
        embed(&Team::solo(), &tables, &[2, 0, 1], &[0, 1, 0], &[0, 2, 3], &mut out);
        assert_eq!(out, [115.0, 226.0, 331.0, 442.0, 113.0, 224.0]);
    }
}
