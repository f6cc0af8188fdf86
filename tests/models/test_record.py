"""What model.json says of a classifier, and what it refuses to say."""

import json

import pytest

from glocal.errors import UserError
from glocal.models.record import ModelRecord, Preprocessing

PREPROCESSING = Preprocessing((32, 32), 1, (0.5,), (0.5,))


def record(task="classification", **options):
    return ModelRecord("hifuse_micro", {"num_classes": 2}, ("a", "b"), task, PREPROCESSING, **options)


@pytest.mark.parametrize("options", [{}, {"temperature": 1.7}, {"multi_label": True, "temperature": 0.25}])
def test_a_record_read_is_the_record_written(options):
    plain = json.loads(json.dumps(record(**options).to_json()))
    assert ModelRecord.from_json(plain, "model.json") == record(**options)


def test_older_files_without_the_keys_and_whole_numbers_are_read():
    plain = record().to_json()
    assert ModelRecord.from_json({**plain, "temperature": 2}, "model.json").temperature == 2
    del plain["temperature"], plain["multi_label"]
    assert ModelRecord.from_json(plain, "model.json") == record()


def test_segmentation_has_neither():
    assert not {"temperature", "multi_label"} & record("segmentation").to_json().keys()
    for options in ({"temperature": 2.0}, {"multi_label": True}):
        with pytest.raises(ValueError, match="classification"):
            record("segmentation", **options)


@pytest.mark.parametrize("value", [0, -1.0, 1e-320, 1e300, float("nan"), float("inf"), True, "1", None])
def test_a_temperature_that_is_none_is_refused_in_one_line(value):
    with pytest.raises(UserError, match=r"^model\.json: .*temperature.*[^\n]*$"):
        ModelRecord.from_json({**record().to_json(), "temperature": value}, "model.json")


@pytest.mark.parametrize("value", [1, "yes", None])
def test_multi_label_is_true_or_false(value):
    with pytest.raises(UserError, match=r"^model\.json: multi_label must be true or false"):
        ModelRecord.from_json({**record().to_json(), "multi_label": value}, "model.json")


VOLUMES = {"intensity": {"kind": "window", "low": -125.0, "high": 275.0}, "orientation": "RAS"}


def of_volumes(**changes):
    steps = Preprocessing((32, 32), 3, (0.5,) * 3, (0.5,) * 3, **{**VOLUMES, "neighbours": 3, **changes})
    return ModelRecord("unet_nano", {"num_classes": 2}, ("a", "b"), "segmentation", steps)


def test_what_is_said_of_volumes_is_read_as_written_and_left_out_of_pictures():
    plain = json.loads(json.dumps(of_volumes().to_json()))
    assert ModelRecord.from_json(plain, "model.json") == of_volumes()
    assert not {"intensity", "orientation", "neighbours"} & record("segmentation").to_json()["preprocessing"].keys()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("intensity", {"kind": "gamma"}),
        ("intensity", {"kind": "window", "low": 1, "high": 0}),
        ("intensity", {"kind": "full", "low": 1}),
        ("intensity", {"kind": "full", "gamma": 1}),
        ("intensity", "window"),
        ("orientation", "RAR"),
        ("orientation", "north"),
        ("neighbours", 2),
        ("neighbours", 5),
        ("neighbours", 0),
    ],
)
def test_volumes_prepared_in_an_unknown_way_are_refused_in_one_line(key, value):
    plain = of_volumes().to_json()
    plain["preprocessing"][key] = value
    with pytest.raises(UserError, match=rf"^model\.json: [^\n]*{key}[^\n]*$"):
        ModelRecord.from_json(plain, "model.json")


def test_postprocessing_is_kept_and_checked():
    steps = {"largest_component": [1], "fill_holes": [], "minimum_size": {"1": 20.5}}
    plain = {**record("segmentation").to_json(), "postprocessing": steps}
    assert ModelRecord.from_json(plain, "model.json").to_json() == plain
    for wrong in ({"erode": [1]}, {"largest_component": [2]}, {"fill_holes": 1}, {"minimum_size": {"1": -1}}):
        with pytest.raises(UserError, match=r"^model\.json: postprocessing: [^\n]*$"):
            ModelRecord.from_json({**plain, "postprocessing": wrong}, "model.json")
    with pytest.raises(UserError, match="segmentation"):
        ModelRecord.from_json({**record().to_json(), "postprocessing": steps}, "model.json")
