"""What no MQTT client should send: each is answered by closing, and harms nobody else."""

import random
import socket
import struct
import time

import pytest

from harness import login
from wire import (
    CONNACK,
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBLISH,
    SUBACK,
    SUBSCRIBE,
    UNSUBSCRIBE,
    RawClient,
    connect,
    packet,
    publish,
    string,
    subscribe,
)

CONNECT_TIMEOUT_SECS = 1
PACKET_BYTES_MAX = 65_536
SETTINGS = f"""
[mqtt]
connect_timeout_secs = {CONNECT_TIMEOUT_SECS}
packet_bytes_max = {PACKET_BYTES_MAX}
"""
MIB = 1 << 20

USER, PASSWORD = login("alice")
GOOD = connect("client", USER, PASSWORD)
GOOD_BODY = GOOD[2:]


def changed(at, byte):
    """The good CONNECT's body with one byte changed."""
    body = bytearray(GOOD_BODY)
    body[at] = byte
    return packet(CONNECT, bytes(body))


@pytest.fixture(autouse=True)
def still_serving(server):
    """After every test a newcomer is welcome."""
    yield
    newcomer = RawClient(server.mqtt_port)
    assert newcomer.login("newcomer", *login("bob"))[1] == 0
    newcomer.ping()
    newcomer.close()
    server.wait_for_client_ids()


FIRST_PACKETS = {
    "PINGREQ": packet(PINGREQ),
    "SUBSCRIBE": subscribe(1, ["a"]),
    "PUBLISH": publish("a", b"x"),
    "DISCONNECT": packet(DISCONNECT),
    "CONNACK": packet(CONNACK, b"\0\0"),
    "packet type 0": b"\0\0",
    "packet type 15": b"\xf0\0",
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(507),
    "reserved flags of CONNECT": packet(CONNECT, GOOD_BODY, flags=1),
    "another protocol's name": changed(2, ord("N")),
    "protocol level 6": changed(6, 6),
    "protocol level 0": changed(6, 0),
    "reserved connect flag": changed(7, GOOD_BODY[7] | 0x01),
    "will QoS without a will": changed(7, GOOD_BODY[7] | 0x08),
    "will retain without a will": changed(7, GOOD_BODY[7] | 0x20),
    "a will of QoS 3": changed(7, GOOD_BODY[7] | 0x1C),
    "a will that is not there": changed(7, GOOD_BODY[7] | 0x04),
    "a password without a user name": packet(
        CONNECT, string("MQTT") + b"\x04\x42\0\x3c" + string("client") + string("x")
    ),
    "no payload": packet(CONNECT, GOOD_BODY[:10]),
    "no body": packet(CONNECT),
    "bytes behind the payload": packet(CONNECT, GOOD_BODY + b"more"),
    "a string longer than the packet": packet(CONNECT, GOOD_BODY[:10] + b"\xff\xffclient"),
    "a client id that is no UTF-8": connect(b"\xff\xfe", USER, PASSWORD),
    "a client id with a surrogate": connect(b"\xed\xa0\x80", USER, PASSWORD),
    "a client id with a NUL": connect(b"a\0b", USER, PASSWORD),
    "a user name that is no UTF-8": connect("client", b"\xc3@org_abc", PASSWORD),
    "a length of five bytes": b"\x10\xff\xff\xff\xff\x01" + GOOD_BODY,
    "a property that does not exist": connect("c", USER, PASSWORD, level=5, props=b"\x7f\x01"),
    "a property twice": connect("c", USER, PASSWORD, level=5, props=b"\x11\0\0\0\x01" * 2),
    "a property of another packet": connect("c", USER, PASSWORD, level=5, props=b"\x13\0\x01"),
    "receive maximum 0": connect("c", USER, PASSWORD, level=5, props=b"\x21\0\0"),
}


@pytest.mark.parametrize("first", FIRST_PACKETS.values(), ids=FIRST_PACKETS.keys())
def test_a_bad_first_packet_ends_the_connection(server, guests, first):
    client = guests.raw()
    client.send(first)
    for answer in client.packets_until_closed():
        assert answer.kind == CONNACK and answer.body[1] != 0, answer
    assert server.client_ids() == []


LATER_PACKETS = {
    "a second CONNECT": GOOD,
    "packet type 0": b"\0\0",
    "CONNACK": packet(CONNACK, b"\0\0"),
    "SUBACK": packet(SUBACK, b"\0\x01\0"),
    "PINGRESP": packet(PINGRESP),
    "PINGREQ with flags": packet(PINGREQ, flags=1),
    "PINGREQ with a body": packet(PINGREQ, b"x"),
    "DISCONNECT with flags": packet(DISCONNECT, flags=1),
    "PUBLISH of QoS 3": packet(PUBLISH, string("a") + b"\0\x01\0x", flags=6),
    "PUBLISH of QoS 0 with DUP": packet(PUBLISH, string("a") + b"\0x", flags=8),
    "PUBLISH to a filter": packet(PUBLISH, string("a/+") + b"\0x"),
    "PUBLISH to #": packet(PUBLISH, string("#") + b"\0x"),
    "PUBLISH to no topic": packet(PUBLISH, string("") + b"\0x"),
    "PUBLISH to a topic with a NUL": packet(PUBLISH, string(b"a\0") + b"\0x"),
    "PUBLISH to a topic that is no UTF-8": packet(PUBLISH, string(b"\xff") + b"\0x"),
    "PUBLISH with packet id 0": packet(PUBLISH, string("a") + b"\0\0\0x", flags=2),
    "PUBLISH without a body": packet(PUBLISH),
    "PUBLISH with a topic longer than the packet": packet(PUBLISH, b"\xff\xffa"),
    "SUBSCRIBE with wrong flags": packet(SUBSCRIBE, b"\0\x01\0" + string("a") + b"\0"),
    "SUBSCRIBE without filters": packet(SUBSCRIBE, b"\0\x01\0"[:2], flags=2),
    "SUBSCRIBE without a body": packet(SUBSCRIBE, flags=2),
    "UNSUBSCRIBE with wrong flags": packet(UNSUBSCRIBE, b"\0\x01\0" + string("a")),
    "UNSUBSCRIBE without a body": packet(UNSUBSCRIBE, flags=2),
    "PUBACK without an id": packet(PUBACK),
    "a length of five bytes": b"\x30\xff\xff\xff\xff\x01",
}


@pytest.mark.parametrize("level", [4, 5])
@pytest.mark.parametrize("later", LATER_PACKETS.values(), ids=LATER_PACKETS.keys())
def test_a_bad_later_packet_ends_the_connection(server, guests, later, level):
    client = guests.raw_login("client", "alice", level=level)
    client.send(later)
    for answer in client.packets_until_closed():
        assert level == 5 and answer.kind == DISCONNECT and answer.body[0] >= 0x80, answer
    server.wait_for_client_ids()


BAD_SUBSCRIPTIONS = {
    "packet id 0": (0, "a", 0),
    "QoS 3": (1, "a", 3),
    "reserved option bits": (1, "a", 0xC0),
    "an empty filter": (1, "", 0),
    "a filter with a NUL": (1, "a\0", 0),
    "# before the end": (1, "a/#/b", 0),
    "# not alone in its level": (1, "a#", 0),
    "+ not alone in its level": (1, "a+", 0),
    "a filter that is no UTF-8": (1, b"\xff", 0),
}


@pytest.mark.parametrize("level", [4, 5])
@pytest.mark.parametrize("bad", BAD_SUBSCRIPTIONS.values(), ids=BAD_SUBSCRIPTIONS.keys())
def test_a_bad_subscription_is_refused_or_ends_the_connection(server, guests, bad, level):
    client = guests.raw_login("client", "alice", level=level)
    number, topic_filter, options = bad
    client.send(subscribe(number, [topic_filter], options, level))
    answer = client.read_packet()
    if answer is not None and answer.kind == SUBACK:
        assert answer.body[-1] >= 0x80, answer
        assert server.presence()["users"][0]["subscribed_topics"] == []
    else:
        assert answer is None or (level == 5 and answer.kind == DISCONNECT), answer
        server.wait_for_client_ids()


@pytest.mark.parametrize("said", [b"", b"\x10", b"\x10\xff", GOOD[:-1]], ids=len)
def test_a_connection_that_does_not_finish_its_connect_is_closed_in_time(guests, said):
    client = guests.raw()
    start = time.monotonic()
    client.send(said)
    assert client.packets_until_closed() == []
    assert CONNECT_TIMEOUT_SECS - 0.1 <= time.monotonic() - start <= CONNECT_TIMEOUT_SECS + 2


def test_dripping_bytes_do_not_buy_time_for_a_connect(guests):
    client = guests.raw()
    client.socket.settimeout(0.1)
    start = time.monotonic()
    for byte in GOOD[:-1]:
        try:
            client.send(bytes([byte]))
            if not client.socket.recv(1):
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    assert time.monotonic() - start <= CONNECT_TIMEOUT_SECS + 2


def test_packets_may_come_in_any_pieces(guests):
    """Not bad at all, but on the same path: one byte at a time, then three packets at once."""
    client = guests.raw()
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in GOOD:
        client.send(bytes([byte]))
    assert client.read_packet().body == b"\0\0"
    client.send(subscribe(1, ["a"]) + publish("a", b"x") + packet(PINGREQ))
    kinds = [client.read_packet().kind for _ in range(3)]
    assert sorted(kinds) == sorted([SUBACK, PUBLISH, PINGRESP])


def send_until_closed(client, deadline_secs):
    """Sends zeros for as long as they are taken; returns whether the server closed in time."""
    deadline = time.monotonic() + deadline_secs
    try:
        while time.monotonic() < deadline:
            client.send(bytes(65_536))
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize("kind", [CONNECT, PUBLISH])
def test_a_packet_that_declares_too_much_is_not_waited_for(server, guests, kind):
    """The server may go on reading for a moment, so that its last word is not lost to a reset."""
    client = guests.raw() if kind == CONNECT else guests.raw_login("client", "alice")
    before = server.rss_bytes()
    client.send(bytes([kind << 4]) + b"\xff\xff\xff\x7f")
    server.wait_for_client_ids()
    assert send_until_closed(client, deadline_secs=5)
    assert server.rss_bytes() - before < 8 * MIB


@pytest.mark.parametrize("level", [4, 5])
def test_the_limit_of_a_packet_is_where_it_was_set(server, guests, level):
    client = guests.raw_login("client", "alice", level=level)
    client.subscribe("a")
    client.publish("a", bytes(PACKET_BYTES_MAX - 100))
    assert len(client.read_message()[1]) == PACKET_BYTES_MAX - 100
    client.publish("a", bytes(PACKET_BYTES_MAX + 1))
    answers = client.packets_until_closed()
    assert [each.body[0] for each in answers] in ([], [0x95])


def test_a_packet_cut_off_by_the_end_of_the_connection_is_ignored(server, guests):
    listener = guests.raw_login("listener", "bob")
    listener.subscribe("a")
    client = guests.raw_login("client", "alice")
    client.send(publish("a", bytes(1000))[:-1])
    client.close()
    server.wait_for_client_ids("listener")
    listener.publish("a", b"whole")
    assert listener.read_message() == ("a", b"whole")


def garbage(seed):
    """Random bytes, or a CONNECT with some bytes changed or cut off."""
    chance = random.Random(seed)
    if seed % 2:
        return chance.randbytes(chance.randrange(1, 1000))
    good = bytearray(connect("client", USER, PASSWORD, level=chance.choice([3, 4, 5])))
    for _ in range(chance.randrange(1, 4)):
        good[chance.randrange(len(good))] = chance.randrange(256)
    return bytes(good[: chance.randrange(1, len(good) + 1)])


def test_two_hundred_connections_of_garbage_harm_nobody(server, guests):
    witness = guests.raw_login("witness", "bob")
    for seed in range(200):
        client = guests.raw()
        try:
            client.send(garbage(seed))
            client.socket.shutdown(socket.SHUT_WR)
            client.packets_until_closed()
        except ConnectionError:
            pass  # closed while we were still sending: as good an answer as any
        client.close()
    witness.ping()
    server.wait_for_client_ids("witness")


def test_garbage_after_a_login_harms_nobody(server, guests):
    for seed in range(100):
        client = guests.raw_login(f"client-{seed}", "alice", level=4 + seed % 2)
        chance = random.Random(seed)
        kind = struct.pack("B", chance.randrange(256))
        try:
            client.send(kind + chance.randbytes(chance.randrange(1, 300)))
            client.socket.shutdown(socket.SHUT_WR)
            client.packets_until_closed()
        except ConnectionError:
            pass
        client.close()
    server.wait_for_client_ids()
