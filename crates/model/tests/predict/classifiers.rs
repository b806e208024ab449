//! Classifiers of transformers: their logits and gradients are those of PyTorch.

use polyhead_compute::Threads;
use polyhead_model::{
    Gradients, Mode, ModelFolder, Network, NetworkInput, NetworkOptions, Pass, RequestOptions,
    Sequences, TrainableLayout,
};
use polyhead_testing::{Classifier, assert_close, largest};
use polyhead_text::TextInput;

use crate::model;

/// All classifiers with their descriptions.
fn all() -> impl Iterator<Item = (String, Classifier)> {
    Classifier::all()
        .map(|classifier| (format!("{} {}", classifier.name, classifier.case), classifier))
}

/// Words of a text, for heads that tag words; else the text.
fn input(folder: &ModelFolder, text: &'static str) -> TextInput<&'static str> {
    match folder.heads[0].spec.kind.reads_words() {
        true => TextInput::Words(text.split(' ').collect()),
        false => TextInput::One(text),
    }
}

#[test]
fn logits_are_those_of_pytorch() {
    let place = tempfile::tempdir().unwrap();
    for (what, classifier) in all() {
        let folder = ModelFolder::open(&classifier.write(place.path())).unwrap();
        assert!(folder.has_published_head(), "{what}");
        assert_eq!(folder.heads[0].spec.name, "label", "{what}");
        let texts: Vec<&'static str> =
            classifier.texts().into_iter().map(|text| &*text.to_owned().leak()).collect();
        let inputs: Vec<_> = texts.iter().map(|text| input(&folder, text)).collect();
        let model = model(folder, 2);
        let found = model.predict_inputs(&inputs, &RequestOptions::default()).unwrap();
        for (index, text) in found.texts.iter().enumerate() {
            let expected = classifier.get(&format!("logits.{index}"));
            let logits = text.tasks[0].logits.as_slice();
            // Sums of 80 products of numbers of up to 5, after two layers.
            assert_close(&what, logits, expected, 1e-5 * largest(expected).max(1.0));
        }
    }
}

#[test]
fn gradients_are_those_of_pytorch() {
    let place = tempfile::tempdir().unwrap();
    let threads = Threads::new(2).unwrap();
    for (what, classifier) in all() {
        let folder = ModelFolder::open(&classifier.write(place.path())).unwrap();
        let spec = folder.heads[0].spec.clone();
        let options = NetworkOptions {
            hidden_dropout: Some(0.0),
            attention_dropout: Some(0.0),
            ..Default::default()
        };
        let mut heads = folder.heads.clone();
        heads[0].spec.dropout = 0.0;
        let mut network = Network::new(&folder, &heads, &options, &threads).unwrap();
        let flags = vec![true; network.store().entries().len()];
        let layout = TrainableLayout::new(network.store(), &flags);
        let mut gradients = Gradients::new(layout.clone());
        let depth = network.depth(&layout, &[true]);
        let reader = polyhead_model::TextReader::from_folder(&folder, None).unwrap();
        threads.cpu(network.isa(), |cpu| {
            network.prepare_backward(cpu, &depth);
            for (index, text) in classifier.texts().into_iter().enumerate() {
                let words: Vec<&str> = text.split(' ').collect();
                let inputs = match spec.kind.reads_words() {
                    true => [TextInput::Words(words)],
                    false => [TextInput::One(text)],
                };
                let batch = reader.tokenize(&threads, &inputs, "", Default::default()).unwrap();
                let places = inputs[0].words(&spec.words);
                let words = batch.first_tokens(0, &places);
                let words: Vec<usize> = words.into_iter().map(|at| at.unwrap() as usize).collect();
                let input = NetworkInput {
                    sequences: Sequences {
                        ids: &batch.ids,
                        type_ids: &batch.type_ids,
                        offsets: &batch.offsets,
                    },
                    rows: &[0],
                    words: if spec.kind.reads_words() { &words } else { &[] },
                    prompt_tokens: 0,
                    known: None,
                };
                let mut pass = Pass::default();
                let mode = Mode::Train { seed: 1, step: 1 };
                network.forward(cpu, &input, mode, &depth, &[true], &mut pass);
                let (_, slopes) = pass.logits_and_gradient(0);
                slopes.copy_from_slice(classifier.get(&format!("dlogits.{index}")));
                network.backward(cpu, &input, &depth, &mut pass, &mut gradients);
            }
            gradients.close(cpu);
        });
        let encoder = classifier.about()["encoder"].as_str().unwrap();
        let mut compared = 0;
        for (index, entry) in network.store().entries().iter().enumerate() {
            let part = match entry.name.strip_prefix("heads.label.") {
                Some(part) => part,
                None if entry.name == encoder => "encoder",
                None => continue,
            };
            let expected = classifier.get(&format!("grad.{part}"));
            let found = gradients.get(index).unwrap();
            let what = format!("{what} {part}");
            // As in `every_gradient_follows_pytorch`, with PyTorch's single precision.
            assert_close(&what, found, expected, 1e-5 * largest(expected).max(1.0));
            compared += 1;
        }
        let expected = classifier.golden.names(&format!("{}.grad.", classifier.case)).len();
        assert_eq!(compared, expected, "{what}");
    }
}
