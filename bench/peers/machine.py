"""Describes the machine, and the CPU use of other processes during a measurement. Linux only."""

import os
import platform
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
FLAGS = {"avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"}


def describe() -> dict:
    """CPU, kernel and memory, as far as a benchmark's reader may want to know."""
    cpu = dict(pair for pair in map(_field, Path("/proc/cpuinfo").read_text().splitlines()) if pair)
    memory = dict(pair for pair in map(_field, Path("/proc/meminfo").read_text().splitlines()) if pair)
    return {
        "cpu": f"{cpu.get('model name', platform.machine())} (family {cpu.get('cpu family')}, model {cpu.get('model')})",
        "simd": sorted(FLAGS & set(cpu.get("flags", "").split())),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory["MemTotal"].split()[0]) / 2**20, 1),
        "kernel": platform.release(),
    }


def _field(line: str) -> tuple[str, str] | None:
    key, colon, value = line.partition(":")
    return (key.strip(), value.strip()) if colon else None


def busy_seconds() -> float:
    """CPU time that all processes of this machine have used, in core seconds."""
    user, nice, system, _idle, _wait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS


def process_seconds(pid: int) -> float:
    """CPU time of one process with all its threads."""
    # The command's name may hold blanks; it ends at the last parenthesis.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_memory_mb(pid: int) -> float:
    """The most memory a process has held so far."""
    status = dict(pair for pair in map(_field, Path(f"/proc/{pid}/status").read_text().splitlines()) if pair)
    return round(int(status["VmHWM"].split()[0]) / 1024, 1)
