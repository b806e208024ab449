//! The comparison of two results of `bench`.

use std::io::{self, Write};

use super::report::{BenchReport, Measured};
use crate::table::Table;

/// Writes a table of the values that both reports have, with the ratio of the second to the first.
pub(super) fn write(out: &mut impl Write, a: &BenchReport, b: &BenchReport) -> io::Result<()> {
    let mut facts = Table::new("lll");
    let fact = |name: &str, of: &dyn Fn(&BenchReport) -> String| [name.to_owned(), of(a), of(b)];
    facts.row(fact("", &|report| format!("polyhead {}", report.version)));
    facts.row(fact("model", &|report| report.model.clone()));
    facts.row(fact("machine", &BenchReport::machine));
    facts.row(fact("texts", &|r| format!("{} {}, {} tokens", r.texts, r.texts_from, r.tokens)));
    facts.write(out, 0)?;
    if (a.texts, a.tokens) != (b.texts, b.tokens) {
        writeln!(out, "note: the two results are of different texts")?;
    }
    for result in &a.results {
        let Some(other) = b.results.iter().find(|other| other.precision == result.precision) else {
            continue;
        };
        let names = |m: &Measured| match &m.kernels {
            Some(kernels) => format!("{}, {kernels}", m.precision),
            None => m.precision.clone(),
        };
        writeln!(out)?;
        let mut table = Table::new("lrrr");
        table.row(["", &names(result), &names(other), "second ÷ first"]);
        for (name, first, second) in lines(result, other) {
            table.row([
                name,
                format!("{first:.2}"),
                format!("{second:.2}"),
                format!("{:.2}", second / first),
            ]);
        }
        table.write(out, 0)?;
    }
    if let (Some(a), Some(b)) = (&a.scaling, &b.scaling) {
        a.compare(out, b)?;
    }
    Ok(())
}

/// Name and both values of each line of the table.
fn lines(a: &Measured, b: &Measured) -> Vec<(String, f64, f64)> {
    let mut lines = vec![
        ("texts a second".to_owned(), a.texts_per_second.median, b.texts_per_second.median),
        ("tokens a second".to_owned(), a.tokens_per_second.median, b.tokens_per_second.median),
        ("bare product, Gop/s".to_owned(), a.product_gops, b.product_gops),
        ("encoder, Gop/s".to_owned(), a.encoder_gops, b.encoder_gops),
        ("loaded after, ms".to_owned(), a.load_ms, b.load_ms),
        ("first vector after, ms".to_owned(), a.first_vector_ms, b.first_vector_ms),
    ];
    if let (Some(a), Some(b)) = (a.peak_memory, b.peak_memory) {
        lines.push(("peak memory, MB".to_owned(), a as f64 / 1e6, b as f64 / 1e6));
    }
    for a in &a.latency {
        if let Some(b) = b.latency.iter().find(|b| b.tokens == a.tokens) {
            lines.push((format!("{} tokens, p50 ms", a.tokens), a.p50_ms, b.p50_ms));
        }
    }
    lines
}
