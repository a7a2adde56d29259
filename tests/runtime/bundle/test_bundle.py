"""Reading and writing bundles: nothing damaged, moved or foreign is accepted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from danet_runtime.bundle import MANIFEST_NAME, Bundle, write_bundle
from danet_runtime.errors import BundleError, IntegrityError, UsageError

FILES = ("model.fp32.onnx", "golden/frame.png", "golden/labels.png")


@pytest.fixture
def copied(bundle: Bundle, tmp_path: Path) -> Bundle:
    shutil.copytree(bundle.path, tmp_path / "copy")
    return Bundle.open(tmp_path / "copy")


def test_a_whole_bundle_verifies(bundle: Bundle) -> None:
    bundle.verify()
    assert {ref.path for ref in bundle.manifest.files()} == set(FILES)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(name=st.sampled_from(FILES), where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_one_changed_byte_anywhere_is_found(copied: Bundle, name: str, where: float, flip: int) -> None:
    file = copied.path / name
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[int(where * len(whole))] ^= flip
    file.write_bytes(damaged)
    with pytest.raises(IntegrityError, match="expected sha256"):
        copied.verify()
    file.write_bytes(whole)
    copied.verify()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_shortened_file_is_named(copied: Bundle, name: str) -> None:
    file = copied.path / name
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=rf"{name}: expected \d+ bytes"):
        copied.verify()
    file.unlink()
    with pytest.raises(IntegrityError, match=f"{name} is missing"):
        copied.verify()


def test_a_link_out_of_the_bundle_is_refused_even_to_the_same_bytes(copied: Bundle, tmp_path: Path) -> None:
    file = copied.path / FILES[0]
    outside = tmp_path / "outside.onnx"
    shutil.move(file, outside)
    file.symlink_to(outside)
    with pytest.raises(IntegrityError, match="leads out of the bundle"):
        copied.verify()


def test_the_hash_of_the_bundle_changes_with_its_manifest(copied: Bundle) -> None:
    content = json.loads((copied.path / MANIFEST_NAME).read_text())
    content["provenance"]["created"] = "2026-02-02T00:00:00Z"
    (copied.path / MANIFEST_NAME).write_text(json.dumps(content))
    assert Bundle.open(copied.path).sha256 != copied.sha256


@pytest.mark.parametrize("kind", ["nothing", "file", "empty folder", "huge manifest"])
def test_what_is_no_bundle_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "file":
        path.write_text("x")
    elif kind != "nothing":
        path.mkdir()
    if kind == "huge manifest":
        (path / MANIFEST_NAME).write_bytes(b" " * (5 << 20))
    with pytest.raises(BundleError):
        Bundle.open(path)


def test_a_variant_that_is_not_there_is_a_usage_error_with_what_there_is(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match=r"no int8 variant, only fp32; `danet calibrate`"):
        bundle.variant("int8")


def test_a_bundle_appears_only_when_its_manifest_is_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="without a manifest"), write_bundle(tmp_path / "b") as writer:
        writer.add("model.onnx", b"x")
    with pytest.raises(RuntimeError), write_bundle(tmp_path / "b") as writer:  # noqa: PT012
        writer.add("model.onnx", b"x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_that_vouches_for_what_is_not_there_is_not_written(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError), write_bundle(tmp_path / "b") as writer:
        writer.finish(bundle.manifest)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_replaced_only_on_request(
    bundle_maker: Callable[..., Bundle], tmp_path: Path, bundle: Bundle
) -> None:
    first = bundle_maker(tmp_path / "b")
    with pytest.raises(UsageError, match="exists already"):
        bundle_maker(tmp_path / "b")
    with write_bundle(tmp_path / "b", overwrite=True) as writer:
        for ref in bundle.manifest.files():
            writer.copy(bundle, ref)
        writer.finish(bundle.manifest)
    assert Bundle.open(tmp_path / "b").sha256 == first.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
