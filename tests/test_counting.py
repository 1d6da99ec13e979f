"""The layer table: held to the published counts, to torchinfo, and to PyTorch's own counter."""

import pytest
import torch
import torchinfo
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mnistlib import networks
from mnistlib.counting import layer_table
from mnistlib.networks import NETWORKS


def trainable(net):
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def mult_adds(net, input_size):
    """Half of what PyTorch's counter counts for one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, *input_size))
    return counter.get_total_flops() / 2


def rows(table):
    """{layer: (formula, parameters, mult-adds)} of the rows that have either count."""
    counted = table[(table["parameters"] > 0) | (table["mult-adds"] > 0)].drop(index="total")
    return {name: tuple(row) for name, row in counted[["formula", "parameters", "mult-adds"]].iterrows()}


def assert_totals(net, input_size):
    table = layer_table(net, input_size)
    total = table.loc["total"]
    assert total["parameters"] == trainable(net) == table["parameters"].iloc[:-1].sum()
    assert total["mult-adds"] == mult_adds(net, input_size) == table["mult-adds"].iloc[:-1].sum()
    return table


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_totals_agree_with_torch_and_torchinfo(network):
    net = network.build(seed=0)
    table = assert_totals(net.eval(), network.input_size)
    assert table.loc["total", "parameters"] == torchinfo.summary(net, (1, *network.input_size), verbose=0).total_params


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_rows_are_in_the_order_of_the_forward_pass_and_end_in_ten_logits(network):
    net = network.build(seed=0)
    table = layer_table(net, network.input_size)
    tops = list(dict.fromkeys(name.split(".")[0] for name in table.index[:-1]))
    assert tops == [name for name, _ in net.named_children()]
    assert table["output shape"].iloc[-2] == "10"


LENET5 = [
    ("((5×5×1)+1)×6", 156, 117_600),
    ("((5×5×6)+1)×16", 2_416, 240_000),
    ("((5×5×16)+1)×120", 48_120, 48_000),
    ("(120+1)×84", 10_164, 10_080),
    ("(84+1)×10", 850, 840),
]


def test_the_rows_of_lenet5_are_the_published_ones():
    table = layer_table(networks.build("lenet5"), (1, 32, 32))
    assert list(rows(table).values()) == LENET5
    assert list(table["output shape"]) == [
        *("6×28×28", "6×28×28", "6×14×14"),
        *("16×10×10", "16×10×10", "16×5×5"),
        *("120×1×1", "120×1×1", "120", "84", "84", "10", ""),
    ]
    assert table.loc["total", ["parameters", "mult-adds"]].tolist() == [61_706, 416_520]
    assert table["parameters"].dtype == table["mult-adds"].dtype == int


def test_the_padded_form_counts_the_same_with_a_linear_layer():
    table = layer_table(networks.build("lenet5-padded"), (1, 28, 28))
    assert list(rows(table).values()) == [*LENET5[:2], ("(400+1)×120", 48_120, 48_000), *LENET5[3:]]


def test_the_other_tools_count_what_the_course_says_they_count():
    """torchinfo counts the biases too; PyTorch's counter counts a multiplication and an addition as two."""
    net = networks.build("lenet5")
    assert torchinfo.summary(net, (1, 1, 32, 32), verbose=0).total_mult_adds == 423_038
    assert mult_adds(net, (1, 32, 32)) * 2 == 833_040


def test_lenet5_of_1998_row_by_row():
    table = layer_table(networks.build("lenet5-1998"), (1, 32, 32))
    counted = {name: row[1] for name, row in rows(table).items() if row[1]}
    assert counted == {
        "C1": 156,
        "S2_scale": 12,
        "C3": 1_516,
        "S4_scale": 32,
        "C5": 48_120,
        "F6": 10_164,
    }
    assert table.loc["C3", "formula"] == "60×5×5 + 16"
    assert table.loc["C3", "mult-adds"] == 240_000  # computed as a full convolution, zeros and all; 150,000 are connections
    assert table.loc["output", "mult-adds"] == 840  # no parameters, yet a matrix product


# Networks a student may bring


class Product(nn.Module):
    """A matrix of its own, used by a plain function."""

    def __init__(self, inner=None):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))
        self.inner = inner or nn.Identity()

    def forward(self, x):
        return self.inner(x) @ self.weight


class NotAllUsed(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.spare = nn.Linear(4, 2), nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.used(x)


def twice(layer):
    return nn.Sequential(layer, nn.ReLU(), layer)


def frozen(layer):
    return layer.requires_grad_(False)


CASES = {
    "grouped convolution": (nn.Conv2d(4, 8, 3, groups=2), (4, 10, 10), {"Conv2d": ("((3×3×2)+1)×8", 152, 9_216)}),
    "depthwise convolution": (nn.Conv2d(4, 4, 3, groups=4), (4, 10, 10), {"Conv2d": ("((3×3×1)+1)×4", 40, 2_304)}),
    "stride and padding": (nn.Conv2d(1, 2, (3, 5), 2, 1), (1, 9, 9), {"Conv2d": ("((3×5×1)+1)×2", 32, 600)}),
    "without bias": (nn.Linear(4, 3, bias=False), (4,), {"Linear": ("4×3", 12, 12)}),
    "convolution without bias": (nn.Conv2d(1, 2, 3, bias=False), (1, 5, 5), {"Conv2d": ("(3×3×1)×2", 18, 162)}),
    "one dimension": (nn.Conv1d(4, 6, 3), (4, 10), {"Conv1d": ("((3×4)+1)×6", 78, 576)}),
    "three dimensions": (nn.Conv3d(1, 2, 2), (1, 3, 3, 3), {"Conv3d": ("((2×2×2×1)+1)×2", 18, 128)}),
    "linear on rows": (nn.Linear(4, 3), (5, 4), {"Linear": ("(4+1)×3", 15, 60)}),
    "frozen": (nn.Sequential(frozen(nn.Linear(4, 4)), nn.Linear(4, 2)), (4,), {"0": ("", 0, 16), "1": ("(4+1)×2", 10, 8)}),
    "batch norm": (
        nn.Sequential(nn.Conv2d(1, 6, 1), nn.BatchNorm2d(6)),
        (1, 2, 2),
        {"0": ("((1×1×1)+1)×6", 12, 24), "1": ("6 + 6", 12, 0)},
    ),
    "own parameter": (Product(), (4,), {"Product": ("4×4", 16, 16)}),
    "own parameter around a layer": (
        Product(nn.Linear(4, 4)),
        (4,),
        {"inner": ("(4+1)×4", 20, 16), "Product": ("4×4", 16, 16)},
    ),
    "not all used": (
        NotAllUsed(),
        (4,),
        {"used": ("(4+1)×2", 10, 8), "NotAllUsed": ("1", 1, 0), "(not used)": ("3×4 + 3", 15, 0)},
    ),
    "nested": (
        nn.Sequential(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), nn.Sequential(nn.Sequential(nn.Linear(3, 2)))),
        (4,),
        {"0.0": ("(4+1)×3", 15, 12), "1.0.0": ("(3+1)×2", 8, 6)},
    ),
    "transposed convolution": (nn.ConvTranspose2d(2, 3, 2, 2), (2, 4, 4), {"ConvTranspose2d": ("2×3×2×2 + 3", 27, 384)}),
}


@pytest.mark.parametrize(("net", "input_size", "expected"), CASES.values(), ids=CASES)
def test_rows_of(net, input_size, expected):
    assert rows(assert_totals(net, input_size)) == expected


def test_a_shared_layer_has_its_parameters_once_and_its_work_twice():
    net = twice(nn.Linear(4, 4))
    table = assert_totals(net, (4,))
    assert table["kind"].tolist() == ["Linear", "ReLU", "Linear", ""]
    assert table["parameters"].tolist() == [20, 0, 0, 20]
    assert table["mult-adds"].tolist() == [16, 0, 16, 32]
    assert table["formula"].tolist() == ["(4+1)×4", "", "", ""]


def test_a_shared_parameter_is_counted_once():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    assert rows(assert_totals(net, (4,))) == {"0": ("(4+1)×4", 20, 16), "1": ("4", 4, 16)}


def test_a_half_frozen_layer_is_counted_by_shape():
    net = nn.Linear(4, 3)
    net.bias.requires_grad_(False)
    assert rows(assert_totals(net, (4,))) == {"Linear": ("3×4", 12, 12)}


def test_a_network_without_parameters_has_a_table_too():
    table = layer_table(nn.Sequential(nn.Flatten(), nn.ReLU()), (1, 2, 2))
    assert table["output shape"].tolist() == ["4", "4", ""]
    assert table.loc["total", ["parameters", "mult-adds"]].tolist() == [0, 0]


def test_a_layer_that_gives_more_than_one_tensor_is_counted_too():
    net = nn.Sequential(nn.LSTM(4, 3, batch_first=True))
    assert layer_table(net, (5, 4)).loc["total", "parameters"] == trainable(net)


def test_a_layer_may_be_called_total():
    net = nn.Sequential()
    net.add_module("total", nn.Linear(4, 3))
    table = layer_table(net, (4,))
    assert table["parameters"].tolist() == [15, 15]
    assert table["kind"].tolist() == ["Linear", ""]


def test_dropout_is_off_and_batch_norm_learns_nothing_from_being_counted():
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5))
    state = torch.get_rng_state()
    layer_table(net, (1, 4, 4))
    assert net[0].num_batches_tracked == 0
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_and_the_network_are_left_as_they_were(training):
    net = networks.build("small-cnn").train(training)
    layer_table(net, (1, 28, 28))
    assert {module.training for module in net.modules()} == {training}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_a_part_in_another_mode_is_left_so():
    """As when a student freezes batch norm by putting it alone in evaluation mode."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    net[1].eval()
    layer_table(net, (1, 4, 4))
    assert [module.training for module in net] == [True, False]


@pytest.mark.parametrize("size", [(1, 28, 28), (3, 32, 32), (32, 32), (32,)])
def test_a_wrong_input_size_is_named_and_the_network_left_as_it_was(size):
    net = networks.build("lenet5")
    with pytest.raises(ValueError, match=f"cannot take an image of {'×'.join(map(str, size))}: "):
        layer_table(net, size)
    assert net.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_hooks_of_others_survive():
    net, calls = nn.Linear(4, 3), []
    net.register_forward_hook(lambda *_: calls.append(1))
    layer_table(net, (4,))
    net(torch.zeros(1, 4))
    assert calls == [1, 1]


def test_a_network_in_double_precision_is_counted():
    assert layer_table(networks.build("lenet5").double(), (1, 32, 32)).loc["total", "parameters"] == 61_706
