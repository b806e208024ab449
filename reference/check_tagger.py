"""Compares the tags of `polyhead predict` with those of PyTorch or of an ONNX file.

    polyhead predict FOLDER -i rows.jsonl -o answers.jsonl
    python reference/check_tagger.py FOLDER answers.jsonl [--onnx FILE]

Each row has its words in `tokens`. The folder is a token classifier of transformers whose tags make no spans.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--onnx", type=Path)
    arguments = parser.parse_args()
    logits = onnx_logits(arguments.onnx) if arguments.onnx else torch_logits(arguments.folder)
    labels = json.loads((arguments.folder / "config.json").read_text())["id2label"]
    tokenizer = Tokenizer.from_file(str(arguments.folder / "tokenizer.json"))
    equal = words = rows = 0
    for line in arguments.answers.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        encoded = tokenizer.encode(" ".join(row["input_tokens"]))
        best = logits(encoded.ids).argmax(axis=-1)
        [answer] = row["tasks"].values()
        rows += 1
        end = 0
        for word, found in zip(row["input_tokens"], answer["words"], strict=True):
            start, end = end, end + len(word)
            inside = [i for i, (a, b) in enumerate(encoded.offsets) if b > max(a, start) and a < end]
            expected = labels[str(best[inside[0]])] if inside else None
            equal += expected == found["tag"]
            words += 1
            end += 1
    print(f"{arguments.onnx or 'PyTorch'}: {equal} of {words} tags in {rows} rows are equal, {100 * equal / words:.2f} %")


def torch_logits(folder: Path):
    """The logits of one sequence of token ids, `[T, C]`, by PyTorch."""
    import torch
    from transformers import AutoModelForTokenClassification

    torch.set_num_threads(1)
    model = AutoModelForTokenClassification.from_pretrained(folder).eval()

    def logits(ids: list[int]) -> np.ndarray:
        with torch.no_grad():
            return model(input_ids=torch.tensor([ids])).logits[0].numpy()

    return logits


def onnx_logits(file: Path):
    """The logits of one sequence of token ids, `[T, C]`, by ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options)

    def logits(ids: list[int]) -> np.ndarray:
        ids = np.array([ids], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        wanted = {put.name for put in session.get_inputs()}
        return session.run(None, {name: value for name, value in given.items() if name in wanted})[0][0]

    return logits


if __name__ == "__main__":
    main()
