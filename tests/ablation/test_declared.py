"""The declared ablations: what they copy from papers is what is printed there, and their counts are the known ones."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from glocal.ablation import ABLATIONS, Ablation, Entry, Row, count_ablation, get_ablation
from glocal.benchmark.plan import slug
from glocal.errors import UserError
from glocal.models import model_info
from glocal.models.complexity import count_parameters
from glocal.models.registry import build

SPECS = Path(os.environ.get("GLOCAL_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "specs"

# Parameters and the paper's G of `lmnet`, then of `lmnet_paper`; then the same merged (LM-Net's specification, §3.3).
LMNET = {
    ("lmnet_table6", "3x3"): ("3,912,086 4.967 5,375,306 4.468", "3,910,646 4.919 5,373,386 4.405"),
    ("lmnet_table6", "5x5"): ("3,935,126 5.155 5,406,026 4.720", "3,933,686 5.108 5,404,106 4.657"),
    ("lmnet_table6", "1x3 3x1"): ("3,910,646 4.978 5,373,386 4.484", "3,910,646 4.919 5,373,386 4.405"),
    ("lmnet_table6", "3x3 5x5"): ("3,950,966 5.309 5,427,146 4.924", "3,933,686 5.108 5,404,106 4.657"),
    ("lmnet_table6", "3x3 1x3 3x1"): ("3,926,486 5.132 5,394,506 4.688", "3,910,646 4.919 5,373,386 4.405"),
    ("lmnet_table6", "5x5 1x3 3x1"): ("3,949,526 5.321 5,425,226 4.940", "3,933,686 5.108 5,404,106 4.657"),
    ("lmnet_table6", "3x3 5x5 1x3 3x1"): ("3,965,366 5.474 5,446,346 5.145", "3,933,686 5.108 5,404,106 4.657"),
    ("lmnet_table6", "four and dilated 5x5"): ("4,004,246 5.816 5,498,186 5.601", "4,014,326 5.769 5,511,626 5.538"),
    ("lmnet_table6", "four, dilated 5x5 and 7x7"): (
        "4,077,686 6.441 5,596,106 6.434",
        "4,014,326 5.769 5,511,626 5.538",
    ),
    ("lmnet_table7", "without merging"): ("3,965,366 5.474 5,446,346 5.145", ""),
    ("lmnet_table7", "with merging"): ("3,933,686 5.108 5,404,106 4.657", ""),
    ("lmnet_table8", "baseline"): ("1,536,758 4.853 1,130,890 4.040", ""),
    ("lmnet_table8", "ASPP"): ("3,088,502 5.241 3,888,010 4.730", ""),
    ("lmnet_table8", "single-scale GFT"): ("4,037,162 5.492 5,573,818 5.177", ""),
    ("lmnet_table8", "multi-scale GFT"): ("3,965,366 5.474 5,446,346 5.145", ""),
    ("lmnet_table9", "single-skip"): ("3,288,890 2.958 4,980,346 3.579", ""),
    ("lmnet_table9", "single-skip LFT"): ("3,499,130 3.612 5,353,146 4.735", ""),
    ("lmnet_table9", "multi-skip"): ("3,755,126 4.820 5,073,546 3.988", ""),
    ("lmnet_table9", "multi-skip LFT"): ("3,965,366 5.474 5,446,346 5.145", ""),
    ("lmnet_table10", "multi-branch"): ("860,282 2.337 664,890 2.474", ""),
    ("lmnet_table10", "multi-branch, LFT"): ("1,536,758 4.853 1,130,890 4.040", ""),
    ("lmnet_table10", "multi-branch, GFT"): ("3,288,890 2.958 4,980,346 3.579", ""),
    ("lmnet_table10", "multi-branch, LFT, GFT"): ("3,965,366 5.474 5,446,346 5.145", ""),
}
# Parameters of the rows whose paper or specification gives them.
PARAMETERS = {
    ("hifuse_hff", "HFF"): 118_086_497,
    ("hiperformer_fusion", "both, LGFF"): 382_299_701,
    ("hiperformer_fusion", "IRMLP of Eq. 10"): 269_547_701,
    ("hiperformer_aggregation", "PMI and PGA"): 382_299_701,
    ("spm_pvt_tiny", "own merging"): 13_229_288,
    ("spm_pvt_tiny", "SPM"): 14_029_480,
    ("spm_pvt_small", "own merging"): 24_485_864,
    ("spm_pvt_small", "SPM"): 25_286_056,
    ("spm_pvt_medium", "own merging"): 44_208_104,
    ("spm_pvt_medium", "SPM"): 45_008_296,
    ("spm_pvt_large", "own merging"): 61_369_320,
    ("spm_pvt_large", "SPM"): 62_169_512,
    ("spm_pvt_huge_v2", "own merging"): 304_945_512,
    ("spm_pvt_huge_v2", "SPM"): 306_721_640,
    ("spm_swin_tiny", "own merging"): 28_288_354,
    ("spm_swin_tiny", "SPM"): 29_949_538,
    ("spm_swin_small", "own merging"): 49_606_258,
    ("spm_swin_small", "SPM"): 51_267_442,
    ("spm_swin_base", "own merging"): 87_768_224,
    ("spm_swin_base", "SPM"): 90_671_264,
    ("dssa_sparsity", "DSSA"): 29_250_115,
    ("star_dssa", "DSSA"): 29_250_115,
}


def counted(name: str, *labels: str) -> dict[tuple[str, str], Entry]:
    """The rows with these labels, or all, by label and network."""
    ablation = get_ablation(name)
    rows = tuple(row for row in ablation.rows if row.label in labels or not labels)
    return {(entry.row.label, entry.network): entry for entry in count_ablation(replace(ablation, rows=rows))}


def parameters(name: str) -> dict[str, int]:
    """Parameters alone, which take less time than multiply-adds."""
    ablation, found = get_ablation(name), {}
    for row in ablation.rows:
        with torch.device("meta"):
            found[row.label] = count_parameters(build(ablation.networks[0], row.arguments))
    return found


@pytest.mark.parametrize("ablation", ABLATIONS.values(), ids=ABLATIONS)
def test_a_declaration_makes_sense(ablation: Ablation) -> None:
    labels = [row.label for row in ablation.rows]
    assert len({slug(label).lower() for label in labels}) == len(labels)
    options = [(row.model, row.deployed, sorted(row.arguments.items())) for row in ablation.rows]
    assert all(options.count(one) == 1 for one in options), "two rows are the same"
    for row in ablation.rows:
        assert row.merged_from is None or ablation.row(row.merged_from).trained
        if row.printed is not None:
            assert set(row.printed.figures) <= set(ablation.columns)
    tasks = {model_info(name).task for name in ablation.networks}
    assert len(tasks) == 1
    assert len({measure.title for measure in ablation.measures}) == len(ablation.measures) > 0


@pytest.mark.parametrize("name", [name for name in ABLATIONS if name.startswith("lmnet")])
def test_counts_of_lmnet_are_those_of_its_specification(name: str) -> None:
    entries = counted(name)
    known = {label: texts for (table, label), texts in LMNET.items() if table == name}
    for label, (plain, merged) in known.items():
        both = [entries[label, network].counts for network in ("lmnet", "lmnet_paper")]
        assert " ".join(f"{c.parameters:,} {c.papers.multiply_adds / 1e9:.3f}" for c in both) == plain, label
        if merged:
            both = [c.merged for c in both]
            assert " ".join(f"{c.parameters:,} {c.papers.multiply_adds / 1e9:.3f}" for c in both) == merged, label
    assert {row.label for row in get_ablation(name).rows if row.model is None and not row.deployed} == set(known)


@pytest.mark.parametrize("name", [name for name in ABLATIONS if name.startswith("lmnet")])
def test_the_reconstruction_has_the_counts_that_the_paper_prints(name: str) -> None:
    """Parameters to the printed digit; multiply-adds by its counter within 0.04 G, and of the U-Net exactly."""
    for (_, network), entry in counted(name).items():
        printed = entry.row.printed
        if printed is None or not printed.parameters or network == "lmnet":
            continue
        mega, giga = float(printed.parameters.split()[0]), float(printed.multiply_adds.split()[0])
        exact = network == "unet"  # of which the paper cuts digits off where it rounds elsewhere
        assert entry.counts.parameters / 1e6 == pytest.approx(mega, abs=0.01 if exact else 0.005)
        assert entry.counts.papers.multiply_adds / 1e9 == pytest.approx(giga, abs=0.005 if exact else 0.04)


@pytest.mark.parametrize(("name", "label"), PARAMETERS, ids=str)
def test_parameters_are_those_of_the_specifications(name: str, label: str) -> None:
    (entry,) = counted(name, label).values()
    assert entry.counts.parameters == PARAMETERS[name, label]


def test_star_dssa_without_its_additions_costs_what_dssa_costs() -> None:
    star, plain = counted("star_dssa", "DSSA", "bi-level routing"), counted("dssa_sparsity", "DSSA", "all tokens")
    for one, other in (("DSSA", "DSSA"), ("bi-level routing", "all tokens")):
        assert star[one, "star_dssaunet"].counts == plain[other, "dssaunet"].counts


def test_selections_have_no_parameters_and_fewer_candidates_cost_less() -> None:
    entries = {label: entry.counts for (label, _), entry in counted("dssa_sparsity").items()}
    assert len({counts.parameters for counts in entries.values()}) == 1
    rising = ["regions 1 2 4", "DSSA", "regions 2 8 32", "regions 4 16 64", "all regions", "all regions, all tokens"]
    costs = [entries[label].multiply_adds for label in rising]
    assert costs == sorted(set(costs))
    kept = [entries[label].multiply_adds for label in ("one token in 16", "DSSA", "one token in 4", "one token in 2")]
    assert kept == sorted(set(kept))


def test_every_part_left_out_of_a_fusion_saves_parameters_or_is_said_to_have_none() -> None:
    hff = parameters("hifuse_hff")
    assert all(hff[label] < hff["HFF"] for label in hff if label not in ("HFF", "without shortcut"))
    assert hff["without shortcut"] == hff["HFF"]
    lgff = parameters("hiperformer_fusion")
    assert all(lgff[label] < lgff["both, LGFF"] for label in lgff if label != "both, LGFF")
    parts = [lgff["both, LGFF"] - lgff[f"LGFF without {part}"] for part in ("SPE", "ACI", "SPE and ACI")]
    assert parts[0] + parts[1] == parts[2]


def test_what_a_network_refuses_is_a_row_that_says_why() -> None:
    (refused,) = counted("star_dssa", "saliency without route gate").values()
    assert refused.counts is None
    assert "saliency without route_gate could not be trained" in refused.refusal


def test_a_small_variant_takes_the_rows_and_another_network_is_refused() -> None:
    ablation = get_ablation("star_dssa")
    (entry,) = count_ablation(replace(ablation, rows=ablation.rows[:1]), "star_dssaunet_tiny")
    assert entry.network == "star_dssaunet_tiny"
    assert entry.counts.parameters == model_info("star_dssaunet_tiny").parameters
    with pytest.raises(UserError, match=r"of star_dssaunet and its variants .*lmnet_tiny is another network"):
        count_ablation(get_ablation("star_dssa"), "lmnet_tiny")
    with pytest.raises(UserError, match="Did you mean 'lmnet_tiny'"):
        count_ablation(get_ablation("lmnet_table8"), "lmnet_tinny")


@pytest.mark.parametrize(
    ("wrong", "right"), [("lmnet_table88", "lmnet_table8"), ("LMNet-Table7", "lmnet_table7"), ("star", "star_dssa")]
)
def test_an_unknown_name_brings_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(UserError, match=f"Did you mean '{right}'"):
        get_ablation(wrong)


def figures(row: Row, ablation: Ablation) -> list[str]:
    return [row.printed.figures[column] for column in ablation.columns]


@pytest.mark.skipif(not SPECS.is_dir(), reason="needs the specifications (GLOCAL_SHARED)")
@pytest.mark.parametrize(("number", "before", "after"), [(6, 6, 0), (8, 1, 2), (9, 3, 2), (10, 4, 0)])
def test_figures_of_lmnet_are_letter_for_letter_those_of_the_paper(number: int, before: int, after: int) -> None:
    """``before`` cells say what the row is, ``after`` cells are the counts: multiply-adds and parameters."""
    text = (SPECS / "lmnet.md").read_text()
    text = text[text.index("## Appendix A") :]
    ablation = get_ablation(f"lmnet_table{number}")
    lines = text[text.index(f"**Table {number} ") :].splitlines()[2:]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2 : lines.index("")]]
    assert len(table) == len(ablation.rows)
    for cells, row in zip(table, ablation.rows, strict=True):
        assert cells[before : len(cells) - after] == figures(row, ablation)
        if after:
            assert cells[-2:] == [
                row.printed.multiply_adds.removesuffix(" G"),
                row.printed.parameters.removesuffix(" M"),
            ]


@pytest.mark.skipif(not SPECS.is_dir(), reason="needs the specifications (GLOCAL_SHARED)")
def test_figures_of_hiperformer_are_letter_for_letter_those_of_the_paper() -> None:
    text = (SPECS / "hiperformer.md").read_text()
    printed = re.findall(r"^\|(.{4,30}?)\| (\d\d\.\d\d) \| (\d\d\.\d\d) \|$", text[text.index("\nAblation (") :], re.M)
    declared = [
        tuple(figures(row, ablation))
        for ablation in (get_ablation("hiperformer_fusion"), get_ablation("hiperformer_aggregation"))
        for row in ablation.rows
        if row.printed is not None
    ]
    assert len(printed) == 6
    assert set(declared) == {(synapse, btcv) for _, synapse, btcv in printed}
