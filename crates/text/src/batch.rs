//! The packed batch: tokens of all sequences end to end, no padding.

/// How many tokens a text has, and how many were kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TextTokens {
    /// Tokens of the whole text, special tokens included.
    pub total: usize,
    /// Tokens that are encoded, special tokens included.
    pub kept: usize,
}

impl TextTokens {
    /// Whether something was cut.
    pub fn truncated(self) -> bool {
        self.kept < self.total
    }
}

/// Where a token stands in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TokenSpan {
    /// First character (Unicode scalar value, not byte).
    pub start: u32,
    /// One past the last character; equal to `start` for special tokens.
    pub end: u32,
}

/// Tokens of `B` sequences end to end, `N` in all.
#[derive(Clone, Debug, Default)]
pub struct TokenBatch {
    /// `[N]` rows of the word embedding table.
    pub ids: Vec<u32>,
    /// `[N]` 0 for the first text of a pair and single texts, 1 for the second.
    pub type_ids: Vec<u32>,
    /// `[N]` where each token stands in its text (of a pair: in its own text).
    pub spans: Vec<TokenSpan>,
    /// `[B + 1]` where each sequence begins; the last entry is `N`.
    pub offsets: Vec<usize>,
    /// `[B]` token counts before and after cutting.
    pub texts: Vec<TextTokens>,
}
