"""The report: one page that needs nothing else, whatever the names, however many the cases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glocal.evaluation import EvaluatedCase, evaluate
from glocal.evaluation.figures import curves
from glocal.evaluation.page import Markup, element
from glocal.evaluation.thumbnails import LONGEST_SIDE, Gallery, make_thumbnail

EVIL = "</title><script>alert(1)</script><img src=x onerror=alert(2)> $x_1$ _a"


class Checker(HTMLParser):
    """Collects elements and fails on a tag that is closed in the wrong order."""

    void = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def cases(count: int, size: int = 32) -> Iterator[EvaluatedCase]:
    random = np.random.default_rng(0)
    for index in range(count):
        truth = np.zeros((size, size), np.uint8)
        truth[4:20, 4:20] = 1
        prediction = np.roll(truth, index % 10, axis=0)
        image = random.integers(0, 255, (size, size, 3), dtype=np.uint8)
        yield EvaluatedCase(f"{index:04d} {EVIL}", prediction, truth, group=EVIL if index < 3 else None, image=image)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    history = [
        {"epoch": "0", EVIL + "loss": "1", "val_dice": ""},
        {"epoch": "1", EVIL + "loss": "nan", "val_dice": "0.5"},
    ]
    manifest: dict[str, Any] = {EVIL: {EVIL: [1, {"x": EVIL}]}, "none": None, "number": float("nan")}
    evaluation = evaluate(cases(20), ["background", EVIL], preset="lmnet", resamples=50)
    path = evaluation.write(tmp_path_factory.mktemp("report"), title=EVIL, manifest=manifest, history=history)
    return path["report.html"].read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_its_names_cannot_act(page: str) -> None:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    tags = [tag for tag, _ in checker.elements]
    assert tags.count("script") == 1
    assert "img" not in tags
    assert not any(name.startswith("on") for _, attributes in checker.elements for name in attributes)
    ids = [attributes["id"] for _, attributes in checker.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_page_fetches_nothing(page: str) -> None:
    assert "default-src 'none'" in page
    checker = Checker()
    checker.feed(page)
    for tag, attributes in checker.elements:
        assert tag not in ("link", "iframe", "object", "embed")
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/")), (tag, attributes)
    assert not re.search(r"url\((?!#)|@import", page)


def test_pictures_say_in_words_what_they_show(page: str) -> None:
    checker = Checker()
    checker.feed(page)
    drawings = [attributes for tag, attributes in checker.elements if tag == "svg"]
    assert len(drawings) >= 12
    assert all(attributes.get("role") == "img" and attributes.get("aria-label") for attributes in drawings)


def test_every_section_is_there_and_undefined_is_a_dash(page: str) -> None:
    for heading in ("Per class", "Published convention", "Distributions", "Training curves", "Empty masks", "Manifest"):
        assert f"<h2>{heading}" in page
    assert not re.search(r">\s*(nan|None|inf)\s*<", page)


def test_sections_without_content_are_not_there(tmp_path: Path) -> None:
    text = evaluate(cases(2), ["background", "polyp"], resamples=10).write(tmp_path)["report.html"].read_text()
    assert "Training curves" not in text
    assert "Manifest" not in text
    assert "Published convention" not in text


def test_the_size_is_bounded_however_many_cases(tmp_path: Path) -> None:
    evaluation = evaluate(cases(1500), ["background", "polyp"], resamples=10)
    path = evaluation.write(tmp_path)["report.html"]
    text = path.read_text(encoding="utf-8")
    assert "Only the worst 1000 of 1500 cases" in text
    assert path.stat().st_size < 4 * 2**20


def test_worst_and_best_are_exact_and_the_middle_is_in_the_middle() -> None:
    scores = np.random.default_rng(0).permutation(1000) / 1000
    label = np.zeros((4, 4), np.uint8)
    gallery = Gallery(limit=100)
    for score in scores:
        gallery.add(EvaluatedCase(str(score), label, label), float(score))
    chosen = gallery.choose(0.4995)
    assert [t.score for t in chosen["worst"]] == [0.0, 0.001, 0.002, 0.003]
    assert [t.score for t in chosen["best"]] == [0.999, 0.998, 0.997, 0.996]
    assert all(abs(t.score - 0.5) < 0.1 for t in chosen["median"])


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_few_cases_are_shown_once_each(count: int) -> None:
    label = np.zeros((4, 4), np.uint8)
    gallery = Gallery()
    for index in range(count):
        gallery.add(EvaluatedCase(str(index), label, label), index / 10)
    names = [thumbnail.id for group in gallery.choose(0.1).values() for thumbnail in group]
    assert len(names) == len(set(names)) == min(count, 3)


@pytest.mark.parametrize("shape", [(1, 1), (5, 4000), (4000, 5), (257, 256), (700, 900), (3, 300, 300)])
def test_thumbnails_keep_every_kind_of_image_small(shape: tuple[int, ...]) -> None:
    truth = np.zeros(shape, np.uint8)
    truth[..., shape[-1] // 2 :] = 1
    for dtype, scale in ((np.uint8, 255), (np.uint16, 65535), (np.float32, 1), (np.int16, 1000)):
        image = truth.astype(dtype) * dtype(scale)
        picture, prediction, small = make_thumbnail(EvaluatedCase("a", truth, truth, image=image), 1.0).unpack()
        assert max(small.shape) <= LONGEST_SIDE
        assert picture.shape == (*small.shape, 3)
        assert np.array_equal(prediction, small)
        assert set(np.unique(small)) == set(np.unique(truth))
        if truth.min() < truth.max():
            assert (picture.min(), picture.max()) == (0, 255)


def test_elements_escape_everything_but_markup() -> None:
    made = element("p", "<b>", Markup("<i>x</i>"), class_='"quoted"')
    assert made == '<p class="&quot;quoted&quot;">&lt;b&gt;<i>x</i></p>'


def test_no_curve_without_a_number() -> None:
    assert curves([]) is None
    assert curves([{"epoch": 0, "loss": ""}]) is None
    assert curves([{"epoch": 0, "lr": 0.1}]) is None
    assert curves([{"loss": 0.1}]) is not None
