"""Measures what the methods of `[multitask]` cost: seconds of a step beside those of a plain sum, in turns.

    cargo build --release -p polyhead-cli
    python bench/train/multitask_cost.py --data PATH/TO/demo

`--data` has `train.jsonl` with the labels `topic` and `sentiment` on each row. In `one label` each row keeps one of
them, in turn. Printed are the median of the rounds and their range.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

from training_run import toml

METHODS = {
    "sum": {},
    "log-classes": {"weights": "log-classes"},
    "uncertainty": {"weights": "uncertainty"},
    "uw-so": {"weights": "uw-so"},
    "pcgrad": {"gradients": "pcgrad"},
    "upgrad": {"gradients": "upgrad"},
}
TASKS = ["topic", "sentiment"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--polyhead", default="target/release/polyhead", type=Path)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in (arguments.data / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    halves = [{key: value for key, value in row.items() if key != TASKS[number % 2]} for number, row in enumerate(rows)]
    for title, found in [("all labels", rows), ("one label", halves)]:
        with tempfile.TemporaryDirectory() as place:
            (Path(place) / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
            compare(arguments, title, Path(place))


def compare(arguments: argparse.Namespace, title: str, place: Path) -> None:
    times = {name: [] for name in METHODS}
    for round_number in range(arguments.rounds):
        for name, method in METHODS.items():
            times[name].append(seconds(arguments, method, place, f"{name}-{round_number}"))
    for name, found in times.items():
        ratios = [time / plain for time, plain in zip(found, times["sum"])]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{title}, {name}: {statistics.median(found):.3f} s a step, {statistics.median(ratios):.2f} x ({spread})", flush=True)


def seconds(arguments: argparse.Namespace, method: dict, place: Path, name: str) -> float:
    """Of a step, without loading and evaluation."""
    config = {
        "data": {"train": str(place / "rows.jsonl")},
        "task": [{"name": task, "kind": "classification"} for task in TASKS],
        "multitask": method,
        "train": {"recipe": "full", "max_steps": arguments.steps, "log_every": arguments.steps},
        "checkpoint": {"every": 0, "keep": 1},
    }
    file = place / f"{name}.toml"
    file.write_text(toml(config), encoding="utf-8")
    run = [arguments.polyhead, "train", file, "-o", place / name, "--quiet"]
    subprocess.run([str(word) for word in run], check=True, stdout=subprocess.DEVNULL)
    times = [json.loads(line) for line in (place / name / "timings.jsonl").read_text().splitlines()]
    return sum(line["seconds"] for line in times if "texts_per_second" in line) / arguments.steps


if __name__ == "__main__":
    main()
