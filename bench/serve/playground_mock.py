"""A stand-in for `polyhead serve` with answers made from hashes, to test the page without a model.

The words of a text choose its answers, so they are the same in every run; `!slow`, `!429`, `!500`, `!html`
and `!drop` in a text cause the errors that the page must handle.
"""

import hashlib
import json
import math
import re
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

PAGE = Path(__file__).resolve().parents[2] / "crates/serve/src/page"
DIMENSION = 64
LIMIT = 32
EMOTIONS = """admiration amusement anger annoyance approval caring confusion curiosity desire disappointment disapproval disgust
embarrassment excitement fear gratitude grief joy love nervousness optimism pride realization relief remorse sadness surprise neutral""".split()
LONG = ["Delivery, shipping and customs clearance of international orders", "Rechtsschutzversicherungsgesellschaften",
        "account-and-password-reset/self-service", "שאלות כלליות", "None of the above"]
TASKS = {
    "topic": {"kind": "classification", "labels": ["restaurant", "movie", "product"]},
    "sentiment": {"kind": "classification", "labels": ["negative", "positive"]},
    "emotions": {"kind": "multilabel", "labels": EMOTIONS},
    "urgency": {"kind": "regression", "labels": []},
    "relevance": {"kind": "regression", "labels": [], "pair": "joint"},
    "entities": {"kind": "tokens", "labels": ["O"] + [f"{b}-{kind}" for kind in ("PER", "LOC", "ORG") for b in "BI"]},
    "department": {"kind": "classification", "labels": LONG},
}
PEOPLE = {"Marie", "Curie", "Ada", "Lovelace", "Charles", "Babbage"}
PLACES = {"Warsaw", "London", "Lisbon", "München"}


class Mock:
    """A server on a free port of the loopback device, until the process ends."""

    def __init__(self, tasks: tuple[str, ...], key: str | None = None, input: dict | None = None) -> None:
        self.tasks, self.key, self.input, self.asked = tasks, key, input, []
        handler = type("Bound", (Handler,), {"mock": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        # A client that goes away is part of what is tried.
        self.server.handle_error = lambda *_: None
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def model(self) -> dict:
        """The body of `GET /v1/model`."""
        return {"model": "mock-encoder", "names": ["mock-encoder"], "version": "0", "tasks": [{"name": name} | TASKS[name] for name in self.tasks], "input": self.input,
                "embedding": {"dimension": DIMENSION, "pooling": ["mean"]}, "prompts": [], "limits": {"tokens_per_text": LIMIT, "texts_per_request": 2048}}

    def composed(self, one: str | dict | list) -> str:
        """The text of an input."""
        if isinstance(one, str):
            return one
        if isinstance(one, list):
            return " | ".join(one)
        if "template" in self.input:
            return self.input["template"].format(**one)
        return self.input["join"].join(filter(None, (one[name] for name in self.input["fields"])))


class Handler(BaseHTTPRequestHandler):
    """The routes that the page uses."""

    mock: Mock
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Keeps quiet."""

    def send(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        """Sends a whole answer; underscores of header names become hyphens."""
        self.send_response(status)
        for name, value in {"content_type": kind, "content_length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, message: str, **headers: str) -> None:
        """Sends an error as the server words it."""
        self.send(status, json.dumps({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}).encode(), **headers)

    def allowed(self) -> bool:
        """Whether the key is right; answers 401 if not."""
        if self.mock.key is None or self.headers.get("authorization") == f"Bearer {self.mock.key}":
            return True
        self.refuse(401, "expected a key of this server as `Authorization: Bearer …`, found " + ("another" if self.headers.get("authorization") else "none"))
        return False

    def do_GET(self) -> None:  # noqa: N802
        """The page, and what the model is."""
        if page := {"/": "playground", "/docs": "docs"}.get(self.path):
            policy = (PAGE / f"{page}-policy.txt").read_text().strip()
            self.send(200, (PAGE / f"{page}.html").read_bytes(), "text/html; charset=utf-8", content_security_policy=policy)
        elif self.path == "/openapi.json":
            self.send(200, (PAGE.parents[1] / "openapi.json").read_bytes())
        elif self.path == "/v1/model" and self.allowed():
            self.send(200, json.dumps(self.mock.model()).encode())
        elif self.path != "/v1/model":
            self.refuse(404, f"no route {self.path}")

    def do_POST(self) -> None:  # noqa: N802
        """Answers, or the trouble that a text asks for."""
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.mock.asked.append(request.copy())
        request["inputs"] = [self.mock.composed(one) for one in request["inputs"]]
        every = " ".join(request["inputs"])
        if not self.allowed():
            return
        if "!slow" in every:
            time.sleep(2)
        if "!429" in every:
            return self.refuse(429, "the queue is full: 65536 of 65536 tokens are waiting", retry_after="2")
        if "!500" in every:
            return self.refuse(500, "text 1: the head `topic` gave a number that is not finite")
        if "!html" in every:
            return self.send(502, b"<html><h1>Bad gateway</h1></html>", "text/html")
        if "!drop" in every:
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        for index, text in enumerate(request["inputs"]):
            tokens = count_tokens(text)
            if tokens > LIMIT and not request.get("truncate"):
                return self.refuse(400, f'inputs: text {index + 1}: expected at most {LIMIT} tokens, found {tokens}; shorten it, or ask with `"truncate": true`')
        answers = [answer(text, request["tasks"]) for text in request["inputs"]]
        usage = {"texts": len(answers), "tokens": sum(one["tokens"] for one in answers), "truncated": sum(one["truncated"] for one in answers)}
        timings = {"tokenize_ms": 0.08, "queue_ms": 0.31, "inference_ms": 1.9 * len(answers), "total_ms": 2.4 * len(answers)}
        self.send(200, json.dumps({"model": "mock-encoder", "answers": answers, "usage": usage, "timings": timings}, ensure_ascii=False).encode())


def count_tokens(text: str) -> int:
    return len(re.findall(r"\w+|[^\w\s]", text)) + 2


def chance(*parts: str) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:6], "big") / 2**48


def answer(text: str, tasks: list[str]) -> dict:
    """The answers of every asked task to one text."""
    tokens = count_tokens(text)
    found = {"tokens": tokens, "truncated": tokens > LIMIT, "tasks": {name: head(text, name) for name in tasks if name != "embedding"}}
    if "embedding" in tasks:
        found["embedding"] = embed(text)
    return found


def head(text: str, name: str) -> dict:
    """The answer of one head."""
    task = TASKS[name]
    if task["kind"] == "regression":
        return {"value": round(chance(text, name) * 4 - (0.5 if "!" in text else 0), 4)}
    if task["kind"] == "tokens":
        return {"spans": spans(text)}
    if task["kind"] == "multilabel":
        probabilities = {label: chance(text, name, label) ** 9 for label in task["labels"]}
        return {"labels": [label for label, p in probabilities.items() if p >= 0.5], "probabilities": probabilities}
    weights = {label: math.exp(7 * chance(text, name, label)) for label in task["labels"]}
    probabilities = {label: weight / sum(weights.values()) for label, weight in weights.items()}
    best = max(probabilities, key=probabilities.get)
    return {"label": best, "probability": probabilities[best], "probabilities": probabilities}


def spans(text: str) -> list[dict]:
    """Known names and places; neighbours are one span. Python's offsets are Unicode scalar values, as the server's."""
    found: list[dict] = []
    for match in re.finditer(r"\w+", text):
        kind = "PER" if match[0] in PEOPLE else "LOC" if match[0] in PLACES else None
        if kind and found and found[-1]["label"] == kind and match.start() == found[-1]["end"] + 1:
            found[-1]["end"] = match.end()
        elif kind:
            found.append({"label": kind, "start": match.start(), "end": match.end(), "score": 0.8 + 0.19 * chance(text, match[0])})
    return [span | {"text": text[span["start"]:span["end"]]} for span in found]


def embed(text: str) -> list[float]:
    """The sum of a vector for each word, of length 1."""
    total = [0.3] * DIMENSION
    for word in re.findall(r"\w+", text.lower()):
        for i in range(DIMENSION):
            total[i] += chance(word, str(i)) * 2 - 1
    length = math.sqrt(sum(x * x for x in total))
    return [x / length for x in total]
