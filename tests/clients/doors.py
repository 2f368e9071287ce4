"""A server with every door open: TCP, WebSocket and HTTP, each with and without TLS."""

import socket
import types

from certificates import Authority, TlsPorts
from harness import Server, free_port


class TlsServer(Server):
    """A server whose doors are open with and without TLS."""

    def __init__(self, folder, tls_settings=""):
        self.authority = Authority(folder)
        self.authority.server("server")
        ports = [free_port() for _ in range(3)]
        self.tls = TlsPorts(self.authority, *ports[:2])
        self.https_port = ports[2]
        super().__init__(
            folder,
            f'[tls]\ncertificate = "{folder}/server.pem"\nkey = "{folder}/server.key"\n'
            f'client_ca = "{self.authority.path}"\nreload_secs = 1\n{tls_settings}',
        )
        doors = "".join(
            f'{door} = "127.0.0.1:{port}"\n'
            for door, port in zip(["mqtts", "wss", "https"], ports, strict=True)
        )
        text = self.config.read_text()
        self.config.write_text(text.replace("[listen]\n", f"[listen]\n{doors}"))

    def served_certificate(self, port):
        """What a client that connects now is shown."""
        with handshake(self.tls, port) as connection:
            return connection.getpeercert(binary_form=True)

    def showing(self, own):
        """This server to a client that shows a certificate."""
        return types.SimpleNamespace(tls=self.tls.showing(own))


def handshake(ports, port=None, version=None):
    """A connection to one of the doors, by default that of MQTT, with the handshake made."""
    plain = socket.create_connection(("127.0.0.1", port or ports.mqtt_port), 10)
    context = ports.context(version)
    if version is not None:
        # A library of today refuses the old ones by itself unless it is told to be careless.
        context.set_ciphers("ALL:@SECLEVEL=0")
    return context.wrap_socket(plain, server_hostname="localhost")
