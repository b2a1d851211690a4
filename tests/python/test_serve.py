"""The live page of `sophia train --serve`: what it shows, whom it answers and what it withstands."""

import contextlib
import http.client
import os
import random
import re
import signal
import socket
import subprocess
import time
import urllib.parse

import pytest
from cli_support import PROGRAM, complaint, output, training
from page_support import Page, assert_self_contained

ENDLESS = {"max-steps": 1000000, "save-strategy": "no"}


class Live:
    """A run that is served; ended by SIGTERM, when it must not have complained."""

    def __init__(self, out, *flags, env=None):
        self.out = out
        arguments = [*training(out, **ENDLESS), "--serve", "0", *flags]
        self.process = subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        line = self.process.stdout.readline()
        self.url = urllib.parse.urlsplit(re.fullmatch(r"live page: (http://\S+)\n", line)[1])
        self.first = Page(self.get()[2])
        for line in self.process.stdout:
            if line.startswith("step 1/"):
                break

    def get(self, target=None, method="GET", body=None, **headers):
        """Status, headers and text of the reply."""
        connection = http.client.HTTPConnection("127.0.0.1", self.url.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, target or f"/?{self.url.query}", body, headers)
            reply = connection.getresponse()
            return reply.status, dict(reply.getheaders()), reply.read().decode()

    def raw(self, data, patience=20):
        """What comes back for these bytes; the server may close before it has taken them, and waits for
        the rest of a request."""
        reply = b""
        with socket.create_connection(("127.0.0.1", self.url.port), timeout=patience) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(data)
                while piece := connection.recv(65536):
                    reply += piece
        return reply

    def step(self):
        status, _, text = self.get(f"/body?{self.url.query}")
        assert status == 200
        return int(re.match(r"\d+", Page(text).ids["now-step"])[0])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=60)
        assert (self.process.returncode, errors) == (143, "")


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    run = Live(tmp_path_factory.mktemp("live") / "out")
    yield run
    run.stop()


def test_the_page_follows_the_run(live):
    assert live.url.hostname == "127.0.0.1" and not live.url.query
    status, headers, text = live.get()
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert_self_contained(text, headers["Content-Security-Policy"])
    page = Page(text)
    assert page.ids["state"] == "running"
    assert {"Loss", "Learning rate", "Gradient norm", "Tokens a second"} <= page.plots.keys()
    before = live.step()
    deadline = time.monotonic() + 30
    while live.step() <= before:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_before_the_first_step_no_earlier_run_is_shown(tmp_path):
    out = tmp_path / "out"
    output(*training(out))
    run = Live(out, env={"SOPHIA_CACHE_DIR": ""})  # compiling gives time to ask
    run.stop()
    assert run.first.ids == {"state": "starting"} and not run.first.plots


def test_the_page_is_not_built_for_every_request(live):
    """Without metrics.jsonl a page that is built anew says so; one of the last half second does not."""
    path, away = live.out / "metrics.jsonl", live.out / "away"
    for _ in range(20):
        time.sleep(0.6)
        start = time.monotonic()
        live.get("/body")
        path.rename(away)
        _, _, text = live.get("/")
        took = time.monotonic() - start
        away.rename(path)
        if took < 0.4:
            break
    assert took < 0.4
    assert "metrics written" in text and "no metrics yet" not in text


def test_headers_are_safe(live):
    for target, status in [("/", 200), ("/body", 200), ("/favicon.ico", 404)]:
        got, headers, _ = live.get(target)
        assert got == status
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"):
            assert part in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]


@pytest.mark.parametrize("target", ["/metrics.jsonl", "/run.json", "/../run.json", "//", "/body/", "/%2e%2e/etc/passwd",
                                    "/etc/passwd", "/?/../../etc/passwd", "/body?file=/etc/passwd", "/" + "a" * 4000])
def test_requests_name_no_files(live, target):
    status, _, text = live.get(target)
    known = target.split("?")[0] in ("/", "/body")
    assert status == (200 if known else 404)
    assert "root:" not in text
    if not known:
        assert text == "expected / or /body\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_nothing_can_be_changed(live, method):
    status, headers, _ = live.get("/", method, b"x" * 100)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    status, _, text = live.get("/", "HEAD")
    assert (status, text) == (200, "")


def test_other_names_for_this_machine_are_refused(live):
    """A web site whose name points here would be asked in its name."""
    for host in ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::2]:1"]:
        assert live.get(Host=host)[0] == 403, host
    for host in ["localhost", f"localhost:{live.url.port}", "127.0.0.1", "[::1]:80"]:
        assert live.get(Host=host)[0] == 200, host


def test_sizes_and_connections_are_limited(live):
    for request in [b"GET /" + b"a" * 1000000 + b" HTTP/1.1\r\n\r\n",
                    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 100000 + b"\r\n"]:
        reply = live.raw(request)
        assert reply == b"" or re.match(rb"HTTP/1.1 4(13|14|31|00) ", reply), reply[:100]
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", live.url.port))) for _ in range(40)]
        before = live.process.poll()
        closed = 0
        for connection in idle:
            connection.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                closed += connection.recv(1) == b""
        assert before is None and closed == 36  # one address keeps 4
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:  # until the server has seen that they are closed
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            assert live.step() > 0
            break
        time.sleep(0.05)
    assert live.step() > 0


def test_random_bytes_do_no_harm(live):
    chance = random.Random(11)
    whole = b"GET /body?a=b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc"
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(len(data))
            data[place : place + chance.randrange(4)] = chance.choice(
                [bytes([chance.randrange(256)]), b"\r\n", b"\0", b"%", b":" * 9, b"A" * 500, b"-1", b"\xff\xfe"])
        reply = live.raw(data[: chance.choice([len(data), chance.randrange(len(data))])], patience=0.1)
        assert reply == b"" or re.match(rb"HTTP/1\.[01] [2345]\d\d ", reply), reply[:100]
    before = live.step()
    time.sleep(0.7)
    assert live.step() > before


def test_others_need_the_token(tmp_path):
    run = Live(tmp_path / "out", "--serve-host", "0.0.0.0")
    token = re.fullmatch(r"token=([0-9a-f]{32})", run.url.query)[1]
    assert run.url.hostname != "0.0.0.0"
    for target in ["/", "/body", "/?token=", f"/?token={token[:-1]}", f"/?token={token}0", "/?token=" + "0" * 32,
                   "/metrics.jsonl"]:
        assert run.get(target)[0] == 403, target
    assert run.get(Host="any.example")[0] == 200
    assert run.step() > 0
    run.stop()


def test_a_port_in_use_is_known_before_the_run(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = complaint(1, *training(tmp_path / "out"), "--serve", port)
    assert line == f"[serve] expected to listen on 127.0.0.1 port {port}, got: Address already in use"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("code, flags, message", [
    (2, ["--serve-host", "::1"], "expected --serve PORT beside --serve-host, got none"),
    (2, ["--serve", "65536"], "expected an integer from 0 to 65535, got 65536"),
    (1, ["--serve", "0", "--serve-host", "no.such.host.invalid"], "expected a name or address of this machine"),
    (1, ["--serve", "0", "--serve-host", "192.0.2.1"], "expected to listen on 192.0.2.1 port 0, got"),
])
def test_wrong_places(tmp_path, code, flags, message):
    assert message in complaint(code, *training(tmp_path / "out"), *flags)
