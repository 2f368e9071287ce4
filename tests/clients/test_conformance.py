"""Statements of MQTT 5.0 that only the whole server can show; docs/mqtt-conformance.md names them.

Each test stands under the numbers of what it shows. Stories with more to them are elsewhere.
"""

import string as characters
import struct

import pytest

from harness import login
from wire import (
    CONNACK,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBLISH,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    Will,
    connect,
    disconnect,
    packet,
    properties,
    publish,
    session_expiry,
    string,
    unsubscribe,
)

PUBREC, PUBREL, PUBCOMP = 5, 6, 7
EXPIRY_60 = b"\x11" + struct.pack(">I", 60)
RETAIN = 0x01
NO_LOCAL = 0x04
# Retain handling, bits 4 and 5 of the subscription options (§3.8.3.1).
ALWAYS, IF_NEW, NEVER = 0x00, 0x10, 0x20

PROTOCOL_ERROR = b"\x82"

each_level = pytest.mark.parametrize("level", [4, 5])
each_life = pytest.mark.parametrize("props", [b"", EXPIRY_60], ids=["passing", "stored"])


def subscribe(client, topic_filter, options=0):
    """Subscribes with all options of version 5 and returns what was granted."""
    body = b"\0\x05" + properties(client.level) + string(topic_filter) + bytes([options])
    client.send(packet(SUBSCRIBE, body, 0x02))
    return client.expect(SUBACK).body[-1]


def retain(client, topic, payload):
    """Publishes with RETAIN at QoS 1, and waits until the server has it."""
    body = string(topic) + b"\0\x09" + properties(client.level) + payload
    client.send(packet(PUBLISH, body, 0x02 | RETAIN))
    client.expect(PUBACK)


def packet_id_of(message):
    (length,) = struct.unpack_from(">H", message.body)
    return message.body[2 + length : 4 + length]


def hears_nothing(client):
    """Whatever had been sent to it would come before the answer to its ping."""
    client.ping()


# --- sessions ---


# MQTT-3.1.2-4, MQTT-3.1.2-5, MQTT-3.1.2-6, MQTT-3.1.4-4, MQTT-3.2.2-1, MQTT-3.2.2-2, MQTT-3.2.2-3
@each_level
def test_a_session_is_there_or_new_as_session_present_says(server, guests, level):
    props = EXPIRY_60 if level == 5 else b""

    def attach(clean):
        client = guests.raw()
        connack = client.login("device", *login("alice"), level=level, clean=clean, props=props)
        return client, connack[:2]

    def leave(client):
        client.send(disconnect())
        client.packets_until_closed()

    client, head = attach(clean=False)
    assert head == b"\0\0", "no session yet"
    subscribe(client, "news", 1)
    leave(client)
    client, head = attach(clean=False)
    assert head == b"\x01\0", "resumed"
    client.publish("news", b"x", qos=0)
    assert client.read_message() == ("news", b"x")
    leave(client)
    client, head = attach(clean=True)
    assert head == b"\0\0", "discarded"
    client.publish("news", b"x", qos=0)
    hears_nothing(client)
    leave(client)
    # Nothing of it may be left for other tests: version 5 keeps this one for a minute.
    guests.raw_login("device", "alice", clean=True).close()


# MQTT-3.1.4-6
@each_level
def test_what_follows_a_refused_connect_is_not_processed(guests, level):
    listener = guests.raw_login("listener", "alice")
    listener.subscribe("news")
    client = guests.raw()
    user, _ = login("bob")
    refused = connect("client", user, "wrong", level)
    client.send(refused + publish("news", b"x", level=level) + packet(PINGREQ))
    assert [each.kind for each in client.packets_until_closed()] == [CONNACK]
    hears_nothing(listener)


# MQTT-3.2.0-1
@each_level
def test_what_follows_an_accepted_connect_is_answered_after_connack(guests, level):
    client = guests.raw()
    client.level = level
    client.send(connect("client", *login("bob"), level) + packet(PINGREQ))
    assert [client.read_packet().kind, client.read_packet().kind] == [CONNACK, PINGRESP]


# MQTT-3.1.3-5
@pytest.mark.parametrize("level", [3, 4, 5])
def test_every_client_id_of_the_standard_is_taken(server, guests, level):
    allowed = characters.digits + characters.ascii_letters
    client_ids = ["a", allowed[:23], allowed[23:46], allowed[46:]]
    for client_id in client_ids:
        guests.raw_login(client_id, "alice", level=level)
    server.wait_for_client_ids(*client_ids)


# MQTT-3.3.2-7
def test_aliases_end_with_their_connection_though_the_session_goes_on(server, guests):
    takes_some = b"\x22\0\x05"  # Topic Alias Maximum
    aliased = b"\x23\0\x01"
    client = guests.device("client", props=takes_some)
    subscribe(client, "a/long/name")
    client.publish("a/long/name", b"1", props=aliased)
    client.publish("", b"2", props=aliased)
    heard = [client.next_message() for _ in range(2)]
    assert [(each.topic, each.payload) for each in heard] == [("a/long/name", b"1"), ("", b"2")]
    client.close()
    server.wait_for_client_ids()
    client = guests.device("client", props=takes_some)
    assert client.session_present
    guests.raw_login("publisher", "bob").publish("a/long/name", b"3")
    assert client.next_message().topic == "a/long/name", "it is told again"
    client.publish("", b"4", props=aliased)
    assert client.packets_until_closed()[-1].body[:1] == PROTOCOL_ERROR
    guests.raw_login("client", "alice", clean=True).close()


# --- retained messages and wills ---


# MQTT-3.3.1-5, MQTT-3.3.1-6, MQTT-3.3.1-8
@each_level
def test_a_retained_message_is_there_until_another_or_an_empty_one(guests, level):
    publisher = guests.raw_login("publisher", "bob", level=level)

    def found(number):
        """What somebody is sent who subscribes now."""
        client = guests.raw_login(f"reader-{number}", "alice", level=level)
        subscribe(client, "state")
        client.send(packet(PINGREQ))
        messages = []
        while (each := client.read_packet()).kind != PINGRESP:
            assert each.flags == RETAIN
            messages.append(each.body[7 + len(properties(level)) :])
        return messages

    retain(publisher, "state", b"one")
    assert found(1) == [b"one"]
    retain(publisher, "state", b"two")
    assert found(2) == [b"two"]
    for payload in (b"not kept", b""):
        publisher.publish("state", payload, qos=1)
        publisher.expect(PUBACK)
    assert found(3) == [b"two"], "a message without RETAIN changes nothing"
    witness = guests.raw_login("witness", "alice", level=level)
    subscribe(witness, "state", 1)
    witness.read_message()
    retain(publisher, "state", b"")
    assert witness.read_message() == ("state", b""), "an empty one is a message too"
    assert found(4) == []


# MQTT-3.3.1-9, MQTT-3.3.1-10, MQTT-3.3.1-11
def test_retained_messages_are_sent_as_retain_handling_says(guests):
    publisher = guests.raw_login("publisher", "bob")
    retain(publisher, "handled", b"x")
    client = guests.raw_login("client", "alice", level=5)
    for handling, is_sent in [
        (NEVER, False),
        (IF_NEW, False),
        (ALWAYS, True),
        (ALWAYS, True),
        (IF_NEW, False),
    ]:
        subscribe(client, "handled", handling)
        if is_sent:
            assert client.read_message() == ("handled", b"x")
        hears_nothing(client)
    client.unsubscribe("handled")
    subscribe(client, "handled", IF_NEW)
    assert client.read_message() == ("handled", b"x")
    retain(publisher, "handled", b"")


# MQTT-3.3.4-3, MQTT-3.8.4-8
@each_life
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_retained_message_comes_as_the_subscription_asks(guests, props, qos):
    publisher = guests.raw_login("publisher", "bob")
    for sent in (0, 1, 2):
        publisher.hand_over(f"asked/{sent}", b"x", sent, retain=True)
    publisher.ping()
    client = guests.raw_login("client", "alice", level=5, clean=True, props=props)
    filters = string("asked/+") + bytes([qos])
    client.send(packet(SUBSCRIBE, b"\0\x05\x02\x0b\x07" + filters, 0x02))
    assert client.expect(SUBACK).body[-1] == qos
    messages = {each.topic: each for each in client.take_messages(3)}
    for sent in (0, 1, 2):
        message = messages.pop(f"asked/{sent}")
        assert (message.qos, message.retain) == (min(sent, qos), True)
        assert message.props == b"\x0b\x07", "the subscription identifier"
        publisher.hand_over(f"asked/{sent}", b"", retain=True)
    client.send(disconnect(0, session_expiry(0)))


# MQTT-3.1.2-14, MQTT-3.1.2-15
@pytest.mark.parametrize(("level", "props"), [(4, b""), (5, b""), (5, EXPIRY_60)])
def test_a_will_is_retained_if_it_says_so(guests, level, props):
    listener = guests.raw_login("listener", "alice", level=level)
    listener.subscribe("gone/+")
    for topic, is_retained in [("gone/quietly", False), ("gone/for-good", True)]:
        will = Will(topic, b"bye", qos=1, retain=is_retained)
        guests.raw_login("client", "bob", level=level, will=will, props=props).close()
        assert listener.read_message() == (topic, b"bye")
    # One PUBLISH after the will was heard: the server has done with it.
    retain(guests.raw_login("publisher", "bob"), "gone/other", b"")
    later = guests.raw_login("later", "alice", level=level)
    subscribe(later, "gone/+")
    message = later.expect(PUBLISH)
    assert message.flags == RETAIN
    assert message.body[2:15] == b"gone/for-good"
    hears_nothing(later)
    retain(guests.raw_login("publisher", "bob"), "gone/for-good", b"")
    guests.raw_login("client", "bob", clean=True).close()


# MQTT-3.1.2-8
def test_the_end_of_a_session_that_is_not_stored_ends_the_delay_of_its_will(guests):
    listener = guests.raw_login("listener", "alice")
    listener.subscribe("gone/+")
    delay = b"\x18" + struct.pack(">I", 3600)
    will = Will("gone/bob", b"bye", qos=1, props=delay)
    guests.raw_login("client", "bob", level=5, will=will).close()
    assert listener.read_message() == ("gone/bob", b"bye")


# --- subscriptions ---


# MQTT-3.8.4-3, MQTT-3.8.4-4
def test_a_subscription_is_replaced_by_one_to_the_same_filter(guests):
    publisher = guests.raw_login("publisher", "bob")
    props = b"\x21\0\x01"  # Receive Maximum 1
    client = guests.raw_login("client", "alice", level=5, props=props)
    assert subscribe(client, "same", 2) == 2
    for payload in (b"1", b"2"):
        publisher.publish("same", payload, qos=1)
        publisher.expect(PUBACK)
    first = client.expect(PUBLISH)
    assert subscribe(client, "same", 1) == 1
    client.send(packet(PUBACK, packet_id_of(first)))
    second = client.expect(PUBLISH)
    assert second.body[-1:] == b"2", "what waited is not lost"
    client.send(packet(PUBACK, packet_id_of(second)))
    assert subscribe(client, "same", 0) == 0
    publisher.publish("same", b"3", qos=1)
    publisher.expect(PUBACK)
    third = client.expect(PUBLISH)
    assert (third.flags, third.body[-1:]) == (0, b"3"), "at the QoS of the newer one"
    hears_nothing(client)


# MQTT-3.8.4-5, MQTT-3.10.4-6
@each_life
def test_filters_in_one_packet_count_one_after_the_other(guests, props):
    publisher = guests.raw_login("publisher", "bob")
    retain(publisher, "twice", b"r")
    client = guests.raw_login("client", "alice", level=5, clean=True, props=props)
    filters = string("twice") + b"\x01" + string("twice") + b"\x00"
    client.send(packet(SUBSCRIBE, b"\0\x05\0" + filters, 0x02))
    assert client.expect(SUBACK).body == b"\0\x05\0\x01\0"
    assert [each.payload for each in client.take_messages(2)] == [b"r", b"r"]
    publisher.publish("twice", b"x", qos=1)
    publisher.expect(PUBACK)
    message = client.next_message()
    assert (message.payload, message.qos) == (b"x", 0), "as the last of them says, and once"
    hears_nothing(client)
    client.send(unsubscribe(7, ["twice", "other", "twice"], 5))
    assert client.expect(UNSUBACK).body == b"\0\x07\0\0\x11\x11"
    retain(publisher, "twice", b"")
    hears_nothing(client)
    client.send(disconnect(0, session_expiry(0)))


# MQTT-3.10.4-1, MQTT-3.10.4-3
@each_level
def test_unsubscribe_takes_back_what_is_spelled_the_same_and_finishes_what_was_begun(guests, level):
    client = guests.raw_login("client", "alice", level=level)
    subscribe(client, "a/+", 2)
    publisher = guests.raw_login("publisher", "bob")
    publisher.publish("a/b", b"x", qos=2)
    begun = packet_id_of(client.expect(PUBLISH))

    def take_back(topic_filter):
        client.send(unsubscribe(7, [topic_filter], level))
        return client.expect(UNSUBACK).body

    for other in ("a/b", "a/#", "A/+", "a/+/", "$share/g/a/+"):
        body = take_back(other)
        assert body[-1] == (0x11 if level == 5 else 7), other
    publisher.publish("a/b", b"y")
    assert client.read_message() == ("a/b", b"y")
    assert take_back("a/+")[-1] == (0 if level == 5 else 7)
    guests.raw_login("other", "bob").publish("a/b", b"z")
    client.send(packet(PUBREC, begun))
    assert client.expect(PUBREL).body[:2] == begun
    client.send(packet(PUBCOMP, begun))
    hears_nothing(client)


# MQTT-3.8.3-3
def test_no_local_keeps_a_message_from_its_publisher(guests):
    client = guests.raw_login("client", "alice", level=5)
    subscribe(client, "room", NO_LOCAL)
    client.publish("room", b"mine")
    hears_nothing(client)
    guests.raw_login("other", "bob").publish("room", b"yours")
    assert client.read_message() == ("room", b"yours")


# --- delivery ---


# MQTT-3.1.2-25
@each_life
def test_a_message_too_large_for_a_client_is_done_with(guests, props):
    limits = b"\x21\0\x01" + b"\x27" + struct.pack(">I", 100)
    client = guests.raw_login("client", "alice", level=5, clean=True, props=limits + props)
    subscribe(client, "sized", 1)
    publisher = guests.raw_login("publisher", "bob")
    for payload in (bytes(200), b"1", bytes(300), b"2"):
        publisher.publish("sized", payload, qos=1)
        publisher.expect(PUBACK)
    for payload in (b"1", b"2"):
        message = client.expect(PUBLISH)
        assert message.body[-1:] == payload, "with a window of one, nothing is stuck before it"
        client.send(packet(PUBACK, packet_id_of(message)))
    hears_nothing(client)
    client.close()
    guests.raw_login("client", "alice", clean=True).close()


# MQTT-3.3.4-2, MQTT-3.3.4-4, MQTT-4.5.0-1
@each_life
def test_each_of_several_subscribers_gets_one_copy_whatever_overlaps(guests, props):
    clients = []
    for number in range(3):
        client = guests.raw_login(f"client-{number}", "alice", level=5, clean=True, props=props)
        for identifier, (topic_filter, qos) in enumerate([("lap/#", 0), ("lap/+", 2), ("+/a", 1)]):
            body = b"\0\x05\x02\x0b" + bytes([identifier + 1]) + string(topic_filter) + bytes([qos])
            client.send(packet(SUBSCRIBE, body, 0x02))
            client.expect(SUBACK)
        clients.append(client)
    guests.raw_login("publisher", "bob").hand_over("lap/a", b"x", qos=2)
    for client in clients:
        message = client.take_message()
        assert (message.payload, message.qos) == (b"x", 2)
        identifiers = [message.props[at : at + 2] for at in range(0, len(message.props), 2)]
        assert sorted(identifiers) == [b"\x0b\x01", b"\x0b\x02", b"\x0b\x03"]
        hears_nothing(client)
        client.send(disconnect(0, session_expiry(0)))


# MQTT-4.3.3-11
def test_the_handshake_of_a_message_that_nobody_gets_outlives_the_connection(server, guests):
    client = guests.device("client")
    client.publish("nobody", b"x", qos=2, packet_id=7)
    assert client.expect(PUBREC).body[:3] == b"\0\x07\x10"
    client.close()
    server.wait_for_client_ids()
    client = guests.device("client")
    assert client.session_present
    client.send(packet(PUBREL, b"\0\x07", 0x02))
    assert client.expect(PUBCOMP).body in (b"\0\x07", b"\0\x07\0\0"), "it is known"
    client.send(disconnect(0, session_expiry(0)))


# MQTT-4.6.0-5, MQTT-4.6.0-6
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_arrive_in_the_order_of_their_publisher(guests, qos):
    client = guests.raw_login("client", "alice")
    subscribe(client, "ordered", qos)
    publishers = [guests.raw_login(f"publisher-{number}", "bob") for number in range(2)]
    for number in range(1, 51):
        for publisher, name in zip(publishers, (b"a", b"b"), strict=True):
            publisher.publish("ordered", name + b"%d" % number, qos=qos, packet_id=number)
    heard = {b"a": [], b"b": []}
    while sum(map(len, heard.values())) < 100:
        each = client.read_packet()
        if each.kind == PUBREL:
            client.send(packet(PUBCOMP, each.body[:2]))
            continue
        assert each.kind == PUBLISH, each
        payload = each.body[9 + (2 if qos else 0) :]
        heard[payload[:1]].append(int(payload[1:]))
        if qos:
            client.send(packet(PUBREC if qos == 2 else PUBACK, packet_id_of(each)))
    assert heard == {name: list(range(1, 51)) for name in (b"a", b"b")}


# MQTT-4.8.2-6
@pytest.mark.parametrize("qos", [1, 2])
def test_what_a_member_of_a_group_refuses_goes_to_nobody(guests, qos):
    members = [guests.raw_login(f"member-{number}", "alice", level=5) for number in range(2)]
    for member in members:
        subscribe(member, "$share/group/jobs", qos)
    publisher = guests.raw_login("publisher", "bob")
    answer = PUBREC if qos == 2 else PUBACK
    for number in range(2):
        publisher.publish("jobs", b"x", qos=qos, packet_id=number + 1)
        publisher.expect(answer)
    for member in members:
        message = member.expect(PUBLISH)
        member.send(packet(answer, packet_id_of(message) + b"\x80\0"))
    for member in members:
        hears_nothing(member)


# MQTT-4.8.2-5
@pytest.mark.parametrize("qos", [1, 2])
def test_what_a_member_of_a_group_leaves_unanswered_goes_to_nobody(server, guests, qos):
    leaver, other = [guests.raw_login(f"member-{number}", "alice", level=5) for number in range(2)]
    for member in (leaver, other):
        subscribe(member, "$share/group/jobs", qos)
    publisher = guests.raw_login("publisher", "bob")
    for number in range(2):
        publisher.publish("jobs", b"x", qos=qos, packet_id=number + 1)
        publisher.expect(PUBREC if qos == 2 else PUBACK)
    for member in (leaver, other):
        assert member.next_message().payload == b"x"
    leaver.close()
    server.wait_for_client_ids("member-1", "publisher")
    hears_nothing(other)


# --- older versions ---


# 3.1.1: MQTT-3.8.4-3
@pytest.mark.parametrize("level", [3, 4])
def test_version_3_gets_retained_messages_at_every_subscribe(guests, level):
    publisher = guests.raw_login("publisher", "bob")
    retain(publisher, "handled", b"x")
    client = guests.raw_login("client", "alice", level=level)
    for _ in range(2):
        subscribe(client, "handled")
        message = client.expect(PUBLISH)
        assert (message.flags, message.body[-1:]) == (RETAIN, b"x")
    retain(publisher, "handled", b"")
