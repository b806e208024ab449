#!/usr/bin/env python3
"""Measures a running `polyhead serve` on loopback and prints a table: property, requirement, result, verdict.

    python3 bench/serve/run.py target/release/polyhead --out results.json
    python3 bench/serve/run.py target/release/polyhead --only saturation latency --scale 0.1   # a short run

See `README.md`.
"""

import argparse
import base64
import json
import os
import platform
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import faults
import museum
from generator import Generator, embed, embeddings, errors, finish, latency, texts
from server import Memory, Server

CLIENTS = (1, 2, 4, 8, 16, 32, 64)
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Row:
    """A line of the table, with the raw numbers behind it."""

    what: str
    bar: str
    found: str
    passed: bool
    raw: dict = field(default_factory=dict)


class Bench:
    """What the rows share."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.binary: Path = arguments.binary
        self.model: str | None = arguments.model
        self.peer_model: Path | None = arguments.peer_model
        self.peer_python: str = arguments.peer_python
        self.server_arguments: list[str] = arguments.server_arguments.split()
        self.scale: float = arguments.scale
        self.folder = folder
        self.generator = Generator(arguments.load, folder)
        self.requests = embeddings(texts(1000, 20), "short")

    def server(self, *arguments: str, port: int = 0, model: str | None = None, wrapper: tuple[str, ...] = (), log: Path | None = None) -> Server:
        """A fresh one; its log, a line for each request as by default, goes into a file."""
        log = log or self.folder / "server.log"
        return Server.polyhead(self.binary, model or self.model, *self.server_arguments, *arguments, port=port, log=log, wrapper=wrapper)

    def seconds(self, full: float, least: float = 2.0) -> float:
        return max(full * self.scale, least)

    def closed(self, server: Server, clients: int, seconds: float, requests: list[dict] | None = None, patient: bool = False) -> dict:
        """A closed loop, its first second not counted."""
        warmup = min(1.0, seconds / 4)
        return self.generator.run(server.address, requests or self.requests, patient=patient, clients=clients, seconds=seconds + warmup, warmup=warmup)

    def offline_seconds(self, count: int) -> float:
        """How long `polyhead encode` takes for so many of the texts."""
        file = self.folder / f"offline-{count}.txt"
        file.write_text("\n".join((texts(1000, 20) * (count // 1000 + 1))[:count]) + "\n")
        model = ["-m", self.model] if self.model else []
        begun = time.monotonic()
        subprocess.run([self.binary, "encode", *model, *self.load_arguments(), "-i", file, "-o", self.folder / "offline.npy", "--quiet"], check=True)
        return time.monotonic() - begun

    @cached_property
    def offline_texts(self) -> int:
        """So many that they take some seconds."""
        rate = 3000 / max(self.offline_seconds(4000) - self.offline_seconds(1000), 0.05)
        return 1000 + max(int(rate * self.seconds(3)), 3000)

    def offline(self) -> float:
        """Texts a second of `polyhead encode`: what a longer file costs more, so without loading."""
        few, many = 1000, self.offline_texts
        return (many - few) / (self.offline_seconds(many) - self.offline_seconds(few))

    def load_arguments(self) -> list[str]:
        """Those of the server's arguments that `encode` has too."""
        found, given = [], self.server_arguments
        for name, value in zip(given, given[1:]):
            if name in ("--threads", "--precision", "--max-length"):
                found += [name, value]
        return found

    @cached_property
    def saturations(self) -> dict[int, dict]:
        """Closed loops by the number of clients."""
        with self.server() as server:
            self.closed(server, 16, self.seconds(2))
            return {clients: self.closed(server, clients, self.seconds(8)) for clients in CLIENTS}

    @property
    def saturation(self) -> float:
        """Requests a second with 64 clients."""
        return self.saturations[64]["throughput"]


def saturation(bench: Bench) -> Row:
    by_clients = bench.saturations
    # In short turns, each between two of the encoder's: the machine's speed drifts. A server without requests takes nothing.
    with bench.server() as server:
        bench.closed(server, 16, bench.seconds(2))
        rounds, offlines = [], [bench.offline()]
        for _ in range(9):
            rounds.append(bench.closed(server, 64, bench.seconds(4)))
            offlines.append(bench.offline())
    ratios = [found["throughput"] / statistics.mean(around) for found, around in zip(rounds, zip(offlines, offlines[1:]))]
    ratio, offline = statistics.median(ratios), statistics.median(offlines)
    client = statistics.median(found["client_cores"] for found in rounds)
    wrong = [errors(found) for found in [*by_clients.values(), *rounds] if errors(found)]
    rates = ", ".join(f"{clients}: {one['throughput']:.0f}" for clients, one in by_clients.items())
    return Row("saturation", "64 clients ≥ 90 % of the offline encoder, 0 errors",
               f"{100 * ratio:.0f} % of {offline:.0f} texts/s, median of nine in turns ({', '.join(f'{100 * one:.0f}' for one in ratios)}; the client took {client:.2f} cores); by clients {rates}; errors {wrong or 0}",
               ratio >= 0.9 and not wrong, {"rounds": rounds, "offline": offlines, "by_clients": by_clients})


def latency_under_load(bench: Bench) -> Row:
    """Three minutes, each at 70 % of what the server could do just before: the machine's speed drifts."""
    minutes = []
    with bench.server() as server:
        bench.closed(server, 16, bench.seconds(2))
        for _ in range(3):
            rate = 0.7 * bench.closed(server, 64, bench.seconds(8))["throughput"]
            minutes.append(bench.generator.run(server.address, bench.requests, rate=rate, seconds=bench.seconds(60, 5), warmup=1))
            minutes[-1]["rate"] = rate

    def tail(found: dict) -> float:
        return latency(found, "short")["p99"] / latency(found, "short")["p50"]

    def line(found: dict) -> str:
        times = latency(found, "short")
        return f"{found['rate']:.0f}/s: p50 {times['p50']:.1f}, p90 {times['p90']:.1f}, p99 {times['p99']:.1f}, most {times['max']:.0f} ms ({tail(found):.1f} ×)"

    ratio = statistics.median(tail(found) for found in minutes)
    wrong = [errors(found) for found in minutes if errors(found)]
    return Row("latency", "open loop at 70 % for 60 s: p99 ≤ 5 × p50, 0 errors",
               f"{ratio:.1f} ×, median of three: {'; '.join(line(found) for found in minutes)}; "
               f"sent late at most {max(found['late']['max'] for found in minutes):.1f} ms; errors {wrong or 0}",
               ratio <= 5 and not wrong, {"minutes": minutes})


def overload(bench: Bench) -> Row:
    seconds, slice_ = bench.seconds(30, 6), 0.5
    with bench.server() as server, Memory(server) as memory:
        bench.closed(server, 16, bench.seconds(2))
        # Before it and after it: the machine's speed drifts.
        saturated = bench.closed(server, 64, bench.seconds(8), patient=True)["throughput"]
        before = memory.peak
        calm = latency(bench.generator.run(server.address, bench.requests, rate=20, seconds=bench.seconds(5, 3)), "short")
        probe = bench.generator.start(server.address, embeddings(texts(50, 20), "probe"), rate=20, seconds=seconds + 5, slice=slice_)
        found = bench.generator.run(server.address, bench.requests, patient=True, rate=3 * saturated, seconds=seconds, warmup=1)
        probed = finish(probe)["slices"]
        afterwards = bench.closed(server, 64, bench.seconds(8), patient=True)["throughput"]
    refused = latency(found, "short", "429", "service")
    normal = [one["others"] == 0 and one["latency"] is not None and one["latency"]["p50"] <= 2 * calm["p50"] for one in probed]
    bad = [index for index, good in enumerate(normal) if not good and index * slice_ >= seconds]
    recovered = (bad[-1] + 1) * slice_ - seconds if bad else 0.0
    grown = memory.peak - before
    # The probe's requests are work too.
    probe_rate = sum(one["good"] for one in probed[:int(seconds / slice_)]) / seconds
    good = (found["throughput"] + probe_rate) / statistics.mean((saturated, afterwards))
    wrong = errors(found, ("200", "429"))
    accepted = latency(found, "short")
    return Row("overload", "3 × for 30 s: only 200 and 429, goodput ≥ 90 %, 429 within 10 ms, normal within 2 s, memory bounded",
               f"{found['statuses']}; goodput {100 * good:.0f} % of {saturated:.0f} before and {afterwards:.0f} after (the client took {found['client_cores']:.2f} cores); 429: p50 {refused['p50']:.1f}, p99 {refused['p99']:.1f}, most {refused['max']:.0f} ms; "
               f"accepted p99 {accepted['p99']:.0f} ms; normal after {recovered:.1f} s; {grown:+.0f} MB on {before:.0f}",
               not wrong and good >= 0.9 and refused["p99"] <= 10 and recovered <= 2 and grown <= 64, {"overload": found, "calm": calm, "probe": probed, "memory": memory.samples})


def mixed(bench: Bench) -> Row:
    with bench.server("--max-length", "512") as server:
        short, long = embeddings(texts(90, 16), "short"), embeddings(texts(10, 512), "long")
        both = [request for i in range(10) for request in [*short[9 * i:9 * i + 9], long[i]]]
        most = bench.closed(server, 16, bench.seconds(8), both)
        rate = most["throughput"] / 2
        mix = bench.generator.run(server.address, both, rate=rate, seconds=bench.seconds(60, 6), warmup=1)
        alone = bench.generator.run(server.address, short, rate=0.9 * rate, seconds=bench.seconds(30, 4), warmup=1)
        closed = bench.closed(server, 16, bench.seconds(8), short)
        busy = bench.generator.run(server.address, short, rate=closed["throughput"] / 2, seconds=bench.seconds(30, 4), warmup=1)
    with_long, by_itself, at_half = latency(mix, "short"), latency(alone, "short"), latency(busy, "short")
    waited = max(with_long["max"], latency(mix, "long")["max"])
    ratio = with_long["p99"] / by_itself["p99"]
    return Row("mixed", "90 % of 16 tokens, 10 % of 512, at half of what the mix saturates at: short p99 ≤ 3 × without the long ones, nothing over 5 s",
               f"{rate:.0f}/s: short p99 {with_long['p99']:.1f} ms, without the long ones {by_itself['p99']:.1f} ({ratio:.1f} ×), alone at half of its own saturation {at_half['p99']:.1f}; "
               f"long p99 {latency(mix, 'long')['p99']:.0f}; most {waited:.0f} ms; errors {errors(mix) or 0}",
               ratio <= 3 and waited <= 5000 and not errors(mix), {"saturation": most, "mix": mix, "alone": alone, "alone_at_half": busy})


def same_answer(bench: Bench) -> Row:
    """One at a time, in lists of any make, under load, and by `polyhead encode`: the same bits."""
    inputs = [*texts(40, 20), *texts(8, 120), "", "a", "Ünïcode 東京 🇬🇧", *texts(9, 5)]
    inputs = [text for text in inputs if text]
    wrong = []
    with bench.server() as server:
        def ask(part: list[str]) -> list[str]:
            status, body = server.ask("POST", "/v1/embeddings", {"input": part, "encoding_format": "base64"})
            assert status == 200, body
            return [one["embedding"] for one in json.loads(body)["data"]]

        alone = [ask([text])[0] for text in inputs]
        for name, order in {"in one list": list(range(len(inputs))), "backwards": list(range(len(inputs)))[::-1]}.items():
            if ask([inputs[i] for i in order]) != [alone[i] for i in order]:
                wrong.append(name)
        one_client = bench.generator.run(server.address, embeddings(inputs, "short"), clients=1, seconds=2, hashes=True)
        load = bench.generator.run(server.address, embeddings(inputs, "short"), clients=48, seconds=bench.seconds(10), hashes=True)
        over = bench.generator.run(server.address, embeddings(inputs, "short"), rate=3 * bench.saturation, seconds=bench.seconds(5), hashes=True)
        for name, one in {"one client": one_client, "48 clients": load, "overload": over}.items():
            if one["different"] or one["hashes"] != one_client["hashes"]:
                wrong.append(name)
        checked = sum(one["statuses"].get("200", 0) for one in (one_client, load, over))
    model = ["-m", bench.model] if bench.model else []
    done = subprocess.run([bench.binary, "encode", *model, *bench.load_arguments(), "--quiet", *inputs], capture_output=True, text=True, check=True)
    offline = [json.loads(line)["embedding"] for line in done.stdout.splitlines()]
    if [base64.b64encode(struct.pack(f"<{len(one)}f", *one)).decode() for one in offline] != alone:
        wrong.append("polyhead encode")
    return Row("same answer", "the same bits alone, in any request, under load and offline", f"{len(inputs)} texts, {checked} answers; different: {', '.join(wrong) or 'none'}", not wrong)


def against_fastapi(bench: Bench) -> Row:
    if bench.peer_model is None:
        return Row("sentence-transformers behind FastAPI", "≥ 2.5 ×, 16 clients", "not measured: needs --peer-model", False)
    requests, rates = embed(texts(1000, 20), "short"), {"ours": [], "theirs": []}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [bench.peer_python, "-m", "uvicorn", "--app-dir", str(Path(__file__).parent), "fastapi_app:app", "--port", str(port), "--log-level", "warning"]
    peer = subprocess.Popen(command, env=os.environ | {"MODEL": str(bench.peer_model)})
    try:
        wait_for(f"http://127.0.0.1:{port}/docs", peer)
        with bench.server(model=str(bench.peer_model)) as server:
            # In turns, so that a machine which slows down slows both.
            for round_ in range(4):
                for name, address in (("ours", server.address), ("theirs", f"127.0.0.1:{port}")):
                    found = bench.generator.run(address, requests, clients=16, seconds=bench.seconds(10, 3), warmup=1)
                    if errors(found):
                        return Row("sentence-transformers behind FastAPI", "≥ 2.5 ×, 16 clients", f"{name}: {errors(found)}", False)
                    if round_:
                        rates[name].append(found["throughput"])
    finally:
        peer.terminate()
        peer.wait()
    ours, theirs = (statistics.median(rates[name]) for name in ("ours", "theirs"))
    return Row("sentence-transformers behind FastAPI", "same model, f32, 16 clients, /embed: requests/s ≥ 2.5 ×", f"{ours:.0f} against {theirs:.0f}: {ours / theirs:.1f} ×", ours / theirs >= 2.5, rates)


def wait_for(url: str, process: subprocess.Popen) -> None:
    """Until it answers."""
    for _ in range(600):
        if process.poll() is not None:
            sys.exit(f"{url}: the server has ended with status {process.returncode}")
        try:
            urllib.request.urlopen(url).close()
            return
        except OSError:
            time.sleep(0.2)
    sys.exit(f"{url}: no answer")


def every_fault(bench: Bench) -> list[Row]:
    rows = []
    for fault in faults.FAULTS:
        wrong, found = fault(bench)
        name = fault.__name__.replace("_", " ")
        rows.append(Row(f"fault: {name}", fault.__doc__.splitlines()[0], "; ".join([*wrong, found]), not wrong))
    return rows


def bad_input(bench: Bench) -> Row:
    wrong = []
    with bench.server() as server:
        rest, pieces = server.gauges(), museum.pieces()
        for piece in pieces:
            try:
                problem = museum.try_piece(server, piece)
            except OSError as error:
                problem = f"{piece.name}: {error}"
            if problem:
                wrong.append(problem)
            if not server.works():
                wrong.append(f"{piece.name}: the next good request gets no answer")
        differ = server.settles(rest)
        if differ:
            wrong.append(f"gauges: {differ}")
    for problem in wrong:
        print(f"  {problem}", file=sys.stderr)
    return Row("bad input", "right status, JSON envelope, and the next good request works", f"{len(pieces)} requests, {len(wrong)} wrong", not wrong, {"wrong": wrong})


ROWS: dict[str, Callable[[Bench], Row | list[Row]]] = {
    "saturation": saturation, "latency": latency_under_load, "overload": overload, "mixed": mixed, "same": same_answer,
    "fastapi": against_fastapi, "faults": every_fault, "museum": bad_input,
}


def main() -> None:
    arguments = parse_arguments()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(arguments, Path(folder))
        print("| what | bar | found | holds |\n| --- | --- | --- | --- |", flush=True)
        for name in arguments.only or ROWS:
            try:
                found = ROWS[name](bench)
            except Exception as error:  # The other rows are worth having.
                found = Row(name, "", f"{type(error).__name__}: {error}", False)
            for row in found if isinstance(found, list) else [found]:
                rows.append(row)
                print(f"| {row.what} | {row.bar} | {row.found} | {'yes' if row.passed else 'NO'} |", flush=True)
        if arguments.keep_log:
            shutil.copy(Path(folder, "server.log"), arguments.keep_log)
    if arguments.out:
        facts = {"machine": platform.platform(), "cores": len(os.sched_getaffinity(0)), "scale": arguments.scale, "rows": [asdict(row) for row in rows]}
        arguments.out.write_text(json.dumps(facts, indent=1) + "\n")
    sys.exit(not all(row.passed for row in rows))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path, help="the `polyhead` program")
    parser.add_argument("--load", type=Path, help="the load generator [default: examples/load beside the program]")
    parser.add_argument("--model", help="model to serve [default: the built-in one]")
    parser.add_argument("--server-arguments", default="", metavar="'--precision int8 …'", help="more for `polyhead serve`")
    parser.add_argument("--peer-model", type=Path, help="folder of sentence-transformers for the row `fastapi`")
    parser.add_argument("--peer-python", default=sys.executable, help="an interpreter with fastapi, uvicorn, sentence-transformers")
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--scale", type=float, default=1.0, help="of all durations; below 1 for a try, whose numbers mean little")
    parser.add_argument("--out", type=Path, help="raw results as JSON")
    parser.add_argument("--keep-log", type=Path, help="keep the server's log")
    arguments = parser.parse_args()
    arguments.load = arguments.load or arguments.binary.parent / "examples/load"
    return arguments


if __name__ == "__main__":
    main()
