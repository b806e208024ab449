"""Prints what thresholds and temperatures from few dev rows cost: how the two least numbers of `calibration.rs` were chosen.

    python reference/calibration_sizes.py

Thresholds: a label of a given frequency, whose logits are those of two normal distributions and honest. The F1 on 40,000
other rows with the threshold that is best on dev, less that with 0.5: the mean over 300 dev sets, and the share of sets
with which it is worse by more than 0.02. Temperatures: four classes, logits `factor` times too large. The negative
log-likelihood on 20,000 other rows with the temperature from dev, less that with 1; the share that is worse by 0.01.
"""

import numpy as np
from scipy.optimize import minimize_scalar

POSITIVES = (1, 2, 3, 5, 10, 20, 40)
ROWS = (4, 10, 20, 30, 50, 100, 200)
rng = np.random.default_rng(7)


def f1(truth: np.ndarray, given: np.ndarray) -> float:
    return 2 * (truth & given).sum() / max(truth.sum() + given.sum(), 1)


def best_threshold(probabilities: np.ndarray, truth: np.ndarray) -> float:
    order = np.argsort(-probabilities)
    sorted_probabilities = np.append(probabilities[order], 0.0)
    scores = 2 * truth[order].cumsum() / (np.arange(1, len(truth) + 1) + truth.sum())
    if scores.max() <= f1(truth, probabilities >= 0.5) + 1e-12:
        return 0.5
    middles = (sorted_probabilities[:-1] + sorted_probabilities[1:]) / 2
    best = middles[scores >= scores.max() - 1e-12]
    return best[np.abs(best - 0.5).argmin()]


def thresholds(frequency: float, distance: float) -> str:
    def draw(rows: int) -> tuple[np.ndarray, np.ndarray]:
        truth = rng.random(rows) < frequency
        logits = distance * (rng.normal(size=rows) + distance * truth) - distance**2 / 2 + np.log(frequency / (1 - frequency))
        return 1 / (1 + np.exp(-logits)), truth

    test, truth = draw(40_000)
    at_half = f1(truth, test >= 0.5)
    cells = []
    for positives in POSITIVES:
        sets = [draw(round(positives / frequency)) for _ in range(300)]
        gains = np.array([f1(truth, test >= best_threshold(*dev)) - at_half for dev in sets if dev[1].any()])
        cells.append(f"{gains.mean():+.3f} ({np.mean(gains < -0.02):.0%})")
    return f"frequency {frequency}, F1 {at_half:.2f} with 0.5: " + ", ".join(cells)


def temperatures(factor: float) -> str:
    def draw(rows: int) -> tuple[np.ndarray, np.ndarray]:
        logits = 2 * rng.normal(size=(rows, 4))
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        return factor * logits, (shares.cumsum(1) < rng.random((rows, 1))).sum(1)

    def loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
        scaled = logits / temperature - (logits / temperature).max(1, keepdims=True)
        return (np.log(np.exp(scaled).sum(1)) - scaled[np.arange(len(labels)), labels]).mean()

    def best(logits: np.ndarray, labels: np.ndarray) -> float:
        if (logits.argmax(1) == labels).all():
            return 1.0
        bounds = (np.log(0.05), np.log(20.0))
        return np.exp(minimize_scalar(lambda t: loss(logits, labels, np.exp(t)), bounds=bounds, method="bounded").x)

    test = draw(20_000)
    before = loss(*test, 1.0)
    cells = []
    for rows in ROWS:
        gains = np.array([loss(*test, best(*draw(rows))) - before for _ in range(200)])
        cells.append(f"{gains.mean():+.3f} ({np.mean(gains > 0.01):.0%})")
    return f"factor {factor}, loss {before:.2f} with 1: " + ", ".join(cells)


if __name__ == "__main__":
    print("thresholds from", ", ".join(map(str, POSITIVES)), "rows with the label")
    for frequency in (0.05, 0.2, 0.5):
        for distance in (1.5, 2.5):
            print(" ", thresholds(frequency, distance))
    print("temperature from", ", ".join(map(str, ROWS)), "rows")
    for factor in (1.0, 1.5, 2.5):
        print(" ", temperatures(factor))
