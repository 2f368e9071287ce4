"""An authority that makes certificates for tests, by the `cryptography` library."""

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates and writes them into a folder."""

    def __init__(self, folder, name="authority"):
        self.folder = Path(folder)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"{name} of these tests")
        self.path = self.folder / f"{name}.pem"
        self.path.write_bytes(_pem(self._sign(self._name, self._key, [], is_authority=True)))

    def server(self, path, days=30):
        """Writes `path`.pem and `path`.key: a server's certificate for localhost."""
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        return self._write(path, "localhost", [names], days)

    def client(self, path, common_name, days=30):
        """As `server`: a client's certificate that names its user."""
        return self._write(path, common_name, [], days)

    def _write(self, path, common_name, extensions, days):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(_name(common_name), key, extensions, days=days)
        certificate_path, key_path = self.folder / f"{path}.pem", self.folder / f"{path}.key"
        certificate_path.write_bytes(_pem(certificate))
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate_path, key_path

    def _sign(self, name, key, extensions, is_authority=False, days=30):
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, now + days * DAY) - DAY)
            .not_valid_after(now + days * DAY)
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        )
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        for extension in [identifier, issuer, *extensions]:
            builder = builder.add_extension(extension, critical=False)
        if is_authority:
            usage = dict.fromkeys(
                [
                    "digital_signature",
                    "content_commitment",
                    "key_encipherment",
                    "data_encipherment",
                    "key_agreement",
                    "encipher_only",
                    "decipher_only",
                ],
                False,
            )
            usage = x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage)
            builder = builder.add_extension(usage, critical=True)
        return builder.sign(self._key, hashes.SHA256())


class TlsPorts:
    """The doors of a server that speak TLS, as `broker.tls` of the clients: whom they trust, and
    the certificate that they show, if any."""

    def __init__(self, authority, mqtt_port, ws_port, own=None):
        self.authority, self.own = authority, own
        self.mqtt_port, self.ws_port = mqtt_port, ws_port

    def showing(self, own):
        """The same doors for a client that shows this certificate (its path and its key's)."""
        return TlsPorts(self.authority, self.mqtt_port, self.ws_port, own)

    def files(self):
        files = {"ca": str(self.authority.path)}
        if self.own:
            files |= {"cert": str(self.own[0]), "key": str(self.own[1])}
        return files

    def context(self, version=None):
        context = ssl.create_default_context(cafile=self.authority.path)
        if self.own:
            context.load_cert_chain(*self.own)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context


def _name(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)
