"""Bodies of motion JPEG: the same parts however they arrive, and no memory for what is only announced."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danet_runtime.sources.network.arrival import Arrival
from danet_runtime.sources.network.multipart import (
    MOST_HEADER_BYTES,
    MOST_PART_BYTES,
    MultipartError,
    MultipartParser,
    Part,
)

NOW = Arrival(3)
BOUNDARIES = st.sampled_from(["--frame", "----boundary", "--x", "--a b", "--0123456789"])
# Pictures hold line feeds and dashes, but none that a boundary of theirs begins with.
PICTURES = st.lists(
    st.binary(min_size=1, max_size=200).map(lambda data: b"\xff\xd8" + data + b"\xff\xd9"), max_size=5
)


def body_of(pictures: list[bytes], boundary: str, *, has_length: bool, newline: str = "\r\n") -> bytes:
    body = b""
    for picture in pictures:
        length = f"content-length: {len(picture)}{newline}" if has_length else ""
        head = (
            f"{boundary}{newline}Content-Type: image/jpeg{newline}{length}X-Timestamp: 7.5{newline}{newline}"
        )
        body += head.encode() + picture + newline.encode()
    return body + f"{boundary}{newline}".encode()


def fed(body: bytes, cuts: list[int]) -> list[Part]:
    parser, parts, start = MultipartParser(), [], 0
    for stop in sorted({*(cut % (len(body) + 1) for cut in cuts), len(body)}):
        parts += parser.feed(body[start:stop], Arrival(start))
        start = stop
    return parts


@given(
    pictures=PICTURES,
    boundary=BOUNDARIES,
    has_length=st.booleans(),
    newline=st.sampled_from(["\r\n", "\n"]),
    cuts=st.lists(st.integers(0, 5000), max_size=30),
)
def test_a_body_gives_the_same_parts_in_whatever_pieces_it_comes(
    pictures: list[bytes], boundary: str, has_length: bool, newline: str, cuts: list[int]
) -> None:
    if any(b"\n" + boundary.encode() in picture for picture in pictures):
        return
    body = body_of(pictures, boundary, has_length=has_length, newline=newline)
    parts = fed(body, cuts)
    assert [part.data.rstrip(b"\r") for part in parts] == pictures
    for part in parts:
        assert part.headers["x-timestamp"] == "7.5"
        assert part.is_whole


@given(
    pictures=PICTURES.filter(bool), cuts=st.lists(st.integers(0, 5000), max_size=30), has_length=st.booleans()
)
def test_a_part_is_as_old_as_its_first_byte(pictures: list[bytes], cuts: list[int], has_length: bool) -> None:
    body = body_of(pictures, "--frame", has_length=has_length)
    starts = sorted({0, *(cut % (len(body) + 1) for cut in cuts)})
    at = 0
    for part, picture in zip(fed(body, cuts), pictures, strict=True):
        at = body.index(b"\r\n\r\n", at) + 4
        assert part.arrival.time_ns == max(start for start in starts if start <= at)
        at += len(picture)


@given(data=st.binary(max_size=3000), cuts=st.lists(st.integers(0, 5000), max_size=10))
def test_whatever_comes_gives_parts_or_an_error_that_says_why(data: bytes, cuts: list[int]) -> None:
    with suppress(MultipartError):
        fed(b"--frame\r\n" + data, cuts)


@settings(deadline=None)
@given(announced=st.integers(MOST_PART_BYTES + 1, 10**30))
def test_what_is_only_announced_is_refused_before_anything_is_allocated(announced: int) -> None:
    tracemalloc.start()
    with pytest.raises(MultipartError, match=f"at most {MOST_PART_BYTES} are read"):
        MultipartParser().feed(f"--frame\r\nContent-Length: {announced}\r\n\r\n".encode(), NOW)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"", "expected --BOUNDARY"),
        (b"--frame\r\n", "headers of more than"),
        (b"--frame\r\n\r\n", "no end within"),
    ],
)
def test_a_body_without_an_end_is_not_kept(start: bytes, words: str) -> None:
    parser, taken = MultipartParser(), 0
    parser.feed(start, NOW)
    piece = b"x" * (1 << 16)
    with pytest.raises(MultipartError, match=words):  # noqa: PT012 - whichever piece is one too many
        while taken < 4 * MOST_PART_BYTES:
            parser.feed(piece, NOW)
            taken += len(piece)
    assert taken <= (MOST_PART_BYTES if words == "no end within" else MOST_HEADER_BYTES) + len(piece)


def test_a_length_that_is_wrong_costs_one_part() -> None:
    whole = b"\xff\xd8" + b"p" * 100 + b"\xff\xd9"
    head = b"--frame\r\nContent-Length: %d\r\n\r\n"
    body = head % 40 + whole + b"\r\n" + head % len(whole) + whole + b"\r\n--frame\r\n"
    assert [part.data for part in fed(body, [])] == [whole[:40], whole]


def test_a_body_that_breaks_off_gives_what_there_was_as_that() -> None:
    parser = MultipartParser()
    assert parser.feed(b"--frame\r\nContent-Length: 50\r\n\r\n\xff\xd8half", NOW) == []
    assert parser.end() == [Part(b"\xff\xd8half", {"content-length": "50"}, NOW, is_whole=False)]
    assert MultipartParser().end() == []
