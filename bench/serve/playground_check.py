#!/usr/bin/env python3
"""Drives the playground in headless Chromium and checks what a user sees.

    python3 bench/serve/playground_check.py --shots DIR            # against a mock server: everything
    python3 bench/serve/playground_check.py --url http://127.0.0.1:8080 --shots DIR   # against a real one: less
    python3 bench/serve/playground_check.py --write-policy         # after a change of the page

Needs the package `playwright` and a Chromium; see `README.md`.
"""

import argparse
import base64
import hashlib
import json
import math
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from playground_mock import PAGE, Mock

EIGHT = """The soup was wonderful and the staff were kind.
I loved the food, but we waited an hour for a table.
My phone stopped charging after two days, please help!
The battery of this laptop is dead again.
Marie Curie was born in Warsaw in 1867.
Ada 👩🏽‍💻🇬🇧 Lovelace wrote to Charles Babbage from London.
הקפה כאן מצוין, Marie Curie אמרה, והשירות מהיר.
<b>The film</b> drags on & the "ending" isn't $HOME `for me`."""
#: The pages, and the size in KiB that each stays below.
PAGES = {"playground": 48, "docs": 20}
LONG_WORD = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 2
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}

#: All text on the page with too little contrast to what lies behind it (WCAG 2.2, 1.4.3).
CONTRAST = """() => {
  const pen = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d', {willReadFrequently: true});
  const rgba = css => { pen.clearRect(0, 0, 1, 1); pen.fillStyle = css; pen.fillRect(0, 0, 1, 1); return [...pen.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
  const behind = e => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] > 250) return c; } return [255, 255, 255, 255]; };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; node = walker.nextNode();) {
    const e = node.parentElement;
    if (!node.data.trim() || !e.checkVisibility() || e.closest('script, style, noscript, .skip, .unseen')) continue;
    const style = getComputedStyle(e), ink = rgba(e instanceof SVGElement ? style.fill : style.color), back = behind(e);
    const [a, b] = [light(ink), light(back)].sort((x, y) => y - x), ratio = (a + .05) / (b + .05);
    if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) poor.push(`${ratio.toFixed(2)}: ${node.data.trim().slice(0, 40)}`);
  }
  return poor;
}"""

#: Pairs of labels of the map that lie on one another.
COLLISIONS = """() => { const all = [...document.querySelectorAll('#results svg text')].map(e => [e.textContent, e.getBBox()]), bad = [];
  all.forEach(([a, p], i) => all.slice(0, i).forEach(([b, q]) => {
    if (p.x + p.width > q.x + 1 && q.x + q.width > p.x + 1 && p.y + p.height > q.y + 3 && q.y + q.height > p.y + 3) bad.push(`${a} / ${b}`); }));
  return bad; }"""


class Report:
    """What was checked."""

    def __init__(self) -> None:
        self.failed = 0

    def check(self, what: str, good: bool, found: object = "") -> None:
        """Prints a line and remembers a failure."""
        self.failed += not good
        print(f"{'ok  ' if good else 'FAIL'}  {what}" + ("" if good else f": {found}"), flush=True)


class Visit:
    """The page in a fresh browser context, and everything it fetched or complained of."""

    def __init__(self, browser, url: str, report: Report, viewport: dict = DESK, scheme: str = "light", motion: str = "no-preference", expect_errors: bool = False, touch: bool = False, path: str = "", ready: str = "document.getElementById('facts').textContent !== 'Asking the server …'") -> None:
        self.report, self.url, self.expect_errors = report, url, expect_errors
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme, reduced_motion=motion, has_touch=touch, permissions=["clipboard-read", "clipboard-write"])
        self.page = self.context.new_page()
        self.console: list[str] = []
        self.foreign: list[str] = []
        self.page.on("console", lambda message: message.type in ("error", "warning") and self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("request", lambda request: request.url.startswith((url, "data:")) or self.foreign.append(request.url))
        self.page.goto(url + path)
        self.until(ready)

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, kind, *_: object) -> None:
        if kind is None:
            console = [line for line in self.console if not (self.expect_errors and "Failed to load resource" in line)]
            self.report.check("  no errors on the console", not console, console)
            self.report.check("  nothing fetched from elsewhere", not self.foreign, self.foreign)
        self.context.close()

    def until(self, condition: str) -> None:
        """Waits for a condition in JavaScript. Playwright's own way needs `eval`, which the page's policy forbids."""
        end = time.monotonic() + 10
        while not self.page.evaluate(condition):
            if time.monotonic() > end:
                raise TimeoutError(condition)
            self.page.wait_for_timeout(20)

    def ask(self, text: str | None = None, wait: str = "#results:not([hidden])") -> None:
        """Presses the button and waits for the answers, or for `wait`."""
        if text is not None:
            self.page.fill("#texts", text)
        before = self.page.evaluate("() => { window.old = document.querySelector('#results > *'); return true; }")
        assert before
        self.page.click("#run")
        self.page.wait_for_selector(wait)
        if wait.startswith("#results"):
            self.until("document.getElementById('busy').hidden && document.querySelector('#results > *') !== window.old")

    def shot(self, folder: Path | None, name: str) -> None:
        """Keeps a picture of the whole page."""
        if folder:
            self.page.screenshot(path=folder / f"{name}.png", full_page=True)

    def looks_right(self, what: str) -> None:
        """Width, contrast and labels of what is on the screen now."""
        width = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        self.report.check(f"{what}: does not scroll sideways", width[0] <= width[1], width)
        poor = self.page.evaluate(CONTRAST)
        self.report.check(f"{what}: contrast of all text at least 4.5", not poor, poor)
        collisions = self.page.evaluate(COLLISIONS)
        self.report.check(f"{what}: labels of the map do not collide", not collisions, collisions)


def main() -> None:
    arguments = parse_arguments()
    if arguments.write_policy:
        for page in PAGES:
            (PAGE / f"{page}-policy.txt").write_text(policy(page) + "\n")
        return
    from playwright.sync_api import sync_playwright

    if arguments.shots:
        arguments.shots.mkdir(parents=True, exist_ok=True)
    report = Report()
    for page, kibibytes in PAGES.items():
        report.check(f"{page}: the policy has the hashes of the page", (PAGE / f"{page}-policy.txt").read_text().strip() == policy(page), "run --write-policy")
        report.check(f"{page}: the page is below {kibibytes} KiB", (PAGE / f"{page}.html").stat().st_size < kibibytes * 1024)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox"])
        if arguments.url:
            url = arguments.url.rstrip("/") + "/"
            for page, path in {"playground": "", "docs": "docs"}.items():
                with urllib.request.urlopen(url + path, timeout=10) as response:
                    found = response.headers["content-security-policy"]
                report.check(f"{page}: the server's page is the one here: its policy is the same", found == policy(page), found)
            documents(browser, url, report, arguments.shots)
            pictures(browser, url, report, arguments.shots, "real")
            keyboard(browser, url, report)
            command(browser, url, report)
        else:
            mock = Mock(("topic", "sentiment", "emotions", "urgency", "entities"))
            for part in (answers, arithmetic, keyboard, command, trouble):
                part(browser, mock.url, report, *([mock] if part in (answers, arithmetic) else []))
            key(browser, report, arguments.shots)
            fields(browser, report, arguments.shots)
            pairs(browser, report, arguments.shots)
            documents(browser, mock.url, report, arguments.shots)
            pictures(browser, mock.url, report, arguments.shots, "heads")
            states(browser, mock.url, report, arguments.shots)
            pictures(browser, Mock(()).url, report, arguments.shots, "headless")
            pictures(browser, Mock(("department", "emotions", "entities")).url, report, arguments.shots, "long")
        browser.close()
    print(f"{report.failed} failed" if report.failed else "all good")
    sys.exit(report.failed > 0)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="a running server; otherwise a mock")
    parser.add_argument("--shots", type=Path, help="folder for pictures")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser")
    parser.add_argument("--write-policy", action="store_true", help="write the policies of the pages again and end")
    return parser.parse_args()


def policy(page: str) -> str:
    """The header under which a page runs: its own script and style, and nothing else."""
    text = (PAGE / f"{page}.html").read_text()
    def allowed(tag: str) -> str:
        inner = re.search(rf"<{tag}[^>]*>(.*?)</{tag}>", text, re.S)[1]
        return f"'sha256-{base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()}'"
    return (f"default-src 'none'; script-src {allowed('script')}; style-src {allowed('style')}; img-src data:; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


def answers(browser, url: str, report: Report, mock: Mock) -> None:
    """What is shown is what the server said."""
    with Visit(browser, url, report) as visit:
        page = visit.page
        visit.ask()
        report.check("the first click shows answers", page.locator(".card").count() == 6, page.locator(".card").count())
        visit.ask(EIGHT)
        said = ["".join(page.locator(".said").nth(i).evaluate("e => [...e.childNodes].map(n => n.nodeName === 'MARK' ? n.firstChild.data : n.data)")) for i in range(8)]
        report.check("texts are shown letter by letter, markup too", said == EIGHT.split("\n"), said)
        marks = page.locator(".card").nth(5).locator("mark").evaluate_all("all => all.map(e => [e.firstChild.data, e.querySelector('.tag').textContent.split(' ')[0]])")
        report.check("offsets hold behind emoji", marks == [["Lovelace", "PER"], ["Charles Babbage", "PER"], ["London", "LOC"]] or marks == [["Ada", "PER"], ["Lovelace", "PER"], ["Charles Babbage", "PER"], ["London", "LOC"]], marks)
        first = page.locator(".card").first
        bars = first.locator("h3", has_text="emotions").locator("xpath=..")
        report.check("a few of 28 labels, the rest folded", bars.locator("details").inner_text() == "25 more", bars.inner_text())
        bars.locator("summary").click()
        report.check("all 28 unfold", bars.locator("li:visible").count() == 28)
        report.check("cosines are a table", page.locator("tbody tr").count() == 8 and page.locator("tbody td").count() == 64)
        page.locator("#heads input").first.uncheck()
        page.locator("#truncate").check()
        visit.ask("One.\n\n  Two. \n")
        report.check("asks what is ticked, blank lines left out", mock.asked[-1] == {"inputs": ["One.", "Two."], "tasks": ["sentiment", "emotions", "urgency", "entities", "embedding"], "truncate": True}, mock.asked[-1])
        visit.ask("far too long " * 20)
        report.check("a cut text says so", "cut to 32" in page.locator(".card .note").first.inner_text())
        page.locator(".card summary").last.click()
        page.get_by_role("button", name="Copy vector").click()
        visit.until("document.getElementById('status').textContent === 'Copied.'")
        report.check("a vector can be copied", len(json.loads(page.evaluate("navigator.clipboard.readText()"))) == 64)


def arithmetic(browser, url: str, report: Report, mock: Mock) -> None:
    """The cosines, and the places on the map."""
    from playground_mock import embed

    lines = EIGHT.split("\n")
    vectors = [embed(line) for line in lines]
    with Visit(browser, url, report) as visit:
        visit.ask(EIGHT)
        cells = visit.page.locator("tbody tr").evaluate_all("rows => rows.map(r => [...r.querySelectorAll('td')].map(c => Number(c.textContent.replace('−', '-'))))")
        worst = max(abs(cells[i][j] - dot(vectors[i], vectors[j])) for i in range(8) for j in range(8))
        report.check("cosines are right to two digits", worst <= 0.00501, worst)
        visit.page.fill("input[type=search]", "Where was Marie Curie born?")
        visit.page.keyboard.press("Enter")
        visit.until("document.querySelectorAll('.search ~ ol li').length === 8")
        query = embed("Where was Marie Curie born?")
        nearest = sorted(range(8), key=lambda i: -dot(query, vectors[i]))
        hits = visit.page.locator(".search ~ ol li").evaluate_all("all => all.map(e => e.querySelectorAll('span')).map(([a, b]) => [parseInt(a.textContent), b.textContent.replace('−', '-')])")
        expected = [[i + 1, f"{dot(query, vectors[i]):.3f}"] for i in nearest]
        report.check("a search sorts the sentences", hits == expected, (hits, expected))
        visit.looks_right("a search")
        points = places(visit.page)
        expected = components(vectors)
        scale = (max(p[0] for p in points) - min(p[0] for p in points)) / (max(p[0] for p in expected) - min(p[0] for p in expected))
        far = [abs(math.dist(points[i], points[j]) - scale * math.dist(expected[i], expected[j])) for i in range(8) for j in range(8)]
        report.check("the map has the distances of PCA", max(far) < 1, max(far))
        visit.ask("\n".join(reversed(lines)))
        moved = max(math.dist(a, b) for a, b in zip(points, reversed(places(visit.page))))
        report.check("the map does not depend on the order", moved < 0.5, moved)
        visit.ask("Same.\nSame.\nSame.")
        report.check("equal sentences are no trouble", "same vector" in visit.page.locator("figcaption").inner_text())
        visit.looks_right("equal sentences")
        visit.ask("\n".join(f"Sentence {i} about {'trains' if i % 3 else 'soup'} and {i * i}" for i in range(120)))
        visit.looks_right("120 sentences")
        visit.page.fill("#texts", "\n".join(f"Sentence {i}" for i in range(2049)))
        report.check("too many sentences are told while typing", visit.page.inner_text("#count") == "2,049 sentences, the server takes 2,048", visit.page.inner_text("#count"))
        visit.page.fill("#texts", "\n".join(f"Sentence {i}" for i in range(2000)))
        begun = time.monotonic()
        visit.ask()
        # Not the time of the mock, which is slow.
        waited = float(re.search(r"in ([\d,.]+) ms", visit.page.inner_text("#status"))[1].replace(",", "")) / 1e3
        seconds = time.monotonic() - begun - waited
        report.check("2,000 sentences: the first 150 are shown, within 3 s", visit.page.locator(".card").count() == 150 and seconds < 3, (seconds, waited))


def places(page) -> list[tuple[float, float]]:
    """The points of the map, in pixels, y upwards."""
    return page.locator("#results svg circle").evaluate_all("all => all.map(e => [+e.getAttribute('cx'), -e.getAttribute('cy')])")


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b))


def components(vectors: list[list[float]]) -> list[tuple[float, float]]:
    """The same as the page's by another way: power iteration."""
    mean = [sum(column) / len(vectors) for column in zip(*vectors)]
    rest = [[x - m for x, m in zip(v, mean)] for v in vectors]
    axes = []
    for _ in range(2):
        axis = [math.sin(i + 1.0) for i in range(len(mean))]
        for _ in range(3000):
            weights = [dot(v, axis) for v in rest]
            axis = [sum(w * v[i] for w, v in zip(weights, rest)) for i in range(len(mean))]
            length = math.sqrt(dot(axis, axis))
            axis = [x / length for x in axis]
        at = [dot(v, axis) for v in rest]
        axes.append(at)
        rest = [[x - w * a for x, a in zip(v, axis)] for v, w in zip(rest, at)]
    return list(zip(*axes))


def keyboard(browser, url: str, report: Report) -> None:
    """Everything without a mouse, with a focus that is seen."""
    with Visit(browser, url, report) as visit:
        page = visit.page
        page.focus("#texts")
        page.keyboard.press("Control+Enter")
        page.wait_for_selector(".card")
        report.check("Ctrl+Enter asks", "answered" in page.inner_text("#status"), page.inner_text("#status"))
        report.check("the focus stays", page.evaluate("document.activeElement.id") == "texts")
        page.evaluate("document.activeElement.blur(); window.getSelection().removeAllRanges(); document.body.tabIndex = -1; document.body.focus()")
        reached, unseen = [], []
        for _ in range(120):
            page.keyboard.press("Tab")
            found = page.evaluate("""() => { const e = document.activeElement; if (e === document.body) return null; const s = getComputedStyle(e), r = e.getBoundingClientRect();
                return [e.tagName + ' ' + (e.id || e.textContent.slice(0, 24)), s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2 && r.width > 0]; }""")
            if found is None:
                break
            reached.append(found[0])
            if not found[1]:
                unseen.append(found[0])
        focusable = page.locator("a[href], button, textarea, input, summary, [tabindex='0']").evaluate_all("all => all.filter(e => e.checkVisibility()).length")
        report.check("Tab reaches every control", len(reached) >= focusable, (len(reached), focusable, reached))
        report.check("the focus is seen everywhere", not unseen, unseen)
        page.locator("summary").first.focus()
        page.keyboard.press("Enter")
        report.check("Enter unfolds", page.locator("details[open]").count() >= 1)
        names = page.locator("button, input, textarea, summary, [role=group], [role=img], section").evaluate_all(
            "all => all.filter(e => e.checkVisibility() && !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.labels?.length || e.textContent.trim())).map(e => e.outerHTML.slice(0, 80))")
        report.check("every control has a name", not names, names)


def command(browser, url: str, report: Report) -> None:
    """The request in every language gives the same answer, run as it is copied."""
    with Visit(browser, url, report) as visit:
        visit.ask(EIGHT)
        programs = {"curl": ["bash", "-c"], "Python": [sys.executable, "-c"], "JavaScript": ["node", "--input-type=module", "-e"]}
        for language, program in programs.items():
            visit.page.get_by_role("button", name=language, exact=True).click()
            visit.page.get_by_role("button", name="Copy", exact=True).click()
            visit.until("document.getElementById('status').textContent === 'Copied.'")
            copied = visit.page.evaluate("navigator.clipboard.readText()")
            report.check(f"{language}: what is copied is what is shown", copied == visit.page.evaluate("document.getElementById('code').textContent"))
            visit.page.evaluate("document.getElementById('status').textContent = ''")
            visit.until("[...document.querySelectorAll('button')].some(button => button.textContent === 'Copy')")
            if not shutil.which(program[0]):
                print(f"--    {language}: not run, there is no {program[0]}")
                continue
            done = subprocess.run([*program, copied], capture_output=True, text=True, timeout=30)
            answer = json.loads(done.stdout or "{}").get("answers", [])
            report.check(f"{language}: it works", len(answer) == 8 and "embedding" in answer[0], done.stdout[:200] + done.stderr)
        visit.ask("One.")
        report.check("the language is remembered", "await fetch" in visit.page.inner_text("#code"))


def fields(browser, report: Report, shots: Path | None) -> None:
    """A model that makes its text of several fields."""
    for name, input in {"template": {"fields": ["title", "body"], "template": "{{{title}}}: {body}"}, "join": {"fields": ["title", "body"], "join": "\n"}}.items():
        mock = Mock(("topic", "entities"), input=input)
        with Visit(browser, mock.url, report) as visit:
            page = visit.page
            report.check(f"{name}: a form in place of lines", page.locator("#texts:visible").count() == 0 and page.locator("#inputs textarea").count() == 4)
            visit.ask()
            page.get_by_role("button", name="Add an input").click()
            report.check(f"{name}: another input, the focus is there", page.evaluate("document.activeElement.name") == "title" and page.locator("#inputs textarea").count() == 6)
            page.keyboard.type("Ada Lovelace")
            page.keyboard.press("Tab")
            page.keyboard.type("<b> wrote to $& from London.")
            visit.ask()
            found = {"title": "Ada Lovelace", "body": "<b> wrote to $& from London."}
            report.check(f"{name}: sends objects", mock.asked[-1]["inputs"][2] == found and len(mock.asked[-1]["inputs"]) == 3, mock.asked[-1])
            said = page.locator(".said").nth(2).evaluate("e => [...e.childNodes].map(n => n.nodeName === 'MARK' ? n.firstChild.data : n.data).join('')")
            report.check(f"{name}: the composed text is shown, with its spans", said == mock.composed(found) and page.locator(".card").nth(2).locator("mark").count() == 2, said)
            visit.looks_right(f"fields {name}")
            visit.shot(shots, f"fields-{name}")
            page.get_by_role("button", name="Remove").first.click()
            page.locator("#inputs textarea").first.fill(" ")
            page.locator("#inputs textarea").nth(1).fill("")
            visit.ask()
            report.check(f"{name}: empty inputs are left out", mock.asked[-1]["inputs"] == [found], mock.asked[-1])
            page.get_by_role("button", name="Remove").first.click()
            report.check(f"{name}: the last input stays", page.get_by_role("button", name="Remove").count() == 0)
            for area in page.locator("#inputs textarea").all():
                area.fill("")
            page.click("#run")
            report.check(f"{name}: nothing typed is told", page.inner_text("#status") == "Fill in a field first.")
        with Visit(browser, mock.url, report, PHONE, "dark") as visit:
            visit.ask()
            visit.looks_right(f"fields {name} phone")
            visit.shot(shots, f"fields-{name}-dark-phone")


def pairs(browser, report: Report, shots: Path | None) -> None:
    """Heads that read pairs of texts."""
    mock = Mock(("relevance",))
    with Visit(browser, mock.url, report) as visit:
        page = visit.page
        report.check("pairs: two boxes an input", page.locator("#texts:visible").count() == 0 and page.locator("#inputs textarea").count() == 4)
        page.locator("#inputs textarea").nth(0).fill("who wrote it")
        page.locator("#inputs textarea").nth(1).fill("Ada Lovelace")
        visit.ask()
        report.check("pairs: sends lists of two texts", mock.asked[-1]["inputs"][0] == ["who wrote it", "Ada Lovelace"] and len(mock.asked[-1]["inputs"]) == 2, mock.asked[-1])
        report.check("pairs: both texts are shown", page.locator(".said").nth(0).inner_text() == "who wrote it | Ada Lovelace", page.locator(".said").nth(0).inner_text())
        visit.looks_right("pairs")
        visit.shot(shots, "pairs")
    mock = Mock(("topic", "relevance"))
    with Visit(browser, mock.url, report) as visit:
        page = visit.page
        report.check("both kinds: lines at first, and no head for pairs", page.locator("#texts:visible").count() == 1 and page.locator("#heads input:checked").count() == 1)
        page.get_by_label("topic").uncheck()
        page.get_by_label("relevance").check()
        report.check("both kinds: a second box where a head reads pairs", page.locator("#texts:visible").count() == 0 and page.get_by_text("Second text").count() == 2)
        visit.ask()
        report.check("both kinds: asks that head alone", mock.asked[-1]["tasks"] == ["relevance", "embedding"], mock.asked[-1])
        page.get_by_label("relevance").uncheck()
        page.get_by_label("topic").check()
        visit.ask("one line")
        report.check("both kinds: lines again", mock.asked[-1]["inputs"] == ["one line"], mock.asked[-1])


def documents(browser, url: str, report: Report, shots: Path | None) -> None:
    """The page of the API."""
    with urllib.request.urlopen(url + "openapi.json", timeout=10) as response:
        document = json.load(response)
    routes = sorted(f"{method.upper()}{path}" for path, methods in document["paths"].items() for method in methods)
    ready = "document.querySelectorAll('main section').length > 0"
    for scheme in ("light", "dark"):
        for place, viewport in {"desk": DESK, "phone": PHONE}.items():
            with Visit(browser, url, report, viewport, scheme, path="docs", ready=ready) as visit:
                visit.looks_right(f"docs {scheme} {place}")
                visit.shot(shots, f"docs-{scheme}-{place}")
                visit.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
                visit.looks_right(f"docs {scheme} {place}, all open")
    with Visit(browser, url, report, path="docs#schema-PredictRequest", ready=ready) as visit:
        page = visit.page
        shown = page.locator("main section:not([id^=schema-]) h3").evaluate_all("all => all.map(e => e.textContent)")
        report.check("every route is there once", sorted(shown) == routes, sorted(shown))
        named = page.locator("main section[id^=schema-] h3").evaluate_all("all => all.map(e => e.textContent)")
        report.check("every schema is there", named == list(document["components"]["schemas"]), named)
        wrong = page.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.getAttribute('href').slice(1)).filter(id => document.querySelectorAll('[id=\"' + id + '\"]').length !== 1)")
        report.check("every link leads to one place", not wrong, wrong)
        report.check("the place in the address is shown", page.evaluate("document.getElementById('schema-PredictRequest').getBoundingClientRect().top < innerHeight"))
        words = page.inner_text("main")
        report.check("nothing is left unsaid", not re.search(r"undefined|\[object|anything|NaN", words), re.findall(r".*(?:undefined|\[object|anything|NaN).*", words))
        for path in ("v1-predict", "v1-embeddings", "embed"):
            example = page.locator(f"#post-{path} pre").inner_text()
            if "127.0.0.1" in url and path == "v1-predict":
                done = subprocess.run(["bash", "-c", example], capture_output=True, text=True, timeout=30)
                report.check(f"the example of {path} works in a shell", "embedding" in json.loads(done.stdout or "{}")["answers"][0], done.stdout[:200])
        page.get_by_role("link", name="Playground", exact=True).click()
        page.wait_for_selector("#texts")
        page.get_by_role("link", name="API").click()
        page.wait_for_selector("main section")
        report.check("the pages link to each other", page.url.endswith("/docs"))


def trouble(browser, url: str, report: Report) -> None:
    """Errors are shown as the server words them, and the page works afterwards."""
    with Visit(browser, url, report, expect_errors=True) as visit:
        page = visit.page
        for text, title, words in [
            ("!429", "The server is busy", "the queue is full: 65536 of 65536 tokens are waiting"),
            ("!500", "status 500", "text 1: the head `topic` gave a number"),
            ("!html", "status 502", "<html><h1>Bad gateway</h1></html>"),
            ("!drop", "cannot be reached", "Is the server still running"),
            ("too long " * 30, "status 400", "text 1: expected at most 32 tokens, found 62; shorten it, or tick “Truncate sentences that are too long”"),
        ]:
            visit.ask(text, "#trouble:not([hidden])")
            found = page.inner_text("#trouble")
            report.check(f"{text[:12]} is told", title in found and words in found, found)
            visit.looks_right(text[:12])
            if text == "!429":
                report.check("429 says how long to wait", "The server asks to wait 2 seconds." in found, found)
        page.fill("#texts", "Good again.")
        page.get_by_role("button", name="Try again").click()
        page.wait_for_selector(".card")
        report.check("trying again works", page.locator("#trouble:visible").count() == 0)
        for way in ("Escape", "click"):
            page.fill("#texts", "!slow")
            page.click("#run")
            page.wait_for_selector("#cancel:not([hidden])")
            page.click("#cancel") if way == "click" else page.keyboard.press(way)
            visit.until("document.getElementById('status').textContent === 'Cancelled.'")
            report.check(f"cancelled by {way}, the focus is on the button", page.evaluate("document.activeElement.id") == "run" and page.locator("#busy:visible").count() == 0)
        visit.context.set_offline(True)
        visit.ask("No network.", "#trouble:not([hidden])")
        report.check("a lost network is told", "cannot be reached" in page.inner_text("#trouble"))
        visit.context.set_offline(False)
        visit.ask("Back.")
        report.check("and it works when it is back", page.inner_text(".said") == "Back.")
        page.fill("#texts", "  \n ")
        page.click("#run")
        report.check("nothing typed is told", page.inner_text("#status") == "Type a sentence first.")


def key(browser, report: Report, shots: Path | None) -> None:
    """A server with keys."""
    mock = Mock(("topic",), key="open-sesame")
    with Visit(browser, mock.url, report, expect_errors=True) as visit:
        page = visit.page
        page.wait_for_selector("#key:not([hidden])")
        report.check("401 asks for a key, the focus is there", page.evaluate("document.activeElement.id") == "bearer")
        visit.shot(shots, "key")
        visit.looks_right("key")
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        visit.until("document.getElementById('key-title').textContent === 'This key is not accepted'")
        for typed in ("ключ", "open sesame"):
            page.keyboard.type(typed)
            page.keyboard.press("Enter")
            visit.until("document.getElementById('status').textContent.includes('visible ASCII')")
            report.check(f"the key {typed} is refused with a reason, the form stays", page.inner_text("#key-title") == "This key is not accepted"
                         and page.locator("#trouble:visible").count() == 0 and page.evaluate("document.activeElement.id") == "bearer", page.inner_text("main"))
            visit.shot(shots, "key-characters")
            page.evaluate("document.getElementById('status').textContent = ''")
        page.keyboard.type("open-sesame")
        page.keyboard.press("Enter")
        visit.until("document.getElementById('facts').textContent.includes('mock')")
        visit.ask()
        shown = page.content() + json.dumps(page.evaluate("[{...localStorage}, {...sessionStorage}, document.cookie, document.getElementById('bearer').value]"))
        report.check("the key is kept nowhere", "sesame" not in shown)
        report.check("the command has a variable in its place", 'Bearer $POLYHEAD_API_KEY"' in page.inner_text("#code"))


def states(browser, url: str, report: Report, shots: Path | None) -> None:
    """Pictures of what lasts a moment or is seldom seen."""
    with Visit(browser, url, report, PHONE, motion="reduce", expect_errors=True) as visit:
        visit.page.fill("#texts", "!slow")
        visit.page.click("#run")
        visit.shot(shots, "state-busy-phone")
        report.check("reduced motion: the bar stands still", visit.page.evaluate("getComputedStyle(document.getElementById('busy'), '::after').animationName") == "none")
        visit.page.wait_for_selector("#busy", state="hidden")
        visit.ask("!429", "#trouble:not([hidden])")
        visit.shot(shots, "state-429-phone")
        visit.looks_right("429 on a phone")
    # No pictures of these: one of a whole page is taken as if there were a mouse.
    for touch in (False, True):
        with Visit(browser, url, report, PHONE, touch=touch) as visit:
            report.check(f"keys are {'not ' if touch else ''}explained {'without' if touch else 'with'} a mouse", visit.page.locator("#keys").is_visible() != touch)
    for scheme in ("light", "dark"):
        with Visit(browser, url, report, scheme=scheme, expect_errors=True) as visit:
            visit.ask("!500", "#trouble:not([hidden])")
            visit.shot(shots, f"state-500-{scheme}")
            visit.looks_right(f"500 {scheme}")


def pictures(browser, url: str, report: Report, shots: Path | None, name: str) -> None:
    """One and eight sentences, light and dark, desk and phone."""
    inputs: dict[str, Callable[[], str] | str] = {"1": EIGHT.split("\n")[1], "8": EIGHT, "word": f"{LONG_WORD}\nshort\nThe {LONG_WORD} again"}
    for scheme in ("light", "dark"):
        for place, viewport in {"desk": DESK, "phone": PHONE}.items():
            with Visit(browser, url, report, viewport, scheme) as visit:
                for label, text in inputs.items():
                    visit.ask(text)
                    visit.looks_right(f"{name} {label} {scheme} {place}")
                    visit.shot(shots, f"{name}-{label}-{scheme}-{place}")


if __name__ == "__main__":
    main()
