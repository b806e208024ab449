"""Writes `testdata/golden/multitask.{json,safetensors}`: weights of losses and mixed gradients of several tasks.

    python reference/make_multitask_goldens.py --models testdata/models --out testdata/golden

The JSON has toys: matrices of gradients with what PCGrad and UPGrad of torchjd 0.18 make of them (times the number of
tasks where it takes the mean), losses with the weights of UW-SO, and losses of several steps with the learned weights of
uncertainty weighting, whose optimizer is PyTorch's Adam. The tensors are the mixed gradients of a tiny BERT with two heads
in a step of `trajectory`: PCGrad and UPGrad over the parameters of the encoder, plain gradients for the heads. All in
float64, the tensors stored as float32.
"""

import itertools
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torchjd.aggregation import PCGrad, UPGrad

import make_trajectory_goldens as trajectory
import packed
import tiny

MODEL = "tiny-bert"
#: A step in whose gradients the two tasks conflict.
STEP = 1
RATE, BETAS, EPSILON = 0.01, [0.9, 0.999], 1e-8


def main() -> None:
    arguments = tiny.folders(__doc__)
    torch.set_default_dtype(torch.float64)
    generator = torch.Generator().manual_seed(24)
    toys = {"mixes": mixes(generator), "uw-so": inverse_losses(), "uncertainty": uncertainty()}
    tiny.write_json(arguments.out / "multitask.json", toys | {"model": MODEL, "step": STEP})
    save_file(packed.stored(tiny_gradients(arguments.models / MODEL)), arguments.out / "multitask.safetensors")


def mixes(generator: torch.Generator) -> list[dict]:
    """`gradients` `[tasks, 5]` and what each method makes of them; PCGrad with each task's own `orders`."""
    cases = []
    for tasks in [2, 2, 3, 4, 4]:
        gradients = torch.randint(-64, 64, (tasks, 5), generator=generator) / 16
        orders = [torch.randperm(tasks, generator=generator) for _ in range(tasks)]
        cases.append({
            "gradients": gradients.tolist(),
            "orders": [order.tolist() for order in orders],
            "pcgrad": pcgrad(gradients, orders).tolist(),
            "upgrad": (tasks * UPGrad()(gradients)).tolist(),
        })
    return cases


def pcgrad(gradients: torch.Tensor, orders: list[torch.Tensor]) -> torch.Tensor:
    """The library's, which draws an order for each task."""
    drawn, torch_randperm = iter(orders), torch.randperm
    torch.randperm = lambda *_, **__: next(drawn)
    try:
        return PCGrad()(gradients)
    finally:
        torch.randperm = torch_randperm


def inverse_losses() -> list[dict]:
    """Equation 9 of Kirchdorfer et al., 2024, times the number of tasks."""
    cases = []
    for losses, temperature in itertools.product([[0.5, 2.0], [1.0, 1.0, 0.125], [0.001, 3.0]], [1.0, 20.0]):
        weights = len(losses) * torch.softmax(1 / torch.tensor(losses) / temperature, dim=0)
        cases.append({"losses": losses, "temperature": temperature, "weights": weights.tolist()})
    return cases


def uncertainty() -> dict:
    """Weights of two tasks before each of six steps; the second has squared errors, and no label in the third step."""
    log_variances = [torch.zeros((), requires_grad=True) for _ in range(2)]
    optimizer = torch.optim.Adam(log_variances, lr=RATE, betas=BETAS, eps=EPSILON)
    losses = [[1.5, 0.25], [1.0, 4.0], [0.75, None], [0.5, 0.125], [2.0, 0.5], [0.25, 0.0]]
    weights = []
    for of_step in losses:
        weights.append([factor * math.exp(-s.item()) for factor, s in zip([1.0, 0.5], log_variances)])
        optimizer.zero_grad(set_to_none=True)
        terms = [factor * torch.exp(-s) * loss + s / 2 for factor, s, loss in zip([1.0, 0.5], log_variances, of_step) if loss is not None]
        sum(terms).backward()
        optimizer.step()
    return {"rate": RATE, "betas": BETAS, "epsilon": EPSILON, "losses": losses, "weights": weights}


def tiny_gradients(folder: Path) -> dict[str, torch.Tensor]:
    """`pcgrad.PARAMETER` and `upgrad.PARAMETER`, this one without tables: with two tasks, both are nearly the same."""
    generator = torch.Generator().manual_seed(tiny.SEED + 1)
    torch.set_default_dtype(torch.float32)
    steps = [[trajectory.make_part(step, part, generator) for part in range(trajectory.PARTS)] for step in range(1, trajectory.STEPS + 1)]
    heads = trajectory.make_heads(packed.load_encoder(folder, torch.float32).config.hidden_size, generator)
    torch.set_default_dtype(torch.float64)
    encoder = packed.load_encoder(folder, torch.float64)
    heads = {name: value.double().requires_grad_() for name, value in heads.items()}
    shared = dict(encoder.named_parameters())
    all_tasks, rows = trajectory.TASKS, []
    for task in all_tasks:
        trajectory.TASKS = [task]
        trajectory.accumulate(encoder, heads, steps[STEP - 1])
        rows.append(torch.cat([parameter.grad.flatten() if parameter.grad is not None else torch.zeros(parameter.numel()) for parameter in shared.values()]))
        for parameter in shared.values():
            parameter.grad = None
    trajectory.TASKS = all_tasks
    gradients = torch.stack(rows)
    assert gradients[0] @ gradients[1] < 0, "expected a conflict"
    found = {}
    for name, mixed in [("pcgrad", PCGrad()(gradients)), ("upgrad", len(rows) * UPGrad()(gradients))]:
        parts = mixed.split([parameter.numel() for parameter in shared.values()])
        found |= {f"{name}.{parameter}": part.reshape(shared[parameter].shape).clone() for parameter, part in zip(shared, parts)}
        found |= {f"{name}.{head}": value.grad.clone() for head, value in heads.items()}
    return {name: value for name, value in found.items() if not (name.startswith("upgrad") and "embeddings" in name)}


if __name__ == "__main__":
    main()
