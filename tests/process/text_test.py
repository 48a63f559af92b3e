#!/usr/bin/env python3
"""Text that is not ours, each byte of it, wherever it is shown: a page stays JSON, a log a log, a terminal clean,
and the process lives."""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import unicodedata
import unittest

from kit import CLASSGATE, ProcessTest, Program, balance, clean_environment, wait_until

# Every byte that a path, a variable or an argument can hold.
BYTES = [bytes([b]) for b in range(1, 256) if b != ord("/")]
TOLD_MAX = 20  # mistakes of one reload


class Odd(ProcessTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="classgate-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "conf.d").mkdir()

    def odd_gateway(self, conf="", **settings):
        """One whose conf has a folder of its own."""
        self.conf = self.folder / "classgate.conf"
        self.conf.write_text(conf)
        self.control = str(self.folder / "control")
        environment = {"CLASSGATE_LISTEN": "127.0.0.1:0", "CLASSGATE_OPS_LISTEN": "127.0.0.1:0",
                       "CLASSGATE_OPS_CONTROL": self.control, "CLASSGATE_LOG_LINES_MAX": "100000",
                       "CLASSGATE_LOG_ACCESS": "off"}
        environment.update({"CLASSGATE_" + key.upper(): value for key, value in settings.items()})
        program = self.start(Program([CLASSGATE, "--conf", str(self.conf)], environment))
        program.port = int(program.wait_for_text(r"listening on 127\.0\.0\.1:(\d+)", program.err).group(1))
        program.ops_port = int(program.wait_for_text(r"operators at 127\.0\.0\.1:(\d+)", program.err).group(1))
        return program

    def assert_clean(self, text, what):
        """UTF-8, without any control character but the ends of lines and tabs."""
        found = [c for c in text.decode() if unicodedata.category(c) == "Cc" and c not in "\n\t"]
        self.assertEqual(found, [], what)

    def get(self, port, path):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    def order(self, target, body=b"", method="POST"):
        """By the control socket, with a body of any bytes."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(self.control)
            connection.sendall(b"%s %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                               % (method.encode(), target.encode(), len(body)) + body)
            text = b""
            while part := connection.recv(65536):
                text += part
        head, said = text.split(b"\r\n\r\n", 1)
        return int(head.split()[1]), said

    def classgate(self, *words, environment=None):
        done = subprocess.run([CLASSGATE, *words], capture_output=True, timeout=60,
                              env={**{os.fsencode(k): os.fsencode(v) for k, v in clean_environment().items()},
                                   **(environment or {})})
        self.assertGreaterEqual(done.returncode, 0, done.stderr)  # no signal ended it
        return done

    def check_pages(self, gateway):
        for port, path in ((gateway.port, "/queue/health"), (gateway.ops_port, "/queue/health"),
                           (gateway.ops_port, "/metrics")):
            page = self.get(port, path)
            self.assert_clean(page, path)
            if path.endswith("health"):
                self.assertEqual(balance(json.loads(page)), 0)
        for words in (("status",), ("status", "--json"), ("status", "--clients"), ("queue",), ("queue", "--json")):
            done = self.classgate("--socket", self.control, *words)
            self.assert_clean(done.stdout, words)
            self.assert_clean(done.stderr, words)
            if "--json" in words:
                json.loads(done.stdout)
        self.assert_clean(gateway.err_path.read_bytes(), "the log")
        self.assertIsNone(gateway.process.poll())


class Names(Odd):
    def test_files_of_the_conf_with_any_name(self):
        """A file in conf.d whose name is no UTF-8 has a mistake; the reload is refused; anybody asks for health."""
        for log_format in ("text", "json"):
            with self.subTest(log_format):
                gateway = self.odd_gateway(log_format=log_format, upstream_servers="127.0.0.1:9")
                for first in range(0, len(BYTES), TOLD_MAX):
                    some = BYTES[first:first + TOLD_MAX]
                    for byte in some:
                        (pathlib.Path(os.fsdecode(os.fsencode(self.folder / "conf.d") + b"/a" + byte + b"b.conf"))
                         ).write_text('sandbox = "odd\\u001b[31m\\u009b"\n')
                    status, said = self.order("/reload")
                    self.assertEqual(status, 409)
                    self.assert_clean(said, "the answer to a reload")
                    self.assertEqual(len(said.splitlines()), len(some))
                    wait_until(lambda: "reload refused" in gateway.err(), "the log of it")
                    self.check_pages(gateway)
                    if b"\xe9" in some:
                        health = json.loads(self.get(gateway.ops_port, "/queue/health"))
                        self.assertIn("a\\xe9b.conf:1:1: sandbox: \"odd\\x1b[31m\\u009b\"",
                                      health["conf"]["last_reload_error"])
                    for file in (self.folder / "conf.d").iterdir():
                        file.unlink()
                for line in gateway.err().splitlines():
                    if log_format == "json":
                        json.loads(line)
                    else:
                        self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\S+Z (info|warning|error) ")
                gateway.signal(signal.SIGTERM)
                self.assertEqual(gateway.wait(), 0)

    def test_values_set_at_run_time(self):
        gateway = self.odd_gateway(upstream_servers="127.0.0.1:9")
        in_folder = os.fsencode(self.folder)
        for byte in BYTES + [b"\0"]:
            status, said = self.order("/set", b"log.access=" + in_folder + b"/x" + byte)
            self.assert_clean(said, byte)
            self.assertEqual(status, 200 if 0 < byte[0] < 128 else 409, (byte, said))
            self.get(gateway.port, "/queue/health")
            json.loads(self.get(gateway.ops_port, "/queue/health"))
        self.order("/set", b"\xe9\x1b=\xe9\x1b")
        self.order("/set", "log.error={}/café\u202e".format(self.folder).encode())
        self.check_pages(gateway)

    def test_what_is_said_before_it_starts(self):
        odd = b"x\xe9\x1b[31m\nCLASSGATE = 1\x9b\xc2\x9b\x7f"
        path = os.path.join(os.fsencode(self.folder), odd + b".conf")
        with open(os.fsdecode(path), "w") as conf:
            conf.write('[admission]\nworkers = 3\n"\\u001b" = 1\n')
        good = os.path.join(os.fsencode(self.folder), odd)
        with open(os.fsdecode(good), "w") as conf:
            conf.write('listen = ["127.0.0.1:1"]\n[log]\naccess = "/a\\u001b\\u009b\\u0085é"\n')
        for words, environment in (
                (("--conf", path, "--check"), {}), (("--conf", path), {}), (("--conf", good, "--check"), {}),
                (("--conf", good, "--print-config"), {}), (("--conf", good + b"/none", "--check"), {}),
                (("--conf", "/dev/null", "--check"), {b"CLASSGATE_LOG_ACCESS": b"/" + odd}),
                (("--conf", "/dev/null", "--check"), {b"CLASSGATE_ROUTE": b"/" + odd}),
                (("--conf", "/dev/null", "--check"), {b"CLASSGATE_" + odd.replace(b"=", b""): b"1"}),
                (("--conf", "/dev/null", "--check"), {b"PORT": odd}),
                (("--conf", "/dev/null", "--check", "--upstream", odd), {}), ((b"--" + odd,), {}), ((odd,), {}),
                (("--socket", good, "status"), {}), (("explain", odd, odd), {}),
                (("simulate", "--log", path), {}), (("simulate", "--log", good + b"/none"), {}),
                (("simulate", "--workload", path), {}), (("simulate", "--workload", good, "--plan", odd), {}),
                (("simulate", "--log", path, "--sweep", odd), {}), (("load", "--to", odd), {})):
            done = self.classgate(*words, environment=environment)
            self.assert_clean(done.stdout, (words, environment))
            self.assert_clean(done.stderr, (words, environment))
        # A name cannot add a line to what is printed, and what is printed is a conf.
        printed = self.classgate("--conf", good, "--print-config")
        self.assertNotIn(b"\nCLASSGATE", printed.stdout)
        again = self.folder / "again.conf"
        again.write_bytes(printed.stdout)
        self.assertEqual(self.classgate("--conf", str(again), "--check").returncode, 0)
        values = lambda text: re.findall(rb"(?m)^access = .*?\"(?= +#)", text)
        reprinted = self.classgate("--conf", str(again), "--print-config").stdout
        self.assertEqual(values(reprinted), values(printed.stdout))


class Requests(Odd):
    def ask(self, port, text):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while part := connection.recv(65536):
                answer += part
            return answer

    def test_targets_methods_and_fields_with_any_byte(self):
        """Nobody serves them: each is in the access log, and refusals of the service's in the other."""
        service = self.service()
        odd_socket = "unix:" + str(self.folder / 'no one \x1b[31m "here"')
        for log_format, servers in (("text", service.address), ("json", service.address), ("json", odd_socket)):
            with self.subTest(log_format, servers=servers):
                log = self.folder / f"log-{log_format}"
                gateway = self.odd_gateway(log_format=log_format, log_access=str(log), upstream_servers=servers,
                                           client_trusted_proxies="127.0.0.0/8")
                for byte in range(256):
                    b = bytes([byte])
                    self.ask(gateway.port, b"GET /a" + b + b"b HTTP/1.1\r\nHost: a\r\nX-Request-Id: i" + b +
                             b"d\r\nX-Forwarded-For: " + b + b"1\r\nX-Api-Key: k" + b + b"\r\n\r\n")
                    self.ask(gateway.port, b"G" + b + b"T / HTTP/1.1\r\nHost: a\r\n\r\n")
                wait_until(lambda: len(log.read_bytes().splitlines()) >= 400, "the lines")
                self.check_pages(gateway)
                gateway.signal(signal.SIGTERM)
                self.assertEqual(gateway.wait(), 0)
                self.assert_clean(log.read_bytes(), "the access log")
                lines = log.read_text().splitlines()
                for line in lines:
                    if log_format == "json":
                        json.loads(line)
                    else:
                        self.assertRegex(line, r'^time=\S+ id=\S+ client=\S+ method=\S+ path="[ -~]*" route=')
                # What a gateway wrote, simulate reads.
                done = self.classgate("simulate", "--log", str(log), "--upstream", "10ms", "--json")
                self.assertEqual(done.returncode, 0, done.stderr)
                json.loads(done.stdout)
                log.unlink()

    def test_requests_that_wait(self):
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        gateway = self.odd_gateway(upstream_servers="127.0.0.1:%d" % silent.getsockname()[1], admission_workers="1",
                                   admission_rate="0")
        connections = []
        for escape in (b"%1B[31m", b"%9B", b"%C2%9B", b"%E9", b"%7F"):
            connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
            self.addCleanup(connection.close)
            connection.sendall(b"GET /a%sb HTTP/1.1\r\nHost: a\r\n\r\n" % escape)
            connections.append(connection)
        wait_until(lambda: json.loads(self.get(gateway.ops_port, "/queue/health"))["queue_size"] == 4, "waiting")
        self.check_pages(gateway)
        done = self.classgate("--socket", self.control, "explain", "GET", b"/\xe9", "-H", b"X-Api-Key: \xe9\x9b")
        self.assert_clean(done.stdout + done.stderr, "explain")


if __name__ == "__main__":
    unittest.main(verbosity=2)
