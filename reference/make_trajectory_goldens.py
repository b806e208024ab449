"""Makes ten optimizer steps of tiny models with two heads, into `testdata/golden/trajectory*.{safetensors,json}`.

    python reference/make_trajectory_goldens.py --models testdata/models --out testdata/golden

The steps cover every difficulty of training: two accumulated parts per step
with each loss averaged over the labelled rows of the whole step, missing labels,
a step without any label of one task, clipping that is active in some steps, a
schedule with warm-up, layer decay, weight decay except for biases and layer
norms, and a head that is frozen for the first half. The optimizer, the schedule
and the clipping are PyTorch's and transformers' own. Computed in float64, stored
as float32; the JSON has the error of a float32 run. No dropout.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional
from transformers import AutoConfig, get_linear_schedule_with_warmup

import packed
import tiny

MODELS = {"trajectory": "tiny-bert", "trajectory-mpnet": "tiny-mpnet", "trajectory-modernbert": "tiny-modernbert"}
STEPS, PARTS = 10, 2
#: Weights that bring the gradient's norm to either side of `clip_norm`.
TASKS = [
    {"name": "topic", "kind": "classification", "labels": 3, "pooling": "cls", "weight": 0.3},
    {"name": "score", "kind": "regression", "labels": 1, "pooling": "mean", "weight": 0.15},
]
SETTINGS = {
    "learning_rate": 2e-3,
    "head_learning_rate": 1e-2,
    "layer_decay": 0.9,
    "schedule": "linear",
    "warmup_steps": 2,
    "total_steps": STEPS,
    # Larger than one would train with: ten steps of 0.01 could hide behind a tolerance of 1e-4.
    "weight_decay": 0.1,
    "betas": [0.9, 0.999],
    "epsilon": 1e-8,
    "clip_norm": 1.0,
}
#: `score`'s head is frozen in steps 1 to 5; its loss still reaches the encoder.
FROZEN_UNTIL = {"score": 5}
#: Steps in which no row at all has this task's label: its head must not be touched then.
WITHOUT_LABELS = {"topic": 4, "score": 8}
#: A part without a label of the task, in a step whose other part has some.
PART_WITHOUT_LABELS = {"topic": (2, 1), "score": (7, 0)}


def rate_groups(layers: int) -> list[str]:
    """Parameter groups by learning rate, in the order of `learning_rates`."""
    return ["embeddings", *(f"layers.{layer}" for layer in range(layers)), "heads"]


def main() -> None:
    arguments = tiny.folders(__doc__)
    for name, model in MODELS.items():
        make(name, arguments.models / model, arguments.out)


def make(name: str, folder: Path, out: Path) -> None:
    """One model's ten steps."""
    generator = torch.Generator().manual_seed(tiny.SEED + 1)
    steps = [[make_part(step, part, generator) for part in range(PARTS)] for step in range(1, STEPS + 1)]
    heads = make_heads(packed.load_encoder(folder, torch.float32).config.hidden_size, generator)
    (exact, updates), (single, _) = (train(folder, steps, heads, dtype) for dtype in (torch.float64, torch.float32))
    tensors = {
        f"step.{step}.part.{part}.{name}": value
        for step, parts in enumerate(steps, start=1)
        for part, (batch, labels) in enumerate(parts)
        for name, value in (batch.tensors() | labels).items()
    }
    tensors |= {f"initial.{name}": value for name, value in heads.items()} | exact
    save_file(packed.stored(tensors), out / f"{name}.safetensors")
    tiny.write_json(out / f"{name}.json", describe(folder, exact, updates, packed.deviations(exact, single)))


def make_part(step: int, part: int, generator: torch.Generator) -> tuple[packed.PackedBatch, dict[str, torch.Tensor]]:
    """Three or four rows of 1 to 11 tokens; `labels.TASK` and `present.TASK` `[B]`, 0 where a row has no label."""
    count = 3 + (step + part) % 2
    rows = packed.random_rows(torch.randint(1, 12, (count,), generator=generator).tolist(), generator)
    labels = {}
    for task in TASKS:
        name = task["name"]
        if task["kind"] == "regression":
            values = torch.randn(count, generator=generator)
        else:
            values = torch.randint(0, task["labels"], (count,), generator=generator)
        present = (torch.rand(count, generator=generator) < 0.7).long()
        # At least one, so that only the parts and steps named above have none.
        present[step % count] = 1
        if WITHOUT_LABELS[name] == step or PART_WITHOUT_LABELS[name] == (step, part):
            present[:] = 0
        values[present == 0] = 0
        labels |= {f"labels.{name}": values, f"present.{name}": present}
    return packed.PackedBatch(rows, [[0] * len(row) for row in rows]), labels


def make_heads(width: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """`heads.TASK.weight` `[C, D]` and `heads.TASK.bias` `[C]` before the first step."""
    heads = {}
    for task in TASKS:
        heads[f"heads.{task['name']}.weight"] = 0.05 * torch.randn(task["labels"], width, generator=generator)
        heads[f"heads.{task['name']}.bias"] = torch.zeros(task["labels"])
    return heads


def train(folder: Path, steps: list, heads: dict[str, torch.Tensor], dtype: torch.dtype) -> tuple[dict, dict[str, int]]:
    """What the run leaves behind, and how many updates each group of parameters has had.

    `loss.TASK` and `loss.total` `[STEPS]` (0 where no row had a label), `gradient_norms` `[STEPS]` before clipping,
    `learning_rates` `[STEPS, GROUPS]`, `final.PARAMETER`.
    """
    encoder = packed.load_encoder(folder, dtype)
    heads = {name: value.to(dtype, copy=True).requires_grad_() for name, value in heads.items()}
    parameters = dict(encoder.named_parameters()) | heads
    layers = encoder.config.num_hidden_layers
    optimizer = torch.optim.AdamW(groups(parameters, layers), betas=SETTINGS["betas"], eps=SETTINGS["epsilon"], foreach=False)
    schedule = get_linear_schedule_with_warmup(optimizer, SETTINGS["warmup_steps"], SETTINGS["total_steps"])
    log = {f"loss.{task['name']}": [] for task in TASKS} | {"loss.total": [], "gradient_norms": [], "learning_rates": []}
    for step, parts in enumerate(steps, start=1):
        for task, last in FROZEN_UNTIL.items():
            for name in (f"heads.{task}.weight", f"heads.{task}.bias"):
                heads[name].requires_grad_(step > last)
        # Absent, not zero: AdamW leaves a parameter without a gradient alone.
        optimizer.zero_grad(set_to_none=True)
        losses = accumulate(encoder, heads, parts)
        trained = [parameter for parameter in parameters.values() if parameter.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(trained, SETTINGS["clip_norm"], foreach=False)
        rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
        optimizer.step()
        schedule.step()
        for name, value in losses.items():
            log[name].append(value)
        log["gradient_norms"].append(norm.item())
        log["learning_rates"].append([rates[name] for name in rate_groups(layers)])
    results = {name: torch.tensor(values, dtype=dtype) for name, values in log.items()}
    results |= {f"final.{name}": parameter.detach() for name, parameter in parameters.items()}
    updates = {name: int(state["step"]) for name, parameter in heads.items() if (state := optimizer.state[parameter])}
    return results, updates


def groups(parameters: dict[str, torch.nn.Parameter], layers: int) -> list[dict]:
    """One group per learning rate and kind of decay; the rate is before the schedule."""
    made = {}
    for name, parameter in parameters.items():
        group, rate = learning_rate(name, layers)
        decays = not ("bias" in name or "norm" in name.lower())
        key = (group, decays)
        empty = {"name": group, "params": [], "lr": rate, "weight_decay": SETTINGS["weight_decay"] if decays else 0.0}
        made.setdefault(key, empty)["params"].append(parameter)
    return list(made.values())


def learning_rate(name: str, layers: int) -> tuple[str, float]:
    """The group of a parameter and the group's rate: layer `i` of `L` at `lr · decay^(L - 1 - i)`, embeddings at `lr · decay^L`."""
    if name.startswith("heads."):
        return "heads", SETTINGS["head_learning_rate"]
    # The norm after the last layer belongs to it.
    numbers = [int(part) for part in name.split(".") if part.isdigit()]
    layer = layers - 1 if name.startswith("final_norm.") else next(iter(numbers), None)
    group, depth = ("embeddings", layers) if layer is None else (f"layers.{layer}", layers - 1 - layer)
    return group, SETTINGS["learning_rate"] * SETTINGS["layer_decay"] ** depth


def accumulate(encoder: torch.nn.Module, heads: dict, parts: list) -> dict[str, float]:
    """Adds up the gradients of all parts; returns each task's loss over the whole step and their weighted sum."""
    losses = {f"loss.{task['name']}": 0.0 for task in TASKS} | {"loss.total": 0.0}
    labelled = {task["name"]: sum(int(labels[f"present.{task['name']}"].sum()) for _, labels in parts) for task in TASKS}
    for batch, labels in parts:
        hidden = batch.hidden_states(encoder)[-1]
        total = 0.0
        for task in TASKS:
            name = task["name"]
            there = labels[f"present.{name}"].bool()
            if not there.any():
                continue
            vectors = batch.pool(hidden, task["pooling"])[there]
            logits = functional.linear(vectors, heads[f"heads.{name}.weight"], heads[f"heads.{name}.bias"])
            share = summed_loss(task, logits, labels[f"labels.{name}"][there]) / labelled[name]
            total = total + task["weight"] * share
            losses[f"loss.{name}"] += share.item()
            losses["loss.total"] += task["weight"] * share.item()
        total.backward()
    return losses


def summed_loss(task: dict, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The sum over rows; the caller divides by the labelled rows of the step."""
    if task["kind"] == "regression":
        return functional.mse_loss(logits[:, 0], targets.to(logits.dtype), reduction="sum")
    return functional.cross_entropy(logits, targets, reduction="sum")


def describe(folder: Path, exact: dict, updates: dict[str, int], table: dict) -> dict:
    """The settings, where the special steps are, and how precise float32 is."""
    norms = exact["gradient_norms"].tolist()
    return {
        "model": folder.name,
        "tasks": TASKS,
        "settings": SETTINGS,
        "parts_per_step": PARTS,
        "learning_rate_groups": rate_groups(AutoConfig.from_pretrained(folder).num_hidden_layers),
        "frozen_heads_until_step": FROZEN_UNTIL,
        "step_without_labels": WITHOUT_LABELS,
        "part_without_labels": {name: {"step": step, "part": part} for name, (step, part) in PART_WITHOUT_LABELS.items()},
        "clipped_steps": [step for step, norm in enumerate(norms, start=1) if norm > SETTINGS["clip_norm"]],
        "updates": updates,
        "precision": packed.PRECISION,
        "float32": table,
    }


if __name__ == "__main__":
    main()
