"""Files appear whole or not at all, and are read with care."""

import errno
import json
import os
import stat

import pytest

from glocal.errors import UserError
from glocal.files import atomic, read_json, read_yaml, require_regular_file, write_json, write_text, writing


def refused(call, *words):
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message


class TestAtomic:
    def test_the_file_appears_with_its_folder(self, tmp_path):
        path = tmp_path / "a b" / "ü" / "-x.json"
        write_json(path, {"a": [1, "ü"]})
        assert json.loads(path.read_text(encoding="utf-8")) == {"a": [1, "ü"]}
        assert [p.name for p in path.parent.iterdir()] == ["-x.json"]

    def test_an_error_leaves_the_old_file_and_nothing_else(self, tmp_path):
        path = tmp_path / "x.txt"
        write_text(path, "old")

        def fail():
            with atomic(path) as temporary:
                temporary.write_text("half")
                raise RuntimeError("stop")

        with pytest.raises(RuntimeError, match="stop"):
            fail()
        assert path.read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]

    def test_the_temporary_file_is_beside_with_the_same_suffix(self, tmp_path):
        with atomic(tmp_path / "x.png") as temporary:
            assert temporary.parent == tmp_path
            assert temporary.suffix == ".png"
            assert not (tmp_path / "x.png").exists()

    def test_permissions_follow_the_umask(self, tmp_path):
        before = os.umask(0o027)
        try:
            write_text(tmp_path / "x", "x")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640

    def test_places_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("x")
        refused(lambda: write_text(tmp_path / "file" / "x", "x"), tmp_path / "file" / "x", "cannot be written")
        (tmp_path / "folder").mkdir()
        refused(lambda: write_text(tmp_path / "folder", "x"), "cannot be written")
        refused(lambda: write_text(tmp_path / ("x" * 300), "x"), "cannot be written")
        refused(lambda: write_text("/proc/no/x", "x"), "/proc/no/x", "cannot be written")

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
    def test_a_full_disk_is_said_and_leaves_nothing(self, tmp_path, number):
        def fill():
            with atomic(tmp_path / "x"):
                raise OSError(number, os.strerror(number))

        refused(fill, tmp_path / "x", "no space left")
        assert list(tmp_path.iterdir()) == []

    def test_another_failure_is_no_user_error(self):
        def fail():
            with writing("x"):
                raise OSError(errno.EIO, "input/output error")

        with pytest.raises(OSError, match="input/output"):
            fail()

    def test_json_without_nan(self, tmp_path):
        with pytest.raises(ValueError, match="JSON"):
            write_json(tmp_path / "x.json", float("nan"))
        assert list(tmp_path.iterdir()) == []


class TestRegularFile:
    def test_a_file_and_a_link_to_it(self, tmp_path):
        path, link = tmp_path / "x", tmp_path / "link"
        path.write_text("x")
        link.symlink_to(path)
        assert require_regular_file(path) == path
        assert require_regular_file(str(link)) == link

    def test_everything_else(self, tmp_path):
        refused(lambda: require_regular_file(tmp_path / "no"), tmp_path / "no", "no such file")
        refused(lambda: require_regular_file(tmp_path), "folder")
        (tmp_path / "empty").touch()
        refused(lambda: require_regular_file(tmp_path / "empty"), "empty")
        (tmp_path / "dangling").symlink_to(tmp_path / "no")
        refused(lambda: require_regular_file(tmp_path / "dangling"), "link")
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        refused(lambda: require_regular_file(tmp_path / "loop"), "link")
        os.mkfifo(tmp_path / "pipe")
        refused(lambda: require_regular_file(tmp_path / "pipe"), "pipe")
        refused(lambda: require_regular_file("/dev/zero"), "not a regular file")


class TestReading:
    def test_round_trip(self, tmp_path):
        write_json(tmp_path / "x.json", {"a": None, "b": [1.5, True]})
        assert read_json(tmp_path / "x.json") == {"a": None, "b": [1.5, True]}

    def test_a_byte_order_mark_is_no_matter(self, tmp_path):
        (tmp_path / "x.json").write_bytes(b"\xef\xbb\xbf{}")
        assert read_json(tmp_path / "x.json") == {}

    @pytest.mark.parametrize("content", [b"{", b"\xff\xfe{}", b"[" * 200_000, b"text", b"{} {}", b"9" * 5000])
    def test_json_that_is_none(self, tmp_path, content):
        path = tmp_path / "x.json"
        path.write_bytes(content)
        refused(lambda: read_json(path), path)

    def test_yaml(self, tmp_path):
        path = tmp_path / "x.yaml"
        path.write_text("a: 1\nb: [x, 2.5]\n")
        assert read_yaml(path) == {"a": 1, "b": ["x", 2.5]}

    @pytest.mark.parametrize(
        "content",
        [
            "a: [1",
            "!!python/object/apply:os.system ['echo ran']",
            "a: &x [1]\nb: [*x, *x]",
            "a: b: c",
            "[" * 20_000,
            "a: " + "9" * 5000,
            "a: 2024-13-45",
            "a: 1\na: 2",
        ],
    )
    def test_yaml_that_is_refused(self, tmp_path, content, capfd):
        path = tmp_path / "x.yaml"
        path.write_text(content)
        refused(lambda: read_yaml(path), path)
        assert "ran" not in capfd.readouterr().out

    def test_a_file_too_large_for_settings(self, tmp_path):
        path = tmp_path / "x.json"
        with path.open("wb") as stream:
            stream.truncate(65 * 2**20)
        refused(lambda: read_json(path), path, "too large")
