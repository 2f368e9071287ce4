"""Random rules, other ones after each stop or crash: no stored session ever gets a message that the
rules of now do not allow, judged by rules written down once more, plainly."""

import json
import os
import random

import pytest

from harness import Server
from test_accounts import SUCCESS, TOKEN_KEY, org
from wire import (
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    RawClient,
    answer,
    disconnect,
    parse_message,
    session_expiry,
    subscribe,
)

SEEDS = range(int(os.environ.get("RIGHTS_SEEDS", "3")))
ROUNDS = 6
LEVELS = "abc"
DEVICES = ("stays", "leaves", "leaves-too")


class Rules:
    """Random rules about subscribing, and what they mean."""

    def __init__(self, dice):
        self.default = dice.choice(["allow", "deny"])
        self.rules = [("allow", ["lobby"])] + [
            (dice.choice(["allow", "deny"]), [random_filter(dice) for _ in range(2)])
            for _ in range(dice.randrange(1, 4))
        ]

    def toml(self):
        rules = "".join(
            f'[[org.rule]]\neffect = "{effect}"\naction = "subscribe"\n'
            f"topics = {json.dumps(filters)}\n"
            for effect, filters in self.rules
        )
        publishing = '[[org.rule]]\neffect = "allow"\naction = "publish"\ntopics = ["#"]\n'
        return org(f'open_auth = true\nrules_default = "{self.default}"\n{rules}{publishing}')

    def allow(self, topic):
        for effect, filters in self.rules:
            if any(matches(each.split("/"), topic.split("/")) for each in filters):
                return effect == "allow"
        return self.default == "allow"


def matches(levels, names):
    if levels == ["#"]:
        return True
    if not levels or not names:
        return levels == names
    return levels[0] in ("+", names[0]) and matches(levels[1:], names[1:])


def random_filter(dice):
    levels = [dice.choice([*LEVELS, "+"]) for _ in range(dice.randrange(1, 4))]
    return "/".join(levels + ["#"] * (dice.random() < 0.3))


def random_topic(dice):
    return "/".join(dice.choice(LEVELS) for _ in range(dice.randrange(1, 4)))


def connected(server, client_id, **how):
    client = RawClient(server.mqtt_port)
    assert client.login(client_id, "carol@org_t", "x", 5, **how)[1] == SUCCESS
    return client


def say(server, dice, last_words):
    sender = connected(server, "sender")
    for _ in range(20):
        sender.hand_over(random_topic(dice), b"x", qos=dice.choice([1, 2]))
    sender.hand_over("lobby", last_words)
    sender.close()


def hear_until(device, is_last):
    """All messages that come until a packet is the last, acknowledged."""
    heard = []
    while True:
        each = device.read_packet()
        assert each is not None, "the server closed the connection"
        if each.kind == PUBLISH:
            message = parse_message(each, 5)
            heard.append(message)
            if message.qos:
                device.send(answer(PUBREC if message.qos == 2 else PUBACK, message.packet_id))
        elif each.kind == PUBREL:
            device.send(answer(PUBCOMP, int.from_bytes(each.body[:2], "big")))
        if is_last(each):
            return heard


@pytest.mark.parametrize("seed", SEEDS)
def test_no_stored_session_gets_what_the_rules_of_now_forbid(tmp_path, seed):
    dice = random.Random(seed)
    server = Server(tmp_path)
    before = server.config.read_text()
    for number in range(ROUNDS):
        rules = Rules(dice)
        server.config.write_text(before + rules.toml())
        last_words = b"round %d" % number
        with server:
            stored = {"clean": False, "props": session_expiry(3600)}
            devices = [connected(server, client_id, **stored) for client_id in DEVICES]
            heard = []
            for device in devices:
                filters = ["lobby", *(random_filter(dice) for _ in range(2))]
                device.send(subscribe(1, filters, dice.choice([1, 2]), 5))
                heard += hear_until(device, lambda each: each.kind == SUBACK)
            say(server, dice, last_words)
            for device in devices:
                heard += hear_until(device, lambda each, last=last_words: each.body.endswith(last))
            for message in heard:
                is_bound = message.dup and message.qos == 2
                assert rules.allow(message.topic) or is_bound, (rules.rules, message)
            for device in devices[1:]:
                device.send(disconnect())
                device.close()
            server.wait_for_client_ids(DEVICES[0], key=TOKEN_KEY)
            say(server, dice, b"to those who are away")
            if dice.random() < 0.5:
                server.crash()
                server.start()
            devices[0].close()
