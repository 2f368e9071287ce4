"""The clients of these tests against Mosquitto: when this fails, the fault is not the server's."""

import pytest

from clients import everyone_hears_everyone


@pytest.mark.parametrize("qos", [0, 1])
def test_everyone_hears_everyone_through_mosquitto(guests, mosquitto, qos):
    everyone_hears_everyone(guests, mosquitto, qos)
