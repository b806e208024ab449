//! The whole page: complete, well formed, and harmless for any record.

use std::collections::HashSet;

use polyhead_report::{draw_page, draw_transfer_page, write_page, write_transfer_page};
use polyhead_train::{
    CombinationResult, ConflictReport, Curves, DevPoint, Gain, JudgedTask, OrdinalCounter,
    PairConflict, Part, RunReport, SpanScores, TaskInCombination, TaskMetrics, TrainPoint,
    TransferReport,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Number of colours of the palette.
const SERIES: usize = 8;
/// Most points of a drawn curve.
const MOST_POINTS: usize = 500;

/// The record of a real run, of the configuration beside it.
fn sample() -> RunReport {
    let json = include_str!("../../../testdata/report/report.json");
    serde_json::from_str(json).expect("a record of this version")
}

#[test]
fn the_same_record_gives_the_same_bytes_also_after_storing() {
    let report = sample();
    let page = draw_page(&report);
    assert!(page == draw_page(&sample()), "drawn twice, two pages");
    let json = serde_json::to_string(&report).expect("plain structures are JSON");
    let back: RunReport = serde_json::from_str(&json).expect("what was written can be read");
    assert!(draw_page(&back) == page, "drawn from what was stored, another page");
}

#[test]
fn every_section_is_there() {
    let page = draw_page(&sample());
    let tags = well_formed(&page);
    assert_eq!(tags.ids.len(), 10, "{:?}", tags.ids);
    for id in ["curves", "task-1", "task-5", "freezing", "time", "data", "configuration"] {
        assert!(tags.ids.contains(id), "section {id}");
    }
    for words in [
        "sample",
        "step 30 of 30",
        "avx512",
        "419.7 MB",
        "Loss, weighted sum over tasks",
        "Loss of caps",
        "Main metric on dev",
        "Learning rates (logarithmic)",
        "Gradient norm before clipping",
        "Confusion on test",
        "Most confused on test: 4 of 4 pairs",
        "The weakest on test",
        "All 26 on test",
        "Right answers by confidence",
        "threshold",
        "Predicted (vertical) against true numbers, 31 rows of test",
        "Each type of span on test",
        "Worst mistakes: confident and wrong",
        "Largest errors",
        "frozen parameters unchanged: 37 tensors",
        "Dev vectors: cosine to those of the starting model",
        "Saved by freezing",
        "Where the time went",
        "Problems found",
        "2 texts stand in train and test",
        "Lengths of texts",
        "Labels of marks",
        "The other 6 labels",
        "The resolved config.toml",
    ] {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn tagging_shows_its_score_on_raw_text() {
    let row = "span F1 on raw text";
    let mut report = sample();
    assert!(!draw_page(&report).contains(row));
    let caps = report.tasks.last_mut().expect("five tasks");
    let Some(TaskMetrics::Tokens(dev)) = &mut caps.dev else { panic!("caps tags words") };
    dev.raw_text = Some(SpanScores { precision: 0.25, recall: 0.75, f1: 0.375 });
    let page = draw_page(&report);
    let (_, after) = page.split_once(row).expect("a row of the scores");
    let (cells, _) = after.split_once("</tr>").expect("its end");
    assert!(cells.contains("37.5"), "{cells}");
}

#[test]
fn gradients_of_tasks_are_a_map_of_layers_and_steps() {
    let mut report = sample();
    assert!(!draw_page(&report).contains("Agreement of tasks"));
    let steps: Vec<u64> = (1..=60).map(|point| 50 * point).collect();
    let layer = |cosine: f64| vec![Some(cosine); 60];
    // The second layer has fewer points than the record says.
    let groups = vec![("layers.0".to_owned(), layer(-0.5)), ("layers.1".to_owned(), vec![None; 2])];
    let pair = PairConflict { tasks: ("topic".to_owned(), "<b>".to_owned()), groups };
    let joint = vec![("topic".to_owned(), layer(0.75))];
    report.conflict = Some(ConflictReport { steps, pairs: vec![pair], joint });
    let page = draw_page(&report);
    let tags = well_formed(&page);
    assert!(tags.ids.contains("conflict") && page.contains("href=\"#conflict\""));
    for words in ["topic and &lt;b&gt;: cosine", "layers.0, step 3,000: -0.50", "\"r6\"", "\"w4\""]
    {
        assert!(page.contains(words), "{words}");
    }
    // First and last step, and no more columns than can be read.
    let (_, map) = page.split_once("topic and &lt;b&gt;: cosine").expect("the map");
    assert_eq!(map.split_once("</thead>").expect("its head").0.matches("<th scope").count(), 24);
}

#[test]
fn labels_with_an_order_have_a_confusion_matrix() {
    let page_of = |labels: usize| {
        let names: Vec<String> = (1..=labels).map(|label| format!("grade {label}")).collect();
        let mut counter = OrdinalCounter::new(&names);
        // The last label is taken for the first, three times of four.
        for (given, count) in [(0, 3), (labels - 1, 1)] {
            (0..count).for_each(|_| counter.add(given as u32, labels as u32 - 1));
        }
        (0..labels as u32).for_each(|label| counter.add(label, label));
        let mut report = sample();
        report.tasks.truncate(1);
        (report.tasks[0].dev, report.tasks[0].test) =
            (counter.finish().map(TaskMetrics::Ordinal), None);
        let page = draw_page(&report);
        well_formed(&page);
        page
    };
    let page = page_of(5);
    assert!(page.contains("Confusion on dev: true labels in rows"), "no matrix");
    assert!(page.contains("grade 5 → grade 1: 3 (60.0%)"), "{page}");
    assert!(!page.contains("Most confused"));
    assert!(page_of(25).contains("Most confused on dev: 1 of 1 pair"));
    // Records of more than 500 labels have no matrix.
    assert!(!page_of(501).contains("Confusion"));
}

#[test]
fn the_page_stands_alone_and_runs_nothing() {
    let page = draw_page(&sample());
    let tags = well_formed(&page);
    for name in ["script", "link", "img", "iframe", "object", "use", "image", "foreignObject"] {
        assert!(!tags.names.contains(name), "<{name}>");
    }
    for (name, value) in &tags.attributes {
        assert!(!name.starts_with("on") && name != "src", "{name}={value}");
        assert!(
            name != "href" || value.starts_with('#') && tags.ids.contains(&value[1..]),
            "{value}"
        );
        assert!(!value.contains("url("), "{name}={value}");
    }
    assert!(!page.contains("@import") && !page.contains("url("));
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn every_plot_says_in_words_what_it_shows() {
    let page = draw_page(&sample());
    let plots: Vec<&str> = page.split("<svg ").skip(1).collect();
    assert!(plots.len() > 20, "{} plots", plots.len());
    for plot in plots {
        let head = &plot[..plot.find('>').expect("a tag ends")];
        assert!(head.contains("role=\"img\""), "{head}");
        let (_, label) = head.split_once("aria-label=\"").expect("every plot has a label");
        assert!(label.len() > 20, "{head}");
    }
    // Every colour follows the theme.
    assert!(!page.contains("=\"#0"), "a colour of the canvas is left");
}

#[test]
fn nothing_gives_a_page_too() {
    let page = draw_page(&RunReport::default());
    let tags = well_formed(&page);
    assert!(page.contains("Nothing was trained"), "{page}");
    assert!(tags.ids.is_empty(), "{:?}", tags.ids);

    // A network that is frozen as a whole: metrics, and no steps.
    let mut frozen = sample();
    (frozen.steps, frozen.planned_steps, frozen.best_step) = (0, 0, 0);
    frozen.curves = Curves::default();
    frozen.schedule.clear();
    frozen.cosines = None;
    frozen.groups.iter_mut().for_each(|group| group.trained.clear());
    let page = draw_page(&frozen);
    let tags = well_formed(&page);
    assert!(!tags.ids.contains("curves") && tags.ids.contains("freezing"));
    assert!(page.contains("never") && !page.contains("NaN"));

    // Tasks without metrics.
    let mut bare = sample();
    for task in &mut bare.tasks {
        (task.before, task.dev, task.test, task.calibration) = (None, None, None, None);
        task.scatter.clear();
        task.mistakes.clear();
    }
    bare.curves.dev.clear();
    let page = draw_page(&bare);
    well_formed(&page);
    assert!(page.contains("not measured"));
}

const HOSTILE: &str = "</script><script>alert(1)</script>\" onload='x' --> ]]> <svg/onload=1>\u{202e}\
                       \u{2066}&lt;\0\u{1b} שלום 👩‍👩‍👧 ز\u{300}\u{301}\u{302} =\"#000010\" var(--s1) {{}}\r\n";

#[test]
fn no_text_can_break_the_page() {
    let shape = well_formed(&draw_page(&sample()));
    for text in
        [HOSTILE.to_owned(), HOSTILE.repeat(200), String::new(), " ".to_owned(), "x".repeat(10_000)]
    {
        let page = draw_page(&changed(&sample(), &|_| text.clone(), &|number| number));
        let tags = well_formed(&page);
        assert!(!tags.names.contains("script"));
        assert!(tags.names.is_subset(&shape.names), "{:?}", tags.names.difference(&shape.names));
        assert!(tags.attributes.iter().all(|(name, _)| !name.starts_with("on")));
        assert!(!page.contains('\u{0}') && !page.contains('\u{1b}'));
        assert!(page.len() < 3_000_000, "{} bytes", page.len());
    }
}

#[test]
fn no_number_can_break_the_page() {
    for whole in [0, 1, u64::MAX / 2 + 1, u64::MAX] {
        for number in [0.0, -1.0, 1e308, -1e308, 5e-324] {
            let change = |old: Value| match old.is_u64() {
                true => Value::from(whole),
                false => Value::from(number),
            };
            let page = draw_page(&changed(&sample(), &str::to_owned, &change));
            well_formed(&page);
            for odd in ["NaN", ">inf", "-inf", "(inf", " inf", "−inf"] {
                let near =
                    page.find(odd).map(|at| page[..at].chars().rev().take(80).collect::<String>());
                assert_eq!(near, None, "{odd} with {whole} and {number:e}, read backwards");
            }
        }
    }
}

#[test]
fn numbers_that_are_not_finite_are_dashes() {
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut report = sample();
        report.seconds = Some(odd);
        report.best_score = Some(odd);
        report.groups[0].learning_rate = Some(odd);
        report.groups[5].learning_rate = Some(odd);
        report.times[0].seconds = odd;
        report.tasks[3].scatter[0] = (odd, 1.0);
        report.curves.train[5].loss = Some(odd);
        report.curves.train[6].gradient_norm = Some(odd);
        report.schedule[1].multiplier = odd;
        let page = draw_page(&report);
        well_formed(&page);
        assert!(!page.contains("NaN") && !page.contains("inf\"") && !page.contains(">inf"));
        assert!(page.contains("<dd><bdi>–</bdi></dd>"));
        let json = serde_json::to_string(&report.curves).expect("plain structures are JSON");
        let back: Curves = serde_json::from_str(&json).expect("null is no number");
        assert_eq!(back.train[5].loss, None);
    }
}

#[test]
fn a_long_run_gives_a_short_page() {
    let mut report = sample();
    let steps = 100_000;
    (report.steps, report.planned_steps, report.best_step) = (steps, steps, steps);
    let loss = |step: u64| Some(1.0 + (step as f64 * 0.7).sin());
    report.curves.train = (1..=steps)
        .map(|step| TrainPoint {
            step,
            loss: loss(step),
            tasks: vec![loss(step); 5],
            gradient_norm: loss(step),
        })
        .collect();
    let scores = report.curves.dev[0].tasks.clone();
    report.curves.dev =
        (1..=steps).map(|step| DevPoint { step, tasks: scores.clone(), score: None }).collect();
    report.tasks[3].scatter = (0..steps).map(|row| (row as f64, row as f64)).collect();
    let page = draw_page(&report);
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    for (_, points) in well_formed(&page).attributes.iter().filter(|(name, _)| name == "points") {
        assert!(
            points.split(' ').count() <= MOST_POINTS,
            "a curve of {} points",
            points.split(' ').count()
        );
    }
}

/// WCAG requires a contrast of 4.5 for text and of 3 for the parts of a plot.
#[test]
fn colours_can_be_seen_in_both_themes() {
    let style = include_str!("../src/page.css");
    let (light, dark) = style.split_once("@media screen").expect("two themes");
    for (theme, block) in [("light", light), ("dark", &dark[..dark.find("}\n}").expect("ends")])] {
        let colour = |name: &str| -> [f64; 3] {
            let (_, value) = block.split_once(&format!("{name}: ")).expect(name);
            let value = &value[..value.find(';').expect("ends")];
            match value.strip_prefix('#') {
                Some(hex) => [0, 2, 4]
                    .map(|at| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))),
                None => {
                    let parts: Vec<f64> =
                        value.split(", ").map(|part| part.parse().expect("number")).collect();
                    [parts[0], parts[1], parts[2]]
                }
            }
        };
        let check = |name: &str, a: [f64; 3], b: [f64; 3], least: f64| {
            let ratio = contrast(a, b);
            assert!(ratio >= least, "{theme}: {name} has {ratio:.2}, expected {least}");
        };
        for text in ["--text", "--soft", "--link", "--label", "--right-word", "--wrong-word"] {
            check(text, colour(text), colour("--card"), 4.5);
            check(text, colour(text), colour("--page"), 4.5);
        }
        for index in 1..=SERIES {
            let name = format!("--s{index}");
            check(&name, colour(&name), colour("--card"), 3.0);
        }
        check("--rule", colour("--rule"), colour("--card"), 3.0);
        check("band", colour("--s1"), colour("--rest"), 3.0);
        check("band", colour("--s2"), colour("--rest"), 3.0);
        for shade in ["right", "wrong"] {
            let full = colour(&format!("--{shade}"));
            check(shade, colour("--on-shade"), full, 4.5);
            let marker = format!("rgba(var(--{shade}), ");
            let alphas: Vec<f64> = style
                .split(marker.as_str())
                .skip(1)
                .map(|rest| rest[..rest.find(')').expect("ends")].parse().expect("number"))
                .collect();
            assert_eq!(alphas.len(), 6, "five shades and a mark");
            for alpha in alphas {
                let card = colour("--card");
                let blend = [0, 1, 2].map(|i| alpha * full[i] + (1.0 - alpha) * card[i]);
                check(&format!("text on {shade} {alpha}"), colour("--text"), blend, 4.5);
            }
        }
    }
}

fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
    let luminance = |colour: [f64; 3]| {
        let linear = colour.map(|part| {
            let part = part / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    };
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// The record with other texts and numbers, as far as its types allow. Main metrics stay, so that what
/// depends on them is drawn.
fn changed(
    report: &RunReport,
    text: &dyn Fn(&str) -> String,
    number: &dyn Fn(Value) -> Value,
) -> RunReport {
    let mut changed = with_changes(report, text, number);
    for (task, old) in changed.tasks.iter_mut().zip(&report.tasks) {
        task.main_metric.clone_from(&old.main_metric);
    }
    changed
}

/// Any record with other texts and numbers.
fn with_changes<T: Serialize + DeserializeOwned>(
    record: &T,
    text: &dyn Fn(&str) -> String,
    number: &dyn Fn(Value) -> Value,
) -> T {
    fn walk(value: &mut Value, text: &dyn Fn(&str) -> String, number: &dyn Fn(Value) -> Value) {
        match value {
            // A word of the format, not a user's.
            Value::String(old) if ["train", "dev", "test"].contains(&old.as_str()) => {}
            Value::String(old) => *old = text(old),
            Value::Number(_) => *value = number(value.take()),
            Value::Array(all) => all.iter_mut().for_each(|value| walk(value, text, number)),
            Value::Object(all) => all.values_mut().for_each(|value| walk(value, text, number)),
            Value::Null | Value::Bool(_) => {}
        }
    }
    let mut value = serde_json::to_value(record).expect("plain structures are JSON");
    walk(&mut value, text, number);
    serde_json::from_value(value).expect("the same types")
}

/// The tags and attributes of a page.
struct Tags {
    names: HashSet<String>,
    attributes: Vec<(String, String)>,
    ids: HashSet<String>,
}

/// Reads a page strictly: every tag closes where it should, every attribute is
/// quoted and stands once, every `&` begins an entity that we write, ids are unique.
fn well_formed(page: &str) -> Tags {
    let mut tags = Tags { names: HashSet::new(), attributes: Vec::new(), ids: HashSet::new() };
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").expect("a doctype first");
    while let Some(at) = rest.find('<') {
        check_text(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(closing) = rest.strip_prefix('/') {
            let end = closing.find('>').expect("a tag ends");
            assert_eq!(open.pop(), Some(&closing[..end]), "closes what was opened");
            rest = &closing[end + 1..];
            continue;
        }
        let name_end = rest.find(|c: char| !c.is_ascii_alphanumeric()).expect("a tag ends");
        let name = &rest[..name_end];
        assert!(
            !name.is_empty(),
            "a stray `<` before {:?}",
            rest.chars().take(40).collect::<String>()
        );
        rest = &rest[name_end..];
        let mut seen = HashSet::new();
        while let Some(attribute) = rest.strip_prefix(' ') {
            let (key, after) = attribute.split_once("=\"").expect("attributes are quoted");
            let end = after.find('"').expect("a value ends");
            let value = &after[..end];
            assert!(
                key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
                "attribute {key:?}"
            );
            assert!(!value.contains('<') && seen.insert(key), "attribute {key} of {name}: {value}");
            check_text(value);
            if key == "id" {
                assert!(tags.ids.insert(value.to_owned()), "id {value} twice");
            }
            tags.attributes.push((key.to_owned(), value.to_owned()));
            rest = &after[end + 1..];
        }
        tags.names.insert(name.to_owned());
        if let Some(after) = rest.strip_prefix("/>") {
            assert!(open.contains(&"svg"), "only SVG closes tags by themselves: {name}");
            rest = after;
        } else {
            rest = rest.strip_prefix('>').expect("a tag ends after its attributes");
            if name == "style" {
                let end = rest.find("</style>").expect("style ends");
                rest = &rest[end..];
                open.push(name);
            } else if name != "meta" {
                open.push(name);
            }
        }
    }
    assert!(open.is_empty(), "still open: {open:?}");
    tags
}

fn check_text(text: &str) {
    for after in text.split('&').skip(1) {
        let known = ["amp;", "lt;", "gt;", "quot;", "apos;", "#39;"];
        assert!(known.iter().any(|entity| after.starts_with(entity)), "a stray `&`: {after:?}");
    }
}

#[test]
fn the_page_is_written_into_the_folder_of_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = write_page(folder.path()).expect_err("no record");
    assert!(error.to_string().contains("report.json"), "{error}");
    std::fs::write(folder.path().join("report.json"), "{").expect("a file");
    assert!(write_page(folder.path()).is_err());
    let json = serde_json::to_vec(&sample()).expect("plain structures are JSON");
    std::fs::write(folder.path().join("report.json"), json).expect("a file");
    let page = write_page(folder.path()).expect("a page");
    assert_eq!(page, folder.path().join("report.html"));
    assert!(std::fs::read_to_string(page).expect("a file") == draw_page(&sample()));
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 2);
}

/// Two tasks alone and together; `mood` loses for certain.
fn comparison() -> TransferReport {
    let task = |name: &str, metric: &str, part| JudgedTask {
        name: name.to_owned(),
        metric: metric.to_owned(),
        part,
        rows: 500,
    };
    let one = |task, values: [f64; 3], interval: Option<(f64, f64)>| TaskInCombination {
        task,
        values: values.map(Some).to_vec(),
        epochs: 2.96,
        gain: interval.map(|interval| Gain {
            mean: (interval.0 + interval.1) / 2.0,
            interval: Some(interval),
            seeds: values.map(|value| value - 0.9).to_vec(),
        }),
    };
    let combination = |name: &str, tasks| CombinationResult {
        runs: (0..3).map(|seed| format!("runs/{name}-seed-{seed}")).collect(),
        steps: 120.0,
        seconds: Some(61.0),
        tasks,
    };
    TransferReport {
        model: "builtin".to_owned(),
        seeds: vec![0, 1, 2],
        resamples: 2000,
        tasks: vec![task("topic", "accuracy", Part::Test), task("mood", "mae", Part::Dev)],
        combinations: vec![
            combination("alone-topic", vec![one(0, [0.9; 3], None)]),
            combination("alone-mood", vec![one(1, [0.9; 3], None)]),
            combination(
                "together",
                vec![
                    one(0, [0.91, 0.9, 0.92], Some((-0.01, 0.03))),
                    one(1, [0.7, 0.8, 0.6], Some((-0.3, -0.1))),
                ],
            ),
        ],
    }
}

#[test]
fn a_comparison_shows_gains_and_warns_of_losses() {
    let page = draw_transfer_page(&comparison());
    let tags = well_formed(&page);
    for id in ["gains", "task-1", "task-2", "cost"] {
        assert!(tags.ids.contains(id), "{id}");
    }
    for text in [
        "mood loses for certain all together: −0.200",
        "Dev also chose the best step of each run",
        "<td class=\"r1\" title=\"topic, all together: +1.0\">+1.0</td>",
        "<td class=\"w6\" title=\"mood, all together: −0.200\">−0.200</td>",
        "−1.0 to +3.0",
        "accuracy on 500 rows of test",
        "href=\"runs/together-seed-2/report.html\"",
        "takes 2 min 2 s in all",
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
}

#[test]
fn no_comparison_can_break_its_page() {
    let shape = well_formed(&draw_transfer_page(&comparison()));
    for text in [HOSTILE.to_owned(), String::new(), "x".repeat(10_000)] {
        let page =
            draw_transfer_page(&with_changes(&comparison(), &|_| text.clone(), &|number| number));
        let tags = well_formed(&page);
        assert!(tags.names.is_subset(&shape.names) && !page.contains('\u{0}'));
    }
    for whole in [0, 7, u64::MAX] {
        for number in [0.0, 1e308, -1e308] {
            let change = |old: Value| match old.is_u64() {
                true => Value::from(whole),
                false => Value::from(number),
            };
            let page = draw_transfer_page(&with_changes(&comparison(), &str::to_owned, &change));
            well_formed(&page);
            assert!(!page.contains("NaN") && !page.contains(">inf"), "{whole} {number}");
        }
    }
    well_formed(&draw_transfer_page(&TransferReport { combinations: vec![], ..comparison() }));
    well_formed(&draw_transfer_page(&TransferReport { tasks: vec![], ..comparison() }));
}

#[test]
fn the_page_of_a_comparison_is_written_into_its_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = write_transfer_page(folder.path()).expect_err("no record");
    assert!(error.to_string().contains("transfer.json"), "{error}");
    let json = serde_json::to_vec(&comparison()).expect("plain structures are JSON");
    std::fs::write(folder.path().join("transfer.json"), json).expect("a file");
    let page = write_transfer_page(folder.path()).expect("a page");
    assert!(std::fs::read_to_string(page).expect("a file") == draw_transfer_page(&comparison()));
}
