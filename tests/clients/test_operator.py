"""What an operator meets: the first start, mistakes in the settings, ports in use, an orderly end."""

import os
import re
import signal
import socket
import stat
from pathlib import Path

import pytest

from harness import KEY, PRESENCE, Http, Process, Server, free_port, login, run, wait_until
from wire import RawClient

EX_USAGE = 64


class FirstRun:
    """A server without a configuration file, in a folder that does not exist yet."""

    def __init__(self, folder):
        self.folder = folder
        self.data = folder / "data"
        self.mqtt_port, self.http_port = free_port(), free_port()
        self.settings = {
            "WHOSTHERE_LISTEN__MQTT": f"127.0.0.1:{self.mqtt_port}",
            "WHOSTHERE_LISTEN__WS": f"127.0.0.1:{free_port()}",
            "WHOSTHERE_LISTEN__HTTP": f"127.0.0.1:{self.http_port}",
        }

    def start(self):
        process = Process(self.folder, ["--data-dir", str(self.data)], self.settings)
        process.wait_until_ready(self.http_port)
        return process

    def status(self, key):
        return Http(self.http_port).get(PRESENCE, key).status

    def log_in(self, user, password):
        client = RawClient(self.mqtt_port)
        assert client.login("client", user, password)[1] == 0
        client.close()


@pytest.fixture
def first_run(tmp_path):
    return FirstRun(tmp_path)


def shown(process, what):
    """What the first start shows beside a label, once and in this form for people to copy."""
    (value,) = re.findall(rf"^ *{what} +(\S+)$", process.log, re.MULTILINE)
    return value


def test_the_first_start_shows_a_key_that_works_and_the_second_shows_none(first_run):
    with first_run.start() as process:
        key = shown(process, "secret key")
        assert re.fullmatch(r"sk_[0-9a-f]{32,}", key)
        assert first_run.status(key) == 200
        assert first_run.status(key + "0") == 401
    with first_run.start() as process:
        assert "sk_" not in process.log
        assert first_run.status(key) == 200


def test_the_first_start_shows_a_login_that_works_for_good(first_run):
    with first_run.start() as process:
        user, password = shown(process, "user"), shown(process, "password")
        first_run.log_in(user, password)
    with first_run.start() as process:
        first_run.log_in(user, password)
        assert password not in process.log


def test_the_first_start_keeps_its_files_to_itself(first_run):
    old_mask = os.umask(0)  # the mask that protects nothing: the server must do it
    try:
        with first_run.start() as process:
            secrets = [shown(process, "secret key"), shown(process, "password")]
    finally:
        os.umask(old_mask)
    paths = [first_run.data, *first_run.data.rglob("*")]
    assert len(paths) > 1
    for path in paths:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), f"{path}: {mode:o}"
        if path.is_file():
            text = path.read_text(errors="replace")
            assert not any(secret in text for secret in secrets), f"{path} has a secret in clear"


def config_file(folder, text):
    path = folder / "whosthere.toml"
    ports = "".join(f'{name} = "127.0.0.1:{free_port()}"\n' for name in ("mqtt", "ws", "http"))
    path.write_text(text.replace("PORTS", ports).replace("DATA", str(folder / "data")))
    return str(path)


GOOD = f"""data_dir = "DATA"
[listen]
PORTS
[[org]]
id = "org_abc"
secret_keys = ["{KEY}"]
"""
SECOND_ORG = '[[org]]\nid = "org_xyz"\nsecret_keys = ["sk_test_fedcba9876543210fedcba9876543210"]\n'
BAD_CONFIGS = {
    "an unknown table": (GOOD + "[lissten]\n", "lissten"),
    "an unknown key": (GOOD + "[mqtt]\nkeep_alive_seconds = 5\n", "keep_alive_seconds"),
    "an unknown key of a user": (
        GOOD + '[[org.user]]\nusername = "a"\npassword = "b"\nnickname = "c"\n',
        "nickname",
    ),
    "an unknown key at the top": ("dataa_dir = 1\n" + GOOD, "dataa_dir"),
    "a wrong type": (GOOD + '[mqtt]\npacket_bytes_max = "big"\n', "packet_bytes_max"),
    "a negative number": (GOOD + "[mqtt]\nconnect_timeout_secs = -1\n", "connect_timeout_secs"),
    "an address that is none": (GOOD.replace("PORTS", 'mqtt = "nowhere"'), "mqtt"),
    "an organisation twice": (GOOD + SECOND_ORG.replace("org_xyz", "org_abc"), "org_abc"),
    "a default that does not exist": ('default_org = "org_none"\n' + GOOD, "org_none"),
    "a user without a password": (GOOD + '[[org.user]]\nusername = "carol"\n', "password"),
    "no TOML": ("this is [ not toml", "line"),
}


@pytest.mark.parametrize("command", ["check", "serve"])
@pytest.mark.parametrize(("text", "named"), BAD_CONFIGS.values(), ids=BAD_CONFIGS.keys())
def test_a_mistake_in_the_file_is_named_and_nothing_starts(tmp_path, text, named, command):
    ended = run(command, "--config", config_file(tmp_path, text))
    assert ended.returncode == EX_USAGE, ended
    said = ended.stdout + ended.stderr
    assert named in said
    assert KEY not in said
    assert not (tmp_path / "data").exists()


def test_one_key_for_two_organisations_is_a_mistake_told_without_the_key(tmp_path):
    second = SECOND_ORG.replace("sk_test_fedcba9876543210fedcba9876543210", KEY)
    ended = run("check", "--config", config_file(tmp_path, GOOD + second))
    assert ended.returncode == EX_USAGE
    assert KEY not in ended.stdout + ended.stderr


def test_a_good_file_is_good(tmp_path):
    ended = run("check", "--config", config_file(tmp_path, GOOD + SECOND_ORG))
    assert ended.returncode == 0, ended
    assert not (tmp_path / "data").exists(), "a check changes nothing"


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_file_that_is_not_there_is_named(tmp_path, command):
    missing = str(tmp_path / "missing.toml")
    ended = run(command, "--config", missing)
    assert ended.returncode != 0
    assert missing in ended.stderr


@pytest.mark.parametrize("variable", ["WHOSTHERE_LISTEN__MQTTT", "WHOSTHERE_LISSTEN__MQTT"])
def test_an_unknown_variable_is_named_and_nothing_starts(tmp_path, variable):
    settings = {variable: "127.0.0.1:1"}
    ended = run("serve", "--config", config_file(tmp_path, GOOD), settings=settings)
    assert ended.returncode == EX_USAGE, ended
    assert variable.removeprefix("WHOSTHERE_").lower() in ended.stderr.lower().replace(".", "__")


def test_an_unknown_command_is_named():
    ended = run("sreve")
    assert ended.returncode == EX_USAGE
    assert "sreve" in ended.stderr


@pytest.mark.parametrize("listener", ["mqtt", "ws", "http"])
def test_a_port_in_use_is_named(tmp_path, listener):
    with socket.create_server(("127.0.0.1", 0)) as occupant:
        taken = f"127.0.0.1:{occupant.getsockname()[1]}"
        path = Path(config_file(tmp_path, GOOD))
        path.write_text(
            re.sub(
                f"^{listener} = .*$",
                f'{listener} = "{taken}"',
                path.read_text(),
                flags=re.MULTILINE,
            )
        )
        ended = run("serve", "--config", str(path))
    assert ended.returncode not in (0, EX_USAGE), ended
    assert taken in ended.stderr
    assert "panicked" not in ended.stderr


def test_an_orderly_stop_tells_the_clients_and_succeeds(tmp_path):
    with Server(tmp_path) as server:
        client = RawClient(server.mqtt_port)
        client.login("client", *login("alice"), level=5)
        assert server.stop() == 0
        answers = client.packets_until_closed()
        assert [each.body[:1] for each in answers] in ([], [b"\x8b"])


def test_the_same_folder_is_not_served_twice(tmp_path):
    """Two servers on one folder would overwrite each other's files."""
    with Server(tmp_path) as server:
        ports = {
            f"WHOSTHERE_LISTEN__{name}": f"127.0.0.1:{free_port()}"
            for name in ("MQTT", "WS", "HTTP")
        }
        second = run("serve", "--config", str(server.config), settings=ports)
        assert second.returncode != 0
        assert str(tmp_path / "data") in second.stderr


def test_a_sighup_ends_nothing_and_the_log_says_that_there_is_nothing_to_read(tmp_path):
    with Server(tmp_path) as server:
        client = RawClient(server.mqtt_port)
        client.login("stays", *login("alice"))
        for _ in range(3):
            os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: "SIGHUP: there are no certificates" in server.log, "it is said")
        client.ping()


def test_a_sighup_while_the_server_starts_does_not_end_it(tmp_path):
    with Server(tmp_path) as server:
        server.stop()
        server.launch()
        # As soon as it is itself and catches it, long before it is ready.
        status = Path(f"/proc/{server.pid}/status")
        wait_until(
            lambda: int(re.search(r"SigCgt:\s*(\w+)", status.read_text())[1], 16) & 1,
            "SIGHUP is caught",
        )
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: "mqtt://" in server.log, "it has started")
        client = RawClient(server.mqtt_port)
        client.login("new", *login("alice"))
        client.close()
