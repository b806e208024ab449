#!/usr/bin/env python3
"""Sends random good and bad requests to a server for 20 minutes: every status must be the expected one, and memory must not grow.

    python3 bench/serve/soak.py target/release/polyhead --minutes 20
"""

import argparse
import json
import random
import re
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import museum
from generator import WORDS
from server import Memory, Server

#: MB a minute.
SLOPE = 1.0
GOOD = (200, 429)
#: Where a number should be. Base64 may have these letters too, but not behind such a sign.
NOT_A_NUMBER = re.compile(rb"[\[,](?:null|NaN|-?inf)|value\":\s*null")


class Soak:
    """What the threads share."""

    def __init__(self, server: Server, seconds: float) -> None:
        self.server, self.end = server, time.monotonic() + seconds
        self.lock = threading.Lock()
        self.statuses: Counter = Counter()
        self.surprises: list[str] = []
        # Large bodies are slow to make and to send, and what takes the server's patience takes ours: seldom.
        pieces = [piece for piece in museum.pieces() if not piece.half_close]
        self.small = [piece for piece in pieces if len(piece.raw) < 200_000]
        self.large = [piece for piece in pieces if len(piece.raw) >= 200_000]
        self.tasks = [task["name"] for task in server.json("/v1/model")["tasks"]] + ["embedding"]

    def client(self, seed: int) -> None:
        """Until the end."""
        generator = random.Random(seed)
        while time.monotonic() < self.end:
            kind = generator.random()
            try:
                if kind < 0.6:
                    self.good(generator)
                elif kind < 0.98:
                    self.bad(generator.choice(self.small))
                elif kind < 0.99:
                    self.bad(generator.choice(self.large))
                else:
                    self.go_away(generator)
            except OSError as error:
                self.note("error", f"{type(error).__name__}: {error}")

    def note(self, status: object, surprise: str | None = None) -> None:
        """Counts an answer."""
        with self.lock:
            self.statuses[str(status)] += 1
            if surprise:
                self.surprises.append(surprise)
                if len(self.surprises) <= 20:
                    print(f"  {surprise}", file=sys.stderr, flush=True)

    def good(self, generator: random.Random) -> None:
        """A request that must be answered, or refused for want of room."""
        path, body = random_request(generator, self.tasks)
        status, answer = self.server.ask("POST", path, body)
        self.note(status, None if status in GOOD else f"{path} {json.dumps(body):.200}: status {status} {answer[:200]!r}")
        # Special tokens have no place in the text; nothing else may be null.
        if status == 200 and path != "/tokenize" and NOT_A_NUMBER.search(answer):
            self.note(status, f"{path}: an answer with null: {answer[:200]!r}")

    def bad(self, piece: museum.Piece) -> None:
        """A piece of the museum; the queue may be full before it is looked at."""
        piece = museum.Piece(**{**vars(piece), "statuses": (*piece.statuses, 429)})
        self.note("museum", museum.try_piece(self.server, piece))

    def go_away(self, generator: random.Random) -> None:
        """A client without patience."""
        path, body = random_request(generator, self.tasks)
        try:
            self.server.ask("POST", path, body, timeout=0.001 + generator.random() * 0.01)
        except OSError:
            pass
        self.note("went away")


def random_request(generator: random.Random, tasks: list[str]) -> tuple[str, dict]:
    """A good request on any route."""
    def text() -> str:
        if generator.random() < 0.3:
            planes = ((32, 126), (160, 1500), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0x1F300, 0x1FAFF))
            return "".join(chr(generator.randint(*generator.choice(planes))) for _ in range(generator.randint(1, 60))).strip() or "a"
        return " ".join(generator.choices(WORDS, k=int(generator.paretovariate(0.8)) % 180 + 1))

    inputs = [text() for _ in range(min(int(generator.paretovariate(1.2)), 40))]
    match generator.randrange(6):
        case 0:
            return "/v1/embeddings", {"input": inputs, "encoding_format": generator.choice(["float", "base64"]), "truncate": True}
        case 1:
            return "/v1/predict", {"inputs": inputs, "tasks": generator.sample(tasks, generator.randint(1, len(tasks))), "truncate": True}
        case 2:
            return "/embed", {"inputs": inputs, "truncate": True}
        case 3:
            return "/tokenize", {"inputs": inputs}
        case 4:
            return "/embed_all", {"inputs": inputs, "truncate": True}
        case _:
            return "/similarity", {"inputs": {"source_sentence": text(), "sentences": inputs}, "parameters": {"truncate": True}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path)
    parser.add_argument("--model", help="model to serve [default: the built-in one]")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--out", type=Path, help="memory samples and statuses as JSON")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", file=sys.stderr)
    with Server.polyhead(arguments.binary, arguments.model) as server:
        rest = server.gauges()
        soak = Soak(server, arguments.minutes * 60)
        with Memory(server, every=1.0) as memory:
            threads = [threading.Thread(target=soak.client, args=(arguments.seed * 1000 + i,)) for i in range(arguments.clients)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        differ = server.settles(rest)
        works, restarts = server.works(), server.metrics().get("restarts_total", 0)
    slope = memory.slope()
    wrong = [*([f"{len(soak.surprises)} surprises"] if soak.surprises else []), *([f"gauges {differ}"] if differ else []),
             *([] if works else ["does not answer"]), *([f"{restarts:.0f} restarts"] if restarts else []), *([f"{slope:.2f} MB/min"] if slope > SLOPE else [])]
    print("| what | bar | found | holds |\n| --- | --- | --- | --- |")
    print(f"| soak | {arguments.minutes:g} min of good and bad requests: memory ≤ {SLOPE:g} MB/min, 0 unexpected statuses | "
          f"{dict(soak.statuses)}; {slope:+.2f} MB/min, at most {memory.peak:.0f} MB; wrong: {', '.join(wrong) or 'nothing'} | {'NO' if wrong else 'yes'} |")
    if arguments.out:
        arguments.out.write_text(json.dumps({"seed": arguments.seed, "statuses": soak.statuses, "surprises": soak.surprises, "memory": memory.samples, "slope": slope}, indent=1) + "\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
