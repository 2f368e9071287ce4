"""At the limits of open files and connections: refused cleanly, and those who are in stay in."""

import contextlib
import os
import resource
import socket
import time

import pytest

import harness
from harness import Server, login, wait_until
from wire import RawClient

FILES = 400
CLK_TCK = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def limited(tmp_path, monkeypatch):
    """A server whose hard limit on open files is small."""
    script = tmp_path / "limited.sh"
    script.write_text(f'#!/bin/sh\nulimit -n {FILES}\nexec "{harness.BINARY}" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr(harness, "BINARY", str(script))
    with Server(tmp_path, "[mqtt]\nconnect_timeout_secs = 2\n") as server:
        yield server


def cpu_secs(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CLK_TCK


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def fill(server, stack, name="filler"):
    """Logs clients in until one is refused; answers those that are in, and the refusal."""
    clients = []
    user, password = login("alice")
    for number in range(FILES):
        client = RawClient(server.mqtt_port)
        stack.callback(client.close)
        connack = client.login(f"{name}-{number}", user, password)
        if connack[1] != 0:
            return clients, connack[1]
        clients.append(client)
    raise AssertionError("nobody was refused")


@pytest.mark.parametrize("level", [4, 5])
def test_at_the_limit_of_connections_clients_are_told_and_the_others_stay(limited, level):
    server = limited
    with contextlib.ExitStack() as stack:
        clients, refusal = fill(server, stack)
        assert refusal == 3
        # What is kept for the journal and the API is not what clients get.
        assert FILES * 6 // 10 < len(clients) < FILES - 100
        assert f"room for {len(clients)} MQTT connections" in server.log
        assert open_files(server.pid) < FILES - 50
        user, password = login("bob")
        refused = RawClient(server.mqtt_port)
        connack = refused.login("late", user, password, level=level)
        assert connack[1] == {4: 3, 5: 0x89}[level]
        refused.close()
        for client in clients:
            client.ping()
        assert len(server.client_ids()) == len(clients)
        before = cpu_secs(server.pid)
        time.sleep(1)
        assert cpu_secs(server.pid) - before < 0.3
        clients.pop().close()
        wait_until(lambda: comes_in(server), "there is room again")


def comes_in(server):
    user, password = login("bob")
    client = RawClient(server.mqtt_port)
    try:
        client.send_connect("late", user, password)
        connack = client.read_packet()
        return connack is not None and connack.body[1] == 0
    except OSError:
        return False
    finally:
        client.close()


def test_a_crowd_that_only_connects_is_bounded_and_goes(limited):
    server = limited
    with contextlib.ExitStack() as stack:
        for _ in range(2 * FILES):
            crowd = socket.create_connection(("127.0.0.1", server.mqtt_port), 10)
            stack.callback(crowd.close)
        # Nobody of them has said a word; the API answers all the same.
        assert server.get("/health/ready").status == 200
        assert open_files(server.pid) < FILES
        wait_until(lambda: comes_in(server), "the silent crowd is gone")


def test_without_a_file_left_connections_are_closed_and_sessions_live(tmp_path):
    with Server(tmp_path) as server, contextlib.ExitStack() as stack:
        user, password = login("alice")
        client = RawClient(server.mqtt_port)
        stack.callback(client.close)
        assert client.login("client-abc", user, password)[1] == 0
        soft, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        # The limit is on the numbers of files; numbers below it that are free are taken first.
        most = max(int(number) for number in os.listdir(f"/proc/{server.pid}/fd"))
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (most + 1, hard))
        try:
            turned_away = 0
            for _ in range(200):
                connection = socket.create_connection(("127.0.0.1", server.mqtt_port), 10)
                stack.callback(connection.close)
                connection.settimeout(0.2)
                with contextlib.suppress(TimeoutError):
                    turned_away += connection.recv(1) == b""
            assert turned_away > 180, turned_away
            client.ping()
            before = cpu_secs(server.pid)
            time.sleep(1)
            assert cpu_secs(server.pid) - before < 0.3
            assert "failed to accept connections" in server.log
            assert server.log.count("failed to accept connections") <= os.cpu_count()
        finally:
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (soft, hard))
        assert comes_in(server)
        client.ping()
        server.wait_for_client_ids("client-abc")
