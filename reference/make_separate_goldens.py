"""Makes the logits, losses and gradients of heads that read the vectors of two texts, into `testdata/golden/train-separate.*`.

    python reference/make_separate_goldens.py --models testdata/models --out testdata/golden

Each row is a pair of texts, and each text a row of its own for the encoder. A head reads `[u, v, |u - v|]`, some of them `u * v`
as well: `SoftmaxLoss` of sentence-transformers with `concatenation_sent_rep`, `concatenation_sent_difference` and
`concatenation_sent_multiplication`. One pair has the same text twice, where the slope of `|u - v|` is 0. The last head reads the
sentence vectors, behind Dense and Normalize. As in `make_training_goldens.py`, everything is computed in float64 and in float32.
No dropout.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

import make_training_goldens as training
import packed
import tiny

MODEL = "st6-dense"
DENSE = "2_Dense"
#: Two for each row; the third row has the same text twice.
LENGTHS = [5, 9, 12, 3, 7, 7, 2, 6, 4, 1]

#: In order; keys as in the configuration.
TASKS = [
    {"name": "topic", "kind": "classification", "labels": 3, "pooling": "mean", "weight": 1.0},
    {"name": "mood", "kind": "multilabel", "labels": 4, "pooling": "cls", "weight": 0.5, "pair_product": True,
     "hidden": 16, "activation": "gelu", "positive_weights": [1.0, 3.0, 0.5, 2.0]},
    {"name": "score", "kind": "regression", "labels": 1, "pooling": "mean", "weight": 0.3, "layer": "mix", "pair_product": True},
    {"name": "vector", "kind": "classification", "labels": 2, "input": "embedding", "weight": 1.5, "pair_product": True},
]  # fmt: skip

PRESENT = {"topic": [1, 1, 1, 0, 1], "mood": [1, 0, 1, 1, 0], "score": [0, 1, 1, 1, 1], "vector": [1, 1, 1, 1, 0]}


def main() -> None:
    arguments = tiny.folders(__doc__)
    folder = arguments.models / MODEL
    generator = torch.Generator().manual_seed(tiny.SEED + 3)
    rows = packed.random_rows(LENGTHS, generator)
    rows[5] = rows[4]
    batch = packed.PackedBatch(rows, [[0] * len(row) for row in rows])
    labels = make_labels(generator)
    dense = load_file(folder / DENSE / "model.safetensors")
    heads = make_heads(packed.load_encoder(folder, torch.float32).config, dense, generator)
    exact, single = (results(folder, batch, labels, heads, dense, dtype) for dtype in (torch.float64, torch.float32))
    tensors = batch.tensors() | {"first": torch.arange(0, len(rows) + 1, 2)} | labels | heads | exact
    save_file(packed.stored(tensors), arguments.out / "train-separate.safetensors")
    described = {"model": MODEL, "tasks": [task | {"pair": "separate"} for task in TASKS], "precision": packed.PRECISION}
    tiny.write_json(arguments.out / "train-separate.json", described | {"float32": packed.deviations(exact, single)})


def make_labels(generator: torch.Generator) -> dict[str, torch.Tensor]:
    """`labels.TASK` and `present.TASK`, 0 where a row has no label."""
    tensors = {}
    for task in TASKS:
        name, count = task["name"], len(LENGTHS) // 2
        present = torch.tensor(PRESENT[name])
        if task["kind"] == "regression":
            values = torch.randn(count, generator=generator)
        elif task["kind"] == "multilabel":
            values = torch.randint(0, 2, (count, task["labels"]), generator=generator).float()
        else:
            values = torch.arange(count) % task["labels"]
        values[present == 0] = 0
        tensors |= {f"labels.{name}": values, f"present.{name}": present}
    return tensors


def make_heads(config, dense: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """As `make_heads` of the other script, with three or four vectors as input."""
    heads = {}
    for task in TASKS:
        name = f"heads.{task['name']}"
        width = len(dense["linear.bias"]) if task.get("input") == "embedding" else config.hidden_size
        width *= 4 if task.get("pair_product") else 3
        if "hidden" in task:
            heads |= training.linear(f"{name}.hidden", task["hidden"], width, generator)
            width = task["hidden"]
        heads |= training.linear(name, task["labels"], width, generator)
        if task.get("layer") == "mix":
            heads[f"{name}.mix"] = torch.randn(config.num_hidden_layers + 1, generator=generator)
    return heads


def results(folder: Path, batch: packed.PackedBatch, labels: dict, heads: dict, dense: dict, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """`logits.TASK`, `loss.TASK` `[1]`, `loss.total` `[1]`, `grad.PARAMETER`, all in `dtype`."""
    encoder = packed.load_encoder(folder, dtype)
    heads = {name: value.to(dtype).requires_grad_() for name, value in heads.items()}
    dense = {f"{DENSE}/{name}": value.to(dtype).requires_grad_() for name, value in dense.items()}
    # Text by text, so that equal texts have equal bits.
    states = [encoder(torch.tensor([row]), output_hidden_states=True).hidden_states for row in batch.rows]
    found, total = {}, torch.zeros((), dtype=dtype)
    for task in TASKS:
        name = f"heads.{task['name']}"
        vectors = [vector(task, [state[0] for state in layers], heads, dense) for layers in states]
        features = torch.stack([features_of(u, v, task.get("pair_product", False)) for u, v in zip(vectors[::2], vectors[1::2], strict=True)])
        if "hidden" in task:
            features = functional.gelu(functional.linear(features, heads[f"{name}.hidden.weight"], heads[f"{name}.hidden.bias"]))
        logits = functional.linear(features, heads[f"{name}.weight"], heads[f"{name}.bias"])
        task_loss = training.loss(task, logits, labels)
        found |= {f"logits.{task['name']}": logits.detach(), f"loss.{task['name']}": task_loss.detach().reshape(1)}
        total = total + task["weight"] * task_loss
        assert torch.equal(vectors[4], vectors[5])
    found["loss.total"] = total.detach().reshape(1)
    total.backward()
    for name, parameter in (dict(encoder.named_parameters()) | dense | heads).items():
        found[f"grad.{name}"] = parameter.grad
    return found


def vector(task: dict, layers: list[torch.Tensor], heads: dict, dense: dict) -> torch.Tensor:
    """What a head reads of one text, of its hidden states `[T, D]`."""
    source = layers[-1]
    if task.get("layer") == "mix":
        shares = heads[f"heads.{task['name']}.mix"].softmax(dim=0)
        source = sum(share * state for share, state in zip(shares, layers, strict=True))
    if task.get("input") == "embedding":
        weight, bias = dense[f"{DENSE}/linear.weight"], dense[f"{DENSE}/linear.bias"]
        return functional.normalize(torch.tanh(functional.linear(source.mean(dim=0), weight, bias)), dim=0)
    return source[0] if task["pooling"] == "cls" else source.mean(dim=0)


def features_of(u: torch.Tensor, v: torch.Tensor, product: bool) -> torch.Tensor:
    """`[u, v, |u - v|]`, or `[u, v, |u - v|, u * v]`."""
    return torch.cat([u, v, (u - v).abs(), u * v] if product else [u, v, (u - v).abs()])


if __name__ == "__main__":
    main()
