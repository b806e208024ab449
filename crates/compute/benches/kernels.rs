//! The kernels at the sizes of all-MiniLM-L6-v2: operations per second.
//!
//!     cargo bench -p polyhead-compute
//!     cargo bench -p polyhead-compute -- linear      (only these)
//!
//! For matrix products and attention an element is one floating-point operation, so `Gelem/s`
//! means GFLOP/s; for other kernels it is one number.
#![allow(missing_docs)] // Made by the macros of the harness.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use polyhead_compute::{
    Activation, AdamW, Attention, AttentionShape, Cpu, Dropout, Epilogue, Isa, PackedMatrix,
    PendingRows, StoredTensor, Team, Threads,
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
            let weight = Cpu::new(&Team::solo(), isa).pack(&[&weight]);
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
                                Cpu::new(team, isa).linear(
                                    black_box(&x),
                                    &weight,
                                    Epilogue::default(),
                                    &mut out,
                                )
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
            let attention = Attention::new(shape);
            group.throughput(Throughput::Elements(
                (4 * sequences * tokens * tokens * HIDDEN) as u64,
            ));
            group.bench_function(format!("{tokens} tokens, {}", isa.name()), |bench| {
                bench.iter(|| {
                    Cpu::new(&team, isa).attention(attention, black_box(&qkv), &offsets, &mut out)
                });
            });
        }
        group.finish();

        let mut group = criterion.benchmark_group("rows");
        let (weight, bias) = (vec![1.0; HIDDEN], vec![0.0; HIDDEN]);
        let mut x: Vec<f32> = (0..256 * HIDDEN).map(|i| (i % 7) as f32).collect();
        group.throughput(Throughput::Elements(x.len() as u64));
        group.bench_function(format!("layer norm, {}", isa.name()), |bench| {
            bench
                .iter(|| Cpu::new(&team, isa).layer_norm(black_box(&mut x), &weight, &bias, 1e-12));
        });
        group.bench_function(format!("gelu, {}", isa.name()), |bench| {
            bench.iter(|| Cpu::new(&team, isa).activation(Activation::Gelu, black_box(&mut x)));
        });
        group.finish();
    }
}

/// Tokens of a training step, or of a part of it.
const TOKENS: usize = 1024;

/// The three products of a linear layer in training; `cargo bench … -- backward/`.
fn backward_products(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("backward");
    let shapes = [
        ("query-key-value", HIDDEN, 3 * HIDDEN),
        ("up", HIDDEN, INTERMEDIATE),
        ("down", INTERMEDIATE, HIDDEN),
    ];
    for isa in Isa::available() {
        for (name, inputs, outputs) in shapes {
            let weight = vec![0.01; outputs * inputs];
            let (x, dout) = (vec![0.5; TOKENS * inputs], vec![0.5; TOKENS * outputs]);
            let (mut out, mut dx) = (dout.clone(), x.clone());
            let mut dweight = vec![0.0; outputs * inputs];
            let mut packed = PackedMatrix::zeros(isa, outputs, inputs);
            let mut transposed = PackedMatrix::zeros(isa, inputs, outputs);
            Cpu::new(&Team::solo(), isa).repack(&mut packed, &weight);
            Cpu::new(&Team::solo(), isa).repack_transposed(&mut transposed, &weight);
            group.throughput(Throughput::Elements(2 * (TOKENS * inputs * outputs) as u64));
            for threads in [1, Threads::available()] {
                let pool = Threads::new(threads).expect("threads");
                let suffix = format!("{name}, {}, {threads} threads", isa.name());
                pool.team(|team| {
                    group.bench_function(format!("forward, {suffix}"), |bench| {
                        let epilogue = Epilogue::default();
                        bench.iter(|| {
                            Cpu::new(team, isa).linear(black_box(&x), &packed, epilogue, &mut out)
                        });
                    });
                    group.bench_function(format!("input, {suffix}"), |bench| {
                        let epilogue = Epilogue::default();
                        bench.iter(|| {
                            Cpu::new(team, isa).linear(
                                black_box(&dout),
                                &transposed,
                                epilogue,
                                &mut dx,
                            )
                        });
                    });
                    group.bench_function(format!("weight, {suffix}"), |bench| {
                        let mut pending = PendingRows::default();
                        bench.iter(|| {
                            let x = black_box(&x);
                            Cpu::new(team, isa).weight_gradient(
                                &dout,
                                x,
                                &mut dweight,
                                outputs,
                                &mut pending,
                            );
                            Cpu::new(team, isa).close_weight_gradient(&mut dweight, &mut pending);
                        });
                    });
                });
            }
        }
    }
    group.finish();
}

/// What else a training step does; numbers per second.
fn training(criterion: &mut Criterion) {
    let team = Team::solo();
    for isa in Isa::available() {
        let name = isa.name();
        let mut group = criterion.benchmark_group("training");
        let some = Dropout::new(0.1, 1, 2, 3, 4);
        let rows: Vec<u64> = (0..TOKENS as u64).collect();

        group.throughput(Throughput::Elements((TOKENS * INTERMEDIATE) as u64));
        let pre: Vec<f32> = (0..TOKENS * INTERMEDIATE).map(|i| (i % 7) as f32 - 3.0).collect();
        let mut wide = vec![1.0; pre.len()];
        let mut dbias = vec![0.0; INTERMEDIATE];
        group.bench_function(format!("gelu backward, {name}"), |bench| {
            bench.iter(|| {
                wide.fill(1.0);
                Cpu::new(&team, isa).activation_backward(
                    Activation::Gelu,
                    black_box(&pre),
                    &mut wide,
                );
            });
        });
        group.bench_function(format!("bias gradient, {name}"), |bench| {
            bench.iter(|| Cpu::new(&team, isa).bias_gradient(black_box(&pre), &mut dbias));
        });
        let mut packed = PackedMatrix::zeros(isa, INTERMEDIATE, HIDDEN);
        let mut transposed = PackedMatrix::zeros(isa, HIDDEN, INTERMEDIATE);
        let weight = vec![0.01; HIDDEN * INTERMEDIATE];
        let x = vec![0.5; TOKENS * HIDDEN];
        group.bench_function(format!("linear, kept, {name}"), |bench| {
            bench.iter(|| {
                let (pre, out) = (&mut wide, &mut vec![0.0; TOKENS * INTERMEDIATE]);
                Cpu::new(&team, isa).linear_train(
                    black_box(&x),
                    &packed,
                    &dbias,
                    Activation::Gelu,
                    pre,
                    out,
                );
            });
        });
        group.throughput(Throughput::Elements(weight.len() as u64));
        group.bench_function(format!("repack, {name}"), |bench| {
            bench.iter(|| Cpu::new(&team, isa).repack(&mut packed, black_box(&weight)));
        });
        group.bench_function(format!("repack transposed, {name}"), |bench| {
            bench.iter(|| {
                Cpu::new(&team, isa).repack_transposed(&mut transposed, black_box(&weight))
            });
        });

        group.throughput(Throughput::Elements((TOKENS * HIDDEN) as u64));
        let (mut sum, mut out) = (x.clone(), x.clone());
        let (ones, zeros) = (vec![1.0; HIDDEN], vec![0.0; HIDDEN]);
        let mut stats = vec![0.0; 2 * TOKENS];
        let (mut dweight, mut dbias) = (zeros.clone(), zeros.clone());
        group.bench_function(format!("dropout, {name}"), |bench| {
            bench.iter(|| Cpu::new(&team, isa).dropout(&some, &rows, black_box(&mut sum)));
        });
        sum.copy_from_slice(&x);
        group.bench_function(format!("residual and layer norm, {name}"), |bench| {
            bench.iter(|| {
                Cpu::new(&team, isa).residual_layer_norm(
                    black_box(&mut sum),
                    &some,
                    &rows,
                    Some(&x),
                    &ones,
                    &zeros,
                    1e-12,
                    &mut stats,
                    &mut out,
                );
            });
        });
        let mut dsum = x.clone();
        group.bench_function(format!("layer norm backward, {name}"), |bench| {
            bench.iter(|| {
                let gradients = Some((&mut dweight[..], &mut dbias[..]));
                let sum = black_box(&sum);
                Cpu::new(&team, isa)
                    .layer_norm_backward(sum, &stats, &ones, &x, &mut dsum, gradients);
            });
        });
        let ids: Vec<u32> = (0..TOKENS as u32).map(|n| n * n % 30_000).collect();
        let mut dword = vec![0.0; 30_000 * HIDDEN];
        group.bench_function(format!("embeddings backward, {name}"), |bench| {
            bench.iter(|| {
                let (zeros, offsets) = (&vec![0; TOKENS], [0, TOKENS]);
                let dword = Some(&mut dword[..]);
                let cpu = Cpu::new(&team, isa);
                cpu.embed_backward(&ids, zeros, &offsets, 0, &x, dword, None, None);
            });
        });

        let mut tensors = [1, 2, 3].map(|i| vec![i as f32; 1 << 20]);
        let gradients = vec![0.1; 1 << 20];
        group.throughput(Throughput::Elements(1 << 20));
        group.bench_function(format!("adamw, {name}"), |bench| {
            let hyper = AdamW {
                learning_rate: 1e-5,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                weight_decay: 0.01,
                step: 10,
                gradient_factor: 1.0,
            };
            bench.iter(|| {
                let [p, m, v] = &mut tensors;
                Cpu::new(&team, isa).adamw(&hyper, p, black_box(&gradients), m, v);
            });
        });
        group.bench_function(format!("sum of squares, {name}"), |bench| {
            bench.iter(|| Cpu::new(&team, isa).sum_of_squares(black_box(&gradients)));
        });
        group.finish();

        let mut group = criterion.benchmark_group("attention training");
        for tokens in [20, 64, 256] {
            let sequences = TOKENS / tokens;
            let count = sequences * tokens;
            let offsets: Vec<usize> = (0..=sequences).map(|i| i * tokens).collect();
            let qkv = vec![0.1; count * 3 * HIDDEN];
            let mut dqkv = qkv.clone();
            let (mut out, dout) = (vec![0.0; count * HIDDEN], vec![0.1; count * HIDDEN]);
            let shape = AttentionShape { heads: 12, head_size: HIDDEN / 12 };
            for dropout in [Dropout::none(), some] {
                let dropped = if dropout.is_none() { "" } else { ", dropout" };
                let suffix = format!("{tokens} tokens{dropped}, {name}");
                let rows = &rows[..count];
                let attention = Attention { dropout, rows, ..Attention::new(shape) };
                let operations = (4 * count * tokens * HIDDEN) as u64;
                group.throughput(Throughput::Elements(operations));
                group.bench_function(format!("forward, {suffix}"), |bench| {
                    bench.iter(|| {
                        let qkv = black_box(&qkv);
                        Cpu::new(&team, isa).attention(attention, qkv, &offsets, &mut out);
                    });
                });
                group.throughput(Throughput::Elements(operations / 2 * 5));
                group.bench_function(format!("backward, {suffix}"), |bench| {
                    bench.iter(|| {
                        let qkv = black_box(&qkv);
                        Cpu::new(&team, isa).attention_backward(
                            attention, qkv, &offsets, &out, &dout, &mut dqkv, None,
                        );
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, products, others, backward_products, training);
criterion_main!(benches);
