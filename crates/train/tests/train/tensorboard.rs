//! Event files for TensorBoard: every point of a run once, however often it was resumed.
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use crate::common::place::Place;
use polyhead_train::{Error, ErrorKind, Hook, HookedStep, TensorBoard, Trainer};
use serde_json::Value;

/// A field of a message: its number, and its bytes or number.
#[derive(Debug, PartialEq)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return number;
        }
    }
}

/// The fields of a message in Protocol Buffers.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let length = match tag & 7 {
            0 => {
                fields.push((tag >> 3, Field::Number(varint(&mut bytes))));
                continue;
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            other => panic!("type {other}"),
        };
        fields.push((tag >> 3, Field::Bytes(bytes[..length].to_vec())));
        bytes = &bytes[length..];
    }
    fields
}

/// Points by tag and step, as TensorBoard shows them: a session that begins at a step takes all
/// later points back. Panics if a point comes twice.
fn points(folder: &Path) -> BTreeMap<(String, u64), f32> {
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut points = BTreeMap::new();
    for file in files {
        let bytes = fs::read(file).unwrap();
        let mut bytes = &bytes[..];
        let mut events = 0;
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            let event = fields(&bytes[12..][..length]);
            bytes = &bytes[12 + length + 4..];
            assert!(matches!(event[0], (1, Field::Bytes(_))));
            let step = match event[1] {
                (2, Field::Number(step)) => step,
                _ => 0,
            };
            match event.last().unwrap() {
                (3, Field::Bytes(version)) => {
                    assert_eq!((events, &version[..]), (0, &b"brain.Event:2"[..]));
                }
                (7, Field::Bytes(session)) => {
                    assert_eq!((events, fields(session)), (1, vec![(1, Field::Number(1))]));
                    points.retain(|(_, at), _| *at < step);
                }
                (5, Field::Bytes(summary)) => {
                    for (_, value) in fields(summary) {
                        let Field::Bytes(value) = value else { panic!("a value") };
                        let [(1, Field::Bytes(tag)), (2, Field::Bytes(number))] =
                            &fields(&value)[..]
                        else {
                            panic!("{value:?}")
                        };
                        let number = f32::from_le_bytes(number[..].try_into().unwrap());
                        let tag = String::from_utf8(tag.clone()).unwrap();
                        let before = points.insert((tag.clone(), step), number);
                        assert_eq!(before, None, "{tag} {step}");
                    }
                }
                other => panic!("{other:?}"),
            }
            events += 1;
        }
    }
    points.retain(|(tag, _), _| tag != "texts_per_second");
    points
}

/// Fails after a step: to the folder of the run this is a kill. Logs a number.
struct KillAfter(u64);

impl Hook for KillAfter {
    fn name(&self) -> &str {
        "kill"
    }

    fn after_step(&mut self, step: &HookedStep) -> Result<ControlFlow<()>, Error> {
        match step.step == self.0 {
            true => Err(Error::new(ErrorKind::Hook, "killed")),
            false => Ok(ControlFlow::Continue(())),
        }
    }

    fn log(&mut self) -> Vec<(String, f64)> {
        vec![("number".to_owned(), 2.5), ("none".to_owned(), f64::NAN)]
    }
}

fn train(place: &Place, name: &str, resume: bool, kill: u64) -> bool {
    let board = TensorBoard::new(&place.path(&format!("{name}-curves"))).unwrap();
    let trainer = Trainer::new(place.config("")).threads(1).observe(Box::new(board));
    trainer.hook(Box::new(KillAfter(kill))).train(&place.path(name), resume).is_ok()
}

#[test]
fn a_resumed_run_shows_every_point_once() {
    let place = Place::new();
    assert!(train(&place, "whole", false, 0));
    let whole = points(&place.path("whole-curves"));

    // Killed before the first checkpoint and after points that come again.
    for (resume, kill) in [(false, 4), (true, 9), (true, 18)] {
        assert!(!train(&place, "killed", resume, kill));
    }
    assert!(train(&place, "killed", true, 0));
    assert_eq!(points(&place.path("killed-curves")), whole);
    assert_eq!(fs::read_dir(place.path("killed-curves")).unwrap().count(), 4);
    // A run that is finished has no session.
    assert!(train(&place, "killed", true, 0));
    assert_eq!(fs::read_dir(place.path("killed-curves")).unwrap().count(), 4);

    // The points are the numbers of `metrics.jsonl`.
    let lines = fs::read_to_string(place.path("whole/metrics.jsonl")).unwrap();
    let mut checked = 0;
    let mut check = |tag: String, step: u64, number: &Value| {
        if let Some(number) = number.as_f64() {
            assert_eq!(whole.get(&(tag.clone(), step)), Some(&(number as f32)), "{tag} {step}");
            checked += 1;
        }
    };
    for line in lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let step = line["step"].as_u64().unwrap();
        check("loss/total".to_owned(), step, &line["loss"]);
        check("gradient_norm".to_owned(), step, &line["gradient_norm"]);
        check("learning_rate".to_owned(), step, &line["learning_rate"]);
        check("kill/number".to_owned(), step, &line["hooks"]["kill"]["number"]);
        check("dev/score".to_owned(), step, &line["score"]);
        for task in ["topic", "mood", "score"] {
            check(format!("loss/{task}"), step, &line["tasks"][task]["loss"]);
            check(format!("accuracy/{task}"), step, &line["tasks"][task]["accuracy"]);
            for (metric, value) in line["dev"][task].as_object().into_iter().flatten() {
                check(format!("dev/{task}/{metric}"), step, value);
            }
        }
    }
    assert_eq!(checked, whole.len());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let place = Place::new();
    let error = TensorBoard::new(&place.path("train.jsonl/curves")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("train.jsonl"), "{error}");
}
