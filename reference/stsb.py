"""Prints the Spearman correlation (×100) of cosine similarities with human scores on the STS Benchmark.

    python reference/stsb.py --data stsb/test.jsonl --model PATH/TO/all-MiniLM-L6-v2
    python reference/stsb.py --data stsb/test.jsonl --embeddings a.npy b.npy

The data has one pair a line: `{"text_a": ..., "text_b": ..., "score": ...}`. The
two `.npy` files hold `[pairs, dim]` vectors of all `text_a` and all `text_b`, in
order, from any system.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", help="a sentence-transformers folder")
    source.add_argument("--embeddings", nargs=2, metavar="NPY")
    arguments = parser.parse_args()
    pairs = [json.loads(line) for line in arguments.data.read_text(encoding="utf-8").splitlines()]
    if arguments.model:
        first, second = encode(arguments.model, pairs)
    else:
        first, second = (np.load(path) for path in arguments.embeddings)
    print(f"{100 * score(first, second, [pair['score'] for pair in pairs]):.2f}")


def encode(model: str, pairs: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Both sides by sentence-transformers in float32."""
    # Imported here: stored vectors need no PyTorch.
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(model, device="cpu", local_files_only=True)
    first, second = (encoder.encode([pair[side] for pair in pairs], show_progress_bar=False) for side in ("text_a", "text_b"))
    return first, second


def score(first: np.ndarray, second: np.ndarray, gold: list[float]) -> float:
    """Spearman's rho of cosine similarity and gold, ties sharing their mean rank."""
    if len(first) != len(gold) or first.shape != second.shape:
        raise SystemExit(f"expected two arrays of {len(gold)} rows, found {first.shape} and {second.shape}")
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return spearmanr((first * second).sum(axis=1) / norms, gold).statistic


if __name__ == "__main__":
    main()
