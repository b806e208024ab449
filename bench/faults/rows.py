"""A job of 10,000 rows with 7 bad ones, and a disk that runs full: what is finished is kept and continued to the same bytes.

    python3 bench/faults/rows.py target/release/polyhead [MODEL]

The full disk is a small tmpfs, which only the administrator can mount; otherwise that part is skipped.
"""

import filecmp
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROWS = 10_000
BAD = {
    17: '{"text": 5}',
    900: "not json",
    2500: '{"txt": "a"}',
    4096: '{"text": "a"',
    6000: '{"text": null}',
    8191: "[1]",
    9999: '{"text": "a\\ud800"}',
}


def main() -> int:
    program = str(Path(sys.argv[1]).resolve())
    model = Path(sys.argv[2] if len(sys.argv) > 2 else "testdata/models/tiny-bert").resolve()

    def encode(rows: str, out: str, *more: str) -> subprocess.CompletedProcess[str]:
        arguments = [program, "encode", "-q", "-i", rows, "-o", out, "-m", str(model), *more]
        return subprocess.run(arguments, capture_output=True, text=True, check=False)

    wrong = []

    def expect(what: str, holds: bool, found: object) -> None:
        print(f"{'ok   ' if holds else 'WRONG'} {what}")
        if not holds:
            wrong.append(f"{what}: {found}")

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        good = [json.dumps({"text": f"the soup number {line}"}) for line in range(1, ROWS + 1)]
        bad = [BAD.get(line, row) for line, row in enumerate(good, 1)]
        write("good.jsonl", good)
        write("bad.jsonl", bad)
        for suffix in ("npy", "jsonl"):
            out, whole = f"v.{suffix}", f"whole.{suffix}"
            encode("good.jsonl", whole)
            rows = list(bad)
            for line in BAD:
                write("rows.jsonl", rows)
                run = encode("rows.jsonl", out, "--resume")
                expect(f"{out}: line {line} fails", run.returncode == 1 and f"line {line}:" in run.stderr, run)
                # The first rows are read before the model is loaded.
                kept = record(out) == line - 1 or line <= 32
                expect(f"{out}: the {line - 1} rows before it are kept", kept, record(out))
                rows[line - 1] = good[line - 1]
            write("rows.jsonl", rows)
            run = encode("rows.jsonl", out, "--resume")
            expect(f"{out}: mended and continued to the same bytes", same(out, whole), run)
            os.remove(out)
            run = encode("bad.jsonl", out, "--on-bad-row", "skip")
            lines = [json.loads(row)["line"] for row in Path(f"{out}.errors.jsonl").read_text().splitlines()]
            expect(f"{out}: skip names the bad rows, exit code 3", run.returncode == 3 and lines == list(BAD), (run, lines))
            os.remove(out)
            full_disk(encode, expect, out, whole)
    print("\n".join(wrong))
    return 1 if wrong else 0


def full_disk(encode, expect, out: str, whole: str) -> None:
    """A disk of 600 kB, then of 60 MB."""
    os.makedirs("disk", exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", "disk"]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        print("SKIPPED: a full disk: tmpfs cannot be mounted here")
        return
    try:
        run = encode("good.jsonl", f"disk/{out}")
        expect(f"{out}: a full disk is an error", run.returncode == 1 and "No space left" in run.stderr, run)
        expect(f"{out}: what is finished stays", record(f"disk/{out}") > 0, os.listdir("disk"))
        subprocess.run(["mount", "-o", "remount,size=60m", "disk"], check=True)
        run = encode("good.jsonl", f"disk/{out}", "--resume")
        expect(f"{out}: continued to the same bytes", same(f"disk/{out}", whole), run)
    finally:
        subprocess.run(["umount", "disk"], check=True)


def write(name: str, rows: list[str]) -> None:
    Path(name).write_text("".join(f"{row}\n" for row in rows))


def record(out: str) -> int:
    """The number of rows that an unfinished output has done."""
    path = Path(f"{out}.partial.json")
    return json.loads(path.read_text())["done"]["rows"] if path.exists() else 0


def same(one: str, other: str) -> bool:
    return os.path.exists(one) and filecmp.cmp(one, other, shallow=False)


if __name__ == "__main__":
    sys.exit(main())
