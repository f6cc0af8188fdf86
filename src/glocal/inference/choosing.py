"""Post-processing chosen on the validation cases of a run, and stored with its model."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

from glocal.errors import UserError
from glocal.files import write_json
from glocal.inference._run_plan import Progress, open_plan
from glocal.inference.postprocessing import Choice, Postprocessing, Trials
from glocal.inference.predictor import Predictor
from glocal.inference.scoring import compared_cases, with_classes
from glocal.inference.tta import TTA
from glocal.models.weights import find_model

__all__ = ["choose_for_run"]

log = logging.getLogger("glocal")


def choose_for_run(
    run: str | Path,
    *,
    data: str | Path | None = None,
    device: str = "auto",
    tta: bool | TTA = False,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Choice:
    """Choose post-processing on the validation split of a run, and write it into its ``model.json``.

    What the model had before is replaced, also by nothing. Test cases are never looked at.

    Args:
        run: Folder of a finished training.
        data: Where its data is now; default: where it was.
        device: As :class:`~glocal.inference.Predictor`.
        tta: As :class:`~glocal.inference.Predictor`; better as it will be used.
        batch_size: As :class:`~glocal.inference.Predictor`.
        progress: Called with (done, all).

    Raises:
        UserError: The run is a classifier, its data has changed or cannot be read, or the model cannot be written.
    """
    run = Path(run)
    plan = open_plan(run, "val", data, None, None)
    if plan.dataset.task != "segmentation":
        raise UserError(f"{run}: post-processing mends masks, and this run is a classifier")
    if plan.dataset.fingerprint != plan.fingerprint:
        raise UserError(
            f"{plan.dataset.root}: not the data the run was trained on, so its validation cases are not known; "
            "restore it, or say where it is (--data DIR)"
        )
    predictor = Predictor.load(run, device=device)
    predictor.postprocessing = Postprocessing()
    dataset, notes = with_classes(plan, predictor)
    for note in notes:
        log.warning("%s", note)
    seen: dict[str, Any] = {"tta": tta, "batch_size": batch_size}
    trials = Trials(predictor.classes)
    for case in compared_cases(predictor, dataset, plan, None, "auto", seen, progress):
        trials.add(case.prediction, case.truth)
    choice = trials.choose()
    record = dataclasses.replace(predictor.record, postprocessing=choice.postprocessing.to_json())
    path = find_model(run)[1]
    assert path is not None
    write_json(path, record.to_json())
    return choice
