//! The page of a comparison: what tasks gain or lose when they are trained together.

use maud::{Markup, html};
use polyhead_train::{
    CombinationResult, Gain, JudgedTask, Part, TaskInCombination, TransferReport, Verdict,
};

use crate::number::{change, counted, duration, grouped, metric_name, number, score};
use crate::page::{document, task_id};
use crate::parts::{Key, cell, details, figure, framed, list, table, task_dot};
use crate::plot::{Axis, Chart, Ink, Layer};
use crate::text::{name, plain};

/// Pixels of a plot for each combination.
const ROW: u32 = 34;

/// A caution about what the intervals say.
const CAUTION: &str = "A gain is the difference to the task alone, the mean over the seeds; positive is better. Its 95 % \
     interval is over draws of the rows that judge, which are the same for all runs. A loss or a gain is called certain \
     if the interval does not reach 0 and three seeds or more agree. One in twenty gains that are none has such an interval \
     by chance, and more where seeds differ much.";

/// A caution for tasks that are judged on dev.
const CHOSEN: &str = "Dev also chose the best step of each run: of the task alone by this task only, so that it is flattered \
     more. Rows in test judge without that.";

/// Draws the page of a comparison. The same record gives the same bytes.
pub fn draw_transfer_page(report: &TransferReport) -> String {
    let body = html! {
        (overview(report))
        main {
            (map(report))
            @for (index, task) in report.tasks.iter().enumerate() { (task_section(report, index, task)) }
            (cost(report))
        }
    };
    document("Tasks alone and together", &body)
}

fn overview(report: &TransferReport) -> Markup {
    let runs = report.combinations.iter().map(|combination| combination.runs.len() as u64).sum();
    let certain = |verdict: Verdict| -> Vec<String> {
        let tasks = report.tasks.iter().enumerate();
        let gains = tasks.flat_map(|(index, task)| {
            let results = report.of_task(index);
            results.filter_map(move |(combination, one)| {
                let gain = one.gain.as_ref().filter(|gain| gain.verdict() == verdict)?;
                let beside = report.partners(combination, index);
                let gain = change(&task.metric, Some(0.0), Some(gain.mean))?;
                let what = if verdict == Verdict::Loses { "loses" } else { "gains" };
                Some(format!("{} {what} for certain {beside}: {gain}", task.name))
            })
        });
        gains.collect()
    };
    html! {
        header {
            p.over { "Comparison" }
            h1 { "Tasks alone and together" }
            p.lead {
                (counted(report.tasks.len() as u64, "task", "tasks")) " on " (name(&report.model)) ", "
                (counted(runs, "run", "runs")) " with "
                (counted(report.seeds.len() as u64, "seed", "seeds")) "."
            }
            (list(Some("notes warnings"), &certain(Verdict::Loses)))
            (list(Some("notes"), &certain(Verdict::Gains)))
            p { (CAUTION) }
            @if report.tasks.iter().any(|task| task.part == Part::Dev) { p { (CHOSEN) } }
        }
    }
}

/// The gain of each task in each combination.
fn map(report: &TransferReport) -> Markup {
    let together: Vec<&CombinationResult> =
        report.combinations.iter().filter(|combination| combination.tasks.len() > 1).collect();
    let matrix = html! {
        div.scroll.heat role="region" aria-label="Gains" tabindex="0" {
            table {
                thead {
                    tr {
                        td {}
                        @for combination in &together {
                            th scope="col" { (name(&report.title(combination))) }
                        }
                    }
                }
                tbody {
                    @for (index, task) in report.tasks.iter().enumerate() {
                        tr {
                            th scope="row" { (name(&task.name)) }
                            @for combination in &together { (gain_cell(report, combination, index)) }
                        }
                    }
                }
            }
        }
    };
    let keys =
        [Key::area(Ink::Series(0), "gains"), Key::area(Ink::Series(1), "loses; dark: for certain")];
    html! {
        section id="gains" {
            h2 { "Who gains beside whom" }
            (framed("Gain of each task to the task alone", &keys, matrix))
        }
    }
}

/// A gain: dark if it is certain, pale if it is open, without colour if it is none.
fn gain_cell(report: &TransferReport, combination: &CombinationResult, task: usize) -> Markup {
    let one = combination.tasks.iter().find(|one| one.task == task);
    let Some(gain) = one.and_then(|one| one.gain.as_ref()) else { return html! { td {} } };
    let JudgedTask { name, metric, .. } = &report.tasks[task];
    let text = gain_text(metric, gain.mean);
    let title = format!("{name}, {}: {text}", report.title(combination));
    let class = match (gain.verdict(), gain.mean) {
        (Verdict::Gains, _) => "r6",
        (Verdict::Loses, _) => "w6",
        (Verdict::Open, mean) if mean > 0.0 => "r1",
        (Verdict::Open, mean) if mean < 0.0 => "w1",
        (Verdict::Open, _) => "",
    };
    html! { td class=(class) title=(plain(&title)) { (text) } }
}

/// A difference in the unit of the metric.
fn gain_text(metric: &str, gain: f64) -> String {
    let text = change(metric, Some(0.0), Some(gain));
    text.map_or_else(|| number(None), |text| text.replace(" points", ""))
}

fn task_section(report: &TransferReport, index: usize, task: &JudgedTask) -> Markup {
    let results: Vec<(&CombinationResult, &TaskInCombination)> = report.of_task(index).collect();
    let rows: Vec<Vec<Markup>> = results
        .iter()
        .map(|(combination, one)| table_row(report, combination, one, task))
        .collect();
    let heading = format!(
        "{} on {} of {}",
        metric_name(&task.metric),
        counted(task.rows as u64, "row", "rows"),
        task.part
    );
    let columns = "trained|#score|#gain|#95 % interval|#by seed|#epochs|runs";
    html! {
        section id=(task_id(index)) {
            h2 { (task_dot(index)) (name(&task.name)) }
            (intervals(report, index, task, &results))
            (table(&heading, columns, &rows))
        }
    }
}

fn table_row(
    report: &TransferReport,
    combination: &CombinationResult,
    one: &TaskInCombination,
    task: &JudgedTask,
) -> Vec<Markup> {
    let metric = &task.metric;
    let range = |low: f64, high: f64| {
        cell(format!("{} to {}", gain_text(metric, low), gain_text(metric, high)))
    };
    let [gain, interval, seeds] = match &one.gain {
        None => [const { "" }; 3].map(cell),
        Some(Gain { mean, interval, seeds }) => [
            cell(gain_text(metric, *mean)),
            interval.map_or_else(|| cell(number(None)), |(low, high)| range(low, high)),
            range(
                seeds.iter().copied().fold(f64::INFINITY, f64::min),
                seeds.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ),
        ],
    };
    let links = combination.runs.iter().zip(&report.seeds).zip(&one.values);
    let runs = html! {
        @for ((folder, seed), found) in links {
            a href={ (folder) "/report.html" } title=(score(metric, *found)) { (seed) } " "
        }
    };
    vec![
        name(&report.partners(combination, one.task)),
        cell(score(metric, one.mean())),
        gain,
        interval,
        seeds,
        cell(format!("{:.1}", one.epochs)),
        runs,
    ]
}

/// The gains with their intervals, below each other.
fn intervals(
    report: &TransferReport,
    index: usize,
    task: &JudgedTask,
    results: &[(&CombinationResult, &TaskInCombination)],
) -> Markup {
    let gains: Vec<(String, &Gain)> = results
        .iter()
        .filter_map(|(combination, one)| {
            Some((report.partners(combination, index), one.gain.as_ref()?))
        })
        .collect();
    if gains.is_empty() {
        return html! {};
    }
    let count = gains.len();
    // The first one is on top.
    let height = |at: usize| (count - at) as f64;
    let ends = gains.iter().flat_map(|(_, gain)| gain.interval.map(|(a, b)| [a, b]));
    let values = gains.iter().flat_map(|(_, gain)| &gain.seeds).copied();
    let values = values.chain(ends.flatten()).chain([0.0]);
    let x = Axis::around(values, (f64::NEG_INFINITY, f64::INFINITY));
    let x = x
        .labelled(|at| if at == 0.0 { "0".to_owned() } else { gain_text(&task.metric, at) })
        .named("gain to the task alone");
    let mut y = Axis::new(0.4, count as f64 + 0.6, 1);
    y.ticks =
        gains.iter().enumerate().map(|(at, (title, _))| (height(at), title.clone())).collect();
    y.lines = false;
    let ink = Ink::Series(index);
    let mut layers = vec![Layer::Rule { x: 0.0, word: String::new() }];
    for (at, (_, gain)) in gains.iter().enumerate() {
        let y = height(at);
        if let Some((low, high)) = gain.interval {
            layers.push(Layer::line(vec![(low, y), (high, y)], ink, 3));
        }
        let seeds = gain.seeds.iter().map(|gain| (*gain, y - 0.22)).collect();
        layers.push(Layer::Dots { points: seeds, ink, radius: 2.5, opacity: 0.5 });
        layers.push(Layer::Dots { points: vec![(gain.mean, y)], ink, radius: 5.0, opacity: 1.0 });
    }
    let chart = Chart { width: 720, height: 64 + ROW * count as u32, x, y, layers };
    let keys = [Key::dot(ink, "mean and 95 % interval over rows, with the seeds below")];
    let alt = format!("Gains of {} in each combination, with intervals", plain(&task.name));
    figure("Gain to the task alone", &keys, &alt, &chart)
}

/// Steps and time of the runs.
fn cost(report: &TransferReport) -> Markup {
    let row = |combination: &CombinationResult| {
        vec![
            name(&report.title(combination)),
            cell(grouped(combination.steps.round() as u64)),
            cell(duration(combination.seconds)),
        ]
    };
    let rows: Vec<Vec<Markup>> = report.combinations.iter().map(row).collect();
    let alone = report.combinations.iter().filter(|combination| combination.tasks.len() == 1);
    let alone: Option<f64> = alone.map(|combination| combination.seconds).sum();
    html! {
        section id="cost" {
            h2 { "Cost" }
            p {
                "One run of each task alone takes " (duration(alone)) " in all. The first runs also compute the hidden \
                 states below a frozen boundary, which later ones take from them."
            }
            (details("Steps and time of a run", table("Mean over the seeds", "trained|#steps|#time", &rows)))
        }
    }
}
