#!/usr/bin/env python3
"""Services that are other programs, or hard to reach."""
import http.client
import http.server
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import unittest

from kit import ProcessTest, Program, free_port, raw_request, read_answer, scrape, serve_each, stop_listening, wait_until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class UnixSockets(ProcessTest):
    def test_a_burst_waits_for_a_full_backlog(self):
        """connect() to a Unix socket whose backlog is full says EAGAIN; the only server was marked unreachable, and what
        came next refused with 503."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = str(pathlib.Path(folder.name, "model.sock"))
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(stop_listening, listener)
        listener.bind(path)
        listener.listen(1)
        gateway = self.gateway(f"unix:{path}", admission_workers=40, admission_queue_size=100, admission_rate=0)
        # The gateway's own look at the server takes a place.
        gateway.wait_for_health(lambda h: list(h["upstream"].values()) == ["reachable"], "a reachable server")
        listener.accept()[0].close()
        crowd = [socket.create_connection(("127.0.0.1", gateway.port), timeout=20) for _ in range(40)]
        for connection in crowd:
            self.addCleanup(connection.close)
            connection.sendall(raw_request())
        gateway.wait_for_health(lambda h: h["active_workers"] == 40, "40 requests on their way")
        # Nobody has been accepted, and only two can be in the backlog.
        self.assertEqual(list(gateway.health()["upstream"].values()), ["reachable"])

        def serve(connection):
            with connection:
                held = b""
                while part := connection.recv(65536):
                    held += part
                    while b"\r\n\r\n" in held:
                        head, _, rest = held.partition(b"\r\n\r\n")
                        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
                        if len(rest) < length:
                            break
                        held = rest[length:]
                        connection.sendall(OK)

        serve_each(listener, serve)
        self.assertEqual([read_answer(connection).status for connection in crowd], [200] * 40)


class Peer(ProcessTest):
    """What a service is that others wrote; each says where it listens: self.port, and self.path for its Unix socket."""

    program = None
    methods = ("GET", "POST", "PUT", "DELETE", "OPTIONS")
    from_names = "X-From"  # the field that tells the connection of a request

    @classmethod
    def setUpClass(cls):
        if shutil.which(cls.program) is None:
            raise unittest.SkipTest(f"{cls.program} is not installed (packaging/install-build-dependencies)")
        cls.folder = tempfile.TemporaryDirectory(prefix="classgate-peer-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.path = f"{cls.folder.name}/peer.sock"
        cls.peer = cls.begin(pathlib.Path(cls.folder.name))
        cls.addClassCleanup(cls.peer.end)

    @classmethod
    def begin_with_conf(cls, folder, words, conf):
        """A program that is told its port: one that was free for both families a moment ago."""
        cls.port = free_port()
        path = folder / "peer.conf"
        path.write_text(conf.format(port=cls.port, path=cls.path, folder=folder))
        peer = Program([*words, path])

        def is_there():
            assert peer.process.poll() is None, peer.err() + peer.out()
            try:
                socket.create_connection(("127.0.0.1", cls.port), timeout=1).close()
                return pathlib.Path(cls.path).exists()
            except OSError:
                return False
        wait_until(is_there, f"{cls.program} at its port")
        return peer

    @classmethod
    def begin_with_port(cls, words):
        peer = Program([*words, cls.path])
        cls.port = int(peer.wait_for_text(r"port (\d+)", peer.out).group(1))
        return peer

    def before(self, server=None, **settings):
        return self.gateway(server or f"127.0.0.1:{self.port}", admission_rate=0, threads=1, **settings)

    def test_checks_find_it_well_by_number_and_by_path(self):
        """Host was invalid for unix: and for an IPv6 address: nginx and Go said 400, and all got 503."""
        servers = [f"127.0.0.1:{self.port}", f"unix:{self.path}"]
        if socket.has_ipv6:
            with socket.socket(socket.AF_INET6) as probe:
                servers += [f"[::1]:{self.port}"] if probe.connect_ex(("::1", self.port)) == 0 else []
        gateway = self.before(", ".join(servers), upstream_check_path="/well")
        gateway.wait_for_health(lambda h: h["upstream"] == {server: "reachable" for server in servers}, "all of them well")
        self.assertEqual({gateway.request("GET", "/x").status for _ in range(6)}, {200})

    def test_twenty_heads_and_gets_take_one_connection(self):
        """HEAD with a Content-Length ended its connection: 20 took 19."""
        gateway = self.before()
        connection = gateway.connect()
        self.addCleanup(connection.close)
        seen = set()
        for method in ("HEAD", "GET") * 20:
            connection.request(method, "/x")
            answer = connection.getresponse()
            self.assertEqual((answer.status, bool(answer.read())), (200, method == "GET"))
            seen.add(answer.getheader(self.from_names))
        self.assertEqual(len(seen), 1, seen)

    def test_a_kept_connection_that_it_ends_costs_nobody_an_answer(self):
        gateway = self.before()
        for _ in range(10):
            self.assertEqual([gateway.request("GET", path).status for path in ("/x", "/last")], [200, 200])
        health = gateway.health()
        self.assertEqual(health["failed_requests"], 0)
        self.assert_balanced(health)

    def test_registered_methods_pass(self):
        gateway = self.before(f"unix:{self.path}")
        for method in self.methods:
            self.assertEqual(gateway.request(method, "/x").status, 200, method)


class Nginx(Peer):
    program = "/usr/sbin/nginx"
    methods = ("GET", "POST", "PUT", "DELETE", "PROPFIND", "QUERY")

    @classmethod
    def begin(cls, folder):
        return cls.begin_with_conf(folder, [cls.program, "-p", folder, "-c"], """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 100; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port}; listen [::1]:{port}; listen unix:{path};
    add_header X-From $connection;
    location / {{ return 200 nginx; }}
    location /last {{ keepalive_timeout 0; return 200 last; }}
  }}
}}
""")


class Haproxy(Peer):
    program = "/usr/sbin/haproxy"
    methods = ("GET", "POST", "PUT", "DELETE", "PROPFIND", "QUERY")

    @classmethod
    def begin(cls, folder):
        return cls.begin_with_conf(folder, [cls.program, "-f"], """
defaults
  mode http
  timeout client 20s
  timeout http-keep-alive 20s
frontend service
  bind 127.0.0.1:{port}
  bind [::1]:{port}
  bind unix@{path}
  http-request return status 200 content-type text/plain string last hdr Connection close if {{ path /last }}
  http-request return status 200 content-type text/plain string haproxy hdr X-From %[src_port]
""")


class Written(Peer):
    """Services of one's own, which can do more."""

    def test_bodies_in_chunks_pass_both_ways(self):
        gateway = self.before()
        connection = gateway.connect()
        self.addCleanup(connection.close)
        for _ in range(3):
            connection.request("POST", "/chunked", iter([b"one ", b"two ", b"three"]), encode_chunked=True,
                               headers={"Transfer-Encoding": "chunked"})
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.read(), answer.getheader("Transfer-Encoding")),
                             (200, b"one two three", "chunked"))

    def test_an_interim_answer_is_not_the_answer_of_a_check_nor_of_a_request(self):
        """103 (Go) or 102 (Node) before 200 failed the check."""
        gateway = self.before(upstream_check_path="/early")
        gateway.wait_for_health(lambda h: list(h["upstream"].values()) == ["reachable"], "a check that passes")
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as client:
            client.sendall(b"GET /early HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            text = b"".join(iter(lambda: client.recv(65536), b""))
        self.assertRegex(text, rb"(?s)HTTP/1\.1 200 OK\r\n.*late")
        self.assertEqual(gateway.health()["failed_requests"], 0)

    def test_a_tunnel_delivers_all_before_each_end(self):
        gateway = self.before(upstream_websocket="true")
        sent = bytes(range(256)) * 4096
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as client:
            client.sendall(b"GET /tunnel HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                part = client.recv(1)
                self.assertTrue(part, head)
                head += part
            self.assertTrue(head.startswith(b"HTTP/1.1 101 "), head)

            def send():
                client.sendall(sent)
                client.shutdown(socket.SHUT_WR)
            sender = threading.Thread(target=send)
            sender.start()
            got = b"".join(iter(lambda: client.recv(65536), b""))
            sender.join()
        self.assertEqual((len(got), got == sent + b"end"), (len(sent) + 3, True))


class Go(Written):
    program = "go"
    methods = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "QUERY")

    @classmethod
    def begin(cls, folder):
        source = pathlib.Path(__file__).with_name("peers") / "service.go"
        done = subprocess.run(["go", "build", "-o", folder / "service", source], capture_output=True, text=True, cwd=folder,
                              timeout=240, env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder),
                                                "GOCACHE": f"{folder}/cache", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"})
        assert done.returncode == 0, done.stderr
        return cls.begin_with_port([folder / "service"])


class Node(Written):
    program = "node"
    methods = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND")  # its parser knows no QUERY

    @classmethod
    def begin(cls, folder):
        return cls.begin_with_port(["node", pathlib.Path(__file__).with_name("peers") / "service.js"])


def load_tests(loader, tests, pattern):
    """All but the base classes."""
    return unittest.TestSuite(one for group in tests for one in group if not isinstance(one, Peer) or one.program)


class Restart(ProcessTest):
    def test_a_restart_of_the_service_costs_nothing_with_hold(self):
        """Without hold every request is refused with 503 until a probe finds the service again. The service stops in the
        middle of what it does, so that only what may be sent twice can be saved."""
        for hold in ("10s", "0s"):
            service = self.service(port=free_port())
            gateway = self.gateway(service.address, upstream_hold=hold, upstream_probe_interval="100ms", admission_workers=4,
                                   admission_queue_size=100, admission_rate=0)
            done, statuses, lock = threading.Event(), [], threading.Lock()

            def ask():
                for _ in range(20_000):  # bounded; ends long before
                    if done.is_set():
                        return
                    answer = gateway.request("GET", "/status")
                    with lock:
                        statuses.append(answer.reason or answer.status)

            crowd = [threading.Thread(target=ask) for _ in range(8)]
            for one in crowd:
                one.start()
            wait_until(lambda: len(statuses) > 50, "load")
            service.signal(signal.SIGTERM)
            service.wait()
            wait_until(lambda: list(gateway.health()["upstream"].values()) == ["unreachable"], "an unreachable service")
            if hold == "0s":
                wait_until(lambda: "upstream_down" in statuses, "a refusal")
            again = self.service(port=service.port)
            before = len(statuses)
            wait_until(lambda: statuses[before:].count(200) > 50, "load on the new one")
            done.set()
            for one in crowd:
                one.join()
            if hold == "10s":
                self.assertEqual([status for status in statuses if status != 200], [])
            gateway.end()
            again.end()


class Errors(ProcessTest):
    def test_a_service_that_answers_500_is_seen_wherever_an_operator_looks(self):
        """It was "ok, 32 processed, 0 failed"."""
        class Broken(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.send_response(500)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        name = f"127.0.0.1:{server.server_port}"
        gateway = self.gateway(name, admission_rate=0)
        for _ in range(20):
            self.assertEqual(gateway.request("GET", "/x").status, 500)
        health = gateway.health()
        self.assertEqual(health["status"], "degraded")
        self.assertEqual(health["upstream"], {name: "failing"})
        self.assertEqual(health["upstream_answers"], {name: {"2xx": 0, "3xx": 0, "4xx": 0, "5xx": 20}})
        ready = http.client.HTTPConnection("127.0.0.1", gateway.ops_port, timeout=20)
        self.addCleanup(ready.close)
        ready.request("GET", "/readyz")
        answer = ready.getresponse()
        self.assertEqual((answer.status, answer.read().decode()), (200, f"ready\ndegraded: {name} is failing\n"))
        self.assertRegex(gateway.command("status")[1], rf"(?m)^  {re.escape(name)} +failing, answers: 20 5xx$")
        self.assertRegex(gateway.command("explain", "GET", "/x")[1], r"(?m)^upstream  1 failing$")
        self.assertIn(f'\nclassgate_responses_total{{code_class="5xx",source="upstream",server="{name}"}} 20\n', scrape(gateway)[1])
        gateway.wait_for_text(rf"upstream {re.escape(name)}: 50 % or more of its last 20 answers were 5xx", gateway.err)


class Books(ProcessTest):
    def test_who_is_refused_after_waiting_has_waited(self):
        service = self.service("--service-time", "2s")
        gateway = self.gateway(service.address, admission_workers=1, admission_queue_timeout="200ms", admission_rate=0,
                               log_access="stdout")
        first = threading.Thread(target=gateway.request)
        first.start()
        gateway.wait_for_health(lambda h: h["active_workers"] == 1, "one at work")
        self.assertEqual(gateway.request().reason, "queue_timeout")
        first.join()
        line = gateway.wait_for_text(r"reason=queue_timeout.* wait_ms=(\d+)", gateway.out)
        self.assertGreaterEqual(int(line.group(1)), 199)


if __name__ == "__main__":
    unittest.main()
