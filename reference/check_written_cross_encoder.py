"""Checks that sentence-transformers loads the cross-encoder in a folder that training wrote, and gives the same scores.

    polyhead predict runs/a/model -i pairs.jsonl -o answers.jsonl
    python reference/check_written_cross_encoder.py runs/a/model answers.jsonl

Each row of `pairs.jsonl` has a pair of texts in `text`; the folder has one task, a regression or a classification on pairs.
"""

import argparse
import json
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("answers", type=Path)
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.answers.read_text(encoding="utf-8").splitlines()]
    model = CrossEncoder(str(arguments.folder))
    expected = model.predict([row["text"] for row in rows], convert_to_tensor=True)
    if expected.ndim > 1:
        expected = expected.softmax(dim=-1)
    answers = [next(iter(row["tasks"].values())) for row in rows]
    labels = model.config.id2label
    found = torch.tensor([[answer["probabilities"][labels[i]] for i in range(len(labels))] if "probabilities" in answer else answer["value"] for answer in answers])
    worst = (found - expected).abs().max().item()
    print(f"{arguments.folder}: {len(rows)} pairs, {type(model.activation_fn).__name__}, largest difference of a score {worst:.1e}")
    assert worst < 1e-4, worst


if __name__ == "__main__":
    main()
