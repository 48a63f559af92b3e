#!/usr/bin/env python3
"""/api/v1/ on ops.listen: who may what, and that it answers as packaging/openapi.json says."""
import http.client
import json
import socket
import ssl
import subprocess
import unittest

from kit import ROOT, FolderTest, wait_until

TOKEN = "a-token-of-the-tests-1234"
KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
         "null": type(None)}
OPENAPI = json.loads((ROOT / "packaging/openapi.json").read_text())


def mistakes(value, schema, at="$"):
    """What of a value is not as its schema says."""
    if "$ref" in schema:
        schema = OPENAPI["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))
                         for kind in kinds):
        return [f"{at} is no {kinds}: {value!r}"]
    found = []
    if isinstance(value, dict):
        found += [f"{at} has no {name}" for name in schema.get("required", []) if name not in value]
        for name, part in value.items():
            if name in schema.get("properties", {}):
                found += mistakes(part, schema["properties"][name], f"{at}.{name}")
            elif schema.get("additionalProperties") is False:
                found.append(f"{at} has {name}, which nobody told of")
    if isinstance(value, list):
        for place, part in enumerate(value):
            found += mistakes(part, schema.get("items", {}), f"{at}[{place}]")
    return found


class ApiTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.upstream = self.service()
        self.tokens = self.file("tokens", f"# of the tests\n{TOKEN}\n")

    def open(self, **settings):
        gateway = self.gateway(self.upstream.address, **{"ops_token_file": self.tokens, **settings})
        gateway.wait_for_health(lambda h: h["status"] == "ok", "an upstream")
        return gateway

    def ask(self, gateway, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", gateway.ops_port, timeout=20)
        self.addCleanup(connection.close)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body if body is None else json.dumps(body), fields)
        answer = connection.getresponse()
        text = answer.read()
        is_json = answer.getheader("Content-Type") == "application/json"
        return answer.status, json.loads(text) if is_json and text else text.decode(), answer

    def order(self, gateway, path, body=None, token=TOKEN):
        return self.ask(gateway, "POST", path, body or {}, Authorization=f"Bearer {token}")[:2]

    def check(self, method, path, status, body):
        told = OPENAPI["paths"][path][method.lower()]["responses"]
        self.assertIn(str(status), told, (method, path, body))
        content = told[str(status)].get("content", {})
        self.assertEqual(list(content), ["application/json"], (method, path))
        self.assertEqual(mistakes(body, content["application/json"]["schema"]), [], (method, path))

    def test_each_answer_is_as_the_openapi_file_says(self):
        gateway = self.open(admission_rate=1, admission_burst=1)
        refused = next(a.headers["X-Request-Id"] for a in (gateway.request() for _ in range(9)) if a.status == 429)
        for path, query, expected in (("/health", "", 200), ("/queue", "", 200), ("/clients", "?top=5", 200),
                                      ("/clients", "?top=x", 400), ("/why", f"?id={refused}", 200),
                                      ("/why", "?id=none", 404), ("/why", "", 400), ("/conf", "", 200),
                                      ("/explain", "?method=POST&target=/v1/classify", 200),
                                      ("/explain", "?client=x", 400), ("/explain", "?header=a:%0d%0ab:c", 400),
                                      ("/limits", "", 200), ("/session", "", 200), ("/recent", "", 200),
                                      ("/forecast", "", 200),
                                      ("/usage", "?by=client&since=3600&top=5", 200), ("/usage", "?by=reason", 200),
                                      ("/usage", "?by=x", 400), ("/usage", "?top=1001", 400),
                                      ("/series", "?since=3600&points=60", 200), ("/series", "?by=route", 400),
                                      ("/series", "?client=c_00000000", 200), ("/series", "?points=0", 400),
                                      ("/sessions", "", 200)):
            with self.subTest(path + query):
                status, body, _ = self.ask(gateway, "GET", "/api/v1" + path + query)
                self.assertEqual(status, expected, body)
                self.check("GET", "/api/v1" + path, status, body)
        for path, order, expected in (("/limits", {"key": "admission.workers", "value": "7"}, 200),
                                      ("/limits", {"key": "admission.workers", "value": 8}, 200),
                                      ("/limits", {"key": "admission.workers", "value": "x"}, 409),
                                      ("/limits", {"key": "log.access", "value": "/tmp/x"}, 400),
                                      ("/limits", {}, 400), ("/reload", None, 200), ("/login", {"token": TOKEN}, 200),
                                      ("/login", {"token": "x"}, 401), ("/login", {}, 400), ("/logout", None, 200),
                                      ("/drain", None, 200)):
            with self.subTest(path, order=order):
                status, body = self.order(gateway, "/api/v1" + path, order)
                self.assertEqual(status, expected, body)
                self.check("POST", "/api/v1" + path, status, body)
        gateway.wait()

    def test_the_check_of_answers_can_fail(self):
        schema = {"type": "object", "required": ["a"], "properties": {"b": {"type": "integer"}}, "additionalProperties": False}
        self.assertEqual(len(mistakes({"b": "1", "c": 2}, schema)), 3)

    def test_nothing_is_changed_by_get_or_without_a_token(self):
        gateway = self.open()
        before = gateway.health()["limits"]
        for path in ("/api/v1/limits", "/api/v1/reload", "/api/v1/drain"):
            order = {"key": "admission.workers", "value": "3"}
            self.assertEqual(self.ask(gateway, "POST", path, order)[0], 401)
            self.assertEqual(self.order(gateway, path, order, "wrong-but-long-enough")[0], 401)
            self.assertEqual(self.ask(gateway, "POST", path, order, Authorization=f"Bearer {TOKEN}",
                                      Origin="https://evil.example")[0], 403)
            self.assertEqual(self.ask(gateway, "POST", path, order, Authorization=f"Bearer {TOKEN}",
                                      Host="evil.example")[0], 421)
        for path in ("/api/v1/reload", "/api/v1/drain", "/api/v1/login"):
            self.assertEqual(self.ask(gateway, "GET", path, Authorization=f"Bearer {TOKEN}")[0], 405)
        self.assertEqual(gateway.health()["limits"], before)
        self.assertEqual(gateway.health()["status"], "ok")

    def test_without_a_token_file_nothing_is_changed_and_probes_are_answered(self):
        gateway = self.open(ops_token_file="")
        self.assertEqual(self.order(gateway, "/api/v1/reload")[0], 403)
        for path in ("/livez", "/readyz", "/metrics", "/queue/health"):
            self.assertEqual(self.ask(gateway, "GET", path, Host="any.example")[0], 200)

    def test_a_token_that_is_taken_out_of_the_file_is_not_believed_after_a_reload(self):
        gateway = self.open()
        self.assertEqual(self.order(gateway, "/api/v1/reload")[0], 200)
        self.file("tokens", "another-token-than-before\n")
        self.assertEqual(self.order(gateway, "/api/v1/reload")[0], 200)
        self.assertEqual(self.order(gateway, "/api/v1/reload")[0], 401)
        self.file("tokens", "short\n")
        self.assertEqual(self.order(gateway, "/api/v1/reload", token="another-token-than-before")[0], 409)

    def viewer(self, gateway, headers="", source="127.0.0.1"):
        connection = socket.create_connection(("127.0.0.1", gateway.ops_port), timeout=20, source_address=(source, 0))
        self.addCleanup(connection.close)
        connection.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
        return connection

    @staticmethod
    def read_until(connection, what):
        text = b""
        while what not in text:
            part = connection.recv(65536)
            assert part, text
            text += part
        return text.decode()

    def test_events_are_differences_and_go_on_where_a_viewer_was(self):
        gateway = self.open()
        viewer = self.viewer(gateway)
        text = self.read_until(viewer, b"event: change")
        self.assertIn("event: all", text)
        self.assertIn("Content-Type: text/event-stream", text)
        epoch, number = self.last_id(text)
        self.read_until(viewer, f"id: {epoch}-{number + 1}\n".encode())
        viewer.close()
        again = self.read_until(self.viewer(gateway, f"Last-Event-ID: {epoch}-{number}\r\n"),
                                f"id: {epoch}-{number + 1}\n".encode())
        self.assertNotIn("event: all", again)
        # Events of another process (a restart, an upgrade), and what is no event of anybody.
        for had in (f"{int(epoch, 16) - 1:x}-{number}", f"{number}", f"{epoch}-", f"{epoch}-{number + 1000}", "-1", "x"):
            self.assertIn("event: all", self.read_until(self.viewer(gateway, f"Last-Event-ID: {had}\r\n"), b"data: "))

    @staticmethod
    def last_id(text):
        """Of the last change: of which process, and which."""
        epoch, number = text.split("event: change")[0].rsplit("id: ", 1)[1].strip().split("-")
        return epoch, int(number)

    def test_viewers_are_bounded_and_shut_no_probe_out(self):
        gateway = self.open(ops_viewers_max=70)
        viewers = []
        for _ in range(70):  # one after the other: of many that have asked nothing yet the first give way
            viewers.append(self.viewer(gateway))
            self.read_until(viewers[-1], b"event: all")
        self.assertEqual(self.ask(gateway, "GET", "/livez")[0], 200)
        # Whoever has most makes room for another, and is told; so do his own later ones.
        self.read_until(self.viewer(gateway, source="127.0.0.2"), b"event: all")
        self.read_until(viewers[0], b"event: displaced")
        self.read_until(self.viewer(gateway, f"Authorization: Bearer {TOKEN}\r\n"), b"event: all")
        self.read_until(viewers[1], b"event: displaced")
        self.read_until(self.viewer(gateway), b"event: all")
        self.read_until(viewers[2], b"event: displaced")
        for viewer in viewers:
            viewer.close()

    def test_where_each_viewer_has_one_place_another_is_told_that_there_is_none(self):
        gateway = self.open(ops_viewers_max=2)
        first = self.viewer(gateway)
        self.read_until(first, b"event: all")
        self.read_until(self.viewer(gateway, source="127.0.0.2"), b"event: all")
        self.assertIn("503", self.read_until(self.viewer(gateway, source="127.0.0.3"), b"\r\n\r\n"))
        first.close()  # whoever leaves makes room
        wait_until(lambda: "200 OK" in self.read_until(self.viewer(gateway, source="127.0.0.3"), b"\r\n\r\n"), "room")

    def test_a_session_may_stand_in_any_of_several_lines_of_cookies(self):
        gateway = self.open()
        _, _, answer = self.ask(gateway, "POST", "/api/v1/login", {"token": TOKEN})
        cookie = answer.getheader("Set-Cookie").split(";")[0]
        self.assertTrue(cookie.startswith(f"classgate_session_{gateway.ops_port}="), cookie)
        for lines in (f"Cookie: {cookie}\r\n", f"Cookie: a=b\r\nCookie: {cookie}\r\nCookie: c=d\r\n"):
            connection = socket.create_connection(("127.0.0.1", gateway.ops_port), timeout=20)
            self.addCleanup(connection.close)
            connection.sendall(f"GET /api/v1/session HTTP/1.1\r\nHost: localhost:{gateway.ops_port}\r\n{lines}\r\n".encode())
            self.assertIn('"logged_in": true', self.read_until(connection, b"must_log_in"))

    def test_a_viewer_has_two_kilobytes_a_second_at_most(self):
        gateway = self.open()
        viewer = self.viewer(gateway)
        first = self.read_until(viewer, b"event: change")
        epoch, start = self.last_id(first)
        for _ in range(200):
            gateway.request()
        text = self.read_until(viewer, f"id: {epoch}-{start + 4}\n".encode())
        self.assertLess(len(text) / 4, 2048)

    def test_with_tls_it_is_the_same(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", self.folder / "key", "-out", self.folder / "certificate", "-subj", "/CN=localhost",
                        "-days", "2"], check=True, capture_output=True)
        gateway = self.gateway(self.upstream.address, ops_token_file=self.tokens, ops_listen="https://127.0.0.1:0",
                               tls_certificate=str(self.folder / "certificate"), tls_key=str(self.folder / "key"))
        context = ssl.create_default_context(cafile=self.folder / "certificate")
        context.check_hostname = False
        connection = http.client.HTTPSConnection("127.0.0.1", gateway.ops_port, timeout=20, context=context)
        self.addCleanup(connection.close)
        connection.request("POST", "/api/v1/login", json.dumps({"token": TOKEN}))
        answer = connection.getresponse()
        self.assertEqual((answer.status, json.loads(answer.read())["logged_in"]), (200, True))
        cookie = answer.getheader("Set-Cookie")
        for word in ("__Host-classgate_session_", "HttpOnly", "SameSite=Strict", "Secure", "Path=/", "Max-Age=28800"):
            self.assertIn(word, cookie)
        connection.request("GET", "/livez")
        self.assertEqual(connection.getresponse().read(), b"every event loop turns\n")


if __name__ == "__main__":
    unittest.main(verbosity=2)
