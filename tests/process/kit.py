"""What the process tests share: the real binary, the real classify service, bounded waiting."""
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import random
import re
import resource
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CLASSGATE_BUILD", ROOT / "build/release"))
CLASSGATE = BUILD / "gateway/classgate"
SERVICE = BUILD / "tests/classify_service/classify_service"
STORM = BUILD / "tests/bench/storm"

PAUSE = threading.Event()  # never set: what a poll with a deadline rests on

TEXT = json.dumps({"text": "we bake bread and cakes for the whole town"})


def threads_of(pid):
    """The names of a process's threads, by number; without those that end while one looks."""
    names = {}
    for name in pathlib.Path(f"/proc/{pid}/task").glob("*/comm"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            names[int(name.parent.name)] = name.read_text().strip()
    return names


def loops_of(pid):
    """The numbers of its loops' threads."""
    return sorted(number for number, name in threads_of(pid).items() if name == "loop")


def wait_until(claim, what, seconds=20):
    """Waits for a condition with a deadline; returns what made it true."""
    end = time.monotonic() + seconds
    while True:
        result = claim()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain: {what}")
        PAUSE.wait(0.01)


def clean_environment(extra=None):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CLASSGATE_") and k != "PORT"}
    environment.update(extra or {})
    return environment


def free_port():
    """On every address, for TCP and UDP; none that the kernel gives to others (net.ipv4.ip_local_port_range)
    before whoever is told it listens there."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as four, socket.socket(socket.AF_INET6) as six, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                four.bind(("0.0.0.0", port))
                six.bind(("::", port))
                udp.bind(("0.0.0.0", port))
                return port
            except OSError:
                pass


def is_refused(port):
    """Nobody listens there. Who connects just when a listening socket is closed is reset, and asks again."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass
    return False


class Program:
    """A child process whose output goes to files; ended by its pid, never left behind."""

    def __init__(self, command, environment=None, nofile=None, pass_fds=()):
        self.folder = tempfile.TemporaryDirectory(prefix="classgate-test-")
        self.out_path = pathlib.Path(self.folder.name) / "out"
        self.err_path = pathlib.Path(self.folder.name) / "err"

        def limit():
            if nofile:
                resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))

        with open(self.out_path, "w") as out, open(self.err_path, "w") as err:
            self.process = subprocess.Popen([str(c) for c in command], stdout=out, stderr=err,
                                            stdin=subprocess.DEVNULL,
                                            env=clean_environment(environment), preexec_fn=limit,
                                            pass_fds=pass_fds)

    def out(self):
        return self.out_path.read_text(errors="replace")

    def err(self):
        return self.err_path.read_text(errors="replace")

    def wait_for_text(self, pattern, stream, seconds=20):
        def found():
            match = re.search(pattern, stream())
            if not match and self.process.poll() is not None:
                raise AssertionError(f"{self.process.args[0]} ended with {self.process.returncode}:\n"
                                     f"{self.err()}{self.out()}")
            return match
        return wait_until(found, f"{pattern!r} in the output of {self.process.args[0]}", seconds)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=30):
        return self.process.wait(seconds)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.folder.cleanup()


class Service(Program):
    """The classify service on a port of the kernel's choice."""

    def __init__(self, *options, port=0):
        super().__init__([SERVICE, "--listen", f"127.0.0.1:{port}", *options])
        self.port = int(self.wait_for_text(r"listening on 127\.0\.0\.1:(\d+)", self.out).group(1))
        self.address = f"127.0.0.1:{self.port}"

    def stats(self):
        return get_json(self.port, "/stats")


class Gateway(Program):
    """classgate in front of `upstream`, on a port of the kernel's choice; settings as key="value". When no server is
    up, what comes is refused at once, unless the settings say otherwise."""

    def __init__(self, upstream, conf="", nofile=None, wrapper=(), environment=None, program=CLASSGATE,
                 pass_fds=(), **settings):
        self.conf = tempfile.NamedTemporaryFile("w", suffix=".conf")
        self.conf.write(conf)
        self.conf.flush()
        self.control = self.conf.name + ".sock"
        given = environment or {}
        # Not where a classgate that is installed here keeps its own.
        self.state = tempfile.TemporaryDirectory(prefix="classgate-test-")
        environment = {"CLASSGATE_LISTEN": "127.0.0.1:0", "CLASSGATE_UPSTREAM_SERVERS": upstream,
                       "CLASSGATE_LOG_ACCESS": "off", "CLASSGATE_OPS_LISTEN": "127.0.0.1:0",
                       "CLASSGATE_OPS_CONTROL": self.control, "CLASSGATE_UPSTREAM_HOLD": "0s",
                       "CLASSGATE_STATE_DIR": self.state.name, **given}
        for key, value in settings.items():
            environment["CLASSGATE_" + key.upper()] = str(value)
        super().__init__([*wrapper, program, "--conf", self.conf.name], environment, nofile, pass_fds)
        self.port = int(self.wait_for_text(r"listening on 127\.0\.0\.1:(\d+)", self.err).group(1))
        self.address = f"127.0.0.1:{self.port}"

    def end(self):
        super().end()
        self.state.cleanup()

    @property
    def ops_port(self):
        return int(self.wait_for_text(r"operators at 127\.0\.0\.1:(\d+)", self.err).group(1))

    def command(self, *words, timeout=60):
        """`classgate WORDS`, of this gateway: its exit status, output and errors."""
        done = subprocess.run([CLASSGATE, "--socket", self.control, *words], capture_output=True,
                              text=True, timeout=timeout, env=clean_environment())
        return done.returncode, done.stdout, done.stderr

    def do(self, *words):
        """`classgate WORDS`, which must succeed: its output."""
        status, out, err = self.command(*words)
        if status != 0:
            raise AssertionError(f"classgate {' '.join(words)} ended with {status}: {err or out}\n{self.err()}")
        return out

    def health(self):
        """As operators see it: of this moment, and with everything."""
        return get_json(self.ops_port, "/queue/health", any_status=True)

    def wait_for_health(self, claim, what, seconds=20):
        return wait_until(lambda: (lambda h: h if claim(h) else None)(self.health()), what, seconds)

    def connect(self, timeout=60):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(self, method="POST", path="/v1/classify", body=TEXT, headers=None, timeout=60):
        connection = self.connect(timeout)
        try:
            return ask(connection, method, path, body, headers)
        finally:
            connection.close()


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.body = response.read()
        self.reason = response.getheader("X-Classgate-Reason")
        self.retry_after = response.getheader("Retry-After")
        self.headers = response.headers

    def json(self):
        return json.loads(self.body)


def ask(connection, method="POST", path="/v1/classify", body=TEXT, headers=None):
    headers = {"Content-Type": "application/json", **(headers or {})}
    connection.request(method, path, body if method in ("POST", "PUT") else None, headers)
    return Answer(connection.getresponse())


def get_json(port, path, any_status=False):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        assert any_status or response.status == 200, (response.status, body)
        return json.loads(body)
    finally:
        connection.close()


def scrape(gateway, accept="text/plain"):
    """/metrics of a gateway: its content type and text."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.ops_port, timeout=20)
    try:
        connection.request("GET", "/metrics", headers={"Accept": accept})
        response = connection.getresponse()
        return response.getheader("Content-Type"), response.read().decode()
    finally:
        connection.close()


class RawAnswer:
    def __init__(self, head, body):
        self.head = head
        self.body = body
        self.status = int(head.split(" ", 2)[1])
        self.closes = "\r\nConnection: close\r\n" in head


def read_answer(connection):
    """One answer with a Content-Length from a raw socket; None when the connection ends instead."""
    text = b""
    while b"\r\n\r\n" not in text:
        part = connection.recv(65536)
        if not part:
            assert not text, text
            return None
        text += part
    head, body = text.split(b"\r\n\r\n", 1)
    head = head.decode() + "\r\n"
    length = int(re.search(r"\r\nContent-Length: (\d+)\r\n", head).group(1))
    while len(body) < length:
        part = connection.recv(65536)
        assert part, "the connection ended in the middle of an answer"
        body += part
    return RawAnswer(head, body)


def raw_request(path="/v1/classify", body=TEXT, headers=""):
    return (f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n{headers}"
            f"Content-Length: {len(body)}\r\n\r\n{body}").encode()


def stop_listening(listener):
    """A listener that is only closed stays as long as a thread waits in accept(); and what wakes that thread (any
    signal) lets its call begin anew, with the number of the descriptor, which may be another listener's by then."""
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def serve_each(listener, serve):
    """serve(connection) for each connection that comes, on a thread of its own, until stop_listening(listener)."""
    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()


class Script(http.server.BaseHTTPRequestHandler):
    """What the handlers of a ScriptedService begin with: HTTP/1.1, and no log."""
    protocol_version = "HTTP/1.1"

    def say(self, status, fields=()):
        """An answer without a body."""
        self.send_response(status)
        for name, value in dict(fields).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class ScriptedService:
    """A service in this process: `handler` answers, on a thread for each connection, until close()."""

    def __init__(self, handler, host="127.0.0.1"):
        self.server = http.server.ThreadingHTTPServer((host, 0), handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        self.address = f"{host}:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Held(ScriptedService):
    """Answers nobody until it is released, or lets some go; counts who is with it, and knows what they asked for."""

    def __init__(self, host="127.0.0.1"):
        self.release, self.going = threading.Event(), threading.Semaphore(0)
        self.busy, self.most, self.paths = 0, 0, []
        lock = threading.Lock()
        held = self

        class Handler(Script):
            def do_GET(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with lock:
                    held.paths.append(self.path)
                    held.busy += 1
                    held.most = max(held.most, held.busy)
                wait_until(lambda: held.release.is_set() or held.going.acquire(blocking=False), "release", 60)
                with lock:
                    held.busy -= 1
                self.send_response(204)
                self.end_headers()
            do_POST = do_GET
        super().__init__(Handler, host)

    def let_go(self, count=1):
        self.going.release(count)

    def close(self):
        self.release.set()
        super().close()


def balance(health):
    """The books of one /queue/health answer: zero when they balance."""
    return health["total_requests"] - (
        health["processed_requests"] + health["failed_requests"] + health["rejected_requests"] +
        health["abandoned_requests"] + health["queue_size"] + health["active_workers"])


class ProcessTest(unittest.TestCase):
    def start(self, program):
        self.addCleanup(program.end)
        return program

    def service(self, *options, **settings):
        return self.start(Service(*options, **settings))

    def gateway(self, upstream, **settings):
        return self.start(Gateway(upstream, **settings))

    def assert_balanced(self, health):
        self.assertEqual(balance(health), 0, health)


class FolderTest(ProcessTest):
    """With a folder of its own, for files of its making."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="classgate-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)
