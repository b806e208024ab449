"""Makes 95 % intervals of differences between runs, into `testdata/golden/bootstrap.json`.

    python reference/make_bootstrap_goldens.py --out testdata/golden

The intervals are those of `scipy.stats.bootstrap`: percentiles of draws of the rows, the same rows for all runs. Two runs
of a task alone and two together with others have answered the same rows; the statistic is the mean over both pairs of the
difference of a metric.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap, spearmanr

SEED = 20261129
DRAWS = 20_000
RUNS = 4


def accuracy(given: np.ndarray, target: np.ndarray) -> float:
    return float(np.mean(given == target))


def spearman(given: np.ndarray, target: np.ndarray) -> float:
    return float(spearmanr(given, target).statistic)


def case(metric: Callable, target: np.ndarray, answers: list[np.ndarray], generator: np.random.Generator) -> dict:
    """The first two of the answers are those of the task alone."""

    def difference(target: np.ndarray, *answers: np.ndarray) -> float:
        scores = [metric(given, target) for given in answers]
        return (scores[2] - scores[0] + scores[3] - scores[1]) / 2

    found = bootstrap(
        (target, *answers),
        difference,
        paired=True,
        vectorized=False,
        n_resamples=DRAWS,
        method="percentile",
        rng=generator,
    )
    return {
        "metric": metric.__name__,
        "rows": [list(zip(map(number, given), map(number, target), strict=True)) for given in answers],
        "difference": difference(target, *answers),
        "interval": [found.confidence_interval.low, found.confidence_interval.high],
        "error": found.standard_error,
    }


def number(value: np.generic) -> float | int:
    return value.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    generator = np.random.default_rng(SEED)
    target = generator.integers(0, 3, 160)
    answers = []
    for share in (0.7, 0.72, 0.8, 0.78):
        is_right = generator.random(len(target)) < share
        answers.append(np.where(is_right, target, (target + 1) % 3))
    cases = [case(accuracy, target, answers, generator)]
    # Numbers of few digits, with equal ones among them.
    target = np.round(generator.normal(size=90), 1)
    answers = [np.round(target + noise * generator.normal(size=90), 1) for noise in (0.8, 0.7, 0.9, 1.0)]
    cases.append(case(spearman, target, answers, generator))
    lines = ",\n".join(json.dumps(found) for found in cases)
    (arguments.out / "bootstrap.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
