"""What `cmake --install` puts where: the systemd units, and the library under the names that tctildr looks for."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import harness


class InstallTest(unittest.TestCase):
    def setUp(self):
        harness.need("cmake")
        temporary = tempfile.TemporaryDirectory(prefix="tpmspace-install-")
        self.addCleanup(temporary.cleanup)
        self.directory = pathlib.Path(temporary.name)

    def install(self, prefix, destdir=None):
        """The units; the unit of the service."""
        environment = dict(os.environ)
        environment.pop("DESTDIR", None)
        if destdir is not None:
            environment["DESTDIR"] = str(destdir)
        subprocess.run(["cmake", "--install", harness.BUILD, "--component", "systemd", "--prefix", prefix], check=True,
                       capture_output=True, env=environment, timeout=harness.TIMEOUT)
        below = pathlib.Path(f"{destdir or ''}{prefix}")
        self.assertTrue((below / "lib/systemd/system/tpmspaced.socket").is_file())
        return below / "lib/systemd/system/tpmspaced.service"

    def program_of(self, unit):
        (program,) = re.findall(r"^ExecStart=(\S+)", unit.read_text(), re.MULTILINE)
        return program

    def test_the_unit_starts_the_program_of_its_own_prefix(self):
        for prefix in ("/usr", "/usr/local", "/opt/tpm", "/"):
            with self.subTest(prefix):
                unit = self.install(prefix, self.directory / f"root{len(prefix)}")
                self.assertEqual(self.program_of(unit), os.path.join(prefix, "bin/tpmspaced"))

    def test_the_build_directory_does_not_remember_a_prefix(self):
        for name in ("one", "two"):
            prefix = self.directory / name
            self.assertEqual(self.program_of(self.install(prefix)), f"{prefix}/bin/tpmspaced")

    def test_systemd_finds_no_fault_in_what_is_installed(self):
        harness.need("systemd-analyze")
        prefix = self.directory / "prefix"
        unit = self.install(prefix)
        (prefix / "bin").mkdir()
        shutil.copy(harness.program("tpmspaced"), prefix / "bin")
        verified = subprocess.run(["systemd-analyze", "verify", "--man=no", unit, unit.with_suffix(".socket")],
                                  capture_output=True, text=True, timeout=harness.TIMEOUT, check=False)
        ours = [line for line in verified.stderr.splitlines() if "tpmspaced" in line]
        self.assertEqual((verified.returncode, ours), (0, []), verified.stderr)


class LibraryNamesTest(unittest.TestCase):
    """tpm2-tools without any setting of ours but where the library is."""

    def setUp(self):
        harness.need("tpm2_getrandom")
        temporary = tempfile.TemporaryDirectory(prefix="tpmspace-names-")
        self.addCleanup(temporary.cleanup)
        self.directory = temporary.name
        self.daemon = self.enterContext(harness.Daemon())

    def tool(self, tcti, link):
        os.symlink(harness.LIBRARY / "libtss2-tcti-space.so.0", f"{self.directory}/{link}")
        environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": self.directory,
                       "TPMSPACE_SOCKET": self.daemon.path}
        if tcti is not None:
            environment["TPM2TOOLS_TCTI"] = tcti
        before = self.daemon.status()["connections_ever"]
        done = subprocess.run(["tpm2_getrandom", "--hex", "8"], capture_output=True, text=True, env=environment,
                              timeout=harness.TIMEOUT, check=False)
        used = self.daemon.status()["connections_ever"] > before + 1  # the second is this status's
        return done, used

    def test_a_program_without_a_setting_uses_the_default_library(self):
        done, used = self.tool(None, "libtss2-tcti-default.so")
        self.assertEqual((done.returncode, used), (0, True), done.stderr)

    def test_a_program_that_is_set_to_abrmd_needs_no_other_setting(self):
        done, used = self.tool("tabrmd:bus_type=session,bus_name=com.example.Other", "libtss2-tcti-tabrmd.so.0")
        self.assertEqual((done.returncode, used), (0, True), done.stderr)

    def test_it_loads_nothing_but_the_c_and_cxx_runtimes(self):
        # A program that loads it must not get another libfmt or libcrypto than its own.
        harness.need("readelf")
        dynamic = subprocess.run(["readelf", "-dW", harness.LIBRARY / "libtss2-tcti-space.so.0"], capture_output=True,
                                 text=True, timeout=harness.TIMEOUT, check=True).stdout
        self.assertIn("Library soname: [libtss2-tcti-space.so.0]", dynamic)
        needed = set(re.findall(r"Shared library: \[([^]]+)\]", dynamic))
        self.assertLessEqual(needed, {"libstdc++.so.6", "libgcc_s.so.1", "libc.so.6", "libm.so.6",
                                      "ld-linux-x86-64.so.2"})
        self.assertIn("libc.so.6", needed)

    def test_the_library_under_its_own_name_knows_no_keys_of_abrmd(self):
        done, used = self.tool("space:bus_type=session", "libtss2-tcti-space.so.0")
        self.assertNotEqual(done.returncode, 0)
        self.assertFalse(used)
        self.assertIn("unknown key", done.stderr)


if __name__ == "__main__":
    harness.main()
