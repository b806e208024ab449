//! `encode` and `predict` share these steps: read rows in chunks, continue an output, finish it.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use polyhead_text::TextTokens;

use crate::failure::ROWS_SKIPPED;
use crate::flags::{LoadArgs, note};
use crate::input::{Input, Place};
use crate::output::{Output, ResultKind};
use crate::pipeline::{Chunk, ChunkLimits, FirstFault, OnBadRow, chunks_of, first_read};
use crate::progress::{Counts, Progress};
use crate::table::counted;

/// The limits of a chunk: large enough to keep every thread busy, small enough for a lively
/// progress bar (about two seconds of work).
///
/// Token vectors take a thousand times the memory of their text (at 384 floats a token), so their
/// chunks are smaller: some 50 MB of vectors.
pub(super) fn chunk_limits(kind: ResultKind, threads: usize) -> ChunkLimits {
    let threads = threads.clamp(2, 32);
    match kind {
        ResultKind::Sentences | ResultKind::Lines => {
            ChunkLimits { texts: 256 * threads, bytes: threads << 17 }
        }
        ResultKind::Tokens => ChunkLimits { texts: 16 * threads, bytes: threads << 14 },
    }
}

/// The input in chunks.
pub(super) type Chunks = Box<dyn Iterator<Item = Result<Chunk>> + Send>;

/// The chunks of `input` after the rows that are done already.
pub(super) fn begin(
    mut input: Input,
    output: &Output,
    limits: ChunkLimits,
    on_bad_row: OnBadRow,
) -> Result<Chunks> {
    let Some(done) = output.done() else {
        return Ok(Box::new(first_read(input, limits, on_bad_row)?));
    };
    input.skip(done)?;
    if output.is_complete() {
        input.expect_end(done)?;
    }
    Ok(Box::new(chunks_of(input, limits, on_bad_row, FirstFault::InOrder)))
}

/// Prints what happens to an earlier output, once all checks have passed.
pub(super) fn note_resumed(output: &Output, quiet: bool) {
    if let (Some(remark), false) = (output.resumption(), quiet) {
        note(&remark);
    }
}

/// The output fingerprint contains the model's result for this text, which shows its settings.
pub(super) const PROBE: [&str; 1] = ["A text that is always the same."];

/// Counts the texts of a chunk and their tokens.
///
/// - `lines`: line of each text
pub(super) fn count(texts: impl Iterator<Item = TextTokens> + Clone, lines: &[u64]) -> Counts {
    Counts {
        texts: texts.clone().count() as u64,
        tokens: texts.clone().map(|text| text.kept as u64).sum(),
        truncated: texts.clone().filter(|text| text.truncated()).count() as u64,
        empty: texts.clone().filter(|text| text.kept == 0).count() as u64,
        first_empty: texts.zip(lines).find(|(text, _)| text.kept == 0).map_or(0, |(_, line)| *line),
    }
}

/// Completes the output of a run, prints its rates, and gives its exit code.
///
/// - `worked`: how the run ended
/// - `limit`: tokens that the model reads
/// - `empty_result`: what the output has for a text without a token, with a comma before it
pub(super) fn end(
    worked: Result<()>,
    mut output: Output,
    progress: Progress,
    load: &LoadArgs,
    (place, limit, empty_result): (&Place, usize, &str),
) -> Result<ExitCode> {
    let finished = worked.and_then(|()| output.finish(place));
    let skipped = finished.map_err(|error| output.explain(error))?;
    let (Counts { truncated, empty, first_empty, .. }, rates) = progress.finish();
    if !load.quiet {
        let _ = writeln!(io::stderr(), "{rates}");
    }
    let were = |count: u64, name: &str| {
        format!("{} {}", counted(count, name), if count == 1 { "was" } else { "were" })
    };
    if truncated > 0 {
        load.note(&format!("{} cut to {limit} tokens", were(truncated, "text")));
    }
    if empty > 0 {
        load.note(&format!(
            "{} without a token{empty_result}: the first is {}",
            were(empty, "text"),
            place.of_line(first_empty)
        ));
    }
    if skipped == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let list = output.errors_path().map(|path| format!(": see {}", path.display()));
    load.note(&format!("{} skipped{}", were(skipped, "row"), list.unwrap_or_default()));
    Ok(ROWS_SKIPPED.into())
}
