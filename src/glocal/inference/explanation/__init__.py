"""Why a network says what it says: class-activation maps of classifiers and of segmentations."""

from glocal.inference.explanation.explaining import explain, explain_classes
from glocal.inference.explanation.result import Explanation

__all__ = ["Explanation", "explain", "explain_classes"]
