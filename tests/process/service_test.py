#!/usr/bin/env python3
"""The classify service itself, without a gateway: what the other tests rely on."""
import json
import socket
import unittest

from kit import ProcessTest, get_json, raw_request, read_answer, wait_until


class ClassifyService(ProcessTest):
    def ask(self, service, method, path, body=""):
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
            connection.sendall((f"{method} {path} HTTP/1.1\r\nHost: test\r\n"
                                f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
            answer = read_answer(connection)
        return answer.status, json.loads(answer.body)

    def test_it_classifies_one_text_and_many(self):
        service = self.service()
        status, one = self.ask(service, "POST", "/v1/classify",
                               json.dumps({"text": "Divorce and inheritance law for families"}))
        self.assertEqual((status, one["label"]), (200, "law"))
        self.assertEqual(one["scores"][0]["label"], "law")
        status, many = self.ask(service, "POST", "/v1/classify/batch",
                                json.dumps({"items": ["We bake bread", "Divorce law", ""]}))
        self.assertEqual(status, 200)
        self.assertEqual([result["label"] for result in many["results"]][:2], ["bakery", "law"])
        self.assertEqual(len(many["results"]), 3)

    def test_bad_input_is_a_400_that_says_what_was_expected(self):
        service = self.service()
        for path, body in (("/v1/classify", "{"), ("/v1/classify", "[]"), ("/v1/classify", '{"text": 1}'),
                           ("/v1/classify/batch", '{"items": "x"}'),
                           ("/v1/classify/batch", '{"items": [1]}')):
            status, answer = self.ask(service, "POST", path, body)
            self.assertEqual(status, 400, (path, body))
            self.assertIn("error", answer)
        self.assertEqual(self.ask(service, "GET", "/v1/classify")[0], 405)
        self.assertEqual(self.ask(service, "GET", "/nothing")[0], 404)

    def test_health_and_status(self):
        service = self.service()
        self.assertEqual(self.ask(service, "GET", "/health"), (200, {"status": "ok"}))
        self.assertEqual(self.ask(service, "GET", "/status")[1]["labels"], 11)

    def test_what_is_beyond_its_concurrency_waits_and_is_answered(self):
        service = self.service("--concurrency", "2", "--service-time", "100ms")
        crowd = [socket.create_connection(("127.0.0.1", service.port), timeout=20) for _ in range(6)]
        for connection in crowd:
            self.addCleanup(connection.close)
            connection.sendall(raw_request())
        self.assertEqual([read_answer(connection).status for connection in crowd], [200] * 6)
        stats = service.stats()
        self.assertEqual((stats["started"], stats["finished"], stats["max_running"]), (6, 6, 6))

    def test_it_loses_a_part_of_its_concurrency_and_gets_it_back(self):
        service = self.service("--concurrency", "1", "--service-time", "60s")
        crowd = [socket.create_connection(("127.0.0.1", service.port), timeout=20) for _ in range(3)]
        for connection in crowd:
            self.addCleanup(connection.close)
            connection.sendall(raw_request(headers="X-Service-Time: 60s\r\n"))
            wait_until(lambda: service.stats()["running"] == crowd.index(connection) + 1, "its arrival")
        waiting = socket.create_connection(("127.0.0.1", service.port), timeout=20)
        self.addCleanup(waiting.close)
        waiting.sendall(raw_request(headers="X-Service-Time: 1ms\r\n"))
        wait_until(lambda: service.stats()["running"] == 4, "its arrival")
        self.assertEqual(service.stats()["finished"], 0)
        get_json(service.port, "/concurrency/4")
        self.assertEqual(read_answer(waiting).status, 200)

    def test_it_computes_on_for_a_client_that_has_gone_and_says_so(self):
        service = self.service("--service-time", "100ms")
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
            connection.sendall(raw_request())
            wait_until(lambda: service.stats()["running"] == 1, "a running request")
        wait_until(lambda: service.stats()["running"] == 0, "its end")
        self.assertEqual(service.stats(), {"started": 1, "finished": 1, "finished_for_nobody": 1,
                                           "running": 0, "max_running": 1, "waiting": 0})
        get_json(service.port, "/stats/reset")
        self.assertEqual(service.stats()["started"], 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
