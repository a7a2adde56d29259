"""Frames of one sequence are never divided, splits are never empty, and the seed decides."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danet_train.data.own.splits import Frame, divide, sequences_of
from danet_train.errors import UsageError


def _frames(names, classes=frozenset({0, 1}), split=None):
    return [Frame(name, split, frozenset(classes)) for name in names]


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 6), min_size=2, max_size=6),
    share=st.floats(0.05, 0.9),
    seed=st.integers(0, 2**32),
)
def test_sequences_stay_whole_and_both_splits_have_one(sizes, share, seed):
    names = [f"drive{drive}_{frame:05d}" for drive, size in enumerate(sizes) for frame in range(size)]
    division = divide(_frames(names), "auto", share, seed)
    of = dict(zip(names, division.split_of, strict=True))
    for drive in range(len(sizes)):
        assert len({split for name, split in of.items() if name.startswith(f"drive{drive}_")}) == 1
    assert set(division.split_of) == {"train", "val"}
    assert sum(division.sequences.values()) == len(sizes)
    assert divide(_frames(names), "auto", share, seed) == division


@given(count=st.integers(2, 40), share=st.floats(0.01, 0.9))
@settings(max_examples=20, deadline=None)
def test_a_single_drive_is_cut_once(count, share):
    splits = divide(_frames([f"{number:04d}" for number in range(count)]), "auto", share, 0).split_of
    assert set(splits) == {"train", "val"}
    assert sum(one != other for one, other in pairwise(splits)) == 1


def test_the_draw_whose_splits_hold_the_rare_class_is_taken():
    frames = [
        Frame(f"photo {chr(97 + i)}", None, frozenset({0, 1} if i in (3, 9) else {0})) for i in range(12)
    ]
    for seed in range(5):
        splits = divide(frames, "random", 0.2, seed).split_of
        assert {splits[3], splits[9]} == {"train", "val"}


def test_pictures_of_test_stay_there():
    frames = [*_frames(["a_1", "a_2", "b_1", "b_2"]), *_frames(["t_1"], split="test")]
    splits = divide(frames, "auto", 0.5, 0).split_of
    assert splits[-1] == "test"
    assert set(splits[:-1]) == {"train", "val"}


@pytest.mark.parametrize(
    ("frames", "by", "words"),
    [
        (_frames(["a"]), "auto", "at least 2 pairs"),
        (_frames(["a", "b"]), "folders", "leave --split-by folders out"),
        (_frames(["a", "b"]), "sequences", "tell no sequences apart"),
    ],
)
def test_what_cannot_be_divided_so_is_wrong_usage(frames, by, words):
    with pytest.raises(UsageError, match=words):
        divide(frames, by, 0.2, 0)


def test_sequences_are_told_by_folder_or_by_the_name_before_the_number():
    assert sequences_of(["a/1", "a/2", "b/1"]) == ["a", "a", "b"]
    assert sequences_of(["0001TP_006690", "0001TP_006720", "Seq05VD_f00000"]) == [
        "0001TP",
        "0001TP",
        "Seq05VD_f",
    ]
    assert sequences_of(["aachen_000000_000019", "aachen_000001_000019"]) == [
        "aachen_000000",
        "aachen_000001",
    ]
