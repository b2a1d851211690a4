"""kill -9 at random moments of a run: once resumed, it ends with the bytes of a run left alone.

$SOPHIA_KILLS (default 8) says how often.
"""

import os
import random
import shutil
import subprocess
import time

import pytest
from cli_support import PROGRAM, output, training
from resume_support import TINY, assert_same_end

KILLS = int(os.environ.get("SOPHIA_KILLS", "8"))
RUN = {**TINY, "max-steps": 150, "save-steps": 5, "save-total-limit": 3}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The folder of an undisturbed run, and the seconds that it took."""
    out = tmp_path_factory.mktemp("reference") / "out"
    output(*training(out, **RUN))  # compiles
    shutil.rmtree(out)
    start = time.monotonic()
    output(*training(out, **RUN))
    return out, time.monotonic() - start


def is_writing(out):
    return any(out.glob("tmp-*"))


def killed(process, out, moments, seconds):
    """Kills after a random time or while a checkpoint is written; False when the run ended before."""
    if moments.random() < 0.5:
        time.sleep(moments.uniform(0, seconds))
    else:
        sightings = moments.randrange(1, 15)
        while process.poll() is None and sightings > 0:
            sightings -= is_writing(out)
        time.sleep(moments.uniform(0, 0.004))
    process.kill()
    return process.wait() != 0


def test_killed_runs_end_alike(tmp_path, reference):
    whole, seconds = reference
    moments = random.Random(KILLS)
    kills = 0
    while kills < KILLS:
        out = tmp_path / f"out-{kills}"
        command = [PROGRAM, *map(str, training(out, **RUN, **{"resume-from-checkpoint": "auto"}))]
        ended = False
        while not ended and kills < KILLS:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            ended = not killed(process, out, moments, seconds)
            assert process.stderr.read() == b""
            kills += not ended
        output(*training(out, **RUN, **{"resume-from-checkpoint": "auto"}))
        assert_same_end(out, whole)
