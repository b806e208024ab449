"""The kinds of task: labels, targets, losses and metrics, by PyTorch, scikit-learn, scipy and seqeval."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr
from seqeval.metrics import f1_score as span_f1
from seqeval.metrics import precision_score as span_precision
from seqeval.metrics import recall_score as span_recall
from sklearn.metrics import accuracy_score, f1_score, precision_recall_curve
from torch.nn import functional

HALF = 0.5


class Task(ABC):
    """A task with the labels that its training rows have; a row without the field has no label."""

    #: The metric that stands for the task when the best epoch is chosen.
    main: str
    reads_words = False

    def __init__(self, name: str, field: str, train: list[dict]):
        self.name, self.field = name, field
        self.labels = sorted(self.names([row[field] for row in train if field in row]))
        if not self.labels:
            raise SystemExit(f"task {name}: expected rows with the field {field}, found none")

    @abstractmethod
    def names(self, values: list) -> set[str]:
        """The labels that occur in the values of the field."""

    @abstractmethod
    def loss(self, logits: torch.Tensor, values: list) -> torch.Tensor:
        """The mean over labelled rows; `logits` `[B, C]` and the field's values in the same order."""

    @abstractmethod
    def metrics(self, logits: np.ndarray, values: list, tuning: tuple | None = None) -> dict[str, float]:
        """Fractions; `tuning` holds logits and values of dev, if there is something to tune on them."""

    def index(self, label: str) -> int:
        """Of a label; -1, which no answer is, for one that training has not seen."""
        return self.labels.index(label) if label in self.labels else -1


class Classification(Task):
    main = "accuracy"

    def names(self, values: list) -> set[str]:
        return set(values)

    def loss(self, logits: torch.Tensor, values: list) -> torch.Tensor:
        return functional.cross_entropy(logits, torch.tensor([self.index(value) for value in values]))

    def metrics(self, logits: np.ndarray, values: list, tuning: tuple | None = None) -> dict[str, float]:
        found, gold = logits.argmax(axis=1), [self.index(value) for value in values]
        return {"accuracy": accuracy_score(gold, found), "f1_macro": f1_score(gold, found, average="macro", zero_division=0)}


class MultiLabel(Task):
    main = "f1_micro"

    def names(self, values: list) -> set[str]:
        return {label for labels in values for label in labels}

    def matrix(self, values: list) -> np.ndarray:
        """`[B, C]` of 0 and 1. A label that training has not seen cannot be answered and is left out."""
        return np.array([[label in labels for label in self.labels] for labels in values], dtype=np.int64)

    def loss(self, logits: torch.Tensor, values: list) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(logits, torch.tensor(self.matrix(values), dtype=logits.dtype))

    def metrics(self, logits: np.ndarray, values: list, tuning: tuple | None = None) -> dict[str, float]:
        gold, probabilities = self.matrix(values), sigmoid(logits)
        found = self._scores(gold, probabilities >= HALF)
        if tuning is not None:
            thresholds = best_thresholds(self.matrix(tuning[1]), sigmoid(tuning[0]))
            found |= {f"{name}_tuned": score for name, score in self._scores(gold, probabilities >= thresholds).items()}
        return found

    @staticmethod
    def _scores(gold: np.ndarray, answers: np.ndarray) -> dict[str, float]:
        averages = {f"f1_{kind}": f1_score(gold, answers, average=kind, zero_division=0) for kind in ("micro", "macro")}
        return averages | {"exact_match": accuracy_score(gold, answers)}


class Regression(Task):
    main = "spearman"

    def names(self, values: list) -> set[str]:
        return {self.name} if values else set()

    def loss(self, logits: torch.Tensor, values: list) -> torch.Tensor:
        return functional.mse_loss(logits[:, 0], torch.tensor([float(value) for value in values]))

    def metrics(self, logits: np.ndarray, values: list, tuning: tuple | None = None) -> dict[str, float]:
        found, gold = logits[:, 0].astype(float), np.array([float(value) for value in values])
        errors = found - gold
        correlations = {"spearman": spearmanr(found, gold).statistic, "pearson": pearsonr(found, gold).statistic}
        # Answers that are all the same correlate with nothing.
        correlations = {name: np.nan_to_num(value) for name, value in correlations.items()}
        return correlations | {"mse": (errors**2).mean(), "mae": abs(errors).mean()}


class Tokens(Task):
    """A label for every word. Each word that was cut off gets a row of NaN as logits and counts as answered `O`."""

    main = "f1"
    reads_words = True

    def names(self, values: list) -> set[str]:
        return {label for labels in values for label in labels}

    def loss(self, logits: torch.Tensor, values: list) -> torch.Tensor:
        targets = torch.tensor([self.index(label) for labels in values for label in labels])
        there = ~logits.isnan().any(dim=1)
        return functional.cross_entropy(logits[there], targets[there])

    def metrics(self, logits: np.ndarray, values: list, tuning: tuple | None = None) -> dict[str, float]:
        answers = [self.labels[row.argmax()] if not np.isnan(row).any() else "O" for row in logits]
        ends = np.cumsum([len(labels) for labels in values])
        found = [answers[end - len(labels) : end] for end, labels in zip(ends, values, strict=True)]
        spans = {"f1": span_f1, "precision": span_precision, "recall": span_recall}
        scores = {name: score(values, found, zero_division=0) for name, score in spans.items()}
        return scores | {"accuracy": accuracy_score([label for labels in values for label in labels], answers)}


TASKS = {"classification": Classification, "multilabel": MultiLabel, "regression": Regression, "tokens": Tokens}


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return torch.sigmoid(torch.from_numpy(logits).double()).numpy()


def best_thresholds(gold: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """`[C]`: for each label the probability from which its F1 is highest; one half for a label without rows."""
    return np.array([best_threshold(gold[:, label], probabilities[:, label]) for label in range(gold.shape[1])])


def best_threshold(gold: np.ndarray, probabilities: np.ndarray) -> float:
    """Half-way between two neighbouring probabilities, so that rounding decides nothing."""
    if not gold.any():
        return HALF
    precision, recall, thresholds = precision_recall_curve(gold, probabilities)
    # The curve's last point has no threshold.
    scores = (2 * precision * recall / np.maximum(precision + recall, 1e-12))[:-1]
    best = scores.argmax()
    return (thresholds[best] + (thresholds[best - 1] if best else 0.0)) / 2
