#!/usr/bin/env python3
"""The default limits, observed from outside: real binary, real service, real sockets."""
import socket
import threading
import time
import unittest

from kit import ProcessTest, ask, raw_request, wait_until


class Crowd:
    """Sockets that have each sent one request; answers are read when asked for."""

    def __init__(self, port):
        self.port = port
        self.sockets = []

    def send(self, request):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(request)
        self.sockets.append(connection)
        return connection

    def close(self):
        for connection in self.sockets:
            connection.close()


def read_head(connection):
    text = b""
    while b"\r\n\r\n" not in text:
        part = connection.recv(65536)
        if not part:
            break
        text += part
    return text.decode()


def status_of(head):
    return int(head.split(" ", 2)[1]) if head.startswith("HTTP/1.1 ") else 0


class Limits(ProcessTest):
    def crowd(self, gateway):
        crowd = Crowd(gateway.port)
        self.addCleanup(crowd.close)
        return crowd

    def test_of_500_simultaneous_requests_the_bucket_admits_its_burst_and_what_flows_in(self):
        service = self.service()
        gateway = self.gateway(service.address)
        request = raw_request()
        crowd = self.crowd(gateway)
        began = time.monotonic()
        for _ in range(500):
            crowd.send(request)
        heads = [read_head(connection) for connection in crowd.sockets]
        took = time.monotonic() - began
        admitted = sum(status_of(head) == 200 for head in heads)
        refused = [head for head in heads if status_of(head) == 429]
        self.assertEqual(admitted + len(refused), 500)
        self.assertGreaterEqual(admitted, 200)
        self.assertLessEqual(admitted, 200 + int(100 * took) + 1)
        for head in refused:
            self.assertIn("X-Classgate-Reason: rate_limited\r\n", head)
            self.assertRegex(head, r"\r\nRetry-After: [1-9]\d*\r\n")
            self.assertIn("Content-Type: application/problem+json\r\n", head)
        health = gateway.health()
        self.assertEqual(health["rejected_by_reason"], {"rate_limited": len(refused)})
        self.assertEqual(health["processed_requests"], admitted)
        self.assert_balanced(health)

    def test_health_and_status_are_not_rate_limited(self):
        service = self.service()
        gateway = self.gateway(service.address)
        connection = gateway.connect()
        self.addCleanup(connection.close)
        for _ in range(300):
            self.assertEqual(ask(connection, "GET", "/health").status, 200)
            self.assertEqual(ask(connection, "GET", "/status").status, 200)

    def test_the_1051st_gets_503_at_once_when_50_work_and_1000_wait(self):
        service = self.service("--service-time", "60s", "--concurrency", "2000")
        gateway = self.gateway(service.address, admission_rate=0, admission_request_timeout="2m",
                               admission_queue_timeout="2m")
        crowd = self.crowd(gateway)
        for _ in range(1049):
            crowd.send(raw_request())
        gateway.wait_for_health(lambda h: h["queue_size"] == 999, "999 waiting")
        crowd.send(raw_request())  # the newest
        health = gateway.wait_for_health(
            lambda h: h["active_workers"] == 50 and h["queue_size"] == 1000, "50 + 1000")
        self.assert_balanced(health)
        self.assertEqual(health["queue_by_priority"]["3"], 1000)
        refused = gateway.request(timeout=20)
        self.assertEqual((refused.status, refused.reason), (503, "queue_full"))
        self.assertGreaterEqual(int(refused.retry_after), 1)
        self.assertEqual(refused.json()["reason"], "queue_full")
        # A better priority still gets in: the newest of the worst gives way.
        crowd.send(b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n")
        displaced = read_head(crowd.sockets[1049])
        self.assertEqual(status_of(displaced), 503)
        self.assertIn("X-Classgate-Reason: displaced\r\n", displaced)
        health = gateway.health()
        self.assertEqual((health["queue_size"], health["queue_by_priority"]["1"]), (1000, 1))
        self.assertEqual(service.stats()["running"], 50)
        self.assert_balanced(health)

    def test_clients_that_leave_the_queue_free_their_places_at_once(self):
        service = self.service("--service-time", "60s")
        gateway = self.gateway(service.address, admission_rate=0)
        crowd = self.crowd(gateway)
        for _ in range(50):
            crowd.send(raw_request())
        gateway.wait_for_health(lambda h: h["active_workers"] == 50, "50 busy workers")
        for _ in range(200):
            crowd.send(raw_request())
        gateway.wait_for_health(lambda h: h["queue_size"] == 200, "200 waiting")
        for connection in crowd.sockets[50:]:
            connection.close()
        health = gateway.wait_for_health(lambda h: h["queue_size"] == 0, "an empty queue")
        self.assertEqual((health["abandoned_requests"], health["active_workers"]), (200, 50))
        self.assert_balanced(health)

    def test_a_request_that_takes_too_long_gets_504_and_its_worker_comes_back(self):
        service = self.service()
        gateway = self.gateway(service.address, admission_workers=1,
                               admission_request_timeout="300ms", admission_queue_timeout="300ms")
        answer = gateway.request(headers={"X-Service-Time": "500ms"})
        self.assertEqual((answer.status, answer.reason), (504, "upstream_timeout"))
        # finish: the upstream computes on, so its worker is taken until it is done.
        gateway.wait_for_health(lambda h: h["active_workers"] == 0, "a free worker")
        self.assertEqual(gateway.request().status, 200)
        health = gateway.health()
        self.assertEqual(health["failed_by_reason"], {"upstream_timeout": 1})
        self.assertEqual(service.stats()["max_running"], 1)
        self.assert_balanced(health)

    def test_one_that_waits_too_long_gets_503(self):
        service = self.service("--service-time", "5s")
        gateway = self.gateway(service.address, admission_workers=1, admission_queue_timeout="200ms")
        crowd = self.crowd(gateway)
        crowd.send(raw_request())
        gateway.wait_for_health(lambda h: h["active_workers"] == 1, "a busy worker")
        answer = gateway.request()
        self.assertEqual((answer.status, answer.reason), (503, "queue_timeout"))
        self.assert_balanced(gateway.health())

    def test_100_users_are_answered_without_an_error_when_the_rate_is_out_of_the_way(self):
        service = self.service("--service-time", "100ms", "--concurrency", "50")
        gateway = self.gateway(service.address, admission_rate=0)
        failures = []

        def client():
            connection = gateway.connect()
            try:
                for _ in range(10):
                    answer = ask(connection)
                    if answer.status != 200:
                        failures.append((answer.status, answer.reason))
            except OSError as error:
                failures.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=client) for _ in range(100)]
        for thread in threads:
            thread.start()
        # Work-conserving: whenever someone waits, all workers are busy, or a grant is on its way.
        samples = 0
        while any(thread.is_alive() for thread in threads):
            health = gateway.health()
            self.assert_balanced(health)
            if health["queue_size"] > 0:
                samples += 1
                self.assertEqual(health["active_workers"], 50, health)
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(gateway.health()["processed_requests"], 1000)
        self.assertLessEqual(service.stats()["max_running"], 50)
        self.assertGreater(samples, 0)


class Order(ProcessTest):
    def test_under_saturation_the_upstream_sees_priorities_in_order_and_fifo_inside_one(self):
        import tempfile
        log = tempfile.NamedTemporaryFile("r", suffix=".order")
        service = self.service("--order-log", log.name)
        # All from one address, which by default has a fifth of the workers for /health and /status.
        routes = "".join(f'[[route]]\npath = "{path}"\npriority = 1\nrate_limited = false\n'
                         for path in ("/health", "/status"))
        gateway = self.gateway(service.address, conf=routes, admission_workers=1, admission_rate=0)
        crowd = Crowd(gateway.port)
        self.addCleanup(crowd.close)

        def send(path, sequence, service_time="1ms"):
            crowd.send(raw_request(path, headers=f"X-Seq: {sequence}\r\nX-Service-Time: {service_time}\r\n"))

        send("/v1/classify", "first", "1s")
        gateway.wait_for_health(lambda h: h["active_workers"] == 1, "a busy worker")
        paths = ["/other", "/v1/classify/batch", "/v1/classify", "/status", "/other", "/health",
                 "/v1/classify", "/v1/classify/batch", "/health", "/v1/classify"]
        for i, path in enumerate(paths):
            send(path, i)
            gateway.wait_for_health(lambda h, n=i + 1: h["queue_size"] == n, f"{i + 1} waiting")
        for connection in crowd.sockets:
            self.assertIn(status_of(read_head(connection)), (200, 400))
        seen = [line.split()[-1] for line in log.read().splitlines()]
        priority = {"/health": 1, "/status": 1, "/v1/classify": 3, "/v1/classify/batch": 4, "/other": 5}
        expected = sorted(range(len(paths)), key=lambda i: (priority[paths[i]], i))
        self.assertEqual(seen, ["first"] + [str(i) for i in expected])


if __name__ == "__main__":
    unittest.main(verbosity=2)
