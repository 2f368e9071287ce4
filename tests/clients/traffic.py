"""Publishers and subscribers with stored sessions, for tests that break the server under them.

Each is a thread that keeps the protocol's books as a careful client does, over any number of
connections: what was sent and not acknowledged is sent again, in order, under its identifier; a
QoS 2 message counts as received when its identifier is new.
"""

import threading
import time

from wire import (
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    RawClient,
    answer,
    parse_message,
    publish,
    receive_maximum,
    session_expiry,
)

WINDOW = 8
RETRY_SECS = 0.02
READ_SECS = 0.05
PROPS = session_expiry(3600) + receive_maximum(20)


class Client(threading.Thread):
    """A thread with a connection that comes back. `finish` ends it."""

    def __init__(self, port, login, client_id):
        super().__init__(daemon=True)
        self.port, self.login, self.client_id = port, login, client_id
        self.finishing = threading.Event()
        self.had_session, self.connections, self.failure = False, 0, None

    def finish(self, deadline_secs=60):
        self.finishing.set()
        self.join(deadline_secs)
        assert not self.is_alive(), f"{self.client_id} did not come to its end: {self.state()}"
        if self.failure:
            raise self.failure

    def run(self):
        try:
            while not self.is_done():
                try:
                    self.one_connection()
                except (OSError, EOFError):
                    time.sleep(RETRY_SECS)
        except AssertionError as failure:
            self.failure = failure

    def one_connection(self):
        client = RawClient(self.port)
        try:
            client.send_connect(
                self.client_id, *self.login, 5, clean=False, props=PROPS, keep_alive=10
            )
            connack = self.next_packet(client)
            if connack.body[1] != 0:
                return
            present = connack.body[0] == 1
            assert present or not self.had_session, f"{self.client_id}: its session is gone"
            self.had_session = True
            self.connections += 1
            self.serve(client)
        finally:
            client.close()

    @staticmethod
    def next_packet(client):
        packet = client.read_packet()
        if packet is None:
            raise EOFError
        return packet


class Publisher(Client):
    """Sends 1, 2, 3, … on its topic, at one QoS."""

    def __init__(self, port, login, client_id, topic, qos):
        super().__init__(port, login, client_id)
        self.topic, self.qos = topic, qos
        self.sent, self.acknowledged = 0, 0
        # By packet identifier, in the order of sending; None when only PUBREL is to be sent.
        self.under_way = {}

    def is_done(self):
        return self.finishing.is_set() and not self.under_way

    def state(self):
        return f"{self.under_way} under way"

    def serve(self, client):
        for packet_id, body in self.under_way.items():
            client.send(
                answer(PUBREL, packet_id) if body is None else self.packet(packet_id, body, True)
            )
        while not self.is_done():
            while len(self.under_way) < WINDOW and not self.finishing.is_set():
                self.send_next(client)
            self.take(client, self.next_packet(client))

    def packet(self, packet_id, body, dup=False):
        return publish(self.topic, body, self.qos, packet_id, 5, dup=dup)

    def send_next(self, client):
        self.sent += 1
        packet_id = self.sent % 60_000 + 1
        self.under_way[packet_id] = b"%d" % self.sent
        client.send(self.packet(packet_id, self.under_way[packet_id]))

    def take(self, client, packet):
        packet_id = int.from_bytes(packet.body[:2], "big")
        code = packet.body[2] if len(packet.body) > 2 else 0
        if packet.kind == PUBREC:
            assert code == 0, f"PUBREC {code:#x}"
            if packet_id in self.under_way:
                self.under_way[packet_id] = None
            client.send(answer(PUBREL, packet_id))
        elif packet.kind in (PUBACK, PUBCOMP):
            assert code in (0, 0x92), f"packet {packet.kind}: {code:#x}"
            self.acknowledged += packet_id in self.under_way
            self.under_way.pop(packet_id, None)
        else:
            # DISCONNECT of a server that stops.
            raise EOFError


class Subscriber(Client):
    """Takes everything; with `stay_secs` it breaks its connection again and again."""

    def __init__(self, port, login, client_id, stay_secs=None, chance=None):
        super().__init__(port, login, client_id)
        self.stay_secs, self.chance = stay_secs, chance
        self.got = []
        self.halfway = set()
        self.heard = time.monotonic()
        # Its session was made when it subscribed.
        self.had_session = True

    def is_done(self):
        """When nothing has come for a while after the others have finished."""
        return self.finishing.is_set() and time.monotonic() - self.heard > 1

    def state(self):
        return f"{len(self.got)} messages"

    def serve(self, client):
        end = float("inf")
        if self.stay_secs is not None and not self.finishing.is_set():
            end = time.monotonic() + self.chance.random() * self.stay_secs
        while time.monotonic() < end and not self.is_done():
            client.socket.settimeout(READ_SECS)
            try:
                first = client.socket.recv(1, 2)  # MSG_PEEK: is there anything?
            except TimeoutError:
                continue
            if not first:
                raise EOFError
            client.socket.settimeout(10)
            self.take(client, self.next_packet(client))

    def take(self, client, packet):
        self.heard = time.monotonic()
        if packet.kind == PUBREL:
            packet_id = int.from_bytes(packet.body[:2], "big")
            self.halfway.discard(packet_id)
            client.send(answer(PUBCOMP, packet_id))
        elif packet.kind == PUBLISH:
            message = parse_message(packet, 5)
            if message.qos == 1:
                self.got.append((message.topic, int(message.payload)))
                client.send(answer(PUBACK, message.packet_id))
                return
            if message.packet_id not in self.halfway:
                self.halfway.add(message.packet_id)
                self.got.append((message.topic, int(message.payload)))
            client.send(answer(PUBREC, message.packet_id))
        else:
            raise EOFError
