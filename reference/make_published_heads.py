"""Makes classifiers of transformers with their logits, losses and gradients, into `testdata/golden/published-NAME.*`.

    python reference/make_published_heads.py --models testdata/models --out testdata/golden [NAME…]

Each file has the classifiers of one tiny model. A classifier is the encoder of that model under its
prefix, the tensors of its head (`CASE.tensor.NAME`) and its `config.json`, which is in the JSON file.
The tests put such folders together. No dropout; texts are read one by one, for the loss in one batch.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast

import tiny

TEXTS = ["The quick brown fox jumps over the lazy dog.", "a", "please help , the mail is broken and it is urgent"]
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]

SEQUENCE, TOKENS = "ForSequenceClassification", "ForTokenClassification"

#: The layers of the heads that have a class of their own.
OWN_CLASS = {"hidden": "classifier.dense", "output": "classifier.out_proj"}

#: The layers of ModernBERT's heads, for texts and for tokens.
PREDICTION_HEAD = {"hidden": "head.dense", "norm": "head.norm", "output": "classifier"}

#: The tiny model, what precedes the suffix, and the layers of sequence and of token heads by role.
FAMILIES = {
    "bert": ("tiny-bert", "Bert", {"hidden": "bert.pooler.dense", "output": "classifier"}, {"output": "classifier"}),
    "distilbert": ("tiny-distilbert", "DistilBert", {"hidden": "pre_classifier", "output": "classifier"}, {"output": "classifier"}),
    "roberta": ("tiny-roberta", "Roberta", OWN_CLASS, {"output": "classifier"}),
    "xlm-roberta": ("tiny-roberta", "XLMRoberta", OWN_CLASS, {"output": "classifier"}),
    "camembert": ("tiny-roberta", "Camembert", OWN_CLASS, {"output": "classifier"}),
    "electra": ("tiny-electra", "Electra", OWN_CLASS, {"output": "classifier"}),
    "mpnet": ("tiny-mpnet", "MPNet", OWN_CLASS, {"output": "classifier"}),
    "modernbert": ("tiny-modernbert", "ModernBert", PREDICTION_HEAD, PREDICTION_HEAD),
}

#: Further keys of the configuration, by family and case.
MORE = {
    "bert": {
        "many": (SEQUENCE, {"problem_type": "multi_label_classification"}, ["joy", "anger", "fear", "calm"]),
        "number": (SEQUENCE, {"classifier_dropout": 0.25}, ["LABEL_0"]),
    },
    "xlm-roberta": {"many": (SEQUENCE, {"problem_type": "multi_label_classification"}, ["joy", "anger", "fear", "calm"])},
    "camembert": {"number": (SEQUENCE, {"classifier_dropout": 0.25}, ["LABEL_0"])},
    "modernbert": {
        "mean": (SEQUENCE, {"classifier_pooling": "mean", "classifier_bias": True, "classifier_activation": "silu"}, ["yes", "no"]),
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("testdata/models"))
    parser.add_argument("--out", type=Path, default=Path("testdata/golden"))
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.names or FAMILIES:
        model, prefix, sequence, tokens = FAMILIES[name]
        cases = {"sequence": (SEQUENCE, {}, ["good", "bad", "mixed"]), "tokens": (TOKENS, {}, TAGS)} | MORE.get(name, {})
        tensors, description = {}, {"model": model, "texts": TEXTS, "cases": {}}
        for case, (suffix, keys, labels) in cases.items():
            layers = tokens if suffix == TOKENS else sequence
            found, about = classifier(arguments.models / model, prefix + suffix, keys, labels, layers, f"{name}-{case}")
            tensors |= {f"{case}.{key}": value.detach().float().contiguous() for key, value in found.items()}
            description["cases"][case] = about
        save_file(tensors, arguments.out / f"published-{name}.safetensors")
        tiny.write_json(arguments.out / f"published-{name}.json", description)


def classifier(folder: Path, name: str, keys: dict, labels: list[str], layers: dict[str, str], seed: str) -> tuple[dict, dict]:
    """The tensors of one case, and what its JSON says."""
    # The classes of XLM-RoBERTa and CamemBERT read the encoder of RoBERTa.
    kind = getattr(transformers, name)
    config = kind.config_class.from_pretrained(
        folder, id2label=dict(enumerate(labels)), label2id={label: i for i, label in enumerate(labels)}, **keys
    )
    model = kind.from_pretrained(folder, config=config, dtype=torch.float32).eval()
    base = f"{model.base_model_prefix}."
    generator = torch.Generator().manual_seed(tiny.SEED + sum(seed.encode()))
    own = {key: value for key, value in model.named_parameters() if not key.startswith(base)}
    with torch.no_grad():
        for key, value in sorted(own.items()):
            value.normal_(1.0 if "norm" in key and key.endswith("weight") else 0.0, 0.2, generator=generator)
    found = {f"tensor.{key}": value.detach().clone() for key, value in own.items()}
    # Not `AutoTokenizer`, which builds another one than `tokenizer.json` says for some families.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    is_tagger, total = name.endswith(TOKENS), 0.0
    for index, text in enumerate(TEXTS):
        encoded = tokenizer(text, return_tensors="pt", return_offsets_mapping=True, return_token_type_ids=False)
        offsets = encoded.pop("offset_mapping")[0].tolist()
        logits = model(**encoded).logits[0]
        if is_tagger:
            logits = logits[first_tokens(text, offsets, encoded.word_ids(0))]
        logits = logits.reshape(-1, len(labels))
        slopes = torch.randn(logits.shape, generator=generator)
        found |= {f"logits.{index}": logits.detach().clone(), f"dlogits.{index}": slopes}
        total = total + (logits * slopes).sum()
    total.backward()
    for role, layer in layers.items():
        for end in ("weight", "bias"):
            parameter = dict(model.named_parameters()).get(f"{layer}.{end}")
            if parameter is not None:
                place = {"hidden": "hidden.", "norm": "hidden.norm.", "output": ""}[role]
                found[f"grad.{place}{end}"] = parameter.grad
    # A parameter of the encoder: its gradient has passed through the head.
    encoder = [(key, value) for key, value in model.named_parameters() if key.startswith(base) and "norm" in key.lower()][-1]
    found["grad.encoder"] = encoder[1].grad
    found["loss"] = loss(model, tokenizer, labels, is_tagger).reshape(1)
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place)
        saved = json.loads((Path(place) / "config.json").read_text())
    saved.pop("transformers_version", None)
    return found, {"prefix": base, "encoder": encoder[0].removeprefix(base), "config": saved}


def first_tokens(text: str, offsets: list[list[int]], pieces: list[int | None]) -> list[int]:
    """The first token of every word of a text whose words have blanks between them.

    A blank that is a token of its own before a word is the first token of it: `pieces`, the tokenizer's
    numbers of words, say so.
    """
    places, before = [], 0
    for word in text.split():
        start = text.index(word, before)
        end = start + len(word)
        first = next(i for i, (a, b) in enumerate(offsets) if b > max(a, start) and a < end and a >= before)
        while pieces[first - 1] == pieces[first] and offsets[first - 1][0] >= before:
            first -= 1
        places.append(first)
        before = end
    return places


def targets(index: int, labels: list[str], words: int | None, problem: str | None) -> torch.Tensor:
    """The label of text `index`; of a tagger, one of each word."""
    if words is not None:
        return (torch.arange(words) + index) % len(labels)
    if problem == "multi_label_classification":
        return ((torch.arange(len(labels)) + index) % 2).float()
    return torch.tensor([0.5 * index]) if len(labels) == 1 else torch.tensor(index % len(labels))


def loss(model, tokenizer, labels: list[str], is_tagger: bool) -> torch.Tensor:
    """The loss of all texts in one padded batch, by the model itself."""
    batch = tokenizer(TEXTS, return_tensors="pt", padding=True, return_offsets_mapping=True, return_token_type_ids=False)
    offsets = batch.pop("offset_mapping").tolist()
    if is_tagger:
        wanted = torch.full(batch["input_ids"].shape, -100)
        for index, text in enumerate(TEXTS):
            wanted[index, first_tokens(text, offsets[index], batch.word_ids(index))] = targets(index, labels, len(text.split()), None)
    else:
        wanted = torch.stack([targets(i, labels, None, model.config.problem_type) for i in range(len(TEXTS))])
        wanted = wanted.squeeze(-1) if len(labels) == 1 else wanted
    return model(**batch, labels=wanted).loss.detach()


if __name__ == "__main__":
    main()
