"""Packed batches over a padded encoder, and the error of float32: shared by the two training golden scripts.

transformers wants padded batches; Polyhead has none. So rows are padded for the
forward pass under a mask, in evaluation mode (no dropout) and with the plain
("eager") attention, and the result is gathered to packed order. Autograd goes
through the gathering, so the gradients are those of the packed batch.
"""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel

import tiny

CLS, SEP = tiny.SPECIALS.index("[CLS]"), tiny.SPECIALS.index("[SEP]")
#: What the golden files say about themselves.
PRECISION = "float64 rounded to float32; `difference` is the largest one of PyTorch's float32 run to it, `largest` the tensor's magnitude"
FIRST_WORD = len(tiny.SPECIALS)


def load_encoder(folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    """The encoder without pooler. The stored float32 weights are what `dtype` widens, so both precisions start equal."""
    # The pooler is left out where there is one.
    has_pooler = AutoConfig.from_pretrained(folder).model_type in ("bert", "roberta", "mpnet")
    options = {"add_pooling_layer": False} if has_pooler else {}
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", **options)
    return model.to(dtype).eval()


def random_rows(lengths: list[int], generator: torch.Generator) -> list[list[int]]:
    """Rows of token ids: `[CLS]`, words and pieces at random (with repeats), `[SEP]`; a row of one token is `[CLS]` alone.

    Never `[PAD]`: PyTorch gives the padding row of an embedding no gradient even where it stands in the text.
    """
    size = len(tiny.vocabulary())
    rows = []
    for length in lengths:
        inner = torch.randint(FIRST_WORD, size, (max(length - 2, 0),), generator=generator).tolist()
        rows.append([CLS, *inner, SEP][:length])
    return rows


class PackedBatch:
    """`B` rows of `N` tokens in all, end to end."""

    def __init__(self, rows: list[list[int]], types: list[list[int]]):
        self.rows, self.types = rows, types
        self.lengths = torch.tensor([len(row) for row in rows])
        self.offsets = torch.cat([torch.zeros(1, dtype=torch.long), self.lengths.cumsum(0)])

    def tensors(self) -> dict[str, torch.Tensor]:
        """`ids` I32 `[N]`, `type_ids` I32 `[N]`, `offsets` I32 `[B + 1]`."""
        flat = {"ids": self.rows, "type_ids": self.types}
        packed = {name: torch.tensor(sum(rows, []), dtype=torch.int32) for name, rows in flat.items()}
        return packed | {"offsets": self.offsets.int()}

    def hidden_states(self, encoder: torch.nn.Module) -> list[torch.Tensor]:
        """`L + 1` times `[N, D]`: after the embeddings, then after each layer."""
        if encoder.config.model_type == "modernbert":
            # Row by row: in a window, rows of padding have no key at all, and their probabilities are NaN.
            rows = [encoder(torch.tensor([row]), output_hidden_states=True).hidden_states for row in self.rows]
            return [torch.cat([row[0] for row in states]) for states in zip(*rows, strict=True)]
        mask = torch.arange(int(self.lengths.max())) < self.lengths[:, None]
        inputs = {"input_ids": self._padded(self.rows, mask), "attention_mask": mask.long()}
        if encoder.config.model_type in ("bert", "electra"):
            inputs["token_type_ids"] = self._padded(self.types, mask)
        return [hidden[mask] for hidden in encoder(**inputs, output_hidden_states=True).hidden_states]

    def _padded(self, rows: list[list[int]], mask: torch.Tensor) -> torch.Tensor:
        padded = torch.zeros(mask.shape, dtype=torch.long)
        padded[mask] = torch.tensor(sum(rows, []))
        return padded

    def pool(self, hidden: torch.Tensor, mode: str) -> torch.Tensor:
        """`[B, D]`: each row's first token vector (`cls`), or the mean of all of them (`mean`)."""
        if mode == "cls":
            return hidden[self.offsets[:-1]]
        sequences = hidden.split(self.lengths.tolist())
        return torch.stack([sequence.mean(dim=0) for sequence in sequences])


def deviations(exact: dict[str, torch.Tensor], single: dict[str, torch.Tensor]) -> dict[str, dict[str, float]]:
    """Per floating tensor: its `largest` magnitude in float64 and the largest `difference` of the float32 run, both absolute.

    A tolerance is their ratio with some room: relative to the tensor and not to the element, as an element near zero says
    nothing about precision. Where the exact value is zero (key biases: they shift all scores of a query alike, and softmax
    does not see that) both are rounding noise and only the second means something.
    """
    table = {}
    for name, value in exact.items():
        if value.is_floating_point():
            difference = (single[name].double() - value).abs().max().item()
            table[name] = {"largest": significant(value.abs().max().item()), "difference": significant(difference)}
    return table


def significant(value: float) -> float:
    """Two digits: more would differ between machines."""
    return float(f"{value:.1e}")


def stored(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As the golden files hold them: float64 rounded to float32, integers as I32."""
    return {name: (value.float() if value.is_floating_point() else value.int()).contiguous() for name, value in tensors.items()}
