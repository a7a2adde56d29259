"""Pictures are decoded only where what their headers state is small enough; the sizes are OpenCV's own."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from forged_bundles import forge
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_box import record

from danet_runtime.bundle import Bundle
from danet_runtime.bundle.golden import golden_frame
from danet_runtime.errors import BundleError, ManifestError, SourceError
from danet_runtime.pictures.header import MOST_PIXELS, read_header
from danet_runtime.pictures.reading import decode
from danet_runtime.recorder.reader import FlightRecording
from danet_runtime.sources import open_source

SIZES = st.tuples(st.integers(1, 700), st.integers(1, 700))
CHEAP = [".bmp", ".jpg", ".png", ".ppm", ".pgm", ".tiff", ".webp"]


def encoded(suffix: str, height: int, width: int) -> bytes:
    shape = (height, width) if suffix == ".pgm" else (height, width, 3)
    return bytes(cv2.imencode(suffix, np.full(shape, 99, np.uint8))[1])


def png_of_nothing(height: int, width: int) -> bytes:
    """A valid PNG of one value, a thousandth of what it decodes to."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    content = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CHEAP), SIZES)
def test_the_stated_size_is_what_opencv_and_pillow_find(suffix: str, size_hw: tuple[int, int]) -> None:
    data = encoded(suffix, *size_hw)
    header = read_header(data)
    assert header is not None
    assert (header.height, header.width) == size_hw
    assert decode(data, "it", cv2.IMREAD_COLOR).shape[:2] == size_hw


@pytest.mark.parametrize("form", ["WEBP lossless", "WEBP alpha", "JPEG progressive", "TIFF", "BMP", "PPM"])
def test_pillows_own_forms_state_the_same_size(form: str, tmp_path: Path) -> None:
    name, _, kind = form.partition(" ")
    options = {kind: True} if kind in ("lossless", "progressive") else {}
    file = tmp_path / "it"
    PIL.Image.new("RGBA" if kind == "alpha" else "RGB", (321, 123)).save(file, format=name, **options)
    header = read_header(file.read_bytes())
    assert header is not None
    assert header[1:] == (123, 321)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.sampled_from(CHEAP), SIZES, st.integers(0, 60), st.binary(min_size=1, max_size=4))
def test_what_opencv_decodes_is_never_larger_than_the_header_that_was_checked(
    suffix: str, size_hw: tuple[int, int], at: int, put: bytes
) -> None:
    data = bytearray(encoded(suffix, *size_hw))
    data[at : at + len(put)] = put
    header = read_header(bytes(data))
    if header is not None and header.height * header.width > 10**7:
        return  # not for this test's memory
    try:
        picture = cv2.imdecode(np.frombuffer(bytes(data), np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return
    if picture is not None and header is not None:  # EXIF turns it, an 8 may become a 4
        assert picture.shape[0] * picture.shape[1] <= header.height * header.width


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"BM", b"RIFF____WEBP", b"II*\0", b"P6 "]),
    st.binary(),
)
def test_no_bytes_make_the_header_fail(start: bytes, rest: bytes) -> None:
    found = read_header(start + rest)
    assert found is None or (found.height >= 0 and found.width >= 0)


def liar(height: int, width: int) -> bytes:
    """A PNG of 8 x 8 pixels that states another size, with the checksum of that."""
    data = bytearray(encoded(".png", 8, 8))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def test_a_picture_that_states_gigabytes_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(liar(30000, 30000))
    with pytest.raises(SourceError, match=rf"large\.png states 30000x30000 .* at most {MOST_PIXELS}"):
        open_source(str(tmp_path / "large.png"))


def test_the_golden_frame_must_state_the_manifests_size_before_it_is_decoded(
    bundle: Bundle, tmp_path: Path
) -> None:
    bomb = png_of_nothing(6000, 6000)  # 103 MiB of pixels
    assert len(bomb) < 1 << 18
    forged = forge(bundle, tmp_path / "bomb", {"golden/frame.png": bomb})
    with pytest.raises(BundleError, match=r"frame\.png states 6000x6000 .* expected 48x64"):
        golden_frame(Bundle.open(forged))
    code = """
import resource, sys, cv2
from danet_runtime.bundle import Bundle
from danet_runtime.errors import BundleError
from danet_runtime.latency.profiling import golden_frame
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    golden_frame(Bundle.open(sys.argv[1]))
except BundleError:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(forged)], capture_output=True, text=True, timeout=120, check=False
    )
    assert int(done.stdout) < 32, done.stderr  # MiB


@pytest.mark.parametrize("which", ["frame", "labels"])
def test_the_pictures_of_a_flight_recording_are_limited_and_plain_files(
    bundle: Bundle, tmp_path: Path, which: str
) -> None:
    box = record(bundle, tmp_path / "box")
    entry = FlightRecording(box).manifest.frames[0]
    file = box / getattr(entry, which)
    file.write_bytes(liar(30000, 3200))
    with pytest.raises(SourceError, match="states 30000x3200"):
        next(iter(FlightRecording(box)))
    file.unlink()
    file.symlink_to("/dev/zero")
    with pytest.raises(SourceError):
        next(iter(FlightRecording(box)))


@pytest.mark.parametrize("size_hw", [(10**9, 10**9), (16384, 16384), (16385, 8)])
def test_a_manifest_cannot_ask_for_frames_that_fill_the_memory(
    bundle: Bundle, tmp_path: Path, size_hw: tuple[int, int]
) -> None:
    forged = forge(bundle, tmp_path / "b", {}, lambda manifest: manifest["frame"].update(size_hw=size_hw))
    with pytest.raises(ManifestError, match=r"frame"):
        Bundle.open(forged)
