"""HTTP/2 frames as bytes, right ones and wrong ones, for the tests of it."""
import socket
import struct
import time

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 0, 1, 3, 5, 6
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 7, 8, 9, 11
INITIAL_WINDOW_SIZE, HEADER_TABLE_SIZE, ENABLE_PUSH = 4, 1, 2


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(*pairs):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *pair) for pair in pairs))


def reset(stream, error=CANCEL):
    return frame(RST_STREAM, stream=stream, payload=struct.pack(">I", error))


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, stream=stream, payload=struct.pack(">I", increment))


def ping(payload=b"12345678", flags=0):
    return frame(PING, flags, payload=payload)


def literal(fields):
    """HPACK without tables and without Huffman: any bytes (RFC 7541 section 6.2.2)."""
    def text(value):
        value = value if isinstance(value, bytes) else value.encode()
        return (bytes([len(value)]) if len(value) < 127 else b"\x7f" + _rest(len(value) - 127)) + value
    return b"".join(b"\x00" + text(name) + text(value) for name, value in fields)


def _rest(number):
    out = b""
    while number >= 128:
        out += bytes([number % 128 + 128])
        number //= 128
    return out + bytes([number])


def request_fields(path="/v1/classify", method="GET", extra=()):
    return [(":method", method), (":scheme", "http"), (":path", path), (":authority", "test"), *extra]


def headers(stream, fields, flags=END_HEADERS | END_STREAM):
    return frame(HEADERS, flags, stream, literal(fields))


def get(stream, path="/v1/classify", extra=()):
    return headers(stream, request_fields(path, extra=extra))


class Frame:
    def __init__(self, kind, flags, stream, payload):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload

    @property
    def ends(self):
        return self.kind in (DATA, HEADERS) and bool(self.flags & END_STREAM)

    @property
    def error(self):
        at = 4 if self.kind == GOAWAY else 0
        return struct.unpack(">I", self.payload[at:at + 4])[0]

    @property
    def last_stream(self):
        return struct.unpack(">I", self.payload[:4])[0] & 0x7FFFFFFF

    def __repr__(self):
        return f"<{self.kind} {self.flags:#x} {self.stream} {self.payload[:40]!r}>"


class Answer:
    def __init__(self):
        self.fields, self.trailers, self.interim, self.body = None, None, [], b""
        self.is_whole, self.error = False, None

    @property
    def status(self):
        return int(self.fields[":status"]) if self.fields else None


class Peer:
    """A client of frames. What it reads is sorted by stream; it answers nothing by itself but, if it is kind, SETTINGS
    and PING."""

    def __init__(self, port, own_settings=(), wrap=None, is_kind=True):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if wrap:
            self.socket = wrap(self.socket)
        self.decoder, self.buffer, self.answers, self.frames = hpack.Decoder(), b"", {}, []
        self.is_kind, self.has_ended = is_kind, False
        self.send(PREFACE, settings(*own_settings))
        if is_kind:
            self.send(window_update(0, 1 << 30))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *frames):
        """False: the connection has ended."""
        try:
            self.socket.sendall(b"".join(frames))
            return True
        except OSError:
            return False

    def next(self, seconds=20):
        """The next frame; None at the end of the connection, or of the time."""
        end = time.monotonic() + seconds
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            left = end - time.monotonic()
            if left <= 0:
                return None
            self.socket.settimeout(left)
            try:
                part = self.socket.recv(65536)
            except (TimeoutError, socket.timeout):
                return None
            except OSError:
                part = b""
            if not part:
                self.has_ended = True
                return None
            self.buffer += part
        size = int.from_bytes(self.buffer[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
        read = Frame(kind, flags, stream & 0x7FFFFFFF, self.buffer[9:9 + size])
        self.buffer = self.buffer[9 + size:]
        self.frames.append(read)
        self.note(read)
        return read

    def note(self, read):
        if self.is_kind and read.kind in (SETTINGS, PING) and not read.flags & ACK:
            self.send(frame(read.kind, ACK, payload=read.payload if read.kind == PING else b""))
        if read.stream == 0:
            return
        answer = self.answers.setdefault(read.stream, Answer())
        if read.kind == HEADERS:
            fields = dict(self.decoder.decode(read.payload))
            if fields.get(":status", "").startswith("1"):
                answer.interim.append(fields)
            elif answer.fields is None:
                answer.fields = fields
            else:
                answer.trailers = fields
        elif read.kind == DATA:
            answer.body += read.payload
        elif read.kind == RST_STREAM:
            answer.error = read.error
        answer.is_whole = answer.is_whole or read.ends

    def read_until(self, claim, seconds=20):
        """Frames until one of them is it; None when the connection ends or is silent first."""
        end = time.monotonic() + seconds
        while (read := self.next(max(end - time.monotonic(), 0))) is not None:
            if claim(read):
                return read
        return None

    def answer(self, stream, seconds=20):
        """The answer on a stream, whole or reset."""
        answer = self.answers.setdefault(stream, Answer())
        if not answer.is_whole and answer.error is None:
            self.read_until(lambda _: answer.is_whole or answer.error is not None, seconds)
        return answer

    def ask(self, stream, path="/v1/classify", extra=()):
        self.send(get(stream, path, extra))
        return self.answer(stream)

    def goaway(self, seconds=20):
        return next((read for read in self.frames if read.kind == GOAWAY), None) or \
            self.read_until(lambda read: read.kind == GOAWAY, seconds)

    def ends(self, seconds=20):
        """The other side closes the connection."""
        self.read_until(lambda _: False, seconds)
        return self.has_ended

    def is_well(self):
        """It still answers a PING."""
        self.send(ping(b"are you?"))
        return self.read_until(lambda read: read.kind == PING and read.payload == b"are you?") is not None
