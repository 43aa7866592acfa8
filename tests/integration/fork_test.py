"""Programs that fork: each process has its own responses, inherits objects, and never uses another one's session
(docs/fork.md). With raw commands over the TCTI library, and with nginx and tpm2-openssl.

The library is the release one (a sanitized library cannot be loaded into somebody else's program); the daemon is that of
TPMSPACE_BUILD.
"""

import ctypes
import os
import pathlib
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import unittest
from concurrent.futures import ThreadPoolExecutor

import harness

SIGN, GET_TEST_RESULT, CLEAR, UNSEAL = 0x15D, 0x17C, 0x126, 0x15E
IO_ERROR, BAD_SEQUENCE = 0xA000A, 0xA0007
REFERENCE_S0, COMMAND_CODE = 0x918, 0x143
WORKER = 33  # www-data


class Tcti:
    """A TCTI context, through the C interface of the library."""

    def __init__(self, config):
        library = ctypes.CDLL(str(harness.LIBRARY / "libtss2-tcti-space.so.0"))
        init = library.Tss2_Tcti_Space_Init
        size = ctypes.c_size_t()
        assert init(None, ctypes.byref(size), config.encode()) == 0
        self._memory = ctypes.create_string_buffer(size.value)
        rc = init(self._memory, ctypes.byref(size), config.encode())
        assert rc == 0, f"initialising {config}: 0x{rc:x}"
        # TSS2_TCTI_CONTEXT_COMMON_V1: magic and version (8 bytes each), transmit, receive, finalize, cancel, ...
        table = ctypes.cast(self._memory, ctypes.POINTER(ctypes.c_void_p))
        context = ctypes.c_void_p
        self._transmit = ctypes.CFUNCTYPE(ctypes.c_uint32, context, ctypes.c_size_t, ctypes.c_char_p)(table[2])
        self._receive = ctypes.CFUNCTYPE(ctypes.c_uint32, context, ctypes.POINTER(ctypes.c_size_t), ctypes.c_char_p,
                                         ctypes.c_int32)(table[3])
        self._finalize = ctypes.CFUNCTYPE(None, context)(table[4])

    def transmit(self, command):
        return self._transmit(ctypes.addressof(self._memory), len(command), command)

    def receive(self):
        """The response, or the TCTI's code."""
        size = ctypes.c_size_t(4096)
        room = ctypes.create_string_buffer(4096)
        rc = self._receive(ctypes.addressof(self._memory), ctypes.byref(size), room, -1)
        return room.raw[:size.value] if rc == 0 else rc

    def ask(self, command):
        rc = self.transmit(command)
        return self.receive() if rc == 0 else rc

    def run(self, command):
        """A command that must succeed."""
        response = self.ask(command)
        assert isinstance(response, bytes), f"0x{response:x}"
        assert harness.code_of(response) == 0, f"response code 0x{harness.code_of(response):08x}"
        return response

    def code(self, command):
        response = self.ask(command)
        return harness.code_of(response) if isinstance(response, bytes) else response

    def random(self, count):
        """How many random bytes came."""
        return struct.unpack(">H", self.run(harness.get_random(count))[10:12])[0]

    def finalize(self):
        self._finalize(ctypes.addressof(self._memory))


def sign(key):
    digest = struct.pack(">H", 32) + bytes(32)
    ticket = struct.pack(">HIH", 0x8024, 0x40000007, 0)
    return harness.command(SIGN, struct.pack(">I", key) + harness.password() + digest + struct.pack(">H", 0x0010) + ticket,
                           tag=0x8002)


def random_under(session):
    """GetRandom that the session audits; its HMAC is that of a session without a secret."""
    authorization = struct.pack(">IHBH", session, 0, 0x81, 0)
    return harness.command(harness.GET_RANDOM, struct.pack(">I", len(authorization)) + authorization + struct.pack(">H", 4),
                           tag=0x8002)


def child(does):
    """Forks; the child's pid. It ends with 0 unless `does` raises something."""
    pid = os.fork()
    if pid != 0:
        return pid
    code = 1
    try:
        does()
        code = 0
    except BaseException:  # pylint: disable=broad-except
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def stderr_of(does):
    """What is written to this process's stderr, and its children's, meanwhile."""
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            does()
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        file.seek(0)
        return file.read().decode()


class Gate:
    """One process waits until another one opens it."""

    def __init__(self):
        self._read, self._write = os.pipe()

    def open(self):
        os.write(self._write, b"x")

    def wait(self):
        assert os.read(self._read, 1) == b"x"


class ForkCase(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(harness.Daemon())
        self.tcti = Tcti(self.daemon.path)

    def end_well(self, *children):
        for pid in children:
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)


class Fork(ForkCase):
    def test_three_children_get_their_own_responses(self):
        self.tcti.random(4)

        def asks(count):
            for _ in range(200):
                assert self.tcti.random(count) == count

        self.end_well(*[child(lambda count=count: asks(count)) for count in (5, 8, 11)])
        self.assertEqual(self.tcti.random(16), 16)

    def test_parent_and_children_ask_at_once(self):
        self.tcti.random(4)

        def asks(count):
            for _ in range(100):
                assert self.tcti.random(count) == count

        children = [child(lambda count=count: asks(count)) for count in (5, 8)]
        asks(11)
        self.end_well(*children)

    def test_a_parent_that_awaits_a_response_waits_for_a_child_that_asks(self):
        self.tcti.random(4)
        self.assertEqual(self.tcti.transmit(harness.get_random(8)), 0)

        def asks():
            assert self.tcti.receive() == BAD_SEQUENCE
            assert self.tcti.random(16) == 16

        self.end_well(child(asks))
        self.assertEqual(self.tcti.receive()[10:12], b"\x00\x08")

    def test_children_of_children_inherit_the_key(self):
        key = harness.handle_of(self.tcti.run(harness.create_primary()))
        name = self.tcti.run(harness.command(harness.READ_PUBLIC, struct.pack(">I", key)))

        def descend(generations):
            assert self.tcti.run(harness.command(harness.READ_PUBLIC, struct.pack(">I", key))) == name
            self.tcti.run(sign(key))
            if generations > 0:
                pid = child(lambda: descend(generations - 1))
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

        self.end_well(child(lambda: descend(4)))
        self.tcti.run(sign(key))

    def test_the_key_outlives_a_parent_that_goes_into_the_background(self):
        """As daemons do: the process that loaded the key ends, its child goes on, and uses the TPM only then."""
        ended, done = Gate(), Gate()

        def starts():
            tcti = Tcti(self.daemon.path)
            key = harness.handle_of(tcti.run(harness.create_primary()))

            def serves():
                ended.wait()
                tcti.random(4)
                for pid in [child(lambda: tcti.run(sign(key))) for _ in range(3)]:
                    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
                tcti.run(sign(key))
                done.open()

            child(serves)
            tcti.finalize()

        self.end_well(child(starts))
        ended.open()
        done.wait()

    def test_a_child_that_flushes_and_finalizes_disturbs_no_other(self):
        key = harness.handle_of(self.tcti.run(harness.create_primary()))

        def lets_go():
            self.tcti.run(harness.flush_context(key))
            assert self.tcti.code(sign(key)) == harness.MANAGER | harness.REFERENCE_H0
            self.tcti.finalize()

        self.end_well(child(lets_go), child(self.tcti.finalize), child(lambda: None))
        self.tcti.run(sign(key))
        self.end_well(child(lambda: self.tcti.run(sign(key))))

    def test_objects_of_dead_workers_are_gone(self):
        key = harness.handle_of(self.tcti.run(harness.create_primary()))

        def works():
            self.tcti.run(harness.create_primary())
            self.tcti.run(harness.start_auth_session())
            self.tcti.run(sign(key))

        for _ in range(70):
            self.end_well(child(works))
        self.daemon.wait_until(lambda: self.daemon.status()["spaces_objects"] == 1, "only the parent's key is left")
        self.assertEqual(self.daemon.status()["spaces_sessions"], 0)

    def test_an_inherited_session_is_refused_before_the_tpm(self):
        session = harness.handle_of(self.tcti.run(harness.start_auth_session()))
        self.tcti.run(random_under(session))

        def uses_it():
            assert self.tcti.code(random_under(session)) == harness.MANAGER | REFERENCE_S0
            own = harness.handle_of(self.tcti.run(harness.start_auth_session()))
            assert own != session
            self.tcti.run(random_under(own))
            self.tcti.run(harness.flush_context(session))
            self.tcti.run(harness.flush_context(own))

        self.end_well(child(uses_it), child(uses_it))
        self.tcti.run(random_under(session))

    def test_a_program_that_is_executed_inherits_nothing(self):
        self.tcti.random(4)
        script = "import os; print(sorted(os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') " \
                 "if os.path.exists(f'/proc/self/fd/{n}') or True))"
        out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False,
                             close_fds=False).stdout
        self.assertNotIn("socket:", out)

    def test_without_the_manager_a_child_is_told_why(self):
        self.tcti.random(4)
        self.daemon.stop()

        def asks():
            assert self.tcti.transmit(harness.get_random(8)) == IO_ERROR
            assert self.tcti.receive() == BAD_SEQUENCE

        said = stderr_of(lambda: self.end_well(child(asks)))
        self.assertIn("fork()", said)

    def test_after_a_restart_of_the_manager_a_child_is_told_why(self):
        self.tcti.random(4)
        self.daemon.stop()
        with harness.Daemon(socket_path=self.daemon.path):

            def asks():
                assert self.tcti.transmit(harness.get_random(8)) == IO_ERROR

            said = stderr_of(lambda: self.end_well(child(asks)))
        self.assertIn("fork()", said)
        self.assertIn("no longer exists", said)


class Identity(ForkCase):
    """The parent is root, the child another user."""

    def setUp(self):
        harness.need_root()
        super().setUp()
        os.chmod(self.daemon.directory, 0o755)

    @staticmethod
    def become_worker():
        os.setgroups([])
        os.setresgid(WORKER, WORKER, WORKER)
        os.setresuid(WORKER, WORKER, WORKER)

    def test_a_worker_uses_the_key_and_has_no_more_rights_than_its_own(self):
        key = harness.handle_of(self.tcti.run(harness.create_primary()))
        clear = harness.command(CLEAR, struct.pack(">I", 0x4000000A) + harness.password(), tag=0x8002)

        def works():
            self.become_worker()
            self.tcti.run(sign(key))
            assert self.tcti.code(clear) == harness.MANAGER | COMMAND_CODE

        self.end_well(child(works), child(works))
        self.assertEqual(self.tcti.code(clear), 0, "its parent may")

    def test_a_privileged_child_has_no_more_rights_than_its_parent(self):
        """The effective user changes, so that the connection is made by another one."""
        done = Gate()

        def starts():
            os.seteuid(WORKER)
            tcti = Tcti(self.daemon.path)
            tcti.random(4)
            clear = harness.command(CLEAR, struct.pack(">I", 0x4000000A) + harness.password(), tag=0x8002)

            def becomes_root():
                os.seteuid(0)
                assert tcti.code(clear) == harness.MANAGER | COMMAND_CODE
                assert Tcti(self.daemon.path).code(clear) == 0, "a connection without a parent may"

            pid = child(becomes_root)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            done.open()

        self.end_well(child(starts))
        done.wait()

    def test_a_socket_that_the_worker_may_not_open(self):
        self.tcti.random(4)
        os.chmod(self.daemon.path, 0o600)

        def works():
            self.become_worker()
            assert self.tcti.transmit(harness.get_random(8)) == IO_ERROR

        said = stderr_of(lambda: self.end_well(child(works)))
        self.assertIn("fork()", said)
        self.assertIn("cannot connect", said)


SHARE, JOIN, SYNC, SESSIONS, NARROW, CLIENTS = 13, 14, 17, 5, 7, 15
DISABLED = 0x120


class Protocol(ForkCase):
    """Share and Join, spoken by hand."""

    token = bytes(range(32))

    def shared(self):
        """A connection with a key, that can be joined; the key's handle."""
        client = self.enterContext(self.daemon.connect())
        client.hello()
        key = harness.handle_of(client.run(harness.create_primary()))
        self.assertEqual(client.control(SHARE, self.token)[0], 0)
        return client, key

    def joining(self):
        client = self.enterContext(self.daemon.connect())
        client.hello()
        return client

    def join(self, client, token=None, sent=1):
        return client.control(JOIN, (token or self.token) + struct.pack(">Q", sent))[0]

    def test_a_process_with_the_token_has_the_key(self):
        _, key = self.shared()
        client = self.joining()
        self.assertEqual(self.join(client), 0)
        client.run(sign(key))

    def test_a_wrong_token_ends_the_connection(self):
        self.shared()
        client = self.joining()
        self.assertEqual(self.join(client, bytes(32)), harness.MANAGER | harness.VALUE)
        self.assertTrue(client.is_closed())

    def test_a_token_ends_with_its_connection(self):
        client, _ = self.shared()
        client.close()
        self.daemon.wait_until(lambda: self.join(self.joining()) == harness.MANAGER | harness.VALUE, "it is gone")

    def test_a_narrowed_connection_is_not_joined(self):
        client, _ = self.shared()
        self.assertEqual(client.control(NARROW, struct.pack(">H", 4) + b"safe")[0], 0)
        self.assertEqual(self.join(self.joining()), harness.MANAGER | harness.VALUE)
        self.assertEqual(client.control(SHARE, bytes(32))[0], harness.MANAGER | harness.SEQUENCE)
        narrowed = self.joining()
        self.assertEqual(narrowed.control(NARROW, struct.pack(">H", 4) + b"safe")[0], 0)
        self.assertEqual(narrowed.control(SHARE, bytes(32))[0], harness.MANAGER | DISABLED)

    def test_a_guest_of_another_user_does_not_see_the_owners_share(self):
        harness.need_root()
        os.chmod(self.daemon.directory, 0o755)
        _, key = self.shared()
        with harness.effective_user(WORKER):
            client = self.joining()
        self.assertEqual(self.join(client), 0)
        client.run(sign(key))
        self.assertEqual(client.control(SESSIONS)[0], harness.MANAGER | DISABLED)
        self.assertEqual(client.control(CLIENTS, bytes(8))[0], harness.MANAGER | DISABLED)
        self.assertEqual(client.status()["connections_now"], 1)


class OneDescriptor(ForkCase):
    """Processes that inherit the one connection of `tpmspace open`."""

    def run_in_open(self, name):
        """Runs a function of this module in a program with a narrowed connection."""
        library = str(pathlib.Path(__file__).resolve().parent)
        code = f"import sys; sys.path.insert(0, {library!r}); import os, fork_test; " \
               f"fork_test.{name}(os.environ['TPM2TOOLS_TCTI'].removeprefix('space:'))"
        line = [str(harness.LIBRARY.parent / "bin/tpmspace"), "open", "--profile", "safe", "--socket", self.daemon.path,
                "--", sys.executable, "-c", code]
        environment = {**os.environ, "TPMSPACE_TCTI": str(harness.LIBRARY), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(line, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=harness.TIMEOUT, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_processes_with_contexts_of_their_own_take_turns(self):
        self.run_in_open("ask_from_three_contexts")

    def test_children_of_one_context_take_turns(self):
        self.run_in_open("ask_from_one_context")

    def test_a_process_that_is_killed_leaves_no_response_behind(self):
        self.run_in_open("ask_after_one_was_killed")

    def test_a_process_that_closes_the_descriptor_gets_no_response_of_another(self):
        self.run_in_open("ask_after_one_closed_the_descriptor")


def asks_in(tcti, count):
    for _ in range(100):
        assert tcti.random(count) == count


def wait_for(*children):
    for pid in children:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def ask_from_three_contexts(config):
    wait_for(*[child(lambda count=count: asks_in(Tcti(config), count)) for count in (5, 8, 11)])


def ask_from_one_context(config):
    tcti = Tcti(config)
    tcti.random(4)
    children = [child(lambda count=count: asks_in(tcti, count)) for count in (5, 8)]
    asks_in(tcti, 11)
    wait_for(*children)


def ask_after_one_closed_the_descriptor(config):
    """The kernel gives its turn away when a process closes any descriptor of the socket."""
    closed, asked = Gate(), Gate()

    def sends_and_closes():
        tcti = Tcti(config)
        assert tcti.transmit(harness.get_random(16)) == 0
        os.close(int(config.split("fd=")[1].split(",")[0]))
        closed.open()
        asked.wait()
        assert tcti.receive() == IO_ERROR

    pid = child(sends_and_closes)
    closed.wait()
    own = Tcti(config)
    assert own.transmit(harness.get_random(8)) == 0
    asked.open()
    wait_for(pid)
    assert len(own.receive()) == 12 + 8


def ask_after_one_was_killed(config):
    sent = Gate()

    def sends_and_sleeps():
        assert Tcti(config).transmit(harness.get_random(5)) == 0
        sent.open()
        time.sleep(harness.TIMEOUT)

    for _ in range(3):
        pid = child(sends_and_sleeps)
        sent.wait()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert Tcti(config).random(8) == 8


class Nginx(ForkCase):
    """nginx with a TLS key in the TPM, through tpm2-openssl."""

    REQUESTS = 150

    def setUp(self):
        harness.need("nginx")
        harness.need("openssl")
        if not list(pathlib.Path("/usr/lib").glob("*/ossl-modules/tpm2.so")):
            raise unittest.SkipTest("tpm2-openssl is not installed")
        super().setUp()
        os.chmod(self.daemon.directory, 0o755)
        temporary = tempfile.TemporaryDirectory(prefix="tpmspace-nginx-")
        self.addCleanup(temporary.cleanup)
        self.directory = pathlib.Path(temporary.name)
        os.chmod(self.directory, 0o755)
        self.tcti.finalize()
        self.environment = {**os.environ, "TPM2OPENSSL_TCTI": f"space:path={self.daemon.path}",
                            "LD_LIBRARY_PATH": str(harness.LIBRARY),
                            "OPENSSL_CONF": str(self.directory / "openssl.cnf")}
        self.environment.pop("LD_PRELOAD", None)
        (self.directory / "openssl.cnf").write_text(
            "openssl_conf = init\n[init]\nproviders = providers\nalg_section = properties\n[properties]\n"
            "default_properties = ?provider=tpm2,tpm2.digest!=yes,tpm2.cipher!=yes\n[providers]\ndefault = of_default\ntpm2 = of_tpm2\n"
            "[of_default]\nactivate = 1\n[of_tpm2]\nactivate = 1\n"
            "[req]\ndistinguished_name = name\n[name]\n")

    def openssl(self, *line):
        done = subprocess.run(["openssl", *line], env=self.environment, capture_output=True, text=True,
                              timeout=harness.TIMEOUT, check=False)
        self.assertEqual(done.returncode, 0, f"openssl {' '.join(line)}\n{done.stderr}")

    def make_key(self):
        key, certificate = str(self.directory / "key.pem"), str(self.directory / "certificate.pem")
        self.openssl("genpkey", "-provider", "tpm2", "-propquery", "provider=tpm2", "-algorithm", "RSA", "-pkeyopt", "bits:2048", "-out", key)
        self.assertIn("TSS2 PRIVATE KEY", pathlib.Path(key).read_text()[:100])
        self.openssl("req", "-x509", "-new", "-key", key, "-subj", "/CN=localhost", "-days", "30", "-out", certificate)

    def start(self, *, user=None, background=False):
        """nginx with four workers; its log is in error.log."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        folder = self.directory
        temporary = "".join(f"  {name}_temp_path {folder}/{name};\n"
                            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "nginx.conf").write_text(
            (f"user {user};\n" if user else "") +
            f"daemon {'on' if background else 'off'};\nworker_processes 4;\npid {folder}/pid;\n"
            f"error_log {folder}/error.log info;\nevents {{}}\nhttp {{\n  access_log off;\n{temporary}"
            f"  ssl_session_tickets off;\n  ssl_session_cache off;\n  server {{\n"
            f"    listen 127.0.0.1:{self.port} ssl reuseport;\n    ssl_certificate {folder}/certificate.pem;\n"
            f"    ssl_certificate_key {folder}/key.pem;\n    location / {{ return 200 \"$pid\\n\"; }}\n  }}\n}}\n")
        line = ["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
        self.nginx = subprocess.Popen(line, env=self.environment, stdin=subprocess.DEVNULL, preexec_fn=self.preexec)
        self.addCleanup(self.stop)
        if background:
            self.assertEqual(self.nginx.wait(harness.TIMEOUT), 0, self.log())
        self.daemon.wait_until(self.listens, "nginx listens")

    preexec = None

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def master(self):
        return int((self.directory / "pid").read_text())

    def stop(self):
        try:
            os.kill(self.master(), signal.SIGTERM)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            pass
        if self.nginx.poll() is None:
            self.nginx.wait(harness.TIMEOUT)
        end = time.monotonic() + harness.TIMEOUT
        while (self.directory / "pid").exists():
            assert time.monotonic() < end, "nginx does not stop"
            time.sleep(0.05)

    def log(self):
        path = self.directory / "error.log"
        return path.read_text(errors="replace")[-6000:] if path.exists() else ""

    def request(self, _=None):
        """The worker that answered; an exception if none did."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.port), timeout=harness.TIMEOUT) as plain:
            with context.wrap_socket(plain) as secure:
                secure.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answer = b""
                while chunk := secure.recv(4096):
                    answer += chunk
        assert b" 200 " in answer, answer
        return int(answer.split()[-1])

    def serves_all(self, requests=REQUESTS):
        failures, workers = [], set()

        def once(_):
            try:
                workers.add(self.request())
            except (OSError, AssertionError) as error:
                failures.append(repr(error))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(once, range(requests)))
        self.assertEqual(failures, [], f"{len(failures)} of {requests}\n{self.log()}")
        self.assertGreater(len(workers), 1, "several workers served")

    def test_four_workers_of_an_ordinary_user_serve_all(self):
        if os.geteuid() == 0:
            os.chown(self.directory, WORKER, WORKER)
            self.preexec = Identity.become_worker
        self.make_key()
        os.chmod(self.directory / "key.pem", 0o644)
        self.start()
        self.serves_all()

    def test_four_workers_of_another_user_than_the_master_serve_all(self):
        harness.need_root()
        self.make_key()
        self.start(user="www-data")
        self.serves_all()

    def test_it_serves_in_the_background_and_after_reloads(self):
        """The process that loaded the key is gone, and workers come and go."""
        self.make_key()
        self.start(user="www-data" if os.geteuid() == 0 else None, background=True)
        self.serves_all(20)
        for _ in range(3):
            before = self.request()
            os.kill(self.master(), signal.SIGHUP)
            self.daemon.wait_until(lambda: not os.path.exists(f"/proc/{before}"), "the old worker is gone")
            self.serves_all(20)


if __name__ == "__main__":
    harness.main()
