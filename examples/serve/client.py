"""Requests all heads and vectors from `polyhead serve`, with Python's standard library only.

    python client.py [URL] [TEXT ...]

POLYHEAD_API_KEY holds a key, if the server needs one. When the queue is full, the server says how
long to wait, and this client waits.
"""

import json
import os
import random
import sys
import time
import urllib.error
import urllib.request


class Polyhead:
    def __init__(self, url="http://127.0.0.1:8080", key=None, tries=5, timeout=120):
        self.url, self.key, self.tries, self.timeout = url.rstrip("/"), key, tries, timeout

    def model(self):
        return self._ask("/v1/model")

    def predict(self, texts, **options):
        """Answers to texts; options are fields of `POST /v1/predict`, such as `tasks` or `truncate`."""
        return self._ask("/v1/predict", {"inputs": texts, **options})["answers"]

    def embed(self, texts, **options):
        answers = self.predict(texts, tasks=["embedding"], **options)
        return [answer["embedding"] for answer in answers]

    def _ask(self, path, body=None):
        headers = {"content-type": "application/json"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        data = None if body is None else json.dumps(body).encode()
        for left in reversed(range(self.tries)):
            request = urllib.request.Request(self.url + path, data, headers)
            try:
                with urllib.request.urlopen(request, timeout=self.timeout) as response:
                    return json.load(response)
            except urllib.error.HTTPError as error:
                if error.code not in (429, 503) or left == 0:
                    raise SystemExit(f"{error.code}: {message(error)}") from None
                # A random factor, so that clients that were refused together do not all return together.
                time.sleep(seconds(error) * random.uniform(1, 2))
            except OSError as error:
                # URLError, and what happens later: a connection that is cut off, a timeout.
                raise SystemExit(f"no answer from {self.url}: {getattr(error, 'reason', error)}") from None


def message(error):
    """The message of an error; a proxy in between may answer something other than JSON."""
    try:
        return json.load(error)["error"]["message"]
    except (ValueError, LookupError, TypeError):
        return error.reason


def seconds(error):
    """Seconds to wait. A proxy may send a date, which is not read here."""
    wait = error.headers.get("retry-after", "")
    return int(wait) if wait.isdecimal() else 1


def main():
    url, *texts = sys.argv[1:] or ["http://127.0.0.1:8080"]
    texts = texts or ["The soup was cold.", "Anna moved to Berlin."]
    client = Polyhead(url, os.environ.get("POLYHEAD_API_KEY"))
    print("tasks:", ", ".join(task["name"] for task in client.model()["tasks"]) or "none")
    for text, answer in zip(texts, client.predict(texts)):
        print(text, json.dumps(answer["tasks"], ensure_ascii=False))
    for text, vector in zip(texts, client.embed(texts, truncate=True)):
        print(text, f"{len(vector)} numbers:", [round(x, 4) for x in vector[:4]], "…")


if __name__ == "__main__":
    main()
