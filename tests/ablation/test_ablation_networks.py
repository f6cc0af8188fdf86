"""Every row of every ablation as a small network: it trains in all its parts, deploys, and is not another row."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from glocal.ablation import get_ablation
from glocal.ablation.counting import same_options
from glocal.models import deploy, model_info
from glocal.models.network import Network
from glocal.models.registry import build

SMALL = {
    "lmnet_table6": ("lmnet_tiny", 32),
    "lmnet_table8": ("lmnet_tiny", 32),
    "lmnet_table9": ("lmnet_tiny", 32),
    "lmnet_table10": ("lmnet_tiny", 32),
    "hifuse_hff": ("hifuse_micro", 64),
    "hiperformer_fusion": ("hiperformer_tiny", 64),
    "hiperformer_aggregation": ("hiperformer_tiny", 64),
    "spm_pvt_nano": ("pvt_nano", 64),
    "spm_swin_nano": ("swin_nano", 64),
    "dssa_sparsity": ("dssaunet_tiny", 128),
    "star_dssa": ("star_dssaunet_tiny", 64),
}
ROWS = [(name, row.label) for name in SMALL for row in get_ablation(name).rows if row.trained and row.model is None]


def made(name: str, label: str) -> Network:
    """A network with what starts at 0 moved away from it, so that no path is idle."""
    torch.manual_seed(0)
    options = {"num_classes": 3, **get_ablation(name).row(label).arguments}
    network = build(SMALL[name][0], options)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.uniform_(-0.5, 0.5)
    return network


def picture(name: str, batch: int = 1) -> Tensor:
    side = SMALL[name][1]
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(side))


@pytest.mark.parametrize(("name", "label"), ROWS, ids=str)
def test_a_row_trains_in_all_its_parts_and_deploys(name: str, label: str) -> None:
    network = made(name, label)
    outputs = network.training_outputs(picture(name, batch=2))
    torch.stack([logits.square().mean() for logits, _ in outputs]).sum().backward()
    idle = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not idle
    network.eval()
    with torch.no_grad():
        logits = network(picture(name))
        fast = deploy(network)(picture(name))
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(fast, logits, atol=2e-4 * max(1.0, logits.abs().max().item()), rtol=0)


@pytest.mark.parametrize("name", SMALL)
def test_rows_with_the_same_weights_are_different_functions(name: str) -> None:
    """What has no parameters, such as a selection or a shortcut, makes a difference all the same."""
    networks = {label: made(name, label).eval() for ablation, label in ROWS if ablation == name}
    shapes = {label: {key: t.shape for key, t in network.state_dict().items()} for label, network in networks.items()}
    image = picture(name)
    for one, other in itertools.combinations(networks, 2):
        options = [get_ablation(name).row(label).arguments for label in (one, other)]
        if shapes[one] != shapes[other] or same_options(SMALL[name][0], *options):
            continue
        networks[other].load_state_dict(networks[one].state_dict())
        with torch.no_grad():
            assert (networks[one](image) - networks[other](image)).abs().max() > 1e-6, f"{one} and {other} are the same"


def test_small_networks_are_variants_of_those_that_are_declared() -> None:
    for name, (small, _) in SMALL.items():
        assert model_info(small).task == model_info(get_ablation(name).networks[0]).task
