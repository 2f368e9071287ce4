"""Clients that want to hurt: each costs the server a bounded amount, and a bystander nothing.

What becomes of each attack, also of those that other files test, is told in `docs/attacks.md`.
"""

import concurrent.futures
import contextlib
import functools
import itertools
import os
import resource
import signal
import socket
import threading
import time

import pytest

from harness import OTHER_ORG, Server, login, wait_until
from wire import (
    CONNACK,
    DISCONNECT,
    PUBACK,
    PUBLISH,
    SUBACK,
    UNSUBACK,
    RawClient,
    Will,
    connect,
    packet,
    publish,
    string,
    subscribe,
    unsubscribe,
)

SUBSCRIPTIONS_MAX = 1000
RETAINED_MAX = 500
SETTINGS = f"""
[mqtt]
subscriptions_per_session_max = {SUBSCRIPTIONS_MAX}
[retained]
messages_max = {RETAINED_MAX}
subscriptions_waiting_max = 100
"""
PUBREC = 5
MIB = 1 << 20
GROWTH_MAX = 24 * MIB
# The server under test may be a build without optimisation, on a machine that is busy.
PATIENCE_SECS = 5
CONNECTIONS = int(os.environ.get("ATTACK_CONNECTIONS", "300"))

QUOTA_EXCEEDED, FILTER_INVALID, NO_SUBSCRIPTION, NOT_ACCEPTED = 0x97, 0x8F, 0x11, 0x83
ALIAS_INVALID, PROTOCOL_ERROR = 0x94, 0x82


@pytest.fixture(autouse=True)
def bystander(server, guests):
    """Somebody who is served before and after, and during it when the test asks."""
    client = guests.raw_login("bystander", "bob")
    before = server.rss_bytes()

    def is_served():
        began = time.monotonic()
        client.ping()
        assert time.monotonic() - began < PATIENCE_SECS

    yield is_served
    is_served()
    grown = server.rss_bytes() - before
    assert grown < GROWTH_MAX, f"grew by {grown / MIB:.0f} MiB"
    client.close()


def stuffed(client, block, bytes_max):
    """Sends `block` again and again until the server takes no more; how many whole ones it took."""
    client.socket.settimeout(1)
    sent = 0
    many = block * (65_536 // len(block))
    with contextlib.suppress(TimeoutError):
        while sent < bytes_max:
            sent += client.socket.send(many[sent % len(block) :])
    client.socket.settimeout(10)
    return sent // len(block)


def test_who_asks_and_asks_and_reads_no_answer_is_not_read_from(server, guests, bystander):
    client = guests.raw_login("greedy", "alice", level=5)
    before = server.rss_bytes()
    asked = stuffed(client, subscribe(7, ["no#filter"], level=5), 32 * MIB)
    assert asked < 32 * MIB // 20, "the server reads on for ever"
    bystander()
    assert server.rss_bytes() - before < GROWTH_MAX
    assert server.metric("reads_held_total") > 0
    # Many thousands: not taken apart one by one.
    body = client.expect(SUBACK).body
    assert body[:2] == b"\0\7"
    rest = packet(SUBACK, body) * (asked - 1)
    assert client.read_bytes(len(rest)) == rest


@pytest.mark.parametrize("level", [4, 5])
def test_a_rush_of_subscriptions_of_a_stored_session_is_answered_in_order(
    server, guests, bystander, level
):
    """Each waits for the disk: no more are taken than are answered."""
    count = 2000
    how = {"level": level, "clean": False}
    if level == 5:
        how["props"] = b"\x11\0\0\0\x3c"
    client = guests.raw_login(f"rush-{level}", "alice", **how)
    packets = [subscribe(number, [f"rush/{number % 50}"], 1, level) for number in range(1, count)]
    client.send(b"".join(packets))
    bystander()
    for number in range(1, count):
        assert client.expect(SUBACK).body[:2] == number.to_bytes(2, "big")
    client.send(b"".join(unsubscribe(n, [f"rush/{n % 50}"], level) for n in range(1, count)))
    for number in range(1, count):
        assert client.expect(UNSUBACK).body[:2] == number.to_bytes(2, "big")
    client.close()
    guests.raw_login(f"rush-{level}", "alice").close()


@pytest.mark.parametrize("is_stored", [False, True], ids=["live", "stored"])
def test_a_hundred_thousand_filters_in_one_unsubscribe(server, guests, bystander, is_stored):
    """As many are served as there may be subscriptions; the others are told that they were not."""
    client = (guests.device if is_stored else guests.raw_login)("forgetful", "alice", level=5)
    for first in range(0, SUBSCRIPTIONS_MAX, 100):
        client.subscribe(*(f"t/{number}" for number in range(first, first + 100)))
    guests.raw_login("other", "alice").subscribe("z")
    client.send(unsubscribe(9, ["t/0"] + ["z"] * (SUBSCRIPTIONS_MAX - 1) + ["t/1"] * 99_000, 5))
    bystander()
    served = bytes([0]) + bytes([NO_SUBSCRIPTION]) * (SUBSCRIPTIONS_MAX - 1)
    assert client.expect(UNSUBACK).body[3:] == served + bytes([NOT_ACCEPTED]) * 99_000
    assert client.subscribe("t/0", "t/1", "one/more")[-3:] == bytes([0, 0, QUOTA_EXCEEDED])


def test_an_mqtt_3_client_that_could_not_be_told_of_what_was_left_out_is_closed(
    server, guests, bystander
):
    client = guests.raw_login("forgetful", "alice", level=4)
    client.subscribe("t")
    client.unsubscribe(*["t"] * SUBSCRIPTIONS_MAX)
    client.send(unsubscribe(9, ["z"] * (SUBSCRIPTIONS_MAX + 1), 4))
    assert client.read_packet() is None


def test_a_hundred_thousand_subscriptions(server, guests, bystander):
    client = guests.raw_login("collector", "alice", level=5)
    for first in range(0, SUBSCRIPTIONS_MAX, 100):
        answer = client.subscribe(*(f"t/{number}/+" for number in range(first, first + 100)))
        assert answer[-100:] == bytes(100)
    assert client.subscribe("one/more")[-1] == QUOTA_EXCEEDED
    crowd = [guests.raw_login(f"crowd-{n}", "alice", level=5) for n in range(100)]
    for number, member in enumerate(crowd):
        for first in range(0, 1000, 100):
            filters = [f"{number}/{each}/+/#" for each in range(first, first + 100)]
            member.send(subscribe(3, filters, level=5))
    bystander()
    for member in crowd:
        for _ in range(10):
            assert member.expect(SUBACK).body[-100:] == bytes(100)
    bystander()


def test_a_topic_of_a_thousand_levels(guests, bystander):
    client = guests.raw_login("deep", "alice", level=5)
    deep = "/".join("x" * 1000)
    assert client.subscribe(deep)[-1] == FILTER_INVALID
    assert client.subscribe("+/" * 127 + "#")[-1] == 0
    client.publish(deep, b"deep")
    assert client.read_message() == (deep, b"deep")
    bystander()


def test_a_flood_of_retained_messages_ends_at_the_quota(server, guests, bystander):
    client = guests.raw_login("hoarder", "alice", level=5)
    codes = []
    for number in range(RETAINED_MAX + 50):
        client.send(packet(PUBLISH, string(f"r/{number}") + b"\0\1" + b"\0" + bytes(1000), 0x03))
        codes.append(client.expect(PUBACK).body[2:3])
    assert codes.count(bytes([QUOTA_EXCEEDED])) == 50
    readers = [guests.raw_login(f"stuck-{n}", "alice", keep_alive=0) for n in range(10)]
    for reader in readers:
        reader.send(subscribe(1, ["#"]) * 200)
    bystander()
    wait_until(lambda: server.metric("retained_cut_total") > 0, "more than may wait are counted")
    for number in range(RETAINED_MAX):
        client.send(packet(PUBLISH, string(f"r/{number}") + b"\0\1" + b"\0", 0x03))
        client.expect(PUBACK)


def test_a_flood_of_wills_with_and_without_delay_is_told_whole(server, guests, bystander):
    watcher = guests.raw_login("watcher", "alice")
    watcher.subscribe("wills/#", qos=1)
    delay, expiry = b"\x18\0\0\0\1", b"\x11\0\0\0\1"
    doomed = []
    for number in range(300):
        is_delayed = number % 2 == 1
        will = Will(f"wills/{number}", b"gone", 1, props=delay if is_delayed else b"")
        how = {"props": expiry} if is_delayed else {}
        doomed.append(guests.raw_login(f"doomed-{number}", "alice", level=5, will=will, **how))
    for client in doomed:
        client.reset()
    told = set()
    while len(told) < 300:
        answer = watcher.expect(PUBLISH)
        topic = answer.body[2 : 2 + answer.body[1]].decode()
        assert topic not in told, topic
        told.add(topic)
        at = 2 + answer.body[1]
        watcher.send(packet(PUBACK, answer.body[at : at + 2]))
    bystander()


def test_all_who_knocked_at_the_same_moment_are_let_in(server, guests, bystander):
    """More than are accepted in a turn, and no later one who would wake the server again."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        crowd = [guests.raw() for _ in range(500)]
        for number, client in enumerate(crowd):
            client.send(connect(f"knocker-{number}", *login("alice")))
    finally:
        os.kill(server.pid, signal.SIGCONT)
    for client in crowd:
        assert client.expect(CONNACK).body == b"\0\0"
    bystander()


@contextlib.contextmanager
def floods(guests, flood):
    """Eight clients that send these bytes without pause."""
    is_over = threading.Event()
    flooders = [guests.raw_login(f"flooder-{number}", "alice") for number in range(8)]

    def pour(flooder):
        while not is_over.is_set():
            flooder.send(flood)

    with concurrent.futures.ThreadPoolExecutor(len(flooders)) as threads:
        pouring = [threads.submit(pour, flooder) for flooder in flooders]
        try:
            yield
        finally:
            is_over.set()
            for flooder in flooders:
                flooder.socket.shutdown(socket.SHUT_RDWR)
        for flooder, one in zip(flooders, pouring, strict=True):
            with contextlib.suppress(OSError):
                one.result()
            # What it has sent by now would take long to read.
            flooder.reset()


@pytest.mark.parametrize(
    ("level_count", "come", "passed_max"),
    [(0, 50_000, 100_000), (8, 100, 1_000)],
    ids=["cheap", "costly"],
)
def test_floods_of_others_keep_nobody_waiting_who_asks_for_little(
    server, guests, bystander, level_count, come, passed_max
):
    """Counted in messages of the floods that pass while a ping is answered.

    A name is costly if it has to be followed into many filters, though it matches none.
    """
    filters = ["/".join(levels) + "/y" for levels in itertools.product("x+", repeat=level_count)]
    watcher = guests.raw_login("watcher", "alice")
    for first in range(0, len(filters), 64):
        watcher.subscribe(*filters[first : first + 64])
    flood = publish("x/" * level_count + "z", b"x") * 6000
    received = functools.partial(server.metric, "messages_received_total")
    before = received()
    with floods(guests, flood):
        wait_until(lambda: received() > before + come, "the floods have come")
        for _ in range(5):
            before = received()
            bystander()
            passed = received() - before
            assert passed < passed_max
    assert server.metric("reads_deferred_total") > 0


def test_a_thousand_share_groups_of_one_filter_cost_a_message_each(guests, bystander):
    client = guests.raw_login("greedy", "alice", level=5)
    for first in range(0, SUBSCRIPTIONS_MAX, 100):
        client.subscribe(*(f"$share/g{number}/t" for number in range(first, first + 100)))
    assert client.subscribe("$share/more/t")[-1] == QUOTA_EXCEEDED
    client.publish("t", b"x")
    for _ in range(SUBSCRIPTIONS_MAX):
        assert client.read_message() == ("t", b"x")
    client.ping()


@pytest.mark.parametrize(
    "alias, code", [(0, (ALIAS_INVALID, PROTOCOL_ERROR)), (11, (ALIAS_INVALID,))]
)
def test_an_alias_that_cannot_be_ends_the_session(guests, alias, code):
    client = guests.raw_login("alias", "alice", level=5)
    body = string("a") + b"\x03\x23" + alias.to_bytes(2, "big") + b"x"
    client.send(packet(PUBLISH, body))
    assert client.expect(DISCONNECT).body[0] in code


def test_messages_that_are_never_released_have_a_bound(server, guests, bystander):
    """65,535 packet identifiers are all that MQTT 3.1.1 has; used again, they are repetitions."""
    client = guests.raw_login("hanging", "alice")
    before = server.rss_bytes()
    for first in range(1, 65_536, 1000):
        identifiers = range(first, min(first + 1000, 65_536))
        client.send(b"".join(publish("nobody", b"x", 2, number) for number in identifiers))
        for number in identifiers:
            assert client.expect(PUBREC).body == number.to_bytes(2, "big")
    client.send(publish("nobody", b"another", 2, 5))
    assert client.expect(PUBREC).body == b"\0\5"
    assert server.rss_bytes() - before < GROWTH_MAX


TRICKS = [
    "#", "+/#", "/#", "+/+", "$SYS/#", "$share/g/#", f"$share/{OTHER_ORG}/#", f"{OTHER_ORG}/#",
    f"/{OTHER_ORG}/#", f"${OTHER_ORG}/#", f"@{OTHER_ORG}/#", f"../{OTHER_ORG}/#", f"{OTHER_ORG}/secret",
    f"secret@{OTHER_ORG}", "secret", "./secret", "//secret", "secret/", "secret/#", "SECRET", "%73ecret",
    "$share/g/secret", "$share//secret", "$share/#/secret", "\u2028/#", "secret\x7f",
]  # fmt: skip


@pytest.mark.parametrize("level", [4, 5])
def test_no_filter_reaches_another_organisation(guests, level):
    spy = guests.raw_login("spy", "alice", level=level)
    for number, trick in enumerate(TRICKS, start=1):
        spy.send(subscribe(number, [trick], level=level))
        spy.expect(SUBACK)
    other = guests.raw_login("spy", "alice", org=OTHER_ORG)
    for topic in ("secret", f"{OTHER_ORG}/secret", "/secret", "$SYS/secret"):
        other.send(packet(PUBLISH, string(topic) + b"\0\1" + b"not yours", 0x03))
        other.expect(PUBACK)
    again = guests.raw_login("spy-2", "alice", level=level)
    for trick in ("#", "secret", "$SYS/#"):
        again.subscribe(trick)
    for client in (spy, again):
        client.ping()


@pytest.mark.parametrize("length", [60_000, 65_535])
def test_a_client_id_as_long_as_can_be(server, guests, length):
    client = guests.raw()
    client.send(connect("c" * length, *login("alice")))
    if length == 65_535:  # with its names it is over mqtt.connect_bytes_max
        assert [answer.kind for answer in client.packets_until_closed()] in ([], [CONNACK])
    else:
        assert client.expect(CONNACK).body[1] == 0
        assert server.client_ids() == sorted(["bystander", "c" * length])


def test_half_packets_of_many_cost_no_more_than_was_sent(server, guests, bystander):
    """A length of 1 MB is believed only as far as bytes have come."""
    before = server.rss_bytes()
    for number in range(200):
        client = guests.raw_login(f"half-{number}", "alice")
        client.send(b"\x30\xff\xff\x3f" + string("a") + bytes(1000))
    bystander()
    assert server.rss_bytes() - before < GROWTH_MAX


@pytest.mark.timeout(60 + CONNECTIONS / 20)
def test_beyond_the_limit_of_connections_all_are_refused_politely(tmp_path):
    """`ATTACK_CONNECTIONS` is how many: a few in every run, 19,000 by hand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    user, password = login("alice")
    settings = f"[mqtt]\nconnections_max = {CONNECTIONS}\nconnect_timeout_secs = 120\n"
    with contextlib.ExitStack() as stack, Server(tmp_path, settings) as server:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        crowd = []
        for number in range(CONNECTIONS):
            client = RawClient(server.mqtt_port, 60)
            stack.callback(client.close)
            client.send_connect(f"crowd-{number}", user, password, keep_alive=0)
            crowd.append(client)
        assert all(client.expect(CONNACK).body[1] == 0 for client in crowd)
        for level, refused in ((4, 3), (5, 0x89)):
            for number in range(20):
                late = RawClient(server.mqtt_port)
                assert late.login(f"late-{number}", user, password, level)[1] == refused
                assert late.packets_until_closed() == []
                late.close()
        crowd[0].ping()
        crowd[-1].ping()
        print(f"{CONNECTIONS} connections, server {server.rss_bytes() / MIB:.0f} MiB")
