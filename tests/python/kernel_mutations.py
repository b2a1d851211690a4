"""Small changes to a kernel's Mosaic text, each of which has to be noticed. A mutation takes the text and the
numbers of the lines that it may change, and returns the changed text, or None where it does not fit."""

import difflib
import re


def own_lines(base, lines):
    """Numbers of the lines that `base` does not have."""
    steps = difflib.SequenceMatcher(None, base, lines, autojunk=False).get_opcodes()
    return [i for tag, _, _, low, high in steps if tag != "equal" for i in range(low, high)]


def constant_index(text, places, which):
    """The text with a block index of the first windowed array (`which` 0) or of the last (-1), a program id
    that takes several values, made 0; None where an array's indices are no such ids."""
    grid = re.search(r"iteration_bounds = array<i64: ([^>]*)>", text)
    bounds = [int(size) for size in re.findall(r"\d+", grid[1])] if grid else []
    maps = list(re.finditer(r'(\^bb0\([^\n]*:\n)((?:(?!\^bb0).)*?func\.return"\()([^)]*)\)', text, re.S))[1:]
    if not maps or text.count("\n", 0, maps[which].end()) not in places:
        return None
    found = maps[which]
    indices = found[3].split(", ")
    for i, index in enumerate(indices):
        if re.fullmatch(r"%\d+", index) and int(index[1:]) < len(bounds) and bounds[int(index[1:])] > 1:
            zero = '    %zero = "stable_mosaic.arith.constant"() {value = 0 : i32} : () -> i32\n'
            changed = ", ".join([*indices[:i], "%zero", *indices[i + 1 :]])
            return f"{text[: found.start()]}{found[1]}{zero}{found[2]}{changed}){text[found.end() :]}"
    return None


def replaced(pattern, replacement):
    """The mutation that replaces the first match in one of the lines."""

    def change(text, places):
        lines = text.splitlines(keepends=True)
        for place in places:
            if re.search(pattern, lines[place]):
                lines[place] = re.sub(pattern, replacement, lines[place], count=1)
                return "".join(lines)
        return None

    return change


MUTATIONS = {
    "subf": replaced(r"arith\.subf", "arith.addf"),
    "mulf": replaced(r"arith\.mulf", "arith.addf"),
    "addf": replaced(r"arith\.addf", "arith.subf"),
    "divf": replaced(r"arith\.divf", "arith.mulf"),
    "exp": replaced(r"math\.exp\b", "math.exp2"),
    "rsqrt": replaced(r"math\.rsqrt", "math.sqrt"),
    "tanh": replaced(r"math\.tanh", "math.sin"),
    "maximum": replaced(r"kind<maximumf>", "kind<minimumf>"),
    "sum": replaced(r"kind<add>", "kind<maximumf>"),
    "constant": replaced(r"value = dense<([1-9])", r"value = dense<7\1"),
    "addi": replaced(r"arith\.addi", "arith.subi"),
    "equal": replaced(r"predicate = 0", "predicate = 1"),
    "less": replaced(r"predicate = 2", "predicate = 4"),
    "xori": replaced(r"arith\.xori", "arith.ori"),
    "andi": replaced(r"arith\.andi", "arith.ori"),
    "shift": replaced(r"arith\.shrui", "arith.shli"),
    "select": replaced(r'(arith\.select"\(%\w+, )(%\w+), (%\w+)', r"\1\3, \2"),
    "input map": lambda text, places: constant_index(text, places, 0),
    "output map": lambda text, places: constant_index(text, places, -1),
    "grid": replaced(r"iteration_bounds = array<i64: 1, ", "iteration_bounds = array<i64: 2, "),
    "window": replaced(r"(window_bounds = array<i64: (?:1, )*)(\d+)(.*)", r"\g<1>8\3"),
}
# What changes sizes ends in an error of the evaluator; all others have to change numbers somewhere.
STRUCTURAL = {"grid", "window"}
# (file, mutation) that changes nothing, and why.
HARMLESS = {
    ("adamw_8bit_many_columns.0.adamw_8bit", "addi"): "the first row of a step is 0",
    ("rmsnorm_one_row.1.rms_norm_backward", "addi"): "the same",
    ("rmsnorm_add_weight.1.add_rms_norm_backward", "addi"): "the same",
    ("flash_all_keys_segments_mixed.3.flash_attention_dkv", "addi"): "there is one block of keys",
    ("flash_all_keys_ragged.2.flash_attention_dq", "constant"): "keys beyond the length are zeros",
    ("rotary_head_80.0.rotary", "constant"): "the remainder differs in lanes that are cut off",
    ("rotary_head_80.1.rotary", "constant"): "the same",
    ("linear_cross_entropy_wide.1.linear_cross_entropy_dh", "addi"): "there is one block of the head",
    ("linear_cross_entropy_soft_cap.0.linear_cross_entropy", "mulf"): "the cap's slope is for the gradient alone",
    ("linear_cross_entropy_soft_cap.0.linear_cross_entropy", "subf"): "the same",
    ("linear_cross_entropy_s8_head_soft_cap.0.linear_cross_entropy", "subf"): "the same",
    ("quant_matmul_k_mixture.0.quant_matmul", "shift"): "it shifts by 0",
    ("quant_matmul_k_mixture.1.quant_matmul_dx", "shift"): "the same",
    ("rmsnorm_add_offset_bf16.1.add_rms_norm_backward", "addf"): "eps vanishes in bf16's rounding",
}
