//! The doctor: tests the promises of this crate on the machine and with the model of the user.

use polyhead_compute::{
    Activation, Attention, AttentionShape, Cpu, Epilogue, Int8Isa, Isa, QuantizedRows, Random,
    RotaryTable, StoredTensor, Team, Threads, attention_reference, gate_reference,
    int8_linear_reference, layer_norm_reference, linear_reference, rotate_reference,
};
use polyhead_text::{TextTokens, TokenBatch, TokenSpan};
use serde::{Deserialize, Serialize};

use crate::encoder::Precision;
use crate::error::{Error, ErrorKind, fail};
use crate::folder::REFERENCE_FILE;
use crate::measure::precision::closeness;
use crate::sentence::{EncodeOptions, SentenceEncoder};

/// Largest difference from reference vectors, which another program has summed in another order.
const REFERENCE_TOLERANCE: f32 = 1e-4;

/// Lowest cosine with reference vectors for a model in 8 bits.
const LEAST_COSINE: f64 = 0.98;

/// Number of sequences in the invariance checks, and the most tokens of the longer ones: they
/// stay short where a model reads 8,192 tokens, since the time grows with the length.
const SEQUENCES: usize = 500;
const LONG: usize = 512;
const VERY_LONG: usize = 1_200;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// Whether the check has passed.
    pub passed: bool,
    /// What was compared, and how large the largest difference is.
    pub detail: String,
}

impl SentenceEncoder {
    /// Checks this model on this machine:
    ///
    /// - fast kernels against plain loops, at the sizes of the model
    /// - vectors of sequences alone, in another order and on other numbers of threads, which
    ///   must be equal to the bit
    /// - vectors against those of the [`REFERENCE_FILE`], if the folder has one
    /// - the files of the folder against sizes and hashes in `polyhead.json`, if it has them
    ///
    /// # Errors
    /// If encoding fails or the reference file is damaged. Wrong numbers are no error, but a
    /// [`Check`] that has not passed.
    pub fn checks(&self) -> Result<Vec<Check>, Error> {
        let mut checks = self.kernel_checks();
        checks.extend(self.invariance_checks()?);
        checks.extend(self.reference_check()?);
        checks.extend(self.files_check()?);
        Ok(checks)
    }

    /// Compares all files of the folder with their records; `None` if it has none.
    fn files_check(&self) -> Result<Option<Check>, Error> {
        let Some(records) = &self.records else { return Ok(None) };
        let changes = records.changes(u64::MAX).collect::<Result<Vec<_>, _>>()?;
        let detail = match changes.is_empty() {
            true => format!("{} files: sizes and SHA-256 as polyhead.json has them", records.len()),
            false => format!(
                "{}; if this was meant, remove `files` from polyhead.json",
                changes.join("; ")
            ),
        };
        Ok(Some(Check { name: "files".to_owned(), passed: changes.is_empty(), detail }))
    }

    fn kernel_checks(&self) -> Vec<Check> {
        let config = self.config();
        let (d, f) = (config.hidden_size, config.intermediate_size);
        let isa = self.isa();
        let mut random = Random::from_state(1);
        let mut checks = Vec::new();
        // Portable code rounds each product; other code, and products in 8 bits, differ in the
        // activation only.
        let mut check = |name, difference| {
            checks.push(check_difference(name, "fast kernel and plain loops", difference, 1e-4));
        };
        for (inputs, outputs, activation) in [
            (d, 3 * d, Activation::Identity),
            (
                d,
                config.inner_outputs(),
                if config.family.gated { Activation::Identity } else { config.activation },
            ),
            (f, d, Activation::Identity),
        ] {
            let name = format!("linear {inputs} → {outputs} {activation:?}");
            let sizes = (inputs, outputs);
            let difference = linear_difference(isa, None, &mut random, sizes, activation);
            check(name.clone(), difference);
            if let Some(int8) = self.int8_isa() {
                let difference = linear_difference(isa, Some(int8), &mut random, sizes, activation);
                check(format!("8-bit {name}"), difference);
            }
        }
        let (heads, head_size) = (config.heads, d / config.heads);
        let shape = AttentionShape { heads, head_size };
        let attention = Attention::new(shape);
        check(
            format!("attention, {heads} heads of {head_size}"),
            attention_difference(isa, &mut random, attention, ROWS),
        );
        if let Some(rotary) = &config.rotary {
            let window = rotary.window.min(LARGEST_WINDOW);
            let attention = Attention { window: Some(window), ..attention };
            check(
                format!("attention to {window} tokens on each side"),
                attention_difference(isa, &mut random, attention, 2 * window + ROWS),
            );
            for (name, base) in [("global", rotary.global_base), ("local", rotary.local_base)] {
                check(
                    format!("rotary positions of {name} layers, base {base}"),
                    rotary_difference(isa, &mut random, shape, base),
                );
            }
        }
        if config.family.gated {
            let difference = gate_difference(isa, &mut random, f, config.activation);
            check(format!("gate of {f} {:?}", config.activation), difference);
        }
        let difference = norm_difference(isa, &mut random, d, config.layer_norm_eps);
        check(format!("layer norm of {d}"), difference);
        checks
    }

    fn invariance_checks(&self) -> Result<Vec<Check>, Error> {
        let batch = self.random_batch();
        let plan = self.resolve(&EncodeOptions::default())?;
        let encode_on =
            |threads: &Threads, batch: &TokenBatch| self.encode_batch(threads, batch, &plan);
        let expected = encode_on(&self.threads, &batch)?.embeddings;

        let mut wrong = [0; 3];
        for i in 0..SEQUENCES {
            let mut alone = TokenBatch::default();
            alone.push(&batch, i);
            let found = encode_on(&self.threads, &alone)?.embeddings;
            wrong[0] += usize::from(!same_bits(found.row(0), expected.row(i)));
        }
        let mut reversed = TokenBatch::default();
        (0..SEQUENCES).rev().for_each(|i| reversed.push(&batch, i));
        let found = encode_on(&self.threads, &reversed)?.embeddings;
        for i in 0..SEQUENCES {
            wrong[1] += usize::from(!same_bits(found.row(SEQUENCES - 1 - i), expected.row(i)));
        }
        for count in [1, 2, 3] {
            let threads = Threads::new(count).map_err(|error| {
                let message = format!("worker threads: could not be started: {error}");
                Error::with_source(ErrorKind::Io, message, error)
            })?;
            let found = encode_on(&threads, &batch)?.embeddings;
            wrong[2] += usize::from(!same_bits(found.as_slice(), expected.as_slice()));
        }
        let tokens = batch.tokens();
        let compared = [
            format!("{SEQUENCES} sequences of {tokens} tokens, alone and together"),
            format!("{SEQUENCES} sequences, forwards and backwards"),
            format!("1, 2, 3 and {} threads", self.threads()),
        ];
        let checks = ["batch", "order", "threads"].into_iter().zip(wrong).zip(compared);
        Ok(checks.map(|((name, wrong), compared)| check_equal(name, wrong, compared)).collect())
    }

    /// Many short sequences, some long ones and a very long one, of random tokens.
    fn random_batch(&self) -> TokenBatch {
        let config = self.config();
        let mut random = Random::from_state(2);
        let mut batch = TokenBatch::default();
        for i in 0..SEQUENCES {
            let most = self.max_length().min(if i % 25 == 0 { LONG } else { 24 });
            let length = 1 + random_below(&mut random, most);
            let length = if i == 0 { self.max_length().min(VERY_LONG) } else { length };
            for _ in 0..length {
                batch.ids.push(random_below(&mut random, config.vocab_size) as u32);
                batch
                    .type_ids
                    .push(random_below(&mut random, config.type_vocab_size.max(1)) as u32);
                batch.spans.push(TokenSpan::default());
            }
            batch.offsets.push(batch.ids.len());
            batch.texts.push(TextTokens { total: length, kept: length });
            batch.first_texts.push(0..length);
            batch.second_texts.push(0..0);
        }
        batch
    }

    /// Compares with the reference vectors of the folder; `None` if it has none.
    fn reference_check(&self) -> Result<Option<Check>, Error> {
        #[derive(Deserialize)]
        struct Reference {
            texts: Vec<String>,
            embeddings: Vec<Vec<f32>>,
        }
        let Some(bytes) = &self.reference_vectors else { return Ok(None) };
        let reference: Reference = serde_json::from_slice(bytes.as_slice())
            .map_err(|e| Error::with_source(ErrorKind::Format, REFERENCE_FILE, e))?;
        let found = self.encode(&reference.texts)?;
        let vectors = &reference.embeddings;
        if vectors.len() != found.rows() {
            fail!(
                Format,
                "{REFERENCE_FILE}: `embeddings`: expected {}, one per text, found {}",
                found.rows(),
                vectors.len()
            );
        }
        if let Some(vector) = vectors.iter().find(|vector| vector.len() != found.columns()) {
            fail!(
                Format,
                "{REFERENCE_FILE}: `embeddings`: expected vectors of {} numbers, found {}",
                found.columns(),
                vector.len()
            );
        }
        if self.precision() == Precision::Int8 {
            let cosines = vectors.iter().enumerate();
            let worst = cosines.map(|(i, row)| closeness(found.row(i), row)).fold(1.0, f64::min);
            let detail = format!(
                "{} texts and {REFERENCE_FILE}: lowest cosine {worst:.4}, required {LEAST_COSINE}",
                found.rows()
            );
            let name = "reference vectors".to_owned();
            return Ok(Some(Check { name, passed: worst >= LEAST_COSINE, detail }));
        }
        let expected = vectors.concat();
        Ok(Some(check_difference(
            "reference vectors".to_owned(),
            &format!("{} texts and {REFERENCE_FILE}", found.rows()),
            largest_difference(found.as_slice(), &expected),
            REFERENCE_TOLERANCE,
        )))
    }
}

/// A check that passes if `difference` is at most `allowed`.
fn check_difference(name: String, compared: &str, difference: f32, allowed: f32) -> Check {
    let detail = format!("{compared}: largest difference {difference:.1e}, allowed {allowed:.0e}");
    Check { name, passed: difference <= allowed, detail }
}

/// A check that passes if no vector is wrong.
fn check_equal(name: &str, wrong: usize, compared: String) -> Check {
    let result = if wrong == 0 { "equal to the bit".to_owned() } else { format!("{wrong} differ") };
    Check {
        name: format!("{name} invariance"),
        passed: wrong == 0,
        detail: format!("{compared}: {result}"),
    }
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits()))
}

/// The largest difference of two numbers; infinite if one of them is NaN.
fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    let difference = |(a, b): (&f32, &f32)| {
        let difference = (a - b).abs();
        if difference.is_nan() { f32::INFINITY } else { difference }
    };
    a.iter().zip(b).map(difference).fold(0.0, f32::max)
}

/// The widest window in the check of attention: the plain loops take long for more.
const LARGEST_WINDOW: usize = 64;

/// Rows in the kernel checks: several register tiles and an incomplete one.
const ROWS: usize = 29;

/// The largest difference of a linear layer from its reference.
///
/// - `int8`: the kernels to test in 8 bits; `None`: single precision
fn linear_difference(
    isa: Isa,
    int8: Option<Int8Isa>,
    random: &mut Random,
    (inputs, outputs): (usize, usize),
    activation: Activation,
) -> f32 {
    let team = Team::solo();
    let cpu = Cpu::new(&team, isa);
    let x = random_numbers(random, ROWS * inputs, 1.0);
    // As large as trained weights, so that sums have an absolute value of a few units.
    let weight = random_numbers(random, outputs * inputs, 2.0 / (inputs as f32).sqrt());
    let bias = random_numbers(random, outputs, 1.0);
    let epilogue = Epilogue { bias: Some(&bias), activation, residual: None };
    let (mut fast, mut plain) = (vec![0.0; ROWS * outputs], vec![0.0; ROWS * outputs]);
    let stored = StoredTensor::from_f32(vec![outputs, inputs], &weight);
    match int8 {
        None => {
            let packed = cpu.pack(&[&stored]);
            cpu.linear(&x, &packed, epilogue, &mut fast);
            linear_reference(&x, &weight, inputs, epilogue, &mut plain);
        }
        Some(int8) => {
            let cpu = cpu.with_int8(int8);
            let packed = cpu.pack_int8(&[&stored], None);
            let mut rows = QuantizedRows::default();
            cpu.quantize_rows(&x, inputs, &mut rows);
            cpu.int8_linear(&rows, &packed, epilogue, &mut fast);
            int8_linear_reference(&rows, &packed, epilogue, &mut plain);
        }
    }
    largest_difference(&fast, &plain)
}

/// The largest difference of attention from its reference.
///
/// - `tokens`: tokens of the sequences together, most of them of the last one
fn attention_difference(isa: Isa, random: &mut Random, attention: Attention, tokens: usize) -> f32 {
    let width = attention.shape.heads * attention.shape.head_size;
    let qkv = random_numbers(random, tokens * 3 * width, 1.0);
    let offsets = [0, 1, 8, tokens];
    let (mut fast, mut plain) = (vec![0.0; tokens * width], vec![0.0; tokens * width]);
    Cpu::new(&Team::solo(), isa).attention(attention, &qkv, &offsets, &mut fast);
    attention_reference(attention, &qkv, &offsets, &mut plain);
    largest_difference(&fast, &plain)
}

/// The largest difference of queries and keys that were turned from their reference.
fn rotary_difference(isa: Isa, random: &mut Random, shape: AttentionShape, base: f32) -> f32 {
    let mut fast = random_numbers(random, ROWS * 3 * shape.heads * shape.head_size, 1.0);
    let (offsets, exact) =
        ([0, 1, 8, ROWS], fast.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
    let table = RotaryTable::new(shape.head_size, base, ROWS);
    Cpu::new(&Team::solo(), isa).rotate(shape, &table, &offsets, &mut fast);
    let plain = rotate_reference(shape, base, 1.0, &offsets, &exact);
    largest_difference(&fast, &plain.iter().map(|x| *x as f32).collect::<Vec<_>>())
}

/// The largest difference of a gated activation from its reference.
fn gate_difference(isa: Isa, random: &mut Random, width: usize, activation: Activation) -> f32 {
    let product = random_numbers(random, ROWS * 2 * width, 3.0);
    let (mut fast, mut plain) = (vec![0.0; ROWS * width], vec![0.0; ROWS * width]);
    Cpu::new(&Team::solo(), isa).gate(activation, &product, width, &mut fast);
    gate_reference(activation, &product, width, &mut plain);
    largest_difference(&fast, &plain)
}

/// The largest difference of a layer norm from its reference.
fn norm_difference(isa: Isa, random: &mut Random, width: usize, eps: f32) -> f32 {
    let (weight, bias) = (random_numbers(random, width, 1.0), random_numbers(random, width, 1.0));
    let mut fast = random_numbers(random, ROWS * width, 3.0);
    let mut plain = fast.clone();
    Cpu::new(&Team::solo(), isa).layer_norm(&mut fast, &weight, &bias, eps);
    layer_norm_reference(&mut plain, &weight, &bias, eps);
    largest_difference(&fast, &plain)
}

/// A number from 0 to `limit - 1`.
fn random_below(random: &mut Random, limit: usize) -> usize {
    (random.bits() % limit as u64) as usize
}

/// `count` numbers from −`limit` to `limit`.
fn random_numbers(random: &mut Random, count: usize, limit: f32) -> Vec<f32> {
    let number = |bits: u64| ((bits >> 40) as f32 / (1 << 23) as f32 - 1.0) * limit;
    (0..count).map(|_| number(random.bits())).collect()
}
