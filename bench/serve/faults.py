"""Faults that a server must survive. Each function gets a bench and returns the problems, and a line about its findings."""

import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from generator import embeddings, errors, finish, latency, texts
from server import Memory, Server

if TYPE_CHECKING:
    from run import Bench

Found = tuple[list[str], str]


def afterwards(server: Server, rest: dict[str, float], others: dict, allowed: tuple[str, ...] = ("200",)) -> list[str]:
    """What is wrong once it is over: answers that others did not get, gauges that do not come back, no answer any more."""
    differ = server.settles(rest)
    checks = {
        f"others: {errors(others, allowed)}": not errors(others, allowed),
        f"gauges: {differ}": not differ,
        "the next request gets no answer": server.works(),
    }
    return [what for what, holds in checks.items() if not holds]


def terminate_under_load(bench: "Bench") -> Found:
    """SIGTERM while 32 clients ask: no request that was taken goes without its answer."""
    wrong = []
    with bench.server() as server:
        load = bench.generator.start(server.address, embeddings(texts(200, 20), "short"), clients=32, seconds=4)
        time.sleep(2)
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        status = server.process.wait(40)
        seconds = time.monotonic() - begun
        found = finish(load)
    unanswered = errors(found, ("200", "503", "refused"))
    if status != 0:
        wrong.append(f"exit status {status}")
    if unanswered:
        wrong.append(f"requests without an answer: {unanswered}")
    return wrong, f"ended in {seconds:.2f} s, exit status {status}, {found['statuses'].get('200', 0)} answers, then {errors(found)}"


def kill_and_restart(bench: "Bench") -> Found:
    """SIGKILL under load, and a start on the same port: ready within a second."""
    server = bench.server()
    load = bench.generator.start(server.address, embeddings(texts(200, 20), "short"), clients=32, seconds=5)
    time.sleep(1)
    server.process.kill()
    server.process.wait()
    begun = time.monotonic()
    with bench.server(port=server.port) as again:
        while again.ask("GET", "/readyz")[0] != 200:
            time.sleep(0.01)
        ready = time.monotonic() - begun
        works = again.works()
        found = finish(load)
    wrong = [f"ready after {ready:.2f} s"] if ready > 1 else []
    if not works:
        wrong.append("the next request gets no answer")
    return wrong, f"ready after {ready:.2f} s; clients saw {errors(found)} and went on"


def dropped_connections(bench: "Bench") -> Found:
    """Clients that go away, in the middle of a request or of its answer, while others ask."""
    wrong, count = [], max(int(10_000 * bench.scale), 500)
    with bench.server() as server:
        rest = server.gauges()
        requests = embeddings(texts(200, 20), "short")
        dropping = bench.generator.start(server.address, requests, drop=count)
        others = bench.generator.run(server.address, requests, rate=20, seconds=max(5 * bench.scale, 2))
        dropped = finish(dropping)
        wrong += afterwards(server, rest, others, ("200", "429"))
        cancelled = server.metrics().get("cancelled_requests_total", 0)
    return wrong, f"{sum(dropped['statuses'].values())} dropped, {cancelled:.0f} of them from the queue; others' p99 {latency(others, 'short')['p99']:.0f} ms; gauges back at rest"


def slow_headers(bench: "Bench") -> Found:
    """200 clients that send a byte of their headers each second."""
    wrong = []
    with bench.server() as server:
        rest = server.gauges()
        slow = [socket.create_connection((server.host, server.port)) for _ in range(200)]
        begun, closed = time.monotonic(), 0.0
        head = b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\nx-long: " + b"y" * 100
        others = bench.generator.start(server.address, embeddings(texts(200, 20), "short"), rate=20, seconds=10)
        for byte in head:
            for one in slow[:]:
                try:
                    one.send(bytes([byte]))
                    one.setblocking(False)
                    # An end, or an answer (408) with an end behind it.
                    one.recv(1000)
                    slow.remove(one)
                    one.close()
                except BlockingIOError:
                    one.setblocking(True)
                except OSError:
                    slow.remove(one)
                    one.close()
            closed = time.monotonic() - begun
            if not slow or closed > 40:
                break
            time.sleep(1)
        found = finish(others)
        if slow:
            wrong.append(f"{len(slow)} of 200 are still open after {closed:.0f} s")
        wrong += afterwards(server, rest, found)
    return wrong, f"all closed after {closed:.0f} s; others' p99 {latency(found, 'short')['p99']:.1f} ms"


def idle_connections(bench: "Bench") -> Found:
    """1,000 connections that have asked once and wait, and 16 clients beside them."""
    wrong = []
    with bench.server() as server:
        rest, memory = server.gauges(), server.rss_mb()
        idle = []
        for _ in range(1000):
            one = socket.create_connection((server.host, server.port), timeout=5)
            one.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            if not one.recv(1000).startswith(b"HTTP/1.1 200"):
                wrong.append("an idle connection got no answer")
                break
            idle.append(one)
        found = bench.generator.run(server.address, embeddings(texts(200, 20), "short"), clients=16, seconds=max(5 * bench.scale, 2))
        grown = server.rss_mb() - memory
        for one in idle:
            one.close()
        wrong += afterwards(server, rest, found)
    return wrong, f"others: {found['throughput']:.0f}/s, p99 {latency(found, 'short')['p99']:.0f} ms; {grown:.0f} MB more; gauges back at rest"


def memory_limit(bench: "Bench") -> Found:
    """A limit on the server's memory; ten clients leave large answers unread, twelve ask for more of them, others for little."""
    wrong, limit = [], 1536 << 20
    with bench.server(wrapper=("prlimit", f"--data={limit}")) as server:
        rest = server.gauges()
        # About 100 MB of JSON.
        body = json.dumps({"inputs": ["the train to the coast leaves at seven " * 30] * 100}).encode()
        head = f"POST /embed_all HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        statuses, deaf, end = Counter(), [], time.monotonic() + max(25 * bench.scale, 8)

        def leave_unread() -> None:
            while time.monotonic() < end:
                one = socket.create_connection((server.host, server.port))
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                one.sendall(head + body)
                if one.recv(12).endswith(b"200"):
                    deaf.append(one)
                    return
                one.close()
                time.sleep(0.2)

        def ask_for_more() -> None:
            while time.monotonic() < end:
                try:
                    status, _ = server.ask("POST", "/embed_all", body, timeout=60)
                except OSError as error:
                    status = type(error).__name__
                statuses[status] += 1
                if status != 200:
                    time.sleep(0.2)

        others = bench.generator.start(server.address, embeddings(texts(200, 20), "short"), rate=20, seconds=max(25 * bench.scale, 8))
        clients = [threading.Thread(target=leave_unread) for _ in range(10)] + [threading.Thread(target=ask_for_more) for _ in range(12)]
        with Memory(server) as memory:
            for client in clients:
                client.start()
            for client in clients:
                client.join()
        refused = server.refused("memory_full")
        for one in deaf:
            one.close()
        found = finish(others)
        if server.process.poll() is not None:
            return [f"the server has ended with {server.process.returncode}"], f"statuses {dict(statuses)}"
        if set(statuses) - {200, 429} or not deaf or not refused:
            wrong.append(f"statuses {dict(statuses)}, {refused} for want of memory")
        wrong += afterwards(server, rest, found)
    return wrong, f"at most {memory.peak:.0f} MB with a limit of {limit >> 20}; {len(deaf)} answers unread; {dict(statuses)}, {refused} for want of memory; others' p99 {latency(found, 'short')['p99']:.0f} ms; gauges back at rest"


def reload_under_load(bench: "Bench") -> Found:
    """SIGHUP five times while 16 clients ask: no request without its answer."""
    wrong = []
    with bench.server() as server:
        rest, before = server.gauges(), server.metrics().get("reloads_total", 0)
        load = bench.generator.start(server.address, embeddings(texts(200, 20), "short"), clients=16, seconds=6)
        for _ in range(5):
            time.sleep(1)
            server.process.send_signal(signal.SIGHUP)
        found = finish(load)
        reloads = server.metrics().get("reloads_total", 0) - before
        # A signal that comes while a model is being loaded may be one with the next.
        if not 2 <= reloads <= 5:
            wrong.append("no model was loaded again")
        wrong += afterwards(server, rest, found)
    return wrong, f"{reloads:.0f} reloads, {found['statuses'].get('200', 0)} answers, p99 {latency(found, 'short')['p99']:.0f} ms"


def slow_reader(bench: "Bench") -> Found:
    """A client that reads steadily, but for longer than 75 s, which is the time of an idle connection."""
    wrong, seconds = [], max(100 * bench.scale, 3)
    body = json.dumps({"inputs": ["the train to the coast leaves at seven " * 30] * 30}).encode()
    with bench.server() as server:
        rest, size = server.gauges(), len(server.ask("POST", "/embed_all", body, timeout=60)[1])
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        one.settimeout(20)
        one.connect((server.host, server.port))
        one.sendall(f"POST /embed_all HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        received, begun, tail = 0, time.monotonic(), b""
        while not tail.endswith(b"]]]") and (part := one.recv(1 << 14)):
            received, tail = received + len(part), (tail + part)[-3:]
            time.sleep(max(0.0, received / size * seconds - (time.monotonic() - begun)))
        took = time.monotonic() - begun
        one.close()
        if received < size:
            wrong.append(f"the connection ended after {received} of {size} bytes")
        wrong += afterwards(server, rest, {"statuses": {"200": 1}})
    return wrong, f"{received / 1e6:.1f} of {size / 1e6:.1f} MB in {took:.0f} s"


def unread_log(bench: "Bench") -> Found:
    """Standard error is a pipe that nothing reads: every request is answered, and SIGTERM ends the server."""
    wrong, count = [], 3000
    reader, writer = os.pipe()
    with bench.server(log=Path(f"/dev/fd/{writer}")) as server:
        answered = sum(server.ask("GET", "/livez", timeout=5)[0] == 200 for _ in range(count))
        begun = time.monotonic()
        status = server.stop()
        seconds = time.monotonic() - begun
    os.close(reader)
    os.close(writer)
    if answered < count or status != 0 or seconds > 5:
        wrong.append(f"{answered} of {count} answered, exit status {status} after {seconds:.1f} s")
    return wrong, f"{answered} answers, ended after {seconds:.1f} s"


FAULTS = (slow_reader, unread_log, terminate_under_load, kill_and_restart, dropped_connections, slow_headers, idle_connections, memory_limit, reload_under_load)
