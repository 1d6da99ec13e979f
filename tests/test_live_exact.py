"""The live page's JavaScript computes what PyTorch and `as_mnist` compute, in a real browser."""

import live_page
import numpy as np
import publish
import pytest
import torch
from torch.nn import functional as F

import mnistlib
from mnistlib.live import export, pad

MODULES = """async () => {
    const names = ["lenet5", "images", "explain", "weights", "state", "data"];
    Object.assign(window, ...await Promise.all(names.map((name) => import(`./${name}.js`))));
    window.imageAt = (images, i) => images.subarray(784 * i, 784 * i + 784);
}"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page, with all exports of its modules as global names."""
    folder = tmp_path_factory.mktemp("live")
    publish.write(folder)
    with live_page.chromium() as browser, live_page.served(folder) as url, live_page.opened(browser, url) as page:
        page.evaluate(MODULES)
        yield page


def pixels_of(split):
    """Pixels as every PyTorch stretches whole grey levels; `resized` is the same wherever it has AVX2."""
    return F.interpolate(split.images, (32, 32), mode="bilinear", antialias=True) / 255


@torch.no_grad()
def compare(page, test):
    net = mnistlib.pretrained("lenet5")
    ours = torch.cat([net(part).softmax(1) for part in pixels_of(test).split(1000)])
    script = """async (count) => {
        const { images } = (await mnist()).test, result = [];
        for (let i = 0; i < count; i++) {
            result.push(...lenet5.predict(Float32Array.from(imageAt(images, i), (grey) => grey / 255)));
        }
        return result;
    }"""
    theirs = torch.tensor(page.evaluate(script, len(test))).reshape(-1, 10)
    assert (theirs - ours).abs().max() < 1e-5
    assert torch.equal(theirs.argmax(1), ours.argmax(1))


def test_digits_are_read_as_pytorch_reads_them(page, mnist):
    compare(page, mnist.test.take(500))


@pytest.mark.slow
def test_all_10_000_test_digits_are_read_as_pytorch_reads_them(page, mnist):
    compare(page, mnist.test)


def test_drawings_are_prepared_as_by_as_mnist(page):
    rng, drawings = np.random.default_rng(0), []
    for i in range(240):
        starts, steps = rng.random((rng.integers(1, 4), 1, 2)), rng.normal(0, 0.1, (rng.integers(1, 12), 2))
        drawings.append([[(start + steps.cumsum(0)).round(3).tolist() for start in starts], [0.03, 0.08, 0.16][i % 3]])
    script = "(all) => all.map(([strokes, width]) => [...asMnist(ink(strokes, width)) ?? new Uint8Array(784)])"
    theirs = np.array(page.evaluate(script, drawings)).reshape(-1, 28, 28)
    pictures = [pad.ink(strokes, width) for strokes, width in drawings]
    ours = [pad.as_mnist(picture)[0] if picture.any() else torch.zeros(28, 28) for picture in pictures]
    assert abs(torch.stack(ours).int().numpy() - theirs).max() <= 1
    assert sum(picture.any() for picture in pictures) >= 200


@torch.no_grad()
def test_the_terms_of_a_unit_add_up_to_its_value(page, mnist):
    """200 units of every layer, and the units themselves against PyTorch's."""
    net, x, rng, values = mnistlib.pretrained("lenet5"), pixels_of(mnist.test.take([8])), np.random.default_rng(1), {}
    for name, layer in net.named_children():
        x = layer(x)
        values[name] = x.flatten().numpy()
    values["softmax"] = x.softmax(1).flatten().numpy()
    del values["flatten"]  # it only writes 120 maps of 1×1 as a row
    chosen = {name: rng.integers(0, len(of), 200).tolist() for name, of in values.items()}
    script = """async ([pixels, chosen]) => {
        const { parameters } = await readWeights(await (await fetch("lenet5.safetensors")).blob()), result = [];
        const net = new LeNet5(parameters);
        net.forward(asInput(Uint8Array.from(pixels)));
        for (const [name, units] of Object.entries(chosen)) for (const unit of units) {
            const { terms, bias, value } = explain(net, layerCalled(name), unit);
            result.push(terms.reduce((sum, term) => sum + term.value * term.weight, bias), value);
        }
        return result;
    }"""
    argument = [mnist.test.images[8].flatten().tolist(), chosen]
    shown = np.array(page.evaluate(script, argument)).reshape(len(chosen), 200, 2)
    for (name, units), (sums, theirs) in zip(chosen.items(), shown.transpose(0, 2, 1), strict=True):
        assert abs(sums - theirs).max() < 1e-9, name
        assert abs(theirs - values[name][units]).max() < 1e-4, name


@pytest.mark.parametrize("twice", [False, True])
def test_a_training_step_is_pytorchs(page, mnist, twice):
    """Loss, the gradient of all 61,706 parameters, and what two steps of Adam make of them."""
    net, batch = mnistlib.build("lenet5", seed=3), mnist.train.take(32)
    together = lambda tensors: torch.cat([tensor.detach().flatten() for tensor in tensors]).numpy()  # noqa: E731
    start, optimizer, gradients = together(net.parameters()), torch.optim.Adam(net.parameters(), lr=1e-3), []
    for _ in range(2):
        outputs = net(pixels_of(batch)).softmax(1) if twice else net(pixels_of(batch))
        loss = F.cross_entropy(outputs, batch.labels)
        optimizer.zero_grad()
        loss.backward()
        gradients.append(together(p.grad for p in net.parameters()))
        optimizer.step()
    script = """([parameters, images, labels, twice]) => {
        const net = new LeNet5(Float32Array.from(parameters)), adam = new Adam(net.parameters, 0.001), result = [];
        const batch = images.map((image) => asInput(Uint8Array.from(image)));
        const losses = [0, 1].map(() => {
            const loss = trainingStep(net, adam, batch, labels, twice);
            result.push(...net.gradient);
            return loss;
        });
        return [...result, ...net.parameters, losses[1]];
    }"""
    argument = [start.tolist(), batch.images.flatten(1).tolist(), batch.labels.tolist(), twice]
    theirs = np.array(page.evaluate(script, argument))
    assert theirs[-1] == pytest.approx(loss.item(), abs=1e-5)
    ours = np.stack([*gradients, together(net.parameters())])
    assert abs(theirs[:-1].reshape(3, 61_706) - ours).max() < 1e-5


@torch.no_grad()
def test_the_padded_network_runs_too(page, mnist):
    net, image = mnistlib.build("lenet5-padded", seed=5), mnist.test.images[3]
    script = """async ([file, pixels]) => {
        const { network, parameters } = await readWeights(new Blob([Uint8Array.from(file)]));
        return [...predict(new LeNet5(parameters), pixels, network === "lenet5-padded")];
    }"""
    theirs = np.array(page.evaluate(script, [list(export.web_bytes(net)), (image / 255).flatten().tolist()]))
    assert abs(theirs - net(image[None] / 255)[0].softmax(0).numpy()).max() < 1e-5
