"""Makes the logits, losses and gradients of several heads on one encoder pass, into `testdata/golden/train-*.safetensors`.

    python reference/make_training_goldens.py --models testdata/models --out testdata/golden

The five tasks differ in every property of a head: kind, pooling, a hidden
layer, an inner layer of the encoder, a learned mix of all layers, class and
positive weights, label smoothing. No row has all labels, and every task has rows without label.
Everything is computed twice: the goldens are the float64 results rounded to
float32, and the JSON beside them says how far PyTorch's own float32 is from
that, tensor by tensor, which justifies the tolerance. No dropout.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional

import packed
import tiny

MODELS = {
    "train-bert": "tiny-bert",
    "train-distilbert": "tiny-distilbert",
    "train-roberta": "tiny-roberta",
    "train-electra": "tiny-electra",
    "train-mpnet": "tiny-mpnet",
    "train-modernbert": "tiny-modernbert",
}
LENGTHS = [5, 12, 1, 7, 2, 9, 4]

#: In order; `layer` counts hidden states: 0 is the embeddings' output, 1 the first transformer layer's, absent the last one's.
TASKS = [
    {"name": "topic", "kind": "classification", "labels": 3, "pooling": "cls", "weight": 1.0,
     "class_weights": [1.0, 2.0, 0.5], "label_smoothing": 0.1},
    {"name": "mood", "kind": "multilabel", "labels": 4, "pooling": "mean", "weight": 0.5,
     "hidden": 16, "activation": "gelu", "positive_weights": [1.0, 3.0, 0.5, 2.0]},
    {"name": "tags", "kind": "tokens", "labels": 5, "weight": 2.0},
    {"name": "score", "kind": "regression", "labels": 1, "pooling": "mean", "weight": 0.3, "layer": 1},
    {"name": "mixed", "kind": "classification", "labels": 2, "pooling": "cls", "weight": 1.5, "layer": "mix"},
]  # fmt: skip

#: Which rows have a label. For `tags`: of which rows all words have one.
PRESENT = {
    "topic": [1, 0, 1, 1, 1, 0, 1],
    "mood": [1, 1, 0, 1, 0, 1, 0],
    "tags": [1, 1, 0, 0, 1, 1, 0],
    "score": [0, 1, 1, 0, 1, 1, 1],
    "mixed": [1, 0, 0, 1, 0, 1, 1],
}


def main() -> None:
    arguments = tiny.folders(__doc__)
    for name, model in MODELS.items():
        generator = torch.Generator().manual_seed(tiny.SEED)
        config = packed.load_encoder(arguments.models / model, torch.float32).config
        batch, labels = make_batch(generator, config)
        heads = make_heads(config, generator)
        folder = arguments.models / model
        exact, single = (results(folder, batch, labels, heads, dtype) for dtype in (torch.float64, torch.float32))
        tensors = batch.tensors() | labels | heads | exact
        save_file(packed.stored(tensors), arguments.out / f"{name}.safetensors")
        tiny.write_json(arguments.out / f"{name}.json", describe(folder, packed.deviations(exact, single)))


def make_batch(generator: torch.Generator, config) -> tuple[packed.PackedBatch, dict[str, torch.Tensor]]:
    """Rows of 1 to 12 tokens; `labels.TASK` and `present.TASK`, 0 where a row has no label; `tags.positions`.

    Two rows end in tokens of the second type, as pairs do, if the encoder has one. A third of the inner tokens are not the first of their word.
    """
    rows = packed.random_rows(LENGTHS, generator)
    pairs = () if getattr(config, "type_vocab_size", 2) < 2 else (1, 5)
    types = [[int(i in pairs and 2 * t > len(row)) for t in range(len(row))] for i, row in enumerate(rows)]
    batch = packed.PackedBatch(rows, types)
    first = [(i, t) for i, row in enumerate(rows) for t in range(1, len(row) - 1) if t % 3]
    present = {name: torch.tensor(rows) for name, rows in PRESENT.items()}
    present["tags"] = torch.tensor([PRESENT["tags"][i] for i, _ in first])
    tensors = {"tags.positions": torch.tensor([int(batch.offsets[i]) + t for i, t in first])}
    for task in TASKS:
        name, count = task["name"], len(present[task["name"]])
        if task["kind"] == "regression":
            values = torch.randn(count, generator=generator)
        elif task["kind"] == "multilabel":
            values = torch.randint(0, 2, (count, task["labels"]), generator=generator).float()
        else:
            # In turns, so that every label occurs.
            values = torch.arange(count) % task["labels"]
        values[present[name] == 0] = 0
        tensors[f"labels.{name}"] = values
        tensors[f"present.{name}"] = present[name]
    return batch, tensors


def make_heads(config, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """`heads.TASK.weight` `[C, D]` and `.bias` `[C]`; a hidden layer's under `heads.TASK.hidden`; a mix `heads.TASK.mix` `[L + 1]`."""
    heads = {}
    for task in TASKS:
        name, width = f"heads.{task['name']}", config.hidden_size
        if "hidden" in task:
            heads |= linear(f"{name}.hidden", task["hidden"], width, generator)
            width = task["hidden"]
        heads |= linear(name, task["labels"], width, generator)
        if task.get("layer") == "mix":
            heads[f"{name}.mix"] = torch.randn(config.num_hidden_layers + 1, generator=generator)
    return heads


def linear(name: str, outputs: int, inputs: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Weights large enough that every term of a loss shows."""
    weight = 0.3 * torch.randn(outputs, inputs, generator=generator)
    return {f"{name}.weight": weight, f"{name}.bias": 0.3 * torch.randn(outputs, generator=generator)}


def results(folder: Path, batch: packed.PackedBatch, labels: dict, heads: dict, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """`hidden.{l}` `[N, D]`, `logits.TASK`, `loss.TASK` `[1]`, `loss.total` `[1]`, `grad.PARAMETER`, all in `dtype`."""
    encoder = packed.load_encoder(folder, dtype)
    heads = {name: value.to(dtype).requires_grad_() for name, value in heads.items()}
    hidden = batch.hidden_states(encoder)
    found = {f"hidden.{layer}": value.detach() for layer, value in enumerate(hidden)}
    total = torch.zeros((), dtype=dtype)
    for task in TASKS:
        logits = head_logits(task, heads, hidden, batch, labels)
        task_loss = loss(task, logits, labels)
        found |= {f"logits.{task['name']}": logits.detach(), f"loss.{task['name']}": task_loss.detach().reshape(1)}
        total = total + task["weight"] * task_loss
    found["loss.total"] = total.detach().reshape(1)
    total.backward()
    for name, parameter in (dict(encoder.named_parameters()) | heads).items():
        found[f"grad.{name}"] = parameter.grad
    return found


def head_logits(task: dict, heads: dict, hidden: list[torch.Tensor], batch: packed.PackedBatch, labels: dict) -> torch.Tensor:
    """`[B, C]`, for `tokens` `[words, C]`."""
    name = f"heads.{task['name']}"
    source = hidden[task["layer"]] if isinstance(task.get("layer"), int) else hidden[-1]
    if task.get("layer") == "mix":
        shares = heads[f"{name}.mix"].softmax(dim=0)
        source = sum(share * state for share, state in zip(shares, hidden, strict=True))
    vectors = source[labels["tags.positions"]] if task["kind"] == "tokens" else batch.pool(source, task["pooling"])
    if "hidden" in task:
        vectors = functional.gelu(functional.linear(vectors, heads[f"{name}.hidden.weight"], heads[f"{name}.hidden.bias"]))
    return functional.linear(vectors, heads[f"{name}.weight"], heads[f"{name}.bias"])


def loss(task: dict, logits: torch.Tensor, labels: dict) -> torch.Tensor:
    """The mean over labelled rows or words by PyTorch's own losses; with class weights, the sum over the targets' weights."""
    there = labels[f"present.{task['name']}"].bool()
    logits, targets = logits[there], labels[f"labels.{task['name']}"][there]
    if task["kind"] == "regression":
        return functional.mse_loss(logits[:, 0], targets.to(logits.dtype))
    if task["kind"] == "multilabel":
        weights = torch.tensor(task["positive_weights"], dtype=logits.dtype)
        return functional.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), pos_weight=weights)
    weights = torch.tensor(task["class_weights"], dtype=logits.dtype) if "class_weights" in task else None
    return functional.cross_entropy(logits, targets, weight=weights, label_smoothing=task.get("label_smoothing", 0.0))


def describe(folder: Path, table: dict) -> dict:
    """What a test has to set up, and how precise float32 is."""
    return {
        "model": folder.name,
        "tasks": TASKS,
        "precision": packed.PRECISION,
        "float32": table,
    }


if __name__ == "__main__":
    main()
