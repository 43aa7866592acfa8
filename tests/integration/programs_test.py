"""Programs that people have, as an ordinary user under the profile `safe`, after root has set up what only root can:
FAPI, systemd-creds, systemd-cryptenroll, tpm2-pkcs11, clevis. (What each of them sends: docs/startup.md.)

The programs load the release library; the daemon is that of TPMSPACE_BUILD.
"""

import json
import os
import pathlib
import subprocess
import unittest

import harness
from users import ALICE, BOB, User


def multiarch(pattern):
    """The first file of that name in the directories where Debian keeps libraries."""
    for root in ("/usr/lib", "/lib"):
        for found in sorted(pathlib.Path(root).glob(f"*/{pattern}")):
            return str(found)
    raise unittest.SkipTest(f"{pattern} is not installed")


class OrdinaryUser(unittest.TestCase):
    def setUp(self):
        harness.need_root()
        self.daemon = self.enterContext(harness.Daemon("embedded", "--socket-mode", "0666"))
        self.root = self.enterContext(User(self.daemon, 0))
        self.alice = self.enterContext(User(self.daemon, ALICE))
        os.chmod(self.alice.directory, 0o755)
        self.tcti = self.alice.environment["TPM2TOOLS_TCTI"]
        for user in (self.root, self.alice):
            user.environment["HOME"] = str(user.directory)
            user.environment.pop("XDG_RUNTIME_DIR", None)

    def run_as(self, user, *line, text=None):
        """A program that must succeed; what it wrote to standard output."""
        done = subprocess.run([*user.prefix, *line], cwd=user.directory, env=user.environment, input=text or b"",
                              capture_output=True, timeout=harness.TIMEOUT, check=False)
        self.assertEqual(done.returncode, 0, f"{' '.join(line)}\n{done.stdout.decode(errors='replace')}\n"
                         f"{done.stderr.decode(errors='replace')}\n{self.daemon.log()[-4000:]}")
        return done.stdout

    def write(self, user, name, data):
        path = user.directory / name
        path.write_bytes(data)
        os.chown(path, int(user is self.alice) * ALICE, int(user is self.alice) * ALICE)

    def no_refusal_in_log(self):
        self.assertNotIn("0x000b0143", self.daemon.log())

    def srk(self):
        """The storage root key of the machine, where everybody looks for it."""
        self.root("createprimary", "-C", "o", "-g", "sha256", "-G", "ecc", "-c", "srk.ctx")
        self.root("evictcontrol", "-C", "o", "-c", "srk.ctx", "0x81000001")

    def fapi(self, *users):
        """A FAPI configuration with one system keystore, and a keystore for each user."""
        harness.need("tss2_provision")
        if not os.path.isdir("/etc/tpm2-tss/fapi-profiles"):
            raise unittest.SkipTest("FAPI's profiles are not installed")
        system = self.alice.directory / "system"
        system.mkdir(mode=0o755)
        for user in users:
            (user.directory / "log").mkdir()
            os.chown(user.directory / "log", user.directory.stat().st_uid, -1)
            config = {"profile_name": "P_ECCP256SHA256", "profile_dir": "/etc/tpm2-tss/fapi-profiles/",
                      "user_dir": str(user.directory / "user"), "system_dir": str(system), "tcti": self.tcti,
                      "ek_cert_less": "yes", "system_pcrs": [], "log_dir": str(user.directory / "log")}
            self.write(user, "fapi.json", json.dumps(config).encode())
            user.environment["TSS2_FAPICONF"] = str(user.directory / "fapi.json")

    def test_fapi_after_root_has_provisioned(self):
        self.fapi(self.root, self.alice)
        alice = self.alice
        refused = subprocess.run([*alice.prefix, "tss2_provision"], env=alice.environment, capture_output=True,
                                 timeout=harness.TIMEOUT, check=False)
        self.assertNotEqual(refused.returncode, 0, "provisioning changes the owner hierarchy: it is for root")
        self.run_as(self.root, "tss2_provision")
        # As docs/compatibility.md says of the system keystore: all users may read it.
        self.run_as(self.root, "chmod", "-R", "a+rX", str(alice.directory / "system"))
        self.run_as(alice, "tss2_createkey", "--path=HS/SRK/mine", "--type=sign,noda", "--authValue=")
        self.write(alice, "digest", bytes(32))
        self.run_as(alice, "tss2_sign", "--keyPath=HS/SRK/mine", "--digest=digest", "--signature=signature",
                    "--publicKey=key.pem")
        self.run_as(alice, "tss2_verifysignature", "--keyPath=HS/SRK/mine", "--digest=digest", "--signature=signature")
        self.write(alice, "secret", b"kept by FAPI")
        self.run_as(alice, "tss2_createseal", "--path=HS/SRK/sealed", "--type=noda", "--data=secret", "--authValue=")
        self.run_as(alice, "tss2_unseal", "--path=HS/SRK/sealed", "--data=again", "--force")
        self.assertEqual((alice.directory / "again").read_bytes(), b"kept by FAPI")
        self.assertEqual(len(self.run_as(alice, "tss2_getrandom", "--numBytes=16", "--data=-")), 16)
        self.run_as(alice, "tss2_createkey", "--path=HS/SRK/attest", "--type=sign,noda,restricted", "--authValue=")
        self.run_as(alice, "tss2_quote", "--keyPath=HS/SRK/attest", "--pcrList=0,7", "--qualifyingData=digest",
                    "--signature=quote", "--quoteInfo=info")
        self.assertEqual(len(self.run_as(alice, "tss2_pcrread", "--pcrIndex=7", "--pcrValue=-")), 32)
        self.assertIn(b"/HS/SRK/mine", self.run_as(alice, "tss2_list"))
        self.run_as(alice, "tss2_delete", "--path=HS/SRK/mine")

    def test_systemd_creds(self):
        harness.need("systemd-creds")
        self.write(self.alice, "plain", b"a credential")
        device = f"--tpm2-device={self.tcti}"
        self.run_as(self.alice, "systemd-creds", "encrypt", "--with-key=tpm2", device, "--name=thing", "plain", "sealed")
        self.assertNotIn(b"a credential", (self.alice.directory / "sealed").read_bytes())
        self.assertEqual(self.run_as(self.alice, "systemd-creds", "decrypt", device, "--name=thing", "sealed", "-"),
                         b"a credential")
        self.no_refusal_in_log()

    def test_systemd_cryptenroll(self):
        harness.need("systemd-cryptenroll")
        harness.need("cryptsetup")
        alice = self.alice
        self.write(alice, "disk", bytes(20 << 20))
        self.write(alice, "password", b"password")
        alice.environment["PASSWORD"] = "password"
        self.run_as(alice, "cryptsetup", "luksFormat", "--batch-mode", "--type=luks2", "--pbkdf=pbkdf2",
                    "--pbkdf-force-iterations=1000", "disk", "password")
        self.run_as(alice, "systemd-cryptenroll", f"--tpm2-device={self.tcti}", "--tpm2-pcrs=7", "disk")
        self.assertIn(b"systemd-tpm2", self.run_as(alice, "cryptsetup", "luksDump", "disk"))
        self.no_refusal_in_log()

    def test_tpm2_pkcs11_under_the_machines_storage_root_key(self):
        self.srk()
        self.pkcs11("--primary-handle=0x81000001")

    def test_tpm2_pkcs11_with_a_transient_parent(self):
        self.pkcs11("--transient-parent=tss2-engine-key")

    def pkcs11(self, parent):
        for tool in ("tpm2_ptool", "pkcs11-tool", "openssl"):
            harness.need(tool)
        module = multiarch("pkcs11/libtpm2_pkcs11.so*")
        alice = self.alice
        store = alice.directory / "store"
        store.mkdir()
        os.chown(store, ALICE, ALICE)
        alice.environment.update(TPM2_PKCS11_STORE=str(store), TPM2_PKCS11_TCTI=self.tcti)
        self.run_as(alice, "tpm2_ptool", "init", parent)
        self.run_as(alice, "tpm2_ptool", "addtoken", "--pid=1", "--label=token", "--userpin=userpin", "--sopin=sopin")
        self.run_as(alice, "tpm2_ptool", "addkey", "--label=token", "--userpin=userpin", "--algorithm=ecc256",
                    "--key-label=key")
        tool = ("pkcs11-tool", "--module", module, "--token-label=token")
        self.write(alice, "message", b"message")
        self.run_as(alice, *tool, "--login", "--pin=userpin", "--sign", "--mechanism=ECDSA-SHA256", "--label=key",
                    "--input-file=message", "--output-file=signature", "--signature-format=openssl")
        self.run_as(alice, *tool, "--read-object", "--type=pubkey", "--label=key", "--output-file=key.der")
        self.run_as(alice, "openssl", "dgst", "-sha256", "-verify", "key.der", "-keyform=DER", "-signature", "signature",
                    "message")
        self.no_refusal_in_log()

    def test_clevis(self):
        harness.need("clevis-encrypt-tpm2")
        for settings in ("{}", '{"pcr_bank":"sha256","pcr_ids":"0,7"}'):
            sealed = self.run_as(self.alice, "clevis", "encrypt", "tpm2", settings, text=b"for clevis")
            self.assertEqual(self.run_as(self.alice, "clevis", "decrypt", text=sealed), b"for clevis")
        self.no_refusal_in_log()


class SavedSessions(unittest.TestCase):
    def test_the_log_names_the_owner_of_a_session_file(self):
        harness.need_root()
        with harness.Daemon("embedded", "--socket-mode", "0666") as daemon, User(daemon, ALICE) as alice, \
                User(daemon, BOB) as bob:
            alice("startauthsession", "--policy-session", "-S", "s.ctx")
            (bob.directory / "theirs.ctx").write_bytes((alice.directory / "s.ctx").read_bytes())
            done = bob.run("tpm2_policypassword", "-S", "theirs.ctx")
            self.assertIn(b"0xb01cb", done.stderr.lower())
            daemon.wait_for_log(f"the session in the file was saved by uid {ALICE}, and no other client can load it")
            alice("policypassword", "-S", "s.ctx")


if __name__ == "__main__":
    harness.main()
