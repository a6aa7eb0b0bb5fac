// The page of a net: its graph as stages, blocks and layers that open and close, beside the table of its layers.
"use strict";
const NET = JSON.parse(document.getElementById("net").textContent);
const FIELD = Object.fromEntries(NET.columns.map((name, i) => [name, i]));
const $ = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const BOX = {stage: [300, 42], block: [240, 30], layer: [118, 34]}, GAP = 26, MIDDLE = 165;
let version, open, matches, places;

function make(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
const short = n => n >= 1e9 ? (n / 1e9).toPrecision(3) + " G" : n >= 1e6 ? (n / 1e6).toPrecision(3) + " M"
  : n >= 1e3 ? (n / 1e3).toPrecision(3) + " k" : String(n);
const whole = n => n.toLocaleString("en");
const shape = text => text.replaceAll(" x ", "×");

// ---- the model of the page ---------------------------------------------------------------------------------------------
function load(number) {
  const rows = NET.versions[number].layers.map(row => Object.fromEntries(NET.columns.map((name, i) => [name, row[i]])));
  rows.forEach((row, i) => { row.number = i; row.readers = []; });
  rows.forEach(row => row.reads.forEach(i => rows[i].readers.push(row.number)));
  const stages = new Map();
  for (const row of rows) {
    if (!stages.has(row.stage)) stages.set(row.stage, new Map());
    const blocks = stages.get(row.stage);
    if (!blocks.has(row.block)) blocks.set(row.block, []);
    blocks.get(row.block).push(row.number);
  }
  version = {number, rows, stages, shortcuts: NET.versions[number].shortcuts};
  open = open || new Set([...stages].filter(([, blocks]) => NET.blocks <= 40 && !plainStage(blocks)).map(([s]) => "stage " + s));
}
// A stem or a head: one block, without a shortcut, that needs no box of its own.
function plainStage(blocks) { return blocks.size === 1 && !version.shortcuts[[...blocks.keys()][0]]; }
function sum(numbers, key) { return numbers.reduce((total, i) => total + version.rows[i][key], 0); }
function last(numbers) {          // where a part ends: its last layer with a place in the image
  const placed = numbers.filter(i => version.rows[i].field !== "all");
  return version.rows[placed.length ? placed.at(-1) : numbers.at(-1)];
}

// ---- drawing ------------------------------------------------------------------------------------------------------------
function draw() {
  const groups = make("g", {}), lines = make("g", {});
  let y = 8, width = 2 * MIDDLE, before = null;
  places = new Map();
  const link = (top, label) => {
    if (before !== null) {
      lines.append(make("path", {class: "edge", d: `M${MIDDLE} ${before}V${top - 1}`, "marker-end": "url(#arrow)"}));
      if (label) lines.append(make("text", {class: "small", x: MIDDLE + 6, y: before + 16}, shape(label)));
    }
  };
  let label = "";
  for (const [name, blocks] of version.stages) {
    const numbers = [...blocks.values()].flat(), id = "stage " + name;
    link(y, label);
    groups.append(box(id, "stage", MIDDLE, y, name, `${blocks.size > 1 ? blocks.size + " blocks, " : ""}${numbers.length} layers`,
      `${short(sum(numbers, "params"))} parameters, ${short(sum(numbers, "macs"))} MACs`, numbers));
    y += BOX.stage[1];
    before = y;
    label = open.has(id) ? "" : version.rows[numbers.at(-1)].output;
    y += GAP;
    if (!open.has(id)) continue;
    if (plainStage(blocks)) {
      const [height, right] = drawBlock([...blocks.keys()][0], numbers, null, y - GAP, groups, lines);
      width = Math.max(width, right);
      y += height;
      before = y - GAP;
      label = version.rows[numbers.at(-1)].output;
      continue;
    }
    for (const [block, members] of blocks) {
      const key = "block " + block;
      link(y, label);
      if (open.has(key)) {
        const [height, right] = drawBlock(block, members, key, y, groups, lines);
        width = Math.max(width, right);
        y += height;
      } else {
        const cut = version.shortcuts[block];
        groups.append(box(key, "block", MIDDLE, y, block, `${members.length} layers`, "", members));
        if (cut) lines.append(arc(MIDDLE - 60, y - 12, y + BOX.block[1] + 12, MIDDLE - BOX.block[0] / 2 - 16, cut));
        y += BOX.block[1];
      }
      before = y;
      label = version.rows[members.at(-1)].output;
      y += GAP;
    }
  }
  const svg = make("svg", {width, height: y, viewBox: `0 0 ${width} ${y}`, role: "group", "aria-label": "the net"},
    make("defs", {}, make("marker", {id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto"},
      make("path", {d: "M0 0L8 4L0 8z"}))), lines, groups);
  const focused = document.activeElement?.dataset?.id;
  $("graph").replaceChildren(svg);
  if (focused && places.has(focused)) places.get(focused).focus({preventScroll: true});
  mark();
}
function arc(x, top, bottom, left, cut) {
  return make("path", {class: cut.identity ? "identity" : "projection",
    d: `M${MIDDLE} ${top}H${left + 10}Q${left} ${top} ${left} ${top + 10}V${bottom - 10}Q${left} ${bottom} ${left + 10} ${bottom}H${MIDDLE}`});
}
function box(id, kind, x, y, title, note, below, numbers, row) {
  const [w, h] = BOX[kind];
  const g = make("g", {class: `box ${kind}`, tabindex: 0, role: "button", "data-id": id,
    "aria-label": [title, note, below].filter(Boolean).join(", ")},
    make("rect", {x: x - w / 2, y, width: w, height: h}));
  if (row) g.append(make("rect", {class: row.group, x: x - w / 2 + 4, y: y + 6, width: 4, height: h - 12, style: "stroke: none; rx: 2"}));
  else g.setAttribute("aria-expanded", open.has(id));
  const left = x - w / 2 + (row ? 14 : 12), two = row || below;
  g.append(make("text", {x: left, y: y + (two ? (row ? 14 : 17) : 19), class: row ? "" : "bold"}, fit(title, row ? 16 : 24)));
  if (row) g.append(make("text", {x: left, y: y + 27, class: "small"}, fit(note, 20)));
  else g.append(make("text", {x: x + w / 2 - 26, y: y + (below ? 17 : 19), class: "small", "text-anchor": "end"}, note),
    make("text", {x: x + w / 2 - 18, y: y + (below ? 17 : 19)}, open.has(id) ? "−" : "+"));
  if (below) g.append(make("text", {x: left, y: y + 33, class: "small"}, below));
  g.details = () => row ? details(row) : sums(title, numbers);
  g.numbers = numbers;
  places.set(id, g);
  return g;
}
const fit = (text, length) => text.length > length ? text.slice(0, length - 1) + "…" : text;

// A block's layers in ranks, a column for each branch; gives [height, right edge].
function drawBlock(block, members, key, top, groups, lines) {
  const inside = new Set(members), rank = new Map(), column = new Map(), taken = new Set(), cut = version.shortcuts[block];
  const side = new Set(cut ? cut.path : []);
  for (const i of members) {
    const above = version.rows[i].reads.filter(r => inside.has(r));
    rank.set(i, above.length ? Math.max(...above.map(r => rank.get(r))) + 1 : 0);
    let place = side.has(i) ? 1 : above.length ? Math.min(...above.filter(r => !side.has(r)).map(r => column.get(r)), 99) : 0;
    if (place === 99) place = 0;
    while (taken.has(rank.get(i) + "/" + place) || (cut && cut.path.length && place === 1 && !side.has(i))) place++;
    taken.add(rank.get(i) + "/" + place);
    column.set(i, place);
  }
  const [w, h] = BOX.layer, step = h + GAP, columns = Math.max(...column.values()) + 1;
  const x = i => MIDDLE + column.get(i) * (w + 16), y = i => top + 34 + rank.get(i) * step;
  const height = 34 + (Math.max(...rank.values()) + 1) * step - GAP + 10, right = MIDDLE + (columns - 1) * (w + 16) + w / 2 + 16;
  lines.append(make("rect", {class: "frame", x: MIDDLE - w / 2 - 42, y: top, width: right - 8 - (MIDDLE - w / 2 - 42), height}));
  if (key) {
    const head = box(key, "block", MIDDLE + 12, top, block, `${members.length} layers`, "", members);
    head.querySelector("rect").setAttribute("height", 24);
    head.querySelectorAll("text").forEach(t => t.setAttribute("y", top + 16));
    groups.append(head);
  }
  for (const i of members) {
    const row = version.rows[i], ends = row.readers.some(r => !inside.has(r)) || !row.readers.length;
    for (const r of row.reads.filter(r => inside.has(r))) {
      const shortcut = cut && (side.has(i) || (side.has(r) && i === cut.end));
      lines.append(curve(x(r), y(r) + h, x(i), y(i), rank.get(i) - rank.get(r), shortcut && cut, w));
    }
    if (row.reads.some(r => !inside.has(r))) {
      if (cut && i === cut.end && !cut.path.length) {
        const left = MIDDLE - w / 2 - 26;
        lines.append(make("path", {class: cut.identity ? "identity" : "projection",
          d: `M${MIDDLE} ${top + 29}H${left + 8}Q${left} ${top + 29} ${left} ${top + 37}V${y(i) + h / 2 - 8}Q${left} ${y(i) + h / 2} ${left + 8} ${y(i) + h / 2}H${x(i) - w / 2 - 1}`}));
      }
      if (!(cut && i === cut.end)) lines.append(curve(MIDDLE, top + (key ? 24 : 0), x(i), y(i), rank.get(i) + 1, side.has(i) && cut, w));
    }
    if (ends && row.readers.length) lines.append(curve(x(i), y(i) + h, MIDDLE, top + height, 1, null, w));
    if (!ends) lines.append(make("text", {class: "small", x: x(i) + 5, y: y(i) + h + 11}, shape(row.output)));
    const name = row.name.startsWith(block + "_") ? row.name.slice(block.length + 1) : row.name.split("/").at(-1);
    groups.append(box("layer " + i, "layer", x(i), y(i), name, row.description || row.kind, "", [i], row));
  }
  return [height, right];
}
// From the foot of one box to the head of another; past others, around them on the right.
function curve(x0, y0, x1, y1, ranks, cut, w) {
  const kind = cut ? (cut.identity ? "identity" : "projection") : "edge", end = kind === "edge" ? {"marker-end": "url(#arrow)"} : {};
  const h = BOX.layer[1], half = Math.min(20, (y1 - y0) / 2), lane = x0 + w / 2 + 9, y = y1 + h / 2;
  const d = x0 === x1 && ranks > 1 ? `M${x0 + w / 2} ${y0 - h / 2}H${lane - 5}Q${lane} ${y0 - h / 2} ${lane} ${y0 - h / 2 + 5}V${y - 5}Q${lane} ${y} ${lane - 5} ${y}H${x1 + w / 2 + 1}`
    : x0 === x1 ? `M${x0} ${y0}V${y1 - 1}`
    : x0 > x1 && ranks > 1 ? `M${x0} ${y0}V${y - 8}Q${x0} ${y} ${x0 - 8} ${y}H${x1 + w / 2 + 1}`
    : ranks > 1 ? `M${x0} ${y0}C${x0} ${y0 + half} ${x1} ${y0} ${x1} ${y0 + half + 6}V${y1 - 1}`
    : `M${x0} ${y0}C${x0} ${y0 + half} ${x1} ${y1 - half} ${x1} ${y1 - 1}`;
  return make("path", {class: kind, d, ...end});
}

// ---- details ------------------------------------------------------------------------------------------------------------
function details(row) {
  const facts = [["kind", row.kind], ["does", row.description], ["output", shape(row.output)], ["parameters", whole(row.params)], ["MACs", whole(row.macs)],
    ["activations", whole(row.activations)], ["receptive field", row.field], ["stride", row.stride]];
  return [row.name, facts.filter(([, value]) => value !== "")];
}
function sums(title, numbers) {
  const end = last(numbers), facts = ["params", "macs", "activations"].map(key => [{params: "parameters", macs: "MACs"}[key] || key, whole(sum(numbers, key))]);
  const cut = version.shortcuts[title];
  return [title, [["layers", numbers.length], ["output", shape(version.rows[numbers.at(-1)].output)], ...facts,
    ["receptive field", end.field], ["stride", end.stride], ...(cut ? [["shortcut", cut.identity ? "identity" : "projection"]] : [])]];
}
function tip(element, x, y) {
  const [title, facts] = element.details(), list = document.createElement("dl"), head = document.createElement("b");
  for (const [name, value] of facts) {
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = value;
    list.append(dt, dd);
  }
  head.textContent = title;
  $("tip").replaceChildren(head, list);
  $("tip").hidden = false;
  const {width, height} = $("tip").getBoundingClientRect();
  $("tip").style.left = Math.max(4, Math.min(x + 14, innerWidth - width - 6)) + "px";
  $("tip").style.top = Math.max(4, y + 14 + height > innerHeight ? y - height - 10 : y + 14) + "px";
}

// ---- the table ----------------------------------------------------------------------------------------------------------
function fill() {
  const body = $("layers").tBodies[0], cell = (row, text, value) => {
    const td = row.insertCell();
    td.textContent = text;
    if (value !== undefined) td.dataset.value = value;
    return td;
  };
  const rows = document.createElement("tbody");
  for (const row of version.rows) {
    const tr = rows.insertRow();
    tr.dataset.number = row.number;
    tr.tabIndex = 0;
    cell(tr, row.name).title = row.name;
    cell(tr, row.kind);
    cell(tr, row.stage);
    cell(tr, shape(row.output), row.size);
    for (const key of ["params", "macs", "activations"]) cell(tr, whole(row[key]), row[key]);
    cell(tr, row.field, row.field === "all" ? Infinity : parseFloat(row.field));
    cell(tr, row.stride, row.stride === "" ? "" : parseFloat(row.stride));
  }
  body.replaceWith(rows);
  for (const [id, key] of [["kind", "kind"], ["stage", "stage"]]) {
    const chosen = $(id).value, values = [...new Set(version.rows.map(row => row[key]))];
    $(id).replaceChildren(new Option(`every ${id}`, ""), ...values.map(value => new Option(value, value)));
    $(id).value = values.includes(chosen) ? chosen : "";
  }
  const sorted = [...$("layers").tHead.rows[0].cells].findIndex(head => head.hasAttribute("aria-sort"));
  if (sorted >= 0) sortRows($("layers"), sorted, $("layers").tHead.rows[0].cells[sorted].getAttribute("aria-sort") === "ascending");
}
function search() {
  const text = $("search").value.trim().toLowerCase();
  const left = filterRows($("layers"), text, [[1, $("kind").value], [2, $("stage").value]]);
  $("left").textContent = `${left} of ${version.rows.length} layers`;
  const shown = new Set([...$("layers").tBodies[0].rows].filter(row => !row.hidden).map(row => +row.dataset.number));
  matches = shown.size < version.rows.length ? shown : null;
  mark();
}
function mark() {
  for (const element of places.values()) {
    const hit = matches && element.numbers.some(i => matches.has(i));
    element.classList.toggle("hit", Boolean(hit));
    element.classList.toggle("far", Boolean(matches) && !hit);
  }
}
function reveal(number) {
  const row = version.rows[number];
  open.add("stage " + row.stage);
  open.add("block " + row.block);
  draw();
  const element = places.get("layer " + number);
  element.scrollIntoView({block: "center", inline: "nearest"});
  choose(number);
  return element;
}
function choose(number) {
  document.querySelectorAll(".on").forEach(element => element.classList.remove("on"));
  places.get("layer " + number)?.classList.add("on");
  const row = [...$("layers").tBodies[0].rows].find(r => +r.dataset.number === number);
  row.classList.add("on");
  const pane = row.closest(".pane");
  pane.scrollTop = row.offsetTop - pane.clientHeight / 2;
}

// ---- what a person does -------------------------------------------------------------------------------------------------
function toggle(element, wanted) {
  const id = element.dataset.id;
  if (id.startsWith("layer ")) return choose(+id.slice(6));
  if (wanted === undefined ? open.has(id) : !wanted) open.delete(id);
  else open.add(id);
  draw();
}
function show(number) {
  load(number);
  document.querySelectorAll("[data-version]").forEach(b => b.setAttribute("aria-pressed", +b.dataset.version === number));
  draw();
  fill();
  search();
}
const target = event => event.target.closest?.(".box");
$("graph").addEventListener("click", event => { const element = target(event); if (element) toggle(element); });
$("graph").addEventListener("pointermove", event => {
  const element = target(event);
  if (element) tip(element, event.clientX, event.clientY);
  else $("tip").hidden = true;
});
$("graph").addEventListener("pointerleave", () => { $("tip").hidden = true; });
$("graph").addEventListener("focusin", event => {
  const element = target(event);
  if (!element?.matches(":focus-visible")) return;
  const {right, top} = element.getBoundingClientRect();
  tip(element, right, top);
});
$("graph").addEventListener("focusout", () => { $("tip").hidden = true; });
$("graph").addEventListener("keydown", event => {
  const element = target(event), boxes = [...$("graph").querySelectorAll(".box")].sort((a, b) => order(a) - order(b));
  const at = boxes.indexOf(element);
  const act = {Enter: () => toggle(element), " ": () => toggle(element), ArrowRight: () => toggle(element, true),
    ArrowLeft: () => toggle(element, false), ArrowDown: () => boxes[at + 1]?.focus(), ArrowUp: () => boxes[at - 1]?.focus()}[event.key];
  if (act) { event.preventDefault(); act(); }
});
const order = element => { const {y, x} = element.getBBox(); return y * 1e4 + x; };
$("layers").addEventListener("click", event => { const row = event.target.closest("tbody tr"); if (row) reveal(+row.dataset.number); });
$("layers").addEventListener("keydown", event => {
  const row = event.target.closest("tbody tr");
  if (row && event.key === "Enter") reveal(+row.dataset.number).focus();
});
for (const id of ["search", "kind", "stage"]) $(id).addEventListener("input", search);
$("search").addEventListener("keydown", event => {
  if (event.key === "Enter" && matches?.size) reveal(Math.min(...matches));
  if (event.key === "Escape") { $("search").value = ""; search(); }
});
document.addEventListener("keydown", event => {
  if (event.key === "/" && !event.target.matches("input, select")) { event.preventDefault(); $("search").focus(); }
});
$("expand").addEventListener("click", () => {
  for (const [stage, blocks] of version.stages) { open.add("stage " + stage); for (const block of blocks.keys()) open.add("block " + block); }
  draw();
});
$("collapse").addEventListener("click", () => { open.clear(); draw(); });
document.querySelectorAll("[data-version]").forEach(b => b.addEventListener("click", () => show(+b.dataset.version)));
document.addEventListener("DOMContentLoaded", () => show(0));
