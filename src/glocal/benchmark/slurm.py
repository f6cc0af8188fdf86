"""An array of Slurm jobs, one a cell: written, not submitted."""

from __future__ import annotations

import logging
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from glocal.benchmark.folder import BenchmarkFolder
from glocal.benchmark.plan import Cell, Plan, slug
from glocal.benchmark.probe import Probe, probe_plan
from glocal.benchmark.run import Resources
from glocal.errors import counted
from glocal.files import write_text

__all__ = ["Slurm", "latest_script"]

log = logging.getLogger("glocal")


def latest_script(bench: BenchmarkFolder) -> Path | None:
    """The array that was written last, if there is one."""
    found = {int(m[1]): path for path in (bench.path / "slurm").glob("array-*.sbatch") if (m := _number(path))}
    return found[max(found)] if found else None


def _number(path: Path) -> re.Match[str] | None:
    return re.fullmatch(r"array-(\d+)\.sbatch", path.name)


class Slurm:
    """Writes ``BENCH/slurm/array-N.sbatch`` and the list of its cells.

    Args:
        resources: Of one cell.
    """

    def __init__(self, resources: Resources) -> None:
        self.resources = resources

    def probe(self, plan: Plan, labels: Sequence[str]) -> dict[str, Probe]:
        """Measure variants on this machine, and say so: the nodes may be faster or slower."""
        log.warning(
            "epochs are estimated on this machine; run this command on a node like those of the jobs, or the time of a "
            "cell ends before its schedule, or is not used up"
        )
        return probe_plan(plan, labels)

    def run(self, bench: BenchmarkFolder, plan: Plan, cells: Sequence[Cell], look: Callable[[], None]) -> None:
        """Write the script of an array with a task for each cell; earlier scripts stay, as jobs may be using them."""
        if not cells:
            return
        last = latest_script(bench)
        number = 1 if last is None else int(last.stem.partition("-")[2]) + 1
        folder = (bench.path / "slurm").absolute()
        listing = folder / f"cells-{number}.txt"
        write_text(listing, "".join(f"{cell.id}\n" for cell in cells))
        write_text(folder / f"array-{number}.sbatch", self._script(bench.path.absolute(), listing, len(cells)))

    def _script(self, bench: Path, listing: Path, number: int) -> str:
        gpus = self.resources.gpus
        lines = [
            "#!/bin/bash",
            f"# {counted(number, 'cell')} of a benchmark, one a task. Tasks may be killed or submitted again at will.",
            f"#SBATCH --job-name=glocal-{slug(bench.name)}",
            f"#SBATCH --array=1-{number}",
            f"#SBATCH --cpus-per-task={self.resources.cpus}",
            *([f"#SBATCH --gres=gpu:{gpus}"] if gpus else []),
            f'#SBATCH --output="{listing.parent}/%x-%A_%a.txt"',
            "set -euo pipefail",
            f"export OMP_NUM_THREADS={self.resources.cpus}",
            f'cell=$(sed -n "${{SLURM_ARRAY_TASK_ID}}p" {shlex.quote(str(listing))})',
            f'exec {shlex.quote(sys.executable)} -P -m glocal benchmark {shlex.quote(str(bench))} --cell "$cell"',
        ]
        return "\n".join(lines) + "\n"
