//! `polyhead doctor`: checks that results are right on this machine.

use std::io::{self, Write};
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use polyhead_compute::Int8Isa;
use polyhead_model::Check;
use serde::Serialize;

use crate::flags::ModelArgs;
use crate::output::print_report;
use crate::progress::duration;
use crate::table::Table;

const HELP: &str = "\
Checks that the fast kernels agree with plain ones; that the vector of a text
has the same bits in any batch, in any order, on any number of threads; and
that the model gives its reference vectors, if its folder has some
(reference_vectors.json). The exit code is 1 if a check fails.";

/// Check that results are right on this machine
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct DoctorArgs {
    /// Print JSON
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Serialize)]
struct DoctorReport<'a> {
    version: &'a str,
    simd: &'a str,
    precision: &'a str,
    int8_products: Option<&'a str>,
    threads: usize,
    model: &'a str,
    checks: &'a [Check],
    passed: bool,
}

/// Runs all checks, even after one fails.
pub(crate) fn run(args: DoctorArgs) -> Result<()> {
    let encoder = args.model.load(None)?;
    let start = Instant::now();
    let checks = encoder.checks()?;
    let elapsed = start.elapsed();
    let broken = checks.iter().filter(|check| !check.passed).count();
    let report = DoctorReport {
        version: env!("CARGO_PKG_VERSION"),
        simd: encoder.isa().name(),
        precision: encoder.precision().name(),
        int8_products: encoder.int8_isa().map(Int8Isa::name),
        threads: encoder.threads(),
        model: args.model.name(),
        checks: &checks,
        passed: broken == 0,
    };
    print_report(args.json, &report, |out, report| {
        write(out, report)?;
        writeln!(out, "{} checks in {}", checks.len(), duration(elapsed))
    })?;
    match broken {
        0 => Ok(()),
        n => bail!("{n} of {} checks failed", checks.len()),
    }
}

fn write(out: &mut impl Write, report: &DoctorReport) -> io::Result<()> {
    let mut facts = Table::new("ll");
    facts.row(["version", report.version]);
    facts.row(["instructions", report.simd]);
    if let Some(kernels) = report.int8_products {
        facts.row(["8-bit products", kernels]);
    }
    facts.row(["threads", &report.threads.to_string()]);
    facts.row(["model", report.model]);
    facts.write(out, 0)?;
    writeln!(out)?;

    let mut table = Table::new("lll");
    for check in report.checks {
        let verdict = if check.passed { "pass" } else { "FAIL" };
        table.row([verdict, &check.name, &check.detail]);
    }
    table.write(out, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_does_not_pass_stands_out() {
        let check = |name: &str, passed, detail: &str| Check {
            name: name.into(),
            passed,
            detail: detail.into(),
        };
        let report = DoctorReport {
            version: "1.2.3",
            simd: "AVX2",
            precision: "int8",
            int8_products: Some("avx2"),
            threads: 2,
            model: "built-in",
            checks: &[check("kernels", true, "worst 3e-7"), check("order", false, "text 4")],
            passed: false,
        };
        let mut out = Vec::new();
        write(&mut out, &report).unwrap();
        let expected = "version         1.2.3\n\
                        instructions    AVX2\n\
                        8-bit products  avx2\n\
                        threads         2\n\
                        model           built-in\n\
                        \n\
                        pass  kernels  worst 3e-7\n\
                        FAIL  order    text 4\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
