//! Heat maps of the cosines between gradients: one for each pair of tasks, and one that compares each
//! task with the joint step.

use maud::{Markup, html};
use polyhead_train::{ConflictReport, PairConflict};

use crate::number::grouped;
use crate::parts::{Key, framed};
use crate::plot::Ink;
use crate::text::{name, plain};

/// Largest number of steps that a map shows.
const MOST: usize = 24;

/// Number of colour steps.
const SHADES: f64 = 8.0;

/// A caution, since the map invites conclusions.
const CAUTION: &str = "A cosine below 0 means that a small step for one task alone would raise the loss of the \
     other. No study has shown that these cosines predict which tasks harm each other: to find out, train with \
     and without a task.";

pub(crate) fn section(found: &ConflictReport) -> Markup {
    let shown = shown(found.steps.len());
    html! {
        section id="conflict" {
            h2 { "Agreement of tasks" }
            p { (CAUTION) }
            @for pair in &found.pairs { (map_of_pair(pair, &found.steps, &shown)) }
            @if !found.joint.is_empty() { (map_of_joint(found, &shown)) }
        }
    }
}

/// Places of the points that are shown, evenly spaced from the first to the last.
fn shown(count: usize) -> Vec<usize> {
    let most = count.min(MOST);
    (0..most).map(|at| at * (count - 1) / (most - 1).max(1)).collect()
}

fn map_of_pair(pair: &PairConflict, steps: &[u64], shown: &[usize]) -> Markup {
    let (a, b) = (plain(&pair.tasks.0), plain(&pair.tasks.1));
    // The output above the input, as in the plot of freezing.
    let rows: Vec<_> = pair.groups.iter().rev().collect();
    map(&format!("{a} and {b}: cosine of their gradients"), &rows, steps, shown)
}

fn map_of_joint(found: &ConflictReport, shown: &[usize]) -> Markup {
    let rows: Vec<_> = found.joint.iter().collect();
    map("Each task and the joint step: cosine of their gradients", &rows, &found.steps, shown)
}

/// - `rows`: a name, and a cosine for each step
/// - `shown`: places of the steps that have a column
fn map(
    title: &str,
    rows: &[&(String, Vec<Option<f64>>)],
    steps: &[u64],
    shown: &[usize],
) -> Markup {
    let matrix = html! {
        div.scroll.heat role="region" aria-label=(title) tabindex="0" {
            table {
                thead {
                    tr {
                        td {}
                        @for at in shown { th scope="col" { "step " (grouped(steps[*at])) } }
                    }
                }
                tbody {
                    @for (row, cosines) in rows {
                        tr {
                            th scope="row" { (name(&plain(row))) }
                            @for at in shown { (shaded(row, steps[*at], cosines.get(*at).copied().flatten())) }
                        }
                    }
                }
            }
        }
    };
    let keys = [Key::area(Ink::Series(0), "agree"), Key::area(Ink::Series(1), "conflict")];
    framed(title, &keys, matrix)
}

/// A cosine, the darker the further from 0.
fn shaded(row: &str, step: u64, cosine: Option<f64>) -> Markup {
    let Some(cosine) = cosine.filter(|cosine| cosine.is_finite()) else { return html! { td {} } };
    // The number is rounded as the cell shows it, and -0 becomes 0.
    let cosine = (100.0 * cosine.clamp(-1.0, 1.0)).round() / 100.0 + 0.0;
    let text = format!("{cosine:.2}");
    let title = format!("{}, step {}: {text}", plain(row), grouped(step));
    let shade = (cosine.abs() * SHADES).ceil().clamp(1.0, SHADES);
    let class = format!("{}{shade}", if cosine < 0.0 { 'w' } else { 'r' });
    html! { td class=(class) title=(title) { (text) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_points_are_all_shown_and_many_from_the_first_to_the_last() {
        assert_eq!(shown(1), [0]);
        assert_eq!(shown(3), [0, 1, 2]);
        let many = shown(1_000);
        assert_eq!((many.len(), many[0], many[MOST - 1]), (MOST, 0, 999));
        assert!(many.is_sorted_by(|a, b| a < b));
    }
}
