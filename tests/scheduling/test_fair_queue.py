"""The most urgent goes first, then who got least; and nothing waits for ever."""

from __future__ import annotations

from collections import Counter, defaultdict
from concurrent.futures import Future

from hypothesis import given
from hypothesis import strategies as st

from motet.core.request import PRIORITIES
from motet.scheduling.fair_queue import REMEMBERED, FairQueue
from orchestrator.pool.queued_call import QueuedCall

AGEING = 10.0


def ticket(tenant="", cost=1.0, priority=0, since=0.0, waiting=True):
    made = QueuedCall(tenant, priority, cost, cost, since)
    made.turn = Future() if waiting else None
    return made


def queue_of(*tickets):
    queue = FairQueue(AGEING)
    for one in tickets:
        queue.add(one)
    return queue


def served(queue, now=0.0):
    """The next ticket, taken out and charged, as a pool does."""
    first = queue.first(now)
    if first is not None:
        queue.remove(first)
        queue.charge(first, now)
    return first


def test_one_tenants_equals_go_in_the_order_they_came():
    tickets = [ticket(since=0.1 * number) for number in range(5)]
    queue = queue_of(*tickets)

    assert [served(queue, 1.0) for _ in range(6)] == [*tickets, None]


def test_the_more_urgent_goes_first():
    low, usual, high = (ticket(priority=priority) for priority in (-2, 0, 2))

    assert [served(queue_of(low, usual, high)), served(queue_of(low, usual))] == [high, usual]


def test_waiting_makes_urgent():
    old, new = ticket(priority=-2, since=0.0), ticket(priority=2, since=4 * AGEING)
    queue = queue_of(new, old)

    assert queue.first(4 * AGEING - 0.1) is new
    assert queue.first(4 * AGEING) is old, "after four times ten seconds nothing is more urgent than it"


def test_a_long_line_that_is_served_is_not_urgent_for_its_age():
    queue = queue_of(*(ticket("greedy") for _ in range(9)))
    for moment in range(4):
        served(queue, 8.0 * moment)
    queue.add(modest := ticket("modest", since=30.0))

    assert queue.first(30.0) is modest, "tickets that came half a minute before it are no reason to pass it over"


def test_what_cannot_start_yet_is_passed_over_and_keeps_its_place():
    expected, ready = ticket(since=0.0, waiting=False), ticket(since=1.0)
    queue = queue_of(expected, ready)

    assert queue.first(2.0) is ready
    expected.turn = Future()
    assert queue.first(2.0) is expected


def test_who_asks_for_much_waits_behind_who_asks_for_little():
    greedy = [ticket("greedy") for _ in range(100)]
    queue = queue_of(*greedy)
    for _ in range(10):
        served(queue)

    queue.add(modest := ticket("modest", since=5.0))

    assert served(queue, 5.0) in (modest, greedy[10])
    assert served(queue, 5.0) in (modest, greedy[10])


def test_nobody_saves_up_by_asking_for_nothing():
    queue = queue_of(*(ticket("busy") for _ in range(100)))
    for _ in range(50):
        served(queue)
    for _ in range(20):
        queue.add(ticket("late", since=1.0))

    next_ten = Counter(served(queue, 1.0).tenant for _ in range(10))

    assert next_ten["late"] in (5, 6), "it shares from now on, whatever the other was served before"


def test_who_was_served_at_once_has_saved_up_nothing_either():
    queue = FairQueue(AGEING)
    for tenant in ["busy"] * 50 + ["late"]:
        queue.charge(ticket(tenant), 0.0)
    for tenant in ["busy", "late"] * 20:
        queue.add(ticket(tenant))

    assert Counter(served(queue).tenant for _ in range(10))["late"] in (5, 6)


def test_nobody_is_charged_twice_for_having_left_for_a_moment():
    queue = queue_of(ticket("a", 0.9), ticket("b"), ticket("b"))
    assert served(queue).tenant == "a"
    queue.add(ticket("a"))

    assert [served(queue).tenant for _ in range(3)] == ["b", "a", "b"]


def test_what_was_served_at_once_counts_as_well():
    queue = FairQueue(AGEING)
    for _ in range(10):
        queue.charge(ticket("busy"), 0.0)
    for tenant in ("busy", "new"):
        queue.add(ticket(tenant))

    assert served(queue).tenant == "new"


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0.01, 10.0), st.sampled_from(PRIORITIES), st.booleans()),
        max_size=40,
    ),
    st.randoms(use_true_random=False),
)
def test_whatever_comes_and_goes_the_seconds_add_up_and_end_at_zero(arrivals, random):
    queue, inside = FairQueue(AGEING), []
    for tenant, cost, priority, leaves in arrivals:
        queue.add(one := ticket(tenant, cost, priority))
        inside.append(one)
        if leaves:
            gone = inside.pop(random.randrange(len(inside)))
            queue.remove(gone)
            queue.remove(gone)
        owned = defaultdict(float)
        for other in inside:
            owned[other.tenant] += other.cost
        assert abs(queue.cost - sum(owned.values())) < 1e-6
        assert all(abs(queue.cost_of(name) - owned[name]) < 1e-6 for name in "abc")
    while inside:
        inside.remove(served(queue))
    assert (bool(queue), queue.cost, [queue.cost_of(name) for name in "abc"]) == (False, 0.0, [0.0] * 3)
    assert queue.first(0.0) is None


@given(st.lists(st.lists(st.floats(0.01, 5.0), min_size=30, max_size=30), min_size=2, max_size=4))
def test_among_tenants_that_always_wait_service_differs_by_two_tickets_at_most(costs):
    queue = queue_of(*(ticket(str(number), cost) for number, line in enumerate(costs) for cost in line))
    got = [0.0] * len(costs)
    largest = max(max(line) for line in costs)

    while all(queue.cost_of(str(number)) for number in range(len(costs))):
        one = served(queue)
        got[int(one.tenant)] += one.cost
        assert max(got) - min(got) <= 2 * largest + 1e-9


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0.1, 2.0), st.sampled_from(PRIORITIES)), max_size=80))
def test_nothing_starves_however_urgent_the_others_are(others):
    queue, now = FairQueue(AGEING), 0.0
    queue.add(waits := ticket("w", 1.0, PRIORITIES[0]))
    for tenant, cost, priority in others * 4:
        queue.add(ticket(tenant, cost, priority, since=now))
        if (one := served(queue, now)) is waits:
            return
        now += one.cost
        assert now < 4 * AGEING + 6 * 2 * 2.0 + 2.0, "once it is among the most urgent, only its share counts"


def test_an_endless_row_of_new_tenants_is_not_remembered_for_ever():
    queue = FairQueue(AGEING)

    for number in range(4 * REMEMBERED):
        queue.charge(ticket(f"tenant {number}"), 0.0)

    assert len(queue._served) <= REMEMBERED + 1


def test_a_ticket_that_gave_up_is_not_served():
    gone = ticket()
    gone.turn.cancel()
    queue = queue_of(gone)

    assert queue.first(0.0) is None
