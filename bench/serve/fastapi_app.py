"""A typical server of today: sentence-transformers behind FastAPI.

    MODEL=PATH uvicorn --app-dir bench/serve fastapi_app:app --port 8081
"""

import os

from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(os.environ["MODEL"], device="cpu")
app = FastAPI()


class EmbedRequest(BaseModel):
    """The body of text-embeddings-inference's `/embed`."""

    inputs: str | list[str]


@app.post("/embed")
def embed(request: EmbedRequest) -> list[list[float]]:
    """In FastAPI's pool of threads, as functions without `async` are."""
    inputs = [request.inputs] if isinstance(request.inputs, str) else request.inputs
    return model.encode(inputs, show_progress_bar=False).tolist()
