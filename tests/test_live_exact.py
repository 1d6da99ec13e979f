"""The live page's JavaScript computes what PyTorch and `as_mnist` compute, in a real browser."""

import live_page
import numpy as np
import pytest
import torch
from torch.nn import functional as F

import mnistlib
from mnistlib.live import build, export, pad

UNPACK = "const unpack = (text, kind) => new kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    build.write(folder)
    with (
        live_page.chromium() as browser,
        live_page.served(folder) as address,
        live_page.opened(browser, address) as page,
    ):
        yield page


def pixels_of(split):
    """Pixels as every PyTorch stretches whole grey levels; `resized` is the same wherever it has AVX2."""
    return F.interpolate(split.images, (32, 32), mode="bilinear", antialias=True) / 255


def predicted(page, count):
    script = f"""async () => {{
        const {{ mnist }} = await import("./data.js"), {{ images }} = (await mnist()).test, result = new Float32Array(10 * {count});
        for (let i = 0; i < {count}; i++) {{
            result.set(lenet5.predict(Float32Array.from(images.subarray(784 * i, 784 * i + 784), (grey) => grey / 255)), 10 * i);
        }}
        return result;
    }}"""  # noqa: E501
    return live_page.numbers(page, script).reshape(count, 10)


@torch.no_grad()
def compare(page, test):
    net = mnistlib.pretrained("lenet5")
    ours = torch.cat([net(part).softmax(1) for part in pixels_of(test).split(1000)])
    theirs = torch.tensor(predicted(page, len(test)))
    assert (theirs - ours).abs().max() < 1e-5
    assert torch.equal(theirs.argmax(1), ours.argmax(1))


def test_digits_are_read_as_pytorch_reads_them(page, mnist):
    compare(page, mnist.test.take(500))


@pytest.mark.slow
def test_all_10_000_test_digits_are_read_as_pytorch_reads_them(page, mnist):
    compare(page, mnist.test)


def test_drawings_are_prepared_as_by_as_mnist(page):
    rng = np.random.default_rng(0)
    drawings = []
    for i in range(240):
        starts, widths = rng.random((rng.integers(1, 4), 1, 2)), [0.03, 0.08, 0.16]
        strokes = [
            (start + rng.normal(0, 0.1, (rng.integers(1, 12), 2)).cumsum(0)).round(3).tolist() for start in starts
        ]
        drawings.append([strokes, widths[i % 3]])
    script = """async (drawings) => {
        const { asMnist, ink } = await import("./images.js"), result = new Uint8Array(784 * drawings.length);
        drawings.forEach(([strokes, width], i) => { const page = asMnist(ink(strokes, width)); if (page) result.set(page, 784 * i); });
        return result;
    }"""  # noqa: E501
    theirs = live_page.numbers(page, script, drawings, np.uint8).reshape(-1, 28, 28)
    count = 0
    for (strokes, width), image in zip(drawings, theirs, strict=True):
        picture = pad.ink(strokes, width)
        ours = pad.as_mnist(picture)[0].numpy() if picture.any() else np.zeros((28, 28), np.uint8)
        assert abs(ours.astype(int) - image).max() <= 1
        count += picture.any()
    assert count >= 200


@torch.no_grad()
def test_the_terms_of_a_unit_add_up_to_its_value(page, mnist):
    """200 units of every layer, and the units themselves against PyTorch's."""
    net, x, rng = mnistlib.pretrained("lenet5"), pixels_of(mnist.test.take([8])), np.random.default_rng(1)
    values = {}
    for name, layer in net.named_children():
        x = layer(x)
        values[name] = x.flatten().numpy()
    values["softmax"] = x.softmax(1).flatten().numpy()
    del values["flatten"]  # it only writes 120 maps of 1×1 as a row
    chosen = {name: rng.integers(0, len(of), 200).tolist() for name, of in values.items()}
    pixels = live_page.text(mnist.test.images[8].numpy())
    script = f"""async ([pixels, chosen]) => {{
        {UNPACK}
        const result = [], {{ LeNet5, layerCalled }} = await import("./lenet5.js"), {{ explain }} = await import("./explain.js");
        const {{ asInput }} = await import("./images.js"), {{ readWeights }} = await import("./weights.js");
        const net = new LeNet5((await readWeights(await (await fetch("lenet5.safetensors")).blob())).parameters);
        net.forward(asInput(unpack(pixels, Uint8Array)));
        for (const [name, units] of Object.entries(chosen)) for (const unit of units) {{
            const {{ terms, bias, value }} = explain(net, layerCalled(name), unit);
            result.push(terms.reduce((sum, term) => sum + term.value * term.weight, bias), value);
        }}
        return Float64Array.from(result);
    }}"""  # noqa: E501
    shown = live_page.numbers(page, script, [pixels, chosen], np.float64).reshape(len(chosen), 200, 2)
    for (name, units), (sums, theirs) in zip(chosen.items(), shown.transpose(0, 2, 1), strict=True):
        assert abs(sums - theirs).max() < 1e-9, name
        assert abs(theirs - values[name][units]).max() < 1e-4, name


@pytest.mark.parametrize("twice", [False, True])
def test_a_training_step_is_pytorchs(page, mnist, twice):
    """Loss, the gradient of all 61,706 parameters, and what two steps of Adam make of them."""
    net = mnistlib.build("lenet5", seed=3)
    start, batch = [p.detach().clone() for p in net.parameters()], mnist.train.take(32)
    pixels, optimizer, gradients = pixels_of(batch), torch.optim.Adam(net.parameters(), lr=1e-3), []
    for _ in range(2):
        outputs = net(pixels).softmax(1) if twice else net(pixels)
        loss = F.cross_entropy(outputs, batch.labels)
        optimizer.zero_grad()
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters()]).numpy())
        optimizer.step()
    script = f"""async ([parameters, images, labels, twice]) => {{
        {UNPACK}
        const {{ Adam, LeNet5, trainingStep }} = await import("./lenet5.js"), {{ asInput }} = await import("./images.js");
        const net = new LeNet5(unpack(parameters, Float32Array)), adam = new Adam(net.parameters, 0.001), result = [];
        const all = unpack(images, Uint8Array), batch = labels.map((_, i) => asInput(all.subarray(784 * i, 784 * i + 784)));
        let loss;
        for (let i = 0; i < 2; i++) {{ loss = trainingStep(net, adam, batch, labels, twice); result.push(...net.gradient); }}
        return Float64Array.from([...result, ...net.parameters, loss]);
    }}"""  # noqa: E501
    parameters = torch.cat([p.flatten() for p in start]).numpy()
    argument = [live_page.text(parameters), live_page.text(batch.images.numpy()), batch.labels.tolist(), twice]
    theirs = live_page.numbers(page, script, argument, np.float64)
    first, second, moved = theirs[:-1].reshape(3, 61_706)
    assert theirs[-1] == pytest.approx(loss.item(), abs=1e-5)
    assert max(abs(first - gradients[0]).max(), abs(second - gradients[1]).max()) < 1e-5
    assert abs(moved - torch.cat([p.detach().flatten() for p in net.parameters()]).numpy()).max() < 1e-5


@torch.no_grad()
def test_the_padded_network_runs_too(page, mnist):
    net = mnistlib.build("lenet5-padded", seed=5)
    image = mnist.test.images[3]
    script = f"""async ([file, pixels]) => {{
        {UNPACK}
        const {{ LeNet5 }} = await import("./lenet5.js"), {{ predict }} = await import("./state.js");
        const {{ readWeights }} = await import("./weights.js"), read = await readWeights(new Blob([unpack(file, Uint8Array)]));
        return predict(new LeNet5(read.parameters), unpack(pixels, Float32Array), read.network === "lenet5-padded");
    }}"""  # noqa: E501
    argument = [
        live_page.text(np.frombuffer(export.web_bytes(net), np.uint8)),
        live_page.text(image.numpy() / np.float32(255)),
    ]
    assert abs(live_page.numbers(page, script, argument) - net(image[None] / 255)[0].softmax(0).numpy()).max() < 1e-5
