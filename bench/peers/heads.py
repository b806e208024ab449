"""What N heads cost: one model with N heads, N models with a head each, and N models in ONNX Runtime with 8 bits.

    cargo build --release -p polyhead-cli
    PATH/TO/python bench/peers/heads.py --like PATH/TO/all-MiniLM-L6-v2 --out heads.json --plot docs/heads.svg

Every head is one linear layer on the mean of the token vectors. Polyhead is asked over HTTP, a server for each model; ONNX
Runtime has a process for each N, which tokenizes a text once for each of its models. Two threads each. A round asks all of
them, in an order of its own; printed are the medians over the rounds, and the ratio of eight heads to one within each round. Memory is the
resident memory of all processes of a side after the last round. Needs PyTorch, transformers, onnx and onnxruntime.
"""

import argparse
import http.client
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from plot import STYLE

COUNTS = [1, 2, 4, 8]
#: A text of 16 tokens, and a batch of texts of the demo.
TEXT = "The soup was cold and the waiter did not come back for an hour."
BATCH = 32
TITLES = {"heads": "Polyhead, one model", "models": "Polyhead, a model for each", "onnx": "ONNX Runtime, 8 bits, a model for each"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--polyhead", default="target/release/polyhead", type=Path)
    parser.add_argument("--like", required=True, type=Path, help="a BERT in a folder of sentence-transformers")
    parser.add_argument("--precision", choices=["f32", "int8"], default="f32", help="the products of Polyhead")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="results")
    parser.add_argument("--plot", type=Path, help="an SVG file")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "false"}
    if arguments.worker:
        answer(arguments.like, arguments.worker)
        return
    with tempfile.TemporaryDirectory() as place:
        found = compare(arguments, Path(place))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if arguments.plot:
        arguments.plot.write_text(drawn(found), encoding="utf-8")
    print(table(found))


# --- sides ----------------------------------------------------------------


class Server:
    """`polyhead serve` with a model."""

    def __init__(self, polyhead: Path, model: Path, precision: str) -> None:
        command = [polyhead, "serve", model, "--port", "0", "--threads", "2", "--precision", precision, "--quiet"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        address = self.process.stdout.readline().split()[-1].removeprefix("http://").rstrip("/")
        self.connection = http.client.HTTPConnection(address, timeout=60)

    def ask(self, texts: list[str]) -> None:
        body = json.dumps({"inputs": texts})
        self.connection.request("POST", "/v1/predict", body, {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise SystemExit(answer.decode())


class Worker:
    """A process with N sessions of ONNX Runtime."""

    def __init__(self, file: Path, count: int) -> None:
        command = [sys.executable, __file__, "--like", file, "--worker", str(count)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def ask(self, texts: list[str]) -> None:
        self.process.stdin.write(json.dumps(texts) + "\n")
        self.process.stdin.flush()
        json.loads(self.process.stdout.readline())


def answer(folder: Path, count: int) -> None:
    """Answers the lines of standard input with the labels of N models."""
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    # The threads of a session spin while they wait: those of several sessions would hold up each other.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    models = []
    for number in range(count):
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.enable_truncation(256)
        tokenizer.enable_padding()
        session = onnxruntime.InferenceSession(str(folder / f"model-{number}.onnx"), options, providers=["CPUExecutionProvider"])
        models.append((tokenizer, session))
    print("ready", flush=True)
    for line in sys.stdin:
        texts = json.loads(line)
        labels = []
        for tokenizer, session in models:
            encoded = tokenizer.encode_batch(texts)
            inputs = {"input_ids": [one.ids for one in encoded], "attention_mask": [one.attention_mask for one in encoded]}
            (logits,) = session.run(None, {name: np.array(rows, dtype=np.int64) for name, rows in inputs.items()})
            labels.append(logits.argmax(axis=1).tolist())
        print(json.dumps(labels), flush=True)


# --- models ---------------------------------------------------------------


def with_heads(arguments: argparse.Namespace, place: Path, count: int) -> Path:
    """A model of Polyhead with N heads, which one step has trained: the time does not depend on more."""
    demo = Path(__file__).resolve().parents[2] / "data" / "demo" / "train.jsonl"
    tasks = "".join(
        f'[[task]]\nname = "head{number}"\nkind = "classification"\nfield = "{("topic", "sentiment")[number % 2]}"\n' for number in range(count)
    )
    config = place / f"heads-{count}.toml"
    config.write_text(
        f'[encoder]\nmodel = {json.dumps(str(arguments.like.resolve()))}\n[data]\ntrain = {json.dumps(str(demo))}\n{tasks}'
        '[train]\nrecipe = "full"\nmax_steps = 1\nlearning_rate = 0\n',
        encoding="utf-8",
    )
    run = place / f"heads-{count}"
    subprocess.run([arguments.polyhead, "train", config, "-o", run, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    return run


def with_onnx(like: Path, place: Path) -> Path:
    """Models of ONNX Runtime with a head each: weights in 8 bits, as `quantize_dynamic` makes them."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import AutoModel

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = AutoModel.from_pretrained(like, attn_implementation="eager")
            self.head = torch.nn.Linear(self.encoder.config.hidden_size, 6)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask[..., None].to(states.dtype)
            return self.head((states * mask).sum(1) / mask.sum(1))

    folder = place / "onnx"
    folder.mkdir()
    shutil.copy(like / "tokenizer.json", folder)
    axes = {name: {0: "batch", 1: "length"} for name in ("input_ids", "attention_mask")} | {"logits": {0: "batch"}}
    sample = torch.ones(2, 8, dtype=torch.long)
    names = {"input_names": ["input_ids", "attention_mask"], "output_names": ["logits"], "dynamic_axes": axes}
    torch.onnx.export(Classifier().eval(), (sample, sample), folder / "whole.onnx", opset_version=17, dynamo=False, **names)
    quantize_dynamic(folder / "whole.onnx", folder / "model-0.onnx", weight_type=QuantType.QInt8)
    for number in range(1, max(COUNTS)):
        shutil.copy(folder / "model-0.onnx", folder / f"model-{number}.onnx")
    return folder


# --- measurement ----------------------------------------------------------


def compare(arguments: argparse.Namespace, place: Path) -> dict:
    demo = Path(__file__).resolve().parents[2] / "data" / "demo" / "train.jsonl"
    texts = [json.loads(line)["text"] for line in demo.read_text(encoding="utf-8").splitlines()[:BATCH]]
    onnx = with_onnx(arguments.like, place)
    models = {count: with_heads(arguments, place, count) for count in COUNTS}
    start = lambda model: Server(arguments.polyhead, model, arguments.precision)
    sides = {("heads", count): [start(models[count])] for count in COUNTS}
    lone = [sides["heads", 1][0], *(start(models[1]) for _ in range(max(COUNTS) - 1))]
    sides |= {("models", count): lone[:count] for count in COUNTS}
    sides |= {("onnx", count): [Worker(onnx, count)] for count in COUNTS}
    try:
        found = {size: {side: [] for side in sides} for size in ("one", "batch")}
        generator = random.Random(0)
        for number in range(arguments.rounds + 1):
            for size, asked, repeats in (("one", [TEXT], 20), ("batch", texts, 3)):
                for side in generator.sample(list(sides), len(sides)):
                    members = sides[side]
                    # The threads of the side before come to rest, and this one wakes up.
                    time.sleep(0.1)
                    timed(members, asked)
                    times = [timed(members, asked) for _ in range(repeats)]
                    # The first round warms up.
                    if number > 0:
                        found[size][side].append(statistics.median(times))
        memory = {side: sum(resident(member.process.pid) for member in members) for side, members in sides.items()}
    finally:
        processes = {member.process.pid: member.process for members in sides.values() for member in members}
        for process in processes.values():
            process.kill()
    rows = []
    for (name, count), one in found["one"].items():
        batch = found["batch"][name, count]
        rows.append(
            {
                "side": name,
                "heads": count,
                "one_ms": 1e3 * statistics.median(one),
                "batch_texts_per_s": BATCH / statistics.median(batch),
                "memory_mb": memory[name, count] / 1e6,
                "to_one_head": [ratios(found[size][name, count], found[size][name, 1]) for size in ("one", "batch")],
            }
        )
    return {"precision": arguments.precision, "rounds": arguments.rounds, "rows": rows}


def timed(members: list, texts: list[str]) -> float:
    begin = time.perf_counter()
    for member in members:
        member.ask(texts)
    return time.perf_counter() - begin


def ratios(times: list[float], base: list[float]) -> list[float]:
    """Median, least and largest ratio of the rounds."""
    each = [a / b for a, b in zip(times, base, strict=True)]
    return [statistics.median(each), min(each), max(each)]


def resident(pid: int) -> int:
    """Bytes of a process in memory, its share of those that processes have in common."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * int(rollup.split("Pss:")[1].split()[0])


# --- output ---------------------------------------------------------------


def table(found: dict) -> str:
    lines = ["| side | heads | one text, ms | to one head | texts/s, 32 a request | to one head | memory, MB |", "|---|---:|---:|---|---:|---|---:|"]
    for row in found["rows"]:
        one, batch = (f"{middle:.2f} ({low:.2f} to {high:.2f})" for middle, low, high in row["to_one_head"])
        cells = [TITLES[row["side"]], str(row["heads"]), f"{row['one_ms']:.2f}", one, f"{row['batch_texts_per_s']:.0f}", batch, f"{row['memory_mb']:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def drawn(found: dict) -> str:
    """Two panels over the number of heads: milliseconds of one text, and memory."""
    width, height, panel, left, top = 720, 330, 250, 62, 86
    parts = [f'<text class="title" x="8" y="22">{found_title(found)}</text>']
    kinds = {"heads": "ours", "models": "apart", "onnx": "peer"}
    for number, (side, title) in enumerate(TITLES.items()):
        x = 12 + 210 * number - (20 if number == 1 else 0)
        parts.append(f'<rect class="{kinds[side]}" x="{x}" y="40" width="12" height="12" rx="2"/><text x="{x + 18}" y="51">{title}</text>')
    for number, (key, unit) in enumerate((("one_ms", "ms for one text"), ("memory_mb", "MB of memory"))):
        begin = left + number * (panel + 100)
        most = max(row[key] for row in found["rows"]) * 1.08
        place = lambda count, value: (begin + panel * (count - 1) / 7, top + 190 * (1 - value / most))
        parts.append(f'<text x="{begin - 44}" y="{top - 12}">{unit}</text>')
        for tick in ticks(most):
            y = place(1, tick)[1]
            parts.append(f'<line class="grid" x1="{begin}" x2="{begin + panel}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{begin - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
        for count in COUNTS:
            parts.append(f'<text x="{place(count, 0)[0]:.1f}" y="{top + 208}" text-anchor="middle">{count}</text>')
        parts.append(f'<text x="{begin + panel / 2}" y="{top + 230}" text-anchor="middle">heads</text>')
        for side, kind in kinds.items():
            points = [place(row["heads"], row[key]) for row in found["rows"] if row["side"] == side]
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            parts.append(f'<polyline class="{kind}" points="{line}"/>')
            parts += [f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in points]
    style = STYLE + (
        "  svg { --apart: #bf8700; }\n  .apart { fill: var(--apart); }\n  polyline { fill: none !important; stroke-width: 2.5; }\n"
        "  polyline.ours { stroke: var(--ours); } polyline.apart { stroke: var(--apart); } polyline.peer { stroke: var(--peer); }\n"
        "  .grid { stroke-width: .5; opacity: .35; }\n"
    )
    label = found_title(found)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{label}">'
    return "\n".join([head, f"<style>{style}</style>", *parts, "</svg>\n"])


def found_title(found: dict) -> str:
    bits = {"f32": "single precision", "int8": "8 bits"}[found["precision"]]
    return f"The cost of N heads: all-MiniLM-L6-v2, Polyhead in {bits}, two threads"


def ticks(most: float) -> list[float]:
    step = next(step for power in range(-2, 6) for step in (10**power, 2 * 10**power, 5 * 10**power) if most / step <= 5)
    return [step * number for number in range(int(most / step) + 1)]


if __name__ == "__main__":
    main()
