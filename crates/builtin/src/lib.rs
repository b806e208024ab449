//! The built-in model and the demo's data set, as bytes.
//!
//! The model is all-MiniLM-L6-v2 by the sentence-transformers team (Apache-2.0)
//! with 8-bit weights; `model/PROVENANCE.md` says where it comes from, what was
//! changed and which command made it. It has a crate of its own so that its
//! 23 MB are compiled once, and only where they are needed. `polyhead-model`
//! reads it as it reads a folder.
//!
//! The data set is described in `demo/README.md` (CC BY 4.0).
//!
//! ```
//! let (name, data) = polyhead_builtin::FILES[0];
//! assert_eq!(name, "modules.json");
//! assert!(!data.is_empty());
//! ```
#![forbid(unsafe_code)]

/// Files of the built-in model folder: path inside it, with `/`, and content.
pub static FILES: &[(&str, &[u8])] = &[
    ("modules.json", include_bytes!("../model/modules.json")),
    ("config.json", include_bytes!("../model/config.json")),
    ("sentence_bert_config.json", include_bytes!("../model/sentence_bert_config.json")),
    (
        "config_sentence_transformers.json",
        include_bytes!("../model/config_sentence_transformers.json"),
    ),
    ("1_Pooling/config.json", include_bytes!("../model/1_Pooling/config.json")),
    ("tokenizer.json", include_bytes!("../model/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../model/tokenizer_config.json")),
    ("special_tokens_map.json", include_bytes!("../model/special_tokens_map.json")),
    ("model.polyhead-int8.safetensors", include_bytes!("../model/model.polyhead-int8.safetensors")),
    ("reference_vectors.json", include_bytes!("../model/reference_vectors.json")),
    // The licence must travel with the weights.
    ("LICENSE", include_bytes!("../model/LICENSE")),
    ("PROVENANCE.md", include_bytes!("../model/PROVENANCE.md")),
];

/// Files of the demo's data set (`data/demo` in the repository): name and content.
pub static DEMO: [(&str, &str); 4] = [
    ("README.md", include_str!("../demo/README.md")),
    ("train.jsonl", include_str!("../demo/train.jsonl")),
    ("dev.jsonl", DEMO_DEV),
    ("test.jsonl", include_str!("../demo/test.jsonl")),
];

/// The dev split of the demo's data set: JSON Lines with `text`, `topic`, `sentiment`.
pub static DEMO_DEV: &str = include_str!("../demo/dev.jsonl");
