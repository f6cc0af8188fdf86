"""Five networks on a real set under equal conditions, compared as a reviewer would ask; writes the results page.

    python benchmarks/real_benchmark.py --data ../shared/data/psfhs

runs ``glocal benchmark`` (which goes on where it was interrupted) and ``glocal compare``; the page holds nothing that
they have not measured. The report itself is in ``runs/benchmark/comparison/report.html``.
"""

from __future__ import annotations

import argparse
import platform
import shlex
import shutil
from pathlib import Path
from typing import Any

from _runs import torch_versions
from glocal.cli import main as command_line
from glocal.comparison import Comparison, compare
from glocal.comparison.figures import FIGURES
from glocal.comparison.sentences import headline, ranks_sentence
from glocal.comparison.tables import markdown_table, probability
from glocal.evaluation.report_parts import number, number_range
from glocal.files import read_json, write_text

PAGE = Path("docs/results/benchmark.md")
ASSETS = Path("docs/assets")
SHOWN = ("intervals", "critical-difference", "rank-stability", "cost-multiply-adds")
"""Figures of the comparison that the page shows."""
MODELS = "lmnet,unet,unetpp,deeplabv3plus_mobilenet,dssaunet"
SETTINGS = ("data.size=64", "data.fractions=[0.5,0.1,0.4]", "train.epochs=4", "train.batch_size=8")
"""What two CPU cores afford in about an hour."""


def benchmark_command(data: str, bench: Path) -> list[str]:
    """The words after ``glocal``."""
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    words = ["benchmark", data, "--models", MODELS, "--recipes", "default", "--folds", "3"]
    return [*words, *settings, "--output", str(bench)]


def page(comparison: Comparison, bench: Path, data: Path, figures: dict[str, str]) -> str:
    """The Markdown page."""
    plan: dict[str, Any] = read_json(bench / "benchmark.json")
    facts = plan["data"]
    command = shlex.join(["glocal", *benchmark_command(data.name, Path("bench"))])
    commands = [command, "glocal compare bench --reference unet"]
    lines = [
        "# Five networks on PSFHS",
        "",
        "Written by `python benchmarks/real_benchmark.py --data DIR`, that is by",
        "",
        "```console",
        *(f"$ {command}" for command in commands),
        "```",
        "",
        f"on {platform.machine()} without a GPU, one thread, "
        f"torch {torch_versions(sorted(bench.glob('cells/*/run')))}. "
        f"{facts['cases']} images (a part of PSFHS, near-duplicates in one group), {len(facts['classes'])} classes; "
        "three folds "
        "beside a common test part of 40 %, chosen on validation images, measured on test images at their own size. "
        "**Networks from nothing, 64×64 pixels and four epochs: this shows how a comparison reads and what so little "
        "training gives, not which network is best, and none of it compares with published figures.** "
        "The machine did other work meanwhile: times are upper bounds.",
        "",
        *(f"- {sentence}" for sentence in headline(comparison)),
        "",
        markdown_table(comparison),
        "",
        "## Every network against the reference",
        "",
        "The tests are of ranks of group means, the intervals of means: with a few very large distances (a structure "
        "missed) a test may see a difference that the mean does not show.",
        "",
        "| metric | network | difference of means | 95 % interval | p (Holm) | effect: rank-biserial | d_z |",
        "|---|---|---:|---:|---:|---:|---:|",
        *_pairs(comparison),
        "",
        ranks_sentence(comparison),
        "",
    ]
    for name, address in figures.items():
        lines += [f"![{FIGURES[name][0]}]({address})", "", f"*{FIGURES[name][0]}.*", ""]
    lines += ["## What a reader should know", "", *(f"- {note}" for note in comparison.notes), ""]
    return "\n".join(lines)


def _pairs(comparison: Comparison) -> list[str]:
    lines = []
    for result in comparison.results:
        digits = result.facts.digits + 1
        for pair in result.pairs:
            difference = number(pair.difference, digits, signed=True)
            between = number_range((pair.low, pair.high), digits)
            numbers = f"{probability(pair.p_holm)} | {pair.rank_biserial:+.2f} | {pair.d_z:+.2f}"
            lines.append(f"| {result.facts.label} | {pair.model} | {difference} | {between} | {numbers} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with images/, masks/ and cases.csv")
    parser.add_argument("--bench", type=Path, default=Path("runs/benchmark"), help="folder of the benchmark, kept")
    given = parser.parse_args()
    if command_line(benchmark_command(str(given.data), given.bench)):
        raise SystemExit("the benchmark failed")
    comparison = compare([given.bench], reference="unet")
    folder = given.bench / "comparison"
    comparison.write(folder)
    figures = {}
    ASSETS.mkdir(parents=True, exist_ok=True)
    for name in SHOWN:
        shutil.copyfile(folder / "figures" / f"{name}.png", ASSETS / f"benchmark-{name}.png")
        figures[name] = f"../assets/benchmark-{name}.png"
    write_text(PAGE, page(comparison, given.bench, given.data, figures))
    print(f"{PAGE}; the report: {folder / 'report.html'}")


if __name__ == "__main__":
    main()
