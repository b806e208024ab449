#!/usr/bin/env python3
"""Fine-tunes with Polyhead and with a plain PyTorch loop, in turns, and prints one table.

    python3 bench/train/run.py --python PATH/TO/python --rounds 3 --out results.json

Each measurement is a separate process. In each round every case has one run of
each side, so that a slowdown of the machine affects both. See `README.md`.
"""

import argparse
import json
import math
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "peers"))
import machine

#: What each case is called: which parameters are frozen, and how PyTorch's batches are made.
CASES = [f"{freeze}:{order}" for freeze in ("none", "lower4", "backbone") for order in ("random", "grouped")]
OURS = REPOSITORY / "target/release/examples/bench_train_worker"
SIDES = ["torch", "polyhead"]
PACKAGES = ["torch", "transformers", "tokenizers"]


def main() -> None:
    arguments = parse_arguments()
    commands = {case: {side: command(arguments, case, side) for side in arguments.sides} for case in arguments.cases}
    runs = {case: {side: [] for side in arguments.sides} for case in arguments.cases}
    for number in range(arguments.rounds):
        for case in arguments.cases:
            # Neither side always follows the other.
            for side in arguments.sides if number % 2 == 0 else arguments.sides[::-1]:
                measured = measure_quietly(commands[case][side], arguments)
                runs[case][side].append(measured)
                print(f"round {number + 1} {case} {side}: {json.dumps(measured)}", file=sys.stderr)
    check_work(runs)
    summary = summarize(runs)
    print(table(summary))
    for line in across_orders(runs):
        print(line)
    others = [run["other_cores"] for sides in runs.values() for found in sides.values() for run in found]
    print(f"\nCores used by other processes during a run: median {median(others):.2f}, worst {max(others):.2f}.")
    if arguments.out:
        found = json.dumps(report(arguments, commands, summary, runs), indent=1)
        arguments.out.write_text(without_paths(found, arguments) + "\n")


def parse_arguments() -> argparse.Namespace:
    """The command line; folders are relative to the working directory."""
    shared = REPOSITORY.parent / "shared"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=shared / "models/all-MiniLM-L6-v2", help="sentence-transformers folder")
    parser.add_argument("--texts", type=Path, default=shared / "corpus/mixed.txt", help="a text a line")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="an interpreter with PyTorch and transformers")
    parser.add_argument("--ours", default=str(OURS), metavar="COMMAND", help="Polyhead's worker, without the common arguments")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES, metavar="FREEZE:ORDER")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup-steps", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--limit", type=int, help="take only the first lines")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quiet", type=float, default=0.1, metavar="CORES", help="repeat a run while others used more CPU than this")
    parser.add_argument("--patience", type=float, default=0, metavar="SECONDS", help="for how long to insist on --quiet")
    parser.add_argument("--out", type=Path, help="raw results as JSON")
    arguments = parser.parse_args()
    arguments.deadline = time.monotonic() + arguments.patience
    return arguments


def command(arguments: argparse.Namespace, case: str, side: str) -> list[str]:
    """The command line of one side: the same arguments for both, except the warm-up."""
    freeze, order = case.split(":")
    start = shlex.split(arguments.ours) if side == "polyhead" else [str(arguments.python.absolute()), str(HERE / "torch_loop.py")]
    options = {"--model": arguments.model.resolve(), "--texts": arguments.texts.resolve(), "--order": order, "--freeze": freeze}
    options |= {"--steps": arguments.steps, "--warmup-steps": warmup_steps(arguments, freeze, side)}
    options |= {"--batch-size": arguments.batch_size, "--max-length": arguments.max_length, "--threads": arguments.threads}
    if arguments.limit:
        options["--limit"] = arguments.limit
    return start + [str(word) for option in options.items() for word in option]


def warmup_steps(arguments: argparse.Namespace, freeze: str, side: str) -> int:
    """Polyhead with a frozen part is timed from the second epoch on, so its warm-up is the whole first one.

    PyTorch's loop does the same work in every epoch and need not be kept waiting.
    """
    if side == "torch" or freeze == "none":
        return arguments.warmup_steps
    lines = arguments.texts.read_text(encoding="utf-8").removesuffix("\n").split("\n")[: arguments.limit]
    return math.ceil(len(lines) / arguments.batch_size)


def measure_quietly(words: list[str], arguments: argparse.Namespace) -> dict:
    """The first run that nothing disturbed, or just a run once patience is over."""
    while True:
        measured = measure(words)
        if measured["other_cores"] <= arguments.quiet or time.monotonic() > arguments.deadline:
            return measured


def measure(words: list[str]) -> dict:
    """The line a worker prints, with the cores that everything else used during the whole process."""
    busy, own, start = machine.busy_seconds(), children_seconds(), time.perf_counter()
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wall = time.perf_counter() - start
    others = (machine.busy_seconds() - busy) - (children_seconds() - own)
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        sys.exit(f"{shlex.join(words)}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(lines[-1]) | {"process_seconds": round(wall, 2), "other_cores": round(max(others, 0) / wall, 3)}


def children_seconds() -> float:
    """CPU time of all workers that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def check_work(runs: dict) -> None:
    """Both sides must have trained on the same texts and tokens, or the comparison means nothing."""
    for case, sides in runs.items():
        counted = {side: {(run["texts"], run["tokens"]) for run in found} for side, found in sides.items()}
        if len(set().union(*counted.values())) != 1:
            sys.exit(f"{case}: expected the same texts and tokens everywhere, found {counted}")


def summarize(runs: dict) -> dict:
    """Per case and side the median and the extremes, and Polyhead's ratio to PyTorch as the median over rounds."""
    return {case: {side: side_summary(found) for side, found in sides.items()} | ratios(sides, sides) for case, sides in runs.items()}


def side_summary(found: list[dict]) -> dict:
    speeds = [run["tokens_per_s"] for run in found]
    return {
        "tokens_per_s": median(speeds),
        "min": min(speeds),
        "max": max(speeds),
        "texts_per_s": median(run["texts_per_s"] for run in found),
        "seconds_per_step": median(run["seconds_per_step"] for run in found),
        "peak_memory_mb": max(run["peak_memory_mb"] for run in found),
        "loss": found[0]["loss"],
    }


def ratios(ours: dict, base: dict) -> dict:
    """`ratio`, its extremes; nothing if a side did not run."""
    if "polyhead" not in ours or "torch" not in base:
        return {}
    pairs = zip(ours["polyhead"], base["torch"], strict=True)
    found = [mine["tokens_per_s"] / theirs["tokens_per_s"] for mine, theirs in pairs]
    return {"ratio": median(found), "ratio_min": min(found), "ratio_max": max(found)}


def table(summary: dict) -> str:
    """Markdown."""
    lines = [
        "| frozen | batches | side | real tokens/s | min–max | texts/s | s/step | peak RSS MB | ratio | min–max |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case, sides in summary.items():
        for side in [side for side in SIDES if side in sides]:
            row = sides[side]
            cells = [*case.split(":"), side, f"{row['tokens_per_s']:,.0f}", f"{row['min']:,.0f}–{row['max']:,.0f}"]
            cells += [f"{row['texts_per_s']:.1f}", f"{row['seconds_per_step']:.3f}", f"{row['peak_memory_mb']:,.0f}"]
            if side == "polyhead" and "ratio" in sides:
                cells += [f"{sides['ratio']:.2f}", f"{sides['ratio_min']:.2f}–{sides['ratio_max']:.2f}"]
            else:
                cells += ["–", "–"]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def across_orders(runs: dict) -> list[str]:
    """Polyhead in random order against PyTorch's length-grouped batches: without padding there is nothing to group for."""
    lines = []
    for freeze in ("none", "lower4", "backbone"):
        ours, base = runs.get(f"{freeze}:random", {}), runs.get(f"{freeze}:grouped", {})
        if found := ratios(ours, base):
            spread = f"{found['ratio_min']:.2f}–{found['ratio_max']:.2f}"
            lines.append(f"\nFrozen: {freeze}. Polyhead random / PyTorch grouped: {found['ratio']:.2f} ({spread}).")
    return lines


def report(arguments: argparse.Namespace, commands: dict, summary: dict, runs: dict) -> dict:
    """Everything a reader needs to judge or repeat the run."""
    list_versions = "import json,sys;from importlib.metadata import version as v;print(json.dumps({n: v(n) for n in sys.argv[1:]}))"
    return {
        "machine": machine.describe(),
        "commit": output(["git", "rev-parse", "HEAD"]),
        "changed_files": len(output(["git", "status", "--porcelain"]).splitlines()),
        "rustc": output(["rustc", "--version"]),
        "python": json.loads(output([str(arguments.python), "-c", list_versions, *PACKAGES]) or "{}"),
        "command": shlex.join(sys.argv),
        "workers": {case: {side: shlex.join(words) for side, words in sides.items()} for case, sides in commands.items()},
        "summary": summary,
        "runs": runs,
    }


def output(words: list[str]) -> str:
    """What a command prints, or nothing if it cannot run."""
    try:
        return subprocess.run(words, check=True, cwd=REPOSITORY, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def without_paths(text: str, arguments: argparse.Namespace) -> str:
    """Results may be committed, so they must not contain paths of this machine."""
    names = {"PYTHON": [arguments.python.absolute(), arguments.python], "MODEL": [arguments.model.resolve(), arguments.model]}
    names |= {"TEXTS": [arguments.texts.resolve(), arguments.texts], "OUT": [arguments.out], ".": [REPOSITORY], "~": [Path.home()]}
    for name, paths in names.items():
        for path in paths:
            text = text.replace(str(path), name)
    return text


if __name__ == "__main__":
    main()
