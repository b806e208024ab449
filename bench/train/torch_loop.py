"""A plain PyTorch loop that fine-tunes an encoder with two heads, timed; prints one JSON line.

    python bench/train/torch_loop.py --model DIR --texts FILE --order random --freeze none --steps 20 --warmup-steps 3

The loop that a careful user writes: texts tokenized once, batches padded to their
longest text, mean pooling, two linear heads with summed cross-entropy, fused
AdamW, PyTorch's own attention. `README.md` describes the batches, the output
line, and what is not measured.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))
import machine

CLASSES = {"first": 3, "second": 2}
FROZEN_LAYERS = 4
MASK = 2**64 - 1


@dataclass
class Text:
    """Token ids with `[CLS]` and `[SEP]`, cut, and a label for each head."""

    ids: list[int]
    labels: list[int]


def main() -> None:
    arguments = parse_arguments()
    limit_threads(arguments.threads)
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    texts = read(arguments)
    model = Model(arguments)
    optimizer = torch.optim.AdamW(model.trainable(), lr=arguments.learning_rate, weight_decay=0.01, fused=True)
    for batch in batches(texts, arguments, epoch=0, count=arguments.warmup_steps):
        step(model, optimizer, batch)
    timed = batches(texts, arguments, epoch=1, count=arguments.steps)
    seconds, losses = [], []
    for batch in timed:
        start = time.perf_counter()
        losses.append(step(model, optimizer, batch))
        seconds.append(time.perf_counter() - start)
    print(json.dumps(summary(arguments, timed, seconds, losses)))


def parse_arguments() -> argparse.Namespace:
    """What Polyhead's worker takes as well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder with tokenizer.json")
    parser.add_argument("--texts", type=Path, required=True, help="a text a line")
    parser.add_argument("--limit", type=int, help="take only the first lines")
    parser.add_argument("--max-length", type=int, default=128, help="in tokens")
    parser.add_argument("--order", choices=["random", "grouped"], default="random")
    parser.add_argument("--freeze", choices=["none", "lower4", "backbone"], default="none")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup-steps", type=int, default=3, help="steps before the clock runs, at the full learning rate")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7, help="of dropout and the heads' weights")
    return parser.parse_args()


def limit_threads(threads: int) -> None:
    """Must run before the libraries are imported: they read these once."""
    os.environ |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
    os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}


def read(arguments: argparse.Namespace) -> list[Text]:
    """All texts, tokenized once."""
    from tokenizers import Tokenizer

    lines = arguments.texts.read_text(encoding="utf-8").removesuffix("\n").split("\n")[: arguments.limit]
    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(arguments.max_length)
    encodings = tokenizer.encode_batch(lines)
    return [Text(encoding.ids, labels(line)) for line, encoding in zip(lines, encodings, strict=True)]


def labels(line: str) -> list[int]:
    """Arbitrary but fixed: from the FNV-1a hash (64 bits) of the line."""
    value = 0xCBF29CE484222325
    for byte in line.encode():
        value = (value ^ byte) * 0x100000001B3 & MASK
    return [value % CLASSES["first"], value // CLASSES["first"] % CLASSES["second"]]


def batches(texts: list[Text], arguments: argparse.Namespace, epoch: int, count: int) -> list[list[Text]]:
    """The first `count` batches of this epoch, and of the next ones where that is more than an epoch has."""
    chosen = []
    while len(chosen) < count:
        rows = sorted(range(len(texts)), key=lambda row: mixed(epoch << 32 | row))
        if arguments.order == "grouped":
            # Stable: among texts of one length the order stays random.
            rows.sort(key=lambda row: len(texts[row].ids))
        found = [rows[start : start + arguments.batch_size] for start in range(0, len(rows), arguments.batch_size)]
        if arguments.order == "grouped":
            found = [found[i] for i in sorted(range(len(found)), key=lambda i: mixed(1 << 63 | epoch << 32 | i))]
        chosen += [[texts[row] for row in rows] for rows in found]
        epoch += 1
    return chosen[:count]


def mixed(value: int) -> int:
    """SplitMix64's next number from this state: a shuffle that any language repeats in three lines."""
    value = value + 0x9E3779B97F4A7C15 & MASK
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK
    return value ^ value >> 31


class Model:
    """The encoder, mean pooling and the two heads."""

    def __init__(self, arguments: argparse.Namespace):
        import torch
        from transformers import AutoModel

        dropouts = {"hidden_dropout_prob": arguments.dropout, "attention_probs_dropout_prob": arguments.dropout}
        self.encoder = AutoModel.from_pretrained(arguments.model, add_pooling_layer=False, **dropouts).train()
        width = self.encoder.config.hidden_size
        self.heads = torch.nn.ModuleList([torch.nn.Linear(width, classes) for classes in CLASSES.values()])
        self.dropout = torch.nn.Dropout(arguments.dropout)
        self.frozen_encoder = arguments.freeze == "backbone"
        for module in self._frozen_modules(arguments.freeze):
            module.requires_grad_(False)
            # A frozen part is a fixed function: no dropout in it.
            module.eval()

    def _frozen_modules(self, freeze: str) -> list:
        if freeze == "backbone":
            return [self.encoder]
        if freeze == "lower4":
            return [self.encoder.embeddings, *self.encoder.encoder.layer[:FROZEN_LAYERS]]
        return []

    def trainable(self) -> list:
        """Parameters that get a gradient."""
        parameters = [*self.encoder.parameters(), *self.heads.parameters()]
        return [parameter for parameter in parameters if parameter.requires_grad]

    def loss(self, batch: list[Text]):
        """Both heads' cross-entropies, summed."""
        import torch

        longest = max(len(text.ids) for text in batch)
        ids = torch.tensor([text.ids + [0] * (longest - len(text.ids)) for text in batch])
        mask = torch.tensor([[1] * len(text.ids) + [0] * (longest - len(text.ids)) for text in batch])
        with torch.set_grad_enabled(not self.frozen_encoder):
            hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            weights = mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        targets = torch.tensor([text.labels for text in batch])
        losses = [
            torch.nn.functional.cross_entropy(head(self.dropout(pooled)), targets[:, i]) for i, head in enumerate(self.heads)
        ]
        return sum(losses)


def step(model: Model, optimizer, batch: list[Text]) -> float:
    """Padding, forward, backward and update; the loss before the update."""
    loss = model.loss(batch)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item()


def summary(arguments: argparse.Namespace, timed: list[list[Text]], seconds: list[float], losses: list[float]) -> dict:
    """The line that both workers print."""
    texts = sum(map(len, timed))
    tokens = sum(len(text.ids) for batch in timed for text in batch)
    padded = sum(len(batch) * max(len(text.ids) for text in batch) for batch in timed)
    return {
        "system": "torch",
        "order": arguments.order,
        "freeze": arguments.freeze,
        "threads": arguments.threads,
        "steps": len(seconds),
        "texts": texts,
        "tokens": tokens,
        "seconds": round(sum(seconds), 4),
        "tokens_per_s": round(tokens / sum(seconds), 1),
        "texts_per_s": round(texts / sum(seconds), 2),
        "seconds_per_step": round(sum(seconds) / len(seconds), 4),
        "loss": round(losses[-1], 4),
        "peak_memory_mb": machine.peak_memory_mb(os.getpid()),
        # Of what the encoder computes on; a worker without padding leaves it out.
        "real_share": round(tokens / padded, 3),
    }


if __name__ == "__main__":
    main()
