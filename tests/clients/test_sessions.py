"""How sessions begin and end: takeovers, lost connections, silence, client ids, logins."""

import struct
import time

import pytest

from harness import OTHER_KEY, OTHER_ORG, login
from wire import (
    ASSIGNED_CLIENT_IDENTIFIER,
    DISCONNECT,
    SERVER_KEEP_ALIVE,
    RawClient,
    disconnect,
    publish,
)

# These tests guess wrong more often than anybody may.
SETTINGS = "[accounts]\nguess_user_max = 0\nguess_address_max = 0\n"
TAKEN_OVER = 0x8E


def test_a_session_ends_with_its_disconnect(server, guests):
    client = guests.raw_login("client", "alice")
    client.send(disconnect())
    server.wait_for_client_ids()
    assert client.packets_until_closed() == []


def test_a_session_ends_with_its_socket(server, guests):
    guests.raw_login("client", "alice").close()
    server.wait_for_client_ids()


def test_a_session_ends_with_a_reset(server, guests):
    guests.raw_login("client", "alice").reset()
    server.wait_for_client_ids()


@pytest.mark.parametrize("last", [publish("a", b"x"), publish("a", b"x")[:-1]], ids=len)
def test_a_session_ends_when_its_last_bytes_and_its_end_come_together(server, guests, last):
    """Many times, since it is a race: a server that reads the bytes may miss the end behind."""
    for number in range(50):
        client = guests.raw_login(f"client-{number}", "alice")
        client.send(last)
        client.close()
    server.wait_for_client_ids()


def test_a_session_ends_when_only_its_sending_half_closes(server, guests):
    client = guests.raw_login("client", "alice")
    client.socket.shutdown(1)
    server.wait_for_client_ids()


def test_silence_ends_a_session_after_one_and_a_half_keep_alives(server, guests):
    """Some at once, in the order in which they are due."""
    silent = []
    for keep_alive_secs in (1, 2):
        for level in (4, 5):
            name = f"client-{keep_alive_secs}-{level}"
            client = guests.raw_login(name, "alice", level=level, keep_alive=keep_alive_secs)
            silent.append((client, keep_alive_secs, time.monotonic()))
    assert len(server.client_ids()) == len(silent)
    for client, keep_alive_secs, start in silent:
        client.packets_until_closed()
        silence_secs = time.monotonic() - start
        assert 1.5 * keep_alive_secs - 0.1 <= silence_secs <= 1.5 * keep_alive_secs + 1.5
    server.wait_for_client_ids()


def test_a_client_that_pings_stays(server, guests):
    """Pings keep it alive for twice as long as silence would have been suffered."""
    client = guests.raw_login("client", "alice", keep_alive=1)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        client.ping()
        time.sleep(0.3)  # the pause between pings is what is tested
    assert server.client_ids() == ["client"]


def test_a_second_client_with_the_same_id_takes_over(server, guests):
    older = guests.raw_login("same", "alice", level=5)
    newer = guests.raw_login("same", "alice", level=5)
    last = older.packets_until_closed()[-1]
    assert last.kind == DISCONNECT
    assert last.body[0] == TAKEN_OVER
    (session,) = server.user("alice")["sessions"]
    assert session["peer_port"] == newer.port


def test_an_older_client_of_version_3_1_1_is_just_closed(server, guests):
    older = guests.raw_login("same", "alice")
    guests.raw_login("same", "alice")
    assert older.packets_until_closed() == []
    assert server.client_ids() == ["same"]


def test_another_user_of_the_organisation_takes_the_client_id_over(server, guests):
    """The key is organisation and client id; the user name is not part of it."""
    older = guests.raw_login("same", "alice")
    guests.raw_login("same", "bob")
    older.packets_until_closed()
    assert [row["username"] for row in server.presence()["users"]] == ["bob"]
    assert server.user("alice")["is_online"] is False


def test_the_same_client_id_in_another_organisation_disturbs_nobody(server, guests):
    ours = guests.raw_login("same", "alice")
    theirs = guests.raw_login("same", "alice", org=OTHER_ORG)
    for client in (ours, theirs):
        client.ping()
    assert server.client_ids() == server.client_ids(key=OTHER_KEY) == ["same"]


@pytest.mark.parametrize("level", [4, 5])
@pytest.mark.parametrize("ending", ["left open", "closed", "reset", "disconnected"])
def test_two_hundred_prompt_reconnects_are_all_accepted(server, guests, level, ending):
    for _ in range(200):
        client = guests.raw_login("same", "alice", level=level)
        match ending:
            case "closed":
                client.close()
            case "reset":
                client.reset()
            case "disconnected":
                client.send(disconnect())
    survivors = ["same"] if ending == "left open" else []
    server.wait_for_client_ids(*survivors)
    last = guests.raw_login("same", "alice", level=level)
    server.wait_for_client_ids("same")
    assert server.user("alice")["sessions"][0]["peer_port"] == last.port


def test_a_client_of_version_5_without_an_id_is_told_the_one_it_got(server, guests):
    client = guests.raw_login("", "alice", level=5)
    assigned = client.connack_properties[ASSIGNED_CLIENT_IDENTIFIER]
    assert assigned
    assert server.client_ids() == [assigned]


def test_clients_of_version_3_1_1_without_an_id_get_one_each(server, guests):
    guests.raw_login("", "alice")
    guests.raw_login("", "alice")
    ids = server.client_ids()
    assert len(set(ids)) == 2
    assert all(ids)


def test_an_empty_id_without_a_clean_session_is_refused(server, guests):
    user, password = login("alice")
    assert guests.raw().login("", user, password, clean=False)[1] == 2


def test_version_5_is_told_the_keep_alive_that_the_server_holds_it_to(server, guests):
    for asked_secs in (0, 201, 60_000):
        client = guests.raw_login("client", "alice", level=5, keep_alive=asked_secs)
        assert client.connack_properties[SERVER_KEEP_ALIVE] == 200, asked_secs


def test_a_keep_alive_within_the_limit_is_left_as_it_is(server, guests):
    client = guests.raw_login("client", "alice", level=5, keep_alive=60)
    assert client.connack_properties.get(SERVER_KEEP_ALIVE, 60) == 60


BAD_LOGINS = {
    "wrong password": ("alice@org_abc", "wrong"),
    "no password": ("alice@org_abc", None),
    "empty password": ("alice@org_abc", ""),
    "unknown user": ("carol@org_abc", "alice-password"),
    "another user's password": ("alice@org_abc", "bob-password"),
    "unknown organisation": ("alice@org_nowhere", "alice-password"),
    "no organisation": ("alice", "alice-password"),
    "empty organisation": ("alice@", "alice-password"),
    "empty name": ("@org_abc", "alice-password"),
    "organisation in capitals": ("alice@ORG_ABC", "alice-password"),
    "two organisations": ("alice@org_abc@org_xyz", "alice-password"),
    "no user name": (None, None),
}


@pytest.mark.parametrize("level", [3, 4, 5])
@pytest.mark.parametrize("bad", BAD_LOGINS.values(), ids=BAD_LOGINS.keys())
def test_a_bad_login_is_refused_and_closed(server, guests, bad, level):
    client = guests.raw()
    code = client.login("client", *bad, level=level)[1]
    assert code in ((0x86, 0x87) if level == 5 else (4, 5)), hex(code)
    assert client.packets_until_closed() == []
    assert server.client_ids() == []


def test_a_refused_login_does_not_take_a_client_id_over(server, guests):
    client = guests.raw_login("same", "alice")
    guests.raw().login("same", "alice@org_abc", "wrong")
    client.ping()


def test_a_persistent_session_whose_client_is_away_is_not_online(server, guests):
    """Session Expiry 60 s in version 5, clean session off in 3.1.1."""
    expiry = b"\x11" + struct.pack(">I", 60)
    guests.raw_login("five", "alice", level=5, clean=False, props=expiry).close()
    guests.raw_login("three", "alice", clean=False).close()
    server.wait_for_client_ids()


def test_a_connection_that_never_logs_in_is_nobody(server):
    silent = RawClient(server.mqtt_port)
    assert server.presence()["users"] == []
    silent.close()
