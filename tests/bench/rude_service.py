"""A service for siege.py that answers as it should, or, while it is told to, as none should: unasked bytes, ends in
the middle, nonsense, silence. It agrees to every WebSocket, a little late, and says back what it hears there."""
import multiprocessing
import random
import re
import socketserver
import struct
import socket

from abuse import PAUSE

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
BODY = b'{"label":"bakery"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


class Conversation(socketserver.StreamRequestHandler):
    timeout = 5

    def handle(self):
        try:
            if self.is_rude(0.05):
                self.say(ANSWER)  # before anything was asked
            while self.answer_one():
                pass
        except (OSError, ValueError):
            pass

    def is_rude(self, share):
        return self.server.rude.value and random.random() < share

    def say(self, text):
        self.wfile.write(text)

    def answer_one(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline(100_000)
            if not line:
                return False
            head += line
        if re.search(rb"\r\nupgrade: *websocket", head, re.I):
            return self.tunnel()
        self.read_body(head)
        if self.is_rude(0.3):
            return self.be_rude()
        PAUSE.wait(0.003)
        self.say(b"" if head.startswith(b"HEAD") else ANSWER)
        return True

    def read_body(self, head):
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
        left = int(length.group(1)) if length else 0
        while left:
            part = self.rfile.read(min(left, 65536))
            if not part:
                raise OSError("left")
            left -= len(part)
        if re.search(rb"\r\ntransfer-encoding: *chunked", head, re.I):
            while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                self.rfile.read(size + 2)
            while self.rfile.readline().strip():
                pass

    def tunnel(self):
        PAUSE.wait(0.2)
        self.say(SWITCHED)
        while part := self.request.recv(65536):
            self.request.sendall(part)
        return False

    def be_rude(self):
        manner = random.randrange(12)
        if manner == 0:
            self.say(ANSWER + b"unasked")
        elif manner == 1:
            self.say(ANSWER * 2)
        elif manner == 2:
            self.say(ANSWER)
            PAUSE.wait(0.01)
            self.say(ANSWER)  # on an unused connection
        elif manner == 3:
            self.say(ANSWER[:random.randrange(len(ANSWER))])
            return False
        elif manner == 4:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        elif manner == 5:
            self.say(random.randbytes(500))
            return False
        elif manner == 6:
            PAUSE.wait(1)
            return False
        elif manner == 7:
            self.say(b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ANSWER)
        elif manner == 8:
            self.say(SWITCHED + b"nobody asked for it")
        elif manner == 9:
            self.say(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n")
        elif manner == 10:
            self.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
        else:
            self.say(b"HTTP/1.1 200 OK\r\n\r\nuntil the end" * 1000)
            return False
        return True


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 500


class RudeService:
    """In a process of its own; `rude.value` is 1 while it is to be rude."""

    def __init__(self):
        self.rude = multiprocessing.Value("b", 0)
        server = Server(("127.0.0.1", 0), Conversation)
        server.rude = self.rude
        server.handle_error = lambda *_: None
        self.address = "127.0.0.1:%d" % server.server_address[1]
        self.process = multiprocessing.Process(target=server.serve_forever, daemon=True)
        self.process.start()
        server.server_close()

    def end(self):
        self.process.terminate()
        self.process.join()
