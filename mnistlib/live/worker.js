// Trains a LeNet-5 beside the page, in a Web Worker, so that the page stays quick. It is told what to do by messages.

import { Adam, LeNet5, randomNumbers, randomParameters, shuffled, trainingStep } from "./lenet5.js";
import { asInput } from "./images.js";

const TESTED = 500; // test digits that the accuracy is measured on,
const EVERY = 1600; // whenever so many digits have been seen
let data, settings; // what the page sent
let net, optimizer, random, order, at, step, seen, tested; // the training
let losses, accuracies, digits, time; // what is to be reported; the speed is digits / time
let running = false;
let seed, timer; // the timer waits for the next tenth of a second

const imageOf = ({ images }, i) => asInput(images.subarray(784 * i, 784 * i + 784));

function reset(message) {
  stop();
  seed = message.seed;
  net = new LeNet5(randomParameters(seed));
  optimizer = new Adam(net.parameters);
  random = randomNumbers(seed + 1);
  [order, at, step, seen, tested] = [null, 0, 0, 0, -1];
  [losses, accuracies, digits, time] = [[], [], 0, 0];
  test();
  report();
}

function oneStep() {
  const count = data.train.labels.length;
  const { batch, lr, shuffle, twice } = settings;
  if (!order || at >= count) {
    // a new epoch
    order = shuffle ? shuffled(count, random) : Uint32Array.from({ length: count }, (_, i) => i);
    at = 0;
  }
  const chosen = [...order.subarray(at, at + batch)];
  const begin = performance.now();
  optimizer.lr = lr;
  const loss = trainingStep(
    net,
    optimizer,
    chosen.map((i) => imageOf(data.train, i)),
    chosen.map((i) => data.train.labels[i]),
    twice,
  );
  time += performance.now() - begin;
  digits += chosen.length;
  at += batch;
  step += 1;
  seen += chosen.length;
  losses.push(loss);
  if (Math.floor(seen / EVERY) > tested) test();
}

function test() {
  const count = Math.min(TESTED, data.test.labels.length);
  let correct = 0;
  for (let i = 0; i < count; i++) {
    const probabilities = net.forward(imageOf(data.test, i));
    if (probabilities.indexOf(Math.max(...probabilities)) === data.test.labels[i]) correct += 1;
  }
  accuracies.push([step, correct / count]);
  tested = Math.floor(seen / EVERY);
}

function report() {
  const parameters = net.parameters.slice();
  postMessage({ step, seen, losses, accuracies, parameters, rate: time ? (1000 * digits) / time : 0, running }, [
    parameters.buffer,
  ]);
  [losses, accuracies] = [[], []];
}

function work() {
  // for a tenth of a second, then look for messages
  const end = performance.now() + 100;
  while (performance.now() < end) oneStep();
  report();
  timer = setTimeout(work);
}

function stop() {
  clearTimeout(timer);
  running = false;
}

onmessage = ({ data: { type, ...message } }) => {
  if (type === "data") data = message;
  if (type === "settings") settings = message;
  const anew = step === 0 && message.seed !== seed && (type === "step" || type === "start");
  if (type === "reset" || anew) reset(message);
  if (type === "pause") {
    stop();
    report();
  }
  if (type === "step" && !running) {
    oneStep();
    report();
  }
  if (type === "start" && !running) {
    running = true;
    work();
  }
};
