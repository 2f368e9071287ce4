"""Where the keys of tokens come from can be slow, wrong, huge or gone: nobody else is concerned, and
the keys that were fetched before go on being used."""

import contextlib
import json
import socket
import threading
import time

import pytest

from harness import Server, wait_until
from test_accounts import BAD_PASSWORD, SUCCESS, code, hash_of, org, public_jwk, token
from wire import CONNACK, RawClient

UNAVAILABLE, BUSY = 0x88, 0x89
SETTINGS = """
[accounts]
jwks_allow_addresses = ["127.0.0.0/8"]
jwks_deadline_secs = 1
jwks_retry_secs = 1
jwks_lifetime_secs = 1
jwks_bytes_max = 8192
"""
PASSWORD = '[[org.user]]\nusername = "dave"\npassword = "daves-password"\n'


def answer(body, status="200 OK", headers=""):
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n{body}".encode()


def hang(_):
    time.sleep(20)
    yield b""


def drip(keys):
    for byte in answer(keys):
        yield bytes([byte])
        time.sleep(0.05)


def endless(_):
    yield b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    while True:
        yield b"1000\r\n" + b" " * 4096 + b"\r\n"


BAD = {
    "hang": hang,
    "drip": drip,
    "endless": endless,
    "huge": lambda keys: [answer(" " * 8192 + keys)],
    "html": lambda _: [answer("<html>please log in</html>")],
    "empty": lambda _: [answer('{"keys":[]}')],
    "deep": lambda _: [answer('{"keys":' + "[" * 4000 + "]" * 4000 + "}")],
    "redirect": lambda _: [answer("", "302 Found", "location: http://127.0.0.1:1/\r\n")],
    "failure": lambda keys: [answer(keys, "500 No")],
    "long_head": lambda keys: [answer(keys, headers=f"x: {'a' * 500_000}\r\n")],
    "closed": lambda _: [],
}


class BadKeyServer:
    """A JWK set at a URL whose manners can be changed."""

    def __init__(self):
        self.manner = lambda keys: [answer(keys)]
        self.keys = json.dumps({"keys": [public_jwk("ES256", "one")]})
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            for piece in self.manner(self.keys):
                connection.sendall(piece)


@pytest.mark.parametrize("manner", BAD)
def test_a_bad_source_of_keys_stops_nobody_else(tmp_path, manner):
    with BadKeyServer() as source:
        url = f"http://127.0.0.1:{source.port}/keys?key=hunter2"
        issuer = f'[[org.jwt]]\njwks_url = "{url}"\n'
        source.manner = BAD[manner]
        with Server(tmp_path, org(PASSWORD + issuer) + SETTINGS) as server:
            words = token("ES256", key_id="one")
            began = time.monotonic()
            assert code(server, "c", "carol@org_t", words) == UNAVAILABLE
            assert time.monotonic() - began < 5, "the deadline is a second"
            began = time.monotonic()
            assert code(server, "d", "dave@org_t", "daves-password") == SUCCESS
            assert time.monotonic() - began < 1, "a password waits for no keys"
            assert f"place=127.0.0.1:{source.port}" in server.log
            assert "hunter2" not in server.log
            # The source is well again, and then not: its keys go on being used.
            source.manner = lambda keys: [answer(keys)]
            wait_until(lambda: server.metric("token_key_fetches_total"), "keys are fetched")
            source.manner = BAD[manner]
            failures = server.metric("token_key_fetch_failures_total")
            wait_until(
                lambda: server.metric("token_key_fetch_failures_total") > failures,
                "the keys could not be fetched again",
            )
            assert code(server, "c", "carol@org_t", words) == SUCCESS


def test_logins_that_wait_for_keys_take_no_place_of_others(tmp_path):
    hashed = f'[[org.user]]\nusername = "dave"\npassword_hash = "{hash_of("daves-password")}"\n'
    with BadKeyServer() as source:
        source.manner = hang
        issuer = f'[[org.jwt]]\njwks_url = "http://127.0.0.1:{source.port}/"\n'
        settings = SETTINGS.replace("jwks_deadline_secs = 1", "jwks_deadline_secs = 5")
        settings += "verify_waiting_max = 2\n"
        with Server(tmp_path, org(hashed + issuer) + settings) as server:
            waiting = [RawClient(server.mqtt_port) for _ in range(2)]
            for client in waiting:
                client.send_connect("", "carol@org_t", token("ES256"), 5)
                # Its CONNECT has been read when another is answered.
                assert code(server, "b", "@org_t", "x") == BAD_PASSWORD
            assert code(server, "c", "carol@org_t", token("ES256")) == BUSY
            assert code(server, "d", "dave@org_t", "daves-password") == SUCCESS
            for client in waiting:
                assert client.expect(CONNACK).body[1] == UNAVAILABLE
                client.close()


def test_an_address_that_is_not_allowed_is_told_with_the_setting(tmp_path):
    with BadKeyServer() as source:
        issuer = f'[[org.jwt]]\njwks_url = "http://127.0.0.1:{source.port}/"\n'
        with Server(tmp_path, org(issuer)) as server:
            assert code(server, "c", "carol@org_t", token("ES256")) == UNAVAILABLE
            assert "see accounts.jwks_allow_addresses" in server.log
