//! Panels of groups: `[groups, columns, GROUP]`, for kernels that multiply groups in order.

use super::GROUP;

/// Where input `k` of a column stands.
fn place(columns: usize, column: usize, k: usize) -> usize {
    (k / GROUP * columns + column) * GROUP + k % GROUP
}

/// Packs `levels`, `[columns, inputs]`.
pub(super) fn pack(levels: &[i8], inputs: usize) -> Vec<u8> {
    let columns = levels.len() / inputs;
    let mut panel = vec![0; levels.len()];
    for (column, levels) in levels.chunks_exact(inputs).enumerate() {
        for (k, level) in levels.iter().enumerate() {
            panel[place(columns, column, k)] = *level as u8;
        }
    }
    panel
}

/// Level of input `k` for output `column` of a panel of `columns`.
pub(super) fn level(panel: &[u8], columns: usize, column: usize, k: usize) -> i8 {
    panel[place(columns, column, k)] as i8
}
