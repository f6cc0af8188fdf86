"""Messages that give the cure."""

import pytest

from glocal.cli import main
from glocal.errors import UserError, counted, nearest, optional_import


@pytest.mark.parametrize(("word", "expected"), [("lmnt", "lmnet"), ("trian", "train"), ("--epoch", "--epochs")])
def test_the_nearest_is_named(word, expected):
    assert nearest(word, ["lmnet", "train", "--epochs"]) == f" Did you mean {expected!r}?"


def test_nothing_near_gives_no_advice():
    assert nearest("xyzzy", ["lmnet", "train"]) == ""
    assert nearest("anything", []) == ""


def test_one_is_singular():
    assert [counted(number, "image") for number in (0, 1, 2)] == ["0 images", "1 image", "2 images"]


def test_a_user_error_is_a_value_error():
    assert issubclass(UserError, ValueError)


def test_an_optional_import_that_is_there():
    assert optional_import("json.decoder", "train").JSONDecoder


def test_an_optional_import_that_is_missing_names_the_extra():
    with pytest.raises(UserError, match=r"no_such_package is not installed.*pip install 'glocal\[train\]'"):
        optional_import("no_such_package.sub", "train")


def test_a_package_that_is_there_but_broken_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import a_dependency_that_is_missing")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_dependency_that_is_missing"):
        optional_import("broken_package", "train")


class TestCommandLine:
    def test_no_command_prints_the_usage(self, capsys):
        for words in ([], ["--help"], ["-h"]):
            assert main(words) == 0
            assert "usage: glocal COMMAND" in capsys.readouterr().out

    def test_an_unknown_command_gives_the_nearest(self, capsys):
        assert main(["trian"]) == 2
        assert capsys.readouterr().err == (
            "glocal: error: no command 'trian'. Did you mean 'train'? `glocal --help` lists them\n"
        )

    def test_a_message_of_several_lines_is_printed_as_one(self, capsys, monkeypatch):
        def fail(_arguments):
            raise UserError("one\n  two")

        monkeypatch.setattr("glocal.cli.models.run", fail)
        assert main(["models"]) == 2
        assert capsys.readouterr().err == "glocal: error: one two\n"

    def test_a_bug_of_ours_is_exit_code_1_with_traceback(self, capsys, monkeypatch):
        def fail(_arguments):
            raise KeyError("ours")

        monkeypatch.setattr("glocal.cli.models.run", fail)
        assert main(["models"]) == 1
        err = capsys.readouterr().err
        assert "Traceback" in err
        assert "bug of ours" in err

    def test_an_interrupt_is_130(self, monkeypatch):
        def stop(_arguments):
            raise KeyboardInterrupt

        monkeypatch.setattr("glocal.cli.models.run", stop)
        assert main(["models"]) == 130
