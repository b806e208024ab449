"""Texts of a given number of tokens, and the load generator (`crates/serve/examples/load.rs`)."""

import json
import os
import random
import resource
import subprocess
from pathlib import Path

#: Each is one token in the vocabularies of BERT.
WORDS = """the train to coast leaves every morning at seven and arrives just before shops open we like old houses by river
because they are quiet my brother writes long letters about music food and weather in winter she walks home with her dog
after work there was no water left for garden last summer but then rain came from west people here speak of little else""".split()


def text(tokens: int, generator: random.Random) -> str:
    """A text of this many tokens, `[CLS]` and `[SEP]` included."""
    return " ".join(generator.choices(WORDS, k=tokens - 2))


def texts(count: int, tokens: int, seed: int = 1) -> list[str]:
    """The same at every call."""
    generator = random.Random(seed * 1000 + tokens)
    return [text(tokens, generator) for _ in range(count)]


def embeddings(inputs: list[str], name: str) -> list[dict]:
    """A request for each text on OpenAI's route, as its client makes it."""
    return [{"class": name, "path": "/v1/embeddings", "body": json.dumps({"input": one, "encoding_format": "base64"})} for one in inputs]


def embed(inputs: list[str], name: str) -> list[dict]:
    """A request for each text on text-embeddings-inference's route, which the peer has too."""
    return [{"class": name, "path": "/embed", "body": json.dumps({"inputs": one})} for one in inputs]


class Generator:
    """The program, and a folder for the requests it sends."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program, self.folder, self.files = program, folder, 0

    def command(self, address: str, requests: list[dict], **options: float | bool) -> list[str]:
        """Its command line, with the requests in a file; options as it has them, `hashes=True` for a flag."""
        self.files += 1
        file = self.folder / f"requests-{self.files}.jsonl"
        file.write_text("".join(json.dumps(request) + "\n" for request in requests))
        given = [[f"--{name}"] if value is True else [f"--{name}", str(value)] for name, value in options.items()]
        return [str(self.program), "--address", address, "--requests", str(file), *sum(given, [])]

    def run(self, address: str, requests: list[dict], *, patient: bool = False, **options: float | bool) -> dict:
        """What it found, and `client_cores`: how much CPU it took.

        A `patient` one does not stop a thread of the server to send or to read, some thousand times a second:
        it waits until a core is free or a tick of the scheduler (4 ms) is over. So a client on another machine
        would be, but for the CPU that it takes.
        """
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(self.command(address, requests, **options), capture_output=True, text=True, preexec_fn=yield_to_others if patient else None)
        if done.returncode:
            raise RuntimeError(f"load: {done.stderr}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = json.loads(done.stdout)
        found["client_cores"] = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / max(found["seconds"], 1e-9)
        return found

    def start(self, address: str, requests: list[dict], **options: float | bool) -> subprocess.Popen:
        """The same beside others; [`finish`] waits for it."""
        return subprocess.Popen(self.command(address, requests, **options), stdout=subprocess.PIPE, text=True)


def yield_to_others() -> None:
    """This process is scheduled as a batch job, where the system knows them."""
    if hasattr(os, "SCHED_BATCH"):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def finish(process: subprocess.Popen) -> dict:
    """What a generator that was started has found."""
    out, _ = process.communicate()
    return json.loads(out)


def errors(found: dict, allowed: tuple[str, ...] = ("200",)) -> dict[str, int]:
    """Statuses besides those allowed."""
    return {status: count for status, count in found["statuses"].items() if status not in allowed}


def latency(found: dict, name: str, status: str = "200", of: str = "latency") -> dict:
    """Percentiles of a class in milliseconds."""
    return found["classes"].get(name, {}).get(status, {}).get(of) or {"p50": float("nan"), "p90": float("nan"), "p99": float("nan"), "max": float("nan")}
