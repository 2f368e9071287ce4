"""HAProxy in front of the doors: presence tells the clients' addresses, not the balancer's."""

import shutil
import socket
import subprocess

import pytest

from certificates import TlsPorts
from clients import FAMILIES, Kind
from doors import TlsServer
from harness import free_port, wait_until

# HAProxy connects from the one, a client from the other; the rest of them from 127.0.0.1.
BALANCER, ELSEWHERE = "127.0.0.9", "127.0.0.2"
SETTINGS = f"""
[proxy_protocol]
doors = ["mqtt", "mqtts", "wss"]
trusted = ["{BALANCER}"]
"""
DOORS = [("", False), ("", True), ("/mqtt", True)]
KINDS = [
    Kind(family, level, path, tls)
    for family in FAMILIES
    for path, tls in DOORS
    if not (path and family == "mosquitto")
    for level in (4, 5)
]
CONFIGURATION = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
"""
# It asks all the time whether the server lives, by connections with a header that names nobody.
DOOR = """
listen {port}
    bind 127.0.0.1:{port}
    server whosthere 127.0.0.1:{door} source {source} {option} check inter 500ms fall 3
"""


class Haproxy:
    """The balancer, with ports as a server has; `option` is the one that makes it send a header."""

    def __init__(self, folder, server, option):
        self.mqtt_port = free_port()
        self.tls = TlsPorts(server.authority, free_port(), free_port())
        self._ports = {
            self.mqtt_port: server.mqtt_port,
            self.tls.mqtt_port: server.tls.mqtt_port,
            self.tls.ws_port: server.tls.ws_port,
        }
        self._config, self._log = folder / "haproxy.cfg", folder / "haproxy.log"
        self._config.write_text(
            CONFIGURATION
            + "".join(
                DOOR.format(port=port, door=door, source=BALANCER, option=option)
                for port, door in self._ports.items()
            )
        )

    def __enter__(self):
        binary = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [binary, "-db", "-f", self._config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, lambda: f"HAProxy answers: {self.log}")
        return self

    def _answers(self):
        try:
            for port in self._ports:
                socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(10)

    @property
    def log(self):
        return self._log.read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with TlsServer(tmp_path_factory.mktemp("behind"), SETTINGS) as server:
        yield server


@pytest.fixture(scope="module", params=["send-proxy", "send-proxy-v2"], ids=["v1", "v2"])
def balancer(request, server, tmp_path_factory):
    with Haproxy(tmp_path_factory.mktemp("haproxy"), server, request.param) as balancer:
        yield balancer
        assert "DOWN" not in balancer.log, balancer.log


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_client_behind_it_is_heard_and_has_its_own_address(server, balancer, guests, kind):
    client = guests.open(kind, balancer, "client-abc", "alice")
    client.subscribe("chat/lobby", qos=1)
    (session,) = server.user("alice")["sessions"]
    assert session["peer_host"] == "127.0.0.1"
    client.publish("chat/lobby", "through it", qos=1)
    assert client.next_message() == ("chat/lobby", "through it")
    client.disconnect()
    server.wait_for_client_ids()


@pytest.mark.parametrize(("path", "tls"), DOORS, ids=["mqtt", "mqtts", "wss"])
def test_clients_of_several_addresses_are_told_apart(server, balancer, guests, path, tls):
    kind = Kind("paho", 5, path, tls)
    near = guests.open(kind, balancer, "near", "alice")
    far = guests.open(kind, balancer, "far", "alice", bind=ELSEWHERE)
    assert (near.address[0], far.address[0]) == ("127.0.0.1", ELSEWHERE)
    rows = {row["client_id"]: row for row in server.user("alice")["sessions"]}
    for name, client in {"near": near, "far": far}.items():
        assert (rows[name]["peer_host"], rows[name]["peer_port"]) == client.address
