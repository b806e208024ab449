"""Measures the choices of docs/guide/choices.md and prints its tables.

    python bench/train/choices.py --polyhead target/release/polyhead --data PATH/TO/data --out results.json

Every run is `polyhead train` with a configuration written here; a run whose result
is in the output file is not repeated, so an interrupted script can be continued.
A run is identified by its configuration: tables with the same run share it.
`--only TABLE` limits the work to one table, `--print` measures nothing.

`--data` is the folder with `demo`, `stsb`, `trec` and `subj` (README.md describes
their lines). Needs Python 3.11 and, for the `sts` column, SciPy.
"""

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from training_run import measured, toml, write_aside

LAYERS = 6
LITTLE = 200
POOLINGS = ["mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
NOT_MEASURED = "not measured"


def measure(description: str, tables: dict) -> None:
    """Reads the options of the command line, measures the tables and prints them."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--polyhead", type=Path, required=True, help="the program")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--out", type=Path, required=True, help="results, read and extended")
    parser.add_argument("--work", type=Path, help="folder of runs and subsets; beside --out without it")
    parser.add_argument("--only", choices=list(tables), help="one table")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=float, default=590.0, help="seconds that a run may take")
    parser.add_argument("--print", action="store_true", help="print what there is, measure nothing")
    arguments = parser.parse_args()
    bench = Bench(arguments)
    for name, table in tables.items():
        if arguments.only in (None, name):
            print(f"\n## {name}\n\n{table(bench)}", flush=True)


# --- runs -----------------------------------------------------------------


class Bench:
    """Runs configurations and keeps what they leave."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.polyhead = arguments.polyhead.resolve()
        self.data = arguments.data.resolve()
        self.out = arguments.out.resolve()
        self.work = (arguments.work or self.out.with_suffix(".work")).resolve()
        self.seeds, self.threads, self.limit = arguments.seeds, arguments.threads, arguments.limit
        self.printing = arguments.print
        self.results = json.loads(self.out.read_text()) if self.out.exists() else {}

    def runs(self, config: dict, start: "dict | None" = None, keep_model: bool = False) -> list[dict]:
        """Results of a configuration, one per seed that there is.

        - `start`: the configuration whose run it begins from, with the same seed
        - `keep_model`: another run begins from this one
        """
        found = (self.run(config, seed, start, keep_model) for seed in self.seeds)
        return [result for result in found if result is not None]

    def run(self, config: dict, seed: int, start: "dict | None", keep_model: bool) -> "dict | None":
        key = self.key(config, seed, start)
        folder = self.work / key
        if key in self.results and not (keep_model and not self.printing and not (folder / "model").is_dir()):
            return self.results[key]
        if self.printing:
            return None
        if start is not None:
            begin = start.get("_start")
            self.run(start, seed, begin, True)
            config = merged(config, {"encoder": {"model": str(self.work / self.key(start, seed, begin))}})
        shutil.rmtree(folder, ignore_errors=True)
        self.work.mkdir(parents=True, exist_ok=True)
        file = self.work / f"{key}.toml"
        file.write_text(toml(self.with_files(config)), encoding="utf-8")
        command = [self.polyhead, "train", file, "-o", folder, "--set", f"seed={seed}", "--set", "train.recipe=full"]
        command += ["--threads", str(self.threads), "--quiet"]
        print(f"{time.strftime('%H:%M:%S')} {key} {describe(config)}", file=sys.stderr, flush=True)
        usage = measured(command, self.limit)
        result = {"config": config, "seed": seed} | usage | read_run(folder)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        if not keep_model:
            shutil.rmtree(folder / "model")
        self.keep(key, result)
        return result

    def key(self, config: dict, seed: int, start: "dict | None") -> str:
        begin = start and self.key(start, seed, start.get("_start"))
        whole = json.dumps([plain(config), seed, self.threads, begin], sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()[:12]

    def keep(self, key: str, result: dict) -> None:
        self.results[key] = result
        write_aside(self.out, json.dumps(self.results, indent=1))

    def with_files(self, config: dict) -> dict:
        """Names of subsets become files."""
        config = plain(config)
        for table in [config.get("data", {}), *config["task"]]:
            for part in ("train", "dev", "test"):
                if part in table:
                    table[part] = str(self.subset(table[part]))
        return config

    def subset(self, name: str) -> Path:
        """`SET/PART`, `SET/PART:ROWS` (the first rows), `…!FIELD` (without this field)."""
        rest, _, without = name.partition("!")
        path, _, rows = rest.partition(":")
        source = self.data / f"{path}.jsonl"
        if not rows and not without:
            return source
        file = self.work / (name.replace("/", "-").replace(":", "-").replace("!", "-without-") + ".jsonl")
        if not file.exists():
            lines = source.read_text(encoding="utf-8").splitlines()[: int(rows) if rows else None]
            objects = (json.loads(line) for line in lines)
            kept = ({k: v for k, v in row.items() if k != without} for row in objects)
            file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept), encoding="utf-8")
        return file

    def sts(self, pooling: str) -> "float | None":
        """Spearman ×100 on the test part of STS-Benchmark, of the untouched model."""
        key = f"sts-{pooling}"
        if key not in self.results and not self.printing:
            self.work.mkdir(parents=True, exist_ok=True)
            data = self.data / "stsb" / "test.jsonl"
            vectors = []
            for side in ("text_a", "text_b"):
                vectors.append(self.work / f"{side}.npy")
                command = [self.polyhead, "encode", "-i", data, "--field", side, "-o", vectors[-1], "--pooling", pooling]
                command += ["--threads", self.threads, "--quiet"]
                subprocess.run([str(part) for part in command], check=True)
            score = Path(__file__).resolve().parents[2] / "reference" / "stsb.py"
            command = [sys.executable, str(score), "--data", str(data), "--embeddings", *map(str, vectors)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            self.keep(key, {"sts": float(printed)})
        return self.results.get(key, {}).get("sts")


def read_run(folder: Path) -> dict:
    """What the tables need of a finished run."""
    summary = json.loads((folder / "finished.json").read_text())
    report = json.loads((folder / "report.json").read_text())
    times = {part["name"]: part["seconds"] for part in report["times"]}
    return {
        "steps": summary["steps"],
        "best_step": summary["best_step"],
        "step_seconds": times["forward, backward, update"],
        "evaluation_seconds": times["evaluation"],
        "cosine": summary["vector_cosine"],
        "cache": report["cache"],
        "tasks": {
            task["name"]: {part: main_metric(task[part]) for part in ("before", "dev", "test")} for task in summary["tasks"]
        },
        # Spearman's correlation on test, by numbers of a vector.
        "widths": {str(one["width"]): one["spearman"] for task in summary["tasks"] for one in (task["test"] or {}).get("widths", [])},
    }


def main_metric(metrics: "dict | None") -> "float | None":
    return metrics and metrics.get("accuracy", metrics.get("spearman"))


# --- configurations -------------------------------------------------------


def demo(amount: str, /, *tasks: str, **more: dict) -> dict:
    """Topic and sentiment, or the named ones, with `much` (all) or `little` data."""
    steps = {"epochs": 2} if amount == "much" else {"epochs": 8, "evaluate_every": 28}
    train = "demo/train" if amount == "much" else f"demo/train:{LITTLE}"
    tables = [{"name": name, "kind": "classification"} for name in tasks or ("topic", "sentiment")]
    config = {
        "data": {"train": train, "dev": "demo/dev", "test": "demo/test"},
        "task": tables,
        "train": steps,
        "checkpoint": {"every": 0, "keep": 1},
    }
    return merged(config, more)


def pair(data: str, **more: dict) -> dict:
    """Question types (TREC, six) and subjectivity, each with files of its own."""
    rows = 2000 if data == "much" else LITTLE
    task = lambda name, field, set_: {
        "name": name,
        "kind": "classification",
        "field": field,
        "train": f"{set_}/train:{rows}",
        "dev": f"{set_}/dev:250",
        "test": f"{set_}/test:500",
    }
    steps = {"epochs": 1} if data == "much" else {"epochs": 5, "evaluate_every": 35}
    config = {
        "task": [task("question", "coarse", "trec"), task("subjectivity", "subjectivity", "subj")],
        "train": steps,
        "checkpoint": {"every": 0, "keep": 1},
    }
    return merged(config, more)


def freeze(*parameters: str, until: str = "") -> dict:
    return {"parameters": list(parameters)} | ({"until": until} if until else {})


def lowest(layers: int, of: int = LAYERS) -> list[dict]:
    """Embeddings and this many layers from the input upwards; all of them: the backbone."""
    if layers == 0:
        return []
    return [freeze("encoder") if layers == of else freeze("embeddings", f"layers.0-{layers - 1}")]


def merged(config: dict, more: dict) -> dict:
    """Tables are merged, everything else is replaced."""
    out = dict(config)
    for key, value in more.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merged(out[key], value) if both else value
    return out


def plain(config: dict) -> dict:
    """A copy without what is only for this script."""
    return json.loads(json.dumps({key: value for key, value in config.items() if not key.startswith("_")}))


def describe(config: dict) -> str:
    parts = [json.dumps(config[key]) for key in ("encoder", "data", "freeze") if key in config]
    return " ".join([",".join(task["name"] for task in config["task"]), *parts])[:230]


# --- tables ---------------------------------------------------------------


def freezing(bench: Bench) -> str:
    table = Table(["what trains", "data", "topic", "sentiment", "s in steps", "CPU s", "MB", "cosine", "cache MB", "tokens saved"])
    for data, epochs, steps in (("much", 2, 126), ("little", 8, 56)):
        sixth = steps // 6
        gradual = [
            freeze("layers.4-5", until=f"step {sixth}"),
            freeze("layers.2-3", until=f"step {2 * sixth}"),
            freeze("embeddings", "layers.0-1", until=f"step {3 * sixth}"),
        ]
        long = {"epochs": 10 * epochs, "head_learning_rate": 1e-2} | ({"evaluate_every": 126} if data == "little" else {})
        scenarios = [
            ("everything", demo(data), None),
            ("all but embeddings + lower 4 layers", demo(data, freeze=lowest(4)), None),
            ("heads only (backbone frozen)", demo(data, freeze=lowest(6)), None),
            ("heads only, 10 × the epochs, head rate 1e-2", demo(data, freeze=lowest(6), train=long), None),
            ("heads first, then everything", demo(data, freeze=[freeze("encoder", until=f"epoch {epochs // 2}")]), None),
            ("gradually from the top", demo(data, freeze=gradual), None),
            ("all but the topic head (from a topic run)", demo(data, freeze=[freeze("head.topic")]), demo(data, "topic")),
        ]
        for name, config, start in scenarios:
            table.add([name, data], bench.runs(config, start), ["topic", "sentiment"], cost)
    return str(table)


def freezing_pair(bench: Bench) -> str:
    table = Table(["what trains", "data", "question", "subjectivity", "CPU s", "MB", "cosine"])
    for data in ("much", "little"):
        # The heads of a frozen backbone need more steps, and these are cheap.
        long = {"epochs": 10 if data == "much" else 50, "head_learning_rate": 1e-2}
        long |= {"evaluate_every": 350} if data == "little" else {}
        for name, config in [
            ("everything", pair(data)),
            ("all but embeddings + lower 4 layers", pair(data, freeze=lowest(4))),
            ("heads only, 10 × the epochs, head rate 1e-2", pair(data, freeze=lowest(6), train=long)),
        ]:
            table.add([name, data], bench.runs(config), ["question", "subjectivity"], lambda runs: cost(runs)[1:4])
    return str(table)


def pooling(bench: Bench) -> str:
    table = Table(["pooling", "STS-B", "topic, frozen", "sentiment, frozen", "topic, tuned", "sentiment, tuned"])
    # A head may have its own pooling: one pass of the frozen encoder serves them all.
    heads = [
        {"name": f"{task}-{mode}", "kind": "classification", "field": task, "pooling": mode}
        for mode in POOLINGS
        for task in ("topic", "sentiment")
    ]
    train = {"epochs": 20, "evaluate_every": 630, "head_learning_rate": 1e-2, "clip_norm": 0}
    frozen = bench.runs(demo("much", freeze=lowest(6), train=train) | {"task": heads})
    for mode in POOLINGS:
        score = bench.sts(mode)
        tuned = bench.runs(demo("much", encoder={"pooling": mode}, train={"epochs": 1}))
        cells = [percent(frozen, f"topic-{mode}"), percent(frozen, f"sentiment-{mode}")]
        cells += [percent(tuned, "topic"), percent(tuned, "sentiment")]
        table.rows.append([mode, NOT_MEASURED if score is None else f"{score:.2f}", *cells])
    return str(table)


def forgetting(bench: Bench) -> str:
    table = Table(["sentiment is trained", "topic before", "topic after", "change", "sentiment", "cosine"])
    first = demo("much", "topic")
    before = bench.runs(first)
    # The new data has sentiments only; topics are looked at on dev and test.
    alone = {"train": "demo/train!topic"}
    both = lambda **more: demo("much", **more)
    distill = [{"name": "topic", "kind": "classification", "keep": "distill"}, {"name": "sentiment", "kind": "classification"}]
    second = demo("much", "sentiment", data=alone) | {"_start": first}
    looked = both(data={"train": f"demo/train:{LITTLE}"}, freeze=[freeze("all")])
    rows = [
        ("topic not named: its head is left alone", bench.runs(looked, second), bench.runs(second, first, True)),
        ("topic named, its head frozen", bench.runs(both(data=alone, freeze=[freeze("head.topic")]), first), None),
        ('topic named, `keep = "distill"`', bench.runs(both(data=alone) | {"task": distill}, first), None),
        ("topic named, its head frozen, rows have topics too", bench.runs(both(freeze=[freeze("head.topic")]), first), None),
        ("only the sentiment head (encoder and topic frozen)", bench.runs(both(data=alone, freeze=[freeze("encoder", "head.topic")]), first), None),
    ]
    for name, after, moved in rows:
        change = [100 * (test(a, "topic") - test(b, "topic")) for a, b in zip(after, before)]
        shown = f"{statistics.mean(change):+.1f}" if change else NOT_MEASURED
        cells = [percent(before, "topic"), percent(after, "topic"), shown, percent(after, "sentiment"), cosine(moved or after)]
        table.rows.append([name, *cells])
    return str(table)


def transfer(bench: Bench) -> str:
    table = Table(["starts from", "frozen layers", "data", "topic", "sentiment", "CPU s", "MB"])
    cells = [("built-in, 6 layers", {}, LAYERS, [0, 2, 4, 6])]
    cells += [("built-in, its lower 3 layers", {"layers": 3}, 3, [0, 2, 3])]
    cells += [("random numbers, 6 layers", {"random": True}, LAYERS, [0, 6])]
    for data in ("much", "little"):
        for name, encoder, layers, counts in cells:
            for count in counts:
                more = {"encoder": encoder} if encoder else {}
                config = demo(data, freeze=lowest(count, layers), **more)
                if not config["freeze"]:
                    del config["freeze"]
                shown = "none" if count == 0 else f"{count} + embeddings"
                runs = bench.runs(config)
                table.add([name, shown, data], runs, ["topic", "sentiment"], lambda runs: cost(runs)[1:3])
    table.rows.append(["DistilBERT-base", "0 to 6", "both", *[NOT_MEASURED] * 4])
    return str(table)


def multitask(bench: Bench) -> str:
    table = Table(["tasks", "data", "topic", "sentiment", "CPU s", "MB"])
    for data in ("much", "little"):
        for name, tasks in [("both together", ()), ("topic alone", ("topic",)), ("sentiment alone", ("sentiment",))]:
            runs = bench.runs(demo(data, *tasks), keep_model=False)
            table.add([name, data], runs, ["topic", "sentiment"], lambda runs: cost(runs)[1:3])
    return str(table)


TABLES = {
    "freezing": freezing,
    "pooling": pooling,
    "forgetting": forgetting,
    "transfer": transfer,
    "multitask": multitask,
    "freezing-pair": freezing_pair,
}


# --- cells ----------------------------------------------------------------


class Table:
    def __init__(self, header: list[str]) -> None:
        self.header, self.rows = header, []

    def add(self, names: list[str], runs: list[dict], tasks: list[str], more: "callable") -> None:
        self.rows.append([*names, *(percent(runs, task) for task in tasks), *more(runs)])

    def __str__(self) -> str:
        line = lambda cells: "| " + " | ".join(str(cell) for cell in cells) + " |"
        return "\n".join([line(self.header), line(["---"] * len(self.header)), *map(line, self.rows)])


def test(run: dict, task: str) -> float:
    return run["tasks"][task]["test"]


def percent(runs: list[dict], task: str) -> str:
    """Mean test metric in percent, with the range if there are several seeds."""
    values = [100 * test(run, task) for run in runs if task in run["tasks"]]
    return spread(values) if runs else NOT_MEASURED


def spread(values: list[float]) -> str:
    if not values:
        return "–"
    spread = f" ({min(values):.1f}–{max(values):.1f}, {len(values)} seeds)" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def cost(runs: list[dict]) -> list[str]:
    """Seconds in steps, CPU seconds, peak memory, cosine, cache, tokens saved."""
    if not runs:
        return [NOT_MEASURED] * 6
    mean = lambda values: statistics.mean(values)
    cache = [run["cache"] or {"memory": 0, "file": 0, "tokens_saved": 0} for run in runs]
    return [
        f"{mean([run['step_seconds'] for run in runs]):.0f}",
        f"{mean([run['cpu_seconds'] for run in runs]):.0f}",
        f"{mean([run['peak_memory'] for run in runs]) / 1e6:.0f}",
        cosine(runs),
        f"{mean([entry['memory'] + entry['file'] for entry in cache]) / 1e6:.0f}",
        f"{mean([entry['tokens_saved'] for entry in cache]):.0f}",
    ]


def cosine(runs: list[dict]) -> str:
    """Mean cosine of the dev texts' vectors to those of the starting model."""
    if not runs:
        return NOT_MEASURED
    values = [run["cosine"] for run in runs if run["cosine"] is not None]
    return f"{statistics.mean(values):.2f}" if values else "1"


if __name__ == "__main__":
    measure(__doc__, TABLES)
