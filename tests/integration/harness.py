"""What every integration test needs: a daemon of its own, clients that speak raw bytes, and TPM commands to send.

A test file is `NAME_test.py`, imports this module, and ends with `if __name__ == "__main__": harness.main()`.
Each test method starts what it needs and is run by ctest as a process of its own. TPMSPACE_BUILD names the build
directory. Nothing here measures time: timeouts are generous caps, and order is what tests judge.
Only Python's standard library is used.
"""

import contextlib
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TPMSPACE_BUILD", SOURCE / "build"))
# The release library: a sanitized library cannot be loaded into another project's program.
LIBRARY = pathlib.Path(os.environ.get("TPMSPACE_TCTI", SOURCE / "build/lib"))
TIMEOUT = 120  # seconds; a cap for anything that is waited for
SKIPPED = 77
# How a line of the log begins outside the journal, up to its level.
LOG_PREFIX = r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z tpmspaced: "

# Command codes.
CREATE_PRIMARY, FLUSH_CONTEXT, CONTEXT_LOAD, CONTEXT_SAVE = 0x131, 0x165, 0x161, 0x162
INCREMENTAL_SELF_TEST = 0x142
GET_RANDOM, GET_CAPABILITY, START_AUTH_SESSION, READ_PUBLIC = 0x17B, 0x17A, 0x176, 0x173
# Response codes.
COMMAND_SIZE, COMMAND_CODE, MEMORY, CANCELED, FAILURE, SEQUENCE = 0x142, 0x143, 0x904, 0x909, 0x101, 0x103
REFERENCE_H0 = 0x910
VALUE, LOCALITY = 0x084, 0x907
MANAGER = 0x000B0000  # the layer of the manager's own responses
# Control messages.
CONTROL_TAG, HELLO, CANCEL, LOCALITY_MESSAGE, STATUS, REPLY = 0x5350, 1, 2, 3, 4, 0x80000000


def program(name):
    return str(BUILD / "bin" / name)


def need(tool):
    """Skips the test if a tool is missing."""
    if shutil.which(tool) is None:
        raise unittest.SkipTest(f"{tool} is not installed")


def need_root():
    if os.geteuid() != 0:
        raise unittest.SkipTest("needs root")


# --- TPM commands ----------------------------------------------------------------------------------------------------


def command(code, body=b"", tag=0x8001):
    return struct.pack(">HII", tag, 10 + len(body), code) + body


def get_random(count=8):
    return command(GET_RANDOM, struct.pack(">H", count))


def self_test():
    """Of no algorithm: harmless, and yet for administrators alone (docs/startup.md)."""
    return command(INCREMENTAL_SELF_TEST, struct.pack(">I", 0))


def flush_context(handle):
    return command(FLUSH_CONTEXT, struct.pack(">I", handle))


def password(handle=0x40000009):
    """An authorization area with one empty password."""
    return struct.pack(">IIHBH", 9, handle, 0, 1, 0)


def create_primary(rsa=False):
    """A primary key of the owner hierarchy: P-256 for signing (fast), or RSA-2048 (two seconds on an SLB 9670)."""
    attributes = 0x00040072  # fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, sign
    if rsa:
        public = struct.pack(">HHIH", 0x0001, 0x000B, attributes, 0)
        public += struct.pack(">HHHI", 0x0010, 0x0010, 2048, 0)  # no symmetric, no scheme
        public += struct.pack(">H", 0)
    else:
        public = struct.pack(">HHIH", 0x0023, 0x000B, attributes, 0)
        public += struct.pack(">HHHHH", 0x0010, 0x0018, 0x000B, 0x0003, 0x0010)  # ECDSA with SHA-256, P-256, no KDF
        public += struct.pack(">HH", 0, 0)
    body = struct.pack(">I", 0x40000001) + password()
    body += struct.pack(">HHH", 4, 0, 0)  # inSensitive: no password, no data
    body += struct.pack(">H", len(public)) + public
    body += struct.pack(">HI", 0, 0)  # outsideInfo, creationPCR
    return command(CREATE_PRIMARY, body, tag=0x8002)


# Available HMAC sessions: the chip's 64, less the sessions kept for policy sessions that come back.
SESSIONS_TO_GIVE = 61


def start_auth_session(policy=False):
    """An unsalted, unbound HMAC session, or such a policy session."""
    body = struct.pack(">II", 0x40000007, 0x40000007) + struct.pack(">H", 16) + bytes(16)
    return command(START_AUTH_SESSION, body + struct.pack(">HBHH", 0, int(policy), 0x0010, 0x000B))


def code_of(response):
    return struct.unpack(">I", response[6:10])[0]


def handle_of(response):
    return struct.unpack(">I", response[10:14])[0]


# --- Clients ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def effective_user(uid):
    """Root connects as somebody else."""
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


class Closed(Exception):
    """The other end is closed."""


class Client:
    """A connection that speaks raw bytes. `frame` waits for one whole frame."""

    def __init__(self, path):
        """`path`: of the socket to connect to; or one that is connected."""
        connected = isinstance(path, socket.socket)
        self.socket = path if connected else socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(TIMEOUT)
        if not connected:
            self.socket.connect(path)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def frame(self):
        while len(self.buffer) < 10 or len(self.buffer) < self._size():
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                raise Closed
            self.buffer += data
        size = self._size()
        out, self.buffer = self.buffer[:size], self.buffer[size:]
        return out

    def _size(self):
        return struct.unpack(">I", self.buffer[2:6])[0]

    def ready(self):
        """Whether something has arrived."""
        return bool(self.buffer) or bool(select.select([self.socket], [], [], 0)[0])

    def is_closed(self):
        """Waits until the other end closes; False if it sends instead."""
        try:
            return self.socket.recv(1, socket.MSG_PEEK) == b""
        except ConnectionResetError:
            return True

    def command(self, data):
        self.send(data)
        return self.frame()

    def run(self, data):
        """A command that must succeed."""
        response = self.command(data)
        assert code_of(response) == 0, f"response code 0x{code_of(response):08x}"
        return response

    # --- control messages ---

    def control(self, kind, body=b""):
        """Sends a control message; its reply's code and the rest of its body."""
        self.send(struct.pack(">HII", CONTROL_TAG, 10 + len(body), kind) + body)
        return self.control_reply(kind)

    def control_reply(self, kind):
        frame = self.frame()
        tag, _, code = struct.unpack(">HII", frame[:10])
        assert (tag, code) == (CONTROL_TAG, kind | REPLY), f"not the reply to {kind}: {frame.hex()}"
        return struct.unpack(">I", frame[10:14])[0], frame[14:]

    def hello(self, version=1):
        return self.control(HELLO, struct.pack(">H", version))

    def status(self):
        """Status as a dictionary: "group_name" -> value. Hello must have been said."""
        rc, body = self.control(STATUS)
        assert rc == 0, f"status: 0x{rc:08x}"
        return parse_status(body)


def parse_status(body):
    text = (SOURCE / "src/proto/status_fields.inc").read_text()
    fields = {
        int(n): (kind, f"{group}_{name}")
        for n, kind, group, name in re.findall(r"TPMSPACE_STATUS\((\d+), (\w+), (\w+), (\w+)\)", text)
    }
    out, at = {}, 2
    while at < len(body):
        number, length = struct.unpack(">HI", body[at : at + 6])
        value = body[at + 6 : at + 6 + length]
        at += 6 + length
        kind, name = fields[number]
        if kind == "kText":
            out[name] = value.decode()
        elif kind == "kCommandUses":
            out[name] = {code: count for code, count, _ in struct.iter_unpack(">IQQ", value)}
        else:
            out[name] = int.from_bytes(value, "big")
    return out


# --- The daemon ------------------------------------------------------------------------------------------------------


class Daemon:
    """tpmspaced in a directory of its own. As a context manager it is stopped and must have ended well."""

    def __init__(self, tpm="embedded", *arguments, config=None, socket_path=None, prefix=(), wait=True, pass_fds=(),
                 preexec=None, environment=None):
        self._temporary = tempfile.TemporaryDirectory(prefix="tpmspace-")
        self.directory = pathlib.Path(self._temporary.name)
        self.path = str(socket_path or self.directory / "tpm.sock")
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(self.directory / "notify"))
        self._notify.settimeout(TIMEOUT)
        self._log_file = open(self.directory / "log", "w+b")
        line = [*prefix, program("tpmspaced"), "--socket", self.path, "--log-level", "debug"]
        if tpm is not None:
            line += ["--tpm", tpm]
        if config is not None:
            (self.directory / "config.toml").write_text(config)
            line += ["--config", str(self.directory / "config.toml")]
        env = {**os.environ, "NOTIFY_SOCKET": str(self.directory / "notify"), **(environment or {})}
        self.process = subprocess.Popen(line + list(arguments), stdin=subprocess.DEVNULL, stdout=self._log_file,
                                        stderr=self._log_file, env=env, pass_fds=pass_fds, preexec_fn=preexec)
        self.exit_code = None
        if wait:
            self.wait_until_ready()

    def __enter__(self):
        return self

    def __exit__(self, kind, *unused):
        code = self.stop()
        log = self.log()
        self.clean_up()
        if kind is not None:
            sys.stderr.write(log[-20000:])
            return
        assert "Sanitizer" not in log and "runtime error" not in log, log
        assert code == 0, f"exit code {code}\n{log}"

    @property
    def listeners(self):
        """The directory of the listeners of which only the name is said."""
        return pathlib.Path(f"{pathlib.Path(self.path).parent}-listeners")

    def clean_up(self):
        if pathlib.Path(self.path).parent == self.directory:
            shutil.rmtree(self.listeners, ignore_errors=True)
        self._notify.close()
        self._log_file.close()
        self._temporary.cleanup()

    @property
    def pid(self):
        return self.process.pid

    def wait_until_ready(self):
        """Until READY=1 is notified; fails if the daemon ends instead."""
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            if select.select([self._notify], [], [], 0.05)[0] and b"READY=1" in self._notify.recv(4096):
                return
            if self.process.poll() is not None:
                raise AssertionError(f"tpmspaced ended with {self.process.returncode}\n{self.log()}")
        raise AssertionError(f"tpmspaced is not ready\n{self.log()}")

    def log(self):
        with open(self.directory / "log", "rb") as file:
            return file.read().decode(errors="replace")

    def wait_for_log(self, text):
        self.wait_until(lambda: text in self.log(), f"the log says {text!r}")

    def wait_until(self, condition, what):
        end = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < end, f"never: {what}\n{self.log()}"
            assert self.process.poll() is None, f"ended with {self.process.returncode}\n{self.log()}"
            time.sleep(0.01)

    def connect(self):
        return Client(self.path)

    def status(self):
        with self.connect() as client:
            client.hello()
            return client.status()

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        if self.exit_code is None:
            self.exit_code = self.process.wait(TIMEOUT)
        return self.exit_code

    def stop(self):
        """TERM, and the exit code; whoever does not go is killed."""
        if self.exit_code is None:
            if self.process.poll() is None:
                self.signal(signal.SIGTERM)
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.exit_code = self.process.wait()
        return self.exit_code


def run_daemon(*arguments, environment=None):
    """tpmspaced that is expected to end by itself: its exit code and what it said."""
    done = subprocess.run([program("tpmspaced"), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=TIMEOUT, env={**os.environ, **(environment or {})}, check=False)
    return done.returncode, done.stdout + done.stderr


# --- A TPM that a test can hold ----------------------------------------------------------------------------------------


class Swtpm:
    """A running swtpm, for the back end of that name (`spec`). Its state ends with it."""

    def __init__(self, start=True):
        need("swtpm")
        self._temporary = tempfile.TemporaryDirectory(prefix="tpmspace-swtpm-")
        self.directory = self._temporary.name
        self.path = f"{self.directory}/data"
        self.spec = f"swtpm:path={self.path},ctrl={self.directory}/ctrl"
        self.process = None
        if start:
            self.start()

    def start(self):
        """Also again after `kill`, with what it had saved."""
        for name in ("data", "ctrl"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.directory}/{name}")
        self.process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.directory}", "--server",
             f"type=unixio,path={self.path}", "--ctrl", f"type=unixio,path={self.directory}/ctrl", "--flags",
             "not-need-init", "--log", f"file={self.directory}/log"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + TIMEOUT
        while not (os.path.exists(self.path) and os.path.exists(f"{self.directory}/ctrl")):
            assert time.monotonic() < end and self.process.poll() is None, "swtpm does not start"
            time.sleep(0.01)

    def power_cycle(self):
        """Power is lost and comes back: it wants a Startup. Only while nobody else has its control channel."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(TIMEOUT)
            control.connect(f"{self.directory}/ctrl")
            control.sendall(struct.pack(">II", 2, 0))  # CMD_INIT, no flags
            assert control.recv(4) == bytes(4), "CMD_INIT"

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.kill()
        self._temporary.cleanup()

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(TIMEOUT)


class HeldTpm:
    """An swtpm behind a socket pair that tpmspaced uses as a device (`spec`, `pass_fds`).

    Answers to the commands in `hold` are kept back until `release`; `held` is set when one is.
    """

    def __init__(self):
        self._swtpm = Swtpm()
        self._tpm = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._tpm.connect(self._swtpm.path)
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.spec = f"device:fd={self._theirs.fileno()}"
        self.pass_fds = (self._theirs.fileno(),)
        self.hold = frozenset()
        self.held = threading.Event()
        self._release = threading.Event()
        self._thread = threading.Thread(target=self._relay, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.release()
        self._ours.close()
        self._theirs.close()
        self._tpm.close()
        self._swtpm.__exit__()

    def power_cycle(self):
        self._swtpm.power_cycle()

    def unplug(self):
        """The device is gone: reads and writes fail from now on."""
        self._ours.shutdown(socket.SHUT_RDWR)

    def hold_answers_to(self, *codes):
        self.held.clear()
        self._release.clear()
        self.hold = frozenset(codes)

    def release(self):
        self.hold = frozenset()
        self._release.set()

    def handles(self, first):
        """What the TPM itself lists from `first` on. Only after the daemon has ended."""
        self._tpm.sendall(command(GET_CAPABILITY, struct.pack(">III", 1, first, 254)))
        answer = self._message(self._tpm)
        return [h for (h,) in struct.iter_unpack(">I", answer[19:])]

    def direct(self, request):
        """A command of somebody else on the chip. Only while no daemon is there."""
        self._tpm.sendall(request)
        return self._message(self._tpm)

    def _relay(self):
        try:
            while True:
                request = self._message(self._ours)
                self._tpm.sendall(request)
                answer = self._message(self._tpm)
                if code_of(request) in self.hold:
                    self.held.set()
                    self._release.wait()
                self._ours.sendall(answer)
        except (Closed, OSError):
            pass

    @staticmethod
    def _message(source):
        data = b""
        while len(data) < 10 or len(data) < struct.unpack(">I", data[2:6])[0]:
            more = source.recv(65536)
            if not more:
                raise Closed
            data += more
        return data


# --- Running ---------------------------------------------------------------------------------------------------------


def main():
    """As unittest.main, but exits with SKIPPED if every test was skipped, and names what was."""
    result = unittest.main(module="__main__", exit=False, verbosity=2).result
    for test, reason in result.skipped:
        print(f"SKIPPED {test.id()}: {reason}")
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIPPED if result.testsRun and len(result.skipped) == result.testsRun else 0)
