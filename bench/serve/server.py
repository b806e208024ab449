"""Starts a server, sends requests to it, and observes its process. Standard library only."""

import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

#: Gauges that are at rest without requests; a look at them may itself be the one request in flight.
GAUGES = ("queue_tokens", "queue_texts", "queue_requests", "running_tokens", "tokenizing_bytes", "requests_in_flight", "connections", "abandoned_threads")


class Server:
    """A process that says `listening on http://…` once it accepts."""

    def __init__(self, command: list[str], log: Path | None = None) -> None:
        self.command = command
        begun = time.monotonic()
        with open(log or os.devnull, "a") as stderr:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        line = self.process.stdout.readline()
        found = re.match(r"listening on http://(\S+):(\d+)", line)
        if not found:
            self.process.wait()
            raise RuntimeError(f"{' '.join(command)}: expected `listening on`, found {line!r}, exit status {self.process.returncode}")
        self.host, self.port = found[1], int(found[2])
        self.start_seconds = time.monotonic() - begun

    @classmethod
    def polyhead(cls, binary: Path, model: str | None, *arguments: str, port: int = 0, log: Path | None = None, wrapper: tuple[str, ...] = ()) -> "Server":
        """`polyhead serve`; without a model, the built-in one. `wrapper` is a command that becomes this one."""
        return cls([*wrapper, str(binary), "serve", *([model] if model else []), "--port", str(port), *arguments], log)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def stop(self) -> int:
        """Ends in good order; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def ask(self, method: str, path: str, body: object = None, timeout: float = 30) -> tuple[int, bytes]:
        """Status and body; a body that is not bytes is sent as JSON."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body)
            connection.request(method, path, data, {"content-type": "application/json"} if data else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def json(self, path: str) -> dict:
        """The JSON at `path`."""
        status, body = self.ask("GET", path)
        if status != 200:
            raise RuntimeError(f"GET {path}: status {status}")
        return json.loads(body)

    def metrics(self) -> dict[str, float]:
        """All metrics without labels, without the prefix."""
        _, body = self.ask("GET", "/metrics")
        return {name: float(value) for name, value in re.findall(r"^polyhead_(\w+) (\S+)$", body.decode(), re.M)}

    def refused(self, reason: str) -> int:
        """Requests that got no answer for this reason."""
        _, body = self.ask("GET", "/metrics")
        found = re.search(rf'^polyhead_rejected_total\{{reason="{reason}"\}} (\d+)$', body.decode(), re.M)
        return int(found[1]) if found else 0

    def gauges(self) -> dict[str, float]:
        """Those of [`GAUGES`]."""
        found = self.metrics()
        return {name: found[name] for name in GAUGES if name in found}

    def settles(self, rest: dict[str, float], seconds: float = 10) -> dict[str, float]:
        """Waits until the gauges are as at `rest`; what differs at the end."""
        end = time.monotonic() + seconds
        while True:
            now = self.gauges()
            differ = {name: value for name, value in now.items() if value > rest.get(name, 0)}
            if not differ or time.monotonic() > end:
                return differ
            time.sleep(0.1)

    def works(self) -> bool:
        """Whether a good request gets its answer soon."""
        try:
            return self.ask("POST", "/v1/embeddings", {"input": "Good morning."}, timeout=5)[0] == 200
        except OSError:
            return False

    def rss_mb(self) -> float:
        """Resident memory."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        return int(found[1]) / 1024

    def cpu_seconds(self) -> float:
        """Of all its threads so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Memory:
    """Samples a server's memory while a `with` block runs: `[(seconds, MB)]`."""

    def __init__(self, server: Server, every: float = 0.25) -> None:
        self.server, self.every, self.samples = server, every, []
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self) -> None:
        """Until the block ends."""
        begun = time.monotonic()
        while True:
            self.samples.append((time.monotonic() - begun, self.server.rss_mb()))
            if self.done.wait(self.every):
                return

    def __enter__(self) -> "Memory":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    @property
    def peak(self) -> float:
        return max(megabytes for _, megabytes in self.samples)

    def slope(self, leave_out: float = 0.25) -> float:
        """MB a minute by least squares, without the beginning, in which memory is first used."""
        kept = self.samples[int(len(self.samples) * leave_out):]
        t, m = (sum(column) / len(kept) for column in zip(*kept))
        spread = sum((a - t) ** 2 for a, _ in kept)
        return 60 * sum((a - t) * (b - m) for a, b in kept) / spread if spread else 0.0
