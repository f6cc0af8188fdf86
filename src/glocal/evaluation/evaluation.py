"""Cases in, one at a time; numbers out: :func:`evaluate` and what it returns."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from glocal.errors import UserError
from glocal.evaluation.cases import CaseResult, EvaluatedCase, check_case, measure_case
from glocal.evaluation.metrics import METRIC_NAMES
from glocal.evaluation.policy import EmptyPolicy, get_policy
from glocal.evaluation.presets import Preset, get_preset
from glocal.evaluation.surface import FloatArray
from glocal.evaluation.thumbnails import Gallery

__all__ = ["Evaluation", "Settings", "evaluate"]


@dataclass(frozen=True)
class Settings:
    """How an evaluation was made.

    Attributes:
        policy: For undefined values of empty masks.
        tolerance: Of NSD, in ``unit``.
        unit: Of every distance, ``"mm"`` or ``"px"``.
        preset: Published evaluation computed beside ours.
        confidence: Of the intervals.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """

    policy: EmptyPolicy
    tolerance: float
    unit: str
    preset: Preset | None
    confidence: float
    resamples: int
    seed: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The numbers of all cases; N cases, K classes, M metrics.

    Attributes:
        classes: Names; the first is the background.
        results: One per case, in the order in which they came.
        confusion: int64 ``(K, K)``, all cases pooled; true class by predicted class.
        settings: How they were made.
        published: What the preset measured per case, each ``(N,)``.
        gallery: Thumbnails for the report.
        notes: What a reader must be told.
    """

    classes: tuple[str, ...]
    results: tuple[CaseResult, ...]
    confusion: NDArray[np.int64]
    settings: Settings
    published: Mapping[str, FloatArray]
    gallery: Gallery
    notes: tuple[str, ...] = ()

    @cached_property
    def values(self) -> FloatArray:
        """Every value, float64 ``(N, K, M)``, NaN where left out."""
        return np.stack([result.values for result in self.results])

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Pixels in both masks, predicted and true, int64 ``(N, K, 3)``."""
        return np.stack([result.counts for result in self.results])

    @cached_property
    def scores(self) -> FloatArray:
        """Dice of each case, mean over the foreground classes, ``(N,)``; it tells the worst, median and best cases."""
        return np.array([_score(result) for result in self.results])

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The content of ``summary.json``: plain numbers, strings, lists and ``None``."""
        from glocal.evaluation.summary import summarise

        return summarise(self)

    def write(
        self,
        folder: str | Path,
        *,
        title: str = "Evaluation",
        manifest: Mapping[str, Any] | None = None,
        history: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Path]:
        """Write ``cases.csv``, ``summary.json`` and ``report.html`` into ``folder``, each whole or not at all.

        With a preset that measures cases, ``preset.csv`` holds what it measured: one row a case.

        Args:
            folder: Made when it is missing; files of the same names are replaced.
            title: Of the report.
            manifest: What the report shows of the run: versions, data fingerprint, recipe. Any nesting of plain values.
            history: Rows of the run's ``metrics.csv``, one an epoch, for the training curves; numbers may be text.

        Returns:
            The paths by file name.

        Raises:
            UserError: The folder cannot be written, or matplotlib is not installed.
        """
        from glocal.evaluation.report import render
        from glocal.evaluation.table import write_cases, write_published
        from glocal.files import write_json, write_text

        page = render(self, title=title, manifest=manifest or {}, history=history)
        paths = {name: Path(folder) / name for name in ("cases.csv", "summary.json", "report.html")}
        write_cases(paths["cases.csv"], self)
        if self.published:
            paths["preset.csv"] = Path(folder) / "preset.csv"
            write_published(paths["preset.csv"], self)
        write_json(paths["summary.json"], self.summary)
        write_text(paths["report.html"], page)
        return paths


def evaluate(
    cases: Iterable[EvaluatedCase],
    classes: Sequence[str],
    *,
    policy: str = "penalty",
    tolerance: float = 2.0,
    unit: Literal["auto", "px"] = "auto",
    preset: str | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Compare predictions with the truth.

    The cases are taken one at a time and let go: beside the numbers, only a bounded number of thumbnails is kept.

    Args:
        cases: See :class:`~glocal.evaluation.EvaluatedCase`; a generator will do.
        classes: Names in the order of the class indices; the first is the background.
        policy: What counts where a mask is empty: ``"penalty"``, ``"zero_one"`` or ``"skip"``.
        tolerance: Of NSD, in mm where the spacing is known and in pixels where not.
        unit: ``"auto"``: mm if the first case has a spacing, else pixels. ``"px"``: pixels whatever is known.
        preset: Name of a published evaluation to compute beside ours, such as ``"lmnet"``; the cases should come at its
            resolution.
        confidence: Of the bootstrap intervals, in (0, 1).
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        The numbers, with :attr:`Evaluation.summary` and :meth:`Evaluation.write`.

    Raises:
        UserError: There is no case, a case cannot be compared (its name is in the message), two cases have one name,
            some have a spacing and others none, or an argument is unusable.

    Example:
        >>> import numpy as np
        >>> mask = np.zeros((16, 16), np.uint8)
        >>> mask[4:12, 4:12] = 1
        >>> evaluation = evaluate([EvaluatedCase("a", prediction=mask, truth=mask)], ["background", "polyp"])
        >>> evaluation.summary["macro"]["foreground"]["dice"]["mean"]
        1.0
    """
    names = _check_arguments(classes, tolerance, confidence, resamples)
    rule, published = get_policy(policy), get_preset(preset) if preset is not None else None
    if unit not in ("auto", "px"):
        raise UserError(f"unit {unit!r} is unknown; use 'auto' or 'px'")
    results: list[CaseResult] = []
    measured: dict[str, list[float]] = {}
    confusion = np.zeros((len(names), len(names)), np.int64)
    gallery, seen, in_mm = Gallery(), set[str](), None
    for case in cases:
        if case.id in seen:
            raise UserError(f"case {case.id!r} comes twice; give every case a name of its own")
        seen.add(case.id)
        check_case(case, len(names))
        known = unit == "auto" and case.spacing is not None
        in_mm = known if in_mm is None else in_mm
        if unit == "auto" and known is not in_mm:
            raise UserError(
                f"case {case.id!r} has {'a' if known else 'no'} spacing, unlike the cases before it; "
                "give it for all cases or evaluate in pixels (unit 'px')"
            )
        spacing = tuple(case.spacing) if known and case.spacing is not None else ()
        result, pairs = measure_case(case, len(names), rule, tolerance, spacing)
        results.append(result)
        confusion += pairs
        for name, value in (published.measure(case, len(names)) if published else {}).items():
            measured.setdefault(name, []).append(value)
        gallery.add(case, _score(result))
    if not results:
        raise UserError("there is no case to evaluate; is the split empty?")
    settings = Settings(rule, tolerance, "mm" if in_mm else "px", published, confidence, resamples, seed)
    columns = {name: np.array(column) for name, column in measured.items()}
    return Evaluation(names, tuple(results), confusion, settings, columns, gallery, _notes(results, settings, unit))


def _check_arguments(classes: Sequence[str], tolerance: float, confidence: float, resamples: int) -> tuple[str, ...]:
    names = tuple(classes)
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(f"classes {list(names)} must be two or more different names, the background first")
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise UserError(f"tolerance {tolerance} must be a length of 0 or more, in mm or pixels")
    if not 0 < confidence < 1 or resamples < 1:
        raise UserError(f"confidence {confidence} must lie between 0 and 1 and resamples {resamples} be 1 or more")
    return names


def _score(result: CaseResult) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # every class undefined
        return float(np.nanmean(result.values[1:, METRIC_NAMES.index("dice")]))


def _notes(results: Sequence[CaseResult], settings: Settings, unit: str) -> tuple[str, ...]:
    notes = []
    preset = settings.preset
    if preset is not None and preset.resolution is not None:
        others = sum(result.shape != preset.resolution for result in results)
        if others:
            size = "×".join(str(side) for side in preset.resolution)
            notes.append(
                f"{others} of {len(results)} cases were not at {size}, the resolution of preset {preset.name!r}: "
                "its numbers are not comparable with the publication's"
            )
    if unit == "px" or settings.unit == "px":
        notes.append("distances and the NSD tolerance are in pixels")
    return tuple(notes)
