"""Checks that sentence-transformers loads a folder that training wrote, without changes.

Reads sentences and our vectors as JSON Lines from standard input (from
`polyhead encode`, or the example `write_folder` of crates/model), loads the
folder and compares:

    cargo run --release -p polyhead-model --example write_folder -- FOLDER OUT |
        python reference/check_written_folder.py OUT
"""

import json
import sys

import numpy as np
from sentence_transformers import SentenceTransformer

# f32 through two layers; the difference is that of the order of sums.
TOLERANCE = 1e-5


def main() -> int:
    folder = sys.argv[1]
    rows = [json.loads(line) for line in sys.stdin]
    ours = np.array([row["embedding"] for row in rows], dtype=np.float32)
    model = SentenceTransformer(folder, device="cpu")
    theirs = model.encode([row["text"] for row in rows], convert_to_numpy=True)
    if theirs.shape != ours.shape:
        print(f"{folder}: expected vectors of {ours.shape}, found {theirs.shape}")
        return 1
    worst = float(np.abs(theirs - ours).max())
    print(f"{folder}: {type(model).__name__}, {ours.shape}, max length "
          f"{model.max_seq_length}, largest difference {worst:.2e}")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
