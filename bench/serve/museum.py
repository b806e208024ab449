"""Requests that have broken servers, with the correct status of each."""

import json
import socket
from dataclasses import dataclass

from server import Server

OPENAI, OWN, TEI = "/v1/embeddings", "/v1/predict", "/embed"
CLOSED = 0
"""In place of a status: the connection is closed without an answer, which only requests that are not HTTP may see."""


@dataclass
class Piece:
    """A thing of the museum."""

    name: str
    raw: bytes
    statuses: tuple[int, ...]
    #: Whether an error has a body in JSON: all but what never was a request of HTTP.
    envelope: bool = True
    #: Whether the client says that it sends no more.
    half_close: bool = False


def post(path: str, body: bytes | str | object, kind: str | None = "application/json", *headers: str) -> bytes:
    """A whole request. Text and bytes are sent as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "host: localhost", f"content-length: {len(data)}", *([f"content-type: {kind}"] if kind else []), *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def pieces() -> list[Piece]:
    """All of it."""
    found = []
    for path, field, bad in ((OPENAI, "input", 400), (OWN, "inputs", 400), (TEI, "inputs", 422)):
        def add(name: str, value: object, *statuses: int) -> None:
            found.append(Piece(f"{path} {name}", post(path, {field: value}), statuses))
        def add_raw(name: str, body: bytes | str, *statuses: int) -> None:
            found.append(Piece(f"{path} {name}", post(path, body), statuses))
        add("empty list", [], 400)
        add("empty text", "", 200, 400)
        add("empty text among others", ["a", "", "b"], 200, 400)
        add("blanks", " \t\n\r\u00a0\u3000", 200, 400)
        add("NUL", "a\0b", 200)
        add("all control characters", "".join(map(chr, range(32))), 200, 400)
        add_raw("lone surrogate", f'{{"{field}": "\\ud800"}}', 400)
        add_raw("lone surrogate, low", f'{{"{field}": "a\\udc00b"}}', 400)
        add("private use, noncharacters, tags", "\ue000\uffff\U000e0041\U0010ffff", 200)
        add("1,000 combining marks", "a" + "\u0301" * 1000, 200, bad)
        add("right to left and joiners", "\u202e\u200f\u200d\u2066abc", 200)
        for name, value in (("number", 5), ("null", None), ("true", True), ("object", {"a": 1}), ("list of null", [None]), ("list of objects", [{"text": "a"}]), ("list in list", [["a"]]), ("list in list in list", [[["a"]]])):
            add(name, value, bad)
        add("negative token id", [-1], bad)
        add("huge token id", [2**63], bad)
        add("fractional token id", [1.5], bad)
        add("token ids", [101, 102], bad)
        add("text and token id", ["a", 1], bad)
        add("6,000 texts", ["a"] * 6000, bad, 413)
        add("a text of 10 MB", "a" * 10_000_000, 413)
        add("a text of 300 kB without a blank", "a" * 300_000, bad)
        add("a text of 300 kB of words", "word " * 60_000, bad)
        add("100 kB of one word", "x" * 100_000, 200, bad)
        add_raw("deep lists", f'{{"{field}": ' + "[" * 200_000, 400, bad)
        add_raw("deep objects", '{"a":' * 100_000, 400)
        add_raw("deep unknown field", f'{{"{field}": "a", "b": {"[" * 10_000}{"]" * 10_000}}}', 200, 400, bad)
        add_raw("field twice", f'{{"{field}": "a", "{field}": "b"}}', bad, 400)
        add_raw("bad UTF-8", b'{"' + field.encode() + b'": "a\xff\xfe"}', 400)
        add_raw("overlong UTF-8", b'{"' + field.encode() + b'": "\xc0\x80"}', 400)
        add_raw("UTF-16", json.dumps({field: "a"}).encode("utf-16"), 400)
        add_raw("byte order mark", b"\xef\xbb\xbf" + json.dumps({field: "a"}).encode(), 200, 400)
        add_raw("no body", "", 400)
        add_raw("not an object", "[]", bad, 400)
        add_raw("cut off", f'{{"{field}": "a', 400)
        add_raw("more behind it", f'{{"{field}": "a"}} x', 400)
        add_raw("NaN", f'{{"{field}": NaN}}', 400)
        add_raw("number beyond f64", f'{{"{field}": 1e999}}', 400, bad)
        add_raw("100,000 digits", f'{{"{field}": {"9" * 100_000}}}', 400, bad)
        add_raw("field missing", "{}", bad)
        found.append(Piece(f"{path} form", post(path, f"{field}=a", "application/x-www-form-urlencoded"), (415,)))
        found.append(Piece(f"{path} no content type", post(path, {field: "a"}, None), (415,)))
        found.append(Piece(f"{path} odd content type", post(path, {field: "a"}, "application/json; charset=utf-8"), (200,)))
        found.append(Piece(f"{path} said to be compressed", post(path, {field: "a"}, "application/json", "content-encoding: gzip"), (415,)))
        found.append(Piece(f"{path} GET", f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode(), (405,)))
        found.append(Piece(f"{path} truncate is a text", post(path, {field: "a", "truncate": "yes"}), (bad,)))
        for value in (0, -1, 100_000, 2**70, "8"):
            found.append(Piece(f"{path} dimensions {value}", post(path, {field: "a", "tasks": ["embedding"], "dimensions": value} if path == OWN else {field: "a", "dimensions": value}), (bad,)))
    return found + single()


def single() -> list[Piece]:
    """Things of one route, and things that are not HTTP."""
    good = json.dumps({"input": "a"}).encode()
    head = b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    not_http = dict(envelope=False)
    return [
        Piece("unknown task", post(OWN, {"inputs": "a", "tasks": ["nonsense"]}), (400,)),
        Piece("task twice", post(OWN, {"inputs": "a", "tasks": ["embedding", "embedding"]}), (200, 400)),
        Piece("unknown model", post(OPENAI, {"input": "a", "model": "nonsense"}), (404,)),
        Piece("unknown encoding", post(OPENAI, {"input": "a", "encoding_format": "hex"}), (400,)),
        Piece("unknown route", post("/v1/nonsense", {}), (404,)),
        Piece("path with dots", post("/../../etc/passwd", {}), (400, 404)),
        Piece("path of 100 kB", post("/" + "a" * 100_000, {}), (404, 414, 431, 400, CLOSED), envelope=False),
        Piece("similarity of nothing", post("/similarity", {"inputs": {"source_sentence": "a", "sentences": []}}), (400, 422)),
        Piece("chunked", head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(good), good), (200,)),
        Piece("compressed and chunked", head + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", (501,)),
        Piece("another host", b"GET /v1/model HTTP/1.1\r\nhost: evil.example\r\n\r\n", (403,)),
        Piece("two hosts", b"GET /v1/model HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n", (400,)),
        Piece("a path that is not UTF-8", b"GET /v1/models/%ff HTTP/1.1\r\nhost: localhost\r\n\r\n", (400,)),
        Piece("chunked without end", head + b"transfer-encoding: chunked\r\n\r\n5\r\n{\"inp\r\n", (400, 408, CLOSED), half_close=True),
        Piece("chunk of a size that is none", head + b"transfer-encoding: chunked\r\n\r\nzz\r\n", (400, CLOSED), half_close=True),
        Piece("chunk of 2^64 bytes", head + b"transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n", (400, 413, CLOSED), half_close=True),
        Piece("body shorter than said", head + b"content-length: 100\r\n\r\n{}", (400, CLOSED), half_close=True),
        Piece("body of 10 GB announced", head + b"content-length: 10000000000\r\n\r\n{", (413,)),
        Piece("two lengths", head + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}", (400,), **not_http),
        Piece("length and chunks", head + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", (400, CLOSED), **not_http),
        Piece("negative length", head + b"content-length: -1\r\n\r\n", (400,), **not_http),
        Piece("NUL in a header", head + b"x: \0\r\ncontent-length: 2\r\n\r\n{}", (400,), **not_http),
        Piece("1,000 headers", head + b"x: y\r\n" * 1000 + b"content-length: 2\r\n\r\n{}", (400, 431), **not_http),
        Piece("header of 1 MB", head + b"x: " + b"y" * 1_000_000 + b"\r\n\r\n", (400, 431, CLOSED), **not_http),
        Piece("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n", (400, CLOSED), **not_http),
        Piece("HTTP/2 without asking", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505, CLOSED), **not_http),
        Piece("HTTP/9", b"GET / HTTP/9.9\r\nhost: localhost\r\n\r\n", (400, 505, CLOSED), **not_http),
        Piece("nothing", b"", (CLOSED,), half_close=True, **not_http),
    ]


def try_piece(server: Server, piece: Piece, timeout: float = 15) -> str | None:
    """What is wrong with the answer, if anything."""
    found, body = exchange(server, piece, timeout)
    told = f"{piece.name}: expected {' or '.join(map(str, piece.statuses))}, found {found}"
    if found not in piece.statuses:
        return f"{told} {body[:200]!r}"
    if piece.envelope and found >= 400:
        try:
            error = json.loads(body)["error"]
            message = error["message"] if isinstance(error, dict) else error
        except (ValueError, KeyError, TypeError):
            return f"{piece.name}: status {found} without the envelope: {body[:200]!r}"
        if not isinstance(message, str) or not message or len(message) > 1000:
            return f"{piece.name}: message {message!r:.100}"
    return None


def exchange(server: Server, piece: Piece, timeout: float) -> tuple[int | str, bytes]:
    """Sends the bytes; status and body of the answer."""
    answer = b""
    with socket.create_connection((server.host, server.port), timeout=timeout) as connection:
        try:
            connection.sendall(piece.raw)
            if piece.half_close:
                connection.shutdown(socket.SHUT_WR)
        except (ConnectionResetError, BrokenPipeError):
            pass  # The server may answer before it has read everything.
        try:
            while not complete(answer):
                more = connection.recv(1 << 16)
                if not more:
                    break
                answer += more
        except ConnectionResetError:
            pass
        except TimeoutError:
            return "no answer", answer
    head, _, body = answer.partition(b"\r\n\r\n")
    return (int(head[9:12]) if head.startswith(b"HTTP/1.") else CLOSED), body


def complete(answer: bytes) -> bool:
    """Whether head and body are there."""
    head, end, body = answer.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    return bool(end) and b"content-length" in fields and len(body) >= int(fields[b"content-length"])
