#!/usr/bin/env python3
"""TLS with real clients: Python's ssl, curl, openssl s_client."""
import contextlib
import http.client
import json
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import unittest

from authority import Authority
from kit import CLASSGATE, PAUSE, TEXT, Held, Program, clean_environment, free_port, raw_request, scrape, wait_until
from tls_kit import HALF_A_HELLO, REQUEST, TlsTest, TlsUpstream, read_answer


class Clients(TlsTest):
    def test_of_two_certificates_for_a_name_each_client_gets_the_one_it_can_read(self):
        """The first in the conf was shown to everybody: whoever knew only the other kind got a handshake failure."""
        pairs = {kind: self.authority.issue(f"both-{kind}", names=("DNS:both.example",), kind=kind) for kind in ("rsa", "ec")}
        for order in (("rsa", "ec"), ("ec", "rsa")):
            extra = "".join(f'[[certificate]]\ncertificate = "{pairs[kind][0]}"\nkey = "{pairs[kind][1]}"\n' for kind in order)
            gateway = self.tls_gateway(self.conf(extra=extra))
            for kind, ciphers in (("rsa", "ECDHE-RSA-AES128-GCM-SHA256"), ("ec", "ECDHE-ECDSA-AES128-GCM-SHA256")):
                context = self.context(maximum_version=ssl.TLSVersion.TLSv1_2)
                context.set_ciphers(ciphers)
                with self.connect(gateway, "both.example", context) as client:
                    self.assertEqual(client.cipher()[0], ciphers, f"{kind} of {order}")
            gateway.signal(signal.SIGTERM)

    def test_requests_of_every_size_come_and_go(self):
        echo = TlsUpstream(None)
        self.addCleanup(echo.end)
        gateway = self.tls_gateway(upstream=echo.address, log_access="stdout")
        connection = http.client.HTTPSConnection("localhost", gateway.tls_port, timeout=20, context=self.context())
        for size in (0, 1, 16383, 16384, 16385, 70_000, 1_000_000):
            body = bytes(i % 251 for i in range(size))
            connection.request("POST", "/echo", body)
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.read()), (200, body))
        connection.close()
        self.assertEqual({head["x-forwarded-proto"] for head in echo.heads}, {"https"})
        gateway.wait_for_text(r"tls=TLSv1\.3", gateway.out)

    def test_the_certificate_is_chosen_by_the_name(self):
        gateway = self.tls_gateway()
        for name, subject in (("localhost", "localhost"), ("other.example", "other"), ("a.wild.example", "other")):
            certificate = self.connect(gateway, name).getpeercert()
            self.assertEqual(certificate["subject"][0][0][1], subject)
        # A name that nobody has gets the first one.
        anybody = self.context(check_hostname=False)
        self.assertEqual(self.connect(gateway, "nobody.example", anybody).getpeercert()["subject"][0][0][1], "localhost")

    def test_versions(self):
        gateway = self.tls_gateway()
        for version, expected in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            client = self.connect(gateway, context=self.context(minimum_version=version, maximum_version=version))
            self.assertEqual(client.version(), expected)
            client.sendall(REQUEST)
            self.assertEqual(read_answer(client)[0], 200)
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.tls_port}", "-tls1_1",
                               "-cipher", "DEFAULT@SECLEVEL=0"], input="", capture_output=True, text=True, timeout=20)
        self.assertIn("alert protocol version", done.stderr)
        strict = self.tls_gateway(tls_min_version="1.3")
        with self.assertRaises(ssl.SSLError):
            self.connect(strict, context=self.context(maximum_version=ssl.TLSVersion.TLSv1_2))
        self.assertEqual(self.connect(strict).version(), "TLSv1.3")

    def test_alpn(self):
        gateway = self.tls_gateway()
        context = self.context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        self.assertEqual(self.connect(gateway, context=context).selected_alpn_protocol(), "http/1.1")
        context = self.context()
        context.set_alpn_protocols(["something-else"])
        with self.assertRaisesRegex(ssl.SSLError, "NO_APPLICATION_PROTOCOL|no application protocol"):
            self.connect(gateway, context=context)

    def test_sessions_are_resumed_on_any_loop_and_after_a_rotation(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            gateway = self.tls_gateway(threads=4, tls_ticket_rotation="1s")
            context = self.context(minimum_version=version, maximum_version=version)
            first = self.connect(gateway, context=context)
            first.sendall(REQUEST)  # with TLS 1.3 the ticket comes with the first answer
            read_answer(first)
            session = first.session
            first.close()
            PAUSE.wait(1.2)  # one rotation: the key that sealed the ticket is the second now
            resumed = 0
            for _ in range(8):
                client = self.connect(gateway, context=context, session=session)
                client.sendall(REQUEST)
                self.assertEqual(read_answer(client)[0], 200)
                resumed += client.session_reused
                client.close()
            self.assertGreaterEqual(resumed, 7)  # a second rotation may strike within the eight
            self.assertRegex(scrape(gateway)[1], r'classgate_tls_handshakes_total\{result="resumed"\} [78]\n')

    def test_a_dawdling_handshake_is_ended(self):
        gateway = self.tls_gateway(client_header_timeout="300ms")
        silent = socket.create_connection(("127.0.0.1", gateway.tls_port), timeout=20)
        half = socket.create_connection(("127.0.0.1", gateway.tls_port), timeout=20)
        half.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        for client in (silent, half):
            self.assertEqual(client.recv(100), b"")
            client.close()
        self.assertEqual(self.ask(gateway).status, 200)
        self.assertIn('classgate_tls_handshakes_total{result="failed"} 2\n', scrape(gateway)[1])

    def test_what_is_no_tls_is_turned_away(self):
        gateway = self.tls_gateway()
        for text in (REQUEST, b"\0" * 1000, b"\x16\x03\x01\xff\xff" + b"x" * 500):
            with socket.create_connection(("127.0.0.1", gateway.tls_port), timeout=20) as client:
                client.sendall(text)
                client.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    while client.recv(1000):
                        pass
        self.assertEqual(self.ask(gateway).status, 200)
        # And TLS where there is none.
        raw = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
        with self.assertRaises(ssl.SSLError):
            self.context().wrap_socket(raw, server_hostname="localhost")
        raw.close()

    def test_renegotiation_is_refused(self):
        gateway = self.tls_gateway()
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.tls_port}", "-tls1_2"],
                              input="R\n", capture_output=True, text=True, timeout=20)
        self.assertRegex(done.stdout + done.stderr, "no renegotiation|NO_RENEGOTIATION")

    def test_what_scanners_look_for_is_not_there(self):
        """The probes of testssl.sh and its like, made with s_client: protocols, ciphers, compression, renegotiation, early
        data; and what must be there: forward secrecy for whatever is left."""
        gateway = self.tls_gateway()

        def probe(*options, sends=""):
            done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.tls_port}", *options], input=sends,
                                  capture_output=True, text=True, timeout=20)
            return done.returncode, done.stdout + done.stderr

        for protocol in ("-tls1", "-tls1_1"):
            status, said = probe(protocol, "-cipher", "ALL:@SECLEVEL=0")
            self.assertNotEqual(status, 0, protocol)
            self.assertRegex(said, "alert protocol version|unsupported protocol|no protocols available")
        for ciphers in ("eNULL", "aNULL", "EXPORT:LOW", "RC4", "3DES", "MD5", "PSK", "SRP", "kRSA", "DES", "IDEA:SEED"):
            status, said = probe("-tls1_2", "-cipher", f"{ciphers}:@SECLEVEL=0")
            self.assertNotEqual(status, 0, f"{ciphers} was accepted:\n{said}")
        status, said = probe("-tls1_2")
        self.assertEqual(status, 0, said)
        self.assertRegex(said, r"Cipher is ECDHE-")
        self.assertIn("Secure Renegotiation IS supported", said)
        self.assertIn("Compression: NONE", said)
        self.assertRegex(said, r"Extended master secret: yes")
        status, said = probe("-tls1_3")
        self.assertEqual(status, 0, said)
        self.assertIn("Early data was not sent", said)
        self.assertNotRegex(said, r"Max Early Data: [1-9]")
        status, said = probe("-fallback_scsv", "-tls1_2")  # a downgrade that the client did not want
        self.assertRegex(said, "inappropriate fallback")
        self.assertEqual(self.ask(gateway).status, 200)

    def test_s_client_and_curl(self):
        gateway = self.tls_gateway()
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.tls_port}", "-CAfile",
                               str(self.authority.ca), "-verify_return_error", "-servername", "localhost"],
                              input="", capture_output=True, text=True, timeout=20)
        self.assertIn("Verify return code: 0 (ok)", done.stdout)
        self.assertIn("Secure Renegotiation IS", done.stdout)
        done = subprocess.run(["curl", "-sS", "--cacert", str(self.authority.ca), "--data", TEXT,
                               f"https://localhost:{gateway.tls_port}/v1/classify"],
                              capture_output=True, text=True, timeout=20, env=clean_environment({"NO_PROXY": "*"}))
        self.assertIn("label", json.loads(done.stdout), done.stderr)

    def test_a_proxy_header_comes_before_the_handshake(self):
        service = self.service()
        gateway = self.tls_gateway(upstream=service.address, log_access="stdout",
                                   client_trusted_proxies="127.0.0.1", client_proxy_protocol="true")
        whole = b"PROXY TCP4 192.0.2.7 10.0.0.2 56324 443\r\n"
        for pieces in ([whole], [whole[:20], whole[20:]]):
            raw = socket.create_connection(("127.0.0.1", gateway.tls_port), timeout=20)
            self.addCleanup(raw.close)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                raw.sendall(piece)
            wrapped = self.context().wrap_socket(raw, server_hostname="localhost")
            for _ in range(2):
                wrapped.sendall(raw_request())
                self.assertEqual(read_answer(wrapped)[0], 200)
            wrapped.close()
        wait_until(lambda: gateway.out().count("address=192.0.2.7 ") == 4, "the real client's address")
        with self.assertRaises(OSError):  # no header: nothing is served
            self.connect(gateway)
        self.assertIn("classgate_proxy_headers_refused_total 1\n", scrape(gateway)[1])

    def test_the_end_is_announced(self):
        gateway = self.tls_gateway()
        client = self.connect(gateway)
        client.sendall(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        self.assertEqual(read_answer(client)[0], 200)
        self.assertEqual(client.recv(1), b"")  # an end without close_notify would raise

    def test_a_drain_answers_what_was_accepted(self):
        service = Held()
        self.addCleanup(service.close)
        gateway = self.tls_gateway(upstream=service.address)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.ask(gateway)))
        thread.start()
        gateway.wait_for_health(lambda h: h["active_workers"] == 1, "a request in flight")
        gateway.signal(signal.SIGTERM)
        gateway.wait_for_text("TERM: draining", gateway.err)
        service.release.set()
        thread.join(20)
        self.assertEqual([(a.status, a.headers["Connection"]) for a in answers], [(204, "close")])
        self.assertEqual(gateway.wait(), 0)


class ClientCertificates(TlsTest):
    def mutual(self, mode, upstream):
        return self.tls_gateway(self.conf(extra=f'client_certificate = "{mode}"\nclient_ca = "{self.authority.ca}"'),
                                upstream=upstream)

    def test_the_verified_subject_goes_on_and_cannot_be_forged(self):
        upstream = TlsUpstream(None)
        self.addCleanup(upstream.end)
        gateway = self.mutual("optional", upstream.address)
        known = self.context()
        known.load_cert_chain(*self.authority.issue("alice", "/O=Example, Inc/CN=alice"))
        forged = {"X-Client-Cert-Subject": "CN=admin", "x_client_cert_subject": "CN=admin"}
        self.assertEqual(self.ask(gateway, known, headers=forged).status, 200)
        self.assertEqual(self.ask(gateway, headers=forged).status, 200)
        self.assertEqual(gateway.request(headers=forged).status, 200)  # without TLS
        subjects = [[v for k, v in head.items() if "subject" in k] for head in upstream.heads]
        self.assertEqual(subjects, [["CN=alice,O=Example\\, Inc"], [], []])

    def test_a_certificate_is_known_by_its_alternative_name(self):
        log = pathlib.Path(self.authority.folder.name) / "access.log"
        more = (f'client_certificate = "optional"\nclient_ca = "{self.authority.ca}"\n[fairness]\n'
                'identity = ["tls:san"]\n[clients]\nunknown = "refuse"\nsecret = "off"\n'
                '[[plan]]\nname = "uri"\nclients = ["tls:san:spiffe://example/model"]\n'
                '[[plan]]\nname = "dns"\nclients = ["tls:san:model.example"]\n'
                '[[plan]]\nname = "mail"\nclients = ["tls:san:a@example"]\n')
        gateway = self.tls_gateway(self.conf(extra=more), log_access=log)
        uri, dns, mail = "URI:spiffe://example/model", "DNS:model.example", "email:a@example"
        for name, names, plan in (("1", (dns, mail, uri), "uri"), ("2", (mail, dns, "DNS:other"), "dns"),
                                  ("3", (mail, "IP:192.0.2.1"), "mail"), ("4", ("DNS:stranger",), "-"),
                                  ("5", ("IP:192.0.2.1",), None), ("6", (), None)):
            context = self.context()
            context.load_cert_chain(*self.authority.issue(name, "/CN=model.example", names=names))
            answer = self.ask(gateway, context, path=f"/status?{name}", method="GET")
            self.assertEqual(answer.status, 401 if plan is None else 200)
            if plan is None:
                continue
            line = wait_until(lambda: log.exists() and log.read_text().splitlines()[int(name) - 1:], "its line")[0]
            self.assertIn(f" plan={plan} ", line)
        # What becomes of such a certificate can be asked without having one.
        for words, plan in ((("--san", "spiffe://example/model"), "uri"), (("--san", "model.example"), "dns"),
                            (("--san", "stranger"), None),
                            (("--subject", "CN=model.example", "--san", "a@example"), "mail")):
            code, out, err = gateway.command("explain", "GET", "/status", *words, "--json")
            self.assertEqual((code, err), (0, ""))
            client = json.loads(out)["client"]
            self.assertEqual((client["source"], client["plan"]), ("tls:san", plan))
        code, out, _ = gateway.command("explain", "GET", "/status", "--subject", "model.example", "--json")
        self.assertEqual((code, json.loads(out)["verdict"]["reason"]), (1, "unknown_client"))

    def test_required_means_required(self):
        gateway = self.mutual("required", self.service().address)
        with self.assertRaises((ssl.SSLError, ConnectionResetError, http.client.RemoteDisconnected)):
            self.ask(gateway)
        stranger = self.context()
        elsewhere = Authority()
        self.addCleanup(elsewhere.folder.cleanup)
        stranger.load_cert_chain(*elsewhere.issue("mallory"))
        with self.assertRaises((ssl.SSLError, ConnectionResetError, http.client.RemoteDisconnected)):
            self.ask(gateway, stranger)
        known = self.context()
        known.load_cert_chain(*self.authority.issue("bob"))
        self.assertEqual(self.ask(gateway, known).status, 200)


class Reload(TlsTest):
    def test_a_renewed_certificate_is_shown_and_no_connection_drops(self):
        certificate, key = self.authority.path / "current.pem", self.authority.path / "current.key"
        shutil.copy(self.pair[0], certificate)
        shutil.copy(self.pair[1], key)
        gateway = self.tls_gateway(self.conf((certificate, key)))
        old = self.connect(gateway)
        new_pair = self.authority.issue("renewed", names=("DNS:localhost",))
        shutil.copy(new_pair[0], certificate)
        # The key is still the old one: nothing changes, and it is told.
        status, _, errors = gateway.command("reload")
        self.assertEqual(status, 1)
        self.assertIn("does not belong to certificate", errors)
        self.assertEqual(self.connect(gateway).getpeercert()["subject"][0][0][1], "localhost")
        shutil.copy(new_pair[1], key)
        gateway.do("reload")
        wait_until(lambda: self.connect(gateway).getpeercert()["subject"][0][0][1] == "renewed",
                   "the renewed certificate")
        old.sendall(REQUEST)
        self.assertEqual(read_answer(old)[0], 200)


    def test_https_to_plain_and_back_while_clients_connect(self):
        """Who came for the old address begins with the old certificates, though the new conf has none."""
        upstream = TlsUpstream(None)
        self.addCleanup(upstream.end)
        port = free_port()
        path = self.authority.path / "turning.conf"
        rest = (f'[upstream]\nservers = ["{upstream.address}"]\n[log]\naccess = "off"\n'
                f'[ops]\nlisten = []\ncontrol = "{path}.sock"\n[client]\nlinger_timeout = "100ms"\n')
        confs = [f'threads = 2\nlisten = ["127.0.0.1:{port}"]\n{rest}',
                 f'threads = 2\nlisten = ["https://127.0.0.1:{port}"]\n{rest}{self.conf()}']
        path.write_text(confs[1])
        gateway = self.start(Program([CLASSGATE, "--conf", path]))
        gateway.wait_for_text("listening on", gateway.err)
        over, heard, left_alone = threading.Event(), [], []

        def once(kind):
            with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
                if kind == 0:
                    with self.context().wrap_socket(raw, server_hostname="localhost") as wrapped:
                        wrapped.sendall(raw_request())
                        heard.append(read_answer(wrapped)[0])
                elif kind == 1:
                    raw.sendall(raw_request())
                    heard.append(read_answer(raw)[0])
                else:
                    raw.sendall(HALF_A_HELLO)
                    raw.shutdown(socket.SHUT_WR)
                    while raw.recv(1000):
                        pass
                    heard.append(0)

        def client(kind):
            while not over.is_set():
                try:
                    once(kind % 3)
                except TimeoutError:
                    left_alone.append(kind)
                except (OSError, http.client.HTTPException):
                    heard.append(0)  # an end
                kind += 1

        threads = [threading.Thread(target=client, args=(kind,)) for kind in range(6)]
        for thread in threads:
            thread.start()
        try:
            for i in range(200):
                before = len(heard)
                path.write_text(confs[i % 2])
                done = subprocess.run([CLASSGATE, "--socket", f"{path}.sock", "reload"], capture_output=True, text=True,
                                      timeout=20, env=clean_environment())
                self.assertEqual(done.returncode, 0, done.stderr + gateway.err())
                wait_until(lambda: len(heard) > before + 2, "clients that were served or sent away")
        finally:
            over.set()
            for thread in threads:
                thread.join(30)
        self.assertEqual(left_alone, [])
        self.assertGreater(heard.count(200), 20)
        self.assertIsNone(gateway.process.poll())
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(), 0)


class BadPairs(TlsTest):
    def check(self, conf, environment=None):
        path = self.authority.path / "check.conf"
        path.write_text(conf)
        done = subprocess.run([CLASSGATE, "--check", "--conf", path], capture_output=True, text=True, timeout=20,
                              env=clean_environment({"CLASSGATE_LISTEN": "https://127.0.0.1:0", **(environment or {})}))
        return done.returncode, done.stderr

    def test_each_is_one_clear_line(self):
        garbage = self.authority.path / "garbage.pem"
        garbage.write_text("this is no certificate\n")
        expired = self.authority.issue("expired", is_expired=True)
        protected = self.authority.path / "protected.key"
        self.authority.openssl("ec", "-in", self.pair[1], "-aes128", "-passout", "pass:secret", "-out", protected)
        missing = self.authority.path / "missing.pem"
        for pair, expected in (
                ((missing, self.pair[1]), f"check.conf:2:1: certificate {missing} cannot be read: No such file"),
                ((self.pair[0], missing), f"key {missing} cannot be read: No such file"),
                ((garbage, self.pair[1]), f"certificate {garbage} is no PEM certificate chain"),
                ((self.pair[0], garbage), f"key {garbage} is no PEM private key without a passphrase"),
                ((self.pair[0], protected), f"key {protected} is no PEM private key without a passphrase"),
                ((self.pair[0], self.other[1]), f"key {self.other[1]} does not belong to certificate {self.pair[0]}"),
                (expired, f"certificate {expired[0]} has expired: Jan  1 00:00:00 2021 GMT")):
            status, errors = self.check(f'[tls]\ncertificate = "{pair[0]}"\nkey = "{pair[1]}"\n')
            self.assertEqual(status, 1)
            self.assertIn(expected, errors)
            self.assertEqual(len(errors.splitlines()), 1, errors)
        self.assertEqual(self.check(self.conf())[0], 0)
        status, errors = self.check('[[certificate]]\ncertificate = "x"\nkeys = "/y"\n[tls]\nkey = "/k"\n'
                                    'client_certificate = "required"\n')
        for expected in ("certificate certificate: expected an absolute path", "unknown key keys in [[certificate]]",
                         "tls.certificate and tls.key go together", "needs tls.client_ca"):
            self.assertIn(expected, errors)
        status, errors = self.check("")
        self.assertIn('"https://127.0.0.1:0" needs tls.certificate and tls.key', errors)

    def test_an_expired_one_is_served_with_a_complaint(self):
        expired = self.authority.issue("late", is_expired=True)
        gateway = self.tls_gateway(self.conf(expired))
        gateway.wait_for_text("has expired", gateway.err)
        anybody = self.context(check_hostname=False)
        anybody.verify_mode = ssl.CERT_NONE
        self.assertEqual(self.ask(gateway, anybody).status, 200)


if __name__ == "__main__":
    unittest.main()
