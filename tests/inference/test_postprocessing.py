"""Post-processing of masks, and its choice on validation cases."""

from __future__ import annotations

import numpy as np
import pytest

from glocal.inference.postprocessing import Postprocessing, choose_postprocessing

CLASSES = ("background", "ring", "speck")


def disc(size: int, radius: float, centre: tuple[float, float], depth: int | None = None) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    plane = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2).astype(np.uint8)
    return plane if depth is None else np.repeat(plane[None], depth, axis=0)


def test_a_hole_is_filled_and_what_lies_in_it_stays():
    mask = disc(40, 15, (20, 20))
    mask[disc(40, 8, (20, 20)) == 1] = 0
    mask[disc(40, 4, (20, 20)) == 1] = 2
    filled = Postprocessing(fill_holes=(1,))(mask)
    assert np.array_equal(filled == 2, mask == 2)
    assert np.array_equal(filled > 0, disc(40, 15, (20, 20)) > 0)


def test_an_open_bay_is_no_hole():
    mask = disc(40, 15, (20, 20))
    mask[20:, 20] = 0
    assert np.array_equal(Postprocessing(fill_holes=(1,))(mask), mask)
    mask[30:, 20] = 1  # closed at the bottom
    assert Postprocessing(fill_holes=(1,))(mask)[25, 20] == 1


def test_neighbours_over_a_corner_are_one_component_but_no_wall():
    mask = np.zeros((6, 6), np.uint8)
    mask[1, 1] = mask[2, 2] = mask[3, 3] = 1
    assert np.array_equal(Postprocessing(minimum_size={1: 3})(mask), mask)
    assert not Postprocessing(minimum_size={1: 4})(mask).any()
    ring = np.zeros((5, 5), np.uint8)
    ring[1, 2] = ring[3, 2] = ring[2, 1] = ring[2, 3] = 1  # joined over corners
    assert Postprocessing(fill_holes=(1,))(ring)[2, 2] == 1


def test_the_largest_component_in_space():
    volume = np.zeros((10, 30, 30), np.uint8)
    volume[:, 2:8, 2:8] = 1  # many slices
    volume[4, 12:29, 12:29] = 1  # larger than the other in its one slice
    volume[9, 29, 0] = 2
    kept = Postprocessing(largest_component=(1,))(volume)
    assert np.array_equal(kept == 1, (volume == 1) & (np.arange(30) < 10))
    assert kept[9, 29, 0] == 2


def test_the_mask_that_is_given_stays_and_classes_that_are_absent_do_no_harm():
    mask = disc(20, 3, (10, 10))
    before = mask.copy()
    Postprocessing((1, 2), {2: 5.0}, (1, 2)).scaled(4)(mask)
    Postprocessing((1,), {1: 1e9})(mask)
    assert np.array_equal(mask, before)
    assert not Postprocessing((1, 2), {2: 5.0}, (1,))(np.zeros((4, 4), np.uint8)).any()


def test_what_is_done_twice_changes_nothing_more():
    mask = np.random.default_rng(0).integers(0, 3, (6, 30, 30)).astype(np.uint8)
    steps = Postprocessing((1,), {2: 20}, (1,))
    once = steps(mask)
    assert np.array_equal(steps(once), once)


def test_json_and_back():
    steps = Postprocessing((1,), {2: 32.0}, (1, 2))
    assert Postprocessing.from_json(steps.to_json()) == steps
    assert Postprocessing().to_json() == {}
    assert not Postprocessing.from_json({})
    assert steps.scaled(0.5).minimum_size == {2: 16.0}


def cases(number: int, hole: bool, specks: bool) -> tuple[list[np.ndarray], list[np.ndarray]]:
    random = np.random.default_rng(0)
    predictions, truths = [], []
    for _ in range(number):
        truth = disc(48, 10, tuple(random.uniform(18, 30, 2)))
        prediction = truth.copy()
        if hole:
            prediction[tuple(np.argwhere(truth).mean(0).astype(int))] = 0
            prediction[tuple(np.argwhere(truth).mean(0).astype(int) + 2)] = 0
        if specks:
            prediction[2:4, 2:5] = 1
            prediction[44:46, 3:5] = 2
        predictions.append(prediction)
        truths.append(truth)
    return predictions, truths


def test_steps_are_kept_that_help():
    predictions, truths = cases(6, hole=True, specks=True)
    choice = choose_postprocessing(predictions, truths, CLASSES)
    assert choice.postprocessing == Postprocessing((1,), {2: 8}, (1,))
    assert choice.cases == 6
    for prediction, truth in zip(predictions, truths, strict=True):
        assert np.array_equal(choice.postprocessing(prediction), truth)
    first = choice.trials[0]
    assert (first.name, first.step, first.kept, first.better, first.worse) == ("ring", "fill holes", True, 6, 0)
    assert 0.9 < first.before < first.after <= 1


def test_no_step_is_kept_that_does_not_help():
    predictions, truths = cases(6, hole=False, specks=False)
    choice = choose_postprocessing(predictions, truths, CLASSES)
    assert not choice.postprocessing
    assert not any(trial.kept for trial in choice.trials)
    two = [disc(48, 8, (12, 12)) + disc(48, 8, (36, 36)) for _ in range(4)]  # two parts that belong there
    assert not choose_postprocessing(two, two, CLASSES).postprocessing


def test_numbers_of_the_trials_are_those_of_the_masks():
    random = np.random.default_rng(1)
    predictions = [random.integers(0, 3, (5, 20, 20)).astype(np.uint8) for _ in range(3)]
    truths = [random.integers(0, 3, (5, 20, 20)).astype(np.uint8) for _ in range(3)]

    def dice(steps: Postprocessing) -> float:
        made = [(steps(one) == 1, truth == 1) for one, truth in zip(predictions, truths, strict=True)]
        return float(np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in made]))

    trials = choose_postprocessing(predictions, truths, CLASSES).trials
    assert trials[0].before == pytest.approx(dice(Postprocessing()))
    assert trials[0].after == pytest.approx(dice(Postprocessing(fill_holes=(1,))))
    filled = (1,) if trials[0].kept else ()
    assert trials[1].after == pytest.approx(dice(Postprocessing(filled, {}, (1,))))


def test_bad_cases_are_refused():
    with pytest.raises(ValueError, match="no cases"):
        choose_postprocessing([], [], CLASSES)
    with pytest.raises(ValueError, match="differ in size"):
        choose_postprocessing([np.zeros((3, 3), np.uint8)], [np.zeros((3, 4), np.uint8)], CLASSES)
