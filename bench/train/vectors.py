"""Trains sentence vectors on the STS Benchmark with Polyhead and with sentence-transformers, in turns.

    cargo build --release -p polyhead-cli
    PATH/TO/python bench/train/vectors.py --model PATH/TO/all-MiniLM-L6-v2 --data PATH/TO/stsb --seeds 3

Runs in an environment with sentence-transformers, datasets, accelerate and scipy. `--data` has `train.jsonl`,
`dev.jsonl` and `test.jsonl` with `text_a`, `text_b` and `score`.

Both sides: CoSENT at scale 20, batches of 32 pairs in random order, AdamW with weight decay 0.01, linear schedule with a
tenth of warm-up, clipping at 1, dropout of the model's configuration, single precision, two threads. sentence-transformers
pads each batch as its trainer does. Random numbers differ, so results differ as those of seeds do. Printed are Spearman's
correlation on test (x 100) and the pairs that were trained on in a second, without loading and evaluation. With `--steps`
a run ends early: for speed alone.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

from training_run import toml

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--polyhead", default="target/release/polyhead", type=Path)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rate", type=float, default=2e-5)
    parser.add_argument("--steps", type=int, default=0, help="end each run after so many steps")
    parser.add_argument("--only", choices=["polyhead", "sentence-transformers"])
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "2"
    sides = {"polyhead": polyhead, "sentence-transformers": sentence_transformers}
    results = {name: [] for name in sides if arguments.only in (None, name)}
    for seed in range(1, arguments.seeds + 1):
        for name, found in results.items():
            with tempfile.TemporaryDirectory() as place:
                spearman, rate = sides[name](arguments, seed, Path(place))
            found.append((spearman, rate))
            print(f"seed {seed}, {name}: Spearman {100 * spearman:.2f}, {rate:.1f} pairs/s", flush=True)
    for name, found in results.items():
        scores, rates = zip(*found)
        scores = [100 * score for score in scores]
        mean, rate = statistics.mean(scores), statistics.median(rates)
        print(f"{name}: Spearman {mean:.2f} ({min(scores):.2f} to {max(scores):.2f}), {rate:.1f} pairs/s (median)")
    if len(results) == 2:
        ours, theirs = ([rate for _, rate in found] for found in results.values())
        ratios = [a / b for a, b in zip(ours, theirs)]
        print(f"pairs/s: {statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})")


def polyhead(arguments: argparse.Namespace, seed: int, place: Path) -> tuple[float, float]:
    data = arguments.data.resolve()
    config = {
        "encoder": {"model": str(arguments.model.resolve())},
        "data": {"train": str(data / "train.jsonl"), "text": ["text_a", "text_b"]},
        "task": [{"name": "sts", "kind": "similarity", "field": "score", "range": [0.0, 5.0]}],
        "train": {
            "recipe": "full",
            "epochs": arguments.epochs,
            "max_steps": arguments.steps,
            "batch_size": BATCH,
            "learning_rate": arguments.rate,
            "weight_decay": 0.01,
            "warmup": 0.1,
            "schedule": "linear",
            "clip_norm": 1.0,
        },
    }
    (place / "run.toml").write_text(toml(config), encoding="utf-8")
    run = [arguments.polyhead, "train", place / "run.toml", "-o", place / "run", "--quiet", "--threads", "2"]
    subprocess.run([*map(str, run), "--set", f"seed={seed}"], check=True, stdout=subprocess.DEVNULL)
    times = [json.loads(line) for line in (place / "run/timings.jsonl").read_text().splitlines()]
    # A line for each part of the run that is logged; those of evaluations have no rate.
    trained = [line for line in times if "texts_per_second" in line]
    seconds = sum(line["seconds"] for line in trained)
    evaluate = [arguments.polyhead, "eval", place / "run", "-i", data / "test.jsonl", "--json", "--field", "text_a,text_b"]
    output = subprocess.run([*map(str, evaluate), "--label-field", "sts=score"], check=True, capture_output=True, text=True)
    spearman = json.loads(output.stdout)["tasks"]["sts"]["spearman"]
    return spearman, trained[-1]["step"] * BATCH / seconds


def sentence_transformers(arguments: argparse.Namespace, seed: int, place: Path) -> tuple[float, float]:
    # Imported here: `--only polyhead` needs no PyTorch.
    import numpy as np
    import torch
    from datasets import Dataset
    from scipy.stats import spearmanr
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.losses import CoSENTLoss

    torch.set_num_threads(2)
    torch.manual_seed(seed)
    model = SentenceTransformer(str(arguments.model), device="cpu", local_files_only=True)
    train, test = (rows(arguments.data / name) for name in ("train.jsonl", "test.jsonl"))
    columns = {name: [row[name] for row in train] for name in ("text_a", "text_b")}
    columns["score"] = [row["score"] / 5 for row in train]
    settings = SentenceTransformerTrainingArguments(
        output_dir=str(place),
        num_train_epochs=arguments.epochs,
        max_steps=arguments.steps or -1,
        per_device_train_batch_size=BATCH,
        learning_rate=arguments.rate,
        weight_decay=0.01,
        warmup_steps=0.1,
        lr_scheduler_type="linear",
        max_grad_norm=1.0,
        seed=seed,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = SentenceTransformerTrainer(model=model, args=settings, train_dataset=Dataset.from_dict(columns), loss=CoSENTLoss(model))
    seconds = trainer.train().metrics["train_runtime"]
    steps = trainer.state.global_step
    first, second = (model.encode([row[name] for row in test], normalize_embeddings=True) for name in ("text_a", "text_b"))
    return spearmanr(np.sum(first * second, axis=1), [row["score"] for row in test]).statistic, steps * BATCH / seconds


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
