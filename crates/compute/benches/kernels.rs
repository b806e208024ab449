//! The kernels at the sizes of all-MiniLM-L6-v2: operations per second.
//!
//!     cargo bench -p polyhead-compute
//!     cargo bench -p polyhead-compute -- linear      (only these)
//!
//! For matrix products and attention an element is one floating-point
//! operation, so `Gelem/s` reads as GFLOP/s; for the others it is one number.
#![allow(missing_docs)] // Made by the macros of the harness.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use polyhead_compute::{
    Activation, AttentionShape, Epilogue, Isa, PackedMatrix, StoredTensor, Team, Threads,
    attention, layer_norm, linear,
};

const HIDDEN: usize = 384;
const INTERMEDIATE: usize = 1536;

fn products(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("linear");
    let shapes = [
        ("query-key-value", 256, HIDDEN, 3 * HIDDEN),
        ("up", 256, HIDDEN, INTERMEDIATE),
        ("down", 256, INTERMEDIATE, HIDDEN),
        ("up, 20 tokens", 20, HIDDEN, INTERMEDIATE),
    ];
    for isa in Isa::available() {
        for (name, rows, inputs, outputs) in shapes {
            let weight =
                StoredTensor::from_f32(vec![outputs, inputs], &vec![0.01; outputs * inputs]);
            let weight = PackedMatrix::pack(isa, &[&weight], &Team::solo());
            let x = vec![0.5; rows * inputs];
            let mut out = vec![0.0; rows * outputs];
            group.throughput(Throughput::Elements(2 * (rows * inputs * outputs) as u64));
            for threads in [1, Threads::available()] {
                let pool = Threads::new(threads).expect("threads");
                group.bench_function(
                    format!("{name}, {}, {threads} threads", isa.name()),
                    |bench| {
                        pool.team(|team| {
                            bench.iter(|| {
                                linear(team, black_box(&x), &weight, Epilogue::default(), &mut out)
                            });
                        });
                    },
                );
            }
        }
    }
    group.finish();
}

fn others(criterion: &mut Criterion) {
    let team = Team::solo();
    for isa in Isa::available() {
        let mut group = criterion.benchmark_group("attention");
        for tokens in [20, 64, 256] {
            let sequences = 256 / tokens;
            let offsets: Vec<usize> = (0..=sequences).map(|i| i * tokens).collect();
            let qkv = vec![0.1; sequences * tokens * 3 * HIDDEN];
            let mut out = vec![0.0; sequences * tokens * HIDDEN];
            let shape = AttentionShape { heads: 12, head_size: HIDDEN / 12 };
            group.throughput(Throughput::Elements(
                (4 * sequences * tokens * tokens * HIDDEN) as u64,
            ));
            group.bench_function(format!("{tokens} tokens, {}", isa.name()), |bench| {
                bench.iter(|| attention(&team, isa, shape, black_box(&qkv), &offsets, &mut out));
            });
        }
        group.finish();

        let mut group = criterion.benchmark_group("rows");
        let (weight, bias) = (vec![1.0; HIDDEN], vec![0.0; HIDDEN]);
        let mut x: Vec<f32> = (0..256 * HIDDEN).map(|i| (i % 7) as f32).collect();
        group.throughput(Throughput::Elements(x.len() as u64));
        group.bench_function(format!("layer norm, {}", isa.name()), |bench| {
            bench.iter(|| layer_norm(&team, isa, black_box(&mut x), &weight, &bias, 1e-12));
        });
        group.bench_function(format!("gelu, {}", isa.name()), |bench| {
            bench.iter(|| Activation::Gelu.apply(isa, black_box(&mut x)));
        });
        group.finish();
    }
}

criterion_group!(benches, products, others);
criterion_main!(benches);
