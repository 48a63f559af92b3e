#!/usr/bin/env python3
"""Signed tokens that say who is asking, made by python3-cryptography: not by what the gateway reads them with."""
import base64
import hmac
import json
import pathlib
import re
import socket
import subprocess
import tempfile
import time
import unittest

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from kit import CLASSGATE, ProcessTest, clean_environment, raw_request, read_answer, scrape, wait_until

CONF = """
[fairness]
identity = ["jwt:sub", "address"]
[clients]
secret = "off"
unknown = "refuse"
[jwt]
keys_file = "{keys}"
algorithms = {algorithms}
aud = ["api"]
{more}
"""


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value):
    return base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Issuer:
    """Makes tokens of one algorithm."""

    def __init__(self, algorithm, kid):
        self.algorithm, self.kid = algorithm, kid
        self.key = {"RS256": lambda: rsa.generate_private_key(65537, 2048),
                    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
                    "EdDSA": ed25519.Ed25519PrivateKey.generate,
                    "HS256": lambda: b"thirty-two bytes of a secret, no less"}[algorithm]()

    def jwk(self):
        named = {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        if self.algorithm == "HS256":
            return {**named, "kty": "oct", "k": base64url(self.key)}
        public = self.key.public_key()
        if self.algorithm == "RS256":
            numbers = public.public_numbers()
            return {**named, "kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
        if self.algorithm == "ES256":
            numbers = public.public_numbers()
            return {**named, "kty": "EC", "crv": "P-256", "x": base64url(numbers.x.to_bytes(32, "big")),
                    "y": base64url(numbers.y.to_bytes(32, "big"))}
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {**named, "kty": "OKP", "crv": "Ed25519", "x": base64url(raw)}

    def pem(self):
        return self.key.public_key().public_bytes(serialization.Encoding.PEM,
                                                  serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    def sign(self, text):
        if self.algorithm == "HS256":
            return hmac.digest(self.key, text, "sha256")
        if self.algorithm == "RS256":
            return self.key.sign(text, padding.PKCS1v15(), hashes.SHA256())
        if self.algorithm == "ES256":
            r, s = decode_dss_signature(self.key.sign(text, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return self.key.sign(text)

    def token(self, sub="alice", seconds=600, header=None, **claims):
        header = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT", **(header or {})}
        claims = {"sub": sub, "aud": "api", "exp": int(time.time()) + seconds, **claims}
        text = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        return text + "." + base64url(self.sign(text.encode()))


class Tokens(ProcessTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.keys = self.folder / "keys.json"
        self.upstream = self.service()

    def write_keys(self, *issuers):
        self.keys.write_text(json.dumps({"keys": [issuer.jwk() for issuer in issuers]}, indent=1))

    def conf(self, *algorithms, more=""):
        return CONF.format(keys=self.keys, algorithms=json.dumps(algorithms), more=more)

    def ask(self, gateway, token):
        return gateway.request("GET", "/status", headers={"Authorization": "Bearer " + token})

    def explained(self, gateway, token):
        code, out, err = gateway.command("explain", "GET", "/x", "-H", "Authorization: Bearer " + token, "--json")
        self.assertIn(code, (0, 1), err)
        return json.loads(out)

    def check(self, conf):
        file = self.folder / "one.conf"
        file.write_text(conf)
        return subprocess.run([CLASSGATE, "--conf", file, "--check"], capture_output=True, text=True, timeout=60,
                              env=clean_environment({"CLASSGATE_CLIENTS_SECRET": "off"}))

    def test_tokens_of_every_algorithm_let_their_subject_in_and_a_forged_one_is_told_why_not(self):
        issuers = [Issuer(name, name + "-1") for name in ("RS256", "ES256", "EdDSA", "HS256")]
        self.write_keys(*issuers)
        gateway = self.gateway(self.upstream.address, conf=self.conf("RS256", "ES256", "EdDSA", "HS256"))
        ids = set()
        for issuer in issuers:
            token = issuer.token()
            self.assertEqual(self.ask(gateway, token).status, 200, issuer.algorithm)
            self.assertEqual(self.ask(gateway, token).status, 200)  # as the loop remembers it
            ids.add(self.explained(gateway, token)["client"]["id"])
            for other in (token[:-8] + "AAAAAAAA", issuer.token(header={"alg": "none"}),
                          issuer.token(header={"kid": "../../../dev/null"}), issuer.token(aud="web"),
                          issuer.token(seconds=-1), issuer.token(seconds=0)):
                refused = self.ask(gateway, other)
                self.assertEqual((refused.status, refused.reason), (401, "unknown_client"))
                self.assertRegex(refused.headers["WWW-Authenticate"],
                                 r'^Bearer realm="classgate", error="invalid_token", error_description="[^"]+"$')
        self.assertEqual(len(ids), 1)  # whoever says it
        self.assertEqual(self.explained(gateway, issuers[0].token(seconds=-1))["token"], "expired")
        self.assertEqual(self.explained(gateway, issuers[0].token(header={"alg": "RS512"}))["token"], "algorithm")
        nobody = gateway.request("GET", "/status")
        self.assertEqual((nobody.status, nobody.headers["WWW-Authenticate"]), (401, 'Bearer realm="classgate"'))

    def test_explain_says_in_words_why_a_token_does_not_tell_who_is_asking(self):
        issuer, other = Issuer("ES256", "k"), Issuer("ES256", "other")
        self.write_keys(issuer)
        gateway = self.gateway(self.upstream.address, conf=self.conf("ES256"))
        good = issuer.token()
        for token, words in ((issuer.token(seconds=-1), "not believed: it has expired (exp)"),
                             (issuer.token(aud="web"), "not believed: its audience (aud) is none of jwt.aud"),
                             (other.token(), "not believed: no key of jwt.keys_file is of its algorithm, kid"),
                             (issuer.token(header={"alg": "none"}), "not believed: its algorithm (alg) is none"),
                             (issuer.token("bob")[:-10] + "AAAAAAAAAA", "not believed: none of the keys"),
                             (issuer.token(""), "good, but names nobody: it lacks the claim")):
            code, page, _ = gateway.command("explain", "GET", "/x", "-H", "Authorization: Bearer " + token)
            self.assertEqual(code, 1)
            self.assertIn("token     " + words, page)
            self.assertNotIn(token, page)
        self.assertEqual(self.explained(gateway, issuer.token(""))["token"], "names_nobody")
        for _ in range(2):  # verified, and as the loop remembers it
            self.assertIn('error="invalid_token"', self.ask(gateway, issuer.token("")).headers["WWW-Authenticate"])
        self.assertNotIn("token     ", gateway.command("explain", "GET", "/x", "-H", "Authorization: Bearer " + good)[1])

    # All of these were "unknown_client", and nobody could tell a customer what was wrong with its token.
    def test_operators_are_told_what_is_wrong_with_a_token_and_its_sender_is_not(self):
        issuer, other, pair = Issuer("ES256", "k"), Issuer("ES256", "other"), Issuer("ES256", "k")
        self.write_keys(issuer)
        log = self.folder / "access.log"
        gateway = self.gateway(self.upstream.address, log_access=log,
                               conf=self.conf("ES256").replace("[jwt]", '[jwt]\niss = "us"'))
        header = {"alg": "ES256", "kid": "k"}
        without = ".".join(base64url(json.dumps(part).encode()) for part in (header, {"sub": "a", "iss": "us"}))
        faults = {"expired": issuer.token(seconds=-1, iss="us"),
                  "not_yet": issuer.token(nbf=int(time.time()) + 500, iss="us"),
                  "audience": issuer.token(aud="web", iss="us"), "issuer": issuer.token(iss="them"),
                  "signature": pair.token(iss="us"), "unknown_key": other.token(iss="us"),
                  "algorithm": issuer.token(header={"alg": "RS256"}, iss="us"),
                  "malformed": "a.b.c", "too_large": "a.b." + "c" * 9000,
                  "missing_claim": without + "." + base64url(issuer.sign(without.encode())),
                  "names_nobody": issuer.token("", iss="us")}
        challenges = set()
        for fault, token in faults.items():
            refused = self.ask(gateway, token)
            self.assertEqual((refused.status, refused.reason), (401, "unknown_client"), fault)
            self.assertNotIn("token_", refused.body.decode() + str(refused.headers))
            challenges.add(refused.headers["WWW-Authenticate"])
            identifier = refused.headers["X-Request-Id"]
            line = wait_until(lambda: re.search(f".* id={identifier} .*", log.read_text() if log.exists() else ""),
                              "its line").group(0)
            self.assertIn(f" credentials=token_{fault}", line)
            self.assertNotIn(token, line)
            why = json.loads(gateway.do("why", identifier, "--json"))["decisions"][0]
            self.assertEqual(why["credentials"], f"token_{fault}")
            self.assertRegex(gateway.do("why", identifier), rf"(?m)^credential token_{fault} \(.+\)$")
            said = self.explained(gateway, token)
            self.assertEqual((said["credentials"], said["token"]), (f"token_{fault}", fault))
        self.assertEqual(len(challenges), 1)
        self.assertEqual(self.ask(gateway, issuer.token(iss="us")).status, 200)
        wait_until(lambda: re.search("status=200.* credentials=-(\n| )", log.read_text()), "a good one's line")

    def test_a_token_is_good_until_the_second_that_it_names(self):
        issuer = Issuer("HS256", "k")
        self.write_keys(issuer)
        gateway = self.gateway(self.upstream.address, conf=self.conf("HS256"), threads=1)
        ends = int(time.time()) + 3
        token = issuer.token(exp=ends)
        last_good = 0
        connection = gateway.connect()
        self.addCleanup(connection.close)

        def is_over():
            nonlocal last_good
            asked = time.time()
            connection.request("GET", "/status", headers={"Authorization": "Bearer " + token})
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                last_good = asked
                return False
            self.assertGreaterEqual(time.time(), ends)  # never before
            return True
        wait_until(is_over, "the end of a token that is remembered")
        self.assertLess(last_good, ends)  # never after
        self.assertGreater(last_good, 0)

    def test_a_reload_of_the_keys_ends_what_was_remembered_and_a_bad_file_changes_nothing(self):
        old, new = Issuer("RS256", "2026"), Issuer("RS256", "2027")
        self.write_keys(old)
        gateway = self.gateway(self.upstream.address, conf=self.conf("RS256"))
        first, second = old.token(), new.token()
        self.assertEqual([self.ask(gateway, token).status for token in (first, first, second)], [200, 200, 401])
        self.keys.write_text("{\"keys\": [")
        code, out, err = gateway.command("reload")
        self.assertEqual(code, 1)
        self.assertIn(f"{self.keys}:1:11: is no JSON from here on", out + err)
        self.assertEqual(self.ask(gateway, first).status, 200)
        self.write_keys(old, new)
        code, out, err = gateway.command("reload")
        self.assertEqual(code, 0, err)
        self.assertIn("jwt.keys_file says something else", out)
        self.assertEqual([self.ask(gateway, token).status for token in (first, second)], [200, 200])
        self.write_keys(new)
        gateway.do("reload")
        self.assertEqual([self.ask(gateway, token).status for token in (first, second)], [401, 200])
        # A change of something else reads no file, and forgets nobody.
        self.write_keys(old)
        gateway.do("set", "admission.workers", "7")
        self.assertEqual([self.ask(gateway, token).status for token in (first, second)], [401, 200])

    def test_a_refreshed_token_has_no_fresh_bucket_and_an_invented_one_no_bucket_of_its_own(self):
        issuer = Issuer("ES256", "k")
        self.write_keys(issuer)
        conf = self.conf("ES256").replace('unknown = "refuse"\n', "")
        gateway = self.gateway(self.upstream.address, conf=conf, fairness_rate=0.001, fairness_burst=3)

        def statuses(tokens):
            return [gateway.request(headers={"Authorization": "Bearer " + token}).status for token in tokens]
        self.assertEqual(statuses(issuer.token(seconds=600 + i) for i in range(5)), [200] * 3 + [429] * 2)
        self.assertEqual(statuses(issuer.token("bob") for _ in range(2)), [200] * 2)
        forged = [issuer.token(f"mallory-{i}")[:-10] + "AAAAAAAAAA" for i in range(20)]
        self.assertEqual(statuses(forged).count(200), 3)  # its address's
        self.assertEqual(self.explained(gateway, forged[0])["client"]["source"], "address")

    def test_metrics_tell_what_came_of_tokens_and_keys_and_who_fills_the_table(self):
        issuer, other = Issuer("ES256", "k"), Issuer("ES256", "other")
        self.write_keys(issuer)
        conf = self.conf("ES256").replace('unknown = "refuse"\n', "").replace('"jwt:sub"', '"jwt:sub", "header:X-Api-Key"')
        conf += '[[plan]]\nname = "gold"\nclients = ["header:X-Api-Key:alpha"]\n'
        gateway = self.gateway(self.upstream.address, conf=conf, threads=1)
        good = issuer.token()
        for token in (good, good, good, issuer.token("bob"), good[:-10] + "AAAAAAAAAA", issuer.token(seconds=-5),
                      issuer.token(aud="elsewhere"), other.token(), "a.b.c", issuer.token(header={"alg": "none"})):
            self.ask(gateway, token)
        for key in ("alpha", "alpha", "invented"):
            gateway.request("GET", "/status", headers={"X-Api-Key": key})
        numbers = {}
        for line in scrape(gateway)[1].splitlines():
            name, _, value = line.rpartition(" ")
            if not line.startswith("#"):
                numbers[name] = float(value)

        def results(name):
            return {result: count for result, count in
                    ((key.split('"')[1], value) for key, value in numbers.items() if key.startswith(name + "{"))
                    if count}
        self.assertEqual(results("classgate_token_checks_total"),
                         {"verified": 2, "remembered": 2, "signature": 1, "expired": 1, "audience": 1, "unknown_key": 1,
                          "malformed": 1, "algorithm": 1})
        self.assertEqual(numbers["classgate_token_signatures_checked_total"], 3)
        self.assertEqual(results("classgate_key_checks_total"), {"known": 2, "unknown": 1})
        # alice, bob and who has alpha; all that came with nothing are their address.
        self.assertEqual(results("classgate_clients_remembered"), {"known": 3, "unknown": 1})
        self.assertEqual(results("classgate_clients_remembered_limit")["unknown"], 10000)
        clients = gateway.health()["clients"]
        self.assertEqual((clients["known"], clients["unknown"], clients["unknown_places"]), (4, 1, 10000))

    def test_a_subject_is_a_known_client_by_its_name_or_stands_in_a_plan(self):
        issuer = Issuer("EdDSA", "k")
        self.keys.write_text(issuer.pem())
        clients = self.folder / "clients"
        clients.write_text("acme plan=gold\n")
        more = 'from = "header:X-Token"\n[[plan]]\nname = "gold"\nclients = ["jwt:sub:auth0|7"]\n'
        conf = self.conf("EdDSA", more=more).replace("[clients]", f'[clients]\nclients_file = "{clients}"')
        gateway = self.gateway(self.upstream.address, conf=conf)

        def client(sub):
            _, out, _ = gateway.command("explain", "GET", "/x", "-H", "X-Token: " + issuer.token(sub), "--json")
            return json.loads(out)["client"]
        self.assertEqual((client("acme")["name"], client("acme")["plan"]), ("acme", "gold"))
        self.assertEqual((client("auth0|7")["name"], client("auth0|7")["plan"]), (None, "gold"))
        self.assertEqual(client("else")["plan"], client("other")["plan"])
        self.assertNotEqual(client("else")["id"], client("other")["id"])
        token = issuer.token()
        twice = raw_request("/status", "", f"X-Token: {token}\r\nX-Token: {token}\r\n").replace(b"POST", b"GET")
        with socket.create_connection(("127.0.0.1", gateway.port), 20) as connection:
            connection.sendall(twice)
            self.assertEqual(read_answer(connection).status, 400)

    def test_a_token_is_in_no_page_no_log_and_no_message(self):
        issuer = Issuer("HS256", "k")
        self.write_keys(issuer)
        log = self.folder / "access.log"
        gateway = self.gateway(self.upstream.address, conf=self.conf("HS256"), log_access=log, log_query="true",
                               log_level="debug", fairness_rate=0.001, fairness_burst=1)
        tokens = [issuer.token(), issuer.token("bob")[:-4] + "AAAA", "x" * 20_000, "a.b.c"]
        for token in tokens:
            for _ in range(2):
                self.ask(gateway, token)
        refused = wait_until(lambda: [line for line in log.read_text().splitlines() if "unknown_client" in line],
                             "a refusal in the log")
        said = dict(part.split("=", 1) for part in refused[0].split(" ") if "=" in part)
        shown = [gateway.command(*words)[1] for words in
                 (("status", "--clients"), ("status", "--clients", "--json"), ("queue",), ("why", said["id"]))]
        shown.append(self.check(self.conf("HS256")).stderr)
        done = subprocess.run([CLASSGATE, "--conf", self.folder / "one.conf", "--print-config"], text=True,
                              capture_output=True, timeout=60, env=clean_environment())
        self.assertIn("keys_file", done.stdout)
        gateway.command("drain")
        gateway.wait()
        shown += [done.stdout, done.stderr, gateway.out(), gateway.err(), log.read_text()]
        secrets = [part for token in tokens[:2] for part in token.split(".")[1:]] + ["x" * 100,
                                                                                     issuer.jwk()["k"],
                                                                                     issuer.key.decode()]
        for text in shown:
            for secret in secrets:
                self.assertNotIn(secret, text)

    def test_the_check_tells_what_is_missing_with_its_place(self):
        issuer = Issuer("RS256", "k")
        self.write_keys(issuer)
        good = self.conf("RS256")
        self.assertEqual(self.check(good).returncode, 0, self.check(good).stderr)
        for before, after, complaint in (
                ('algorithms = ["RS256"]', "", "jwt.algorithms: identity has"),
                ('["RS256"]', '["none"]', '9:1: jwt.algorithms: "none" is none of HS256, RS256, ES256, EdDSA'),
                ('["RS256"]', '["RS256", "ES256"]', "keys.json:1:1: has no key for ES256"),
                (f'keys_file = "{self.keys}"', "", "jwt.keys_file: identity has"),
                ("keys.json", "nowhere", "cannot be read: No such file"),
                ('"jwt:sub", ', "", "jwt.keys_file: nothing in fairness.identity"),
                ("aud", 'from = "query:t"\naud', '"query:t" is none of'),
                ("aud", 'from = "header:authorization"\naud', 'for Authorization write "bearer"'),
                ("aud", 'from = "header:X-T"\n[log]\nheaders = ["X-T"]\n[jwt]\naud', "tells clients apart"),
                ('"jwt:sub"', '"jwt:a", "jwt:b", "jwt:c", "jwt:d", "jwt:e"', "has 5 claims; there may be 4"),
                ('"jwt:sub"', '"jwt:"', '"jwt:" is none of')):
            done = self.check(good.replace(before, after))
            self.assertEqual(done.returncode, 1, complaint)
            self.assertIn(complaint, done.stderr)


if __name__ == "__main__":
    unittest.main()
