"""Measures what training of vectors does, and prints the tables of docs/guide/similarity.md.

    python bench/train/vector_choices.py --polyhead target/release/polyhead --data PATH/TO/data --out results.json --seeds 1 2 3

`--data` is the folder with `stsb` and `trec`. Runs, options and the output file are those of `choices.py`. Similarity is
Spearman's correlation on the test part of the STS Benchmark, times 100; `question` the accuracy on TREC's six types.
"""


from choices import NOT_MEASURED, Bench, Table, freeze, measure, merged, percent, spread

WIDTHS = [384, 192, 96, 48]
HALF = {"keep_layers": [0, 2, 4]}
END = {"checkpoint": {"every": 0, "keep": 1}}


def files(data: str) -> dict:
    return {part: f"{data}/{part}" for part in ("train", "dev", "test")}


STS = {"name": "sts", "kind": "similarity", "field": "score", "range": [0.0, 5.0], "text": ["text_a", "text_b"]} | files("stsb")
QUESTION = {"name": "question", "kind": "classification", "field": "coarse"} | files("trec")


def training(*tasks: dict, **more: dict) -> dict:
    return merged({"task": list(tasks), "train": {"epochs": 2, "learning_rate": 2e-5}} | END, more)


def looking(*tasks: dict, **more: dict) -> dict:
    """Measures without training."""
    return training(*tasks, freeze=[freeze("all")], **more)


def probing(task: dict) -> dict:
    """A head on the vectors as they are."""
    return training(task, freeze=[freeze("encoder")], train={"epochs": 20, "head_learning_rate": 1e-2})


def together(bench: Bench) -> str:
    table = Table(["what trains", "similarity", "question"])
    similarity, question, both = training(STS), training(QUESTION), training(STS, QUESTION)
    for name, sts, head in [
        ("nothing; a head on the frozen encoder", bench.runs(looking(STS)), bench.runs(probing(QUESTION))),
        ("similarity; then a head on the frozen encoder", bench.runs(similarity, None, True), bench.runs(probing(QUESTION), similarity)),
        ("question", bench.runs(looking(STS), question), bench.runs(question, None, True)),
        ("both together", bench.runs(both), bench.runs(both)),
    ]:
        table.rows.append([name, percent(sts, "sts"), percent(head, "question")])
    return str(table)


def widths(bench: Bench) -> str:
    table = Table(["what trains", *(f"{width} numbers" for width in WIDTHS)])
    every = {"encoder": {"matryoshka": WIDTHS}}
    for name, runs in [
        ("nothing", bench.runs(looking(STS, **every))),
        ("similarity", bench.runs(looking(STS, **every), training(STS))),
        ("similarity, `matryoshka = [384, 192, 96, 48]`", bench.runs(training(STS, **every))),
    ]:
        cells = [percent(runs, "sts")]
        cells += [spread([100 * run["widths"][str(width)] for run in runs]) if runs else NOT_MEASURED for width in WIDTHS[1:]]
        table.rows.append([name, *cells])
    return str(table)


def layers(bench: Bench) -> str:
    table = Table(["layers", "what trains", "similarity"])
    teacher = {"name": "teacher", "kind": "distillation", "teacher": "builtin"}
    texts = {"train": "stsb/train", "text": ["text_a", "text_b"]}
    distilled = training(teacher, data=texts, encoder=HALF, train={"epochs": 5, "learning_rate": 1e-4})
    for name, trained, runs in [
        ("6", "nothing", bench.runs(looking(STS))),
        ("6", "similarity", bench.runs(training(STS), None, True)),
        ("3 of 6", "nothing", bench.runs(looking(STS, encoder=HALF))),
        ("3 of 6", "similarity", bench.runs(training(STS, encoder=HALF))),
        ("3 of 6", "the vectors of all 6", bench.runs(looking(STS), distilled)),
        ("3 of 6", "the vectors of all 6, then similarity", bench.runs(training(STS), distilled)),
    ]:
        table.rows.append([name, trained, percent(runs, "sts")])
    return str(table)


if __name__ == "__main__":
    measure(__doc__, {"together": together, "widths": widths, "layers": layers})
