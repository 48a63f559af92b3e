#!/usr/bin/env python3
"""TLS on both sides, with real clients: Python's ssl, curl, openssl s_client; a TLS server as the upstream."""
import contextlib
import http.client
import json
import pathlib
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import unittest

from authority import Authority
from kit import (CLASSGATE, PAUSE, TEXT, Gateway, ProcessTest, Program, ask, clean_environment, free_port, raw_request,
                 scrape, serve_each, wait_until)
from nameserver import Nameserver

BOTH = {"CLASSGATE_LISTEN": "127.0.0.1:0,https://127.0.0.1:0"}


class TlsTest(ProcessTest):
    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.pair = cls.authority.issue("localhost", names=("DNS:localhost", "IP:127.0.0.1"))
        cls.other = cls.authority.issue("other", names=("DNS:other.example", "DNS:*.wild.example"))

    @classmethod
    def tearDownClass(cls):
        cls.authority.folder.cleanup()

    def conf(self, pair=None, extra=""):
        certificate, key = pair or self.pair
        return (f'[tls]\ncertificate = "{certificate}"\nkey = "{key}"\n{extra}\n'
                f'[[certificate]]\ncertificate = "{self.other[0]}"\nkey = "{self.other[1]}"\n')

    def tls_gateway(self, conf=None, upstream=None, **settings):
        gateway = self.gateway(upstream or self.service().address, conf=conf or self.conf(), environment=BOTH,
                               **settings)
        gateway.tls_port = int(re.search(r"https://127\.0\.0\.1:(\d+)", gateway.err()).group(1))
        return gateway

    def context(self, **attributes):
        context = ssl.create_default_context(cafile=self.authority.ca)
        for name, value in attributes.items():
            setattr(context, name, value)
        return context

    def connect(self, gateway, name="localhost", context=None, session=None):
        raw = socket.create_connection(("127.0.0.1", gateway.tls_port), timeout=20)
        self.addCleanup(raw.close)
        wrapped = (context or self.context()).wrap_socket(raw, server_hostname=name, session=session)
        self.addCleanup(wrapped.close)
        return wrapped

    def ask(self, gateway, context=None, **request):
        connection = http.client.HTTPSConnection("localhost", gateway.tls_port, timeout=20,
                                                 context=context or self.context())
        try:
            return ask(connection, **request)
        finally:
            connection.close()


    def assert_not_served(self, answer):
        """By the request itself, or by a probe before it."""
        self.assertIn((answer.status, answer.reason), [(502, "upstream_unreachable"), (503, "upstream_down")])


def read_answer(wrapped):
    response = http.client.HTTPResponse(wrapped)
    response.begin()
    return response.status, response.read()


HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00"
REQUEST = b"GET /queue/health HTTP/1.1\r\nHost: localhost\r\n\r\n"


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
        service = self.service("--service-time", "300ms")
        gateway = self.tls_gateway(upstream=service.address)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.ask(gateway)))
        thread.start()
        gateway.wait_for_health(lambda h: h["active_workers"] == 1, "a request in flight")
        gateway.signal(signal.SIGTERM)
        thread.join(20)
        self.assertEqual([(a.status, a.headers["Connection"]) for a in answers], [(200, "close")])
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
        self.assertEqual(gateway.command("reload")[0], 0)
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


class Tickets(TlsTest):
    """A ticket is good only under what it was given under: it proves nothing that is asked for now."""

    def rewrite(self, gateway, conf):
        pathlib.Path(gateway.conf.name).write_text(conf)
        self.assertEqual(gateway.command("reload")[0], 0, gateway.err())

    def mutual(self, mode, authority=None):
        return self.conf(extra=f'client_certificate = "{mode}"\nclient_ca = "{(authority or self.authority).ca}"')

    def start_one(self, conf):
        upstream = TlsUpstream(None)
        self.addCleanup(upstream.end)
        gateway = self.tls_gateway(conf, upstream=upstream.address, threads=1)
        gateway.upstream = upstream
        return gateway

    def contexts(self, pair=None):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context(minimum_version=version, maximum_version=version)
            if pair:
                context.load_cert_chain(*pair)
            yield context

    def once(self, gateway, context, session=None):
        """The status (None: turned away), whether the session was resumed, and the session."""
        try:
            client = self.connect(gateway, context=context, session=session)
            client.sendall(raw_request())
            return read_answer(client)[0], client.session_reused, client.session
        except (ssl.SSLError, ConnectionError, http.client.HTTPException):
            return None, False, None

    def ticket(self, gateway, context):
        """A session that is resumed, also after a reload that changes nothing."""
        status, reused, session = self.once(gateway, context)
        self.assertEqual((status, reused), (200, False))
        self.assertEqual(self.once(gateway, context, session)[:2], (200, True))
        self.assertEqual(gateway.command("reload")[0], 0)
        self.assertEqual(self.once(gateway, context, session)[:2], (200, True))
        return session

    def subjects(self, gateway):
        return [head.get("x-client-cert-subject") for head in gateway.upstream.heads]

    def test_not_when_certificates_are_required_now(self):
        for context in self.contexts():
            gateway = self.start_one(self.conf())
            session = self.ticket(gateway, context)
            self.rewrite(gateway, self.mutual("required"))
            wait_until(lambda: self.once(gateway, context)[0] is None, "a client certificate is demanded")
            self.assertIsNone(self.once(gateway, context, session)[0])

    def test_not_under_another_authority_nor_another_one_in_the_same_file(self):
        other = Authority()
        self.addCleanup(other.folder.cleanup)
        alice = self.authority.issue("alice")
        for context in self.contexts(alice):
            for same_file in (False, True):
                file = self.authority.path / "clients.pem"
                shutil.copy(self.authority.ca, file)
                conf = self.conf(extra=f'client_certificate = "required"\nclient_ca = "{file}"')
                gateway = self.start_one(conf)
                session = self.ticket(gateway, context)
                self.assertEqual(set(self.subjects(gateway)), {"CN=alice"})
                if same_file:
                    shutil.copy(other.ca, file)
                self.rewrite(gateway, conf if same_file else self.mutual("required", other))
                wait_until(lambda: self.once(gateway, context)[0] is None, "the certificate is refused")
                self.assertIsNone(self.once(gateway, context, session)[0])

    def test_no_subject_out_of_a_ticket_when_certificates_are_off(self):
        for context in self.contexts(self.authority.issue("alice")):
            gateway = self.start_one(self.mutual("optional"))
            session = self.ticket(gateway, context)
            self.rewrite(gateway, self.conf())
            wait_until(lambda: self.once(gateway, context)[0] == 200 and self.subjects(gateway)[-1] is None,
                       "nobody is asked for a certificate")
            self.assertEqual(self.once(gateway, context, session)[:2], (200, False))
            self.assertIsNone(self.subjects(gateway)[-1])

    def test_not_after_the_clients_certificate_has_ended(self):
        for number, context in enumerate(self.contexts()):
            ends = int(time.time()) + 5
            context.load_cert_chain(*self.authority.issue(f"brief{number}", ends=ends))
            gateway = self.start_one(self.mutual("optional"))
            session = self.ticket(gateway, context)
            wait_until(lambda: time.time() > ends + 1, "the end of the certificate")
            status, reused, _ = self.once(gateway, context, session)
            self.assertEqual((status, reused), (None, False))

    def test_a_renewed_certificate_is_shown_to_who_has_a_ticket(self):
        certificate, key = self.authority.path / "turning.pem", self.authority.path / "turning.key"
        for context in self.contexts():
            shutil.copy(self.pair[0], certificate)
            shutil.copy(self.pair[1], key)
            gateway = self.start_one(self.conf((certificate, key)))
            session = self.ticket(gateway, context)
            renewed = self.authority.issue("again", names=("DNS:localhost",))
            shutil.copy(renewed[0], certificate)
            shutil.copy(renewed[1], key)
            self.assertEqual(gateway.command("reload")[0], 0)
            wait_until(lambda: self.connect(gateway, context=context).getpeercert()["subject"][0][0][1] == "again",
                       "the renewed certificate")
            self.assertEqual(self.once(gateway, context, session)[:2], (200, False))

    def test_with_openssl(self):
        """As above, with another client: s_client -sess_out, -sess_in."""
        for version in ("-tls1_2", "-tls1_3"):
            gateway = self.start_one(self.conf())
            file = self.authority.path / f"session{version}"

            def s_client(*options):
                done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.tls_port}", version,
                                       "-servername", "localhost", "-ign_eof", *options],
                                      input="GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                                      capture_output=True, text=True, timeout=20)
                return "HTTP/1.1 200 OK" in done.stdout, "Reused, " in done.stdout

            self.assertEqual(s_client("-sess_out", str(file)), (True, False))
            self.assertEqual(s_client("-sess_in", str(file)), (True, True))
            self.rewrite(gateway, self.mutual("required"))
            wait_until(lambda: not s_client()[0], "a client certificate is demanded")
            self.assertEqual(s_client("-sess_in", str(file)), (False, False))

    def test_a_servers_session_is_not_taken_up_under_another_authority(self):
        other = Authority()
        self.addCleanup(other.folder.cleanup)
        file = self.authority.path / "servers.pem"
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            shutil.copy(self.authority.ca, file)
            upstream = TlsUpstream(self.pair, versions=(version, version))
            self.addCleanup(upstream.end)
            gateway = self.gateway(upstream.address, upstream_tls_ca_file=file, threads=1, upstream_idle_connections=0)
            self.assertEqual([gateway.request().status for _ in range(3)], [200] * 3)
            before = upstream.sessions_resumed
            self.assertGreaterEqual(before, 1)
            self.assertEqual(gateway.command("reload")[0], 0)
            self.assertEqual([gateway.request().status for _ in range(3)], [200] * 3)
            self.assertGreaterEqual(upstream.sessions_resumed, before + 3)
            shutil.copy(other.ca, file)
            self.assertEqual(gateway.command("reload")[0], 0)
            wait_until(lambda: gateway.request().status in (502, 503), "the server is believed no more")


class Resets(TlsTest):
    def test_a_reset_in_the_middle_of_a_handshake_is_noticed_at_once(self):
        """Half a hello and a reset, in one event: not at client.header_timeout."""
        gateway = self.tls_gateway(client_header_timeout="10m")
        for _ in range(50):
            client = socket.create_connection(("127.0.0.1", gateway.tls_port), timeout=20)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(HALF_A_HELLO)
            client.close()
        wait_until(lambda: 'classgate_tls_handshakes_total{result="failed"} 50\n' in scrape(gateway)[1],
                   "fifty handshakes that have failed")

    def test_so_is_a_servers(self):
        """A server that resets in the middle of a handshake: not at upstream.connect_timeout."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def serve(client):
            with contextlib.suppress(OSError):
                client.recv(1000)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall(b"\x16\x03\x03\x00\x7a\x02")
                client.close()

        serve_each(listener, serve)
        gateway = self.gateway(f"https://127.0.0.1:{listener.getsockname()[1]}", upstream_connect_timeout="10m",
                               upstream_tls_verify="false")
        for _ in range(10):
            self.assert_not_served(gateway.request(timeout=20))

    def test_and_an_operators(self):
        gateway = self.gateway(self.service().address, ops_timeout="10m", ops_max_connections="4")
        for _ in range(50):
            client = socket.create_connection(("127.0.0.1", gateway.ops_port), timeout=20)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHo")
            client.close()

        def is_answered():
            with contextlib.suppress(OSError, http.client.HTTPException):
                return "classgate_" in scrape(gateway)[1]
        wait_until(is_answered, "room for an operator")


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


class TlsUpstream:
    """An HTTP server that echoes bodies; with a pair of certificate and key it speaks TLS."""

    def __init__(self, pair, client_ca=None, versions=(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)):
        self.heads, self.sessions_resumed, self.connections, self.subjects = [], 0, 0, []
        self.context = None
        if pair:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*pair)
            self.context.minimum_version, self.context.maximum_version = versions
            if client_ca:
                self.context.load_verify_locations(client_ca)
                self.context.verify_mode = ssl.CERT_REQUIRED
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.address = f"{'https://' if pair else ''}127.0.0.1:{self.port}"
        self.open = []
        self.ends_without_notice = False
        serve_each(self.listener, self.serve)

    def serve(self, raw):
        with contextlib.suppress(OSError, ValueError):
            client = self.context.wrap_socket(raw, server_side=True) if self.context else raw
            self.open.append(client)
            self.connections += 1
            if self.context:
                self.sessions_resumed += client.session_reused
                self.subjects.append(client.getpeercert())
            file = client.makefile("rb")
            while True:
                line = file.readline()
                if not line:
                    break
                head = {}
                while (field := file.readline().strip()) != b"":
                    name, _, value = field.decode().partition(":")
                    head[name.lower()] = value.strip()
                body = file.read(int(head.get("content-length", 0)))
                self.heads.append(head)
                if self.ends_without_notice:
                    client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart of it")
                    socket.socket(fileno=client.detach()).close()
                    return
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def end(self):
        self.listener.close()
        for client in self.open:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


class Upstream(TlsTest):
    def upstream(self, pair=None, **options):
        upstream = TlsUpstream(pair or self.pair, **options)
        self.addCleanup(upstream.end)
        return upstream

    def test_requests_of_every_size_over_a_verified_connection(self):
        upstream = self.upstream()
        gateway = self.gateway(upstream.address, upstream_tls_ca_file=self.authority.ca)
        connection = gateway.connect()
        for size in (0, 1, 16384, 16385, 1_000_000):
            body = bytes(i % 251 for i in range(size))
            connection.request("POST", "/echo", body)
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.read()), (200, body))
        connection.close()
        self.assertEqual(upstream.connections, 2)  # one found out whether it is there

    def test_whoever_cannot_prove_who_he_is_gets_nothing(self):
        stranger = Authority()
        self.addCleanup(stranger.folder.cleanup)
        for upstream, settings, expected in (
                (self.upstream(stranger.issue("x", names=("IP:127.0.0.1",))), {}, "certificate verify failed"),
                (self.upstream(self.other), {}, "IP address mismatch"),
                (self.upstream(), {"upstream_tls_server_name": "else.example"}, "hostname mismatch"),
                (self.upstream(self.authority.issue("old", is_expired=True)),
                 {"upstream_tls_server_name": "old"}, "certificate has expired")):
            gateway = self.gateway(upstream.address, upstream_tls_ca_file=self.authority.ca, **settings)
            answer = gateway.request()
            self.assert_not_served(answer)
            gateway.wait_for_text(expected, gateway.err)
            self.assertEqual(upstream.heads, [])
            gateway.end()
            gateway = self.gateway(upstream.address, upstream_tls_verify="false", **settings)
            self.assertEqual(gateway.request().status, 200)

    def test_a_name_of_its_own(self):
        upstream = self.upstream(self.other)
        gateway = self.gateway(upstream.address, upstream_tls_ca_file=self.authority.ca,
                               upstream_tls_server_name="a.wild.example")
        self.assertEqual(gateway.request().status, 200)

    def test_a_dot_at_the_end_of_a_name_stays_out_of_tls(self):
        """A whole name (model.test.) keeps search lists away; strict servers refuse its dot in SNI (RFC 6066 section 3)."""
        upstream = self.upstream(self.authority.issue("model", names=("DNS:model.test",)))
        said = []
        upstream.context.sni_callback = lambda _, name, __: said.append(name)
        nameserver = Nameserver(["127.0.0.1"])
        self.addCleanup(nameserver.end)
        for address, settings in ((f"https://model.test.:{upstream.port}", {"upstream_nameservers": nameserver.address}),
                                  (upstream.address, {"upstream_tls_server_name": "model.test."})):
            gateway = self.gateway(address, upstream_tls_ca_file=self.authority.ca, **settings)
            self.assertEqual(gateway.request().status, 200)
        self.assertEqual(set(said), {"model.test"})

    def test_a_client_certificate_is_shown(self):
        upstream = self.upstream(client_ca=self.authority.ca)
        certificate, key = self.authority.issue("gateway")
        gateway = self.gateway(upstream.address, upstream_tls_ca_file=self.authority.ca,
                               upstream_tls_certificate=certificate, upstream_tls_key=key)
        self.assertEqual(gateway.request().status, 200)
        self.assertEqual(upstream.subjects[0]["subject"][0][0][1], "gateway")
        without = self.gateway(upstream.address, upstream_tls_ca_file=self.authority.ca)
        self.assertIn(without.request().status, (502, 503))

    def test_sessions_are_taken_up_again(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            upstream = self.upstream(versions=(version, version))
            gateway = self.gateway(upstream.address, upstream_tls_ca_file=self.authority.ca, threads=1,
                                   upstream_idle_connections=0)
            for _ in range(5):
                self.assertEqual(gateway.request().status, 200)
            # One more found out whether it is there, at the same time as the first request.
            self.assertEqual(upstream.connections, 6)
            self.assertIn(upstream.sessions_resumed, (4, 5))

    def test_an_end_without_notice_is_no_end(self):
        upstream = self.upstream()
        upstream.ends_without_notice = True
        gateway = self.gateway(upstream.address, upstream_tls_ca_file=self.authority.ca)
        with self.assertRaises((http.client.IncompleteRead, ConnectionResetError)):
            gateway.request(method="GET", path="/part")
        gateway.wait_for_health(lambda h: h["failed_requests"] == 1, "a failed request")

    def test_what_is_no_tls_is_a_502(self):
        plain = TlsUpstream(None)
        self.addCleanup(plain.end)
        gateway = self.gateway("https://" + plain.address, upstream_tls_ca_file=self.authority.ca)
        self.assert_not_served(gateway.request())

    def test_a_silent_handshake_ends_at_the_connect_timeout(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            gateway = self.gateway(f"https://127.0.0.1:{silent.getsockname()[1]}", upstream_connect_timeout="200ms",
                                   upstream_tls_ca_file=self.authority.ca)
            self.assert_not_served(gateway.request())


if __name__ == "__main__":
    unittest.main(verbosity=2)
