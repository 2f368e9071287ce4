"""The PROXY protocol at the door of HTTPS: the caller is whom the load balancer names."""

import http.client
import re
import socket
import ssl

import pytest

from certificates import Authority
from harness import KEY, PRESENCE, Reply, Server, free_port, wait_until
from test_proxy import V1, V1_IPV6, v2

GUESSES = 5
WRONG_KEY = "sk_test_00000000000000000000000000000000"


class ProxiedServer(Server):
    """A server behind balancers at its door of HTTPS; the plain one is open to all."""

    def __init__(self, folder, trusted):
        authority = Authority(folder)
        authority.server("server")
        self.https_port = free_port()
        self.context = ssl.create_default_context(cafile=authority.path)
        super().__init__(
            folder,
            f'[tls]\ncertificate = "{folder}/server.pem"\nkey = "{folder}/server.key"\n'
            f'[proxy_protocol]\ndoors = ["https"]\ntrusted = ["{trusted}"]\n'
            f"[accounts]\nguess_address_max = {GUESSES}\n",
        )
        door = f'[listen]\nhttps = "127.0.0.1:{self.https_port}"\n'
        self.config.write_text(self.config.read_text().replace("[listen]\n", door))

    def ask(self, header, key):
        """A request that a balancer forwards with this header."""
        plain = socket.create_connection(("127.0.0.1", self.https_port), 10)
        plain.sendall(header)
        connection = http.client.HTTPConnection("localhost", timeout=10)
        connection.sock = self.context.wrap_socket(plain, server_hostname="localhost")
        try:
            connection.request("GET", PRESENCE, headers={"X-Secret-Key": key})
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def refused(self):
        text = self.get("/metrics").body.decode()
        return int(re.search(r"^whosthere_http_proxy_refused_total (\d+)", text, re.MULTILINE)[1])


@pytest.fixture
def proxied(tmp_path):
    with ProxiedServer(tmp_path, "127.0.0.0/8") as proxied:
        yield proxied


@pytest.mark.parametrize("header", [V1, V1_IPV6, v2()], ids=["v1", "v1 of IPv6", "v2"])
def test_who_guesses_keys_is_slowed_by_the_address_that_the_balancer_says(proxied, header):
    assert proxied.ask(header, KEY).status == 200
    for _ in range(GUESSES):
        assert proxied.ask(header, WRONG_KEY).status == 401
    assert proxied.ask(header, KEY).status == 429
    other = V1.replace(b"192.0.2.7", b"192.0.2.8")
    assert proxied.ask(other, KEY).status == 200


@pytest.mark.parametrize(
    "header", [b"", b"PROXY TCP4 a b c d\r\n", V1[:-2]], ids=["none", "wrong", "half"]
)
def test_without_a_right_header_tls_does_not_begin(proxied, header):
    with pytest.raises((ssl.SSLError, OSError)):
        proxied.ask(header, KEY)
    wait_until(lambda: proxied.refused() == 1, "it is counted")


def test_whoever_is_not_trusted_is_closed_at_once(tmp_path):
    with ProxiedServer(tmp_path, "192.0.2.0/24") as server:
        with socket.create_connection(("127.0.0.1", server.https_port), 10) as stranger:
            assert stranger.recv(1) == b""
        assert server.refused() == 1
