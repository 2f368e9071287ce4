"""Every way in which a session can end, and what the receiver is told of it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import wait_until
from hooks import Endpoint, hooked
from wire import disconnect, logout, packet, publish, user_property

ENDPOINT = Endpoint()
# The shortest probes: lost after about 1 + 2 × 1 s.
PROBES = (
    "[mqtt]\ntcp_keep_alive_idle_secs = 1\ntcp_keep_alive_interval_secs = 1\n"
    "tcp_keep_alive_probes = 2\n"
)
LOST_WITHIN_SECS = 8
# Twice as long as a dead one is suffered.
IDLE_SECS = 6


@pytest.fixture(scope="module")
def hooked_server(tmp_path_factory):
    with hooked(tmp_path_factory.mktemp("server"), ENDPOINT, settings=PROBES) as server:
        yield server
        server.prove(ENDPOINT.receiver, still_open=())


@pytest.fixture(scope="module", autouse=True)
def idle(hooked_server):
    """A client without a keep-alive that lives and says nothing while the other tests run."""
    client = hooked_server.client("idle", "idle", keep_alive=0)
    yield client, time.monotonic()
    client.close()


@pytest.fixture
def user(request):
    """A user of this test alone."""
    return f"user of {request.node.name}"


def told(user, count, deadline_secs=20):
    """The events of a user once there are so many; none may follow in between."""

    def enough():
        events = ENDPOINT.receiver.of_user(user)
        return events if len(events) >= count else None

    return [each.data for each in wait_until(enough, f"{count} events of {user}", deadline_secs)]


def check_end(user, reason, status="1"):
    """One session: its opening and its end, and nothing else."""
    opening, end = told(user, 2)
    assert opening["status"] == "0"
    assert (end["status"], end["reason"]) == (status, reason)
    assert opening["sessionId"] == end["sessionId"]
    assert end["onlineSessions"] == 0
    return opening, end


@pytest.mark.parametrize("level", [3, 4, 5])
def test_disconnect(hooked_server, user, level):
    client = hooked_server.client("client", user, level=level)
    client.send(disconnect())
    opening, end = check_end(user, "client_disconnect")
    assert opening["protocol"] == str(level)
    assert opening["clientIp"] == end["clientIp"] == f"127.0.0.1:{client.port}"
    client.close()


@pytest.mark.parametrize("level", [4, 5])
def test_fin(hooked_server, user, level):
    hooked_server.client("client", user, level=level).close()
    check_end(user, "connection_lost")


@pytest.mark.parametrize("level", [4, 5])
def test_rst(hooked_server, user, level):
    hooked_server.client("client", user, level=level).reset()
    check_end(user, "connection_lost")


def test_a_protocol_error(hooked_server, user):
    client = hooked_server.client("client", user, level=5)
    client.send(packet(15, b"\x00\x00"))
    check_end(user, "protocol_error")
    client.close()


def test_a_paused_client_is_lost_after_its_keep_alive(hooked_server, user):
    """A process that is stopped as a whole: its kernel still acknowledges everything."""
    with contextlib.ExitStack() as stack:
        users = {level: f"{user} {level}" for level in (4, 5)}
        for level, name in users.items():
            port = str(hooked_server.mqtt_port)
            child = subprocess.Popen(
                [sys.executable, "pinging.py", port, f"client-{level}", name, str(level)],
                stdout=subprocess.PIPE,
                cwd=Path(__file__).parent,
            )
            stack.callback(child.wait)
            stack.callback(child.kill)
            assert child.stdout.readline() == b"connected\n"
            told(name, 1)
            os.kill(child.pid, signal.SIGSTOP)
        started = time.monotonic()
        for name in users.values():
            check_end(name, "keep_alive_timeout")
        assert time.monotonic() - started < 1.5 + LOST_WITHIN_SECS


def test_a_firewalled_client_is_lost_after_its_keep_alive(hooked_server, user):
    client = hooked_server.client("client", user, keep_alive=1)
    client.fall_silent()
    _, end = told(user, 2)
    # The probes of TCP may be sooner than the keep-alive of MQTT.
    assert end["reason"] in ("keep_alive_timeout", "connection_lost")
    client.close()


def test_a_firewalled_client_without_keep_alive_is_lost_by_the_probes(hooked_server, user):
    """Also one that is being written to, at the same time: what waits for an acknowledgement stops
    the probes; the user timeout takes over."""
    keep_alives = {f"{user} none": 0, f"{user} long": 600, f"{user} written to": 0}
    clients = []
    for name, keep_alive_secs in keep_alives.items():
        client = hooked_server.client(name, name, keep_alive=keep_alive_secs)
        clients.append(client)
        if name.endswith("written to"):
            client.subscribe("news")
        client.fall_silent()
    started = time.monotonic()
    writer = hooked_server.client("writer", f"writer to {user}")
    writer.publish("news", b"x" * 100)
    for name in keep_alives:
        check_end(name, "connection_lost")
        assert 1 < time.monotonic() - started < LOST_WITHIN_SECS
    for client in (*clients, writer):
        client.close()


@pytest.mark.parametrize("level", [4, 5])
def test_a_takeover_tells_the_old_end_before_the_new_beginning(hooked_server, user, level):
    old = hooked_server.client("same", user, level=level)
    new = hooked_server.client("same", user, level=level)
    opening, end, second = told(user, 3)
    assert [opening["status"], end["status"], second["status"]] == ["0", "1", "0"]
    assert end["reason"] == "taken_over"
    assert end["sessionId"] == opening["sessionId"] != second["sessionId"]
    assert [opening["seq"], end["seq"], second["seq"]] == [1, 2, 3]
    for client in (old, new):
        client.close()


# --- logout ---


def test_a_logout_by_disconnect(hooked_server, user):
    client = hooked_server.client("client", user, level=5)
    client.send(logout())
    check_end(user, "logged_out", "2")
    client.close()


@pytest.mark.parametrize("level", [3, 4, 5])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_logout_by_message(hooked_server, user, level, qos):
    client = hooked_server.client("client", user, level=level)
    client.publish("$whosthere/logout", b"whatever", qos=qos)
    check_end(user, "logged_out", "2")
    client.packets_until_closed()
    client.close()


def test_a_disconnect_with_another_property_is_no_logout(hooked_server, user):
    client = hooked_server.client("client", user, level=5)
    props = user_property("logout", "false") + user_property("why", "true")
    client.send(packet(14, bytes([0, len(props)]) + props))
    check_end(user, "client_disconnect")
    client.close()


def test_a_logout_on_one_device_leaves_the_other(hooked_server, user):
    phone = hooked_server.client("phone", user, level=5)
    laptop = hooked_server.client("laptop", user)
    phone.send(logout())
    events = told(user, 3)
    assert [each["status"] for each in events] == ["0", "0", "2"]
    assert [each["onlineSessions"] for each in events] == [1, 2, 1]
    laptop.ping()
    for client in (phone, laptop):
        client.close()


def test_nobody_hears_a_logout_message(hooked_server, user):
    """The topic is an order to the server, not a topic."""
    spy = hooked_server.client("spy", f"spy on {user}")
    spy.subscribe("$whosthere/logout", "#", "$whosthere/#")
    client = hooked_server.client("client", user)
    client.send(publish("$whosthere/logout", b"secret"))
    client.packets_until_closed()
    client.close()
    spy.ping()
    spy.close()
    told(user, 2)


def test_os_is_told_when_online_and_only_then(hooked_server, user):
    for said, shown in [("iOS", "iOS"), ("ANDROID", "Android"), ("websocket", "Websocket")]:
        name = f"{user} {said}"
        hooked_server.client("c", name, level=5, props=user_property("os", said)).close()
        opening, end = told(name, 2)
        assert opening["os"] == shown
        assert "os" not in end
    hooked_server.client("c", user, level=5, props=user_property("os", "BeOS")).close()
    assert "os" not in told(user, 2)[0]


@pytest.mark.parametrize("field_chars", ["ü€😀", 'quote"back\\slash', "tab\tand\x7f"[:3]])
def test_strange_names_arrive_as_they_are(hooked_server, user, field_chars):
    name = f"{user} {field_chars}"
    hooked_server.client(f"client {field_chars}", name).close()
    opening, end = told(name, 2)
    assert opening["clientId"] == end["clientId"] == f"client {field_chars}"


def test_an_idle_client_without_keep_alive_that_lives_is_left_alone(hooked_server, idle):
    """The last of this file, so that the others are what it waits for."""
    client, since = idle
    time.sleep(max(0, since + IDLE_SECS - time.monotonic()))
    assert hooked_server.online() == {"idle": ["idle"]}
    assert [each["status"] for each in told("idle", 1)] == ["0"]
    client.ping()
    client.close()
    check_end("idle", "connection_lost")
