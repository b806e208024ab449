#!/usr/bin/env python3
"""Encodes the same texts with Polyhead and with sentence-transformers' back ends, in turns, and prints one table.

    python3 bench/encode/run.py --model DIR --corpus DIR --out results.json

Every back end is a process that stays loaded; in each round each of them gets
one pass, so that a machine which slows down slows all of them. See `README.md`.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import machine
import prepare
from export import INT8_FILES

#: Twenty tokens with [CLS] and [SEP].
SENTENCE = "The train to the coast leaves every morning at seven and arrives just before the shops open."
BASE = "st-torch"
PACKAGES = ["torch", "transformers", "sentence-transformers", "tokenizers", "onnxruntime", "optimum-onnx", "openvino"]


@dataclass
class Worker:
    """A loaded back end and what was measured of it."""

    name: str
    command: list[str]
    process: subprocess.Popen
    passes: dict[str, list[dict]] = field(default_factory=dict)

    def ask(self, **command: object) -> dict:
        """Sends one command and waits for its answer."""
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.name}: ended while answering {command['cmd']}, exit status {self.process.wait()}")
        return json.loads(answer)


@dataclass
class Patience:
    """How quiet the machine must be for a pass to count, in cores, and until when that is insisted on."""

    other_cores: float
    deadline: float

    def accepts(self, other_cores: float) -> bool:
        return other_cores <= self.other_cores or time.monotonic() > self.deadline


def main() -> None:
    arguments = parse_arguments()
    pythons = environments(arguments)
    commands = backend_commands(arguments, pythons)
    jobs = {
        "mixed": {"cmd": "encode", "file": str(arguments.corpus.resolve() / "mixed.txt"), "limit": arguments.limit},
        "short": {"cmd": "encode", "file": str(arguments.corpus.resolve() / "short.txt"), "limit": arguments.limit_short},
        "latency": {"cmd": "latency", "text": SENTENCE, "n": arguments.latency},
    }
    workers = [start(name, command, jobs["mixed"]) for name, command in commands.items()]
    patience = Patience(arguments.quiet, time.monotonic() + arguments.patience)
    for number in range(arguments.rounds):
        # Each round begins with another worker: none always follows the same neighbour.
        for worker in workers[number % len(workers) :] + workers[: number % len(workers)]:
            for job, command in jobs.items():
                measured = measure_quietly(worker, command, workers, patience)
                worker.passes.setdefault(job, []).append(measured)
                print(f"round {number + 1} {worker.name} {job}: {json.dumps(measured)}", file=sys.stderr)
    memory = {worker.name: machine.peak_memory_mb(worker.process.pid) for worker in workers}
    stop(workers)
    check_tokens(workers)
    rows = {worker.name: summarize(worker, workers) | {"peak_memory_mb": memory[worker.name]} for worker in workers}
    print(table(rows))
    print(disturbance(workers))
    if arguments.out:
        raw = json.dumps(report(arguments, pythons, workers, rows), indent=1)
        arguments.out.write_text(without_paths(raw, arguments, pythons) + "\n")


def parse_arguments() -> argparse.Namespace:
    """The command line; folders are relative to the working directory."""
    shared = prepare.REPOSITORY.parent / "shared"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=shared / "models/all-MiniLM-L6-v2", help="sentence-transformers folder")
    parser.add_argument("--corpus", type=Path, default=shared / "corpus", help="folder of mixed.txt and short.txt")
    parser.add_argument("--env", type=Path, default=prepare.REPOSITORY / "target/bench-env", help="environments and exported models")
    parser.add_argument("--python", type=Path, help="use this interpreter for PyTorch instead of making an environment")
    parser.add_argument("--python-onnx", type=Path, help="the same for ONNX Runtime and OpenVINO")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=1000, help="lines of mixed.txt")
    parser.add_argument("--limit-short", type=int, help="lines of short.txt, all by default")
    parser.add_argument("--latency", type=int, default=200, help="calls with one sentence per round")
    parser.add_argument("--quiet", type=float, default=0.1, metavar="CORES", help="repeat a pass while others used more CPU than this")
    parser.add_argument("--patience", type=float, default=0, metavar="SECONDS", help="for how long to insist on --quiet")
    parser.add_argument("--openvino", action="store_true", help="add OpenVINO")
    parser.add_argument("--skip", nargs="+", default=[], metavar="NAME", help="back ends to leave out, such as polyhead")
    parser.add_argument("--out", type=Path, help="raw results as JSON")
    arguments = parser.parse_args()
    arguments.env = arguments.env.absolute()
    return arguments


def environments(arguments: argparse.Namespace) -> dict[str, Path]:
    """The interpreters by stack; absolute, and not resolved: that would lead out of a virtual environment."""
    extra = ["optimum-intel[openvino]==1.27.0"] if arguments.openvino else []
    torch = arguments.python or prepare.python_environment(arguments.env / "torch", "requirements-torch.txt", [])
    onnx = arguments.python_onnx or prepare.python_environment(arguments.env / "onnx", "requirements-onnx.txt", extra)
    return {"torch": torch.absolute(), "onnx": onnx.absolute()}


def backend_commands(arguments: argparse.Namespace, pythons: dict[str, Path]) -> dict[str, list[str]]:
    """The command line of every back end of this run, in the order of the table."""
    presets = ["avx2"] + ["avx512_vnni"] * ("avx512_vnni" in machine.describe()["simd"])
    model = arguments.model.resolve()
    exported = arguments.env / "models" / model.name
    exports = {"st-onnx": ["--backend", "onnx", "--file", "onnx/model.onnx"]}
    exports |= {f"st-onnx-int8-{preset}": ["--backend", "onnx", "--file", INT8_FILES[preset]] for preset in presets}
    if arguments.openvino:
        exports["st-openvino"] = ["--backend", "openvino", "--file", "openvino/openvino_model.xml"]
        exports["st-openvino-f32"] = [*exports["st-openvino"], "--f32"]
    threads = ["--threads", str(arguments.threads)]
    script = str(prepare.HERE / "worker.py")
    commands = {BASE: [str(pythons["torch"]), script, "--backend", "torch", "--model", str(model), *threads]}
    for name, options in exports.items():
        commands[name] = [str(pythons["onnx"]), script, "--model", str(exported), *options, *threads]
    chosen = {name: command for name, command in commands.items() if name not in arguments.skip}
    if chosen.keys() & exports.keys():
        prepare.export_models(pythons["onnx"], model, exported, presets, arguments.openvino)
    if "polyhead" not in arguments.skip:
        chosen["polyhead"] = [str(prepare.rust_worker()), "--model", str(model), *threads]
    return chosen


def start(name: str, command: list[str], job: dict) -> Worker:
    """Starts a worker and has it load and warm up on some of the texts."""
    print("$", shlex.join(command), file=sys.stderr)
    # The libraries' progress bars would drown the lines about the rounds; a failure still shows as an early end.
    log = None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    worker = Worker(name, command, process)
    worker.ask(**job | {"limit": 200})
    return worker


def measure_quietly(worker: Worker, command: dict, workers: list[Worker], patience: Patience) -> dict:
    """The first pass that nothing disturbed, or just a pass once patience is over."""
    while True:
        while not patience.accepts(other_cores_now()):
            time.sleep(1)
        measured = measure(worker, command, workers)
        if patience.accepts(measured["other_cores"]):
            return measured


def other_cores_now() -> float:
    """CPU use over half a second, while every worker waits."""
    before = machine.busy_seconds()
    time.sleep(0.5)
    return (machine.busy_seconds() - before) / 0.5


def measure(worker: Worker, command: dict, workers: list[Worker]) -> dict:
    """One command, with the share of a core that the waiting workers and everything else used meanwhile."""
    before_all, before, start = machine.busy_seconds(), cpu_seconds(workers), time.perf_counter()
    answer = worker.ask(**command)
    wall = time.perf_counter() - start
    used = {name: after - before[name] for name, after in cpu_seconds(workers).items()}
    everything = machine.busy_seconds() - before_all
    own = used.pop(worker.name)
    waiting = sum(used.values())
    others = max(0.0, everything - own - waiting)
    return answer | {"cpu_seconds": round(own, 2), "waiting_cores": round(waiting / wall, 3), "other_cores": round(others / wall, 3)}


def cpu_seconds(workers: list[Worker]) -> dict[str, float]:
    """CPU time so far, by worker."""
    return {worker.name: machine.process_seconds(worker.process.pid) for worker in workers}


def stop(workers: list[Worker]) -> None:
    """Asks every worker to end."""
    for worker in workers:
        worker.process.stdin.write('{"cmd": "quit"}\n')
        worker.process.stdin.close()
        worker.process.wait(timeout=60)


def check_tokens(workers: list[Worker]) -> None:
    """All back ends must have read the same texts and cut them at the same place."""
    for job in workers[0].passes:
        counts = {worker.name: worker.passes[job][0]["tokens"] for worker in workers}
        if len(set(counts.values())) > 1:
            sys.exit(f"{job}: the back ends count different tokens: {counts}")


def summarize(worker: Worker, workers: list[Worker]) -> dict:
    """Medians and spreads; the ratio is the median of the rounds' ratios, so that it is between neighbours in time."""
    summary = {}
    base = next((other for other in workers if other.name == BASE), None)
    for corpus in ("mixed", "short"):
        passes = worker.passes[corpus]
        speeds = [one["texts"] / one["seconds"] for one in passes]
        summary[corpus] = {
            "texts_per_s": median(speeds),
            "min": min(speeds),
            "max": max(speeds),
            "tokens_per_s": median(one["tokens"] / one["seconds"] for one in passes),
            "ratio": median(b["seconds"] / own["seconds"] for b, own in zip(base.passes[corpus], passes)) if base else None,
        }
    return summary | {key: median(one[key] for one in worker.passes["latency"]) for key in ("p50_ms", "p99_ms")}


def table(rows: dict[str, dict]) -> str:
    """One Markdown table."""
    corpus = ["texts/s", "min–max", "tokens/s", "ratio"]
    head = ["back end", *(f"{name} {column}" for name in ("mixed", "short") for column in corpus), "p50 ms", "p99 ms", "peak MB"]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for name, row in rows.items():
        cells = [name, *corpus_cells(row["mixed"]), *corpus_cells(row["short"])]
        cells += [f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}", f"{row['peak_memory_mb']:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def corpus_cells(summary: dict) -> list[str]:
    """The four cells of a corpus."""
    ratio = "–" if summary["ratio"] is None else f"{summary['ratio']:.2f}"
    speeds = [f"{summary['texts_per_s']:.1f}", f"{summary['min']:.1f}–{summary['max']:.1f}"]
    return [*speeds, f"{summary['tokens_per_s']:,.0f}", ratio]


def disturbance(workers: list[Worker]) -> str:
    """How quiet the machine was."""
    passes = [one for worker in workers for job in worker.passes.values() for one in job]
    lines = []
    for key, who in (("waiting_cores", "the waiting workers"), ("other_cores", "other processes")):
        values = [one[key] for one in passes]
        lines.append(f"Cores used by {who} during a pass: median {median(values):.2f}, worst {max(values):.2f}.")
    return "\n".join(lines)


def report(arguments: argparse.Namespace, pythons: dict[str, Path], workers: list[Worker], rows: dict) -> dict:
    """Everything a reader needs to judge or repeat the run."""
    list_versions = (
        "import json,sys;from importlib.metadata import packages_distributions as p,version as v;"
        "have={n for names in p().values() for n in names};print(json.dumps({n: v(n) for n in sys.argv[1:] if n in have}))"
    )
    return {
        "machine": machine.describe(),
        "commit": prepare.output(["git", "rev-parse", "HEAD"]),
        "changed_files": len(prepare.output(["git", "status", "--porcelain"]).splitlines()),
        "rustc": prepare.output(["rustc", "--version"]),
        "python": {name: json.loads(prepare.output([str(path), "-c", list_versions, *PACKAGES]) or "{}") for name, path in pythons.items()},
        "command": shlex.join(sys.argv),
        "settings": {key: str(value) for key, value in vars(arguments).items()},
        "sentence": SENTENCE,
        "workers": {worker.name: shlex.join(worker.command) for worker in workers},
        "summary": rows,
        "passes": {worker.name: worker.passes for worker in workers},
    }


def without_paths(text: str, arguments: argparse.Namespace, pythons: dict[str, Path]) -> str:
    """Results may be committed, and where things lie on one machine is nobody's business."""
    names = {f"PYTHON-{stack.upper()}": path for stack, path in pythons.items()}
    names |= {"MODEL": arguments.model.resolve(), "CORPUS": arguments.corpus.resolve(), "ENV": arguments.env}
    names |= {"OUT": arguments.out, ".": prepare.REPOSITORY, "~": Path.home()}
    for name, path in names.items():
        text = text.replace(str(path), name)
    return text


if __name__ == "__main__":
    main()
