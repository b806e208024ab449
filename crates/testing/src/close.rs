//! Comparisons of numbers with a tolerance.

/// The largest absolute value; 0 if there are no values.
pub fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, x| largest.max(x.abs()))
}

/// Fails if a number differs by more than `tolerance` from the expected one, or is NaN. The
/// message names the worst one.
#[track_caller]
pub fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}: how many numbers");
    let difference = |at: &usize| (found[*at] - expected[*at]).abs();
    let worst = (0..found.len()).max_by(|a, b| difference(a).total_cmp(&difference(b)));
    let Some(at) = worst else { return };
    assert!(
        difference(&at) <= tolerance,
        "{what}: at {at}: expected {}, found {}, off by {:e}, more than {tolerance:e}",
        expected[at],
        found[at],
        difference(&at)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_is_close() {
        assert_close("numbers", &[1.0, 2.5], &[1.0, 2.0], 0.5);
        assert_close("nothing", &[], &[], 0.0);
        assert_eq!(largest(&[1.0, -3.0, 2.0]), 3.0);
    }

    #[test]
    #[should_panic = "numbers: at 2: expected 2, found 3, off by 1e0, more than 5e-1"]
    fn the_worst_number_is_named() {
        assert_close("numbers", &[1.0, 2.6, 3.0], &[1.0, 2.0, 2.0], 0.5);
    }

    #[test]
    #[should_panic = "at 1: expected 2, found NaN"]
    fn not_a_number_is_close_to_nothing() {
        assert_close("numbers", &[9.0, f32::NAN], &[1.0, 2.0], f32::INFINITY);
    }
}
