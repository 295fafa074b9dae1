// What a page without scripts cannot do.  Here: the dialog, and the runs behind a number.
// Text comes from records and plug-ins: it only ever becomes text nodes, never markup.
const data = JSON.parse(document.getElementById("told").textContent);
const told = JSON.parse(await unpack(data.runs));
const dialog = document.querySelector("dialog");

// Text that was packed: compressed, and in base64.
async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
}

function make(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

function shape(tag, attributes = {}, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function dress(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// A cell's own words, without small print and marks of notes.
function words(cell) {
  const title = cell.querySelector(".dt-column-title") ?? cell;
  return [...title.childNodes].filter((node) => !node.matches?.(".under, sup")).map((node) => node.textContent).join("").trim();
}

// ---- the dialog
function open(title, kind, ...children) {
  document.getElementById("opened").textContent = title;
  dialog.className = kind;
  const inner = dialog.querySelector(".inner");
  inner.replaceChildren(...children);
  dialog.showModal();
  inner.scrollTop = 0;
}

dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
dialog.addEventListener("close", () => {
  dialog.querySelector(".inner").replaceChildren();
  remember({ cell: "" });
});

// ---- the address: #NAME?word=value&..., so that a link leads to a table, its order and baseline, or an open cell
let place = "";
const state = new Map(); // name of a table -> Map of word -> value

function remember(values, name = place) {
  if (!name) return;
  const own = state.get(name) ?? state.set(name, new Map()).get(name);
  for (const [word, value] of Object.entries(values)) value === "" ? own.delete(word) : own.set(word, value);
  place = name;
  const words = new URLSearchParams([...own]).toString();
  history.replaceState(null, "", `#${name}${words ? `?${words}` : ""}`);
}

// [name, words] of the address.
function address() {
  const [name, words = ""] = decodeURI(location.hash.slice(1)).split("?");
  return [name, new URLSearchParams(words)];
}

// Unfold what hides a node.
function reveal(node) {
  for (let each = node; each; each = each.parentElement) if (each.matches("details")) each.open = true;
}

function sheet(name, heads, rows) {
  const line = (tag, cells) => make("tr", {}, ...cells.map((cell) => make(tag, {}, ...[cell].flat())));
  const table = make("table", {}, make("thead", {}, line("th", heads)), make("tbody", {}, ...rows.map((row) => line("td", row))));
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": name }, table);
}

// ---- the runs behind a number
function openRuns(cell) {
  const runs = cell.dataset.runs.split(" ").map((name) => ({ name, ...told.runs[name] }));
  const row = words(cell.parentElement.cells[0]);
  const group = cell.parentElement.dataset.group;
  const table = cell.closest("table");
  const heads = [...table.tHead.rows[0].cells].map(words);
  const against = heads.indexOf(table.dataset.pick);
  const where = [group ?? heads[cell.cellIndex], ...(against < 0 ? [] : [`${heads[against]} ${words(cell.parentElement.cells[against])}`])];
  const commands = [...new Set(runs.map((run) => told.commands[run.command]))];
  open([row, ...where].join(" · "), "runs",
    sheet("Runs", ["run", "last epoch, %", "best epoch, %", "accuracy by epoch", "record"], lines(runs)),
    make("p", { class: "caption" }, "The last epoch counts. The best epoch is an oracle’s: chosen by the images that it is scored on.",
      runs.some((run) => run.kept.length) ? " A teacher counts with its kept file, from which its students learned, in the precision of most of the table’s runs." : ""),
    make("h3", {}, "To repeat"), ...commands.map((text) => make("p", {}, make("code", { class: "command", tabindex: 0 }, text))),
    make("h3", {}, "Values, and where each comes from"), sheet("Values", ["value of", "is", "from"], facts(runs, "values")),
    make("h3", {}, "Made by"), sheet("Made by", ["", ""], facts(runs, "made")));
}

// What tells a run from the others that are open.
function who(runs) {
  const alike = new Set(runs.map((run) => run.label)).size === 1;
  return (run) => (alike ? `seed ${run.seed}` : `${run.label}, seed ${run.seed}`);
}

function lines(runs) {
  const name = who(runs);
  const all = runs.flatMap((run) => run.curve).filter((value) => value !== null);
  const range = [Math.min(...all), Math.max(...all)];
  return runs.map((run) => [
    [name(run), make("span", { class: "under" }, run.origin)],
    run.state === "done" ? scores(run) : [run.state, make("span", { class: "under message" }, run.message)],
    run.best === "" ? "–" : [run.best, make("span", { class: "under" }, run.at === null ? "" : `epoch ${run.at}`)],
    curve(run, range),
    [make("code", {}, run.name), make("span", { class: "under" }, run.ended), ...run.others.map(attempt)],
  ]);
}

// The accuracy after the last epoch; of a teacher, that of its kept file too, in each precision it was computed in.
function scores(run) {
  const under = (text) => make("span", { class: "under" }, text);
  const own = run.last === "" ? [] : [[run.last, "at the end of its training"]];
  const all = [...run.kept.map(([value, precision]) => [value, `kept file, computed in ${precision}`]), ...own];
  return run.kept.length ? all.flatMap(([value, what]) => [make("div", {}, value, under(what))]) : run.last;
}

// An attempt that does not count: the first one that is done does.
function attempt([name, outcome, ended]) {
  return make("span", { class: "under" }, `another attempt, not counted: ${name}, ${outcome}, ${ended}`);
}

// Accuracy after each epoch; the runs of a cell share one scale.
function curve(run, [low, high]) {
  const [width, height, edge] = [150, 40, 3];
  const last = Math.max(run.epochs - 1, 1);
  const points = run.curve.map((value, index) => [Math.min(index * run.every, run.epochs - 1), value]).filter(([, value]) => value !== null);
  if (!points.length) return "–";
  const place = ([epoch, value]) => [
    edge + (epoch / last) * (width - 2 * edge),
    height - edge - ((value - low) / (high - low || 1)) * (height - 2 * edge),
  ].map((number) => number.toFixed(1));
  const [x, y] = place(points.at(-1));
  const percent = (value) => (value / 100).toFixed(2);
  const text = `${percent(points[0][1])} % to ${percent(points.at(-1)[1])} % in ${run.epochs} ${run.epochs === 1 ? "epoch" : "epochs"}`;
  return [
    shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": text },
      shape("polyline", { points: points.map((point) => place(point).join(",")).join(" "), fill: "none", stroke: "currentColor", "stroke-width": 1.5 }),
      shape("circle", { cx: x, cy: y, r: 2.5, fill: "currentColor" })),
    make("span", { class: "under" }, text),
  ];
}

// One line for each word; where runs differ, each value says whose it is.
function facts(runs, kind) {
  const [found, name] = [new Map(), who(runs)];
  for (const run of runs)
    for (const [word, ...rest] of told.lists[run[kind]]) {
      const values = found.get(word) ?? found.set(word, new Map()).get(word);
      const key = JSON.stringify(rest);
      values.set(key, [...(values.get(key) ?? []), name(run)]);
    }
  return [...found].flatMap(([word, values]) => [...values].map(([key, names], index) => {
    const whose = names.length < runs.length ? make("span", { class: "under" }, names.join("; ")) : "";
    const [value, ...origin] = JSON.parse(key);
    const path = word.split(".").flatMap((part, place) => (place ? [".", make("wbr"), part] : [part])); // where it may wrap
    return [index ? [] : path, [value, whose], ...origin];
  }));
}

for (const cell of document.querySelectorAll("td[data-runs]")) {
  const own = [...cell.childNodes].filter((node) => !node.matches?.(".under, sup"));
  const button = make("button", { type: "button", "aria-haspopup": "dialog", title: "open the runs" });
  own[0].before(button);
  button.append(...own);
  button.addEventListener("click", () => {
    openRuns(cell);
    remember({ cell: `${cell.dataset.runs.split(" ")[0]}.${cell.cellIndex}` }, nameOf(cell));
  });
}

// The name of the table that a node is in.
function nameOf(node) {
  return node.closest(".table")?.querySelector("h3").id ?? "";
}
