"""Wills of stored sessions (MQTT 5 §3.1.2.5, §3.1.3.2.2): when they are published, and when not."""

import time

import pytest

from wire import Will, disconnect, session_expiry, will_delay

each_level = pytest.mark.parametrize("level", [3, 4, 5])


def will(here, delay_secs=0, **how):
    return Will(f"{here}/gone", b"bye", 1, props=will_delay(delay_secs), **how)


def watch(guests, here):
    """A subscriber whose session is stored: it hears also of what happens while it is away."""
    watcher = guests.device(f"{here}-watcher", "bob")
    watcher.subscribe(f"{here}/gone", qos=1)
    return watcher


def hears_of_it_within(watcher, secs):
    watcher.socket.settimeout(secs)
    try:
        assert watcher.take_message().payload == b"bye"
    except TimeoutError:
        return False
    finally:
        watcher.socket.settimeout(10)
    return True


def hears_nothing(client):
    client.ping()


@each_level
@pytest.mark.parametrize("end", ["closed", "reset", "protocol error", "with will"])
def test_a_will_follows_an_abnormal_end_once(server, guests, here, level, end):
    watcher = watch(guests, here)
    client = guests.device(here, level=level, will=will(here))
    match end:
        case "closed" | "with will" if level < 5 or end == "closed":
            client.close()
        case "reset":
            client.reset()
        case "protocol error":
            client.send(b"\x00\x00")
        case "with will":
            client.send(disconnect(0x04))
    assert watcher.take_message().payload == b"bye"
    client.close()
    # It is spent: the session has none until its next connection brings one.
    guests.device(here, level=level).close()
    server.wait_for_client_ids(f"{here}-watcher")
    hears_nothing(watcher)


def test_a_will_follows_a_silence_beyond_the_keep_alive_once(server, guests, here):
    """Of each version, all at once."""
    names = {level: f"{here}_{level}" for level in (3, 4, 5)}
    watchers = {level: watch(guests, name) for level, name in names.items()}
    for level, name in names.items():
        guests.device(name, level=level, will=will(name), keep_alive=1)
    for level, name in names.items():
        assert watchers[level].take_message().payload == b"bye"
        guests.device(name, level=level).close()
    server.wait_for_client_ids(*(f"{name}-watcher" for name in names.values()))
    for watcher in watchers.values():
        hears_nothing(watcher)


@each_level
def test_a_disconnect_takes_the_will_back(server, guests, here, level):
    watcher = watch(guests, here)
    client = guests.device(here, level=level, will=will(here))
    client.send(disconnect())
    client.packets_until_closed()
    server.wait_for_client_ids(f"{here}-watcher")
    hears_nothing(watcher)


@each_level
def test_a_takeover_publishes_the_older_ones_will(server, guests, here, level):
    watcher = watch(guests, here)
    guests.device(here, level=level, will=will(here))
    guests.device(here, level=level)
    assert watcher.take_message().payload == b"bye"


def test_who_is_back_within_the_delay_has_not_gone(server, guests, here):
    watcher = watch(guests, here)
    guests.device(here, will=will(here, 1)).close()
    server.wait_for_client_ids(f"{here}-watcher")
    back = guests.device(here)
    assert back.session_present
    assert not hears_of_it_within(watcher, 1.5)


def test_who_takes_over_with_a_delay_has_not_gone(server, guests, here):
    watcher = watch(guests, here)
    guests.device(here, will=will(here, 1))
    guests.device(here)
    assert not hears_of_it_within(watcher, 1.5)


def test_a_clean_start_ends_the_session_and_its_delay(server, guests, here):
    watcher = watch(guests, here)
    guests.device(here, will=will(here, 100)).close()
    server.wait_for_client_ids(f"{here}-watcher")
    guests.device(here, clean=True)
    assert watcher.take_message().payload == b"bye"


def test_a_will_waits_for_its_delay(server, guests, here):
    watcher = watch(guests, here)
    guests.device(here, will=will(here, 1)).close()
    assert not hears_of_it_within(watcher, 0.8)
    assert hears_of_it_within(watcher, 5)


def test_the_end_of_the_session_ends_the_delay(server, guests, here):
    watcher = watch(guests, here)
    guests.device(here, expiry=1, will=will(here, 100)).close()
    assert not hears_of_it_within(watcher, 0.8)
    assert hears_of_it_within(watcher, 5)


def test_a_disconnect_with_will_and_without_expiry_publishes_at_once(server, guests, here):
    watcher = watch(guests, here)
    client = guests.device(here, will=will(here, 100))
    client.send(disconnect(0x04, session_expiry(0)))
    assert watcher.take_message().payload == b"bye"


def test_a_will_reaches_stored_subscribers_that_are_away(server, guests, here):
    watch(guests, here).close()
    guests.device(here, will=will(here)).close()
    server.wait_for_client_ids()
    watcher = guests.device(f"{here}-watcher", "bob")
    assert watcher.take_message().payload == b"bye"


def test_a_will_may_be_retained(server, guests, here):
    guests.device(here, will=will(here, retain=True)).close()
    server.wait_for_client_ids()
    time.sleep(0.2)  # nobody is told when it is retained
    message = watch(guests, here).take_message()
    assert (message.payload, message.retain) == (b"bye", True)


@pytest.mark.parametrize("way", ["stop", "crash"])
def test_a_delay_goes_on_across_a_restart(server, guests, here, way):
    """And a client that is back before its end has not gone."""
    back, gone = f"{here}-back", f"{here}-gone"
    for name in (back, gone):
        watch(guests, name)
        guests.device(name, will=will(name, 2)).close()
    due = time.monotonic() + 2
    server.wait_for_client_ids(f"{back}-watcher", f"{gone}-watcher")
    time.sleep(0.2)  # that they left is written down lazily
    getattr(server, way)()
    server.start()
    guests.device(back)
    assert hears_of_it_within(guests.device(f"{gone}-watcher", "bob"), 5)
    watcher = guests.device(f"{back}-watcher", "bob")
    assert not hears_of_it_within(watcher, max(0.2, due + 0.5 - time.monotonic()))
    hears_nothing(watcher)


def test_a_will_that_was_due_while_the_server_was_down_is_published_at_its_start(
    server, guests, here
):
    watch(guests, here)
    guests.device(here, will=will(here, 1))
    server.crash()
    time.sleep(1.2)  # the delay is what is tested
    server.start()
    assert hears_of_it_within(guests.device(f"{here}-watcher", "bob"), 3)


@pytest.mark.parametrize("expiry", [0, 600])
def test_a_stop_publishes_the_wills_of_those_who_are_connected_once(server, guests, here, expiry):
    watch(guests, here)
    guests.device(here, expiry=expiry, will=will(here))
    server.restart()
    watcher = guests.device(f"{here}-watcher", "bob")
    # The watcher may have been sent it before it was sent away.
    assert watcher.take_message().payload == b"bye"
    time.sleep(0.2)  # a second one would come now
    hears_nothing(watcher)


def test_a_crash_publishes_the_will_of_a_stored_session_once(server, guests, here):
    watch(guests, here)
    guests.device(here, will=will(here))
    server.crash()
    server.start()
    watcher = guests.device(f"{here}-watcher", "bob")
    assert watcher.take_message().payload == b"bye"
    time.sleep(0.2)  # that it was acknowledged is written down lazily
    server.crash()
    server.start()
    hears_nothing(guests.device(f"{here}-watcher", "bob"))
