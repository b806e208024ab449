//! The 8-bit format, and the model that is compiled in.

use std::fs;

use polyhead_compute::StoredType;
use polyhead_model::{
    ErrorKind, LayerWeights, Linear, ModelFolder, ParameterGroup, Product, ProductRole, store_int8,
};

use polyhead_testing::{FAMILIES, tiny_model};

#[test]
#[cfg(feature = "builtin")]
fn the_builtin_model_opens_from_memory() {
    use polyhead_model::{Module, PoolingMode};

    let model = ModelFolder::builtin().unwrap();
    assert_eq!((model.config.hidden_size, model.config.layers, model.config.heads), (384, 6, 12));
    assert_eq!((model.max_length, model.dimension()), (Some(256), 384));
    assert_eq!(model.notices, Vec::<String>::new());
    let [Module::Pooling(pooling), Module::Normalize] = model.modules.as_slice() else {
        panic!("{:?}", model.modules)
    };
    assert_eq!(pooling.modes, [PoolingMode::Mean]);
    assert_eq!(model.weights.word.stored_type(), StoredType::I8);
    assert!(model.parameters.iter().all(|p| p.group != ParameterGroup::Pooler));
    assert!(model.file("tokenizer.json").unwrap().is_some());
    assert_eq!(model.encoder_directory(), None);
}

#[test]
fn an_8_bit_folder_is_near_its_original_and_the_same_every_time() {
    let others = ["tiny-distilbert-prefixed", "st6-multi", "tiny-bert-sharded"];
    for name in FAMILIES.into_iter().chain(others) {
        let original = ModelFolder::open(&tiny_model(name)).unwrap();
        let place = tempfile::tempdir().unwrap();
        let (first, second) = (place.path().join("first"), place.path().join("second"));
        store_int8(&original, &[], &first).unwrap();
        store_int8(&original, &[], &second).unwrap();
        let weights = "model.polyhead-int8.safetensors";
        assert_eq!(fs::read(first.join(weights)).unwrap(), fs::read(second.join(weights)).unwrap());
        assert!(!first.join("model.safetensors").exists());
        assert!(first.join("tokenizer.json").exists());
        assert!(!first.join("vocab.txt").exists());

        let stored = ModelFolder::open(&first).unwrap();
        assert_eq!(stored.modules.len(), original.modules.len());
        let kept = original.parameters.iter().filter(|p| p.group != ParameterGroup::Pooler);
        for (stored, original) in stored.parameters.iter().zip(kept) {
            assert_eq!(stored.name, original.name);
            // Biases of layers after a norm have been corrected: see below.
            if !stored.name.ends_with(".bias") || stored.name.to_lowercase().contains("norm") {
                check_rows(&stored.tensor, &original.tensor);
            }
        }
        check_biases(&stored, &original);
        let error = store_int8(&stored, &[], &place.path().join("third")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(!place.path().join("third").exists());
        let error = store_int8(&original, &[], &first).unwrap_err();
        assert!(error.to_string().contains("found one that exists"), "{error}");
    }
}

/// Rounding moves a weight by at most half a step of its row; factors of columns
/// are at most 1.
fn check_rows(stored: &polyhead_compute::StoredTensor, original: &polyhead_compute::StoredTensor) {
    let (mut a, mut b) = (vec![0.0; stored.columns()], vec![0.0; original.columns()]);
    for row in 0..original.rows() {
        stored.read_row(row, &mut a);
        original.read_row(row, &mut b);
        // A little above a half: the scale itself is rounded to 24 bits.
        let tolerance = stored.scales().get(row).map_or(0.0, |scale| scale * 0.50001);
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() <= tolerance, "row {row}: {a} against {b}");
        }
    }
}

/// Where the input is the bias of the norm before, rounding changes nothing:
/// `b' + W' · bias = b + W · bias`. Other biases are the same.
fn check_biases(stored: &ModelFolder, original: &ModelFolder) {
    if !original.config.biases.norm {
        // Nothing to round: layers without a bias stay without one.
        let bias = |layer: &LayerWeights| layer.query_key_value[0].bias.clone();
        assert!(stored.weights.layers.iter().all(|layer| bias(layer).is_none()));
        return;
    }
    let product = |linear: &Linear, x: &[f32]| -> Vec<f32> {
        let bias = linear.bias.clone().unwrap();
        let weight = linear.weight.to_vec();
        let rows = weight.chunks(x.len()).zip(bias);
        rows.map(|(row, b)| b + row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>()).collect()
    };
    // The embeddings' norm does not precede the first layer if they are narrow.
    let none = vec![0.0; original.config.hidden_size];
    let narrow = original.weights.projection.is_some();
    let mut before = if narrow { &none } else { &original.weights.embedding_norm.bias };
    for (stored, original) in stored.weights.layers.iter().zip(&original.weights.layers) {
        let attended = &original.attention_norm.bias;
        for (stored, original, input) in [
            (&stored.query_key_value[0], &original.query_key_value[0], before),
            (&stored.query_key_value[1], &original.query_key_value[1], before),
            (&stored.query_key_value[2], &original.query_key_value[2], before),
            (&stored.intermediate, &original.intermediate, attended),
        ] {
            let (found, expected) = (product(stored, input), product(original, input));
            for (a, b) in found.iter().zip(&expected) {
                // Sums of a hundred numbers around 1, in single precision.
                assert!((a - b).abs() < 1e-5, "{a}, not {b}");
            }
        }
        assert_eq!(stored.attention_output.bias, original.attention_output.bias);
        assert_eq!(stored.output.bias, original.output.bias);
        before = &original.output_norm.as_ref().unwrap().bias;
    }
}

#[test]
fn a_damaged_8_bit_file_is_refused() {
    struct Case {
        from: &'static str,
        to: &'static str,
        message: &'static str,
    }
    // The header is JSON text: replacements of equal length keep the file in shape.
    let cases = [
        Case {
            from: "polyhead-int8",
            to: "polyhead-int9",
            message: "expected polyhead-int8, found polyhead-int9",
        },
        Case {
            from: "word_embeddings.weight.scale",
            to: "word_embeddings.weight.scals",
            message: "tensor `embeddings.word_embeddings.weight`: expected F32, F64, F16 or BF16, found I8",
        },
        Case {
            from: "\"shape\":[156]",
            to: "\"shape\":[1,156]",
            message: "expected [156], found [1, 156]",
        },
    ];
    let original = ModelFolder::open(&tiny_model("tiny-bert")).unwrap();
    for case in cases {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("model");
        store_int8(&original, &[], &folder).unwrap();
        let file = folder.join("model.polyhead-int8.safetensors");
        let bytes = fs::read(&file).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
        assert!(header.contains(case.from), "{header}");
        let header = header.replace(case.from, case.to);
        let mut spoiled = (header.len() as u64).to_le_bytes().to_vec();
        spoiled.extend_from_slice(header.as_bytes());
        spoiled.extend_from_slice(&bytes[8 + length..]);
        fs::write(&file, spoiled).unwrap();
        let error = ModelFolder::open(&folder).unwrap_err();
        assert!(error.to_string().contains(case.message), "{error}");
    }
}

#[test]
fn products_that_are_kept_stay_in_single_precision() {
    let original = ModelFolder::open(&tiny_model("tiny-bert")).unwrap();
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    let kept = [
        Product { layer: 1, role: ProductRole::QueryKeyValue },
        Product { layer: 0, role: ProductRole::Output },
    ];
    store_int8(&original, &kept, &folder).unwrap();
    let stored = ModelFolder::open(&folder).unwrap();
    for (layer, weights) in stored.weights.layers.iter().enumerate() {
        let types = [
            &weights.query_key_value[0],
            &weights.query_key_value[1],
            &weights.query_key_value[2],
            &weights.attention_output,
            &weights.intermediate,
            &weights.output,
        ]
        .map(|linear| linear.weight.stored_type() == StoredType::I8);
        let expected = match layer {
            0 => [true, true, true, true, true, false],
            1 => [false, false, false, true, true, true],
            _ => [true; 6],
        };
        assert_eq!(types, expected, "layer {layer}");
    }
    assert_eq!(
        stored.weights.layers[0].output.weight.to_vec(),
        original.weights.layers[0].output.weight.to_vec()
    );
}

#[test]
fn a_norm_with_large_weights_is_evened_out() {
    let mut original = ModelFolder::open(&tiny_model("tiny-bert")).unwrap();
    original.weights.layers[0].attention_norm.weight[3] = 50.0;
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    store_int8(&original, &[], &folder).unwrap();
    let stored = ModelFolder::open(&folder).unwrap();
    let weight = &stored.weights.layers[0].intermediate.weight;
    let factors = weight.column_factors().expect("factors after a norm");
    assert!(factors[3] < 0.1, "{factors:?}");
    assert!(factors.iter().all(|factor| (1.0 / 64.0..=1.0).contains(factor)), "{factors:?}");
    assert!(stored.weights.layers[0].output.weight.column_factors().is_none());
    check_rows(weight, &original.weights.layers[0].intermediate.weight);
}
