"""Run every benchmark that needs no data: ``python -m benchmarks``. Trust the ratios: they are taken side by side.

``--page FILE`` also writes what was printed as a page: ``python -m benchmarks --page docs/results/speed.md``.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from pathlib import Path

import torch

from glocal.files import write_text

NAMES = (
    *("import_time", "neighborhood_attention", "deploy", "surface_metrics"),
    *("hifuse", "spm", "dssa", "comparison_blocks", "comparison_transformers"),
)


def output_of(name: str) -> str:
    """Run one benchmark, showing its lines as they come.

    Raises:
        SystemExit: It failed.
    """
    print(f"\n== {name}", flush=True)
    script = Path(__file__).with_name(f"{name}.py")
    lines = []
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        sys.exit(f"{name} failed")
    return "".join(lines)


def page(outputs: dict[str, str]) -> str:
    """The page of results."""
    head = [
        "# Speed",
        "",
        "Written by `python -m benchmarks --page docs/results/speed.md`; not edited by hand. A ratio is between runs "
        "side by side, on one thread; absolute times depend on the machine "
        f"({platform.machine()}, torch {torch.__version__}).",
        "",
    ]
    parts = [f"## `benchmarks/{name}.py`\n\n```text\n{text.rstrip()}\n```\n" for name, text in outputs.items()]
    return "\n".join([*head, *parts])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    printed = {name: output_of(name) for name in NAMES}
    if options.page is not None:
        write_text(options.page, page(printed))
