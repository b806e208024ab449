"""Trains a search encoder on Cranfield's judgements, in cross-validation over its queries.

    cargo build --release -p polyhead-cli
    python bench/train/cranfield.py --data PATH/TO/cranfield --model PATH/TO/all-MiniLM-L6-v2

`--data` has `corpus.jsonl`, `queries.jsonl`, `qrels.jsonl` and `ignore.jsonl`. Query `q` is tested in fold `q mod folds`: the
encoder that is measured on it has seen none of its judgements. For each fold, the judgements of the other queries become pairs of
a query and a document, `polyhead mine-negatives` finds a document that is near to the query and no answer to it
(`mined`), or a document is drawn (`random`), and a retrieval task with multiple negatives trains on them. `untrained` is
the encoder as it is. Printed are means over all queries of all folds, and the number of folds in which training helped.
"""

import argparse
import json
import random
import statistics
import subprocess
import tempfile
from pathlib import Path

from training_run import toml

METRICS = ["ndcg@10", "mrr@10", "map", "recall@100"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--polyhead", default="target/release/polyhead", type=Path)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rate", type=float, default=2e-5)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sides", nargs="+", default=["untrained", "mined", "random"])
    arguments = parser.parse_args()
    found = {side: [] for side in arguments.sides}
    for fold in range(arguments.folds):
        for side in arguments.sides:
            with tempfile.TemporaryDirectory() as place:
                found[side].append(measure(arguments, side, fold, Path(place)))
            scores = ", ".join(f"{name} {found[side][-1][name]:.4f}" for name in METRICS)
            print(f"fold {fold}, {side}: {scores}", flush=True)
    for side, folds in found.items():
        queries = sum(fold["queries"] for fold in folds)
        means = {name: sum(fold[name] * fold["queries"] for fold in folds) / queries for name in METRICS}
        better = sum(fold["ndcg@10"] > first["ndcg@10"] for fold, first in zip(folds, found.get("untrained", folds)))
        scores = ", ".join(f"{name} {mean:.4f}" for name, mean in means.items())
        spread = statistics.pstdev(fold["ndcg@10"] for fold in folds)
        print(f"{side}: {scores} ({queries} queries; nDCG@10 varies by {spread:.4f} between folds, above untrained in {better})")


def measure(arguments: argparse.Namespace, side: str, fold: int, place: Path) -> dict:
    """Metrics on the queries of a fold."""
    train, test = place / "train-qrels.jsonl", place / "test-qrels.jsonl"
    grades = read(arguments.data / "qrels.jsonl")
    for path, wanted in ((train, False), (test, True)):
        write(path, [grade for grade in grades if (int(grade["query"]) % arguments.folds == fold) == wanted])
    model = arguments.model.resolve()
    if side != "untrained":
        model = trained(arguments, side, train, place)
    files = {"corpus": arguments.data / "corpus.jsonl", "queries": arguments.data / "queries.jsonl", "qrels": test}
    flags = [word for name, path in files.items() for word in (f"--{name}", path)]
    flags += ["--ignore", arguments.data / "ignore.jsonl", "--max-length", arguments.max_length, "--json", "--quiet"]
    output = call(arguments.polyhead, "eval", model, *flags)
    return next(iter(json.loads(output)["tasks"].values()))


def trained(arguments: argparse.Namespace, side: str, qrels: Path, place: Path) -> Path:
    rows = mined(arguments, qrels) if side == "mined" else drawn(arguments, qrels)
    write(place / "rows.jsonl", rows)
    config = {
        "encoder": {"model": str(arguments.model.resolve()), "max_length": arguments.max_length},
        "data": {"train": "rows.jsonl", "text": ["query", "positive", "negative"]},
        "task": [{"name": "search", "kind": "retrieval"}],
        "train": {"recipe": "full", "epochs": arguments.epochs, "batch_size": 32, "learning_rate": arguments.rate, "warmup": 0.1},
    }
    (place / "run.toml").write_text(toml(config), encoding="utf-8")
    call(arguments.polyhead, "train", place / "run.toml", "-o", place / "run", "--quiet", "--set", f"seed={arguments.seed}")
    return place / "run"


def mined(arguments: argparse.Namespace, qrels: Path) -> list[dict]:
    """The untrained encoder finds a negative for each judgement. The nearest candidates often are unjudged answers."""
    files = ["--corpus", arguments.data / "corpus.jsonl", "--queries", arguments.data / "queries.jsonl", "--qrels", qrels]
    rules = ["--negatives", 1, "--min-rank", 10, "--max-rank", 60, "--max-length", arguments.max_length, "--quiet"]
    output = call(arguments.polyhead, "mine-negatives", *files, *rules, "-m", arguments.model.resolve())
    return [json.loads(line) for line in output.splitlines()]


def drawn(arguments: argparse.Namespace, qrels: Path) -> list[dict]:
    """A random document for each judgement, of those that do not answer its query."""
    generator = random.Random(arguments.seed)
    queries = {row["id"]: row["text"] for row in read(arguments.data / "queries.jsonl")}
    # As `mine-negatives` makes the text of a document.
    texts = {row["id"]: " ".join(filter(None, (row["title"], row["text"]))) for row in read(arguments.data / "corpus.jsonl")}
    grades = [grade for grade in read(qrels) if grade["grade"] > 0]
    answers = {(grade["query"], grade["doc"]) for grade in grades}
    rows = []
    for grade in grades:
        others = [doc for doc, text in texts.items() if text.strip() and (grade["query"], doc) not in answers]
        row = {"query": queries[grade["query"]], "positive": texts[grade["doc"]], "negative": texts[generator.choice(others)]}
        rows += [row] if row["positive"].strip() else []
    return rows


def call(*words: object) -> str:
    return subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True).stdout


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
