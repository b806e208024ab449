//! `polyhead quantize`: stores a model with 8-bit weights and shows the loss of accuracy.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use polyhead_model::{
    CosineStats, ModelFolder, PrecisionStudy, Product, check_floating, store_int8,
};
use serde::Serialize;

use crate::failure::usage;
use crate::flags::{FirstModelArgs, SampleArgs};
use crate::output::print_report;
use crate::table::Table;

const HELP: &str = "\
The new folder has a quarter of the size, and every command reads it. Storing in
8 bits does not mean computing in 8 bits: that is --precision int8, with either
folder.

The vectors of some texts are compared with those in single precision. While their
mean cosine is below --min-cosine, the matrix product that loses most is kept in
single precision. The result names these products.

Examples:
  polyhead quantize my-model/ -o my-model-int8/
  polyhead quantize runs/a -o runs/a-int8 --report -i texts.txt
  polyhead encode -m my-model-int8/ --precision int8 \"Good morning\"";

/// Largest number of texts for the comparison.
const MOST_TEXTS: usize = 1000;

/// Store a model with 8-bit weights
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct QuantizeArgs {
    /// New folder for the 8-bit model
    #[arg(short, long, alias = "output", value_name = "DIR", help_heading = "Output")]
    out: PathBuf,

    /// Show for each matrix product what it costs by itself
    #[arg(long, help_heading = "Output")]
    report: bool,

    /// Print JSON
    #[arg(long, help_heading = "Output")]
    json: bool,

    /// Lowest mean cosine to the vectors in single precision
    #[arg(long, value_name = "COSINE", default_value_t = 0.995, value_parser = cosine)]
    min_cosine: f64,

    #[command(flatten)]
    samples: SampleArgs,

    #[command(flatten)]
    model: FirstModelArgs,
}

fn cosine(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

/// The report that `quantize --json` prints.
#[derive(Serialize)]
struct QuantizeReport {
    model: String,
    out: PathBuf,
    texts: usize,
    texts_from: String,
    /// Cosines with all products in 8 bits, before the folder is written.
    all: CosineStats,
    /// Cosines of the new folder after it was written.
    stored: CosineStats,
    /// Names of the products that are kept in single precision.
    kept: Vec<String>,
    /// Cosines with each product alone in 8 bits; empty unless measured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    products: Vec<ProductLine>,
    bytes: u64,
    bytes_before: Option<u64>,
}

#[derive(Serialize)]
struct ProductLine {
    layer: usize,
    product: &'static str,
    #[serde(flatten)]
    cosines: CosineStats,
    kept: bool,
}

/// Measures, chooses the products, writes the folder, and measures the result.
pub(crate) fn run(args: QuantizeArgs) -> Result<()> {
    if args.out.symlink_metadata().is_ok() {
        let out = args.out.display();
        return Err(usage(format!("{out}: exists already; choose a new folder with --out")));
    }
    let model = args.model.one()?;
    if model.load.precision.is_some() {
        return Err(usage("--precision: quantize always compares both; leave the flag out"));
    }
    let (folder, path) = model.open()?;
    // Checked before time is spent on the comparison.
    check_floating(&folder)?;
    let (texts, texts_from) = args.samples.texts(MOST_TEXTS, |sentences| sentences)?;
    let options = model.load.options();
    let study = PrecisionStudy::new(&folder, &texts, &options)?;
    let products = Product::all(&folder.config);
    let all = study.with_products(&products)?;

    // Cosines with each product alone in 8 bits, where they are needed.
    let mut alone = Vec::new();
    if args.report || all.mean < args.min_cosine {
        for product in products {
            alone.push((product, study.with_products(&[product])?));
        }
    }
    let kept = choose(&study, &alone, all, args.min_cosine)?;
    store_int8(&folder, &kept, &args.out)?;
    let stored = study.with_folder(&ModelFolder::open(&args.out)?)?;

    let report = QuantizeReport {
        model: model.name().to_owned(),
        texts: texts.len(),
        texts_from,
        all,
        stored,
        kept: kept.iter().map(Product::to_string).collect(),
        products: alone
            .iter()
            .map(|(product, likeness)| ProductLine {
                layer: product.layer,
                product: product.role.name(),
                cosines: *likeness,
                kept: kept.contains(product),
            })
            .collect(),
        bytes: size(&args.out),
        bytes_before: path.as_deref().map(size),
        out: args.out,
    };
    print_report(args.json, &report, |out, report| write(out, report))
}

/// Chooses the products to keep in single precision: as few as possible, the costliest first.
fn choose(
    study: &PrecisionStudy,
    alone: &[(Product, CosineStats)],
    all: CosineStats,
    least: f64,
) -> Result<Vec<Product>> {
    let mut by_cost = alone.to_vec();
    by_cost.sort_by(|(_, a), (_, b)| a.mean.total_cmp(&b.mean));
    let mut rest = by_cost.iter().map(|(product, _)| *product);
    let (mut kept, mut now) = (Vec::new(), all);
    while now.mean < least {
        let Some(worst) = rest.next() else { break };
        kept.push(worst);
        let others: Vec<Product> = rest.clone().collect();
        now = study.with_products(&others)?;
    }
    kept.sort();
    Ok(kept)
}

/// Bytes of all files of a folder; a folder that cannot be read counts as 0.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let of = |entry: std::fs::DirEntry| match std::fs::metadata(entry.path()) {
        Ok(data) if data.is_dir() => size(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}

fn write(out: &mut impl Write, report: &QuantizeReport) -> io::Result<()> {
    if !report.products.is_empty() {
        let mut table = Table::new("rlrrl");
        table.row(["layer", "alone in 8 bits", "mean cosine", "worst", ""]);
        for ProductLine { layer, product, cosines, kept } in &report.products {
            let kept = if *kept { "kept in single precision" } else { "" };
            let (mean, worst) = (format!("{:.5}", cosines.mean), format!("{:.5}", cosines.worst));
            table.row([&layer.to_string(), *product, &mean, &worst, kept]);
        }
        table.write(out, 0)?;
        writeln!(out)?;
    }
    let mut facts = Table::new("ll");
    let cosines = |CosineStats { mean, worst }: CosineStats| {
        format!("mean cosine {mean:.5}, worst {worst:.5}")
    };
    facts.row(["texts", &format!("{} {}", report.texts, report.texts_from)]);
    facts.row(["all in 8 bits", &cosines(report.all)]);
    if !report.kept.is_empty() {
        facts.row(["kept", &report.kept.join("; ")]);
    }
    facts.row(["as stored", &cosines(report.stored)]);
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let before = report.bytes_before.map(|bytes| format!(", was {}", megabytes(bytes)));
    let size = format!("{}{}", megabytes(report.bytes), before.unwrap_or_default());
    facts.row(["size", &size]);
    facts.row(["model", &report.out.display().to_string()]);
    facts.write(out, 0)
}
