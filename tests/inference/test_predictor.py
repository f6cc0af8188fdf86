"""What a prediction is: computed by hand, for images of any form and size."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import glocal
from glocal.errors import UserError
from glocal.inference import Prediction, Predictor

WEIGHT = np.array([[0.1, 0.1, -0.2], [1.5, -1.0, -0.7], [0.6, 0.8, 0.9]])
BIAS = np.array([0.2, 0.0, -0.3])
MEAN, STD = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.25, 0.3])


def by_hand(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Logits ``(3, H, W)`` of the pixel-wise network, with nothing of ours in between."""
    small = np.asarray(Image.fromarray(rgb).resize(size[::-1], Image.Resampling.BILINEAR))
    logits = np.einsum("kc,hwc->khw", WEIGHT, (small / 255 - MEAN) / STD) + BIAS[:, None, None]
    back = F.interpolate(torch.from_numpy(logits)[None], rgb.shape[:2], mode="bilinear", antialias=True)
    return back[0].numpy()


@pytest.mark.parametrize("shape", [(24, 36), (50, 70), (13, 90), (10, 12), (200, 9)])
def test_a_prediction_is_what_it_says(make_predictor, photograph, shape):
    rgb = photograph(*shape)
    logits = by_hand(rgb, (24, 36))
    prediction = make_predictor()(rgb)
    assert prediction.mask.dtype == np.uint8
    assert prediction.probabilities.dtype == np.float32
    assert prediction.mask.shape == shape
    clear = np.sort(logits, axis=0)[-1] - np.sort(logits, axis=0)[-2] > 1e-4
    assert clear.mean() > 0.99
    assert np.array_equal(prediction.mask[clear], logits.argmax(axis=0)[clear])
    expected = np.exp(logits) / np.exp(logits).sum(axis=0)
    np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-4)


def test_enlarging_is_bilinear_with_pixel_centres(make_predictor):
    """Two pixels enlarged to eight: a ramp between their centres, flat beyond."""
    network = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1))
        network.bias.zero_()
    predictor = make_predictor(network, size=(1, 2), channels=1, classes=("no", "yes"))
    scores = torch.tensor([[[0.0, 0.0]], [[0.0, 4.0]]])
    prediction = Prediction(("no", "yes"), predictor(np.zeros((1, 8), np.uint8)).picture, scores)
    odds = np.log(prediction.probabilities[1] / prediction.probabilities[0])[0]
    np.testing.assert_allclose(odds, [0, 0, 0.5, 1.5, 2.5, 3.5, 4, 4], atol=1e-5)


def test_validation_saw_the_same_pixels(make_predictor, photograph, tmp_path):
    """The network is given what the training cache holds."""
    from glocal.data import open_dataset
    from glocal.data.cache import build_cache

    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for index, shape in enumerate([(50, 70), (24, 36), (100, 20)]):
        Image.fromarray(photograph(*shape, seed=index)).save(tmp_path / "images" / f"{index}.png")
        Image.fromarray(np.eye(*shape, dtype=np.uint8)).save(tmp_path / "masks" / f"{index}.png")
    dataset = open_dataset(tmp_path)
    cached = build_cache(dataset, dataset.cases, (24, 36), 3, in_memory=True)
    seen = []

    class Spy(nn.Conv2d):
        def forward(self, x):
            seen.append(x)
            return super().forward(x)

    predictor = make_predictor(Spy(3, 3, 1))
    list(predictor.predict_many([case.image for case in dataset.cases]))
    for index, x in enumerate(seen):
        unit = cached[index]["image"].float() / cached.scale
        expected = (unit - torch.tensor(MEAN).float().view(3, 1, 1)) / torch.tensor(STD).float().view(3, 1, 1)
        torch.testing.assert_close(x[0], expected, atol=1e-6, rtol=0)


@pytest.fixture(scope="module")
def lmnet(tiny):
    return Predictor.load(tiny, device="cpu")


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (2, 3), (33, 47), (32, 32), (90, 31)])
@pytest.mark.parametrize("tiling", ["auto", "always"])
def test_any_size(lmnet, photograph, shape, tiling):
    prediction = lmnet(photograph(*shape), tiling=tiling)
    assert prediction.mask.shape == prediction.size == shape
    assert prediction.probabilities.shape == (2, *shape)
    np.testing.assert_allclose(prediction.probabilities.sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(prediction.probabilities.argmax(axis=0), prediction.mask)


def test_every_form_of_an_image_gives_the_same(lmnet, photograph, tmp_path):
    rgb = photograph(40, 60)
    path = tmp_path / "a b ü.png"
    Image.fromarray(rgb).save(path)
    unit = rgb.astype(np.float32) / 255
    forms = {
        "text": str(path),
        "path": path,
        "opened": Image.open(path),
        "pillow": Image.fromarray(rgb),
        "array": rgb,
        "float array": unit,
        "double array": unit.astype(np.float64),
        "big-endian": (rgb.astype(np.uint16) * 257).astype(">u2"),
        "strided": np.repeat(rgb, 2, axis=0)[::2],
        "16 bits": rgb.astype(np.uint16) * 257,
        "tensor": torch.from_numpy(rgb).permute(2, 0, 1),
        "float tensor": torch.from_numpy(unit).permute(2, 0, 1).requires_grad_(),
    }
    expected = lmnet(path).probabilities
    for name, form in forms.items():
        tolerance = 0.02 if form is forms["16 bits"] or form is forms["big-endian"] else 0  # resized with finer steps
        np.testing.assert_allclose(lmnet(form).probabilities, expected, atol=tolerance, err_msg=name)


def test_grey_comes_with_and_without_an_axis(make_predictor):
    grey = np.arange(40 * 50).reshape(40, 50).astype(np.uint8)
    predictor = make_predictor()
    expected = predictor(np.stack([grey] * 3, axis=2))
    assert expected.notes == ("seen at 24x36",)
    for form in (grey, grey[:, :, None], torch.from_numpy(grey), torch.from_numpy(grey)[None], Image.fromarray(grey)):
        prediction = predictor(form)
        assert np.array_equal(prediction.mask, expected.mask)
        assert prediction.notes == ("grey repeated to RGB", "seen at 24x36")
    one_channel = make_predictor(channels=1)
    assert one_channel(grey).notes == ("seen at 24x36",)
    assert one_channel(np.stack([grey] * 3, axis=2)).notes == ("colour reduced to grey", "seen at 24x36")


def test_booleans_and_fine_floats_say_how_they_are_taken(make_predictor):
    predictor = make_predictor(channels=1)
    mask = np.eye(24, 36, dtype=bool)
    assert np.array_equal(predictor(mask).mask, predictor(mask * np.uint8(255)).mask)
    assert predictor(mask).notes == ("true and false read as 255 and 0",)
    assert predictor(np.random.default_rng(0).random((24, 36))).notes == ("floating point kept to 16 bits",)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 5, 2), np.uint8), "(4, 5, 2)"),
        (np.zeros((4, 5, 4), np.uint8), "1 or 3 channels"),
        (np.zeros((3, 40, 50), np.uint8), "(H, W, C)"),
        (torch.zeros(40, 50, 3), "(C, H, W)"),
        (torch.zeros(1, 3, 40, 50), "(1, 3, 40, 50)"),
        (np.zeros((0, 5), np.uint8), "(0, 5)"),
        (np.zeros((4, 5), np.int64), "int64"),
        (np.zeros((4, 5), complex), "complex"),
        (np.full((4, 5), -0.5), "-0.5"),
        (np.full((4, 5), 255.0), "255"),
        (np.full((4, 5), np.nan), "20 of 20"),
        (torch.full((4, 5), float("inf")), "infinite"),
    ],
)
def test_unusable_arrays_are_refused_in_one_line(make_predictor, image, words):
    with pytest.raises(UserError) as error:
        make_predictor()(image)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_something_else_is_a_mistake_of_the_program(make_predictor):
    with pytest.raises(TypeError, match="not list"):
        make_predictor()([[0, 1]])


def test_batches_change_nothing(lmnet, photograph):
    images = [photograph(20 + 7 * index, 50 - 3 * index, seed=index) for index in range(7)]
    single = [lmnet(image) for image in images]
    for batch_size in (None, 1, 3, 100):
        together = list(lmnet.predict_many(images, batch_size=batch_size))
        assert len(together) == len(single)
        for one, other in zip(single, together, strict=True):
            np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
            assert one.notes == other.notes


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_windows_errors_and_whole_images_keep_their_order(lmnet, photograph, batch_size, tmp_path):
    images = [photograph(*shape) for shape in [(20, 20), (70, 40), (32, 32)]]
    mixed = [images[0], tmp_path / "gone", images[1], images[2], tmp_path / "lost", images[0]]
    outcomes = list(lmnet.outcomes(mixed, batch_size=batch_size, tiling="always"))
    kinds = [str(o).partition(": ")[0] if isinstance(o, UserError) else o.mask.shape for o in outcomes]
    assert kinds == [(20, 20), str(mixed[1]), (70, 40), (32, 32), str(mixed[4]), (20, 20)]
    with pytest.raises(UserError, match="gone"):
        list(lmnet.predict_many(mixed))


def test_images_are_taken_as_they_are_needed(lmnet, photograph):
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield photograph(8, 8)

    predictions = lmnet.predict_many(endless())
    next(predictions)
    predictions.close()
    assert len(taken) < 10


def test_deployed_is_equal(tiny, photograph):
    plain, merged = (Predictor.load(tiny, device="cpu", deploy=deploy) for deploy in (False, True))
    rgb = photograph(32, 32)
    torch.testing.assert_close(plain(rgb).scores, merged(rgb).scores, atol=1e-4, rtol=0)
    assert sum(p.numel() for p in merged.network.parameters()) < sum(p.numel() for p in plain.network.parameters())


def test_the_whole_public_way_from_a_run(tiny, photograph, tmp_path):
    shutil.copytree(tiny, tmp_path / "run" / "model")
    (tmp_path / "run" / "manifest.json").write_text("{}")
    rgb = photograph(30, 40)
    masks = [
        glocal.load(source, device="cpu")(rgb).mask
        for source in (tiny, tmp_path / "run", str(tmp_path / "run" / "model"))
    ]
    assert np.array_equal(masks[0], masks[1])
    assert np.array_equal(masks[0], masks[2])


class Mischief:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_models_that_cannot_be_used(tiny, tmp_path, make_predictor):
    def refused(source, **options) -> str:
        with pytest.raises(UserError) as error:
            glocal.load(source, **options)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "no such run or model folder" in refused("user/some-model")
    unfinished = tmp_path / "run"
    unfinished.mkdir()
    (unfinished / "manifest.json").write_text("{}")
    assert f"glocal train --resume {unfinished}" in refused(unfinished)
    assert "no model in this folder" in refused(tmp_path)
    for name, content in {"model.safetensors": b"\0" * 99, "model.json": b"{"}.items():
        broken = tmp_path / name
        shutil.copytree(tiny, broken)
        (broken / name).write_bytes(content)
        assert name in refused(broken)
    (tmp_path / "x.pth").write_bytes(pickle.dumps(Mischief(str(tmp_path / "executed"))))
    assert "x.pth" in refused(tmp_path / "x.pth")
    assert not (tmp_path / "executed").exists()
    assert "no device 'gpu'" in refused(tiny, device="gpu")
    assert "is not there" in refused(tiny, device="cuda:99")
    assert "at least 1" in refused(tiny, threads=0)
    with pytest.raises(UserError, match="classification"):
        make_predictor(task="classification")


@pytest.mark.parametrize("option", [{"tta": "sideways"}, {"tiling": "sometimes"}, {"batch_size": 0}])
def test_unknown_options_are_refused_before_anything_is_read(lmnet, option, tmp_path):
    with pytest.raises(UserError, match=str(next(iter(option.values())))):
        lmnet.outcomes([tmp_path], **option)


def test_prediction_leaves_the_arithmetic_of_the_process_alone(make_predictor, photograph):
    """Denormal numbers count as 0 inside the network alone."""
    tiny = torch.tensor(torch.finfo(torch.float64).tiny, dtype=torch.float64)
    make_predictor()(photograph(24, 36))
    assert float(tiny / 2) > 0.0
