"""Trains a classifier from a few rows of each label, and prints what it gives beside other ways with the same rows.

    python bench/train/few_shot.py --polyhead target/release/polyhead --model PATH/TO/all-MiniLM-L6-v2 \
        --data PATH/TO/data --draws 10 --setfit --out few_shot.json

The rows of a draw are drawn by its seed from the training rows of the set, as many of each label. All ways see the same
rows and are judged on the same rows of test: the recipe `few-shot`, scikit-learn's logistic regression on the unit
vectors of sentence-transformers, and, with --setfit, SetFit with its defaults. Seconds are those of training alone,
with the start of the program; SetFit's are without its imports. Draws in the output file are not measured again. `--on
dev` is for choosing settings.
"""

import argparse
import json
import random
import shutil
import statistics
import subprocess
import time
from pathlib import Path

from training_run import toml, write_aside

#: Sets with one label a row, and its field.
SETS = {"sst2": "sentiment", "trec": "coarse", "tweet_emotion": "emotion", "subj": "subjectivity", "ag_news_small": "topic"}
GOAL = ["sst2", "trec", "tweet_emotion"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--polyhead", type=Path, required=True, help="the program")
    parser.add_argument("--model", type=Path, required=True, help="a model folder")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--out", type=Path, required=True, help="results, read and extended")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=GOAL)
    parser.add_argument("--rows", type=int, nargs="+", default=[8], help="rows of each label")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--first", type=int, default=1, help="seed of the first draw")
    parser.add_argument("--on", choices=["test", "dev"], default="test", help="the rows that judge")
    parser.add_argument("--most", type=int, default=0, help="rows that judge, at most; 0: all")
    parser.add_argument("--setfit", action="store_true", help="train SetFit too")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], help="keys of the configuration, in place of those of the recipe")
    Bench(parser.parse_args()).run()


class Bench:
    """Trains on draws and keeps the results."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.work = arguments.out.resolve().with_suffix(".work")
        self.work.mkdir(parents=True, exist_ok=True)
        self.results = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
        self.encoder = None
        self.vectors = {}

    def run(self) -> None:
        """A line a set, and the means over all sets."""
        arguments = self.arguments
        ways = ["ours", "regression"] + (["setfit"] if arguments.setfit else [])
        print(f"| set | rows a label | {' | '.join(ways)} | to regression | {'to SetFit | ' if arguments.setfit else ''}seconds |")
        print("|---" * (5 + len(ways) - 1 + int(arguments.setfit)) + "|")
        differences = {way: [] for way in ways[1:]}
        for rows in arguments.rows:
            for name in arguments.sets:
                found = {way: [] for way in ways}
                seconds = []
                for seed in range(arguments.first, arguments.first + arguments.draws):
                    for way in ways:
                        result = self.result(way, name, rows, seed)
                        found[way].append(result["accuracy"])
                        if way == "ours":
                            seconds.append(result["seconds"])
                cells = [f"{statistics.mean(found[way]):.1f} ({min(found[way]):.1f}–{max(found[way]):.1f})" for way in ways]
                for way in ways[1:]:
                    pairs = [ours - theirs for ours, theirs in zip(found["ours"], found[way])]
                    differences[way].append(statistics.mean(pairs))
                    spread = statistics.stdev(pairs) if len(pairs) > 1 else 0.0
                    cells.append(f"{differences[way][-1]:+.1f} (± {spread:.1f})")
                print(f"| {name} | {rows} | {' | '.join(cells)} | {max(seconds):.1f} |", flush=True)
        for way, of_sets in differences.items():
            print(f"mean difference to {way}: {statistics.mean(of_sets):+.2f}")

    def result(self, way: str, name: str, rows: int, seed: int) -> dict:
        """Accuracy on the rows that judge, in points, and seconds of training."""
        arguments = self.arguments
        key = f"{way} {name} {rows} {seed} {arguments.on} {arguments.most}"
        if way == "ours" and arguments.set:
            key += " " + " ".join(sorted(arguments.set))
        if key not in self.results:
            self.results[key] = getattr(self, way)(name, rows, seed)
            write_aside(arguments.out, json.dumps(self.results, indent=1))
        return self.results[key]

    def ours(self, name: str, rows: int, seed: int) -> dict:
        field = SETS[name]
        folder = self.work / f"{name}-{rows}-{seed}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        train, judges = folder / "train.jsonl", folder / "judges.jsonl"
        write_rows(train, self.drawn(name, rows, seed))
        write_rows(judges, self.judges(name))
        config = {
            "encoder": {"model": str(self.arguments.model.resolve())},
            "data": {"train": str(train)},
            "train": {"recipe": "few-shot"},
            "task": [{"name": field, "kind": "classification"}],
        }
        (folder / "config.toml").write_text(f"seed = {seed}\n" + toml(config), encoding="utf-8")
        sets = [word for item in self.arguments.set for word in ("--set", item)]
        run = [self.arguments.polyhead, "train", folder / "config.toml", "-o", folder / "run", "--quiet", "--threads", self.arguments.threads, *sets]
        begin = time.perf_counter()
        subprocess.run([str(word) for word in run], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - begin
        evaluate = [self.arguments.polyhead, "eval", folder / "run", "-i", judges, "--json", "--threads", self.arguments.threads]
        found = subprocess.run([str(word) for word in evaluate], check=True, stdout=subprocess.PIPE)
        shutil.rmtree(folder)
        return {"accuracy": 100 * json.loads(found.stdout)["tasks"][field]["accuracy"], "seconds": seconds}

    def regression(self, name: str, rows: int, seed: int) -> dict:
        from sklearn.linear_model import LogisticRegression

        field = SETS[name]
        train, judges = self.drawn(name, rows, seed), self.judges(name)
        begin = time.perf_counter()
        model = LogisticRegression(max_iter=2000).fit(self.encoded(train), [row[field] for row in train])
        seconds = time.perf_counter() - begin
        score = model.score(self.encoded(judges), [row[field] for row in judges])
        return {"accuracy": 100 * score, "seconds": seconds}

    def setfit(self, name: str, rows: int, seed: int) -> dict:
        from datasets import Dataset
        from setfit import SetFitModel, Trainer, TrainingArguments

        field = SETS[name]
        train, judges = self.drawn(name, rows, seed), self.judges(name)
        data = Dataset.from_dict({"text": [row["text"] for row in train], "label": [row[field] for row in train]})
        model = SetFitModel.from_pretrained(str(self.arguments.model))
        settings = TrainingArguments(seed=seed, output_dir=str(self.work / "setfit"), save_strategy="no", report_to="none")
        begin = time.perf_counter()
        Trainer(model=model, args=settings, train_dataset=data).train()
        seconds = time.perf_counter() - begin
        found = model.predict([row["text"] for row in judges])
        right = sum(str(label) == row[field] for label, row in zip(found, judges))
        return {"accuracy": 100 * right / len(judges), "seconds": seconds}

    def drawn(self, name: str, rows: int, seed: int) -> list[dict]:
        """As many rows of each label, in an order of their own."""
        by_label = {}
        for row in read_rows(self.arguments.data / name / "train.jsonl"):
            by_label.setdefault(row[SETS[name]], []).append(row)
        numbers = random.Random(seed)
        found = [row for label in sorted(by_label) for row in numbers.sample(by_label[label], rows)]
        numbers.shuffle(found)
        return found

    def judges(self, name: str) -> list[dict]:
        """The rows that judge: the same for all draws."""
        rows = read_rows(self.arguments.data / name / f"{self.arguments.on}.jsonl")
        if self.arguments.most:
            random.Random(0).shuffle(rows)
            rows = rows[: self.arguments.most]
        return rows

    def encoded(self, rows: list[dict]):
        """Unit vectors, each text once."""
        import numpy

        texts = [row["text"] for row in rows]
        unknown = sorted({text for text in texts if text not in self.vectors})
        if unknown:
            if self.encoder is None:
                from sentence_transformers import SentenceTransformer

                self.encoder = SentenceTransformer(str(self.arguments.model), device="cpu")
            vectors = self.encoder.encode(unknown, normalize_embeddings=True, show_progress_bar=False)
            self.vectors.update(zip(unknown, vectors))
        return numpy.stack([self.vectors[text] for text in texts])


def read_rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def write_rows(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
