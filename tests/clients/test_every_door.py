"""Each real client through each door that it can use: messages, wills, sessions that wait for it."""

import pytest

from clients import FAMILIES, Kind, Message
from doors import TlsServer

# Path of the WebSocket, if it is one, and whether it is TLS.
DOORS = [("", False), ("", True), ("/mqtt", False), ("/mqtt", True)]
KINDS = [
    Kind(family, level, path, tls)
    for family in FAMILIES
    for path, tls in DOORS
    # Mosquitto's programs speak no WebSocket before version 2.1.
    if not (path and family == "mosquitto")
    for level in (4, 5)
]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=str)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with TlsServer(tmp_path_factory.mktemp("doors")) as server:
        yield server


@each_kind
def test_messages_come_and_go_at_every_qos_and_one_is_retained(server, guests, here, kind):
    client = guests.open(kind, server, "client-abc", "alice")
    client.publish(f"{here}/kept", "for later", qos=1, retain=True)
    client.subscribe(f"{here}/#", qos=2)
    assert client.next_delivery() == Message(f"{here}/kept", "for later", 1, True)
    for qos in (0, 1, 2):
        client.publish(f"{here}/{qos}", f"at {qos}", qos=qos)
        assert client.next_delivery() == Message(f"{here}/{qos}", f"at {qos}", qos, False)
    client.publish(f"{here}/kept", "", qos=1, retain=True)
    assert client.next_delivery() == Message(f"{here}/kept", "", 1, False)
    client.disconnect()
    server.wait_for_client_ids()


@each_kind
def test_the_will_of_a_client_whose_connection_breaks_is_published(server, guests, here, kind):
    watcher = guests.raw_login("watcher", "bob")
    watcher.subscribe(f"{here}/#", qos=2)
    will = Message(f"{here}/will", "gone", 2)
    client = guests.open(kind, server, "client-abc", "alice", will=will)
    client.subscribe("something")
    client.vanish()
    told = watcher.take_message()
    assert Message(told.topic, told.payload.decode(), told.qos, told.retain) == will
    watcher.ping()


@each_kind
def test_a_stored_session_gets_what_it_missed_once_and_in_order(server, guests, here, kind):
    client = guests.open(kind, server, here, "alice", stored=True)
    assert not client.session_present
    client.subscribe(f"{here}/#", qos=2)
    client.disconnect()
    server.wait_for_client_ids()
    sender = guests.raw_login("sender", "bob")
    said = say(sender, here, range(12))
    client = come_back(guests, kind, server, here, f"{here}/#")
    hears(client, said)
    # Nothing comes twice: this is the next.
    said = say(sender, here, [100])
    hears(client, said)


def test_stored_sessions_of_all_clients_outlive_a_kill_of_the_server(server, guests):
    """Half of the messages come before it, half after it."""
    names = {kind: f"outlives-{kind}" for kind in KINDS}
    clients = [guests.open(kind, server, names[kind], "alice", stored=True) for kind in KINDS]
    for client in clients:
        client.subscribe("outlives/#", qos=2)
    server.wait_for_client_ids(*names.values())
    for client in clients:
        client.vanish()
    server.wait_for_client_ids()
    said = say(guests.raw_login("sender", "bob"), "outlives", range(6))
    server.crash()
    server.start()
    sender = guests.raw_login("sender", "bob")
    said += say(sender, "outlives", range(6, 12))
    clients = [come_back(guests, kind, server, names[kind], "outlives/#") for kind in KINDS]
    for client in clients:
        hears(client, said)
    said = say(sender, "outlives", [100])
    for client in clients:
        hears(client, said)


def say(sender, where, numbers):
    """Messages at QoS 1 and 2 in turn, each handed over before the next."""
    said = []
    for number in numbers:
        message = Message(f"{where}/{number % 3}", str(number), 1 + number % 2)
        assert sender.hand_over(message.topic, message.payload.encode(), message.qos) == 0
        said.append(message)
    return said


def come_back(guests, kind, server, client_id, topic_filter):
    client = guests.open(kind, server, client_id, "alice", stored=True)
    if kind.family == "mosquitto":
        # It connects only now. That it gets what it missed shows that it was subscribed before.
        client.subscribe(topic_filter, qos=2)
    else:
        assert client.session_present
    return client


def hears(client, said):
    """Just these, in the order of each QoS: a library gives a QoS 2 message to its user when it is
    released, which may be after a later one of QoS 1 (MQTT 5 §4.6)."""
    heard = [client.next_delivery() for _ in said]
    for qos in (1, 2):
        assert [each for each in heard if each.qos == qos] == [
            each for each in said if each.qos == qos
        ]
