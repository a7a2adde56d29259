"""What a bundle's path may reach: plain files in its own folder, whatever its manifest or the disk says."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danet_runtime.bundle import MANIFEST_NAME, SIGNATURE_NAME, Bundle, FileRef, folder
from danet_runtime.errors import BundleError, IntegrityError

SECRET = b"not of this bundle"
GOLDEN = "golden/frame.png"
OPEN_FILES = Path("/proc/self/fd")


@pytest.fixture
def copied(bundle: Bundle, tmp_path: Path) -> Bundle:
    shutil.copytree(bundle.path, tmp_path / "copy")
    return Bundle.open(tmp_path / "copy")


@pytest.fixture(params=["descriptors", "paths"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the calls that open a path part by part, and as on systems without them."""
    if request.param == "paths":
        monkeypatch.setattr(folder, "_HAS_DIR_FD", False)
    else:
        assert folder._HAS_DIR_FD


def forged(path: str, data: bytes = SECRET) -> FileRef:
    """An entry that no parsed manifest can hold, as if the check there had failed."""
    return FileRef.model_construct(path=path, sha256=folder.hashlib.sha256(data).hexdigest(), bytes=len(data))


@given(st.text(max_size=20) | st.text("./\\:aA~\x00 ", max_size=12))
def test_an_allowed_path_stays_inside_and_has_one_spelling(path: str) -> None:
    if folder.path_fault(path) is None:
        assert os.path.normpath(path) == path
        assert not Path(path).is_absolute()
        assert ".." not in path.split("/")
        assert path.isascii()
        assert not set("\\:\x00 ~") & set(path)


@given(st.lists(st.text("aZ09_+.-", max_size=8).map(lambda part: f"a{part}z"), min_size=1, max_size=8))
def test_ordinary_paths_are_allowed(parts: list[str]) -> None:
    assert folder.path_fault("/".join(parts)) is None


@pytest.mark.parametrize("path", [MANIFEST_NAME, "Manifest.JSON", SIGNATURE_NAME])
def test_a_manifest_cannot_vouch_for_itself(path: str) -> None:
    assert "must not be the manifest" in (folder.path_fault(path) or "")


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "golden/../../secret",
        "golden\\..\\..\\secret",
        "golden/frame.png\x00",
        "",
        ".",
        "./secret",
    ],
)
def test_a_path_out_of_the_bundle_is_refused_even_past_the_manifest(copied: Bundle, path: str) -> None:
    (copied.path.parent / "secret").write_bytes(SECRET)
    (copied.path / "secret").write_bytes(SECRET)
    with pytest.raises(IntegrityError, match="inside the bundle"):
        copied.read(forged(path))


@pytest.mark.usefixtures("either_way")
def test_an_absolute_path_is_refused(copied: Bundle, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    with pytest.raises(IntegrityError, match="inside the bundle"):
        copied.read(forged(str(tmp_path / "secret")))


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("inside", [True, False])
def test_a_linked_file_is_refused_wherever_it_leads(copied: Bundle, tmp_path: Path, inside: bool) -> None:
    target = (copied.path if inside else tmp_path) / "elsewhere.png"
    (copied.path / GOLDEN).rename(target)
    (copied.path / GOLDEN).symlink_to(target)
    with pytest.raises(IntegrityError, match=r"frame.png is a symbolic link.*copy the bundle"):
        copied.read(copied.manifest.golden.frame)


@pytest.mark.usefixtures("either_way")
def test_a_linked_folder_is_refused_even_with_the_same_files(copied: Bundle, tmp_path: Path) -> None:
    (copied.path / "golden").rename(tmp_path / "golden")
    (copied.path / "golden").symlink_to(tmp_path / "golden")
    with pytest.raises(IntegrityError, match="golden is a symbolic link"):
        copied.read(copied.manifest.golden.frame)


@pytest.mark.usefixtures("either_way")
def test_a_linked_manifest_is_refused_before_it_is_parsed(copied: Bundle, tmp_path: Path) -> None:
    (copied.path / MANIFEST_NAME).rename(tmp_path / "other.json")
    (copied.path / MANIFEST_NAME).symlink_to(tmp_path / "other.json")
    with pytest.raises(IntegrityError, match="symbolic link"):
        Bundle.open(copied.path)


def test_a_bundle_may_be_reached_through_a_link(copied: Bundle, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(copied.path)
    assert Bundle.open(tmp_path / "current").read(copied.manifest.golden.frame)


@pytest.mark.usefixtures("either_way", "watchdog")
@pytest.mark.parametrize("name", [GOLDEN, MANIFEST_NAME])
@pytest.mark.parametrize("kind", ["FIFO", "socket", "folder"])
def test_what_is_no_plain_file_is_refused_and_never_waited_for(
    copied: Bundle, name: str, kind: str, monkeypatch: pytest.MonkeyPatch, watchdog: Callable[[int], None]
) -> None:
    watchdog(20)
    file = copied.path / name
    file.unlink()
    if kind == "FIFO":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        monkeypatch.chdir(file.parent)  # the name of a socket is limited to about 100 bytes
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(file.name)
    with pytest.raises(BundleError, match=f"plain file.*{kind}"):
        Bundle.open(copied.path).read(copied.manifest.golden.frame)


def test_a_device_is_refused_without_being_opened(copied: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "path_fault", lambda _path: None)
    opened = []
    real = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest, **named: opened.append(path) or real(path, *rest, **named)
    )
    there = Bundle(Path("/dev"), copied.manifest, copied.sha256)
    with pytest.raises(IntegrityError, match="a device"):
        there.read(forged("null", b""))
    assert [str(path) for path in opened] == ["/dev"]


def test_a_large_file_with_a_small_entry_is_not_read(copied: Bundle) -> None:
    file = copied.path / GOLDEN
    with file.open("r+b") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(IntegrityError, match=r"expected \d+ bytes, got 1099511627776"):
        copied.read(copied.manifest.golden.frame)
    with pytest.raises(IntegrityError, match=r"expected \d+ bytes, got 1099511627776"):
        copied.verify()


def test_a_file_that_grows_or_shrinks_while_it_is_read_is_refused(
    copied: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = copied.path / GOLDEN
    whole = file.read_bytes()
    real = os.read
    for other in (whole + b"x", whole[:-1]):
        file.write_bytes(whole)

        def changing(descriptor: int, count: int, other: bytes = other) -> bytes:
            file.write_bytes(other)
            return real(descriptor, count)

        with monkeypatch.context() as patched:
            patched.setattr(os, "read", changing)
            with pytest.raises(IntegrityError, match="changed while it was read"):
                copied.read(copied.manifest.golden.frame)


@pytest.mark.parametrize("exchanged", ["file", "folder"])
def test_a_link_put_there_between_the_look_and_the_opening_is_not_followed(
    copied: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanged: str
) -> None:
    place = copied.path / (GOLDEN if exchanged == "file" else "golden")
    real = os.open
    done = []

    def racing(path: str | Path, flags: int, *rest: int, **named: int) -> int:
        if path == place.name and not done:
            done.append(path)
            place.rename(tmp_path / "moved")
            place.symlink_to(tmp_path / "moved")
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", racing)
    with pytest.raises(IntegrityError, match="cannot be opened as a plain file or folder"):
        copied.read(copied.manifest.golden.frame)
    assert done


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="this system does not list a process's open files")
def test_reading_leaves_no_descriptor_open(copied: Bundle) -> None:
    before = len(list(OPEN_FILES.iterdir()))
    (copied.path / "golden" / "labels.png").unlink()
    for _ in range(20):
        copied.read(copied.manifest.golden.frame)
        with pytest.raises(IntegrityError, match="missing"):
            copied.read(copied.manifest.golden.labels)
    assert len(list(OPEN_FILES.iterdir())) == before


def test_a_folder_that_cannot_be_listed_is_an_error_not_an_empty_one(
    copied: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def guarded(path: str) -> object:
        if str(path).endswith("golden"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(IntegrityError, match="golden cannot be read: Permission denied"):
        list(folder.list_files(copied.path))


def test_listing_names_links_and_what_is_hidden_and_follows_nothing(tmp_path: Path) -> None:
    inside = tmp_path / "b"
    (inside / "sub").mkdir(parents=True)
    (inside / "empty").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").touch()
    for name in ("z", ".hidden", "sub/a"):
        (inside / name).touch()
    (inside / "link").symlink_to(tmp_path / "outside")
    assert sorted(folder.list_files(inside)) == [".hidden", "link", "sub/a", "z"]
