"""Writes `testdata/golden/ordinal_metrics.json`: scores of scikit-learn and scipy for answers with an order.

    python reference/make_ordinal_goldens.py

Each case has `labels` (how many), `given` and `targets` (ranks from 0), and accuracy, mean absolute error, Cohen's kappa
with quadratic weights and Spearman's correlation of the ranks.
"""

import json
import random
from pathlib import Path

from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, cohen_kappa_score, mean_absolute_error

OUT = Path(__file__).parent.parent / "testdata/golden/ordinal_metrics.json"


def case(labels: int, given: list[int], targets: list[int]) -> dict:
    return {
        "labels": labels,
        "given": given,
        "targets": targets,
        "accuracy": accuracy_score(targets, given),
        "mae": mean_absolute_error(targets, given),
        "quadratic_kappa": float(cohen_kappa_score(targets, given, weights="quadratic", labels=list(range(labels)))),
        "spearman": float(spearmanr(targets, given).statistic),
    }


def main() -> None:
    rng = random.Random(11)
    cases = [case(3, [0, 1, 2, 2], [0, 1, 2, 1]), case(2, [0, 1, 1, 0], [1, 0, 0, 1])]
    for labels, rows, near in [(5, 40, 1), (5, 200, 2), (10, 120, 3), (4, 30, 4)]:
        targets = [rng.randrange(labels) for _ in range(rows)]
        given = [min(max(t + rng.randint(-near, near), 0), labels - 1) for t in targets]
        cases.append(case(labels, given, targets))
    # A label that is never given, and answers that are all one too high.
    cases.append(case(5, [1, 2, 4, 4, 2, 1], [0, 1, 3, 3, 1, 0]))
    OUT.write_text("[\n" + ",\n".join(json.dumps(one) for one in cases) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
