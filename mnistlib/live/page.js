// The live LeNet-5: puts the parts together. Start with lenet5.js; this is the last file to read.

import { Changes } from "./changes.js";
import { bytesOf, examples } from "./data.js";
import { explain } from "./explain.js";
import { Explorer } from "./explorer.js";
import { asItIs, asMnist, ink } from "./images.js";
import { Layers, answerLine } from "./layers.js";
import { LAYERS, LeNet5, PARAMETERS, layerCalled } from "./lenet5.js";
import { Pad } from "./pad.js";
import { State, predict } from "./state.js";
import { Trainer } from "./trainer.js";
import { Palette, h, oncePerFrame, picture } from "./view.js";
import { readWeights, writeWeights } from "./weights.js";

const find = (selector) => document.querySelector(selector);
const [weights, tries] = await Promise.all([bytesOf("lenet5.safetensors"), examples()]);
const course = await readWeights(new Blob([weights]));
const palette = new Palette(find(".lenet5"));
const state = new State(course.parameters);
const networks = { course: { name: "trained by the course", ...course } };

// 1 The digit: drawn, or one of the test set's; prepared, then changed, then shown to the network.
const prepare = find("#prepare");
const changes = new Changes(state, () => show());
const pad = new Pad(palette, () => show());
let example; // the test digit on the pad
const show = oncePerFrame(() => {
  example = tries.find((each) => each.pixels === pad.picture);
  prepare.disabled = Boolean(example);
  const drawing = example ? null : ink(pad.strokes, pad.width);
  state.look(changes.of(example ? example.pixels : prepare.checked ? asMnist(drawing) : asItIs(drawing)));
});
prepare.addEventListener("change", show);
find("#pad").append(pad.element);
find("#changes").append(changes.element);

function take(each) {
  changes.reset();
  pad.set([], pad.width, each.pixels);
  show();
}

function thumbnail(each) {
  const name = `Test digit ${each.number}, a ${each.label}${each.hard ? ", which the course’s network misreads" : ""}`;
  const canvas = h("canvas");
  const button = h(
    "button",
    { type: "button", class: "thumb", title: name, "aria-label": name },
    canvas,
  );
  button.addEventListener("click", () => {
    pad.keep();
    take(each);
  });
  const draw = () => picture(canvas, palette, each.pixels, 28);
  palette.addEventListener("change", draw);
  draw();
  return button;
}

// 2 The network, its answer, and one unit.
const layers = new Layers(state, palette);
const explorer = new Explorer(state, palette);
find("#layers").append(layers.element);
find("#unit").append(explorer.element);
const seen = find("#seen");
const isWrong = () => Boolean(example) && example.label !== state.answer;
const verdict = answerLine(state, () =>
  example ? ` ${isWrong() ? "Wrong: the" : "The"} correct answer is ${example.label}.` : "",
);
seen.after(verdict);
const drawSeen = oncePerFrame(() => {
  picture(seen, palette, state.pixels, 42);
  verdict.classList.toggle("wrong", isWrong());
  find("#stretched").textContent = state.padded ? "with a border, as 32 × 32" : "stretched to 32 × 32";
});
state.addEventListener("answer", drawSeen);
palette.addEventListener("change", drawSeen);
state.addEventListener("select", ({ by }) => {
  if (!by) return;
  open("unit");
  const narrow = !layers.inColumns;
  const away = narrow || find("#unit").getBoundingClientRect().top + 150 > innerHeight; // its sentence is not seen
  if (away) find("#back").hidden = false;
  if (away && by !== "keys" && by !== "drag")
    find("#tools").scrollIntoView({
      block: narrow ? "start" : "nearest",
      behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth",
    });
});

// 3 Which network is shown.
const choice = find("#network");
function offer(key, network) {
  networks[key] = network;
  if (!choice.querySelector(`[value=${key}]`)) choice.append(h("option", { value: key }));
  choice.querySelector(`[value=${key}]`).textContent = network.name;
}
function use(key) {
  choice.value = key;
  state.use(networks[key].parameters, networks[key].network === "lenet5-padded");
}
offer("course", networks.course);
choice.addEventListener("change", () => use(choice.value));

const trainer = new Trainer(palette, (parameters) => {
  const first = !networks.trained;
  offer("trained", { name: "trained here by you", network: "lenet5", parameters });
  if (first || choice.value === "trained" || trainer.step === 0) use("trained");
});
trainer.start.addEventListener("click", () => networks.trained && use("trained"));
find("#train").append(trainer.element);

// 4 Your own weights.
const message = find("#message");
async function openFile(file) {
  if (!file) return;
  open("own");
  try {
    const { network, parameters } = await readWeights(file);
    offer("file", { name: `from ${file.name}`, network, parameters });
    use("file");
    const name = network === "lenet5" ? "LeNet-5" : "LeNet-5, padded";
    message.textContent = `${file.name} (${name}) is loaded and in use.`;
    message.className = "words good";
  } catch (error) {
    message.textContent = `${file.name}: ${error.message}`;
    message.className = "words bad";
  }
}
find("#file").addEventListener("change", (event) => {
  openFile(event.target.files[0]);
  event.target.value = "";
});
find("#choose").addEventListener("click", () => find("#file").click());
find("#save").addEventListener("click", () => {
  const { network, parameters } = networks[choice.value];
  const address = URL.createObjectURL(writeWeights(parameters, network, { source: choice.value }));
  h("a", { href: address, download: "my-lenet5.safetensors" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  openFile(event.dataTransfer.files[0]);
});

// The four tools below the network, as tabs: the arrow keys go from one to the next.
const tabs = [...document.querySelectorAll("[role=tab]")];
function open(name) {
  for (const tab of tabs) {
    const chosen = tab.getAttribute("aria-controls") === name;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    find(`#${tab.getAttribute("aria-controls")}`).hidden = !chosen;
  }
  if (name === "changes") changes.survey();
}
tabs.forEach((tab, i) => {
  tab.addEventListener("click", () => open(tab.getAttribute("aria-controls")));
  tab.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return;
    const next = tabs[(i + step + tabs.length) % tabs.length];
    open(next.getAttribute("aria-controls"));
    next.focus();
  });
});

// For others who test the page.
const own = new LeNet5();
globalThis.lenet5 = {
  predict(pixels) {
    // ten probabilities for a Float32Array of 784 numbers in 0–1
    own.parameters = state.net.parameters;
    return predict(own, pixels, state.padded);
  },
  explain: (layer, unit) => explain(state.net, layerCalled(layer), unit),
  layers: LAYERS.map(({ name, maps, side }) => ({ name, units: maps * side * side })),
  parameters: PARAMETERS,
};

for (const each of tries) find(each.hard ? "#hard" : "#easy").append(thumbnail(each));
take(tries.find((each) => each.label === 3 && !each.hard));
state.select("conv1", 3 * 784 + 14 * 28 + 12);
document.body.dataset.ready = performance.now().toFixed(0);
