"""Trains with the recipe `auto` where rows are few, or heads many, and prints what it gives beside other recipes.

    python bench/train/recipes.py --polyhead target/release/polyhead --model PATH/TO/all-MiniLM-L6-v2 \
        --data PATH/TO/data --out results.json

`few`: 8 and 16 rows a label, beside a logistic regression on the vectors of the same model (scikit-learn, which this
interpreter has to have with NumPy). `mixed`: two or three heads of different kinds, beside the recipes `full` and
`heads`. `large`: all rows of the sets whose recipes by hand are measured by quality.py. Results in the output file are
not measured again.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import quality
from training_run import measured, toml, write_aside

#: Sets with one label a row, and its field.
FEW = {"sst2": "sentiment", "trec": "coarse", "tweet_emotion": "emotion", "subj": "subjectivity", "ag_news_small": "topic"}
#: The five degrees of sst5, which its authors cut from a scale, as numbers again.
DEGREES = {"very negative": 0, "negative": 1, "neutral": 2, "positive": 3, "very positive": 4}
RECIPES = ["auto", "full", "heads"]
#: Sets of quality.py that are trained whole.
LARGE = ["trec", "sst2", "banking77", "snips"]
#: Kind and metric of each task.
TASKS = {
    "degree": ("regression", "spearman"),
    "tone": ("classification", "accuracy"),
    "coarse": ("classification", "accuracy"),
    "emotions": ("multilabel", "f1_micro"),
    "intent": ("classification", "accuracy"),
    "slots": ("tokens", "f1"),
}
#: Tasks of a mixed set: with one name of a data set, all read the same rows; else each has files of its own.
MIXED = {
    "sst5 600": (600, {"sst5": ["degree", "tone"]}),
    "sst5 2,000": (2000, {"sst5": ["degree", "tone"]}),
    "three sets, 400 rows each": (400, {"sst5": ["degree"], "trec": ["coarse"], "goemotions": ["emotions"]}),
    "snips 800": (800, {"snips": ["intent", "slots"]}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--polyhead", type=Path, required=True, help="the program")
    parser.add_argument("--model", type=Path, required=True, help="a model folder")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--out", type=Path, required=True, help="results, read and extended")
    parser.add_argument("--only", choices=["few", "mixed", "large"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float, default=1200.0, help="seconds that a run may take")
    bench = Bench(parser.parse_args())
    for name, measure in {"few": bench.few, "mixed": bench.mixed, "large": bench.large}.items():
        if bench.arguments.only in (None, name):
            print(measure())


class Bench:
    """Runs recipes and keeps what they give."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.work = arguments.out.resolve().with_suffix(".work")
        self.work.mkdir(parents=True, exist_ok=True)
        self.results = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}

    def few(self) -> str:
        """A line a set and size: accuracy on test of both sides, in points, and seconds of a run."""
        lines = ["| set | rows a label | `auto`, mean | range | logistic regression | difference | seconds |", "|---|---:|---:|---|---:|---:|---:|"]
        for name, field in FEW.items():
            for rows in (8, 16):
                ours, theirs, seconds = [], [], []
                for seed in self.arguments.seeds:
                    train = self.sampled(name, field, rows, seed)
                    found = self.kept(f"few {name} {rows} {seed} auto", lambda: self.trained(train, name, field, seed))
                    ours.append(100 * found["test"][field]["accuracy"])
                    seconds.append(found["seconds"])
                    found = self.kept(f"few {name} {rows} {seed} regression", lambda: self.regression(train, name, field))
                    theirs.append(100 * found["accuracy"])
                mean, other = statistics.mean(ours), statistics.mean(theirs)
                spread = f"{min(ours):.1f} to {max(ours):.1f}"
                lines.append(f"| {name} | {rows} | {mean:.1f} | {spread} | {other:.1f} | {mean - other:+.1f} | {max(seconds):.0f} |")
        return "\n".join(lines)

    def mixed(self) -> str:
        """A line a head: its metric on test with each recipe, in points; means over the seeds."""
        lines = ["| set | head | " + " | ".join(RECIPES) + " | `auto` to the best |", "|---|---|" + "---:|" * (len(RECIPES) + 1)]
        for name, (rows, sources) in MIXED.items():
            found = {recipe: [] for recipe in RECIPES}
            for recipe in RECIPES:
                for seed in self.arguments.seeds:
                    run = lambda: self.several(rows, sources, recipe, seed)
                    found[recipe].append(self.kept(f"mixed {name} {seed} {recipe}", run)["test"])
            for task in [task for tasks in sources.values() for task in tasks]:
                metric = TASKS[task][1]
                # A metric that is undefined, such as a correlation with one answer for all rows, is no success.
                means = [statistics.mean(100 * (test[task][metric] or 0.0) for test in tests) for tests in found.values()]
                shown = " | ".join(f"{mean:.1f}" for mean in means)
                lines.append(f"| {name} | {task}, {metric} | {shown} | {means[0] - max(means):+.1f} |")
        return "\n".join(lines)

    def large(self) -> str:
        """A line a set and metric: that of test with `auto`, in points."""
        lines = ["| set | test metric | `auto`, mean | range | seconds |", "|---|---|---:|---|---:|"]
        for name in LARGE:
            recipe = quality.RECIPES[name]
            files = {part: str(self.arguments.data.resolve() / recipe.data / f"{part}.jsonl") for part in ("train", "dev", "test")}
            tasks = [{"name": name, "kind": kind, "field": field} for name, kind, field in recipe.tasks]
            config = {"encoder": {"model": str(self.arguments.model.resolve())}, "data": files, "task": tasks}
            found = [self.kept(f"large {name} {seed}", lambda: self.run(config, seed)) for seed in self.arguments.seeds]
            for task, metric, title in recipe.shown:
                values = [100 * result["test"][task][metric] for result in found]
                spread = f"{min(values):.2f} to {max(values):.2f}, {len(values)} seeds"
                seconds = statistics.median(result["seconds"] for result in found)
                lines.append(f"| {name} | {title} | {statistics.mean(values):.2f} | {spread} | {seconds:.0f} |")
        return "\n".join(lines)

    def kept(self, key: str, measure) -> dict:
        if key not in self.results:
            print(f"{time.strftime('%H:%M:%S')} {key}", file=sys.stderr, flush=True)
            self.results[key] = measure()
            write_aside(self.arguments.out, json.dumps(self.results, indent=1))
        return self.results[key]

    def trained(self, train: Path, name: str, field: str, seed: int) -> dict:
        config = {
            "encoder": {"model": str(self.arguments.model.resolve())},
            "data": {"train": str(train), "test": str(self.part(name, "test", None))},
            "task": [{"name": field, "kind": "classification"}],
        }
        return self.run(config, seed)

    def several(self, rows: int, sources: dict[str, list[str]], recipe: str, seed: int) -> dict:
        def files(source: str) -> dict:
            sizes = {"train": rows, "dev": 200, "test": 1000}
            return {part: str(self.part(source, part, size)) for part, size in sizes.items()}

        tasks = [{"name": task, "kind": TASKS[task][0]} for tasks in sources.values() for task in tasks]
        config = {"encoder": {"model": str(self.arguments.model.resolve())}}
        if len(sources) == 1:
            config["data"] = files(next(iter(sources)))
        else:
            tasks = [task | files(source) for source, task in zip(sources, tasks, strict=True)]
        return self.run(config | {"task": tasks, "train": {"recipe": recipe}}, seed)

    def run(self, config: dict, seed: int) -> dict:
        folder = self.work / f"run-{time.time_ns()}"
        file = folder.with_suffix(".toml")
        file.write_text(toml(config), encoding="utf-8")
        command = [self.arguments.polyhead.resolve(), "train", file, "-o", folder, "--set", f"seed={seed}"]
        begin = time.perf_counter()
        usage = measured([*command, "--threads", self.arguments.threads, "--quiet"], self.arguments.limit)
        seconds = round(time.perf_counter() - begin, 1)
        summary = json.loads((folder / "finished.json").read_text())
        return usage | {"seconds": seconds, "test": {task["name"]: task["test"] for task in summary["tasks"]}}

    def regression(self, train: Path, name: str, field: str) -> dict:
        from sklearn.linear_model import LogisticRegression

        test = self.part(name, "test", None)
        rows = {file: [json.loads(line)[field] for line in file.read_text(encoding="utf-8").splitlines()] for file in (train, test)}
        model = LogisticRegression(max_iter=2000).fit(self.vectors(train), rows[train])
        return {"accuracy": float((model.predict(self.vectors(test)) == rows[test]).mean())}

    def vectors(self, file: Path):
        import numpy

        out = file.with_suffix(".npy")
        if not out.exists():
            command = [self.arguments.polyhead.resolve(), "encode", "-q", "-m", self.arguments.model, "-i", file, "-o", out]
            subprocess.run([str(word) for word in command], check=True)
        return numpy.load(out)

    def sampled(self, name: str, field: str, rows: int, seed: int) -> Path:
        """So many rows of each label, in random order."""
        out = self.work / f"{name}-{rows}-{seed}.jsonl"
        by_label: dict[str, list[dict]] = {}
        for row in self.rows(name, "train", None):
            by_label.setdefault(row[field], []).append({"text": row["text"], field: row[field]})
        chance = random.Random(f"{name} {rows} {seed}")
        drawn = [row for label in sorted(by_label) for row in chance.sample(by_label[label], rows)]
        chance.shuffle(drawn)
        return written(out, drawn)

    def part(self, name: str, part: str, rows: int | None) -> Path:
        """The first rows of a part."""
        return written(self.work / f"{name}-{part}-{rows}.jsonl", self.rows(name, part, rows))

    def rows(self, name: str, part: str, rows: int | None) -> list[dict]:
        file = self.arguments.data / name / f"{part}.jsonl"
        found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()[:rows]]
        if name == "sst5":
            return [{"text": row["text"], "degree": DEGREES[row["sentiment"]], "tone": row["sentiment"].split()[-1]} for row in found]
        return found


def written(out: Path, rows: list[dict]) -> Path:
    out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return out


if __name__ == "__main__":
    main()
