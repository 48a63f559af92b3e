#!/usr/bin/env python3
"""The classify service where it plays one that is planted: that batches, fails when it is crowded, limits its rate."""
import concurrent.futures
import http.client
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "process"))
from kit import Service, ask, wait_until  # noqa: E402

NEVER = "100s"  # longer than the test waits


class PlantedServiceTest(unittest.TestCase):
    def service(self, *options):
        service = Service(*options)
        self.addCleanup(service.end)
        return service

    def connect(self, service):
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
        self.addCleanup(connection.close)
        return connection

    def leave_one_in(self, service):
        connection = self.connect(service)
        connection.request("POST", "/v1/classify", '{"text": "bread"}')
        wait_until(lambda: service.stats()["running"] == 1, "one is in it")
        return connection

    def test_a_group_begins_when_it_is_full_and_all_of_it_are_answered(self):
        service = self.service("--batch", "3", "--batch-wait", NEVER)
        first = self.leave_one_in(service)
        self.assertEqual(service.stats()["waiting"], 1)
        with concurrent.futures.ThreadPoolExecutor(2) as others:
            answers = others.map(lambda connection: ask(connection).status, [self.connect(service) for _ in range(2)])
            self.assertEqual(list(answers), [200, 200])
        self.assertEqual(first.getresponse().status, 200)
        self.assertEqual(service.stats()["finished"], 3)

    def test_a_group_that_is_not_full_begins_after_the_wait(self):
        service = self.service("--batch", "3", "--batch-wait", "1ms")
        self.assertEqual(ask(self.connect(service)).status, 200)

    def test_who_comes_while_a_group_is_computed_waits_for_the_next_one(self):
        service = self.service("--batch", "1", "--service-time", NEVER)
        self.leave_one_in(service)
        wait_until(lambda: service.stats()["waiting"] == 0, "it is computed")
        self.connect(service).request("POST", "/v1/classify", '{"text": "bread"}')
        wait_until(lambda: service.stats()["waiting"] == 1, "the next one waits")

    def test_a_group_is_computed_also_when_one_of_it_has_left(self):
        service = self.service("--batch", "2", "--batch-wait", NEVER)
        self.leave_one_in(service).close()
        self.assertEqual(ask(self.connect(service)).status, 200)
        self.assertEqual(service.stats()["finished_for_nobody"], 1)

    def test_it_fails_when_it_is_crowded(self):
        service = self.service("--fail-beyond", "1", "--service-time", NEVER)
        self.leave_one_in(service)
        self.assertEqual(ask(self.connect(service)).status, 503)
        self.assertEqual(service.stats()["running"], 1)

    def test_it_limits_its_rate(self):
        service = self.service("--rate-limit", "0.001")
        connection = self.connect(service)
        self.assertEqual([ask(connection).status for _ in range(3)], [200, 429, 429])


if __name__ == "__main__":
    unittest.main()
