#!/usr/bin/env python3
"""One story of each reason: what the client was told, the line in the log, `why`, /queue/health, /metrics and, where
what was refused then would be refused now, `explain`."""
import http.server
import json
import os
import pathlib
import re
import socket
import tempfile
import threading
import unittest

from kit import ProcessTest, ScriptedService, scrape, wait_until

HOST = "Host: test\r\n"
GET = f"GET /v1/classify HTTP/1.1\r\n{HOST}\r\n"


class Service(http.server.BaseHTTPRequestHandler):
    """Answers; but to /hold only when the test has ended, and to /break never."""
    protocol_version = "HTTP/1.1"
    let_go = threading.Event()

    def do_GET(self):
        if self.path == "/hold":
            self.let_go.wait(60)
        if self.path == "/break":
            self.close_connection = True
            return
        try:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")
        except ConnectionError:  # the gateway has ended
            self.close_connection = True

    do_POST = do_GET

    def log_message(self, *_):
        pass


class Heard:
    def __init__(self, text):
        self.status = int(text.split(" ", 2)[1])
        field = lambda name: (re.search(rf"\r\n{name}: ([^\r]*)\r\n", text) or [None, None])[1]
        self.reason, self.id = field("X-Classgate-Reason"), field("X-Request-Id")


def say(gateway, text):
    """The answer to these bytes, on a connection of its own."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as connection:
        connection.sendall(text.encode())
        heard = b""
        while b"\r\n\r\n" not in heard:
            part = connection.recv(65536)
            assert part, "no answer"
            heard += part
    return Heard(heard.decode())


def twice(text=GET):
    def provoke(gateway, *_):
        say(gateway, text)
        return say(gateway, text)
    return provoke


def once(text):
    return lambda gateway, *_: say(gateway, text)


def after_the_service_has_gone(text=GET):
    def provoke(gateway, _, service):
        gateway.wait_for_health(lambda h: set(h["upstream"].values()) == {"reachable"}, "the service")
        service.close()
        return say(gateway, text)
    return provoke


def while_held(text=GET, waiting=0):
    """Said while the only worker is taken, and so many wait."""
    def provoke(gateway, test, _):
        for number in range(1 + waiting):
            connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
            test.addCleanup(connection.close)
            connection.sendall(f"GET /hold HTTP/1.1\r\n{HOST}\r\n".encode())
            gateway.wait_for_health(lambda h, n=number: h["active_workers"] + h["queue_size"] == n + 1, "its place")
        return say(gateway, text)
    return provoke


NOBODY = "127.0.0.1:1"
ROUTE = '[[route]]\npath = "/v1/classify"\npriority = 3\n'
ONE = {"admission_workers": 1, "admission_rate": 0}
# Reason, where the service is (None: the one above), settings, conf, how it comes to it; whether the same would be
# refused now (explain).
STORIES = (
    ("rate_limited", None, {"admission_rate": 0.001, "admission_burst": 1}, "", twice(), True),
    ("route_rate", None, {"admission_rate": 0}, ROUTE + "rate = 0.001\nburst = 1\n", twice(), True),
    ("client_rate", None, {"admission_rate": 0, "fairness_rate": 0.001, "fairness_burst": 1}, "", twice(), True),
    ("queue_full", None, {**ONE, "admission_queue_size": 0}, "", while_held(), True),
    ("client_queue", None, {**ONE, "fairness_queue_size": 1}, "", while_held(waiting=1), True),
    ("queue_timeout", None, {**ONE, "admission_queue_timeout": "200ms"}, "", while_held(), False),
    ("deadline", None, {**ONE, "deadlines_from_client": "true", "deadlines_refuse_early": "false"}, "",
     while_held(f"GET /v1/classify HTTP/1.1\r\n{HOST}X-Request-Timeout: 200ms\r\n\r\n"), False),
    ("upstream_unreachable", None, {}, "", after_the_service_has_gone(), False),
    ("upstream_down", NOBODY, {}, "", once(GET), False),
    ("upstream_broken", None, {"upstream_retry_budget": 0}, "",
     once(f"POST /break HTTP/1.1\r\n{HOST}Content-Length: 0\r\n\r\n"), False),
    ("upstream_timeout", None, {"admission_request_timeout": "300ms", "upstream_on_client_abort": "cancel"}, "",
     once(f"GET /hold HTTP/1.1\r\n{HOST}\r\n"), False),
    ("malformed", None, {}, "", once(f"GET / HTTP/1.1\r\n{HOST}{HOST}\r\n"), False),
    ("header_too_large", None, {"client_header_bytes": "1KiB", "client_target_bytes": "512B"}, "",
     once(f"GET / HTTP/1.1\r\n{HOST}X-A: {'a' * 2000}\r\n\r\n"), False),
    ("target_too_long", None, {"client_target_bytes": "64B"}, "",
     once(f"GET /{'a' * 100} HTTP/1.1\r\n{HOST}\r\n"), False),
    ("body_too_large", None, {"client_body_bytes": "10B"}, "",
     once(f"POST /v1/classify HTTP/1.1\r\n{HOST}Content-Length: 11\r\n\r\n"), False),
    ("client_timeout", None, {"client_header_timeout": "200ms"}, "", once("GET / HTTP/1.1\r\nHost:"), False),
    ("unknown_coding", None, {}, "", once(f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip, chunked\r\n\r\n"), False),
    ("unknown_method", None, {}, "", once(f"{'M' * 70} / HTTP/1.1\r\n{HOST}\r\n"), False),
    ("method_refused", None, {}, "", once(f"CONNECT test:1 HTTP/1.1\r\n{HOST}\r\n"), False),
    ("version_refused", None, {}, "", once(f"GET / HTTP/3.0\r\n{HOST}\r\n"), False),
    ("expectation_failed", None, {}, "", once(f"GET / HTTP/1.1\r\n{HOST}Expect: miracles\r\n\r\n"), False),
)


class Story(ProcessTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="classgate-test-")
        self.addCleanup(folder.cleanup)
        self.log = pathlib.Path(folder.name) / "access.log"

    def line_of(self, identity, log):
        def found():
            for line in log.read_text().splitlines():
                if json.loads(line).get("id") == identity:
                    return json.loads(line)
            return None
        return wait_until(found, f"the line of {identity}")

    def check(self, number, reason, upstream, settings, conf, provoke, goes_on):
        log = self.log.with_suffix(f".{number}")
        with ScriptedService(Service) as service:
            gateway = self.gateway(upstream or service.address, conf=conf, log_access=log, log_format="json",
                                   fairness_identity="address", threads=2, **settings)
            heard = provoke(gateway, self, service)
            self.assertEqual(heard.reason, reason)
            line = self.line_of(heard.id, log)
            self.assertEqual((line["reason"], line["status"], line["answered_by"]), (reason, heard.status, "gateway"))
            code, out, err = gateway.command("why", heard.id, "--json")
            self.assertEqual((code, err), (0, ""))
            why = json.loads(out)
            self.assertEqual(len(why["decisions"]), 1)
            kept = why["decisions"][0]
            for key in ("id", "client", "address", "method", "path", "route", "priority", "verdict", "reason", "status",
                        "cost", "upstream", "retries", "answered_by", "plan"):
                if (key, reason) != ("upstream", "upstream_down"):
                    self.assertEqual(kept[key], line[key], key)
            self.assertEqual(kept["wait_ms"], line["wait_ms"])
            self.assertEqual([json.loads(text) for text in why["access_log_lines"]], [line])
            self.assertEqual((kept["conf"]["generation"], why["conf_generation"]), (1, 1))
            health = gateway.health()
            told = health["rejected_by_reason"].get(reason, 0) + health["failed_by_reason"].get(reason, 0)
            self.assertEqual(told, 1, health)
            _, metrics = scrape(gateway)
            counts = re.findall(rf'^classgate_(?:rejections|failures)_total{{reason="{reason}"}} (\d+)$', metrics, re.M)
            self.assertEqual(sum(map(int, counts)), 1)
            if goes_on:
                code, out, _ = gateway.command("explain", "GET", "/v1/classify", "--json")
                verdict = json.loads(out)["verdict"]
                self.assertEqual((code, verdict["answer"], verdict["reason"], verdict["status"]),
                                 (1, "refused", reason, heard.status))
            if "rate" in reason:
                self.assertLess(kept["bucket"]["tokens"], 1)
                self.assertEqual(kept["bucket"]["rate"], 0.001)
            if "queue_timeout" in reason:
                self.assertGreaterEqual(kept["wait_ms"], 200)
            gateway.end()

    def test_every_place_tells_the_same_of_each_reason(self):
        Service.let_go.clear()
        self.addCleanup(Service.let_go.set)
        for number, story in enumerate(STORIES):
            with self.subTest(story[0]):
                self.check(number, *story)
        Service.let_go.set()


class Why(ProcessTest):
    def test_a_page_for_people_and_what_stands_in_the_log_only(self):
        with tempfile.TemporaryDirectory(prefix="classgate-test-") as folder:
            log = pathlib.Path(folder) / "access.log"
            gateway = self.gateway(self.service().address, log_access=log, admission_rate=0.001, admission_burst=1)
            served, refused = gateway.request(), gateway.request()
            self.assertEqual((served.status, refused.status), (200, 429))
            wait_until(lambda: log.read_text().count("\n") == 2, "both lines")
            identity = refused.headers["X-Request-Id"]
            code, page, err = gateway.command("why", identity)
            self.assertEqual((code, err), (0, ""))
            self.assertRegex(page, r"verdict +rejected: rate_limited \(")
            self.assertRegex(page, r"answer +429 by the gateway, to come back in \d+ s\n")
            self.assertRegex(page, r"bucket +of all: 0(\.\d+)? of 1 tokens, 0.001/s\n")
            self.assertRegex(page, r"limits +rate 0.001/s, burst 1, workers 50, queue 1000, by conf 1, which is in force\n")
            self.assertIn("\nin the access log:\ntime=", page)
            # One that went well is in the log, and only there.
            code, page, err = gateway.command("why", served.headers["X-Request-Id"])
            self.assertEqual((code, err), (0, ""))
            self.assertTrue(page.startswith("in the access log:\ntime="), page)
            # After a log rotation too.
            log.rename(f"{log}.1")
            self.assertEqual(gateway.command("why", served.headers["X-Request-Id"])[0], 0)
            code, page, err = gateway.command("why", "nobody")
            self.assertEqual((code, page), (1, ""))
            self.assertIn("nothing is known of nobody: the last 10000 refusals and failures are kept", err)
            # Who was refused under another conf is told which.
            self.assertEqual(gateway.command("set", "admission.rate", "50")[0], 0)
            self.assertIn("by conf 1; conf 2 is in force now", gateway.command("why", identity)[1])

    def test_a_client_cannot_forge_a_line_nor_push_one_out(self):
        for log_format in ("text", "json"):
            with self.subTest(log_format), tempfile.TemporaryDirectory(prefix="classgate-test-") as folder:
                log = pathlib.Path(folder) / "access.log"
                gateway = self.gateway(self.service().address, log_access=log, log_format=log_format, threads=1)
                identity = gateway.request().headers["X-Request-Id"]
                for _ in range(12):
                    gateway.request(headers={"User-Agent": f'x id={identity} "id":"{identity}" y'})
                wait_until(lambda: log.read_text().count("\n") == 13, "all lines")
                code, out, err = gateway.command("why", identity, "--json")
                self.assertEqual((code, err), (0, ""))
                self.assertEqual(json.loads(out)["access_log_lines"], log.read_text().splitlines()[:1])
                gateway.end()

    def test_the_newest_lines_are_shown_and_how_many_more_there_are(self):
        with tempfile.TemporaryDirectory(prefix="classgate-test-") as folder:
            log = pathlib.Path(folder) / "access.log"
            gateway = self.gateway(self.service().address, log_access=log, client_trusted_proxies="127.0.0.1")
            for number in range(13):
                gateway.request(path=f"/{number}", headers={"X-Request-Id": "many"})
            wait_until(lambda: log.read_text().count("\n") == 13, "all lines")
            code, page, _ = gateway.command("why", "many")
            self.assertEqual(code, 0)
            self.assertEqual(page.count(" id=many "), 10)
            self.assertIn('path="/12"', page)
            self.assertIn("and 3 older lines\n", page)

    def test_only_a_file_is_read_and_one_that_cannot_be_read_is_named(self):
        with tempfile.TemporaryDirectory(prefix="classgate-test-") as folder:
            log = pathlib.Path(folder) / "access.log"
            gateway = self.gateway(self.service().address, log_access=log, admission_rate=0.001, admission_burst=1)
            gateway.request()
            refused = gateway.request().headers["X-Request-Id"]
            wait_until(lambda: log.read_text().count("\n") == 2, "both lines")
            log.unlink()
            trouble = f"the access log cannot be read: {log}: No such file or directory"
            self.assertIn(f"and {trouble}\n", gateway.command("why", "nobody")[2])
            os.mkfifo(log)
            collector = os.open(log, os.O_RDWR | os.O_NONBLOCK)  # reads what others write into it
            self.addCleanup(os.close, collector)
            os.write(collector, "time=x id=nobody y\n".encode())
            trouble = f"the access log cannot be read: {log}: not a regular file"
            code, page, err = gateway.command("why", "nobody")
            self.assertEqual((code, page), (1, ""))
            self.assertIn(f"and {trouble}\n", err)
            code, page, err = gateway.command("why", refused)
            self.assertEqual((code, err), (0, f"classgate: why: {trouble}\n"))
            self.assertNotIn("in the access log", page)
            self.assertEqual(os.read(collector, 100), b"time=x id=nobody y\n")
            out = json.loads(gateway.command("why", refused, "--json")[1])
            self.assertEqual(out["access_log_trouble"], f"{log}: not a regular file")

    def test_it_is_for_the_control_socket_only(self):
        gateway = self.gateway(self.service().address)
        with socket.create_connection(("127.0.0.1", gateway.ops_port), timeout=20) as connection:
            connection.sendall(b"GET /why?id=x HTTP/1.0\r\n\r\n")
            self.assertNotIn(b" 200 ", connection.recv(4096).split(b"\r\n")[0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
