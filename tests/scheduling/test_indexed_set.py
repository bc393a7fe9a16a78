"""Tests of the set from which random members are drawn."""

from __future__ import annotations

from random import Random

from motet.scheduling.indexed_set import IndexedSet


def test_it_has_the_members_of_a_set_after_any_changes() -> None:
    random, members, expected = Random(0), IndexedSet[int](), set[int]()
    for _ in range(2000):
        member = random.randrange(40)
        if random.random() < 0.5:
            members.add(member)
            expected.add(member)
        else:
            members.discard(member)
            expected.discard(member)
        assert len(members) == len(expected)
        assert set(members) == expected
        assert (member in members) is (member in expected)


def test_a_sample_has_no_member_twice_and_each_member_is_in_some_sample() -> None:
    random, members = Random(0), IndexedSet[int]()
    for member in range(100):
        members.add(member)

    samples = [members.sample(random, 10) for _ in range(200)]

    assert all(0 < len(sample) <= 10 and len(set(sample)) == len(sample) for sample in samples)
    assert {member for sample in samples for member in sample} == set(range(100))
    assert sorted(members.sample(random, 100)) == list(range(100))
