//! Tokens of whole texts and of their pieces, for the tests of both rules.

use tokenizers::Tokenizer;

use super::Piece;
use crate::batch::TokenSpan;
use crate::offsets::Characters;

/// Ids and spans.
type Found = Vec<(u32, TokenSpan)>;

/// Tokens of the whole text, and of its pieces.
pub(super) fn whole_and_pieces<'a>(
    tokenizer: &Tokenizer,
    text: &str,
    pieces: impl Iterator<Item = Piece<'a>>,
) -> (Found, Found) {
    let whole = tokens(tokenizer, text, |span| span);
    let cut =
        pieces.flat_map(|piece| tokens(tokenizer, &piece.text, |span| piece.span_in_text(span)));
    (whole, cut.collect())
}

fn tokens(tokenizer: &Tokenizer, text: &str, place: impl Fn(TokenSpan) -> TokenSpan) -> Found {
    let encoding = tokenizer.encode(text, false).unwrap();
    let characters = Characters::of(text);
    let spans = encoding.get_offsets().iter().map(|&bytes| place(characters.span(bytes)));
    encoding.get_ids().iter().copied().zip(spans).collect()
}
