"""Writes `testdata/golden/pair_metrics.json`: metrics of pairs, by sentence-transformers, scikit-learn and scipy.

    python reference/make_pair_goldens.py

`pairs` are scores of pairs that belong together or not, as `BinaryClassificationEvaluator` judges them; `similarity` are
vectors of pairs with scores, and the correlations of their cosines at several widths. All numbers are float64.
"""

import json
import random
from pathlib import Path

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sentence_transformers.sentence_transformer.evaluation import BinaryClassificationEvaluator
from sklearn.metrics import average_precision_score

OUT = Path(__file__).parent.parent / "testdata/golden/pair_metrics.json"


def pair_case(name: str, scores: list[float], together: list[int]) -> dict:
    numbers, labels = np.array(scores), np.array(together)
    accuracy, accuracy_threshold = BinaryClassificationEvaluator.find_best_acc_and_threshold(numbers, labels, True)
    f1, precision, recall, f1_threshold = BinaryClassificationEvaluator.find_best_f1_and_threshold(numbers, labels, True)
    metrics = {
        "accuracy": accuracy,
        "accuracy_threshold": accuracy_threshold,
        "f1": f1,
        "f1_threshold": f1_threshold,
        "precision": precision,
        "recall": recall,
        "average_precision": average_precision_score(labels, numbers),
    }
    metrics = {name: float(value) for name, value in metrics.items()}
    return {"name": name, "scores": scores, "together": together, "metrics": metrics}


def similarity_case(rng: random.Random, rows: int, width: int, widths: list[int]) -> dict:
    def matrix() -> np.ndarray:
        return np.array([[rng.randrange(-128, 128) / 64 for _ in range(width)] for _ in range(rows)])

    first, noise = matrix(), matrix()
    # Below 1: the cosine of a vector with itself is 1 but for rounding, and such ties have no order.
    share = np.array([rng.randrange(0, 4) / 4 for _ in range(rows)])
    second = first * share[:, None] + noise * (1 - share[:, None])
    found = []
    for short in [width, *widths]:
        a, b = first[:, :short], second[:, :short]
        cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        found.append([short, float(pearsonr(cosines, share).statistic), float(spearmanr(cosines, share).statistic)])
    return {"first": first.tolist(), "second": second.tolist(), "scores": share.tolist(), "widths": found}


def main() -> None:
    rng = random.Random(31)
    pairs = []
    for name, rows, steps in [("distinct", 40, 1 << 20), ("ties", 60, 8), ("few", 5, 4)]:
        together = [rng.randrange(2) for _ in range(rows - 2)] + [0, 1]
        scores = [(rng.randrange(steps) + rng.randrange(steps) * label) / steps - 0.5 for label in together]
        pairs.append(pair_case(name, scores, together))
    pairs.append(pair_case("one positive at the end", [0.5, 0.25, 0.125], [0, 0, 1]))
    similarity = [similarity_case(rng, 30, 12, [6, 3])]
    cases = {"pairs": pairs, "similarity": similarity}
    lines = [json.dumps(name) + ": [\n" + ",\n".join(json.dumps(case) for case in of) + "\n]" for name, of in cases.items()]
    OUT.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
