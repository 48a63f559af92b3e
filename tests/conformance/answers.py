"""What the service answers, and what becomes of it (RFC 9112 sections 4, 6, 7, RFC 9110 section 15)."""
from row import CUT, OK, Answer, Request, Row, answered, broken, get, post


def head(*fields, line="HTTP/1.1 200 OK"):
    return (line + "\r\n" + "".join(f + "\r\n" for f in fields) + "\r\n").encode("latin-1")


BAD_HEADS = [
    ("bytes that are no HTTP", b"hello\r\n\r\n"), ("another protocol", b"ICY 200 OK\r\n\r\n"), ("no status", b"HTTP/1.1\r\n\r\n"),
    ("a status of two digits", b"HTTP/1.1 20 OK\r\n\r\n"), ("a status of four digits", b"HTTP/1.1 2000 OK\r\n\r\n"),
    ("a status that is no number", b"HTTP/1.1 2x0 OK\r\n\r\n"), ("a status under 100", b"HTTP/1.1 099 OK\r\n\r\n"),
    ("a status over 599", b"HTTP/1.1 600 OK\r\n\r\n"), ("HTTP/2.0", b"HTTP/2.0 200 OK\r\n\r\n"), ("HTTP/1.2", b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("an empty line before the status line", b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("a status with a leading zero", b"HTTP/1.1 0200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("a control character in the phrase", b"HTTP/1.1 200 O\x0bK\r\nContent-Length: 0\r\n\r\n"),
    ("a DEL in the phrase", b"HTTP/1.1 200 O\x7fK\r\nContent-Length: 0\r\n\r\n"),
    ("a line that ends with LF", b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"), ("a head that ends with LF", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n"),
    ("a folded line", head("X: 1", " 2", "Content-Length: 0")), ("white space before a colon", head("X : 1", "Content-Length: 0")),
    ("an empty name", head(": 1", "Content-Length: 0")), ("a NUL in a value", head("X: \0", "Content-Length: 0")),
    ("a bare CR in a value", head("X: a\rb", "Content-Length: 0")), ("no colon", head("X", "Content-Length: 0")),
    ("two lengths that differ", head("Content-Length: 0", "Content-Length: 1")), ("two lengths that are the same", head("Content-Length: 0", "Content-Length: 0")),
    ("a list of lengths", head("Content-Length: 0, 0")), ("a negative length", head("Content-Length: -1")), ("a hexadecimal length", head("Content-Length: 0x0")),
    ("an empty length", head("Content-Length:")), ("a length of more than 64 bits", head("Content-Length: 18446744073709551616")),
    ("a length and chunks", head("Content-Length: 0", "Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    ("another coding", head("Transfer-Encoding: gzip")), ("chunked twice", head("Transfer-Encoding: chunked, chunked")),
    ("an obfuscated coding", head("Transfer-Encoding: \x0bchunked")), ("chunks in HTTP/1.0", head("Transfer-Encoding: chunked", line="HTTP/1.0 200 OK")),
    ("a switch of protocols that nobody asked for", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
    ("a head of more than 64 KiB", head("X: " + "y" * 66_000, "Content-Length: 0")),
    ("more than 1,000 fields", head(*(f"X{i}: 1" for i in range(1001)), "Content-Length: 0")),
]
CUT_CHUNKS = [("a size that is none", b"zz\r\n"), ("a chunk longer than it says", b"1\r\nxy\r\n"), ("a size that ends with LF", b"1\nx\r\n0\r\n\r\n"),
              ("a negative size", b"-1\r\n"), ("a last line that is missing", b"1\r\nx\r\n0\r\nX\r\n\r\n")]
NO_BODY = [(204, "No Content"), (304, "Not Modified")]
ROWS = [
    *[broken(f"{what}: 502", "9112 §4, §6.3, 9110 §15.6.3", answer) for what, answer in BAD_HEADS],
    Row("an end before a head: 502 for what may have run", "9110 §9.2.2", post(b"x", "Content-Length: 1\r\n"), [502],
        [Request("POST /x", ["Host: a", "Content-Length: 1"], b"x")], [CUT]),
    Row("an end before a head: what is idempotent is sent again", "9110 §9.2.2", get(), [200], [Request("GET /x")] * 2, [CUT, OK]),
    Row("an end within a head: not sent again, something was seen", "9110 §9.2.2", get(), [502], [Request("GET /x")],
        [(b"HTTP/1.1 200 OK\r\nX: ", CUT)]),
    answered("a body shorter than its length is cut for the client", "9112 §8", (head("Content-Length: 5") + b"abc", CUT),
             Answer(200, b"abc", is_cut=True), then="closed"),
    *[answered(f"{what} in an answer: cut for the client", "9112 §8", head("Transfer-Encoding: chunked") + b"2\r\nab\r\n" + chunk,
               Answer(200, b"ab" + (b"x" if chunk.startswith(b"1\r\n") else b""), is_cut=True), then="closed") for what, chunk in CUT_CHUNKS],
    answered("chunks that end too soon are cut for the client", "9112 §8", (head("Transfer-Encoding: chunked") + b"2\r\nab\r\n", CUT),
             Answer(200, b"ab", is_cut=True), then="closed"),
    # Framing
    answered("a length stays a length", "9112 §6.2", head("Content-Length: 3") + b"abc", Answer(200, b"abc", has=("Content-Length: 3",))),
    answered("chunks stay chunks", "9112 §7.1", head("Transfer-Encoding: chunked") + b"3;x=y\r\nabc\r\n0\r\n\r\n",
             Answer(200, b"abc", has=("Transfer-Encoding: chunked",), lacks=("Content-Length",))),
    answered("an answer without either ends with its connection, and goes on in chunks", "9112 §6.3 rule 8", (head() + b"abc", CUT),
             Answer(200, b"abc", has=("Transfer-Encoding: chunked",))),
    answered("for an HTTP/1.0 client chunks end with the connection", "9112 §7.1", head("Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n",
             Answer(200, b"abc", lacks=("Transfer-Encoding", "Content-Length")), get(version="HTTP/1.0"), then="closed"),
    answered("an HTTP/1.0 service is understood", "9112 §6.3", (b"HTTP/1.0 200 OK\r\n\r\nabc", CUT), Answer(200, b"abc")),
    answered("a trailer goes on", "9110 §6.5", head("Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n", Answer(200, b"x")),
    *[answered(f"{status} has no body, whatever its length says", "9112 §6.3 rule 1", head("Content-Length: 5", line=f"HTTP/1.1 {status} {phrase}"),
               Answer(status, b"")) for status, phrase in NO_BODY],
    answered("an answer to HEAD has no body, and keeps its length", "9112 §6.3 rule 1", head("Content-Length: 5"),
             Answer(200, b"", has=("Content-Length: 5",)), get(method="HEAD"), "HEAD /x"),
    answered("an answer to HEAD may say that it would be chunked", "9112 §6.1", head("Transfer-Encoding: chunked"), Answer(200, b""),
             get(method="HEAD"), "HEAD /x"),
    answered("a phrase may be empty", "9112 §4", b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", Answer(200, b"")),
    answered("the status and its phrase stay", "9112 §4", head("Content-Length: 0", line="HTTP/1.1 299 So It Is"),
             Answer(299, has=("HTTP/1.1 299 So It Is",))),
    # Fields
    answered("hop-by-hop fields stay behind", "9110 §7.6.1",
             head("Content-Length: 0", "Keep-Alive: timeout=5", "Proxy-Connection: x", "Connection: X-Own", "X-Own: 1", "Upgrade: h2c", "X: 1"),
             Answer(200, has=("X: 1",), lacks=("Keep-Alive", "Proxy-Connection", "Connection", "X-Own", "Upgrade"))),
    answered("fields may come twice", "9110 §5.3", head("Content-Length: 0", "Set-Cookie: a", "Set-Cookie: b"),
             Answer(200, has=("Set-Cookie: a", "Set-Cookie: b"))),
    answered("Via says that we were here", "9110 §7.6.3", head("Content-Length: 0"), Answer(200, has=("Via: 1.1 classgate",))),
    answered("and grows", "9110 §7.6.3", head("Content-Length: 0", "Via: 1.0 b"), Answer(200, has=("Via: 1.0 b, 1.1 classgate",))),
    answered("a Date is said by the gateway when the service did not", "9110 §6.6.1", head("Content-Length: 0"), Answer(200, has=("Date: ",))),
    answered("the service's Date stays", "9110 §6.6.1", head("Content-Length: 0", "Date: Mon, 01 Jan 2024 00:00:00 GMT"),
             Answer(200, has=("Date: Mon, 01 Jan 2024 00:00:00 GMT",))),
    answered("the service's close is not the client's", "9112 §9.6", (head("Content-Length: 2", "Connection: close") + b"ok", CUT),
             Answer(200, b"ok", lacks=("Connection",))),
    # Interim answers
    answered("102 goes on", "9110 §15.2", b"HTTP/1.1 102 Processing\r\n\r\n" + OK, Answer(200, b"ok")),
    answered("103 goes on with its fields", "8297 §2", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, Answer(200, b"ok")),
    answered("several of them", "9110 §15.2", b"HTTP/1.1 102 Processing\r\n\r\n" * 3 + OK, Answer(200, b"ok")),
    answered("not to an HTTP/1.0 client", "9110 §15.2", b"HTTP/1.1 102 Processing\r\n\r\n" + OK, Answer(200, b"ok"), get(version="HTTP/1.0"),
             then="closed"),
    answered("more than an answer: what is too much is no answer to the next request", "9112 §9.2", OK + OK, Answer(200, b"ok")),
    answered("a body where there is none is no answer to the next request", "9112 §6.3 rule 1", head("Content-Length: 2", line="HTTP/1.1 204 No Content") + b"ok",
             Answer(204, b"")),
]
