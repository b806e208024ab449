"""Makes losses with their gradients, metrics and calibrations of small cases, into `testdata/golden/metrics.json`.

    python reference/make_metric_goldens.py --out testdata/golden

Losses and gradients come from PyTorch in float64, on numbers that float32 holds
exactly; scores from scikit-learn, scipy and seqeval; the best temperature from
a root search over PyTorch's gradient. Labels at or beyond `classes` are ones
that a head does not know: to the other libraries they are further classes.
The file has one case a line.
"""

import argparse
import json
import math
import random
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.stats import pearsonr, spearmanr
from seqeval.metrics import accuracy_score as tag_accuracy
from seqeval.metrics import classification_report as span_report
from seqeval.metrics import f1_score as span_f1
from seqeval.metrics import precision_score as span_precision
from seqeval.metrics import recall_score as span_recall
from seqeval.metrics.sequence_labeling import get_entities
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    hamming_loss,
    matthews_corrcoef,
    mean_absolute_error,
    mean_squared_error,
    precision_recall_fscore_support,
    precision_score,
    r2_score,
    recall_score,
)
from torch.nn import functional

SEED = 20240611
BINS = 15
TEMPERATURE = 2.0
TAGS = ["O", "B-a", "I-a", "B-b", "I-b"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("testdata/golden"))
    arguments = parser.parse_args()
    # Undefined scores are wanted here: they become 0 or null.
    warnings.simplefilter("ignore")
    torch.set_default_dtype(torch.float64)
    rng = random.Random(SEED)
    goldens = {
        "losses": loss_cases(rng),
        "classification": classification_cases(rng),
        "multilabel": multi_label_cases(rng),
        "regression": regression_cases(rng),
        "tokens": token_cases(rng),
        "calibration": calibration_cases(rng),
        "thresholds": threshold_cases(rng),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    write(arguments.out / "metrics.json", goldens)


def write(path: Path, goldens: dict[str, list[dict]]) -> None:
    """JSON with one case a line."""
    blocks = []
    for name, cases in goldens.items():
        lines = ",\n".join(json.dumps(case, allow_nan=False) for case in cases)
        blocks.append(f'"{name}": [\n{lines}\n]')
    path.write_text("{\n" + ",\n".join(blocks) + "\n}\n", encoding="utf-8")


def number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else float(value)


def some_logits(rng: random.Random, count: int, spread: float = 3.0) -> list[float]:
    """Multiples of 1/64: short, and exact in float32."""
    return [round(rng.gauss(0, spread) * 64) / 64 for _ in range(count)]


# Losses


def loss_cases(rng: random.Random) -> list[dict]:
    cases = []
    targets = [2, None, 0, 1, 2, None, 2]
    extreme = [1e4, -1e4, 0.0, -1e4, -1e4, -1e4, 0.0, 1e4, 1e4]
    smoothing = float(np.float32(0.1))
    for name, weights, label_smoothing in [
        ("plain", None, 0.0),
        ("smoothed", None, smoothing),
        ("weighted", [0.5, 2.0, 1.25], 0.0),
        ("weighted and smoothed", [0.5, 2.0, 1.25], smoothing),
        ("a weight of zero", [0.0, 1.0, 3.0], smoothing),
    ]:
        cases.append(cross_entropy(name, some_logits(rng, 21), targets, weights, label_smoothing))
        cases.append(cross_entropy(f"{name}, extreme", extreme, [1, 0, 2], weights, label_smoothing))
    sets = [[0, 3], None, [], [1], [0, 1, 2, 3]]
    for name, weights in [("plain", None), ("weighted", [0.5, 3.0, 1.0, 10.0])]:
        cases.append(binary_cross_entropy(name, some_logits(rng, 20), sets, weights))
    cases.append(binary_cross_entropy("extreme", [1e4, -1e4, 1e4, -1e4], [[0, 1]], None))
    numbers = [0.5, None, -2.25, 3.0]
    cases.append(squared_error("plain", some_logits(rng, 4), numbers))
    cases.append(squared_error("extreme", [1e4, 1.0, -1e4, 0.0], [-1e4, None, 1e4, 0.0]))
    for kind in ["classification", "multilabel", "regression", "tokens"]:
        cases.append(distillation("plain", kind, some_logits(rng, 12), some_logits(rng, 12)))
        cases.append(distillation("extreme", kind, [1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]))
    return cases


def with_gradient(case: dict, loss: Callable[[torch.Tensor], torch.Tensor]) -> dict:
    """Adds the mean loss of `case["logits"]` and its gradient."""
    logits = torch.tensor(case["logits"], requires_grad=True)
    value = loss(logits)
    value.backward()
    return case | {"mean": value.item(), "gradient": logits.grad.tolist()}


def labelled(targets: list) -> list[int]:
    return [row for row, target in enumerate(targets) if target is not None]


def cross_entropy(
    name: str, logits: list[float], targets: list[int | None], weights: list[float] | None, smoothing: float
) -> dict:
    case = {"loss": "cross_entropy", "name": name, "outputs": 3, "logits": logits, "targets": targets}
    case |= {"weights": weights, "label_smoothing": smoothing}
    criterion = torch.nn.CrossEntropyLoss(
        weight=None if weights is None else torch.tensor(weights), label_smoothing=smoothing
    )
    rows = labelled(targets)
    known = torch.tensor([targets[row] for row in rows])
    return with_gradient(case, lambda z: criterion(z.view(-1, 3)[rows], known))


def binary_cross_entropy(
    name: str, logits: list[float], targets: list[list[int] | None], weights: list[float] | None
) -> dict:
    case = {"loss": "binary_cross_entropy", "name": name, "outputs": 4, "logits": logits, "targets": targets}
    case |= {"weights": weights}
    criterion = torch.nn.BCEWithLogitsLoss(pos_weight=None if weights is None else torch.tensor(weights))
    rows = labelled(targets)
    there = torch.tensor([[float(label in targets[row]) for label in range(4)] for row in rows])
    return with_gradient(case, lambda z: criterion(z.view(-1, 4)[rows], there))


def squared_error(name: str, predictions: list[float], targets: list[float | None]) -> dict:
    case = {"loss": "squared_error", "name": name, "outputs": 1, "logits": predictions, "targets": targets}
    rows = labelled(targets)
    known = torch.tensor([targets[row] for row in rows])
    return with_gradient(case, lambda z: functional.mse_loss(z[rows], known))


def distillation(name: str, kind: str, logits: list[float], teacher: list[float]) -> dict:
    outputs = 1 if kind == "regression" else 3
    case = {"loss": "distillation", "kind": kind, "name": name, "outputs": outputs, "logits": logits}
    case |= {"teacher": teacher}
    wanted = torch.tensor(teacher).view(-1, outputs)

    def loss(z: torch.Tensor) -> torch.Tensor:
        z = z.view(-1, outputs)
        if kind == "multilabel":
            return functional.binary_cross_entropy_with_logits(z, wanted.sigmoid())
        if kind == "regression":
            return functional.mse_loss(z, wanted)
        softened = (wanted / TEMPERATURE).softmax(1)
        return TEMPERATURE**2 * functional.cross_entropy(z / TEMPERATURE, softened)

    return with_gradient(case, loss)


# Metrics


def per_label(targets: object, given: object, labels: list[int]) -> list[list[float]]:
    """`[precision, recall, f1, support]` of each label."""
    scores = precision_recall_fscore_support(targets, given, labels=labels, average=None, zero_division=0)
    return np.array(scores).T.tolist()


def averages(targets: object, given: object, average: str, **options: object) -> dict[str, float]:
    scores = {"precision": precision_score, "recall": recall_score, "f1": f1_score}
    return {
        f"{name}_{average}": float(score(targets, given, average=average, zero_division=0, **options))
        for name, score in scores.items()
    }


def classification_cases(rng: random.Random) -> list[dict]:
    def drawn(rows: int, labels: list[int], right: float, given: list[int] | None = None) -> tuple[list[int], list[int]]:
        targets = [rng.choice(labels) for _ in range(rows)]
        answers = [t if rng.random() < right else rng.choice(given or labels) for t in targets]
        return targets, answers

    five = list(range(5))
    targets, given = drawn(40, [*five, 5, 6], 0.7, five)
    unknown = (targets, [answer if answer < 5 else 0 for answer in given])
    cases = {
        "five labels": (5, *drawn(60, five, 0.6)),
        "two labels": (2, *drawn(25, [0, 1], 0.8)),
        "unequal labels": (3, *drawn(50, [0] * 8 + [1] * 2 + [2], 0.5)),
        "labels that never occur": (6, *drawn(30, [1, 4], 0.7)),
        "a label that is given and never there": (4, *drawn(30, [0, 2], 0.6, [0, 1, 2])),
        "constant answers": (3, drawn(20, [0, 1, 2], 0.5)[0], [1] * 20),
        "constant targets": (3, [2] * 20, drawn(20, [0, 1, 2], 0.5)[0]),
        "constant both": (3, [1] * 4, [1] * 4),
        "all right": (3, [0, 1, 2, 1], [0, 1, 2, 1]),
        "all wrong": (3, [0, 1, 2, 1], [1, 2, 0, 0]),
        "one row, right": (2, [1], [1]),
        "one row, wrong": (2, [1], [0]),
        "unknown labels": (5, *unknown),
        "one row, unknown": (2, [2], [0]),
        # A fifth of the rows has a label that training does not have.
        "an unknown label in a fifth of the rows": (4, [i % 5 for i in range(80)], [i * i % 4 for i in range(80)]),
        "more unknown labels than known ones": (2, [i % 7 for i in range(50)], [i % 3 % 2 for i in range(50)]),
    }
    return [classification(name, *case) for name, case in cases.items()]


def classification(name: str, classes: int, targets: list[int], given: list[int]) -> dict:
    scores = {
        "accuracy": float(accuracy_score(targets, given)),
        **averages(targets, given, "macro"),
        **averages(targets, given, "micro"),
        "f1_weighted": averages(targets, given, "weighted")["f1_weighted"],
        "mcc": float(matthews_corrcoef(targets, given)),
    }
    labels = list(range(classes))
    # scikit-learn refuses a matrix without a single known target.
    known = any(target < classes for target in targets)
    matrix = confusion_matrix(targets, given, labels=labels).tolist() if known else [[0] * classes] * classes
    case = {"name": name, "classes": classes, "targets": targets, "given": given, "scores": scores}
    return case | {"labels": per_label(targets, given, labels), "confusion": matrix}


def multi_label_cases(rng: random.Random) -> list[dict]:
    def drawn(rows: int, labels: int, share: float) -> list[list[int]]:
        return [[label for label in range(labels) if rng.random() < share] for _ in range(rows)]

    def near(sets: list[list[int]], labels: int) -> list[list[int]]:
        return [[label for label in range(labels) if (label in row) != (rng.random() < 0.15)] for row in sets]

    four = drawn(30, 4, 0.3)
    never = [[label for label in row if label != 2] for row in drawn(20, 4, 0.4)]
    beyond = drawn(20, 6, 0.3)
    cases = {
        "four labels": (4, four, near(four, 4)),
        "a label that never occurs": (4, never, [[label for label in row if label != 2] for row in near(never, 4)]),
        "nothing given": (3, drawn(10, 3, 0.5), [[]] * 10),
        "nothing there": (3, [[]] * 10, drawn(10, 3, 0.5)),
        "nothing at all": (2, [[], []], [[], []]),
        "one row": (3, [[0, 2]], [[2]]),
        "unknown labels": (4, beyond, near(beyond, 4)),
        "labels that only the data have": (
            2,
            [[label for label in range(5) if (i + label) % 3 == 0] for i in range(40)],
            [[label for label in range(2) if (i + label) % 4 == 0] for i in range(40)],
        ),
    }
    return [multi_label(name, *case) for name, case in cases.items()]


def multi_label(name: str, classes: int, targets: list[list[int]], given: list[list[int]]) -> dict:
    occurring = sorted({label for row in [*targets, *given] for label in row})
    there, answered = matrices(occurring, targets, given)
    if occurring:
        scores = averages(there, answered, "micro") | averages(there, answered, "macro")
        scores |= {
            "exact_match": float(accuracy_score(there, answered)),
            "hamming_loss": float(hamming_loss(there, answered)),
        }
    else:
        # scikit-learn refuses a matrix without columns.
        names = [f"{score}_{average}" for average in ("micro", "macro") for score in ("precision", "recall", "f1")]
        scores = dict.fromkeys(names, 0.0) | {"exact_match": 1.0, "hamming_loss": 0.0}
    case = {"name": name, "classes": classes, "targets": targets, "given": given, "scores": scores}
    labels = list(range(classes))
    return case | {"labels": per_label(*matrices(labels, targets, given), labels)}


def matrices(labels: list[int], *sets: list[list[int]]) -> list[np.ndarray]:
    """Indicator matrices of `sets` with these labels as columns."""
    return [np.array([[int(label in row) for label in labels] for row in rows]) for rows in sets]


def regression_cases(rng: random.Random) -> list[dict]:
    targets = some_logits(rng, 30)
    near = [target + noise for target, noise in zip(targets, some_logits(rng, 30, 1.0))]
    coarse = [float(round(target)) for target in targets]
    cases = {
        "plain": (targets, near),
        "equal targets": (coarse, near),
        "equal answers and targets": (coarse, [float(round(value)) for value in near]),
        "unrelated": (targets, some_logits(rng, 30)),
        "falling": (targets, [-value for value in near]),
        "perfect": (targets, targets),
        "far from zero": (targets, [value + 65536.0 for value in near]),
        "constant answers": (targets, [float(np.float32(0.1))] * 30),
        "constant targets": ([2.5] * 30, near),
        "constant both": ([2.0] * 3, [2.0] * 3),
        "two rows": ([1.0, 2.0], [0.5, 0.25]),
        "one row": ([1.0], [0.5]),
    }
    return [regression(name, *case) for name, case in cases.items()]


def regression(name: str, targets: list[float], given: list[float]) -> dict:
    # scikit-learn gives 0 or 1 for constant targets, where the share of no variance has no value.
    several, varied = len(targets) > 1, len(set(targets)) > 1
    scores = {
        "pearson": number(pearsonr(targets, given).statistic) if several else None,
        "spearman": number(spearmanr(targets, given).statistic) if several else None,
        "mse": float(mean_squared_error(targets, given)),
        "mae": float(mean_absolute_error(targets, given)),
        "r2": float(r2_score(targets, given)) if varied else None,
    }
    return {"name": name, "targets": targets, "given": given, "scores": scores}


def token_cases(rng: random.Random) -> list[dict]:
    def drawn(rows: int, tags: list[str]) -> list[list[str]]:
        return [[rng.choice(tags) for _ in range(rng.randint(1, 9))] for _ in range(rows)]

    def near(rows: list[list[str]]) -> list[list[str]]:
        return [[rng.choice(TAGS) if rng.random() < 0.2 else tag for tag in row] for row in rows]

    def split(*rows: str) -> list[list[str]]:
        return [row.split() for row in rows]

    random_targets, more_targets = drawn(12, TAGS), drawn(10, [*TAGS, "O", "O"])
    unknown = drawn(10, [*TAGS, "B-c", "I-c", "B-d"])
    given_unknown = [[tag if tag in TAGS else rng.choice(TAGS) for tag in row] for row in near(unknown)]
    cases = {
        "all right": (split("B-a I-a O B-b", "O O"), split("B-a I-a O B-b", "O O")),
        "inside at the start": (split("B-a I-a O", "I-a I-a O"), split("I-a I-a O", "B-a I-a O")),
        "inside after outside": (split("O B-a I-a", "O I-a"), split("O I-a I-a", "O B-a")),
        "inside changes type": (split("B-a I-b I-b", "I-a I-b"), split("B-a B-b I-b", "I-a I-a")),
        "begin after begin": (split("B-a B-a I-a", "B-a B-b"), split("B-a I-a I-a", "B-a B-b")),
        "begin after inside": (split("B-a I-a B-a", "I-a B-a"), split("B-a I-a I-a", "I-a B-a")),
        "one word too many": (split("O B-a I-a O"), split("O B-a I-a I-a")),
        "the wrong type": (split("B-a I-a O B-b"), split("B-b I-b O B-b")),
        "nothing found": (split("B-a I-a O B-b"), split("O O O O")),
        "nothing there": (split("O O O"), split("B-a O I-b")),
        "nothing at all": (split("O O", "O"), split("O O", "O")),
        "one word": (split("B-a"), split("I-a")),
        "a span does not cross sequences": (split("B-a", "I-a"), split("B-a", "I-a")),
        "random": (random_targets, near(random_targets)),
        "random, mostly outside": (more_targets, near(more_targets)),
        "unrelated": (random_targets, [[rng.choice(TAGS) for _ in row] for row in random_targets]),
        "unknown types": (unknown, given_unknown),
    }
    return [tokens(name, *case) for name, case in cases.items()]


def tokens(name: str, targets: list[list[str]], given: list[list[str]]) -> dict:
    scores = {
        "precision": float(span_precision(targets, given, zero_division=0)),
        "recall": float(span_recall(targets, given, zero_division=0)),
        "f1": float(span_f1(targets, given, zero_division=0)),
        "accuracy": float(tag_accuracy(targets, given)),
    }
    try:
        report = span_report(targets, given, output_dict=True, zero_division=0)
    except ValueError:
        # seqeval's report refuses data without any span.
        report = {}
    types = {
        label: [float(row[key]) for key in ("precision", "recall", "f1-score", "support")]
        for label, row in report.items()
        if not label.endswith(" avg")
    }
    case = {"name": name, "targets": [" ".join(row) for row in targets], "given": [" ".join(row) for row in given]}
    return case | {"scores": scores, "types": types, "spans": [get_entities(row) for row in given]}


# Calibration


def calibration_cases(rng: random.Random) -> list[dict]:
    cases = []
    for name, classes, spread, right in [("too certain", 4, 4.0, 0.6), ("too timid", 3, 0.75, 0.9), ("tags", 5, 2.0, 0.8)]:
        logits = some_logits(rng, 60 * classes, spread)
        answers = np.array(logits).reshape(-1, classes).argmax(1).tolist()
        targets = [answer if rng.random() < right else rng.randrange(classes) for answer in answers]
        z, y = torch.tensor(logits).view(-1, classes), torch.tensor(targets)
        temperature = best_temperature(lambda t, z=z, y=y: functional.cross_entropy(z / t, y))

        def judged(t: float, z: torch.Tensor = z, y: torch.Tensor = y) -> dict:
            confidence, answer = (z / t).softmax(1).max(1)
            return reliability(functional.cross_entropy(z / t, y), confidence, answer == y)

        case = {"kind": "classification", "name": name, "classes": classes, "logits": logits, "targets": targets}
        cases.append(case | {"temperature": temperature, "before": judged(1.0), "after": judged(temperature)})
    logits = some_logits(rng, 120, 5.0)
    targets = [[c for c in range(3) if (logits[3 * row + c] > 0) != (rng.random() < 0.2)] for row in range(40)]
    z = torch.tensor(logits).view(-1, 3)
    there = torch.tensor([[float(c in row) for c in range(3)] for row in targets])
    temperature = best_temperature(lambda t: functional.binary_cross_entropy_with_logits(z / t, there))

    def judged_sets(t: float) -> dict:
        nll = functional.binary_cross_entropy_with_logits(z / t, there)
        return reliability(nll, (z / t).sigmoid().flatten(), there.flatten() > 0)

    case = {"kind": "multilabel", "name": "too certain", "classes": 3, "logits": logits, "targets": targets}
    cases.append(case | {"temperature": temperature, "before": judged_sets(1.0), "after": judged_sets(temperature)})
    return cases


def best_temperature(loss: Callable[[torch.Tensor], torch.Tensor]) -> float:
    """Where the loss's derivative by ln T is 0: a root is found to more digits than a minimum."""

    def derivative(log_temperature: float) -> float:
        x = torch.tensor(log_temperature, requires_grad=True)
        loss(x.exp()).backward()
        return x.grad.item()

    return math.exp(brentq(derivative, math.log(0.05), math.log(20.0), xtol=1e-13))


def reliability(nll: torch.Tensor, confidence: torch.Tensor, holds: torch.Tensor) -> dict:
    """Guo et al. (2017), equation 3: bins open below and closed above."""
    ece, bins = 0.0, []
    for i in range(BINS):
        inside = (confidence > i / BINS) & (confidence <= (i + 1) / BINS)
        cases = int(inside.sum())
        mean, share = (x[inside].double().mean().item() if cases else 0.0 for x in (confidence, holds))
        ece += cases / len(confidence) * abs(share - mean)
        bins.append([cases, mean, share])
    return {"nll": nll.item(), "ece": ece, "bins": bins}


def threshold_cases(rng: random.Random) -> list[dict]:
    """The best F1 of each label over all thresholds there can be, by scikit-learn."""
    cases = []
    for name, rows, classes, shift in [("rare labels", 40, 4, -2.0), ("common labels", 40, 3, 2.0), ("equal logits", 30, 2, 0.0)]:
        logits = [value + shift for value in some_logits(rng, rows * classes, 1.5)]
        if name == "equal logits":
            logits = [float(round(value)) for value in logits]
        targets = [
            [c for c in range(classes - 1) if logits[row * classes + c] + rng.gauss(-shift, 2) > 0] for row in range(rows)
        ]
        z = np.array(logits).reshape(rows, classes)
        best = []
        for label in range(classes):
            there = [int(label in row) for row in targets]
            tried = [f1_score(there, z[:, label] >= cut, zero_division=0) for cut in sorted(set(z[:, label]))]
            best.append(float(max(tried)))
        # The last label has no positive row: its threshold stays.
        cases.append({"name": name, "classes": classes, "logits": logits, "targets": targets, "f1": best})
    return cases


if __name__ == "__main__":
    main()
