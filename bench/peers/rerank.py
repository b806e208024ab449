"""Reranks 100 passages with `polyhead serve` and with sentence-transformers' CrossEncoder, in turns.

    cargo build --release -p polyhead-cli
    PATH/TO/python bench/peers/rerank.py --like PATH/TO/all-MiniLM-L6-v2 --corpus PATH/TO/corpus

The cross-encoder has the shape, the tokenizer and the layers of `--like`, a BERT, and a random classifier of one output: the
time does not depend on it. Passages are cut from `mixed.txt` of the corpus: of 64 tokens each with the query, or with
`--mixed` its lines as they are, of 8 to 256 tokens. Two threads each. Polyhead is asked over HTTP, so its time has that of
JSON and of the connection; sentence-transformers is called in its process. Printed are the medians and the ratio of each round.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

QUERY = "which trains run to the coast"
PASSAGES = 100
#: Tokens of a query and a passage, with special tokens.
LENGTH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--polyhead", default="target/release/polyhead", type=Path)
    parser.add_argument("--like", required=True, type=Path)
    parser.add_argument("--corpus", required=True, type=Path)
    parser.add_argument("--precision", choices=["f32", "int8"], default="f32")
    parser.add_argument("--mixed", action="store_true", help="passages of all lengths")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "2"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "cross-encoder"
        write_model(arguments.like, folder)
        compare(arguments, folder)


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    torch.set_num_threads(2)
    peer = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    passages = (mixed if arguments.mixed else equal)(arguments.corpus, peer.tokenizer)
    pairs = [(QUERY, passage) for passage in passages]
    flags = ["--port", "0", "--threads", "2", "--precision", arguments.precision, "--quiet"]
    server = subprocess.Popen([arguments.polyhead, "serve", folder, *flags], stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().split()[-1]
        sides = {"polyhead": lambda: ask(url, passages), "sentence-transformers": lambda: peer.predict(pairs, show_progress_bar=False)}
        scores = {name: side() for name, side in sides.items()}
        worst = max(abs(a - b) for a, b in zip(*scores.values()))
        print(f"{len(passages)} passages, {arguments.precision}; largest difference of scores: {worst:.1e}")
        times = {name: [] for name in sides}
        for _ in range(arguments.rounds):
            for name, side in sides.items():
                begin = time.perf_counter()
                side()
                times[name].append(time.perf_counter() - begin)
    finally:
        server.terminate()
        server.wait()
    for name, found in times.items():
        print(f"{name}: {1000 * statistics.median(found):.0f} ms ({1000 * min(found):.0f} to {1000 * max(found):.0f})")
    ratios = [theirs / ours for ours, theirs in zip(*times.values())]
    print(f"{statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})")


def ask(url: str, passages: list[str]) -> list[float]:
    """The scores, in the order of the passages."""
    body = json.dumps({"query": QUERY, "texts": passages, "raw_scores": False, "truncate": True}).encode()
    request = urllib.request.Request(f"{url}/rerank", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        ranked = json.load(answer)
    return [hit["score"] for hit in sorted(ranked, key=lambda hit: hit["index"])]


def write_model(like: Path, folder: Path) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    torch.manual_seed(0)
    CrossEncoder(str(like), num_labels=1, device="cpu", local_files_only=True).save_pretrained(str(folder))


def equal(corpus: Path, tokenizer) -> list[str]:
    """Passages that make sequences of `LENGTH` tokens with the query."""
    words = " ".join(lines(corpus)).split()
    passages = []
    while len(passages) < PASSAGES:
        passage = []
        while len(tokenizer(QUERY, " ".join(passage))["input_ids"]) < LENGTH:
            passage.append(words.pop())
        passages.append(" ".join(passage))
    return passages


def mixed(corpus: Path, tokenizer) -> list[str]:
    return lines(corpus)[:PASSAGES]


def lines(corpus: Path) -> list[str]:
    return (corpus / "mixed.txt").read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    main()
