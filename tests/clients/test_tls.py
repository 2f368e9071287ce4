"""TLS at every door with real clients: who is let in, who is not, and new certificates."""

import contextlib
import dataclasses
import http.client
import select
import signal
import socket
import ssl
import subprocess
import time

import pytest

from certificates import Authority
from clients import KINDS, Kind
from doors import TlsServer, handshake
from harness import KEY, ORG, PRESENCE, login, run, wait_until
from wire import RawClient, Will, connect, disconnect, publish

HANDSHAKE_RECORD = 0x16
CONNACK = b"\x20\x02\x00\x00"
TLS_KINDS = [dataclasses.replace(kind, tls=True) for kind in KINDS if kind.level != 3]
each_kind = pytest.mark.parametrize("kind", TLS_KINDS, ids=str)
FAMILIES = [
    Kind("paho", 5, tls=True),
    Kind("mqttjs", 5, "/mqtt", True),
    Kind("mosquitto", 5, tls=True),
]
each_family = pytest.mark.parametrize("kind", FAMILIES, ids=str)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with TlsServer(tmp_path_factory.mktemp("tls"), 'client_certificates = "optional"') as server:
        yield server


@each_kind
def test_clients_meet_over_tls_and_presence_sees_them(server, guests, kind):
    client = guests.open(kind, server, "client-abc", "alice")
    client.subscribe("chat/lobby", qos=1)
    (session,) = server.user("alice")["sessions"]
    assert (session["client_id"], session["peer_host"]) == ("client-abc", "127.0.0.1")
    long = "long " * 20_000
    client.publish("chat/lobby", long, qos=1)
    assert client.next_message() == ("chat/lobby", long)
    client.disconnect()
    server.wait_for_client_ids()


@each_family
def test_a_client_whose_connection_breaks_is_gone(server, guests, kind):
    client = guests.open(kind, server, "client-abc", "alice")
    client.subscribe("chat/lobby")
    assert server.client_ids() == ["client-abc"]
    client.vanish()
    server.wait_for_client_ids()


@each_family
def test_a_certificate_is_a_login_without_a_password(server, guests, kind):
    own = server.authority.client("carol", f"carol@{ORG}")
    client = guests.open_as(kind, server.showing(own), "client-abc", None, None)
    client.subscribe("chat/lobby")
    (session,) = server.user("carol")["sessions"]
    assert session["client_id"] == "client-abc"
    client.disconnect()


def test_another_name_than_the_certificates_is_refused(server):
    own = server.authority.client("carol", f"carol@{ORG}")
    with pytest.raises(AssertionError, match="(?i)bad user"):
        FAMILIES[0].open(server.showing(own), "client-abc", *login("alice"))


def test_a_certificate_is_no_guess(tmp_path):
    settings = 'client_certificates = "optional"\n[accounts]\nguess_address_max = 1\n'
    with TlsServer(tmp_path, settings) as server:
        for code in ("(?i)bad user", "(?i)rate exceeded"):
            with pytest.raises(AssertionError, match=code):
                FAMILIES[0].open(server, "client-abc", f"alice@{ORG}", "wrong")
        own = server.authority.client("carol", f"carol@{ORG}")
        client = FAMILIES[0].open(server.showing(own), "client-abc", None, None)
        client.disconnect()


def test_a_certificate_that_names_nobody_is_told_so(server):
    own = server.authority.client("nobody", "a\x01b")
    with handshake(server.showing(own).tls) as connection:
        connection.sendall(connect("client-abc", level=5))
        assert b"the certificate names no user" in connection.recv(1024)


def test_a_certificate_of_another_authority_is_refused_in_the_handshake(server, tmp_path):
    own = Authority(tmp_path).client("carol", f"carol@{ORG}")
    before = server.metric('refused_total{reason="tls_handshake"}')
    with pytest.raises(OSError), handshake(server.tls.showing(own)) as connection:
        # In TLS 1.3 the refusal comes after the client's own end of the handshake.
        connection.recv(1)
    assert server.metric('refused_total{reason="tls_handshake"}') > before


def test_a_client_without_a_certificate_is_refused_where_one_is_required(tmp_path):
    with TlsServer(tmp_path, 'client_certificates = "required"') as server:
        with pytest.raises(OSError), handshake(server.tls) as connection:
            connection.recv(1)
        own = server.authority.client("carol", f"carol@{ORG}")
        client = FAMILIES[0].open(server.showing(own), "client-abc", None, None)
        assert server.client_ids() == ["client-abc"]
        client.close()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=str)
def test_old_versions_are_refused_with_an_alert(server, version):
    for port in (server.tls.mqtt_port, server.tls.ws_port, server.https_port):
        with pytest.raises(ssl.SSLError, match="(?i)alert (protocol version|handshake failure)"):
            handshake(server.tls, port, version)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
def test_both_versions_of_today_are_spoken_and_sessions_resumed(server, version):
    context = server.tls.context(version)
    before = server.metric('tls_handshakes_total{reason="resumed"}')
    session = None
    for _ in range(2):
        plain = socket.create_connection(("127.0.0.1", server.tls.mqtt_port), 10)
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as connection:
            assert connection.version() == version.name.replace("_", ".")
            # The ticket of TLS 1.3 comes after the handshake, with the first answer.
            connection.sendall(connect_packet())
            assert connection.recv(2)[0] == 0x20
            session, reused = connection.session, connection.session_reused
            connection.sendall(b"\xe0\x00")
            # The server says goodbye as well (close_notify).
            while connection.recv(100):
                pass
    assert reused
    assert server.metric('tls_handshakes_total{reason="resumed"}') == before + 1


def test_no_login_outlives_its_certificate_by_a_resumed_session(server):
    lifetime_secs = 2
    own = server.authority.client("brief", f"carol@{ORG}", days=lifetime_secs / 86_400)
    expires_at = time.time() + lifetime_secs
    context = server.showing(own).tls.context()
    session, codes = None, []
    for _ in range(2):
        plain = socket.create_connection(("127.0.0.1", server.tls.mqtt_port), 10)
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as connection:
            connection.sendall(connect("brief", level=5))
            codes.append(connection.recv(1024)[3])
            session, reused = connection.session, connection.session_reused
        # The second in which it ends is its own.
        time.sleep(max(0, expires_at + 1.1 - time.time()))
    assert reused
    assert codes == [0x00, 0x86]


def connect_packet():
    user, password = (text.encode() for text in login("alice"))
    fields = [b"resuming", user, password]
    body = b"\x00\x04MQTT\x04\xc2\x00\x3c"
    body += b"".join(len(field).to_bytes(2, "big") + field for field in fields)
    return bytes([0x10, len(body)]) + body


@pytest.mark.parametrize(
    "words",
    [
        connect_packet(),
        b"GET /mqtt HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\xff" * 300,
        b"\x16\x03\x01\x40\x00" + b"\x00" * 100_000,
    ],
    ids=["mqtt", "http", "garbage", "oversized"],
)
def test_what_is_no_tls_is_closed_and_counted(server, words):
    for port in (server.tls.mqtt_port, server.tls.ws_port):
        before = server.metric('refused_total{reason="tls_handshake"}')
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(words)
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(1000):
                    pass
        assert server.metric('refused_total{reason="tls_handshake"}') == before + 1


def test_half_a_handshake_is_closed_in_time_and_others_are_served(tmp_path):
    server = TlsServer(tmp_path)
    text = server.config.read_text()
    server.config.write_text(text + "[mqtt]\nconnect_timeout_secs = 1\n")
    with server:
        with socket.create_connection(("127.0.0.1", server.tls.mqtt_port), 10) as connection:
            connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
            client = FAMILIES[0].open(server, "client-abc", *login("alice"))
            assert connection.recv(1) == b""
            client.close()
        assert server.metric('refused_total{reason="connect_timeout"}') == 1


def test_a_thousand_handshakes_at_once_keep_nobody_waiting_who_is_in(tmp_path):
    """Each sends the same words, which cost the sender nothing and the server a signature."""
    server = TlsServer(tmp_path)
    # One loop: otherwise the other could have answered its share before the ping was sent.
    server.config.write_text(server.config.read_text().replace("workers = 2", "workers = 1"))
    with server, contextlib.ExitStack() as stack:
        bystander = RawClient(server.mqtt_port)
        stack.callback(bystander.close)
        bystander.login("bystander", *login("bob"))
        words = client_hello(server.tls)
        strangers = []
        for _ in range(1000):
            stranger = socket.create_connection(("127.0.0.1", server.tls.mqtt_port), 10)
            stack.callback(stranger.close)
            strangers.append(stranger)
        poll = select.poll()
        for stranger in strangers:
            stranger.sendall(words)
            poll.register(stranger, select.POLLIN)
        bystander.ping()
        answered = len(poll.poll(0))
        assert answered < 500
        for stranger in strangers:
            assert stranger.recv(1)[0] == HANDSHAKE_RECORD
        assert server.metric("newcomers_deferred_total") > 0


@pytest.mark.parametrize("last", [disconnect(), b""], ids=["disconnect", "nothing"])
def test_what_was_said_before_the_goodbye_of_tls_counts(server, guests, last):
    """Login, message, DISCONNECT and close_notify in one write: all but the first must wait. The
    socket stays open, so nothing else tells of the end."""
    listener = guests.raw_login("listener", "bob")
    listener.subscribe("visit")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = server.tls.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", server.tls.mqtt_port), 10) as connection:
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                incoming.write(connection.recv(65_536))
        will = Will("visit", b"gone")
        client.write(connect("visitor", *login("alice"), will=will) + publish("visit", b"hello"))
        if last:
            client.write(last)
        with contextlib.suppress(ssl.SSLWantReadError):
            client.unwrap()
        connection.sendall(outgoing.read())
        assert listener.read_message() == ("visit", b"hello")
        if not last:
            assert listener.read_message() == ("visit", b"gone")
        server.wait_for_client_ids("listener")
    # A will would have come before the answer to the ping.
    listener.ping()


def client_hello(ports):
    """What a client says first."""
    words = ssl.MemoryBIO()
    client = ports.context().wrap_bio(ssl.MemoryBIO(), words, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return words.read()


def test_renegotiation_is_refused_and_harms_nobody(server, guests, tmp_path):
    """openssl asks for it in a session that is open, and takes the refusal for the end."""
    bystander = guests.open(FAMILIES[0], server, "bystander", "bob")
    bystander.subscribe("chat/lobby")
    before = server.rss_bytes()
    for _ in range(20):
        said = ask_to_renegotiate(server, tmp_path / "said")
        assert b"RENEGOTIATING" in said and b"no renegotiation" in said, said[-1000:]
        server.wait_for_client_ids("bystander")
    assert server.rss_bytes() - before < 24 << 20
    bystander.publish("chat/lobby", "still here", qos=1)
    assert bystander.next_message() == ("chat/lobby", "still here")


def ask_to_renegotiate(server, said):
    """Has openssl connect and renegotiate, and gives what it wrote into the file `said`."""
    program = ["openssl", "s_client", "-connect", f"localhost:{server.tls.mqtt_port}", "-tls1_2"]
    program += ["-CAfile", server.authority.path, "-legacy_renegotiation"]
    with (
        said.open("wb") as output,
        subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
        ) as client,
    ):
        client.stdin.write(connect_packet())
        client.stdin.flush()
        # openssl gives up at data that comes after its new hello: the answer has to be there.
        wait_until(lambda: CONNACK in said.read_bytes(), "CONNACK has come")
        server.wait_for_client_ids("bystander", "resuming")
        # A line that begins so is its command to renegotiate.
        client.stdin.write(b"R\n")
        client.stdin.flush()
        client.wait(timeout=10)
    return said.read_bytes()


def test_plain_words_still_go_through_the_plain_doors(server, guests):
    client = guests.open(Kind("paho", 5), server, "client-abc", "alice")
    client.disconnect()


def test_the_api_answers_over_https(server):
    url = f"https://localhost:{server.https_port}{PRESENCE}"
    curl = ["curl", "-sS", "--cacert", server.authority.path, "-H", f"X-Secret-Key: {KEY}", url]
    answer = subprocess.run(curl, capture_output=True, text=True, timeout=10, check=True)
    assert '"online_count":0' in answer.stdout.replace(" ", "")
    connection = http.client.HTTPSConnection(
        "localhost", server.https_port, context=server.tls.context(), timeout=10
    )
    for _ in range(2):
        connection.request("GET", PRESENCE, headers={"X-Secret-Key": KEY})
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
    connection.close()
    plain = http.client.HTTPConnection("127.0.0.1", server.https_port, timeout=10)
    with pytest.raises((http.client.HTTPException, OSError)):
        plain.request("GET", PRESENCE)
        plain.getresponse()


@pytest.mark.parametrize("asked", [False, True], ids=["by itself", "on SIGHUP"])
def test_a_new_certificate_is_used_and_connections_stand(server, guests, asked):
    client = guests.open(FAMILIES[0], server, "client-abc", "alice")
    client.subscribe("chat/lobby")
    (session,) = server.user("alice")["sessions"]
    ports = (server.tls.mqtt_port, server.tls.ws_port, server.https_port)
    (first,) = {server.served_certificate(port) for port in ports}
    server.authority.server("server", days=60)
    if asked:
        server._process.process.send_signal(signal.SIGHUP)
    for port in ports:
        wait_until(
            lambda port=port: server.served_certificate(port) != first,
            "a new certificate is shown",
        )
    # The same session, and still heard.
    assert server.user("alice")["sessions"] == [session]
    client.publish("chat/lobby", "still here", qos=1)
    assert client.next_message() == ("chat/lobby", "still here")
    client.disconnect()


def test_a_broken_certificate_leaves_the_old_one_in_use(server):
    path = server.folder / "server.pem"
    good = path.read_bytes()
    first = server.served_certificate(server.tls.mqtt_port)
    not_after = server.metric("tls_certificate_not_after_seconds")
    kept = server.metric('tls_reloads_total{reason="kept"}')
    path.write_text("no certificate")
    wait_until(
        lambda: server.metric('tls_reloads_total{reason="kept"}') > kept,
        "the broken one is noticed",
    )
    assert "holds no certificate" in server.log
    assert server.served_certificate(server.tls.mqtt_port) == first
    assert server.metric("tls_certificate_not_after_seconds") == not_after > 0
    path.write_bytes(good)


def test_check_tells_what_is_wrong_with_the_files(tmp_path):
    server = TlsServer(tmp_path)
    fine = run("check", "--config", str(server.config))
    assert fine.returncode == 0 and "valid until" in fine.stdout
    server.authority.server("server", days=-5)
    expired = run("check", "--config", str(server.config))
    assert expired.returncode == 64 and "expired on" in expired.stderr
    server.authority.server("other")
    (tmp_path / "server.pem").write_bytes((tmp_path / "other.pem").read_bytes())
    mismatch = run("check", "--config", str(server.config))
    assert mismatch.returncode == 64 and "is not the key" in mismatch.stderr


def test_clients_are_told_when_the_server_stops(tmp_path):
    with TlsServer(tmp_path) as server:
        client = FAMILIES[0].open(server, "client-abc", *login("alice"))
        server.stop()
        assert client.closed.get(timeout=10).value == 0x8B
        client.close()
        server.start()
