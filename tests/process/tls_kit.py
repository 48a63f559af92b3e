"""What the tests of TLS share: an authority, gateways with its certificates, clients that trust it."""
import contextlib
import http.client
import re
import socket
import ssl

from authority import Authority
from kit import ProcessTest, ask, serve_each, stop_listening

BOTH = {"CLASSGATE_LISTEN": "127.0.0.1:0,https://127.0.0.1:0"}
HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00"
REQUEST = b"GET /queue/health HTTP/1.1\r\nHost: localhost\r\n\r\n"


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
        stop_listening(self.listener)
        for client in self.open:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
