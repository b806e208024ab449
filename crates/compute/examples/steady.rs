//! Measures whether this machine has the same speed all the time.
//!
//! ```sh
//! cargo run --release -p polyhead-compute --example steady -- 60
//! ```
//!
//! Runs one matrix product repeatedly for this many seconds, a separate one on every thread, and
//! prints how much of the time each thread was slow. The threads share nothing and never wait, so
//! any difference comes from the processor or from other programs on it. `POLYHEAD_MAX_ISA`
//! selects lower instruction sets.

use std::time::Instant;

use polyhead_compute::{Cpu, Epilogue, Isa, StoredTensor, Team};

const ROWS: usize = 256;
const INPUTS: usize = 384;
const OUTPUTS: usize = 1536;
/// One point of the curve, in seconds.
const SLICE: f64 = 0.1;
/// Times as long as usual.
const SLOW: f64 = 1.3;

fn main() {
    let seconds = std::env::args().nth(1).unwrap_or_else(|| "30".to_owned());
    let Some(seconds) = seconds.parse::<f64>().ok().filter(|seconds| *seconds >= SLICE) else {
        eprintln!("steady: expected a number of seconds, at least {SLICE}, found {seconds:?}");
        std::process::exit(2);
    };
    let isa = Isa::detect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{}, {threads} threads, {seconds} s", isa.name());
    let slices: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let running: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| times_of_products(isa, seconds))).collect();
        running.into_iter().map(|thread| thread.join().expect("a product does not panic")).collect()
    });
    let mut all: Vec<f64> = slices.iter().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    let usual = all[all.len() / 2];
    println!("usual: {:.0} µs a product", 1e6 * usual);
    for (i, slices) in slices.iter().enumerate() {
        let slow: Vec<f64> = slices.iter().map(|time| time / usual).filter(|x| *x > SLOW).collect();
        let worst = slices.iter().map(|time| time / usual).fold(0.0, f64::max);
        println!(
            "thread {i}: slow in {} of {} slices of {SLICE} s ({:.1} %), at most {worst:.1} times as long",
            slow.len(),
            slices.len(),
            100.0 * slow.len() as f64 / slices.len() as f64,
        );
    }
}

/// The mean time of a product in each slice.
fn times_of_products(isa: Isa, seconds: f64) -> Vec<f64> {
    let numbers = |count: usize| (0..count).map(|i| ((i * 7919 % 2003) as f32 - 1001.0) / 1001.0);
    let weight: Vec<f32> = numbers(OUTPUTS * INPUTS).collect();
    let weight = StoredTensor::from_f32(vec![OUTPUTS, INPUTS], &weight);
    let weight = Cpu::new(&Team::solo(), isa).pack(&[&weight]);
    let x: Vec<f32> = numbers(ROWS * INPUTS).collect();
    let mut out = vec![0.0; ROWS * OUTPUTS];
    let mut slices = Vec::new();
    let begun = Instant::now();
    while begun.elapsed().as_secs_f64() < seconds {
        let (slice, mut products) = (Instant::now(), 0);
        while slice.elapsed().as_secs_f64() < SLICE {
            Cpu::new(&Team::solo(), isa).linear(&x, &weight, Epilogue::default(), &mut out);
            products += 1;
        }
        std::hint::black_box(&out);
        slices.push(slice.elapsed().as_secs_f64() / f64::from(products));
    }
    slices
}
