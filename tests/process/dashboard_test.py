#!/usr/bin/env python3
"""The operators' page at / of ops.listen, seen with a real browser, beside a gateway that serves and refuses."""
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import re
import tempfile
import threading
import time
import unittest
import urllib.parse

from browser import Browser
from kit import Gateway, ProcessTest, ScriptedService, Service, get_json, wait_until

TOKEN = "a-token-of-the-tests-1234"
EVIL = "<img src=x onerror=alert(1)>"
HOUR = 3600


class History(http.server.BaseHTTPRequestHandler):
    """Stands before ops.listen and answers what a history would."""
    protocol_version = "HTTP/1.1"
    gateway_port = 0

    @staticmethod
    def forecast(now):
        def text(seconds):
            return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))
        quantiles = {"p50": 10, "p90": 12.5, "p99": 15}
        return {"time": text(now), "known": True, "why_not": None, "minutes_known": 2880, "has_a_day": True,
                "unit": "cost a second", "now": {"demand": 9.5, "by_priority": [], "by_plan": [{"plan": EVIL, "demand": 9.5}]},
                "forecast": [{"horizon": word, "horizon_seconds": seconds, "time": text(now + seconds), **quantiles,
                              "by_priority": [{"priority": 3, **quantiles}], "by_plan": [{"plan": EVIL, **quantiles}],
                              "workers_needed": 7, "last_day": {"minutes": 1440, "mean_absolute_error": 1,
                                                                                   "wape": 0.083, "below_p90": 0.9}}
                             for word, seconds in (("5m", 300), ("15m", 900), ("1h", 3600), ("24h", 86400))],
                "workers": {"target": "wait p95 <= 100ms", "now": 5, "needed_now": 4, "needed": 7, "why_not": None},
                "servers": {"now": 1, "needed": 2, "workers_per_server": 5, "lead_time_seconds": 60},
                "target_missed_at": text(now + 1200),
                "last_day": [{"time": text(now - HOUR * 24 + i * 300), "came": i % 30, "p50": 14, "p90": 28 if i > 9 else None}
                             for i in range(288)]}

    def told(self):
        now = int(time.time())
        times = [now - HOUR * 24 + i * 600 for i in range(144)]
        row = {"requests": 120, "cost": 130, "served": 100, "refused": 15, "failed": 5, "abandoned": 0,
               "wait_ms": {"p50": 1, "p95": 12, "p99": 30}, "service_ms": {"p50": 20, "p95": 50, "p99": 90},
               "reasons": {"rate_limited": 15}}
        some = [i % 30 for i in range(144)]
        return {"/api/v1/usage": {"rows": [{"key": EVIL, **row}, {"key": "tenant-7", **row, "requests": 80}],
                                  "others": row, "total": row},
                "/api/v1/series": {"series": [{"key": "all", "time": times, "requests": some, "served": some,
                                               "refused": some, "failed": some, "wait_ms_p50": some,
                                               "wait_ms_p95": some, "active": some}]},
                "/api/v1/forecast": self.forecast(now),
                "/api/v1/sessions": {"active_now": 3, "active_5m": 4, "active_60m": 9, "distinct_day": 40,
                                     "sessions_begun": 50, "sessions_ended": 47, "new": 12, "returning": 38,
                                     "peak_hour": [{"hour": at, "peak": 3} for at in times[::6]],
                                     "open": [{"client": EVIL, "begun": now, "last": now, "requests": 7}]}}

    def do_GET(self):
        body = self.told().get(self.path.split("?")[0])
        self.send_text(200, "application/json", json.dumps(body).encode(), {}) if body else self.pass_on()

    def do_POST(self):
        self.pass_on()

    def pass_on(self):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.gateway_port, timeout=60)) as connection:
            self.pass_on_by(connection)

    def pass_on_by(self, connection):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        fields = {name: value for name, value in answer.getheaders()
                  if name in ("Content-Security-Policy", "Set-Cookie")}
        kind = answer.getheader("Content-Type")
        if answer.getheader("Content-Length") is not None:
            return self.send_text(answer.status, kind, answer.read(), fields)
        self.send_response(answer.status)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()
        # The browser may leave, or the gateway end.
        with contextlib.suppress(OSError):
            while part := answer.read1(65536):
                self.wfile.write(part)
        answer.close()

    def send_text(self, status, kind, body, fields):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": len(body), **fields}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Overtaken(History):
    """Says of the last hour what it said of it only when `free` is set."""
    free = threading.Event()

    def do_GET(self):
        if not (self.path.startswith("/api/v1/usage") and "since=3600" in self.path):
            return super().do_GET()
        self.free.wait(60)
        row = {**self.told()["/api/v1/usage"]["total"], "key": "who was there in the last hour"}
        return self.send_text(200, "application/json", json.dumps({"rows": [row]}).encode(), {})


class Dashboard(ProcessTest):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)
        cls.folder = tempfile.TemporaryDirectory(prefix="classgate-test-")
        cls.addClassCleanup(cls.folder.cleanup)
        tokens = pathlib.Path(cls.folder.name) / "tokens"
        tokens.write_text(f"# of the tests\n{TOKEN}\n")
        cls.service = Service("--concurrency", "4", "--service-time", "10ms")
        cls.addClassCleanup(cls.service.end)
        cls.open_one = classmethod(lambda own, **settings: Gateway(
            own.service.address, ops_token_file=str(tokens), fairness_identity="header:x-tenant, address", **settings))

    def setUp(self):
        self.gateway = self.start(self.open_one(admission_rate=0.01, admission_burst=3))
        self.gateway.wait_for_health(lambda h: h["status"] == "ok", "an upstream")
        del self.browser.complaints[:], self.browser.requests[:]

    def tearDown(self):
        self.browser.visit("about:blank")  # before the gateway ends: its page would ask on, and complain
        # A browser tells of each 401 and 404 that a page asks for, also of those that it expects.
        ours = [one for one in self.browser.complaints if "the server responded with a status of 4" not in str(one)]
        self.assertEqual(ours, [])

    def look(self, view="now", port=None, width=1280, scheme="light"):
        self.browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
                          mobile=width < 600)
        self.browser.call("Emulation.setEmulatedMedia", media="screen",
                          features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.browser.visit("about:blank")
        self.browser.visit(f"http://127.0.0.1:{port or self.gateway.ops_port}/#{view}")

    def see(self, script, what, seconds=20):
        try:
            return wait_until(lambda: self.browser.ask(script), what, seconds)
        except AssertionError as why:
            raise AssertionError(f"{why}; the page says: {self.text()}") from None

    def text(self):
        return self.browser.ask("document.body.innerText")

    def with_history(self, kind=History):
        service = ScriptedService(type("Bound", (kind,), {"gateway_port": self.gateway.ops_port}))
        self.addCleanup(service.close)
        self.addCleanup(self.browser.visit, "about:blank")
        return int(service.address.split(":")[1])

    def refuse_one(self):
        for _ in range(50):
            answer = self.gateway.request(path="/v1/classify?" + urllib.parse.quote(EVIL),
                                          headers={"x-tenant": EVIL, "User-Agent": EVIL})
            if answer.status == 429:
                return answer.headers["X-Request-Id"]
        raise AssertionError("nothing was refused")

    def test_a_change_is_seen_while_one_looks(self):
        self.look()
        self.see("document.getElementById('verdict').textContent.startsWith('ok: 0 of')", "the verdict")
        self.gateway.request()
        self.see("store.now.total_requests >= 1 && document.querySelector('.tile').innerText.includes('1 in all')",
                 "the request")
        self.assertEqual({urllib.parse.urlsplit(url).netloc for url in self.browser.requests if url.startswith("http")},
                         {f"127.0.0.1:{self.gateway.ops_port}"})

    def test_it_pauses_while_nobody_looks_and_goes_on_where_it_was(self):
        self.look()
        self.see("store.is_live && store.now.time > 0", "the first event")
        self.browser.ask("Object.defineProperty(document, 'hidden', {value: true, configurable: true}),"
                         "document.dispatchEvent(new Event('visibilitychange'))")
        self.assertEqual(self.browser.ask("document.getElementById('link').textContent"), "paused")
        self.assertTrue(self.browser.ask("source === null"))
        self.browser.ask("Object.defineProperty(document, 'hidden', {value: false, configurable: true}),"
                         "document.dispatchEvent(new Event('visibilitychange'))")
        self.see("document.getElementById('link').textContent === 'live'", "to be live again")

    def test_without_a_history_it_says_so(self):
        gateway = self.start(self.open_one(history_keep="false"))
        for view in ("history", "clients", "sessions", "routes"):
            with self.subTest(view):
                self.look(view, gateway.ops_port)
                self.see("document.getElementById('main').innerText.includes('No history')", "what it says")

    def test_the_history_is_that_of_this_gateway(self):
        for tenant in ("a", "a", EVIL):
            self.gateway.request(headers={"x-tenant": tenant})
        told = wait_until(lambda: (lambda u: u if u["total"]["requests"] == 3 else None)(
            get_json(self.gateway.ops_port, "/api/v1/usage?by=client")), "the requests")
        first = told["rows"][0]["key"]
        self.look("history")
        self.see("document.querySelectorAll('figure path').length >= 4", "the charts")
        self.look("clients")
        self.see("document.querySelectorAll('tbody tr').length === 2", "two clients")
        self.assertIn(first, self.text())
        self.browser.ask("document.querySelector('tbody a').click()")
        self.see("document.querySelectorAll('figure').length === 3", "its own view")
        self.look("sessions")
        self.see("document.querySelectorAll('tbody tr').length >= 2", "two sessions")
        self.assertIn(first, self.text())
        self.look("routes")
        self.see("document.getElementById('main').innerText.includes('/v1/classify')", "the route")

    def test_open_zoom_search_a_client_ask_why_log_in_change_a_limit_log_out(self):
        refused = self.refuse_one()
        port = self.with_history()
        self.look("history", port)
        self.see("document.querySelectorAll('figure path').length >= 4", "the charts")
        box = self.browser.ask("(b => [b.left, b.top, b.width, b.height])"
                               "(document.querySelector('figure svg').getBoundingClientRect())")
        for kind, share in (("mousePressed", 0.3), ("mouseMoved", 0.6), ("mouseReleased", 0.6)):
            self.browser.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1,
                              x=box[0] + box[2] * share, y=box[1] + box[3] / 2)
        # All of its charts show the same time.
        self.see("document.querySelectorAll('figure .readout').length === 3 && "
                 "[...document.querySelectorAll('figure svg')].every(s => Number(s.getAttribute('aria-valuemax')) < 80)",
                 "the zoom")
        self.browser.ask("document.querySelector('figure svg').focus()")
        self.browser.press("ArrowLeft")
        self.assertRegex(self.browser.ask("document.querySelector('.readout').textContent"), r"\d\d:\d\d:\d\d: requests \d")
        self.browser.press("Escape")
        self.see("document.querySelector('figure svg').getAttribute('aria-valuemax') === '143'", "all of it")

        self.browser.ask("location.hash = '#clients'")
        self.see("document.querySelectorAll('tbody tr').length === 2", "the clients")
        self.assertIn(EVIL, self.text())
        self.browser.ask("(s => { s.value = 'tenant'; s.dispatchEvent(new Event('input')); })(document.getElementById('search'))")
        self.see("document.querySelectorAll('tbody tr').length === 1", "the one that is searched")
        self.browser.ask("document.querySelector('tbody a').click()")
        self.see("document.querySelectorAll('figure').length === 3", "its own view")

        self.browser.ask("location.hash = '#why'")
        self.see("document.getElementById('why') !== null", "the question")
        self.browser.ask(f"document.getElementById('why').value = '{refused}'")
        self.browser.ask("document.querySelector('form').requestSubmit()")
        self.see("document.querySelector('pre') && document.querySelector('pre').textContent.includes('rate_limited')", "why")

        self.browser.ask("location.hash = '#conf'")
        self.see("document.getElementById('main').innerText.includes('Whoever logs in')", "that one must log in")
        self.browser.ask("document.getElementById('login-link').click()")
        self.see("document.getElementById('token') !== null", "the form")
        for token, then in (("wrong", "document.querySelector('.error')"), (TOKEN, "document.getElementById('limit-key')")):
            self.browser.ask(f"document.getElementById('token').value = '{token}'")
            self.browser.ask("document.querySelector('form').requestSubmit()")
            self.see(then + " !== null", "what comes of it")
        self.assertEqual(self.browser.ask("document.cookie"), "")  # no script reads it
        self.see("document.getElementById('limit-key').value === 'admission.workers'", "the limits")
        self.browser.ask("document.getElementById('limit-value').value = '7'")
        self.browser.ask("document.querySelector('main form').requestSubmit()")
        self.see("document.querySelector('main [role=status]').textContent !== ''", "what comes of it")
        self.assertIn("admission.workers = 7 until", self.browser.ask("document.querySelector('main [role=status]').textContent"))
        self.assertEqual(self.gateway.health()["limits"]["workers"], 7)
        pathlib.Path(self.gateway.conf.name).write_text("[admission]\nqueue_size = 77\n")
        self.browser.ask("document.getElementById('reload').click()")
        self.see("[...document.querySelectorAll('main table')].some(t => t.caption.textContent.startsWith('Changes') && "
                 "t.rows[1].textContent.includes('queue_size') && t.rows[1].textContent.includes('77'))", "what the reload changed")
        self.see("[...document.querySelectorAll('main tbody tr')].some(row => row.cells[0].textContent === "
                 "'admission.queue_size' && row.textContent.includes('conf'))", "where the value comes from now")
        self.browser.ask("document.getElementById('logout').click()")
        self.see("document.getElementById('main').innerText.includes('Whoever logs in')", "to be logged out")

    def test_an_answer_that_a_newer_one_overtook_is_not_shown(self):
        Overtaken.free.clear()
        self.addCleanup(Overtaken.free.set)
        self.look("clients", self.with_history(Overtaken))
        self.see("document.querySelectorAll('tbody tr').length === 2", "the last day")
        for span in ("hour", "day"):
            self.browser.ask(f"[...document.querySelectorAll('button')].find(b => b.textContent === 'last {span}').click()")
        self.see("performance.getEntriesByType('resource').filter(one => one.name.includes('since=86400')).length === 2",
                 "the last day once more")
        Overtaken.free.set()
        self.see("performance.getEntriesByType('resource').some(one => one.name.includes('since=3600'))", "the last hour")
        self.browser.ask("new Promise(done => setTimeout(done))")  # whatever is drawn of it
        self.assertNotIn("the last hour", self.text())
        self.assertIn("tenant-7", self.text())

    def test_it_explains_what_would_become_of_a_request_and_what_is_usual_for_its_client(self):
        gateway = self.start(self.open_one(admission_workers=9, fairness_rate="pattern", fairness_pattern_learning="0s"))
        gateway.wait_for_health(lambda h: h["status"] == "ok", "an upstream")
        self.look("why", gateway.ops_port)
        self.see("document.getElementById('explain') !== null", "the form")
        for field, value in (("target", "/v1/classify"), ("header", "x-tenant: " + EVIL)):
            self.browser.ask(f"document.getElementById('explain-{field}').value = {json.dumps(value)}")
        self.browser.ask("document.getElementById('explain').click()")
        self.see("document.getElementById('pattern-said') !== null", "what is usual")
        self.assertEqual(self.browser.ask("document.getElementById('pattern-said').textContent"),
                         "Of this client no day is known yet; allowed 1/s: counts only while the service is short, which it is not")
        self.assertEqual(self.browser.ask("document.querySelector('.answer').textContent"), "It would be let in")
        self.assertIn("0 of 9", self.text())
        self.browser.ask("document.getElementById('explain-header').value = 'no field'")
        self.browser.ask("document.getElementById('explain').click()")
        self.see("document.querySelector('.answer').textContent.startsWith('It would be refused: 400')", "what is wrong")

    def test_what_comes_is_shown_with_what_it_needs_and_where_nothing_is_known_that_is_said(self):
        self.look("forecast")
        self.see("document.getElementById('main').innerText.includes('No forecast: too little is known')", "what it says")
        self.look("forecast", self.with_history())
        self.see("document.querySelectorAll('figure').length === 2", "the charts")
        tiles = self.browser.ask("[...document.querySelectorAll('.tile')].map(t => t.innerText).join('; ')")
        self.assertRegex(tiles, r"(?s)demand/s.*9\.5.*workers needed.*7.*4 now, of 5.*servers needed.*2.*missed at \d\d:\d\d")
        # The coming hour from now on, and the last day with what was said of it.
        self.assertEqual(self.browser.ask("[...document.querySelectorAll('figure svg')].map(s => s.getAttribute('aria-valuemax'))"),
                         ["3", "287"])
        self.assertIn("8.3 %", self.text())
        self.assertIn("priority 3", self.text())
        self.assertIn("plan " + EVIL, self.text())
        self.assertIn("24h", self.text())

    def test_names_are_text_and_never_markup(self):
        self.refuse_one()
        port = self.with_history()
        for view in ("clients", "routes", "sessions"):
            self.look(view, port)
            self.see(f"document.getElementById('main').innerText.includes({json.dumps(EVIL)})", view)
            self.assertEqual(self.browser.ask("document.querySelectorAll('img').length"), 0)

    def test_it_is_small_and_says_what_it_may(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.ops_port, timeout=20)
        self.addCleanup(connection.close)
        connection.request("GET", "/")
        answer = connection.getresponse()
        policy = answer.getheader("Content-Security-Policy")
        self.assertLess(len(answer.read()), 250_000)
        self.assertRegex(policy, r"^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+';")
        self.assertNotIn("unsafe", policy)

    def test_it_fits_every_window_by_day_and_by_night(self):
        port = self.with_history()
        papers = {}
        for view in ("now", "history", "clients", "sessions", "routes", "forecast", "why", "conf"):
            for width in (390, 1280, 2560):
                for scheme in ("light", "dark"):
                    with self.subTest(view=view, width=width, scheme=scheme):
                        self.look(view, port, width, scheme)
                        self.see("store.now.time > 0 && document.getElementById('main').innerText.length > 20", view)
                        self.assertLessEqual(self.browser.ask(
                            "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"), 0)
                        papers[scheme] = sum(map(int, re.findall(r"\d+", self.browser.ask(
                            "getComputedStyle(document.body).backgroundColor"))[:3]))
                        if folder := os.environ.get("CLASSGATE_SCREENSHOTS"):
                            self.browser.shoot(pathlib.Path(folder) / f"{view}-{width}-{scheme}.png")
        self.assertGreater(papers["light"], 700)
        self.assertLess(papers["dark"], 100)


if __name__ == "__main__":
    unittest.main(verbosity=2)
