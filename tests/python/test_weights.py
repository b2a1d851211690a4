"""The committed weight fixtures are what gguf, safetensors and ml_dtypes give today.

The C++ unit tests of sophia/io read these files and compare every value and every written byte.
"""

import importlib.util
import pathlib

import gguf
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "weights"
FILES = ["dtypes.safetensors", "dtypes_f32.safetensors", "types.gguf", "types.safetensors"]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    spec = importlib.util.spec_from_file_location(
        "weight_fixtures", ROOT / "tools" / "oracle" / "weight_fixtures.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("weights")
    module.write(folder)
    return folder


@pytest.mark.parametrize("name", FILES)
def test_fixture_is_current(fresh, name):
    assert (fresh / name).read_bytes() == (FIXTURES / name).read_bytes()


def test_no_fixture_is_untested():
    assert sorted(path.name for path in FIXTURES.iterdir()) == FILES


def test_expected_values_are_those_of_gguf():
    expected = load_file(FIXTURES / "types.safetensors")
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(FIXTURES / "types.gguf").tensors}
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        if name.startswith(("Q", "BF")):
            values = gguf.dequantize(tensor.data, tensor.tensor_type)
            assert (values == expected[name]).all(), name


def test_every_dtype_is_there():
    with safe_open(FIXTURES / "dtypes.safetensors", "np") as file:
        dtypes = {file.get_slice(name).get_dtype() for name in file.keys()}
    assert len(dtypes) == 15
