"""The soak itself: damage is refused or read, and a door that raises something else is a failure."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("hypothesis")
import soak

from latentlab import UserError


@pytest.mark.parametrize("kind", ["pictures", "files", "metadata"])
def test_damage_is_refused_or_read_and_never_raises_anything_else(kind):
    tally = soak.soak([kind], 0.2, seed=3)[kind]
    assert sum(tally.outcomes.values()) > 5 and tally.failures == []


def refuse():
    raise UserError("no")


def test_another_exception_than_a_refusal_is_a_failure():
    tally = soak.Tally()
    for attempt in (lambda: None, lambda: 1 / 0, refuse):
        tally.count(attempt, "try")
    assert tally.outcomes == {"accepted": 1, "failed": 1, "refused": 1}
    assert tally.failures == ["try: ZeroDivisionError: division by zero"]


def test_damage_is_the_same_by_the_same_seed():
    data = bytes(range(200))
    assert soak.damaged(data, random.Random(1)) == soak.damaged(data, random.Random(1))
    assert any(soak.damaged(data, random.Random(k)) != data for k in range(5))
