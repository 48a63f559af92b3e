"""Requests by HTTP/2 that are partly what no request may be, through the real gateway to a service of HTTP/1: parsers that
have nothing in common with the gateway's must find in what it forwards nothing but what was sent, and nothing of what RFC
9113 forbids."""
import itertools
import re
from concurrent.futures import ThreadPoolExecutor

import http2_kit as h2
from independent import Node, Service, digest, read_requests
from kit import Gateway

PATHS = ["/v1/classify", "/", "/a?b=c&d", "/%41/..;/x", "*", "http://other/", "//x", "/a b", "/a\r\nX: y", "/a\0", "/\u00e9", "", "/#"]
METHODS = ["POST", "GET", "PUT", "HEAD", "PATCH", "OPTIONS", "get", "A B", "CONNECT", "P\r\nX: y", "", "M-SEARCH"]
SCHEMES = ["http", "https", "HTTP", "ftp", "", "http\r\n"]
AUTHORITIES = ["test", "test:80", "", "a b", "u@test", "test\r\nX: y", "[::1]:80", "other"]
FIELDS = [("content-length", "5"), ("content-length", "0"), ("content-length", "-1"), ("content-length", "5, 5"),
          ("transfer-encoding", "chunked"), ("connection", "close"), ("keep-alive", "5"), ("proxy-connection", "close"),
          ("upgrade", "websocket"), ("te", "trailers"), ("te", "gzip"), ("host", "test"), ("host", "other"), ("cookie", "a=b"),
          ("cookie", "c=d"), ("x-a", "b\r\nx-inside: 1"), ("x-a", "b\nx-inside: 1"), ("x-a", "b\0"), ("x-a", " b"), ("x-a", ""),
          ("X-Upper", "b"), ("x a", "b"), ("x:a", "b"), (":path", "/second"), (":other", "b"), ("x-a\r\nx-inside", "1"),
          ("", "b"), ("expect", "100-continue"), ("trailer", "x-sum"), ("x-forwarded-for", "1.2.3.4"), ("via", "1.1 a"),
          ("x-long", "y" * 3000), ("x-request-id", "a\tb"), ("content-length", "+5"), ("http2-settings", "AAMAAABk")]
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+\Z")
OF_CONNECTION = (b"connection", b"transfer-encoding", b"keep-alive", b"proxy-connection", b"upgrade")


class Sent:
    """One request as it was sent, and whether it may go on (RFC 9113 sections 8.2, 8.3 and 8.1.1)."""

    def __init__(self, number, rng):
        odd = rng.random() < 0.7
        pick = lambda usual, all_: rng.choice(all_) if odd and rng.random() < 0.25 else usual  # noqa: E731
        self.number, self.body = number, rng.choice([b"", b"", b"hello", b"GET /inside HTTP/1.1\r\nHost: a\r\n\r\n", b"x" * 200])
        self.fields = [(":method", pick("POST" if self.body else "GET", METHODS)), (":scheme", pick("http", SCHEMES)),
                       (":path", pick(f"/v1/classify?{number}", PATHS)), (":authority", pick("test", AUTHORITIES)),
                       ("x-run", str(number))]
        for _ in range(rng.choice((0, 1, 1, 2, 3)) if odd else 0):
            self.fields.insert(rng.choice((len(self.fields), rng.randrange(len(self.fields) + 1))), rng.choice(FIELDS))
        self.trailers = rng.choice([None, None, None, [("x-sum", "1")], [(":path", "/")], [("x-a", "b\r\nc: d")],
                                    [("content-length", "9")], [("transfer-encoding", "chunked")], [("X-Upper", "1")]])
        self.parts = rng.choice((1, 1, 2))

    def frames(self, stream, rng):
        ends = not self.body and self.trailers is None
        yield h2.headers(stream, self.fields, h2.END_HEADERS | (h2.END_STREAM if ends else 0))
        if ends:
            return
        cut = rng.randrange(len(self.body) + 1) if self.parts == 2 else len(self.body)
        yield h2.frame(h2.DATA, 0, stream, self.body[:cut])
        if self.trailers is None:
            yield h2.frame(h2.DATA, h2.END_STREAM, stream, self.body[cut:])
        else:
            yield h2.frame(h2.DATA, 0, stream, self.body[cut:])
            yield h2.headers(stream, self.trailers)

    def why_forbidden(self):
        pairs = [(name.encode(), value.encode()) for name, value in self.fields]
        seen_regular = False
        for name, value in pairs:
            if re.search(rb"[\r\n\0]", value) or value != value.strip(b" \t"):
                return "a value with CR, LF, NUL or white space around it"
            if name.startswith(b":"):
                if seen_regular or name not in (b":method", b":scheme", b":path", b":authority"):
                    return "pseudo-fields"
                continue
            seen_regular = True
            if not TOKEN.match(name):
                return "a name that is none"
            if name in OF_CONNECTION or name == b"te" and value.lower() != b"trailers":
                return "a field of connections"
        for name in (b":method", b":scheme", b":path", b":authority"):
            if sum(one == name for one, _ in pairs) > 1:
                return "a pseudo-field twice"
        lengths = [value for name, value in pairs if name == b"content-length"]
        if any(length != str(len(self.body)).encode() for length in lengths) or len(lengths) > 1:
            return "a length that is not the body's"
        said = dict(pairs)
        authorities = {value for name, value in pairs if name in (b"host", b":authority")}
        if len(authorities) > 1:
            return "two hosts"
        if not TOKEN.match(said[b":method"].lower()) or said[b":scheme"].lower() not in (b"http", b"https"):
            return "a method or a scheme"
        if re.search(rb"[^!-~]", said[b":path"]) or not said[b":path"].startswith((b"/", b"*")):
            return "a path"
        return None


def http2_agree(runs, rng, exchange, stop, address_of, crowd, settings):
    """As the other agreements of differential_test.py, whose means it is lent."""
    numbers, sent, texts = itertools.count(1), {}, {}
    for run in range(runs):
        text, streams = h2.PREFACE + h2.settings(), itertools.count(1, 2)
        for _ in range(rng.choice((1, 1, 2, 3))):
            one = Sent(next(numbers), rng)
            sent[str(one.number)] = one
            text += b"".join(one.frames(next(streams), rng))
        texts[address_of(run)] = text + h2.frame(h2.GOAWAY, payload=b"\0" * 8)
    service, node = Service(), Node()
    gateway = Gateway(service.address, protocols="h2, http/1.1", **settings)
    try:
        with ThreadPoolExecutor(crowd) as clients:
            for heard in [clients.submit(exchange, gateway.port, text, source) for source, text in texts.items()]:
                heard.result()
        stop(gateway)
        seen, wrong = 0, []
        for stream in service.streams:
            found, error = read_requests(bytes(stream))
            theirs, other = node.read(bytes(stream)) if all(one.method in node.methods for one in found) else (None, None)
            if error or other:
                wrong.append(f"h11: {error}; node: {other}\n    {bytes(stream)[-600:]!r}")
            if theirs is not None and theirs != [one.listed() for one in found]:
                wrong.append(f"h11 and node differ:\n    {[one.listed() for one in found]}\n    {theirs}")
            for one in found:
                seen += 1
                wrong += judge(one, sent)
        return seen, wrong
    finally:
        gateway.end()
        node.end()
        service.end()


def judge(found, sent):
    fields = dict(found.fields)
    one = sent.pop(fields.get("x-run"), None)
    if one is None:
        return [f"nobody sent, or twice: {found.listed()} {found.fields}"]
    context = f"\n    sent {one.fields} {one.body!r} {one.trailers}\n    read {found.listed()} {found.fields}"
    if why := one.why_forbidden():
        return [f"forwarded in spite of {why}{context}"]
    said = dict(one.fields)
    # Two slashes are one, as for routes.
    target = re.sub(r"^/+", "/", said[":path"])
    if (found.method, found.target, found.digest) != (said[":method"], target, digest(one.body)):
        return [f"another request{context}"]
    if fields.get("host") != said[":authority"]:
        return [f"another host{context}"]
    if "x-inside" in fields:
        return [f"a field that nobody sent{context}"]
    return []
