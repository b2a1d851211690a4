"""What `sophia train` says of its steps: the terminal, plain lines and metrics.jsonl."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios

import pytest
from cli_support import GQA, PROGRAM, output, training, write_rows
from safetensors.numpy import load_file

LINE = (r"step \d+/(\d+)  loss [\d.]+  lr [\d.e+-]+  grad [\d.e+-]+  \d+ tokens/s  left [\d:]+"
        r"  [\d.]+ [kMGT]?FLOP/s  host [\d.]+ [MG]B")


def rows_of(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def screen(arguments, columns):
    """What the program writes on a terminal of so many columns."""
    control, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        text = b""
        while True:
            try:
                piece = os.read(control, 65536)
            except OSError:  # Linux's end of a terminal
                break
            text += piece
        assert process.wait() == 0, text
    os.close(control)
    return text.decode()


def test_plain_lines_where_there_is_no_terminal(tmp_path):
    lines = [line for line in output(*training(tmp_path / "out", max_steps=3)).splitlines()
             if line.startswith("step ") and "loss" in line]
    assert [re.fullmatch(LINE, line)[1] for line in lines] == ["3", "3"]  # the first and the last
    assert "left 0:00" in lines[-1]


@pytest.mark.parametrize("columns", [20, 50, 200])
def test_a_bar_that_fits_the_terminal(tmp_path, columns):
    text = screen(training(tmp_path / "out", max_steps=3), columns)
    drawn = re.findall(r"\r([^\r\n]*)\x1b\[K", text)
    assert len(drawn) == 3
    assert all(len(line) < columns for line in drawn)
    assert [re.search(r"step (\d)/3", line)[1] for line in drawn] == ["1", "2", "3"]
    if columns == 200:
        assert re.fullmatch("█{24} " + LINE, drawn[-1])


def test_rows_agree_with_each_other(tmp_path):
    """The operations of a step lie between those of the forward pass with the gradients of activations,
    and twice as many."""
    length, count = 16, 4
    data = write_rows(tmp_path / "rows.jsonl", *[{"input_ids": list(range(3, 3 + length))}] * count)
    output(*training(tmp_path / "out", data=data, max_steps=4, lora_r=1, per_device_train_batch_size=count),
           "--no-packing")
    rows = rows_of(tmp_path / "out")
    tensors = load_file(GQA / "model.safetensors")
    linear = sum(tensor.size for name, tensor in tensors.items() if tensor.ndim == 2 and "embed" not in name)
    flops = [row["flops_per_second"] * row["step_seconds"] for row in rows]
    assert flops == pytest.approx([flops[0]] * 4)
    assert 4 * linear * length * count < flops[0] < 8 * linear * length * count
    for row in rows:
        assert row["tokens_per_second"] * row["step_seconds"] == pytest.approx(length * count)
        assert row["device_memory_bytes"] is None  # the CPU does not count
        assert 10e6 < row["host_memory_bytes"] < 10e9
    assert rows[-1]["eta_seconds"] == 0 < rows[0]["eta_seconds"]
