"""The JAX peer's flags and its search for the longest context; that it compiles is what `make bench-peers` shows."""

import argparse
import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEER = ROOT / "bench" / "peers" / "jax_qlora.py"
sys.path[:0] = [str(ROOT / "bench"), str(PEER.parent)]
import contexts
import jax_qlora

EXAMPLE = ROOT / "examples" / "plan" / "llama-3.1-8b" / "config.json"


@pytest.mark.parametrize(("arguments", "message"), [
    (["--tokens", "100"], "--tokens: expected a multiple of 1024, got 100"),
    (["--hbm-mib", "1"], "--hbm-mib: expected at least 1, and --tokens beside it, got 1"),
    (["--libtpu", "nowhere.so"], "--libtpu: expected libtpu.so (tools/setup.sh build fetches it), got nowhere.so"),
    (["--model-config", "nowhere.json"], "--model-config: expected a config.json, got nowhere.json"),
    (["--model-config", str(ROOT / "examples" / "plan" / "llama-3.2-1b")],
     "--model-config: expected heads of a multiple of 128, as splash attention does, got 64"),
    (["--variant", "fp8"], "--variant: invalid choice: 'fp8'"),
])
def test_wrong_usage(arguments, message):
    result = subprocess.run([sys.executable, PEER, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert message in result.stderr


@pytest.mark.parametrize(("change", "message"), [
    ({"model_type": "gemma"}, "got model_type 'gemma'"),
    ({"rope_scaling": {"rope_type": "yarn"}},
     "expected rope_scaling of rope_type 'llama3' or none, got {'rope_type': 'yarn'}"),
])
def test_model_that_the_peer_does_not_have(tmp_path, change, message):
    (tmp_path / "config.json").write_text(json.dumps(json.loads(EXAMPLE.read_text()) | change))
    result = subprocess.run([sys.executable, PEER, "--model-config", tmp_path], capture_output=True, text=True,
                            check=False)
    assert result.returncode == 2
    assert message in result.stderr


@pytest.mark.parametrize(("fixed", "token", "early_error", "expected"), [
    (11e9, 440e3, 0, 13312),
    (11e9, 440e3, 400e6, 13312),
    (11e9, 440e3, -900e6, 13312),
    (5e9, 1e3, 0, 131072),
    (16.9e9, 9e3, 0, 1024),
    (17e9, 9e3, 0, None),
])
def test_the_search_ends_at_the_longest_that_compiles(monkeypatch, fixed, token, early_error, expected):
    def in_child(args, tokens, hbm_mib=None):
        need = fixed + token * tokens
        if need <= 16.91e9 and not hbm_mib:
            return {"tokens": tokens, "fits": True, "bytes": need}
        return {"tokens": tokens, "fits": False, "bytes": need + early_error, "limit_bytes": 16.91e9}

    monkeypatch.setattr(jax_qlora, "in_child", in_child)
    found = jax_qlora.largest(argparse.Namespace(config={"max_position_embeddings": 131072}))
    assert (found and found["tokens"]) == expected


def test_the_search_passes_a_context_that_alone_does_not_fit(monkeypatch):
    def in_child(args, tokens, hbm_mib=None):
        fits = not hbm_mib and (tokens <= 9216 or tokens == 11264)
        return {"tokens": tokens, "fits": fits, "bytes": tokens, "limit_bytes": 10000}

    monkeypatch.setattr(jax_qlora, "in_child", in_child)
    assert jax_qlora.largest(argparse.Namespace(config={"max_position_embeddings": 131072}))["tokens"] == 11264


def test_a_dead_compiler_is_named(monkeypatch):
    monkeypatch.setattr(jax_qlora, "in_child",
                        lambda args, tokens, hbm_mib=None: {"tokens": tokens, "fits": False, "signal": 11})
    with pytest.raises(SystemExit, match="what 4096 tokens need, got signal 11"):
        jax_qlora.largest(argparse.Namespace(config={"max_position_embeddings": 4096}))


@pytest.mark.parametrize(("message", "expected"), [
    ("RESOURCE_EXHAUSTED: the total memory required for HLO temporaries (38.00G) exceeds available HBM (16.00G).",
     {"bytes": 38 * 1024**3, "limit_bytes": 16 * 1024**3}),
    ("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 9.50G of 9.00G hbm.",
     {"bytes": 19 * 1024**3 // 2, "limit_bytes": 9 * 1024**3}),
])
def test_what_memory_ran_out_is_read(message, expected):
    assert jax_qlora.wanted(RuntimeError(message)) == expected


def test_another_failure_is_no_lack_of_memory():
    with pytest.raises(RuntimeError, match="INTERNAL"):
        jax_qlora.wanted(RuntimeError("INTERNAL: Used 9.50G of 9.00G hbm"))


def test_a_peer_stands_beside_ours():
    one = {"variant": "int8", "tokens": 4096, "fits": True, "bytes": 10e9}
    ours = {"peak_bytes": 8e9}
    assert contexts.peer_line(one, ours, 8192, 4096) == "| JAX int8 | 4,096 | 10.00e9 | 8.00e9 | 0.80 | 8,192 | 2.0 |"
    assert contexts.peer_line(one, ours, 8192, 8192) == "| JAX int8 | 4,096 | 10.00e9 | 8.00e9 | 0.80 |  |  |"


def answering(program, *objects):
    """A program that prints these, whatever it is asked."""
    lines = "\n".join(map(json.dumps, objects))
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\n")
    program.chmod(0o755)


def test_a_row_that_does_not_fit_fails_and_is_written(tmp_path):
    short = {"fits": False, "confirmed": False, "peak_bytes": 4e9, "limit_bytes": 2e9, "host_bytes": 1e9,
             "compile_seconds": None, "step_seconds_estimate": 1}
    answering(tmp_path / "sophia", short)
    result = subprocess.run(
        [sys.executable, ROOT / "bench" / "contexts.py", "--rows", "0", "4", "--sophia", tmp_path / "sophia",
         "--out", tmp_path / "contexts.json"], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == ("expected every row to fit, got 2 that do not: llama-3.1-8b, v5e:1x1, 131,072 tokens; "
                             "llama-3.1-8b, v3:1x1, 32,768 tokens\n")
    assert [one["plan"] for one in json.loads((tmp_path / "contexts.json").read_text())] == [short, short]


def test_the_table_of_one_run(tmp_path):
    peer = [{"variant": "int8", "tokens": tokens, "fits": True, "bytes": need}
            for tokens, need in ((2048, 8e9), (4096, 16e9))]
    ours = {"fits": True, "confirmed": True, "peak_bytes": 4e9, "limit_bytes": 16e9, "host_bytes": 1e9,
            "compile_seconds": 1, "step_seconds_estimate": 1}
    answering(tmp_path / "python", *peer)
    answering(tmp_path / "sophia", ours)
    result = subprocess.run(
        [sys.executable, ROOT / "bench" / "contexts.py", "--rows", "--peers", "int8", "--sophia", tmp_path / "sophia",
         "--peer-python", tmp_path / "python", "--peers-out", tmp_path / "peers.json"],
        capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-2:] == ["| JAX int8 | 2,048 | 8.00e9 | 4.00e9 | 0.50 |  |  |",
                                               "| JAX int8 | 4,096 | 16.00e9 | 4.00e9 | 0.25 | 163,840 | 40.0 |"]
    written = json.loads((tmp_path / "peers.json").read_text())
    assert written["peers"] == peer
    assert [one["row"][2] for one in written["ours"]] == [163840, 2048, 4096]
