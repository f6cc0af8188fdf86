"""What the documents say works: marked snippets are run, links lead somewhere, tables are those of the code."""

from __future__ import annotations

import io
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from glocal.cli import COMMANDS, main
from glocal.models import model_info

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
SNIPPET = re.compile(r"<!-- tested -->\n```(\w+)\n(.*?)```", re.DOTALL)
FAST = {"--train.epochs": "1", "--model": "lmnet_tiny", "--recipe": "quick"}
"""What is put in place of a document's values, so that a training takes seconds."""


def short(word: str, before: str) -> str:
    if before == "--model" and model_info(word).task == "classification":
        return "pvt_nano"
    return FAST.get(before, word)


def run_console(text: str) -> None:
    for line in text.splitlines():
        assert line.startswith("$ glocal "), line
        words = shlex.split(line, comments=True)[2:]
        words = [short(word, before) for word, before in zip(words, ["", *words[:-1]], strict=True)]
        if words[0] == "train":
            words += ["--data.size", "32"]
        if words[0] == "predict":
            words += ["--overwrite"]
        assert main(words) == 0, line


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if SNIPPET.search(page.read_text())], ids=lambda p: str(p.relative_to(ROOT))
)
def test_tested_snippets_run(page, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "data phantom" not in page.read_text().split("<!-- tested -->")[1]:
        assert main(["data", "phantom", "polyps", "--count", "24", "--size", "64"]) == 0
    for language, text in SNIPPET.findall(page.read_text()):
        if language == "console":
            run_console(text.replace("--count 60", "--count 24 --size 64"))
        else:
            exec(compile(text, str(page), "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page) -> None:
    for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_that_are_named_exist(page) -> None:
    named = re.findall(r"(?:^\$ |`)glocal ([a-z]+)", page.read_text(), re.MULTILINE)
    assert set(named) <= set(COMMANDS)


def test_the_table_of_networks_is_the_registrys() -> None:
    shown = io.StringIO()
    with redirect_stdout(shown):
        assert main(["models", "--markdown"]) == 0
    assert shown.getvalue() in (ROOT / "docs" / "networks" / "index.md").read_text()


def test_the_readme_gives_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target}" in text
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_documents_name_no_path_of_a_machine() -> None:
    for page in PAGES:
        assert not re.search(r"(?<![\w.])/(?:home|root|work|tmp)/\w", page.read_text()), page


def test_every_page_of_the_documentation_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text() + "".join(
        page.read_text() for page in (ROOT / "docs").rglob("index.md")
    )
    for page in (ROOT / "docs").rglob("*.md"):
        if page.name != "index.md" and page.parent.name != "decisions":
            assert page.stem in index, page
