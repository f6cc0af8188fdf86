"""Splits keep groups together and proportions alike, depend on data and seed alone, and are never remade silently."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glocal.data import Dataset, make_splits, open_dataset, open_splits, read_splits
from glocal.data._allocate import allocate
from glocal.data.cases import Case
from glocal.errors import UserError

SHARED = Path(os.environ.get("GLOCAL_SHARED", Path(__file__).parents[2].parent / "shared")) / "data"
PARTS = ("train", "val", "test")


# ---- the allocation itself ----

GROUPS = st.dictionaries(
    st.text(min_size=1, max_size=4),
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 6), min_size=1).map(Counter),
    min_size=5,
    max_size=40,
)
SHARES = st.sampled_from([(0.8, 0.1, 0.1), (0.6, 0.2, 0.2), (0.5, 0.5), (0.2,) * 5, (0.7, 0.3, 0.0)])


@settings(max_examples=150, deadline=None)
@given(GROUPS, SHARES, st.integers(0, 5))
def test_every_group_is_in_one_part_and_no_part_is_empty(
    groups: dict[str, Counter[str]], shares: tuple[float, ...], seed: int
) -> None:
    parts = allocate(groups, shares, seed)
    assert sorted(name for part in parts for name in part) == sorted(groups)
    assert [bool(part) for part in parts] == [share > 0 for share in shares]


@settings(max_examples=100, deadline=None)
@given(GROUPS, SHARES, st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_order_of_groups_does_not_matter(
    groups: dict[str, Counter[str]], shares: tuple[float, ...], seed: int, random: object
) -> None:
    names = list(groups)
    random.shuffle(names)  # type: ignore[attr-defined]
    assert allocate({name: groups[name] for name in names}, shares, seed) == allocate(groups, shares, seed)


@settings(max_examples=100, deadline=None)
@given(GROUPS, SHARES, st.integers(0, 5))
def test_shares_are_met_within_a_group_and_a_stratum(
    groups: dict[str, Counter[str]], shares: tuple[float, ...], seed: int
) -> None:
    sizes = {name: counts.total() for name, counts in groups.items()}
    total, largest = sum(sizes.values()), max(sizes.values())
    for part, share in zip(allocate(groups, shares, seed), shares, strict=True):
        assert abs(sum(sizes[name] for name in part) - share * total) <= 2 * largest


def test_single_cases_are_stratified_to_the_last_one() -> None:
    groups = {
        f"{kind}{i}": Counter([kind]) for kind, number in (("a", 500), ("b", 50), ("c", 20)) for i in range(number)
    }
    for part, share in zip(allocate(groups, (0.8, 0.1, 0.1), 0), (0.8, 0.1, 0.1), strict=True):
        found = Counter(name[0] for name in part)
        for kind, number in (("a", 500), ("b", 50), ("c", 20)):
            assert abs(found[kind] - share * number) <= 1


def test_another_seed_gives_another_split() -> None:
    groups = {str(i): Counter(["a"]) for i in range(40)}
    assert allocate(groups, (0.8, 0.2), 0) != allocate(groups, (0.8, 0.2), 1)


def test_the_draw_is_the_same_on_every_machine() -> None:
    groups = {name: Counter(["a"]) for name in "abcdefghij"}
    assert allocate(groups, (0.5, 0.3, 0.2), 7) == [["a", "b", "c", "d", "f"], ["e", "g", "j"], ["h", "i"]]


# ---- splits of a data set ----


def dataset(
    root: Path, groups: dict[str, list[str]], strata: dict[str, str] | None = None, split: dict[str, str] | None = None
) -> Dataset:
    """A classification set in memory; one tiny file stands for all images."""
    root.mkdir(exist_ok=True)
    image = root / "x.png"
    if not image.exists():
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(image)
    strata, split = strata or {}, split or {}
    cases = [
        Case(id, image, label=0, group=group, stratum=strata.get(id, "a"), split=split.get(id))  # type: ignore[arg-type]
        for group, ids in groups.items()
        for id in ids
    ]
    return Dataset(root, "classification", "", tuple(cases), class_names=("a", "b"))


def singles(root: Path, number: int, **options: dict[str, str]) -> Dataset:
    return dataset(root, {f"c{i}": [f"c{i}"] for i in range(number)}, **options)  # type: ignore[arg-type]


def test_eighty_ten_ten_by_default(tmp_path: Path) -> None:
    splits = make_splits(singles(tmp_path, 100))
    assert [len(splits.part(part)) for part in PARTS] == [80, 10, 10]
    assert sorted(id for part in PARTS for id in splits.part(part)) == sorted(f"c{i}" for i in range(100))


def test_groups_stay_together(tmp_path: Path) -> None:
    groups = {f"g{i}": [f"g{i}_{j}" for j in range(1 + i % 5)] for i in range(40)}
    splits = make_splits(dataset(tmp_path, groups))
    where = {id: part for part in PARTS for id in splits.part(part)}
    assert all(len({where[id] for id in ids}) == 1 for ids in groups.values())


@pytest.mark.parametrize("number", [3, 4, 5])
def test_tiny_sets_fill_every_part(tmp_path: Path, number: int) -> None:
    splits = make_splits(singles(tmp_path, number))
    assert [len(splits.part(part)) for part in PARTS] == [number - 2, 1, 1]


def test_case_by_case_on_request_says_so_and_is_read_again(tmp_path: Path) -> None:
    data = dataset(tmp_path / "data", {f"g{i}": [f"g{i}_{j}" for j in range(10)] for i in range(3)})
    splits = make_splits(data, grouped=False)
    assert [len(splits.part(part)) for part in PARTS] == [24, 3, 3]  # three groups alone give 10, 10 and 10
    assert "too high" in splits.notes[0]
    splits.write(tmp_path / "splits.json")
    read = read_splits(tmp_path / "splits.json", data)
    assert (read, read.notes) == (splits, splits.notes)


def test_too_few_groups_are_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"2 groups \(6 cases\) cannot fill 3 parts"):
        make_splits(dataset(tmp_path, {"p": ["a", "b", "c"], "q": ["d", "e", "f"]}))
    splits = make_splits(dataset(tmp_path, {"p": ["a", "b", "c"], "q": ["d", "e", "f"]}), fractions=(0.5, 0.5, 0))
    assert splits.test == ()


def test_folds_share_a_test_part_and_validate_every_other_case_once(tmp_path: Path) -> None:
    splits = make_splits(singles(tmp_path, 50), folds=5)
    assert len(splits.test) == 5
    assert sorted(id for fold in splits.folds for id in fold.val) == sorted(
        {f"c{i}" for i in range(50)} - {*splits.test}
    )
    for number, fold in enumerate(splits.folds):
        assert len(fold.val) == 9
        plain = splits.fold(number)
        assert sorted((*plain.train, *plain.val, *plain.test)) == sorted(f"c{i}" for i in range(50))
    with pytest.raises(UserError, match="no fold 5"):
        splits.fold(5)
    with pytest.raises(UserError, match="choose one"):
        splits.part("train")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fractions": (0.8, 0.3, 0.1)}, "fractions"),
        ({"fractions": (1.2, -0.1, -0.1)}, "fractions"),
        ({"fractions": (0.0, 0.5, 0.5)}, "fractions"),
        ({"fractions": (0.8, 0.2)}, "fractions"),
        ({"fractions": (float("nan"), 0.5, 0.5)}, "fractions"),
        ({"folds": 1}, "1 folds"),
        ({"folds": 11}, "cannot fill 11 parts"),
    ],
)
def test_what_cannot_be_asked(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_splits(singles(tmp_path, 10), **options)  # type: ignore[arg-type]


def test_foreground_is_spread_evenly(tmp_path: Path) -> None:
    """Segmentation without known classes: empty, small, middle and large foregrounds in all parts alike."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(40):
        mask = np.zeros((8, 8), np.uint8)
        mask[:, : number % 4 * 2] = 255
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(tmp_path / f"images/{number}.png")
        Image.fromarray(mask).save(tmp_path / f"masks/{number}.png")
    splits = make_splits(open_dataset(tmp_path), fractions=(0.6, 0.2, 0.2))
    for part, number in zip(PARTS, (6, 2, 2), strict=True):
        assert Counter(int(id) % 4 for id in splits.part(part)) == dict.fromkeys(range(4), number)


# ---- ready-made splits ----


def test_a_ready_made_split_is_kept(tmp_path: Path) -> None:
    own = {f"c{i}": PARTS[i % 3] for i in range(9)}
    splits = make_splits(singles(tmp_path, 9, split=own))
    assert splits.ready_made
    assert {id: part for part in PARTS for id in splits.part(part)} == own
    assert "kept (train 3, val 3, test 3)" in splits.notes[0]


def test_parts_it_lacks_come_out_of_its_train_part(tmp_path: Path) -> None:
    own = {f"c{i}": "test" if i < 20 else "train" for i in range(110)}
    splits = make_splits(singles(tmp_path, 110, split=own))
    assert set(splits.test) == {f"c{i}" for i in range(20)}
    assert (len(splits.train), len(splits.val)) == (80, 10)
    assert "no val part" in splits.notes[1]


def test_folds_of_a_ready_made_split_keep_its_test_part(tmp_path: Path) -> None:
    own = {f"c{i}": "test" if i < 20 else "train" for i in range(60)}
    splits = make_splits(singles(tmp_path, 60, split=own), folds=4)
    assert set(splits.test) == {f"c{i}" for i in range(20)}
    assert [len(fold.val) for fold in splits.folds] == [10] * 4
    assert len(splits.notes) == 1


def test_a_ready_made_split_with_holes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"1 case \(c2, …\) in no part"):
        make_splits(singles(tmp_path, 3, split={"c0": "train", "c1": "test"}))
    with pytest.raises(UserError, match="no train part"):
        make_splits(singles(tmp_path, 2, split={"c0": "val", "c1": "test"}))


def test_a_ready_made_split_through_a_group_is_refused(tmp_path: Path) -> None:
    leaking = dataset(tmp_path, {"p": ["a", "b"], "q": ["c"]}, split={"a": "train", "b": "test", "c": "val"})
    with pytest.raises(UserError, match=r"group 'p' is in train \(a\) and in test \(b\)"):
        make_splits(leaking)


# ---- the file ----


def test_what_is_written_is_read(tmp_path: Path) -> None:
    data = singles(tmp_path / "data", 20)
    for folds in (None, 4):
        path = tmp_path / f"{folds}.json"
        written = open_splits(path, data, folds=folds)
        assert open_splits(path, data) == written
        assert open_splits(path, data, seed=0, folds=folds) == written
    plain = json.loads((tmp_path / "None.json").read_text())
    assert (plain["format"], plain["seed"], plain["fractions"]) == (1, 0, [0.8, 0.1, 0.1])
    assert set(plain["splits"]) == set(PARTS)
    folded = json.loads((tmp_path / "4.json").read_text())
    assert len(folded["folds"]) == 4
    assert len(folded["test"]) == 2


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"seed": 1}, "made with seed 0, not 1"),
        ({"fractions": (0.6, 0.2, 0.2)}, "fractions"),
        ({"folds": 3}, "folds 0"),
    ],
)
def test_never_remade_silently(tmp_path: Path, asked: dict[str, object], message: str) -> None:
    data, path = singles(tmp_path / "data", 20), tmp_path / "splits.json"
    open_splits(path, data)
    before = path.read_bytes()
    with pytest.raises(UserError, match=message) as caught:
        open_splits(path, data, **asked)  # type: ignore[arg-type]
    assert "new.json" in str(caught.value)
    assert path.read_bytes() == before
    open_splits(path, data, remake=True, **asked)  # type: ignore[arg-type]
    assert path.read_bytes() != before


def test_cases_added_removed_or_changed_are_noticed(tmp_path: Path) -> None:
    data, path = singles(tmp_path / "data", 20), tmp_path / "splits.json"
    open_splits(path, data)
    with pytest.raises(UserError, match=r"1 case of .* \(c20, …\) in no part"):
        read_splits(path, singles(tmp_path / "data", 21))
    with pytest.raises(UserError, match=r"1 case \(c19, …\) not in"):
        read_splits(path, singles(tmp_path / "data", 19))
    Image.fromarray(np.full((2, 2), 9, np.uint8)).save(tmp_path / "data/x.png")
    with pytest.raises(UserError, match="fingerprint differs"):
        read_splits(path, singles(tmp_path / "data", 20))


def test_a_group_put_on_both_sides_by_hand_is_noticed(tmp_path: Path) -> None:
    groups = {f"g{i}": [f"{i}a", f"{i}b"] for i in range(10)}
    data, path = dataset(tmp_path / "data", groups), tmp_path / "splits.json"
    open_splits(path, data)
    plain = json.loads(path.read_text())
    plain["splits"]["train"].append(plain["splits"]["test"].pop())
    path.write_text(json.dumps(plain))
    with pytest.raises(UserError, match=r"splits\.json: group .* is in train .* and in test"):
        read_splits(path, data)
    plain["splits"]["test"].append(plain["splits"]["train"][0])
    path.write_text(json.dumps(plain))
    with pytest.raises(UserError, match="comes twice"):
        read_splits(path, data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "[]",
        "null",
        "{}",
        '{"format": 2}',
        '{"format": 1, "seed": 0, "fractions": [0.8, 0.1], "fingerprint": "", "splits": {}}',
        '{"format": 1, "seed": "x", "fractions": [0.8, 0.1, 0.1], "fingerprint": "", "splits": {}}',
        '{"format": 1, "seed": 0, "fractions": [0.8, 0.1, 0.1], "fingerprint": "", "splits": {"train": "abc"}}',
        '{"format": 1, "seed": 0, "fractions": [0.8, 0.1, 0.1], "fingerprint": "", "splits": '
        '{"train": [[]], "val": [], "test": []}}',
        '{"format": 1, "seed": 0, "fractions": [0.8, 0.1, 0.1], "fingerprint": "", "folds": 3, "test": []}',
        '{"format": 1, "seed": 0, "fractions": 1e999, "fingerprint": "", "splits": {}}',
        '{"format": 1, "seed": 1e999, "fractions": [0.8, 0.1, 0.1], "fingerprint": "", "splits": {}}',
    ],
)
def test_what_is_no_splits_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "splits.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"splits\.json") as caught:
        read_splits(path, singles(tmp_path / "data", 3))
    assert "\n" not in str(caught.value)


# ---- real data ----


def real(name: str) -> Dataset:
    if not (SHARED / name).is_dir():
        pytest.skip(f"the real data set {name} is not here (set GLOCAL_SHARED to the folder that holds data/{name})")
    return open_dataset(SHARED / name)


@pytest.mark.parametrize("name", ["busi", "psfhs", "cvc_clinicdb", "acdc", "kvasir_seg"])
def test_real_groups_never_cross_and_shares_are_met(name: str) -> None:
    data = real(name)
    splits = make_splits(data, seed=3)
    group = {case.id: case.group for case in data.cases}
    sides = [{group[id] for id in splits.part(part)} for part in PARTS]
    assert sum(map(len, sides)) == len(set().union(*sides))
    largest = max(Counter(group.values()).values())
    for part, share in zip(PARTS, (0.8, 0.1, 0.1), strict=True):
        assert abs(len(splits.part(part)) - share * len(data)) <= max(2, largest)


def test_real_classes_are_spread_evenly() -> None:
    data = real("busi")
    splits = make_splits(data)
    stratum = {case.id: case.stratum for case in data.cases}
    overall = Counter(stratum.values())
    for part in PARTS:
        found = Counter(stratum[id] for id in splits.part(part))
        for kind, number in overall.items():
            assert abs(found[kind] / len(splits.part(part)) - number / len(data)) < 0.05


def test_a_real_published_split_is_kept() -> None:
    splits = make_splits(real("covid_ct"))
    assert [len(splits.part(part)) for part in PARTS] == [425, 118, 203]
