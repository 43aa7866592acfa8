"""What `cmake --install` puts where: the systemd units, and the library under the names that tctildr looks for."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import harness

PREFIXES = ("/usr", "/usr/local", "/opt/tpm", "/")


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
        for prefix in PREFIXES:
            with self.subTest(prefix):
                unit = self.install(prefix, self.directory / f"root{len(prefix)}")
                self.assertEqual(self.program_of(unit), os.path.join(prefix, "bin/tpmspaced"))

    def test_the_build_directory_does_not_remember_a_prefix(self):
        for name in ("one", "two"):
            prefix = self.directory / name
            self.assertEqual(self.program_of(self.install(prefix)), f"{prefix}/bin/tpmspaced")

    def test_systemd_finds_no_fault_in_the_installed_units(self):
        harness.need("systemd-analyze")
        for prefix in PREFIXES:
            with self.subTest(prefix):
                root = self.directory / f"root{len(prefix)}"
                self.install(prefix, root)
                # Files that the units need and other packages install.
                sysinit = root / "etc/systemd/system/sysinit.target"
                sysinit.parent.mkdir(parents=True)
                sysinit.write_text("[Unit]\n")
                for program in (os.path.join(prefix, "bin/tpmspaced"), "/bin/kill"):
                    self.put_program(pathlib.Path(f"{root}{program}"))
                path = f"{os.path.join(prefix, 'lib/systemd/system')}:/etc/systemd/system"
                verified = subprocess.run(
                    ["systemd-analyze", "verify", "--man=no", f"--root={root}", "tpmspaced.service", "tpmspaced.socket"],
                    capture_output=True, text=True, env={**os.environ, "SYSTEMD_UNIT_PATH": path},
                    timeout=harness.TIMEOUT, check=False)
                self.assertEqual((verified.returncode, verified.stderr), (0, ""))

    def put_program(self, path):
        """Something that can be executed; nothing runs it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)


class LibraryLinksTest(unittest.TestCase):
    """-DTPMSPACE_TCTI_LINKS. Nothing is compiled: the library of this build stands in for one of the other build."""

    def setUp(self):
        harness.need("cmake")
        harness.need("ninja")
        temporary = tempfile.TemporaryDirectory(prefix="tpmspace-links-")
        self.addCleanup(temporary.cleanup)
        self.directory = pathlib.Path(temporary.name)

    def configure(self, links):
        return subprocess.run(["cmake", "-S", harness.SOURCE, "-B", self.directory / "build", "-G", "Ninja",
                               f"-DTPMSPACE_TCTI_LINKS={links}", "-DCMAKE_INSTALL_LIBDIR=lib"],
                              capture_output=True, text=True, timeout=harness.TIMEOUT, check=False)

    def install(self, links):
        """The directory of the libraries."""
        configured = self.configure(links)
        self.assertEqual(configured.returncode, 0, configured.stderr)
        (self.directory / "build/lib").mkdir(exist_ok=True)
        for name in ("libtss2-tcti-space.so.0", "libtss2-tcti-space.so"):
            shutil.copy(harness.LIBRARY / name, self.directory / "build/lib", follow_symlinks=False)
        subprocess.run(["cmake", "--install", self.directory / "build", "--component", "tcti", "--prefix", "/usr"],
                       check=True, capture_output=True, env={**os.environ, "DESTDIR": str(self.directory / "root")},
                       timeout=harness.TIMEOUT)
        return self.directory / "root/usr/lib"

    def test_the_library_is_installed_under_the_names_that_were_asked_for(self):
        installed = self.install("default;tabrmd")
        for name in ("libtss2-tcti-default.so", "libtss2-tcti-tabrmd.so.0"):
            self.assertEqual(os.readlink(installed / name), "libtss2-tcti-space.so.0")
            self.assertTrue((installed / name).is_file())

    def test_the_installation_serves_programs_without_a_setting_and_with_abrmds(self):
        harness.need("tpm2_getrandom")
        daemon = self.enterContext(harness.Daemon())
        environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(self.install("default;tabrmd")),
                       "TPMSPACE_SOCKET": daemon.path}
        for setting in ({}, {"TPM2TOOLS_TCTI": "tabrmd:bus_type=system"}):
            with self.subTest(setting):
                before = daemon.status()["connections_ever"]
                subprocess.run(["tpm2_getrandom", "--hex", "8"], capture_output=True, env={**environment, **setting},
                               timeout=harness.TIMEOUT, check=True)
                self.assertGreater(daemon.status()["connections_ever"], before + 1, "the second is this status's")

    def test_without_being_asked_it_has_its_own_name_only(self):
        self.assertEqual({path.name for path in self.install("").iterdir()},
                         {"libtss2-tcti-space.so.0", "libtss2-tcti-space.so"})

    def test_an_unknown_name_is_refused(self):
        refused = self.configure("default;abrmd")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn('"abrmd" is neither "default" nor "tabrmd"', " ".join(refused.stderr.split()))


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
