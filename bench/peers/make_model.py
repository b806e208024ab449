"""Makes a sentence-transformers folder of DistilBERT-base's or of ModernBERT-base's shape with random weights.

    python bench/peers/make_model.py --like DIR --out DIR [--seed 0]
    python bench/peers/make_model.py --corpus DIR --out DIR [--seed 0] [--scale 1]

DistilBERT has 6 layers of width 768, 12 heads, feed-forward width 3,072. Tokenizer, longest text, mean
pooling and normalization are those of `--like`, a BERT such as all-MiniLM-L6-v2. ModernBERT has 22 layers
of width 768, 12 heads, gated width 1,152, windows of 64 tokens on each side but in every third layer,
50,368 rows of embeddings, texts of up to 8,192 tokens; mean pooling and normalization. Its byte-level BPE is
learned from `mixed.txt` and `short.txt` of `--corpus`. The vectors are meaningless; only the time is measured.
With `--scale`, the matrices of ModernBERT's layers are multiplied: its layers then change the hidden states as
much as trained ones do, which a comparison of numbers needs.
"""

import argparse
import json
import shutil
from pathlib import Path

KEPT = ["modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"]
KEPT += ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"]
#: ModernBERT's special tokens, by the roles that transformers gives them.
SPECIALS = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
MOST_TOKENS = 8192


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--like", type=Path, help="sentence-transformers folder of a BERT: makes a DistilBERT")
    source.add_argument("--corpus", type=Path, help="folder of mixed.txt and short.txt: makes a ModernBERT")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1, help="factor of the matrices in ModernBERT's layers")
    arguments = parser.parse_args()
    if arguments.corpus:
        write_modernbert(arguments.corpus, arguments.out, arguments.seed, arguments.scale)
        return
    write_encoder(arguments.like, arguments.out, arguments.seed)
    for name in KEPT:
        shutil.copyfile(arguments.like / name, arguments.out / name)
    write_pooling(arguments.like / "1_Pooling", arguments.out / "1_Pooling")


def write_encoder(like: Path, out: Path, seed: int) -> None:
    """Random weights, as DistilBERT begins its training."""
    import torch
    from transformers import DistilBertConfig, DistilBertModel

    vocabulary = json.loads((like / "config.json").read_text())["vocab_size"]
    torch.manual_seed(seed)
    model = DistilBertModel(DistilBertConfig(vocab_size=vocabulary, n_layers=6, dim=768, n_heads=12, hidden_dim=3072))
    model.save_pretrained(out)


def write_pooling(like: Path, out: Path) -> None:
    """The same pooling, of wider vectors."""
    config = json.loads((like / "config.json").read_text()) | {"word_embedding_dimension": 768}
    out.mkdir(exist_ok=True)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def write_modernbert(corpus: Path, out: Path, seed: int, scale: float) -> None:
    """Random weights, as ModernBERT begins its training, with a tokenizer of the corpus."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import ModernBertConfig, ModernBertModel, PreTrainedTokenizerFast

    tokenizer = learned_tokenizer([corpus / "mixed.txt", corpus / "short.txt"])
    ids = {f"{role}_id": tokenizer.token_to_id(SPECIALS[role]) for role in ("cls_token", "sep_token", "pad_token")}
    torch.manual_seed(seed)
    config = ModernBertConfig(**ids, bos_token_id=ids["cls_token_id"], eos_token_id=ids["sep_token_id"])
    model = ModernBertModel(config)
    with torch.no_grad():
        for parameter in model.layers.parameters():
            parameter *= scale if parameter.dim() == 2 else 1
    model.save_pretrained(out)
    names = ["input_ids", "attention_mask"]
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=MOST_TOKENS, model_input_names=names, **SPECIALS)
    wrapped.save_pretrained(out)
    modules = [Transformer(str(out), max_seq_length=MOST_TOKENS), Pooling(config.hidden_size, "mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(out), create_model_card=False)


def learned_tokenizer(files: list[Path]):
    """A byte-level BPE as ModernBERT has it, with as many tokens as the files give, at most 50,368."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=50_368, special_tokens=list(SPECIALS.values()), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train([str(file) for file in files], trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", ends)
    return tokenizer


if __name__ == "__main__":
    main()
