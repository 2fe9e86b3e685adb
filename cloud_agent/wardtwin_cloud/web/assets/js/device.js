// The device page: what it does now, its power over the chosen range with the states behind it, and the figures of both.
import uPlot from "../vendor/uplot/uplot.js";
import { block, context, h, icon, stateMark, t, word } from "./page.js";
import { clock, clockSeconds, dateAndTime, duration, measured, power } from "./format.js";
import { load } from "./history.js";
import { Line, now, showFreshness } from "./line.js";
import { lack } from "./model.js";
import { searchElsewhere } from "./search.js";

const device = block("device");
const silentGateways = new Map();
const element = (id) => document.getElementById(id);
const AXIS = 56;
const RIGHT = 32; // half of "02:43:50", whose tick may stand at the very end; the timeline in style.css ends there too
const FIGURES = 300;
const STATES = 100;

// -- now

function stale() {
  return device.heard_at === null || now() - device.heard_at > device.stale_after_s || silentGateways.get(device.gateway_id) === true;
}

function showNow() {
  const lost = stale() || (device.reported_state === "unknown" && device.reason === "silent");
  const state = lost ? "unknown" : device.reported_state;
  const since = lack(device, stale()) ?? (device.state_since === null ? "" : t("state.since", { time: clock(device.state_since, now()) }));
  const number = (name, value, unit) => h("div", { class: "now-item" }, h("dt", {}, name), h("dd", { class: "num" }, value, unit ? h("span", { class: "unit" }, ` ${unit}`) : null));
  const items = [
    h("div", { class: "now-item" }, h("dt", {}, t("col.state")), h("dd", {}, stateMark(state), h("span", { class: "sub" }, since))),
    number(t("measure.active_power_w"), lost || device.active_power_w === null ? "–" : power(device.active_power_w), lost || device.active_power_w === null ? "" : "W"),
  ];
  if (!lost) {
    for (const name of ["voltage_v", "current_a", "power_factor", "energy_wh"]) {
      if (device.values[name] !== undefined) {
        const [value, unit] = measured(name, device.values[name]);
        items.push(number(t(`measure.${name}`), value, unit));
      }
    }
  }
  const root = element("now");
  const signature = items.map((item) => item.outerHTML).join("");
  if (root.dataset.signature !== signature) {
    root.dataset.signature = signature;
    root.replaceChildren(...items);
  }
  root.classList.toggle("stale", lost);
}

// -- chart

let chart = null;
let shown = null;

function colours() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

function hatch(ctx, colour) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8 * devicePixelRatio;
  const pen = tile.getContext("2d");
  pen.strokeStyle = colour;
  pen.lineWidth = devicePixelRatio;
  pen.beginPath();
  for (const shift of [-1, 0, 1]) {
    pen.moveTo((shift * 8 - 1) * devicePixelRatio, 9 * devicePixelRatio);
    pen.lineTo((shift * 8 + 9) * devicePixelRatio, -1 * devicePixelRatio);
  }
  pen.stroke();
  return ctx.createPattern(tile, "repeat");
}

function bands(u) {
  const colour = colours();
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  for (const row of shown.intervals.shown) {
    const x = u.valToPos(row.from, "x", true);
    const wide = u.valToPos(row.to, "x", true) - x;
    ctx.globalAlpha = row.state === "unknown" ? 0.5 : 0.16;
    ctx.fillStyle = row.state === "unknown" ? hatch(ctx, colour("line-strong")) : colour(`state-${row.state}`);
    ctx.fillRect(x, top, wide, height);
  }
  ctx.restore();
}

function tickTimes(u, splits, axis, space, step) {
  return splits.map((at) => {
    if (step < 60) return clockSeconds(at);
    const text = clock(at, at);
    return step >= 86400 || text === "00:00" ? clock(at, at - 86400 * 2).replace(/ 00:00$/, "") : text;
  });
}

function columns(buckets, bucket) {
  const limit = Math.max(device.stale_after_s, 2 * bucket);
  const [times, mean, least, most] = [[], [], [], []];
  let last = null;
  for (const one of buckets) {
    if (last !== null && one.bucket_start - last - bucket > limit) {
      times.push(last + bucket);
      for (const list of [mean, least, most]) list.push(null);
    }
    times.push(one.bucket_start + bucket / 2);
    mean.push(one.active_power_w);
    least.push(one.active_power_w_min);
    most.push(one.active_power_w_max);
    last = one.bucket_start;
  }
  return [times, least, most, mean];
}

function draw() {
  const root = element("chart");
  const { from, to, buckets, bucket } = shown;
  const height = root.clientHeight;
  if (!buckets.length) {
    chart?.destroy();
    chart = null;
    root.replaceChildren(h("p", { class: "quiet chart-note" }, t("device.no_readings")));
    return;
  }
  const values = columns(buckets, bucket);
  if (chart) {
    chart.setData(values, false);
    chart.setScale("x", { min: from, max: to });
    return;
  }
  const colour = colours();
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { stroke: colour("ink-3"), font, grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
  const readout = h("p", { class: "readout num" });
  root.replaceChildren(readout);
  chart = new uPlot({
    width: root.clientWidth,
    height,
    padding: [12, RIGHT, 0, 0],
    legend: { show: false },
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), context.time_zone),
    scales: { x: { min: from, max: to }, y: { range: (u, low, high) => [Math.min(0, low ?? 0), Math.max(5, (high ?? 0) * 1.08)] } },
    axes: [
      { ...axis, size: 30, space: 72, values: tickTimes },
      { ...axis, size: AXIS, label: "W", labelSize: 0, values: (u, splits) => splits.map((value, n) => (n === splits.length - 1 ? `${value} W` : String(value))) },
    ],
    series: [
      {},
      { label: "min", points: { show: false }, width: 0, stroke: "transparent" },
      { label: "max", points: { show: false }, width: 0, stroke: "transparent" },
      { label: "mean", stroke: colour("ink"), width: 1.5, points: { show: false } },
    ],
    bands: [{ series: [2, 1], fill: colour("chart-range") }],
    cursor: { y: false, points: { show: false } },
    hooks: { drawClear: [bands], setCursor: [(u) => read(u, readout)] },
  }, values, root);
}

function read(u, readout) {
  const n = u.cursor.idx;
  const at = n === null || n === undefined ? null : u.data[0][n];
  if (at === null || u.data[3][n] === null) {
    readout.replaceChildren();
    return;
  }
  const state = shown.intervals.shown.find((row) => row.from <= at && at < row.to)?.state;
  const [least, most, mean] = [u.data[1][n], u.data[2][n], u.data[3][n]];
  const spread = most - least > 0.05 ? ` (${power(least)}–${power(most)})` : "";
  const time = device.range_s > 86400 ? dateAndTime(at) : clockSeconds(at);
  readout.replaceChildren(h("span", {}, time), h("strong", {}, `${power(mean)}\u202fW`), h("span", {}, spread), state ? stateMark(state) : "");
}

function timeline() {
  const { from, to, intervals: { shown: rows } } = shown;
  const root = element("timeline");
  root.replaceChildren(...rows.map((row) => {
    const wide = (row.to - row.from) / (to - from);
    const part = h("span", { class: `span state-${row.state}`, title: `${t(`state.${row.state}`)}, ${clock(row.from, to)} – ${clock(row.to, to)}` },
      wide * root.clientWidth > 26 ? icon(`s-${row.state}`, "shape") : null);
    part.style.left = `${((row.from - from) / (to - from)) * 100}%`;
    part.style.width = `${wide * 100}%`;
    return part;
  }));
  const sums = new Map();
  for (const row of rows) sums.set(row.state, (sums.get(row.state) ?? 0) + row.to - row.from);
  const total = [...sums.values()].reduce((sum, one) => sum + one, 0);
  element("shares").replaceChildren(...[...sums].sort((a, b) => b[1] - a[1]).map(([state, seconds]) => h("li", {}, stateMark(state), h("span", { class: "num quiet" }, `${Math.round((seconds / total) * 100)} % · ${duration(seconds)}`))));
}

function table(heads, rows) {
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": heads[0] }, h("table", { class: "wide" },
    h("thead", {}, h("tr", {}, heads.map(([name, numeric]) => h("th", { scope: "col", class: numeric ? "num" : null }, name)))),
    h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, n) => h("td", { class: heads[n][1] ? "num" : null }, cell)))))));
}

function showStates() {
  const rows = shown.intervals.told.slice(-STATES).reverse();
  const to = shown.to;
  const root = element("states");
  const open = !stale() ? t("age.now") : device.heard_at === null ? t("state.no_data_yet") : t("state.no_data_since", { time: clock(device.heard_at, to) });
  if (!rows.length) {
    root.replaceChildren(h("p", { class: "empty-line" }, t("device.no_states")));
    return;
  }
  root.replaceChildren(table(
    [[t("col.state"), false], [t("col.since"), true], [t("col.until"), true], [t("col.lasted"), true], [t("col.reason"), false]],
    rows.map((row) => [stateMark(row.state), clock(row.since, to), row.until === null ? open : clock(row.until, to), row.until === null && stale() ? "–" : duration((row.until ?? to) - row.since), row.reason ? word("reason", row.reason) : "–"]),
  ));
}

function showFigures() {
  if (!element("figures").open) return;
  const rows = shown.buckets.slice(-FIGURES).reverse();
  element("readings").replaceChildren(
    h("p", { class: "quiet foot" }, t("device.bucket", { n: Number(shown.bucket.toPrecision(2)) })),
    table([[t("col.time"), true], [t("col.power_mean"), true], [t("col.power_min"), true], [t("col.power_max"), true], [t("col.samples"), true]],
      rows.map((row) => [dateAndTime(row.bucket_start), power(row.active_power_w), power(row.active_power_w_min), power(row.active_power_w_max), String(row.samples)])),
  );
}

async function update() {
  try {
    shown = await load(device, Math.min(1200, Math.max(200, Math.round(element("chart").clientWidth))));
  } catch (error) {
    if (!shown) element("chart").replaceChildren(h("p", { class: "quiet chart-note" }, t("device.failed", { reason: error.message })));
    return;
  }
  draw();
  timeline();
  showStates();
  showFigures();
}

function redraw() {
  if (!shown) return;
  chart?.destroy();
  chart = null;
  draw();
  timeline();
}

// -- live

const line = new Line({
  snapshot: (data) => {
    const own = data.devices.find((one) => one.device_id === device.device_id);
    if (own) Object.assign(device, own);
    for (const gateway of data.gateways) silentGateways.set(gateway.gateway_id, gateway.silent);
    showNow();
  },
  delta: (data) => {
    const own = data.devices?.find((one) => one.device_id === device.device_id);
    for (const gateway of data.gateways ?? []) silentGateways.set(gateway.gateway_id, gateway.silent);
    const moved = own && own.state_since !== device.state_since;
    if (own) Object.assign(device, own);
    showNow();
    if (moved) update();
  },
}, () => showFreshness(line));

searchElsewhere();
element("figures").addEventListener("toggle", () => shown && showFigures());
let width = element("chart").clientWidth;
new ResizeObserver(() => {
  if (element("chart").clientWidth !== width) {
    width = element("chart").clientWidth;
    redraw();
  }
}).observe(element("chart"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
showNow();
setInterval(() => {
  showNow();
  showFreshness(line);
}, 1000);
setInterval(() => document.visibilityState === "visible" && update(), device.range_s > 6 * 3600 ? 60_000 : 5_000);
update();
