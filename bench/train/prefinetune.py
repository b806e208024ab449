"""Does it help to train a general encoder on many labelled sets before it meets a new one (Aghajanyan et al., 2021)?

    python bench/train/prefinetune.py --polyhead target/release/polyhead --model PATH/TO/all-MiniLM-L6-v2 --data PATH/TO/data --work FOLDER

For each target set, the encoder is first trained on all other sets together, with the similarity of the STS Benchmark and the
vectors of the starting model beside them, which keep it a sentence encoder. Then the target is learned from few rows and from
many, once from that encoder and once from the original. There is one such encoder for each target, so intervals do not hold
the chance of its training. The sets have no text in common (README of the data). Runs that `--work` holds are not repeated.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
from multitask import SETS, Lab, difference, score, table

#: Sets that are learned, and those that only help.
TARGETS = ["trec", "sst2", "tweet_emotion", "tweet_irony", "ag_news_small", "snips"]
HELPERS = ["banking77", "goemotions"]
FIELDS = {name: next(iter(SETS[name])) for name in TARGETS} | {"banking77": "intent", "goemotions": "sentiments"}
#: Rows of each set before the target, of the target's few rows for each label, and of its many rows.
ROWS, SHOTS, MANY = 1500, [8, 16], 2000
DRAWS, SEEDS = range(5), range(3)
BEFORE = {"recipe": "full", "epochs": 1, "learning_rate": 2e-5, "head_learning_rate": 1e-3}


class Study(Lab):
    """Encoders before their targets, and what is learned from them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__(arguments)
        self.model = arguments.model.resolve()

    def before(self, target: str) -> Path:
        """The encoder that has learned everything but a target."""
        tasks = []
        for name in [name for name in (*TARGETS, *HELPERS) if name != target]:
            kind = "multilabel" if name == "goemotions" else "classification"
            own = {"field": FIELDS[name], "kind": kind, "train": self.rows(name, "train", ROWS)}
            tasks.append({"name": name} | own)
        pairs = {"train": self.rows("stsb", "train"), "dev": self.rows("stsb", "dev"), "text": ["text_a", "text_b"]}
        similarity = {"kind": "similarity", "field": "score", "range": [0.0, 5.0]}
        tasks.append({"name": "sts"} | similarity | pairs)
        tasks.append({"name": "vectors", "kind": "distillation", "teacher": str(self.model)} | pairs)
        more = {"encoder": {"model": str(self.model), "max_length": 64}, "train": BEFORE | {"best": "sts.spearman"}}
        return self.train(f"before-{target}", tasks, 0, keep=True, **more)

    def few(self, target: str, shots: int, draw: int, model: Path, label: str) -> Path:
        file = self.work / f"{target}-{shots}-{draw}.jsonl"
        if not file.exists():
            file.write_text("".join(json.dumps(row) + "\n" for row in self.drawn(target, shots, draw)), encoding="utf-8")
        files = {"train": str(file), "test": self.rows(target, "test")}
        task = {"name": FIELDS[target], "kind": "classification"} | files
        more = {"encoder": {"model": str(model), "max_length": 64}, "train": {"recipe": "few-shot"}}
        return self.train(f"few-{label}-{target}-{shots}", [task], draw, **more)

    def drawn(self, target: str, shots: int, draw: int) -> list[dict]:
        by_label = {}
        for line in Path(self.rows(target, "train")).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            by_label.setdefault(row[FIELDS[target]], []).append({"text": row["text"], FIELDS[target]: row[FIELDS[target]]})
        numbers = random.Random(draw)
        rows = [row for label in sorted(by_label) for row in numbers.sample(by_label[label], shots)]
        numbers.shuffle(rows)
        return rows

    def many(self, target: str, seed: int, model: Path, label: str) -> Path:
        files = {"train": self.rows(target, "train", MANY), "dev": self.rows(target, "dev"), "test": self.rows(target, "test")}
        task = {"name": FIELDS[target], "kind": "classification"} | files
        return self.train(f"many-{label}-{target}", [task], seed, encoder={"model": str(model), "max_length": 64})

    def spearman(self, model: Path) -> float:
        """Spearman's correlation of the vectors of an encoder, on the test part of the STS Benchmark, in points."""
        task = {"name": "sts", "kind": "similarity", "field": "score", "range": [0.0, 5.0]}
        files = {part: self.rows("stsb", part) for part in ("train", "dev", "test")} | {"text": ["text_a", "text_b"]}
        more = {"encoder": {"model": str(model), "max_length": 64}, "freeze": [{"parameters": ["all"]}]}
        run = self.train(f"sts-{model.name}", [task | files], 0, **more)
        return 100 * json.loads((run / "finished.json").read_text())["tasks"][0]["test"]["spearman"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--polyhead", type=Path, required=True, help="the program")
    parser.add_argument("--model", type=Path, required=True, help="the encoder to begin with")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--work", type=Path, required=True, help="folder of runs and subsets")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS)
    parser.add_argument("--threads", type=int, default=1)
    study = Study(parser.parse_args())
    arguments = parser.parse_args()
    rows, gains = [], {title: [] for title in (*map(str, SHOTS), "many")}
    original = study.spearman(study.model)
    for target in arguments.targets:
        ready = study.before(target)
        field = FIELDS[target]
        for shots in SHOTS:
            sides = [[study.few(target, shots, draw, model, label) for draw in DRAWS] for model, label in ((study.model, "original"), (ready, "ready"))]
            rows.append([target, f"{shots} a label", score(sides[0], field), score(sides[1], field), difference(*sides, field)])
            gains[str(shots)].append(gain(*sides))
        sides = [[study.many(target, seed, model, label) for seed in SEEDS] for model, label in ((study.model, "original"), (ready, "ready"))]
        rows.append([target, f"{MANY:,}", score(sides[0], field), score(sides[1], field), difference(*sides, field)])
        gains["many"].append(gain(*sides))
        rows.append([target, "STS-B, whose training part is among the other sets", f"{original:.1f}", f"{study.spearman(ready):.1f}", ""])
    print(table(["target", "rows", "original", "after the other sets", "gain"], rows))
    for title, values in gains.items():
        print(f"mean gain, {title}: {np.mean(values):+.2f} ({min(values):+.1f} to {max(values):+.1f} over {len(values)} targets)")


def gain(first: list[Path], second: list[Path]) -> float:
    """Mean accuracy of the second runs less that of the first ones, in points."""
    accuracy = lambda run: json.loads((run / "finished.json").read_text())["tasks"][0]["test"]["accuracy"]
    return 100 * float(np.mean([accuracy(run) for run in second]) - np.mean([accuracy(run) for run in first]))


if __name__ == "__main__":
    main()
