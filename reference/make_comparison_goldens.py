"""Makes ten optimizer steps of a tiny model that learns similarity, retrieval and a head in turns, into
`testdata/golden/trajectory-comparisons.{safetensors,json}`.

    python reference/make_comparison_goldens.py --models testdata/models --out testdata/golden

Each step is of one task, as batches of a run are: pairs with scores (the loss of sentence-transformers' `CoSENTLoss`),
queries with passages and some negatives (that of `MultipleNegativesRankingLoss`), and rows of a classification. The vectors
are means of tokens. Optimizer, schedule and clipping are those of `make_trajectory_goldens.py`. Computed in float64, stored as
float32; the JSON has the error of a float32 run. No dropout.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional
from transformers import get_linear_schedule_with_warmup

import make_trajectory_goldens as trajectory
import packed
import tiny

MODEL = "tiny-bert"
STEPS = 10
TASKS = ["alike", "answers", "topic"]
CLASSES = 3
SCALE = 20.0


def main() -> None:
    arguments = tiny.folders(__doc__)
    folder = arguments.models / MODEL
    generator = torch.Generator().manual_seed(tiny.SEED + 2)
    steps = [make_step(TASKS[step % len(TASKS)], generator) for step in range(STEPS)]
    width = packed.load_encoder(folder, torch.float32).config.hidden_size
    head = {"heads.topic.weight": 0.05 * torch.randn(CLASSES, width, generator=generator), "heads.topic.bias": torch.zeros(CLASSES)}
    exact, single = (train(folder, steps, head, dtype) for dtype in (torch.float64, torch.float32))
    tensors = {f"step.{number}.{name}": value for number, (_, batch, more) in enumerate(steps, 1) for name, value in (batch.tensors() | more).items()}
    tensors |= {f"initial.{name}": value for name, value in head.items()} | exact
    save_file(packed.stored(tensors), arguments.out / "trajectory-comparisons.safetensors")
    described = {
        "made_by": "reference/make_comparison_goldens.py",
        "precision": packed.PRECISION,
        "model": MODEL,
        "scale": SCALE,
        "settings": {name: value for name, value in trajectory.SETTINGS.items() if name != "layer_decay"},
        "tasks": [task for task, _, _ in steps],
        "deviations": packed.deviations(exact, single),
    }
    tiny.write_json(arguments.out / "trajectory-comparisons.json", described)


def make_step(task: str, generator: torch.Generator) -> tuple[str, packed.PackedBatch, dict[str, torch.Tensor]]:
    """A task, its texts end to end, and `first` `[rows + 1]`, where each row's texts begin, with `targets` `[rows]`."""
    if task == "alike":
        texts, targets = [2] * 5, torch.tensor([0.5, 4.0, 2.5, 2.5, 1.0])
    elif task == "answers":
        texts = [2, 3, 2, 4]
        targets = torch.tensor([float(count - 2) for count in texts])
    else:
        texts, targets = [1] * 4, torch.randint(0, CLASSES, (4,), generator=generator).float()
    rows = packed.random_rows(torch.randint(2, 12, (sum(texts),), generator=generator).tolist(), generator)
    first = torch.tensor([0, *torch.tensor(texts).cumsum(0).tolist()])
    return task, packed.PackedBatch(rows, [[0] * len(row) for row in rows]), {"first": first, "targets": targets}


def train(folder: Path, steps: list, head: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """`losses` and `gradient_norms` `[STEPS]`, `final.PARAMETER`."""
    encoder = packed.load_encoder(folder, dtype)
    head = {name: value.to(dtype, copy=True).requires_grad_() for name, value in head.items()}
    parameters = dict(encoder.named_parameters()) | head
    settings = trajectory.SETTINGS | {"layer_decay": 1.0}
    trajectory.SETTINGS = settings
    layers = encoder.config.num_hidden_layers
    optimizer = torch.optim.AdamW(trajectory.groups(parameters, layers), betas=settings["betas"], eps=settings["epsilon"], foreach=False)
    schedule = get_linear_schedule_with_warmup(optimizer, settings["warmup_steps"], settings["total_steps"])
    losses, norms = [], []
    for task, batch, more in steps:
        optimizer.zero_grad(set_to_none=True)
        vectors = batch.pool(batch.hidden_states(encoder)[-1], "mean")
        found = loss(task, vectors, more, head)
        found.backward()
        trained = [parameter for parameter in parameters.values() if parameter.grad is not None]
        norms.append(torch.nn.utils.clip_grad_norm_(trained, settings["clip_norm"], foreach=False).item())
        losses.append(found.item())
        optimizer.step()
        schedule.step()
    results = {"losses": torch.tensor(losses, dtype=dtype), "gradient_norms": torch.tensor(norms, dtype=dtype)}
    return results | {f"final.{name}": parameter.detach() for name, parameter in parameters.items()}


def loss(task: str, vectors: torch.Tensor, more: dict[str, torch.Tensor], head: dict[str, torch.Tensor]) -> torch.Tensor:
    """The mean loss of a step."""
    first, targets = more["first"][:-1], more["targets"]
    if task == "topic":
        logits = functional.linear(vectors, head["heads.topic.weight"], head["heads.topic.bias"])
        return functional.cross_entropy(logits, targets.long())
    units = functional.normalize(vectors)
    if task == "alike":
        cosines = SCALE * (units[first] * units[first + 1]).sum(dim=1)
        higher = targets[:, None] > targets[None, :]
        differences = (cosines[None, :] - cosines[:, None])[higher]
        return torch.logsumexp(torch.cat([torch.zeros(1, dtype=units.dtype), differences]), dim=0)
    negatives = [text for begin, end in zip(first.tolist(), more["first"][1:].tolist(), strict=True) for text in range(begin + 2, end)]
    candidates = torch.cat([units[first + 1], units[negatives]])
    return functional.cross_entropy(SCALE * units[first] @ candidates.T, torch.arange(len(first)))


if __name__ == "__main__":
    main()
