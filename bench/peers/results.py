"""The results of the measurements: medians, ratios, cosines, and their tables."""

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from operator import mul
from pathlib import Path
from statistics import median

CORPORA = ("mixed", "short")
#: The text, by tokens, whose slowest calls are shown: most calls have one as short.
P99_TOKENS = 20


def summarize(passes: dict[str, list[dict]], base: dict[str, list[dict]] | None) -> dict:
    """Medians and spreads; the ratio is the median of the rounds' ratios, so that it is between neighbours in time."""
    summary = {"latency": {}}
    for job, measured in passes.items():
        if job not in CORPORA:
            tokens = measured[0]["tokens"]
            summary["latency"][tokens] = {key: median(one[key] for one in measured) for key in ("p50_ms", "p99_ms")}
            continue
        speeds = [one["texts"] / one["seconds"] for one in measured]
        ratios = [theirs["seconds"] / own["seconds"] for theirs, own in zip(base[job], measured)] if base else []
        summary[job] = {
            "texts_per_s": median(speeds),
            "min": min(speeds),
            "max": max(speeds),
            "tokens_per_s": median(one["tokens"] / one["seconds"] for one in measured),
            "ratio": median(ratios) if base else None,
            "ratio_min": min(ratios) if base else None,
            "ratio_max": max(ratios) if base else None,
        }
    return summary


def cosines(vectors: Path, base: Path, texts: int) -> dict[str, float]:
    """Mean and worst cosine between two files of vectors, `f32` end to end."""
    ours, theirs = (array("f", path.read_bytes()) for path in (vectors, base))
    if len(ours) != len(theirs):
        raise ValueError(f"{vectors.name}: {len(ours)} numbers, {base.name}: {len(theirs)}")
    width = len(ours) // texts
    rows = [(ours[at : at + width], theirs[at : at + width]) for at in range(0, len(ours), width)]
    values = [_dot(a, b) / math.sqrt(_dot(a, a) * _dot(b, b)) for a, b in rows]
    return {"mean": sum(values) / texts, "worst": min(values)}


def _dot(a: array, b: array) -> float:
    return math.fsum(map(mul, a, b))


@dataclass
class Column:
    """One number of every row, how it is printed, and which is the best, if any."""

    title: str
    value: Callable[[dict], float | None]
    form: str = "{:.1f}"
    best: Callable | None = max

    def cells(self, rows: list[dict]) -> list[str]:
        """Printed numbers; whatever prints like the best one is bold."""
        values = [self.value(row) for row in rows]
        known = [value for value in values if value is not None]
        best = self.form.format(self.best(known)) if self.best and known else None
        texts = ["–" if value is None else self.form.format(value) for value in values]
        return [f"**{text}**" if text == best else text for text in texts]

    def ahead(self, rows: dict[str, dict], of: str) -> list[str]:
        """Names of the rows that print a better number than this one."""
        values = {name: self.value(row) for name, row in rows.items()}
        own = values[of]
        if not self.best or own is None:
            return []
        known = {name: value for name, value in values.items() if value is not None and self.form.format(value) != self.form.format(own)}
        return [name for name, value in known.items() if self.best(value, own) == value]


class Spread(Column):
    """The slowest and the fastest round."""

    def cells(self, rows: list[dict]) -> list[str]:
        return ["{min:.1f}–{max:.1f}".format_map(self.value(row)) for row in rows]

    def ahead(self, rows: dict[str, dict], of: str) -> list[str]:
        return []


def speed_columns() -> list[Column]:
    """Texts and tokens a second, memory, likeness to the base."""
    columns = []
    for name in CORPORA:
        columns += [
            Column(f"{name} texts/s", lambda row, name=name: row[name]["texts_per_s"]),
            Spread("min–max", lambda row, name=name: row[name]),
            Column("tokens/s", lambda row, name=name: row[name]["tokens_per_s"], "{:,.0f}"),
            Column("ratio", lambda row, name=name: row[name]["ratio"], "{:.2f}"),
        ]
    columns.append(Column("peak MB", lambda row: row["peak_memory_mb"], "{:,.0f}", min))
    for key in ("mean", "worst"):
        columns.append(Column(f"cosine, {key}", lambda row, key=key: row["cosine"] and row["cosine"][key], "{:.4f}"))
    return columns


def latency_columns(rows: dict[str, dict]) -> list[Column]:
    """Milliseconds for one text, by its tokens."""
    columns = []
    for tokens in next(iter(rows.values()))["latency"]:
        columns.append(Column(f"{tokens} tokens, p50 ms", lambda row, n=tokens: row["latency"][n]["p50_ms"], "{:.2f}", min))
        if tokens == P99_TOKENS:
            columns.append(Column("p99 ms", lambda row, n=tokens: row["latency"][n]["p99_ms"], "{:.2f}", min))
    return columns


def table(rows: dict[str, dict], columns: list[Column]) -> str:
    """One Markdown table."""
    head = ["back end", *(column.title for column in columns)]
    cells = zip(rows, *(column.cells(list(rows.values())) for column in columns))
    lines = [head, ["---", *["---:"] * len(columns)], *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ahead(rows: dict[str, dict], ours: list[str]) -> str:
    """Where other rows have better numbers than ours, row by row."""
    columns = [column for column in [*speed_columns(), *latency_columns(rows)] if column.title not in ("tokens/s", "ratio")]
    lines = []
    for own in ours:
        others = {name: row for name, row in rows.items() if name == own or name not in ours}
        better = [(column.title, column.ahead(others, own)) for column in columns]
        places = "; ".join(f"{title}: {', '.join(names)}" for title, names in better if names)
        lines.append(f"Others ahead of `{own}`: {places or 'nowhere'}.")
    return "\n\n".join(lines)


def disturbance(passes: list[dict]) -> str:
    """How quiet the machine was."""
    lines = []
    for key, who in (("waiting_cores", "the waiting workers"), ("other_cores", "other processes")):
        values = [one[key] for one in passes]
        lines.append(f"Cores used by {who} during a pass: median {median(values):.2f}, worst {max(values):.2f}.")
    return "\n".join(lines)
