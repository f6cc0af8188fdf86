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
