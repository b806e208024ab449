"""Makes the embeddings of real texts by the real all-MiniLM-L6-v2, into `testdata/golden/`.

    python reference/make_minilm_goldens.py --model DIR --out testdata/golden

Each text is encoded alone by sentence-transformers in float32. `minilm_texts.json`
has the texts; `minilm.safetensors` has `embedding` `[n, 384]`, `token_count` `[n]`
(with both special tokens, before truncation to 256) and
`{i}.input_ids` (after truncation).
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer

import tiny

PARAGRAPH = (
    "The library keeps one encoder in memory and answers every question about a text from a single pass. "
    "A ticket that says the payment page has been down since Tuesday is sorted by topic, weighed by urgency and "
    "stored with its vector, so that a colleague who asks about failed payments next month will find it. "
    "None of this needs a graphics card: the model has six layers, reads at most two hundred and fifty-six word "
    "pieces, and writes three hundred and eighty-four numbers. What takes care is the rest, namely empty lines, "
    "text in scripts that nobody on the team can read, stray control characters, and documents that go on long "
    "after the model has stopped listening."
)

TEXTS = [
    "This is the assessement for sentence transformer implementation. Let's embed this sentence and check the length",
    "I like doing assesements.",
    "I love doing NLP works!! Is there more??",
    "I wish to be a AI engineer and make AI products.",
    "A man is playing a guitar.",
    "Someone plays an instrument on stage.",
    "hello",
    "",
    " ",
    "\t \n\r ",
    "HELLO World, mIxEd CaSe and ALL CAPS",
    "Zürich, Ærøskøbing, naïve café, Škoda, Ångström, İstanbul",
    "Cafe\u0301 with a combining accent, and e\u0301\u0302 with two",
    "I 💙 ferrets 👩‍👩‍👧‍👦 🇨🇭 and a lone surrogate-free 😀",
    "机器学习模型把句子变成向量。日本語の文もあります。한국어 문장도 있습니다.",
    "Пример на русском языке, دعوة بالعربية, עברית, ελληνικά, ไทย",
    "NUL\x00inside\x00 and \x07 bell, soft\u00adhyphen, zero\u200bwidth, \ufeffBOM, \ufffd",
    "See https://example.org/a/b?c=d&e=%20f#g or mail first.last+tag@example.co.uk (ftp://10.0.0.1:21).",
    "for (int i = 0; i < n; ++i) { sum += a[i] * b[i]; } // O(n), isn't it?",
    "3.14159, 1,000,000, -5e-10, 2024-06-11T12:34:56Z, $9.99, 50%, №7, ½, x², H₂O",
    "pneumonoultramicroscopicsilicovolcanoconiosis " + "x" * 120 + " Donaudampfschifffahrtsgesellschaft",
    "The [MASK] sat on the [SEP] mat [UNK] [PAD].",
    PARAGRAPH,
    " ".join(f"Point {n}: the {n}th paragraph repeats itself, more or less." for n in range(1, 51)),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, default=Path("testdata/golden"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = SentenceTransformer(arguments.model, device="cpu", local_files_only=True, model_kwargs={"dtype": torch.float32})
    save_file(goldens(model), arguments.out / "minilm.safetensors")
    texts = {"model": "all-MiniLM-L6-v2", "max_length": model.max_seq_length, "texts": TEXTS}
    tiny.write_json(arguments.out / "minilm_texts.json", texts)


def goldens(model: SentenceTransformer) -> dict[str, torch.Tensor]:
    """The tensors of `minilm.safetensors`."""
    rows = [model.encode([text], batch_size=1, convert_to_tensor=True, show_progress_bar=False)[0] for text in TEXTS]
    whole = [model.tokenizer(text, truncation=False, verbose=False)["input_ids"] for text in TEXTS]
    cut = [model.tokenizer(text, truncation=True, max_length=model.max_seq_length)["input_ids"] for text in TEXTS]
    named = {f"{i}.input_ids": torch.tensor(ids, dtype=torch.int32) for i, ids in enumerate(cut)}
    counts = torch.tensor([len(ids) for ids in whole], dtype=torch.int32)
    return {"embedding": torch.stack(rows), "token_count": counts} | named


if __name__ == "__main__":
    main()
