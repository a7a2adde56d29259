"""Who is asked for a camera's pictures over HTTP, and who is told what: hosts, passwords, certificates."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from http_camera import (
    Asked,
    HttpCamera,
    answer,
    opened,
    pictures,
    read,
    redirect,
    serving,
    true_jpeg,
    true_video,
)

from danet_runtime.errors import SourceError
from danet_runtime.sources import open_source
from danet_runtime.sources.http import HttpSource

HLS, TS = "application/vnd.apple.mpegurl", "video/mp2t"


def playlist(*segments: str, tags: str = "") -> Callable[[Asked], None]:
    lines = "".join(f"{tags}#EXTINF:4.0,\n{segment}\n" for segment in segments)
    head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:0\n"
    return answer((head + lines).encode(), HLS)


@pytest.mark.slow
def test_the_segments_of_a_playlist_are_read_from_its_own_host() -> None:
    video = true_video(50, 25)
    routes = {"/live/list.m3u8": playlist("a.ts", "../b.ts?x=1"), "/b.ts": answer(video, TS)}
    with HttpCamera(routes) as camera, opened(f"http://{camera.host}/live/list.m3u8") as source:
        assert read(source)[1] is not None
        assert ("/b.ts?x=1") in [path for path, _ in camera.asked]


@pytest.mark.parametrize(
    ("segment", "words"),
    [
        ("http://127.0.0.2:{port}/a.ts", "sends on to the host '127.0.0.2'.*add #hosts=127.0.0.2"),
        pytest.param("file:///etc/passwd", "sends on to file:", marks=pytest.mark.slow),
        pytest.param("data:text/plain,x", "sends on to data:", marks=pytest.mark.slow),
        pytest.param("udp://127.0.0.1:{port}", "sends on to udp:|gave no frame", marks=pytest.mark.slow),
    ],
)
def test_what_a_playlist_names_elsewhere_is_not_asked_for(segment: str, words: str) -> None:
    with HttpCamera({"/a.ts": answer(true_video(25, 25), TS)}, "127.0.0.2") as other:
        text = segment.format(port=other.server_port)
        with serving(list=playlist(text)) as base, pytest.raises(SourceError, match=words):
            HttpSource(f"{base}list", start_s=3.0 if segment.startswith("udp:") else 30.0)
    assert other.asked == []


@pytest.mark.slow
@pytest.mark.parametrize("target", ["/video", "/list"])
def test_a_camera_is_followed_to_another_host_only_where_that_was_asked_for(target: str) -> None:
    there = {
        "/video": pictures(true_jpeg),
        "/list": playlist("a.ts"),
        "/a.ts": answer(true_video(25, 25), TS),
    }
    with ExitStack() as servers:
        other = servers.enter_context(HttpCamera(there, "127.0.0.2"))
        base = servers.enter_context(serving(go=redirect(f"http://{other.host}{target}", 307)))
        user = base.replace("http://", "http://driver:hunter2@")
        with pytest.raises(SourceError, match=r"add #hosts=127\.0\.0\.2 to its address"):
            open_source(f"{user}go")
        assert other.asked == []
        with opened(f"{user}go#hosts=127.0.0.2") as source:
            assert read(source)[1] is not None
    assert other.asked
    assert not any("Authorization" in headers for _, headers in other.asked)


@pytest.mark.slow
def test_a_camera_is_followed_within_its_host() -> None:
    with serving(go=redirect("video"), video=pictures(true_jpeg)) as base, opened(f"{base}go") as source:
        assert read(source)[1] is not None


def basic(asked: Asked) -> bool:
    return asked.headers.get("Authorization") == "Basic " + base64.b64encode(b"driver:hunter@2").decode()


def digest(asked: Asked) -> bool:
    return 'username="driver"' in asked.headers.get("Authorization", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("challenge", "knows"),
    [
        ('Basic realm="camera"', basic),
        ('Digest realm="camera", nonce="7", qop="auth", algorithm=MD5', digest),
    ],
)
def test_a_camera_that_asks_for_a_password_gets_it(challenge: str, knows: Callable[[Asked], bool]) -> None:
    play = pictures(true_jpeg)

    def write(asked: Asked) -> None:
        if knows(asked):
            play(asked)
            return
        asked.send_response(401)
        asked.send_header("WWW-Authenticate", challenge)
        asked.send_header("Content-Length", "0")
        asked.end_headers()

    with serving(video=write) as base:
        with opened(base.replace("http://", "http://driver:hunter%402@") + "video") as source:
            assert read(source)[1] is not None
        with pytest.raises(SourceError, match="401") as refused:
            open_source(base.replace("http://", "http://another:hunter%403@") + "video")
    assert "hunter" not in str(refused.value)
    assert "another" not in str(refused.value)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_certificate_is_checked_where_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = tmp_path / "camera.pem"
    options = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=camera -addext subjectAltName=IP:127.0.0.1"
    command = ["openssl", *options.split(), "-keyout", str(certificate), "-out", str(tmp_path / "own.pem")]
    subprocess.run(command, check=True, capture_output=True)
    own = (tmp_path / "own.pem").read_text()
    certificate.write_text(certificate.read_text() + own)
    with HttpCamera({"/video": pictures(true_jpeg)}, certificate=certificate) as camera:
        uri = f"https://{camera.host}/video"
        with opened(uri) as source:
            assert None not in [read(source)[1] for _ in range(20)]
        with pytest.raises(SourceError, match="certificate verify failed"):
            open_source(f"{uri}#verify=yes")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.pem"))
        with opened(f"{uri}#verify=yes") as source:
            assert read(source)[1] is not None
