"""An organisation that lets everybody in, and a default for who names no organisation."""

import pytest

from clients import KINDS
from harness import KEY, OTHER_KEY

OPEN_KEY = "sk_test_00112233445566778899aabbccddeeff"
KEYS = [KEY, OTHER_KEY, OPEN_KEY]
TOP_SETTINGS = 'default_org = "org_open"'
SETTINGS = f"""
[[org]]
id = "org_open"
secret_keys = ["{OPEN_KEY}"]
open_auth = true
"""
NAMES = ["a/b", "50%", "x@y", "@", "zoë", "😀", "a b", "+", "#", "?", "..", "n" * 10_240]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:10])
def test_any_name_gets_in_and_is_found_by_its_name(server, guests, name):
    client = guests.raw()
    assert client.login("client", f"{name}@org_open", "whatever")[1] == 0
    answer = server.user(name, OPEN_KEY)
    assert answer["username"] == name
    assert answer["is_online"] is True
    assert server.presence(OPEN_KEY)["users"][0]["username"] == name


def test_a_password_is_not_asked_for(server, guests):
    assert guests.raw().login("client", "carol@org_open", None)[1] == 0
    assert server.user("carol", OPEN_KEY)["is_online"] is True


def test_who_names_no_organisation_is_in_the_default_one(server, guests):
    assert guests.raw().login("client", "carol", None)[1] == 0
    assert server.user("carol", OPEN_KEY)["is_online"] is True
    assert server.user("carol", KEY)["is_online"] is False


@pytest.mark.parametrize("level", [3, 4, 5])
def test_who_has_no_user_name_is_known_by_the_client_id(server, guests, level):
    assert guests.raw().login("client-abc", None, None, level=level)[1] == 0
    (row,) = server.presence(OPEN_KEY)["users"]
    assert (row["username"], row["client_id"]) == ("client-abc", "client-abc")


@pytest.mark.parametrize("user", ["@org_open", "carol@org_nowhere", "x@y", "carol@"])
def test_even_so_a_name_and_a_known_organisation_are_needed(guests, user):
    assert guests.raw().login("client", user, None)[1] in (4, 5)


def test_the_other_organisations_still_ask_for_passwords(server, guests):
    assert guests.raw().login("client", "alice@org_abc", "wrong")[1] in (4, 5)
    guests.raw_login("client", "alice")
    assert server.client_ids(KEY) == ["client"]


@pytest.mark.parametrize("kind", [each for each in KINDS if each.level > 3], ids=str)
def test_a_real_client_gets_in_without_an_organisation(server, guests, kind):
    client = guests.open_as(kind, server, "client", "carol", "whatever")
    client.subscribe("chat/lobby")
    assert server.user("carol", OPEN_KEY)["session_count"] == 1
