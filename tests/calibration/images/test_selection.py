"""The choice among frames by group and brightness, without any picture."""

from collections import Counter
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from danet_calibration.images.selection import Candidate, group_shares, presample, select, spread_positions

CANDIDATES = st.lists(st.tuples(st.sampled_from("abcde"), st.floats(0, 255)), min_size=1, max_size=120).map(
    lambda drawn: [Candidate(f"{group}/{i:03}.png", group, luma) for i, (group, luma) in enumerate(drawn)]
)


@given(CANDIDATES, st.integers(0, 150), st.randoms(use_true_random=False))
def test_the_choice_does_not_depend_on_the_order_of_the_candidates(candidates, count, random):
    shuffled = random.sample(candidates, len(candidates))
    assert select(candidates, count) == select(shuffled, count)


@given(CANDIDATES, st.integers(0, 150))
def test_exactly_the_count_is_taken_and_nothing_twice(candidates, count):
    taken = select(candidates, count)
    assert len(taken) == len(set(taken)) == min(count, len(candidates))
    assert set(taken) <= set(candidates)


@given(CANDIDATES, st.integers(1, 150))
def test_each_group_gets_its_proportional_part_within_one_frame(candidates, count):
    count = min(count, len(candidates))
    sizes = Counter(candidate.group for candidate in candidates)
    taken = Counter(candidate.group for candidate in select(candidates, count))
    for group, size in sizes.items():
        assert abs(taken[group] - Fraction(count * size, len(candidates))) < 1


@given(CANDIDATES, st.integers(1, 120), st.data())
def test_every_beginning_of_a_choice_is_spread_over_the_groups(candidates, count, data):
    taken = select(candidates, count)
    first = data.draw(st.integers(1, len(taken)))
    whole, begun = (Counter(candidate.group for candidate in part) for part in (taken, taken[:first]))
    for group in whole:
        # The groups' turns are merged by their middles, so each rounds once on its own and once for the cut.
        assert abs(begun[group] - first * whole[group] / len(taken)) <= len(whole) / 2 + 1


@given(st.integers(1, 200), st.integers(1, 60))
def test_brightness_is_taken_from_its_quantiles(length, count):
    candidates = [Candidate(f"{luma * 83 % 257:03}", "a", luma) for luma in range(length)]  # names mixed
    count = min(count, length)
    lumas = sorted(int(candidate.luma) for candidate in select(candidates, count))
    for index, luma in enumerate(lumas):
        assert index * length // count <= luma <= (index + 1) * length / count


def test_the_first_frames_of_a_choice_span_the_brightness():
    candidates = [Candidate(f"{luma * 83 % 257:03}", "a", luma) for luma in range(256)]
    lumas = [candidate.luma for candidate in select(candidates, 64)]
    assert lumas != sorted(lumas)
    assert Counter(int(luma) // 64 for luma in lumas[:8]) == {0: 2, 1: 2, 2: 2, 3: 2}


SHARES = st.dictionaries(
    st.sampled_from("abcdefg"), st.tuples(st.integers(0, 50), st.integers(0, 30)), min_size=1
)


@given(SHARES, st.integers(0, 200))
def test_shares_keep_to_what_a_group_holds_and_leave_nothing_over(drawn, count):
    weights = {group: weight for group, (weight, _) in drawn.items()}
    capacity = {group: held for group, (_, held) in drawn.items()}
    given_out = group_shares(weights, count, capacity)
    assert all(0 <= given_out[group] <= capacity[group] for group in capacity)
    assert sum(given_out.values()) == min(count, sum(capacity.values()))


def test_the_largest_remainders_get_the_frames_that_are_left():
    # 10 * (53, 24, 23) / 100 = 5.3, 2.4, 2.3: the tenth goes to b.
    assert group_shares({"a": 53, "b": 24, "c": 23}, 10, dict.fromkeys("abc", 99)) == {"a": 5, "b": 3, "c": 2}


def test_what_a_small_group_cannot_give_others_do():
    assert group_shares({"a": 1, "b": 1}, 10, {"a": 2, "b": 99}) == {"a": 2, "b": 8}


@given(st.dictionaries(st.text(max_size=4), st.sampled_from("abc"), max_size=80), st.integers(0, 100))
def test_a_sample_of_names_is_sorted_and_as_large_as_asked_for(groups, count):
    names = presample(groups, count)
    assert names == sorted(set(names))
    assert len(names) == min(count, len(groups))
    assert names == presample(dict(reversed(groups.items())), count)


def test_positions_lie_in_the_middle_of_equal_parts():
    assert spread_positions(100, 4) == [12, 37, 62, 87]
    assert spread_positions(3, 9) == [0, 1, 2]
    assert spread_positions(0, 3) == []
