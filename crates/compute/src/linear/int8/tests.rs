//! Every kernel against the plain loops.

use proptest::prelude::*;

use super::*;
use crate::activation::Activation;
use crate::cpu::Cpu;
use crate::layer_norm::Norm;
use crate::linear::Epilogue;
use crate::memory::StoredTensor;
use crate::random::Random;
use crate::simd::Isa;
use crate::testing::numbers;
use crate::threads::{Team, Threads};

fn packed(isa: Int8Isa, outputs: usize, inputs: usize, values: &[f32]) -> Int8Matrix {
    let tensor = StoredTensor::from_f32(vec![outputs, inputs], values);
    Cpu::new(&Team::solo(), Isa::detect()).with_int8(isa).pack_int8(&[&tensor], None)
}

fn quantized(isa: Int8Isa, x: &[f32], width: usize) -> QuantizedRows {
    let mut rows = QuantizedRows::default();
    Cpu::new(&Team::solo(), Isa::detect()).with_int8(isa).quantize_rows(x, width, &mut rows);
    rows
}

fn product(team: &Team, x: &QuantizedRows, weight: &Int8Matrix, epilogue: Epilogue) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.rows() * weight.outputs()];
    Cpu::new(team, Isa::detect()).with_int8(x.isa()).int8_linear(x, weight, epilogue, &mut out);
    out
}

/// Levels, scales and zero points as the reference gives them.
fn levels(rows: &QuantizedRows) -> (Vec<i32>, Vec<f32>) {
    (
        (0..rows.rows()).flat_map(|row| rows.centered(row)).collect(),
        rows.scales[..rows.rows()].to_vec(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// To the bit: the sums are exact, and what follows rounds as the plain loops do
    /// (portable code rounds once more, in `sum · scale + bias`).
    #[test]
    fn products_equal_the_plain_loops_at_any_size(
        rows in 1usize..70, inputs in 1usize..200, outputs in 1usize..90, seed: u64,
    ) {
        let x = numbers(rows * inputs, seed);
        let values = numbers(outputs * inputs, seed ^ 1);
        let (bias, residual) = (numbers(outputs, seed ^ 2), numbers(rows * outputs, seed ^ 3));
        let epilogue = Epilogue { bias: Some(&bias), residual: Some(&residual), ..Epilogue::default() };
        for isa in Int8Isa::available() {
            let (x, weight) = (quantized(isa, &x, inputs), packed(isa, outputs, inputs, &values));
            let mut expected = vec![0.0; rows * outputs];
            int8_linear_reference(&x, &weight, epilogue, &mut expected);
            let out = product(&Team::solo(), &x, &weight, epilogue);
            match isa.name() {
                "portable" => prop_assert!(out.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5)),
                name => prop_assert_eq!(&out, &expected, "on {}", name),
            }
            // But GELU: within what it says, and the rounding of the residual.
            let epilogue = Epilogue { activation: Activation::Gelu, ..epilogue };
            int8_linear_reference(&x, &weight, epilogue, &mut expected);
            let out = product(&Team::solo(), &x, &weight, epilogue);
            prop_assert!(out.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1.2e-4), "{}", isa.name());
        }
    }

    /// To the bit, but for the portable code: without fused multiply-add a number may fall on
    /// the other side of the middle between two levels.
    #[test]
    fn rows_equal_the_plain_loops_at_any_width(rows in 1usize..40, width in 1usize..200, seed: u64) {
        let x: Vec<f32> = numbers(rows * width, seed).iter().map(|x| x * x * x + 0.1).collect();
        let (expected, scales, zeros) = quantize_rows_reference(&x, width);
        let expected: Vec<i32> =
            expected.iter().enumerate().map(|(i, p)| i32::from(*p) - zeros[i / width]).collect();
        for isa in Int8Isa::available() {
            let (found, found_scales) = levels(&quantized(isa, &x, width));
            prop_assert_eq!(&found_scales, &scales, "on {}", isa.name());
            let allowed = if isa.name() == "portable" { 1 } else { 0 };
            prop_assert!(
                found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= allowed),
                "on {}", isa.name()
            );
        }
    }
}

#[test]
fn a_number_moves_by_half_a_level_at_most() {
    let (rows, width) = (20, 100);
    let x = numbers(rows * width, 5);
    for isa in Int8Isa::available() {
        let quantized = quantized(isa, &x, width);
        for (row, x) in x.chunks_exact(width).enumerate() {
            for (found, x) in quantized.to_f32(row).iter().zip(x) {
                // Half a level, another half at the ends for the rounded zero point.
                let allowed = 1.001 * quantized.scales[row];
                assert!((found - x).abs() <= allowed, "{found}, not {x} on {}", isa.name());
            }
        }
    }
}

#[test]
fn extreme_levels_do_not_overflow() {
    // The largest sums there are: every number 255, every weight ±127.
    let (rows, inputs, outputs) = (3, 4096, 33);
    let x = vec![2.0; rows * inputs];
    let values: Vec<f32> =
        (0..outputs * inputs).map(|i| if i / inputs % 2 == 0 { 1.0 } else { -1.0 }).collect();
    for isa in Int8Isa::available() {
        let weight = packed(isa, outputs, inputs, &values);
        let out = product(&Team::solo(), &quantized(isa, &x, inputs), &weight, Epilogue::default());
        for (i, y) in out.iter().enumerate() {
            let expected = if i % outputs % 2 == 0 { 8192.0 } else { -8192.0 };
            assert!((y - expected).abs() < 0.01, "{y}, not {expected} on {}", isa.name());
        }
    }
}

/// Matrices on which 16-bit sums would overflow: weights of ±127 in every arrangement, alone, in
/// runs, and among small ones, against rows of 255.
#[test]
fn sums_are_exact_for_the_worst_weights() {
    let (rows, inputs, outputs) = (9, 384, 24);
    let mut random = Random::named(1, "weights");
    let mut pick = |most: &[f32]| most[(random.uniform() * most.len() as f64) as usize];
    let kinds: [&[f32]; 5] = [
        &[127.0, -127.0],
        &[127.0, 126.0, 65.0, 64.0, 63.0],
        &[-127.0, -65.0, -64.0, 1.0],
        &[127.0, -127.0, 0.0, 0.0, 0.0, 0.0, 3.0, -3.0],
        &[64.0, -64.0, 65.0, -65.0],
    ];
    for kind in kinds {
        // A row of the weight has one of 127, so that levels are the numbers themselves.
        let mut values: Vec<f32> = (0..outputs * inputs).map(|_| pick(kind)).collect();
        values.iter_mut().step_by(inputs).for_each(|first| *first = 127.0);
        let mut x = vec![1.0; rows * inputs];
        x[3 * inputs..].iter_mut().for_each(|x| *x = pick(&[1.0, 0.0, 0.5]));
        for isa in Int8Isa::available() {
            let (x, weight) = (quantized(isa, &x, inputs), packed(isa, outputs, inputs, &values));
            let mut expected = vec![0.0; rows * outputs];
            int8_linear_reference(&x, &weight, Epilogue::default(), &mut expected);
            for (level, value) in (0..outputs * inputs).zip(&values) {
                assert_eq!(weight.level(level / inputs, level % inputs) as f32, *value);
            }
            let out = product(&Team::solo(), &x, &weight, Epilogue::default());
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * b.abs();
            match isa.name() {
                "portable" => assert!(out.iter().zip(&expected).all(near)),
                name => assert_eq!(out, expected, "{kind:?} on {name}"),
            }
        }
    }
}

#[test]
fn rows_of_zeros_subnormals_and_non_numbers() {
    let width = 70;
    for isa in Int8Isa::available() {
        let weight = packed(isa, 5, width, &vec![1.0; 5 * width]);
        let with = |at: usize, value: f32| {
            let mut x = numbers(2 * width, 3);
            x[at] = value;
            product(&Team::solo(), &quantized(isa, &x, width), &weight, Epilogue::default())
        };
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 40, width - 1] {
                let out = with(at, value);
                assert!(out[..5].iter().all(|y| !y.is_finite()), "{value} at {at}: {out:?}");
                assert!(out[5..].iter().all(|y| y.is_finite()), "the other row: {out:?}");
            }
        }
        for tiny in [0.0, -0.0, 1e-42, -1e-40] {
            let x = vec![tiny; width];
            let out =
                product(&Team::solo(), &quantized(isa, &x, width), &weight, Epilogue::default());
            assert!(out.iter().all(|y| y.abs() < 1e-36), "{tiny}: {out:?} on {}", isa.name());
        }
    }
}

#[test]
fn a_row_has_the_same_bits_in_any_batch_and_team() {
    let (rows, inputs, outputs) = (300, 100, 130);
    let (x, values) = (numbers(rows * inputs, 3), numbers(outputs * inputs, 4));
    let bias = numbers(outputs, 5);
    let epilogue =
        Epilogue { bias: Some(&bias), activation: Activation::Gelu, ..Epilogue::default() };
    for isa in Int8Isa::available() {
        let weight = packed(isa, outputs, inputs, &values);
        let whole = product(&Team::solo(), &quantized(isa, &x, inputs), &weight, epilogue);
        for (row, count) in [(0, 1), (5, 2), (17, 13), (143, 2), (299, 1)] {
            let part = &x[row * inputs..(row + count) * inputs];
            let alone = product(&Team::solo(), &quantized(isa, part, inputs), &weight, epilogue);
            assert_eq!(alone, whole[row * outputs..(row + count) * outputs], "{}", isa.name());
        }
        let mut solo_levels = QuantizedRows::default();
        let all = quantized(isa, &x, inputs);
        Cpu::new(&Team::solo(), Isa::detect()).with_int8(isa).int8_linear_quantizing(
            &all,
            &weight,
            epilogue,
            &mut solo_levels,
        );
        assert_eq!(
            levels(&solo_levels),
            levels(&quantized(isa, &whole, outputs)),
            "{}",
            isa.name()
        );
        for threads in [2, 3, 5] {
            let threads = Threads::new(threads).expect("threads");
            for rows in [1, 20, 300] {
                let x = &x[..rows * inputs];
                threads.team(|team| {
                    let cpu = Cpu::new(team, Isa::detect()).with_int8(isa);
                    let mut quantized = QuantizedRows::default();
                    cpu.quantize_rows(x, inputs, &mut quantized);
                    let out = product(team, &quantized, &weight, epilogue);
                    assert_eq!(out, whole[..rows * outputs], "{rows} rows on {}", isa.name());
                    let mut found = QuantizedRows::default();
                    cpu.int8_linear_quantizing(&quantized, &weight, epilogue, &mut found);
                    let (levels, scales) = levels(&found);
                    let (expected, expected_scales) = self::levels(&solo_levels);
                    assert_eq!(levels, expected[..rows * outputs], "{rows} on {}", isa.name());
                    assert_eq!(scales, expected_scales[..rows], "{rows} on {}", isa.name());
                });
            }
        }
    }
}

#[test]
fn the_norm_gives_its_rows_without_its_bias() {
    let (rows, width) = (37, 100);
    let (x, weight, bias) = (numbers(rows * width, 1), numbers(width, 2), numbers(width, 3));
    let factors: Vec<f32> = numbers(width, 4).iter().map(|x| 1.5 + x).collect();
    let norm = Norm { weight: &weight, bias: &bias, eps: 1e-12 };
    let threads = Threads::new(3).expect("threads");
    for isa in Int8Isa::available() {
        let mut found = QuantizedRows::default();
        let mut normed = x.clone();
        threads.team(|team| {
            Cpu::new(team, Isa::detect()).with_int8(isa).layer_norm_quantizing(
                &mut normed,
                norm,
                &factors,
                &mut found,
            );
        });
        let expected = Isa::available().into_iter().any(|float| {
            let mut expected = x.clone();
            Cpu::new(&Team::solo(), float).layer_norm(&mut expected, &weight, &bias, 1e-12);
            expected == normed
        });
        assert!(expected, "the norm of one of the instruction sets on {}", isa.name());
        let shifted: Vec<f32> = normed
            .iter()
            .enumerate()
            .map(|(i, x)| (x - bias[i % width]) * factors[i % width])
            .collect();
        assert_eq!(levels(&found), levels(&quantized(isa, &shifted, width)), "{}", isa.name());
    }
}

#[test]
fn stored_bytes_are_taken_as_they_are() {
    let (outputs, inputs) = (5, 7);
    let bytes: Vec<u8> = (0..35u8).map(|i| i.wrapping_mul(37)).collect();
    let scales: Vec<f32> = numbers(outputs, 1);
    let kind = crate::StoredType::I8;
    let stored =
        StoredTensor::new(bytes.clone().into(), kind, vec![outputs, inputs], scales.clone());
    for isa in Int8Isa::available() {
        let weight = Cpu::new(&Team::solo(), Isa::detect())
            .with_int8(isa)
            .pack_int8(&[&stored, &stored], None);
        for output in 0..2 * outputs {
            assert_eq!(weight.scales[output], scales[output % outputs]);
            for k in 0..inputs {
                let expected = bytes[output % outputs * inputs + k] as i8;
                assert_eq!(weight.level(output, k), i32::from(expected), "{}", isa.name());
            }
        }
    }
}

#[test]
fn the_largest_weight_of_a_row_is_127_and_halves_go_to_even() {
    let levels = |row: &[f32]| {
        let mut levels = vec![1; row.len()];
        let scale = quantize_weights(row, &mut levels);
        (levels, scale)
    };
    assert_eq!(levels(&[127.0, -127.0, 0.5, 1.5]), (vec![127, -127, 0, 2], 1.0));
    assert_eq!(levels(&[0.0, -0.0]), (vec![0, 0], 0.0));
    assert_eq!(levels(&[-2.0, 1.0, 0.004]), (vec![-127, 64, 0], 2.0 / 127.0));
    let (zeros, scale) = levels(&[1.0, f32::INFINITY]);
    assert!(zeros == [0, 0] && scale.is_nan());
}

/// The plain loops: document and oracle of [`quantize_rows`](Cpu::quantize_rows). Levels, scales and zero points.
fn quantize_rows_reference(x: &[f32], width: usize) -> (Vec<u8>, Vec<f32>, Vec<i32>) {
    const LEVELS: f32 = 255.0;
    let (mut levels, mut scales, mut zeros) = (Vec::new(), Vec::new(), Vec::new());
    for row in x.chunks_exact(width) {
        let low = row.iter().fold(0.0f32, |low, x| low.min(*x));
        let high = row.iter().fold(0.0f32, |high, x| high.max(*x));
        let inverse = if high > low { LEVELS / (high - low) } else { 0.0 };
        let zero = (-low * inverse).round_ties_even();
        levels.extend(
            row.iter().map(|x| {
                f32::mul_add(*x, inverse, zero).clamp(0.0, LEVELS).round_ties_even() as u8
            }),
        );
        scales.push((high - low) / LEVELS);
        zeros.push(zero as i32);
    }
    (levels, scales, zeros)
}
