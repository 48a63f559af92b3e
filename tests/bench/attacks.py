"""What siege.py does to a gateway, beside the abuses of abuse.py: each takes `ports` (plain, flip, tls, ops, service),
the instant at which it ends and a random.Random, runs in a process of its own, and is bounded in connections."""
import gzip
import json
import os
import socket
import ssl
import struct
import time

import abuse
from abuse import PAUSE, reset
from kit import raw_request

STRANGERS = [f"127.0.0.{n}" for n in range(2, 7)]
TRUSTED = "127.0.0.9"  # what it says in a PROXY header is believed while the conf says so
HEADER_TIMEOUT = 1.0   # of siege.py's confs
HALF_UPLOAD = b"POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Length: 65000\r\n"
UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE


def connect(port, source, timeout=2):
    return socket.create_connection(("127.0.0.1", port), timeout, (source, 0))


def connect_tls(port, source):
    raw = connect(port, source)
    try:
        return UNVERIFIED.wrap_socket(raw, server_hostname="localhost")
    except (OSError, ValueError):
        raw.close()
        raise


def hello():
    said = ssl.MemoryBIO()
    client = UNVERIFIED.wrap_bio(ssl.MemoryBIO(), said, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return said.read()


def again_and_again(end, rest, deed):
    """Until the end, whatever the gateway does with it."""
    while time.monotonic() < end:
        try:
            deed()
        except (OSError, ValueError):
            PAUSE.wait(0.01)
        PAUSE.wait(rest)


def say(connection, *parts, rest=0.0, listen=True):
    for part in parts:
        connection.sendall(part)
        if rest:
            PAUSE.wait(rest)
    return connection.recv(65536) if listen else b""


def leave(connection, chance):
    """As clients do: with a FIN, with a reset, or half of it."""
    way = chance.randrange(3)
    if way == 0:
        return reset(connection)
    if way == 1 and not isinstance(connection, ssl.SSLSocket):
        connection.shutdown(socket.SHUT_WR)
    connection.close()


def late_bodies(ports, end, chance):
    """Just before the head is due its last line comes, and then the body in single bytes."""
    def deed():
        crowd = []
        try:
            for number in range(12):
                crowd.append(connect_tls(ports["tls"], chance.choice(STRANGERS)) if number % 2 else
                             connect(ports["plain"], chance.choice(STRANGERS)))
                crowd[-1].sendall(HALF_UPLOAD)
            PAUSE.wait(HEADER_TIMEOUT * chance.uniform(0.85, 1.0))
            for connection in crowd:
                connection.sendall(b"\r\n")
            for _ in range(200):
                for connection in crowd:
                    connection.send(b"y")
        finally:
            for connection in crowd:
                connection.close()
    again_and_again(end, 0.05, deed)


def tls_stalls(ports, end, chance):
    def deed():
        first = hello()
        crowd = []
        try:
            for _ in range(50):
                crowd.append(connect(ports[chance.choice(("tls", "flip"))], chance.choice(STRANGERS)))
                crowd[-1].sendall(first[:chance.randrange(1, len(first) + 1)])
            PAUSE.wait(chance.uniform(0.1, 1.5))
        finally:
            for connection in crowd:
                leave(connection, chance)
    again_and_again(end, 0.05, deed)


def tls_resets(ports, end, chance):
    def deed():
        connection = connect(ports[chance.choice(("tls", "flip"))], chance.choice(STRANGERS))
        connection.sendall(hello())
        if chance.random() < 0.5:
            connection.recv(chance.choice((1, 100, 65536)))
        reset(connection)
    again_and_again(end, 0.002, deed)


def wrong_protocol(ports, end, chance):
    def deed():
        port = ports[chance.choice(("plain", "tls", "flip", "ops"))]
        with connect(port, chance.choice(STRANGERS)) as connection:
            say(connection, chance.choice((hello(), raw_request(), b"\x16\x03\x01" + os.urandom(200), b"SSH-2.0-x\r\n",
                                           b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\r\n" * 50, b"\x80\x2e\x01\x03\x01")))
    again_and_again(end, 0.002, deed)


def tls_crumbs(ports, end, chance):
    """Requests in records of a few bytes; whoever asks leaves somewhere in between."""
    def deed():
        connection = connect_tls(ports["tls"], chance.choice(STRANGERS))
        text = raw_request() * 3
        stop = chance.randrange(len(text))
        for at in range(0, stop, 7):
            connection.sendall(text[at:at + 7])
        leave(connection, chance)
    again_and_again(end, 0.01, deed)


def proxy_lies(ports, end, chance):
    v2 = b"\r\n\r\n\0\r\nQUIT\n"
    good = b"PROXY TCP4 192.0.2.%d 192.0.2.1 1 2\r\n"

    def header():
        kind = chance.randrange(9)
        if kind == 0:
            return good % chance.randrange(255)
        if kind == 1:
            return v2 + struct.pack(">BBH", 0x21, 0x11, 12) + os.urandom(12)
        if kind == 2:
            return v2 + struct.pack(">BBH", 0x21, 0x21, 36) + os.urandom(36)
        if kind == 3:
            return v2 + struct.pack(">BBH", chance.randrange(256), chance.randrange(256), chance.randrange(70000) % 65536)
        if kind == 4:
            return b"PROXY TCP4 " + b"9" * chance.randrange(200)
        if kind == 5:
            return b"PROXY UNKNOWN\r\n"
        if kind == 6:
            return (good % 7) * 3
        if kind == 7:
            return (good % 8)[:chance.randrange(30)]
        return v2 + struct.pack(">BBH", 0x20, 0, 0)

    def deed():
        port = chance.choice(("plain", "tls"))
        connection = connect(ports[port], chance.choice((TRUSTED, TRUSTED, STRANGERS[0])), 1.5)
        text = header() + (hello() if port == "tls" else raw_request())
        cut = chance.randrange(len(text))
        try:
            say(connection, text[:cut], text[cut:], rest=chance.choice((0, 0, 0.05)), listen=chance.random() < 0.7)
        finally:
            leave(connection, chance)
    again_and_again(end, 0.002, deed)


SMUGGLED = [b"POST /v1/classify HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + body for fields, body in (
    (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n"),
    (b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!"),
    (b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b"5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b"ffffffffffffffff1\r\nhello"),
    (b"Transfer-Encoding: chunked\r\n", b"-1\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b"5\r\nhelloX\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b"0\r\nContent-Length: 7\r\nHost: b\r\n\r\nGET /y HTTP/1.1\r\n\r\n"),
    (b"Content-Length: +5\r\n", b"hello"),
    (b"Content-Length: 5\r\n Folded: 1\r\n", b"hello"),
    (b"X: a\rContent-Length: 5\r\n", b"hello"),
    (b"X: a\0b\r\nContent-Length: 5\r\n", b"hello"),
    (b"Host: b\r\nContent-Length: 5\r\n", b"hello"),
    (b"Expect: 200-maybe\r\nContent-Length: 5\r\n", b"hello"),
    (b"Connection: Content-Length, Host\r\nContent-Length: 5\r\n", b"hello"))]


def smuggling(ports, end, chance):
    def deed():
        with connect(ports["plain"], chance.choice(STRANGERS), 0.5) as connection:
            text = raw_request() + chance.choice(SMUGGLED) + raw_request()
            cut = chance.randrange(len(text))
            say(connection, text[:cut], text[cut:])
    again_and_again(end, 0.002, deed)


def mutants(ports, end, chance):
    """Requests with bytes changed, doubled and left out, cut anywhere."""
    chunked = (b"POST /v1/classify HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n"
               b"Connection: keep-alive\r\n\r\n10\r\n{\"text\":\"bread\"}\r\n0\r\nTrailer: x\r\n\r\n")

    def deed():
        text = bytearray(chance.choice((raw_request(), chunked, SMUGGLED[0])) * chance.randrange(1, 4))
        for _ in range(chance.randrange(6)):
            at = chance.randrange(len(text))
            text[at:at + chance.randrange(3)] = chance.choice((b"", b"\r\n", b" ", b"\0", b"\xff", b":", b"0", os.urandom(3)))
        connection = connect(ports["plain"], chance.choice(STRANGERS), 0.5)
        try:
            cut = chance.randrange(len(text) + 1)
            say(connection, bytes(text[:cut]), bytes(text[cut:]), listen=chance.random() < 0.6)
        finally:
            leave(connection, chance)
    again_and_again(end, 0.002, deed)


def websocket_leavers(ports, end, chance):
    upgrade = (b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
               b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")

    def deed():
        crowd = []
        try:
            for _ in range(10):
                crowd.append(connect(ports["plain"], chance.choice(STRANGERS), 1))
                crowd[-1].sendall(upgrade + os.urandom(chance.choice((0, 0, 20, 20_000))))
            PAUSE.wait(chance.choice((0, 0.1, 0.3)))
        finally:
            for connection in crowd:
                leave(connection, chance)
    again_and_again(end, 0.02, deed)


def aborted_uploads(ports, end, chance):
    def deed():
        connection = connect(ports["plain"], chance.choice(STRANGERS))
        try:
            if chance.random() < 0.5:
                connection.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n")
                connection.sendall(b"y" * chance.randrange(1_000_000))
            else:
                connection.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                for _ in range(chance.randrange(60)):
                    connection.sendall(b"2000\r\n" + b"y" * 8192 + b"\r\n")
        finally:
            leave(connection, chance)
    again_and_again(end, 0.005, deed)


def invented_keys(ports, end, chance):
    def deed():
        with connect(ports["plain"], chance.choice(STRANGERS)) as connection:
            for _ in range(50):
                key = f"X-Api-Key: {chance.getrandbits(64):x}\r\n"
                if not say(connection, raw_request(headers=key + (key if chance.random() < 0.1 else ""))):
                    break
    again_and_again(end, 0.0, deed)


def cheap_batches(ports, end, chance):
    texts = ["bread"] * 900
    forms = [json.dumps(form).encode() for form in (
        {"_": [], "texts": texts}, {"_": [0], "texts": texts}, {"a": {"b": {"texts": texts}}}, [texts], texts)]
    forms += [b'{"texts":[],"texts":' + json.dumps(texts).encode() + b"}", b"[" * 50_000, b'{"texts":["\\ud800', b'{"a":' * 9000,
              gzip.compress(forms[0]), b"\xff\xfe[1,2]", b" " * 70_000 + forms[0]]

    def deed():
        body = chance.choice(forms)
        coding = b"Content-Encoding: gzip\r\n" if body[:2] == b"\x1f\x8b" else b""
        with connect(ports["plain"], chance.choice(STRANGERS)) as connection:
            say(connection, b"POST /items HTTP/1.1\r\nHost: a\r\n%sContent-Length: %d\r\n\r\n%s" % (coding, len(body), body))
    again_and_again(end, 0.005, deed)


def huge_heads(ports, end, chance):
    def deed():
        with connect(ports["plain"], chance.choice(STRANGERS)) as connection:
            say(connection, b"GET /" + b"x" * chance.choice((10, 9000, 200_000)) + b" HTTP/1.1\r\nHost: a\r\n",
                b"".join(b"X%d: y\r\n" % n for n in range(chance.choice((5, 101, 4000)))), b"\r\n")
    again_and_again(end, 0.005, deed)


def expectations(ports, end, chance):
    """Expect: 100-continue of who then says nothing, something else, or leaves."""
    def deed():
        connection = connect(ports["plain"], chance.choice(STRANGERS), 1)
        try:
            say(connection, b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" %
                chance.choice((1, 70_000, 9_000_000, 20_000_000)), listen=chance.random() < 0.8)
            connection.sendall(chance.choice((b"", b"y", raw_request(), b"y" * 70_000)))
        finally:
            leave(connection, chance)
    again_and_again(end, 0.005, deed)


def operators_silent(ports, end, chance):
    def deed():
        crowd = []
        try:
            for _ in range(80):
                crowd.append(connect(ports["ops"], chance.choice(STRANGERS)))
                crowd[-1].sendall(chance.choice((b"", b"GET /metr", b"GET /queue/health HTTP/1.1\r\nHost: a\r\n\r\n" * 20)))
            PAUSE.wait(0.5)
        finally:
            for connection in crowd:
                leave(connection, chance)
    again_and_again(end, 0.05, deed)


def health_floods(ports, end, chance):
    text = b"GET /queue/health HTTP/1.1\r\nHost: a\r\n\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n" * 10

    def deed():
        with connect(ports["plain"], chance.choice(STRANGERS)) as connection:
            for _ in range(20):
                if not say(connection, text):
                    break
    again_and_again(end, 0.0, deed)


def pipelines_left(ports, end, chance):
    def deed():
        connection = connect(ports["plain"], chance.choice(STRANGERS))
        try:
            connection.sendall(raw_request() * chance.randrange(1, 60))
            connection.recv(chance.randrange(1, 5000))
        finally:
            leave(connection, chance)
    again_and_again(end, 0.005, deed)


def of_abuse(kind, port="plain"):
    def attack(ports, end, _):
        kind(ports[port], end)
    attack.__name__ = kind.__name__
    return attack


ATTACKS = [late_bodies, tls_stalls, tls_resets, wrong_protocol, tls_crumbs, proxy_lies, smuggling, mutants,
           websocket_leavers, aborted_uploads, invented_keys, cheap_batches, huge_heads, expectations, operators_silent,
           health_floods, pipelines_left,
           *(of_abuse(kind, "tls" if kind is abuse.tls_hellos else "plain") for kind in abuse.ABUSES)]
