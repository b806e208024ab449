"""Makes what the comparison needs: Python environments, exported models, the Rust worker."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]


def python_environment(folder: Path, requirements: str, extra: list[str]) -> Path:
    """The interpreter of a virtual environment, made if it is not complete yet."""
    python = folder / "bin/python"
    finished = folder / "finished.txt"
    wanted = (HERE / requirements).read_text() + "\n".join(extra)
    if not finished.exists() or finished.read_text() != wanted:
        run([sys.executable, "-m", "venv", str(folder)])
        run([str(python), "-m", "pip", "install", "--quiet", "-r", str(HERE / requirements), *extra])
        finished.write_text(wanted)
    return python


def export_models(python: Path, model: Path, out: Path, presets: list[str], openvino: bool) -> None:
    """ONNX, int8 and perhaps OpenVINO files of the model."""
    command = [str(python), str(HERE / "export.py"), "--model", str(model), "--out", str(out), "--int8", *presets]
    run(command + ["--openvino"] * openvino)


def rust_worker() -> Path:
    """Builds Polyhead's worker."""
    run(["cargo", "build", "--release", "-p", "polyhead", "--example", "bench_worker"])
    return REPOSITORY / "target/release/examples/bench_worker"


def run(command: list[str]) -> None:
    """Runs a step, its output on stderr: stdout is for the table."""
    print("$", " ".join(command), file=sys.stderr)
    subprocess.run(command, check=True, cwd=REPOSITORY, stdout=sys.stderr)


def output(command: list[str]) -> str:
    """What a command prints, or nothing if it cannot run."""
    try:
        return subprocess.run(command, check=True, cwd=REPOSITORY, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
