"""Makes the ONNX (and OpenVINO) files of a model with sentence-transformers' own helpers; files that exist are kept.

    python bench/encode/export.py --model DIR --out DIR [--int8 avx2 avx512_vnni] [--openvino]

`--out` becomes a complete model folder: `onnx/model.onnx` and one quantized file
per preset. The quantization is dynamic: weights at export, activations at run time.
"""

import argparse
import os
from pathlib import Path

#: How sentence-transformers names the file of a preset: avx2 quantizes weights to unsigned numbers.
INT8_FILES = {"avx2": "onnx/model_quint8_avx2.onnx", "avx512_vnni": "onnx/model_qint8_avx512_vnni.onnx"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--int8", nargs="*", choices=INT8_FILES, default=[], metavar="PRESET")
    parser.add_argument("--openvino", action="store_true")
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if not (arguments.out / "onnx/model.onnx").exists():
        load(arguments.model, "onnx", export=True).save_pretrained(str(arguments.out), create_model_card=False)
    for preset in arguments.int8:
        if not (arguments.out / INT8_FILES[preset]).exists():
            quantize(arguments.out, preset)
    if arguments.openvino and not (arguments.out / "openvino/openvino_model.xml").exists():
        load(arguments.model, "openvino", export=True).save_pretrained(str(arguments.out), create_model_card=False)


def load(folder: str, backend: str, **model_kwargs):
    """Loads a folder for a back end, exporting it if asked to."""
    from sentence_transformers import SentenceTransformer

    if backend == "onnx":
        model_kwargs["provider"] = "CPUExecutionProvider"
    return SentenceTransformer(folder, device="cpu", backend=backend, local_files_only=True, model_kwargs=model_kwargs)


def quantize(folder: Path, preset: str) -> None:
    """Writes the quantized file beside `model.onnx`."""
    from sentence_transformers import export_dynamic_quantized_onnx_model

    model = load(str(folder), "onnx", file_name="onnx/model.onnx")
    export_dynamic_quantized_onnx_model(model, preset, str(folder))


if __name__ == "__main__":
    main()
