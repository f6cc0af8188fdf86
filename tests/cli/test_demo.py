"""The demonstration, shortened: the same steps on a few phantoms."""

from __future__ import annotations

import json

import pytest

from glocal.cli import main


@pytest.mark.slow
def test_the_demo_goes_from_phantoms_to_masks_and_can_be_repeated(tmp_path, capsys) -> None:
    folder = tmp_path / "demo"
    for _ in range(2):
        assert main(["demo", "--output", str(folder), "--count", "16", "--epochs", "1"]) == 0
        shown = capsys.readouterr().out
        report = folder / "run" / "evaluation" / "test" / "report.html"
        assert str(report) in shown
        assert report.stat().st_size > 10_000
        assert len(list((folder / "masks").glob("*.png"))) == 16
        assert len(list((folder / "masks" / "overlays").glob("*.png"))) == 16
        summary = json.loads((report.parent / "summary.json").read_text())
        assert summary["classes"] == ["background", "pubic symphysis", "fetal head"]


def test_a_folder_the_demo_did_not_make_is_left_alone(tmp_path, refused) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "not made by the demo" in refused("demo", "--output", tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
