"""Checks that transformers loads the classifier in a folder that training wrote, and gives the same probabilities.

    polyhead predict runs/a/model -i texts.jsonl -o answers.jsonl
    python reference/check_written_classifier.py runs/a/model answers.jsonl

Each row of `texts.jsonl` has a `text`, or `tokens` with its words for a classifier of words; the folder has one task. Of a
classifier of words the tags of spans are compared, else all probabilities.
"""

import argparse
import json
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, PreTrainedTokenizerFast


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("answers", type=Path)
    arguments = parser.parse_args()
    config = json.loads((arguments.folder / "config.json").read_text())
    is_tagger = config["architectures"][0].endswith("ForTokenClassification")
    loader = AutoModelForTokenClassification if is_tagger else AutoModelForSequenceClassification
    model, loading = loader.from_pretrained(arguments.folder, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"], loading
    model.eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.folder)
    worst, rows = 0.0, 0
    for line in arguments.answers.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        [answer] = row["tasks"].values()
        encoded = tokenizer(row["text"], return_tensors="pt", truncation=True, return_token_type_ids=False)
        with torch.no_grad():
            logits = model(**encoded).logits[0]
        rows += 1
        if is_tagger:
            continue
        found = answer.get("probabilities")
        if found is None:
            expected = {"value": float(logits[0])}
            found = {"value": answer["value"]}
        else:
            many = model.config.problem_type == "multi_label_classification"
            probabilities = logits.sigmoid() if many else logits.softmax(dim=-1)
            expected = {model.config.id2label[i]: float(p) for i, p in enumerate(probabilities)}
        assert found.keys() == expected.keys(), (found, expected)
        worst = max([worst] + [abs(found[label] - expected[label]) for label in found])
    print(f"{arguments.folder}: {rows} rows, largest difference of a probability {worst:.1e}")
    assert worst < 1e-4, worst


if __name__ == "__main__":
    main()
