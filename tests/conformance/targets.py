"""Targets and hosts (RFC 9112 section 3.2, RFC 3986). What is forwarded is the path that was judged."""
from row import Answer, Request, Row, get, passed, refused

# What the client writes -> what is judged and forwarded (RFC 3986 section 6.2.2).
PATHS = [("/x", "/x"), ("/x?", "/x?"), ("/x?a=b&c=/../d", "/x?a=b&c=/../d"), ("/", "/"), ("/a/../x", "/x"), ("/a/./x", "/a/x"),
         ("/../x", "/x"), ("/a/b/../../../x", "/x"), ("/x/.", "/x/"), ("/x/..", "/"), ("/a/%2e%2e/x", "/x"), ("/a/%2E./x", "/x"),
         ("/%78", "/x"), ("/%7ex", "/~x"), ("//x", "/x"), ("/a//b///c", "/a/b/c"), ("/%c3%a9", "/%C3%A9"), ("/x%20y", "/x%20y"),
         ("/x%3fy", "/x%3Fy"), ("/x%23y", "/x%23y"), ("/x;a=b", "/x;a=b"), ("/x:y@z", "/x:y@z"), ("/...", "/..."), ("/.x", "/.x"),
         ("/x%25y", "/x%25y"), ("/x?%zz", "/x?%zz"), ("/a%2fb", "/a%2Fb"), ("/v1/classify/../../health", "/health"),
         ("/%68ealth", "/health"), ("//health", "/health"), ("/health;x", "/health;x"), ("/health%2fx", "/health%2Fx")]
BAD_PATHS = [("an escape that is none", "/x%zz"), ("half an escape", "/x%2"), ("a percent sign at the end", "/x%"),
             ("an escaped NUL", "/x%00"), ("dot segments behind an escaped slash", "/a/..%2fx"),
             ("dot segments behind an escaped backslash", "/a/..%5cx"), ("dot segments with parameters", "/a/..;b/x"),
             ("a fragment", "/x#y"), ("a backslash", "/a\\..\\x"), ("no slash at its begin", "x"), ("an asterisk for GET", "*"),
             ("two asterisks", "**"), ("a scheme that is not ours", "ftp://a/x"), ("a scheme alone", "http:"),
             ("an authority alone", "a:80"), ("an empty authority", "http:///x"), ("a user in the authority", "http://u@a/x"),
             ("a bad host in the authority", "http://a b/x"), ("a bad port in the authority", "http://a:x/x")]
HOSTS = [("a space", "a b"), ("a slash", "a/b"), ("a user", "u@a"), ("a port that is none", "a:x"), ("two ports", "a:1:2"),
         ("a port of six digits", "a:123456"), ("half a bracket", "[::1"), ("a name in brackets", "[a.example]"), ("a comma", "a, b"),
         ("a question mark", "a?b"), ("a hash", "a#b"), ("a backslash", "a\\b"), ("a quote", '"a"'), ("a port without a host", ":80"),
         ("a byte over 127", "\xe9"), ("angle brackets", "<a>")]


def with_host(value):
    return f"GET /x HTTP/1.1\r\nHost: {value}\r\n\r\n".encode("latin-1")


ROWS = [
    *[passed(f"{written} is {judged}", "3986 §6.2.2, 9112 §3.2.1", get(target=written), "GET " + judged) for written, judged in PATHS],
    *[refused(f"{what}: refused", "9112 §3.2, 3986 §3.3", get(target=target)) for what, target in BAD_PATHS],
    *[refused(f"{what} in Host: refused", "9112 §3.2, 9110 §7.2", with_host(value)) for what, value in HOSTS],
    *[passed(f"Host may be {value or 'empty'}", "9110 §7.2", with_host(value), fields=(f"Host: {value}",))
      for value in ("a.example", "a.example:8080", "192.0.2.1", "[2001:db8::1]:80", "A-b_c.example", "")],
    refused("no Host", "9112 §3.2", b"GET /x HTTP/1.1\r\n\r\n"),
    refused("two Hosts", "9112 §3.2", get("Host: b\r\n")),
    refused("the same Host twice", "9112 §3.2", get("Host: a\r\n")),
    passed("HTTP/1.0 needs no Host: the service's own is said", "9112 §3.2, §3.3", b"GET /x HTTP/1.0\r\n\r\n", fields=("Host: SERVICE",),
           then="closed"),
    passed("an absolute target's authority goes before Host", "9112 §3.2.2", get(target="http://b.example:8080/y?z"), "GET /y?z",
           ("Host: b.example:8080",)),
    passed("an absolute target without a path is /", "9112 §3.2.2", get(target="http://b"), "GET /", ("Host: b",)),
    passed("an absolute target with a query alone has the path /", "9112 §3.2.2", get(target="http://b?c"), "GET /?c", ("Host: b",)),
    passed("https may stand there, scheme and host in any case", "9112 §3.2.2", get(target="HTTPS://B/y"), "GET /y", ("Host: B",)),
    refused("an absolute target needs a Host beside it", "9112 §3.2", b"GET http://b/y HTTP/1.1\r\n\r\n"),
    passed("an asterisk is for OPTIONS", "9112 §3.2.4", get(target="*", method="OPTIONS"), "OPTIONS *"),
    Row("CONNECT is not for a gateway", "9110 §9.3.6", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        [Answer(405, has=("Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",))], []),
]
