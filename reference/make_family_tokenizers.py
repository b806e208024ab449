"""Makes small tokenizers of RoBERTa, ModernBERT, XLM-RoBERTa, CamemBERT and MPNet in `testdata/tokenizers`,
and writes their ids, type ids, offsets and words of awkward strings into `testdata/golden/tokenizer-families.json`.

    python reference/make_family_tokenizers.py

The ids are those of transformers' class for the files of the folder, or of its tokenizer.json as it is, where
the newest classes build other steps. Offsets count Unicode characters of the text and leave out the blanks at
their ends: a token of blanks that begins a word covers nothing, where the word begins.
"""

import argparse
import contextlib
import json
import tempfile
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, Encoding, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

import tiny
from make_tokenizer_goldens import CUT, PAIRS, TEXTS

# What is put in place of characters: small stand-ins for the tables of published models.
RULES = {"Ａ": "A", "\u3000": " ", "\u00a0": " ", "\u200b": " ", "ﬁ": "fi", "e\u0301": "é", "\u00ad": "", "\t": " ", "\n": " ", "½": "1/2"}

CORPUS = [
    "the quick brown fox jumps over the lazy dog and then the cat reads a long query about models",
    "Hello world, this isn't a good sentence: don't they've read it?",
    "Ça va? L'été à Köln, le café, la fille et le garçon.",
    "Привет, мир. 漢字かな交じり文。 한국어 문장",
    "0 1 2 3 4 5 6 7 8 9 10 1,234.56 2024-06-11 https://example.org/a?b=c&d",
]

# Blanks everywhere, and texts of which nothing is left.
BLANKS = [
    " hello",
    "hello ",
    "  hello   world  ",
    "\thello\t\tworld\n\nthe\r\ncat \n",
    "a \u3000b\u00a0 c",
    " \n ",
    "\u00ad",
    "\u00ad \u200b",
    "hello <mask> world <mask>",
    "hello   <mask>.",
    "</s> <s>the<s> <unk><pad>",
    "[UNK] [unk]  <MASK> <Mask>the",
    "🙂 🙂🙂 👍🏽the",
    "漢 字 漢字 the漢",
    "e\u0301te\u0301  \u0301x",
    "▁the ▁ cat▁",
]

# Each text is in the goldens of all tokenizers; these have something that the families differ in.
CHOSEN = [text for text in TEXTS if len(text) < 60 and not text.startswith(("[", "snake", "well", "a.b"))]

WORDS = ["Hello", "café", "漢", "!", "🙂", "the", "e\u0301t", "don't", "2024", "ﬁ"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--testdata", type=Path, default=Path("testdata"))
    testdata = parser.parse_args().testdata
    folders = testdata / "tokenizers"
    make_folders(folders)
    goldens = {folder.name: entries(Tokenizer.from_str(steps(folder)), folder.name) for folder in sorted(folders.iterdir())}
    lines = [f"{json.dumps(name)}:[\n" + ",\n".join(json.dumps(e, separators=(",", ":")) for e in all_of) + "\n]" for name, all_of in goldens.items()]
    text = f'{{"cut_length":{CUT},"models":{{\n' + ",\n".join(lines) + "\n}}\n"
    (testdata / "golden" / "tokenizer-families.json").write_text(text, encoding="utf-8")


def make_folders(folders: Path) -> None:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    files = new(folders / "roberta-files", {"model_type": "roberta"})
    mask = {"content": "<mask>", "lstrip": True, "rstrip": False, "single_word": False, "normalized": False, "__type": "AddedToken"}
    write(files / "tokenizer_config.json", {"add_prefix_space": True, "mask_token": mask})
    byte_level(special).model.save(str(files))

    modern = new(folders / "modernbert-json", {"model_type": "modernbert"})
    tokenizer = byte_level(["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"])
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.add_tokens([AddedToken("   ", normalized=True, special=False), AddedToken("|||IP|||", normalized=True, special=False)])
    tokenizer.add_special_tokens([AddedToken("[MASK]", lstrip=True)])
    write(modern / "tokenizer.json", json.loads(tokenizer.to_str()))

    model = pieces()
    for name in ["xlm-roberta", "camembert"]:
        folder = new(folders / f"{name}-file", {"model_type": name})
        (folder / "sentencepiece.bpe.model").write_bytes(model)

    mpnet = new(folders / "mpnet-vocab", {"model_type": "mpnet"})
    words = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", *tiny.vocabulary()[len(tiny.SPECIALS) :], "<mask>"]
    (mpnet / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")

    # The steps that earlier versions of transformers wrote.
    old = new(folders / "unigram-json", {"model_type": "xlm-roberta"})
    built = json.loads(AutoTokenizer.from_pretrained(folders / "xlm-roberta-file").backend_tokenizer.to_str())
    tidy = [{"type": "Strip", "strip_left": False, "strip_right": True}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}]
    built["normalizer"] = {"type": "Sequence", "normalizers": [built["normalizer"], *tidy]}
    built["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    write(old / "tokenizer.json", built)


def byte_level(special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    return tokenizer


def pieces() -> bytes:
    """A Unigram model of SentencePiece, with a small table in place of nmt_nfkc."""
    # The file holds these paths, so they are relative.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        rules, corpus = Path("rules.tsv"), Path("corpus.txt")
        code = lambda text: " ".join(f"{ord(c):X}" for c in text)  # noqa: E731
        rules.write_text("".join(f"{code(old)}\t{code(new_)}\n" for old, new_ in RULES.items()))
        corpus.write_text("\n".join(CORPUS * 20), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus), model_prefix="m", vocab_size=200, model_type="unigram", normalization_rule_tsv=str(rules),
            hard_vocab_limit=False, num_threads=1, minloglevel=2,
        )
        return Path("m.model").read_bytes()


def steps(folder: Path) -> str:
    """The tokenizer of a folder as tokenizer.json, without the library's own rule for blanks in offsets."""
    file = folder / "tokenizer.json"
    text = file.read_text(encoding="utf-8") if file.exists() else AutoTokenizer.from_pretrained(folder).backend_tokenizer.to_str()
    built = json.loads(text)
    if "trim_offsets" in (built["post_processor"] or {}):
        built["post_processor"]["trim_offsets"] = False
    return json.dumps(built)


def entries(tokenizer: Tokenizer, name: str) -> list[dict]:
    found = [{"text": text, "pair": None, "full": encode(tokenizer, text, None, False)} for text in CHOSEN + BLANKS]
    for text, pair in PAIRS:
        found.append({"text": text, "pair": pair, "full": encode(tokenizer, text, pair, False), "cut": encode(tokenizer, text, pair, True)})
    # Python puts no blank before words where the tokenizer has none before a text.
    if name != "modernbert-json":
        encoding = tokenizer.encode(WORDS, is_pretokenized=True)
        first = [encoding.word_ids.index(word) if word in encoding.word_ids else None for word in range(len(WORDS))]
        found.append({"words": WORDS, "ids": encoding.ids, "first": first})
    return found


def encode(tokenizer: Tokenizer, text: str, pair: str | None, cut: bool) -> dict:
    if cut:
        tokenizer.enable_truncation(CUT, strategy="longest_first")
    else:
        tokenizer.no_truncation()
    encoding = tokenizer.encode(text, pair)
    whole = tokenizer_words(tokenizer, text), tokenizer_words(tokenizer, pair or "")
    return {
        "ids": encoding.ids,
        "type_ids": encoding.type_ids,
        "offsets": offsets(encoding, (text, pair or ""), whole),
        "special": encoding.special_tokens_mask,
    }


def tokenizer_words(tokenizer: Tokenizer, text: str) -> list[int | None]:
    """The word of each token of the whole text, also of those that are cut off."""
    tokenizer.no_truncation()
    return tokenizer.encode(text, add_special_tokens=False).word_ids


def offsets(encoding: Encoding, texts: tuple[str, str], words: tuple[list, list]) -> list[tuple[int, int]]:
    found, at = [], [0, 0]
    for (start, end), sequence in zip(encoding.offsets, encoding.sequence_ids):
        if sequence is not None:
            part = texts[sequence][start:end]
            own = words[sequence][at[sequence]:][:2]
            at[sequence] += 1
            if part and not part.strip():
                start = end if len(own) == 2 and own[0] == own[1] else start
            else:
                start += len(part) - len(part.lstrip())
                end -= len(part) - len(part.rstrip())
        found.append((start, end))
    return found


def new(folder: Path, config: dict) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "config.json", config)
    return folder


def write(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
