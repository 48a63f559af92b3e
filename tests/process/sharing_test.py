#!/usr/bin/env python3
"""Several gateways before one service have its workers together: never one too many, whatever happens to them and to
their ledger."""
import http.client
import pathlib
import signal
import socket
import threading
import time
import unittest

from authority import Authority
from kit import FolderTest, PAUSE, free_port, scrape, wait_until
from redis_kit import Impostor, Redis, as_master, command

WORKERS = 12
# Short, so that what must be waited for is over soon; what a request takes is far below request_timeout.
TERMS = {"sharing_period": "20ms", "sharing_lease": "400ms", "sharing_away_max": "20s",
         "admission_request_timeout": "1s", "admission_rate": 0, "admission_workers": WORKERS}


class Clients:
    """So many that ask one gateway again and again, until they are told to stop."""

    def __init__(self, gateway, count):
        self.gateway = gateway
        self.over = threading.Event()
        self.answered = 0
        self.threads = [threading.Thread(target=self.run) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self):
        connection = None
        while not self.over.is_set():
            try:
                connection = connection or self.gateway.connect(timeout=20)
                connection.request("POST", "/v1/classify", '{"text": "bread"}', {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    self.answered += 1  # lossy between threads: only that it grows counts
            except (OSError, http.client.HTTPException):  # its gateway is gone, or has closed
                connection.close()
                PAUSE.wait(0.01)
        if connection:
            connection.close()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


class SharingTest(FolderTest):
    def redis(self, *options, **settings):
        return self.start(Redis(*options, **settings))

    def impostor(self, answer):
        impostor = Impostor(answer)
        self.addCleanup(impostor.end)
        return impostor

    def sharer(self, service, redis, **settings):
        url = redis if isinstance(redis, str) else redis.url
        return self.gateway(service.address, sharing_redis=url, **{**TERMS, **settings})

    def clients(self, gateway, count):
        clients = Clients(gateway, count)
        self.addCleanup(clients.stop)
        return clients

    def service_that_counts(self):
        return self.service("--concurrency", "1000", "--service-time", "20ms", "--spread", "exponential")

    def assert_none_too_many(self, service):
        stats = service.stats()
        self.assertLessEqual(stats["max_running"], WORKERS, stats)

    def wait_for(self, gateway, state, here=None, gateways=None, part=None):
        def is_so(health):
            shared = health["shared_workers"]
            return (health["sharing"] == state and (here is None or here(shared["here"])) and
                    (gateways is None or shared["gateways"] == gateways) and
                    (part is None or shared["without_ledger"] == part))
        return gateway.wait_for_health(is_so, f"sharing: {state}, gateways: {gateways}", 30)["shared_workers"]

    def wait_for_answers(self, *clients, more=20):
        before = [each.answered for each in clients]
        wait_until(lambda: all(each.answered >= was + more for each, was in zip(clients, before)), "more answers", 30)

    def test_four_gateways_are_never_more_than_one_whatever_happens(self):
        service, redis = self.service_that_counts(), self.redis()
        gateways = [self.sharer(service, redis) for _ in range(4)]
        for gateway in gateways:
            self.wait_for(gateway, "ok", gateways=4)
        busy, second, third, fourth = [self.clients(gateway, count) for gateway, count in zip(gateways, (16, 3, 3, 3))]
        self.wait_for_answers(busy, second, third, fourth)

        gateways[3].signal(signal.SIGSTOP)
        self.wait_for_answers(busy, second, third, more=100)
        # Longer than its lease and than its requests may take: what it had is the others'.
        wait_until(lambda: gateways[0].health()["shared_workers"]["here"] >= 6, "seats of the one that is stopped")
        gateways[3].signal(signal.SIGCONT)
        self.wait_for_answers(fourth)

        redis.signal(signal.SIGSTOP)
        self.wait_for(gateways[0], "away")
        self.wait_for_answers(busy, second, third, fourth)
        redis.signal(signal.SIGCONT)
        for gateway in gateways:
            self.wait_for(gateway, "ok")

        redis.end()
        self.wait_for(gateways[1], "away")
        self.wait_for_answers(busy, second, third, fourth)
        redis = self.redis(port=redis.port)  # and all that it knew is lost
        for gateway in gateways:
            self.wait_for(gateway, "ok", gateways=4)
        self.wait_for_answers(busy, second, third, fourth)

        gateways[2].signal(signal.SIGKILL)
        third.over.set()
        gateways[2].wait()
        self.wait_for_answers(busy, second, fourth, more=100)
        self.assert_none_too_many(service)
        # In order, once nothing is in use: the others have its part at once.
        fourth.stop()
        gateways[3].signal(signal.SIGTERM)
        self.assertEqual(gateways[3].wait(), 0)
        self.assertRegex(scrape(gateways[0])[1], r"classgate_sharing_exchanges_total \d")
        self.assert_none_too_many(service)

    def test_what_one_has_no_use_for_another_has(self):
        service, redis = self.service_that_counts(), self.redis()
        busy, idle = self.sharer(service, redis), self.sharer(service, redis)
        self.wait_for(busy, "ok", gateways=2)
        clients = self.clients(busy, WORKERS + 8)
        self.wait_for(busy, "ok", here=lambda here: here == WORKERS)
        self.wait_for(idle, "ok", here=lambda here: here == 0)
        clients.stop()
        self.wait_for(busy, "ok", here=lambda here: here == WORKERS // 2)
        self.assert_none_too_many(service)
        self.assertIn(f"{WORKERS // 2} of {WORKERS} here, 2 gateways", busy.do("status"))

    def test_a_rate_is_one_for_all_gateways_and_is_there_where_the_requests_are(self):
        service, redis = self.service_that_counts(), self.redis()
        rate, burst = 200, 40
        begun = time.monotonic()
        gateways = [self.sharer(service, redis, admission_rate=rate, admission_burst=burst, admission_workers=100)
                    for _ in range(2)]
        for gateway in gateways:
            self.wait_for(gateway, "ok", gateways=2)
        busy = self.clients(gateways[0], 8)

        def has_more_than_its_part():  # which is half of it
            before, since = busy.answered, time.monotonic()
            PAUSE.wait(1)
            return (busy.answered - before) / (time.monotonic() - since) > 0.75 * rate
        wait_until(has_more_than_its_part, "more than half of the rate at one of two gateways", 30)
        shared = gateways[0].health()["shared_workers"]
        self.assertEqual([(one["route"], one["rate"]) for one in shared["rates"]], [(None, rate)])
        self.assertGreater(shared["rates"][0]["here"], 0.5 * rate)
        self.assertRegex(gateways[0].do("status"), rf"rate: \d+\.\d of {rate} requests/s here")
        self.assertRegex(scrape(gateways[0])[1], rf'classgate_sharing_rate{{route=""}} {rate}')
        self.assertIn(f"/s of the {rate}/s that all gateways share",
                      gateways[0].command("explain", "POST", "/v1/classify")[1])
        other = self.clients(gateways[1], 8)
        self.wait_for_answers(busy, other, more=100)
        for each in (busy, other):
            each.stop()
        finished = service.stats()["finished"]
        # Each begins with a bucket as its conf has it.
        self.assertLessEqual(finished, rate * (time.monotonic() - begun) * 1.01 + 2 * burst)
        redis.signal(signal.SIGSTOP)
        for gateway in gateways:
            self.wait_for(gateway, "away")
        before, since = service.stats()["finished"], time.monotonic()
        clients = [self.clients(gateway, 4) for gateway in gateways]
        self.wait_for_answers(*clients, more=100)
        for each in clients:
            each.stop()
        self.assertLessEqual(service.stats()["finished"] - before, rate * (time.monotonic() - since) * 1.01 + burst)
        redis.signal(signal.SIGCONT)

    def test_while_gateways_say_different_rates_the_least_holds_and_those_with_more_say_so(self):
        service, redis = self.service_that_counts(), self.redis()
        low, high = [self.sharer(service, redis, admission_rate=rate, admission_burst=20) for rate in (50, 400)]

        def rates(rate):
            return lambda health: [(one["rate"], one["rate_of_conf"]) for one in health["shared_workers"]["rates"]] == rate
        low.wait_for_health(rates([(50, 50)]), "its own rate", 30)
        high.wait_for_health(rates([(50, 400)]), "the other one's rate", 30)
        self.assertRegex(high.do("status"), r"of 50 requests/s here \(as another gateway's conf says; 400 by this one's\)")
        high.wait_for_text("admission.rate is 400 here and 50 at another gateway: the least holds for all", high.err)
        low.do("set", "admission.rate", "400")
        for gateway in (low, high):
            gateway.wait_for_health(rates([(400, 400)]), "the rate that both have", 30)

    def test_who_ends_in_order_leaves_its_part_to_the_others_at_once(self):
        service, redis = self.service_that_counts(), self.redis()
        first, second = self.sharer(service, redis), self.sharer(service, redis)
        self.wait_for(first, "ok", gateways=2)
        second.signal(signal.SIGTERM)
        self.assertEqual(second.wait(), 0)
        shared = self.wait_for(first, "alone", here=lambda here: here == WORKERS)
        self.assertEqual(shared["without_ledger"], WORKERS)

    def test_who_begins_anew_on_the_same_machine_says_that_the_one_before_is_gone(self):
        service, redis = self.service_that_counts(), self.redis()
        other = self.sharer(service, redis, sharing_away_max="1h")
        state = self.folder / "state"
        state.mkdir()
        for _ in range(2):
            killed = self.sharer(service, redis, sharing_away_max="1h", environment={"CLASSGATE_STATE_DIR": str(state)})
            self.wait_for(other, "ok", gateways=2, part=WORKERS // 2)
            killed.signal(signal.SIGKILL)
            killed.wait()
            other.wait_for_health(lambda health: health["shared_workers"]["kept_for_unseen"] == WORKERS // 2,
                                  "what is kept for one that is gone is told")
        self.assertRegex(other.do("status"), r"\d+ workers are kept for gateways that nobody sees any more")
        again = self.sharer(service, redis, sharing_away_max="1h", environment={"CLASSGATE_STATE_DIR": str(state)})
        again.wait_for_text("has ended on this machine without a farewell", again.err)
        for gateway in (other, again):
            self.wait_for(gateway, "ok", here=lambda here: here == WORKERS // 2, gateways=2, part=WORKERS // 2)
        again.signal(signal.SIGTERM)
        again.wait()
        last = self.sharer(service, redis, sharing_away_max="1h", environment={"CLASSGATE_STATE_DIR": str(state)})
        self.wait_for(last, "ok", gateways=2)
        self.assertNotIn("without a farewell", last.err())

    def end_other(self, gateway, process):
        """One that is no child of this process; what it writes at its end is in a folder that goes next."""
        gateway.command("drain")

        def has_ended():
            try:
                return pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
            except (FileNotFoundError, ProcessLookupError):
                return True
        wait_until(has_ended, "the end of the successor", 30)

    def test_an_upgrade_is_two_processes_and_no_worker_more(self):
        service, redis = self.service_that_counts(), self.redis()
        gateway, other = self.sharer(service, redis), self.sharer(service, redis)
        self.wait_for(other, "ok", gateways=2)
        clients = [self.clients(gateway, 14), self.clients(other, 14)]
        self.wait_for_answers(*clients)
        gateway.do("upgrade")
        successor = gateway.wait_for_text(r"process (\d+) takes over", gateway.err).group(1)
        self.addCleanup(self.end_other, gateway, successor)
        self.wait_for_answers(*clients, more=50)
        gateway.wait()  # the process before
        self.wait_for(other, "ok", gateways=2)
        self.wait_for_answers(*clients, more=50)
        for each in clients:
            each.stop()
        self.assert_none_too_many(service)

    def test_a_reload_to_other_workers_goes_round(self):
        service, redis = self.service_that_counts(), self.redis()
        terms = {key: value for key, value in TERMS.items() if key != "admission_workers"}
        gateways = [self.gateway(service.address, conf=f"[admission]\nworkers = {WORKERS}\n",
                                 sharing_redis=redis.url, **terms) for _ in range(2)]
        for gateway in gateways:
            self.wait_for(gateway, "ok", here=lambda here: here == WORKERS // 2, gateways=2)
        for gateway in gateways:
            gateway.conf.seek(0)
            gateway.conf.write("[admission]\nworkers = 8 \n")
            gateway.conf.flush()
            gateway.do("reload")
        for gateway in gateways:
            self.wait_for(gateway, "ok", here=lambda here: here == 4)

    def test_without_the_ledger_each_does_as_the_conf_says(self):
        service, redis = self.service_that_counts(), self.redis()
        share, is_open, closed = [self.sharer(service, redis, sharing_when_away=when)
                                  for when in ("share", "open", "closed")]
        for gateway in (share, is_open, closed):
            self.wait_for(gateway, "ok", gateways=3, part=WORKERS // 3)
        redis.signal(signal.SIGSTOP)
        self.wait_for(share, "away", here=lambda here: here == WORKERS // 3)
        self.wait_for(is_open, "away", here=lambda here: here == WORKERS)
        self.wait_for(closed, "away", here=lambda here: here == 0)
        self.assertEqual(share.health()["status"], "degraded")
        share.wait_for_text("sharing: away: nothing heard of the ledger for", share.err)
        self.assertEqual(share.request().status, 200)
        redis.signal(signal.SIGCONT)
        for gateway in (share, is_open, closed):
            self.wait_for(gateway, "ok")
        share.wait_for_text("sharing: ok by redis://", share.err)

    def test_until_the_ledger_has_answered_nothing_is_begun(self):
        service, redis = self.service_that_counts(), self.redis()
        port = redis.port
        redis.end()
        gateway = self.sharer(service, f"redis://127.0.0.1:{port}")
        gateway.wait_for_text("sharing: unreachable", gateway.err)
        waiting = threading.Thread(target=gateway.request)
        waiting.start()
        gateway.wait_for_health(lambda health: health["queue_size"] == 1, "it waits")
        self.redis(port=port)
        waiting.join()
        self.wait_for(gateway, "alone", here=lambda here: here == WORKERS)

    def test_of_several_the_one_that_is_written_to_is_found_and_a_failover_followed(self):
        service, first = self.service_that_counts(), self.redis()
        second = self.redis("--replicaof", "127.0.0.1", first.port)
        wait_until(lambda: b"master_link_status:up" in second.ask("INFO", "replication"), "a replica")
        gateways = [self.sharer(service, f"{second.url},{first.url}") for _ in range(2)]
        for gateway in gateways:
            self.wait_for(gateway, "ok", gateways=2)
            gateway.wait_for_text(r"sharing: read_only: .* it is a slave of 127", gateway.err)
        clients = [self.clients(gateway, 14) for gateway in gateways]
        self.wait_for_answers(*clients)
        first.end()
        second.ask("REPLICAOF", "NO", "ONE")
        for gateway in gateways:
            gateway.wait_for_health(lambda health: health["sharing"] == "ok" and
                                    health["shared_workers"]["ledger"] == second.url, "the failover is followed")
        self.wait_for_answers(*clients, more=50)
        for each in clients:
            each.stop()
        self.assert_none_too_many(service)

    def test_a_redis_that_has_forgotten_the_script_is_brought_it_again(self):
        redis = self.redis()
        gateway = self.sharer(self.service(), redis)
        self.wait_for(gateway, "alone")
        redis.ask("SCRIPT", "FLUSH")
        exchanges = gateway.health()["shared_workers"]["exchanges"]
        gateway.wait_for_health(lambda health: health["shared_workers"]["exchanges"] > exchanges + 3, "it goes on")
        self.assertEqual(sum(gateway.health()["shared_workers"]["failures"].values()), 0)

    def test_password_user_and_database(self):
        redis = self.redis("--requirepass", "open sesame")
        right, wrong = self.file("right", "open sesame\n"), self.file("wrong", "open barley\n")
        service = self.service()
        gateway = self.sharer(service, redis.url + "/3", sharing_password_file=right)
        self.wait_for(gateway, "alone")
        self.assertIn(b"keys=1,expires=1", self.ask_with_password(redis, "INFO", "keyspace"))
        named = self.sharer(service, redis.url.replace("//", "//default@") + "/4", sharing_password_file=right)
        self.wait_for(named, "alone")
        for settings in ({"sharing_password_file": wrong}, {}):
            refused = self.sharer(service, redis, **settings)
            refused.wait_for_text(r'sharing: refused: .*see sharing\.password_file', refused.err)
            self.assertNotIn("barley", refused.err())

    def ask_with_password(self, redis, *words):
        with socket.create_connection(("127.0.0.1", redis.port), timeout=10) as connection:
            connection.sendall(command("AUTH", "open sesame"))
            assert connection.recv(100) == b"+OK\r\n"
            connection.sendall(command(*words))
            return connection.recv(65536)

    def test_over_tls_with_its_certificate_verified(self):
        authority, strangers = Authority(), Authority()
        self.addCleanup(authority.folder.cleanup)
        self.addCleanup(strangers.folder.cleanup)
        certificate, key = authority.issue("localhost", names=("DNS:localhost", "IP:127.0.0.1"))
        port = free_port()
        self.redis("--tls-port", str(port), "--tls-cert-file", certificate, "--tls-key-file", key,
                   "--tls-ca-cert-file", authority.ca, "--tls-auth-clients", "no")
        service = self.service()
        gateway = self.sharer(service, f"rediss://127.0.0.1:{port}", sharing_ca_file=authority.ca)
        self.wait_for(gateway, "alone")
        other = self.sharer(service, f"rediss://127.0.0.1:{port}", sharing_ca_file=strangers.ca)
        other.wait_for_text(r"sharing: unreachable: .*certificate", other.err)

    def test_each_thing_that_may_be_wrong_with_a_redis_is_told_with_what_to_do(self):
        service = self.service()
        for answer, kind, advice in (
                (b"-LOADING Redis is loading the dataset in memory\r\n", "busy", "comes back by itself"),
                (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", "full", "give it memory"),
                (b"-MOVED 3999 127.0.0.1:6381\r\n", "read_only", "name the one that is written to"),
                (b"-NOPERM this user has no permissions\r\n", "refused", "what the user may do"),
                (b"HTTP/1.1 400 Bad Request\r\n\r\n", "malformed", "see whether it is a Redis"),
                (b"*2147483647\r\n", "malformed", "see whether it is a Redis"),
                (b"$200000000\r\n" + b"x" * 300_000, "malformed", "see whether it is a Redis"),
                (b"*3\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6379\r\n", "read_only", "it is a slave of 127.0.0.1:6379"),
                (None, "slow", "SLOWLOG")):
            with self.subTest(kind=kind, answer=answer and answer[:20]):
                gateway = self.sharer(service, self.impostor(answer))
                gateway.wait_for_text(rf"sharing: {kind}: .*{advice}", gateway.err)
                gateway.wait_for_health(lambda health: health["shared_workers"]["failures"][kind] >= 3, "it tries again")
                # It is said once, however often it happens.
                self.assertEqual(gateway.err().count(f"sharing: {kind}: "), 1)
                gateway.end()


    def test_who_answers_the_script_with_something_else_is_told_and_not_asked_without_a_pause(self):
        service = self.service()
        for run, said in ((b"-NOSCRIPT No matching script.\r\n", "it forgets the script at once"),
                          (b"+OK\r\n", "it answers something else"),
                          (b"$-1\r\n", "it answers the script with nothing"),
                          (b"*2\r\n:0\r\n:5\r\n", "it hears no report of this gateway"),
                          (b"*8\r\n:1\r\n:5\r\n$1\r\na\r\n" + b":4294967295\r\n" * 5, "it answers something else")):
            with self.subTest(run=run):
                times = []

                def counted(part, answer=as_master(run), times=times):
                    times.append(time.monotonic())
                    return answer(part)
                gateway = self.sharer(service, self.impostor(counted))
                gateway.wait_for_text(f"sharing: malformed: .*{said}", gateway.err)
                gateway.wait_for_health(lambda h: h["shared_workers"]["failures"]["malformed"] >= 3, "it tries again")
                # Beside the tries, a period apart at least, some commands of each.
                self.assertLess(len(times), 50 + 20 * (times[-1] - times[0]) / 0.02)
                self.assertEqual(gateway.health()["shared_workers"]["here"], 0)
                gateway.end()

    def test_two_servers_with_troubles_of_their_own_are_told_of_once_each(self):
        service = self.service()
        redis = self.impostor(b"-NOAUTH Authentication required.\r\n")
        gateway = self.sharer(service, f"redis://127.0.0.1:{free_port()},{redis.url}")
        gateway.wait_for_health(lambda h: min(h["shared_workers"]["failures"][kind] for kind in
                                              ("unreachable", "refused")) >= 5, "both are tried again")
        for kind in ("unreachable", "refused"):
            self.assertEqual(gateway.err().count(f"sharing: {kind}: "), 1)

    def test_those_killed_before_they_could_tell_of_the_one_before_are_told_of_later(self):
        service, redis = self.service_that_counts(), self.redis()
        other = self.sharer(service, redis, sharing_away_max="1h")
        state = self.folder / "state"
        state.mkdir()
        settings = {"sharing_away_max": "1h", "environment": {"CLASSGATE_STATE_DIR": str(state)}}
        first = self.sharer(service, redis, **settings)
        self.wait_for(other, "ok", gateways=2, part=WORKERS // 2)
        redis.signal(signal.SIGSTOP)
        for gateway in (first, self.sharer(service, redis, **settings)):
            gateway.signal(signal.SIGKILL)
            gateway.wait()
        last = self.sharer(service, redis, **settings)
        redis.signal(signal.SIGCONT)
        for gateway in (other, last):
            self.wait_for(gateway, "ok", here=lambda here: here == WORKERS // 2, gateways=2, part=WORKERS // 2)


if __name__ == "__main__":
    unittest.main()
