"""What every registered network promises. A new network inherits :class:`NetworkContract` and names itself.

The tests run at the smallest size that has every branch of the network in it, so that they cost little.
"""

import copy
import functools
import io
import pickle

import pytest
import torch
from torch import nn

import glocal
from glocal.models.complexity import complexity, count_parameters
from glocal.models.weights import Preprocessing, load_model, save_model

ODD_SIZES = [(33, 47), (16, 16), (17, 80), (1, 1), (70, 3)]


@functools.cache
def made(name: str, open_gates: bool = False, **options) -> nn.Module:
    """The network in eval mode, with running statistics that differ from the initial ones; do not change it."""
    torch.manual_seed(0)
    network = glocal.create_model(name, **options)
    with torch.no_grad():
        for parameter in network.parameters():
            if open_gates and not parameter.any():
                parameter.uniform_(-0.5, 0.5)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.8, 1.2)
                module.bias.normal_(0, 0.1)
    return network.eval()


def on_meta(name: str) -> nn.Module:
    """The network without its numbers: some would fill the memory."""
    with torch.device("meta"):
        return glocal.create_model(name)


def picture(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def forward(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network(x)


def agree(one: torch.Tensor, other: torch.Tensor, tolerance: float = 1e-5) -> None:
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    torch.testing.assert_close(one, other, atol=tolerance * max(1.0, other.abs().max().item()), rtol=0)


class RecordContract:
    """The facts in the record are true."""

    name: str

    @property
    def info(self) -> glocal.ModelInfo:
        return glocal.model_info(self.name)

    def test_record_tells_the_truth_about_cost(self):
        cost = complexity(on_meta(self.name), self.info.input_size)
        assert cost.parameters == self.info.parameters
        assert cost.multiply_adds == self.info.multiply_adds

    def test_record_tells_the_truth_about_shapes(self):
        network = on_meta(self.name)
        assert (network.in_channels, network.num_classes) == (self.info.in_channels, self.info.num_classes)
        assert tuple(f.channels for f in network.feature_info) == self.info.feature_channels
        assert tuple(f.stride for f in network.feature_info) == self.info.feature_strides
        assert len(self.info.mean) == len(self.info.std) == self.info.in_channels
        assert self.info.summary
        assert self.info.paper.url.startswith("https://")


class NetworkContract(RecordContract):
    """Inherit, and set ``name``; the other attributes where the network needs more room or time."""

    size: tuple[int, int] = (32, 48)
    """A cheap size that keeps every part of the network busy."""
    compile_backend = "aot_eager"

    open_gates = False
    """Whether what starts at 0 is moved away from it, so that the paths behind it are not idle."""
    selects = False
    """Whether the network selects by rank. Rounding then decides near ties, and single values differ by much: what
    computes in another order is compared in float64, and float32 with float64 and ONNX in the mean."""

    def make(self, **options) -> nn.Module:
        return made(self.name, open_gates=self.open_gates, **options)

    def comparable(self, what):
        """A network or images, in float64 where the network selects."""
        return copy.deepcopy(what).double() if self.selects else what

    def agree_where_rounding_differs(self, one: torch.Tensor, other: torch.Tensor, tolerance: float) -> None:
        if self.selects:
            one, other = (one - other).abs().mean(), torch.zeros(())
        agree(one, other, tolerance)

    def shape(self, x: torch.Tensor, classes: int) -> tuple[int, ...]:
        return (len(x), classes, *x.shape[-2:]) if self.info.task == "segmentation" else (len(x), classes)

    def image(self, batch: int = 1, channels: int | None = None) -> torch.Tensor:
        return picture(batch, channels or self.info.in_channels, *self.size)

    # Sizes, channels, classes

    @pytest.mark.parametrize("size", ODD_SIZES, ids=str)
    def test_takes_any_size(self, size):
        x = picture(2, self.info.in_channels, *size)
        y = forward(self.make(), x)
        assert tuple(y.shape) == self.shape(x, self.info.num_classes)
        assert torch.isfinite(y).all()

    @pytest.mark.parametrize("channels", [1, 3, 4])
    @pytest.mark.parametrize("classes", [1, 2, 5])
    def test_takes_any_channels_and_gives_any_classes(self, channels, classes):
        x = self.image(channels=channels)
        y = forward(self.make(in_channels=channels, num_classes=classes), x)
        assert tuple(y.shape) == self.shape(x, classes)

    def test_wrong_channels_are_refused_with_the_cure(self):
        with pytest.raises(ValueError, match="in_channels=2"):
            self.make()(picture(1, 2, *self.size))
        with pytest.raises(ValueError, match="takes"):
            self.make()(picture(self.info.in_channels, *self.size))

    @pytest.mark.parametrize("size", ODD_SIZES, ids=str)
    def test_features_are_as_announced_at_any_size(self, size):
        network = glocal.create_model(self.name, features_only=True).eval()
        x = picture(1, self.info.in_channels, *size)
        maps = forward(network, x)
        expected = [(1, f.channels, -(-size[0] // f.stride), -(-size[1] // f.stride)) for f in network.feature_info]
        assert [tuple(m.shape) for m in maps] == expected

    def test_features_hold_what_they_train_and_nothing_else(self):
        features = glocal.create_model(self.name, features_only=True)
        assert features.training
        sum(m.square().mean() for m in features(self.image(batch=2))).backward()
        parameters = dict(features.named_parameters())
        assert parameters
        assert [name for name, p in parameters.items() if p.grad is None] == []

    def test_features_are_those_of_the_whole_network(self):
        network = self.make()
        features = glocal.create_model(self.name, features_only=True).eval()
        features.network.load_state_dict({k: network.state_dict()[k] for k in features.network.state_dict()})
        x = self.image()
        with torch.inference_mode():
            expected = network.forward_features(x)
        forms = {
            "reduced": features,
            "copied": copy.deepcopy(features),
            "pickled": pickle.loads(pickle.dumps(features)),
            "deployed": glocal.deploy(features),
        }
        for form in forms.values():
            for ours, theirs in zip(forward(form, x), expected, strict=True):
                agree(ours, theirs, 1e-4)

    def test_features_are_reduced_alike_on_the_meta_device(self):
        with torch.device("meta"):
            unmade = glocal.create_model(self.name, features_only=True)
        made = glocal.create_model(self.name, features_only=True)
        assert {k: v.shape for k, v in unmade.state_dict().items()} == {
            k: v.shape for k, v in made.state_dict().items()
        }

    def test_reset_head_changes_the_classes_and_nothing_else(self):
        network = copy.deepcopy(self.make())
        before = {k: v.clone() for k, v in network.state_dict().items()}
        classes = self.info.num_classes + 2
        network.reset_head(classes)
        assert tuple(forward(network, self.image()).shape) == self.shape(self.image(), classes)
        assert network.num_classes == classes
        changed = [k for k, v in network.state_dict().items() if v.shape != before[k].shape]
        kept = [k for k in before if k not in changed]
        assert changed
        assert all(torch.equal(network.state_dict()[k], before[k]) for k in kept)
        with pytest.raises(ValueError, match="at least 1"):
            network.reset_head(0)

    def test_no_image_at_all_gives_no_logits(self):
        assert tuple(forward(self.make(), self.image()[:0]).shape) == self.shape(
            self.image()[:0], self.info.num_classes
        )

    # Training

    def test_gradients_reach_every_parameter(self):
        network = copy.deepcopy(self.make()).train()
        torch.manual_seed(0)  # stochastic depth drops the same branches each time
        outputs = network.training_outputs(self.image(batch=2))
        sum(weight * logits.square().mean() for logits, weight in outputs).backward()
        without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
        assert self.without_gradient(without) == []

    def without_gradient(self, names: list[str]) -> list[str]:
        """Override to leave out parameters that the published network does not train either."""
        return names

    def test_a_step_lowers_the_loss(self):
        torch.manual_seed(0)
        network = copy.deepcopy(self.make()).train()
        x = self.image(batch=2)
        target = torch.zeros(len(x), *self.shape(x, 2)[2:], dtype=torch.long)
        optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
        losses = []
        for _ in range(3):
            torch.manual_seed(0)  # the same dropout
            loss = nn.functional.cross_entropy(network(x), target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        assert losses[2] < losses[0]

    # Evaluation

    def test_is_deterministic_and_leaves_its_state_alone(self):
        network, x = self.make(), self.image()
        before = {k: v.clone() for k, v in network.state_dict().items()}
        assert torch.equal(forward(network, x), forward(network, x))
        assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())

    def test_images_of_a_batch_do_not_touch_each_other(self):
        network, x = self.comparable(self.make()), self.comparable(self.image(batch=3))
        x = torch.stack([x[0], 5 * x[1], x[2] - 3])  # what one of them leaks, the others show
        together = forward(network, x)
        for i in range(3):
            agree(together[i : i + 1], forward(network, x[i : i + 1]), 1e-4)

    def test_memory_format_does_not_matter(self):
        network, x = self.comparable(self.make()), self.comparable(self.image(batch=2))
        last = copy.deepcopy(network).to(memory_format=torch.channels_last)
        agree(forward(last, x.contiguous(memory_format=torch.channels_last)), forward(network, x), 1e-4)

    def test_double_precision_agrees(self):
        x = self.image()
        y = forward(copy.deepcopy(self.make()).double(), x.double())
        self.agree_where_rounding_differs(y.float(), forward(self.make(), x), 1e-4)

    def test_runs_under_bf16_autocast(self):
        x = self.image()
        with torch.autocast("cpu", torch.bfloat16):
            y = forward(self.make(), x).float()
        reference = forward(self.make(), x)
        assert torch.isfinite(y).all()
        assert (y - reference).abs().mean() < 0.1 * reference.abs().mean() + 0.02

    # Deployment

    def test_deployed_is_the_same_function(self):
        network = self.comparable(self.make())
        fast = glocal.deploy(network)
        for size in (self.size, (33, 47)):
            x = self.comparable(picture(2, self.info.in_channels, *size))
            agree(forward(fast, x), forward(network, x), 1e-4)
        assert count_parameters(fast) <= count_parameters(network)
        assert {k: v.shape for k, v in network.state_dict().items()} == {
            k: v.shape for k, v in glocal.create_model(self.name).state_dict().items()
        }

    def test_deploying_twice_changes_nothing(self):
        fast = glocal.deploy(self.make())
        again = glocal.deploy(fast)
        assert fast.state_dict().keys() == again.state_dict().keys()
        assert torch.equal(forward(fast, self.image()), forward(again, self.image()))

    # Copies, files

    @pytest.mark.parametrize("deployed", [False, True])
    def test_saved_and_loaded_is_bit_equal(self, tmp_path, deployed):
        network = glocal.deploy(self.make()) if deployed else self.make()
        save_model(
            tmp_path,
            network,
            name=self.name,
            arguments={},
            classes=[str(i) for i in range(self.info.num_classes)],
            task=self.info.task,
            preprocessing=Preprocessing(self.size, self.info.in_channels, self.info.mean, self.info.std),
        )
        loaded = load_model(tmp_path)
        assert torch.equal(forward(loaded.network, self.image()), forward(network, self.image()))

    def test_copies_and_pickles(self):
        expected = forward(self.make(), self.image())
        assert torch.equal(forward(copy.deepcopy(self.make()), self.image()), expected)
        assert torch.equal(forward(pickle.loads(pickle.dumps(self.make())), self.image()), expected)

    # Compilers

    @pytest.mark.slow
    def test_compiles_in_one_graph(self):
        torch.compiler.reset()
        network, x = self.comparable(self.make()), self.comparable(self.image())
        compiled = torch.compile(network, fullgraph=True, backend=self.compile_backend)
        agree(forward(compiled, x), forward(network, x), 1e-4)

    @pytest.mark.slow
    def test_exports(self):
        network = self.comparable(self.make())
        x = self.comparable(picture(2, self.info.in_channels, *(side - 1 for side in self.size)))  # off the grid
        batch = torch.export.Dim("batch", min=1, max=64)
        with torch.no_grad():
            program = torch.export.export(network, (x,), dynamic_shapes=({0: batch},))
        for n in (2, 3):
            agree(forward(program.module(), x[:1].repeat(n, 1, 1, 1)), forward(network, x[:1].repeat(n, 1, 1, 1)))


class OnnxContract(NetworkContract):
    """The whole contract, and ONNX, which takes as long as half of it."""

    @pytest.mark.slow
    def test_onnx_gives_the_same(self):
        runtime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
        x = self.image(batch=2)
        file = io.BytesIO()
        with torch.no_grad():
            torch.onnx.export(self.make(), (x,), dynamo=True, verbose=False).save(file)
        session = runtime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
        (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        self.agree_where_rounding_differs(torch.from_numpy(y), forward(self.make(), x), 1e-4)
