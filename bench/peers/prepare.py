"""Makes what the comparison needs: Python environments, exported models, the workers in Rust."""

import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]


def python_environment(folder: Path, requirements: str) -> Path:
    """The interpreter of a virtual environment, made if it is not complete yet."""
    python = folder / "bin/python"
    finished = folder / "finished.txt"
    wanted = (HERE / requirements).read_text()
    if not finished.exists() or finished.read_text() != wanted:
        run([sys.executable, "-m", "venv", str(folder)])
        run([str(python), "-m", "pip", "install", "--quiet", "-r", str(HERE / requirements)])
        finished.write_text(wanted)
    return python


def export_models(python: Path, model: Path, out: Path, corpus: Path, files: list[str]) -> None:
    """ONNX and OpenVINO files of the model."""
    command = [str(python), str(HERE / "export.py"), "--model", str(model), "--out", str(out), "--corpus", str(corpus)]
    run(command + files)


def onnx_runtime(python: Path) -> Path:
    """The shared library inside the wheel of ONNX Runtime."""
    where = "import importlib.util as u; print(u.find_spec('onnxruntime').submodule_search_locations[0])"
    folder = Path(output([str(python), "-c", where]), "capi")
    libraries = sorted(folder.glob("libonnxruntime.so*"))
    if not libraries:
        sys.exit(f"{folder}: no libonnxruntime.so, which fastembed needs (--skip fastembed)")
    return libraries[-1]


def polyhead_worker() -> Path:
    """Builds Polyhead's worker."""
    run(["cargo", "build", "--release", "-p", "polyhead", "--example", "bench_worker"])
    return REPOSITORY / "target/release/examples/bench_worker"


def rust_peer(name: str, target: Path) -> Path:
    """Builds a peer's worker, for this processor: candle picks many of its loops when it is compiled."""
    manifest = str(HERE / name / "Cargo.toml")
    command = ["cargo", "build", "--release", "--locked", "--manifest-path", manifest, "--target-dir", str(target)]
    run(["env", "RUSTFLAGS=-C target-cpu=native", *command])
    return target / "release" / name


def locked_versions(name: str, crates: list[str]) -> dict[str, str]:
    """Versions of crates in a peer's `Cargo.lock`."""
    packages = tomllib.loads((HERE / name / "Cargo.lock").read_text())["package"]
    return {package["name"]: package["version"] for package in packages if package["name"] in crates}


def run(command: list[str]) -> None:
    """Runs a step, its output on stderr: stdout is for the tables."""
    print("$", " ".join(command), file=sys.stderr)
    subprocess.run(command, check=True, cwd=REPOSITORY, stdout=sys.stderr)


def output(command: list[str]) -> str:
    """What a command prints, or nothing if it cannot run."""
    try:
        return subprocess.run(command, check=True, cwd=REPOSITORY, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
