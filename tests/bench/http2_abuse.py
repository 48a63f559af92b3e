#!/usr/bin/env python3
"""What clients of HTTP/2 that do what helps nobody cost: a client that asks every 20 ms beside them, the process's
memory, and how many requests the service ever had at once. A table in Markdown; the books must balance in the end.
    tests/bench/http2_abuse.py [FRAMES [ABUSE...]]        of each abuse; default: 1000000, all of them
An abuser sends its frames in one piece, comes again when it is sent away, and has several connections at a time."""
import multiprocessing
import struct
import sys
import time

import abuse
from abuse import PAUSE, WORKERS, GoodClient, Gateway, Service, memory, settled
import http2_kit as h2  # in tests/process, as kit.py
from http2_kit import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PRIORITY, frame, get, headers

AT_ONCE = 64  # connections
PIECE = 2000  # frames
POST = h2.request_fields(method="POST")
HELLO = h2.PREFACE + h2.settings()


def numbered(make, count=PIECE // 2):
    """make(stream), which is two frames."""
    return HELLO + b"".join(make(2 * i + 1) for i in range(count)), 2 * count


def repeated(bit, begin=b"", count=PIECE):
    return HELLO + begin + bit * count, count


def rapid_reset():
    return numbered(lambda stream: get(stream) + h2.reset(stream))


def hundred_and_away():
    """As many as may be open at once, each taken back; then the client leaves and comes again: never beyond what one
    connection may do."""
    return numbered(lambda stream: get(stream) + h2.reset(stream), 100)


def made_you_reset():
    return numbered(lambda stream: headers(stream, POST, END_HEADERS) + h2.window_update(stream, 2**31 - 1))


def made_you_reset_by_nothing():
    return numbered(lambda stream: headers(stream, POST, END_HEADERS) + h2.window_update(stream, 0))


def malformed():
    return numbered(lambda stream: headers(stream, h2.request_fields(extra=[("X", "y")])) + h2.ping())


def pings():
    return repeated(h2.ping())


def settings():
    return repeated(h2.settings((4, 65535)))


def priorities():
    return repeated(frame(PRIORITY, 0, 1, struct.pack(">IB", 0, 5)))


def empty_data():
    return repeated(frame(DATA, 0, 1), headers(1, POST, END_HEADERS))


def data_of_a_byte():
    return repeated(frame(DATA, 0, 1, b"x"), headers(1, POST, END_HEADERS))


def windows_of_a_byte():
    return repeated(h2.window_update(0, 1))


def continuations():
    """Empty ones: a head without an end."""
    return repeated(frame(CONTINUATION, 0, 1), frame(HEADERS, END_STREAM, 1, h2.literal(POST)))


def large_continuations():
    return repeated(frame(CONTINUATION, 0, 1, h2.literal([("x", "y" * 16000)])),
                    frame(HEADERS, END_STREAM, 1, h2.literal(POST)), 100)


ENTRY = b"\x40\x01x\x7f" + h2._rest(4000 - 127) + b"a" * 4000  # goes to the table: what 0xbe says again


def bomb(block):
    """Heads of one frame, each with this in it."""
    block = h2.literal(h2.request_fields()) + block
    return numbered(lambda stream: frame(HEADERS, END_STREAM | END_HEADERS, stream, block[:16384]) + h2.ping(), 20)


def bomb_of_one_large_field():
    return bomb(ENTRY + b"\xbe" * 12000)


def bomb_of_crumbs():
    return bomb(b"\x40\x06cookie\x01a" + b"\xbe" * 16000)


def bomb_of_empty_fields():
    return bomb(b"\x40\x01x\x00" + b"\xbe" * 16000)


def bomb_of_huffman():
    """The shortest code, of five bits: half as much again in two frames, which is more than a head may have."""
    block = h2.literal(h2.request_fields()) + 2 * (
        b"\x00\x01x\xff" + h2._rest(15000 - 127) + b"\x18\xc6\x31\x8c\x63" * 3000)
    return numbered(lambda stream: frame(HEADERS, END_STREAM, stream, block[:16384]) +
                    frame(CONTINUATION, END_HEADERS, stream, block[16384:]), 20)


def bomb_of_table_sizes():
    """Changes of it where they must not be."""
    return bomb(b"\x20\x3f\xe1\x1f")


def zero_windows():
    """A hundred answers on each connection, of which nothing is taken."""
    return HELLO[:-9] + h2.settings((h2.INITIAL_WINDOW_SIZE, 0)) + b"".join(
        get(2 * i + 1, "/large") for i in range(100)), 100


def half_pings():
    """Held."""
    return HELLO + h2.ping()[:12], 1


ABUSES = (rapid_reset, hundred_and_away, made_you_reset, made_you_reset_by_nothing, malformed, pings, settings, priorities,
          empty_data, data_of_a_byte, windows_of_a_byte, continuations, large_continuations, bomb_of_one_large_field,
          bomb_of_crumbs, bomb_of_empty_fields, bomb_of_huffman, bomb_of_table_sizes, zero_windows, half_pings)
STAYING = (zero_windows, half_pings)  # wait until they are sent away
LEAVING = (hundred_and_away, bomb_of_huffman)  # when all is sent: nothing ends what is within the bounds


class Abuser:
    """One connection after another: sends what it has, and hears what comes of it."""

    def __init__(self, port, piece):
        self.port, self.piece, self.connection = port, piece, None

    def begin(self):
        self.connection = abuse.connect(self.port)
        self.connection.setblocking(False)
        self.left, self.said = memoryview(self.piece), b""

    def step(self, leaves):
        """True when this connection is over."""
        try:
            if self.left:
                self.left = self.left[self.connection.send(self.left):]
            if not self.left and leaves:
                return True
        except BlockingIOError:
            pass
        except OSError:
            return self.hear() or True
        return self.hear()

    def hear(self):
        try:
            while part := self.connection.recv(65536):
                self.said = (self.said + part)[-4096:]
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def was_told(self):
        """GOAWAY with ENHANCE_YOUR_CALM or another error, as far as it was heard."""
        at = self.said.find(b"\0\0\x08\x07\0\0\0\0\0")
        return at >= 0


def attack(port, kind, frames, seconds, told):
    piece, count = kind()
    abusers = [Abuser(port, piece) for _ in range(AT_ONCE)]
    sent, end, busy = 0, time.monotonic() + seconds, list(abusers)
    for one in abusers:
        one.begin()
    while busy and time.monotonic() < end:
        for one in list(busy):
            if not one.step(kind in LEAVING):
                continue
            told[0] += 1
            told[1] += one.was_told()
            one.connection.close()
            sent += count
            if sent + AT_ONCE * count >= frames and kind not in STAYING:
                busy.remove(one)
                continue
            try:
                one.begin()
            except OSError:
                busy.remove(one)
    told[2] = sent


def under(kind, frames, seconds=60):
    service = Service("--concurrency", "1000", "--service-time", "5ms")
    gateway = Gateway(service.address, admission_rate=0, threads=1, admission_workers=WORKERS, protocols="h2, http/1.1",
                      upstream_on_client_abort="finish")
    good = GoodClient(gateway)
    good.run_until(time.monotonic() + 0.3)
    good.times.clear()
    told = multiprocessing.Array("q", 3)
    begin = time.monotonic()
    over = multiprocessing.Event()
    if kind:
        seconds = 10 if kind in STAYING else seconds
        attacker = multiprocessing.Process(target=attack, args=(gateway.port, kind, frames, seconds, told))
        attacker.start()
        while attacker.is_alive() and time.monotonic() < begin + 2 * seconds:
            good.run_until(time.monotonic() + 0.2)
        attacker.terminate()
    else:
        good.run_until(begin + 5)
    took = time.monotonic() - begin
    peak, most = memory(gateway.process.pid, "VmHWM"), service.stats()["max_running"]
    settled(gateway)
    name = kind.__name__.replace("_", " ") if kind else "nothing"
    mark = "" if most <= WORKERS else " (too many)"
    print(f"| {name} | {told[2]} | {told[0]} | {told[1]} | {took:.1f} | {good.row()} | {peak:.1f} | {most}{mark} |", flush=True)
    for reason in sorted(set(map(str, good.failures)))[:3]:
        print(f"  (failed: {reason})", flush=True)
    for program in (gateway, service):
        program.end()
    return most <= WORKERS


def main():
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    wanted = [kind for kind in ABUSES if kind.__name__ in sys.argv[2:]] or [None, *ABUSES]
    print("| abuse | frames offered | connections that ended | of them told so (GOAWAY) | s | good client | p50 ms | p99 ms "
          "| peak RSS MiB | most at once in the service |\n|---|---|---|---|---|---|---|---|---|---|")
    return 0 if all([under(kind, frames) for kind in wanted]) else 1


if __name__ == "__main__":
    sys.exit(main())
