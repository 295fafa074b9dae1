// ---- pictures: unpacked when they come near, hidden by row, enlarged; the forest follows the baseline
const drawn = new Map(); // name -> SVG
let copies = 0;

async function drawFigure(figure) {
  const { figure: name } = figure.dataset;
  if (figure.dataset.drawn || !data.figures[name]) return;
  figure.dataset.drawn = "yes";
  if (!drawn.has(name)) drawn.set(name, await unpack(data.figures[name]));
  const number = ++copies; // ids are unique on the page, also where a figure stands twice
  const text = drawn.get(name).replace(/(\bid="|href="#|url\(#)/g, `$1f${number}-`);
  const holder = make("template");
  holder.innerHTML = text;
  figure.querySelector(".drawing").replaceChildren(holder.content);
}

// A click on a mark or a name shows or hides its row.
function toggle(figure, row) {
  for (const node of figure.querySelectorAll("[data-row]"))
    if (node.dataset.row === row) node.classList.toggle(node.matches("text") || node.querySelector("text") ? "dim" : "away");
}

function enlarge(figure) {
  const copy = figure.querySelector("svg").cloneNode(true);
  copy.removeAttribute("style");
  open(figure.getAttribute("aria-label").split(" · ")[0], "picture", make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The picture" }, copy));
}

const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) drawFigure(target);
}, { rootMargin: "800px" });

for (const figure of document.querySelectorAll("figure")) {
  const button = make("button", { type: "button", "aria-haspopup": "dialog" }, "Enlarge");
  button.addEventListener("click", async () => { await drawFigure(figure); enlarge(figure); });
  figure.querySelector(".files").prepend(button);
  figure.querySelector(".drawing").addEventListener("click", (event) => {
    const row = event.target.closest("[data-row]")?.dataset.row;
    row === undefined ? figure.querySelector("svg") && enlarge(figure) : toggle(figure, row);
  });
  near.observe(figure);
}
addEventListener("beforeprint", () => document.querySelectorAll("figure").forEach(drawFigure));

// ---- the forest of another baseline, from the lines of its table
const numbersIn = (text) => (text.match(/[+−-]?\d+\.\d+/g) ?? []).map((one) => Number(one.replace("−", "-")));

// One panel: rows [label, seeds, judged, difference, low, high] from the best to the worst; seeds: [seed, difference].
function forestPanel(title, rows, baseline, reach) {
  const [left, width, line, top] = [130, 300, 19, 24];
  const x = (value) => left + width * (0.5 + value / (2 * reach));
  const bottom = top + line * rows.length;
  const write = (text, at, y, anchor, row) => shape("text", { x: at, y, "text-anchor": anchor, "font-size": 11, fill: "currentColor", ...(row ? { "data-row": row } : {}) }, text);
  const parts = rows.flatMap(([label, seeds, judged, difference, low, high], index) => {
    const [y, colour] = [top + line * (index + 0.5), data.colours[label] || "currentColor"];
    const words = shape("title", {}, `${label}: ${difference.toFixed(2)} points${low === undefined ? "" : `, ${low.toFixed(2)} to ${high.toFixed(2)}`}`);
    const ends = [low, high].map((end) => x(Math.min(Math.max(end ?? difference, -reach), reach)));
    const dots = seeds.map(([seed, value]) => shape("circle", { cx: x(value), cy: y + 6, r: 1.7, fill: "currentColor", opacity: 0.55 },
      shape("title", {}, `${label}: seed ${seed}: ${value.toFixed(2)} points`)));
    return [write(label + (data.marks[label] ?? ""), left - 6, y + 4, "end", label), shape("g", { "data-row": label }, words, ...dots,
      shape("line", { x1: ends[0], x2: ends[1], y1: y, y2: y, stroke: colour, "stroke-width": 2 }),
      shape("circle", { cx: x(difference), cy: y, r: 4, stroke: colour, "stroke-width": 1.5, fill: judged ? colour : "none" }))];
  });
  return shape("svg", { viewBox: `0 0 ${left + width + 12} ${bottom + 34}`, style: `--width: ${left + width + 12}px`, role: "img", "aria-label": `Differences to ${baseline}, ${title}`, "font-family": "DejaVu Sans, Verdana, sans-serif" },
    write(title, left, 14, "start"), shape("line", { x1: x(0), x2: x(0), y1: top, y2: bottom, stroke: "currentColor" }),
    shape("line", { x1: left, x2: left + width, y1: bottom, y2: bottom, stroke: "currentColor" }),
    ...[-reach, 0, reach].map((value) => write(value.toFixed(1), x(value), bottom + 14, "middle")),
    write(`minus ${baseline} (points)`, x(0), bottom + 29, "middle"), ...parts);
}

// Draw the forests that belong to a table of differences for a baseline; the one that they were made for: as they were.
function moveForest(table, baseline, rows) {
  const prefix = nameOf(table).replace(/-comparisons$/, "");
  for (const figure of document.querySelectorAll("figure"))
    if (figure.dataset.figure === `${prefix}-forest`) redraw(figure, table, baseline, rows);
}

// [seed, difference] for the seeds that both rows have, if there are several.
function seedDifferences(row, label, baseline) {
  const runs = [...row.querySelectorAll("td[data-runs]")].flatMap((cell) => cell.dataset.runs.split(" ")).map((name) => told.runs[name]);
  const scores = (wanted) => new Map(runs.filter((run) => run.label === wanted && run.last !== "").map((run) => [run.seed, Number(run.last)]));
  const [own, base] = [scores(label), scores(baseline)];
  const found = [...own].filter(([seed]) => base.has(seed)).map(([seed, value]) => [seed, value - base.get(seed)]);
  return found.length > 1 ? found : [];
}

function redraw(figure, table, baseline, rows) {
  const title = figure.querySelector("figcaption b");
  figure.dataset.title ??= title.textContent;
  if (figure.dataset.title === `Differences to ${baseline}.`) {
    delete figure.dataset.drawn;
    title.textContent = figure.dataset.title;
    return drawFigure(figure);
  }
  figure.dataset.drawn = "yes";
  title.textContent = `Differences to ${baseline}.`;
  const heads = [...table.tHead.rows[0].cells].map(words);
  const [mean, verdict, interval] = [heads.indexOf("difference"), heads.indexOf("verdict"), heads.findIndex((head) => head.endsWith("interval"))];
  const panels = new Map();
  for (const row of rows) {
    const values = [mean, interval].flatMap((column) => numbersIn(words(row.cells[column])));
    if (!values.length) continue;
    const [label, group] = [words(row.cells[0]), row.dataset.group ?? ""];
    const judged = ["better", "worse", "cannot be told"].includes(words(row.cells[verdict]));
    panels.set(group, [...(panels.get(group) ?? []), [label, seedDifferences(row, label, baseline), judged, ...values]]);
  }
  const means = [...panels.values()].flat().map((line) => Math.abs(line[3]));
  const reach = 1.6 * Math.max(...means, 0.1);
  figure.querySelector(".drawing").replaceChildren(...[...panels].map(([group, lines]) =>
    forestPanel(group, lines.sort((a, b) => b[3] - a[3]), baseline, reach)));
}
