"""Measures what training together does, and prints the tables of docs/multitask.md.

    python bench/train/multitask.py --polyhead target/release/polyhead --data PATH/TO/data --work FOLDER

`--data` is the folder with the data sets that `SETS` names. Comparisons and runs that `--work` holds are not repeated, so an
interrupted script can be continued; `--only TABLE` limits the work to one table. Intervals are over draws of the test rows,
the same rows for all runs, as `polyhead transfer` has them. Needs Python 3.11, NumPy and SciPy.
"""

import argparse
import itertools
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from training_run import toml

#: Field and kind of each task of a set.
SETS = {
    "trec": {"coarse": "classification"},
    "subj": {"subjectivity": "classification"},
    "sst2": {"sentiment": "classification"},
    "tweet_emotion": {"emotion": "classification"},
    "tweet_irony": {"irony": "classification"},
    "ag_news_small": {"topic": "classification"},
    "snips": {"intent": "classification", "slots": "tokens"},
    "goemotions": {"emotions": "multilabel", "sentiments": "multilabel"},
}
THREE = ["trec", "subj", "sst2"]
SIX = [*THREE, "tweet_emotion", "tweet_irony", "ag_news_small"]
#: Sets with texts in common (README of the data).
OVERLAPS = {"subj": ["sst2"], "sst2": ["subj"]}
#: Training rows of each set.
LARGE, SMALL = 2000, 500
TRAIN = {"recipe": "full", "epochs": 3, "learning_rate": 1e-4, "head_learning_rate": 1e-3}
METHODS = {
    "log-classes": {"weights": "log-classes"},
    "uncertainty": {"weights": "uncertainty"},
    "uw-so": {"weights": "uw-so"},
    "random": {"weights": "random"},
    "pcgrad": {"gradients": "pcgrad"},
    "upgrad": {"gradients": "upgrad"},
}
TEACHERS = {"teachers, half": {"teacher_weight": 0.5}, "teachers, annealed": {"anneal": True}}
DRAWS = 2000
SEEDS = range(3)


class Lab:
    """Runs comparisons and single runs, each in a folder of `--work`."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.polyhead = arguments.polyhead.resolve()
        self.data = arguments.data.resolve()
        self.work = arguments.work.resolve()
        self.threads = arguments.threads
        self.work.mkdir(parents=True, exist_ok=True)

    def rows(self, name: str, part: str, most: "int | None" = None) -> str:
        """The first rows of a part of a set, as a file. Training rows leave out the texts that judge another set."""
        source = self.data / name / f"{part}.jsonl"
        if part != "train":
            return str(source)
        file = self.work / f"{name}-{part}-{most}.jsonl"
        if not file.exists():
            lines = source.read_text(encoding="utf-8").splitlines()
            judging = {text_of(line) for other in OVERLAPS.get(name, []) for line in self.judging(other)}
            lines = [line for line in lines if text_of(line) not in judging][:most]
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(file)

    def judging(self, name: str) -> list[str]:
        parts = [self.data / name / f"{part}.jsonl" for part in ("dev", "test")]
        return [line for part in parts for line in part.read_text(encoding="utf-8").splitlines()]

    def tasks(self, rows: dict, **keys: object) -> list[dict]:
        """The tasks of some sets.

        - `rows`: training rows of each set
        """
        return [
            {
                "name": field,
                "kind": kind,
                "train": self.rows(name, "train", most),
                "dev": self.rows(name, "dev"),
                "test": self.rows(name, "test"),
            }
            | keys
            for name, most in rows.items()
            for field, kind in SETS[name].items()
        ]

    def config(self, name: str, tasks: list[dict], **more: object) -> Path:
        config = {"encoder": {"max_length": 64}, "task": tasks, "train": TRAIN} | more
        file = self.work / f"{name}.toml"
        file.write_text(toml(config), encoding="utf-8")
        return file

    def transfer(self, name: str, tasks: list[dict], seeds: int, *flags: str, **more: object) -> Path:
        """A comparison."""
        folder = self.work / name
        if not (folder / "transfer.json").exists():
            self.call("transfer", self.config(name, tasks, **more), "-o", folder, "--seeds", seeds, "--resume", *flags)
        return folder

    def train(self, name: str, tasks: list[dict], seed: int, keep: bool = False, **more: object) -> Path:
        """A run.

        - `keep`: its model is needed
        """
        folder = self.work / f"{name}-{seed}"
        if not (folder / "finished.json").exists() or keep and not (folder / "model").exists():
            shutil.rmtree(folder, ignore_errors=True)
            file = self.config(name, tasks, output={"answers": True}, **more)
            self.call("train", file, "-o", folder, "--set", f"seed={seed}", "--quiet")
            if not keep:
                shutil.rmtree(folder / "model")
        return folder

    def loss(self, run: Path, task: dict) -> float:
        """The mean loss of a task on its dev rows."""
        command = [self.polyhead, "eval", run, "-i", task["dev"], "--tasks", task["name"], "--json", "--quiet"]
        found = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE)
        return json.loads(found.stdout)["tasks"][task["name"]]["loss"]

    def call(self, *words: object) -> None:
        command = [str(word) for word in (self.polyhead, *words, "--threads", self.threads)]
        print(time.strftime("%H:%M:%S"), *command[1:], file=sys.stderr, flush=True)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def text_of(line: str) -> str:
    """The text of a row, without regard to case and blanks."""
    return "".join(json.loads(line).get("text", "").lower().split())


# --- scores ---------------------------------------------------------------


class Answers:
    """The answers of one run to the test rows of a task."""

    def __init__(self, run: Path, task: str) -> None:
        kept = next(one for one in json.loads((run / "answers.json").read_text())["tasks"] if one["name"] == task)
        (self.form, rows), = kept["rows"].items()
        count = {"classes": right, "sets": common_labels, "tags": lambda row: common_spans(row, kept["labels"] + kept["others"])}[self.form]
        self.counts = np.array([count(row) for row in rows])

    def scores(self, draws: np.ndarray) -> np.ndarray:
        """The main metric on each draw of rows."""
        sums = self.counts[draws].sum(axis=1)
        if self.form == "classes":
            return sums / draws.shape[1]
        hits, both = sums[:, 0], sums[:, 1]
        return 2 * hits / np.maximum(both, 1)


def right(row: list) -> int:
    return int(row[0] == row[1])


def common_labels(row: list) -> list[int]:
    """Labels in common, and all labels on both sides."""
    given, there = map(set, row)
    return [len(given & there), len(given) + len(there)]


def common_spans(row: list, labels: list[str]) -> list[int]:
    name = lambda tag: labels[tag] if tag is not None and tag < len(labels) else "O"
    given, there = (spans([name(tag) for tag in tags]) for tags in row)
    return [len(given & there), len(given) + len(there)]


def spans(tags: list[str]) -> set[tuple[str, int, int]]:
    """Type, begin and end of the spans of BIO tags, as seqeval counts them."""
    found, begin, kind = set(), 0, ""
    for at, tag in enumerate([*tags, "O"]):
        goes_on = tag.startswith("I-") and kind == tag[2:]
        if kind and not goes_on:
            found.add((kind, begin, at))
            kind = ""
        if not goes_on and tag != "O":
            begin, kind = at, tag[2:]
    return found


def difference(first: Iterable[Path], second: Iterable[Path], task: str) -> str:
    """Mean score of the second runs less that of the first ones, in points, with its interval and the range over seeds."""
    pairs = [(Answers(a, task), Answers(b, task)) for a, b in zip(first, second, strict=True)]
    rows = len(pairs[0][0].counts)
    whole = np.arange(rows)[None]
    draws = np.random.default_rng(1).integers(0, rows, (DRAWS, rows))
    gains = [100 * (b.scores(whole)[0] - a.scores(whole)[0]) for a, b in pairs]
    means = 100 * np.mean([b.scores(draws) - a.scores(draws) for a, b in pairs], axis=0)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{np.mean(gains):+.1f} ({low:+.1f} to {high:+.1f}; seeds {min(gains):+.1f} to {max(gains):+.1f})"


def score(runs: Iterable[Path], task: str) -> str:
    answers = [Answers(run, task) for run in runs]
    whole = np.arange(len(answers[0].counts))[None]
    return f"{100 * np.mean([of_run.scores(whole)[0] for of_run in answers]):.1f}"


def runs_of(folder: Path, combination: str, seeds: int) -> list[Path]:
    return [folder / "runs" / f"{combination}-seed-{seed}" for seed in range(seeds)]


# --- tables ---------------------------------------------------------------


def table(header: list[str], rows: list[list[str]]) -> str:
    line = lambda cells: "| " + " | ".join(cells) + " |"
    return "\n".join([line(header), line(["---"] * len(header)), *map(line, rows)])


def gains(folder: Path) -> str:
    """Every task in every combination."""
    report = json.loads((folder / "transfer.json").read_text())
    rows = []
    for number, task in enumerate(report["tasks"]):
        for combination in report["combinations"]:
            one = next((one for one in combination["tasks"] if one["task"] == number), None)
            if one is None:
                continue
            names = [report["tasks"][other["task"]]["name"] for other in combination["tasks"] if other["task"] != number]
            beside = "alone" if not names else "all together" if len(names) + 1 == len(report["tasks"]) else ", ".join(names)
            cells = [task["name"], beside, f"{100 * np.mean(one['scores']):.1f}"]
            gain = one["gain"]
            if gain:
                low, high = (100 * end for end in gain["interval"])
                seeds = [100 * of_seed for of_seed in gain["seeds"]]
                cells.append(f"{100 * gain['mean']:+.1f} ({low:+.1f} to {high:+.1f}; seeds {min(seeds):+.1f} to {max(seeds):+.1f})")
            rows.append([*cells, *[""] * (4 - len(cells))])
    return table(["task", "beside", "score", "gain"], rows)


def three(lab: Lab) -> str:
    """Three sets of their own."""
    return gains(lab.transfer("three", lab.tasks(dict.fromkeys(THREE, LARGE)), 5, "--pairs"))


def snips(lab: Lab) -> str:
    return gains(snips_runs(lab))


def snips_runs(lab: Lab) -> Path:
    return lab.transfer("snips", lab.tasks({"snips": 4000}), 5, "--keep-models")


def goemotions_runs(lab: Lab) -> Path:
    return lab.transfer("goemotions", lab.tasks({"goemotions": 12000}), 3, "--keep-models")


def mixed(lab: Lab) -> list[dict]:
    """The tasks of three sets whose rows are mixed in one file, so that they meet in each step."""
    for part, most in (("train", LARGE), ("dev", None), ("test", None)):
        file = lab.work / f"mixed-{part}.jsonl"
        if not file.exists():
            lines = []
            for name in THREE:
                (field,) = SETS[name]
                rows = Path(lab.rows(name, part, most)).read_text(encoding="utf-8").splitlines()
                lines += [json.dumps({"text": row["text"], field: row[field]}) for row in map(json.loads, rows)]
            random.Random(0).shuffle(lines)
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [{"name": field, "kind": kind} for name in THREE for field, kind in SETS[name].items()]


def weights(lab: Lab) -> str:
    """Each method against the plain sum, on the rows of three sets in one file."""
    tasks = mixed(lab)
    files = {part: str(lab.work / f"mixed-{part}.jsonl") for part in ("train", "dev", "test")}
    fields = [task["name"] for task in tasks]
    train = lambda name, keys: [lab.train(f"mixed-{name}", tasks, seed, data=files, **keys) for seed in SEEDS]
    plain = train("sum", {})
    rows = [["sum", *(score(plain, field) for field in fields)]]
    for name, keys in METHODS.items():
        runs = train(name, {"multitask": keys})
        rows.append([name, *(difference(plain, runs, field) for field in fields)])
    return table(["weights or gradients", *fields], rows)


def teachers(lab: Lab) -> str:
    """Joint training with each task's own model as teacher."""
    rows = []
    for name, most, seeds, runs in (("snips", 4000, 5, snips_runs), ("goemotions", 12000, 3, goemotions_runs)):
        plain = runs(lab)
        together = runs_of(plain, "together", seeds)
        alone = {field: runs_of(plain, f"alone-{field}", seeds) for field in SETS[name]}
        for field in SETS[name]:
            rows.append([name, field, "alone", score(alone[field], field), "", ""])
            rows.append([name, field, "together", score(together, field), difference(alone[field], together, field), ""])
        for title, keys in TEACHERS.items():
            taught = []
            for seed in range(seeds):
                tasks = [task | keys | {"teacher": str(alone[task["name"]][seed])} for task in lab.tasks({name: most})]
                taught.append(lab.train(f"{name}-{title.replace(', ', '-')}", tasks, seed))
            for field in SETS[name]:
                cells = [score(taught, field), difference(alone[field], taught, field), difference(together, taught, field)]
                rows.append([name, field, f"together, {title}", *cells])
    return table(["set", "task", "trained", "score", "to alone", "to together"], rows)


def sizes(lab: Lab) -> str:
    """A task beside another one, and after it, by the numbers of their rows."""
    rows = []
    for target, other in itertools.permutations(THREE, 2):
        (field,), (beside,) = SETS[target], SETS[other]
        for count, others in ((SMALL, LARGE), (LARGE, SMALL)):
            own, support = lab.tasks({target: count}), lab.tasks({other: others})
            alone, joint, after = [], [], []
            for seed in SEEDS:
                alone.append(lab.train(f"sizes-{target}-{count}", own, seed, keep=True))
                # One run for both of its tasks.
                pair = dict(sorted({target: count, other: others}.items()))
                label = "-".join(f"{name}-{rows}" for name, rows in pair.items())
                joint.append(lab.train(f"sizes-{label}", lab.tasks(pair), seed))
                first = lab.train(f"sizes-{other}-{others}", support, seed, keep=True)
                encoder = {"max_length": 64, "model": str(first)}
                after.append(lab.train(f"sizes-{target}-{count}-after-{other}-{others}", own, seed, encoder=encoder))
            cells = [score(alone, field), difference(alone, joint, field), difference(alone, after, field)]
            rows.append([field, f"{count:,}", f"{beside}, {others:,}", *cells])
    return table(["task", "rows", "other task, rows", "alone", "together, to alone", "after the other, to alone"], rows)


def six_runs(lab: Lab) -> Path:
    tasks = lab.tasks(dict.fromkeys(SIX, 1000))
    return lab.transfer("six", tasks, len(SEEDS), "--pairs", multitask={"conflict_every": 10})


def six(lab: Lab) -> str:
    return gains(six_runs(lab))


def predictors(lab: Lab) -> str:
    """Rank correlation of what is known early with the gains of pairs of six tasks."""
    folder = six_runs(lab)
    report = json.loads((folder / "transfer.json").read_text())
    names = [task["name"] for task in report["tasks"]]
    found = {name: {"gain": [], "cosine": [], "lookahead": []} for name in names}
    ahead = lookahead(lab)
    for combination in report["combinations"]:
        if len(combination["tasks"]) != 2:
            continue
        conflicts = [json.loads((folder / run / "report.json").read_text())["conflict"] for run in combination["runs"]]
        cosine = np.mean([cosines_of(conflict) for conflict in conflicts])
        for one, other in itertools.permutations(combination["tasks"]):
            target, partner = names[one["task"]], names[other["task"]]
            found[target]["gain"].append(one["gain"]["mean"])
            found[target]["cosine"].append(cosine)
            found[target]["lookahead"].append(ahead[partner, target])
    rows = []
    for name, title in (("cosine", "mean cosine of the gradients"), ("lookahead", "look-ahead of ten steps")):
        # Within each task: gains of different tasks are no ranking.
        each = [spearmanr(of_task[name], of_task["gain"]).statistic for of_task in found.values()]
        rows.append([title, f"{np.mean(each):+.2f}", ", ".join(f"{value:+.1f}" for value in each), f"{chance(found, name):.2f}"])
    return table(["known early", "mean rank correlation with the gains", "of each task", "as large by chance"], rows)


def cosines_of(conflict: dict) -> float:
    (pair,) = conflict["pairs"]
    return float(np.mean([value for _, values in pair["groups"] for value in values if value is not None]))


def chance(found: dict, name: str) -> float:
    """Share of shuffles of each task's partners whose mean correlation is as far from 0."""
    mean = lambda order: abs(np.mean([spearmanr(of_task[name], order(of_task["gain"])).statistic for of_task in found.values()]))
    generator = np.random.default_rng(1)
    seen = mean(lambda gains: gains)
    return float(np.mean([mean(generator.permutation) >= seen - 1e-9 for _ in range(1000)]))


def lookahead(lab: Lab) -> dict:
    """How much ten steps on one task lower the loss of another one: `1 - after / before`, on dev.

    From a run of all tasks after one epoch (Fifty et al., 2021, look one step ahead, all along the run).
    """
    tasks = lab.tasks(dict.fromkeys(SIX, 1000))
    begun = lab.train("six-begun", tasks, 0, keep=True, train=TRAIN | {"epochs": 1, "schedule": "constant"})
    before = {task["name"]: lab.loss(begun, task) for task in tasks}
    found = {}
    for task in tasks:
        encoder = {"max_length": 64, "model": str(begun)}
        few = TRAIN | {"epochs": 0, "max_steps": 10, "warmup": 0.0, "schedule": "constant"}
        after = lab.train(f"six-ahead-{task['name']}", [task], 0, keep=True, encoder=encoder, train=few)
        for other in tasks:
            if other is not task:
                found[task["name"], other["name"]] = 1 - lab.loss(after, other) / before[other["name"]]
    return found


TABLES = {
    "three": three,
    "snips": snips,
    "teachers": teachers,
    "weights": weights,
    "sizes": sizes,
    "six": six,
    "predictors": predictors,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--polyhead", type=Path, required=True, help="the program")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--work", type=Path, required=True, help="folder of runs and subsets")
    parser.add_argument("--only", choices=list(TABLES), help="one table")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    lab = Lab(arguments)
    for name, make in TABLES.items():
        if arguments.only in (None, name):
            print(f"\n## {name}\n\n{make(lab)}", flush=True)


if __name__ == "__main__":
    main()
