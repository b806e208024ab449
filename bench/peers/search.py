"""Exact search beside a matrix product of the same size by NumPy's BLAS, in turns.

    cargo build --release -p polyhead-model --example search_speed
    OMP_NUM_THREADS=2 python bench/peers/search.py

Both have all their processors and random vectors. The search normalizes the vectors and finds the best of each query; the product
gives the scores alone, a block of vectors at a time, so that its memory is that of one block. Printed are the medians and the
ratio of each round.
"""

import argparse
import statistics
import subprocess
import time

import numpy as np

#: Vectors that the product takes at once: of those tried, the fastest.
BLOCK = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", default="target/release/examples/search_speed")
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--corpus", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--top", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    sizes = [arguments.queries, arguments.corpus, arguments.width, arguments.top]
    worker = subprocess.Popen([arguments.worker, *map(str, sizes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    random = np.random.default_rng(1)
    queries, corpus = (random.standard_normal((rows, arguments.width), dtype=np.float32) for rows in sizes[:2])
    search, product = [], []
    for round_number in range(arguments.rounds + 1):
        worker.stdin.write("\n")
        worker.stdin.flush()
        ours = float(worker.stdout.readline())
        begin = time.perf_counter()
        for first in range(0, len(corpus), BLOCK):
            corpus[first : first + BLOCK] @ queries.T
        theirs = time.perf_counter() - begin
        # The first round warms up.
        if round_number > 0:
            search.append(ours)
            product.append(theirs)
    worker.stdin.close()
    ratios = [ours / theirs for ours, theirs in zip(search, product)]
    print(f"search {statistics.median(search):.3f} s, product {statistics.median(product):.3f} s")
    print(f"{statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
