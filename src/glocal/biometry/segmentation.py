"""The challenges' metrics of masks, exactly as published: DSC, ASD and HD of each structure and of both together."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from glocal.errors import UserError

__all__ = ["SEGMENTATION_METRICS", "fh_ps_aop_score", "segmentation_metrics"]

_STRUCTURES = ("ps", "fh", "all")
SEGMENTATION_METRICS = tuple(f"{metric}_{part}" for part in _STRUCTURES for metric in ("dice", "asd", "hd"))
"""Names of :func:`segmentation_metrics`."""

LACKING = MappingProxyType({"dice": 0.0, "asd": 100.0, "hd": 100.0})
"""What the challenge gives a prediction that lacks a structure."""
_EIGHT = np.ones((3, 3), bool)


def segmentation_metrics(
    prediction: NDArray[Any], label: NDArray[Any], *, protocol: Literal["iugc2024", "glocal"] = "iugc2024"
) -> dict[str, float]:
    """DSC, ASD and HD of symphysis (``ps``), head (``fh``) and both as one object (``all``), in pixels.

    * ``dice``: ``(2 |P∩G| + 1) / (|P| + |G| + 1)``, with the challenge's smoothing of 1.
    * ``asd``: distances between edge pixels (with a background 8-neighbour; the image border is none), from either
      mask to the other, added up and divided by the number of edge pixels.
    * ``hd``: Hausdorff distance of the regions, not of their edges.

    Args:
        prediction: Class indices ``(H, W)``: 0 background, 1 symphysis, 2 head.
        label: Class indices, same shape.
        protocol: ``"iugc2024"``: a structure lacking in the prediction counts as DSC 0, ASD 100, HD 100, even where the
            label lacks it too. ``"glocal"``: a structure absent from both is not applicable, NaN.

    Returns:
        By name, :data:`SEGMENTATION_METRICS`. Where only the label lacks the structure, or a mask covers the whole
        image, ASD and HD are NaN (the published code gives 1.8e19, or stops).

    Raises:
        UserError: The shapes differ or are not ``(H, W)``.
    """
    if prediction.shape != label.shape or prediction.ndim != 2:
        raise UserError(
            f"the prediction is {prediction.shape} and the label {label.shape}; the metrics of the challenge compare "
            "two frames (H, W) of one size"
        )
    result = {}
    for name, values in zip(_STRUCTURES, ((1,), (2,), (1, 2)), strict=True):
        pair = np.isin(prediction, values), np.isin(label, values)
        for metric, value in _of_structure(*pair, protocol).items():
            result[f"{metric}_{name}"] = value
    return result


def _of_structure(predicted: NDArray[np.bool_], true: NDArray[np.bool_], protocol: str) -> dict[str, float]:
    sizes = int(np.count_nonzero(predicted)), int(np.count_nonzero(true))
    if sizes[0] == 0 and (sizes[1] or protocol == "iugc2024"):
        return dict(LACKING)
    if sizes[0] == 0:
        return dict.fromkeys(LACKING, math.nan)
    dice = (2 * int(np.count_nonzero(predicted & true)) + 1) / (sum(sizes) + 1)
    if sizes[1] == 0 or max(sizes) == true.size:
        return {"dice": dice, "asd": math.nan, "hd": math.nan}
    box = _box(predicted | true)
    edges = [_edge(region)[box] for region in (predicted, true)]
    predicted, true = predicted[box], true[box]
    to_edge = [ndimage.distance_transform_edt(~edge) for edge in edges]
    total = to_edge[1][edges[0]].sum() + to_edge[0][edges[1]].sum()
    to_region = [ndimage.distance_transform_edt(~region) for region in (predicted, true)]
    hausdorff = max(float(to_region[1][predicted].max()), float(to_region[0][true].max()))
    return {"dice": dice, "asd": float(total) / sum(int(edge.sum()) for edge in edges), "hd": hausdorff}


def _edge(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    edge: NDArray[np.bool_] = region & ~ndimage.binary_erosion(region, _EIGHT, border_value=1)
    return edge


def _box(region: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns in which there is something: distances between what lies in it need no more."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def fh_ps_aop_score(dice: float, hd: float, asd: float, delta_aop: float) -> float:
    """The aggregate score of the FH-PS-AOP challenge; higher is better, 1 is perfect.

    Args:
        dice: Mean DSC over cases and over symphysis, head and both.
        hd: Mean HD in pixels, likewise.
        asd: Mean ASD in pixels, likewise.
        delta_aop: Mean absolute difference of AoP in degrees, 0 standing for the AoP of an unmeasurable mask.
    """
    return 0.25 * dice + 0.125 * (1 - hd / 100) + 0.125 * (1 - asd / 100) + 0.5 * (1 - delta_aop / 180)
