"""Who is asked, beside the camera that a URI names, and who learns its password."""

from __future__ import annotations

import pytest

from danet_runtime.errors import SourceError, UsageError
from danet_runtime.sources.network.http_address import HttpAddress
from danet_runtime.sources.registry import live_source


def test_credentials_and_what_is_behind_the_hash_are_not_sent() -> None:
    address = HttpAddress.of(
        "http://bob:p%40ss@Camera.local:81/a b?x=1&y=%20#hosts=cdn.local&verify=yes".replace(" ", "%20")
    )
    assert address.url == "http://Camera.local:81/a%20b?x=1&y=%20"
    assert (address.user, address.password, address.verifies) == ("bob", "p@ss", True)
    assert address.hosts == ("camera.local", "cdn.local")


@pytest.mark.parametrize("fragment", ["hosts", "verify=maybe", "follow=all", "part", "hosts=a&x=1"])
def test_another_word_behind_the_hash_is_refused_with_what_may_stand_there(fragment: str) -> None:
    uri = f"http://bob:hunter2@camera/x#{fragment}"
    for read in (HttpAddress.of, live_source):
        with pytest.raises(UsageError, match="hosts=HOST,HOST or verify=yes") as refused:
            read(uri)
        assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("uri", "url", "words"),
    [
        ("http://camera/x", "http://other/x", r"add #hosts=other to its address"),
        ("http://camera/x", "http://camera@other/x", "host 'other'"),
        ("http://camera/x", "http://camera.evil/x", "host 'camera.evil'"),
        ("http://camera/x", "file:///etc/passwd", "sends on to file:"),
        ("http://camera/x#hosts=*", "ftp://camera/x", "sends on to ftp:"),
        ("http://camera/x#hosts=*", "crypto+http://camera/x", "encrypted"),
        ("http://camera/x", "/x", "sends on to"),
        ("https://camera/x#hosts=*", "http://camera/x", "gives up the encryption"),
        ("http://camera/x", "http://[::1/x", "no address"),
    ],
)
def test_others_are_not_asked(uri: str, url: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        HttpAddress.of(uri).check(url)


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("http://camera/x", "https://CAMERA:8443/y?z"),
        ("http://camera/x#hosts=cdn.local,10.0.0.8", "http://10.0.0.8:81/y"),
        ("http://camera/x#hosts=*", "http://anybody/y"),
    ],
)
def test_the_camera_and_who_was_named_beside_it_are(uri: str, url: str) -> None:
    HttpAddress.of(uri).check(url)
