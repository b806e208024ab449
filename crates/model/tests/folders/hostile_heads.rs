//! Damaged and hostile heads: each folder is refused, and the message says where and why.

use std::fs;
use std::path::PathBuf;

use polyhead_model::{Error, ErrorKind, ModelFolder, NetworkOptions};
use serde_json::{Value, json};

use crate::tiny_models::{Tensor, file_of, read_tensors};
use crate::trained::write;
use polyhead_testing::tiny_model;

/// A folder with a head of every kind, which the tests damage.
struct Spoiled(tempfile::TempDir);

impl Spoiled {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let start = ModelFolder::open(&tiny_model("tiny-bert")).unwrap();
        write(&start, &NetworkOptions::default(), place.path());
        Self(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn edit(&self, pointer: &str, value: Value) {
        let path = self.path("polyhead.json");
        let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        *json.pointer_mut(pointer).unwrap() = value;
        fs::write(path, json.to_string()).unwrap();
    }

    fn edit_tensors(&self, change: impl FnOnce(&mut Vec<Tensor>)) {
        let path = self.path("heads.safetensors");
        let mut tensors = read_tensors(&path);
        change(&mut tensors);
        fs::write(path, file_of(&tensors)).unwrap();
    }

    fn edit_tensor(&self, name: &str, change: impl FnOnce(&mut Tensor)) {
        self.edit_tensors(|tensors| change(tensors.iter_mut().find(|t| t.name == name).unwrap()));
    }

    fn open(&self) -> Result<ModelFolder, Error> {
        ModelFolder::open(self.0.path())
    }
}

#[test]
fn heads_that_do_not_fit_are_refused() {
    struct Case {
        spoil: fn(&Spoiled),
        kind: ErrorKind,
        message: &'static str,
    }
    let cases = [
        Case {
            spoil: |folder| folder.edit("/schema_version", json!(5)),
            kind: ErrorKind::Unsupported,
            message: "polyhead.json: `schema_version`: expected 1 to 4, found 5: a later version of \
                      Polyhead wrote this folder, and ",
        },
        Case {
            spoil: |folder| fs::write(folder.path("polyhead.json"), "{}").unwrap(),
            kind: ErrorKind::Unsupported,
            message: "`schema_version`: expected 1 to 4, found nothing",
        },
        Case {
            spoil: |folder| folder.edit("/schema_version", json!(0)),
            kind: ErrorKind::Unsupported,
            message: "`schema_version`: expected 1 to 4, found 0",
        },
        Case {
            spoil: |folder| folder.edit("/schema_version", json!("2")),
            kind: ErrorKind::Unsupported,
            message: "`schema_version`: expected 1 to 4, found \"2\"",
        },
        Case {
            spoil: |folder| fs::write(folder.path("polyhead.json"), "[]").unwrap(),
            kind: ErrorKind::Format,
            message: "polyhead.json: ",
        },
        Case {
            spoil: |folder| fs::write(folder.path("polyhead.json"), "[".repeat(1 << 20)).unwrap(),
            kind: ErrorKind::Format,
            message: "polyhead.json: ",
        },
        Case {
            spoil: |folder| {
                let file = fs::File::create(folder.path("polyhead.json")).unwrap();
                file.set_len(1 << 40).unwrap();
            },
            kind: ErrorKind::Format,
            message: "expected at most 8388608 bytes, found more",
        },
        Case {
            spoil: |folder| folder.edit("/tasks/0/labels", json!(["sport", "politics"])),
            kind: ErrorKind::Format,
            message: "heads.safetensors: tensor `heads.topic.weight`: expected [2, 40], found [3, 40]",
        },
        Case {
            spoil: |folder| folder.edit("/tasks/0/pooling/modes", json!(["cls", "max"])),
            kind: ErrorKind::Format,
            message: "tensor `heads.topic.weight`: expected [3, 80], found [3, 40]",
        },
        Case {
            spoil: |folder| folder.edit("/tasks/3/layer", json!(3)),
            kind: ErrorKind::Format,
            message: "polyhead.json: head `entities`: layer: expected 0 to 2, found 3",
        },
        Case {
            spoil: |folder| folder.edit("/tasks/3/layer", json!("mix")),
            kind: ErrorKind::Format,
            message: "missing tensors: `heads.entities.mix`",
        },
        Case {
            spoil: |folder| folder.edit("/tasks/3/input", json!("embedding")),
            kind: ErrorKind::Format,
            message: "head `entities`: input = \"embedding\"",
        },
        Case {
            spoil: |folder| folder.edit("/tasks/1/hidden", json!(65536)),
            kind: ErrorKind::Format,
            message: "tensor `heads.moods.hidden.weight`: expected [65536, 40], found [9, 40]",
        },
        Case {
            spoil: |folder| folder.edit("/tasks/1/hidden", json!(null)),
            kind: ErrorKind::Format,
            message: "tensor `heads.moods.weight`: expected [2, 40], found [2, 9]",
        },
        Case {
            spoil: |folder| folder.edit("/tasks/0/name", json!("subject")),
            kind: ErrorKind::Format,
            message: "missing tensors: `heads.subject.weight`, `heads.subject.bias`",
        },
        Case {
            spoil: |folder| folder.edit("/tasks", json!([])),
            kind: ErrorKind::Format,
            message: "unexpected tensors: `heads.entities.bias`",
        },
        Case {
            spoil: |folder| fs::remove_file(folder.path("heads.safetensors")).unwrap(),
            kind: ErrorKind::Format,
            message: "heads.safetensors: no such file, but polyhead.json lists 5 tasks",
        },
        Case {
            spoil: |folder| fs::write(folder.path("heads.safetensors"), [0xff; 16]).unwrap(),
            kind: ErrorKind::Format,
            message: "heads.safetensors: expected a header of at most",
        },
        Case {
            spoil: |folder| {
                folder.edit_tensors(|tensors| {
                    let mut other = tensors[0].clone();
                    other.name = "heads.other.bias".into();
                    tensors.push(other);
                });
            },
            kind: ErrorKind::Format,
            message: "unexpected tensors: `heads.other.bias`",
        },
        Case {
            spoil: |folder| folder.edit_tensor("heads.topic.weight", |t| t.shape.reverse()),
            kind: ErrorKind::Format,
            message: "tensor `heads.topic.weight`: expected [3, 40], found [40, 3]",
        },
        Case {
            spoil: |folder| folder.edit_tensor("heads.topic.bias", |t| t.dtype = "I32".into()),
            kind: ErrorKind::Unsupported,
            message: "tensor `heads.topic.bias`: expected F32, F64, F16 or BF16, found I32",
        },
        Case {
            spoil: |folder| {
                folder.edit_tensor("heads.topic.bias", |t| {
                    t.data[..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
                });
            },
            kind: ErrorKind::NotFinite,
            message: "tensor `heads.topic.bias`: expected finite numbers, found inf",
        },
    ];
    for case in cases {
        let folder = Spoiled::new();
        (case.spoil)(&folder);
        let error = folder.open().unwrap_err();
        assert!(error.to_string().contains(case.message), "{:?} in {error}", case.message);
        assert_eq!(error.kind(), case.kind, "{error}");
    }
}

#[test]
fn what_is_odd_is_said() {
    let folder = Spoiled::new();
    folder.edit("/pooling/modes", json!(["cls", "max"]));
    let [notice] = &folder.open().unwrap().notices[..] else { panic!() };
    assert!(notice.ends_with("trained with pooling cls + max, the folder now says pooling mean"));

    let folder = Spoiled::new();
    fs::remove_file(folder.path("polyhead.json")).unwrap();
    let opened = folder.open().unwrap();
    assert!(opened.heads.is_empty());
    assert!(opened.notices[0].ends_with("heads.safetensors: no polyhead.json, so it is not used"));
}
