"""Training on slices: intensity from the training part, neighbours as channels, the same in prediction, 3-D numbers."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from glocal.data import open_dataset
from glocal.data.cache import build_cache
from glocal.data.intensity import Intensity
from glocal.data.volumes import open_volume, read_labels
from glocal.errors import UserError
from glocal.inference import Predictor, evaluate_run
from glocal.inference.mask_scoring import evaluate_masks
from glocal.inference.volumes.predicting import predict_volume
from glocal.inference.volumes.slices import choose_viewing
from glocal.training import load_recipe, resume, train
from glocal.training.augment import Augment
from glocal.training.augment_config import AugmentConfig, ColorJitterConfig, FlipConfig, OneOfConfig, RandAugmentConfig
from glocal.training.build import normalisation
from glocal.training.module import SegmentationTraining
from glocal.training.recipe import DataConfig, IntensityConfig
from glocal.training.sampling import balancing_weights
from glocal.training.volumes import choose_intensity

SHAPE = (6, 24, 20)
AFFINE = np.diag([1.0, 1.0, 2.5, 1.0])
SETTINGS = {
    "model": "lmnet_tiny",
    "data.size": (32, 32),
    "data.fractions": (0.5, 0.25, 0.25),
    "train.epochs": 2,
    "train.batch_size": 4,
    "train.device": "cpu",
}


def volumes(root: Path, count: int = 4, air: float = 0.0, kind: type = np.int16) -> Path:
    """A bright block in each, at another place; ``air`` is subtracted from the surroundings."""
    random = np.random.default_rng(0)
    for index in range(count):
        mask = np.zeros(SHAPE, np.uint8)
        row, column = random.integers(2, 10, 2)
        mask[1:4, row : row + 9, column : column + 7] = 1
        image = random.normal(40, 5, SHAPE) + 100 * mask - air * (mask == 0)
        for folder, values in (("images", image.astype(kind)), ("masks", mask)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            nibabel.save(
                nibabel.Nifti1Image(np.ascontiguousarray(values.T), AFFINE), root / folder / f"v{index}.nii.gz"
            )
    return root


def chosen(root: Path, ids: list[str] | None = None, **asked: object) -> Intensity:
    dataset = open_dataset(root)
    ids = ids or [case.id for case in dataset.cases]
    return choose_intensity(dataset, ids, DataConfig(intensity=IntensityConfig(**asked)))


def test_auto_is_a_window_about_the_structures_for_ct(tmp_path: Path) -> None:
    root = volumes(tmp_path, air=1000)
    dataset = open_dataset(root)
    assert dataset.encoding is not None
    inside = np.concatenate(
        [
            open_volume(v.image).load().values[dataset.volumes.labels(v.id, dataset.encoding) > 0]
            for v in dataset.volumes.volumes.values()
        ]
    )
    low, high = np.percentile(inside, [0.5, 99.5])
    assert chosen(root) == Intensity("window", np.floor(low), np.ceil(high))


def test_auto_is_percentiles_of_each_volume_for_mr_and_nothing_for_bytes(tmp_path: Path) -> None:
    assert chosen(volumes(tmp_path / "mr")) == Intensity("percentiles", 0.5, 99.5)
    assert chosen(volumes(tmp_path / "bytes", kind=np.uint8)) == Intensity("full")
    assert chosen(tmp_path / "mr", kind="window", low=-1, high=1) == Intensity("window", -1, 1)


def test_auto_looks_at_training_volumes_alone(tmp_path: Path) -> None:
    root = volumes(tmp_path, air=1000)
    ids = [f"v{index}#000" for index in (0, 1, 2)]
    before = chosen(root, ids)
    extreme = np.full(SHAPE, 3000, np.int16)
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(extreme.T), AFFINE), root / "images/v3.nii.gz")
    assert chosen(root, ids) == before
    assert chosen(root) != before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data.neighbours": 2}, "data.neighbours is 2; it must be odd"),
        ({"data.neighbours": 3, "data.channels": 3}, "each slice is a channel"),
        ({"data.intensity.kind": "window"}, "data.intensity window needs a low below its high"),
        ({"data.intensity.low": 3.0}, "its kind is auto"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe("default", settings)


def test_settings_of_volumes_are_refused_for_pictures(tmp_path: Path) -> None:
    from PIL import Image

    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for index in range(4):
            Image.fromarray(np.eye(20, dtype=np.uint8) * 255).save(tmp_path / folder / f"{index}.png")
    for settings in ({"data.neighbours": 3}, {"data.intensity.kind": "zscore"}):
        with pytest.raises(UserError, match=r"is for volumes, and .* holds pictures"):
            train(tmp_path, load_recipe("default", {**SETTINGS, **settings}), tmp_path / "run")


def test_training_refuses_a_volume_off_its_mask(tmp_path: Path) -> None:
    root = volumes(tmp_path / "data")
    mask = nibabel.load(root / "masks/v2.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.asarray(mask.dataobj), AFFINE * 2), root / "masks/v2.nii.gz")
    with pytest.raises(UserError, match=r"v2\.nii\.gz: mask and volume lie in different places"):
        train(root, load_recipe("default", SETTINGS), tmp_path / "run")


def test_empty_slices_are_drawn_as_often_as_others() -> None:
    present = np.array([[True, False]] * 90 + [[True, True]] * 10)
    weights = balancing_weights(present, empty=True).numpy()
    assert_allclose(weights[:90].sum(), weights[90:].sum())
    assert_allclose(balancing_weights(present[::-1].copy(), empty=True).numpy(), weights[::-1])
    rare = np.array([[True, False]] * 10 + [[True, True]] * 90)
    weights = balancing_weights(rare, empty=True).numpy()
    assert_allclose(weights[:10].sum(), weights[10:].sum())


def test_neighbouring_slices_are_augmented_alike() -> None:
    colours = AugmentConfig(
        flip=FlipConfig(0.5, 0.5),
        rand_augment=RandAugmentConfig(p=1.0),
        color_jitter=ColorJitterConfig(p=1.0, brightness=0.2, contrast=0.2, saturation=0.5, hue=0.3),
        one_of=OneOfConfig(p=1.0),
    )
    same = torch.rand(12, 1, 32, 32).repeat(1, 3, 1, 1)
    labels = torch.randint(0, 2, (12, 32, 32))
    for step in range(3):
        images, _ = Augment(colours, 3, seed=0, coloured=False)(same, labels, epoch=0, step=step)
        assert torch.allclose(images[:, :1].expand_as(images), images, atol=1e-6), "equal channels stay equal"


def test_channels_of_neighbours_are_normalised_alike() -> None:
    recipe = load_recipe("default", {"data.neighbours": 3})
    volumes = type("Volumes", (), {"neighbours": 3, "facts": lambda self: {"neighbours": 3}})()
    steps = normalisation(recipe, 3, volumes)
    assert len(set(steps.mean)) == len(set(steps.std)) == 1


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A network of three neighbouring slices, trained for two epochs; and its data."""
    folder = tmp_path_factory.mktemp("volumes")
    data = volumes(folder / "data", air=1000)
    settings = {**SETTINGS, "data.neighbours": 3, "data.cache": "memory", "train.balanced_sampling": True}
    train(data, load_recipe("default", settings), folder / "run")
    return folder / "run", data


def test_a_run_says_how_its_volumes_were_seen(run: tuple[Path, Path]) -> None:
    folder, _ = run
    steps = json.loads((folder / "model/model.json").read_text())["preprocessing"]
    facts = json.loads((folder / "manifest.json").read_text())["data"]["volumes"]
    assert steps["intensity"]["kind"] == "window"
    assert steps["intensity"] == facts["intensity"]
    assert (steps["orientation"], steps["neighbours"], steps["channels"]) == ("RAS", 3, 3)
    assert facts["count"] == {"train": 2, "val": 1, "test": 1}


def test_prediction_sees_a_volume_as_training_did(run: tuple[Path, Path]) -> None:
    folder, data = run
    predictor = Predictor.load(folder, device="cpu")
    steps = predictor.record.preprocessing
    dataset = open_dataset(data)
    intensity = Intensity.from_json(steps.intensity)
    dataset = replace(dataset, volumes=dataset.volumes.seen(intensity, steps.neighbours))
    cached = build_cache(dataset, dataset.cases[:6], steps.size, 3, in_memory=True)
    viewing = choose_viewing(open_volume(dataset.cases[0].image), steps)
    for item, prepared in zip(cached, viewing.prepared(steps, windows=False), strict=False):
        assert_allclose(item["image"].numpy() / cached.scale, prepared.pixels.numpy(), atol=1e-6)


def test_evaluation_joins_slices_and_measures_what_predict_writes(run: tuple[Path, Path], tmp_path: Path) -> None:
    folder, data = run
    evaluation = evaluate_run(folder, "all", output=tmp_path / "evaluation")
    assert len(evaluation.results) == 4
    assert evaluation.settings.unit == "mm"
    result = evaluation.results[1]
    assert (result.id, result.shape, result.spacing) == ("v1", SHAPE, (2.5, 1.0, 1.0))
    mask = predict_volume(Predictor.load(folder, device="cpu"), open_volume(data / "images/v1.nii.gz")).mask
    truth = read_labels(data / "masks/v1.nii.gz").values
    hits, predicted, true = (int(n) for n in result.counts[1])
    assert (hits, predicted, true) == (int((mask & truth).sum()), int((mask == 1).sum()), int(truth.sum()))
    with (tmp_path / "evaluation/cases.csv").open() as stream:
        assert [row["case"] for row in csv.DictReader(stream)].count("v1") in (1, 2)
    page = (tmp_path / "evaluation/report.html").read_text()
    assert "v1" in page
    assert "slice" in page


def test_the_published_protocol_is_followed_when_asked(run: tuple[Path, Path], tmp_path: Path) -> None:
    folder, _ = run
    evaluation = evaluate_run(folder, "all", preset="hiperformer", output=tmp_path / "evaluation")
    names = [figure["name"] for figure in evaluation.summary["published"]["figures"]]
    assert names[:3] == ["DSC", "HD95", "HD95 (mm)"]
    with pytest.raises(UserError, match="'lmnet' evaluates pictures"):
        evaluate_run(folder, "all", preset="lmnet", output=tmp_path / "other")
    with pytest.raises(UserError, match="leave --tiling always out"):
        evaluate_run(folder, "all", preset="hiperformer", tiling="always", output=tmp_path / "other")


def test_the_published_protocol_mends_no_masks_and_says_none(run: tuple[Path, Path], tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run[0], copy, ignore=shutil.ignore_patterns("cache", "evaluation"))
    path = copy / "model" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "postprocessing": {"minimum_size": {"1": 10**6}}}))
    notes = [evaluate_run(copy, "test", preset=p, output=tmp_path / f"{p}").notes for p in (None, "hiperformer")]
    assert [any("post-processing" in note for note in some) for some in notes] == [True, False]


def test_masks_of_other_programs_are_compared(run: tuple[Path, Path], tmp_path: Path) -> None:
    _, data = run
    for index in range(4):
        mask = nibabel.load(data / f"masks/v{index}.nii.gz")
        turned = nibabel.as_closest_canonical(mask).as_reoriented([[0, -1], [1, -1], [2, 1]])
        plain = nibabel.Nifti1Image(np.asarray(mask.dataobj), np.eye(4))
        nibabel.save(turned if index % 2 else plain, tmp_path / f"v{index}.nii.gz")
    evaluation = evaluate_masks(tmp_path, data, output=tmp_path / "evaluation")
    assert evaluation.summary["macro"]["foreground"]["dice"]["mean"] == 1.0
    moved = nibabel.Nifti1Image(np.asarray(mask.dataobj), AFFINE * 3)
    nibabel.save(moved, tmp_path / "v3.nii.gz")
    with pytest.raises(UserError, match=r"v3\.nii\.gz: mask and volume lie in different places"):
        evaluate_masks(tmp_path, data, output=tmp_path / "evaluation")


def test_a_killed_training_on_volumes_ends_in_the_same_place(
    run: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, data = run
    settings = {**SETTINGS, "data.neighbours": 3, "data.cache": "memory", "train.balanced_sampling": True}
    step = SegmentationTraining.training_step

    def stopping(self: SegmentationTraining, batch: object, index: int) -> object:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationTraining, "training_step", stopping)
        with pytest.raises(KeyboardInterrupt):
            train(data, load_recipe("default", settings), tmp_path / "run")
    assert not (tmp_path / "run/model").exists()
    resume(tmp_path / "run")
    assert (tmp_path / "run/metrics.csv").read_text() == (folder / "metrics.csv").read_text()
    weights = [(where / "model/model.safetensors").read_bytes() for where in (folder, tmp_path / "run")]
    assert_array_equal(*(np.frombuffer(some, np.uint8) for some in weights))
