"""HTTP that is wrong, strange or hostile: each request gets its answer, and the server lives."""

import random
import socket
import time
from urllib.parse import quote

import pytest

from harness import KEY, PRESENCE

HEADER_TIMEOUT_SECS = 1
SETTINGS = f"""
[http]
header_timeout_secs = {HEADER_TIMEOUT_SECS}
"""
MIB = 1 << 20


@pytest.fixture(autouse=True)
def still_serving(server):
    yield
    assert server.presence()["users"] == []


class Raw:
    """One connection to the HTTP port; sending stops quietly when the server has closed."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)

    def send(self, data):
        """Whether all of it was taken."""
        try:
            self.socket.sendall(data)
            return True
        except ConnectionError:
            return False

    def read_to_end(self):
        """All that comes until the server closes; times out if it never does."""
        out = b""
        try:
            while piece := self.socket.recv(65_536):
                out += piece
        except ConnectionError:
            pass
        return out


@pytest.fixture
def raw(server):
    connection = Raw(server.http_port)
    yield connection
    connection.socket.close()


def status_of(answer):
    """The status in the bytes of a reply; None when the connection just ended."""
    return int(answer.split(None, 2)[1]) if answer else None


BAD_KEYS = {
    "no key": {},
    "empty": {"X-Secret-Key": ""},
    "unknown": {"X-Secret-Key": "sk_test_00000000000000000000000000000000"},
    "one character short": {"X-Secret-Key": KEY[:-1]},
    "one character more": {"X-Secret-Key": KEY + "0"},
    "in capitals": {"X-Secret-Key": KEY.upper()},
    "no key's form": {"X-Secret-Key": "x" * 1000},
    "unknown bearer": {"Authorization": "Bearer sk_test_00000000000000000000000000000000"},
    "no bearer": {"Authorization": "Bearer"},
    "another scheme": {"Authorization": f"Basic {KEY}"},
    "bytes that are no text": {"X-Secret-Key": b"\xff\xfe"},
}


@pytest.mark.parametrize("headers", BAD_KEYS.values(), ids=BAD_KEYS.keys())
@pytest.mark.parametrize("target", [PRESENCE, f"{PRESENCE}/alice", f"{PRESENCE}?topic=%23%23"])
def test_every_bad_key_has_the_same_answer(server, headers, target):
    reply = server.get(target, headers=headers)
    reply.problem(401)
    assert reply.body == server.get(target).body
    assert KEY not in reply.body.decode()


@pytest.mark.parametrize(
    "headers",
    [{"X-Secret-Key": KEY}, {"x-secret-key": KEY}, {"Authorization": f"Bearer {KEY}"}],
)
def test_the_key_is_taken_from_both_headers(server, headers):
    assert server.get(PRESENCE, headers=headers).status == 200


BAD_FILTERS = ["", "a/#/b", "#/a", "a#", "a+", "+a", "a/+b", "a/#b", "%00", "a%00b", "%ff"]


@pytest.mark.parametrize(
    "escaped", [each.replace("#", "%23").replace("+", "%2B") for each in BAD_FILTERS]
)
def test_a_filter_that_is_none_is_bad_input(server, escaped):
    server.get(f"{PRESENCE}?topic={escaped}", KEY).problem(400)


@pytest.mark.parametrize("length", [65_536, 200_000])
def test_a_filter_longer_than_mqtt_allows_is_refused(server, length):
    assert 400 <= server.get(f"{PRESENCE}?topic={'a' * length}", KEY).status < 500


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=many", "limit=", "cursor=%2B%2B"])
def test_paging_that_makes_no_sense_is_bad_input(server, query):
    server.get(f"{PRESENCE}?{query}", KEY).problem(400)


STRANGE_NAMES = ["a/b", "/", "50%", "%41", "x@y", "zoë", "😀", "a b", "a+b", "#", "?", "..", "."]


@pytest.mark.parametrize("name", [*STRANGE_NAMES, "n" * 10_240])
def test_a_strange_name_is_just_a_user_who_is_offline(server, name):
    escaped = quote(name, safe="").replace(".", "%2E")
    reply = server.get(f"{PRESENCE}/{escaped}", KEY)
    assert reply.status == 200
    assert reply.json()["username"] == name


@pytest.mark.parametrize("escaped", ["%", "%4", "%ZZ", "a%", "%ff", "%C3", "%ED%A0%80", "%00"])
def test_an_impossible_name_is_bad_input(server, escaped):
    server.get(f"{PRESENCE}/{escaped}", KEY).problem(400)


def test_no_name_is_no_user(server):
    assert server.get(f"{PRESENCE}/", KEY).status in (400, 404)


@pytest.mark.parametrize("target", ["/", "/v2", "/v2/utilities", "/v1/utilities/presence"])
def test_an_unknown_path_is_not_found(server, target):
    server.get(target, KEY).problem(404)


@pytest.mark.parametrize("target", [f"{PRESENCE}/alice/more", f"{PRESENCE}/a/b"])
def test_a_name_is_one_segment_of_the_path(server, target):
    server.get(target, KEY).problem(404)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize("target", [PRESENCE, f"{PRESENCE}/alice"])
def test_another_method_is_refused_with_those_allowed(server, method, target):
    reply = server.request(method, target, KEY)
    reply.problem(405)
    assert "GET" in reply.headers["allow"]


def test_a_problem_is_told_without_the_key_or_the_internals(server):
    text = server.get(f"{PRESENCE}?topic=a+", KEY).body.decode()
    for word in (KEY, "src/", ".rs", "panic"):
        assert word not in text


NO_REQUESTS = {
    "garbage": b"\x00\x01\x02\x03\r\n\r\n",
    "an MQTT CONNECT": b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ab\r\n\r\n",
    "a request line without a version": b"GET\r\n\r\n",
    "another version": f"GET {PRESENCE} HTTP/9.9\r\n\r\n".encode(),
    "a header without a colon": f"GET {PRESENCE} HTTP/1.1\r\nHost\r\n\r\n".encode(),
    "a header with a NUL": f"GET {PRESENCE} HTTP/1.1\r\nA: \0\r\n\r\n".encode(),
    "two lengths": f"GET {PRESENCE} HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".encode(),
    "a length that is none": f"GET {PRESENCE} HTTP/1.1\r\nContent-Length: -1\r\n\r\n".encode(),
}


@pytest.mark.parametrize("sent", NO_REQUESTS.values(), ids=NO_REQUESTS.keys())
def test_what_is_no_request_is_refused_and_closed(raw, sent):
    raw.send(sent)
    assert status_of(raw.read_to_end()) in (None, 400, 505)


def test_random_bytes_harm_nobody(server):
    chance = random.Random(7)
    for _ in range(100):
        raw = Raw(server.http_port)
        raw.send(chance.randbytes(chance.randrange(1, 500)) + b"\r\n\r\n")
        raw.socket.close()


def test_ten_thousand_headers_are_too_many(server, raw):
    before = server.rss_bytes()
    headers = "".join(f"X-Header-{each}: value\r\n" for each in range(10_000))
    raw.send(f"GET {PRESENCE} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    assert status_of(raw.read_to_end()) in (None, 431)
    assert server.rss_bytes() - before < 8 * MIB


@pytest.mark.parametrize("where", ["one header", "the path"])
def test_a_megabyte_before_the_body_is_too_much(server, raw, where):
    before = server.rss_bytes()
    filler = "a" * MIB
    if where == "one header":
        raw.send(f"GET {PRESENCE} HTTP/1.1\r\nHost: x\r\nX-A: {filler}\r\n\r\n".encode())
    else:
        raw.send(f"GET {PRESENCE}/{filler} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert status_of(raw.read_to_end()) in (None, 414, 431)
    assert server.rss_bytes() - before < 8 * MIB


BODY_HEADERS = {
    "ten gigabytes declared": "Content-Length: 10000000000",
    "endless chunks": "Transfer-Encoding: chunked",
}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("header", BODY_HEADERS.values(), ids=BODY_HEADERS.keys())
def test_an_endless_body_is_not_read(server, raw, method, header):
    """The reply may be lost when the server closes on what we still send; the close may not."""
    before = server.rss_bytes()
    raw.send(
        f"{method} {PRESENCE} HTTP/1.1\r\nHost: x\r\nX-Secret-Key: {KEY}\r\n{header}\r\n\r\n".encode()
    )
    chunk = b"10000\r\n" + bytes(65_536) + b"\r\n"
    taken = 0
    while taken < 64 * MIB and raw.send(chunk):
        taken += len(chunk)
    assert taken < 64 * MIB, "the server swallowed it all"
    assert status_of(raw.read_to_end()) in (None, 200, 400, 405, 413)
    assert server.rss_bytes() - before < 8 * MIB


def test_a_header_that_never_ends_is_closed_in_time(raw):
    raw.send(f"GET {PRESENCE} HTTP/1.1\r\nHost: x".encode())
    start = time.monotonic()
    assert status_of(raw.read_to_end()) in (None, 408)
    assert HEADER_TIMEOUT_SECS - 0.2 <= time.monotonic() - start <= HEADER_TIMEOUT_SECS + 3


def test_dripping_bytes_do_not_buy_time_for_a_header(raw):
    raw.socket.settimeout(0.1)
    raw.send(f"GET {PRESENCE} HTTP/1.1\r\nX-Drip: ".encode())
    start = time.monotonic()
    while time.monotonic() - start < HEADER_TIMEOUT_SECS + 5:
        try:
            if not raw.send(b"a") or not raw.socket.recv(1):
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    assert time.monotonic() - start < HEADER_TIMEOUT_SECS + 3


def test_slow_clients_do_not_keep_others_waiting(server):
    slow = [Raw(server.http_port) for _ in range(200)]
    for each in slow:
        each.send(b"GET / HTTP/1.1\r\n")
    start = time.monotonic()
    assert server.presence()["users"] == []
    assert time.monotonic() - start < 2
    for each in slow:
        each.socket.close()
