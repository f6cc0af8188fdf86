"""Which file is written for which, and that nothing is lost or half-written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glocal.data import read_mask
from glocal.errors import UserError
from glocal.inference import plan_files, predict_files


@pytest.fixture
def picture(photograph):
    def write(path: Path, *shape: int) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(*(shape or (20, 30)))).save(path)
        return path

    return write


def planned(inputs, output, **options):
    return {os.path.relpath(job.mask, output): job.image for job in plan_files(inputs, output, **options)}


def test_names_and_folders_are_kept(picture, tmp_path):
    inside, single = tmp_path / "in", picture(tmp_path / "x.tar.jpg")
    names = ["a.jpg", "-b.png", "sub folder/c ü 目.tif", "sub folder/deep/d.BMP", "overlays/e.png"]
    images = {name: picture(inside / name) for name in names}
    (inside / "notes.txt").write_text("no image")
    picture(inside / ".hidden.png")
    picture(inside / ".hidden" / "f.png")
    found = planned([inside, single], tmp_path / "out")
    assert found == {
        "a.png": images["a.jpg"],
        "-b.png": images["-b.png"],
        "sub folder/c ü 目.png": images["sub folder/c ü 目.tif"],
        "sub folder/deep/d.png": images["sub folder/deep/d.BMP"],
        "overlays/e.png": images["overlays/e.png"],
        "x.tar.png": single,
    }
    job = next(
        job
        for job in plan_files([inside], tmp_path / "out", overlay=True, probabilities=True)
        if "c ü" in job.mask.name
    )
    assert job.overlay == tmp_path / "out/overlays/sub folder/c ü 目.png"
    assert job.probabilities == tmp_path / "out/probabilities/sub folder/c ü 目.npz"


def test_masks_of_a_former_run_are_no_images(picture, tmp_path):
    picture(tmp_path / "in" / "a.jpg")
    picture(tmp_path / "in" / "masks" / "a.png")
    assert list(planned([tmp_path / "in"], tmp_path / "in" / "masks", overwrite=True)) == ["a.png"]
    assert len(planned([tmp_path / "in"], tmp_path / "out")) == 2


def test_links_to_folders_are_followed_once(picture, tmp_path):
    picture(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    picture(tmp_path / "elsewhere" / "b.png")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    assert sorted(planned([tmp_path / "in"], tmp_path / "out")) == ["a.png", "linked/b.png"]


def refused(inputs, output, **options) -> str:
    with pytest.raises(UserError) as error:
        plan_files(inputs, output, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_two_images_never_share_a_mask(picture, tmp_path):
    one, other = picture(tmp_path / "a" / "x.png"), picture(tmp_path / "b" / "x.jpg")
    assert str(one) in refused([one, other], tmp_path / "out")
    assert "rename one" in refused([one, other], tmp_path / "out")
    assert len(planned([one, one, tmp_path / "a"], tmp_path / "out")) == 1
    picture(tmp_path / "a" / "overlays" / "x.png")
    assert "overlays" in refused([tmp_path / "a"], tmp_path / "out", overlay=True)


def test_nothing_is_replaced_unasked_and_images_never(picture, tmp_path):
    image, other = picture(tmp_path / "in" / "x.png"), picture(tmp_path / "in" / "y.png")
    for name in ("x.png", "y.png"):
        picture(tmp_path / "out" / name)
    message = refused([image, other], tmp_path / "out")
    assert "x.png and 1 more: already there" in message
    assert "--overwrite" in message
    assert len(planned([image, other], tmp_path / "out", overwrite=True)) == 2
    for inputs in ([image], [tmp_path / "in"]):
        assert "would replace the image" in refused(inputs, tmp_path / "in", overwrite=True)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert "would replace the image" in refused([image], tmp_path / "link", overwrite=True)
    assert list(planned([picture(tmp_path / "in" / "z.jpg")], tmp_path / "in")) == ["z.png"]


def test_an_output_that_cannot_be_a_folder(picture, tmp_path):
    image, file = picture(tmp_path / "x.png"), tmp_path / "file"
    file.write_text("")
    assert f"{file}: not a folder" in refused([image], file)
    assert f"{file}: not a folder" in refused([image], file / "below")
    (tmp_path / "empty").mkdir()
    assert "no images in this folder" in refused([tmp_path / "empty"], tmp_path / "out")


def test_what_is_written_is_what_was_predicted(make_predictor, picture, tmp_path):
    predictor = make_predictor()
    images = [picture(tmp_path / "in" / f"{index}.png", 20 + index, 30) for index in range(5)]
    jobs = plan_files([tmp_path / "in"], tmp_path / "out", overlay=True, probabilities=True)
    results = list(predict_files(predictor, jobs))
    assert [result.job.image for result in results] == images
    for result in results:
        expected = predictor(result.job.image)
        with Image.open(result.job.mask) as image:
            assert (image.mode, image.size) == ("P", result.size[::-1])
            assert image.getpalette()[:3] == [0, 0, 0]
            assert len({tuple(image.getpalette()[3 * k : 3 * k + 3]) for k in range(3)}) == 3
            assert np.array_equal(np.asarray(image), expected.mask)
        assert np.array_equal(read_mask(result.job.mask).values, expected.mask)
        assert result.pixels == tuple(np.bincount(expected.mask.ravel(), minlength=3))
        with np.load(result.job.probabilities) as stored:
            assert stored["classes"].tolist() == list(expected.classes)
            np.testing.assert_allclose(stored["probabilities"], expected.probabilities, atol=1e-3)
        with Image.open(result.job.overlay) as image:
            drawn = np.asarray(image).astype(int)
        rgb = np.asarray(Image.open(result.job.image)).astype(int)
        assert np.array_equal(drawn[expected.mask == 0], rgb[expected.mask == 0])
        assert (drawn[expected.mask > 0] != rgb[expected.mask > 0]).any(axis=1).mean() > 0.95


def test_a_mask_has_a_place_for_every_class(make_predictor, tmp_path):
    """Also where few occur: no writer packs or renumbers them."""
    prediction = make_predictor()(np.zeros((5, 6), np.uint8))
    prediction.__dict__["mask"] = np.full((5, 6), 200, np.uint8)
    prediction.save(tmp_path / "x.png")
    assert np.array_equal(read_mask(tmp_path / "x.png").values, prediction.mask)
    with pytest.raises(UserError, match=r"\.png"):
        prediction.save(tmp_path / "x.jpg")
    with pytest.raises(UserError, match=r"\.npz"):
        prediction.save_probabilities(tmp_path / "x.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


def test_bad_images_are_told_and_the_good_ones_kept(make_predictor, picture, tmp_path):
    folder = tmp_path / "in"
    good = [picture(folder / name) for name in ("a.png", "d.png")]
    (folder / "b.png").write_bytes(good[0].read_bytes()[:300])
    (folder / "c.png").mkdir()
    results = list(predict_files(make_predictor(), plan_files([folder], tmp_path / "out")))
    assert [result.error is None for result in results] == [True, False, False, True]
    assert "b.png" in results[1].error
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "d.png"]


def test_a_full_disk_leaves_whole_files_only(make_predictor, picture, tmp_path, monkeypatch):
    for name in "abcdef":
        picture(tmp_path / "in" / f"{name}.png")
    write, written = Path.write_bytes, []

    def fill(path: Path, data: bytes) -> int:
        if len(written) == 2:
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        return write(path, data)

    jobs = plan_files([tmp_path / "in"], tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fill)
        with pytest.raises(UserError, match=r"c\.png: no space left"):
            list(predict_files(make_predictor(), jobs))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]
    for path in (tmp_path / "out").iterdir():
        assert read_mask(path).size == (20, 30)


def test_a_full_disk_while_probabilities_are_written(make_predictor, photograph, tmp_path, monkeypatch):
    def fill(path, **arrays):
        Path(path).write_bytes(b"PK")
        raise OSError(errno.ENOSPC, "No space left on device")

    prediction = make_predictor()(photograph(9, 9))
    monkeypatch.setattr(np, "savez_compressed", fill)
    with pytest.raises(UserError, match="no space left"):
        prediction.save_probabilities(tmp_path / "x.npz")
    assert not list(tmp_path.iterdir())
