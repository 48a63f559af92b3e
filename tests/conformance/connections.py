"""Connections, hop-by-hop fields, versions, methods, expectations, pipelines."""
from row import OK, Answer, Request, Row, get, passed, post, refused

CL1 = "Content-Length: 1\r\n"
X = Request("POST /x", ["Host: a", "Content-Length: 1"], b"x")
HOP = ["Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: trailers", "Upgrade: h2c", "Connection: keep-alive"]
# Those that IANA has registered, some others, and one with every character of a token.
METHODS = ["ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "COPY", "DELETE", "GET", "LABEL", "LINK", "LOCK", "MERGE",
           "MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE", "MOVE", "OPTIONS", "ORDERPATCH", "PATCH", "POST",
           "PROPFIND", "PROPPATCH", "PUT", "QUERY", "REBIND", "REPORT", "SEARCH", "TRACE", "UNBIND", "UNCHECKOUT", "UNLINK",
           "UNLOCK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL", "PURGE", "FROB", "get", "!#$%&'*+-.^_`|~09azAZ"]
ROWS = [
    # RFC 9110 section 7.6.1
    *[passed(f"{line.split(':')[0]} is for one connection", "9110 §7.6.1", get(line + "\r\n")) for line in HOP],
    passed("a field that Connection names does not go on", "9110 §7.6.1", get("Connection: X-Own\r\nX-Own: 1\r\nX: 2\r\n"),
           fields=("Host: a", "X: 2")),
    passed("in any case, in any place, in several fields", "9110 §7.6.1",
           get("X-A: 1\r\nConnection: , x-a ,\r\nConnection: x-B\r\nX-B: 1\r\nx-b: 2\r\nX: 2\r\n"), fields=("Host: a", "X: 2")),
    passed("naming Host does not take it away", "9110 §7.6.1", get("Connection: Host\r\n")),
    passed("naming Content-Length does not take the body away", "9110 §7.6.1", post(b"x", "Connection: Content-Length\r\n" + CL1),
           "POST /x", ("Host: a", "Content-Length: 1"), b"x"),
    refused("a Connection of a hundred options", "9110 §7.6.1", get("Connection: " + "a," * 100 + "\r\n")),
    passed("Connection: close ends it behind the answer", "9112 §9.6", get("Connection: close\r\n"),
           answer=Answer(200, has=("Connection: close",)), then="closed"),
    passed("close among others too", "9112 §9.6", get("Connection: x, CLOSE\r\n"), then="closed"),
    passed("without it the connection goes on", "9112 §9.3", get(), answer=Answer(200, lacks=("Connection",))),
    Row("what follows close is not read", "9112 §9.6", get("Connection: close\r\n") + get(target="/y"), [200], [Request("GET /x")],
        then="closed"),
    passed("an Upgrade that is not wanted is dropped", "9110 §7.8", get("Connection: Upgrade\r\nUpgrade: websocket\r\n")),
    passed("Via grows", "9110 §7.6.3", get("Via: 1.0 b\r\n")),
    # Versions
    passed("an HTTP/1.0 client's connection ends", "9112 §9.3", get(version="HTTP/1.0"), answer=Answer(200, has=("Connection: close",)),
           then="closed"),
    passed("unless it asks for more", "9112 §9.3", get("Connection: keep-alive\r\n", version="HTTP/1.0"),
           answer=Answer(200, has=("Connection: keep-alive",))),
    refused("HTTP/1.2 is not spoken", "9110 §15.6.6", get(version="HTTP/1.2"), 505),
    refused("HTTP/2.0 in this form neither", "9110 §15.6.6", get(version="HTTP/2.0"), 505),
    refused("HTTP/0.9 neither", "9110 §15.6.6", get(version="HTTP/0.9"), 505),
    *[refused(f"the version {version!r} is none", "9112 §2.3", get(version=version)) for version in
      ("http/1.1", "HTTP/1", "HTTP/1.", "HTTP/1.10", "HTTP/11", "HTTP /1.1", "HTTPS/1.1", "HTCPCP/1.0", "RTSP/1.0", "ICE/1.0")],
    # Methods
    *[passed(f"{method} goes on", "9110 §9.1", get(method=method), f"{method} /x") for method in METHODS],
    passed("HEAD goes on, and its answer has no body", "9110 §9.3.2", get(method="HEAD"), "HEAD /x",
           answer=Answer(200, b"", has=("Content-Length: 2",))),
    passed("a QUERY has a body", "10008", post(b"x", CL1).replace(b"POST", b"QUERY"), "QUERY /x", X.fields, b"x"),
    refused("a method longer than any", "9112 §3, 9110 §15.6.2", get(method="M" * 65), 501),
    refused("HTTP/2's preface", "9113 §3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    refused("a method that is no token", "9110 §9.1", get(method="G(T")),
    refused("an empty method", "9112 §3.1", b" /x HTTP/1.1\r\nHost: a\r\n\r\n"),
    *[Row(f"{method} that may go no further is answered here", "9110 §7.6.2", get("Max-Forwards: 0\r\nCookie: secret\r\nX: 1\r\n", method=method),
          [answer], []) for method, answer in
      (("OPTIONS", Answer(200, b"", has=("Allow: GET",))),
       ("TRACE", Answer(200, b"TRACE /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nX: 1\r\n\r\n", has=("Content-Type: message/http",))))],
    *[passed(f"{method} may go so far once less often", "9110 §7.6.2", get("Max-Forwards: 10\r\n", method=method), f"{method} /x",
             ("Host: a", "Max-Forwards: 9")) for method in ("OPTIONS", "TRACE")],
    passed("a Max-Forwards that is no number goes on", "9110 §7.6.2", get("Max-Forwards: x\r\n", method="OPTIONS"), "OPTIONS /x",
           ("Host: a", "Max-Forwards: x")),
    passed("for other methods it says nothing", "9110 §7.6.2", get("Max-Forwards: 0\r\n"), fields=("Host: a", "Max-Forwards: 0")),
    # Expectations
    Row("100 Continue is said to who waits for it", "9110 §10.1.1", post(b"x", "Expect: 100-continue\r\n" + CL1), [200], [X]),
    Row("an expectation has no case", "9110 §10.1.1", post(b"x", "Expect: 100-Continue\r\n" + CL1), [200], [X]),
    refused("another expectation cannot be met", "9110 §10.1.1", post(b"x", "Expect: 200-ok\r\n" + CL1), 417, then="open"),
    passed("nobody waits where there is no body", "9110 §10.1.1", get("Expect: 100-continue\r\n")),
    # Pipelines
    Row("requests of one write are answered in order", "9112 §9.3.2", get(target="/1") + get(target="/2") + get(target="/3"),
        [Answer(200, b"1"), Answer(200, b"2"), Answer(200, b"3")],
        [Request("GET /1"), Request("GET /2"), Request("GET /3")],
        [OK.replace(b": 2\r\n\r\nok", b": 1\r\n\r\n" + n) for n in (b"1", b"2", b"3")]),
    Row("a request that is refused has its place among them", "9112 §9.3.2",
        get(target="/1") + post(b"x", "Expect: x\r\n" + CL1, "/2") + get(target="/3"), [200, 417, 200],
        [Request("GET /1"), Request("GET /3")]),
    Row("one that is malformed ends them", "9112 §9.3.2", get(target="/1") + get("X : 1\r\n") + get(target="/3"), [200, 400],
        [Request("GET /1")], then="closed"),
    Row("a body and the request behind it", "9112 §9.3.2", post(b"x", CL1) + get(target="/2"), [200, 200], [X, Request("GET /2")]),
    Row("a HEAD among them", "9112 §9.3.2", get(method="HEAD") + get(target="/2"), [Answer(200, b""), Answer(200, b"ok")],
        [Request("HEAD /x"), Request("GET /2")]),
    # Smuggling: what looks like a second request is a body, or nothing.
    Row("a request within a body is a body", "9112 §11.2", post(get(target="/evil"), f"Content-Length: {len(get(target='/evil'))}\r\n"),
        [200], [Request("POST /x", ["Host: a", f"Content-Length: {len(get(target='/evil'))}"], get(target="/evil"))]),
    refused("a request behind a doubtful end is none", "9112 §11.2", post(b"0\r\n\r\n" + get(target="/evil"), CL1 + "Transfer-Encoding: chunked\r\n")),
    refused("a second request behind a LF in a value is none", "9112 §11.1", get("X: 1\n\nGET /evil HTTP/1.1\r\n")),
]
