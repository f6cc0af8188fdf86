"""Train a network on a folder: from data and recipe to a run folder with the best weights."""

from __future__ import annotations

import logging
import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from glocal.data import Encoding
from glocal.data.intensity import Intensity
from glocal.errors import UserError
from glocal.models import model_info
from glocal.models.weights import save_model
from glocal.training.build import build_module, estimate, loaders, normalisation, training_device, weights_facts
from glocal.training.calibrate import temperature
from glocal.training.engine import fit, naming_memory
from glocal.training.keeper import stops_early, time_is_up
from glocal.training.module import Training
from glocal.training.prepare import TrainingData, prepare_data
from glocal.training.recipe import Recipe, check_recipe, settle
from glocal.training.recipe_files import recipe_from, settings_of
from glocal.training.run_folder import Row, RunFolder, best_row, hardware, now, versions

__all__ = ["FREE_TO_CHANGE", "RunResult", "resume", "train"]

log = logging.getLogger("glocal")

FREE_TO_CHANGE = ("train.device", "train.workers", "data.cache")
"""Settings a resumed run may change, as they do not change what is computed."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RunResult:
    """What a training has left."""

    folder: Path
    history: tuple[Row, ...]
    """One row an epoch, with the columns of ``metrics.csv`` and ``seconds``."""
    best: Row
    """The row of the epoch whose weights are in ``model/``."""


def train(data_root: str | Path, recipe: Recipe, output: str | Path, *, progress: Progress | None = None) -> RunResult:
    """Train a network.

    Args:
        data_root: A folder that :func:`glocal.data.open_dataset` recognises.
        recipe: How; :func:`glocal.training.load_recipe` gives one.
        output: The run folder; must not exist or be empty.
        progress: Called with (done, all) while images are decoded.

    Raises:
        UserError: Whatever the user can mend: the data, the recipe, memory, the disk.
        KeyboardInterrupt: On SIGINT; :func:`resume` continues the run.
    """
    recipe, run = check_recipe(recipe), RunFolder(Path(output))
    run.require_new()
    task = model_info(recipe.model).task
    settle(recipe, task)
    device = training_device(recipe.train)
    weights_facts(recipe.weights)
    data = prepare_data(data_root, recipe.data, task, progress=progress)
    recipe = settle(recipe, task, data.dataset.multi_label)
    if recipe.weights is not None:
        recipe = replace(recipe, weights=str(Path(recipe.weights).absolute()))
    module = build_module(recipe, data)
    with naming_memory(device):
        expected = estimate(module, data, device)
    manifest = {
        "format": 1,
        "status": "running",
        "started": now(),
        "resumed": [],
        "versions": versions(),
        "hardware": hardware(device),
        "seeds": {"train": recipe.train.seed, "splits": data.splits.seed},
        "data": data.facts(),
        "network": {
            "name": recipe.model,
            "arguments": dict(recipe.model_args),
            "parameters": sum(p.numel() for p in module.network.parameters()),
        },
        "weights": weights_facts(recipe.weights),
        "estimate": asdict(expected),
    }
    run.create(recipe, manifest, data.splits.to_json())
    return _fit_and_finish(module, data, run, device, done=0)


def resume(
    folder: str | Path,
    data_root: str | Path | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Continue a run that was interrupted or killed; on a processor it ends bit for bit as if it had not been.

    Args:
        folder: The run folder.
        data_root: Where the data is now. Default: where it was.
        changes: Other values for :data:`FREE_TO_CHANGE`, by dotted name.
        progress: Called with (done, all) while images are decoded.

    Returns:
        As :func:`train`. A run that has finished is left as it is.

    Raises:
        UserError: No run that can be resumed; its recipe, its splits or the data changed; or as :func:`train`.
        KeyboardInterrupt: On SIGINT; the run can be resumed again.
    """
    run = RunFolder(Path(folder))
    kept, manifest = run.reopen()
    recipe = _changed(kept, changes or {}, run)
    checkpoint = run.load_checkpoint(run.last) if run.last.exists() else None
    history: list[Row] = [] if checkpoint is None else checkpoint["callbacks"]["Keeper"]["history"]
    if manifest.get("status") == "finished" and history:
        log.info("%s has finished its training; nothing is left to do", run.path)
        return _result(run, recipe, history)
    device = training_device(recipe.train)
    facts = manifest["data"]
    encoding = None if facts["encoding"] is None else Encoding.from_json(facts["encoding"])
    root = Path(facts["root"] if data_root is None else data_root)
    if not root.is_dir():
        raise UserError(
            f"{root}: the data of the run is not there; name its folder: glocal train DIR --resume {folder}"
        )
    data = prepare_data(
        root,
        recipe.data,
        model_info(recipe.model).task,
        splits_file=run.splits,
        encoding=encoding,
        fingerprint=facts["fingerprint"],
        intensity=Intensity.from_json(facts["volumes"]["intensity"]) if "volumes" in facts else None,
        progress=progress,
    )
    if checkpoint is None and weights_facts(recipe.weights) != manifest.get("weights"):
        raise UserError(
            f"{recipe.weights}: other weights than those the run began with; restore them, or start a new run"
        )
    module = build_module(recipe, data, weights=checkpoint is None)
    if checkpoint is not None:
        run.require_weights_of(module.state_dict(), checkpoint)
    run.write_manifest({**manifest, "resumed": [*manifest.get("resumed", []), now()]})
    done = len(history)
    log.info("resuming %s after epoch %d of %d", run.path, done, recipe.train.epochs)
    if done >= recipe.train.epochs or (
        history
        and (
            stops_early(history, recipe.train.select_by, recipe.train.early_stopping)
            or time_is_up(history, recipe.train.max_time)
        )
    ):
        return _finish(module, data, run, device, history)
    return _fit_and_finish(module, data, run, device, done)


def _changed(kept: Recipe, changes: Mapping[str, Any], run: RunFolder) -> Recipe:
    settings = settings_of(kept)
    for name, value in changes.items():
        if name not in FREE_TO_CHANGE and value != settings[name]:
            raise UserError(
                f"{run.recipe}: this run has {name} {settings[name]!r}, not {value!r}; a resumed run keeps its recipe, "
                "start a new one with another --output"
            )
    return recipe_from({**settings, **changes})


def _fit_and_finish(
    module: Training,
    data: TrainingData,
    run: RunFolder,
    device: torch.device,
    done: int,
) -> RunResult:
    training, validation = loaders(module.recipe, data, device)
    checkpoint = run.last if done else None
    try:
        with run.held():
            history = fit(module, training, validation, run, device, checkpoint, done)
    except KeyboardInterrupt:
        log.warning("interrupted; what the finished epochs brought is kept. Continue with: %s", _resume_command(run))
        raise
    except UserError as error:
        raise UserError(f"{error} (the run is kept: {_resume_command(run)})") from error
    return _finish(module, data, run, device, history)


def _resume_command(run: RunFolder) -> str:
    return f"glocal train --resume {shlex.quote(str(run.path))}"


def _finish(
    module: Training, data: TrainingData, run: RunFolder, device: torch.device, history: list[Row]
) -> RunResult:
    """Put the weights of the best epoch into ``model/``, those of a classifier calibrated, and close the manifest."""
    recipe = module.recipe
    result = _result(run, recipe, history)
    run.write_metrics(history, module.columns)
    weights = run.load_checkpoint(run.best)["state_dict"]
    prefix = "network."
    network = module.network.cpu()
    network.load_state_dict({k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)})
    best: dict[str, Any] = {
        name: v if math.isfinite(v) else None for name, v in result.best.items() if name != "seconds"
    }
    best["epoch"] = int(result.best["epoch"])
    manifest = run.reopen()[1]
    classifies = data.dataset.task == "classification"
    with naming_memory(device):
        scale = temperature(module, data, device) if classifies else 1.0
    save_model(
        run.model,
        network,
        name=recipe.model,
        arguments=recipe.model_args,
        classes=data.classes,
        task=data.dataset.task,
        preprocessing=normalisation(recipe, data.channels, data.dataset.volumes),
        manifest={
            "recipe": recipe.name,
            "best": best,
            "selected_by": recipe.train.select_by,
            "flips": [side for side in ("horizontal", "vertical") if getattr(recipe.augment.flip, side) > 0],
            "data": {key: manifest["data"][key] for key in ("fingerprint", "cases")},
            "seeds": manifest["seeds"],
            "versions": manifest["versions"],
        },
        temperature=scale,
        multi_label=data.dataset.multi_label,
    )
    seconds = sum(row["seconds"] for row in history)
    closing = {"status": "finished", "finished": now(), "duration_seconds": round(seconds, 1), "epochs": len(history)}
    run.write_manifest({**manifest, **closing, "best": best, "selected_by": recipe.train.select_by})
    return result


def _result(run: RunFolder, recipe: Recipe, history: list[Row]) -> RunResult:
    best = best_row(history, recipe.train.select_by)
    assert best is not None
    return RunResult(run.path, tuple(history), best)
