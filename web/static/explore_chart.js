// The chart of the explorer: uPlot in place of the server's SVG, over the points of the same address.
// Crosshair with values, drag to zoom, lines isolated by the legend, exemplars that show their trace.
/* global uPlot */

/** Lines named beside the crosshair. */
const NAMED_MAX = 12;
const HEIGHT = 316;
/** Pixels around an exemplar that count as on it. */
const REACH = 8;
/** Seconds around an exemplar in which its trace is looked for. */
const AROUND_S = 3600;

const figure = document.querySelector("figure.plot[data-points]");
if (figure && window.uPlot) draw(figure);

async function draw(figure) {
  let answer;
  try {
    const response = await fetch(figure.dataset.points, { headers: { accept: "application/json" } });
    if (!response.ok) return;
    answer = await response.json();
  } catch { return; /* the server's picture stays */ }
  if (!answer.series.length) return;
  const chart = new Chart(figure, answer);
  chart.make();
  // Canvas has no style of its own: colours are read again when they change.
  matchMedia("(prefers-color-scheme:dark)").addEventListener("change", () => chart.make());
  new ResizeObserver(() => chart.resize()).observe(figure);
}

/** A value with its unit, as the server writes it (pages/explore/value.rs). */
function text(value, unit, short = false) {
  if (value == null) return "–";
  const perSecond = unit.endsWith("/s");
  const base = perSecond ? unit.slice(0, -2) : unit;
  const size = Math.abs(value);
  const body = { s: seconds, By: bytes, "1": (v) => `${number(v * 100)} %`, "%": (v) => `${number(v)} %` }[base];
  let out = body ? body(size) : base ? `${number(size)} ${base}` : number(size);
  if (short) out = out.replace(/^(\d+)\.(\d*?)0+(?=\D|$)/, (_, whole, rest) => (rest ? `${whole}.${rest}` : whole));
  return `${value < 0 ? "−" : ""}${out}${perSecond ? "/s" : ""}`;
}
function significant(v) {
  return v < 0.0995 ? v.toFixed(4) : v < 0.9995 ? v.toFixed(3) : v < 9.995 ? v.toFixed(2) : v < 99.95 ? v.toFixed(1) : v.toFixed(0);
}
function number(v) {
  if (v < 10_000 && Number.isInteger(v)) return String(v).replace(/(\d)(\d{3})$/, "$1\u2009$2");
  if (v < 0.001 || v >= 1e15) return v.toExponential(2).replace("+", "");
  for (const [unit, scale] of [["", 1], [" k", 1e3], [" M", 1e6], [" G", 1e9]]) {
    if (v / scale < 999.5) return significant(v / scale) + unit;
  }
  return `${significant(v / 1e12)} T`;
}
function seconds(v) {
  if (v === 0) return "0 s";
  for (const [unit, scale] of [["ns", 1e9], ["µs", 1e6], ["ms", 1e3]]) {
    if (v * scale < 999.5) return `${significant(v * scale)} ${unit}`;
  }
  if (v < 59.95) return `${significant(v)} s`;
  const two = (n) => String(Math.floor(n)).padStart(2, "0");
  if (v < 3600) return `${Math.floor(v / 60)} m ${two(v % 60)} s`;
  if (v < 86400) return `${Math.floor(v / 3600)} h ${two((v % 3600) / 60)} m`;
  return `${Math.floor(v / 86400)} d ${Math.floor((v % 86400) / 3600)} h`;
}
function bytes(v) {
  if (v < 1024) return `${number(v)} B`;
  let scaled = v / 1024;
  for (const unit of ["KiB", "MiB", "GiB", "TiB"]) {
    if (scaled < 999.5) return `${significant(scaled)} ${unit}`;
    scaled /= 1024;
  }
  return `${significant(scaled)} PiB`;
}

class Chart {
  constructor(figure, answer) {
    this.figure = figure;
    this.answer = answer;
    this.stack = "stack" in figure.dataset;
    this.log = "log" in figure.dataset;
    this.rows = new Map([...document.querySelectorAll(".leg [data-line]")].map((row) => [row.dataset.line, row]));
    const only = new URLSearchParams(location.search).getAll("only").filter((id) => this.rows.has(id));
    this.only = new Set(only);
    this.exemplars = answer.exemplars.filter((one) => one.value != null);
    this.previews = new Map();
    this.tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
    figure.append(this.tip);
    this.legend();
    this.zooming();
  }

  style(name) {
    return getComputedStyle(this.figure).getPropertyValue(name).trim();
  }

  /** The colour that a class gives, as a canvas takes it. */
  colour(variable, name = "") {
    const probe = document.createElement("i");
    probe.className = name;
    probe.style.color = `var(${variable})`;
    this.figure.append(probe);
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
  }

  shown(id) {
    return !this.only.size || this.only.has(id);
  }

  /** Values as drawn: on top of each other in a stack. */
  columns() {
    const raw = this.answer.series.map((one) => one.values);
    if (!this.stack) return raw;
    const sums = this.answer.times.map(() => 0);
    return raw.map((values, at) => this.shown(this.answer.series[at].id) ? values.map((value, n) => (sums[n] += value ?? 0)) : values.map(() => null));
  }

  make() {
    const { answer, figure } = this;
    const held = this.plot;
    const unit = answer.unit;
    const [line, muted, accent] = [this.colour("--line"), this.colour("--muted"), this.colour("--accent")];
    const phone = innerWidth <= 640;
    const axis = { stroke: muted, font: "12px Plex Mono, monospace", grid: { stroke: line, width: 1 }, ticks: { show: false } };
    const zone = document.documentElement.dataset.zone || "UTC";
    const series = answer.series.map((one, at) => {
      const row = this.rows.get(one.id)?.querySelector(".key");
      const name = row ? row.className.replace("key", "").trim() : `svc-${(at % 8) + 1}`;
      const stroke = this.colour("--svc", name.split(" ")[0]);
      return {
        label: one.name, stroke, width: 1.5, show: this.shown(one.id), spanGaps: false,
        dash: name.includes("dash") ? [6, 3] : name.includes("dots") ? [2, 3] : undefined,
        fill: this.stack ? stroke.replace(/^rgb\((.*)\)$/, "rgba($1,.18)") : undefined,
        points: { show: (plot, n, from, to) => to - from < 2 },
      };
    });
    const options = {
      width: figure.clientWidth, height: HEIGHT, series: [{}, ...series],
      tzDate: (at) => uPlot.tzDate(new Date(at * 1e3), zone),
      legend: { show: false },
      cursor: { drag: { x: true, y: false, setScale: false }, sync: { key: "explore" }, points: { size: 6 }, y: false },
      scales: { x: { range: [answer.start, answer.end] }, y: this.log ? { distr: 3 } : { range: (plot, low, high) => span(low, high) } },
      axes: [
        { ...axis, space: 90, size: 28, values: [[86400, "{DD} {MMM}", null, null, null, null, null, null, 1], [60, "{HH}:{mm}", null, null, null, null, null, null, 1], [0.001, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1]] },
        { ...axis, size: (plot, labels) => width(labels, phone), space: 48, values: (plot, ticks) => ticks.map((value) => (value == null ? "" : text(value, unit, true))), incrs: unit.startsWith("By") ? powers() : undefined },
      ],
      hooks: { setSelect: [(plot) => this.zoom(plot)], setCursor: [(plot) => this.point(plot)], draw: [() => this.diamonds()] },
    };
    this.accent = accent;
    const selected = held?.cursor.idx;
    held?.destroy();
    figure.classList.add("live");
    this.plot = new uPlot(options, [answer.times, ...this.columns()], figure);
    if (selected != null) this.diamonds();
  }

  resize() {
    if (this.plot && this.plot.width !== this.figure.clientWidth) this.plot.setSize({ width: this.figure.clientWidth, height: HEIGHT });
  }

  /** The server's diamonds move to where this chart's values are; they stay links. */
  diamonds() {
    if (!this.plot) return;
    const { left, top, width, height } = this.plot.bbox;
    const ratio = devicePixelRatio || 1;
    const box = this.figure.querySelector(".psvg");
    const layer = box?.querySelector(".pdia");
    if (!layer) return;
    Object.assign(box.style, { left: `${left / ratio}px`, top: `${this.plot.root.offsetTop + top / ratio}px`, width: `${width / ratio}px`, height: `${height / ratio}px` });
    layer.style.height = `${height / ratio}px`;
    const named = this.exemplars.filter((one) => one.trace_id);
    for (const [n, mark] of [...layer.querySelectorAll(":scope>svg")].entries()) {
      const one = named[n];
      if (!one) continue;
      const clamp = (value, most) => Math.min(most, Math.max(0, value));
      mark.setAttribute("x", clamp(this.plot.valToPos(one.at, "x"), width / ratio));
      mark.setAttribute("y", clamp(this.plot.valToPos(one.value, "y"), height / ratio));
      if (mark.dataset.bound) continue;
      mark.dataset.bound = "1";
      const link = mark.querySelector("a");
      for (const type of ["pointerenter", "focus"]) link.addEventListener(type, () => this.preview(one, mark));
      for (const type of ["pointerleave", "blur"]) link.addEventListener(type, () => { this.previewing = null; this.tip.hidden = true; });
    }
  }

  /** What the trace of an exemplar is, asked once. */
  async preview(one, mark) {
    this.previewing = one;
    const head = `${text(one.value, one.unit)} in trace ${one.trace_id.slice(0, 8)}`;
    const place = [Number(mark.getAttribute("x")), Number(mark.getAttribute("y"))];
    this.show(place, [head, this.previews.get(one.trace_id) ?? "…"]);
    if (this.previews.has(one.trace_id)) return;
    const url = new URL("/api/v1/traces", location.href);
    const at = (seconds) => String(Math.round(seconds * 1000));
    for (const [name, value] of Object.entries({ query: `trace:${one.trace_id}`, limit: "1", start: at(one.at - AROUND_S), end: at(one.at + AROUND_S) })) url.searchParams.set(name, value);
    let words = "this trace is not kept here";
    try {
      const trace = (await (await fetch(url)).json()).traces?.[0];
      if (trace) words = `${trace.root_service} ${trace.root_name}, ${seconds(Number(trace.duration_ns) / 1e9)}, ${trace.span_count} spans, ${trace.error_count} errors`;
    } catch { words = "its trace could not be asked for"; }
    this.previews.set(one.trace_id, words);
    if (this.previewing === one) this.show(place, [head, words]);
  }

  show([x, y], lines) {
    const list = document.createElement("ul");
    for (const line of lines) {
      const item = document.createElement("li");
      if (typeof line === "string") item.textContent = line; else item.append(...line);
      list.append(item);
    }
    this.tip.replaceChildren(list);
    this.tip.hidden = false;
    const { left } = this.plot.over.getBoundingClientRect();
    const at = left - this.figure.getBoundingClientRect().left + x;
    const room = this.figure.clientWidth - this.tip.offsetWidth;
    const beside = at + 16 > room ? at - this.tip.offsetWidth - 12 : at + 16;
    Object.assign(this.tip.style, { left: `${Math.max(0, Math.min(room, beside))}px`, top: `${Math.max(0, y - 8)}px` });
  }

  /** The values at the crosshair, the largest first. */
  point(plot) {
    if (this.previewing) return;
    const { idx, left, top } = plot.cursor;
    if (idx == null || left < 0) { this.tip.hidden = true; return; }
    const found = this.answer.series
      .map((one, at) => ({ one, value: one.values[idx], far: Math.abs(plot.valToPos(plot.data[at + 1][idx] ?? NaN, "y") - top) }))
      .filter(({ one, value }) => value != null && this.shown(one.id));
    const near = found.toSorted((a, b) => a.far - b.far).slice(0, NAMED_MAX).sort((a, b) => b.value - a.value);
    const rows = near.map(({ one, value, far }) => {
      const key = document.createElement("span");
      key.className = this.rows.get(one.id)?.querySelector(".key").className ?? "key";
      const name = Object.assign(document.createElement("span"), { textContent: one.name });
      key.append(name);
      const unit = this.answer.expressions[one.expression].unit;
      const shown = Object.assign(document.createElement("b"), { textContent: text(value, unit) });
      if (far < REACH) shown.className = "on";
      return [key, shown];
    });
    const zone = document.documentElement.dataset.zone || "UTC";
    const when = new Date(this.answer.times[idx] * 1e3).toLocaleString("en-GB", { timeZone: zone, day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
    const rest = found.length - near.length;
    this.show([left, 8], [when, ...rows, ...(rest > 0 ? [`and ${rest} more`] : [])]);
  }

  /** Dragging leads to the same page over what was dragged over; Escape goes back. */
  zoom(plot) {
    const { left, width } = plot.select;
    if (width < 4) return;
    const at = (pixels) => new Date(plot.posToVal(pixels, "x") * 1e3).toISOString();
    const url = new URL(location.href);
    url.searchParams.delete("range");
    url.searchParams.set("start", at(left));
    url.searchParams.set("end", at(left + width));
    sessionStorage.setItem("explore-from", location.href);
    location.assign(url);
  }

  zooming() {
    document.addEventListener("keydown", (event) => {
      const back = sessionStorage.getItem("explore-from");
      if (event.key !== "Escape" || !back || event.target.matches("input,textarea")) return;
      sessionStorage.removeItem("explore-from");
      location.assign(back);
    });
  }

  /** A click in the legend isolates a line or brings all back; with Ctrl it adds and removes. */
  legend() {
    document.querySelector(".leg")?.addEventListener("click", (event) => {
      const link = event.target.closest("[data-line] a, .preset");
      if (!link || event.shiftKey || event.button) return;
      event.preventDefault();
      const id = link.closest("[data-line]")?.dataset.line;
      if (!id) this.only.clear();
      else if (event.ctrlKey || event.metaKey) { if (!this.only.delete(id)) this.only.add(id); }
      else if (this.only.size === 1 && this.only.has(id)) this.only.clear();
      else this.only = new Set([id]);
      for (const [line, row] of this.rows) row.classList.toggle("off", !this.shown(line));
      const url = new URL(location.href);
      url.searchParams.delete("only");
      for (const one of this.only) url.searchParams.append("only", one);
      history.replaceState(null, "", url);
      this.make();
    });
  }
}

/** From zero where that costs little of the height, as the server's scale. */
function span(low, high) {
  if (low == null || high == null) return [0, 1];
  let from = low >= 0 && low <= 0.6 * high ? 0 : low;
  let to = high;
  if (from === to) {
    const room = from === 0 ? 1 : Math.abs(from) * 0.1;
    [from, to] = [from > 0 ? Math.max(0, from - room) : from - room, to + room];
  }
  const room = (to - from) * 0.04;
  return [from === 0 ? 0 : from - room, to === 0 ? 0 : to + room];
}

/** Pixels that the widest label of the value axis takes. */
function width(labels, phone) {
  const longest = Math.max(0, ...(labels ?? []).map((label) => label.length));
  return Math.max(phone ? 52 : 64, Math.ceil(longest * 7.3) + 14);
}

/** Steps between ticks of bytes. */
function powers() {
  return Array.from({ length: 60 }, (_, n) => 2 ** n);
}
