"""The tiny models' vocabulary, texts and seeded weights, shared by the scripts beside this file.

Small enough to commit, and deliberately awkward: the head size of ten leaves
partial vectors, biases and layer norms are far from their trivial values,
and the weights are large enough that a wrong term shows in the first digits.
"""

import argparse
import json
import string
from pathlib import Path

import torch

SEED = 20240611
MAX_POSITIONS = 64
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PUNCTUATION = list(".,!?'-:/()@#")
WORDS = """the a an and or of to in is was it you we not for on with this that i quick brown fox jump
over lazy dog cat sentence word token text query passage good bad movie price mail help broken urgent please train
head model learn fast slow hello world""".split()
PIECES = "ing ed er est ly s ness able un re tion al ful ment".split()
OTHER_SCRIPTS = list("ß漢字日ж")

#: The i-th golden tensors belong to the i-th text. Number 5 repeats number 0.
TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "a",
    "",
    "hello world this is a sentence " * 16,
    "☃ snow 漢字 and é, Жук ߷",
    "The quick brown fox jumps over the lazy dog.",
    "Unbelievable tokenization: 12345 (fastest) models, aren't they?!",
    "please help , the mail is broken and it is urgent",
]


def folders(about: str) -> argparse.Namespace:
    """The folders that the command line names: `models` to read, and `out` for what a script writes.

    `about` is the documentation of the script. PyTorch computes on one thread: its sums then have one order.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("testdata/models"))
    parser.add_argument("--out", type=Path, default=Path("testdata/golden"))
    torch.set_num_threads(1)
    return parser.parse_args()


def vocabulary() -> list[str]:
    """WordPiece entries in id order; specials first, then what any ASCII word can fall back to."""
    singles = list(string.ascii_lowercase + string.digits) + PUNCTUATION + OTHER_SCRIPTS
    words = [word for word in WORDS if word not in singles]
    pieces = [f"##{piece}" for piece in list(string.ascii_lowercase + string.digits) + PIECES]
    entries = SPECIALS + singles + words + list(dict.fromkeys(pieces))
    assert len(entries) == len(set(entries))
    return entries


def randomize(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Fills every parameter, in name order, from one seed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            is_norm = "norm" in name.lower() and name.endswith("weight")
            parameter.normal_(1.0 if is_norm else 0.0, 0.2, generator=generator)
    return model.eval()


def write_vocab(folder: Path) -> None:
    """Writes `vocab.txt`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("".join(f"{entry}\n" for entry in vocabulary()), encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Writes readable JSON with a final newline; keys keep their order."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
