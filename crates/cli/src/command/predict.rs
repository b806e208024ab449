//! `polyhead predict`: texts in, the answers of all tasks out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use polyhead_model::{
    HeadSpec, ModelFolder, MultiTaskModel, OnTruncate, Predictions, RequestOptions, pair_tasks,
};
use polyhead_text::{TextInput, Truncation};

use super::answer_line::{Row, answer_line};
use super::answer_row::{answer_columns, write_answer, write_header};
use super::job::{Chunks, PROBE, begin, chunk_limits, count, end, note_resumed};
use crate::failure::usage;
use crate::flags::{TrainedModelArgs, UnfinishedArgs, open_model};
use crate::input::{InputArgs, OtherFields, Place, Wanted};
use crate::output::{Batch, Output, ResultKind, Results, StdoutFormat};
use crate::pipeline::Chunk;
use crate::progress::Progress;
use crate::resume::OutputFingerprint;

const HELP: &str = "\
Prints one JSON object per line:
  {\"text\": …, \"tokens\": 9, \"truncated\": false, \"tasks\": {
     \"topic\":    {\"label\": …, \"probability\": …, \"probabilities\": {…}},
     \"emotions\": {\"labels\": […], \"probabilities\": {…}},
     \"urgency\":  {\"value\": …},
     \"entities\": {\"spans\": [{\"label\", \"start\", \"end\", \"text\", \"score\"}]}}}
Offsets count characters. A text may be a pair, an array of two strings: both are
read as one sequence, and words of the first are tagged. Tasks that were trained on pairs answer pairs
alone, others single texts. Tasks that compare vectors (similarity, retrieval) answer a pair with its
cosine, on the scale of the scores if they have one; --tasks names them, unless all tasks read pairs.
Rows of a .jsonl or .csv file keep their other columns, in front; a column with the name of an output
field (such as `tokens`) becomes `input_NAME`, or `input_input_NAME` if that is taken. With --abstain, a
label that is not probable enough is null; with --min-score, spans below it are left out.
Spans of rows with words have their `first_word` and `last_word` too.
A .csv file, or --format csv, has a column TASK for each task: the label, the labels joined by `|`,
the number, or the spans as JSON; and TASK_probability beside a label. The other
columns and the text come first; a column with one of these names becomes
`input_NAME` there too. Its columns are those of the first row.

Examples:
  polyhead predict runs/a \"The soup was cold.\"
  polyhead predict runs/a -i rows.csv --field review -o answers.jsonl
  polyhead predict runs/a -i rows.csv --field review -o answers.jsonl --resume
  polyhead predict runs/a -i rows.csv -o answers.csv
  polyhead predict runs/a -i rows.csv --format csv | head";

/// Predict all tasks of a trained model
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct PredictArgs {
    #[command(flatten)]
    model: TrainedModelArgs,

    #[command(flatten)]
    input: InputArgs,

    /// Write to this .jsonl or .csv file, which appears when it is complete; `-` is standard output
    #[arg(short, long, alias = "output", value_name = "FILE", help_heading = "Output")]
    out: Option<PathBuf>,

    /// Format on standard output [default: jsonl]
    #[arg(long, value_name = "FORMAT", help_heading = "Output")]
    format: Option<StdoutFormat>,

    #[command(flatten)]
    unfinished: UnfinishedArgs,

    /// Text of a pair that is cut if both are too long for the model [default: as the tasks were
    /// trained, or longest]
    #[arg(long, value_name = "longest|first|second")]
    truncate: Option<Truncation>,

    /// Predict only these tasks
    #[arg(long, value_name = "TASK,…", value_delimiter = ',')]
    tasks: Option<Vec<String>>,

    /// Give no label if the best one is less probable than this
    #[arg(long, value_name = "PROBABILITY")]
    abstain: Option<f32>,

    /// Leave out spans with a lower score than this
    #[arg(long, value_name = "SCORE")]
    min_score: Option<f32>,
}

/// Answers the input chunk by chunk.
pub(crate) fn run(mut args: PredictArgs) -> Result<ExitCode> {
    let unfinished = args.unfinished.unfinished();
    let output = Output::create(args.out.as_deref(), ResultKind::Lines, unfinished)?;
    let mut output = output.with_format(args.format)?;
    let (name, text) = args.model.name_and_text()?;
    let input = args.input.with_first(text)?;
    check_order(&name, &input)?;
    input.note_files(&args.model.load);
    let source = input.open_source()?;
    let load = args.model.load;
    let (folder, _) = open_model(&name, &load)?;
    if folder.heads.is_empty() {
        // They name a head that is not read.
        folder.notices.iter().for_each(|notice| load.note(notice));
        return Err(usage(format!(
            "{name}: expected a model with tasks, found none; `polyhead train` trains them, \
             `polyhead encode` gives vectors"
        )));
    }
    let PredictArgs { tasks, abstain, min_score, truncate, .. } = args;
    let specs = || folder.heads.iter().map(|head| &head.spec);
    let tasks = tasks.or_else(|| pair_tasks(specs()));
    let on_truncate = truncate.map_or(OnTruncate::Cut, OnTruncate::CutPairs);
    let options =
        RequestOptions { tasks, abstain, min_score, on_truncate, ..RequestOptions::default() };
    let tasks = || specs().filter(|task| options.asks(task));
    let words = tasks().any(|task| task.kind.reads_words());
    let reads_pairs = one_form(tasks())?;
    if output.is_csv() {
        answer_columns(tasks())?;
    }
    let wanted = Wanted { words, pairs: true, columns: true, same_columns: output.is_csv() };
    let input = source.read(folder.input.as_ref(), wanted, load.quiet)?;
    let (place, size, reading) = (input.place.clone(), input.size, input.reading.clone());
    let limits = chunk_limits(ResultKind::Lines, load.threads.expected());
    let on_bad_row = args.unfinished.on_bad_row;
    let chunks = begin(input, &output, limits, on_bad_row)?;

    let model = MultiTaskModel::from_folder(folder.clone(), &load.options())?;
    model.encoder().notices().iter().for_each(|notice| load.note(notice));
    let job = PredictJob { model: &model, options: &options, reads_pairs, place };
    output.check_fingerprint(|| job.fingerprint(&folder, &reading))?;
    note_resumed(&output, load.quiet);
    let on_terminal = output.is_on_terminal();
    let mut progress = Progress::start(size, load.quiet, on_terminal);
    let worked = job.predict(chunks, &mut output, &mut progress);
    end(worked, output, progress, &load, (&job.place, model.encoder().max_length(), ""))
}

/// Checks that all tasks read one text, or all a pair of texts, and returns true for pairs.
fn one_form<'a>(tasks: impl Iterator<Item = &'a HeadSpec>) -> Result<bool> {
    let (pairs, texts): (Vec<&HeadSpec>, Vec<_>) = tasks.partition(|task| task.reads_pairs());
    if !pairs.is_empty() && !texts.is_empty() {
        let names = |tasks: &[&HeadSpec]| {
            tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>().join(",")
        };
        return Err(usage(format!(
            "the model has tasks that read pairs of texts ({}) and tasks that read one text ({}): \
             choose with --tasks",
            names(&pairs),
            names(&texts)
        )));
    }
    Ok(!pairs.is_empty())
}

/// Refuses a text in the place of the model.
fn check_order(model: &str, input: &InputArgs) -> Result<()> {
    if Path::new(model).exists() {
        return Ok(());
    }
    let folder = input.texts().iter().find(|text| Path::new(text).is_dir());
    match folder {
        Some(folder) => Err(usage(format!(
            "`{model}`: no such folder; the model comes first: polyhead predict {folder} TEXT…"
        ))),
        None if model.contains(char::is_whitespace) => Err(usage(format!(
            "`{model}`: no such folder; the first argument names the model: polyhead predict \
             DIR|NAME TEXT…"
        ))),
        None => Ok(()),
    }
}

/// A prediction job with all options resolved.
struct PredictJob<'a> {
    model: &'a MultiTaskModel,
    options: &'a RequestOptions,
    /// True if the tasks read pairs of texts.
    reads_pairs: bool,
    place: Place,
}

impl PredictJob<'_> {
    /// Everything that an answer depends on besides its row: an unfinished output is continued
    /// only if it has the same fingerprint.
    fn fingerprint(&self, folder: &ModelFolder, reading: &str) -> Result<OutputFingerprint> {
        let probe = match self.reads_pairs {
            true => TextInput::Pair(PROBE[0], PROBE[0]),
            false => TextInput::One(PROBE[0]),
        };
        let found = self.model.predict_inputs(&[probe], self.options)?;
        let bits = |task: usize| {
            let logits = found.texts.iter().flat_map(|text| text.tasks[task].logits.as_slice());
            logits.map(|logit| logit.to_bits()).collect()
        };
        let tasks = found.tasks.iter().enumerate();
        let answers: Vec<(&String, Vec<u32>)> =
            tasks.map(|(index, task)| (&task.name, bits(index))).collect();
        // Field by field, so that a new option cannot be forgotten here.
        let RequestOptions { tasks, prompt, on_truncate, vectors: _, abstain, min_score } =
            self.options;
        OutputFingerprint::new("predict", folder, self.model.encoder(), reading)?
            .with_option("--tasks", tasks.as_ref().map(|names| names.join(",")))
            .with_option("--abstain", *abstain)
            .with_option("--min-score", *min_score)
            .with("prompt", format_args!("{prompt:?}"))
            .with("way to cut", format_args!("{on_truncate:?}"))
            .with_answer(answers)
    }

    /// Answers until the input ends.
    fn predict(&self, chunks: Chunks, output: &mut Output, progress: &mut Progress) -> Result<()> {
        self.model.predict_stream(
            chunks,
            |chunk: &Chunk| self.inputs(chunk),
            self.options,
            |chunk, answers| {
                let lines = match output.is_csv() {
                    true => self.csv_rows(&chunk, &answers, output.is_empty())?,
                    false => self.lines(&chunk, &answers)?,
                };
                let results = Results::Lines(lines);
                let counts = count(answers.texts.iter().map(|text| text.tokens), &chunk.lines);
                let Chunk { texts, others, rows, bad, read, .. } = chunk;
                output.write(Batch { texts, others, rows, bad, results }, &self.place)?;
                progress.advance(read, counts);
                Ok(())
            },
        )
    }

    /// The inputs of the model: words in place of the text where rows have them.
    fn inputs<'c>(&self, chunk: &'c Chunk) -> Vec<TextInput<&'c str>> {
        let rows = chunk.texts.iter().zip(&chunk.others);
        rows.map(|(text, others)| match (&others.second, &others.words) {
            (Some(second), _) => TextInput::Pair(text.as_str(), second),
            (None, Some(words)) => {
                TextInput::Words(words.words.iter().map(String::as_str).collect())
            }
            (None, _) => TextInput::One(text.as_str()),
        })
        .collect()
    }

    /// The line of each text.
    fn lines(&self, chunk: &Chunk, answers: &Predictions) -> Result<Vec<u8>> {
        let mut lines = Vec::new();
        for (index, text) in chunk.texts.iter().enumerate() {
            let row = row(text, &chunk.others[index]);
            answer_line(&mut lines, &row, &answers.tasks, &answers.texts[index])?;
        }
        Ok(lines)
    }

    /// The CSV row of each text.
    ///
    /// - `with_header`: whether the header comes first
    fn csv_rows(&self, chunk: &Chunk, answers: &Predictions, with_header: bool) -> Result<Vec<u8>> {
        let mut out = csv::Writer::from_writer(Vec::new());
        if let (true, Some(first)) = (with_header, chunk.others.first()) {
            write_header(&mut out, &first.columns, &answer_columns(&answers.tasks)?)?;
        }
        for (index, text) in chunk.texts.iter().enumerate() {
            let row = row(text, &chunk.others[index]);
            write_answer(&mut out, &row, &answers.tasks, &answers.texts[index])?;
        }
        Ok(out.into_inner()?)
    }
}

fn row<'a>(text: &'a str, others: &'a OtherFields) -> Row<'a> {
    let OtherFields { columns, second, words } = others;
    Row { text, second: second.as_deref(), columns, words: words.as_ref() }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::output::Unfinished;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        predict: PredictArgs,
    }

    #[test]
    fn every_flag_is_read() {
        let parse = |line: &str| {
            Line::try_parse_from(["test"].into_iter().chain(line.split_whitespace()))
                .map(|line| line.predict)
        };
        let args =
            parse("runs/a -i a.csv --field t --tokens-field w -o b.jsonl --resume --tasks x,y")
                .unwrap();
        assert_eq!(args.tasks, Some(vec!["x".into(), "y".into()]));
        assert_eq!(args.unfinished.unfinished(), Unfinished::Resume);
        assert_eq!(args.out, Some("b.jsonl".into()));
        assert!(parse("runs/a b --resume --overwrite").is_err());
        assert_eq!(parse("runs/a some texts --abstain 0.7").unwrap().abstain, Some(0.7));
        assert_eq!(parse("runs/a some texts --min-score 0.5").unwrap().min_score, Some(0.5));
        let cut = parse("runs/a -i a.csv --truncate second").unwrap().truncate;
        assert_eq!(cut, Some(Truncation::Second));
        assert!(parse("").is_err());
    }
}
