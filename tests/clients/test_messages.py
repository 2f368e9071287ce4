"""Messages as MQTT has them: QoS 2, wills, shared subscriptions, identifiers, aliases, expiry."""

import queue
import struct
import threading
from contextlib import contextmanager

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from harness import login
from wire import CONNACK, PUBLISH, SUBACK, SUBSCRIBE, Will, packet, publish, string

DEADLINE_SECS = 10
PUBREC, PUBREL, PUBCOMP = 5, 6, 7

each_level = pytest.mark.parametrize("level", [3, 4, 5])
GONE = Will("gone/bob", b"bye", qos=1)


def watcher(guests, *filters, level=5, qos=0):
    client = guests.raw_login("watcher", "alice", level=level)
    client.subscribe(*filters, qos=qos)
    return client


def hears_nothing(client):
    """Whatever had been sent to it would come before the answer to its ping."""
    client.ping()


# --- QoS 2 ---


@each_level
def test_a_repeated_qos_2_message_arrives_once(server, guests, level):
    subscriber = watcher(guests, "news", qos=2)
    publisher = guests.raw_login("publisher", "bob", level=level)
    for dup in (0, 0x08):
        body = string("news") + struct.pack(">H", 7) + (b"\0" if level == 5 else b"") + b"once"
        publisher.send(packet(PUBLISH, body, 0x04 | dup))
        assert publisher.expect(PUBREC).body[:2] == b"\0\x07"
    publisher.send(packet(PUBREL, b"\0\x07", 0x02))
    assert publisher.expect(PUBCOMP).body[:2] == b"\0\x07"
    assert subscriber.read_message() == ("news", b"once")
    hears_nothing(subscriber)


@each_level
def test_a_qos_2_message_is_handed_over_in_four_packets(server, guests, level):
    subscriber = watcher(guests, "news", level=level, qos=2)
    publisher = guests.raw_login("publisher", "bob")
    publisher.publish("news", b"x", qos=2, packet_id=3)
    publisher.expect(PUBREC)
    message = subscriber.expect(PUBLISH)
    assert message.flags == 0x04
    packet_id = message.body[6:8]
    subscriber.send(packet(PUBREC, packet_id))
    release = subscriber.expect(PUBREL)
    assert (release.flags, release.body[:2]) == (0x02, packet_id)
    subscriber.send(packet(PUBCOMP, packet_id))
    hears_nothing(subscriber)


# --- wills ---


@each_level
def test_a_will_follows_a_connection_that_breaks(server, guests, level):
    listener = watcher(guests, "gone/+", qos=1)
    guests.raw_login("client", "bob", level=level, will=GONE).close()
    assert listener.read_message() == ("gone/bob", b"bye")


@each_level
def test_a_clean_disconnect_takes_the_will_back(server, guests, level):
    listener = watcher(guests, "gone/+")
    client = guests.raw_login("client", "bob", level=level, will=GONE)
    client.send(packet(14))
    assert client.read_packet() is None
    server.wait_for_client_ids("watcher")
    hears_nothing(listener)


def protocol_error(client):
    client.send(packet(CONNACK, b"\0\0"))


def with_will(client):
    client.send(packet(14, b"\x04\0"))


def reset(client):
    client.reset()


@pytest.mark.parametrize("end", [protocol_error, with_will, reset])
def test_a_will_follows_every_other_end(server, guests, end):
    listener = watcher(guests, "gone/+")
    end(guests.raw_login("client", "bob", level=5, will=GONE))
    assert listener.read_message() == ("gone/bob", b"bye")


@each_level
def test_a_will_follows_a_takeover(server, guests, level):
    listener = watcher(guests, "gone/+")
    guests.raw_login("client", "bob", level=level, will=GONE)
    newer = guests.raw_login("client", "bob", level=level)
    assert listener.read_message() == ("gone/bob", b"bye")
    hears_nothing(newer)


def test_a_will_follows_a_silence_beyond_the_keep_alive(server, guests):
    listener = watcher(guests, "gone/+")
    guests.raw_login("client", "bob", will=GONE, keep_alive=1)
    assert listener.read_message() == ("gone/bob", b"bye")


def test_many_wills_at_once_are_all_told(server, guests):
    listener = watcher(guests, "gone/+")
    for number in range(20):
        guests.raw_login(f"client-{number}", "bob", will=Will(f"gone/{number}", b"bye")).close()
    heard = {listener.read_message()[0] for _ in range(20)}
    assert heard == {f"gone/{number}" for number in range(20)}


def test_a_will_that_cannot_be_published_is_refused(server, guests):
    for will, code in [
        (Will("gone/#", b""), 0x90),
        (Will("$SYS/x", b""), 0x87),
    ]:
        client = guests.raw()
        connack = client.login("client", *login("bob"), level=5, will=will)
        assert connack[1] == code, will


# --- crowds ---


@pytest.mark.parametrize("qos", [0, 1])
def test_each_of_a_crowd_gets_every_message_in_order_though_some_drop_out(guests, here, qos):
    """Alone and in bursts: a crowd is written to in parts, or at once when more is to come."""
    crowd = [guests.raw_login(f"{here}-{number}", "alice") for number in range(200)]
    for client in crowd:
        client.subscribe(here, qos=qos)
    publisher = guests.raw_login("publisher", "bob")
    sent = [b"%d" % number for number in range(60)]
    for number, payload in enumerate(sent[:10]):
        publisher.hand_over(here, payload, qos, packet_id=number + 1)
        crowd.pop(number * 17).reset()
    for first in (10, 35):
        burst = [publish(here, b"%d" % number, qos, number) for number in range(first, first + 25)]
        publisher.send(b"".join(burst))
        crowd.pop(first).reset()
    for client in crowd:
        assert [client.read_message()[1] for _ in sent] == sent


# --- shared subscriptions ---


@each_level
def test_a_share_group_gets_each_message_once(server, guests, level):
    members = []
    for number in range(3):
        member = guests.raw_login(f"member-{number}", "alice", level=level)
        codes = member.subscribe("$share/group/jobs/+", qos=1)
        assert codes[-1] == 1
        members.append(member)
    ordinary = watcher(guests, "jobs/#")
    publisher = guests.raw_login("publisher", "bob")
    for number in range(9):
        publisher.publish(f"jobs/{number}", b"work")
    expected = [(f"jobs/{number}", b"work") for number in range(9)]
    assert [ordinary.read_message() for _ in expected] == expected
    shares = []
    for member in members:
        share = [member.read_message() for _ in range(3)]
        hears_nothing(member)
        shares += share
    assert sorted(shares) == expected


def test_no_local_on_a_shared_subscription_is_a_protocol_error(server, guests):
    client = guests.raw_login("client", "bob", level=5)
    client.send(packet(SUBSCRIBE, b"\0\x01\0" + string("$share/g/a") + b"\x05", 0x02))
    assert client.packets_until_closed()[-1].body[:1] == b"\x82"


# --- what version 5 adds to a message ---


class Paho5:
    """paho-mqtt with the properties of version 5, which the other tests have no use for."""

    def __init__(self, server, client_id, name, connect_properties=None):
        self.messages = queue.Queue()
        self._ready = threading.Event()
        self._subscribed = queue.Queue()
        self.mqtt = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5
        )
        self.mqtt.username_pw_set(*login(name))
        self.mqtt.on_connect = lambda *_: self._ready.set()
        self.mqtt.on_subscribe = lambda _c, _u, _m, codes, _p: self._subscribed.put(codes)
        self.mqtt.on_message = lambda _c, _u, message: self.messages.put(message)
        self.mqtt.connect("127.0.0.1", server.mqtt_port, properties=connect_properties)
        self.mqtt.loop_start()
        assert self._ready.wait(DEADLINE_SECS), "no CONNACK"

    def subscribe(self, filter_, identifier=None):
        properties = Properties(PacketTypes.SUBSCRIBE)
        if identifier:
            properties.SubscriptionIdentifier = identifier
        self.mqtt.subscribe(filter_, qos=2, properties=properties)
        codes = self._subscribed.get(timeout=DEADLINE_SECS)
        assert not any(code.is_failure for code in codes), codes

    def publish(self, topic, payload, qos=2, **named):
        properties = Properties(PacketTypes.PUBLISH)
        for name, value in named.items():
            setattr(properties, name, value)
        info = self.mqtt.publish(topic, payload, qos, properties=properties)
        info.wait_for_publish(DEADLINE_SECS)

    def next(self):
        return self.messages.get(timeout=DEADLINE_SECS)


@contextmanager
def paho5(server, *names_and_properties):
    clients = []
    try:
        for client_id, name, *properties in names_and_properties:
            clients.append(Paho5(server, client_id, name, *properties))
        yield clients
    finally:
        for client in clients:
            client.mqtt.disconnect()
            client.mqtt.loop_stop()


def test_one_copy_has_the_identifiers_of_all_subscriptions(server):
    with paho5(server, ("a", "alice"), ("b", "bob")) as (alice, bob):
        alice.subscribe("news/#", 7)
        alice.subscribe("news/+", 268_435_455)
        alice.subscribe("news/x")
        bob.publish("news/x", "hello")
        message = alice.next()
        assert sorted(message.properties.SubscriptionIdentifier) == [7, 268_435_455]
        assert message.qos == 2
        bob.publish("news/end", "end")
        assert alice.next().topic == "news/end", "a second copy"


def test_aliases_both_ways(server):
    takes_some = Properties(PacketTypes.CONNECT)
    takes_some.TopicAliasMaximum = 5
    with paho5(server, ("a", "alice", takes_some), ("b", "bob")) as (alice, bob):
        alice.subscribe("a/long/name/#")
        bob.publish("a/long/name/1", "first", TopicAlias=3)
        bob.publish("", "second", TopicAlias=3)
        first, second = alice.next(), alice.next()
        assert first.topic == "a/long/name/1"
        # paho leaves it to its user to remember the name.
        assert second.topic == ""
        assert first.properties.TopicAlias == second.properties.TopicAlias == 1
        assert (first.payload, second.payload) == (b"first", b"second")


def test_application_properties_pass_on(server):
    with paho5(server, ("a", "alice"), ("b", "bob")) as (alice, bob):
        alice.subscribe("ask")
        bob.publish(
            "ask",
            "what",
            MessageExpiryInterval=60,
            PayloadFormatIndicator=1,
            ContentType="text/plain",
            ResponseTopic="answer",
            CorrelationData=b"\x01\x02",
            UserProperty=[("b", "1"), ("a", "2"), ("b", "3")],
        )
        found = alice.next().properties
        assert 58 <= found.MessageExpiryInterval <= 60
        assert found.PayloadFormatIndicator == 1
        assert found.ContentType == "text/plain"
        assert found.ResponseTopic == "answer"
        assert found.CorrelationData == b"\x01\x02"
        assert found.UserProperty == [("b", "1"), ("a", "2"), ("b", "3")]


def test_more_than_the_receive_maximum_is_told(server, guests):
    client = guests.raw_login("client", "bob", level=5)
    receive_max = client.connack_properties[0x21]
    for packet_id in range(1, receive_max + 2):
        client.publish("a", b"x", qos=2, packet_id=packet_id)
    packets = client.packets_until_closed()
    assert [each.kind for each in packets] == [PUBREC] * receive_max + [14]
    assert packets[-1].body[:1] == b"\x93"


def test_a_subscription_is_granted_what_it_asks_for(server, guests):
    client = guests.raw_login("client", "bob")
    client.send(packet(SUBSCRIBE, b"\0\x01" + string("a") + b"\x02", 0x02))
    assert client.expect(SUBACK).body == b"\0\x01\x02"
