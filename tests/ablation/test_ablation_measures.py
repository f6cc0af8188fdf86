"""What is measured of a trained row is there in the summary of a real evaluation."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from glocal.ablation import ABLATIONS, Ablation
from glocal.ablation.measuring import figures_of
from glocal.evaluation import ClassifiedCase, EvaluatedCase, evaluate, evaluate_classification
from glocal.models import model_info


def summary(ablation: Ablation) -> Any:
    """Of four perfect predictions."""
    if model_info(ablation.networks[0]).task == "classification":
        logits = (np.array([4.0, -4.0]), np.array([-4.0, 4.0]))
        cases = [ClassifiedCase(f"case {i}", logits[i % 2], i % 2) for i in range(4)]
        found = evaluate_classification(cases, ("cat", "dog"), preset=ablation.preset, resamples=20).summary
    else:
        mask = np.zeros((32, 32), np.uint8)
        mask[8:20, 10:24] = 1
        cases = [EvaluatedCase(f"case {i}", prediction=mask, truth=mask) for i in range(4)]
        found = evaluate(cases, ("background", "disc"), preset=ablation.preset, resamples=20).summary
    return json.loads(json.dumps(found))


@pytest.mark.parametrize("ablation", ABLATIONS.values(), ids=ABLATIONS)
def test_measures_are_figures_of_the_evaluation(ablation: Ablation) -> None:
    found = figures_of(ablation, summary(ablation))
    assert set(found) == {measure.title for measure in ablation.measures}
    for measure in ablation.measures:
        best = 0.0 if measure.title in ("Hd", "HD95", "RAD %") else 100.0
        assert found[measure.title] == pytest.approx(best), measure.title
