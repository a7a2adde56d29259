"""The search for the fewest layers, against counting through."""

import math

from hypothesis import given
from hypothesis import strategies as st

from danet_calibration.gate.search import fewest, give_back, within


class Question:
    """Holds where every needed item is in; remembers what it was asked."""

    def __init__(self, needed):
        self.needed = set(needed)
        self.asked = []

    def __call__(self, chosen):
        assert chosen
        self.asked.append(list(chosen))
        return self.needed <= set(chosen)


@given(st.integers(0, 200).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, 250))))
def test_the_shortest_beginning_is_found_with_few_questions(case):
    count, least = case
    question = Question(range(least))
    found = fewest(range(count), question)
    assert found == (list(range(least)) if least <= count else None)
    assert len(question.asked) <= 2 * math.log2(max(count, 1)) + 2
    assert found is None or found in question.asked


@given(st.sets(st.integers(0, 30), min_size=1))
def test_what_is_not_needed_is_given_back(needed):
    question = Question(needed)
    found = fewest(range(31), question)
    assert found == list(range(max(needed) + 1))
    assert give_back(found, question, tries=31) == sorted(needed)


def test_giving_back_stops_after_its_tries_and_never_tries_the_last():
    question = Question([9])
    assert give_back(list(range(10)), question, tries=3) == [0, 1, 2, 3, 4, 5, 9]
    assert len(question.asked) == 3
    assert give_back([4], question) == [4]


def test_a_layer_too_large_to_go_back_is_passed_over_and_those_behind_it_are_tried():
    shares = {"large": 0.6, "small": 0.1, "middle": 0.3, "tiny": 0.05}
    ranked = list(shares)
    assert within(ranked, lambda taken: 1 - sum(shares[name] for name in taken), 0.5) == [
        "small",
        "middle",
        "tiny",
    ]
    assert within(["large"], lambda taken: 1 - sum(shares[name] for name in taken), 0.5) == []
    assert within(["all"], lambda _: 0.0, 0.0) == []  # nothing at all would be left
