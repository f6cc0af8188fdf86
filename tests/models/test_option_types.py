"""Options of the wrong kind or out of range are refused before anything is made, whoever forgot to look at them."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
import torch
from test_contract import SMALLEST

import glocal
from glocal.errors import UserError
from glocal.models.registry import default_options

NONSENSE: list[Any] = [{"a": 1}, [None, "x"], math.nan, "nonsense", object]


@pytest.mark.parametrize("name", sorted(SMALLEST.values()))
def test_no_option_takes_nonsense(name: str) -> None:
    taken = []
    for option in default_options(name):
        for value in NONSENSE:
            if (option, value) in (("backbone_args", {"a": 1}), ("branches", {"a": 1})):
                continue  # mappings whose keys the network itself looks at
            with contextlib.suppress(UserError), torch.device("meta"):
                glocal.create_model(name, **{option: value})
                taken.append((option, value))
    assert taken == []


@pytest.mark.parametrize(
    ("name", "options", "cure"),
    [
        ("hifuse_micro", {"conv_std": -1.0}, "at least 0"),
        ("hifuse_micro", {"conv_std": True}, "must be a number"),
        ("hifuse_micro", {"depths": 2}, "each item a whole number"),
        ("hifuse_2022", {"mlp_ratio": 0}, "at least 1"),
        ("hiperformer_tiny", {"squeeze_reduction": 0}, "at least 1"),
        ("hiperformer_tiny", {"squeeze_reduction": -1}, "at least 1"),
        ("pvt_nano", {"eps": 0.0}, "above 0"),
        ("pvt_nano", {"img_size": "224"}, "a whole number or a list"),
        ("swin_nano", {"mlp_ratio": 0}, "at least 1"),
        ("swin_nano", {"window_size": True}, "a whole number"),
        ("dssaunet_tiny", {"scale": 0.1}, "channels or head"),
        ("dssaunet_tiny", {"n_win": None}, "a whole number"),
        ("dssaunet_tiny", {"topks": [1, 4, "all", None]}, "a whole number or null"),
        ("semantic_fpn_nano", {"neck_channels": 0}, "at least 1"),
        ("semantic_fpn_nano", {"channels": 0}, "at least 1"),
        ("upernet_nano", {"pool_scales": [0, 1]}, "at least 1"),
        ("upernet_nano", {"auxiliary_channels": 0}, "at least 1"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(name: str, options: dict[str, Any], cure: str) -> None:
    with pytest.raises(UserError, match=cure) as refusal:
        glocal.create_model(name, **options)
    assert str(refusal.value).startswith(f"{name}: ")
    assert "\n" not in str(refusal.value)
