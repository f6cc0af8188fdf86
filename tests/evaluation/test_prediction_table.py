"""Tables of predictions, of ours and of other programs: read strictly, told in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from glocal.errors import UserError
from glocal.evaluation import ClassifiedCase, evaluate_classification, logits_of, probabilities, read_prediction_table

CLASSES = ["cat", "dog"]
HEAD = "image,prediction,probability,p:cat,p:dog\n"


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_is_read_in_the_order_of_the_classes(tmp_path: Path) -> None:
    text = '\ufeffp:dog,image,remark,p:cat\n0.25,"a, b.png",x,0.75\n1.0,\'=c.png,,0\n\n'
    found = read_prediction_table(table(tmp_path, text), CLASSES)
    assert {name: p.tolist() for name, p in found.items()} == {"a, b.png": [0.75, 0.25], "=c.png": [0, 1]}


def test_several_labels_need_not_add_up(tmp_path: Path) -> None:
    text = HEAD + "a,cat;dog,0.9,0.9,0.8\nb,,0.2,0.2,0.1\n"
    found = read_prediction_table(table(tmp_path, text), CLASSES, multi_label=True)
    assert found["b"].tolist() == [0.2, 0.1]


@pytest.mark.parametrize("multi_label", [False, True])
def test_logits_of_probabilities_give_them_again(multi_label: bool) -> None:
    p = np.array([[0.2, 0.8], [0.0, 1.0]])
    back = probabilities(logits_of(p, multi_label=multi_label), multi_label=multi_label)
    assert back == pytest.approx(p, abs=2e-7)
    case = ClassifiedCase("a", logits_of(p[1], multi_label=multi_label), (0,) if multi_label else 0)
    summary = evaluate_classification([case], CLASSES, multi_label=multi_label, resamples=5).summary
    assert summary["overall"]["nll"]["value"] == pytest.approx(-np.log(1e-7), rel=1e-3)


HOSTILE = {
    "": "the file is empty",
    "\n\n": "the table is empty",
    HEAD: "the table has no rows",
    "image,p:cat\n": "there is no column 'p:dog'",
    "file,p:cat,p:dog\n": "there is no column 'image'",
    "image,p:cat,p:dog,p:dgo\na,0.5,0.5,0\n": r"'p:dgo' is of no class of this data .* Did you mean 'dog'",
    "image,p:cat,p:dog,p:cat\n": "column 'p:cat' comes twice",
    HEAD + "a,cat,0.9,0.9,0.2\n": "line 2: the probabilities add up to 1.1, not 1",
    HEAD + "a,cat,0.9,0.9,0.1\na,cat,0.9,0.9,0.1\n": "line 3: image 'a' comes twice",
    HEAD + ",cat,0.9,0.9,0.1\n": "line 2: no image is named",
    HEAD + "a,cat,0.9,0.9\n": "line 2: 4 values under 5 columns",
    HEAD + "a,cat,0.9,much,0.1\n": "line 2: p:cat is 'much'",
    HEAD + "a,cat,0.9,nan,0.1\n": "line 2: p:cat is 'nan'",
    HEAD + "a,cat,1.9,1.9,-0.9\n": "line 2: p:cat is '1.9'",
    HEAD + "a,cow,0.9,0.9,0.1\n": "line 2: prediction 'cow' is no class",
    HEAD + "a,dog,0.9,0.9,0.1\n": "line 2: the prediction 'dog' is not the most probable class, 'cat'",
    HEAD + "a,,,,\n": "line 2: 'a' has no probabilities; mend the image and predict again",
    HEAD + '"a,cat,0.9,0.9,0.1\n': "not a CSV table",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_an_unusable_table_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=HOSTILE[text]) as raised:
        read_prediction_table(table(tmp_path, text), CLASSES)
    assert "table.csv" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_prediction_at_another_threshold_is_told(tmp_path: Path) -> None:
    path = table(tmp_path, HEAD + "a,cat,0.6,0.6,0.5\n")
    assert read_prediction_table(path, CLASSES, multi_label=True)["a"].tolist() == [0.6, 0.5]
    path = table(tmp_path, HEAD + "a,cat,0.6,0.6,0.7\n")
    with pytest.raises(UserError, match="line 2: the prediction 'cat' is not every class of probability"):
        read_prediction_table(path, CLASSES, multi_label=True)


def test_files_that_are_no_tables_are_told(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff")
    with pytest.raises(UserError, match="not a text file"):
        read_prediction_table(tmp_path / "table.csv", CLASSES)
    with pytest.raises(UserError, match="no such file"):
        read_prediction_table(tmp_path / "missing.csv", CLASSES)
