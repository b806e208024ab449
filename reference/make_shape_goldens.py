"""Writes the hidden states of a model of real shape in double precision, for a comparison on this machine.

    python bench/peers/make_model.py --corpus DIR --out FOLDER
    python reference/make_shape_goldens.py FOLDER --lengths 129 300 1100
    python reference/make_shape_goldens.py FOLDER --random roberta --lengths 129 510
    POLYHEAD_SHAPE=FOLDER cargo test --release -p polyhead-model --test parity real_shape -- --ignored --nocapture

With `--random` the folder is made first: the default configuration of that `model_type`, which is the base
model's, and random weights as training begins with them, without a tokenizer.

The file `shape.safetensors` in the folder has, for a sequence of `T` random tokens, `{T}.input_ids` and
`{T}.hidden.{l}` `[rows kept, D]`; it is too large to be committed. Printed are the largest values of each hidden
state, and the largest differences of PyTorch in single precision from it. ModernBERT turns queries and keys in
single precision in every model of transformers, so its double precision is not exact to the last digit there.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel

#: At most this many rows of a sequence are kept.
ROWS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lengths", type=int, nargs="+", default=[129, 300, 1100])
    parser.add_argument("--random", metavar="MODEL_TYPE", help="make the folder, with random weights")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.random:
        torch.manual_seed(0)
        AutoModel.from_config(AutoConfig.for_model(arguments.random)).save_pretrained(arguments.folder)
    generator = torch.Generator().manual_seed(1)
    double, single = (AutoModel.from_pretrained(arguments.folder, dtype=dtype).eval() for dtype in (torch.float64, torch.float32))
    goldens = {}
    for length in arguments.lengths:
        ids = torch.randint(5, double.config.vocab_size, (1, length), generator=generator)
        exact, rounded = hidden_states(double, ids), hidden_states(single, ids)
        step = -(-length // ROWS)
        goldens[f"{length}.input_ids"] = ids[0].int()
        for layer, (state, other) in enumerate(zip(exact, rounded, strict=True)):
            goldens[f"{length}.hidden.{layer}"] = state[0, ::step].float()
            print(f"{length} tokens, hidden state {layer}: largest {state.abs().max():.2f}, single precision {(state - other).abs().max():.1e}")
    save_file(goldens, arguments.folder / "shape.safetensors")


@torch.no_grad()
def hidden_states(model: torch.nn.Module, ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return model(input_ids=ids, output_hidden_states=True).hidden_states


if __name__ == "__main__":
    main()
