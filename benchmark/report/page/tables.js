// ---- tables: sort, filter, pick, copy
const FEW = 4; // lines that need no filter
const MANY = 200; // lines that are paged
const restorers = new Map(); // name of a table -> function that restores its state from words of the address

// One body, the group in a column of its own: what DataTables knows.
function flatten(table) {
  if (!table.querySelector("tr.group")) return;
  const [first] = table.tBodies;
  const several = table.tBodies.length > 1; // one pair needs no column
  if (several) table.tHead.rows[0].cells[0].after(make("th", { scope: "col", class: "word" }, "pair"));
  for (const body of [...table.tBodies]) {
    const group = body.rows[0].textContent.trim();
    body.rows[0].remove();
    for (const row of [...body.rows]) {
      row.dataset.group = group;
      if (several) row.cells[0].after(make("td", { class: "word" }, group));
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
  const table = api.table().node();
  const apply = () => {
    api.draw();
    if (!all) moveForest(table, select.value, api.rows().nodes().toArray().filter((_row, index) => values[index] === select.value));
  };
  select.addEventListener("change", () => {
    apply();
    remember({ [name]: select.value }, nameOf(table));
  });
  api.draw();
  select.restore = (words) => {
    if (!choices.includes(words.get(name))) return;
    select.value = words.get(name);
    apply();
  };
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
  const pinned = [...table.querySelectorAll("tr[data-pinned]")]; // teacher and plain student stay on top of their pair
  const pairs = () => new Set([...table.tBodies[0].rows].map((row) => row.dataset.group)).size;
  if (pinned.length) api.on("draw", () => pairs() === 1 && table.tBodies[0].prepend(...pinned.filter((row) => row.isConnected)));
  const selects = [];
  const name = nameOf(table);
  restorers.set(name, (words) => {
    const [, column, way] = words.get("sort")?.match(/^(\d+)(a|d)$/) ?? [];
    if (column !== undefined && heads[column]) api.order([[Number(column), way === "a" ? "asc" : "desc"]]).draw();
    selects.forEach((select) => select.restore(words));
  });
  api.on("order", () => {
    const [order] = api.order();
    if (restored) remember({ sort: order?.[1] ? `${order[0]}${order[1][0]}` : "" }, name);
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
  selects.push(...tools.querySelectorAll("select"));
  tools.append(shown);
  table.closest(".scroll").before(tools);
}

// A button beside each file of a table that copies its text.
function copier(link) {
  const path = link.getAttribute("href");
  const button = make("button", { type: "button", title: `copy as ${link.textContent}`, "aria-label": `copy as ${link.textContent}` }, "copy");
  button.addEventListener("click", async () => {
    const text = JSON.parse(await unpack(data.texts))[path];
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "copied";
    } catch { // not allowed: to be selected by hand
      open(path, "text", make("pre", { tabindex: 0 }, text));
    }
  });
  return button;
}

// A scrolling box that has more on its right says so.
function markOverflow(box) {
  const mark = () => box.classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
  box.addEventListener("scroll", mark, { passive: true });
  new ResizeObserver(mark).observe(box);
}

// A caption shows two lines; a button shows the rest, where there is more.
function fold(text) {
  const button = make("button", { type: "button", "aria-expanded": "false" }, "more");
  const mark = () => { button.hidden = !text.matches(".whole") && text.scrollHeight < text.clientHeight + 2; };
  button.addEventListener("click", () => {
    const whole = text.classList.toggle("whole");
    button.textContent = whole ? "less" : "more";
    button.setAttribute("aria-expanded", whole);
    mark();
  });
  text.after(button, " ");
  new ResizeObserver(mark).observe(text);
}

let restored = false;
function restore() {
  const [name, words] = address();
  const target = name && document.getElementById(name);
  if (!target) return;
  reveal(target);
  restorers.get(name)?.(words);
  target.scrollIntoView();
  const [record, column] = words.get("cell")?.split(".") ?? [];
  const cells = [...(target.closest(".table")?.querySelectorAll("td[data-runs]") ?? [])];
  const cell = record && cells.find((each) => each.dataset.runs.split(" ")[0] === record && each.cellIndex === Number(column));
  if (cell) {
    place = name;
    for (const [word, value] of words) remember({ [word]: value }, name);
    openRuns(cell);
  }
}

const { default: DataTable } = await import(`data:text/javascript;charset=utf-8,${encodeURIComponent(await unpack(LIBRARY))}`);
DataTable.ext.errMode = "throw";
// Numbers by size; what has none stays below, whichever way they run.
const measured = (sign) => (a, b) => (a === "") - (b === "") || (a === "" ? 0 : sign * (a - b));
DataTable.type("measured", { order: { asc: measured(1), desc: measured(-1) }, className: "" });
for (const table of document.querySelectorAll("main table")) enhance(table, DataTable);
for (const link of document.querySelectorAll(".table .files a")) link.after(copier(link));
document.querySelectorAll(".scroll").forEach(markOverflow);
document.querySelectorAll(".caption .text").forEach(fold);
restore();
restored = true;
addEventListener("hashchange", restore);
document.querySelector(".hint span")?.removeAttribute("hidden");
document.documentElement.classList.add("lively");
