//! The peak rate of this machine, so that a measured rate can be reported as a share of it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use polyhead_compute::{
    Cpu, Epilogue, Int8Isa, Isa, QuantizedRows, Random, StoredTensor, Team, Threads,
};

use crate::encoder::EncoderConfig;
use crate::sentence::SentenceEncoder;

/// Rows of the product: the number of tokens that are encoded together.
const ROWS: usize = 256;

impl EncoderConfig {
    /// The number of operations in products and attention for a text of this many tokens:
    /// `T · 2 (4 D² + 2 D F) · L + 4 T² D · L`, or
    /// `3 D F` if the feed-forward layer is gated, and `T · window` keys in layers with a window. A multiplication and an addition count as
    /// two; all other operations are not counted.
    pub fn operations(&self, tokens: usize) -> f64 {
        let (d, f, t) = (self.hidden_size as f64, self.intermediate_size as f64, tokens as f64);
        let inner = self.inner_outputs() as f64;
        let products = t * 2.0 * (4.0 * d * d + d * inner + d * f) * self.layers as f64;
        let keys = |layer: usize| match &self.rotary {
            Some(rotary) if !rotary.global_layers[layer] => tokens.min(2 * rotary.window + 1),
            _ => tokens,
        };
        let keys: usize = (0..self.layers).map(keys).sum();
        products + 4.0 * t * keys as f64 * d
    }
}

impl SentenceEncoder {
    /// Measures for `time` how many operations per second a product of the size of the
    /// feed-forward layer reaches alone, in the precision and on all threads of the encoder.
    pub fn product_rate(&self, time: Duration) -> f64 {
        product_rate(&self.threads, self.config(), self.isa(), self.int8_isa(), time)
    }
}

/// [`SentenceEncoder::product_rate`] for an encoder of these sizes; in 8 bits if `int8` is given.
pub fn product_rate(
    threads: &Threads,
    config: &EncoderConfig,
    isa: Isa,
    int8: Option<Int8Isa>,
    time: Duration,
) -> f64 {
    let (inputs, outputs) = (config.hidden_size, config.inner_outputs());
    // Weights as trained ones are: kernels in 8 bits are slower where all are the same.
    let mut random = Random::named(0, "weights of a bare product");
    let weight: Vec<f32> = (0..outputs * inputs).map(|_| 0.05 * random.normal()).collect();
    let weight = StoredTensor::from_f32(vec![outputs, inputs], &weight);
    let x = vec![0.5; ROWS * inputs];
    let solo = Team::solo();
    let Some(int8) = int8 else {
        let weight = Cpu::new(&solo, isa).pack(&[&weight]);
        return repeated(threads, inputs, outputs, time, |team, out| {
            Cpu::new(team, isa).linear(black_box(&x), &weight, Epilogue::default(), out);
        });
    };
    let cpu = Cpu::new(&solo, isa).with_int8(int8);
    let weight = cpu.pack_int8(&[&weight], None);
    let mut rows = QuantizedRows::default();
    cpu.quantize_rows(&x, inputs, &mut rows);
    repeated(threads, inputs, outputs, time, |team, out| {
        let cpu = Cpu::new(team, isa).with_int8(int8);
        cpu.int8_linear(black_box(&rows), &weight, Epilogue::default(), out);
    })
}

/// Repeats `product` on each thread for `time`, with one output per thread. Returns operations
/// per second.
fn repeated(
    threads: &Threads,
    inputs: usize,
    outputs: usize,
    time: Duration,
    product: impl Fn(&Team, &mut [f32]) + Sync,
) -> f64 {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let start = Instant::now();
    threads.for_each(threads.count(), |_, _| {
        let mut out = vec![0.0; ROWS * outputs];
        while start.elapsed() < time {
            product(&Team::solo(), &mut out);
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        black_box(&out);
    });
    let operations = count.into_inner() as f64 * (2 * ROWS * inputs * outputs) as f64;
    operations / start.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    #[test]
    fn operations_are_those_of_the_paper_model() {
        let folder = crate::folder::ModelFolder::open(&polyhead_testing::tiny_model("tiny-bert"));
        let config = folder.expect("a folder").config;
        let (d, f, l) = (config.hidden_size, config.intermediate_size, config.layers);
        let expected = l * (10 * 2 * (4 * d * d + 2 * d * f) + 4 * 100 * d);
        assert_eq!(config.operations(10), expected as f64);
    }
}
