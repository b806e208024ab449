//! Logits compared with plain loops in double precision, and with the training network.

use polyhead_compute::{Isa, Threads};
use polyhead_model::{
    Answer, Encoder, HeadInput, HeadLayer, HeadWeights, Mode, ModelFolder, MultiTaskModel, Network,
    NetworkInput, NetworkOptions, OnTruncate, Pass, Precision, RequestOptions, Sequences, TaskKind,
    TrainableLayout, Vectors, Workspace,
};
use polyhead_testing::FAMILIES;
use polyhead_text::{TextInput, TokenBatch, WordSplit, spans_in_texts};

use crate::{model, texts, with_heads};

/// `f(x Wᵀ + b)`
fn linear(x: &[f64], (weight, bias): &(Vec<f32>, Vec<f32>), f: impl Fn(f64) -> f64) -> Vec<f64> {
    let rows = weight.chunks_exact(x.len()).zip(bias);
    rows.map(|(row, bias)| {
        let sum: f64 = row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum();
        f(sum + f64::from(*bias))
    })
    .collect()
}

fn logits(head: &HeadWeights, x: &[f64]) -> Vec<f64> {
    match &head.hidden {
        None => linear(x, &head.output, |x| x),
        Some(hidden) => {
            let gelu = |x: f64| f64::from(head.spec.activation.reference(x as f32));
            let layer = (hidden.weight.clone(), hidden.bias.clone().unwrap());
            linear(&linear(x, &layer, gelu), &head.output, |x| x)
        }
    }
}

/// All hidden states of one sequence, `[L + 1][T · D]`.
fn states(folder: &ModelFolder, ids: &[u32], type_ids: &[u32]) -> Vec<Vec<f64>> {
    let threads = Threads::new(1).unwrap();
    let encoder = Encoder::new(
        folder.config.clone(),
        folder.weights.clone(),
        Isa::detect(),
        Precision::F32,
        &threads,
    );
    let mut states = Vec::new();
    let input = Sequences { ids, type_ids, offsets: &[0, ids.len()] };
    threads.cpu(encoder.isa(), |cpu| {
        encoder.forward_observed(cpu, input, &mut Workspace::default(), &mut |_, state| {
            states.push(state.iter().map(|x| f64::from(*x)).collect());
        });
    });
    states
}

/// What the head reads, `[T · D]`.
fn read(head: &HeadWeights, states: &[Vec<f64>]) -> Vec<f64> {
    match (head.spec.layer, &head.mix) {
        (HeadLayer::Last, _) => states[states.len() - 1].clone(),
        (HeadLayer::At(layer), _) => states[layer].clone(),
        (HeadLayer::Mix, mix) => {
            let powers: Vec<f64> =
                mix.as_ref().unwrap().iter().map(|x| f64::from(*x).exp()).collect();
            let sum: f64 = powers.iter().sum();
            (0..states[0].len())
                .map(|i| powers.iter().zip(states).map(|(p, state)| p / sum * state[i]).sum())
                .collect()
        }
    }
}

/// Sums of some dozens of numbers near 1, in f32 against f64, after the encoder.
const TOLERANCE: f64 = 2e-5;

#[track_caller]
fn check_row(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(*found) - expected).abs();
        assert!(difference <= TOLERANCE, "{what}: {i}: {found} against {expected}");
    }
}

/// Texts, pairs and words in turn.
fn inputs(count: usize) -> Vec<TextInput> {
    let texts = texts(count + 1);
    let input = |i: usize| match i % 3 {
        0 => TextInput::One(texts[i].clone()),
        1 => TextInput::Pair(texts[i].clone(), texts[i + 1].clone()),
        _ => TextInput::Words(texts[i].split_whitespace().map(str::to_owned).collect()),
    };
    (0..count).map(input).collect()
}

/// The tokens of `inputs`, with spans in them.
fn tokens(model: &MultiTaskModel, inputs: &[TextInput], prompt: &str) -> TokenBatch {
    let (reader, threads) = (model.encoder().reader(), Threads::new(1).unwrap());
    let mut batch = reader.tokenize(&threads, inputs, prompt, OnTruncate::Cut).unwrap();
    spans_in_texts(&mut batch, inputs, prompt, reader.lower_case());
    batch
}

#[test]
fn logits_are_those_of_plain_loops() {
    for name in FAMILIES.into_iter().chain(["st6-dense", "st6-multi"]) {
        let folder = with_heads(name);
        let model = model(folder.clone(), 2);
        let inputs = inputs(30);
        let vectors = Some(Vectors::default());
        let options = RequestOptions { vectors, ..RequestOptions::default() };
        let found = model.predict_inputs(&inputs, &options).unwrap();
        let prompt = match &folder.default_prompt_name {
            Some(name) => folder.prompt(name).unwrap(),
            None => "",
        };
        let batch = tokens(&model, &inputs, prompt);
        let vectors = found.vectors().unwrap();
        let tokens: Vec<_> = found.texts.iter().map(|text| text.tokens).collect();
        assert_eq!(tokens, batch.texts, "{name}");

        for (i, text) in inputs.iter().enumerate() {
            if text.second().is_none() {
                let alone = model.encoder().encode(&[text.text()]).unwrap();
                assert_eq!(alone.row(0), vectors.row(i), "{name}");
            }
            let at = batch.sequence(i);
            let states = states(&folder, &batch.ids[at.clone()], &batch.type_ids[at.clone()]);
            for (head, task) in folder.heads.iter().zip(&found.texts[i].tasks) {
                let what = format!("{name}: {}: {text:?}", head.spec.name);
                let state = read(head, &states);
                let width = folder.config.hidden_size;
                if head.spec.kind == TaskKind::Tokens {
                    let words = text.words(&WordSplit::default());
                    let tokens = batch.first_tokens(i, &words);
                    let Answer::Tokens(tagged) = &task.answer else { panic!("{what}") };
                    assert_eq!(tagged.words.len(), words.len(), "{what}");
                    let mut rows_before = 0;
                    for (word, token) in tagged.words.iter().zip(tokens) {
                        assert_eq!(word.row.is_some(), token.is_some(), "{what}");
                        let (Some(row), Some(token)) = (word.row, token) else { continue };
                        let start = token as usize * width;
                        let expected = logits(head, &state[start..start + width]);
                        check_row(task.logits.row(row), &expected, &what);
                        assert_eq!(row, rows_before, "{what}");
                        rows_before += 1;
                    }
                    assert_eq!(task.logits.rows(), rows_before, "{what}");
                    continue;
                }
                let x: Vec<f64> = match head.spec.input {
                    HeadInput::Embedding => vectors.row(i).iter().map(|x| f64::from(*x)).collect(),
                    HeadInput::Pooled => (0..width)
                        .map(|column| {
                            let tokens = state.len() / width;
                            let column = state.iter().skip(column).step_by(width);
                            column.sum::<f64>() / tokens as f64
                        })
                        .collect(),
                };
                check_row(task.logits.row(0), &logits(head, &x), &what);
            }
        }
    }
}

#[test]
fn logits_are_those_of_the_network_that_trains() {
    let mut folder = with_heads("st6-multi");
    // A head that leaves the prompt out, on a model with a default prompt.
    folder.heads[0].spec.pooling.include_prompt = false;
    let inputs = inputs(20);
    let model = model(folder.clone(), 1);
    let found = model.predict_inputs(&inputs, &RequestOptions::default()).unwrap();

    let threads = Threads::new(1).unwrap();
    let network =
        Network::new(&folder, &folder.heads, &NetworkOptions::default(), &threads).unwrap();
    let prompt = folder.prompt("query").unwrap();
    let batch = tokens(&model, &inputs, prompt);
    let words: Vec<usize> = (0..batch.len())
        .flat_map(|i| {
            let start = batch.offsets[i];
            let tokens = batch.first_tokens(i, &inputs[i].words(&WordSplit::default()));
            tokens.into_iter().flatten().map(move |token| start + token as usize)
        })
        .collect();
    let rows: Vec<u32> = (0..batch.len() as u32).collect();
    let input = NetworkInput {
        sequences: Sequences {
            ids: &batch.ids,
            type_ids: &batch.type_ids,
            offsets: &batch.offsets,
        },
        rows: &rows,
        words: &words,
        prompt_tokens: model.encoder().reader().tokenizer().count_prompt_tokens(prompt).unwrap(),
        known: None,
    };
    let layout =
        TrainableLayout::new(network.store(), &vec![false; network.store().entries().len()]);
    let active = vec![true; folder.heads.len()];
    let depth = network.depth(&layout, &active);
    let mut pass = Pass::default();
    threads.cpu(network.isa(), |cpu| {
        network.forward(cpu, &input, Mode::Evaluate, &depth, &active, &mut pass)
    });
    for (index, head) in found.tasks.iter().enumerate() {
        let logits = found.texts.iter().flat_map(|text| text.tasks[index].logits.as_slice());
        let logits: Vec<f32> = logits.copied().collect();
        assert_eq!(logits.len(), pass.logits(index).len(), "{}", head.name);
        let rows = logits.chunks_exact(head.outputs());
        for (row, trained) in rows.zip(pass.logits(index).chunks_exact(head.outputs())) {
            let expected: Vec<f64> = trained.iter().map(|x| f64::from(*x)).collect();
            check_row(row, &expected, &head.name);
        }
    }
}
