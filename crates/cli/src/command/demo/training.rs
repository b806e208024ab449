//! The second half of the demo: two tasks trained on the data in the program.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use polyhead_builtin::DEMO;
use polyhead_files::read_file;
use polyhead_model::{Answer, MultiTaskModel};
use polyhead_train::{Ending, RunConfig, RunSummary};

use crate::command::train::trainer;
use crate::failure::usage;
use crate::flags::ModelArgs;
use crate::progress::duration;
use crate::run_display::Details;
use crate::scores;
use crate::table::{Table, shorten, thousands};

const CONFIG: &str = "demo.toml";
const RUN: &str = "run";

/// One epoch: enough for good scores, and done in about a minute.
const RECIPE: &str = r#"
[data]
train = "data/train.jsonl"
dev = "data/dev.jsonl"
test = "data/test.jsonl"

[[task]]
name = "topic"
kind = "classification"

[[task]]
name = "sentiment"
kind = "classification"

[train]
recipe = "full"
epochs = 1
batch_size = 32
learning_rate = 5e-5
head_learning_rate = 1e-3

[checkpoint]
every = 20
"#;

/// The folder of a demo, ready to train in.
pub(super) struct Demo {
    folder: PathBuf,
    config: RunConfig,
}

impl Demo {
    /// Writes data and configuration, or continues a demo that was stopped.
    ///
    /// A finished demo and a folder with other files are errors, even if the files have the names
    /// of a demo.
    pub(super) fn prepare(folder: &Path, model: &ModelArgs) -> Result<Self> {
        let name = folder.display();
        if folder.join(RUN).join("finished.json").exists() {
            return Err(usage(format!(
                "{name}: holds a finished demo; try it with `polyhead predict {name}/{RUN} \
                 \"your text\"`, or remove the folder, or choose another one with --out"
            )));
        }
        let is_empty = |folder: &Path| match fs::read_dir(folder) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if !folder.join(CONFIG).exists() && !is_empty(folder) {
            return Err(usage(format!(
                "{name}: expected a new or an empty folder, found other files; choose one with --out"
            )));
        }
        let (data, config) = (folder.join("data"), folder.join(CONFIG));
        let recipe = configuration(model);
        let mut files: Vec<(PathBuf, &str)> =
            DEMO.iter().map(|(name, text)| (data.join(name), *text)).collect();
        files.push((config.clone(), &recipe));
        for (path, text) in &files {
            check_own(path, text)?;
        }
        fs::create_dir_all(&data).with_context(|| data.display().to_string())?;
        for (path, text) in &files {
            fs::write(path, text).with_context(|| path.display().to_string())?;
        }
        Ok(Self { folder: folder.to_owned(), config: RunConfig::from_file(&config, &[])? })
    }

    /// Writes what is trained, and on how much data.
    pub(super) fn write_plan(&self, out: &mut impl Write) -> io::Result<()> {
        let rows = DEMO[1].1.lines().count();
        writeln!(
            out,
            "\n4. Two tasks are trained on this encoder, one head each: topic and sentiment of\n   \
             {} sentences from reviews; then {} other ones are the test\n",
            thousands(rows as u64),
            DEMO[3].1.lines().count()
        )
    }

    /// Trains from the start or from the checkpoint of a stopped demo; `None` if stopped again.
    pub(super) fn train(&self, model: &ModelArgs) -> Result<Option<Box<RunSummary>>> {
        let details = if model.load.quiet { Details::Quiet } else { Details::Hidden };
        let mut trainer = trainer(self.config.clone(), &model.load.threads, details)?;
        match trainer.train(&self.run_folder(), true)? {
            Ending::Finished(summary) => {
                polyhead_report::write_page(&self.run_folder())?;
                Ok(Some(summary))
            }
            Ending::Stopped { .. } => Ok(None),
            // Finished by another process since `prepare` looked.
            Ending::AlreadyFinished => {
                Err(usage(format!("{}: holds a finished demo", self.folder.display())))
            }
        }
    }

    /// Writes the metrics of both tasks.
    pub(super) fn write_scores(
        &self,
        out: &mut impl Write,
        summary: &RunSummary,
    ) -> io::Result<()> {
        scores::of_run(summary).write(out, 3)?;
        scores::stars(summary).map_or(Ok(()), |line| writeln!(out, "   {line}"))?;
        let took = duration(Duration::from_secs_f64(summary.seconds));
        writeln!(out, "\n   {} steps in {took}", summary.steps)
    }

    /// Writes the model's answers to `texts`.
    pub(super) fn write_answers(
        &self,
        out: &mut impl Write,
        texts: &[&str],
        args: &ModelArgs,
    ) -> Result<()> {
        let run = self.run_folder().display().to_string();
        let answers = MultiTaskModel::load_with(&run, &args.load.options())?.predict(texts)?;
        writeln!(out, "\n5. One pass of the encoder answers both tasks\n")?;
        let mut table = Table::new("lll");
        table.row(
            std::iter::once("sentence").chain(answers.tasks.iter().map(|task| task.name.as_str())),
        );
        for (text, found) in texts.iter().zip(&answers.texts) {
            let cells = answers.tasks.iter().zip(&found.tasks).map(|(head, task)| {
                let Answer::Classification(class) = &task.answer else {
                    unreachable!("the demo's tasks are classifications")
                };
                let best = &class.best;
                let others = head.labels.iter().zip(task.probabilities.as_slice()).enumerate();
                let others: Vec<String> = others
                    .filter(|(index, _)| *index != best.index)
                    .map(|(_, (label, probability))| format!("{label} {:.0}", 100.0 * probability))
                    .collect();
                let (label, percent) = (&best.label, 100.0 * best.probability);
                format!("{label} {percent:.0} % ({})", others.join(", "))
            });
            table.row(std::iter::once(shorten(text, 26)).chain(cells));
        }
        table.write(out, 3)?;
        Ok(())
    }

    /// Writes where the results are, and what to do next.
    pub(super) fn write_end(&self, out: &mut impl Write, took: Duration) -> io::Result<()> {
        let (folder, run) = (self.folder.display(), self.run_folder());
        let report = run.join("report.html");
        writeln!(out, "\nDone in {}.\n", duration(took))?;
        writeln!(out, "model   {}", run.join("model").display())?;
        if report.exists() {
            writeln!(out, "report  {}   (open it in a browser)", report.display())?;
        }
        writeln!(out, "\nNext: polyhead predict {} \"your text\"", run.display())?;
        writeln!(out, "      polyhead train {folder}/{CONFIG} -o my-run --set train.epochs=2")?;
        writeln!(out, "      polyhead --help")
    }

    fn run_folder(&self) -> PathBuf {
        self.folder.join(RUN)
    }
}

/// Refuses to overwrite a file that the demo has not written: the file must be `text`, or its
/// beginning, which a killed process may leave.
fn check_own(path: &Path, text: &str) -> Result<()> {
    let name = path.display();
    match read_file(path, u64::MAX) {
        Ok(found) if text.as_bytes().starts_with(&found) => Ok(()),
        Ok(_) => Err(usage(format!(
            "{name}: expected no file, or the one that this demo writes, found another one; choose \
             a new folder with --out"
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| name.to_string()),
    }
}

/// The configuration file. A path to the model is absolute, so that it is valid from any folder.
fn configuration(model: &ModelArgs) -> String {
    let named = model.named();
    let name = named.unwrap_or("builtin");
    let path = fs::canonicalize(name).ok().filter(|path| named.is_some() && path.is_dir());
    let name = path.map_or_else(|| name.to_owned(), |path| path.display().to_string());
    // 128 is enough for nearly every review; other models may support fewer.
    let max_length = model.load.max_length().or(named.is_none().then_some(128));
    let max_length =
        max_length.map_or_else(String::new, |tokens| format!("max_length = {tokens}\n"));
    // A basic string in TOML has the same escapes as JSON.
    let name = serde_json::Value::from(name);
    format!(
        "# What `polyhead demo` trains. Try changes with\n\
         # polyhead train {CONFIG} -o my-run --set train.epochs=2\n\n\
         seed = 7\n\n[encoder]\nmodel = {name}\npooling = \"mean\"\n{max_length}{RECIPE}"
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        model: ModelArgs,
    }

    fn model(line: &[&str]) -> ModelArgs {
        Line::try_parse_from(["test"].iter().chain(line)).unwrap().model
    }

    #[test]
    fn the_configuration_can_be_read() {
        for (line, name, max_length) in [
            (&["-m", "builtin"][..], "builtin", Some(128)),
            (&["-m", "a/\"b\"\\c"], "a/\"b\"\\c", None),
            (&["-m", "builtin", "--max-length", "32"], "builtin", Some(32)),
        ] {
            let text = configuration(&model(line));
            let config = RunConfig::parse(&text, Path::new("/x/demo.toml"), &[]).unwrap();
            assert_eq!(config.encoder.model, name);
            assert_eq!(config.encoder.max_length.map(usize::from), max_length);
            assert_eq!(config.data.test, [PathBuf::from("/x/data/test.jsonl")]);
        }
    }

    #[test]
    fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        let error = Demo::prepare(folder.path(), &model(&[])).err().unwrap();
        assert!(error.to_string().contains("found other files"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn files_of_the_same_names_are_left_alone() {
        struct Case {
            /// Files besides those of a demo.
            name: &'static str,
            content: &'static str,
        }
        let cases = [
            Case { name: "demo.toml", content: "seed = 3\n" },
            Case { name: "data/train.jsonl", content: "{\"text\": \"mine\"}\n" },
            Case { name: "data/README.md", content: "mine" },
        ];
        for Case { name, content } in cases {
            let folder = tempfile::tempdir().unwrap();
            Demo::prepare(folder.path(), &model(&["-m", "builtin"])).unwrap();
            fs::write(folder.path().join(name), content).unwrap();
            fs::remove_file(folder.path().join("data/dev.jsonl")).unwrap();
            let error = Demo::prepare(folder.path(), &model(&["-m", "builtin"])).err().unwrap();
            let error = error.to_string();
            assert!(error.contains(name) && error.contains("found another one"), "{error}");
            assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), content);
            assert!(!folder.path().join("data/dev.jsonl").exists(), "nothing is written");
        }
    }

    #[test]
    fn a_demo_that_was_stopped_is_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let again = || Demo::prepare(folder.path(), &model(&["-m", "builtin"]));
        again().unwrap();
        again().unwrap();
        let train = folder.path().join("data/train.jsonl");
        let whole = fs::read(&train).unwrap();
        // A killed process leaves such a folder.
        fs::write(&train, &whole[..1000]).unwrap();
        again().unwrap();
        assert_eq!(fs::read(&train).unwrap(), whole);
        let error = Demo::prepare(folder.path(), &model(&["-m", "other"])).err().unwrap();
        assert!(error.to_string().contains("demo.toml"), "another model is another demo: {error}");
    }
}
