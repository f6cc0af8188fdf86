"""Classification sets whose classes a table says: what is recognised, how it is divided, what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glocal.data import Dataset, make_splits, open_dataset
from glocal.data.cache import build_cache
from glocal.data.contact_sheet import write_contact_sheet
from glocal.data.inspect import inspect_dataset
from glocal.errors import UserError


def images(root: Path, *names: str) -> Path:
    for index, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), index % 256, np.uint8)).save(root / name)
    return root


def labels(dataset: Dataset) -> dict[str, object]:
    return {case.id: case.label for case in dataset.cases}


@pytest.fixture
def three(tmp_path: Path) -> Path:
    return images(tmp_path / "set", "pictures/a.png", "pictures/b.png", "pictures/c.png")


def test_names_paths_groups_and_splits(three: Path) -> None:
    (three / "labels.csv").write_text(
        "image,label,group,split\npictures/a.png,ill,7,train\n.\\pictures\\b.png,well,7,train\npictures/c.png,ill,8,test\n"
    )
    dataset = open_dataset(three)
    assert (dataset.task, dataset.layout, dataset.multi_label) == ("classification", "classes from labels.csv", False)
    assert dataset.classes == ("ill", "well")
    assert labels(dataset) == {"a": 0, "b": 1, "c": 0}
    assert [(case.group, case.split) for case in dataset.cases] == [
        ("group 7", "train"),
        ("group 7", "train"),
        ("group 8", "test"),
    ]


@pytest.mark.parametrize("name", ["labels.csv", "the only one.csv", "cases.csv"])
@pytest.mark.parametrize("encode", [lambda t: t.encode(), lambda t: b"\xef\xbb\xbf" + t.replace(",", ";").encode()])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_any_table_with_or_without_byte_order_mark_and_semicolons(
    three: Path, name: str, encode: Callable[[str], bytes], end: str
) -> None:
    text = "filename,Diagnosis,age\na.png,ill,3\nb.png,well,4\nc.png,ill,5\n".replace("\n", end)
    (three / name).write_bytes(encode(text))
    assert labels(open_dataset(three)) == {"a": 0, "b": 1, "c": 0}


def test_numbers_are_classes_in_their_order_and_may_be_named(three: Path) -> None:
    (three / "labels.csv").write_text("image,label\na,10\nb,2\nc,2\n")
    assert open_dataset(three).classes == ("2", "10")
    (three / "classes.txt").write_text("well\nill\n")
    (three / "labels.csv").write_text("image,label\na,1\nb,0\nc,0\n")
    dataset = open_dataset(three)
    assert (dataset.classes, labels(dataset)) == (("well", "ill"), {"a": 1, "b": 0, "c": 0})
    (three / "classes.txt").write_text("ill: 7\nwell: 3\n")
    (three / "labels.csv").write_text("image,label\na,7\nb,3\nc,well\n")
    assert labels(open_dataset(three)) == {"a": 0, "b": 1, "c": 1}


def test_several_names_are_multi_label_and_none_is_possible(three: Path) -> None:
    (three / "labels.csv").write_text("image,labels\na.png,fluid | mass\nb.png,\nc.png,mass;fluid;mass\n")
    dataset = open_dataset(three)
    assert dataset.multi_label
    assert dataset.classes == ("fluid", "mass")
    assert labels(dataset) == {"a": (0, 1), "b": (), "c": (0, 1)}
    assert [dataset.label_name(case) for case in dataset.cases] == ["fluid + mass", "none", "fluid + mass"]


def test_columns_of_ones_are_classes_in_their_order(three: Path) -> None:
    (three / "labels.csv").write_text("image,Mass,Fluid,age\na.png,1,1,50\nb.png,0.0,0,61\nc.png,0,1.0,7\n")
    dataset = open_dataset(three)
    assert (dataset.classes, dataset.multi_label) == (("Mass", "Fluid"), True)
    assert labels(dataset) == {"a": (0, 1), "b": (), "c": (1,)}
    assert any("columns not read: age" in note for note in dataset.notes)


def test_exactly_one_in_every_row_is_one_class_an_image(three: Path) -> None:
    (three / "labels.csv").write_text("image,MEL,NV,BCC\na,1.0,0.0,0.0\nb,0.0,0.0,1.0\nc,0.0,1.0,0.0\n")
    dataset = open_dataset(three)
    assert (dataset.classes, dataset.multi_label) == (("MEL", "NV", "BCC"), False)
    assert labels(dataset) == {"a": 0, "b": 2, "c": 1}
    assert any("one 1 in every row" in note for note in dataset.notes)


def test_a_table_goes_before_folders_that_only_hold_patients(tmp_path: Path) -> None:
    root = images(tmp_path, "patient1/1.png", "patient1/2.png", "patient2/1.png")
    (root / "labels.csv").write_text("image,label\npatient1/1.png,x\npatient1/2.png,y\npatient2/1.png,y\n")
    assert labels(open_dataset(root)) == {"patient1/1": 0, "patient1/2": 1, "patient2/1": 1}


def test_a_stray_table_beside_class_folders_does_no_harm(tmp_path: Path) -> None:
    root = images(tmp_path, "x/1.png", "y/2.png")
    (root / "notes.csv").write_text("when,what\nmonday,nothing\n")
    dataset = open_dataset(root)
    assert dataset.layout == "one folder per class"
    assert any("notes.csv" in note for note in dataset.notes)


@pytest.mark.parametrize("name", ["cases.csv", "facts.csv"])
@pytest.mark.parametrize("columns", ["image,female\nx/1,1\ny/2,0\n", "image,female,smoker\nx/1,1,0\ny/2,0,1\nz,1,1\n"])
def test_columns_of_ones_beside_class_folders_are_facts_and_not_classes(
    tmp_path: Path, name: str, columns: str
) -> None:
    root = images(tmp_path, "x/1.png", "y/2.png")
    (root / name).write_text(columns)
    dataset = open_dataset(root)
    assert (dataset.classes, labels(dataset), dataset.multi_label) == (("x", "y"), {"1": 0, "2": 1}, False)


def test_masks_and_classes_serve_both_tasks(tmp_path: Path) -> None:
    root = images(tmp_path, "images/a.png", "images/b.png", "masks/a.png", "masks/b.png")
    for mask in (root / "masks").iterdir():
        Image.fromarray(np.eye(8, dtype=np.uint8)).save(mask)
    (root / "classes.txt").write_text("background\nline\n")
    (root / "cases.csv").write_text("id,class\na,ill\nb,well\n")
    assert open_dataset(root).task == "segmentation"
    dataset = open_dataset(root, task="classification")
    assert (dataset.classes, labels(dataset)) == (("ill", "well"), {"a": 0, "b": 1})
    assert inspect_dataset(root, task="classification").usable == 2


REFUSED = {
    "missing image": ("image,label\na,x\nb,y\nc,y\ngone/d.png,x\n", r"line 5: no image 'gone/d\.png' in .*relative to"),
    "twice with two labels": ("image,label\na,x\nb,y\nc,y\na,y\n", "lines 2 and 5 say different things about 'a'"),
    "empty label": ("image,label\na,x\nb,\nc,y\n", "line 3: the label is empty"),
    "no column of images": ("picture of,label\na,x\nb,y\nc,y\n", "no column names the cases"),
    "one class": ("image,label\na,x\nb,x\nc,x\n", r"only one class \(x\) has images"),
    "ragged": ("image,label\na,x\nb,y,z\nc,y\n", "line 3: 3 values under 2 columns; put quotes"),
    "a column twice": ("image,label,label\na,x,x\nb,y,y\nc,y,y\n", "column 'label' comes twice"),
    "no part of a split": ("image,label,split\na,x,train\nb,y,perhaps\nc,y,\n", "line 3: split 'perhaps' is none of"),
    "neither 0 nor 1": ("image,m,f\na,1,0\nb,0,2\nc,1,1\n", "line 3: column 'f' is '2', neither 0 nor 1"),
    "an empty cell": ("image,m,f\na,1,0\nb,0,\nc,1,1\n", "line 3: column 'f' is empty"),
    "a single column of ones": ("image,m\na,1\nb,0\nc,1\n", "name it 'label'"),
    "no classes at all": ("image,age\na,33\nb,44\nc,55\n", "fewer than two folders that could be classes"),
    "open quotes": ('image,label\na,"x\nb,y\n', "line 3: unexpected end of data"),
    "binary": ("\x00\x01\x02\xff", "labels.csv"),
    "empty": ("", "the file is empty"),
    "no rows": ("image,label\n", r"labels\.csv: the table has no rows"),
    "a control character": ("image,label\na,x\x1b[31m\nb,y\nc,y\n", r"labels\.csv: the class 'x\\x1b\[31m' holds"),
    "two lines": ('image,label\na,"x\ny"\nb,y\nc,y\n', r"labels\.csv: the class 'x\\ny' holds"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_with_a_table_is_one_line(three: Path, text: str, message: str) -> None:
    (three / "labels.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=message) as caught:
        open_dataset(three, task="classification")
    assert "\n" not in str(caught.value)
    assert str(three) in str(caught.value)


def test_a_name_that_fits_several_images_is_refused(tmp_path: Path) -> None:
    root = images(tmp_path, "p/1.png", "q/1.png")
    (root / "labels.csv").write_text("image,label\n1.png,x\n")
    with pytest.raises(UserError, match=r"line 2: '1\.png' is the name of several images \(p/1\.png, q/1\.png\)"):
        open_dataset(root)


def test_a_table_that_contradicts_class_folders_is_refused(tmp_path: Path) -> None:
    root = images(tmp_path, "x/1.png", "y/2.png")
    (root / "cases.csv").write_text("file,class\n1.png,x\n2.png,x\n")
    with pytest.raises(UserError, match=r"line 3 says x about y/2\.png, which lies in the folder y"):
        open_dataset(root)


def test_several_tables_of_unknown_names_ask_for_one(three: Path) -> None:
    for name in ("train.csv", "test.csv"):
        (three / name).write_text("image,label\na,x\n")
    with pytest.raises(UserError, match=r"test\.csv, train\.csv cannot be used .*labels\.csv"):
        open_dataset(three)


def test_images_that_are_in_no_row_are_left_out_and_told(three: Path) -> None:
    images(three, "pictures/d.png")
    (three / "labels.csv").write_text("image,label\na,x\nb,y\nc,y\n")
    dataset = open_dataset(three)
    assert len(dataset) == 3
    assert [(problem.kind, problem.path.name) for problem in dataset.problems] == [("image without class", "d.png")]
    assert "add it to labels.csv" in dataset.problems[0].message


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """240 images of 80 patients with three independent classes, one of them rare."""
    random = np.random.default_rng(0)
    root = images(tmp_path / "many", *(f"{i}.png" for i in range(240)))
    rows = ["image,common,half,rare,patient"]
    for i in range(240):
        present = (random.random(3) < (0.8, 0.5, 0.08)).astype(int)
        rows.append(",".join(map(str, (f"{i}.png", *present, i // 3))))
    (root / "labels.csv").write_text("\n".join(rows))
    return root


def test_splits_of_a_multi_label_set_keep_groups_and_shares(many: Path) -> None:
    dataset = open_dataset(many)
    splits = make_splits(dataset, seed=3, fractions=(0.6, 0.2, 0.2))
    everyone = Counter(label for case in dataset.cases for label in case.labels)
    seen: set[str] = set()
    for part, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        cases = dataset.select(splits.part(part))
        assert len(cases) == pytest.approx(240 * share, abs=3)
        counts = Counter(label for case in cases for label in case.labels)
        for label, total in everyone.items():
            assert counts[label] == pytest.approx(total * share, abs=3)
        groups = {case.group for case in cases}
        assert not groups & seen
        seen |= groups


def test_cached_labels_are_zeros_and_ones(many: Path, tmp_path: Path) -> None:
    dataset = open_dataset(many)
    cases = dataset.cases[:20]
    for options in ({"in_memory": True}, {"folder": tmp_path / "cache"}):
        cached = build_cache(dataset, cases, (8, 8), 1, **options)  # type: ignore[arg-type]
        assert cached.labels.shape == (20, 3)
        for item, case in zip((cached[i] for i in range(20)), cases, strict=True):
            assert isinstance(item["label"], torch.Tensor)
            assert item["label"].dtype == torch.float32
            assert item["label"].nonzero()[:, 0].tolist() == list(case.labels)


def test_inspection_counts_classes_and_images_without_any(many: Path, tmp_path: Path) -> None:
    inspection = inspect_dataset(many)
    assert inspection.to_json()["multi_label"] is True
    everyone = Counter(label for case in inspection.dataset.cases for label in case.labels)
    assert [count.cases for count in inspection.classes] == [everyone[i] for i in range(3)]
    bare = sum(not case.labels for case in inspection.dataset.cases)
    assert any(f.kind == "no class" and f.message.startswith(f"{bare} images") for f in inspection.findings)
    assert write_contact_sheet(inspection.dataset, tmp_path / "sheet.png", 5) == (5, [])


def test_another_label_is_another_fingerprint_and_another_cache(three: Path, tmp_path: Path) -> None:
    found = set()
    for text in ("a,x|y\nb,y\nc,x\n", "a,x|y\nb,x\nc,x\n", "a,x|y\nb,\nc,x\n"):
        (three / "labels.csv").write_text(f"image,label\n{text}")
        dataset = open_dataset(three)
        found.add((dataset.fingerprint, build_cache(dataset, dataset.cases, (8, 8), 1, tmp_path / "cache").folder))
    assert len({a for a, _ in found}) == len({b for _, b in found}) == 3


@pytest.mark.parametrize("text", [",image,label\n0,a,x\n1,b,y\n0,c,y\n", ",image,x,y\n0,a,1,0\n1,b,0,1\n1,c,0,1\n"])
def test_a_column_without_a_title_says_nothing(three: Path, text: str) -> None:
    (three / "labels.csv").write_text(text)
    dataset = open_dataset(three)
    assert (dataset.classes, labels(dataset)) == (("x", "y"), {"a": 0, "b": 1, "c": 1})
    assert [case.group for case in dataset.cases] == ["a", "b", "c"]


def test_classes_that_differ_in_case_alone_are_told(three: Path) -> None:
    (three / "labels.csv").write_text("image,label\na,Ill\nb,well\nc,ill\n")
    assert "classes 'Ill' and 'ill' differ in case alone; are they one?" in open_dataset(three).notes
