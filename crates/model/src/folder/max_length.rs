//! The longest sequence: how many tokens of a text a model reads.

use crate::error::{Error, ErrorKind};

/// Decides the longest sequence, special tokens included, as `sentence-transformers` does.
///
/// - `folder`: `max_seq_length` of `sentence_bert_config.json`
/// - `tokenizer`: `model_max_length` of `tokenizer_config.json`, where "no limit" is a very
///   large number
/// - `positions`: the number of rows of the position table, which is the upper limit
/// - `user`: the choice of the user, which takes precedence
///
/// The user's choice decides, then the folder's, then the smaller of the tokenizer's number and the
/// position table (`Transformer.__init__`, version 6.2). Python accepts a folder's number above the
/// position table and fails on the first text of that length; here the table is the limit.
///
/// # Errors
/// [`ErrorKind::Option`] if the choice of the user is 0 or above the position table.
///
/// ```
/// use polyhead_model::decide_max_length;
///
/// assert_eq!(decide_max_length(Some(256), Some(512), 512, None)?, 256);
/// assert_eq!(decide_max_length(None, Some(128), 512, None)?, 128);
/// assert_eq!(decide_max_length(Some(256), Some(128), 512, Some(512))?, 512);
/// # Ok::<(), polyhead_model::Error>(())
/// ```
pub fn decide_max_length(
    folder: Option<usize>,
    tokenizer: Option<usize>,
    positions: usize,
    user: Option<usize>,
) -> Result<usize, Error> {
    match user {
        Some(length) if (1..=positions).contains(&length) => Ok(length),
        Some(length) => Err(Error::new(
            ErrorKind::Option,
            format!(
                "maximum length: expected 1 to {positions}, the positions of the model, found {length}"
            ),
        )),
        None => Ok(folder.or(tokenizer).unwrap_or(positions).clamp(1, positions)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_then_folder_then_tokenizer_then_positions() {
        struct Case {
            folder: Option<usize>,
            tokenizer: Option<usize>,
            user: Option<usize>,
            expected: Option<usize>,
        }
        let cases = [
            Case { folder: None, tokenizer: None, user: None, expected: Some(512) },
            Case { folder: None, tokenizer: Some(usize::MAX), user: None, expected: Some(512) },
            Case { folder: None, tokenizer: Some(64), user: None, expected: Some(64) },
            Case { folder: Some(256), tokenizer: Some(64), user: None, expected: Some(256) },
            Case { folder: Some(600), tokenizer: Some(64), user: None, expected: Some(512) },
            Case { folder: Some(256), tokenizer: Some(64), user: Some(512), expected: Some(512) },
            Case { folder: Some(256), tokenizer: Some(64), user: Some(1), expected: Some(1) },
            Case { folder: Some(256), tokenizer: None, user: Some(513), expected: None },
            Case { folder: Some(256), tokenizer: None, user: Some(0), expected: None },
        ];
        for case in cases {
            let found = decide_max_length(case.folder, case.tokenizer, 512, case.user);
            match case.expected {
                Some(expected) => assert_eq!(found.unwrap(), expected),
                None => assert_eq!(found.unwrap_err().kind(), ErrorKind::Option),
            }
        }
    }
}
