"""Fine-tunes one encoder for one or more tasks with plain PyTorch and prints the test metrics as one JSON line.

    python bench/train/torch_quality.py --model DIR --train F --dev F --test F --task topic:classification:topic ...

The same recipe as `polyhead train`: the tasks share the
encoder and each has a linear head, losses are averaged over each task's labelled
rows of a step and summed, AdamW with decay on all but biases and layer norms, a
linear schedule with warm-up, clipping by the global norm, rows in random order,
and the epoch that is best on dev by the mean of the tasks' main metrics.
"""

import argparse
import copy
import json
import math
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

#: Into how many parts by length a batch is cut on its way through the encoder: less padding, the same sums.
CHUNKS = 4
EVALUATION_BATCH = 64
HEAD_DEVIATION = 0.02
KINDS = ["classification", "multilabel", "regression", "tokens"]


@dataclass
class Sequence:
    """A tokenized text, or two texts as one sequence: ids with `[CLS]` and `[SEP]`, cut, and the type of each token."""

    ids: list[int]
    types: list[int]


@dataclass
class Row:
    """A row: one sequence, or two with `--separate`, and where each word's first token is (`None`: cut off)."""

    sequences: list[Sequence]
    words: list[int | None]
    fields: dict

    def length(self) -> int:
        return max(len(sequence.ids) for sequence in self.sequences)


def main() -> None:
    arguments = parse_arguments()
    # Must happen before the libraries are imported: they read these once.
    os.environ |= {"OMP_NUM_THREADS": str(arguments.threads), "RAYON_NUM_THREADS": str(arguments.threads), "HF_HUB_OFFLINE": "1"}
    import torch
    from quality_tasks import TASKS

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    files = {split: read(getattr(arguments, split)) for split in ("train", "dev", "test")}
    tasks = [TASKS[kind](name, field, files["train"]) for name, kind, field in arguments.task]
    splits = {split: tokenize(arguments, rows, any(task.reads_words for task in tasks)) for split, rows in files.items()}
    model = Model(arguments, tasks)
    start = time.perf_counter()
    best = train(arguments, model, splits)
    seconds = time.perf_counter() - start
    model.load_state_dict(best["weights"])
    dev, test = answers(model, splits["dev"]), answers(model, splits["test"])
    metrics = {task.name: rounded(task.metrics(*test[task.name], tuning=dev[task.name])) for task in tasks}
    settings = {name: short(value) if isinstance(value, Path) else value for name, value in vars(arguments).items()}
    found = {"test": metrics, "dev": best["metrics"], "best_epoch": best["epoch"], "train_seconds": round(seconds, 1)}
    print(json.dumps(found | {"settings": settings}))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for split in ("train", "dev", "test"):
        parser.add_argument(f"--{split}", type=Path, required=True, help="JSON Lines")
    parser.add_argument("--model", type=Path, required=True, help="a folder as transformers reads it")
    parser.add_argument("--task", type=task_words, nargs="+", required=True, metavar="NAME:KIND:FIELD")
    parser.add_argument("--text", nargs="+", default=["text"], help="the field of the text, or of both texts of a pair")
    parser.add_argument("--separate", action="store_true", help="a pair is two vectors u and v, and the head reads u, v, |u - v|")
    parser.add_argument("--pooling", choices=["cls", "mean", "max"], default="mean")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--head-lr", type=float, default=1e-3)
    parser.add_argument("--layer-decay", type=float, default=1.0)
    parser.add_argument("--warmup", type=float, default=0.1, help="share of all steps")
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--clip", type=float, default=1.0, help="largest norm of the gradient; 0: no clipping")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--dropout", type=float, default=0.1, help="in the encoder and before the heads")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def task_words(text: str) -> tuple[str, str, str]:
    """`name:kind:field`."""
    words = text.split(":")
    if len(words) != 3 or words[1] not in KINDS:
        raise argparse.ArgumentTypeError(f"expected NAME:KIND:FIELD with KIND one of {', '.join(KINDS)}, found {text}")
    return tuple(words)


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def tokenize(arguments: argparse.Namespace, rows: list[dict], by_words: bool) -> list[Row]:
    """Once, before training. With a task on words the encoder sees the `tokens` field, and all tasks share that pass."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(arguments.max_length)
    if by_words:
        inputs = [row["tokens"] for row in rows]
        encodings = tokenizer.encode_batch(inputs, is_pretokenized=True)
        words = [first_tokens(one, len(text)) for one, text in zip(encodings, inputs, strict=True)]
        return [Row([Sequence(one.ids, one.type_ids)], found, row) for one, found, row in zip(encodings, words, rows, strict=True)]
    columns = [[row[field] for row in rows] for field in arguments.text]
    if len(columns) > 1 and not arguments.separate:
        columns = [list(zip(*columns, strict=True))]
    encoded = [[Sequence(one.ids, one.type_ids) for one in tokenizer.encode_batch(column)] for column in columns]
    return [Row(list(sequences), [], row) for sequences, row in zip(zip(*encoded, strict=True), rows, strict=True)]


def first_tokens(encoding, count: int) -> list[int | None]:
    """The position of each word's first token."""
    words = [None] * count
    for position, word in reversed(list(enumerate(encoding.word_ids))):
        if word is not None:
            words[word] = position
    return words


class Model:
    """The encoder and one linear head a task."""

    def __init__(self, arguments: argparse.Namespace, tasks: list):
        import torch
        from transformers import AutoConfig, AutoModel

        self.tasks, self.pooling = tasks, arguments.pooling
        like_bert = hasattr(AutoConfig.from_pretrained(arguments.model), "hidden_dropout_prob")
        names = ["hidden_dropout_prob", "attention_probs_dropout_prob"] if like_bert else ["dropout", "attention_dropout"]
        options = dict.fromkeys(names, arguments.dropout) | ({"add_pooling_layer": False} if like_bert else {})
        encoder = AutoModel.from_pretrained(arguments.model, dtype=torch.float32, **options)
        self.has_types = getattr(encoder.config, "type_vocab_size", 0) > 1
        width = encoder.config.hidden_size * (3 if arguments.separate else 1)
        heads = {task.name: torch.nn.Linear(width, len(task.labels)) for task in tasks}
        for head in heads.values():
            torch.nn.init.normal_(head.weight, std=HEAD_DEVIATION)
            torch.nn.init.zeros_(head.bias)
        self.parts = torch.nn.ModuleDict({"encoder": encoder, "heads": torch.nn.ModuleDict(heads)})
        self.dropout = torch.nn.Dropout(arguments.dropout)

    def train_mode(self, training: bool) -> None:
        self.parts.train(training)
        self.dropout.train(training)

    def state_dict(self) -> dict:
        return {name: value.clone() for name, value in self.parts.state_dict().items()}

    def load_state_dict(self, state: dict) -> None:
        self.parts.load_state_dict(state)

    def logits(self, rows: list[Row], task, vectors: list) -> "torch.Tensor":
        """Of one task for these rows: `[B, C]`, or `[words, C]` with NaN for words that were cut off."""
        import torch

        head = self.parts["heads"][task.name]
        if not task.reads_words:
            return head(self.dropout(torch.stack([self._features(found) for found in vectors])))
        words = [(found[0], word) for row, found in zip(rows, vectors, strict=True) for word in row.words]
        # Zeros and only then NaN: a NaN that went through the head would spoil its gradient.
        flat = torch.stack([one[word] if word is not None else one.new_zeros(one.shape[1:]) for one, word in words])
        there = torch.tensor([word is not None for _, word in words])
        return head(self.dropout(flat)).where(there[:, None], math.nan)

    def _features(self, sequences: list) -> "torch.Tensor":
        """What a head reads of a row: the vector of its sequence, or u, v and |u - v| of two."""
        import torch

        pooled = [self._pool(vectors) for vectors in sequences]
        return pooled[0] if len(pooled) == 1 else torch.cat([*pooled, (pooled[0] - pooled[1]).abs()])

    def _pool(self, vectors: "torch.Tensor") -> "torch.Tensor":
        """`[T, D]` to `[D]`."""
        if self.pooling == "cls":
            return vectors[0]
        return vectors.mean(dim=0) if self.pooling == "mean" else vectors.max(dim=0).values

    def encode(self, rows: list[Row]) -> list[list]:
        """Token vectors `[T, D]` of every sequence of every row."""
        vectors = iter(self._encode([sequence for row in rows for sequence in row.sequences]))
        return [[next(vectors) for _ in row.sequences] for row in rows]

    def _encode(self, sequences: list[Sequence]) -> list:
        """Computed in parts of like length."""
        import torch

        by_length = sorted(range(len(sequences)), key=lambda i: len(sequences[i].ids))
        size = math.ceil(len(sequences) / CHUNKS)
        vectors = [None] * len(sequences)
        for part in (by_length[start : start + size] for start in range(0, len(sequences), size)):
            longest = len(sequences[part[-1]].ids)
            padded = [sequences[i].ids + [0] * (longest - len(sequences[i].ids)) for i in part]
            mask = torch.tensor([[1] * len(sequences[i].ids) + [0] * (longest - len(sequences[i].ids)) for i in part])
            types = [sequences[i].types + [0] * (longest - len(sequences[i].types)) for i in part]
            more = {"token_type_ids": torch.tensor(types)} if self.has_types else {}
            hidden = self.parts["encoder"](input_ids=torch.tensor(padded), attention_mask=mask, **more).last_hidden_state
            for i, found in zip(part, hidden, strict=True):
                vectors[i] = found[: len(sequences[i].ids)]
        return vectors


def train(arguments: argparse.Namespace, model: Model, splits: dict[str, list[Row]]) -> dict:
    """The `weights`, number and dev `metrics` of the best epoch."""
    import torch
    from transformers import get_linear_schedule_with_warmup

    rows = splits["train"]
    steps = arguments.epochs * math.ceil(len(rows) / arguments.batch_size)
    optimizer = torch.optim.AdamW(parameter_groups(arguments, model), fused=True)
    schedule = get_linear_schedule_with_warmup(optimizer, round(arguments.warmup * steps), steps)
    best = {"score": -math.inf}
    for epoch in range(1, arguments.epochs + 1):
        model.train_mode(True)
        order, total = torch.randperm(len(rows)).tolist(), 0.0
        starts = range(0, len(rows), arguments.batch_size)
        for start in starts:
            loss = batch_loss(model, [rows[i] for i in order[start : start + arguments.batch_size]])
            loss.backward()
            if arguments.clip:
                torch.nn.utils.clip_grad_norm_(model.parts.parameters(), arguments.clip)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            total += loss.item()
            if not math.isfinite(total):
                raise SystemExit(f"epoch {epoch}: the loss is {loss.item()}")
        found = answers(model, splits["dev"])
        metrics = {task.name: rounded(task.metrics(*found[task.name])) for task in model.tasks}
        score = sum(metrics[task.name][task.main] for task in model.tasks) / len(model.tasks)
        loss = total / len(starts)
        print(f"epoch {epoch}/{arguments.epochs} loss {loss:.4f} dev {json.dumps(metrics)}", file=sys.stderr, flush=True)
        if score > best["score"]:
            best = {"score": score, "epoch": epoch, "metrics": metrics, "weights": copy.deepcopy(model.state_dict())}
    return best


def parameter_groups(arguments: argparse.Namespace, model: Model) -> list[dict]:
    """Heads at their own rate; layer `i` of `L` at `lr · decay^(L - 1 - i)`, embeddings at `lr · decay^L`."""
    layers = model.parts["encoder"].config.num_hidden_layers
    groups = {}
    for name, parameter in model.parts.named_parameters():
        layer = re.search(r"\.layer\.(\d+)\.", name)
        depth = layers - 1 - int(layer[1]) if layer else layers
        rate = arguments.head_lr if name.startswith("heads.") else arguments.lr * arguments.layer_decay**depth
        plain = "bias" in name or "norm" in name.lower()
        group = {"params": [], "lr": rate, "weight_decay": 0.0 if plain else arguments.weight_decay}
        groups.setdefault((rate, plain), group)["params"].append(parameter)
    return list(groups.values())


def batch_loss(model: Model, rows: list[Row]) -> "torch.Tensor":
    """The sum over tasks, each averaged over its labelled rows."""
    vectors = model.encode(rows)
    losses = []
    for task in model.tasks:
        there = [i for i, row in enumerate(rows) if task.field in row.fields]
        if there:
            logits = model.logits([rows[i] for i in there], task, [vectors[i] for i in there])
            losses.append(task.loss(logits, [rows[i].fields[task.field] for i in there]))
    return sum(losses)


def answers(model: Model, rows: list[Row]) -> dict[str, tuple]:
    """Per task the logits of its labelled rows as an array, and the field's values."""
    import numpy as np
    import torch

    model.train_mode(False)
    logits = {task.name: [] for task in model.tasks}
    values = {task.name: [] for task in model.tasks}
    by_length = sorted(rows, key=Row.length)
    for start in range(0, len(rows), EVALUATION_BATCH):
        batch = by_length[start : start + EVALUATION_BATCH]
        with torch.no_grad():
            vectors = model.encode(batch)
            for task in model.tasks:
                there = [i for i, row in enumerate(batch) if task.field in row.fields]
                if there:
                    found = model.logits([batch[i] for i in there], task, [vectors[i] for i in there])
                    logits[task.name].append(found.numpy())
                    values[task.name] += [batch[i].fields[task.field] for i in there]
    return {name: (np.concatenate(found), values[name]) for name, found in logits.items()}


def short(path: Path) -> str:
    """The last folder and the name, without the rest of the path on this machine."""
    return "/".join(path.resolve().parts[-2:])


def rounded(metrics: dict[str, float]) -> dict[str, float]:
    return {name: round(float(value), 5) for name, value in metrics.items()}


if __name__ == "__main__":
    main()
