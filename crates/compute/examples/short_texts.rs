//! Times the matrix products of one short text through an encoder of MiniLM's shape.
//!
//! ```sh
//! cargo run --release -p polyhead-compute --example short_texts -- 2
//! ```
//!
//! Six layers of four products, in single precision, with this many threads: median of one pass
//! over all weights, 42 MB, by the number of tokens. What an encoder takes beyond that
//! (`polyhead bench`) is attention, norms and waiting. `POLYHEAD_MAX_ISA` selects lower instruction sets.

use std::time::Instant;

use polyhead_compute::{Activation, Cpu, Epilogue, Isa, PackedMatrix, StoredTensor, Threads};

/// Inputs and outputs of the products of a layer.
const PRODUCTS: [(usize, usize); 4] = [(384, 1152), (384, 384), (384, 1536), (1536, 384)];
const WIDEST: usize = 1536;
const LAYERS: usize = 6;
const TOKENS: [usize; 7] = [1, 8, 20, 64, 128, 256, 512];

fn main() {
    let threads = std::env::args().nth(1).unwrap_or_else(|| "2".to_owned());
    let Ok(threads) = threads.parse() else {
        eprintln!("short_texts: expected a number of threads, found {threads:?}");
        std::process::exit(2);
    };
    let threads = Threads::new(threads).expect("threads");
    let isa = Isa::detect();
    println!(
        "{}, {} threads\n\n| tokens | ms | Gop/s |\n| ---: | ---: | ---: |",
        isa.name(),
        threads.count()
    );
    threads.team(|team| {
        let cpu = Cpu::new(team, isa);
        let weights: Vec<PackedMatrix> =
            (0..LAYERS).flat_map(|_| PRODUCTS).map(|size| pack(cpu, size)).collect();
        for tokens in TOKENS {
            let seconds = median_pass(cpu, &weights, tokens);
            let products: usize = PRODUCTS.iter().map(|(inputs, outputs)| inputs * outputs).sum();
            let operations = (2 * LAYERS * products * tokens) as f64;
            println!("| {tokens} | {:.2} | {:.0} |", 1e3 * seconds, operations / seconds / 1e9);
        }
    });
}

/// A weight of small numbers.
fn pack(cpu: Cpu, (inputs, outputs): (usize, usize)) -> PackedMatrix {
    let values: Vec<f32> = (0..inputs * outputs).map(|i| (i % 37) as f32 / 370.0 - 0.05).collect();
    cpu.pack(&[&StoredTensor::from_f32(vec![outputs, inputs], &values)])
}

/// Seconds that one text takes to pass all weights.
fn median_pass(cpu: Cpu, weights: &[PackedMatrix], tokens: usize) -> f64 {
    let x: Vec<f32> = (0..tokens * WIDEST).map(|i| (i % 23) as f32 / 23.0 - 0.5).collect();
    let mut out = vec![0.0; tokens * WIDEST];
    let bias = vec![0.1; WIDEST];
    let mut times: Vec<f64> = (0..(1000 / tokens).clamp(9, 99))
        .map(|_| {
            let begun = Instant::now();
            for weight in weights {
                let widens = weight.outputs() == WIDEST;
                let activation = if widens { Activation::Gelu } else { Activation::Identity };
                let bias = Some(&bias[..weight.outputs()]);
                let epilogue = Epilogue { bias, activation, residual: None };
                let (x, out) =
                    (&x[..tokens * weight.inputs()], &mut out[..tokens * weight.outputs()]);
                cpu.linear(x, weight, epilogue, out);
            }
            begun.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
