"""Optimisers and kinds of adapters from the command line."""

import pytest
from cli_support import complaint, training


@pytest.mark.parametrize(("options", "message"), [
    ({"optim": "muom"}, "--optim: expected one of adamw_torch, adamw_8bit, adamw_bnb_8bit, sgd, adafactor, lion, "
                        "muon, sophia, sophiag, sophiah, got 'muom' (did you mean 'muon'?)"),
    ({"optim": "sophiag", "optim-args": "gama=1"},
     "--optim-args: [optim_args] expected arguments of sophiag (gamma, update_interval), got 'gama' "
     "(did you mean 'gamma'?)"),
    ({"optim-args": "gamma=1"}, "--optim-args: [optim_args] expected arguments of adamw_torch (it has none), got 'gamma'"),
    ({"optim": "muon", "optim-args": "momentum=big"},
     "--optim-args: [optim_args] expected momentum=NUMBER, got 'momentum=big'"),
])
def test_wrong_use_of_optimisers(tmp_path, options, message):
    assert complaint(2, *training(tmp_path, **options)) == message


@pytest.mark.parametrize(("optim", "arguments", "message"), [
    ("muon", "momentum=1", "[Muon] expected momentum of at least 0 and below 1, got 1"),
    ("muon", "ns_steps=2.5", "[optim_args] expected ns_steps as an integer of at least 1, got 2.5"),
    ("sophiah", "update_interval=0", "[optim_args] expected update_interval as an integer of at least 1, got 0"),
    ("sophiag", "gamma=0", "[Sophia] expected gamma above 0, got 0"),
    ("adafactor", "decay_rate=0.8", "[Adafactor] expected decay_rate below 0, got 0.8"),
])
def test_arguments_out_of_range(tmp_path, optim, arguments, message):
    assert complaint(1, *training(tmp_path, **{"optim": optim, "optim-args": arguments})) == message
