"""Many seeds of one network trained at once, for a GPU that one small network leaves idle. Notebook 06."""

import copy
import math
import time

import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F
from torchinfo import summary

from mnistlib.data import Split
from mnistlib.evaluation import evaluate
from mnistlib.networks import evaluating, find
from mnistlib.seeds import Ensemble
from mnistlib.train import History, check_settings, exact_cudnn, one_cycle, pick_device, record_epoch


def fit_stacked(
    network, seeds, train, valid=None, *, epochs=5, batch_size=128, lr=0.01, loss=F.cross_entropy, optimizer=one_cycle
) -> Ensemble:
    """Train one network per seed, as `fit_seeds` does, but with the weights of all networks stacked layer by layer.

    The parameters are those of `fit_seeds` and `fit`. Each seed has its own first weights, order of images and
    augmentation, so the results equal those of `fit_seeds` up to rounding; only dropout draws other masks. On CUDA a
    step of all networks is one captured graph; on a CPU this is slower than one network after the other. The optimizer
    must treat each weight by itself, as Adam does. ``seconds`` is the time of an epoch divided by the number of
    networks. Raises ValueError as `fit` does, and MemoryError.
    """
    seeds = list(seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be different whole numbers, at least one; got {seeds}.")
    nets = [(find(network).build if isinstance(network, str) else network)(seed) for seed in seeds]
    check_settings(nets[0], train, valid, epochs=epochs, batch_size=batch_size, lr=lr)
    device, steps = pick_device(), math.ceil(len(train) / batch_size)
    histories, generators = [History() for _ in seeds], [torch.Generator().manual_seed(seed) for seed in seeds]
    try:
        train, nets = train.to(device), [net.to(device).train() for net in nets]
        weights, buffers = stack_module_state(nets)
        optimizer, scheduler = optimizer(weights.values(), lr, epochs * steps, steps)
        step = _step_function(nets[0], weights, buffers, train, loss)
        step = _captured(step, device) if device.type == "cuda" else step
        with torch.random.fork_rng(), exact_cudnn():
            torch.manual_seed(seeds[0])  # dropout
            for _ in range(epochs):
                start, losses, correct = time.perf_counter(), [], 0
                for inputs in _epoch(train, batch_size, generators):
                    batch_losses, batch_correct, gradients = step(*inputs)
                    for weight, gradient in zip(weights.values(), gradients, strict=True):
                        weight.grad = gradient
                    optimizer.step()
                    if scheduler:
                        scheduler.step()
                    losses.append(batch_losses)
                    correct = correct + batch_correct
                counts = zip(torch.stack(losses, 1), correct.tolist(), strict=True)
                for i, (net, history, of_net) in enumerate(zip(nets, histories, counts, strict=True)):
                    net.load_state_dict({name: weight[i] for name, weight in weights.items()}, strict=False)
                    record_epoch(history, *of_net, len(train), batch_size)
                    if valid is not None:
                        measured = evaluate(net, valid)
                        history.valid_loss.append(measured.loss)
                        history.valid_accuracy.append(measured.accuracy)
                for history in histories:
                    history.seconds.append((time.perf_counter() - start) / len(seeds))
    except torch.OutOfMemoryError:
        raise MemoryError(f"{device} has too little memory for {len(seeds)} networks. Give fewer seeds.") from None
    return Ensemble(seeds, [net.to("cpu").eval() for net in nets], histories)


def memory_needed(net: nn.Module, input_shape: tuple[int, int, int], *, seeds: int, batch_size: int) -> int:
    """Estimate the bytes that ``seeds`` stacked copies of ``net`` need in training, within a factor of two.

    Six numbers per weight: in its network, in the stack, two for its gradient, two for Adam. Two per output of a
    layer, for each image of a batch: its value and its gradient. The training images are not counted. Introduced in
    notebook 06.
    """
    like = next(net.parameters())
    with evaluating(net):
        layers = summary(net, input_data=like.new_zeros(1, *input_shape), verbose=0).summary_list
    outputs = sum(math.prod(layer.output_size) for layer in layers if layer.is_leaf_layer)
    weights = sum(parameter.numel() for parameter in net.parameters())
    return like.element_size() * seeds * (6 * weights + 2 * batch_size * (outputs + math.prod(input_shape)))


def _epoch(train: Split, batch_size: int, generators: list[torch.Generator]):
    """Return, for each batch, the rows of its images, int64 ``[networks, B]``, and the amounts of their augmentation.

    A whole epoch is drawn, and copied to the device, at once, in the order in which `fit` draws it.
    """
    drawn = [[torch.randperm(len(train), generator=generator)] for generator in generators]
    if train.augmentation:
        sizes = [len(batch) for batch in drawn[0][0].split(batch_size)]
        for numbers, generator in zip(drawn, generators, strict=True):
            numbers.append(torch.cat([train.augmentation.draw(size, generator) for size in sizes]))
    tensors = [torch.stack(each).to(train.images.device) for each in zip(*drawn, strict=True)]
    return zip(*(tensor.split(batch_size, dim=1) for tensor in tensors), strict=True)


def _step_function(net: nn.Module, weights: dict, buffers: dict, train: Split, loss):
    """Return the forward and backward pass of all networks, which gives losses, correct predictions and gradients."""
    base = copy.deepcopy(net)

    def one(weights, buffers, images, labels):
        logits = functional_call(base, (weights, buffers), (images,))
        return loss(logits, labels), (logits.argmax(1) == labels).sum()

    def step(rows, amounts=None):
        images = train.images[rows].to(torch.get_default_dtype()).div_(255)
        if amounts is not None:
            images = train.augmentation.apply(images.flatten(0, 1), amounts.flatten(0, 1)).view_as(images)
        losses, correct = vmap(one, randomness="different")(weights, buffers, images, train.labels[rows])
        # The loss of one network does not depend on another's weights: the gradients of the sum are those of each.
        gradients = torch.autograd.grad(losses.sum(), tuple(weights.values()))
        return losses.detach(), correct, [gradient.contiguous() for gradient in gradients]  # for fused optimizers

    return step


def _captured(step, device: torch.device):
    """Return a step as CUDA graphs: each shape of its inputs is captured once, and then replayed by a single launch."""
    graphs = {}

    def capture(inputs):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):  # libraries choose their kernels in the first calls, which a graph cannot hold
                step(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = step(*inputs)
        return graph, inputs, outputs

    def replay(*inputs):
        shape = inputs[0].shape
        with torch.cuda.device(device), torch.random.fork_rng(enabled=shape not in graphs):
            if shape not in graphs:  # its rehearsals draw dropout masks that a replay must not miss
                graphs[shape] = capture([tensor.clone() for tensor in inputs])
        graph, graph_inputs, (losses, correct, gradients) = graphs[shape]
        for own, new in zip(graph_inputs, inputs, strict=True):
            own.copy_(new)
        graph.replay()
        return losses.clone(), correct, gradients  # the next replay overwrites them

    return replay
