"""Fine-tunes on seven public sets with Polyhead and with PyTorch, one recipe per set, and prints the test metrics.

    python bench/train/quality.py --polyhead target/release/polyhead --python PATH/TO/python \
        --model PATH/TO/all-MiniLM-L6-v2 --data PATH/TO/data --out results.json

Polyhead trains with each of `--seeds`, `torch_quality.py` with `--torch-seeds`. Results in
the output file are not measured again, so an interrupted script can be continued.
`--only SET` and `--side` limit the work, `--print` measures nothing.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from training_run import measured, toml, write_aside

HERE = Path(__file__).resolve().parent
SIDES = ["polyhead", "torch"]
#: The five degrees of sst5, which its authors cut from a scale, as numbers again.
DEGREES = {"very negative": 0, "negative": 1, "neutral": 2, "positive": 3, "very positive": 4}
#: Sets with a field that this script makes of another one: its name, and its value in a row.
MADE = {
    "sst5": ("degree", lambda row: DEGREES[row["sentiment"]]),
    # Six classes, from 0 to 5.
    "stsb": ("closeness", lambda row: str(round(row["score"]))),
}


@dataclass
class Recipe:
    """What is trained, and how; both sides take the same."""

    #: The folder in `--data`.
    data: str
    #: Name, kind, field.
    tasks: list[tuple[str, str, str]]
    #: Task and metric, as both sides name it, with what stands above its column.
    shown: list[tuple[str, str, str]]
    epochs: int
    lr: float = 1e-4
    head_lr: float = 1e-3
    max_length: int = 64
    #: The first rows of the training file; all without it.
    rows: int | None = None
    #: The fields of both texts, for pairs.
    text: list[str] = field(default_factory=lambda: ["text"])
    #: Two vectors instead of one sequence.
    separate: bool = False


def pairs(data: str, field: str) -> Recipe:
    """A classification of pairs of texts."""
    task = [(field, "classification", field)]
    return Recipe(data, task, [(field, "accuracy", "accuracy")], epochs=2, max_length=128, text=["text_a", "text_b"])


RECIPES = {
    "trec": Recipe("trec", [("coarse", "classification", "coarse")], [("coarse", "accuracy", "accuracy")], epochs=4),
    "trec-short": Recipe("trec", [("coarse", "classification", "coarse")], [("coarse", "accuracy", "accuracy")], epochs=2, lr=5e-5),
    "sst2": Recipe("sst2", [("sentiment", "classification", "sentiment")], [("sentiment", "accuracy", "accuracy")], epochs=2),
    "banking77": Recipe(
        "banking77",
        [("intent", "classification", "intent")],
        [("intent", "accuracy", "accuracy")],
        epochs=5,
        lr=2e-4,
        head_lr=5e-3,
    ),
    "snips": Recipe(
        "snips",
        [("intent", "classification", "intent"), ("slots", "tokens", "slots")],
        [("intent", "accuracy", "intent accuracy"), ("slots", "f1", "slots span F1")],
        epochs=3,
        lr=2e-4,
        head_lr=2e-3,
    ),
    "goemotions": Recipe(
        "goemotions",
        [("emotions", "multilabel", "emotions"), ("sentiments", "multilabel", "sentiments")],
        [
            ("emotions", "f1_micro", "emotions micro F1"),
            ("emotions", "f1_macro", "emotions macro F1"),
            ("sentiments", "f1_micro", "sentiments micro F1"),
        ],
        epochs=3,
        lr=2e-4,
        head_lr=5e-3,
        rows=12_000,
    ),
    "sst5": Recipe(
        "sst5", [("degree", "regression", "degree")], [("degree", "spearman", "Spearman"), ("degree", "pearson", "Pearson")], epochs=2, rows=5_000
    ),
    "demo": Recipe(
        "demo",
        [("topic", "classification", "topic"), ("sentiment", "classification", "sentiment")],
        [("topic", "accuracy", "topic accuracy"), ("sentiment", "accuracy", "sentiment accuracy")],
        epochs=3,
        lr=5e-5,
    ),
    "mrpc": pairs("mrpc", "paraphrase"),
    "rte": pairs("rte", "entailment"),
    "stsb-separate": replace(pairs("stsb", "closeness"), separate=True),
    "demo-topic": Recipe(
        "demo", [("topic", "classification", "topic")], [("topic", "accuracy", "topic accuracy")], epochs=3, lr=5e-5
    ),
    "demo-sentiment": Recipe(
        "demo", [("sentiment", "classification", "sentiment")], [("sentiment", "accuracy", "sentiment accuracy")], epochs=3, lr=5e-5
    ),
}


def main() -> None:
    arguments = parse_arguments()
    bench = Bench(arguments)
    for side in SIDES if arguments.side is None else [arguments.side]:
        for name, recipe in RECIPES.items():
            if arguments.only in (None, name) and not arguments.print:
                bench.measure(name, recipe, side)
    print(table(bench.results, arguments))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--polyhead", type=Path, required=True, help="the program")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="an interpreter with requirements-quality.txt")
    parser.add_argument("--model", type=Path, required=True, help="a folder as transformers reads it")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--out", type=Path, required=True, help="results, read and extended")
    parser.add_argument("--only", choices=list(RECIPES), help="one set")
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--torch-seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds that a run may take")
    parser.add_argument("--print", action="store_true", help="print what there is, measure nothing")
    return parser.parse_args()


class Bench:
    """Runs recipes and keeps what they give."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.work = arguments.out.resolve().with_suffix(".work")
        self.results = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}

    def measure(self, name: str, recipe: Recipe, side: str) -> None:
        run = {"polyhead": self.polyhead, "torch": self.torch}[side]
        for seed in self.arguments.seeds if side == "polyhead" else self.arguments.torch_seeds:
            key = f"{side} {seed} {recipe}"
            if key in self.results:
                continue
            print(f"{time.strftime('%H:%M:%S')} {name}, {side}, seed {seed}", file=sys.stderr, flush=True)
            begin = time.perf_counter()
            result = {"set": name, "side": side, "seed": seed} | run(recipe, seed)
            self.results[key] = result | {"seconds": round(time.perf_counter() - begin, 1)}
            write_aside(self.arguments.out, json.dumps(self.results, indent=1))

    def polyhead(self, recipe: Recipe, seed: int) -> dict:
        pair = {"pair": "separate"} if recipe.separate else {}
        config = {
            "encoder": {"model": str(self.arguments.model.resolve()), "pooling": "mean", "max_length": recipe.max_length},
            "data": {part: str(file) for part, file in self.files(recipe).items()} | {"text": recipe.text},
            "task": [{"name": name, "kind": kind, "field": label} | pair for name, kind, label in recipe.tasks],
            "train": {"epochs": recipe.epochs, "learning_rate": recipe.lr, "head_learning_rate": recipe.head_lr},
            "checkpoint": {"every": 0, "keep": 1},
        }
        folder = self.fresh("polyhead")
        file = folder.with_suffix(".toml")
        file.write_text(toml(config), encoding="utf-8")
        command = [self.arguments.polyhead.resolve(), "train", file, "-o", folder, "--set", f"seed={seed}", "--set", "train.recipe=full"]
        usage = measured([*command, "--threads", self.arguments.threads, "--quiet"], self.arguments.limit)
        summary = json.loads((folder / "finished.json").read_text())
        return usage | {"test": {task["name"]: task["test"] for task in summary["tasks"]}}

    def torch(self, recipe: Recipe, seed: int) -> dict:
        options = {"model": self.arguments.model, "pooling": "mean", "max-length": recipe.max_length, "seed": seed}
        options |= self.files(recipe) | {"epochs": recipe.epochs, "lr": recipe.lr, "head-lr": recipe.head_lr}
        options |= {"threads": self.arguments.threads}
        command = [self.arguments.python.absolute(), HERE / "torch_quality.py"]
        command += [word for name, value in options.items() for word in (f"--{name}", value)]
        command += ["--text", *recipe.text, *(["--separate"] if recipe.separate else [])]
        command += ["--task", *(":".join(task) for task in recipe.tasks)]
        printed = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout
        test = json.loads(printed.splitlines()[-1])["test"]
        # Polyhead's test metrics are with thresholds found on dev.
        return {"test": {name: metrics | tuned(metrics) for name, metrics in test.items()}}

    def files(self, recipe: Recipe) -> dict[str, Path]:
        source = self.arguments.data.resolve() / recipe.data
        files = {part: source / f"{part}.jsonl" for part in ("train", "dev", "test")}
        if recipe.data in MADE or recipe.rows:
            files = {part: self.rewritten(file, recipe.data, recipe.rows if part == "train" else None) for part, file in files.items()}
        return files

    def rewritten(self, file: Path, data: str, rows: int | None) -> Path:
        """The first rows, with what this script adds to them."""
        self.work.mkdir(parents=True, exist_ok=True)
        out = self.work / f"{data}-{file.name}"
        found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()[:rows]]
        if data in MADE:
            field, value = MADE[data]
            found = [row | {field: value(row)} for row in found]
        out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), encoding="utf-8")
        return out

    def fresh(self, name: str) -> Path:
        """A new folder for a run that is not read later."""
        self.work.mkdir(parents=True, exist_ok=True)
        return self.work / f"{name}-{time.time_ns()}"


def tuned(metrics: dict[str, float]) -> dict[str, float]:
    return {name.removesuffix("_tuned"): value for name, value in metrics.items() if name.endswith("_tuned")}


def table(results: dict, arguments: argparse.Namespace) -> str:
    """A line a metric: the mean and range of Polyhead's seeds, PyTorch's, and the difference, in points."""
    lines = ["| set | test metric | Polyhead, mean | range | PyTorch | difference |", "| --- | --- | ---: | --- | ---: | ---: |"]
    for name, recipe in RECIPES.items():
        for task, metric, title in recipe.shown:
            ours, theirs = ([100 * value for value in values(results, recipe, side, task, metric)] for side in SIDES)
            mean, spread = numbers(ours)
            other = numbers(theirs)[0] if len(theirs) < 2 else f"{numbers(theirs)[0]} ({numbers(theirs)[1]})"
            difference = f"{statistics.mean(ours) - statistics.mean(theirs):+.2f}" if ours and theirs else "–"
            lines.append(f"| {name} | {title} | {mean} | {spread} | {other} | {difference} |")
    return "\n".join(lines)


def values(results: dict, recipe: Recipe, side: str, task: str, metric: str) -> list[float]:
    return [result["test"][task][metric] for key, result in results.items() if key.startswith(side) and key.endswith(str(recipe))]


def numbers(found: list[float]) -> tuple[str, str]:
    """Mean and range."""
    if not found:
        return "not measured", ""
    return f"{statistics.mean(found):.2f}", f"{min(found):.2f} to {max(found):.2f}, {len(found)} seeds"


if __name__ == "__main__":
    main()
