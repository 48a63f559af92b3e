"""A real Redis with a folder and a port of its own, and what else may stand where one should."""
import re
import socket
import tempfile

from kit import Program, free_port, serve_each, stop_listening, wait_until


def command(*words):
    """As Redis reads it (RESP)."""
    texts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(texts) + b"".join(b"$%d\r\n%s\r\n" % (len(text), text) for text in texts)


def as_master(run):
    """What an Impostor answers that lets itself be used, but says `run` to the script; with every command there is one of
    these words."""
    answers = {b"ROLE": b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n", b"LOAD": b"$40\r\n" + b"a" * 40 + b"\r\n", b"EVALSHA": run}
    return lambda part: b"".join(answers[word] for word in re.findall(rb"\r\n(ROLE|LOAD|EVALSHA)\r\n", part))


class Redis(Program):
    """Nothing is written to disk: who ends it loses everything."""

    def __init__(self, *options, port=None, answers="PONG"):
        self.data = tempfile.TemporaryDirectory(prefix="classgate-redis-")
        self.port = port or free_port()
        super().__init__(["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--dir", self.data.name,
                          "--save", "", "--appendonly", "no", *options], {"LC_ALL": "C"})
        self.url = f"redis://127.0.0.1:{self.port}"
        wait_until(self.is_up, "redis-server (of Debian's package redis-server) answers", 20)

    def is_up(self):
        assert self.process.poll() is None, self.out() + self.err()
        try:
            return b"PONG" in self.ask("PING") or b"NOAUTH" in self.ask("PING")
        except OSError:
            return False

    def ask(self, *words):
        """The first bytes of the answer; each on a connection of its own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(command(*words))
            return connection.recv(65536)

    def end(self):
        super().end()
        self.data.cleanup()


class Impostor:
    """Listens as a Redis would, and answers each part that comes with the same bytes, or what is made of it; None: with
    nothing."""

    def __init__(self, answer):
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "redis://127.0.0.1:%d" % self.listener.getsockname()[1]
        serve_each(self.listener, self.serve)

    def serve(self, connection):
        with connection:
            try:
                while part := connection.recv(65536):
                    answer = self.answer(part) if callable(self.answer) else self.answer
                    if answer is not None:
                        connection.sendall(answer)
            except OSError:
                pass

    def end(self):
        stop_listening(self.listener)
