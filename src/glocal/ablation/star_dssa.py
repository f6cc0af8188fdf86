"""The four additions of STAR-DSSA to DSSA, the combinations that are refused, and what it reduces to."""

from __future__ import annotations

from typing import Any

from glocal.ablation.declared import Ablation, Row
from glocal.ablation.dssaunet import MEASURES

__all__ = ["ABLATIONS"]


def _only(*on: str) -> dict[str, Any]:
    """Options with these additions on and the others off."""
    return {name: False for name in ("saliency", "topology", "route_gate", "local_gate") if name not in on}


_DSSA = {**_only(), "mask_padding": False, "min_keep": 0}

_ADDITIONS = Ablation(
    "star_dssa",
    "The four additions: saliency, topology, route gate, local gate",
    "ours: STAR-DSSA is described in words only, without figures",
    ("star_dssaunet",),
    (
        Row("STAR-DSSA", {}),
        Row("without saliency", {"saliency": False}),
        Row("without topology", {"topology": False}),
        Row(
            "without route gate",
            {"route_gate": False, "saliency": False},
            remark="saliency goes with it; the weight of the neighbourhood is then a constant",
        ),
        Row("without local gate", {"local_gate": False}),
        Row("saliency and route gate", _only("saliency", "route_gate")),
        Row("topology alone", _only("topology"), remark="its weight is a constant: nothing of the routing trains"),
        Row("route gate alone", _only("route_gate")),
        Row("local gate alone", _only("local_gate")),
        Row("none of the four", _only(), remark="DSSA with masked padding and at least one token kept"),
        Row("DSSA", _DSSA, remark="exactly DSSA: the published padding and min_keep too"),
        Row("bi-level routing", {**_DSSA, "pixel_topk": False}, remark="exactly DSSA without its second selection"),
        Row("saliency without route gate", {"route_gate": False}, refused=True),
    ),
    measures=MEASURES,
    recipe="dssaunet",
    notes=(
        "Nothing about its accuracy is known. To claim something, train rows on the same splits with five seeds and "
        "compare them case by case (glocal compare).",
    ),
)

ABLATIONS = (_ADDITIONS,)
