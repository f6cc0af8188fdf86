"""Names, facts and options: what a typo costs, and that nothing the caller passes is changed."""

import dataclasses

import pytest
import torch

import glocal
from glocal.errors import UserError
from glocal.models.registry import default_options


def refused(call, *words):
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_names_are_sorted_and_each_has_facts():
    names = glocal.list_models()
    assert names == sorted(names)
    assert "lmnet" in names
    assert all(glocal.model_info(name).name == name for name in names)


@pytest.mark.parametrize("pattern", ["lmnet*", "LMNET*", "*net*", "lmnet_tin?", "lmnet_[t]iny"])
def test_patterns(pattern):
    assert "lmnet_tiny" in glocal.list_models(pattern)


def test_filters_narrow_down():
    everything = set(glocal.list_models())
    assert set(glocal.list_models("lmnet", "lmnet_tiny")) == {"lmnet", "lmnet_tiny"}
    assert glocal.list_models("no such thing") == []
    assert glocal.list_models(max_params=0) == []
    assert set(glocal.list_models(max_params=float("inf"))) == everything
    small = glocal.list_models(max_params=1e6)
    assert small
    assert all(glocal.model_info(n).parameters <= 1e6 for n in small)
    cheap = glocal.list_models(max_multiply_adds=1e9)
    assert all(glocal.model_info(n).multiply_adds <= 1e9 for n in cheap)
    exact = glocal.model_info("lmnet")
    assert "lmnet" in glocal.list_models(max_params=exact.parameters, max_multiply_adds=exact.multiply_adds)
    assert set(glocal.list_models(task="segmentation")) | set(glocal.list_models(task="classification")) == everything
    assert "lmnet" in glocal.list_models(family="lmnet")


def test_filters_that_do_not_exist_name_those_that_do():
    refused(lambda: glocal.list_models(task="segmentaton"), "Did you mean 'segmentation'?", "classification")
    refused(lambda: glocal.list_models(family="lmnt"), "Did you mean 'lmnet'?")


@pytest.mark.parametrize("name", ["lmnt", "LM-Net", "LMNet", "lm net"])
def test_a_wrong_name_gives_the_nearest(name):
    refused(lambda: glocal.create_model(name), repr(name), "Did you mean 'lmnet'?", "glocal models")
    refused(lambda: glocal.model_info(name), "Did you mean 'lmnet'?")


def test_a_name_like_nothing_gives_no_wrong_advice():
    with pytest.raises(UserError) as caught:
        glocal.create_model("xyzzy-42")
    assert "Did you mean" not in str(caught.value)


def test_a_wrong_option_gives_the_nearest():
    refused(lambda: glocal.create_model("lmnet", preste="paper"), "Did you mean 'preset'?", "skip")


@pytest.mark.parametrize("option", ["in_channels", "num_classes"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "3", True, 10**15])
def test_impossible_numbers(option, value):
    refused(lambda: glocal.create_model("lmnet_tiny", **{option: value}), "lmnet_tiny")


@pytest.mark.parametrize("options", [{"skip": "mutli"}, {"filters": [1, 2]}, {"filters": "abc"}, {"branches": ["4x4"]}])
def test_impossible_values_are_one_line(options):
    refused(lambda: glocal.create_model("lmnet", **options), "lmnet")


@pytest.mark.parametrize("options", [{"lft": "off"}, {"rel_pos_bias": 1}, {"merged": None}])
def test_a_switch_is_true_or_false(options):
    """The word "off" would switch it on."""
    refused(lambda: glocal.create_model("lmnet_tiny", **options), "it must be true or false")


def test_the_callers_options_stay_as_they_are():
    filters, options = [4, 8, 16, 32, 64], {"num_heads": 4, "branches": ["5x5"]}
    glocal.create_model("lmnet", filters=filters, **options)
    assert filters == [4, 8, 16, 32, 64]
    assert options == {"num_heads": 4, "branches": ["5x5"]}


def test_the_callers_options_come_before_the_variants():
    variant = glocal.create_model("lmnet_tiny")
    wider = glocal.create_model("lmnet_tiny", filters=[8, 16, 32, 64, 128])
    assert sum(p.numel() for p in wider.parameters()) > sum(p.numel() for p in variant.parameters())


def test_default_options_make_the_default_network():
    torch.manual_seed(0)
    one = glocal.create_model("lmnet_tiny")
    torch.manual_seed(0)
    other = glocal.create_model("lmnet_tiny", **default_options("lmnet_tiny"))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_facts_cannot_be_changed():
    info = glocal.model_info("lmnet_tiny")
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.parameters = 1
    with pytest.raises(TypeError):
        info.arguments["filters"] = ()


def test_features_only_gives_a_pyramid():
    features = glocal.create_model("lmnet_tiny", features_only=True, in_channels=1)
    maps = features(torch.rand(2, 1, 32, 48))
    assert [m.shape[1] for m in maps] == [f.channels for f in features.feature_info]
