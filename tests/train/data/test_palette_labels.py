"""A palette PNG whose parts agree with their checksums, but not with each other, is an error in words."""

import io
import zlib

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from danet_train.data.samples.sample import read_label
from danet_train.errors import DataError

LABEL = (np.arange(20 * 30).reshape(20, 30) // 37 % 7).astype(np.uint8)


def _palette_png():
    picture = PIL.Image.fromarray(LABEL).convert("L")
    picture.putpalette([value for index in range(7) for value in (index, 9 * index, 255 - index)])
    stream = io.BytesIO()
    picture.save(stream, "PNG", bits=8)
    return stream.getvalue()


def _chunks(data):
    at, found = 8, []
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _png(chunks):
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
        for kind, content in chunks
    )


OPTIONAL = [b"pHYs", b"tRNS", b"gAMA", b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"cHRM", b"sRGB"]
CHUNKS = _chunks(_palette_png())


def _header(width, height):
    return [(b"IHDR", width.to_bytes(4, "big") + height.to_bytes(4, "big") + CHUNKS[0][1][8:])]


def test_the_pictures_of_this_file_are_palette_labels(tmp_path):
    path = tmp_path / "label.png"
    path.write_bytes(_png(CHUNKS))
    assert [kind for kind, _ in CHUNKS] == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    np.testing.assert_array_equal(read_label(path), LABEL)


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ([*CHUNKS[:2], (b"IDAT", b"not what zlib writes"), CHUNKS[3]], "is damaged"),
        ([*CHUNKS[:2], (b"IDAT", CHUNKS[2][1][:9]), CHUNKS[3]], "is damaged"),
        ([*CHUNKS[:2], CHUNKS[3]], "is damaged"),
        ([*CHUNKS[:1], (b"pHYs", b"\0"), *CHUNKS[1:]], "is damaged"),
        (_header(100_000, 100_000) + CHUNKS[1:], "states 100000x100000 pixels .*; expected at most"),
        (_header(12_000, 12_000) + CHUNKS[1:], "states 12000x12000 pixels .*; expected at most"),
    ],
    ids=["no-zlib", "short", "no-data", "truncated-chunk", "bomb", "large"],
)
def test_damage_that_checksums_do_not_show_is_an_error_that_names_the_file(tmp_path, chunks, words):
    path = tmp_path / "label.png"
    path.write_bytes(_png(chunks))
    with pytest.raises(DataError, match=rf"label\.png {words}"):
        read_label(path)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_content_of_any_chunk_escapes_as_another_error(tmp_path, data):
    chunks = list(CHUNKS)
    at = data.draw(st.integers(0, len(chunks) - 2))
    kind, content = chunks[at]
    place = data.draw(st.integers(0, len(content) - 1))
    if at:
        chunks[at] = (kind, content[:place] + data.draw(st.binary(max_size=8)) + content[place + 1 :])
    else:
        chunks[at] = (
            kind,
            content[:place] + data.draw(st.binary(min_size=1, max_size=1)) + content[place + 1 :],
        )
    if data.draw(st.booleans()):
        extra = (data.draw(st.sampled_from(OPTIONAL)), data.draw(st.binary(max_size=30)))
        chunks.insert(data.draw(st.integers(1, 2)), extra)
    path = tmp_path / "label.png"
    path.write_bytes(_png(chunks))
    try:
        label = read_label(path)
    except DataError as error:
        assert "label.png" in str(error)  # noqa: PT017 - either is right
    else:
        assert label.dtype == np.uint8
        assert label.ndim == 2
