"""Certificates for the tests, made when they are needed; nothing of it is used anywhere else."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def new_key(kind="ec"):
    """'ec' (P-256), 'p224', 'p384', 'p521', or 'rsa' with its bits: 'rsa2048', 'rsa1024'."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(kind[3:] or 2048))
    curve = {"ec": ec.SECP256R1, "p224": ec.SECP224R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}[kind]
    return ec.generate_private_key(curve())


def key_pem(key, password=None):
    encryption = (serialization.BestAvailableEncryption(password.encode()) if password
                  else serialization.NoEncryption())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


class Certificate:
    """A leaf: `chain` (PEM, the leaf first), `key` (PEM), `fingerprint` (SHA-256, hexadecimal)."""

    def __init__(self, certificate, key, issuers=(), password=None):
        self.certificate = certificate
        self.private = key
        self.key = key_pem(key, password)
        self.pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        self.chain = self.pem + "".join(issuer.pem for issuer in issuers)
        self.fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
        self.password = password

    def secret(self, **more):
        """The keys of a sec object that holds it."""
        values = {"certificate_chain": self.chain, "private_key": self.key, **more}
        if self.password:
            values["password"] = self.password
        return values


class CA:
    """An authority that signs itself, or is signed by `parent`."""

    def __init__(self, name="test ca", parent=None):
        self.key = new_key()
        self.parent = parent
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (x509.CertificateBuilder().subject_name(self.name)
                   .issuer_name(parent.name if parent else self.name).public_key(self.key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(now - DAY)
                   .not_valid_after(now + 3650 * DAY)
                   .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False))
        self.certificate = builder.sign(parent.key if parent else self.key, hashes.SHA256())
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, *names, kind="ec", client=False, days=90, since=-1, password=None, chain=()):
        """A certificate for DNS names or IP addresses (the first is the common name). `chain`: the intermediates
        that are sent along."""
        key = new_key(kind)
        now = datetime.datetime.now(datetime.timezone.utc)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = (x509.CertificateBuilder()
                   .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]))
                   .issuer_name(self.name).public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now + since * DAY).not_valid_after(now + days * DAY)
                   .add_extension(x509.SubjectAlternativeName([general_name(n) for n in names]), critical=False)
                   .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                                  critical=False)
                   .add_extension(x509.ExtendedKeyUsage([usage]), critical=False))
        return Certificate(builder.sign(self.key, hashes.SHA256()), key, chain, password)


def general_name(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
