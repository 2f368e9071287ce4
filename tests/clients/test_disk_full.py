"""A full disk: nobody new is let in, who is in stays in, and it heals by itself.

The disk is a small one in memory that the test mounts, which only root may do.
"""

import os
import re
import subprocess

import pytest

from harness import Server, login, wait_until
from hooks import Endpoint, HookedServer
from wire import CONNACK, PUBACK, PUBREC, RawClient, disconnect, session_expiry

DISK_MIB = 8
SMALL_SEGMENTS = "[journal]\nsegment_bytes = 1048576\n"
UNAVAILABLE = {4: {3}, 5: {0x88, 0x89, 0x97}}
COUNTERS = ("accepted", "closed")


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: a full disk; it takes root to mount one")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0700", "none", folder]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"NOT TESTED: a full disk; {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def tight(tmp_path, small_disk):
    with Server(tmp_path, SMALL_SEGMENTS, data_dir=small_disk) as server:
        yield server


class Filler:
    """A file that takes what is left of the disk."""

    def __init__(self, folder):
        self.path = folder / "filler"

    def take_everything(self):
        with self.path.open("ab", buffering=0) as file:
            for size in (65_536, 4096, 1):
                while True:
                    try:
                        file.write(b"x" * size)
                    except OSError:
                        break

    def give_back(self):
        self.path.unlink()


def answer(server, level, client_id="new"):
    """The code that a CONNECT gets."""
    client = RawClient(server.mqtt_port)
    try:
        return client.login(client_id, *login("bob"), level=level)[1]
    finally:
        client.close()


def fill(server, disk):
    """Takes what is left until a login shows that the server found nothing for itself either:
    files that are there already may have room inside."""
    filler = Filler(disk)
    filler.take_everything()
    wait_until(lambda: answer(server, 4) != 0 or filler.take_everything(), "the disk is full", 30)
    return filler


def ready(server):
    return server.get("/health/ready").status


@pytest.mark.parametrize("level", [4, 5])
def test_a_full_disk_refuses_the_new_and_keeps_the_old(tight, small_disk, level):
    stays = RawClient(tight.mqtt_port)
    assert stays.login("stays", *login("alice"), level=level)[1] == 0
    stays.subscribe("room")
    filler = fill(tight, small_disk)

    assert answer(tight, level) in UNAVAILABLE[level]
    assert ready(tight) == 503
    stays.ping()
    stays.publish("room", b"still here")
    assert stays.read_message() == ("room", b"still here")
    assert "stays" in tight.client_ids()

    filler.give_back()
    wait_until(lambda: ready(tight) == 200, "ready again, though nobody tried to log in")
    assert answer(tight, level) == 0
    stays.send(disconnect())
    tight.wait_for_client_ids()


def test_a_session_that_ends_while_the_disk_is_full_has_ended_when_it_is_not(tight, small_disk):
    leaver = RawClient(tight.mqtt_port)
    leaver.login("leaver", *login("alice"))
    filler = fill(tight, small_disk)
    leaver.close()
    filler.give_back()
    tight.wait_for_client_ids()


def test_a_takeover_that_cannot_be_written_leaves_the_older_session_alone(tight, small_disk):
    older = RawClient(tight.mqtt_port)
    older.login("same", *login("alice"))
    filler = fill(tight, small_disk)
    assert answer(tight, 4, "same") in UNAVAILABLE[4]
    older.ping()
    filler.give_back()
    wait_until(lambda: answer(tight, 4, "same") == 0, "the takeover succeeds later")
    assert older.packets_until_closed() == []
    tight.wait_for_client_ids()


def open_connections(server):
    """Connections that the event loops have not seen the end of."""
    text = server.get("/metrics").body.decode()
    count = {name: int(re.search(rf"connections_{name}_total (\d+)", text)[1]) for name in COUNTERS}
    return count["accepted"] - count["closed"]


def crew(server, count):
    """The members of a share group, and who publishes to it."""
    members = [RawClient(server.mqtt_port) for _ in range(count)]
    for number, member in enumerate(members):
        member.login(f"member-{number}", *login("alice"), level=5)
        member.subscribe("$share/crew/jobs", qos=1)
    publisher = RawClient(server.mqtt_port)
    publisher.login("publisher", *login("bob"), level=5)
    return members, publisher


def test_members_that_left_a_share_group_swallow_none_of_its_messages(tight, small_disk):
    """They cannot be taken out of the index, since their ending cannot be written."""
    members, publisher = crew(tight, 100)
    filler = fill(tight, small_disk)
    for member in members[1:]:
        member.close()
    wait_until(lambda: open_connections(tight) == 2, "only two connections are left")

    jobs = [f"job-{number}".encode() for number in range(40)]
    for number, job in enumerate(jobs):
        publisher.publish("jobs", job, qos=1, packet_id=number + 1)
    # Those that were passed on by another event loop come later than those that were not.
    assert sorted(members[0].read_message()[1] for _ in jobs) == sorted(jobs)

    filler.give_back()
    tight.wait_for_client_ids("member-0", "publisher")


def test_what_nobody_connected_takes_waits_with_a_stored_member_that_is_away(tmp_path, small_disk):
    """Messages have a disk of their own here, so that they can be kept while no ending can."""
    roomy = tmp_path / "messages"
    roomy.mkdir(mode=0o700)
    (small_disk / "messages").symlink_to(roomy)
    with Server(tmp_path, SMALL_SEGMENTS, data_dir=small_disk) as tight:
        away = RawClient(tight.mqtt_port)
        away.login("away", *login("bob"), level=5, props=session_expiry(3600))
        away.subscribe("$share/crew/jobs", qos=1)
        away.send(disconnect())
        tight.wait_for_client_ids()
        members, publisher = crew(tight, 20)
        filler = fill(tight, small_disk)
        for member in members:
            member.close()
        wait_until(lambda: open_connections(tight) == 1, "only the publisher is left")
        jobs = [f"job-{number}".encode() for number in range(10)]
        for number, job in enumerate(jobs):
            publisher.publish("jobs", job, qos=1, packet_id=number + 1)
        filler.give_back()
        tight.wait_for_client_ids("publisher")
        back = RawClient(tight.mqtt_port)
        wait_until(lambda: answer(tight, 5) == 0, "logins succeed again")
        back.login("away", *login("bob"), level=5, clean=False, props=session_expiry(3600))
        assert sorted(back.read_message()[1] for _ in jobs) == sorted(jobs)


def test_a_server_that_stops_on_a_full_disk_says_so_and_its_next_start_ends_the_sessions(
    tight, small_disk
):
    client = RawClient(tight.mqtt_port)
    client.login("client", *login("alice"))
    filler = fill(tight, small_disk)
    tight.stop()
    filler.give_back()
    tight.start()
    assert tight.client_ids() == []
    assert answer(tight, 4) == 0
    tight.wait_for_client_ids()


def test_a_thousand_logins_at_a_full_disk_leave_nothing_behind(tight, small_disk):
    filler = fill(tight, small_disk)
    clients = [RawClient(tight.mqtt_port) for _ in range(1000)]
    for number, client in enumerate(clients):
        client.send_connect(f"many-{number}", *login("bob"))
    for client in clients:
        assert client.expect(CONNACK).body[1] in UNAVAILABLE[4]
        client.close()
    filler.give_back()
    wait_until(lambda: ready(tight) == 200, "ready again")
    assert tight.client_ids() == []


def test_receivers_are_told_of_everything_once_the_disk_has_room_again(tmp_path, small_disk):
    """Deliveries keep their own books on the same disk."""
    endpoint = Endpoint()
    with (
        endpoint.receiver as receiver,
        HookedServer(tmp_path, endpoint, settings=SMALL_SEGMENTS, data_dir=small_disk) as server,
    ):
        clients = [server.client(f"client-{number}", "alice") for number in range(20)]
        filler = fill(server, small_disk)
        for client in clients[:10]:
            client.close()
        for _ in range(20):
            answer(server, 5)
        filler.give_back()
        wait_until(lambda: ready(server) == 200, "ready again")
        wait_until(lambda: len(server.online()["alice"]) == 10, "the leavers have left")
        server.prove(receiver)
        server.crash()
        server.start()
        server.prove(receiver, still_open=())
        for client in clients[10:]:
            client.close()


# --- stored sessions and their messages, which have a log of their own on the same disk ---


def stored(server, client_id, name="alice"):
    """A connection whose session is stored, and the code that it got."""
    client = RawClient(server.mqtt_port)
    connack = client.login(client_id, *login(name), level=5, clean=False, props=session_expiry(600))
    return client, connack[1]


def test_stored_sessions_wait_for_the_disk_and_lose_nothing(tight, small_disk):
    """Their messages are refused or wait; live subscribers get theirs."""
    device, code = stored(tight, "device")
    assert code == 0
    device.subscribe("room", qos=1)
    live = RawClient(tight.mqtt_port)
    live.login("live", *login("alice"), level=5)
    live.subscribe("room", qos=1)
    publisher = RawClient(tight.mqtt_port)
    publisher.login("publisher", *login("bob"), level=5)
    assert publisher.hand_over("room", b"before", 1, 1) == 0
    assert device.take_message().payload == live.take_message().payload == b"before"
    filler = fill(tight, small_disk)

    # The log has room in its last block, perhaps; sooner or later a message finds none.
    sent, answered = 0, {}
    publisher.socket.settimeout(0.5)

    def nothing_is_written():
        nonlocal sent
        filler.take_everything()
        sent += 1
        publisher.publish("room", b"%d" % sent + b"x" * 500, 1, sent)
        try:
            taken = publisher.expect(PUBACK).body
        except TimeoutError:
            return True
        answered[int.from_bytes(taken[:2], "big")] = taken[2] if len(taken) > 2 else 0
        return taken[2:3] not in (b"", b"\0", b"\x10")

    wait_until(nothing_is_written, "a message for a stored session cannot be written", 30)
    assert [live.take_message().payload.split(b"x")[0] for _ in range(sent)] == [
        b"%d" % number for number in range(1, sent + 1)
    ], "who is not stored goes on"
    assert ready(tight) == 503
    assert stored(tight, "another", "bob")[1] in UNAVAILABLE[5]

    filler.give_back()
    wait_until(lambda: ready(tight) == 200, "ready again, though nobody tried")
    publisher.socket.settimeout(10)
    while len(answered) < sent:
        taken = publisher.expect(PUBACK).body
        answered[int.from_bytes(taken[:2], "big")] = taken[2] if len(taken) > 2 else 0
    kept = [number for number in range(1, sent + 1) if answered[number] < 0x80]
    got = [message.payload.split(b"x")[0] for message in device.take_messages(len(kept))]
    assert got == [b"%d" % number for number in kept]
    device.ping()
    assert stored(tight, "another", "bob")[1] == 0
    for client in (device, live, publisher):
        client.close()
    tight.crash()
    tight.start()
    back, _ = stored(tight, "device")
    assert back.session_present
    back.close()


def test_live_subscribers_get_of_a_stored_publisher_at_qos_2_just_what_is_written(
    tight, small_disk
):
    """Of what is refused the publisher is told, and may send it again: nobody has got it."""
    live = RawClient(tight.mqtt_port)
    live.login("live", *login("alice"), level=5)
    live.subscribe("room", qos=2)
    publisher, code = stored(tight, "publisher", "bob")
    assert code == 0
    filler = fill(tight, small_disk)
    sent, written = 0, []
    publisher.socket.settimeout(0.5)

    def nothing_is_written():
        nonlocal sent
        filler.take_everything()
        sent += 1
        try:
            code = publisher.hand_over("room", b"%d" % sent + b"x" * 500, 2, sent)
        except TimeoutError:
            return True
        written.extend([sent] if code < 0x80 else [])
        return code >= 0x80

    def live_gets(numbers):
        got = [each.payload.split(b"x")[0] for each in live.take_messages(len(numbers))]
        assert got == [b"%d" % number for number in numbers]
        live.ping()

    wait_until(nothing_is_written, "a message cannot be written", 30)
    sent += 1
    publisher.publish("room", b"%dx" % sent, 2, sent)
    live_gets(written)

    filler.give_back()
    publisher.socket.settimeout(10)
    answered = {}
    while sent not in answered:
        taken = publisher.expect(PUBREC).body
        answered[int.from_bytes(taken[:2], "big")] = taken[2] if len(taken) > 2 else 0
    live_gets([number for number, code in answered.items() if code < 0x80])
    for client in (live, publisher):
        client.close()
