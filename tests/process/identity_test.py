#!/usr/bin/env python3
"""Who is asking: one id for each client, for good. (Long, because each way to be known, and each thing that an id must
outlive, has its case.)"""
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import tempfile
import threading
import unittest

from kit import CLASSGATE, ProcessTest, ScriptedService, ask, clean_environment, free_port, wait_until

KEY = "alpha-of-a-customer-0123456789"
CONF = """
[fairness]
identity = ["header:X-Api-Key", "address"]
"""


class IdentityTest(ProcessTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.upstream = self.service()

    def classgate(self, *words, conf="", **settings):
        """One that ends by itself: what it said."""
        file = self.folder / "one.conf"
        file.write_text(conf)
        environment = {"CLASSGATE_" + key.upper(): str(value) for key, value in settings.items()}
        return subprocess.run([CLASSGATE, "--conf", file, *words], capture_output=True, text=True, timeout=60,
                              env=clean_environment(environment))

    def id_of(self, gateway, key=KEY):
        code, out, err = gateway.command("explain", "GET", "/x", "-H", "X-Api-Key: " + key, "--json")
        self.assertEqual(code, 0, err)
        return json.loads(out)["client"]["id"]


class Pseudonyms(IdentityTest):
    def test_a_client_has_one_id_over_restarts_upgrades_and_gateways_with_the_same_key(self):
        secret = self.folder / "secret"
        first = self.gateway(self.upstream.address, conf=CONF, clients_secret=secret)
        known = self.id_of(first)
        self.assertRegex(known, r"^c_[0-9a-f]{8}$")
        self.assertNotEqual(known, self.id_of(first, "another"))
        self.assertEqual(stat.S_IMODE(os.stat(secret).st_mode), 0o600)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["secret"])
        successor = re.match(r"process (\d+) took over", first.command("upgrade")[1])
        self.addCleanup(os.kill, int(successor.group(1)), signal.SIGKILL)
        self.assertEqual(self.id_of(first), known)
        beside = self.gateway(self.upstream.address, conf=CONF, clients_secret=secret)
        self.assertEqual(self.id_of(beside), known)
        other = self.gateway(self.upstream.address, conf=CONF, clients_secret=self.folder / "other")
        self.assertNotEqual(self.id_of(other), known)

    def test_where_no_key_can_be_kept_one_line_says_that_the_ids_change(self):
        nowhere = self.folder / "nowhere" / "secret"
        done = self.classgate("--check", clients_secret=nowhere)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"clients.secret: {nowhere}: cannot be made: No such file or directory", done.stderr)
        done = self.classgate(clients_secret=nowhere, listen="127.0.0.1:0", ops_listen="", ops_control="off")
        self.assertEqual(done.returncode, 78)  # to start again at once would not help
        self.assertIn(f"clients.secret: {nowhere}: cannot be made: No such file or directory", done.stderr)
        done = self.classgate("--check", clients_secret=self.folder / "secret")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse((self.folder / "secret").exists())  # a check makes nothing
        off = self.gateway(self.upstream.address, conf=CONF, clients_secret="off")
        again = self.gateway(self.upstream.address, conf=CONF, clients_secret="off")
        self.assertNotEqual(self.id_of(off), self.id_of(again))
        self.assertNotIn("clients.secret", off.err())

    def test_a_key_that_is_none_is_a_mistake_of_the_check_and_of_the_start(self):
        secret = self.folder / "secret"
        secret.write_text("too short\n")
        for words, status in ((("--check",), 1), ((), 78)):
            done = self.classgate(*words, clients_secret=secret, listen="127.0.0.1:0", ops_listen="", ops_control="off")
            self.assertEqual(done.returncode, status)
            self.assertIn(f"clients.secret: {secret}: holds 9 characters, and must hold 32", done.stderr)

    def test_another_key_needs_a_restart_and_a_reload_says_so(self):
        gateway = self.gateway(self.upstream.address, conf=CONF + f'[clients]\nsecret = "{self.folder}/a"\n')
        known = self.id_of(gateway)
        pathlib.Path(gateway.conf.name).write_text(CONF + f'[clients]\nsecret = "{self.folder}/b"\n')
        code, out, err = gateway.command("reload")
        self.assertEqual(code, 0, err)
        self.assertIn("clients.secret needs a restart", out + err)
        self.assertEqual(self.id_of(gateway), known)
        pathlib.Path(gateway.conf.name).write_text(CONF + f'[clients]\nsecret = "{self.folder}/a"\n')
        code, out, err = gateway.command("reload")
        self.assertEqual(code, 0, err)
        self.assertNotIn("needs a restart", out + err)  # it is the one in force

    def test_a_reload_says_when_the_file_holds_another_key_than_the_one_in_force(self):
        secret = self.folder / "secret"
        gateway = self.gateway(self.upstream.address, conf=CONF, clients_secret=secret)
        known, before = self.id_of(gateway), secret.read_text()
        code, out, err = gateway.command("reload")
        self.assertNotIn("clients.secret", out + err)
        secret.write_text("0f3b8a6de1975c24" + "b09d7e48f16ac253" * 3 + "\n")
        for _ in range(2):  # as long as it is so
            code, out, err = gateway.command("reload")
            self.assertEqual(code, 0, err)
            self.assertIn(f"clients.secret: {secret}: holds another key than the one in force", out + err)
        gateway.wait_for_text("holds another key", gateway.err)
        self.assertEqual(self.id_of(gateway), known)
        secret.write_text("\n" + before)
        code, out, err = gateway.command("reload")
        self.assertNotIn("clients.secret", out + err)

    def test_a_reload_to_a_key_that_no_start_would_take_is_refused_by_name(self):
        gateway = self.gateway(self.upstream.address, conf=CONF + f'[clients]\nsecret = "{self.folder}/a"\n')
        (self.folder / "short").write_text("short\n")
        (self.folder / "link").symlink_to(self.folder / "gone")
        for place, why in (("short", "holds 5 characters"), ("link", "is a link to a file that is not there"),
                           ("nowhere/b", "cannot be made: No such file or directory")):
            pathlib.Path(gateway.conf.name).write_text(CONF + f'[clients]\nsecret = "{self.folder}/{place}"\n')
            code, out, err = gateway.command("reload")
            self.assertNotEqual(code, 0, out)
            self.assertIn(f"clients.secret: {self.folder}/{place}: {why}", out + err)

    def test_what_connection_names_is_not_forwarded_and_refused_where_it_tells_who_asks(self):
        came = []

        class Note(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                came.append((self.headers["X-Api-Key"], self.headers["Cookie"]))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass
        with ScriptedService(Note) as service:
            gateway = self.gateway(service.address, conf=CONF.replace('"address"', '"cookie:session"'))

            def said(connection, **fields):
                fields = {name.replace("_", "-"): value for name, value in fields.items()}
                answer = gateway.request("GET", "/x", headers={"Connection": connection, **fields})
                return answer.status, answer.reason
            self.assertEqual(said("close, cookie", X_Api_Key="k", Cookie="session=1"), (204, None))
            self.assertEqual(said("close, x-api-key", X_Api_Key="k", Cookie="session=1"), (400, "malformed"))
            self.assertEqual(said("close, cookie", Cookie="session=1"), (400, "malformed"))
            self.assertEqual(said("close, cookie", Cookie="other=1"), (204, None))
            self.assertEqual(came, [("k", None), (None, None)])

    def test_a_key_that_went_before_an_upgrade_is_told_when_the_ids_are_others(self):
        secret = self.folder / "secret"
        gateway = self.gateway(self.upstream.address, conf=CONF, clients_secret=secret)
        known = self.id_of(gateway)
        self.assertNotIn("made anew", gateway.err())
        secret.unlink()
        successor = re.match(r"process (\d+) took over", gateway.command("upgrade")[1])
        self.addCleanup(os.kill, int(successor.group(1)), signal.SIGKILL)
        self.assertNotEqual(self.id_of(gateway), known)
        gateway.wait_for_text(rf"clients.secret: {secret}: was not there any more, and is made anew", gateway.err)


class Listeners(IdentityTest):
    def test_each_address_tells_clients_by_its_own_identity_and_a_mistake_has_its_place(self):
        ports = [free_port() for _ in range(2)]
        first, second = (f"127.0.0.1:{port}" for port in ports)
        log = self.folder / "access.log"
        conf = (f'listen = ["{first}", "{second}"]\n' + CONF +
                f'[[listener]]\naddress = "{second}"\nidentity = ["bearer"]\n[clients]\nunknown = "own"\nsecret = "off"\n')
        gateway = self.gateway(self.upstream.address, conf=conf, environment={"CLASSGATE_LISTEN": f"{first},{second}"},
                               log_access=log)
        names = {"X-Api-Key": "k", "Authorization": "Bearer t"}

        def client(listener=None, **fields):
            words = [word for name, value in fields.items() for word in ("-H", f"{name.replace('_', '-')}: {value}")]
            code, out, err = gateway.command("explain", "GET", "/x", *words, "--json",
                                             *(("--listener", listener) if listener else ()))
            self.assertEqual(code, 0, err)
            return json.loads(out)["client"]
        both = {"X_Api_Key": "k", "Authorization": "Bearer t"}
        self.assertEqual([client(place, **both)["source"] for place in (None, first, second)],
                         ["header:X-Api-Key", "header:X-Api-Key", "bearer"])
        for number, port in enumerate(ports, 1):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            self.addCleanup(connection.close)
            self.assertEqual(ask(connection, "GET", "/status", headers=names).status, 200)
            wait_until(lambda: log.exists() and len(log.read_text().splitlines()) == number, "its line")
        said = [re.search(r" client=(c_\w+)", line).group(1) for line in log.read_text().splitlines()]
        self.assertEqual(said, [client(first, **both)["id"], client(second, **both)["id"]])
        self.assertNotEqual(said[0], said[1])
        self.assertIn("--listener is none of listen",
                      gateway.command("explain", "GET", "/x", "--listener", "127.0.0.1:1")[2])
        done = self.classgate("--print-config", conf=conf)
        self.assertIn(f'address = "{second}"\nidentity = ["bearer"]', done.stdout)
        for before, after, complaint in ((f'address = "{second}"', 'address = "127.0.0.1:99999"', "is none of listen"),
                                         ('["bearer"]', '["beer"]', '"beer" is none of'),
                                         ('identity = ["bearer"]', "", "needs address and identity, refusal_body or protocols"),
                                         ('identity = ["bearer"]', 'protocols = ["h2"]', '"http/1.1" is always spoken'),
                                         ('identity = ["bearer"]', "identities = []", "did you mean identity?"),
                                         ("[clients]", f'[[listener]]\naddress = "{second}"\nidentity = []\n[clients]',
                                          "stands already at")):
            done = self.classgate("--check", conf=conf.replace(before, after))
            self.assertEqual(done.returncode, 1, complaint)
            self.assertIn(complaint, done.stderr)
            self.assertRegex(done.stderr, r"one\.conf:\d+:\d+: ")


class Names(IdentityTest):
    def test_a_known_client_has_its_name_wherever_it_is_shown_to_an_operator(self):
        clients = self.folder / "clients"
        clients.write_text(f"acme key=sha256:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
        clients.chmod(0o600)
        service = self.service("--service-time", "3s")
        gateway = self.gateway(service.address, conf=CONF + f'[clients]\nclients_file = "{clients}"\n',
                               admission_workers=1)
        known = self.id_of(gateway)
        connections = [gateway.connect() for _ in range(3)]
        for connection, headers in zip(connections, ({"X-Api-Key": KEY}, {"X-Api-Key": KEY}, {})):
            connection.request("POST", "/v1/classify", '{"text": "bread"}', headers)
        gateway.wait_for_health(lambda h: h["active_workers"] + h["queue_size"] == 3, "three requests")
        waiting = {(waiter["name"], waiter["client"] == known, waiter["address"])
                   for waiter in json.loads(gateway.command("queue", "--json")[1])}
        self.assertIn(("acme", True, "127.0.0.1"), waiting)  # as the log and `why` call them
        self.assertIn(f"{known} acme ", gateway.command("queue")[1])
        listed = json.loads(gateway.command("status", "--clients", "--json")[1])["top_clients"]
        self.assertEqual({client["name"] for client in listed if client["id"] == known}, {"acme"})
        self.assertIn(None, {client["name"] for client in listed})
        self.assertRegex(gateway.command("status", "--clients")[1], rf"(?m)^{known} .* acme ")
        self.assertIn(f" {known} (acme) by ", gateway.command("explain", "GET", "/x", "-H", "X-Api-Key: " + KEY)[1])
        for connection in connections:
            connection.close()


class ListenerBodies(IdentityTest):
    def test_each_address_writes_refusals_in_its_own_way_and_a_route_goes_before(self):
        ports = [free_port() for _ in range(2)]
        first, second = (f"127.0.0.1:{port}" for port in ports)
        conf = (f'listen = ["{first}", "{second}"]\n' + CONF +
                f'[[listener]]\naddress = "{second}"\nrefusal_body = "openai"\n'
                '[[route]]\npath = "/plain"\npriority = 5\nrefusal_body = "text"\n'
                '[[route]]\npath = "/other"\npriority = 5\nstatuses = ["rate_limited=503"]\n'
                '[clients]\nunknown = "own"\nsecret = "off"\n')
        gateway = self.gateway(self.upstream.address, conf=conf, environment={"CLASSGATE_LISTEN": f"{first},{second}"},
                               admission_rate=0.001, admission_burst=1)

        def told(port, path):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            self.addCleanup(connection.close)
            answer = ask(connection, "GET", path)
            return answer.status, answer.headers["Content-Type"]
        self.assertEqual(told(ports[0], "/x")[0], 404)  # the service's: it had the only token
        problem, openai, text = "application/problem+json", "application/json", "text/plain; charset=utf-8"
        self.assertEqual([told(port, path) for path in ("/x", "/plain", "/other", "/%00") for port in ports],
                         [(429, problem), (429, openai), (429, text), (429, text), (503, problem), (503, openai),
                          (400, problem), (400, openai)])
        self.assertIn(f'address = "{second}"\nrefusal_body = "openai"\n',
                      self.classgate("--print-config", conf=conf).stdout)


class Secrets(IdentityTest):
    def test_what_a_client_names_itself_by_is_in_no_page_and_no_log(self):
        log = self.folder / "access.log"
        gateway = self.gateway(self.upstream.address, conf=CONF, clients_secret=self.folder / "secret",
                               log_access=log, fairness_rate=0.001, fairness_burst=1)
        for _ in range(3):
            gateway.request(headers={"X-Api-Key": KEY})
        shown = [gateway.command(*words)[1] for words in
                 (("status", "--clients"), ("status", "--clients", "--json"), ("queue",))]
        gateway.command("drain")
        gateway.wait()
        shown += [gateway.out(), gateway.err(), log.read_text(), (self.folder / "secret").read_text()]
        self.assertIn("c_", shown[0])
        for text in shown:
            self.assertIsNone(re.search(re.escape(KEY), text))


def hash_of(key):
    return "key=sha256:" + hashlib.sha256(key.encode()).hexdigest()


KNOWN = CONF + """
[clients]
clients_file = "{file}"
secret = "off"
{more}
[[plan]]
name = "gold"
rate = 1000
burst = 1000
"""


class KnownClients(IdentityTest):
    def setUp(self):
        super().setUp()
        self.file = self.folder / "clients"

    def known(self, clients, more="", **settings):
        self.file.write_text(clients)
        return self.gateway(self.upstream.address, conf=KNOWN.format(file=self.file, more=more), **settings)

    def ask(self, gateway, key=None):
        return gateway.request("GET", "/status", headers={"X-Api-Key": key} if key else {})

    def explained(self, gateway, key):
        code, out, err = gateway.command("explain", "GET", "/x", "-H", "X-Api-Key: " + key, "--json")
        self.assertIn(code, (0, 1), err)
        return json.loads(out)

    def test_key_new_makes_a_key_whose_line_lets_its_client_in(self):
        done = self.classgate("key", "new", "acme")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        key = re.search(r"^  (cgk_[0-9a-z]{32})$", done.stdout, re.M).group(1)
        line = re.search(r"^  (acme key=sha256:[0-9a-f]{64})$", done.stdout, re.M).group(1)
        gateway = self.known(line + " plan=gold\n", 'unknown = "refuse"')
        self.assertEqual(self.ask(gateway, key).status, 200)
        refused = self.ask(gateway, key[:-1])
        self.assertEqual((refused.status, refused.reason), (401, "unknown_client"))
        self.assertEqual(refused.headers["WWW-Authenticate"], 'ApiKey realm="classgate", header="X-Api-Key"')
        self.assertEqual(self.ask(gateway).status, 401)
        self.assertEqual(self.explained(gateway, "other")["verdict"]["reason"], "unknown_client")
        client = self.explained(gateway, key)["client"]
        self.assertEqual((client["name"], client["plan"], client["source"]), ("acme", "gold", "header:X-Api-Key"))
        self.assertGreaterEqual(gateway.health()["rejected_by_reason"]["unknown_client"], 2)
        for words in (("key",), ("key", "new"), ("key", "old", "x"), ("key", "new", "a", "b")):
            done = self.classgate(*words)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn("usage: classgate key new NAME", done.stderr)
        self.assertIn("is no name of a client", self.classgate("key", "new", "a b").stderr)
        self.assertIn("reads like the id of a client", self.classgate("key", "new", "c_4f7a91c2").stderr)

    def test_invented_keys_are_their_address_and_share_its_bucket(self):
        gateway = self.known("acme plan=gold " + hash_of("acme's"), fairness_rate=0.001, fairness_burst=5)
        answers = [gateway.request(headers={"X-Api-Key": f"invented-{i}"}).status for i in range(100)]
        self.assertEqual((answers.count(200), answers.count(429)), (5, 95))
        self.assertEqual([gateway.request(headers={"X-Api-Key": "acme's"}).status for _ in range(50)], [200] * 50)
        self.assertEqual(self.explained(gateway, "invented-7")["client"]["source"], "address")

    def test_a_paid_client_goes_before_a_free_one_and_the_log_tells_their_names(self):
        let_go = threading.Event()

        class Held(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                let_go.wait(60)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        log = self.folder / "access.log"
        clients = "".join(f"{name} plan={plan} {hash_of(name)}\n"
                          for name, plan in (("first", "gold"), ("free", "gold"), ("paid", "top")))
        with ScriptedService(Held) as held:
            self.upstream = held
            gateway = self.known(clients, more='[[plan]]\nname = "top"\npriority = 1\n', admission_workers=1, threads=1,
                                 log_access=log, log_format="json")
            asking = []
            for number, name in enumerate(("first", "free", "free", "paid")):
                asking.append(threading.Thread(target=self.ask, args=(gateway, name)))
                asking[-1].start()
                gateway.wait_for_health(lambda h, n=number: h["active_workers"] + h["queue_size"] == n + 1, "its place")
            let_go.set()
            for one in asking:
                one.join(60)
            lines = wait_until(lambda: len(found := log.read_text().splitlines()) == 4 and found, "four lines")
        self.assertEqual([json.loads(line)["name"] for line in lines], ["first", "paid", "free", "free"])

    def test_why_and_rolled_up_lines_have_the_name_of_who_was_refused(self):
        log = self.folder / "access.log"
        gateway = self.known("acme plan=slow " + hash_of("one") + "\n",
                             '[[plan]]\nname = "slow"\nrate = 0.001\nburst = 1\n', log_access=log, log_format="json",
                             log_refusals_max=1)
        refused = [gateway.request(headers={"X-Api-Key": "one"}) for _ in range(20)][-1]
        self.assertEqual((refused.status, refused.reason), (429, "client_rate"))
        code, out, err = gateway.command("why", refused.headers["X-Request-Id"])
        self.assertRegex(out, r"(?m)^client +c_[0-9a-f]{8} \(acme\), plan ")
        lines = wait_until(lambda: [line for line in map(json.loads, log.read_text().splitlines()) if "rolled_up" in line],
                           "a rolled-up line")
        self.assertEqual({(line["name"], line["plan"]) for line in lines}, {("acme", "slow")})

    def test_the_file_is_read_again_by_a_reload_and_kept_by_a_set(self):
        gateway = self.known("acme " + hash_of("one") + "\n", 'unknown = "refuse"')
        self.file.write_text("acme " + hash_of("two") + "\nb " + hash_of("three") + "\n")
        gateway.do("set", "admission.workers", "7")
        self.assertEqual((self.ask(gateway, "one").status, self.ask(gateway, "two").status), (200, 401))
        code, out, err = gateway.command("reload")
        self.assertEqual(code, 0, err)
        self.assertIn("clients.clients_file says something else: 2 clients (it was 1)", out)
        self.assertEqual([self.ask(gateway, key).status for key in ("one", "two", "three")], [401, 200, 200])
        self.file.write_text("acme plan=glod " + hash_of("two") + "\nacme " + hash_of("x") + " key=cgk_secret\n")
        code, out, err = gateway.command("reload")
        self.assertEqual(code, 1)
        said = out + err
        self.assertIn(f"{self.file}:2:1: acme stands already in line 1", said)
        self.assertIn(f"{self.file}:2:82: key: expected sha256:", said)
        self.assertNotIn("cgk_secret", said + gateway.err())
        self.file.write_text("")
        self.assertIn(f"{self.file} is empty, and was not", "".join(gateway.command("reload")[1:]))
        self.assertEqual(self.ask(gateway, "two").status, 200)

    # 50,000 mistakes made health, which monitoring asks for each second, 4.5 MB long.
    def test_of_many_mistakes_the_first_are_told_and_how_many_more_there_are(self):
        gateway = self.known("acme plan=gold " + hash_of("one") + "\n")
        self.file.write_text("".join(f"c{i} plan=gld {hash_of(str(i))}\n" for i in range(300)))
        code, out, err = gateway.command("reload")
        self.assertEqual(code, 1)
        said = (out + err).splitlines()
        self.assertLess(len(said), 25)
        self.assertIn(f'{self.file}:1:4: there is no [[plan]] "gld"; did you mean "gold"?', out + err)
        self.assertIn("and 81 more: classgate --check tells them", out + err)
        kept = gateway.health()["conf"]["last_reload_error"].splitlines()
        self.assertEqual((len(kept), kept[-1]), (21, "and 81 more: classgate --check tells them"))
        done = self.classgate("--check", conf=KNOWN.format(file=self.file, more=""))
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count("there is no [[plan]]"), 100)
        self.assertIn(f"{self.file}: 200 more clients of plans that are not there\n", done.stderr)

    def test_a_key_ends_when_its_time_is_over(self):
        gateway = self.known(f"old not_after=2001-01-01 {hash_of('o')}\nnew not_before=2001-01-01 {hash_of('n')}\n",
                             'unknown = "refuse"')
        self.assertEqual((self.ask(gateway, "o").status, self.ask(gateway, "n").status), (401, 200))

    def explained_in_words(self, gateway, key):
        page = gateway.command("explain", "GET", "/x", "-H", "X-Api-Key: " + key)[1]
        said = self.explained(gateway, key)
        self.assertNotIn(key, page + json.dumps(said))
        return page, said

    # A customer calls whose key has ended: nobody could tell it from an invented one.
    def test_explain_says_why_a_key_does_not_tell_who_is_asking(self):
        gateway = self.known(f"old not_after=2001-01-01 {hash_of('key-o')}\n"
                             f"new not_before=2999-01-01 {hash_of('key-n')}\n", 'unknown = "refuse"')
        page, said = self.explained_in_words(gateway, "key-o")
        self.assertIn("key       known, but not valid now: old is valid to 2001-01-01T23:59:59Z "
                      "(clients.clients_file)\n", page)
        self.assertEqual(said["key"], "not_valid")
        self.assertEqual(said["not_valid"], {"name": "old", "not_before": None, "not_after": "2001-01-01T23:59:59Z"})
        self.assertIn("new is valid from 2999-01-01T00:00:00Z (", self.explained_in_words(gateway, "key-n")[0])
        page, said = self.explained_in_words(gateway, "invented")
        self.assertIn("key       nobody's: neither in clients.clients_file nor of a plan\n", page)
        self.assertNotIn("not_valid", said)
        refused = [self.ask(gateway, key) for key in ("key-o", "invented")]
        self.assertEqual(*[(one.status, one.reason, one.headers["WWW-Authenticate"]) for one in refused])

    def test_the_log_and_why_say_whose_key_has_ended_and_which_is_nobodys(self):
        log = self.folder / "access.log"
        self.file.write_text(f"old not_after=2001-01-01 {hash_of('key-o')}\nnew not_before=2999-01-01 {hash_of('key-n')}\n")
        gateway = self.gateway(self.upstream.address, log_access=log,
                               conf=KNOWN.format(file=self.file, more='unknown = "refuse"'))
        for key, word, name in (("key-o", "client_expired", "old"), ("key-n", "client_not_yet", "new"),
                                ("invented", "key_unknown", "-")):
            refused = self.ask(gateway, key)
            self.assertEqual((refused.status, refused.reason), (401, "unknown_client"))
            identifier = refused.headers["X-Request-Id"]
            line = wait_until(lambda: re.search(f".* id={identifier} .*", log.read_text() if log.exists() else ""),
                              "its line").group(0)
            self.assertIn(f" name={name} credentials={word}", line)
            why = json.loads(gateway.do("why", identifier, "--json"))["decisions"][0]
            self.assertEqual((why["name"], why["credentials"]), (name, word))
            self.assertIn(f"\ncredential {word} (", gateway.do("why", identifier))
            self.assertEqual(self.explained(gateway, key)["credentials"], word)

    def test_explain_says_that_a_client_is_all_who_are_not_known(self):
        gateway = self.known("acme " + hash_of("a") + "\n", 'unknown = "shared"')
        page, said = self.explained_in_words(gateway, "invented")
        self.assertIn(", the one that all are who are not known (clients.unknown)", page)
        self.assertEqual((said["client"]["source"], said["key"]), ("unknown", "unknown"))

    # Who sent a body that was too large, and what he asked for, was in the log when it came in
    # chunks, and not when Content-Length told.
    def test_what_is_refused_by_its_head_is_told_with_its_client_and_route(self):
        log = self.folder / "access.log"
        gateway = self.known("acme plan=gold " + hash_of("a") + "\n", 'unknown = "refuse"\n[[route]]\npath = "/small"\n'
                             'priority = 2\nbody_bytes = "10B"\nstatuses = ["expectation_failed=418"]',
                             log_access=log, log_format="json")
        for headers, body, status, reason in (({}, "x" * 50, 413, "body_too_large"),
                                              ({"Expect": "miracles"}, "x", 418, "expectation_failed")):
            for key, client in (("a", ("acme", "gold")), ("nobody's", ("-", "-"))):
                answer = gateway.request("POST", "/small", body, {**headers, "X-Api-Key": key})
                self.assertEqual((answer.status, answer.reason), (status, reason))
                identity = answer.headers["X-Request-Id"]
                line = wait_until(lambda: next((one for one in map(json.loads, log.read_text().splitlines())
                                                if one["id"] == identity), None), "its line")
                self.assertEqual((line["path"], line["route"], line["priority"]), ("/small", "/small", 2))
                self.assertEqual((line["name"], line["plan"]), client)
                kept = json.loads(gateway.command("why", identity, "--json")[1])["decisions"][0]
                self.assertEqual((kept["name"], kept["plan"], kept["route"]), (*client, "/small"))

    # "Basic" anywhere made browsers ask for a password on routes that read none.
    def test_a_refusal_asks_for_what_is_read_there_and_for_nothing_else(self):
        ports = [free_port() for _ in range(2)]
        first, second = (f"127.0.0.1:{port}" for port in ports)
        routes = "".join(f'[[route]]\npath = "/{name}"\npriority = 2\nidentity = {identity}\n' for name, identity in (
            ("basic", '["basic"]'), ("bearer", '["bearer"]'), ("query", '["query:key"]'), ("address", '["address"]')))
        self.file.write_text("acme " + hash_of("a") + "\n")
        conf = f'listen = ["{first}", "{second}"]\n' + KNOWN.format(file=self.file, more='unknown = "refuse"') + (
            f'[[listener]]\naddress = "{second}"\nidentity = ["cookie:sid"]\nrefusal_body = "text"\n') + routes
        self.gateway(self.upstream.address, conf=conf, environment={"CLASSGATE_LISTEN": f"{first},{second}"})

        def told(port, path):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            self.addCleanup(connection.close)
            answer = ask(connection, "GET", path)
            return answer.status, answer.headers["Content-Type"], answer.headers["WWW-Authenticate"]
        realm, problem, text = 'realm="classgate"', "application/problem+json", "text/plain; charset=utf-8"
        self.assertEqual(told(ports[0], "/x"), (401, problem, f'ApiKey {realm}, header="X-Api-Key"'))
        self.assertEqual(told(ports[1], "/x"), (401, text, f'ApiKey {realm}, cookie="sid"'))
        for path, challenge in (("/bearer", f"Bearer {realm}"), ("/basic", f'Basic {realm}, charset="UTF-8"'),
                                ("/query", f'ApiKey {realm}, query="key"'), ("/address", f"Address {realm}")):
            self.assertEqual([told(port, path) for port in ports], [(401, problem, challenge), (401, text, challenge)])

    def test_the_check_tells_every_mistake_of_the_file_and_warns_of_own(self):
        self.file.write_text("acme plan=nope " + hash_of("a") + "\n")
        conf = KNOWN.format(file=self.file, more="")
        done = self.classgate("--check", conf=conf)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f'{self.file}:1:6: there is no [[plan]] "nope"', done.stderr)
        done = self.classgate("--check", conf=CONF)
        self.assertEqual(done.returncode, 0)
        self.assertIn('warning: clients.unknown = "own": whoever invents another key', done.stderr)
        self.file.write_text("acme " + hash_of("a") + "\n")
        self.assertNotIn("warning", self.classgate("--check", conf=conf).stderr)

    def test_what_is_printed_of_a_plan_shows_no_key(self):
        done = self.classgate("--print-config",
                              conf=CONF + '[[plan]]\nname = "a"\nclients = ["header:X-Api-Key:top-secret"]\n')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("top-secret", done.stdout + done.stderr)
        self.assertIn("header:X-Api-Key:sha256:" + hashlib.sha256(b"top-secret").hexdigest(), done.stdout)

    def test_a_plan_is_changed_at_run_time_until_the_next_reload(self):
        gateway = self.known("acme plan=gold " + hash_of("a"))
        self.assertEqual(gateway.command("set", "plan.gold.rate", "0.001")[:2],
                         (0, "plan.gold.rate = 0.001 until the next reload\n"))
        gateway.do("set", "plan.gold.burst", "2")
        answers = [gateway.request(headers={"X-Api-Key": "a"}) for _ in range(5)]
        self.assertEqual([answer.status for answer in answers], [200, 200, 429, 429, 429])
        self.assertEqual(answers[-1].reason, "client_rate")
        self.assertEqual(gateway.health()["conf"]["set_at_run_time"],
                         {"plan.gold.rate": "0.001", "plan.gold.burst": "2"})
        gateway.wait_for_text(r"set at run time: plan.gold.rate = 0.001 \(it was 1000\)", gateway.err)
        gateway.do("set", "plan.gold.quota_unit", "cost")
        gateway.wait_for_text(r"set at run time: plan.gold.quota_unit = cost \(it was requests\)", gateway.err)
        for words, complaint in ((("plan.glod.rate", "1"), 'there is no plan "glod"; did you mean "gold"?'),
                                 (("plan.gold.rat", "1"), "did you mean rate?"),
                                 (("plan.gold.rate", "x"), '"x" is not a number'),
                                 (("plan.gold.rate", "1e9"), "is out of range"),
                                 (("plan.gold.rate", "-1"), "plan.gold.rate: -1 is out of range"),
                                 (("plan.gold.rate", "-0"), "plan.gold.rate: -0 is out of range: 0.001 to"),
                                 (("plan.gold.rate", "1e-999"), "is out of range: 0.001 to"),
                                 (("plan.gold.rate", "--", "-0.0"), "plan.gold.rate: -0 is out of range"),
                                 (("plan.gold.queue_size", "-0"), "plan.gold.queue_size: -0 is out of range: 0 to 1000000"),
                                 (("plan.gold.workers", "99999999999999999999"),
                                  "plan.gold.workers: 100000000000000000000 is out of range: 0 to 100000"),
                                 (("plan.gold.quota_day", "99999999999999999999"), "is out of range: 0 to"),
                                 (("plan.gold.quota_unit", "tokens"), 'is none of "requests", "cost"'),
                                 (("plan.gold.burst", "0"), "is out of range"),
                                 (("plan.gold.workers", "1.5"), "expected a whole number"),
                                 (("plan.gold.clients", "x"), "are changed in the conf"),
                                 (("plan.gold", "1"), "write plan.NAME.KEY"), (("plan.", "1"), "write plan.NAME.KEY")):
            code, out, err = gateway.command("set", *words)
            self.assertEqual((code, out), (1, ""))
            self.assertIn(complaint, err)
        code, out, _ = gateway.command("reload")
        self.assertEqual(code, 0)
        self.assertIn("plan.gold.rate = 0.001, set at run time, gave way to the conf", out)

    def test_fifty_thousand_known_clients_are_read_while_requests_flow(self):
        lines = "".join(f"client-{i} plan=gold {hash_of(f'key-{i}')}\n" for i in range(50_000))
        gateway = self.known(lines, 'unknown = "refuse"')
        self.assertEqual([self.ask(gateway, f"key-{i}").status for i in (0, 24_999, 49_999, 50_000)],
                         [200, 200, 200, 401])
        self.file.write_text(lines.replace("key=sha256:0", "key=sha256:1", 1) + "last " + hash_of("last"))
        gateway.do("reload")
        self.assertEqual(self.ask(gateway, "last").status, 200)


if __name__ == "__main__":
    unittest.main()
