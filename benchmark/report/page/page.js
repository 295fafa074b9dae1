// What a page without scripts cannot do: sort, filter and pick; open the runs behind a number; enlarge a picture.
// Text comes from records and plug-ins: it only ever becomes text nodes, never markup.
const FEW = 4; // lines that need no filter
const MANY = 200; // lines that are paged
const told = JSON.parse(document.getElementById("told").textContent);
const dialog = document.querySelector("dialog");

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
dialog.addEventListener("close", () => dialog.querySelector(".inner").replaceChildren());

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
  const place = [group ?? heads[cell.cellIndex], ...(against < 0 ? [] : [`${heads[against]} ${words(cell.parentElement.cells[against])}`])];
  const commands = [...new Set(runs.map((run) => told.commands[run.command]))];
  open([row, ...place].join(" · "), "runs",
    sheet("Runs", ["run", "last epoch, %", "best epoch, %", "accuracy by epoch", "record"], lines(runs)),
    make("p", { class: "caption" }, "The last epoch counts. The best epoch is an oracle’s: chosen by the images that it is scored on."),
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
    run.state === "done" ? run.last : [run.state, make("span", { class: "under message" }, run.message)],
    run.best === "" ? "–" : [run.best, make("span", { class: "under" }, run.at === null ? "" : `epoch ${run.at}`)],
    curve(run, range),
    [make("code", {}, run.name), make("span", { class: "under" }, run.ended), ...run.others.map(attempt)],
  ]);
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
  button.addEventListener("click", () => openRuns(cell));
}

// ---- pictures
for (const figure of document.querySelectorAll("figure")) {
  const picture = figure.querySelector("svg");
  const enlarge = () => {
    const copy = picture.cloneNode(true);
    copy.removeAttribute("style");
    open(figure.getAttribute("aria-label").split(" · ")[0], "picture", make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The picture" }, copy));
  };
  const button = make("button", { type: "button", "aria-haspopup": "dialog" }, "Enlarge");
  button.addEventListener("click", enlarge);
  picture.addEventListener("click", enlarge);
  figure.querySelector(".files").prepend(button);
}

// ---- tables
// One body, the group in a column of its own: what DataTables knows.
function flatten(table) {
  if (!table.querySelector("tr.group")) return;
  const [first] = table.tBodies;
  table.tHead.rows[0].cells[0].after(make("th", { scope: "col", class: "word" }, "pair"));
  for (const body of [...table.tBodies]) {
    const group = body.rows[0].textContent.trim();
    body.rows[0].remove();
    for (const row of [...body.rows]) {
      row.dataset.group = group;
      row.cells[0].after(make("td", { class: "word" }, group));
      first.append(row);
    }
    if (body !== first) body.remove();
  }
}

// A <select> that shows only the lines with one value in a column; `wanted` is the value that it begins with.
function picker(api, column, wanted, all) {
  const name = words(api.column(column).header());
  const values = api.rows().nodes().toArray().map((row) => words(row.cells[column]));
  const choices = [...new Set(values)];
  const select = make("select", { "aria-label": name }, ...(all ? [make("option", { value: "" }, "all")] : []), ...choices.map((text) => make("option", {}, text)));
  select.value = choices.includes(wanted) ? wanted : all ? "" : choices[0];
  api.search.fixed(`column ${column}`, (_text, _data, index) => !select.value || values[index] === select.value);
  select.addEventListener("change", () => api.draw());
  api.draw();
  return make("label", {}, `${name} `, select);
}

function enhance(table, DataTable) {
  flatten(table);
  const heads = [...table.tHead.rows[0].cells];
  const numbers = heads.flatMap((head, index) => (head.matches(".number") ? [index] : []));
  const count = table.tBodies[0].rows.length;
  const api = new DataTable(table, {
    autoWidth: false, info: false, language: { zeroRecords: "no line has it" }, order: [], ordering: true, paging: count > MANY, pageLength: MANY,
    columnDefs: [{ targets: numbers, type: "measured", orderSequence: ["desc", "asc", ""] }],
    layout: { topStart: null, topEnd: null, bottomStart: count > MANY ? "paging" : null, bottomEnd: null },
  });
  if (count < FEW) return;
  const filter = make("input", { type: "search", "aria-label": "filter", placeholder: "any word" });
  const shown = make("output");
  const texts = api.rows().nodes().toArray().map((row) => [...row.cells].map((cell) => cell.textContent.toLowerCase()).join(" "));
  api.search.fixed("words", (_text, _data, index) => filter.value.toLowerCase().split(/\s+/).every((word) => texts[index].includes(word)));
  filter.addEventListener("input", () => api.draw());
  api.on("draw", () => {
    const left = api.rows({ search: "applied" }).count();
    shown.textContent = left < count ? `${left} of ${count} lines` : "";
  });
  const tools = make("div", { class: "tools" }, make("label", {}, "filter ", filter));
  const pick = heads.findIndex((head) => table.dataset.pick && words(head) === table.dataset.pick);
  if (pick >= 0) tools.prepend(picker(api, pick, table.dataset.picked, false));
  if (heads[1] && new Set(api.rows().nodes().toArray().map((row) => row.dataset.group)).size > 1) tools.prepend(picker(api, 1, "", true));
  tools.append(shown);
  table.closest(".scroll").before(tools);
}

const { default: DataTable } = await import(LIBRARY);
DataTable.ext.errMode = "throw";
// Numbers by size; what has none stays below, whichever way they run.
const measured = (sign) => (a, b) => (a === "") - (b === "") || (a === "" ? 0 : sign * (a - b));
DataTable.type("measured", { order: { asc: measured(1), desc: measured(-1) }, className: "" });
for (const table of document.querySelectorAll("main table")) enhance(table, DataTable);
document.querySelector(".hint span")?.removeAttribute("hidden");
document.documentElement.classList.add("lively");
