"""What docs/evaluation.md says is so: its snippets run, and its tables name what the code has."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from glocal.evaluation import (
    CLASSIFICATION_PRESETS,
    METRICS,
    POLICIES,
    PRESETS,
    EvaluatedCase,
    calibration,
    classification,
    evaluation,
)
from glocal.evaluation.classification_metrics import BY_CLASS, OVERALL
from glocal.evaluation.classification_table import classified_columns
from glocal.evaluation.table import COLUMNS

TEXT = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")


def test_the_snippets_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mask = np.eye(256, dtype=np.uint8)
    snippets = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(snippets) == 3
    exec(snippets[0], {"cases": [("a", mask, mask, "patient 1"), ("b", mask, mask, None)]})
    assert (tmp_path / "evaluation" / "test" / "report.html").exists()
    exec(snippets[1], {"cases": [EvaluatedCase("a", mask, mask)]})
    exec(snippets[2], {})
    assert "Reliability diagram" in (tmp_path / "evaluation" / "test" / "report.html").read_text(encoding="utf-8")


def test_every_column_metric_policy_and_preset_is_explained() -> None:
    metrics = re.findall(r"^\| `(\w+)` \| .* \| (?:[01]) \| ", TEXT, re.MULTILINE)
    assert metrics == [metric.name for metric in METRICS]
    assert [name for name in COLUMNS if f"`{name}`" not in TEXT] == []
    assert [name for name in POLICIES if f"| `{name}`" not in TEXT] == []
    assert [name for name in PRESETS if f"### `{name}`" not in TEXT] == []


def test_every_score_column_and_preset_of_classifiers_is_explained() -> None:
    scores = re.findall(r"^\| `(\w+)` \| (?:overall|class)", TEXT, re.MULTILINE)
    assert scores == [score.name for score in (*OVERALL, *BY_CLASS)]
    part = TEXT[TEXT.index("### Files of a classification") :]
    assert [name for name in classified_columns(["CLASS"]) if f"`{name}`" not in part] == []
    assert [name for name in CLASSIFICATION_PRESETS if f"### Preset `{name}`" not in TEXT] == []


@pytest.mark.parametrize("module", [calibration, classification, evaluation], ids=lambda module: module.__name__)
def test_the_examples_in_docstrings_run(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert (result.failed, result.attempted > 0) == (0, True)
