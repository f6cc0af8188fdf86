"""What a profile says is measured is what it measures."""

import pytest
import torch
from torch import nn

import glocal
from glocal.errors import UserError
from glocal.inference.profiling import profile_network
from glocal.models.complexity import complexity


class Stages(nn.Module):
    in_channels = 3

    def __init__(self, repeats=8):
        super().__init__()
        self.light = nn.Conv2d(3, 8, 1)
        self.heavy = nn.Conv2d(8, 8, 7, padding=3)
        self.repeats = repeats

    def forward(self, x):
        x = self.light(x)
        for _ in range(self.repeats):
            x = self.heavy(x)
        return x


@pytest.fixture(scope="module")
def profile():
    return profile_network(Stages(), size=(96, 64), batch=2, runs=5)


def test_counts_are_of_one_image(profile):
    cost = complexity(Stages(), (96, 64))
    assert profile.parameters == cost.parameters == 3 * 8 + 8 + 8 * 8 * 49 + 8
    assert profile.multiply_adds == cost.multiply_adds == 96 * 64 * (3 * 8 + 8 * 8 * 8 * 49)
    assert profile.papers_multiply_adds == cost.papers.multiply_adds


def test_latency_and_throughput_agree(profile):
    latency = profile.latency
    assert 0 < latency.fastest <= latency.first_quartile <= latency.median <= latency.third_quartile
    assert latency.runs == 5
    assert profile.images_per_second == pytest.approx(2 / latency.median)


def test_shares_add_up_and_the_heavy_stage_leads(profile):
    assert [stage.name for stage in profile.stages] == ["light", "heavy", "(other)"]
    assert sum(stage.time_share for stage in profile.stages) == pytest.approx(1, abs=1e-6)
    assert max(profile.stages, key=lambda stage: stage.time_share).name == "heavy"
    assert sum(stage.multiply_adds for stage in profile.stages) == profile.multiply_adds


def test_peak_memory_holds_the_maps_that_live_together():
    image, maps = 4 * 3 * 256 * 256, 4 * 8 * 256 * 256
    memory = profile_network(Stages(), size=(256, 256), runs=1).memory
    assert memory >= image + 2 * maps  # input and output of the heavy stage
    assert memory < image + 6 * maps  # but not all of its nine maps


def test_memory_grows_with_the_batch():
    small, large = (profile_network(Stages(1), size=(128, 128), batch=b, runs=1).memory for b in (1, 4))
    assert 3 < large / small < 4.5


def test_threads_are_as_before():
    before = torch.get_num_threads()
    assert profile_network(Stages(), size=(16, 16), runs=1, threads=1).threads == 1
    assert torch.get_num_threads() == before


def test_progress_ends_at_its_total():
    told = []
    profile_network(Stages(), size=(16, 16), runs=2, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] == len(told)


def test_no_hooks_are_left():
    network = Stages()
    profile_network(network, size=(16, 16), runs=1)
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in network.modules())


def test_a_registered_network_names_its_stages():
    profile = profile_network(glocal.create_model("lmnet_tiny"), size=(32, 32), runs=1)
    assert {"encoder.0", "context", "head"} <= {stage.name for stage in profile.stages}
    assert profile.num_classes == 2


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"device": "gpu"}, "no device 'gpu'"),
        ({"device": "cuda:77"}, "cuda:77"),
        ({"batch": 0}, "--batch"),
        ({"runs": 0}, "--runs"),
        ({"threads": -1}, "--threads"),
        ({"size": (0, 32)}, "--size"),
        ({"size": (999_999, 999_999)}, "--size"),
    ],
    ids=str,
)
def test_bad_requests_are_one_line(options, word):
    with pytest.raises(UserError, match=word) as caught:
        profile_network(Stages(), **{"size": (32, 32), "runs": 1, **options})
    assert "\n" not in str(caught.value)
