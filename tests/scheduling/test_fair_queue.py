"""Tests of the queue's order: by priority, then by received service. No item waits forever."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from motet.core.request import PRIORITIES
from motet.scheduling.fair_queue import MAX_IDLE_TENANTS, FairQueue

AGEING = 10.0


@dataclass(eq=False)
class Item:
    tenant: str = ""
    cost: float = 1.0
    priority: int = 0
    since: float = 0.0


def queue_of(*items):
    queue = FairQueue(AGEING)
    for item in items:
        queue.add(item)
    return queue


def serve(queue, now=0.0):
    """Remove, charge and return the first item, as a pool does."""
    first = queue.first(now)
    if first is not None:
        queue.remove(first)
        queue.charge(first, now)
    return first


def test_items_of_one_tenant_and_priority_are_served_in_order_of_arrival():
    items = [Item(since=0.1 * number) for number in range(5)]
    queue = queue_of(*items)

    assert [serve(queue, 1.0) for _ in range(6)] == [*items, None]


def test_the_highest_priority_is_served_first():
    low, normal, high = (Item(priority=priority) for priority in (-2, 0, 2))

    assert [serve(queue_of(low, normal, high)), serve(queue_of(low, normal))] == [high, normal]


def test_waiting_raises_the_priority():
    old, new = Item(priority=-2, since=0.0), Item(priority=2, since=4 * AGEING)
    queue = queue_of(new, old)

    assert queue.first(4 * AGEING - 0.1) is new
    assert queue.first(4 * AGEING) is old, "after four ageing intervals, its priority is the highest"


def test_the_priority_rises_in_time_also_if_the_quotient_of_the_times_is_rounded_down():
    ageing, since = 1.29, 918.46
    assert int((since + ageing - since) / ageing) == 0
    queue = FairQueue(ageing)
    queue.add(old := Item(since=since))
    queue.add(Item(priority=1, since=since + ageing, cost=0.5))

    assert queue.first(since + ageing) is old


def test_items_that_wait_behind_served_items_of_their_tenant_do_not_age():
    queue = queue_of(*(Item("greedy") for _ in range(9)))
    for number in range(4):
        serve(queue, 8.0 * number)
    queue.add(modest := Item("modest", since=30.0))

    assert queue.first(30.0) is modest, "the other tenant's items have waited 30 seconds, but were served in between"


def test_a_reserved_item_is_skipped_and_keeps_its_position():
    reserved, ready = Item(since=0.0), Item(since=1.0)
    queue = FairQueue(AGEING)
    queue.reserve(reserved)
    queue.add(ready)

    assert queue.first(2.0) is ready
    queue.add(reserved)
    assert queue.first(2.0) is reserved
    assert len(queue) == 2


def test_a_tenant_with_many_items_does_not_delay_a_tenant_with_few():
    greedy = [Item("greedy") for _ in range(100)]
    queue = queue_of(*greedy)
    for _ in range(10):
        serve(queue)

    queue.add(modest := Item("modest", since=5.0))

    assert serve(queue, 5.0) in (modest, greedy[10])
    assert serve(queue, 5.0) in (modest, greedy[10])


def test_a_tenant_without_items_saves_up_no_service():
    queue = queue_of(*(Item("busy") for _ in range(100)))
    for _ in range(50):
        serve(queue)
    for _ in range(20):
        queue.add(Item("late", since=1.0))

    next_ten = Counter(serve(queue, 1.0).tenant for _ in range(10))

    assert next_ten["late"] in (5, 6), "it gets an equal share from now on, whatever the other tenant received before"


def test_a_tenant_that_was_served_without_waiting_saves_up_no_service_either():
    queue = FairQueue(AGEING)
    for tenant in ["busy"] * 50 + ["late"]:
        queue.charge(Item(tenant), 0.0)
    for tenant in ["busy", "late"] * 20:
        queue.add(Item(tenant))

    assert Counter(serve(queue).tenant for _ in range(10))["late"] in (5, 6)


def test_a_tenant_that_returns_is_not_charged_twice():
    queue = queue_of(Item("a", 0.9), Item("b"), Item("b"))
    assert serve(queue).tenant == "a"
    queue.add(Item("a"))

    assert [serve(queue).tenant for _ in range(3)] == ["b", "a", "b"]


def test_service_without_waiting_counts():
    queue = FairQueue(AGEING)
    for _ in range(10):
        queue.charge(Item("busy"), 0.0)
    for tenant in ("busy", "new"):
        queue.add(Item(tenant))

    assert serve(queue).tenant == "new"


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0.01, 10.0), st.sampled_from(PRIORITIES), st.booleans()),
        max_size=40,
    ),
    st.randoms(use_true_random=False),
)
def test_the_costs_of_a_queue_are_the_sums_of_its_items_and_end_at_zero(arrivals, random):
    queue, waiting = FairQueue(AGEING), []
    for tenant, cost, priority, cancels in arrivals:
        queue.add(item := Item(tenant, cost, priority))
        waiting.append(item)
        if cancels:
            cancelled = waiting.pop(random.randrange(len(waiting)))
            queue.remove(cancelled)
            queue.remove(cancelled)
        costs = defaultdict(float)
        for item in waiting:
            costs[item.tenant] += item.cost
        assert abs(queue.cost - sum(costs.values())) < 1e-6
        assert all(abs(queue.cost_of(name) - costs[name]) < 1e-6 for name in "abc")
    while waiting:
        waiting.remove(serve(queue))
    assert (bool(queue), queue.cost, [queue.cost_of(name) for name in "abc"]) == (False, 0.0, [0.0] * 3)
    assert queue.first(0.0) is None


@given(st.lists(st.lists(st.floats(0.01, 5.0), min_size=30, max_size=30), min_size=2, max_size=4))
def test_the_service_of_tenants_that_always_wait_differs_by_two_items_at_most(costs):
    queue = queue_of(*(Item(str(number), cost) for number, row in enumerate(costs) for cost in row))
    service = [0.0] * len(costs)
    largest = max(max(row) for row in costs)

    while all(queue.cost_of(str(number)) for number in range(len(costs))):
        item = serve(queue)
        service[int(item.tenant)] += item.cost
        assert max(service) - min(service) <= 2 * largest + 1e-9


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0.1, 2.0), st.sampled_from(PRIORITIES)), max_size=80))
def test_no_item_starves_whatever_the_priorities_of_the_others(others):
    queue, now = FairQueue(AGEING), 0.0
    queue.add(waiting := Item("w", 1.0, PRIORITIES[0]))
    for tenant, cost, priority in others * 4:
        queue.add(Item(tenant, cost, priority, since=now))
        if (item := serve(queue, now)) is waiting:
            return
        now += item.cost
        assert now < 4 * AGEING + 6 * 2 * 2.0 + 2.0, "at the highest priority, only the tenants' shares count"


def test_service_at_one_priority_counts_at_the_others():
    served, other = Item("a", priority=1), Item("b", priority=0, since=1.0)
    queue = queue_of(served, Item("a", priority=0), other)

    assert serve(queue, 1.0) is served
    assert queue.first(1.0) is other


def test_a_queue_that_is_empty_again_stores_no_sub_queue_also_if_no_item_was_served():
    queue = FairQueue(AGEING)
    for number in range(100):
        queue.add(item := Item(f"tenant {number}"))
        if number % 2:
            queue.first(0.0)
        queue.remove(item)

    assert (len(queue._sub_queues), len(queue._changed), len(queue._raises)) == (0, 0, 0)
    assert not any(map(len, queue._by_urgency.values()))


def test_the_number_of_stored_tenants_is_limited():
    queue = FairQueue(AGEING)

    for number in range(4 * MAX_IDLE_TENANTS):
        queue.charge(Item(f"tenant {number}"), 0.0)

    assert len(queue._served) <= MAX_IDLE_TENANTS + 1


def test_a_queue_of_reserved_items_has_no_first_item():
    queue = FairQueue(AGEING)
    queue.reserve(item := Item())

    assert queue.first(0.0) is None
    assert queue
    assert item in queue


class PlainQueue:
    """The order of a `FairQueue` in the simplest form: each item is compared with all others."""

    def __init__(self):
        self.items, self.reserved, self.served_at, self.served, self.level = [], set(), {}, defaultdict(float), 0.0

    def waits(self, tenant):
        return any(item.tenant == tenant for item in self.items)

    def reserve(self, item):
        if not self.waits(item.tenant):
            self.served[item.tenant] = max(self.served[item.tenant], self.level)
        self.items.append(item)
        self.reserved.add(item)

    def add(self, item):
        if item not in self.items:
            self.reserve(item)
        self.reserved.discard(item)

    def remove(self, item):
        self.items.remove(item)
        self.reserved.discard(item)
        if not any((other.tenant, other.priority) == (item.tenant, item.priority) for other in self.items):
            self.served_at.pop((item.tenant, item.priority), None)

    def charge(self, item, now):
        if any((other.tenant, other.priority) == (item.tenant, item.priority) for other in self.items):
            self.served_at[item.tenant, item.priority] = now
        start = max(self.served[item.tenant], self.level)
        self.level = min([start, *(self.served[other.tenant] for other in self.items)])
        self.served[item.tenant] = start + item.cost

    def rank(self, item, now):
        start = max(item.since, self.served_at.get((item.tenant, item.priority), 0.0))
        urgency = min(PRIORITIES[-1], item.priority + int((now - start) // AGEING))
        return -urgency, self.served[item.tenant], item.since

    def best(self, now, permits):
        heads = {}
        for item in self.items:
            if item not in self.reserved and permits(item.tenant, now):
                heads.setdefault((item.tenant, item.priority), item)
        return min((self.rank(item, now) for item in heads.values()), default=None)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["reserve", "add", "add", "claim", "remove", "serve", "serve", "charge", "wait"]),
            st.sampled_from("abcd"),
            st.sampled_from(PRIORITIES),
            st.integers(1, 30),
        ),
        max_size=60,
    ),
    st.sets(st.sampled_from("abcd"), max_size=2),
)
@settings(max_examples=400)
def test_the_order_is_that_of_a_comparison_of_all_items(steps, refused):
    queue, plain, now = FairQueue(AGEING), PlainQueue(), 0.0

    def permits(tenant, moment):
        assert moment == now
        return tenant not in refused

    for operation, tenant, priority, number in steps:
        item = plain.items[number % len(plain.items)] if plain.items else None
        match operation:
            case "reserve" | "add":
                new = Item(tenant, number / 4, priority, since=now)
                for each in (queue, plain):
                    getattr(each, operation)(new)
            case "claim" if item:
                for each in (queue, plain):
                    each.add(item)
            case "remove" if item:
                for each in (queue, plain):
                    each.remove(item)
            case "serve" if (first := queue.first(now, permits)) is not None:
                for each in (queue, plain):
                    each.remove(first)
                    each.charge(first, now)
            case "charge":
                for each in (queue, plain):
                    each.charge(Item(tenant, number / 4, priority), now)
            case "wait":
                now += number / 2
        first = queue.first(now, permits)
        assert (None if first is None else plain.rank(first, now)) == plain.best(now, permits)
        assert {name: queue._served[name] for name in "abcd" if plain.waits(name)} == {
            name: plain.served[name] for name in "abcd" if plain.waits(name)
        }
        assert set(queue) == set(plain.items)
        assert len(queue) == len(plain.items)
