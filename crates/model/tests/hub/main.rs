//! Finding models by name, with an honest server on this machine and a dishonest one.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]
#![cfg(feature = "hub")]

mod server;

use std::fs;
use std::path::{Path, PathBuf};

use polyhead_compute::Threads;
use polyhead_model::{
    Error, ErrorKind, Hub, ModelFolder, Network, NetworkOptions, Provenance, TrainedModel,
};
use polyhead_testing::{FAMILIES, check_mutations, copy_folder, file_names, heads, tiny_model};
use polyhead_text::{TextInput, Tokenizer};
use serde_json::json;
use server::{Answer, COMMIT, ResolvedRequest, Server};

/// An address at which no server answers.
const NO_SERVER: &str = "http://127.0.0.1:9";

/// A cache of its own for a test.
struct Cache(tempfile::TempDir);

impl Cache {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn hub(&self, endpoint: &str) -> Hub {
        let cache = Some(self.0.path().to_owned());
        Hub { cache, endpoint: endpoint.to_owned(), token: None, offline: false }
    }

    /// [`hub`](Self::hub) without the network.
    fn offline(&self, endpoint: &str) -> Hub {
        Hub { offline: true, ..self.hub(endpoint) }
    }

    /// Every file in the cache, by its path.
    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let inside = path.strip_prefix(self.0.path()).unwrap();
                    files.push(inside.to_string_lossy().into_owned());
                }
            }
        }
        files.sort();
        files
    }

    fn snapshot(&self) -> PathBuf {
        self.0.path().join("models--org--tiny/snapshots").join(COMMIT)
    }

    /// Puts files into the cache as another program would.
    fn put(&self, model: &str, names: &[&str]) {
        fs::create_dir_all(self.snapshot()).unwrap();
        for name in names {
            fs::copy(tiny_model(model).join(name), self.snapshot().join(name)).unwrap();
        }
        let references = self.0.path().join("models--org--tiny/refs");
        fs::create_dir_all(&references).unwrap();
        fs::write(references.join("main"), COMMIT).unwrap();
    }
}

#[test]
fn a_folder_comes_before_all_else() {
    let cache = Cache::new();
    let folder = tiny_model("tiny-bert");
    let name = folder.to_str().unwrap();
    assert_eq!(cache.hub(NO_SERVER).resolve(name).unwrap(), folder);
}

#[test]
fn a_model_is_downloaded_once_and_only_what_it_needs() {
    let others = ["st6-multi", "st3-dense", "tiny-bert-sharded", "tiny-bert-vocab-only"];
    for model in FAMILIES.into_iter().chain(others) {
        let cache = Cache::new();
        let server = Server::of(model);
        let folder = cache.hub(&server.url()).resolve("org/tiny").unwrap();
        assert_eq!(folder, cache.snapshot());
        let expected = ModelFolder::open(&tiny_model(model)).unwrap();
        let found = ModelFolder::open(&folder).unwrap();
        assert_eq!(found.modules.len(), expected.modules.len(), "{model}");
        assert_eq!(found.parameters.len(), expected.parameters.len(), "{model}");
        assert_eq!(found.prompts, expected.prompts, "{model}");
        for request in server.requests() {
            assert!(!request.contains("README") && !request.contains("pytorch_model"), "{request}");
            assert!(!request.contains("vocab.txt") || model == "tiny-bert-vocab-only", "{request}");
        }
        drop(server);
        assert_eq!(cache.hub(NO_SERVER).resolve("org/tiny").unwrap(), folder, "{model}");
        assert_eq!(cache.offline(NO_SERVER).resolve("org/tiny").unwrap(), folder, "{model}");
        assert!(
            cache.files().iter().all(|file| !file.contains(".polyhead-")),
            "{:?}",
            cache.files()
        );
    }
}

/// A folder without the weights of its encoder is complete; these are another model's.
#[test]
fn a_model_that_refers_to_its_encoder_is_downloaded_without_it() {
    for name in ["tiny-bert", "tiny-bert-sharded", "st3-dense"] {
        let place = tempfile::tempdir().unwrap();
        let (base, model) = (place.path().join("base"), place.path().join("model"));
        copy_folder(&tiny_model(name), &base);
        let start = ModelFolder::open(&base).unwrap();
        let threads = Threads::new(1).unwrap();
        let heads = heads(&start);
        let network = Network::new(&start, &heads, &NetworkOptions::default(), &threads).unwrap();
        let mut trained = TrainedModel::new(&start, &network, 40, provenance());
        trained.reference = Some(start.refer_to_encoder("org/base").unwrap());
        trained.write(&model).unwrap();
        drop(start);

        let files = file_names(&model);
        let server = Server::new(move |request| {
            if request.path.starts_with("/api/") {
                let files = files.iter().map(|name| json!({"rfilename": name}));
                return Answer::json(
                    &json!({"sha": COMMIT, "siblings": files.collect::<Vec<_>>()}),
                );
            }
            let file = request.path.strip_prefix(&format!("/org/tiny/resolve/{COMMIT}/"));
            match file.map(|file| fs::read(model.join(file))) {
                Some(Ok(body)) => Answer::of(body),
                _ => Answer::status(404),
            }
        });
        let cache = Cache::new();
        let folder = cache.hub(&server.url()).resolve("org/tiny").unwrap();
        let open = || ModelFolder::open(&folder).map(|folder| folder.heads.len());
        assert_eq!(open().unwrap(), heads.len(), "{name}");
        // The snapshot counts as complete.
        assert_eq!(cache.offline(NO_SERVER).resolve("org/tiny").unwrap(), folder, "{name}");
        fs::remove_dir_all(&base).unwrap();
        let error = open().unwrap_err().to_string();
        assert!(error.contains("needs that of `org/base`, which was not found"), "{error}");
        assert!(error.contains("download it with `polyhead inspect org/base`"), "{error}");
        // A module's settings are the folder's own.
        fs::remove_file(folder.join("config.json")).unwrap();
        let error = cache.offline(NO_SERVER).resolve("org/tiny").unwrap_err().to_string();
        assert!(error.contains("lacks config.json"), "{error}");
    }
}

fn provenance() -> Provenance {
    Provenance {
        base_model: "org/base".into(),
        data_hash: "0".repeat(64),
        config_hash: "1".repeat(64),
        polyhead_version: "0.4.0".into(),
        step: 1,
        epoch: 1,
        metrics: json!({}),
        warnings: Vec::new(),
    }
}

#[test]
fn revisions_are_kept_apart() {
    let cache = Cache::new();
    let server = Server::of("tiny-bert");
    let hub = cache.hub(&server.url());
    let folder = hub.resolve("org/tiny@refs/pr/1").unwrap();
    assert!(server.requests()[0].contains("/api/models/org/tiny/revision/refs%2Fpr%2F1"));
    assert_eq!(hub.resolve(&format!("org/tiny@{COMMIT}")).unwrap(), folder);
    let count = server.requests().len();
    assert_eq!(hub.resolve("org/tiny@refs/pr/1").unwrap(), folder);
    assert_eq!(server.requests().len(), count);
    let error = Hub { offline: true, ..hub }.resolve("org/tiny").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Hub);
}

#[test]
fn offline_never_asks_and_says_where_it_looked() {
    let cache = Cache::new();
    let server = Server::of("tiny-bert");
    let error = cache.offline(&server.url()).resolve("org/tiny").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Hub);
    let place = cache.0.path().join("models--org--tiny");
    assert!(error.to_string().contains(&place.display().to_string()), "{error}");
    assert!(error.to_string().starts_with("no folder `org/tiny`; as a name on the hub"), "{error}");
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[test]
fn a_name_that_is_found_nowhere_says_where_it_was_looked_for() {
    let cache = Cache::new();
    let server = Server::new(|_| Answer::status(404));
    for (endpoint, cause) in [(server.url(), "status 404: no such model"), (NO_SERVER.into(), "")] {
        let error = cache.hub(&endpoint).resolve("runs/nope").unwrap_err().to_string();
        let start = "no folder `runs/nope`; as a name on the hub it was not found in the cache (";
        assert!(error.starts_with(start) && error.contains(cause), "{error}");
        assert!(error.contains(&format!("), and `runs/nope`: {endpoint}")), "{error}");
    }
}

#[test]
fn what_is_no_name_is_not_asked_for() {
    let cache = Cache::new();
    let server = Server::of("tiny-bert");
    for name in ["./absent", "/absent", "a/b/c", "../absent", "org/tiny@../x", "org/ti ny", ""] {
        let error = cache.hub(&server.url()).resolve(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Hub, "{name:?}");
        let expected = format!("no folder `{name}`, and no name on the hub: expected ");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[test]
fn a_snapshot_of_another_program_is_completed() {
    let cache = Cache::new();
    cache.put("st3-dense", &["config.json", "model.safetensors", "tokenizer.json"]);
    // It could pass for a plain model; only the hub knows that it is none.
    let offline = cache.offline(NO_SERVER).resolve("org/tiny").unwrap();
    assert_eq!(offline, cache.snapshot());
    assert_eq!(cache.hub(NO_SERVER).resolve("org/tiny").unwrap(), cache.snapshot());
    let server = Server::of("st3-dense");
    let folder = cache.hub(&server.url()).resolve("org/tiny").unwrap();
    assert_eq!(ModelFolder::open(&folder).unwrap().dimension(), 24);
    assert!(
        server
            .requests()
            .iter()
            .all(|request| !request.ends_with("/model.safetensors") || request.contains("2_Dense"))
    );

    // A plain model stays plain, and the hub gets no more requests.
    let cache = Cache::new();
    cache.put("tiny-bert", &["config.json", "model.safetensors", "tokenizer.json"]);
    let server = Server::of("tiny-bert");
    assert_eq!(cache.hub(&server.url()).resolve("org/tiny").unwrap(), cache.snapshot());
    assert_eq!(cache.hub(&server.url()).resolve("org/tiny").unwrap(), cache.snapshot());
    assert_eq!(server.requests().len(), 1, "{:?}", server.requests());

    let cache = Cache::new();
    cache.put("tiny-bert", &["config.json"]);
    let error = cache.offline(NO_SERVER).resolve("org/tiny").unwrap_err();
    assert!(error.to_string().contains("lacks tokenizer.json"), "{error}");
    assert_eq!(cache.hub(NO_SERVER).resolve("org/tiny").unwrap_err().kind(), ErrorKind::Hub);
}

#[test]
fn the_token_goes_to_the_server_and_nowhere_else() {
    let model = Server::of("tiny-bert");
    let storage = model.port();
    // Answers the question itself and sends files from elsewhere, as the hub does.
    let front = Server::new(move |request| {
        if request.path.starts_with("/api/") {
            return server::listing("tiny-bert");
        }
        let place = format!("http://localhost:{storage}{}", request.path);
        Answer { status: 302, headers: vec![("Location".to_owned(), place)], ..Answer::default() }
    });
    let cache = Cache::new();
    let hub = Hub { token: Some("secret".to_owned()), ..cache.hub(&front.url()) };
    assert!(!format!("{hub:?}").contains("secret"));
    hub.resolve("org/tiny").unwrap();
    let tokens = front.tokens();
    assert!(
        !tokens.is_empty() && tokens.iter().all(|token| token == "Bearer secret"),
        "{tokens:?}"
    );
    assert_eq!(model.tokens(), Vec::<String>::new());
    assert!(!model.requests().is_empty());
}

#[test]
fn a_repository_with_pickles_alone_is_refused_before_anything_is_kept() {
    let server = Server::new(|request| {
        if request.path.starts_with("/api/") {
            let files =
                [json!({"rfilename": "config.json"}), json!({"rfilename": "pytorch_model.bin"})];
            return Answer::json(&json!({"sha": COMMIT, "siblings": files}));
        }
        server::file("tiny-bert", request)
    });
    let cache = Cache::new();
    let error = cache.hub(&server.url()).resolve("org/tiny").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.to_string().lines().count(), 3, "{error}");
    assert_eq!(cache.files(), Vec::<String>::new());
}

/// A server that lies in one place, and what must be said about it.
struct Lie {
    model: &'static str,
    /// Changes an answer, or leaves it.
    tell: fn(&ResolvedRequest, Answer) -> Answer,
    message: &'static str,
}

#[test]
fn a_lying_server_gets_an_error_and_leaves_nothing_behind() {
    fn for_path(request: &ResolvedRequest, end: &str) -> bool {
        request.path.split('?').next().unwrap_or_default().ends_with(end)
    }
    fn listing(
        request: &ResolvedRequest,
        answer: Answer,
        to: impl Fn(&mut serde_json::Value),
    ) -> Answer {
        if !request.path.starts_with("/api/") {
            return answer;
        }
        let mut value = serde_json::from_slice(&answer.body).unwrap();
        to(&mut value);
        Answer::json(&value)
    }
    let lies = [
        Lie {
            model: "tiny-bert",
            tell: |_, _| Answer::status(404),
            message: "status 404: no such model",
        },
        Lie {
            model: "tiny-bert",
            tell: |_, _| Answer::status(401),
            message: "or one that needs HF_TOKEN",
        },
        Lie {
            model: "tiny-bert",
            tell: |_, _| Answer::status(500),
            message: "expected status 200, found 500",
        },
        Lie {
            model: "tiny-bert",
            tell: |request, answer| {
                listing(request, answer, |v| v["sha"] = json!("../../../../evil"))
            },
            message: "expected a commit of 40 hexadecimal digits, found \"../../../../evil\"",
        },
        Lie {
            model: "tiny-bert",
            tell: |request, answer| listing(request, answer, |v| v["sha"] = json!(null)),
            message: "expected a commit of 40 hexadecimal digits",
        },
        Lie {
            model: "tiny-bert",
            tell: |request, answer| match request.path.starts_with("/api/") {
                true => Answer { body: b"<html>".to_vec(), ..Answer::default() },
                false => answer,
            },
            message: "expected value at line 1",
        },
        Lie {
            // Names of the list are never paths: the needed ones are not among these.
            model: "tiny-bert",
            tell: |request, answer| {
                listing(request, answer, |v| {
                    v["siblings"] =
                        json!([{"rfilename": "../../evil"}, {"rfilename": "/tmp/evil"}]);
                })
            },
            message: "expected model.safetensors",
        },
        Lie {
            model: "st3-dense",
            tell: |request, answer| match for_path(request, "modules.json") {
                true => {
                    let text =
                        String::from_utf8(answer.body).unwrap().replace("2_Dense", "../evil");
                    Answer { body: text.into_bytes(), ..Answer::default() }
                }
                false => listing(request, answer, server::without_sizes),
            },
            message: "expected a path inside the model folder, found \"../evil\"",
        },
        Lie {
            model: "tiny-bert-sharded",
            tell: |request, answer| match for_path(request, "index.json") {
                true => {
                    let text = String::from_utf8(answer.body).unwrap();
                    let text = text.replace("model-00002-of-00002", "../evil");
                    Answer { body: text.into_bytes(), ..Answer::default() }
                }
                false => listing(request, answer, server::without_sizes),
            },
            message: "expected the name of a safetensors file, found \"../evil.safetensors\"",
        },
        Lie {
            // Fewer bytes than the header of the answer says.
            model: "tiny-bert",
            tell: |request, answer| match for_path(request, "model.safetensors") {
                true => Answer {
                    announce: Some(answer.body.len()),
                    body: answer.body[..1000].to_vec(),
                    ..Answer::default()
                },
                false => answer,
            },
            message: "model.safetensors: ",
        },
        Lie {
            // No length at all, and an early end: the list says how long it is.
            model: "tiny-bert",
            tell: |request, answer| match for_path(request, "tokenizer.json") {
                true => Answer {
                    announce: None,
                    body: answer.body[..1000].to_vec(),
                    ..Answer::default()
                },
                false => answer,
            },
            message: "bytes, found 1000",
        },
        Lie {
            // Not even the list says it: the file itself does.
            model: "tiny-bert",
            tell: |request, answer| match for_path(request, "model.safetensors") {
                true => Answer {
                    announce: None,
                    body: answer.body[..100_000].to_vec(),
                    ..Answer::default()
                },
                false => listing(request, answer, server::without_sizes),
            },
            message: "model.safetensors as downloaded: ",
        },
        Lie {
            model: "tiny-bert",
            tell: |request, answer| match for_path(request, "config.json") {
                true => Answer {
                    announce: None,
                    body: b"{\"model_type\"".to_vec(),
                    ..Answer::default()
                },
                false => listing(request, answer, server::without_sizes),
            },
            message: "config.json as downloaded: EOF",
        },
        Lie {
            model: "tiny-bert",
            tell: |request, answer| match for_path(request, "config.json") {
                true => Answer { announce: Some(1 << 40), body: Vec::new(), ..Answer::default() },
                false => answer,
            },
            message: "expected at most 268435456 bytes, found 1099511627776",
        },
        Lie {
            model: "tiny-bert",
            tell: |request, answer| match for_path(request, "config.json") {
                true => Answer {
                    status: 302,
                    headers: vec![("Location".to_owned(), request.path.clone())],
                    ..Answer::default()
                },
                false => answer,
            },
            message: "config.json: ",
        },
        Lie {
            model: "tiny-bert",
            tell: |request, answer| match for_path(request, "config.json") {
                true => Answer::status(302),
                false => answer,
            },
            message: "config.json: ",
        },
    ];
    for lie in lies {
        let Lie { model, tell, message } = lie;
        let server = Server::new(move |request| tell(request, server::answer(model, request)));
        let cache = Cache::new();
        let error: Error = cache.hub(&server.url()).resolve("org/tiny").unwrap_err();
        assert!(error.to_string().contains(message), "expected {message:?} in: {error}");
        assert_eq!(cache.files(), Vec::<String>::new(), "after: {error}");
        let parent = cache.0.path().parent().unwrap();
        assert!(!parent.join("evil").exists() && !Path::new("/tmp/evil").exists());
    }
}

#[test]
fn a_listing_that_is_nearly_good_is_refused_or_gives_a_folder() {
    let good = server::listing("tiny-bert").body;
    check_mutations(&good, 64, |bytes| {
        let listing = bytes.to_vec();
        let server = Server::new(move |request| {
            if request.path.starts_with("/api/") {
                Answer::of(listing.clone())
            } else {
                server::file("tiny-bert", request)
            }
        });
        let cache = Cache::new();
        match cache.hub(&server.url()).resolve("org/tiny") {
            Ok(folder) => assert!(Path::new(&folder).starts_with(cache.0.path()), "{folder:?}"),
            Err(error) => assert!(error.to_string().contains("org/tiny"), "{error}"),
        }
    });
}

/// Folders of RoBERTa have their vocabulary in two files, where they have no tokenizer.json.
#[test]
fn vocabularies_of_other_forms_are_downloaded() {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&tiny_model("tiny-roberta"), folder.path());
    let json = fs::read(folder.path().join("tokenizer.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let merges =
        json["model"]["merges"].as_array().unwrap().iter().map(|pair| match pair.as_array() {
            Some(pair) => format!("{} {}\n", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
            None => format!("{}\n", pair.as_str().unwrap()),
        });
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    write("vocab.json", json["model"]["vocab"].to_string());
    write("merges.txt", merges.collect());
    write("tokenizer_config.json", "{}".to_owned());
    write("sentencepiece.bpe.model", "not read".to_owned());
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();

    let cache = Cache::new();
    let path = folder.path().to_str().unwrap().to_owned();
    let server = Server::new(move |request| server::answer(&path, request));
    let found = cache.hub(&server.url()).resolve("org/tiny").unwrap();
    drop(server);
    assert_eq!(cache.hub(NO_SERVER).resolve("org/tiny").unwrap(), found);
    let ids = |folder: &Path| {
        let tokenizer = Tokenizer::from_files(polyhead_testing::files_of(folder)).unwrap();
        tokenizer.encode(&[TextInput::Pair(" Hello  world", "é🙂")], 64).unwrap().ids
    };
    assert_eq!(ids(&found), ids(&tiny_model("tiny-roberta")));
    assert!(ModelFolder::open(&found).is_ok());
    // One of the two files is not enough.
    fs::remove_file(found.join("merges.txt")).unwrap();
    assert!(cache.hub(NO_SERVER).resolve("org/tiny").is_err());
}
