#!/usr/bin/env python3
"""One story of each reason: what the client was told, the line in the log, `why`, /queue/health, /metrics and, where
what was refused then would be refused now, `explain`. (Long, because there are as many stories as reasons.)"""
import base64
import http.server
import json
import os
import pathlib
import re
import select
import signal
import socket
import tempfile
import threading
import time
import unittest

from kit import ProcessTest, ScriptedService, scrape, wait_until

HOST = "Host: test\r\n"
GET = f"GET /v1/classify HTTP/1.1\r\n{HOST}\r\n"


class Service(http.server.BaseHTTPRequestHandler):
    """Answers; but to /hold only when the test has ended, to /break never, to /slow after 0.3 s, to /brief after 0.1 s,
    and to /stream with an event each tenth of a second, or one."""
    protocol_version = "HTTP/1.1"
    let_go = threading.Event()
    via = None  # of the last request

    def do_GET(self):
        Service.via = self.headers["Via"]
        if self.path == "/hold":
            self.let_go.wait(60)
        if self.path == "/slow":
            self.let_go.wait(0.3)
        if self.path == "/brief":
            self.let_go.wait(0.1)
        if self.path.startswith("/stream"):
            return self.stream(goes_on=self.path.endswith("on"))
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

    def stream(self, goes_on):
        self.close_connection = True
        try:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b"7\r\ndata: x\r\n")
                self.wfile.flush()
                self.let_go.wait(0.1 if goes_on else 60)
        except OSError:  # the gateway has cut it
            pass

    do_POST = do_GET

    def log_message(self, *_):
        pass


class Heard:
    def __init__(self, text):
        self.status = int(text.split(" ", 2)[1])
        field = lambda name: (re.search(rf"\r\n{name}: ([^\r]*)\r\n", text) or [None, None])[1]
        self.reason, self.id = field("X-Classgate-Reason"), field("X-Request-Id")
        self.retry_after, self.challenge = field("Retry-After"), field("WWW-Authenticate")


def hear(connection):
    heard = b""
    while b"\r\n\r\n" not in heard:
        part = connection.recv(65536)
        assert part, "no answer"
        heard += part
    return Heard(heard.decode())


def connect(gateway, sender="127.0.0.1"):
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=60, source_address=(sender, 0))


def say(gateway, text, sender="127.0.0.1"):
    """The answer to these bytes, on a connection of its own."""
    with connect(gateway, sender) as connection:
        connection.sendall(text.encode())
        return hear(connection)


def twice(text=GET):
    def provoke(gateway, *_):
        say(gateway, text)
        return say(gateway, text)
    return provoke


def base64url(text):
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def with_forged_tokens(gateway, *_):
    """On one connection, and so at one loop, until no more signatures are verified in this second."""
    token = f"""{base64url('{"alg":"HS256"}')}.{base64url('{"sub":"a","exp":4000000000}')}."""
    with connect(gateway) as connection:
        for number in range(100):
            forged = token + base64url(f"{number:032}")
            connection.sendall(f"GET / HTTP/1.1\r\n{HOST}Authorization: Bearer {forged}\r\n\r\n".encode())
            heard = hear(connection)
            if heard.status != 401:
                return heard
    raise AssertionError("as many as came were verified")


def once(text):
    return lambda gateway, *_: say(gateway, text)


def after_the_service_has_gone(text=GET):
    def provoke(gateway, _, service):
        gateway.wait_for_health(lambda h: set(h["upstream"].values()) == {"reachable"}, "the service")
        service.close()
        return say(gateway, text)
    return provoke


def after_nobody_was_there(text=GET):
    def provoke(gateway, *_):
        gateway.wait_for_health(lambda h: set(h["upstream"].values()) == {"unreachable"}, "that nobody is there")
        return say(gateway, text)
    return provoke


def while_held(text=GET, waiting=0, until=lambda health: True):
    """Said while the only worker is taken, so many wait, and its health is so."""
    def provoke(gateway, test, _):
        for number in range(1 + waiting):
            connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
            test.addCleanup(connection.close)
            connection.sendall(f"GET /hold HTTP/1.1\r\n{HOST}\r\n".encode())
            gateway.wait_for_health(lambda h, n=number: h["active_workers"] + h["queue_size"] == n + 1, "its place")
        gateway.wait_for_health(until, "the state for it")
        return say(gateway, text)
    return provoke


def is_left_for(text, before=(), sender="127.0.0.1"):
    """Waits while the only worker is taken, behind others, until one from this sender takes its place."""
    def provoke(gateway, test, _):
        connections = []
        for number, said in enumerate((f"GET /hold HTTP/1.1\r\n{HOST}\r\n", *before, text)):
            connections.append(connect(gateway))
            test.addCleanup(connections[-1].close)
            connections[-1].sendall(said.encode())
            gateway.wait_for_health(lambda h, n=number: h["active_workers"] + h["queue_size"] == n + 1, "its place")
        taker = connect(gateway, sender)
        test.addCleanup(taker.close)
        taker.sendall(GET.encode())
        return hear(connections[-1])
    return provoke


def with_retries(gateway, test, _):
    """A client has three retries to begin with; the fourth is one too many."""
    retry = GET[:-2] + "X-Retry-Count: 1\r\n\r\n"
    for number, said in enumerate((f"GET /hold HTTP/1.1\r\n{HOST}\r\n", retry, retry, retry)):
        connection = connect(gateway)
        test.addCleanup(connection.close)
        connection.sendall(said.encode())
        gateway.wait_for_health(lambda h, n=number: h["active_workers"] + h["queue_size"] == n + 1, "its place")
    return say(gateway, retry)


def known_to_be_slow(gateway, *_):
    """Until it is refused: now and then one is let through, to learn how long its route takes by now."""
    slow = f"GET /slow HTTP/1.1\r\n{HOST}"
    for _ in range(10):
        say(gateway, slow + "\r\n")
        heard = say(gateway, slow + "X-Request-Timeout: 50ms\r\n\r\n")
        if heard.status == 503:
            return heard
    raise AssertionError("nobody was refused")


def before_its_time(gateway, test, _):
    """Twenty others ask all the time, and one that was told to wait asks on, until it has had its part."""
    brief = f"GET /brief HTTP/1.1\r\n{HOST}\r\n"
    is_over = threading.Event()

    def ask(sender):
        while not is_over.is_set():
            say(gateway, brief, sender)

    def impatient():
        """What it hears at once, or nothing: then it waits for its turn. It asks again after 20 ms."""
        connection = connect(gateway)
        connection.sendall(brief.encode())
        if select.select([connection], [], [], 0.1)[0]:
            with connection:
                is_over.wait(0.02)
                return hear(connection)
        connections.append(connection)
        return None

    connections = []
    others = [threading.Thread(target=ask, args=(f"127.0.1.{number}",)) for number in range(1, 21)]
    try:
        for other in others:
            other.start()
        gateway.wait_for_health(lambda h: h["active_workers"] + h["queue_size"] == 20, "all others")
        while not (heard := impatient()) or heard.reason is None:
            pass
        test.assertIn(heard.reason, ("queue_full", "fair_share"))
        for connection in connections:
            connection.close()
        end = time.monotonic() + 60
        while not (heard := impatient()) or heard.reason != "too_soon":
            assert time.monotonic() < end, "all that it asked for was let in"
        return heard
    finally:
        is_over.set()
        for connection in connections:
            connection.close()
        for other in others:
            other.join()


def while_it_drains(gateway, test, _):
    """A request whose head is not whole when the gateway is told to stop; another one keeps it from ending."""
    held, late = connect(gateway), connect(gateway)
    test.addCleanup(held.close)
    held.sendall(f"GET /hold HTTP/1.1\r\n{HOST}\r\n".encode())
    late.sendall(GET[:-2].encode())
    gateway.wait_for_health(lambda h: h["active_workers"] == 1 and h["connections"] == 2, "both")
    gateway.signal(signal.SIGTERM)
    gateway.wait_for_text("draining, at most", gateway.err)
    wait_until(lambda: json.loads(gateway.command("status", "--json")[1])["status"] == "draining", "the drain")
    with late:
        late.sendall(b"\r\n")
        return hear(late)


def that_comes_round(gateway, *_):
    say(gateway, GET)
    return say(gateway, GET[:-2] + f"Via: {Service.via}\r\n\r\n")


def until_shed(gateway, test, _):
    """Five at a time who want what takes 0.3 s each, until one has heard that too many wait for too long."""
    for _ in range(10):
        connections = [connect(gateway) for _ in range(6)]
        for connection in connections:
            test.addCleanup(connection.close)
            connection.sendall(f"GET /slow HTTP/1.1\r\n{HOST}\r\n".encode())
        heard = [hear(connection) for connection in connections]
        for one in heard:
            if one.status == 503:
                return one
    raise AssertionError("nobody was shed")


def cut(path):
    """A stream that the gateway ends: its head has passed."""
    def provoke(gateway, *_):
        with connect(gateway) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\n{HOST}\r\n".encode())
            heard = hear(connection)
            while connection.recv(65536):
                pass
        return heard
    return provoke


NOBODY = "127.0.0.1:1"
BATCH = f"GET /v1/classify/batch HTTP/1.1\r\n{HOST}\r\n"
PLAN = '[[plan]]\nname = "metered"\nclients = ["address:127.0.0.1"]\nquota_day = 1\n'
ROUTE = '[[route]]\npath = "/v1/classify"\npriority = 3\n'
ONE = {"admission_workers": 1, "admission_rate": 0}
# Reason, where the service is (None: the one above), settings, conf, how it comes to it; whether the same would be
# refused now (explain).
STORIES = (
    ("rate_limited", None, {"admission_rate": 0.001, "admission_burst": 1}, "", twice(), True),
    ("route_rate", None, {"admission_rate": 0}, ROUTE + "rate = 0.001\nburst = 1\n", twice(), True),
    ("client_rate", None, {"admission_rate": 0, "fairness_rate": 0.001, "fairness_burst": 1}, "", twice(), True),
    ("client_pattern", None, {**ONE, "admission_target_wait": "1ms", "fairness_rate": "pattern", "fairness_burst": 2,
                              "fairness_pattern_learning": "0s", "fairness_pattern_newcomer": 0.001,
                              "fairness_pattern_floor": 0.001}, "",
     while_held(waiting=1, until=lambda health: health["patterns"]["service_is_short"]), True),
    ("queue_full", None, {**ONE, "admission_queue_size": 0}, "", while_held(), True),
    ("client_queue", None, {**ONE, "fairness_queue_size": 1}, "", while_held(waiting=1), True),
    ("too_soon", None, {**ONE, "admission_queue_size": 40}, "", before_its_time, False),
    ("quota", None, {"clients_quota_file": "FOLDER/quotas.db"}, PLAN, twice(), True),
    ("displaced", None, {**ONE, "admission_queue_size": 1}, "", is_left_for(BATCH), False),
    ("fair_share", None, {**ONE, "admission_queue_size": 2}, "", is_left_for(GET, [GET], "127.0.0.2"), False),
    ("shed", None, {**ONE, "admission_discipline": "adaptive", "admission_target_wait": "10ms"}, "", until_shed, False),
    ("retry_budget", None, {**ONE, "fairness_retry_budget": 0}, "", with_retries, False),
    ("would_miss_deadline", None, {"deadlines_from_client": "true"}, "", known_to_be_slow, False),
    ("draining", None, {"drain_grace": "1ms", "drain_timeout": "60s"}, "", while_it_drains, False),
    ("loop_detected", None, {}, "", that_comes_round, False),
    ("stream_idle", None, {"upstream_stream_idle_timeout": "200ms"}, "", cut("/stream"), False),
    ("stream_too_long", None, {"upstream_stream_time_max": "300ms"}, "", cut("/stream/on"), False),
    ("unknown_client", None, {"clients_unknown": "refuse", "fairness_identity": "header:X-Api-Key"},
     '[[plan]]\nname = "known"\nclients = ["header:X-Api-Key:k"]\n', once(GET), True),
    ("token_checks", None, {"clients_unknown": "refuse", "fairness_identity": "jwt:sub", "jwt_keys_file": "FOLDER/keys",
                            "jwt_algorithms": "HS256", "jwt_checks_max": 1}, "", with_forged_tokens, False),
    ("queue_timeout", None, {**ONE, "admission_queue_timeout": "200ms"}, "", while_held(), False),
    ("deadline", None, {**ONE, "deadlines_from_client": "true", "deadlines_refuse_early": "false"}, "",
     while_held(f"GET /v1/classify HTTP/1.1\r\n{HOST}X-Request-Timeout: 200ms\r\n\r\n"), False),
    ("upstream_unreachable", None, {}, "", after_the_service_has_gone(), False),
    ("upstream_down", NOBODY, {}, "", after_nobody_was_there(), False),
    ("upstream_broken", None, {"upstream_retry_budget": 0}, "",
     once(f"POST /break HTTP/1.1\r\n{HOST}Content-Length: 0\r\n\r\n"), False),
    ("upstream_timeout", None, {"admission_request_timeout": "300ms", "upstream_on_client_abort": "cancel"}, "",
     once(f"GET /hold HTTP/1.1\r\n{HOST}\r\n"), False),
    ("repeated", None, {"admission_request_timeout": "300ms", "upstream_on_client_abort": "cancel",
                        "upstream_repeat_window": "1h"}, "",
     twice(f"POST /hold HTTP/1.1\r\n{HOST}Content-Length: 4\r\n\r\nbody"), False),
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
        pathlib.Path(folder.name, "keys").write_text(json.dumps({"kty": "oct", "k": base64url("nobody's secret, 32 bytes at least")}))

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
            settings = {"fairness_identity": "address", "threads": 2, "clients_secret": log.with_suffix(".secret"),
                        **{key: str(value).replace("FOLDER", str(log.parent)) for key, value in settings.items()}}
            gateway = self.gateway(upstream or service.address, conf=conf, log_access=log, log_format="json", **settings)
            heard = provoke(gateway, self, service)
            is_cut = reason.startswith("stream_")
            self.assertEqual(heard.reason, None if is_cut else reason)
            line = self.line_of(heard.id, log)
            self.assertEqual((line["reason"], line["status"], line["answered_by"]),
                             (reason, heard.status, "service" if is_cut else "gateway"))
            code, out, err = gateway.command("why", heard.id, "--json")
            self.assertEqual((code, err), (0, ""))
            why = json.loads(out)
            self.assertEqual(len(why["decisions"]), 1)
            kept = why["decisions"][0]
            for key in ("id", "client", "address", "method", "path", "route", "priority", "verdict", "reason", "status",
                        "cost", "upstream", "retries", "answered_by", "plan", "name"):
                if (key, reason) != ("upstream", "upstream_down"):
                    self.assertEqual(kept[key], line[key], key)
            for key in ("time", "wait_ms", "deadline_ms", "upload_ms", "upstream_ms", "total_ms", "credentials"):
                self.assertEqual(kept[key], line[key], key)
            page = gateway.command("why", heard.id)[1]
            self.assertIn(f"\ntimes      waited {line['wait_ms']:.3f} ms, at the service {line['upstream_ms']:.3f} ms, "
                          f"{line['total_ms']:.3f} ms in all; ", page)
            self.assertEqual([json.loads(text) for text in why["access_log_lines"]], [line])
            self.assertEqual((kept["conf"]["generation"], why["conf_generation"]), (1, 1))
            lines = [json.loads(text) for text in log.read_text().splitlines()]
            times = sum(line.get("reason") == reason for line in lines)
            self.assertTrue(times == 1 or reason == "shed", times)
            health = gateway.health()
            told = health["rejected_by_reason"].get(reason, 0) + health["failed_by_reason"].get(reason, 0)
            self.assertEqual(told, times, health)
            _, metrics = scrape(gateway)
            counts = re.findall(rf'^classgate_(?:rejections|failures)_total{{reason="{reason}"}} (\d+)$', metrics, re.M)
            self.assertEqual(sum(map(int, counts)), times)
            if goes_on:
                code, out, _ = gateway.command("explain", "GET", "/v1/classify", "--json")
                verdict = json.loads(out)["verdict"]
                self.assertEqual((code, verdict["answer"], verdict["reason"], verdict["status"]),
                                 (1, "refused", reason, heard.status))
            if "rate" in reason:
                self.assertLess(kept["bucket"]["tokens"], 1)
                self.assertEqual(kept["bucket"]["rate"], 0.001)
                self.assertIn(kept["bucket"], kept["buckets"])
            if reason == "token_checks":
                # With a challenge it would throw a good token away.
                self.assertEqual((heard.retry_after, heard.challenge), ("1", None))
            if reason == "quota":
                self.assertEqual((kept["quota"]["limit"], kept["quota"]["left"]), (1, 0))
                self.assertEqual(health["quotas"]["plans"]["metered"]["day"]["used_up"], 1)
            waited = reason in ("displaced", "fair_share", "shed", "queue_timeout", "deadline")
            self.assertEqual(kept["waited_at_place"] is not None, waited)
            if "queue_timeout" in reason:
                self.assertGreaterEqual(kept["wait_ms"], 200)
            gateway.end()

    # "path=- route=-" was all that was said of a 501, though its first line had come.
    def test_of_a_head_that_cannot_be_read_it_is_told_what_had_come_by_then(self):
        conf = ('[[route]]\npath = "/v1/models"\npriority = 2\nrefusal_body = "openai"\n'
                '[fairness]\nidentity = ["header:X-Key", "address"]\n')
        with ScriptedService(Service) as service:
            gateway = self.gateway(service.address, conf=conf, log_access=self.log, log_format="json",
                                   clients_secret=self.log.with_suffix(".secret"), client_header_timeout="300ms")
            asked = json.loads(gateway.command("explain", "GET", "/x", "-H", "X-Key: k", "--json")[1])
            for text, reason, method, client in (
                    (f"POST /v1/models?a HTTP/1.1\r\n{HOST}X-Key: k\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                     "unknown_coding", "POST", asked["client"]["id"]),
                    (f"{'M' * 70} /v1/models HTTP/1.1\r\n{HOST}\r\n", "unknown_method", "-", None),
                    (f"GET /v1/models HTTP/2.0\r\n{HOST}\r\n", "version_refused", "GET", None),
                    (f"GET /v1/models HTTP/1.1\r\n{HOST}Bad Name: x\r\n\r\n", "malformed", "GET", None),
                    (f"GET /v1/models HTTP/1.1\r\n{HOST}X: {'x' * 70000}\r\n\r\n", "header_too_large", "GET", None),
                    (f"GET /v1/models HTTP/1.1\r\n{HOST}", "client_timeout", "GET", None)):
                heard = say(gateway, text)
                line = self.line_of(heard.id, self.log)
                kept = json.loads(gateway.command("why", heard.id, "--json")[1])["decisions"][0]
                for told in (line, kept):
                    self.assertEqual((told["reason"], told["method"], told["path"], told["route"], told["priority"]),
                                     (reason, method, "/v1/models", "/v1/models", 2))
                    if client:
                        self.assertEqual(told["client"], client)
            # Of what came before its first line was whole nothing is told, nor of the request before it.
            heard = say(gateway, "GET /v1/mod")
            self.assertEqual(self.line_of(heard.id, self.log)["path"], "-")
            with connect(gateway) as connection:
                connection.sendall(f"GET /v1/models HTTP/1.1\r\n{HOST}\r\n".encode())
                self.assertEqual(hear(connection).status, 200)
                connection.sendall(b"@ / HTTP/1.1\r\n\r\n")
                line = self.line_of(hear(connection).id, self.log)
            self.assertEqual((line["path"], line["route"], line["method"]), ("-", "-", "-"))

    def test_no_reason_is_left_out(self):
        conf = (pathlib.Path(__file__).resolve().parents[2] / "conf/classgate.conf").read_text()
        reasons = re.findall(r"^([a-z_]+) = \d{3}$", conf.split("\n[status]\n")[1].split("\n[")[0], re.M)
        self.assertGreater(len(reasons), 30)
        told = {story[0] for story in STORIES}
        # The first two are of connections, on which no request was read; the third has memory_test.
        self.assertEqual(set(reasons) - told, {"too_many_connections", "client_connections", "memory_pressure"})
        self.assertEqual(told - set(reasons), set())

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
            self.assertRegex(page, r"buckets +of all: 0(\.\d+)? of 1 tokens, 0.001/s: too few\n")
            self.assertRegex(page, r"limits +rate 0.001/s, burst 1, workers 50, queue 1000, by conf 1, which is in force\n")
            self.assertIn("\nin the access log:\ntime=", page)
            # One that went well is in the log, and only there.
            code, page, err = gateway.command("why", served.headers["X-Request-Id"])
            self.assertEqual((code, err), (0, ""))
            self.assertTrue(page.startswith("in the access log:\ntime="), page)
            # After a log rotation too.
            log.rename(f"{log}.1")
            gateway.do("why", served.headers["X-Request-Id"])
            code, page, err = gateway.command("why", "nobody")
            self.assertEqual((code, page), (1, ""))
            self.assertIn("nothing is known of nobody: the last 10000 refusals and failures are kept", err)
            self.assertIn("which key?", gateway.command("set", "", "1")[2])
            for word, reason in (("", "which request? Its id stands in the answer"), ("a b", "\"a b\" is no id"),
                                 ("a\r\nb", "is no id"), ("x" * 300, "is no id")):
                code, page, err = gateway.command("why", word)
                self.assertEqual((code, page), (1, ""))
                self.assertIn(reason, err)
            # Who was refused under another conf is told which.
            gateway.do("set", "admission.rate", "50")
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
            self.assertEqual(page.count(" id=many "), 13)
            gateway.do("set", "ops.why_found_max", "10")
            code, page, _ = gateway.command("why", "many")
            self.assertEqual(code, 0)
            self.assertEqual(page.count(" id=many "), 10)
            self.assertIn('path="/12"', page)
            self.assertIn("and 3 older lines\n", page)
            # Of those that are kept in memory too.
            gateway.command("set", "admission.rate", "0.001")
            for number in range(250):
                gateway.request(path=f"/{number}", headers={"X-Request-Id": "more"})
            told = json.loads(gateway.command("why", "more", "--json")[1])
            refused = gateway.health()["rejected_by_reason"]["rate_limited"]
            self.assertEqual((len(told["decisions"]), told["decisions_more"]), (10, refused - 10))
            self.assertEqual(told["decisions"][0]["path"], "/249")
            self.assertIn(f"and {refused - 10} older ones with this id are kept", gateway.command("why", "more")[1])

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
