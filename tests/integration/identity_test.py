"""Who is at the other end, and what a client gets of which that is not known.

An orphan is a connection that was made by a process that is gone, and is used by another one: what belongs to the process
is unknown, if it was not read in time. Being unknown gives nobody more than being known.
"""

import collections
import contextlib
import ctypes
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

import harness
from users import RefusalTest

CLEAR = harness.command(0x126, struct.pack(">I", 0x4000000A) + harness.password(), tag=0x8002)
SUCCESS, NO_SUCH_COMMAND = 0, harness.MANAGER | harness.COMMAND_CODE
# Tests run side by side.
ID = f"{os.getpid():064x}"
POD = f"kubepods.slice/kubepods-pod1f5b0a4e_1111_2222_3333_{os.getpid():012x}.slice/cri-containerd-{ID}.scope"
PODMAN = f"machine.slice/libpod-{ID}.scope"
PODS = '[[namespace]]\nname = "pods"\npod = "*"\nprofile = "safe"\n'
CONTAINERS = '[[namespace]]\nname = "containers"\ncontainer = "*"\nprofile = "safe"\n'
ALICE, SERVICE = 21001, 21099  # users without an account
ORPHANS = 40
CLONE_NEWUSER = 0x10000000


@contextlib.contextmanager
def cgroup(path):
    """A cgroup v2 of that path; what a process has to write into to go there."""
    harness.need_root()
    with tempfile.TemporaryDirectory(prefix="tpmspace-cgroup-") as root:
        if subprocess.run(["mount", "-t", "cgroup2", "none", root], capture_output=True, check=False).returncode != 0:
            raise unittest.SkipTest("no cgroup v2 here")
        made = []
        try:
            at = pathlib.Path(root)
            for name in path.split("/"):
                at = at / name
                if not at.exists():
                    at.mkdir()
                    made.append(at)
            yield at / "cgroup.procs"
        finally:
            for at in reversed(made):
                with contextlib.suppress(OSError):
                    at.rmdir()
            subprocess.run(["umount", root], check=True)


def go_to(procs):
    procs.write_text(str(os.getpid()))


def in_child(act):
    """What `act` returns, called in a process of its own."""
    hear, say = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(say, json.dumps(act()).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(say)
    with os.fdopen(hear, "rb") as result:
        text = result.read()
    assert os.waitpid(child, 0)[1] == 0, "the child failed"
    return json.loads(text)


@contextlib.contextmanager
def stopped(daemon):
    """Meanwhile the daemon does nothing, so those who connect wait in the kernel."""
    daemon.signal(signal.SIGSTOP)
    stat = pathlib.Path(f"/proc/{daemon.pid}/stat")
    daemon.wait_until(lambda: stat.read_text().rpartition(") ")[2].startswith("T"), "it has stopped")
    try:
        yield
    finally:
        daemon.signal(signal.SIGCONT)


def codes_of_orphans(daemon, command, before=lambda: None, count=ORPHANS, path=None):
    """How often each code was the answer to orphans of a process that did `before` first."""

    def act():
        before()
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(count)]
            child = os.fork()
            if child == 0:
                for one in sockets:
                    one.connect(path or daemon.path)
                os._exit(0)
            os.waitpid(child, 0)
            os.kill(daemon.pid, signal.SIGCONT)
            return [harness.code_of(harness.Client(one).command(command)) for one in sockets]

    with stopped(daemon):
        return dict(collections.Counter(in_child(act)))


def code_of_client(path, command, before=lambda: None):
    """Of a process that lives."""

    def act():
        before()
        with harness.Client(path) as client:
            return harness.code_of(client.command(command))

    return in_child(act)


class Orphans(RefusalTest):
    @contextlib.contextmanager
    def daemon(self, config=None, **options):
        harness.need_root()
        with harness.Daemon("embedded", "--socket-mode", "0666", config=config, **options) as daemon:
            os.chmod(daemon.directory, 0o755)
            yield daemon

    def test_of_a_pod_are_no_administrators(self):
        with cgroup(POD) as procs, self.daemon(PODS) as daemon:
            self.assertEqual(codes_of_orphans(daemon, CLEAR, lambda: go_to(procs)), {NO_SUCH_COMMAND: ORPHANS})
            self.assertEqual(codes_of_orphans(daemon, harness.get_random(), lambda: go_to(procs)),
                             {SUCCESS: ORPHANS})
            self.assertEqual(code_of_client(daemon.path, CLEAR, lambda: go_to(procs)), NO_SUCH_COMMAND)
            daemon.wait_for_log("gets the least of what it could be")
            self.assertEqual(code_of_client(daemon.path, CLEAR), SUCCESS, "the machine's root")

    def test_of_a_container_are_no_administrators(self):
        with cgroup(PODMAN) as procs, self.daemon(CONTAINERS) as daemon:
            self.assertEqual(codes_of_orphans(daemon, CLEAR, lambda: go_to(procs)), {NO_SUCH_COMMAND: ORPHANS})
            self.assertEqual(code_of_client(daemon.path, CLEAR), SUCCESS)

    def test_are_no_administrators_where_nothing_is_configured_either(self):
        with cgroup(PODMAN) as procs, self.daemon() as daemon:
            for before in (lambda: go_to(procs), lambda: None):
                self.assertEqual(codes_of_orphans(daemon, CLEAR, before), {NO_SUCH_COMMAND: ORPHANS})
            self.assertEqual(code_of_client(daemon.path, CLEAR, lambda: go_to(procs)), NO_SUCH_COMMAND)
            self.assertEqual(code_of_client(daemon.path, CLEAR), SUCCESS)

    def test_of_a_user_with_more_by_a_rule_get_no_more_than_safe(self):
        config = f'[[rule]]\nuser = {ALICE}\nprofile = "admin"\n[[rule]]\nuser = 0\nprofile = "admin"\n'
        with self.daemon(config) as daemon:
            self.assertEqual(codes_of_orphans(daemon, CLEAR, lambda: os.setuid(ALICE)),
                             {NO_SUCH_COMMAND: ORPHANS})
            self.assertEqual(codes_of_orphans(daemon, CLEAR), {NO_SUCH_COMMAND: ORPHANS})
            self.assertEqual(code_of_client(daemon.path, CLEAR, lambda: os.setuid(ALICE)), SUCCESS)

    def test_by_a_listener_with_a_profile_get_the_listeners_profile(self):
        """Unless they may be in a namespace instead: then no more than safe."""
        extend = harness.command(0x182, struct.pack(">I", 16) + harness.password() + struct.pack(">I", 0), tag=0x8002)
        profile = '[profile.extends]\nbase = "safe"\nallow = ["pcr-extend"]\npcr.extend = [16]\n'
        with tempfile.TemporaryDirectory(prefix="tpmspace-listeners-") as directory, cgroup(POD) as procs:
            os.chmod(directory, 0o755)
            path = f"{directory}/listener"
            listener = f'{profile}[[listener]]\npath = "{path}"\nprofile = "extends"\n'
            for config, code in ((listener, SUCCESS), (listener + PODS, NO_SUCH_COMMAND)):
                with self.daemon(config) as daemon:
                    for before in (lambda: go_to(procs), lambda: None):
                        self.assertEqual(codes_of_orphans(daemon, CLEAR, before, path=path), {NO_SUCH_COMMAND: ORPHANS})
                        self.assertEqual(codes_of_orphans(daemon, extend, before, path=path), {code: ORPHANS})

    def test_of_another_user_namespace_are_no_administrators(self):
        with self.daemon() as daemon:
            self.assertEqual(code_of_client(daemon.path, CLEAR, unshare_user), NO_SUCH_COMMAND)
            self.assertEqual(codes_of_orphans(daemon, CLEAR, unshare_user), {NO_SUCH_COMMAND: ORPHANS})

    def test_inherit_nothing(self):
        """Not the session that root saved, which root's next program loads."""
        with self.daemon(PODS) as daemon:
            with daemon.connect() as root:
                session = harness.handle_of(root.run(harness.start_auth_session()))
                saved = root.run(harness.command(harness.CONTEXT_SAVE, struct.pack(">I", session)))[10:]
            load = harness.command(harness.CONTEXT_LOAD, saved)
            self.assertEqual(codes_of_orphans(daemon, load, count=5), {harness.MANAGER | 0x1CB: 5})
            with daemon.connect() as root:
                root.run(load)

    def test_are_said_in_records_and_lists(self):
        with tempfile.TemporaryDirectory(prefix="tpmspace-audit-") as directory:
            with self.daemon(f'audit = "{directory}/audit"\n') as daemon:
                self.assertEqual(codes_of_orphans(daemon, CLEAR, count=1), {NO_SUCH_COMMAND: 1})
                daemon.wait_until(lambda: os.path.getsize(f"{directory}/audit") > 0, "there is a record")
                record = json.loads(pathlib.Path(directory, "audit").read_text().splitlines()[0])
                self.assertEqual((record["uid"], record["identity"], record["command"]), (0, "in doubt", "TPM2_Clear"))


def unshare_user():
    if ctypes.CDLL(None).unshare(CLONE_NEWUSER) != 0:
        os._exit(77)


class Known(RefusalTest):
    """Whoever is known stays so, and the machine's root is never locked out."""

    # As the unit of packaging/systemd: no root, no capability, so no /proc/PID/exe and no /proc/PID/ns.
    AS_SERVICE = ("setpriv", f"--reuid={SERVICE}", f"--regid={SERVICE}", "--clear-groups", "--bounding-set=-all",
                  "--inh-caps=-all", "--no-new-privs")
    # Beside that, in a /proc that shows it no processes but its own.
    WITHOUT_PROC = ("unshare", "--mount", "sh", "-c", 'mount -t proc -o hidepid=invisible proc /proc && exec "$@"', "sh")

    @contextlib.contextmanager
    def service(self, config=None, prefix=AS_SERVICE):
        harness.need_root()
        harness.need("setpriv")
        with tempfile.TemporaryDirectory(prefix="tpmspace-service-") as directory:
            os.chown(directory, SERVICE, SERVICE)
            os.chmod(directory, 0o755)
            file = pathlib.Path(directory, "config.toml")
            file.write_text(config or "")
            with harness.Daemon("embedded", "--socket-mode", "0666", "--config", str(file), prefix=prefix,
                                socket_path=f"{directory}/tpm.sock", wait=False) as daemon:
                os.chmod(daemon.directory, 0o755)
                os.chmod(daemon.directory / "notify", 0o777)
                daemon.wait_until(lambda: os.path.exists(daemon.path), "it serves")
                yield daemon

    def test_root_administers_the_shipped_unit(self):
        rules = ('[[rule]]\nexecutable = "/usr/sbin/nginx"\nprofile = "safe"\n'
                 '[[rule]]\nmount_namespace = 7\nprofile = "safe"\n'
                 '[[namespace]]\nname = "n"\nuser_namespace = 7\nprofile = "safe"\n')
        for config in (None, rules, rules + PODS + CONTAINERS):
            with self.service(config) as daemon, cgroup(POD) as pod, cgroup(f"user.slice/session-{os.getpid()}.scope") as shell, \
                    cgroup(f"system.slice/provision-{os.getpid()}.service") as unit:
                for place in (None, shell, unit):
                    before = (lambda: go_to(place)) if place else lambda: None
                    self.assertEqual(code_of_client(daemon.path, CLEAR, before), SUCCESS, (config, place))
                self.assertEqual(code_of_client(daemon.path, CLEAR, lambda: go_to(pod)), NO_SUCH_COMMAND)
                self.assertEqual(code_of_client(daemon.path, CLEAR, unshare_user), NO_SUCH_COMMAND)
                self.assertEqual(code_of_client(daemon.path, CLEAR, lambda: os.setuid(SERVICE)), SUCCESS)
                self.assertEqual(codes_of_orphans(daemon, CLEAR, lambda: go_to(pod)), {NO_SUCH_COMMAND: ORPHANS})

    def test_root_administers_where_proc_hides_it(self):
        """docs/identity.md: unless the policy asks where it is."""
        prefix = (*self.WITHOUT_PROC, *self.AS_SERVICE)
        with self.service(prefix=prefix) as daemon:
            daemon.wait_for_log("cannot see the processes of other users")
            self.assertEqual(code_of_client(daemon.path, CLEAR), SUCCESS)
            self.assertEqual(codes_of_orphans(daemon, CLEAR), {NO_SUCH_COMMAND: ORPHANS})
        with self.service(PODS, prefix=prefix) as daemon:
            self.assertEqual(code_of_client(daemon.path, CLEAR), NO_SUCH_COMMAND)
            own = [*self.AS_SERVICE, harness.program("tpmspace"), "flush", "--abandoned", "--socket", daemon.path]
            done = subprocess.run(own, capture_output=True, text=True, timeout=harness.TIMEOUT, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), "its own user")

    def test_a_launcher_that_had_an_answer_is_known_when_it_is_gone(self):
        harness.need_root()
        with harness.Daemon("embedded", config=PODS + CONTAINERS) as daemon:

            def act():
                ours, theirs = socket.socketpair()
                child = os.fork()
                if child == 0:
                    client = harness.Client(daemon.path)
                    client.hello()
                    socket.send_fds(theirs, [b"x"], [client.socket.fileno()])
                    os._exit(0)
                _, (fd,), _, _ = socket.recv_fds(ours, 1, 1)
                os.waitpid(child, 0)
                return harness.code_of(harness.Client(socket.socket(fileno=fd)).command(CLEAR))

            self.assertEqual(in_child(act), SUCCESS)

    def test_an_executable_is_known_of_a_program_that_sends_something(self):
        harness.need_root()
        with tempfile.TemporaryDirectory(prefix="tpmspace-audit-") as directory:
            with harness.Daemon("embedded", config=f'audit = "{directory}/audit"\n') as daemon:
                self.assertEqual(code_of_client(daemon.path, CLEAR, unshare_user), NO_SUCH_COMMAND)
                daemon.wait_until(lambda: os.path.getsize(f"{directory}/audit") > 0, "there is a record")
                record = json.loads(pathlib.Path(directory, "audit").read_text().splitlines()[0])
                self.assertEqual(record["executable"], os.path.realpath(sys.executable))



class Subordinates(RefusalTest):
    # Lends 4000000 to 4065535 to "daemon", as sssd would; libsubid loads it as nsswitch.conf says.
    SERVICE = """
        #include <stdbool.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/types.h>
        struct subid_range { unsigned long start, count; };
        int shadow_subid_has_range(const char *o, unsigned long s, unsigned long c, int t, bool *r) { *r = false; return 0; }
        int shadow_subid_find_subid_owners(unsigned long id, int t, uid_t **u, int *n) { *n = 0; return 0; }
        void shadow_subid_free(void *p) { free(p); }
        int shadow_subid_list_owner_ranges(const char *owner, int type, struct subid_range **ranges, int *count) {
          *count = strcmp(owner, "daemon") == 0 && type == 1;
          *ranges = malloc(sizeof **ranges);
          (*ranges)->start = 4000000, (*ranges)->count = 65536;
          return 0;
        }
    """

    def test_of_a_directory_service_count_as_the_user_they_are_lent_to(self):
        harness.need_root()
        harness.need("cc")
        if subprocess.run(["sh", "-c", "ldconfig -p | grep -q libsubid.so"], check=False).returncode != 0:
            raise unittest.SkipTest("libsubid is not installed")
        with tempfile.TemporaryDirectory(prefix="tpmspace-subid-") as directory:
            pathlib.Path(directory, "lend.c").write_text(self.SERVICE)
            subprocess.run(["cc", "-shared", "-fPIC", "-o", f"{directory}/libsubid_lend.so", f"{directory}/lend.c"],
                           check=True)
            pathlib.Path(directory, "nsswitch.conf").write_text("passwd: files\nsubid: lend\n")
            prefix = ("unshare", "--mount", "sh", "-c",
                      f'mount --bind {directory}/nsswitch.conf /etc/nsswitch.conf && exec "$@"', "sh")
            with harness.Daemon("embedded", "--socket-mode", "0666", prefix=prefix,
                                environment={"LD_LIBRARY_PATH": directory}) as daemon:
                os.chmod(daemon.directory, 0o755)
                owners = []
                for uid in (4000000, 4065535, 4065536):
                    with harness.effective_user(uid):
                        client = self.enterContext(daemon.connect())
                    client.run(harness.start_auth_session())
                    listed = subprocess.run([harness.program("tpmspace"), "sessions", "--json", "--socket", daemon.path],
                                            capture_output=True, check=True, timeout=harness.TIMEOUT)
                    owners.append(sorted(one["uid"] for one in json.loads(listed.stdout)["sessions"]))
                self.assertEqual(owners, [[1], [1, 1], [1, 1, 4065536]])


if __name__ == "__main__":
    harness.main()
