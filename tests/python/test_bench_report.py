"""The ratios that bench/report.py makes of records."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
import report


def record(program, dtype, speed, memory, **more):
    return {"program": program, "dtype": dtype, "batch": 4, "seq": 128, "tokens_per_second": speed,
            "peak_rss_mb": memory, "seconds": 9, **more}


OURS = [record("sophia-packed", "f32", 300, 900, compile_seconds=8, load_seconds=1),
        record("sophia-packed", "bf16", 600, 700, compile_seconds=12, load_seconds=2),
        record("sophia", "f32", 200, 1200, compile_seconds=7, load_seconds=3)]
PEERS = [record("torch", "f32", 250, 2000), record("torch-compile", "f32", 240, 3000),
         record("torch-compile", "bf16", 400, 1800), record("jax", "f32", 100, 2700)]


def ratios(records, trace=None):
    entries = report.ratios_of(records, [(4, 128)], trace)
    return {(one["ratio"], one["against"]): (one["value"], one["dense"], one["met"]) for one in entries}


def test_targets_are_for_packed_weights_and_peers_are_named():
    assert ratios(OURS + PEERS, {"trace_milliseconds": 50}) == {
        ("speed, best dtype of each", "torch-compile bf16"): (1.5, 0.5, True),
        ("speed, f32", "torch f32"): (1.2, 0.8, False),
        ("speed, f32", "jax f32"): (3, 2, True),
        ("peak memory, f32", "torch f32"): (0.45, 0.6, False),
        ("peak memory, f32", "jax f32"): (pytest.approx(1 / 3), pytest.approx(4 / 9), True),
        ("peak memory, bf16", "torch-compile bf16"): (pytest.approx(7 / 18), None, False),
        ("compile seconds, our longest", ""): (12, 7, False),
        ("load seconds, our longest", ""): (2, 3, True),
        ("trace and emit, milliseconds", ""): (50, None, True),
    }


def test_what_did_not_run_is_left_out(capsys):
    dense = [one for one in OURS if one["program"] == "sophia"]
    found = ratios(dense + PEERS)
    assert found["speed, f32", "jax f32"] == (None, 2, None)
    assert list(ratios(OURS)) == [("compile seconds, our longest", ""), ("load seconds, our longest", "")]
    assert ratios(PEERS) == {}
    report.print_ratios(report.ratios_of(OURS + PEERS, [(4, 128)], {}))
    line = next(line for line in capsys.readouterr().out.splitlines() if "best dtype" in line)
    assert line.split() == "4x128 speed, best dtype of each torch-compile bf16 1.50 1.30 met 0.50".split()
