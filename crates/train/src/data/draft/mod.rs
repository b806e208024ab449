//! A configuration made from a data file: fields and kinds are guessed, and every guess is said.
//!
//! The draft is a file to read and change. It uses the reader of training, so that what it shows is
//! what training sees.

mod column;
mod guess;

use std::collections::HashMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use polyhead_files::{RowReader, listed, quoted, visible};
use polyhead_model::check_task_name;

use super::file::{error_in, format_of, open};
use crate::error::{Error, ErrorKind};
pub(crate) use column::Column;
pub(crate) use guess::{Guess, Use, guesses, label_guess};

/// Rows that are looked at.
pub(crate) const ROWS: usize = 2_000;

/// A configuration made from a data file.
#[derive(Clone, Debug)]
pub struct ConfigDraft {
    /// The file's text, a TOML file with comments.
    pub text: String,
    /// Every guess with its reason, a line each.
    pub guesses: Vec<String>,
}

impl ConfigDraft {
    /// Looks at the first rows of a data file and guesses the use of its fields.
    ///
    /// - `data`: the file, as the configuration names it, in a format that training reads
    /// - `folder`: where the configuration will be; relative paths begin there
    ///
    /// # Errors
    /// [`ErrorKind::Data`] if a row cannot be read, or if no field has a text or none has labels;
    /// [`ErrorKind::Io`] if the file cannot be read.
    pub fn new(data: &Path, folder: &Path) -> Result<Self, Error> {
        let path = folder.join(data);
        let columns = columns(&path, ROWS)?;
        let guessed = guesses(&columns);
        let fields = || columns.iter().zip(&guessed);
        let of = |wanted: Use| {
            let found = fields().filter(move |(_, guess)| guess.use_of == wanted);
            found.map(|(column, _)| column).collect::<Vec<_>>()
        };
        let (texts, words) = (of(Use::Text), of(Use::Words));
        let said: Vec<String> =
            fields().map(|(column, guess)| remark(&column.name, guess)).collect();
        let labels: Vec<(&Column, &Guess)> = fields()
            .filter(|(_, guess)| matches!(guess.use_of, Use::Label { .. } | Use::Bit { .. }))
            .collect();
        let missing = match (texts.is_empty() && words.is_empty(), labels.is_empty()) {
            (false, false) => None,
            (true, _) => Some("a field with texts"),
            (false, true) => Some("a field with labels"),
        };
        if let Some(missing) = missing {
            let (file, said) = (path.display(), said.join("; "));
            return Err(Error::new(
                ErrorKind::Data,
                format!("{file}: expected {missing}, found {said}"),
            ));
        }
        let mut draft = Self { text: String::new(), guesses: said };
        draft.write_files(data, folder, &texts, words.first().copied(), &labels);
        draft.write_settings();
        draft.write_tasks(&labels);
        Ok(draft)
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Writes `[data]`: the file, others beside it, and the fields of the input.
    fn write_files(
        &mut self,
        data: &Path,
        folder: &Path,
        texts: &[&Column],
        words: Option<&Column>,
        labels: &[(&Column, &Guess)],
    ) {
        let name = visible(&data.display().to_string()).replace('\n', " ");
        self.line(&format!(
            "# Made from {name} by `polyhead init`; the fields and kinds are guesses."
        ));
        self.line("# `polyhead check-data` checks the data, `polyhead train` trains, and");
        self.line("# `polyhead help config` lists all keys.\n");
        self.line("[data]");
        self.line(&format!("train = {}", toml_path(data)));
        let input: Vec<&str> = texts.iter().copied().chain(words).map(|c| &*c.name).collect();
        let labels: Vec<&str> = labels.iter().map(|(column, _)| &*column.name).collect();
        for (split, meaning) in [
            ("dev", "Rows that choose the best model, calibrate it and set its thresholds."),
            ("test", "Rows that are looked at once, at the end."),
        ] {
            self.line(&format!("# {meaning}"));
            match beside(data, folder, split, (&input, &labels)) {
                Some(path) => {
                    self.line(&format!("{split} = {}", toml_path(&path)));
                    self.guesses
                        .push(format!("{}: the {split} rows", quoted(&path.display().to_string())));
                }
                None => self.line(&format!("# {split} = \"{split}.jsonl\"")),
            }
        }
        match texts {
            [] => {}
            [text] => self.line(&format!("text = {}", toml_string(&text.name))),
            several => {
                self.line(
                    "# The fields that make a text, in this order, and the text between them; for",
                );
                self.line("# another form: template = \"{title}: {body}\" in place of both keys.");
                self.line(&format!("text = {}", toml_names(several)));
                self.line("join = \"\\n\"");
                let names: Vec<&str> = several.iter().map(|column| &*column.name).collect();
                self.guesses.push(format!("{}: joined by a line end to one text", listed(&names)));
            }
        }
        if let Some(words) = words {
            self.line(&format!("tokens = {}", toml_string(&words.name)));
        }
    }

    /// Writes the keys that people change first, with their defaults.
    fn write_settings(&mut self) {
        self.text.push_str(
            "\n[encoder]\n\
             # A folder, a run, a name of the hub, or builtin: all-MiniLM-L6-v2, which is in the program.\n\
             model = \"builtin\"\n\
             # Tokens after which a text is cut; fewer are faster.\n\
             # max_length = 128\n\
             \n# Epochs, rates and batches are chosen by the number of rows; what is written here wins.\n\
             # [train]\n\
             # epochs = 10\n\
             # learning_rate = 5e-5\n\
             # head_learning_rate = 5e-3\n",
        );
    }

    /// Writes a `[[task]]` for each field with labels.
    fn write_tasks(&mut self, labels: &[(&Column, &Guess)]) {
        let mut taken = HashMap::<String, usize>::new();
        for (column, guess) in labels {
            let (kind, separator, set) = match guess.use_of {
                Use::Label { kind, separator } => (kind, separator, Vec::new()),
                Use::Bit { first } => {
                    let set = labels.iter().filter(|(_, of)| of.use_of == Use::Bit { first });
                    let set: Vec<&Column> = set.map(|(column, _)| *column).collect();
                    if set[0].name != column.name {
                        continue;
                    }
                    ("multilabel", None, set)
                }
                _ => continue,
            };
            let mut name =
                if set.is_empty() { task_name(&column.name) } else { "labels".to_owned() };
            let count = taken.entry(name.clone()).or_default();
            *count += 1;
            if *count > 1 {
                name = format!("{name}-{count}");
            }
            match set.len() {
                0 => self.line(&format!("\n# {}", guess.why)),
                count => self.line(&format!("\n# {count} columns of 0 and 1, one for each label")),
            }
            self.line("[[task]]");
            self.line(&format!("name = {}", toml_string(&name)));
            self.line(&format!("kind = \"{kind}\""));
            if !set.is_empty() {
                self.line(&format!("field = {}", toml_names(&set)));
            } else if name != column.name {
                self.line(&format!("field = {}", toml_string(&column.name)));
            }
            if let Some(separator) = separator {
                self.line(&format!("separator = {}", toml_string(&separator.to_string())));
            }
            if kind == "multilabel" && column.empty > 0 {
                self.line("# An empty cell: no label applies. \"unlabelled\": the row has no label for this task.");
                self.line("empty = \"none\"");
                let field = quoted(&column.name);
                self.guesses.push(format!(
                    "{field}: {} empty cells are taken as rows to which no label applies",
                    column.empty
                ));
            }
        }
    }
}

/// Reads the fields of the first rows.
pub(crate) fn columns(path: &Path, rows: usize) -> Result<Vec<Column>, Error> {
    let format = format_of(path)?;
    let in_file = |error| error_in(path, error);
    let records = RowReader::new(BufReader::new(open(path)?), format).map_err(in_file)?;
    let mut columns = Vec::<Column>::new();
    for (row, record) in records.take(rows).enumerate() {
        let record = record.map_err(in_file)?;
        for name in record.names() {
            let Some(cell) = record.field(name).map_err(in_file)? else { continue };
            let index = columns.iter().position(|column| column.name == name);
            let index = index.unwrap_or_else(|| {
                columns.push(Column { name: name.to_owned(), ..Column::default() });
                columns.len() - 1
            });
            columns[index].add(row, cell);
        }
    }
    match columns.is_empty() {
        true => Err(Error::new(
            ErrorKind::Data,
            format!("{}: expected rows, found none", path.display()),
        )),
        false => Ok(columns),
    }
}

/// A guess in words.
fn remark(name: &str, Guess { use_of, why }: &Guess) -> String {
    let name = quoted(name);
    match use_of {
        Use::Label { kind, .. } => format!("{name}: {kind}, {why}"),
        Use::Unused => format!("{name}: not used, {why}"),
        Use::Text | Use::Words | Use::Bit { .. } => format!("{name}: {why}"),
    }
}

/// The file of another split beside a file whose name has the word `train`, if its first row has all
/// fields of the input and a field with labels.
pub(crate) fn beside(
    data: &Path,
    folder: &Path,
    split: &str,
    (input, labels): (&[&str], &[&str]),
) -> Option<PathBuf> {
    let name = data.file_name()?.to_str()?;
    let others: &[&str] = match split {
        "dev" => &["dev", "valid", "validation", "val"],
        other => &[other],
    };
    let paths = others.iter().map(|other| data.with_file_name(name.replacen("train", other, 1)));
    paths.filter(|path| path != data && folder.join(path).is_file()).find(|path| {
        let Ok(columns) = columns(&folder.join(path), 1) else { return false };
        let has = |name: &&str| columns.iter().any(|column| column.name == *name);
        input.iter().all(has) && labels.iter().any(has)
    })
}

/// A name that a task can have, like that of its field.
pub(crate) fn task_name(field: &str) -> String {
    let allowed = |letter: char| letter.is_alphanumeric() || "_-".contains(letter);
    let name: String =
        field.trim().chars().map(|c| if allowed(c) { c } else { '_' }).take(60).collect();
    match check_task_name(&name) {
        Ok(()) if name != "embedding" => name,
        _ => "label".to_owned(),
    }
}

/// The names of columns as a TOML array.
fn toml_names(columns: &[&Column]) -> String {
    toml_list(columns.iter().map(|column| &*column.name))
}

/// A list of texts.
pub(crate) fn toml_list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let texts: Vec<String> = texts.into_iter().map(toml_string).collect();
    format!("[{}]", texts.join(", "))
}

pub(crate) fn toml_string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A path as a TOML string; in UTF-8, as configurations are.
pub(crate) fn toml_path(path: &Path) -> String {
    toml_string(&path.to_string_lossy())
}
