"""``glocal models``: list the networks, or give the facts of one."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

from glocal.cli._parser import Parser
from glocal.errors import UserError

EXAMPLES = """
glocal models
glocal models lmnet                       # every fact about one network
glocal models 'lm*' --max_params 1e6      # by pattern and size
glocal models --task segmentation --json
glocal models --markdown                  # the table of the documentation
glocal models --names | xargs -n1 glocal profile
"""


def run(arguments: list[str]) -> None:
    """List networks, or the facts of the one whose name is given."""
    parser = Parser("models", "List the networks, or give the facts of one.", EXAMPLES)
    parser.add_argument(
        "patterns", nargs="*", default=[], metavar="PATTERN", help="name of a network, or shell patterns"
    )
    parser.add_argument("--task", type=str, help="segmentation or classification")
    parser.add_argument("--family", type=str, help="only variants of this system")
    parser.add_argument("--max_params", type=float, help="at most so many parameters")
    parser.add_argument("--names", action="store_true", help="names alone, one a line")
    parser.add_argument("--markdown", action="store_true", help="the table in Markdown")
    parser.add_argument("--json", action="store_true", help="all facts, as a JSON list")
    given = parser.parse_args(arguments)

    from glocal.models import list_models, model_info

    names = list_models(*given.patterns, task=given.task, family=given.family, max_params=given.max_params)
    plain = [pattern for pattern in given.patterns if not any(c in pattern for c in "*?[")]
    for name in plain:
        model_info(name.lower())  # one that does not exist gives the nearest
    if not names and not given.json:
        raise UserError("no network matches; `glocal models` lists them all")
    if given.json:
        print(json.dumps([_facts(name) for name in names], indent=2, ensure_ascii=False))
    elif given.names:
        print("\n".join(names))
    elif given.markdown:
        _print_markdown([_facts(name) for name in names])
    elif len(given.patterns) == 1 and plain:
        _print_one(_facts(names[0]))
    else:
        _print_table([_facts(name) for name in names])


def _facts(name: str) -> dict[str, Any]:
    from glocal.models import model_info

    info = model_info(name)
    return asdict(replace(info, arguments=dict(info.arguments)))  # asdict cannot copy a read-only mapping


_COLUMNS = ("network", "task", "parameters", "multiply-adds", "at", "paper")
_RIGHT = _COLUMNS[2:5]
_SHORT = {"segmentation": "segment", "classification": "classify", "parameters": "params", "multiply-adds": "MACs"}
"""So that a line of 80 characters holds a network."""


def _row(facts: dict[str, Any]) -> list[str]:
    height, width = facts["input_size"]
    return [
        facts["name"],
        facts["task"],
        f"{facts['parameters'] / 1e6:.2f} M",
        f"{facts['multiply_adds'] / 1e9:.2f} G",
        f"{height}×{width}",
        _short(facts["paper"]["url"]),
    ]


def _print_table(networks: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    rows = [_row(facts) for facts in networks]
    rows = [[name, _SHORT.get(task, task), *cells, paper.removeprefix("arXiv ")] for name, task, *cells, paper in rows]
    for column, cells in zip(_COLUMNS, zip(*rows, strict=True), strict=True):
        needed = None if column == _COLUMNS[-1] else max(map(len, cells))  # where it is narrow, addresses are cut
        table.add_column(
            _SHORT.get(column, column), justify="right" if column in _RIGHT else "left", no_wrap=True, min_width=needed
        )
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _print_markdown(networks: list[dict[str, Any]]) -> None:
    print(f"| {' | '.join(_COLUMNS)} | |")
    print("|" + "".join("---:|" if column in _RIGHT else "---|" for column in _COLUMNS) + "---|")
    for facts in networks:
        name, *cells, paper = _row(facts)
        cells = [f"`{name}`", *cells, f"[{paper}]({facts['paper']['url']})", facts["summary"]]
        print(f"| {' | '.join(cells)} |")


def _short(url: str) -> str:
    return url.replace("https://arxiv.org/abs/", "arXiv ").replace("https://doi.org/", "doi ")


def _print_one(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    height, width = facts["input_size"]
    paper = facts["paper"]
    pyramid = zip(facts["feature_channels"], facts["feature_strides"], strict=True)
    options = ", ".join(f"{key}={value!r}" for key, value in facts["arguments"].items())
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in {
        "network": facts["name"],
        "": facts["summary"],
        "family": facts["family"],
        "task": facts["task"],
        "variant of options": options or "none: the defaults",
        "published input": f"{facts['in_channels']}×{height}×{width}, any other works",
        "published outputs": str(facts["num_classes"]),
        "mean, std": f"{list(facts['mean'])}, {list(facts['std'])}",
        "parameters": f"{facts['parameters']:,}",
        "multiply-adds": f"{facts['multiply_adds'] / 1e9:.3f} G",
        "features": ", ".join(f"{channels} at 1/{stride}" for channels, stride in pyramid),
        "paper": f"{paper['title']} ({paper['year']}), {paper['url']}",
        "weights under": facts["weights_licence"] or "no licence that is known, or no weights",
    }.items():
        table.add_row(label, text)
    Console().print(table)
