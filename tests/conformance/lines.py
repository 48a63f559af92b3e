"""Lines, names, values (RFC 9112 sections 2 to 5, RFC 9110 section 5)."""
from row import Request, Row, get, passed, post, refused


def raw(text):
    return text.encode("latin-1")


NAMES = [("an empty name", ": 1"), ("white space before the colon", "X : 1"), ("a tab before the colon", "X\t: 1"),
         ("white space in a name", "X Y: 1"), ("no colon", "X"), ("a NUL in a name", "X\0Y: 1"), ("a control character in a name", "X\1Y: 1"),
         ("a parenthesis in a name", "X(: 1"), ("a slash in a name", "X/Y: 1"), ("a quote in a name", 'X": 1'),
         ("a byte over 127 in a name", "X\xe9: 1"), ("a comma in a name", "X,Y: 1"), ("an @ in a name", "X@: 1"),
         ("a DEL in a name", "X\x7f: 1"), ("brackets in a name", "X[1]: 1")]
VALUES = [("a NUL", "\0"), ("a bell", "\7"), ("a backspace", "\x08"), ("an escape", "\x1b"), ("a vertical tab", "\x0b"),
          ("a form feed", "\x0c"), ("a DEL", "\x7f"), ("a bare CR", "\r"), ("SOH", "\1")]
TARGET_BYTES = [("a NUL", "\0"), ("a tab", "\t"), ("a byte over 127", "\xe9"), ("a DEL", "\x7f"), ("a vertical tab", "\x0b"), ("a bell", "\7")]
ROWS = [
    *[refused(f"{what}: refused", "9112 §5.1, 9110 §5.6.2", get(line + "\r\n")) for what, line in NAMES],
    *[refused(f"{what} in a value: refused", "9110 §5.5", get(f"X: a{byte}b\r\n")) for what, byte in VALUES],
    *[refused(f"{what} in a target: refused", "9112 §3.2, 3986 §2", get(target=f"/x{byte}y")) for what, byte in TARGET_BYTES],
    refused("a line that ends with LF", "9112 §2.2", raw("GET /x HTTP/1.1\nHost: a\r\n\r\n")),
    refused("a field that ends with LF", "9112 §2.2", raw("GET /x HTTP/1.1\r\nHost: a\n\r\n")),
    refused("a head that ends with two LF", "9112 §2.2", raw("GET /x HTTP/1.1\r\nHost: a\n\n")),
    refused("a head whose empty line is a LF", "9112 §2.2", raw("GET /x HTTP/1.1\r\nHost: a\r\n\n")),
    refused("a CR alone between two fields", "9112 §2.2", raw("GET /x HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n")),
    refused("a folded line", "9112 §5.2", get("X: 1\r\n 2\r\n")),
    refused("a line folded with a tab", "9112 §5.2", get("X: 1\r\n\t2\r\n")),
    refused("white space before the first field", "9112 §2.2", raw("GET /x HTTP/1.1\r\n Host: a\r\n\r\n")),
    refused("a folded line of nothing", "9112 §5.2", get("X: 1\r\n \r\n")),
    passed("an empty line before a request means nothing", "9112 §2.2", b"\r\n" + get()),
    passed("two of them neither", "9112 §2.2", b"\r\n\r\n" + get()),
    refused("a LF before a request", "9112 §2.2", b"\n" + get()),
    refused("a space before the method", "9112 §3", b" " + get()),
    refused("two spaces behind the method", "9112 §3", raw("GET  /x HTTP/1.1\r\nHost: a\r\n\r\n")),
    refused("two spaces before the version", "9112 §3", raw("GET /x  HTTP/1.1\r\nHost: a\r\n\r\n")),
    refused("a tab behind the method", "9112 §3", raw("GET\t/x HTTP/1.1\r\nHost: a\r\n\r\n")),
    refused("a space behind the version", "9112 §3", raw("GET /x HTTP/1.1 \r\nHost: a\r\n\r\n")),
    refused("no target", "9112 §3", raw("GET HTTP/1.1\r\nHost: a\r\n\r\n")),
    refused("no version (HTTP/0.9)", "9112 §3", raw("GET /x\r\n\r\n")),
    refused("a space in the target", "9112 §3.2", raw("GET /x y HTTP/1.1\r\nHost: a\r\n\r\n")),
    refused("bytes that are no HTTP", "9112 §3", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    passed("a value may be empty", "9110 §5.5", get("X:\r\n"), fields=("Host: a", "X: ")),
    passed("white space around a value is dropped", "9112 §5", get("X: \t a b \t \r\n"), fields=("Host: a", "X: a b")),
    passed("a tab within a value stays", "9110 §5.5", get("X: a\tb\r\n"), fields=("Host: a", "X: a\tb")),
    passed("a byte over 127 in a value stays", "9110 §5.5", get("X: \xe9\r\n"), fields=("Host: a", "X: \xe9")),
    passed("every character of a token may be in a name", "9110 §5.6.2", get("!#$%&'*+-.^_`|~09azAZ: 1\r\n"),
           fields=("Host: a", "!#$%&'*+-.^_`|~09azAZ: 1")),
    passed("a field may come twice, and its order stays", "9110 §5.3", get("X: 1\r\nY: 2\r\nX: 3\r\n"),
           fields=("Host: a", "X: 1", "Y: 2", "X: 3")),
    passed("the spelling of a name stays", "9110 §5.1", get("x-oDD-NaMe: 1\r\n"), fields=("Host: a", "x-oDD-NaMe: 1")),
    # Bounds: 100 fields, 8 KiB of target, 32 KiB in all.
    passed("100 fields are read", "9110 §5.4", get("".join(f"X{i}: 1\r\n" for i in range(99))),
           fields=("Host: a", *(f"X{i}: 1" for i in range(99)))),
    refused("101 are not", "9110 §5.4, 6585 §5", get("".join(f"X{i}: 1\r\n" for i in range(100))), 431),
    refused("a head of more than 32 KiB", "9110 §5.4, 6585 §5", get("X: " + "y" * 33_000 + "\r\n"), 431),
    refused("a head without end", "9110 §5.4, 6585 §5", b"GET /x HTTP/1.1\r\nX: " + b"y" * 33_000, 431),
    passed("a target of 8 KiB is read", "9110 §4.1", get(target="/" + "y" * 8191), "GET /" + "y" * 8191),
    refused("a longer one is not", "9110 §15.5.15", get(target="/" + "y" * 8192), 414),
]
