"""One SVG plot: a bar for each back end, its length the median of the rounds, a whisker from the slowest to the fastest.

    python3 bench/peers/plot.py docs/results/encoding.md docs/performance.svg

redraws it from the table in a page that `run.py --page` has written.
"""

import re
import sys
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP, ROW, BAR = 720, 290, 110, 44, 26, 16

#: What the rows are called for readers who do not know the bench.
NAMES = {
    "st-torch": "sentence-transformers, PyTorch",
    "st-onnx": "… ONNX Runtime",
    "st-onnx-int8-avx2": "… ONNX Runtime, 8 bits (avx2)",
    "st-onnx-int8-avx512_vnni": "… ONNX Runtime, 8 bits (avx512_vnni)",
    "st-openvino": "… OpenVINO, bf16",
    "st-openvino-f32": "… OpenVINO",
    "st-openvino-int8": "… OpenVINO, 8 bits",
    "polyhead": "Polyhead",
    "polyhead-int8": "Polyhead, 8 bits",
}

#: The colours follow the reader's light or dark page.
STYLE = """
  svg { color: #1f2328; --peer: #8c959f; --ours: #0969da; }
  @media (prefers-color-scheme: dark) { svg { color: #e6edf3; --peer: #6e7681; --ours: #4493f8; } }
  text { font: 13px system-ui, sans-serif; fill: currentColor; }
  .title { font-weight: bold; }
  line { stroke: currentColor; stroke-width: 1.5; }
  .peer { fill: var(--peer); }
  .ours { fill: var(--ours); }
"""


def bars(rows: dict[str, dict], corpus: str, title: str) -> str:
    """The plot of one corpus, rows in the order of the table."""
    height = TOP + ROW * len(rows) + 8
    scale = (WIDTH - LEFT - RIGHT) / max(row[corpus]["max"] for row in rows.values())
    parts = [f'<text class="title" x="8" y="24">{escape(title)}</text>']
    for number, (name, row) in enumerate(rows.items()):
        parts += bar(name, row[corpus], TOP + ROW * number, scale)
    label = escape(title, {'"': "&quot;"})
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img" aria-label="{label}">',
            f"<style>{STYLE}</style>",
            *parts,
            "</svg>\n",
        ]
    )


def bar(name: str, speed: dict, top: int, scale: float) -> list[str]:
    """A row: name, bar, whisker, number."""
    middle, baseline = top + BAR / 2, top + BAR - 3
    end, low, high = (LEFT + scale * speed[key] for key in ("texts_per_s", "min", "max"))
    ratio = "" if speed["ratio"] is None else f" ({speed['ratio']:.2f} ×)"
    kind = "ours" if name.startswith("polyhead") else "peer"
    ends = [f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{middle - 4}" y2="{middle + 4}"/>' for x in (low, high)]
    return [
        f'<text x="{LEFT - 8}" y="{baseline}" text-anchor="end">{escape(NAMES.get(name, name))}</text>',
        f'<rect class="{kind}" x="{LEFT}" y="{top}" width="{end - LEFT:.1f}" height="{BAR}" rx="2"/>',
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>',
        *ends,
        f'<text x="{max(end, high) + 8:.1f}" y="{baseline}">{speed["texts_per_s"]:.0f}{ratio}</text>',
    ]


def rows_of(page: str) -> dict[str, dict]:
    """The rows of the first table of a page: median, slowest and fastest round, ratio of the mixed texts."""
    rows = {}
    for line in page.split("| back end | mixed texts/s |")[1].splitlines()[2:]:
        if not line.startswith("|"):
            break
        name, median, span, _, ratio = [cell.strip(" *") for cell in line.split("|")[1:6]]
        low, high = re.split("–", span)
        rows[name] = {"mixed": {"texts_per_s": float(median), "min": float(low), "max": float(high), "ratio": float(ratio)}}
    return rows


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    title = "Texts a second, all-MiniLM-L6-v2, two cores with AMX (times PyTorch)"
    target.write_text(bars(rows_of(source.read_text()), "mixed", title))
