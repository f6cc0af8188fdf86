"""What a map of an explanation means, where it is known in closed form; and that it exists for every network."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import glocal
from glocal.errors import UserError
from glocal.inference import Classifier, Predictor, explain, explain_classes
from glocal.inference.explanation.files import explain_files
from glocal.models.network import FeatureInfo, Network, SegmentationNetwork
from glocal.models.record import ModelRecord, Preprocessing

CLASSES = ("a", "b", "c")
WEIGHT = torch.tensor([[2.0, -1.0, 0.0, 0.5], [-1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 3.0, -0.5]])
STRIDE = 4


class Linear(Network):
    """Four channels, each a corner of the image where the colour is red; then mean and linear: CAM by definition."""

    def __init__(self) -> None:
        super().__init__()
        self.in_channels, self.num_classes, self.grid = 3, 3, STRIDE
        self.feature_info = (FeatureInfo(4, STRIDE),)
        self.weight, self.bias = nn.Parameter(WEIGHT.clone()), nn.Parameter(torch.zeros(3))

    def encode(self, x):
        red = nn.functional.avg_pool2d(x[:, :1], STRIDE)
        height, width = red.shape[2:]
        masks = torch.zeros(4, height, width)
        for index, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
            masks[index, row * height // 2 :, column * width // 2 :] = 1
            masks[index, (row + 1) * height // 2 :] = 0
            masks[index, :, (column + 1) * width // 2 :] = 0
        return [red * masks]

    def decode(self, features):
        return features[-1].mean((2, 3)) @ self.weight.T + self.bias

    def reset_head(self, num_classes):
        raise AssertionError


class Pixels(SegmentationNetwork):
    """Two classes: what is red is class 1, seen at half the size."""

    def __init__(self) -> None:
        super().__init__()
        self.in_channels, self.num_classes, self.grid = 3, 2, STRIDE
        self.feature_info = (FeatureInfo(3, 2),)
        self.scale = nn.Parameter(torch.tensor(4.0))

    def encode(self, x):
        return [nn.functional.avg_pool2d(x, 2)]

    def decode(self, features):
        red = self.scale * nn.functional.interpolate(features[0][:, :1], scale_factor=2)
        return torch.cat([torch.full_like(red, 2.0), red], 1)

    def reset_head(self, num_classes):
        raise AssertionError


def record(task="classification", size=(32, 48), classes=CLASSES, mode="resize", **options) -> ModelRecord:
    return ModelRecord("known", {}, classes, task, Preprocessing(size, 3, (0.0,) * 3, (1.0,) * 3, mode), **options)


def classifier(network: Network | None = None, **options) -> Classifier:
    return Classifier(network or Linear(), record(**options), device="cpu", deploy=False)


def segmenter(**options) -> Predictor:
    about = record("segmentation", classes=("background", "red"), **options)
    return Predictor(Pixels(), about, device="cpu", deploy=False)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)


METHODS = ("gradcam", "ablation")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", CLASSES)
def test_of_a_linear_head_the_map_is_cam(image, method, target):
    """Zhou et al. (CVPR 2016): the sum of the channels, weighted by the head; what speaks against the class is 0."""
    features = Linear().encode(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[0]
    by_hand = (WEIGHT[CLASSES.index(target)][:, None, None] * features[0]).sum(0).relu()
    by_hand = nn.functional.interpolate(by_hand[None, None], (32, 48), mode="bilinear")[0, 0].numpy()
    found = explain(classifier(), image, target=target, method=method)
    assert found.map.dtype == np.float32
    assert found.map.shape == (32, 48)
    if method == "gradcam":
        np.testing.assert_allclose(found.map, by_hand / by_hand.max(), atol=1e-5)
    else:  # columns of the map are removed in pairs or alone
        np.testing.assert_allclose(found.map[:, ::6].mean(), by_hand[:, ::6].mean() / by_hand.max(), rtol=0.35)


def test_of_a_small_map_every_pixel_is_removed_alone(image):
    small = np.ascontiguousarray(image[:32, :32])
    maps = [explain(classifier(size=(32, 32)), small, target="a", method=method).map for method in METHODS]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_where_nothing_is_nothing_is_shown(method):
    """Class c sees the bottom left corner alone."""
    image = np.full((32, 48, 3), 200, np.uint8)
    strength = explain(classifier(), image, target="c", method=method).map
    assert strength[16 + STRIDE :, : 24 - 2 * STRIDE].min() > 0.99
    assert not strength[: 16 - STRIDE].any()
    assert not strength[:, 24 + 2 * STRIDE :].any()


@pytest.mark.parametrize("method", METHODS)
def test_a_score_that_falls_everywhere_gives_an_empty_map_and_says_so(method):
    image = np.zeros((32, 48, 3), np.uint8)
    image[:16, :24] = 255
    found = explain(classifier(), image, target="b", method=method)
    assert not found.map.any()
    assert "nothing in map -1 speaks for b by itself" in found.notes


@pytest.mark.parametrize("method", METHODS)
def test_other_classes_do_not_matter(image, method):
    changed = Linear()
    with torch.no_grad():
        changed.bias.add_(torch.tensor([0.0, 7.0, -3.0]))
    one, other = (explain(classifier(network), image, target="a", method=method) for network in (None, changed))
    np.testing.assert_allclose(one.map, other.map, atol=1e-6)
    assert one.probability > other.probability


def test_the_predicted_class_is_explained(image):
    answer = classifier(temperature=2.0)(image)
    found = explain(classifier(temperature=2.0), image)
    assert found.target == answer.prediction
    assert found.probability == pytest.approx(answer.probability, abs=1e-6)


def test_several_predicted_classes_are_explained(image):
    found = explain_classes(classifier(multi_label=True), image)
    assert {one.target: one.probability for one in found} == pytest.approx(
        {name: p for name, p in classifier(multi_label=True)(image).top(3) if p >= 0.5}
    )
    low = Linear()
    with torch.no_grad():
        low.bias.sub_(50)
    assert len(explain_classes(classifier(low, multi_label=True), image)) == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_segmentation_is_explained_where_its_class_is(method):
    image = np.zeros((32, 48, 3), np.uint8)
    image[8:24, 8:16] = (255, 0, 0)
    found = explain(segmenter(), image, method=method)
    assert found.target == "red"
    assert found.probability == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-4)
    assert found.map[10:22, 10:14].min() > 0.7
    assert not found.map[:4].any()
    assert not found.map[:, 22:].any()


def test_a_class_that_is_not_there(image):
    black = np.zeros((32, 48, 3), np.uint8)
    assert explain_classes(segmenter(), black) == []
    with pytest.raises(UserError, match="name the class"):
        explain(segmenter(), black)
    found = explain(segmenter(), black, target="red")
    assert any("no pixel is predicted as red" in note for note in found.notes)


def test_files_of_images_without_a_class_are_not_written(tmp_path):
    black, red = np.zeros((32, 48, 3), np.uint8), np.full((32, 48, 3), (255, 0, 0), np.uint8)
    outputs = {}
    for name, pixels in {"black": black, "red": red}.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        outputs[tmp_path / "out" / f"{name}.png"] = tmp_path / f"{name}.png"
    results = list(explain_files(segmenter(), outputs))
    assert [result.output is None for result in results] == [True, False]
    assert "nothing but background: no class to explain" in results[0].notes
    assert [name for name, _ in results[1].classes] == ["red"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["red.png"]


@pytest.mark.parametrize("shape", [(1, 1), (32, 48), (7, 200), (50, 31), (300, 3)])
def test_a_map_has_the_size_of_its_image(photograph, shape):
    for predictor in (classifier(), classifier(size=(30, 45)), segmenter()):
        for method in METHODS:
            found = explain(predictor, photograph(*shape), target=predictor.classes[1], method=method)
            assert found.map.shape == found.size == shape
            assert found.map.min() >= 0
            assert found.map.max() in (0, pytest.approx(1))


def test_padding_is_cut_off():
    """An image that is not on the grid: what is at its right end stays there."""
    image = np.zeros((32, 46, 3), np.uint8)
    image[:16, 40:] = 255
    strength = explain(classifier(size=(32, 46)), image, target="a").map
    assert not strength.any()  # class a speaks of the top left
    strength = explain(segmenter(size=(32, 46)), np.ascontiguousarray(image * np.array([1, 0, 0], np.uint8))).map
    assert strength[4:12, 42:].min() > 0.7
    assert not strength[:, :36].any()


def test_a_large_image_of_a_network_of_windows_is_seen_at_its_own_size():
    image = np.zeros((64, 96, 3), np.uint8)
    image[8:24, 8:12] = (255, 0, 0)
    found = explain(segmenter(mode="window"), image)
    assert "seen whole at its own size" in found.notes
    assert not any("windows" in note for note in found.notes)
    assert found.map[12:20, 9:11].min() > 0.7


@pytest.mark.parametrize("inference_mode", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_the_network_is_left_as_it_was(image, method, inference_mode):
    predictor = classifier()
    network = predictor.network
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.weight.requires_grad_(False)
    with torch.inference_mode(inference_mode):
        first, again = (explain(predictor, image, method=method) for _ in range(2))
        assert torch.is_inference_mode_enabled() is inference_mode
    assert np.array_equal(first.map, again.map)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert [parameter.requires_grad for parameter in network.parameters()] == [False, True]
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.training


def smallest() -> list[str]:
    infos = sorted((glocal.model_info(name) for name in glocal.list_models()), key=lambda info: -info.parameters)
    return sorted({info.family: info.name for info in infos}.values())


@pytest.mark.parametrize("name", smallest())
def test_every_network_is_explained(name, photograph):
    torch.manual_seed(0)
    info = glocal.model_info(name)
    network = glocal.create_model(name, num_classes=3)
    about = ModelRecord(name, {}, CLASSES, info.task, Preprocessing((64, 64), 3, info.mean, info.std))
    kind = Classifier if info.task == "classification" else Predictor
    whole, deployed = (kind(copy.deepcopy(network), about, device="cpu", deploy=deploy) for deploy in (False, True))
    picture = photograph(50, 70)
    for method in METHODS:
        found = explain(whole, picture, target="b", method=method)
        assert found.map.shape == (50, 70)
        assert np.isfinite(found.map).all()
        assert np.array_equal(found.map, explain(whole, picture, target="b", method=method).map)
        np.testing.assert_allclose(explain(deployed, picture, target="b", method=method).map, found.map, atol=0.02)


def test_an_untrained_network_looks_somewhere(photograph):
    """The maps are not empty everywhere, and other classes have other maps."""
    torch.manual_seed(0)
    about = ModelRecord("hifuse_micro", {}, CLASSES, "classification", record(size=(64, 64)).preprocessing)
    predictor = Classifier(glocal.create_model("hifuse_micro", num_classes=3), about, device="cpu", deploy=False)
    for level in (-1, 0):
        maps = [explain(predictor, photograph(64, 64), target=name, level=level).map for name in CLASSES]
        assert sum(strength.any() for strength in maps) >= 2
        assert not np.allclose(maps[0], maps[1])


def test_one_branch_alone(photograph):
    """The local and the global maps of HiFuse lead to other explanations than the fused ones."""
    torch.manual_seed(0)
    about = ModelRecord("hifuse_micro", {}, CLASSES, "classification", record(size=(64, 64)).preprocessing)
    predictor = Classifier(glocal.create_model("hifuse_micro", num_classes=3), about, device="cpu", deploy=False)
    picture = photograph(64, 64)
    for method in METHODS:
        found = [
            explain(predictor, picture, target="b", maps=maps, method=method) for maps in ("fused", "local", "global")
        ]
        assert len({one.map.tobytes() for one in found}) == 3
        assert len({round(one.probability, 5) for one in found}) == 1
    with pytest.raises(UserError, match="no local branch"):
        explain(classifier(), picture, maps="local")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "B"}, "no class 'B'"),
        ({"target": "bb"}, "Did you mean 'b'"),
        ({"method": "gradcan"}, "Did you mean 'gradcam'"),
        ({"level": 1}, "it has 0 of 8x12"),
        ({"level": -2}, "no map -2"),
        ({"maps": "locals"}, "Did you mean 'local'"),
    ],
)
def test_wrong_words_are_refused_in_one_line(image, options, words):
    with pytest.raises(UserError, match=words) as error:
        explain(classifier(), image, **options)
    assert "\n" not in str(error.value)


def test_a_map_that_the_decoder_does_not_use(photograph):
    """That of HiFuse uses the deepest one alone; rounding is not taken for an influence."""
    torch.manual_seed(0)
    about = ModelRecord("hifuse_micro", {}, CLASSES, "classification", record(size=(64, 64)).preprocessing)
    predictor = Classifier(glocal.create_model("hifuse_micro", num_classes=3), about, device="cpu", deploy=False)
    found = explain(predictor, photograph(64, 64), level=0, method="ablation")
    assert not found.map.any()
    assert any("nothing in map 0 speaks for" in note for note in found.notes)


def test_a_module_without_maps_is_refused(image):
    predictor = Classifier(nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), record(), device="cpu", deploy=False)
    with pytest.raises(UserError, match="no encode and decode"):
        explain(predictor, image)


def test_pictures(image, tmp_path):
    found = explain(classifier(), image, target="c")
    overlay = np.asarray(found.overlay()).astype(int)
    assert overlay.shape == image.shape
    assert np.array_equal(overlay[found.map == 0], image[found.map == 0])
    assert (overlay[found.map > 0.5] != image[found.map > 0.5]).any(axis=1).mean() > 0.95
    assert np.array_equal(np.asarray(found.overlay(0.0)), image)
    found.save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as drawn:
        assert drawn.width > 2 * drawn.height
    found.save_map(tmp_path / "x.npy")
    assert np.array_equal(np.load(tmp_path / "x.npy"), found.map)
    found.save_map(tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as grey:
        np.testing.assert_allclose(np.asarray(grey) / 65535, found.map, atol=1e-5)
    for write, name in ((found.save, "x.jpg"), (found.save_map, "x.tif")):
        with pytest.raises(UserError, match=r"\.png"):
            write(tmp_path / name)
    for alpha in (-0.1, 1.5, float("nan")):
        with pytest.raises(UserError, match="between 0 and 1"):
            found.overlay(alpha)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.png", "x.npy", "x.png"]


def test_a_map_of_one_pixel_says_that_it_cannot_tell_where(photograph):
    about = ModelRecord("hifuse_micro", {}, CLASSES, "classification", record(size=(32, 32)).preprocessing)
    predictor = Classifier(glocal.create_model("hifuse_micro", num_classes=3), about, device="cpu", deploy=False)
    said = {level: explain(predictor, photograph(32, 32), target="b", level=level).notes for level in (-1, 0)}
    assert "map -1 is one pixel: it cannot say where" in said[-1]
    assert not any("one pixel" in note for note in said[0])
