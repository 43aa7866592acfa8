"""What is known to end, hang or disable a TPM, sent by an ordinary user while others use it."""

import json
import os
import pathlib
import struct
import tempfile
import unittest

import harness
from users import ALICE, User

KEY_IN_SECOND_HANDLE, DISABLED_COMMAND, AUTH_UNAVAILABLE = 0x29C, 0x143, 0x12F
CERTIFY_X509, LOAD_EXTERNAL, UNSEAL, RSA_DECRYPT = 0x197, 0x167, 0x15E, 0x159
NULL, OWNER, PASSWORD = 0x40000007, 0x40000001, 0x40000009
RIGHT = f'[[rule]]\nuser = [{ALICE}]\nprofile = "tester"\n[profile.tester]\nbase = "safe"\nallow = ["TPM2_CertifyX509"]\n'


def tpm2b(data):
    return struct.pack(">H", len(data)) + data


def authorized(code, handles, session, parameters, count=1):
    area = struct.pack(">IHBH", session, 0, 0 if session == PASSWORD else 1, 0) * count
    body = b"".join(struct.pack(">I", handle) for handle in handles)
    return harness.command(code, body + struct.pack(">I", len(area)) + area + parameters, tag=0x8002)


def certify_x509(key):
    """A valid partial certificate, and no signing key."""
    name = bytes.fromhex("300c310a300806035504030c0161")
    dates = b"".join(b"\x17\x0d" + f"2{year}0101000000Z".encode() for year in "09")
    usage = bytes.fromhex("a3123010300e0603551d0f0101ff040403020780")
    body = name + b"\x30\x1e" + dates + name + usage
    certificate = b"\x30" + bytes([len(body)]) + body
    return authorized(CERTIFY_X509, (key, NULL), PASSWORD, tpm2b(b"") + struct.pack(">H", 0x10) + tpm2b(certificate), 2)


def load_public_key():
    """The generator of P-256, without a private part."""
    x = bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")
    y = bytes.fromhex("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
    area = struct.pack(">HHIH", 0x23, 0xB, 0x00040440, 0) + struct.pack(">HHHH", 0x10, 0x10, 3, 0x10)
    return harness.command(LOAD_EXTERNAL, tpm2b(b"") + tpm2b(area + tpm2b(x) + tpm2b(y)) + struct.pack(">I", NULL))


def start_bound_session():
    body = struct.pack(">II", NULL, OWNER) + tpm2b(bytes(16)) + tpm2b(b"")
    return harness.command(harness.START_AUTH_SESSION, body + struct.pack(">BHH", 0, 0x10, 0xB))


def decryption_key():
    attributes = 0x00020472  # decrypt, noDA, userWithAuth, sensitiveDataOrigin, fixedParent, fixedTPM
    public = struct.pack(">HHIH", 0x1, 0xB, attributes, 0) + struct.pack(">HHHIH", 0x10, 0x10, 1024, 0, 0)
    body = struct.pack(">HHH", 4, 0, 0) + tpm2b(public) + struct.pack(">HI", 0, 0)
    return authorized(harness.CREATE_PRIMARY, (OWNER,), PASSWORD, body)


class KnownCrashesTest(unittest.TestCase):
    def setUp(self):
        harness.need_root()

    def attack(self, tpm, act, config=None):
        """`act` by ALICE; root's key and session are there before and after."""
        with harness.Daemon(tpm, config=config) as daemon:
            os.chmod(daemon.directory, 0o755)
            with daemon.connect() as victim:
                key = harness.handle_of(victim.run(harness.create_primary()))
                session = harness.handle_of(victim.run(harness.start_auth_session()))
                with harness.effective_user(ALICE), daemon.connect() as client:
                    act(client)
                victim.run(harness.command(harness.READ_PUBLIC, struct.pack(">I", key)))
                victim.run(harness.flush_context(session))
            self.assertEqual(daemon.status()["tpm_resets"], 0)

    def test_a_command_kept_from_the_tpm_is_in_the_audit_trail(self):
        with tempfile.TemporaryDirectory(prefix="tpmspace-audit-") as directory, harness.Swtpm() as swtpm:
            trail = pathlib.Path(directory, "audit.jsonl")
            with harness.Daemon(swtpm.spec, config=f'audit = "{trail}"\n{RIGHT}') as daemon:
                os.chmod(daemon.directory, 0o755)
                with harness.effective_user(ALICE), daemon.connect() as client:
                    self.certify_without_a_key(KEY_IN_SECOND_HANDLE)(client)
                with User(daemon, ALICE) as alice:
                    told = alice.run(harness.program("tpmspace"), "whoami", "--socket", daemon.path).stdout
                self.assertIn("is known to crash", " ".join(told.decode().split()))
            records = [json.loads(line) for line in trail.read_text().splitlines()]
            refused = [one for one in records if one["event"] == "refused"]
            self.assertEqual([(one["uid"], one["command"], one["code"]) for one in refused],
                             [(ALICE, "TPM2_CertifyX509", f"0x{harness.MANAGER | KEY_IN_SECOND_HANDLE:08x}")])
            self.assertIn("docs/known-crashes.md", refused[0]["reason"])

    def certify_without_a_key(self, expected):
        def act(client):
            key = harness.handle_of(client.run(harness.create_primary()))
            answer = client.command(certify_x509(key))
            self.assertEqual(harness.code_of(answer), harness.MANAGER | expected)
        return act

    def test_certify_x509_is_not_for_all_users(self):
        with harness.Swtpm() as swtpm:
            self.attack(swtpm.spec, self.certify_without_a_key(DISABLED_COMMAND))

    def test_certify_x509_without_a_signing_key_does_not_end_swtpm(self):
        with harness.Swtpm() as swtpm:
            self.attack(swtpm.spec, self.certify_without_a_key(KEY_IN_SECOND_HANDLE), RIGHT)

    def test_a_bound_session_for_a_public_key_does_not_disable_swtpm(self):
        def act(client):
            key = harness.handle_of(client.run(load_public_key()))
            session = harness.handle_of(client.run(start_bound_session()))
            answer = client.command(authorized(UNSEAL, (key,), session, b""))
            self.assertEqual(harness.code_of(answer), harness.MANAGER | AUTH_UNAVAILABLE)
        with harness.Swtpm() as swtpm:
            self.attack(swtpm.spec, act)

    def test_an_invalid_ciphertext_does_not_reset_an_embedded_tpm(self):
        def act(client):
            key = harness.handle_of(client.run(decryption_key()))
            nonsense = tpm2b(b"\x05" * 128) + struct.pack(">HH", 0x17, 0xB) + tpm2b(b"")
            self.assertNotEqual(harness.code_of(client.command(authorized(RSA_DECRYPT, (key,), PASSWORD, nonsense))), 0)
        self.attack("embedded", act)

    def test_an_encrypted_parameter_that_is_malformed_reaches_no_tpm(self):
        def act(client):
            key = harness.handle_of(client.run(harness.create_primary()))
            session = harness.handle_of(client.run(harness.start_auth_session()))
            area = struct.pack(">IHBH", PASSWORD, 0, 0, 0) + struct.pack(">IHBH", session, 0, 0x21, 0)
            for parameters, code in ((b"", 0xA9A), (b"\0", 0xA9A), (b"\0\x03ab", 0xA95), (b"\xff\xffab", 0xA95)):
                body = struct.pack(">II", key, len(area)) + area + parameters
                answer = client.command(harness.command(0x15D, body, tag=0x8002))
                self.assertEqual(harness.code_of(answer), harness.MANAGER | code)
        with harness.Swtpm() as swtpm:
            self.attack(swtpm.spec, act)


if __name__ == "__main__":
    harness.main()
