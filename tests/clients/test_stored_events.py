"""What receivers are told of sessions that are stored: who is away is offline, whatever waits."""

import pytest

import checker
from hooks import Endpoint, hooked
from wire import disconnect, session_expiry


@pytest.fixture
def endpoint():
    return Endpoint()


@pytest.fixture
def server(tmp_path, endpoint):
    with hooked(tmp_path, endpoint) as server:
        yield server


@pytest.fixture
def nobody_is_left():
    """These tests look after their own sessions."""


def device(server, client_id, level=5, expiry=600, clean=False):
    props = session_expiry(expiry) if level == 5 else b""
    return server.client(client_id, "alice", level=level, clean=clean, props=props)


@pytest.mark.parametrize("level", [4, 5])
def test_every_connection_of_a_stored_session_is_a_session_of_its_own(server, endpoint, level):
    first = device(server, "device", level)
    first.subscribe("room", qos=1)
    first.send(disconnect())
    server.wait_until_nobody_is_online()
    second = device(server, "device", level)  # comes back
    third = device(server, "device", level)  # takes over
    assert second.session_present and third.session_present
    third.reset()
    server.wait_until_nobody_is_online()
    fourth = device(server, "device", level, clean=True)  # begins anew
    assert not fourth.session_present
    server.stop()
    server.start()
    fifth = device(server, "device", level)
    fifth.subscribe("room", qos=1)
    server.crash()
    server.start()
    sixth = device(server, "device", level)
    assert sixth.session_present
    if level == 5:
        sixth.send(disconnect(0, session_expiry(0)))
    sixth.close()
    server.wait_until_nobody_is_online()
    server.prove(endpoint.receiver, still_open=())
    events = endpoint.receiver.wait_for(12)
    ended = [each.data["reason"] for each in events if each.data["status"] != checker.ONLINE]
    assert ended[0] == "client_disconnect"
    assert ended[1:5] == ["taken_over", "connection_lost", "server_stopped", "server_crashed"]


def test_a_session_that_expires_while_its_client_is_away_tells_nothing(server, endpoint):
    device(server, "short", expiry=1).close()
    server.wait_until_nobody_is_online()
    again = device(server, "short", expiry=1)
    again.close()
    server.prove(endpoint.receiver, still_open=())
    assert len(endpoint.receiver.accepted()) == 4
