"""Checks that transformers loads the classifier in a folder that training wrote, and gives the same probabilities.

    polyhead predict runs/a/model -i texts.jsonl -o answers.jsonl
    python reference/check_written_classifier.py runs/a/model answers.jsonl

Each row of `texts.jsonl` has a `text`, or `tokens` with its words for a classifier of words, whose tags are BIO; the folder
has one task. Of a classifier of words the spans are compared, else all probabilities. A pooler that the classifier does not
use may be left over from the model that the run began with.
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
    unexpected = [key for key in loading["unexpected_keys"] if ".pooler." not in key]
    assert not loading["missing_keys"] and not unexpected, loading
    model.eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.folder)
    worst, rows = 0.0, 0
    for line in arguments.answers.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        [answer] = row["tasks"].values()
        encoded = tokenizer(
            row["text"], return_tensors="pt", truncation=True, return_token_type_ids=False, return_offsets_mapping=True
        )
        offsets = encoded.pop("offset_mapping")[0].tolist()
        with torch.no_grad():
            logits = model(**encoded).logits[0]
        rows += 1
        if is_tagger:
            tags = [model.config.id2label[int(i)] for i in logits.argmax(dim=-1)]
            expected = spans([tags[i] for i in first_tokens(row["input_tokens"], offsets)])
            given = [(span["label"], span["first_word"], span["last_word"]) for span in answer["spans"]]
            assert given == expected, (given, expected)
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


def first_tokens(words: list[str], offsets: list[list[int]]) -> list[int]:
    """The first token of every word of a text whose words have blanks between them."""
    found, end = [], 0
    for word in words:
        start, end = end, end + len(word)
        found.append(next(i for i, (a, b) in enumerate(offsets) if b > max(a, start) and a < end and a >= start - 1))
        end += 1
    return found


def spans(tags: list[str]) -> list[tuple[str, int, int]]:
    """Label, first and last word of each span of BIO tags."""
    found: list[tuple[str, int, int]] = []
    before = None
    for word, tag in enumerate(tags):
        label = None if tag == "O" else tag[2:]
        if label is not None:
            if tag[0] == "I" and before == label:
                found[-1] = (label, found[-1][1], word)
            else:
                found.append((label, word, word))
        before = label
    return found


if __name__ == "__main__":
    main()
