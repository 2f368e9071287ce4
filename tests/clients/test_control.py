"""The clients of these tests against Mosquitto: when this fails, the fault is not the server's."""

import pytest

from clients import KINDS, everyone_hears_everyone
from wire import (
    ASSIGNED_CLIENT_IDENTIFIER,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBLISH,
    RawClient,
    disconnect,
    packet,
)


@pytest.mark.parametrize("qos", [0, 1])
def test_everyone_hears_everyone_through_mosquitto(guests, mosquitto, qos):
    everyone_hears_everyone(guests, mosquitto, qos)


@pytest.mark.parametrize("kind", [each for each in KINDS if each.family == "paho"], ids=str)
def test_a_paho_client_can_vanish_without_a_disconnect(guests, mosquitto, kind):
    client = guests.open(kind, mosquitto, "client", "alice")
    client.vanish()
    assert client.closed.get(timeout=10).is_failure


@pytest.mark.parametrize("level", [3, 4, 5])
def test_the_packets_made_by_hand_are_understood(mosquitto, level):
    client = RawClient(mosquitto.mqtt_port)
    assert client.login("by-hand", "alice", "any", level=level, keep_alive=0)[1] == 0
    client.subscribe("a/+", "b", qos=1)
    client.unsubscribe("b")
    for qos in (0, 1):
        client.publish("a/1", b"payload", qos=qos)
        while (answer := client.read_packet()).kind == PUBACK:
            pass
        assert answer.kind == PUBLISH
    client.send(packet(PINGREQ))
    kinds = {PINGRESP, PUBACK}
    assert client.read_packet().kind in kinds
    client.send(disconnect())
    assert all(each.kind in kinds for each in client.packets_until_closed())


def test_the_properties_of_a_connack_are_read(mosquitto):
    client = RawClient(mosquitto.mqtt_port)
    client.login("", "alice", "any", level=5)
    assert client.connack_properties[ASSIGNED_CLIENT_IDENTIFIER]
    client.close()
