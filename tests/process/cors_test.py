#!/usr/bin/env python3
"""[cors] with a real browser: a page of another origin asks, is refused, and can read why."""
import http.server
import unittest

from browser import Browser
from kit import ProcessTest, ScriptedService

ASK = """
fetch("http://%s/v1/classify", {method: "POST", headers: {"Content-Type": "application/json"},
                               body: JSON.stringify({text: "we bake bread"})})
  .then(async answer => ({status: answer.status, reason: answer.headers.get("X-Classgate-Reason"),
                          later: answer.headers.get("Retry-After"), body: await answer.json()}))
  .catch(error => ({error: String(error)}))
"""


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"<!doctype html><title>a page</title><link rel=icon href=data:,>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Cors(ProcessTest):
    def test_a_page_of_a_named_origin_can_read_its_refusal_and_others_nothing(self):
        browser = Browser()
        self.addCleanup(browser.close)
        service = self.service()
        with ScriptedService(Page) as ours, ScriptedService(Page) as others:
            gateway = self.gateway(service.address, conf=f'[cors]\norigins = ["http://{ours.address}"]\n',
                                   admission_rate=0.001, admission_burst=1, log_access="stdout")
            browser.visit(f"http://{ours.address}/")
            served = browser.ask(ASK % gateway.address)
            self.assertEqual(served.get("status"), 200, served)
            refused = browser.ask(ASK % gateway.address)
            self.assertEqual((refused.get("status"), refused.get("reason")), (429, "rate_limited"), refused)
            self.assertGreater(int(refused["later"]), 0)
            self.assertEqual(refused["body"]["reason"], "rate_limited")
            browser.visit(f"http://{others.address}/")
            self.assertIn("error", browser.ask(ASK % gateway.address))
            # Preflights are in no book and came to no service; the page of elsewhere never got beyond its own.
            health = gateway.health()
            self.assertEqual((health["total_requests"], health["rejected_requests"]), (2, 1))
            self.assert_balanced(health)
            self.assertEqual(gateway.out().count(" method=OPTIONS "), 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
