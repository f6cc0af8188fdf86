"""Declared ablations: rows of options of a network, beside what its paper printed for them.

``count_ablation(get_ablation("lmnet_table8"))`` counts, ``run_ablation(...)`` trains the rows like a benchmark.
"""

from glocal.ablation.catalogue import ABLATIONS, get_ablation
from glocal.ablation.counting import Counts, Entry, count_ablation
from glocal.ablation.declared import Ablation, Measure, Printed, Row

__all__ = [
    "ABLATIONS",
    "Ablation",
    "Counts",
    "Entry",
    "Measure",
    "Printed",
    "Row",
    "count_ablation",
    "get_ablation",
]
