"""Makes the tiny seeded models that the tests load, into `testdata/models/`.

    python reference/make_tiny_models.py --out testdata/models

Run it twice: under sentence-transformers 6 (`requirements.txt`) it makes
everything except the `st3-*` folders, under sentence-transformers 3
(`requirements-st3.txt`) only those. The form of a folder depends on the library version,
so each version saves its own; the weights come from the same seed.
"""

import argparse
import json
import shutil
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

import tiny

ST_MAX_LENGTH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("testdata/models"))
    out = parser.parse_args().out
    generation = int(version("sentence-transformers").split(".")[0])
    if generation == 3:
        save_version_3(out)
    else:
        save_plain(out)
        save_families(out)
        save_variants(out)
        save_version_6(out)


def save_plain(out: Path) -> None:
    """`tiny-bert`, `tiny-distilbert` and `tiny-modernbert` as transformers saves them."""
    size = len(tiny.vocabulary())
    bert = BertModel(
        BertConfig(
            vocab_size=size,
            hidden_size=40,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=72,
            max_position_embeddings=tiny.MAX_POSITIONS,
            type_vocab_size=2,
            layer_norm_eps=1e-12,
            hidden_act="gelu",
        )
    )
    save_model(tiny.randomize(bert, tiny.SEED), out / "tiny-bert")
    distilbert = DistilBertModel(
        DistilBertConfig(
            vocab_size=size,
            dim=48,
            n_heads=3,
            n_layers=2,
            hidden_dim=80,
            max_position_embeddings=tiny.MAX_POSITIONS,
            activation="gelu",
        )
    )
    save_model(tiny.randomize(distilbert, tiny.SEED + 1), out / "tiny-distilbert")
    save_model(tiny.randomize(modernbert(size), tiny.SEED + 8), out / "tiny-modernbert")


def modernbert(size: int) -> ModernBertModel:
    """Two global layers and two with a window of four tokens on each side."""
    return ModernBertModel(
        ModernBertConfig(
            vocab_size=size,
            hidden_size=20,
            num_hidden_layers=4,
            num_attention_heads=2,
            intermediate_size=28,
            max_position_embeddings=1200,
            local_attention=8,
            pad_token_id=0,
            bos_token_id=2,
            eos_token_id=3,
            cls_token_id=2,
            sep_token_id=3,
        )
    )


#: The special tokens of RoBERTa and MPNet, in id order; positions begin after the id of the second.
ROBERTA_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
#: Sizes of the families that came later: smaller, as there are many of them.
SMALL = {"hidden_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 36}


def save_families(out: Path) -> None:
    """`tiny-roberta`, `tiny-electra` and `tiny-mpnet`: the parts that BERT does not have."""
    tokenizer = byte_level_tokenizer()
    # The first row of a text is that after the padding token's, so two rows are never read.
    positions = tiny.MAX_POSITIONS + 2
    config = RobertaConfig(**SMALL, vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=positions, type_vocab_size=1, layer_norm_eps=1e-5)
    save_with_tokenizer(tiny.randomize(RobertaModel(config), tiny.SEED + 20), tokenizer, out / "tiny-roberta")
    config = ElectraConfig(**SMALL, vocab_size=len(tiny.vocabulary()), embedding_size=12, max_position_embeddings=tiny.MAX_POSITIONS)
    save_model(tiny.randomize(ElectraModel(config), tiny.SEED + 21), out / "tiny-electra")
    tokenizer = word_piece_tokenizer()
    config = MPNetConfig(**SMALL, vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=positions, layer_norm_eps=1e-5)
    model = tiny.randomize(MPNetModel(config), tiny.SEED + 22)
    with torch.no_grad():
        # As large as the scores: a bias of the wrong distance must show.
        model.encoder.relative_attention_bias.weight *= 5
    save_with_tokenizer(model, tokenizer, out / "tiny-mpnet")


def byte_level_tokenizer() -> Tokenizer:
    """A byte-level BPE as RoBERTa has it, learned from the tiny texts."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=ROBERTA_SPECIALS, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(tiny.TEXTS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def word_piece_tokenizer() -> Tokenizer:
    """The tiny word pieces after the special tokens of MPNet."""
    entries = ROBERTA_SPECIALS + tiny.vocabulary()[len(tiny.SPECIALS) :]
    tokenizer = Tokenizer(models.WordPiece({entry: i for i, entry in enumerate(entries)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def save_with_tokenizer(model: torch.nn.Module, tokenizer: Tokenizer, folder: Path) -> None:
    """Saves a model with this tokenizer, which transformers loads as it is."""
    model.save_pretrained(folder)
    roles = ["bos_token", "pad_token", "eos_token", "unk_token", "mask_token"]
    named = dict(zip(roles, ROBERTA_SPECIALS, strict=True)) | {"cls_token": "<s>", "sep_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=tiny.MAX_POSITIONS, **named).save_pretrained(folder)


def save_model(model: torch.nn.Module, folder: Path) -> None:
    """Saves a model with the tiny tokenizer; `vocab.txt` too, which transformers 5 no longer writes."""
    model.save_pretrained(folder)
    tiny.write_vocab(folder)
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True, model_max_length=tiny.MAX_POSITIONS)
    assert tokenizer.vocab_size == len(tiny.vocabulary())
    tokenizer.save_pretrained(folder)
    tiny.write_vocab(folder)


def save_variants(out: Path) -> None:
    """The same weights in the other forms that checkpoints come in."""
    bert, distilbert = out / "tiny-bert", out / "tiny-distilbert"
    weights = load_file(bert / "model.safetensors")
    save_copy(bert, out / "tiny-bert-prefixed", prefixed_bert(weights))
    save_copy(bert, out / "tiny-bert-f16", {name: value.half() for name, value in weights.items()}, "float16")
    save_copy(bert, out / "tiny-bert-bf16", {name: value.bfloat16() for name, value in weights.items()}, "bfloat16")
    save_sharded(bert, out / "tiny-bert-sharded", weights)
    save_copy(distilbert, out / "tiny-distilbert-prefixed", prefixed_distilbert(load_file(distilbert / "model.safetensors")))
    vocab_only = out / "tiny-bert-vocab-only"
    save_copy(bert, vocab_only, weights)
    (vocab_only / "tokenizer.json").unlink()
    settings = {"do_lower_case": True, "model_max_length": tiny.MAX_POSITIONS, "tokenizer_class": "BertTokenizer"}
    tiny.write_json(vocab_only / "tokenizer_config.json", settings)


def save_copy(source: Path, folder: Path, weights: dict[str, torch.Tensor], dtype: str = "float32") -> None:
    """Copies a folder and replaces its weights."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((folder / "config.json").read_text())
    config["dtype"] = dtype
    tiny.write_json(folder / "config.json", config)
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "model.safetensors", {"format": "pt"})


def prefixed_bert(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names as old pretraining checkpoints have them: prefix, gamma and beta, both heads, a position buffer."""
    generator = torch.Generator().manual_seed(tiny.SEED + 2)
    vocab, hidden = weights["embeddings.word_embeddings.weight"].shape
    legacy = {f"bert.{legacy_norm(name)}": value for name, value in weights.items()}
    legacy["bert.embeddings.position_ids"] = torch.arange(tiny.MAX_POSITIONS).unsqueeze(0)
    shapes = {
        "cls.predictions.bias": [vocab],
        "cls.predictions.transform.dense.weight": [hidden, hidden],
        "cls.predictions.transform.dense.bias": [hidden],
        "cls.predictions.transform.LayerNorm.gamma": [hidden],
        "cls.predictions.transform.LayerNorm.beta": [hidden],
        "cls.predictions.decoder.weight": [vocab, hidden],
        "cls.seq_relationship.weight": [2, hidden],
        "cls.seq_relationship.bias": [2],
    }
    return legacy | {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def legacy_norm(name: str) -> str:
    """The layer norm names from before PyTorch's own took over."""
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


def prefixed_distilbert(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names as a masked language model saves them."""
    generator = torch.Generator().manual_seed(tiny.SEED + 3)
    vocab, dim = weights["embeddings.word_embeddings.weight"].shape
    shapes = {
        "vocab_transform.weight": [dim, dim],
        "vocab_transform.bias": [dim],
        "vocab_layer_norm.weight": [dim],
        "vocab_layer_norm.bias": [dim],
        "vocab_projector.weight": [vocab, dim],
        "vocab_projector.bias": [vocab],
    }
    heads = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {f"distilbert.{name}": value for name, value in weights.items()} | heads


def save_sharded(source: Path, folder: Path, weights: dict[str, torch.Tensor]) -> None:
    """Two shards with an index, cut in the middle of a layer."""
    save_copy(source, folder, weights)
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    parts = [names[: len(names) // 2], names[len(names) // 2 :]]
    weight_map = {}
    for number, part in enumerate(parts, start=1):
        file = f"model-{number:05}-of-{len(parts):05}.safetensors"
        save_file({name: weights[name] for name in part}, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    size = sum(value.numel() * value.element_size() for value in weights.values())
    tiny.write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": weight_map})


def save_version_6(out: Path) -> None:
    """Folders in the present format of sentence-transformers."""
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling

    encoder = Transformer(str(out / "tiny-bert"), max_seq_length=ST_MAX_LENGTH)
    dense = Dense(40, 24, activation_function=torch.nn.Tanh())
    save_stack([encoder, Pooling(40, pooling_mode="mean"), tiny.randomize(dense, tiny.SEED + 4), Normalize()], out / "st6-dense")

    pooling = Pooling(40, pooling_mode=("cls", "max", "mean"), include_prompt=False)
    norm = LayerNorm(120)
    # A residual between unlike sizes has a projection of its own; between like sizes it has none.
    projected = Dense(120, 28, activation_function=torch.nn.GELU(), use_residual=True)
    plain = Dense(28, 28, bias=False, activation_function=torch.nn.Identity(), use_residual=True)
    added = [tiny.randomize(module, tiny.SEED + 5 + i) for i, module in enumerate([norm, projected, plain])]
    modules = [encoder, pooling, *added]
    prompts = {"query": "query: ", "passage": "passage: "}
    save_stack(modules, out / "st6-multi", prompts=prompts, default_prompt_name="query")


def save_version_3(out: Path) -> None:
    """Folders in the format of sentence-transformers 2 and 3, from the plain models made before."""
    from sentence_transformers.models import Dense, Normalize, Pooling, Transformer

    dense = Dense(40, 24, activation_function=torch.nn.Tanh())
    encoder = Transformer(str(out / "tiny-bert"), max_seq_length=ST_MAX_LENGTH)
    save_stack([encoder, Pooling(40, pooling_mode="mean"), tiny.randomize(dense, tiny.SEED + 4), Normalize()], out / "st3-dense")
    encoder = Transformer(str(out / "tiny-distilbert"), max_seq_length=ST_MAX_LENGTH)
    save_stack([encoder, Pooling(48, pooling_mode="lasttoken")], out / "st3-distil")


def save_stack(modules: list[torch.nn.Module], folder: Path, **settings: object) -> None:
    """Saves without the model card, which holds dates and prose."""
    from sentence_transformers import SentenceTransformer

    shutil.rmtree(folder, ignore_errors=True)
    SentenceTransformer(modules=modules, device="cpu", **settings).save(str(folder), create_model_card=False)


if __name__ == "__main__":
    main()
