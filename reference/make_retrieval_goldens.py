"""Writes `testdata/golden/retrieval_metrics.json`: metrics of rankings by pytrec_eval, in `trec_eval`'s names.

    pip install pytrec-eval-terrier
    python reference/make_retrieval_goldens.py

Each case has a `grades` and a `scores` object by query and document, as files of TREC would have them, and the mean of
each metric over the queries with a relevant document. The first 10 of each ranking are what `recip_rank` reads.
"""

import json
import random
from pathlib import Path

import pytrec_eval

OUT = Path(__file__).parent.parent / "testdata/golden/retrieval_metrics.json"
NAMES = {"ndcg@10": "ndcg_cut_10", "map": "map", "recall@10": "recall_10", "recall@100": "recall_100"}


def case(name: str, grades: dict, scores: dict) -> dict:
    relevant = {query for query, judged in grades.items() if max(judged.values()) > 0}
    grades_of = {query: grades[query] for query in sorted(relevant)}
    results = evaluate(grades_of, scores, set(NAMES.values()))
    means = {ours: mean(results, theirs) for ours, theirs in NAMES.items()}
    # Ties as trec_eval has them: documents in descending order.
    first = {
        query: dict(sorted(given.items(), key=lambda item: (item[1], item[0]), reverse=True)[:10])
        for query, given in scores.items()
    }
    means["mrr@10"] = mean(evaluate(grades_of, first, {"recip_rank"}), "recip_rank")
    return {"name": name, "grades": grades, "scores": scores, "queries": len(relevant), "metrics": means}


def evaluate(grades: dict, scores: dict, names: set[str]) -> dict:
    return pytrec_eval.RelevanceEvaluator(grades, names).evaluate(scores)


def mean(results: dict, name: str) -> float:
    return sum(result[name] for result in results.values()) / len(results)


def main() -> None:
    rng = random.Random(29)
    cases = []
    for name, queries, documents, judged, levels, steps in [
        ("grades", 5, 30, 8, 4, 1 << 20),
        ("ties", 5, 30, 8, 2, 4),
        ("many documents", 3, 130, 40, 3, 1 << 20),
        ("negative grades", 4, 20, 10, 3, 16),
    ]:
        ids = [f"d{number}" for number in range(documents)]
        lowest = -1 if name == "negative grades" else 0
        grades = {
            f"q{query}": {document: rng.randint(lowest, levels - 1) for document in rng.sample(ids, judged)}
            for query in range(queries)
        }
        # A query that no document answers.
        grades["none"] = {document: 0 for document in ids[:3]}
        scores = {query: {document: rng.randrange(steps) / steps for document in ids} for query in grades}
        cases.append(case(name, grades, scores))
    OUT.write_text("[\n" + ",\n".join(json.dumps(one) for one in cases) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
