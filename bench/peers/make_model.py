"""Makes a sentence-transformers folder of DistilBERT-base's shape with random weights.

    python bench/peers/make_model.py --like DIR --out DIR [--seed 0]

Tokenizer, longest text, mean pooling and normalization are those of `--like`, a BERT
such as all-MiniLM-L6-v2: 6 layers of width 768, 12 heads, feed-forward width 3,072. The vectors
are meaningless; only the time is measured.
"""

import argparse
import json
import shutil
from pathlib import Path

KEPT = ["modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"]
KEPT += ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--like", type=Path, required=True, help="sentence-transformers folder of a BERT")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write_encoder(arguments.like, arguments.out, arguments.seed)
    for name in KEPT:
        shutil.copyfile(arguments.like / name, arguments.out / name)
    write_pooling(arguments.like / "1_Pooling", arguments.out / "1_Pooling")


def write_encoder(like: Path, out: Path, seed: int) -> None:
    """Random weights, as DistilBERT begins its training."""
    import torch
    from transformers import DistilBertConfig, DistilBertModel

    vocabulary = json.loads((like / "config.json").read_text())["vocab_size"]
    torch.manual_seed(seed)
    model = DistilBertModel(DistilBertConfig(vocab_size=vocabulary, n_layers=6, dim=768, n_heads=12, hidden_dim=3072))
    model.save_pretrained(out)


def write_pooling(like: Path, out: Path) -> None:
    """The same pooling, of wider vectors."""
    config = json.loads((like / "config.json").read_text()) | {"word_embedding_dimension": 768}
    out.mkdir(exist_ok=True)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
