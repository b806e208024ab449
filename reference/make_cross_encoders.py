"""Makes cross-encoders of sentence-transformers with their scores, into `testdata/golden/published-cross-NAME.*`.

    python reference/make_cross_encoders.py --models testdata/models --out testdata/golden

The files have the form of those of `make_published_heads.py`: the tensors of the head, and as JSON the files of the folder that
differ from the tiny model. Scores are those of `CrossEncoder.predict`, of several outputs without a soft-max. Forms: that of
version 6 with `modules.json`, that of versions 4 and 5 with an entry in `config.json`, that of version 3.
"""

import json
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from sentence_transformers import CrossEncoder
from transformers import PreTrainedTokenizerFast

import tiny

PAIRS = [
    ["the quick brown fox", "a lazy dog jumps over it"],
    ["", "a"],
    ["please help", "the mail is broken and it is urgent , " * 9],
    ["hello world this is a sentence " * 9, "good movie"],
]

SIGMOID, IDENTITY = "torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity"

#: Base model, prefix of the encoder, and of each case the number of outputs, the version and the activation that the folder names.
FAMILIES = {
    "bert": ("tiny-bert", "bert.", {"sigmoid": (1, 6, SIGMOID), "identity": (1, 5, IDENTITY), "default": (1, 5, None), "third": (1, 3, IDENTITY), "classes": (3, 6, IDENTITY), "fifth": (3, 5, IDENTITY)}),
    "roberta": ("tiny-roberta", "roberta.", {"identity": (1, 6, IDENTITY), "sigmoid": (1, 5, SIGMOID)}),
}


def main() -> None:
    arguments = tiny.folders(__doc__)
    for name, (base, prefix, cases) in FAMILIES.items():
        tensors, description = {}, {"model": base, "pairs": PAIRS, "cases": {}}
        for case, form in cases.items():
            with tempfile.TemporaryDirectory() as place:
                found, about = cross_encoder(arguments.models / base, Path(place), prefix, form, f"{name}-{case}")
            tensors |= {f"{case}.{key}": value.detach().float().contiguous() for key, value in found.items()}
            description["cases"][case] = about
        save_file(tensors, arguments.out / f"published-cross-{name}.safetensors")
        tiny.write_json(arguments.out / f"published-cross-{name}.json", description)


def cross_encoder(base: Path, place: Path, prefix: str, form: tuple, seed: str) -> tuple[dict, dict]:
    """The tensors of one case, and what its JSON says."""
    outputs, version, activation = form
    folder = place / "model"
    model = CrossEncoder(str(base), num_labels=outputs, max_length=48, activation_fn=torch.nn.Identity() if activation == IDENTITY else None)
    generator = torch.Generator().manual_seed(tiny.SEED + sum(seed.encode()))
    own = {key: value for key, value in model.model.named_parameters() if not key.startswith(prefix) or ".pooler." in key}
    with torch.no_grad():
        for _, value in sorted(own.items()):
            value.normal_(0.0, 0.2, generator=generator)
    model.save_pretrained(str(folder))
    config = json.loads((folder / "config.json").read_text())
    config.pop("transformers_version", None)
    config.pop("sentence_transformers", None)
    files = {}
    if version == 6:
        names = ["modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"]
        files = {path: json.loads((folder / path).read_text()) for path in names if (folder / path).exists()}
    else:
        for path in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
            (folder / path).unlink(missing_ok=True)
        if version == 3:
            config["sbert_ce_default_activation_function"] = activation
        else:
            config["sentence_transformers"] = {"version": "5.1.0"} | ({"activation_fn": activation} if activation else {})
    (folder / "config.json").write_text(json.dumps(config))
    files["tokenizer_config.json"] = json.loads((folder / "tokenizer_config.json").read_text())
    # The folder as a reader finds it.
    model = CrossEncoder(str(folder))
    plain = PreTrainedTokenizerFast.from_pretrained(base)
    for first, second in PAIRS[:2]:
        assert model.tokenizer(first, second)["input_ids"] == plain(first, second)["input_ids"], (first, second)
    found = {f"tensor.{key}": value.detach().clone() for key, value in own.items()}
    for index, pair in enumerate(PAIRS):
        score = model.predict([pair], convert_to_tensor=True)[0].reshape(-1)
        found[f"scores.{index}"] = score
    return found, {"prefix": prefix, "config": config, "files": files}


if __name__ == "__main__":
    main()
