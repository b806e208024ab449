"""Makes ids, type ids, character offsets and special-token masks of awkward strings, into `testdata/golden/tokenizer.json`.

    python reference/make_tokenizer_goldens.py --minilm DIR --models testdata/models --out testdata/golden

They are those of transformers' fast tokenizers: offsets count Unicode characters of
the original text, and special tokens have the empty span (0, 0). Every text and pair
appears whole (`full`) and cut to 16 tokens (`cut`), pairs by `longest_first`.
"""

import argparse
import json
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

CUT = 16

TEXTS = [
    "",
    " ",
    "\t\n\r ",
    "hello world",
    "  two  leading, trailing  ",
    "Hello, WORLD!",
    "don't can't they're I'd",
    "...!?--''\"\"((",
    "a.b.c/d:e@f#g",
    "well-known state-of-the-art",
    "snake_case and CamelCase and kebab-case",
    "Café résumé naïve",
    "Cafe\u0301 re\u0301sume\u0301",
    "\u0301 begins with a combining accent",
    "Straße ẞ ß",
    "İstanbul ı Iİ",
    "ŒUVRE Æsir ǅ ﬁligree",
    "Ａｂｃ full width １２３",
    "漢字かな交じり文 mixed 漢a字",
    "日本語",
    "𠀀𠀁 rare 豈 ideographs 〇",
    "한국어 문장",
    "हिन्दी में",
    "שלום עולם",
    "ภาษาไทย",
    "Жук и цапля, ё й",
    "👩‍👩‍👧‍👦 family 👍🏽 🇨🇭",
    "nul\x00in\x00side",
    "\x00",
    "bell\x07 escape\x1b[0m del\x7f c1\x85next",
    "soft\u00adhyphen zero\u200bwidth\u200djoin \ufeffbom",
    "nbsp\u00a0thin\u2009ideographic\u3000line\u2028para\u2029end",
    "replacement \ufffd private \ue000",
    "“curly” ‘quotes’ – en — em … ellipsis",
    "¡hola! ¿qué? «guillemets» 50€ £5 ¥ © ™ № ½ x²",
    "1,234.56 -7e-8 0x1F 2024-06-11",
    "https://example.org/a?b=c&d=%20#e",
    "[CLS] and [MASK] or [mask] in [SEP]text[UNK]",
    "[PAD][PAD] x",
    "supercalifragilisticexpialidocious",
    "x" * 99 + " " + "x" * 100 + " " + "x" * 101,
    "the quick brown fox jumps over the lazy dog and then the cat reads a long query about models",
    "tokenization unbelievable fastest learning",
    "$$ ^^ `code` ~tilde~ |pipe| <tag> a=b+c",
]

PAIRS = [
    ("hello world", "good query"),
    ("", ""),
    ("hello", ""),
    ("", "world"),
    ("the quick brown fox jumps over the lazy dog", "a cat"),
    ("a cat", "the quick brown fox jumps over the lazy dog and the model reads a text"),
    ("the quick brown fox jumps over the lazy dog", "this is a good sentence with a long text in it"),
    ("Café 漢字", "İ nul\x00 ☃ [SEP] x"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minilm", required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--models", type=Path, default=Path("testdata/models"))
    parser.add_argument("--out", type=Path, default=Path("testdata/golden"))
    arguments = parser.parse_args()
    folders = {"all-MiniLM-L6-v2": arguments.minilm, "tiny-bert-vocab-only": arguments.models / "tiny-bert-vocab-only"}
    goldens = {name: tokenizer_goldens(AutoTokenizer.from_pretrained(folder)) for name, folder in folders.items()}
    (arguments.out / "tokenizer.json").write_text(compact({"cut_length": CUT, "models": goldens}), encoding="utf-8")


def tokenizer_goldens(tokenizer: PreTrainedTokenizerBase) -> list[dict]:
    """One entry per text, then one per pair."""
    inputs = [(text, None) for text in TEXTS] + PAIRS
    return [
        {"text": text, "pair": pair, "full": encode(tokenizer, text, pair, False), "cut": encode(tokenizer, text, pair, "longest_first")}
        for text, pair in inputs
    ]


def encode(tokenizer: PreTrainedTokenizerBase, text: str, pair: str | None, truncation: bool | str) -> dict:
    """The fields that a token batch has.

    Called with lists of one: alone, an empty second text would be taken for none.
    """
    encoding = tokenizer(
        [text],
        None if pair is None else [pair],
        truncation=truncation,
        max_length=CUT if truncation else None,
        return_token_type_ids=True,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        verbose=False,
    )
    return {
        "ids": encoding["input_ids"][0],
        "type_ids": encoding["token_type_ids"][0],
        "offsets": encoding["offset_mapping"][0],
        "special": encoding["special_tokens_mask"][0],
    }


def compact(value: dict) -> str:
    """JSON with one entry a line, so that a change shows in a diff."""
    models = []
    for name, entries in value["models"].items():
        lines = ",\n".join(json.dumps(entry, ensure_ascii=True, separators=(",", ":")) for entry in entries)
        models.append(f"{json.dumps(name)}:[\n{lines}\n]")
    joined = ",\n".join(models)
    return f'{{"cut_length":{value["cut_length"]},"models":{{\n{joined}\n}}}}\n'


if __name__ == "__main__":
    main()
