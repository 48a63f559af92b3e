"""One row of the table: raw bytes in, what the service saw, what the client saw.

    name       what happens, as a sentence
    rfc        where that is written
    send       the client's bytes
    answers    what the client gets, in order: a status, or an Answer
    forwards   what the service gets, in order: Request, none for "not one byte"
    service    what the service says to each of them: bytes; CUT after them ends the connection
    then       "open": the connection serves the next request; "closed": it ends

The service's answer, where a row does not say, is OK. The fields that the gateway adds to every
request (ADDED) are left out of a Request, so that a row shows what is about it.
"""
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CUT = object()
ADDED = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "via", "x-request-id")


@dataclass
class Request:
    line: str  # method and target
    fields: list = field(default_factory=lambda: ["Host: a"])
    body: bytes = b""


@dataclass
class Answer:
    status: int
    body: bytes | None = None
    has: tuple = ()  # lines of the head
    lacks: tuple = ()  # names of fields
    is_cut: bool = False  # it ends before its end


@dataclass
class Row:
    name: str
    rfc: str
    send: bytes
    answers: list
    forwards: list
    service: list = field(default_factory=list)
    then: str = "open"


def get(fields="", target="/x", version="HTTP/1.1", method="GET"):
    return f"{method} {target} {version}\r\nHost: a\r\n{fields}\r\n".encode("latin-1")


def post(body=b"", fields="", target="/x"):
    return f"POST {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode("latin-1") + body


def refused(name, rfc, send, status=400, then="closed"):
    """Not a byte of it reaches the service."""
    return Row(name, rfc, send, [status], [], then=then)


def passed(name, rfc, send, line="GET /x", fields=("Host: a",), body=b"", answer=200, then="open"):
    return Row(name, rfc, send, [answer], [Request(line, list(fields), body)], then=then)


def answered(name, rfc, service, answer, send=None, line="GET /x", then="open"):
    """What becomes of an answer."""
    return Row(name, rfc, send or get(), [answer], [Request(line)], [service], then)


def broken(name, rfc, service):
    """An answer that is none: 502, and that connection to the service is not used again. By POST, which is not
    sent twice."""
    return Row(name, rfc, post(b"x", "Content-Length: 1\r\n"), [502],
               [Request("POST /x", ["Host: a", "Content-Length: 1"], b"x")], [service])
