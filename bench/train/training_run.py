"""Shared by the scripts that call `polyhead train`: the configuration file, and the call with its cost."""

import json
import os
import subprocess
import time
from pathlib import Path


def toml(config: dict) -> str:
    """Tables and lists of tables; no nesting below that."""
    lines = []
    for key, value in config.items():
        tables = [value] if isinstance(value, dict) else value
        for table in tables:
            lines.append(f"[{key}]" if isinstance(value, dict) else f"[[{key}]]")
            # JSON's strings, numbers, booleans and lists of them are TOML's.
            lines += [f"{name} = {json.dumps(item)}" for name, item in table.items()]
    return "\n".join(lines) + "\n"


def measured(command: list, limit: float) -> dict:
    """Runs the command: CPU seconds and peak memory of its process."""
    words = [str(word) for word in command]
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + limit
    while True:
        done, status, usage = os.wait4(child.pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            child.kill()
        time.sleep(0.05)
    if status != 0:
        raise SystemExit(f"failed or took more than {limit:.0f} s: {' '.join(words)}")
    return {"cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_memory": usage.ru_maxrss * 1024}


def write_aside(path: Path, text: str) -> None:
    """So that a script which is stopped leaves the old results or the new ones."""
    aside = path.with_suffix(".tmp")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
