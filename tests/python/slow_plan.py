"""Plans whose whole compilation by libtpu takes minutes."""

import json

import pytest
from cli_support import ROOT, SMOLLM2, output, sophia


def test_the_check_agrees_with_the_compilation():
    arguments = ("plan", "--model", SMOLLM2, "--max-length", 512, "--batch-size", 1, "--json")
    early, full = (json.loads(output(*arguments, *more)) for more in (["--no-confirm"], []))
    assert not early["confirmed"] and full["confirmed"]
    assert early["peak_bytes"] == pytest.approx(full["peak_bytes"], rel=0.05)


def test_the_longest_context_is_confirmed():
    arguments = ("plan", "--model", SMOLLM2, "--batch-size", 16, "--policy", "products", "--json", "--max-length")
    longest = json.loads(output(*arguments, "auto"))
    assert longest["fits"] and longest["confirmed"] and longest["seq"] % 128 == 0 and 0 < longest["seq"] < 8192
    beyond = sophia(*arguments, longest["seq"] + 256)
    assert beyond.returncode == 1 and not json.loads(beyond.stdout)["fits"]


LLAMA_3_1_8B = ROOT / "examples" / "plan" / "llama-3.1-8b"
QLORA = ("plan", "--quant", "nf4", "--lora-r", 32, "--batch-size", 1, "--json")


def test_the_whole_context_of_an_8b_fits_16_gb():
    plan = json.loads(output(*QLORA, "--model", LLAMA_3_1_8B, "--max-length", 131072, "--topology", "v5e:1x1",
                             "--policy", "layers,offload,tile=2048"))
    print(f"{plan['seq']} tokens: {plan['peak_bytes']} bytes, compiled in {plan['compile_seconds']:.0f} s")
    assert plan["fits"] and plan["confirmed"] and plan["seq"] == 131072
    assert plan["peak_bytes"] < plan["limit_bytes"] == 16_909_336_064
    assert plan["host_bytes"] < 47e9


def test_kernels_save_memory_of_an_8b_step():
    arguments = (*QLORA, "--model", LLAMA_3_1_8B, "--max-length", 4096, "--gradient-checkpointing", "--kernels")
    with_kernels, references = (json.loads(output(*arguments, mode)) for mode in ("mosaic", "reference"))
    for name, plan in [("kernels", with_kernels), ("references", references)]:
        print(f"{name}: peak {plan['peak_bytes']} bytes, compiled in {plan['compile_seconds']:.1f} s")
        assert plan["fits"] and plan["confirmed"]
    assert with_kernels["peak_bytes"] < references["peak_bytes"]
