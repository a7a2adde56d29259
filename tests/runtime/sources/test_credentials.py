"""Credentials of a camera stay out of errors, reports, logs and lists of processes."""

from __future__ import annotations

import os
import shlex
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from process_parts import children_of, seen_of
from sink_parts import result
from stream_parts import until

from danet_runtime.bundle import Bundle
from danet_runtime.errors import SinkError, SourceError, UsageError
from danet_runtime.sinks import StreamFormat
from danet_runtime.sinks.push import PushSink
from danet_runtime.sources import open_source
from danet_runtime.sources.gstreamer import has_element
from danet_runtime.sources.protocol.uri import HIDDEN, Redaction, check_address, redacted, secrets_of
from danet_runtime.sources.rtsp import RtspSource

pytestmark = pytest.mark.slow  # processes, or whole exports, by the dozen

needs_gstreamer = pytest.mark.skipif(not has_element("gdppay"), reason="GStreamer is not installed")

PARTS = st.lists(
    st.text("abcXYZ019", min_size=2, max_size=5).map(lambda word: f"q{word}q"), min_size=1, max_size=3
)


@st.composite
def secrets(draw: st.DrawFn, between: str = "/@:?#[]%&=+!;,~ \"'\\é") -> tuple[str, list[str]]:
    """A user's name or password, and its parts: characters that end it for some parser stand between them."""
    parts = draw(PARTS)
    text = parts[0]
    for part in parts[1:]:
        text += draw(st.sampled_from(between)) + part
    return text, parts


USERS = secrets("-_.%+")
NAMES = st.sampled_from(
    ["pw", "token", "key", "auth", "password", "passwd", "secret", "api_key", "apikey", "access_token", "sig"]
)
PROPERTIES = st.sampled_from(
    ["user-pw", "proxy-pw", "passphrase", "token", "password", "key", "secret", "cookies", "proxy-id"]
)


def assert_hides(text: str, *secret_parts: list[str]) -> None:
    shown = redacted(text)
    for part in (part for parts in secret_parts for part in parts):
        assert part not in shown, shown
    assert redacted(shown) == shown
    error = Redaction(text)(f"ERROR: could not open {text}: not found")
    for part in (part for parts in secret_parts for part in parts):
        assert part not in error, error


@settings(deadline=None)
@given(user=USERS, password=secrets(), scheme=st.sampled_from(["rtsp", "rtsps", "http", "https", "srt"]))
@example(user=("bob", ["bob"]), password=("pa[ss", ["pa[ss"]), scheme="rtsp")
def test_what_stands_before_the_host_is_hidden_whatever_the_password_holds(
    user: tuple[str, list[str]], password: tuple[str, list[str]], scheme: str
) -> None:
    uri = f"{scheme}://{user[0]}:{password[0]}@camera.local:554/live"
    assert redacted(uri) == f"{scheme}://{HIDDEN}@camera.local:554/live"
    assert_hides(uri, user[1], password[1])
    assert_hides(f"front={uri}", user[1], password[1])
    assert_hides(f"{scheme}:/{user[0]}:{password[0]}@camera.local/live", user[1], password[1])
    assert_hides(f"'{uri}' is no source", user[1], password[1])


@settings(deadline=None)
@given(user=USERS, password=secrets(), name=NAMES, first=st.booleans())
def test_values_in_a_query_are_hidden(
    user: tuple[str, list[str]], password: tuple[str, list[str]], name: str, first: bool
) -> None:
    start = f"user={user[0]}&{name}={password[0]}" if first else f"{name}={password[0]}&user={user[0]}"
    uri = f"http://camera.local/video?fps=5&{start}"
    if "@" not in password[0]:
        assert redacted(uri).startswith("http://camera.local/video?fps=5&")
    assert_hides(uri, user[1], password[1])


@settings(deadline=None)
@given(password=secrets(), name=PROPERTIES)
def test_values_in_a_pipeline_are_hidden_however_they_are_quoted(
    password: tuple[str, list[str]], name: str
) -> None:
    text, parts = password
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    for value in (
        f"{name}={shlex.quote(text)}",
        shlex.quote(f"{name}={text}") if "'" not in text else f'"{name}={escaped}"',
        f'{name}="{escaped}"',
        f'{name}=(string)"{escaped}"',
        f'{name} = "{escaped}"',
    ):
        pipeline = f"gst:souphttpsrc location=http://camera/x {value} ! queue name=after ! decodebin"
        if "@" not in text:
            assert "! queue name=after ! decodebin" in redacted(pipeline)
        assert_hides(pipeline, parts)


@settings(deadline=None)
@given(password=secrets("/:?[]%+;,~-"), user=USERS)
def test_what_a_program_repeats_encoded_or_decoded_is_hidden_too(
    user: tuple[str, list[str]], password: tuple[str, list[str]]
) -> None:
    uri = f"rtsp://{user[0]}:{password[0]}@camera/live"
    hide = Redaction(uri)
    assert {user[0], password[0]} <= set(secrets_of(uri))
    for secret in secrets_of(uri):
        assert secret not in hide(f"401 for {secret} at camera")


@settings(deadline=None)
@given(
    host=st.sampled_from(("camera", "10.0.0.7:554", "[::1]:8554")),
    path=st.text("abcdefgh/-_.0123456789", max_size=20),
    query=st.sampled_from(("", "?fps=30", "?size=720x1280&fps=5")),
)
def test_what_holds_no_credential_is_shown_as_it_is(host: str, path: str, query: str) -> None:
    for text in (
        f"rtsp://{host}/{path}{query}",
        f"failed to open 'http://{host}/{path}{query}' twice",
        f"gst:rtspsrc location=rtsp://{host}/{path} latency=0 ! queue ! decodebin",
        f"/data/{path}.mp4",
    ):
        assert redacted(text) == text
        assert Redaction(text)(f"{text} has ended") == f"{text} has ended"


@pytest.mark.parametrize(
    "text",
    [
        "drive.mp4",
        "a@b.mp4",
        "rtsp://camera/live@2",
        "gst:v4l2src device=/dev/video0 ! decodebin",
        "gst:videotestsrc ! x264enc key-int-max=30 ! souphttpclientsink user-agent=danet",
        "synthetic:?size=48x64&fps=50",
        "monkey=business",
    ],
)
def test_nothing_is_hidden_without_need(text: str) -> None:
    assert redacted(text) == text
    assert secrets_of(text) == ()


@pytest.mark.parametrize(
    "uri",
    [
        "rtsp://bob:pa[ss99@127.0.0.1/x",
        "rtsp://bob:pa/ss99@127.0.0.1/x",
        "rtsp://bob:pa@ss99@127.0.0.1/x",
        "http://bob:pa#ss99@127.0.0.1/x",
    ],
)
def test_a_password_that_must_be_encoded_is_refused_with_how(uri: str) -> None:
    with pytest.raises(UsageError, match="encode @ as %40, : as %3A, / as %2F") as refused:
        check_address(uri)
    assert "ss99" not in str(refused.value)
    for opened in (open_source, PushSink):
        if opened is not PushSink or uri.startswith("rtsp"):
            with pytest.raises(UsageError) as refused:
                opened(uri)
            assert "ss99" not in str(refused.value)


def test_no_way_to_name_a_camera_wrongly_shows_its_password(danet: Callable, bundle: Bundle) -> None:
    for sources, words in (
        (["camera:rtsp://bob:hunter2@h/x"], "expected camera:N"),
        (["rtps://bob:hunter2[@h/x*"], "rtps://***@h/x*"),
        (["rtsp://bob:hunter2@h/x", "rtsp://bob:hunter2@h/x", "-o", "rtsp://bob:hunter2@h/x"], "{camera}"),
        (["gst:nosuchelement user-pw='hunter2 a' proxy-pw=hunter2 passphrase=hunter2 " + "x" * 300], "***"),
    ):
        done = danet("run", bundle.path, *sources)
        assert done.returncode in (1, 2)
        assert words in done.stderr
        assert "hunter2" not in done.stderr + done.stdout
        assert "Traceback" not in done.stderr


@pytest.fixture
def silent_uri() -> Iterator[str]:
    """A camera that is there and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"rtsp://driver:hunter2@127.0.0.1:{server.getsockname()[1]}/street"


def assert_nothing_to_see() -> None:
    until(lambda: any("danet-gstreamer" in seen_of(child) for child in children_of(os.getpid())))
    for child in children_of(os.getpid()):
        assert "hunter2" not in seen_of(child)
        with suppress(OSError):
            assert b"hunter2" not in Path(f"/proc/{child}/environ").read_bytes()


@needs_gstreamer
def test_the_list_of_processes_does_not_hold_a_cameras_password(silent_uri: str) -> None:
    source: list[RtspSource] = []
    refused: list[str] = []

    def read() -> None:
        try:
            source.append(RtspSource(silent_uri, start_s=1.5))
        except SourceError as error:
            refused.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    assert_nothing_to_see()
    reader.join()
    assert "rtsp://***@127.0.0.1" in refused[0]
    assert "hunter2" not in refused[0]


@needs_gstreamer
@pytest.mark.skipif(not has_element("rtspclientsink"), reason="rtspclientsink is not installed")
def test_the_list_of_processes_does_not_hold_the_password_of_an_output(
    silent_uri: str, bundle: Bundle
) -> None:
    sink = PushSink(silent_uri)
    classes = bundle.manifest.classes
    sink.open(StreamFormat((48, 64), 25.0, classes, np.zeros((256, 3), np.uint8)))
    with suppress(SinkError):  # it may have given up by then; what counts is what was to be seen
        sink.write(result(np.zeros((48, 64, 3), np.uint8)))
    assert_nothing_to_see()
    sink.close()
