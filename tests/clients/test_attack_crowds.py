"""Crowds, mostly of stored sessions, that do the same thing at once: drop, or all get one message.

`ATTACK_CROWD` is how many: some in every run, 10,000 and 100,000 by hand. What came of it is in
`docs/attacks.md`.
"""

import os
import time

import pytest

from stored_crowd import MIB, Bystanders, come, hello, server_for_crowds, watcher
from wire import CONNACK, PUBACK, RawClient, Will, disconnect, publish, will_delay

CROWD = int(os.environ.get("ATTACK_CROWD", "2000"))
DELAY_SECS = 3 + CROWD // 1000
# The server under test may be a build without optimisation, on a machine that is busy.
PATIENCE_SECS = 5 + CROWD / 2000
BYTES_EACH_MAX = 8192

pytestmark = pytest.mark.timeout(120 + CROWD / 50)


def will_of(number):
    return Will(f"wills/{number}", b"gone", 1, props=will_delay(DELAY_SECS))


def drop(crowd):
    """All of them, without a word. Answers when that began."""
    began = time.monotonic()
    for client in crowd.values():
        client.reset()
    return began


def take_wills(client, count):
    """Whose wills the next so many messages are, and which of them are repetitions."""
    client.socket.settimeout(DELAY_SECS + 60)
    messages = client.take_messages(count)
    numbers = [int(message.topic.removeprefix("wills/")) for message in messages]
    return numbers, {n for n, message in zip(numbers, messages, strict=True) if message.dup}


def test_the_wills_of_those_who_drop_are_told_once_and_of_those_who_return_never(tmp_path):
    with server_for_crowds(tmp_path) as server:
        watching = watcher(server, "wills/#")
        before = server.rss_bytes()
        with Bystanders(server) as bystanders:
            crowd = come(server, range(CROWD), will_of)
            each = (server.rss_bytes() - before) / CROWD
            dropped = drop(crowd)
            back = come(server, range(0, CROWD, 2), will_of)
            assert all(client.session_present for client in back.values())
            returned_secs = time.monotonic() - dropped
            assert returned_secs < DELAY_SECS, "too slow to show anything"
            told, _ = take_wills(watching, 1)
            first_secs = time.monotonic() - dropped
            assert first_secs > DELAY_SECS - 0.5, "before its time"
            more, repeated = take_wills(watching, CROWD // 2 - 1)
            last_secs = time.monotonic() - dropped
            assert sorted(told + more) == list(range(1, CROWD, 2))
            assert not repeated
            watching.ping()  # and nothing else comes before the answer
            assert last_secs < DELAY_SECS + PATIENCE_SECS
            assert each < BYTES_EACH_MAX
            for client in back.values():
                client.close()
        print(
            f"\n{CROWD} dropped, half were back after {returned_secs:.1f} s; of a delay of"
            f" {DELAY_SECS} s the first will came after {first_secs:.1f} s, the last after"
            f" {last_secs:.1f} s; {each:.0f} bytes each, {server.rss_bytes() / MIB:.0f} MiB;"
            f" {bystanders}"
        )
        assert bystanders.loop_secs < PATIENCE_SECS


def test_a_crash_before_and_amid_delayed_wills_loses_none_of_them(tmp_path):
    with server_for_crowds(tmp_path) as server:
        watching = watcher(server, "wills/#")
        dropped = drop(come(server, range(CROWD), will_of))
        server.crash()
        server.start()
        watching = watcher(server, "wills/#")
        assert watching.session_present
        told, _ = take_wills(watching, CROWD // 3)
        assert time.monotonic() - dropped > DELAY_SECS, "before their time"
        server.crash()
        server.start()
        watching = hello(server, "watcher")
        assert watching.expect(CONNACK).body[0] == 1
        known, repeated = set(told), set()
        assert len(known) == len(told)
        while len(known) < CROWD:
            (number,), again = take_wills(watching, 1)
            assert number not in known or again, f"{number} is told twice"
            repeated |= again
            known.add(number)
        watching.ping()
        print(f"\n{CROWD} wills told over two crashes, {len(repeated)} sent again as duplicates")


# More than an event loop serves at once, in each of the two.
LIVE_CROWD = max(CROWD, 2600)


def test_a_crowd_that_is_there_gets_messages_in_order_while_others_are_served(tmp_path):
    with server_for_crowds(tmp_path) as server:
        crowd = come(server, range(LIVE_CROWD), filter_of=lambda _: "news", is_stored=False)
        for number in range(0, LIVE_CROWD, 100):
            crowd[number].subscribe("some/of/them")
        publisher = RawClient(server.mqtt_port, 60)
        publisher.login("publisher", "publisher@crowd", "any", 5)
        topics = ["news", "news", "some/of/them", "news"]
        with Bystanders(server) as bystanders:
            began = time.monotonic()
            for number, topic in enumerate(topics, 1):
                publisher.send(publish(topic, b"%d" % number, 1, number, 5))
            for _ in topics:
                assert publisher.expect(PUBACK).body[2] == 0
            taken_secs = time.monotonic() - began
            for number, client in crowd.items():
                expected = [1, 2, 3, 4] if number % 100 == 0 else [1, 2, 4]
                messages = client.take_messages(len(expected))
                assert [int(message.payload) for message in messages] == expected
            all_secs = time.monotonic() - began
        assert server.metric("deliveries_deferred_total") > 0
        print(
            f"\n{LIVE_CROWD} subscribers: PUBACK of {len(topics)} messages after"
            f" {taken_secs * 1000:.0f} ms, all had them after {all_secs:.1f} s; {bystanders}"
        )
        assert bystanders.loop_secs < PATIENCE_SECS
        for client in crowd.values():
            client.close()


FILTERS = {
    "subscribers": lambda _: "news",
    "groups": lambda number: f"$share/g{number}/news",
    "one group": lambda _: "$share/all/news",
}


@pytest.mark.parametrize("kind", FILTERS)
def test_one_message_for_a_crowd_that_is_away(tmp_path, kind):
    with server_for_crowds(tmp_path) as server:
        before = server.rss_bytes()
        # The first is the first of its group, whichever loop serves it: the first turn is its.
        for numbers in ([0], range(1, CROWD)):
            come(server, numbers, filter_of=FILTERS[kind], stay=False)
        stored = server.rss_bytes() - before
        publisher = RawClient(server.mqtt_port, 60)
        publisher.login("publisher", "publisher@crowd", "any", 5)
        publisher.hand_over("other", b"x")
        with Bystanders(server) as bystanders:
            time.sleep(0.5)  # what others wait for when nothing happens
            calm = str(bystanders)
            began = time.monotonic()
            assert publisher.hand_over("news", b"x" * 100) == 0
            taken_secs = time.monotonic() - began
            for number in range(2, 6):
                assert publisher.hand_over("news", b"x" * 100, packet_id=number) == 0
            all_secs = time.monotonic() - began
        queued = server.rss_bytes() - before - stored
        print(
            f"\n{CROWD} {kind}: {stored / CROWD:.0f} bytes each; PUBACK of a message after"
            f" {taken_secs * 1000:.0f} ms, of five after {all_secs * 1000:.0f} ms, which wait in"
            f" {queued / CROWD / 5:.0f} bytes each; {bystanders} (before: {calm})"
        )
        expected = 5 if kind != "one group" else 1
        for number in (0, CROWD // 2, CROWD - 1):
            (client,) = come(server, [number]).values()
            assert client.session_present
            if kind == "one group" and number > 0:
                publisher.hand_over("news", b"y" * 100)  # goes to who is there
            client.take_messages(expected)
            client.ping()
            # It goes before the next one comes, else the message may be meant for it.
            client.send(disconnect())
            assert client.packets_until_closed() == []
            client.close()
        assert bystanders.loop_secs < PATIENCE_SECS
        assert bystanders.keeper_secs < PATIENCE_SECS
        assert stored / CROWD < BYTES_EACH_MAX
