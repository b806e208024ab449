"""Makes the ONNX and OpenVINO files of a model with sentence-transformers' helpers and NNCF; existing files are kept.

    python bench/peers/export.py --model DIR --out DIR --corpus mixed.txt FILE...

`--out` becomes a complete model folder with the requested files, such as `onnx/model.onnx`.
ONNX is quantized dynamically: weights here, activations at run time. OpenVINO is
quantized statically: the ranges of the activations come from texts of the corpus.
"""

import argparse
import os
from pathlib import Path

ONNX = "onnx/model.onnx"
#: How sentence-transformers names the file of a preset: avx2 quantizes weights to unsigned numbers.
ONNX_INT8 = {"avx2": "onnx/model_quint8_avx2.onnx", "avx512_vnni": "onnx/model_qint8_avx512_vnni.onnx"}
OPENVINO = "openvino/openvino_model.xml"
OPENVINO_INT8 = "openvino/openvino_model_qint8_quantized.xml"
#: From the end of the corpus, whose beginning is what gets measured.
CALIBRATION_TEXTS = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True, help="texts to calibrate with, a line each")
    parser.add_argument("files", nargs="+", choices=[ONNX, *ONNX_INT8.values(), OPENVINO, OPENVINO_INT8], metavar="FILE")
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    for file in arguments.files:
        make(file, arguments)


def make(file: str, arguments: argparse.Namespace) -> None:
    """Makes a file, after the one it is made of."""
    if (arguments.out / file).exists():
        return
    if file in (ONNX, OPENVINO):
        exported = load(arguments.model, "onnx" if file == ONNX else "openvino", export=True)
        exported.save_pretrained(str(arguments.out), create_model_card=False)
    elif file == OPENVINO_INT8:
        make(OPENVINO, arguments)
        quantize_openvino(arguments.out, arguments.corpus)
    else:
        make(ONNX, arguments)
        preset = next(preset for preset, name in ONNX_INT8.items() if name == file)
        quantize_onnx(arguments.out, preset)


def load(folder: str, backend: str, **model_kwargs):
    """Loads a folder for a back end, exporting it if asked to."""
    from sentence_transformers import SentenceTransformer

    if backend == "onnx":
        model_kwargs["provider"] = "CPUExecutionProvider"
    return SentenceTransformer(folder, device="cpu", backend=backend, local_files_only=True, model_kwargs=model_kwargs)


def quantize_onnx(folder: Path, preset: str) -> None:
    """Writes the quantized file beside `model.onnx`."""
    from sentence_transformers import export_dynamic_quantized_onnx_model

    model = load(str(folder), "onnx", file_name=ONNX)
    export_dynamic_quantized_onnx_model(model, preset, str(folder))


def quantize_openvino(folder: Path, corpus: Path) -> None:
    """By NNCF itself: sentence-transformers' helper would calibrate with a data set from the hub."""
    import nncf
    import openvino
    from transformers import AutoTokenizer

    network = openvino.Core().read_model(folder / OPENVINO)
    inputs = {name for port in network.inputs for name in port.get_names()}
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def tokenize(text: str) -> dict:
        # Cut at `model_max_length`, into which the export wrote the model's own limit.
        encoding = tokenizer(text, truncation=True, return_tensors="np")
        return {name: numbers for name, numbers in encoding.items() if name in inputs}

    texts = corpus.read_text(encoding="utf-8").removesuffix("\n").split("\n")[-CALIBRATION_TEXTS:]
    quantized = nncf.quantize(
        network, nncf.Dataset(texts, tokenize), subset_size=len(texts), model_type=nncf.ModelType.TRANSFORMER
    )
    openvino.save_model(quantized, folder / OPENVINO_INT8, compress_to_fp16=False)


if __name__ == "__main__":
    main()
