//! The model that is compiled into Polyhead, as bytes.
//!
//! all-MiniLM-L6-v2 by the sentence-transformers team (Apache-2.0) with 8-bit
//! weights; `model/PROVENANCE.md` says where it is from, what was changed and
//! which command made it. A crate of its own, so that its 23 MB are compiled
//! once and only where they are wanted. `polyhead-model` reads it the way it
//! reads a folder.
//!
//! ```
//! let (name, data) = polyhead_builtin::FILES[0];
//! assert_eq!(name, "modules.json");
//! assert!(!data.is_empty());
//! ```
#![forbid(unsafe_code)]

/// The files of the model folder: path inside it, with `/`, and content.
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
    // Whoever passes the program on passes the licence on with it.
    ("LICENSE", include_bytes!("../model/LICENSE")),
    ("PROVENANCE.md", include_bytes!("../model/PROVENANCE.md")),
];
