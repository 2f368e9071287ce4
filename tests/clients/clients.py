"""Real MQTT clients behind one face: paho-mqtt, MQTT.js, rumqttc, and Mosquitto's programs.

A test says what happens (connect, hear, publish, leave, vanish); each class below says it in the
words of one client. `KINDS` is every client, protocol version and transport that the tests try.
"""

import contextlib
import itertools
import json
import queue
import signal
import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

DEADLINE_SECS = 10
# For how long the session of a client that wants a stored one outlives a connection of version 5.
STORED_SECS = 600


class Message(NamedTuple):
    """A message as a client tells of it, or a will to be published for it."""

    topic: str
    payload: str
    qos: int = 0
    retain: bool = False


@dataclass(frozen=True)
class Kind:
    """One way to be a client; `level` is the protocol level in CONNECT: 3, 4 or 5."""

    family: str
    level: int
    path: str = ""  # of the WebSocket; empty means TCP
    tls: bool = False  # at the ports and with the authority of `broker.tls`

    def __str__(self):
        transport = f"ws{self.path}" if self.path else "tcp"
        transport += "-tls" if self.tls else ""
        return f"{self.family}-v{self.level}-{transport}".replace("/", "_")

    def open(self, broker, client_id, user, password, **session):
        """Connects. `session` may have `stored` (whether the session outlives the connection, and
        one that is there is wanted back) and `will` (a `Message`)."""
        return FAMILIES[self.family](self, broker, client_id, user, password, **session)

    def host(self):
        """Certificates name localhost."""
        return "localhost" if self.tls else "127.0.0.1"

    def port(self, broker):
        ports = broker.tls if self.tls else broker
        return ports.ws_port if self.path else ports.mqtt_port


class Client:
    """What all have in common: the messages that came."""

    # What CONNACK said; None where the client does not tell.
    session_present = None

    def __init__(self):
        self._messages = queue.Queue()

    def next_message(self):
        """Topic and payload of the next message."""
        return self.next_delivery()[:2]

    def next_delivery(self):
        """The next message, a `Message`."""
        return self._messages.get(timeout=DEADLINE_SECS)


class Paho(Client):
    """paho-mqtt with its own network thread."""

    def __init__(self, kind, broker, client_id, user, password, stored=False, will=None, bind=""):
        super().__init__()
        self._answers = queue.Queue()
        self.closed = queue.Queue()
        clean = {} if kind.level == 5 else {"clean_session": not stored}
        self.mqtt = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol={3: paho.MQTTv31, 4: paho.MQTTv311, 5: paho.MQTTv5}[kind.level],
            transport="websockets" if kind.path else "tcp",
            reconnect_on_failure=False,
            **clean,
        )
        if user is not None:
            self.mqtt.username_pw_set(user, password)
        if kind.path:
            self.mqtt.ws_set_options(path=kind.path)
        if kind.tls:
            self.mqtt.tls_set_context(broker.tls.context())
        if will is not None:
            self.mqtt.will_set(*will)
        how = {"bind_address": bind}
        if kind.level == 5:
            how |= {"clean_start": not stored, "properties": _connect_properties(stored)}
        self._listen()
        self.mqtt.connect(kind.host(), kind.port(broker), **how)
        self.mqtt.loop_start()
        code = self._answer()
        if code.is_failure:
            self.close()
            raise AssertionError(f"CONNACK: {code}")

    def _listen(self):
        self.mqtt.on_connect = self._on_connect
        self.mqtt.on_subscribe = lambda _c, _u, _m, codes, _p: self._answers.put(codes)
        self.mqtt.on_unsubscribe = lambda _c, _u, _m, codes, _p: self._answers.put(codes)
        self.mqtt.on_disconnect = lambda _c, _u, _f, code, _p: self.closed.put(code)
        self.mqtt.on_message = lambda _c, _u, m: self._messages.put(
            Message(m.topic, m.payload.decode(), m.qos, m.retain)
        )

    def _on_connect(self, _client, _userdata, flags, code, _properties):
        self.session_present = flags.session_present
        self._answers.put(code)

    def _answer(self):
        return self._answers.get(timeout=DEADLINE_SECS)

    def subscribe(self, *filters, qos=0):
        self.mqtt.subscribe([(each, qos) for each in filters])
        codes = self._answer()
        assert not any(code.is_failure for code in codes), f"SUBACK: {codes}"

    def unsubscribe(self, *filters):
        self.mqtt.unsubscribe(list(filters))
        self._answer()

    def publish(self, topic, payload, qos=0, retain=False):
        self.mqtt.publish(topic, payload, qos, retain).wait_for_publish(DEADLINE_SECS)

    @property
    def address(self):
        """Our end's address and port."""
        transport = self.mqtt.socket()
        return getattr(transport, "_socket", transport).getsockname()[:2]

    def disconnect(self):
        self.mqtt.disconnect()
        self.closed.get(timeout=DEADLINE_SECS)

    def vanish(self):
        """Ends the connection under the library, without a DISCONNECT. Just closing the socket
        would wait for the library's thread, which is still polling it."""
        transport = self.mqtt.socket()
        getattr(transport, "_socket", transport).shutdown(socket.SHUT_RDWR)

    def close(self):
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


def _connect_properties(stored):
    properties = Properties(PacketTypes.CONNECT)
    if stored:
        properties.SessionExpiryInterval = STORED_SECS
    return properties


def start_program(arguments):
    """A program that is spoken to by lines. It ends at the latest with these tests, at the end of
    its standard input."""
    return subprocess.Popen(
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
    )


class Driven(Client):
    """A client inside a `Driver`, which knows it by a number."""

    def __init__(self, driver, options):
        super().__init__()
        self._answers = queue.Queue()
        self.disconnect_reasons = queue.Queue()
        self._driver, self._number = driver, driver.enter(self)
        try:
            self.session_present = self._do("connect", options=options)["sessionPresent"]
        except BaseException:
            self.close()
            raise

    def take(self, event):
        match event["event"]:
            case "message":
                fields = (event[name] for name in Message._fields)
                self._messages.put(Message(*fields))
            case "disconnect":
                self.disconnect_reasons.put(event["reasonCode"])
            case "done" | "failed":
                self._answers.put(event)

    def _do(self, command, **arguments):
        self._driver.tell({"client": self._number, "command": command, **arguments})
        answer = self._answers.get(timeout=DEADLINE_SECS)
        assert answer["event"] == "done", answer
        return answer.get("answer")

    def subscribe(self, *filters, qos=0):
        self._do("subscribe", filters=filters, qos=qos)

    def unsubscribe(self, *filters):
        self._do("unsubscribe", filters=filters)

    def publish(self, topic, payload, qos=0, retain=False):
        self._do("publish", topic=topic, payload=payload, qos=qos, retain=retain)

    def disconnect(self):
        self._do("disconnect")

    def vanish(self):
        """Ends the connection without a DISCONNECT."""
        self._do("vanish")

    def close(self):
        self._driver.leave(self._number)


class Driver:
    """A program of these tests around a library, and the clients in it: it is told what to do by
    lines of JSON on its standard input, and answers and tells by lines of JSON on its standard
    output. It serves all tests, since Node.js takes half a second to start."""

    def __init__(self, *arguments):
        self._arguments = arguments
        self._process = None
        self._lock = threading.Lock()
        self._clients = {}
        self._numbers = itertools.count()

    def enter(self, client):
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            number = next(self._numbers)
            self._clients[number] = client
            return number

    def leave(self, number):
        if self._clients.pop(number, None) is not None:
            with contextlib.suppress(BrokenPipeError):
                self.tell({"client": number, "command": "vanish"})

    def tell(self, command):
        with self._lock:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()

    def _start(self):
        self._process = start_program(self._arguments)
        threading.Thread(target=self._read, args=[self._process.stdout], daemon=True).start()

    def _read(self, lines):
        for line in lines:
            event = json.loads(line)
            client = self._clients.get(event["client"])
            if client is not None:
                client.take(event)


NODE = Driver("node", "mqttjs.mjs")
RUST = Driver("../../target/clients/rumqttc/debug/rumqttc-client")


class MqttJs(Driven):
    """MQTT.js in Node.js, driven by `mqttjs.mjs`."""

    def __init__(self, kind, broker, client_id, user, password, stored=False, will=None):
        scheme = ("ws" if kind.path else "mqtt") + ("s" if kind.tls else "")
        options = {
            "url": f"{scheme}://{kind.host()}:{kind.port(broker)}{kind.path}",
            "clientId": client_id,
            "protocolVersion": kind.level,
            "clean": not stored,
        }
        if user is not None:
            options |= {"username": user, "password": password}
        if kind.tls:
            options["files"] = broker.tls.files()
        if kind.level == 3:
            options |= {"protocolId": "MQIsdp"}
        if kind.level == 5 and stored:
            options["properties"] = {"sessionExpiryInterval": STORED_SECS}
        if will is not None:
            options["will"] = will._asdict()
        super().__init__(NODE, options)


class Rumqttc(Driven):
    """rumqttc, driven by the program in the folder `rumqttc`."""

    def __init__(self, kind, broker, client_id, user, password, stored=False, will=None):
        options = {
            "host": kind.host(),
            "port": kind.port(broker),
            "clientId": client_id,
            "protocolVersion": kind.level,
        }
        if user is not None:
            options |= {"username": user, "password": password}
        if kind.path:
            scheme = "wss" if kind.tls else "ws"
            options["url"] = f"{scheme}://{kind.host()}:{kind.port(broker)}{kind.path}"
        if kind.tls:
            options["files"] = broker.tls.files()
        if stored:
            options["session_expiry_secs"] = STORED_SECS
        if will is not None:
            options["will"] = will._asdict()
        super().__init__(RUST, options)


class MosquittoPrograms(Client):
    """mosquitto_sub, which connects when it is told what to hear, and mosquitto_pub.

    They speak no WebSocket before version 2.1, and do not tell whether a session was present."""

    def __init__(self, kind, broker, client_id, user, password, stored=False, will=None):
        super().__init__()
        self.client_id = client_id
        self.process = None
        self._subscribed = threading.Event()
        version = {3: "mqttv31", 4: "mqttv311", 5: "mqttv5"}[kind.level]
        where = ["-h", kind.host(), "-p", str(kind.port(broker)), "-V", version]
        if kind.tls:
            names = {"ca": "--cafile", "cert": "--cert", "key": "--key"}
            for name, path in broker.tls.files().items():
                where += [names[name], path]
        who = ["-u", user, "-P", password] if user is not None else []
        self._common = [*where, *who]
        self._session = ["-c"] if stored else []
        if stored and kind.level == 5:
            self._session += ["-x", str(STORED_SECS)]
        if will is not None:
            self._session += ["--will-topic", will.topic, "--will-payload", will.payload]
            self._session += ["--will-qos", str(will.qos)]
            self._session += ["--will-retain"] if will.retain else []

    def subscribe(self, *filters, qos=0):
        listed = [word for each in filters for word in ("-t", each)]
        # `-d` tells of the SUBACK; stdbuf because a program buffers what it writes to a pipe.
        program = [
            "stdbuf",
            "-oL",
            "mosquitto_sub",
            *self._common,
            "-d",
            "-F",
            "message %q %r %t %p",
        ]
        program += self._session
        program += ["-i", self.client_id, "-q", str(qos), *listed]
        self.process = start_program(program)
        threading.Thread(target=self._read, daemon=True).start()
        assert self._subscribed.wait(DEADLINE_SECS), "no SUBACK for mosquitto_sub"

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("message "):
                _, qos, retain, topic, payload = line.rstrip("\n").split(" ", 4)
                self._messages.put(Message(topic, payload, int(qos), retain == "1"))
            elif line.startswith("Subscribed "):
                self._subscribed.set()

    def publish(self, topic, payload, qos=0, retain=False):
        program = ["mosquitto_pub", *self._common, "-i", f"{self.client_id}-publisher"]
        program += ["-r"] if retain else []
        subprocess.run(
            [*program, "-q", str(qos), "-t", topic, "-m", payload],
            timeout=DEADLINE_SECS,
            check=True,
        )

    def disconnect(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE_SECS)

    def vanish(self):
        self.close()

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(DEADLINE_SECS)


FAMILIES = {"paho": Paho, "mqttjs": MqttJs, "rumqttc": Rumqttc, "mosquitto": MosquittoPrograms}

KINDS = [
    *(Kind("paho", level) for level in (3, 4, 5)),
    *(Kind("paho", level, path) for level in (4, 5) for path in ("/", "/mqtt")),
    *(Kind("mqttjs", level) for level in (3, 4, 5)),
    *(Kind("mqttjs", level, path) for level in (4, 5) for path in ("/", "/mqtt")),
    *(Kind("rumqttc", level) for level in (4, 5)),
    *(Kind("rumqttc", level, "/mqtt") for level in (4, 5)),
    *(Kind("mosquitto", level) for level in (3, 4, 5)),
]


def everyone_hears_everyone(guests, broker, qos):
    """All kinds at once in one room: each says one thing, and each hears all of them."""
    names = {kind: str(kind) for kind in KINDS}
    everyone = [guests.open(kind, broker, names[kind], "alice") for kind in KINDS]
    for client in everyone:
        client.subscribe("everyone/#", qos=qos)
    said = set()
    for kind, client in zip(KINDS, everyone, strict=True):
        client.publish(f"everyone/{names[kind]}", f"from {names[kind]}", qos=qos)
        said.add((f"everyone/{names[kind]}", f"from {names[kind]}"))
    for kind, client in zip(KINDS, everyone, strict=True):
        heard = {client.next_message() for _ in said}
        assert heard == said, names[kind]
