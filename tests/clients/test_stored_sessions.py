"""Sessions that outlive their connections: what comes back, when, and to whom (MQTT 5 §4.1)."""

import struct
import time

import pytest

from harness import login, wait_until
from wire import (
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBLISH,
    PUBREL,
    answer,
    disconnect,
    packet,
    publish,
    receive_maximum,
    session_expiry,
)

SETTINGS = "[sessions]\nqueue_messages_max = 20\nexpiry_secs_max = 3600\n"
QUOTA_EXCEEDED, TAKEN_OVER, PROTOCOL_ERROR = 0x97, 0x8E, 0x82
SESSION_EXPIRY = 0x11

each_level = pytest.mark.parametrize("level", [3, 4, 5])
each_absence = pytest.mark.parametrize("absence", ["away", "stop", "crash"])


def leave(server, client, absence="away"):
    """The client's connection ends, perhaps with the server."""
    if absence == "away":
        client.close()
        server.wait_for_client_ids()
    elif absence == "stop":
        server.stop()
    else:
        server.crash()


def come_back(server, absence):
    if absence != "away":
        server.start()


def send(guests, topic, *bodies, qos=1):
    """Another client publishes, and is told that the server has it all."""
    publisher = guests.raw_login("publisher", "bob", level=5)
    codes = [
        publisher.hand_over(topic, body.encode(), qos, number + 1)
        for number, body in enumerate(bodies)
    ]
    publisher.close()
    return codes


def hears_nothing(client):
    """Whatever had been sent to it would come before the answer to its ping."""
    client.ping()


# --- what comes back ---


@each_level
@each_absence
def test_subscriptions_and_messages_outlive_an_absence(server, guests, here, level, absence):
    device = guests.device(here, level=level)
    assert not device.session_present
    device.subscribe(f"{here}/one", f"{here}/+/many", qos=2)
    leave(server, device)
    send(guests, f"{here}/one", "a", "b")
    send(guests, f"{here}/x/many", "c", qos=2)
    send(guests, f"{here}/else", "nobody's")
    server.wait_for_client_ids()
    leave(server, device, absence)
    come_back(server, absence)

    device = guests.device(here, level=level)
    assert device.session_present is (level != 3)
    taken = device.take_messages(3)
    assert [each.payload for each in taken] == [b"a", b"b", b"c"]
    assert [each.qos for each in taken] == [1, 1, 2]
    assert not any(each.dup or each.retain for each in taken)
    send(guests, f"{here}/one", "d")
    assert device.take_message().payload == b"d"


@each_absence
def test_what_was_sent_and_not_acknowledged_comes_again_as_a_duplicate(
    server, guests, here, absence
):
    """In the order of before, under the same packet identifiers (§4.4, §4.6)."""
    device = guests.device(here)
    device.subscribe(here, qos=2)
    bodies = [f"message {number}" for number in range(8)]
    send(guests, here, *bodies[::2])
    send(guests, here, *bodies[1::2], qos=2)
    first = [device.next_message() for _ in bodies]
    # Settled: one in the middle.
    device.send(answer(PUBACK, first[1].packet_id))
    device.ping()
    time.sleep(0.2)  # an acknowledgement may be lost in a crash; this one is to be on the disk
    leave(server, device, absence)
    come_back(server, absence)

    device = guests.device(here)
    again = device.take_messages(len(bodies) - 1)
    del first[1]
    assert [(each.packet_id, each.payload) for each in again] == [
        (each.packet_id, each.payload) for each in first
    ]
    assert all(each.dup for each in again)
    hears_nothing(device)


@each_absence
def test_a_message_that_was_received_is_released_and_not_sent_again(server, guests, here, absence):
    device = guests.device(here)
    device.subscribe(here, qos=2)
    send(guests, here, "once", qos=2)
    message = device.next_message()
    device.send(answer(5, message.packet_id))
    assert device.expect(PUBREL).body[:2] == struct.pack(">H", message.packet_id)
    leave(server, device, absence)
    come_back(server, absence)

    device = guests.device(here)
    assert device.expect(PUBREL).body[:2] == struct.pack(">H", message.packet_id)
    device.send(answer(7, message.packet_id))
    device.ping()
    leave(server, device)
    hears_nothing(guests.device(here))


@each_absence
def test_a_filter_that_was_taken_back_stays_away(server, guests, here, absence):
    device = guests.device(here)
    device.subscribe(f"{here}/a", f"{here}/b", qos=1)
    device.unsubscribe(f"{here}/a")
    leave(server, device, absence)
    come_back(server, absence)
    send(guests, f"{here}/a", "no")
    send(guests, f"{here}/b", "yes")
    assert guests.device(here).take_message().payload == b"yes"


def test_messages_of_qos_0_do_not_wait(server, guests, here):
    device = guests.device(here)
    device.subscribe(here, qos=1)
    leave(server, device)
    send(guests, here, "lost", qos=0)
    send(guests, here, "kept")
    device = guests.device(here)
    assert device.take_message().payload == b"kept"
    send(guests, here, "at once", qos=0)
    assert device.take_message().payload == b"at once"


# --- how long it is kept ---


@each_level
@pytest.mark.parametrize("way", ["clean start", "no expiry"])
def test_a_session_that_is_not_wanted_any_more_is_gone(server, guests, here, level, way):
    device = guests.device(here, level=level)
    device.subscribe(here, qos=1)
    leave(server, device)
    send(guests, here, "waits")
    if way == "clean start":
        device = guests.device(here, level=level, clean=True)
        assert not device.session_present
        hears_nothing(device)
    elif level == 5:
        # It is taken up, and ends with this connection.
        device = guests.device(here, expiry=0)
        assert device.session_present
        assert device.take_message().payload == b"waits"
    leave(server, device)
    if level == 5 or way == "clean start":
        send(guests, here, "for nobody")
        device = guests.device(here, level=level)
        # A clean start of version 5 with an expiry begins a session that is stored.
        assert device.session_present is (level == 5 and way == "clean start")
        hears_nothing(device)


def test_a_session_expires_when_its_time_is_over(server, guests, here):
    for expiry in (1, 30):
        device = guests.device(f"{here}-{expiry}", expiry=expiry)
        device.subscribe(here, qos=1)
        device.close()
    server.wait_for_client_ids()
    time.sleep(1.3)  # the expiry is what is tested
    for expiry, is_kept in ((1, False), (30, True)):
        assert guests.device(f"{here}-{expiry}", expiry=expiry).session_present is is_kept


@pytest.mark.parametrize("way", ["stop", "crash"])
def test_a_session_expires_while_the_server_is_down(server, guests, here, way):
    leave(server, guests.device(here, expiry=1))
    time.sleep(0.2)  # that it left is written down lazily
    getattr(server, way)()
    time.sleep(1.3)  # the expiry is what is tested
    server.start()
    assert not guests.device(here).session_present


def test_a_disconnect_changes_the_expiry(server, guests, here):
    for before, after in ((600, 0), (1, 600)):
        device = guests.device(f"{here}-{after}", expiry=before)
        device.send(disconnect(0, session_expiry(after)))
        device.packets_until_closed()
    time.sleep(1.3)  # the expiry is what is tested
    for before, after, is_kept in ((600, 0, False), (1, 600, True)):
        client = guests.device(f"{here}-{after}")
        assert client.session_present is is_kept, (before, after)


def test_a_disconnect_cannot_give_an_expiry_to_a_session_without(server, guests, here):
    client = guests.device(here, expiry=0)
    client.send(disconnect(0, session_expiry(600)))
    assert client.expect(DISCONNECT).body[0] == PROTOCOL_ERROR
    server.wait_for_client_ids()
    assert not guests.device(here).session_present


def test_a_longer_expiry_than_the_server_gives_is_cut_and_told(server, guests, here):
    client = guests.device(here, expiry=0xFFFFFFFF)
    assert client.connack_properties[SESSION_EXPIRY] == 3600
    asked = guests.device(f"{here}-2", expiry=60)
    assert asked.connack_properties.get(SESSION_EXPIRY, 60) == 60


def test_another_user_of_the_same_client_id_gets_nothing_of_it(server, guests, here):
    device = guests.device(here, "alice")
    device.subscribe(f"{here}/secret", qos=1)
    leave(server, device)
    send(guests, f"{here}/secret", "for alice")
    thief = guests.device(here, "bob")
    assert not thief.session_present
    hears_nothing(thief)
    send(guests, f"{here}/secret", "still for alice")
    hears_nothing(thief)


# --- takeovers ---


@pytest.mark.parametrize("level", [4, 5])
def test_a_takeover_gets_what_the_older_connection_has_not_acknowledged(
    server, guests, here, level
):
    older = guests.device(here, level=level)
    older.subscribe(here, qos=2)
    bodies = [f"message {number}" for number in range(10)]
    send(guests, here, *bodies)
    first = [older.next_message() for _ in bodies]
    older.send(answer(PUBACK, first[0].packet_id))
    older.ping()
    newer = guests.device(here, level=level)
    assert newer.session_present
    again = newer.take_messages(len(bodies) - 1)
    assert [(each.packet_id, each.payload, each.dup) for each in again] == [
        (each.packet_id, each.payload, True) for each in first[1:]
    ]
    last = older.packets_until_closed()
    assert [each.body[0] for each in last] == ([TAKEN_OVER] if level == 5 else [])
    send(guests, here, "after")
    assert newer.take_message().payload == b"after"


def test_takeovers_one_after_the_other_lose_nothing_while_messages_come(server, guests, here):
    device = guests.device(here)
    device.subscribe(here, qos=2)
    publisher = guests.raw_login("publisher", "bob", level=5)
    got = []
    for number in range(1, 61):
        publisher.publish(here, b"%d" % number, 1, number)
        if number % 10 == 0:
            # The newer takes over while the older one's messages are under way.
            device = guests.device(here)
            got += [each.payload for each in device.take_messages(9)]
        assert publisher.expect(PUBACK).body[2] == 0, "the queue had room"
    wait_until(lambda: rest(device, got), lambda: f"all messages; there are {got}")
    in_order = list(dict.fromkeys(got))
    assert in_order == [b"%d" % number for number in range(1, 61)]


def rest(device, got):
    """Takes what there is, without waiting. Answers whether the last message was among it."""
    device.socket.settimeout(0.2)
    try:
        got.append(device.take_message().payload)
    except TimeoutError:
        return False
    return got[-1] == b"60"


# --- limits ---


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_is_under_way_than_the_client_takes(server, guests, here, most):
    device = guests.device(here, props=receive_maximum(most))
    device.subscribe(here, qos=2)
    bodies = [f"message {number}" for number in range(10)]
    send(guests, here, *bodies)
    for _ in range(2):
        first = [device.next_message() for _ in range(most)]
        hears_nothing(device)
        device.close()
        server.wait_for_client_ids()
        device = guests.device(here, props=receive_maximum(most))
    assert [each.payload.decode() for each in device.take_messages(10)] == bodies
    assert first[0].dup


def test_a_full_queue_keeps_what_it_has_and_its_publisher_is_told(server, guests, here):
    device = guests.device(here)
    device.subscribe(here, qos=1)
    leave(server, device)
    bodies = [f"message {number}" for number in range(25)]
    assert send(guests, here, *bodies) == [0] * 20 + [QUOTA_EXCEEDED] * 5
    device = guests.device(here)
    assert [each.payload.decode() for each in device.take_messages(20)] == bodies[:20]
    hears_nothing(device)
    assert send(guests, here, "room again") == [0]
    assert device.take_message().payload == b"room again"


def test_a_message_expires_while_it_waits(server, guests, here):
    device = guests.device(here)
    device.subscribe(here, qos=1)
    leave(server, device)
    publisher = guests.raw_login("publisher", "bob", level=5)
    expiry = b"\x02" + struct.pack(">I", 1)
    publisher.hand_over(here, b"short", 1, 1, props=expiry)
    publisher.hand_over(here, b"long", 1, 2, props=b"\x02" + struct.pack(">I", 100))
    time.sleep(1.3)  # the expiry is what is tested
    message = guests.device(here).take_message()
    assert message.payload == b"long"
    assert message.props[0] == 2
    assert 97 <= int.from_bytes(message.props[1:5], "big") <= 99


# --- presence ---


def topics_of(server, name):
    (session,) = server.user(name)["sessions"]
    return sorted(session["subscribed_topics"])


@each_absence
def test_who_is_away_is_offline_and_is_found_by_its_topics_on_return(server, guests, here, absence):
    device = guests.device(here)
    device.subscribe(f"{here}/a", f"{here}/b/+", qos=1)
    leave(server, device, absence)
    come_back(server, absence)
    assert server.user("alice")["is_online"] is False
    assert server.client_ids(topic=f"{here}/a") == []
    device = guests.device(here)
    assert server.client_ids(topic=f"{here}/a") == [here]
    assert server.client_ids(topic=f"{here}/b/c") == [here]
    assert server.client_ids(topic=f"{here}/c") == []
    assert topics_of(server, "alice") == [f"{here}/a", f"{here}/b/+"]


# --- a stored session and its own messages ---


def test_no_local_keeps_a_stored_publishers_messages_from_itself(server, guests, here):
    for no_local, expected in ((0x04, False), (0, True)):
        device = guests.device(f"{here}-{no_local}")
        device.subscribe(f"{here}/{no_local}", qos=1, options=no_local)
        device.send(publish(f"{here}/{no_local}", b"own", 1, 9, 5))
        kinds = sorted(device.read_packet().kind for _ in range(2 if expected else 1))
        assert kinds == ([PUBLISH, PUBACK] if expected else [PUBACK])
        device.ping()
        send(guests, f"{here}/{no_local}", "another's")
        device.close()
        server.wait_for_client_ids()
        device = guests.device(f"{here}-{no_local}")
        left = [each.payload for each in device.take_messages(2 if expected else 1)]
        assert left == ([b"own", b"another's"] if expected else [b"another's"])
        leave(server, device)


def test_a_connection_that_is_taken_over_before_its_connack_leaves_no_session_behind(
    server, guests, here
):
    """Of two that come at once, the one that stays wants none."""
    judged = 0
    for number in range(60):
        client_id = f"{here}-{number}"
        storing, plain = guests.raw(), guests.raw()
        props = session_expiry(600)
        storing.send_connect(client_id, *login("alice"), level=5, clean=True, props=props)
        time.sleep(number % 4 / 5_000)
        plain.send_connect(client_id, *login("alice"), level=5, clean=True)
        if plain.expect(CONNACK).body[1] != 0 or not stays(plain):
            continue  # the other one came later
        judged += 1
        plain.send(disconnect(0))
        plain.close()
        storing.close()
        later = guests.device(client_id)
        assert not later.session_present, f"round {number}"
        later.close()
    assert judged > 10


def stays(client):
    """Whether a connection is still there once whatever was under way is done."""
    time.sleep(0.05)
    client.send(packet(PINGREQ))
    heard = client.read_packet()
    return heard is not None and heard.kind == PINGRESP


# --- exactly once, for those whose sessions are not stored ---


# MQTT-4.3.3-10
def test_a_message_repeated_while_its_publisher_is_taken_over_reaches_live_subscribers_once(
    server, guests, here
):
    live = guests.raw_login(f"{here}-live", "bob", level=5)
    live.subscribe(here, qos=2)
    publisher = guests.device(here)
    rounds = 100
    for number in range(rounds):
        body = str(number).encode()
        successor = guests.raw()
        props = session_expiry(600)
        successor.send_connect(here, *login("alice"), level=5, clean=False, props=props)
        time.sleep(number % 10 / 5_000)  # the takeover comes before, after or meanwhile
        publisher.publish(here, body, qos=2, packet_id=1)
        assert successor.expect(CONNACK).body[:2] == b"\1\0"
        assert successor.hand_over(here, body, qos=2, packet_id=1, dup=True) in (0, 0x10)
        publisher = successor
    got = [each.payload for each in live.take_messages(rounds)]
    assert got == [b"%d" % number for number in range(rounds)]
    hears_nothing(live)


# MQTT-4.6.0-5
@pytest.mark.parametrize("qos", [0, 1])
def test_live_subscribers_get_all_that_a_stored_publisher_sends_in_its_order(
    server, guests, here, qos
):
    """Those of QoS 2 wait for the disk; what follows them must not come before (§4.6)."""
    live = guests.raw_login(f"{here}-live", "bob", level=5)
    live.subscribe(here, qos=qos)
    publisher = guests.device(here)
    bodies = [b"%d" % number for number in range(60)]
    for number, body in enumerate(bodies):
        publisher.publish(here, body, qos=(2, 0, 1, 0)[number % 4], packet_id=number + 1)
    at_qos_0 = [body for number, body in enumerate(bodies) if number % 2 == 1]
    got = [(each.payload, each.qos) for each in live.take_messages(len(bodies))]
    if qos == 0:
        assert got == [(body, 0) for body in bodies]
    else:
        assert [body for body, level in got if level == 0] == at_qos_0
        assert [body for body, _ in got] == bodies


def test_a_connection_that_ends_takes_nothing_back_that_it_has_published(server, guests, here):
    live = guests.raw_login(f"{here}-live", "bob", level=5)
    live.subscribe(here, qos=0)
    bodies = [b"%d" % number for number in range(20)]
    for number, body in enumerate(bodies):
        publisher = guests.device(f"{here}-{number}")
        publisher.publish(here, body, qos=2)
        publisher.publish(here, body, qos=0)
        publisher.send(disconnect(0))
        publisher.close()
    got = [live.next_message().payload for _ in range(2 * len(bodies))]
    assert sorted(got) == sorted(2 * bodies)


# --- shared subscriptions ---


@each_absence
def test_a_share_group_whose_members_are_away_shares_out_what_waits(server, guests, here, absence):
    names = [f"{here}-{number}" for number in range(3)]
    members = [guests.device(name) for name in names]
    for member in members:
        member.subscribe(f"$share/crew/{here}", qos=1)
    for member in members:
        member.close()
    server.wait_for_client_ids()
    jobs = [f"job {number}" for number in range(12)]
    send(guests, here, *jobs)
    server.wait_for_client_ids()
    if absence != "away":
        getattr(server, absence)()
        server.start()
    got = [body for name in names for body in drain(guests.device(name))]
    assert sorted(got) == sorted(jobs)


def drain(device):
    """All messages that wait for a client."""
    got = []
    device.socket.settimeout(0.3)
    try:
        while True:
            got.append(device.take_message().payload.decode())
    except TimeoutError:
        return got


def test_a_share_group_prefers_members_that_are_there(server, guests, here):
    away = guests.device(f"{here}-away")
    away.subscribe(f"$share/crew/{here}", qos=1)
    leave(server, away)
    present = guests.device(f"{here}-present")
    present.subscribe(f"$share/crew/{here}", qos=1)
    jobs = [f"job {number}" for number in range(10)]
    send(guests, here, *jobs)
    assert sorted(each.payload.decode() for each in present.take_messages(10)) == sorted(jobs)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_share_group_of_both_kinds_takes_turns_among_those_who_are_there(
    server, guests, here, qos
):
    away = guests.device(f"{here}-away")
    away.subscribe(f"$share/crew/{here}", qos=2)
    leave(server, away)
    members = [guests.device(f"{here}-stored-{number}") for number in range(2)]
    members += [guests.raw_login(f"{here}-{number}", "alice", level=5) for number in range(3)]
    for member in members:
        member.subscribe(f"$share/crew/{here}", qos=2)
    jobs = [f"job {number}" for number in range(20)]
    send(guests, here, *jobs, qos=qos)
    got = [each.payload.decode() for member in members for each in member.take_messages(4)]
    assert sorted(got) == sorted(jobs)


def test_a_stored_member_that_has_left_a_mixed_group_or_is_away_has_no_turn(server, guests, here):
    stored = guests.device(f"{here}-stored")
    live = guests.raw_login(f"{here}-live", "alice", level=5)
    for member in (stored, live):
        member.subscribe(f"$share/crew/{here}", qos=1)
    stored.unsubscribe(f"$share/crew/{here}")
    send(guests, here, "a", "b")
    assert [each.payload for each in live.take_messages(2)] == [b"a", b"b"]
    stored.subscribe(f"$share/crew/{here}", qos=1)
    live.unsubscribe(f"$share/crew/{here}")
    send(guests, here, "c", "d")
    assert [each.payload for each in stored.take_messages(2)] == [b"c", b"d"]
    live.subscribe(f"$share/crew/{here}", qos=1)
    stored.close()
    server.wait_for_client_ids(f"{here}-live")
    send(guests, here, "e", "f")
    assert [each.payload for each in live.take_messages(2)] == [b"e", b"f"]
