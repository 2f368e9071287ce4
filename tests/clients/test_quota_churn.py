"""However connections come and go, an organisation's places are all given back, and no more than
there are can be had: a random crowd that connects, takes over, is refused, vanishes amid a login,
and whose tokens end."""

import contextlib
import os
import random
import threading
import time

from harness import Server, wait_until
from test_accounts import HS_SECRET, QUOTA, SUCCESS, TOKEN_KEY, hash_of, org, token
from wire import RawClient, Will, disconnect, session_expiry

PLACES = 8
CHURN_SECS = float(os.environ.get("QUOTA_CHURN_SECS", "4"))
CLIENT_IDS, USERS = 12, 3
HOUR = session_expiry(3600)


def settings():
    users = "".join(
        f'[[org.user]]\nusername = "hashed{n}"\npassword_hash = "{hash_of("right")}"\n'
        for n in range(USERS)
    )
    return (
        org(
            f"[org.quota]\nconnections_max = {PLACES}\nsubscriptions_per_session_max = 3\n"
            '[[org.rule]]\neffect = "allow"\ntopics = ["t/#"]\n'
            f'{users}[[org.jwt]]\nsecret = "{HS_SECRET}"\nleeway_secs = 0'
        )
        # So that each login is checked, and none is slowed.
        + "[accounts]\nguess_address_max = 0\nguess_user_max = 0\nknown_passwords_max = 0\n"
    )


class Churner(threading.Thread):
    """One of those who come and go."""

    def __init__(self, port, seed, until):
        super().__init__()
        self.port, self.until, self.random = port, until, random.Random(seed)
        self.mine, self.codes = [], set()

    def run(self):
        while time.monotonic() < self.until:
            # What the server closes, or refuses, is part of it.
            with contextlib.suppress(OSError, AssertionError):
                self.step()
        for client in self.mine:
            client.close()

    def step(self):
        if not self.mine or self.random.random() < 0.6:
            self.come()
        elif self.random.random() < 0.7:
            self.go(self.mine.pop(self.random.randrange(len(self.mine))))
        else:
            self.random.choice(self.mine).subscribe(f"t/{self.random.randrange(5)}")

    def come(self):
        client = RawClient(self.port)
        level = self.random.choice([4, 5])
        words = f"k{self.random.randrange(CLIENT_IDS)}", *self.login()
        how = {"clean": self.random.random() < 0.5}
        if level == 5:
            how["props"] = HOUR
        if self.random.random() < 0.3:
            how["will"] = Will(self.random.choice(["t/will", "forbidden"]), b"gone", 1)
        if self.random.random() < 0.3:
            client.send_connect(*words, level, **how)
            time.sleep(self.random.random() * 0.03)
            client.reset()
            return
        code = client.login(*words, level, **how)[1]
        self.codes.add((level, code))
        if code == SUCCESS:
            self.mine.append(client)
        else:
            client.close()

    def login(self):
        number = self.random.randrange(USERS)
        if self.random.random() < 0.3:
            return f"hashed{number}@org_t", self.random.choice(["right", "wrong"])
        lifetime_secs = self.random.choice([0.5, 1, 100])
        words = token("HS256", f"user{number}", lifetime_secs=lifetime_secs)
        return f"user{number}@org_t", words

    def go(self, client):
        way = self.random.randrange(3)
        if way == 0:
            client.reset()
            return
        client.send([disconnect(), b"\xff\xff\xff\xff"][way - 1])
        client.close()


def test_places_are_given_back_however_connections_end(tmp_path):
    with Server(tmp_path, settings()) as server:
        until = time.monotonic() + CHURN_SECS
        churners = [Churner(server.mqtt_port, seed, until) for seed in range(8)]
        for churner in churners:
            churner.start()
        for churner in churners:
            churner.join()
        codes = set().union(*(churner.codes for churner in churners))
        assert {(5, SUCCESS), (4, SUCCESS), (5, QUOTA)} <= codes, "all places were taken at times"
        server.wait_for_client_ids(key=TOKEN_KEY)
        inside = []

        def come_in():
            client = RawClient(server.mqtt_port)
            code = client.login(f"after{len(inside)}", "user0@org_t", token("HS256", "user0"), 5)[1]
            if code == SUCCESS:
                inside.append(client)
            else:
                client.close()
            return code

        # Connections that are being closed have their places for two seconds.
        wait_until(lambda: come_in() == SUCCESS and len(inside) == PLACES, "all are given back")
        assert come_in() == QUOTA
        assert len(server.client_ids(key=TOKEN_KEY)) == PLACES
        for client in inside:
            client.close()
