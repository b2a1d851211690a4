"""kill -9 at random moments of a run: once resumed, it ends with the bytes of a run left alone.

The run is evaluated, keeps its best checkpoint and ends with it.

$SOPHIA_KILLS (default 8) says how often.
"""

import json
import os
import random
import shutil
import subprocess
import time

import pytest
from cli_support import PROGRAM, output, training
from resume_support import TINY, assert_same_end

KILLS = int(os.environ.get("SOPHIA_KILLS", "8"))
RUN = {**TINY, "learning-rate": 0.1, "max-steps": 150, "save-steps": 5, "save-total-limit": 3,
       "eval-split": 0.3, "eval-steps": 7, "early-stopping-patience": 1000}


def arguments(out, **more):
    return [*training(out, **RUN, **more), "--load-best-model-at-end"]


def best(out):
    """What the last checkpoint says of the best."""
    state = json.loads((out / "checkpoint-150" / "trainer_state.json").read_text())
    return [state[key] for key in ("best_global_step", "best_metric", "stateful_callbacks")]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The folder of an undisturbed run, and the seconds that it took."""
    out = tmp_path_factory.mktemp("reference") / "out"
    output(*arguments(out))  # compiles
    shutil.rmtree(out)
    start = time.monotonic()
    output(*arguments(out))
    assert 0 < best(out)[0] < 150
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
        command = [PROGRAM, *map(str, arguments(out, **{"resume-from-checkpoint": "auto"}))]
        ended = False
        while not ended and kills < KILLS:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            ended = not killed(process, out, moments, seconds)
            assert process.stderr.read() == b""
            kills += not ended
        output(*arguments(out, **{"resume-from-checkpoint": "auto"}))
        assert_same_end(out, whole)
        assert best(out) == best(whole)
        assert (out / f"checkpoint-{best(out)[0]}").is_dir()
