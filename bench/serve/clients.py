"""Checks `polyhead serve` with common clients: `openai` and `huggingface_hub`.

    python3 -m venv venv && venv/bin/pip install openai huggingface_hub numpy
    venv/bin/python bench/serve/clients.py PATH/TO/polyhead [MODEL]

Starts the server on a free port, with a key, and sends requests. With a MODEL that has tasks, the tasks are requested
too. Prints a line for each check; the exit code is 1 if one fails.
"""

import json
import os
import subprocess
import sys
import urllib.request

import numpy
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from openai import APIStatusError, AuthenticationError, BadRequestError, NotFoundError, OpenAI

KEY = "a-key-of-the-test"
TEXTS = ["Anna Lee ate soup in Berlin.", "naïve 東京 👩‍👩‍👧", "Railways are great."]
failed = 0


def check(name, holds):
    global failed
    failed += not holds
    print("ok  " if holds else "FAIL", name)


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    return None


def check_openai(url, key):
    client = OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    model = client.models.list().data[0].id
    check("openai: a model is listed and found", client.models.retrieve(model).id == model)
    # This client requests base64 by default.
    default = client.embeddings.create(model=model, input=TEXTS)
    floats = client.embeddings.create(model=model, input=TEXTS, encoding_format="float")
    vectors = numpy.array([item.embedding for item in default.data], dtype=numpy.float32)
    same = numpy.array([item.embedding for item in floats.data], dtype=numpy.float32)
    check("openai: base64 and float have the same bits", (vectors == same).all())
    check("openai: a vector a text, in order", [item.index for item in default.data] == [0, 1, 2])
    check("openai: unit length", numpy.allclose(numpy.linalg.norm(vectors, axis=1), 1, atol=1e-5))
    alone = client.embeddings.create(model=model, input=TEXTS[1]).data[0].embedding
    check("openai: alone and together have the same bits",
          (numpy.array(alone, dtype=numpy.float32) == vectors[1]).all())
    short = client.embeddings.create(model=model, input=TEXTS[0], dimensions=32).data[0].embedding
    cut = vectors[0, :32] / numpy.linalg.norm(vectors[0, :32])
    check("openai: dimensions are cut and renormalised",
          len(short) == 32 and numpy.allclose(short, cut, atol=1e-6))
    usage = default.usage
    check("openai: usage", usage.prompt_tokens == usage.total_tokens > 0)
    error = raises(BadRequestError, lambda: client.embeddings.create(model=model, input=[1, 2, 3]))
    check("openai: token ids are refused and the switch is named",
          error is not None and "check_embedding_ctx_length" in error.message)
    error = raises(BadRequestError, lambda: client.embeddings.create(model=model, input="long " * 5000))
    check("openai: too long is an error with a code",
          error is not None and error.code == "context_length_exceeded" and error.param == "input")
    cut = client.embeddings.with_raw_response.create(
        model=model, input="long " * 5000, extra_body={"truncate": True})
    check("openai: cutting is told", cut.headers["x-truncated-inputs"] == "1")
    check("openai: another model is not found", raises(
        NotFoundError, lambda: client.embeddings.create(model="gpt", input="a")) is not None)
    check("openai: an empty text is an error", raises(
        BadRequestError, lambda: client.embeddings.create(model=model, input="")) is not None)
    wrong = OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0)
    check("openai: a wrong key", raises(AuthenticationError, wrong.models.list) is not None)
    many = raises(APIStatusError, lambda: client.embeddings.create(model=model, input=["a"] * 6000))
    check("openai: too many texts", many is not None and many.code == "too_many_texts")
    return vectors


def check_hub(url, key, vectors, tasks):
    # A model with one task that has labels or spans answers with it, unless a request says more.
    of_labels = [task for task in tasks if task["kind"] != "regression"]
    address = f"{url}/?task=embedding" if len(of_labels) == 1 else url
    client = InferenceClient(base_url=address, token=key)
    found = client.feature_extraction(TEXTS[0])
    check("huggingface_hub: feature_extraction gives the same vector",
          found.dtype == numpy.float32 and numpy.allclose(found[0], vectors[0], atol=1e-6))
    found = client.feature_extraction(TEXTS[0], normalize=True, truncate=True)
    check("huggingface_hub: with options", numpy.allclose(found[0], vectors[0], atol=1e-6))
    check("huggingface_hub: an error is one", raises(
        HfHubHTTPError, lambda: client.feature_extraction(TEXTS[0], prompt_name="nope")) is not None)
    expected = vectors[[0, 2]] @ vectors[0]
    for path in ("", "/similarity"):
        similar = InferenceClient(url + path, token=key).sentence_similarity(
            TEXTS[0], other_sentences=[TEXTS[0], TEXTS[2]])
        check(f"huggingface_hub: sentence_similarity at {path or '/'}", numpy.allclose(similar, expected, atol=1e-5))
    together = client.feature_extraction(TEXTS, dimensions=8, normalize=False)
    check("huggingface_hub: feature_extraction of a list", together.shape == (3, 8))
    check("huggingface_hub: base64 is an error that names it", "encoding_format" in str(raises(
        HfHubHTTPError, lambda: client.feature_extraction(TEXTS[0], encoding_format="base64"))))
    for task in tasks:
        check_task(url, key, task)
    if len(of_labels) == 1:
        check_task(url, key, of_labels[0], address="")
        bare = get(url, key, {"inputs": TEXTS[0]})
        with_parameters = get(url, key, {"inputs": TEXTS[0], "parameters": {}})
        check("the only task answers a request that says nothing more", bare == with_parameters)


def check_task(url, key, task, address=None):
    """The answers of one task, against those of /v1/predict.

    With an empty `address`, the client does not name the task, which is the only one of the model.
    """
    name, kind = task["name"], task["kind"]
    client = InferenceClient(base_url=url + (f"/?task={name}" if address is None else address), token=key)
    own = get(f"{url}/v1/predict", key, {"inputs": TEXTS[0], "tasks": [name]})["answers"][0]["tasks"][name]
    if kind == "regression":
        error = raises(HfHubHTTPError, lambda: client.text_classification(TEXTS[0]))
        check(f"{name}: a number is no label, and the error says so", "found regression" in str(error))
        return
    if kind == "tokens":
        spans = client.token_classification(TEXTS[0])
        found = [(span.entity_group, span.score, span.word, span.start, span.end) for span in spans]
        check(f"{name}: token_classification gives the spans", found == [
            (span["label"], span["score"], span["text"], span["start"], span["end"]) for span in own["spans"]])
        check(f"{name}: each span is its part of the text",
              all(TEXTS[0][span.start:span.end] == span.word for span in spans))
        words = client.token_classification(TEXTS[0], aggregation_strategy="none", ignore_labels=[])
        check(f"{name}: without aggregation, every word has its tag",
              len(words) == len(TEXTS[0].replace(".", " .").split())
              and all(word.entity in task["labels"] and word.entity_group is None for word in words))
        for options in ({"aggregation_strategy": "max"}, {"stride": 4}):
            error = raises(HfHubHTTPError, lambda: client.token_classification(TEXTS[0], **options))
            check(f"{name}: {options} is an error that names it", next(iter(options)) in str(error))
        return
    # The middle of labels with an order need not be the most probable one.
    expected = sorted(own["probabilities"].items(), key=lambda pair: (pair[0] != own.get("label"), -pair[1]))
    found = client.text_classification(TEXTS[0])
    check(f"{name}: text_classification gives all labels, that of the answer first, then best first",
          [(label.label, label.score) for label in found] == expected)
    check(f"{name}: top_k", client.text_classification(TEXTS[0], top_k=1) == found[:1])
    if kind == "ordinal":
        error = raises(HfHubHTTPError, lambda: client.text_classification(TEXTS[0], function_to_apply="none"))
        check(f"{name}: labels with an order have no logits, and the error says so", "function_to_apply" in str(error))
        return
    logits = client.text_classification(TEXTS[0], function_to_apply="none")
    check(f"{name}: logits", [label.label for label in logits] == [label.label for label in found] and logits != found)
    other = "softmax" if kind == "multilabel" else "sigmoid"
    error = raises(HfHubHTTPError, lambda: client.text_classification(TEXTS[0], function_to_apply=other))
    check(f"{name}: another function is an error that names it", "function_to_apply" in str(error))


def get(url, key, body=None):
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
                                     data=json.dumps(body).encode() if body else None)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def main():
    program, *model = sys.argv[1:]
    server = subprocess.Popen(
        [program, "serve", *model, "--port", "0", "--quiet"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "POLYHEAD_API_KEYS": KEY})
    try:
        url = server.stdout.readline().split()[-1]
        tasks = get(f"{url}/v1/model", KEY)["tasks"]
        vectors = check_openai(url, KEY)
        check_hub(url, KEY, vectors, tasks)
    finally:
        server.terminate()
        check("the server ends in good order", server.wait(30) == 0)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
