"""``glocal profile``: parameters, multiply-adds, latency and memory of a network."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glocal.cli._parser import Parser
from glocal.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from glocal.inference.profiling import Profile

EXAMPLES = """
glocal profile lmnet                                   # at its published size
glocal profile lmnet --deploy --size 512x384 --batch 4
glocal profile runs/polyps --device cuda               # a trained run
glocal profile lmnet_tiny --threads 1 --json
"""


def _parser() -> Parser:
    parser = Parser("profile", "Measure the cost of a network on this machine.", EXAMPLES)
    parser.add_argument("model", type=str, metavar="MODEL", help="a registered name, or a model or run folder")
    parser.add_argument("--size", type=str, help="256, or height x width as 256x192; default: the published one")
    parser.add_argument("--batch", type=int, default=1, help="images in one pass")
    parser.add_argument("--device", type=str, default="cpu", help="cpu, cuda, cuda:1, mps or auto")
    parser.add_argument("--deploy", action="store_true", help="merge branches and fold norms first")
    parser.add_argument("--in_channels", type=int, help="channels of the images; default: the published number")
    parser.add_argument("--num_classes", type=int, help="outputs; default: the published number")
    parser.add_argument("--runs", type=int, default=20, help="timed passes")
    parser.add_argument("--threads", type=int, help="threads on the CPU; default: as PyTorch chooses")
    parser.add_argument("--json", action="store_true", help="print the profile as JSON")
    return parser


def run(arguments: list[str]) -> None:
    """Profile one network."""
    given = _parser().parse_args(arguments)
    size = _size(given.size)
    from glocal.inference.profiling import profile_network
    from glocal.models import deploy

    name, network, usual = _network(given.model, given.in_channels, given.num_classes)
    if given.deploy:
        network = deploy(network)
    options = {"batch": given.batch, "device": given.device, "runs": given.runs, "threads": given.threads}
    if given.json:
        profile = profile_network(network, size=size or usual, **options)
        print(json.dumps({"model": name, "deployed_here": given.deploy, **profile.to_json()}, indent=2))
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("measuring")
        profile = profile_network(
            network,
            size=size or usual,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            **options,
        )
    _print(f"{name}{', deployed' if given.deploy else ''}", profile)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,6})(?:[x×](\d{1,6}))?", text.strip())
    if match is None:
        raise UserError(f"size is {text!r}; give one number, or height x width such as 256x192 (--size)")
    return int(match[1]), int(match[2] or match[1])


def _network(model: str, in_channels: int | None, num_classes: int | None) -> tuple[str, nn.Module, tuple[int, int]]:
    """Name, network and usual size of a registered name or a folder."""
    from glocal.models import create_model, list_models, model_info

    if model not in list_models() and (Path(model).exists() or "/" in model):
        from glocal.models.weights import load_model

        if in_channels is not None or num_classes is not None:
            raise UserError(f"{model}: has its own channels and classes; leave out --in_channels and --num_classes")
        loaded = load_model(model)
        return f"{loaded.record.name} of {model}", loaded.network, loaded.record.preprocessing.size
    network = create_model(model, in_channels=in_channels, num_classes=num_classes)
    return model, network, model_info(model).input_size


def _print(title: str, profile: Profile) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    height, width = profile.size
    threads = f", {profile.threads} thread{'s' if profile.threads != 1 else ''}" if profile.threads else ""
    console.print(f"[bold]{title}[/bold], {profile.batch} × {profile.in_channels}×{height}×{width}", highlight=False)
    console.print(f"on {profile.device}{threads}", highlight=False)
    latency = profile.latency
    spread = f"{_ms(latency.first_quartile)} – {_ms(latency.third_quartile)}"
    facts = Table(box=None, pad_edge=False, show_header=False)
    for label, value, remark in (
        ("parameters", f"{profile.parameters:,}", f"papers' counter: {profile.papers_parameters:,}"),
        ("multiply-adds", _g(profile.multiply_adds), f"an image; papers' counter: {_g(profile.papers_multiply_adds)}"),
        ("latency", _ms(latency.median), f"median of {latency.runs}; half lie in {spread}"),
        ("images/s", f"{profile.images_per_second:.1f}", ""),
        (
            "peak memory",
            f"{profile.memory / 2**20:.0f} MiB",
            "weights, input, maps and workspace",
        ),
    ):
        facts.add_row(f"[bold]{label}[/bold]", value, f"[dim]{remark}[/dim]")
    console.print(facts, highlight=False)
    console.print()
    console.print(_stages(profile), highlight=False)


def _stages(profile: Profile) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    for column in ("parameters", "multiply-adds", "time"):
        table.add_column(column, justify="right")
    for stage in profile.stages:
        table.add_row(stage.name, f"{stage.parameters:,}", _g(stage.multiply_adds), f"{stage.time_share:.1%}")
    return table


def _g(number: int) -> str:
    return f"{number / 1e9:.3f} G"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"
