"""Every message that was acknowledged arrives, however often the server is killed.

`CRASH_ROUNDS` is how often: a few times in every run, twenty by hand.
"""

import os
import random
import time

import pytest

from harness import login
from traffic import Publisher, Subscriber
from wire import RawClient, session_expiry

QUEUE_MAX = 60_000
SETTINGS = f"[sessions]\nqueue_messages_max = {QUEUE_MAX}\nqueue_bytes_max = 67108864\n"
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "5"))
# All that is sent must find room in the queue of the subscriber that is away.
PAUSE_MAX_SECS = min(0.5, 3 / ROUNDS)
SEED = int(os.environ.get("CRASH_SEED", "0")) or random.randrange(1 << 30)


def subscribe(server, client_id):
    client = RawClient(server.mqtt_port)
    client.login(client_id, *login("alice"), 5, clean=False, props=session_expiry(3600))
    client.subscribe("traffic/#", qos=2)
    client.close()


def problems(subscriber, publishers):
    """What is wrong with what a subscriber got."""
    for publisher in publishers:
        got = [number for topic, number in subscriber.got if topic == publisher.topic]
        who = f"{subscriber.client_id} of {publisher.topic}"
        if publisher.qos == 2 and got != list(range(1, publisher.sent + 1)):
            wrong = next(at for at, each in enumerate([*got, None], 1) if each != at)
            yield f"{who}: not exactly once in order at {wrong}: {got[wrong - 5 : wrong + 5]}"
        firsts = list(dict.fromkeys(got))
        if firsts != sorted(firsts):
            yield f"{who}: out of order"
        if missing := set(range(1, publisher.sent + 1)) - set(got):
            yield f"{who}: {len(missing)} of {publisher.sent} missing: {sorted(missing)[:10]}"


@pytest.mark.timeout(120 + 20 * ROUNDS)
@pytest.mark.parametrize("way", ["crash", "restart"])
def test_every_acknowledged_message_arrives_and_those_of_qos_2_once(server, way):
    """For a subscriber that is away all the time, and one whose connection breaks all the time."""
    print(f"CRASH_SEED={SEED}")
    chance = random.Random(SEED)
    rounds = ROUNDS if way == "crash" else 2
    port = server.mqtt_port
    names = [f"{way}-{name}" for name in ("absent", "flapping", "present")]
    for name in names:
        subscribe(server, name)
    server.wait_for_client_ids()
    publishers = [
        Publisher(port, login("bob"), f"{way}-{topic}", f"traffic/{topic}/{way}", qos)
        for topic, qos in {"one/a": 1, "one/b": 1, "two/a": 2, "two/b": 2}.items()
    ]
    flapping = Subscriber(port, login("alice"), names[1], 0.3, chance)
    present = Subscriber(port, login("alice"), names[2])
    for each in (*publishers, flapping, present):
        each.start()
    for _ in range(rounds):
        before = [each.acknowledged for each in publishers]
        deadline = time.monotonic() + 20
        while any(
            now.acknowledged < then + 10 for now, then in zip(publishers, before, strict=True)
        ):
            assert time.monotonic() < deadline, "the publishers do not get on"
            time.sleep(0.01)
        time.sleep(chance.random() * PAUSE_MAX_SECS)  # the moment is the test
        if way == "crash":
            server.crash()
            server.start()
        else:
            server.restart()
    for each in publishers:
        each.finish()
    assert sum(each.sent for each in publishers) <= QUEUE_MAX, "fewer rounds, or shorter ones"
    absent = Subscriber(port, login("alice"), names[0])
    absent.start()
    subscribers = [absent, flapping, present]
    for each in subscribers:
        each.finish()
    found = [each for one in subscribers for each in problems(one, publishers)]
    assert not found, "\n".join(found)
    sent = sum(each.sent for each in publishers)
    assert sent >= 40 * rounds
    assert all(each.connections > rounds for each in publishers)
    print(f"{rounds} rounds, {sent} messages, {flapping.connections} connections that flapped")
    server.wait_for_client_ids()
