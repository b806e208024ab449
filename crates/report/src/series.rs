//! Shortens long curves for drawing, without losing their peaks.

/// Largest number of points of a drawn curve.
pub(crate) const MOST: usize = 500;

/// Smallest number of points of a smoothed curve.
const FEW: usize = 16;

/// The points that are finite, so that they can be drawn.
pub(crate) fn finite(points: impl Iterator<Item = (u64, Option<f64>)>) -> Vec<(f64, f64)> {
    let points = points.filter_map(|(step, value)| Some((step as f64, value?)));
    points.filter(|(_, value)| value.is_finite()).collect()
}

/// At most [`MOST`] of the points: the lowest and the highest of each range, so that a single peak
/// in a long run is still visible.
pub(crate) fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MOST {
        return points.to_vec();
    }
    let mut kept = Vec::with_capacity(MOST);
    for stretch in stretches(points, MOST / 2) {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let ends = [stretch.iter().min_by(by_value), stretch.iter().max_by(by_value)];
        let [Some(low), Some(high)] = ends else { continue };
        kept.extend(if low.0 <= high.0 { [*low, *high] } else { [*high, *low] });
    }
    kept
}

/// The moving average of a noisy curve, in at most [`MOST`] points; `None` if there are too few
/// points.
///
/// Each point is the mean of its neighbours, a fortieth of the curve on either side. Near the ends
/// there are fewer on both sides, so that the curve starts and ends where the points do.
pub(crate) fn smoothed(points: &[(f64, f64)]) -> Option<Vec<(f64, f64)>> {
    if points.len() < FEW {
        return None;
    }
    let mut sums = vec![0.0];
    for (_, value) in points {
        sums.push(sums[sums.len() - 1] + value);
    }
    let half = (points.len() / 40).max(2);
    let smooth: Vec<(f64, f64)> = points
        .iter()
        .enumerate()
        .map(|(index, (step, _))| {
            let half = half.min(index).min(points.len() - 1 - index);
            let (first, end) = (index - half, index + half + 1);
            (*step, (sums[end] - sums[first]) / (end - first) as f64)
        })
        .collect();
    if smooth.len() <= MOST {
        return Some(smooth);
    }
    // Neighbours hardly differ now, so the middle of each range is enough.
    let middles = stretches(&smooth, MOST).map(|stretch| stretch[stretch.len() / 2]);
    Some(middles.collect())
}

/// At most [`MOST`] values of a list at equal distances, with the first and the last.
pub(crate) fn sampled<T: Clone>(values: &[T]) -> Vec<T> {
    if values.len() <= MOST {
        return values.to_vec();
    }
    (0..MOST).map(|index| values[index * (values.len() - 1) / (MOST - 1)].clone()).collect()
}

/// Splits the points into `count` ranges; none is empty if there are that many points.
fn stretches(points: &[(f64, f64)], count: usize) -> impl Iterator<Item = &[(f64, f64)]> {
    let bound = move |index: usize| index * points.len() / count;
    (0..count).map(move |index| &points[bound(index)..bound(index + 1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(count: usize) -> Vec<(f64, f64)> {
        (0..count).map(|step| (step as f64, (step % 7) as f64)).collect()
    }

    #[test]
    fn long_curves_are_thinned_and_keep_their_peaks() {
        let mut points = line(100_000);
        points[77_777].1 = 1e6;
        points[5].1 = -1e6;
        let thin = thinned(&points);
        assert!(thin.len() <= MOST);
        assert!(thin.contains(&(77_777.0, 1e6)) && thin.contains(&(5.0, -1e6)));
        assert!(thin.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        assert_eq!(thinned(&line(MOST)), line(MOST));
        assert!(smoothed(&points).is_some_and(|smooth| smooth.len() <= MOST));
        assert!(thinned(&line(MOST + 1)).len() <= MOST);
    }

    #[test]
    fn smoothing_keeps_the_ends_and_straight_lines() {
        let straight: Vec<(f64, f64)> =
            (0..200).map(|i| (f64::from(i), f64::from(3 * i))).collect();
        let smooth = smoothed(&straight).expect("enough points");
        for (before, after) in straight.iter().zip(&smooth) {
            assert!((before.1 - after.1).abs() < 1e-9, "{before:?} {after:?}");
        }
        assert_eq!(smoothed(&line(FEW - 1)), None);
    }

    #[test]
    fn points_that_cannot_be_drawn_are_left_out() {
        let values = [Some(1.0), None, Some(f64::NAN), Some(f64::INFINITY), Some(2.0)];
        let points = finite((0..5).zip(values));
        assert_eq!(points, [(0.0, 1.0), (4.0, 2.0)]);
        assert!(thinned(&[]).is_empty() && smoothed(&[]).is_none());
    }
}
