"""Writes `testdata/golden/vector_losses.json` and `label_contrast.json`: losses over sentence vectors with their gradients.

    python reference/make_vector_loss_goldens.py

The losses are those of sentence-transformers 6, in float64, on numbers that float32 holds exactly. Each case has the
matrices that the loss reads (`vectors`, row after row), its options, the `value` and the `gradients` of all matrices. The
library has no way to leave candidates out: there the formula of its loss is written out. `label_contrast.json` has
`CosineSimilarityLoss` over all pairs of rows with labels (-1: without), as SetFit trains it, with as much weight on the
pairs of one label as on the others.
"""

import itertools
import json
import random
from pathlib import Path

import torch
from sentence_transformers.sentence_transformer import losses

GOLDEN = Path(__file__).parent.parent / "testdata/golden"
ROWS, WIDTH = 6, 8
SCORES = [0.0, 1.0, 0.25, 0.75, 0.25, 0.5]


class Vectors(torch.nn.Module):
    """What a loss sees of a model: vectors that are there already."""

    def forward(self, features: dict) -> dict:
        return dict(features)

    def get_embedding_dimension(self) -> int:
        return WIDTH


def main() -> None:
    torch.set_default_dtype(torch.float64)
    rng = random.Random(23)
    model = Vectors()
    first, second, third = (some_vectors(rng, ROWS) for _ in range(3))
    # A row of zeros, and one that is zero in its first half.
    for matrix, row, columns in [(first, 1, WIDTH), (second, 4, WIDTH // 2)]:
        matrix[row, :columns] = 0
    scores = torch.tensor(SCORES)
    pair, three = [first, second], [first, second, third]
    cases = []

    def add(loss: str, name: str, module, matrices: list, labels=None, **options) -> None:
        cases.append({"loss": loss, "name": name, "width": WIDTH, **options} | computed(module, matrices, labels))

    for scale in [20.0, 1.0]:
        add("cosent", f"scale {scale}", losses.CoSENTLoss(model, scale=scale), pair, scores, scale=scale, scores=SCORES)
    add("cosine_error", "plain", losses.CosineSimilarityLoss(model), pair, scores, scores=SCORES)
    for scale in [20.0, 2.5]:
        ranking = losses.MultipleNegativesRankingLoss(model, scale=scale)
        both = ("query_to_doc", "doc_to_query")
        symmetric = losses.MultipleNegativesRankingLoss(model, scale=scale, directions=both, partition_mode="per_direction")
        for name, matrices in [("pairs", pair), ("triplets", three)]:
            options = {"scale": scale, "left_out": []}
            add("multiple_negatives", name, ranking, matrices, symmetric=False, **options)
            add("multiple_negatives", f"symmetric {name}", symmetric, matrices, symmetric=True, **options)
    left_out = [[0, 3], [3, 0], [2, 8], [5, 11]]
    for symmetric in [False, True]:
        masked = Masked(left_out, symmetric)
        add("multiple_negatives", "left out", masked, three, symmetric=symmetric, scale=20.0, left_out=left_out)
    for name, metric, margin in [
        ("euclidean", losses.TripletDistanceMetric.EUCLIDEAN, 5.0),
        ("euclidean", losses.TripletDistanceMetric.EUCLIDEAN, 0.25),
        ("cosine", losses.TripletDistanceMetric.COSINE, 5.0),
        ("cosine", losses.TripletDistanceMetric.COSINE, 0.25),
    ]:
        module = losses.TripletLoss(model, distance_metric=metric, triplet_margin=margin)
        add("triplet", f"{name} {margin}", module, three, distance=name, margin=margin)
    teacher = some_vectors(rng, ROWS)
    add("vector_distillation", "plain", losses.MSELoss(model), [first], teacher, teacher=flat(teacher))
    given = torch.tensor([[rng.randrange(-640, 640) / 64 for _ in range(2)] for _ in range(ROWS)])
    for temperature in [1.0, 2.0]:
        module = losses.DistillKLDivLoss(model, temperature=temperature)
        add("divergence", f"temperature {temperature}", module, three, given, temperature=temperature, teacher=flat(given))
    add("margins", "plain", losses.MarginMSELoss(model), three, given, teacher=flat(given))
    # Without zeros: the library normalizes several times, and each time multiplies their gradients by 1e12.
    widths = [WIDTH, WIDTH // 2]
    three = [some_vectors(rng, ROWS) for _ in range(3)]
    pair, one = three[:2], three[:1]
    for loss, module, matrices, labels, options in [
        ("cosent", losses.CoSENTLoss(model), pair, scores, {"scale": 20.0, "scores": SCORES}),
        ("multiple_negatives", losses.MultipleNegativesRankingLoss(model), three, None, {"scale": 20.0, "symmetric": False, "left_out": []}),
        ("triplet", losses.TripletLoss(model), three, None, {"distance": "euclidean", "margin": 5.0}),
        ("vector_distillation", losses.MSELoss(model), one, teacher, {"teacher": flat(teacher)}),
    ]:
        add(loss, "matryoshka", losses.MatryoshkaLoss(model, module, widths), matrices, labels, widths=widths, **options)
    write("vector_losses.json", cases)
    contrast = []
    for labels in [[0, 1, 0, -1, 2, 1, 0, 2], [0, 0, 0], [0, 1, 2]]:
        matrix = some_vectors(rng, len(labels))
        contrast.append({"width": WIDTH, "labels": labels} | computed(LabelContrast(model, labels), [matrix], None))
    write("label_contrast.json", contrast)


def write(name: str, cases: list[dict]) -> None:
    (GOLDEN / name).write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n", encoding="utf-8")


class LabelContrast(torch.nn.Module):
    """The mean of the loss over pairs of one label and of the loss over the other pairs, where there are both."""

    def __init__(self, model: Vectors, labels: list[int]) -> None:
        super().__init__()
        self.loss = losses.CosineSimilarityLoss(model)
        rows = [row for row, label in enumerate(labels) if label >= 0]
        pairs = list(itertools.combinations(rows, 2))
        sorts = [[(a, b) for a, b in pairs if (labels[a] == labels[b]) == same] for same in (True, False)]
        self.sorts = [(torch.tensor(pairs), same) for pairs, same in zip(sorts, (1.0, 0.0)) if pairs]

    def forward(self, features: list[dict], _) -> torch.Tensor:
        vectors = features[0]["sentence_embedding"]
        found = []
        for pairs, cosine in self.sorts:
            sides = [{"sentence_embedding": vectors[side]} for side in pairs.T]
            found.append(self.loss(sides, torch.full((len(pairs),), cosine)))
        return sum(found) / len(found)


class Masked(torch.nn.Module):
    """Ranking where rows do not see some candidates: with `symmetric` also the positives' softmax over anchors."""

    def __init__(self, left_out: list[list[int]], symmetric: bool) -> None:
        super().__init__()
        self.left_out, self.symmetric = left_out, symmetric

    def forward(self, features: list[dict], labels) -> torch.Tensor:
        units = [torch.nn.functional.normalize(f["sentence_embedding"], dim=-1) for f in features]
        z = 20.0 * units[0] @ torch.cat(units[1:]).T
        for row, candidate in self.left_out:
            z[row, candidate] = -torch.inf
        targets = torch.arange(ROWS)
        loss = torch.nn.functional.cross_entropy(z, targets)
        return (loss + torch.nn.functional.cross_entropy(z[:, :ROWS].T, targets)) / 2 if self.symmetric else loss


def some_vectors(rng: random.Random, rows: int) -> torch.Tensor:
    return torch.tensor([[rng.randrange(-128, 128) / 64 for _ in range(WIDTH)] for _ in range(rows)])


def flat(matrix: torch.Tensor) -> list[float]:
    return matrix.flatten().tolist()


def computed(module, matrices: list[torch.Tensor], labels) -> dict:
    matrices = [matrix.clone().requires_grad_() for matrix in matrices]
    value = module([{"sentence_embedding": matrix * 1.0} for matrix in matrices], labels)
    value.backward()
    return {
        "vectors": [flat(matrix.detach()) for matrix in matrices],
        "value": value.item(),
        "gradients": [flat(matrix.grad) for matrix in matrices],
    }


if __name__ == "__main__":
    main()
