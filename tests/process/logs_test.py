#!/usr/bin/env python3
"""The logs, observed from outside: full disks, JSON lines, samples, bounds, syslog."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import unittest

from kit import CLASSGATE, ProcessTest, clean_environment, free_port, get_json, wait_until

FIELDS = ["time", "id", "client", "method", "path", "route", "priority", "verdict", "reason",
          "observed", "cost",
          "deadline_ms", "upload_ms", "wait_ms", "upstream_ms", "total_ms", "status", "bytes_in",
          "bytes_out", "upstream", "retries", "tls", "answered_by", "attempts_ms", "address", "plan",
          "traceparent", "user_agent", "name", "credentials", "protocol", "upstream_protocol",
          "grpc_status"]
PAIR = re.compile(r'([\w.-]+)=("(?:[^"\\]|\\.)*"|[^ "]*)(?: |$)')


def fields_of(line):
    """A text line, read strictly: nothing may stand between the pairs."""
    pairs, at = [], 0
    while at < len(line):
        match = PAIR.match(line, at)
        assert match, line
        value = match.group(2)
        pairs.append((match.group(1), json.loads(value) if value.startswith('"') else value))
        at = match.end()
    return dict(pairs)


class LogsTest(ProcessTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="classgate-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def conf(self, log, upstream="127.0.0.1:1", port=0):
        path = self.folder / "test.conf"
        path.write_text(f'listen = ["127.0.0.1:{port}"]\n[upstream]\nservers = ["{upstream}"]\n'
                        f'[clients]\nsecret = "off"\n[log]\n{log}\n')
        return path

    def start_without_reading(self, log, service):
        """For a gateway whose error log is elsewhere, so that the kit can't read its port there."""
        port = free_port()
        self.err = self.folder / "err"
        with open(self.err, "w") as stream:
            process = subprocess.Popen([CLASSGATE, "--conf", self.conf(log, service.address, port)],
                                       env=clean_environment(), stdin=subprocess.DEVNULL,
                                       stderr=stream)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return port


class AtStart(LogsTest):
    def test_a_log_that_cannot_be_written_is_said_and_nothing_starts(self):
        file = self.folder / "file"
        file.write_text("")
        for key, name in (("access", "access log"), ("error", "log")):
            with self.subTest(key):
                conf = self.conf(f'{key} = "{file}/under-a-file"')
                done = subprocess.run([CLASSGATE, "--conf", conf], env=clean_environment(),
                                      stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                      timeout=60)
                self.assertEqual(done.returncode, 1)
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
                self.assertIn(f"cannot write the {name}: {file}/under-a-file: Not a directory "
                              f"(see log.{key})", done.stderr)
                self.assertEqual(done.stdout, "")

    def test_a_new_log_is_for_its_owner_and_group(self):
        access, error = self.folder / "access", self.folder / "error"
        before = os.umask(0)
        try:
            self.start_without_reading(f'access = "{access}"\nerror = "{error}"', self.service())
        finally:
            os.umask(before)
        wait_until(lambda: error.exists() and "listening on" in error.read_text(), "a line")
        self.assertEqual([oct(path.stat().st_mode & 0o777) for path in (access, error)],
                         ["0o640", "0o640"])


class Lines(LogsTest):
    def ask_all_kinds(self, gateway):
        self.assertEqual(gateway.request(headers={"X-Request-Id": "fine"}).status, 200)
        self.assertEqual(gateway.request("GET", '/%22a=b%20c%22%C3%A9?q="x" y'.replace(" ", "%20"),
                                         headers={"X-Request-Id": "odd"}).status, 404)
        self.assertEqual(gateway.request("CONNECT", "x:1", headers={"X-Request-Id": "no"}).status, 405)
        get_json(gateway.port, "/queue/health")

    def check_all_kinds(self, lines, service):
        self.assertEqual([list(line) for line in lines], [FIELDS] * 4)
        by_id = {line["id"]: line for line in lines}
        fine, odd, refused = by_id["fine"], by_id["odd"], by_id["no"]
        self.assertRegex(fine["client"], "^c_[0-9a-f]{8}$")
        for key, value in {"address": "127.0.0.1", "method": "POST", "path": "/v1/classify",
                           "route": "/v1/classify", "priority": "3", "verdict": "admitted",
                           "reason": "-", "cost": "1", "status": "200",
                           "upstream": service.address, "retries": "0", "tls": "-",
                           "answered_by": "service", "plan": "-", "traceparent": "-"}.items():
            self.assertEqual(str(fine[key]), value, key)
        self.assertGreater(int(fine["bytes_in"]), 0)
        self.assertGreater(int(fine["bytes_out"]), 0)
        self.assertEqual(float(fine["deadline_ms"]), 30000)
        self.assertAlmostEqual(float(fine["attempts_ms"]), float(fine["upstream_ms"]), delta=0.01)
        self.assertEqual(refused["answered_by"], "gateway")
        self.assertGreaterEqual(float(fine["total_ms"]), float(fine["upstream_ms"]))
        self.assertEqual((odd["route"], str(odd["priority"])), ("*", "5"))
        self.assertEqual((refused["verdict"], refused["reason"], str(refused["cost"])),
                         ("rejected", "method_refused", "0"))
        self.assertEqual([line["verdict"] for line in lines if line["path"] == "/queue/health"],
                         ["operator"])

    def log_of(self, **settings):
        service = self.service()
        gateway = self.gateway(service.address, log_access="stdout",
                               client_trusted_proxies="127.0.0.1", **settings)
        self.ask_all_kinds(gateway)
        wait_until(lambda: len(gateway.out().splitlines()) >= 4, "four lines")
        return gateway.out().splitlines(), service

    def test_a_text_line_has_every_field_in_order(self):
        lines, service = self.log_of()
        self.check_all_kinds([fields_of(line) for line in lines], service)

    def test_a_json_line_has_the_same_fields_and_parses(self):
        lines, service = self.log_of(log_format="json")
        self.check_all_kinds([json.loads(line) for line in lines], service)

    def test_with_sample_0_only_what_was_not_accepted_is_left(self):
        service = self.service()
        gateway = self.gateway(service.address, log_access="stdout", log_sample="0",
                               admission_rate="0.001", admission_burst="20")
        statuses = [gateway.request().status for _ in range(23)]
        self.assertEqual(statuses, [200] * 20 + [429] * 3)
        service.end()
        self.assertEqual(gateway.request("GET", "/health").status, 502)
        wait_until(lambda: "upstream_unreachable" in gateway.out(), "the line of the failure")
        lines = [fields_of(line) for line in gateway.out().splitlines()]
        self.assertEqual([line["reason"] for line in lines],
                         ["rate_limited"] * 3 + ["upstream_unreachable"])
        self.assertEqual(gateway.health()["access_log_lines_dropped"], 0)

    def test_connections_that_say_nothing_leave_no_line(self):
        """A load balancer connects every second to see whether somebody is there, and says no word."""
        gateway = self.gateway(self.service().address, log_access="stdout")
        gateway.wait_for_text("upstream .* reachable", gateway.err)  # nothing more is told of itself
        before = gateway.err()
        for i in range(20):
            with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as probe:
                if i % 2:  # by a reset
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gateway.wait_for_health(lambda h: h["connections"] == 0, "their end")
        self.assertEqual(gateway.request("GET", "/health").status, 200)
        wait_until(lambda: "/health" in gateway.out(), "the line of the one that asked")
        self.assertEqual(gateway.out().count("\n"), 1)
        self.assertEqual(gateway.err(), before)

    def test_what_an_operator_must_see_is_written_whatever_log_lines_max_says(self):
        gateway = self.gateway(self.service().address, log_lines_max=1, clients_secret=self.folder / "secret")
        gateway.do("reload")
        gateway.do("set", "admission.workers", "7")
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(), 0)
        for line in ("listening on", "reloaded: ", "set at run time: admission.workers = 7", "TERM: draining", "drained: "):
            self.assertIn(line, gateway.err())

    def test_more_lines_than_log_access_lines_max_in_a_second_are_counted(self):
        service = self.service()
        gateway = self.gateway(service.address, log_access="stdout", log_access_lines_max=1, threads=1)
        self.assertEqual([gateway.request().status for _ in range(60)], [200] * 60)
        dropped = gateway.health()["access_log_lines_dropped"]
        self.assertGreater(dropped, 0)
        wait_until(lambda: gateway.out().count('path="/v1/classify"') == 60 - dropped,
                   "what is not counted is written")


class FullDisk(LogsTest):
    def mount(self):
        place = self.folder / "small"
        place.mkdir()
        mount = shutil.which("mount")
        if not mount:
            self.skipTest("there is no mount command: a full disk cannot be made")
        done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", place],
                              capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            self.skipTest(f"a small tmpfs cannot be mounted: {done.stderr.strip()}")
        self.addCleanup(lambda: subprocess.run(["umount", "-l", place], check=True, timeout=60))
        return place

    def test_a_full_disk_under_the_access_log_costs_lines_and_nothing_else(self):
        place = self.mount()
        service = self.service()
        log = place / "access.log"
        ballast = place / "ballast"
        ballast.write_bytes(b"x" * 48 * 1024)
        gateway = self.gateway(service.address, log_access=log, client_trusted_proxies="127.0.0.1")

        def dropped():
            return gateway.health()["access_log_lines_dropped"]

        def fill():
            self.assertEqual([gateway.request().status for _ in range(20)], [200] * 20)
            return dropped() > 0
        wait_until(fill, "dropped lines")
        said = gateway.wait_for_text(r"the access log cannot be written: (.*); \d+ lines? lost so far "
                                     r"\(log\.access\)", gateway.err)
        self.assertEqual(said.group(1), "No space left on device")
        # It goes on being answered, and counted.
        first = dropped()
        self.assertEqual([gateway.request().status for _ in range(20)], [200] * 20)
        wait_until(lambda: dropped() >= first + 20, "every line counted")

        ballast.unlink()
        self.assertEqual(gateway.request(headers={"X-Request-Id": "again"}).status, 200)
        wait_until(lambda: " id=again " in log.read_text(), "lines come again")
        gateway.wait_for_text("the access log is written again", gateway.err)
        # One line may be torn, where the disk was full; every other is whole, and none hangs on it.
        lines = log.read_text().splitlines()
        torn = [line for line in lines if not line.endswith(' user_agent="-" name=- credentials=- protocol=http/1.1'
                                                           ' upstream_protocol=http/1.1 grpc_status=-')]
        self.assertLessEqual(len(torn), 1, torn)
        for line in lines:
            self.assertLessEqual(line.count("time="), 1, line)
        for line in set(lines) - set(torn):
            self.assertEqual(list(fields_of(line)), FIELDS)

    def test_a_full_disk_under_the_error_log_is_said_on_standard_error(self):
        place = self.mount()
        service = self.service()
        (place / "ballast").write_bytes(b"x" * 64 * 1024)
        port = self.start_without_reading(f'access = "off"\nerror = "{place}/error.log"', service)
        wait_until(lambda: "classgate: the log cannot be written: No space left on device; 1 line"
                   in self.err.read_text(), "the complaint")

        def answers():
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                    client.sendall(b"GET /queue/health HTTP/1.0\r\n\r\n")
                    return client.recv(4096).startswith(b"HTTP/1.1 200 ")
            except ConnectionRefusedError:
                return False
        wait_until(answers, "an answer")


class Syslog(LogsTest):
    def test_both_logs_go_to_syslog_line_by_line(self):
        if os.path.exists("/dev/log"):
            self.skipTest("there is a syslog on this machine: /dev/log is taken")
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(receiver.close)
        try:
            receiver.bind("/dev/log")
        except OSError as failure:
            self.skipTest(f"/dev/log cannot be made: {failure}")
        self.addCleanup(os.unlink, "/dev/log")
        heard = []

        def listen():
            while True:
                message = receiver.recv(65536).decode()
                if message == "end":
                    return
                heard.append(message)
        listener = threading.Thread(target=listen)
        listener.start()

        def end():
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
                last.sendto(b"end", "/dev/log")
            listener.join()
        self.addCleanup(end)
        service = self.service()
        port = self.start_without_reading('access = "syslog"\nerror = "syslog"', service)
        wait_until(lambda: self.ask(port), "answers")
        daemon_info = re.compile(r"<30>\w{3} [ \d]\d \d\d:\d\d:\d\d classgate\[\d+\]: (.*)")

        def texts():
            matches = [daemon_info.fullmatch(message) for message in list(heard)]
            return [match.group(1) for match in matches if match]
        wait_until(lambda: any(t.startswith("classgate ") and "listening on" in t for t in texts()),
                   "the error log's line, without a time of its own")
        wait_until(lambda: sum("path=\"/health\"" in t for t in texts()) >= 10, "access lines")
        for text in texts():
            if text.startswith("time="):
                self.assertEqual(list(fields_of(text)), FIELDS)

    def ask(self, port):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                # Pipelined: their lines come to the log as one batch.
                client.sendall(b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n" * 9 +
                               b"GET /health HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
                answer = b""
                while part := client.recv(65536):
                    answer += part
                return answer.count(b"HTTP/1.1 200 ") == 10
        except ConnectionRefusedError:
            return False


if __name__ == "__main__":
    unittest.main(verbosity=2)
