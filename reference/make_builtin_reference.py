"""Writes the reference vectors of the built-in model.

    python reference/make_builtin_reference.py --original ../shared/models/all-MiniLM-L6-v2

The built-in model holds the weights of all-MiniLM-L6-v2 in 8 bits. Here PyTorch computes with exactly
these rounded weights (number times the scale of its row), so `polyhead doctor` can tell an error of its
kernels from the rounding of the weights. Needs what `reference/requirements.txt` names; `--original` is
a sentence-transformers folder of the unchanged model, which provides everything except the weights.
"""

import argparse
import json
import pathlib

import numpy as np
import torch
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer

BUILTIN = pathlib.Path(__file__).parent.parent / "crates" / "builtin" / "model"

TEXTS = [
    "This is the assessement for sentence transformer implementation. Let's embed this sentence and check the length",
    "I like doing assesements.",
    "",
    "Ein Satz mit Umlauten: Käse, Brötchen, Straße.",
    "The quick brown fox jumps over the lazy dog. " * 12,
    "東京 \U0001f680 naïve café",
]


def dequantized(path):
    stored = load_file(path)
    return {
        name: values.astype(np.float32) * stored[f"{name}.scale"][:, None] if values.dtype == np.int8 else values
        for name, values in stored.items()
        if not name.endswith(".scale")
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--original", required=True)
    args = parser.parse_args()
    model = SentenceTransformer(args.original, device="cpu")
    weights = dequantized(BUILTIN / "model.polyhead-int8.safetensors")
    parameters = dict(model[0].auto_model.named_parameters())
    with torch.no_grad():
        for name, values in weights.items():
            parameters[name].copy_(torch.from_numpy(values))
    # One at a time: no padding on this side either.
    rows = [model.encode([text], convert_to_numpy=True)[0] for text in TEXTS]
    embeddings = [[float(f"{value:.8g}") for value in row.tolist()] for row in rows]
    with open(BUILTIN / "reference_vectors.json", "w", encoding="utf-8") as file:
        json.dump({"texts": TEXTS, "embeddings": embeddings}, file, ensure_ascii=False)
        file.write("\n")


if __name__ == "__main__":
    main()
