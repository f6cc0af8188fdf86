"""Public data sets from a local server: interruption, wrong files, hostile archives."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from glocal.cli import main
from glocal.data.download import CATALOGUE, ON_REQUEST, Archive, PublicSet, download, downloading, fetching, unpacking
from glocal.errors import UserError


class Server(ThreadingHTTPServer):
    """Serves ``files``; closes connections early as often as ``cuts`` says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cuts = 0
        self.ranges: list[str | None] = []
        self.etags = True
        self.codes: list[int] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        if self.server.codes:
            self.send_error(self.server.codes.pop(0))
            return
        content = self.server.files.get(self.path[1:])
        if content is None:
            self.send_error(404)
            return
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        start = 0
        if asked and self.headers.get("If-Range") == tag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content) > 0 and start:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if self.server.etags:
            self.send_header("ETag", tag)
        self.end_headers()
        body = content[start:]
        if self.server.cuts:
            self.server.cuts -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(fetching, "PAUSE_S", 0.0)
    served = Server()
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield served
    served.shutdown()
    served.server_close()


def zipped(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


GOOD = zipped(("set/images/a.png", bytes(range(256)) * 40), ("set/masks/a.png", b"mask"), ("ReadMe ü.txt", b"hello"))


def entry(server: Server, content: bytes, name: str = "set.zip", checksum: str | None = "right") -> PublicSet:
    server.files[name] = content
    archive = Archive(server.url(name), name, None, sha256(content) if checksum == "right" else checksum)
    return PublicSet("set", "A set", "https://example.org", "Us, 2026", "Do as you like.", (archive,))


def get(one: PublicSet, folder: Path) -> downloading.Downloaded:
    return download(one, folder, accept_licence=True)


def test_a_set_is_fetched_checked_and_unpacked_with_a_receipt(server: Server, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    one = entry(server, GOOD)
    done = download(one, tmp_path / "out", accept_licence=True, watch=lambda *word: told.append(word))
    assert done.files == 3
    assert done.fresh
    assert (tmp_path / "out/set/set/masks/a.png").read_bytes() == b"mask"
    assert told[-1] == ("set.zip", len(GOOD), len(GOOD))
    receipt = json.loads((tmp_path / "out" / downloading.RECEIPT).read_text())
    assert receipt["licence"] == "Do as you like."
    assert receipt["archives"][0]["checksum"] == sha256(GOOD)
    assert not (tmp_path / "out/archives").exists()
    requests = len(server.ranges)
    assert not get(one, tmp_path / "out").fresh
    assert len(server.ranges) == requests  # nothing is fetched twice


def test_nothing_is_fetched_before_the_licence_is_accepted(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--accept-licence. Do as you like"):
        download(entry(server, GOOD), tmp_path / "out", accept_licence=False)
    assert server.ranges == []
    assert not (tmp_path / "out").exists()


def test_an_interrupted_file_is_continued_not_begun_again(server: Server, tmp_path: Path) -> None:
    server.cuts = 2
    get(entry(server, GOOD), tmp_path / "out")
    first, second = len(GOOD) // 2, len(GOOD) // 2 + (len(GOOD) - len(GOOD) // 2) // 2
    assert server.ranges == [None, f"bytes={first}-", f"bytes={second}-"]


def test_the_same_command_goes_on_after_giving_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "ATTEMPTS", 1)
    server.cuts = 1
    one = entry(server, GOOD)
    with pytest.raises(UserError, match=f"interrupted after {len(GOOD) // 2:,} bytes .* the same command goes on"):
        get(one, tmp_path / "out")
    assert get(one, tmp_path / "out").files == 3
    assert server.ranges[-1] == f"bytes={len(GOOD) // 2}-"


def test_a_file_that_changed_meanwhile_is_begun_anew(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "ATTEMPTS", 1)
    server.cuts = 1
    with pytest.raises(UserError, match="interrupted"):
        get(entry(server, GOOD), tmp_path / "out")
    other = zipped(("b.png", bytes(30_000)))
    assert get(entry(server, other), tmp_path / "out").files == 1


def test_a_server_without_etags_is_asked_for_the_whole_file_again(server: Server, tmp_path: Path) -> None:
    server.etags, server.cuts = False, 1
    assert get(entry(server, GOOD), tmp_path / "out").files == 3
    assert server.ranges == [None, None]


def test_busy_servers_are_asked_again_and_missing_files_are_not(server: Server, tmp_path: Path) -> None:
    server.codes = [503, 429]
    assert get(entry(server, GOOD), tmp_path / "out").files == 3
    server.ranges.clear()
    del server.files["set.zip"]
    one = PublicSet("set", "", "", "", "", (Archive(server.url("gone.zip"), "gone.zip"),))
    with pytest.raises(UserError, match="answers 404"):
        get(one, tmp_path / "other")
    assert len(server.ranges) == 1


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (lambda url: Archive(url, "set.zip", None, "md5:" + "0" * 32), "wrong checksum"),
        (lambda url: Archive(url, "set.zip", 7), "offers .* where 7 are expected"),
    ],
    ids=["checksum", "size"],
)
def test_another_file_than_expected_is_refused_and_removed(
    server: Server, tmp_path: Path, archive: Callable[[str], Archive], message: str
) -> None:
    server.files["set.zip"] = GOOD
    one = PublicSet("set", "", "", "", "", (archive(server.url("set.zip")),))
    with pytest.raises(UserError, match=message):
        get(one, tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_too_little_space_is_said_before_anything_is_written(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = fetching._MARGIN + 10

    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: Full())
    with pytest.raises(UserError, match="bytes are to come and"):
        get(entry(server, GOOD), tmp_path / "out")


def linked() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return stream.getvalue()


def tarred(kind: bytes = tarfile.REGTYPE, name: str = "a.txt", link: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, link, 3 if kind == tarfile.REGTYPE else 0
        archive.addfile(info, io.BytesIO(b"abc") if info.size else None)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.zip", zipped(("../evil.txt", b"x")), "leads outside"),
        ("x.zip", zipped(("/etc/evil.txt", b"x")), "leads outside"),
        ("x.zip", zipped(("a\\..\\..\\evil.txt", b"x")), "leads outside"),
        ("x.zip", zipped(("C:/evil.txt", b"x")), "leads outside"),
        ("x.zip", linked(), "link or device"),
        ("x.zip", GOOD[: len(GOOD) // 2], "not an archive|damaged"),
        ("x.zip", zipped(("bomb", bytes(64 << 20))), "bomb"),
        ("x.zip", zipped(("a", b"1"), ("b", b"2")).replace(b"b", b"a"), "twice"),
        ("x.zip", b"<html>sign in</html>" * 50, "not an archive"),
        ("x.zip", zipped(), "nothing in it"),
        ("x.tar.gz", tarred(name="../evil.txt"), "leads outside"),
        ("x.tar.gz", tarred(tarfile.SYMTYPE, "a", "/etc/passwd"), "link or device"),
        ("x.tar.gz", tarred(tarfile.LNKTYPE, "a", "../../x"), "link or device"),
        ("x.tar.gz", tarred(tarfile.FIFOTYPE, "a"), "link or device"),
        ("x.tar.gz", tarred()[:-30], "not an archive|damaged"),
    ],
    ids=[
        *("parent", "absolute", "backslashes", "drive", "link", "cut", "bomb", "twice", "page", "empty"),
        *("tar-parent", "tar-symlink", "tar-hardlink", "tar-pipe", "tar-cut"),
    ],
)
def test_hostile_archives_leave_nothing(
    server: Server, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        get(entry(server, content, name), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {name}
    assert not (tmp_path / "out/x").exists()


def test_tar_files_unpack(server: Server, tmp_path: Path) -> None:
    get(entry(server, tarred(), "x.tar.gz"), tmp_path / "out")
    assert (tmp_path / "out/x/a.txt").read_bytes() == b"abc"


def test_a_folder_with_other_things_is_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="not empty"):
        get(entry(server, GOOD), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_record_of_zenodo_gives_files_and_checksums(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    md5 = hashlib.md5(GOOD).hexdigest()
    server.files["7"] = json.dumps(
        {
            "files": [
                {"key": "a.zip", "size": len(GOOD), "checksum": f"md5:{md5}", "links": {"self": "https://evil.org/a"}}
            ]
        }
    ).encode()
    monkeypatch.setattr(downloading, "_ZENODO", server.url("").rstrip("/"))
    one = PublicSet("set", "", "", "", "", zenodo=7)
    with pytest.raises(UserError, match=r"names a file .a\.zip. at https://evil\.org/a; not fetched"):
        get(one, tmp_path / "out")
    server.files["7"] = b"<html>"
    with pytest.raises(UserError, match="not JSON"):
        get(one, tmp_path / "out")


def test_the_catalogue_says_where_what_and_under_which_licence() -> None:
    assert not set(CATALOGUE) & set(ON_REQUEST)
    for one in CATALOGUE.values():
        assert "http" in one.licence, one.name  # the full text
        assert one.archives or one.zenodo, one.name
        for archive in one.archives:
            assert archive.url.startswith("https://"), one.name
            algorithm, _, digest = (archive.checksum or "md5:" + "0" * 32).partition(":")
            assert len(digest) == {"md5": 32, "sha256": 64}[algorithm], one.name
    assert {"synapse", "acdc", "iugc2024", "jnu_ifm"} <= set(ON_REQUEST)


def test_on_the_command_line(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(CATALOGUE, "set", entry(server, GOOD))
    monkeypatch.chdir(tmp_path)
    assert main(["data", "download"]) == 0
    assert "kvasir_seg" in capsys.readouterr().out
    assert main(["data", "download", "set"]) == 2
    shown = capsys.readouterr()
    assert "Do as you like." in shown.out
    assert "--accept-licence" in shown.err
    assert main(["data", "download", "set", "--accept-licence", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == 3
    assert main(["data", "download", "synapse"]) == 2
    assert "on request only" in capsys.readouterr().err
    assert main(["data", "download", "kvasir"]) == 2
    assert "Did you mean 'kvasir_seg'?" in capsys.readouterr().err


def test_sizes_that_lie_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "_ALWAYS", 1000)
    path = tmp_path / "x.zip"
    path.write_bytes(zipped(("a", bytes(500_000))))
    with pytest.raises(UserError, match="bomb"):
        unpacking.unpack(path, tmp_path / "out")
    assert [item.name for item in tmp_path.iterdir()] == ["x.zip"]
