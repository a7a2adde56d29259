"""The pause before what has failed is tried again."""

from __future__ import annotations

from danet_runtime.sinks.protocol.pause import Pause


def test_pauses_double_from_half_a_second_to_fifteen_and_begin_anew_once_it_works() -> None:
    pause = Pause()
    assert pause.left_s <= 0
    lengths = []
    for _ in range(7):
        pause.begin()
        lengths.append(pause.length_s)
        assert 0 < pause.left_s <= pause.length_s
    assert lengths == [0.5, 1, 2, 4, 8, 15, 15]
    pause.go_on()
    assert pause.left_s <= 0.5
    pause.forget()
    pause.begin()
    assert pause.length_s == 0.5
