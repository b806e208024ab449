"""Makes the hidden states, pooled vectors and embeddings of the tiny models, into `testdata/golden/`.

    python reference/make_encoder_goldens.py --models testdata/models --out testdata/golden

Each text is computed alone, so that padding cannot affect a number, in float32, in
evaluation mode and with the plain ("eager") attention. 16-bit folders are read
as float32: their goldens say what the stored weights mean, not what 16-bit
arithmetic would make of them.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import AutoConfig, AutoModel, AutoTokenizer

import tiny

MODES = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
#: Other folders hold the weights of one of these and share its file.
PLAIN = ["tiny-bert", "tiny-bert-f16", "tiny-bert-bf16", "tiny-distilbert", "tiny-roberta", "tiny-electra", "tiny-mpnet", "tiny-modernbert"]
STACKS = ["st6-dense", "st6-multi", "st3-dense", "st3-distil"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("testdata/models"))
    parser.add_argument("--out", type=Path, default=Path("testdata/golden"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name in PLAIN:
        save_file(plain_goldens(arguments.models / name), arguments.out / f"{name}.safetensors")
    save_file(window_goldens(arguments.models / "tiny-modernbert"), arguments.out / "windows.safetensors")
    save_file(length_goldens(arguments.models), arguments.out / "lengths.safetensors")
    for name in STACKS:
        save_file(stack_goldens(arguments.models / name), arguments.out / f"{name}.safetensors")
    tiny.write_json(arguments.out / "tiny_texts.json", tiny.TEXTS)


@torch.no_grad()
def plain_goldens(folder: Path) -> dict[str, torch.Tensor]:
    """`{i}.input_ids` `[T]`, `{i}.hidden.{l}` `[T, D]` from the embeddings (0) upwards, `{i}.pool.{mode}` `[D]`."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    goldens = {}
    for i, text in enumerate(tiny.TEXTS):
        inputs = tokenizer(text, truncation=True, max_length=tiny.MAX_POSITIONS, return_tensors="pt")
        hidden = model(**inputs, output_hidden_states=True).hidden_states
        goldens[f"{i}.input_ids"] = inputs["input_ids"][0].int()
        goldens |= {f"{i}.hidden.{layer}": value[0].clone() for layer, value in enumerate(hidden)}
        goldens |= {f"{i}.pool.{mode}": pool(hidden[-1], mode) for mode in MODES}
    return goldens


#: Tokens of the texts for windows of 64 tokens on each side: below it, at it, beyond it.
WINDOW_LENGTHS = [1, 127, 128, 129, 300, 1100]
#: Only every so-many-th row is kept.
ROW_STEP = {1: 1, 127: 3, 128: 3, 129: 3, 300: 7, 1100: 27}


@torch.no_grad()
def window_goldens(folder: Path) -> dict[str, torch.Tensor]:
    """`{T}.input_ids` `[T]`, `{T}.hidden.{l}` `[rows kept, D]`: the same weights with published ModernBERT's windows."""
    config = AutoConfig.from_pretrained(folder, local_attention=128)
    model = AutoModel.from_pretrained(folder, config=config, dtype=torch.float32, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(tiny.SEED)
    goldens = {}
    for length in WINDOW_LENGTHS:
        ids = torch.randint(5, model.config.vocab_size, (1, length), generator=generator)
        hidden = model(ids, output_hidden_states=True).hidden_states
        step = ROW_STEP[length]
        goldens[f"{length}.input_ids"] = ids[0].int()
        goldens |= {f"{length}.hidden.{layer}": value[0, ::step].clone() for layer, value in enumerate(hidden)}
    return goldens


@torch.no_grad()
def length_goldens(models: Path) -> dict[str, torch.Tensor]:
    """`{model}.{case}.input_ids` `[T]`, `{model}.{case}.hidden` `[rows kept, D]`: the last hidden states of odd token sequences.

    Cases: `one` and `two` tokens, as many as the positions allow (`limit`), and tokens of padding inside (`padding`), which RoBERTa and MPNet do not count.
    """
    goldens = {}
    for name in (name for name in PLAIN if not name.endswith("16")):
        model = AutoModel.from_pretrained(models / name, dtype=torch.float32, attn_implementation="eager").eval()
        config = model.config
        # RoBERTa and MPNet have two rows of positions that no other token has.
        limit = config.max_position_embeddings - (2 if name in ("tiny-roberta", "tiny-mpnet") else 0)
        generator = torch.Generator().manual_seed(tiny.SEED)
        draw = lambda count: torch.randint(5, config.vocab_size, (1, count), generator=generator)
        padding = draw(12)
        padding[0, [2, 3, 7, 11]] = config.pad_token_id
        for case, ids in {"one": draw(1), "two": draw(2), "limit": draw(limit), "padding": padding}.items():
            hidden = model(ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
            goldens[f"{name}.{case}.input_ids"] = ids[0].int()
            goldens[f"{name}.{case}.hidden"] = hidden[:: length_step(len(hidden))].clone()
    return goldens


def length_step(tokens: int) -> int:
    """Only every so-many-th row is kept, the last one included."""
    return max(1, (tokens - 1) // 3) if tokens > 12 else 1


def pool(hidden: torch.Tensor, mode: str) -> torch.Tensor:
    """One text's vector by sentence-transformers' own pooling."""
    features = {"token_embeddings": hidden, "attention_mask": torch.ones(hidden.shape[:2], dtype=torch.long)}
    return Pooling(hidden.shape[-1], pooling_mode=mode)(features)["sentence_embedding"][0].clone()


def stack_goldens(folder: Path) -> dict[str, torch.Tensor]:
    """`{i}.embedding` with the folder's default prompt, and `{i}.embedding.{prompt}` for every prompt it names.

    A folder with prompts also gets `{i}.embedding.none`: the text without one.
    """
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True, model_kwargs={"attn_implementation": "eager"})
    named = {name: text for name, text in model.prompts.items() if text}
    goldens = {}
    for i, text in enumerate(tiny.TEXTS):
        goldens[f"{i}.embedding"] = embed(model, text)
        goldens |= {f"{i}.embedding.{name}": embed(model, text, prompt_name=name) for name in named}
        if named:
            goldens[f"{i}.embedding.none"] = embed(model, text, prompt="")
    return goldens


def embed(model: SentenceTransformer, text: str, **prompt: str) -> torch.Tensor:
    """One text, alone in its batch."""
    return model.encode([text], batch_size=1, convert_to_tensor=True, show_progress_bar=False, **prompt)[0].clone()


if __name__ == "__main__":
    main()
