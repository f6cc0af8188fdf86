"""How long an epoch of each variant takes here, and how much memory: measured on a few steps at the real size."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from glocal.benchmark.child import end_with_parent, python_child
from glocal.benchmark.plan import Cell, Plan
from glocal.errors import UserError

__all__ = ["USED", "Probe", "epochs_within", "probe_plan"]

USED = 0.9
"""Part of its share that the epochs of a cell are planned for; what is left absorbs the error of the estimate."""

_CASES = 8
"""Training cases that are read for the measurement on a processor, so that a loss with class weights sees classes."""

_STEPPED = 2
"""Of which so many are in a step."""

_REPEATS = 2
"""Measurements, of which the fastest counts: what else the machine does makes them slower, never faster."""


@dataclass(frozen=True)
class Probe:
    """What a cell of a variant will take where this was measured.

    Attributes:
        seconds_per_epoch: Training and validation.
        memory_bytes: Weights, gradients, optimiser and what the backward pass needs.
        available_bytes: Free memory of the device.
        epochs: Of the recipe, or under a budget as many as fit :data:`USED` of a cell's share.
        device: Where it was measured.
        error: Why nothing could be measured; then the numbers are 0.
    """

    seconds_per_epoch: float = 0.0
    memory_bytes: int = 0
    available_bytes: int = 0
    epochs: int = 0
    device: str = ""
    error: str | None = None

    @property
    def seconds(self) -> float:
        """Of one training."""
        return self.seconds_per_epoch * self.epochs


def epochs_within(share_s: float, seconds_per_epoch: float, most: int | None) -> int:
    """Epochs that fit :data:`USED` of a share, at least one.

    Args:
        share_s: Seconds of a cell.
        seconds_per_epoch: Estimated.
        most: Upper limit; None: no limit.
    """
    fitting = max(1, math.floor(USED * share_s / seconds_per_epoch))
    return fitting if most is None else min(most, fitting)


def probe_plan(
    plan: Plan, labels: Sequence[str] | None = None, progress: Callable[[str], None] | None = None
) -> dict[str, Probe]:
    """Measure the variants of a plan, each in a process of its own, so that one that runs out of memory harms nobody.

    Nothing is written but what goes through a temporary file.

    Args:
        plan: Of :func:`glocal.benchmark.make_plan`.
        labels: Variants to measure. Default: all.
        progress: Called with the label of a variant before it is measured.
    """
    found = {}
    for label in [variant.label for variant in plan.variants] if labels is None else labels:
        if progress is not None:
            progress(label)
        found[label] = _probe(plan, label)
    return found


def _probe(plan: Plan, label: str) -> Probe:
    with tempfile.TemporaryDirectory(prefix="glocal-probe-") as name:
        task, result, log = (Path(name) / file for file in ("task.json", "result.json", "log.txt"))
        task.write_text(json.dumps({"plan": plan.to_json(), "splits": dict(plan.splits), "label": label}))
        with python_child("glocal.benchmark.probe", [str(task), str(result)], log) as process:
            code = process.wait()
        if code == 0:
            return Probe(**json.loads(result.read_text()))
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] or ["nothing said"]
        return Probe(error=f"ended with code {code}: {lines[-1].removeprefix('glocal: error: ')}")


def measure(plan: Plan, label: str) -> Probe:
    """Measure one variant in this process.

    Raises:
        UserError: The data or the network cannot be used.
    """
    from torch.utils.data import default_collate

    from glocal.benchmark.recipes import cell_recipe
    from glocal.data import Splits, open_dataset
    from glocal.data.cache import build_cache
    from glocal.training.build import build_module, training_device
    from glocal.training.engine import naming_memory
    from glocal.training.estimate import estimate_training
    from glocal.training.prepare import TrainingData
    from glocal.training.recipe import settle
    from glocal.training.volumes import seen_volumes

    variant = next(variant for variant in plan.variants if variant.label == label)
    recipe = cell_recipe(plan, Cell(variant, 0, plan.seeds[0]), None)
    recipe = settle(recipe, plan.facts["task"], plan.facts["multi_label"])
    device = training_device(recipe.train)
    dataset = open_dataset(plan.data, plan.facts["task"], masks=recipe.data.masks)
    parts = plan.splits["folds"][0] if plan.folds > 1 else plan.splits["splits"]
    size = min(recipe.train.batch_size, len(parts["train"]))
    ids = tuple(parts["train"][: max(_CASES, size)])
    splits = Splits(0, (1.0, 0.0, 0.0), "", ids, (), ())
    dataset = seen_volumes(dataset, splits, recipe.data, None)
    channels = int(plan.facts["channels"])
    cached = build_cache(dataset, dataset.select(ids), recipe.data.height_width, channels, in_memory=True)
    module = build_module(recipe, TrainingData(dataset, splits, channels, cached, cached))
    steps = len(parts["train"]) / size
    module.steps = math.floor(steps) if recipe.train.drop_last else math.ceil(steps)
    stepped = min(size, _STEPPED) if device.type == "cpu" else size
    batch = default_collate([cached[i] for i in range(stepped)])
    with naming_memory(device):
        found = [estimate_training(module, batch, size, len(parts["val"]), device) for _ in range(_REPEATS)]
    seconds = min(estimate.seconds_per_epoch for estimate in found)
    epochs = recipe.train.epochs
    if plan.share_s is not None:
        epochs = epochs_within(plan.share_s, seconds, plan.settings.get("train.epochs"))
    memory = max(estimate.bytes for estimate in found)
    return Probe(seconds, memory, found[0].available, epochs, str(device))


def main(arguments: Sequence[str]) -> int:
    """Measure what the file ``arguments[0]`` asks for and write the numbers into ``arguments[1]``."""
    end_with_parent()
    task, result = map(Path, arguments)
    plain: Any = json.loads(task.read_text())
    try:
        probe = measure(Plan.from_json(plain["plan"], plain["splits"]), plain["label"])
    except UserError as error:
        probe = Probe(error=" ".join(str(error).split()))
    result.write_text(json.dumps(asdict(probe)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
