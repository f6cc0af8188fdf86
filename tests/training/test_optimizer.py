"""Which parameters weight decay applies to."""

from __future__ import annotations

import torch
from torch import nn

from glocal.models import create_model
from glocal.training.optimizer import make_optimizer, parameter_groups
from glocal.training.recipe import OptimizerConfig


class Small(nn.Module):
    no_weight_decay = ("token",)

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.table = nn.Parameter(torch.zeros(3, 4))
        self.layer = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.frozen = nn.Parameter(torch.zeros(2, 2), requires_grad=False)


def decays(network: nn.Module, decay: str) -> dict[str, float]:
    names = {id(p): name for name, p in network.named_parameters()}
    groups = parameter_groups(network, decay, 0.1)
    return {names[id(p)]: group["weight_decay"] for group in groups for p in group["params"]}


def test_all_or_matrices() -> None:
    network = Small()
    assert set(decays(network, "all").values()) == {0.1}
    assert decays(network, "matrices") == {
        **{"table": 0.1, "layer.weight": 0.1},
        **{"token": 0.0, "layer.bias": 0.0, "norm.weight": 0.0, "norm.bias": 0.0},
    }
    assert "frozen" not in decays(network, "all")


def test_class_tokens_of_pvt_do_not_decay_alone_or_as_a_backbone() -> None:
    for name in ("pvt_nano", "semantic_fpn_nano"):
        found = decays(create_model(name), "matrices")
        tokens = [value for key, value in found.items() if key.endswith("class_token.token")]
        assert set(tokens) <= {0.0}
        assert bool(tokens) == (name == "pvt_nano")


def test_every_parameter_is_in_one_group() -> None:
    network = create_model("hifuse_micro")
    groups = parameter_groups(network, "matrices", 0.1)
    assert sorted(id(p) for group in groups for p in group["params"]) == sorted(map(id, network.parameters()))


def test_decay_shrinks_only_what_decays() -> None:
    network = Small()
    for p in network.parameters():
        nn.init.ones_(p)
    for name in ("adamw", "sgd"):
        optimizer = make_optimizer(OptimizerConfig(name, 0.1, 0.5, decay="matrices"), network)  # type: ignore[arg-type]
        for p in network.parameters():
            p.grad = torch.zeros_like(p)
        optimizer.step()
    assert bool((network.table < 1).all())
    assert bool((network.norm.weight == 1).all())
    assert bool((network.token == 1).all())
