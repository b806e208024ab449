//! The dependencies between crates are exactly those of `docs/design/architecture.md`.

use std::collections::BTreeMap;
use std::fs;

use polyhead_testing::root;

/// What a crate may depend on, directly. In the order of the data's way.
const EDGES: &[(&str, &[&str])] = &[
    ("text", &[]),
    ("files", &[]),
    ("compute", &[]),
    ("builtin", &[]),
    ("model", &["text", "files", "compute", "builtin"]),
    ("train", &["text", "files", "compute", "model"]),
    ("report", &["files", "train"]),
    ("serve", &["text", "files", "model"]),
    ("polyhead", &["text", "compute", "model", "train", "report"]),
    ("cli", &["text", "files", "compute", "builtin", "model", "train", "report", "serve"]),
];

/// A crate for tests alone: `[dev-dependencies]` may name it.
const TESTING: &str = "testing";

/// The crates of the workspace that each section of a manifest names.
fn sections(manifest: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut section = String::new();
    for line in manifest.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if section.ends_with("dependencies")
            && let Some(rest) = line.strip_prefix("polyhead")
        {
            let end = rest.find(['.', ' ', '=']).unwrap_or(rest.len());
            let name = rest[..end].strip_prefix('-').unwrap_or("polyhead");
            found.entry(section.clone()).or_default().push(name.to_owned());
        }
    }
    found
}

/// Everything below a crate: what it may use, and what that may use.
fn below(name: &str) -> Vec<&'static str> {
    let direct = EDGES.iter().find(|(edge, _)| *edge == name).map_or(&[][..], |(_, to)| to);
    direct.iter().flat_map(|to| [vec![*to], below(to)].concat()).collect()
}

#[test]
fn crates_depend_on_each_other_as_the_architecture_says() {
    let mut faults = Vec::new();
    for folder in fs::read_dir(root().join("crates")).unwrap() {
        let folder = folder.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let Ok(manifest) = fs::read_to_string(folder.join("Cargo.toml")) else { continue };
        let direct = EDGES.iter().find(|(edge, _)| *edge == name).map(|(_, to)| *to);
        if direct.is_none() && name != TESTING {
            faults.push(format!("{name}: a crate that EDGES does not name"));
        }
        for (section, used) in sections(&manifest) {
            for to in used {
                let may = if section.ends_with("dev-dependencies") || name == TESTING {
                    to == TESTING || name == TESTING || below(&name).contains(&to.as_str())
                } else {
                    direct.is_some_and(|direct| direct.contains(&to.as_str()))
                };
                if !may {
                    faults.push(format!("{name} → {to} in [{section}]"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "edges that are not in the architecture: {faults:#?}");
}

#[test]
fn crates_ask_for_each_other_by_the_version_of_the_workspace() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let version = format!("version = \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(manifest.contains(&version));
    for line in manifest.lines().filter(|line| line.starts_with("polyhead")) {
        // A crate that is only for tests is not published, and a version would ask for it.
        assert_eq!(line.contains(&version), !line.contains(TESTING), "{line}");
    }
}
