"""What a classification is: computed by hand, for images of any form and size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import expit, softmax
from torch import nn

import glocal
from glocal.errors import UserError
from glocal.inference import Classification, Classifier, Predictor
from glocal.models.record import ModelRecord, Preprocessing

WEIGHT = np.array([[1.0, 0.2, -0.5], [0.3, -1.0, 0.7], [-0.4, 0.9, 0.1], [0.0, 0.1, 0.2]])
BIAS = np.array([0.1, 0.0, -0.2, 0.05])
MEAN, STD = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.25, 0.3])
CLASSES = ("benign", "malignant", "normal", "cyst")


class Corner(nn.Module):
    """Logits from the mean of the top left quarter, so that a mirrored image gives others."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 4)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor(WEIGHT))
            self.head.bias.copy_(torch.tensor(BIAS))

    def forward(self, x):
        return self.head(x[..., : x.shape[-2] // 2, : x.shape[-1] // 2].mean((-2, -1)))


def by_hand(rgb: np.ndarray, size: tuple[int, int] = (24, 36)) -> np.ndarray:
    """Logits ``(4,)`` with nothing of ours in between."""
    small = np.asarray(Image.fromarray(rgb).resize(size[::-1], Image.Resampling.BILINEAR)) / 255
    quarter = small[: size[0] // 2, : size[1] // 2].mean((0, 1))
    return WEIGHT @ ((quarter - MEAN) / STD) + BIAS


def make(mode="resize", manifest=None, **options) -> Classifier:
    steps = Preprocessing((24, 36), 3, tuple(MEAN), tuple(STD), mode)
    record = ModelRecord("corner", {}, CLASSES, "classification", steps, manifest=manifest or {}, **options)
    return Classifier(Corner(), record, device="cpu")


@pytest.mark.parametrize("shape", [(24, 36), (50, 70), (13, 90), (1, 1), (200, 9)])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_a_classification_is_what_it_says(photograph, shape, temperature):
    rgb = photograph(*shape)
    answer = make(temperature=temperature)(rgb)
    expected = softmax(by_hand(rgb) / temperature)
    assert answer.probabilities.dtype == np.float32
    np.testing.assert_allclose(answer.probabilities, expected, atol=1e-5)
    assert answer.prediction == CLASSES[expected.argmax()]
    assert answer.probability == pytest.approx(expected.max(), abs=1e-5)
    assert answer.size == shape
    ranked = answer.top(3)
    assert [name for name, _ in ranked] == [CLASSES[index] for index in np.argsort(-expected)[:3]]
    assert ranked[0] == (answer.prediction, answer.probability)
    assert len(answer.top(99)) == 4


def test_several_classes_may_be_there_or_none(photograph):
    rgb = photograph(24, 36)
    answer = make(temperature=0.5, multi_label=True)(rgb)
    expected = expit(by_hand(rgb) / 0.5)
    np.testing.assert_allclose(answer.probabilities, expected, atol=1e-5)
    assert answer.prediction == tuple(name for name, p in zip(CLASSES, expected, strict=True) if p >= 0.5)
    picture = answer.picture
    exactly = Classification(CLASSES, picture, torch.tensor([0.0, -0.1, 3.0, -9.0]), multi_label=True)
    assert exactly.prediction == ("benign", "normal")
    assert Classification(CLASSES, picture, torch.full((4,), -1.0), multi_label=True).prediction == ()


def test_of_equal_classes_the_first_is_predicted(photograph):
    answer = Classification(CLASSES, make()(photograph(5, 5)).picture, torch.tensor([0.0, 2.0, 2.0, 2.0]))
    assert answer.prediction == "malignant"
    assert [name for name, _ in answer.top(3)] == ["malignant", "normal", "cyst"]
    with pytest.raises(UserError, match="1 or more"):
        answer.top(0)


def test_confident_logits_do_not_overflow(photograph):
    answer = Classification(CLASSES, make()(photograph(5, 5)).picture, torch.tensor([3e4, -3e4, 0.0, 1.0]))
    assert answer.probabilities.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("multi_label", [False, True])
def test_views_average_probabilities(photograph, multi_label):
    """And the logits stand for that average, with the temperature in them, so that an evaluation may use them."""
    rgb, temperature = photograph(24, 36), 1.7
    flips = [rgb, rgb[:, ::-1], rgb[::-1], rgb[::-1, ::-1]]
    answer = make(temperature=temperature, multi_label=multi_label)(rgb, tta="flips")
    to_probability = expit if multi_label else softmax
    expected = np.mean([to_probability(by_hand(np.ascontiguousarray(f)) / temperature) for f in flips], axis=0)
    np.testing.assert_allclose(answer.probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(to_probability(answer.logits.numpy() / temperature), expected, atol=1e-5)
    assert answer.notes == ("averaged over 4 views",)


def test_views_are_those_that_training_had(photograph):
    rgb = photograph(24, 36)
    mirrored = make(manifest={"flips": ["horizontal"]})(rgb, tta=True)
    expected = np.mean([softmax(by_hand(np.ascontiguousarray(side))) for side in (rgb, rgb[:, ::-1])], axis=0)
    np.testing.assert_allclose(mirrored.probabilities, expected, atol=1e-5)
    with pytest.raises(UserError, match="without flips"):
        make(manifest={"flips": []})(rgb, tta=True)


def test_images_are_never_cut(photograph):
    rgb = photograph(100, 90)
    for mode in ("resize", "window"):
        np.testing.assert_allclose(make(mode)(rgb).logits, by_hand(rgb), atol=1e-4)
    np.testing.assert_allclose(make()(rgb, tiling="never").logits, by_hand(rgb), atol=1e-4)
    with pytest.raises(UserError, match="whole images") as error:
        make()(rgb, tiling="always")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="sometimes"):
        make().outcomes([rgb], tiling="sometimes")


@pytest.mark.parametrize("batch_size", [None, 1, 3, 100])
def test_batches_and_errors_keep_their_order(photograph, batch_size, tmp_path):
    images = [photograph(20 + 7 * index, 50 - 3 * index, seed=index) for index in range(5)]
    mixed = [images[0], tmp_path / "gone", *images[1:], np.zeros((4, 5, 2), np.uint8)]
    outcomes = list(make().outcomes(mixed, batch_size=batch_size))
    assert isinstance(outcomes[1], UserError)
    assert isinstance(outcomes[-1], UserError)
    good = [one for one in outcomes if isinstance(one, Classification)]
    for answer, rgb in zip(good, images, strict=True):
        np.testing.assert_allclose(answer.logits, by_hand(rgb), atol=1e-4)
    with pytest.raises(UserError, match="gone"):
        list(make().predict_many(mixed))


def test_each_task_has_its_class(photograph):
    steps = Preprocessing((24, 36), 3, tuple(MEAN), tuple(STD))
    with pytest.raises(UserError, match=r"corner was trained for classification.*glocal\.load"):
        Predictor(Corner(), make().record, device="cpu")
    with pytest.raises(UserError, match="trained for segmentation"):
        Classifier(Corner(), ModelRecord("corner", {}, CLASSES, "segmentation", steps), device="cpu")


def test_load_tells_the_task_by_the_model(tiny):
    assert isinstance(glocal.load(tiny, device="cpu"), Predictor)
    with pytest.raises(UserError, match="trained for segmentation"):
        Classifier.load(tiny, device="cpu")


def test_a_class_is_there_from_logit_0_on_however_little_that_says():
    """As the evaluation has it; in float32 both probabilities are 0.5."""
    picture = make()(np.zeros((8, 8, 3), np.uint8)).picture
    answer = Classification(CLASSES[:2], picture, torch.tensor([-1e-7, 0.0]), 100.0, multi_label=True)
    assert answer.prediction == ("malignant",)
