"""The live page in headless Chromium: it renews itself, obeys its own policy and asks for nothing else.

Needs Debian's `chromium` or `chromium-headless-shell`, which `make test-all` installs. With
SOPHIA_SCREENSHOT=FILE.png it also keeps a picture of the page.
"""

import base64
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest
from test_serve import Live

BROWSER = shutil.which("chromium-headless-shell") or shutil.which("chromium")


class Browser:
    """Speaks the DevTools protocol over a pipe: JSON texts that end with a zero byte."""

    def __init__(self, profile):
        assert BROWSER, "expected chromium-headless-shell or chromium (tools/setup.sh slow), got neither"
        to_browser, self.write_end = os.pipe()
        self.read_end, from_browser = os.pipe()

        def put_pipes_in_place():  # the browser reads 3 and writes 4
            high = [os.dup(to_browser), os.dup(from_browser)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             f"--user-data-dir={profile}", "about:blank"],
            close_fds=False, preexec_fn=put_pipes_in_place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.numbers, self.buffer, self.events, self.session = itertools.count(1), b"", [], {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}

    def call(self, method, **params):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params, **self.session}
        os.write(self.write_end, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.buffer:
                piece = os.read(self.read_end, 1 << 16)
                assert piece, "the browser ended"
                self.buffer += piece
            text, self.buffer = self.buffer.split(b"\0", 1)
            reply = json.loads(text)
            if reply.get("id") == number:
                assert "error" not in reply, reply
                return reply["result"]
            self.events.append(reply)

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, expression, seconds=30):
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, expression
            time.sleep(0.2)
        return value

    def close(self):
        self.process.terminate()
        self.process.wait()
        os.close(self.write_end)
        os.close(self.read_end)


@pytest.fixture
def browser(tmp_path):
    one = Browser(tmp_path / "profile")
    yield one
    one.close()


def keep_picture(browser):
    path = os.environ.get("SOPHIA_SCREENSHOT")
    if not path:
        return
    browser.call("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
    data = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=False)["data"]
    pathlib.Path(path).write_bytes(base64.b64decode(data))


@pytest.mark.parametrize("flags", [[], ["--serve-host", "0.0.0.0"]])
def test_the_page_renews_itself(tmp_path, browser, flags):
    run = Live(tmp_path / "out", *flags)
    url = f"http://127.0.0.1:{run.url.port}/" + (f"?{run.url.query}" if run.url.query else "")
    for domain in ("Page", "Network", "Log", "Runtime"):
        browser.call(f"{domain}.enable")
    browser.call("Page.navigate", url=url)
    step = "Number.parseInt(document.getElementById('now-step')?.textContent)"
    first = browser.wait_for(step)
    browser.evaluate("document.getElementById('options').open = true")
    browser.wait_for(f"{step} > {first}")
    second = browser.evaluate(step)
    browser.wait_for(f"{step} > {second}")
    assert browser.evaluate("document.getElementById('options').open")
    assert browser.evaluate("document.querySelectorAll('figure svg polyline').length") >= 5
    box = browser.evaluate("JSON.stringify(document.querySelector('polyline').getBoundingClientRect())")
    assert json.loads(box)["width"] > 100  # the style holds: the plot is drawn
    assert browser.evaluate("getComputedStyle(document.querySelector('polyline')).fill") == "none"
    assert browser.evaluate("document.getElementById('link').textContent") == ""
    keep_picture(browser)
    run.stop()
    browser.wait_for("document.getElementById('link').textContent.startsWith('No answer from the run')")
    asked = {event["params"]["request"]["url"] for event in browser.events
             if event["method"] == "Network.requestWillBeSent"}
    assert asked - {f"http://127.0.0.1:{run.url.port}/favicon.ico"} == {url, url.replace(f"{run.url.port}/", f"{run.url.port}/body")}
    # Nothing was blocked by the policy, and no script failed.
    complaints = [event["params"] for event in browser.events
                  if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
    assert all("favicon" in str(one) or "ERR_CONNECTION_REFUSED" in str(one) for one in complaints), complaints


def test_the_report_needs_no_server(tmp_path, browser):
    run = Live(tmp_path / "out")
    time.sleep(2)
    run.stop()
    subprocess.run([os.environ.get("SOPHIA_BUILD_DIR", "build") + "/sophia", "report", tmp_path / "out"], check=True)
    browser.call("Log.enable")
    browser.call("Page.navigate", url=(tmp_path / "out" / "report.html").as_uri())
    assert browser.wait_for("document.querySelectorAll('figure svg polyline').length") >= 5
    assert browser.evaluate("document.getElementById('state').textContent") == "stopped"
    assert [event for event in browser.events if event["method"] == "Log.entryAdded"] == []
