// The waterfall: a virtual list over the columns of /api/v1/traces/{id}/layout. The server has
// already drawn the header, the minimap and the first rows; this file takes over from there and
// must never need more than those columns (details of a span come as HTML, one at a time).
const page = document.querySelector(".trace"), wf = page?.querySelector(".wf");
const ROW = 26, POOL_MIN = 60, FOLDS_IN_URL = 60;
const $ = (selector, from = page) => from.querySelector(selector);
const esc = text => text.replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);
const svg = (w, body, cls = "") => `<svg class="${cls}" width="${w}" height="26" aria-hidden="true">${body}</svg>`;
const px = n => Math.round(n * 10) / 10;

/** `4.31 ms`: as format.rs writes it. */
function duration(ns) {
  if (ns < 1000) return Math.round(ns) + " ns";
  for (const [size, limit, unit] of [[1e3, 999.5, " µs"], [1e6, 999.5, " ms"], [1e9, 59.95, " s"]]) {
    const v = ns / size;
    if (v < limit) return v.toFixed(v < 9.995 ? 2 : v < 99.95 ? 1 : 0) + unit;
  }
  const s = Math.round(ns / 1e9), two = n => String(n | 0).padStart(2, "0");
  return s < 3600 ? `${s / 60 | 0} m ${two(s % 60)} s` : `${s / 3600 | 0} h ${two(s % 3600 / 60)} m`;
}
/** Calls `move(from, to, over)` with places in px from the left edge of `el` while it is dragged. */
function drag(el, move) {
  let from = null;
  const at = e => e.clientX - el.getBoundingClientRect().left;
  el.onpointerdown = e => { from = at(e); el.setPointerCapture(e.pointerId); };
  el.onpointermove = e => from !== null && move(from, at(e), false);
  el.onpointerup = e => { if (from !== null) move(from, at(e), true); from = null; };
  el.onpointercancel = () => { from = null; };
}

/** The trace: columns by row (preorder) as typed arrays, and the bundles of siblings. */
let T;
function decode(p, { hues, bundles }) {
  const { depth, start_ns, duration_ns, descendants, service, operation } = p.rows, n = depth.length, ints = fill => new Int32Array(n).fill(fill);
  const t = { ...p, n, depth, service, op: operation, start: start_ns, dur: duration_ns, hues: hues.split("."), parent: ints(-1), bundleAt: ints(-1), bad: new Uint8Array(n), badSum: new Int32Array(n + 1) };
  t.end = descendants.map((below, i) => i + 1 + below);
  for (const i of p.errors) t.bad[i] = 1;
  for (let i = 0, path = []; i < n; i++) {
    t.parent[i] = depth[i] ? path[depth[i] - 1] : -1;
    path[depth[i]] = i;
    t.badSum[i + 1] = t.badSum[i] + t.bad[i];
  }
  t.critical.sort((a, b) => a[0] - b[0]);
  t.critRow = t.critical.map(segment => segment[0]);
  const groups = p.groups.map(g => ({ ...g, first: g.rows[0], end: g.rows[1], mark: "g" + g.rows[0] }));
  const left = (bundles.match(/s\d+-\d+/g) || []).map(text => {
    const [first, end] = text.slice(1).split("-").map(Number);
    return { first, end, mark: "s" + first };
  });
  t.bundles = [...left, ...groups].sort((a, b) => a.first - b.first || b.end - a.end); // the enclosing one first
  t.marked = new Map(t.bundles.map((b, k) => [b.mark, ~k]));
  t.bundles.forEach((b, k) => {
    if (t.bundleAt[b.first] < 0) t.bundleAt[b.first] = k;
    b.from = t.start[b.first]; // siblings stand by their start
    for (let i = b.first, to = 0; i < b.end; i = t.end[i]) b.to = to = Math.max(to, t.start[i] + t.dur[i]);
  });
  return t;
}
/** First index of the sorted `list` that is not below `x`. */
function lower(list, x) {
  let a = 0;
  for (let b = list.length; a < b;) { const m = a + b >> 1; if (list[m] < x) a = m + 1; else b = m; }
  return a;
}

// A place is a row (>= 0) or a bundle (~index). Columns by visible line: place, level, the line
// above in the tree, position among siblings and their number.
let open, vis, level, up, pos, size, family, where, count = 0, deepest = 1;
const toggled = new Set();
const slot = p => p < 0 ? T.n + ~p : p;
const isOpen = p => !!open[slot(p)];
const first = p => p < 0 ? T.bundles[~p].first : p, last = p => p < 0 ? T.bundles[~p].end : T.end[p];
const foldable = p => p < 0 || T.end[p] > p + 1;
const seat = p => where[slot(p)];
/** Places by their marks: `12.g40.s7`; marks of another version of the trace are passed over. */
const places = marks => marks.split(".").map(text => T.marked.get(text) ?? (text ? +text : NaN)).filter(p => p < T.n);
function setOpen(p, to) {
  if (isOpen(p) == to || !foldable(p)) return;
  open[slot(p)] = to;
  if (!toggled.delete(p)) toggled.add(p);
}
function rebuild() {
  const path = [-1], seen = [], ends = [];
  count = 0; deepest = 1; where.fill(-1);
  const push = (place, depth) => {
    seen.length = depth + 1;
    vis[count] = place; level[count] = depth; up[count] = path[depth]; pos[count] = seen[depth] = (seen[depth] || 0) + 1;
    path[depth + 1] = count; deepest = Math.max(deepest, depth);
    where[slot(place)] = count++;
  };
  rows: for (let i = 0; i < T.n;) {
    while (ends[ends.length - 1] <= i) ends.pop();
    for (let k = T.bundleAt[i]; k >= 0 && T.bundles[k]?.first === i; k++) {
      push(~k, T.depth[i] + ends.length);
      if (!isOpen(~k)) { i = T.bundles[k].end; continue rows; }
      ends.push(T.bundles[k].end);
    }
    push(i, T.depth[i] + ends.length);
    i = open[i] ? i + 1 : T.end[i];
  }
  family.fill(0, 0, count + 1);
  for (let k = count - 1; k >= 0; k--) size[k] = family[up[k] + 1] ||= pos[k]; // the last one's position is their number
  lines.style.height = count * ROW + "px";
  wf.setAttribute("aria-rowcount", count);
}
/** Opens everything that hides the row. */
function reveal(row) {
  for (let i = T.parent[row]; i >= 0; i = T.parent[i]) setOpen(i, true);
  T.bundles.forEach((b, k) => { if (b.first <= row && row < b.end) setOpen(~k, true); });
  rebuild();
}
/** The line that stands for a place: itself, the closed bundle or the folded row it is in. */
function standIn(p) {
  for (let row = first(p); row >= 0; row = T.parent[row]) {
    if (seat(p) >= 0) return p;
    const k = T.bundles.findIndex((b, k) => b.first <= row && row < b.end && seat(~k) >= 0);
    p = seat(row) >= 0 ? row : k < 0 ? T.parent[row] : ~k;
  }
  return p;
}

// ---- drawing ----
let lines, pool = [], width = 600, zoom, hits = new Uint8Array(0), cur = 0, step = 16;
const base = 28, X = t => (t - zoom[0]) * width / (zoom[1] - zoom[0]);
const rect = (cls, a, b, y = 8, h = 10) => {
  const x = Math.max(-4, X(a)), w = Math.max(2, Math.min(width + 4, X(b)) - x);
  return x > width || X(b) < 0 ? "" : `<rect class="${cls}" x="${px(x)}" y="${y}" width="${px(w)}" height="${h}"/>`;
};
/** Segments of the critical path on rows a..b, merged where they touch on the screen. */
function critical(a, b) {
  const parts = T.critical.slice(lower(T.critRow, a), lower(T.critRow, b)).sort((p, q) => p[1] - q[1]);
  let out = "", [, from, to] = parts[0] || [];
  for (const [, s, e] of parts)
    if (X(s) - X(to) < 1) to = Math.max(to, e);
    else { out += rect("cp", from, to, 19, 2); [from, to] = [s, e]; }
  return parts.length ? out + rect("cp", from, to, 19, 2) : "";
}
function spanBar(i) {
  const s = T.start[i], e = s + T.dur[i], p = T.parent[i], limit = p < 0 ? e : T.start[p] + T.dur[p];
  const crit = critical(i, open[i] ? i + 1 : T.end[i]);
  if (T.bad[i]) {
    const x = px(Math.max(-4, X(s))), w = Math.max(5, px(Math.min(width + 4, X(e)) - x));
    if (x > width || X(e) < 0) return crit;
    const box = `x="${x + .5}" y="8.5" width="${w - 1}" height="9"`;
    return `<rect class="b tint" ${box}/><rect class="x" ${box}/><rect class="b" x="${x}" y="8" width="4" height="10"/>` + crit;
  }
  if (e <= limit) return rect("b", s, e) + crit;
  const cut = Math.max(limit, s + 8 * (zoom[1] - zoom[0]) / width); // it outlives its parent: a thin tail
  return rect("b", s, Math.min(cut, e)) + (cut < e ? rect("b", cut, e, 12, 2) : "") + crit;
}
function groupBar(g) {
  const a = g.from, b = g.to, crit = critical(g.first, g.end);
  if (!g.count) return rect("b rest", a, b) + crit;
  let path = "", edge = -9;
  for (let i = g.first; i < g.end; i = T.end[i]) {
    const x = X(T.start[i]), w = Math.max(1.2, X(T.start[i] + T.dur[i]) - x);
    if (x < edge + 1 || x > width || x + w < 0) continue;
    path += `M${px(x)} 13h${px(w)}`; edge = x + w;
  }
  const note = `▲ N+1 · p95 ${duration(g.p95_ns)} each`, room = note.length * 6.7, x = X(b);
  const text = x + room + 8 < width ? `<text class="n1" x="${px(x + 8)}" y="17">${note}</text>`
    : X(a) > room + 8 ? `<text class="n1" x="${px(X(a) - 8)}" y="17" text-anchor="end">${note}</text>` : "";
  return rect("b soft", a, b) + `<path class="fence" d="${path}"/>` + crit + text;
}
function guides(k) {
  const d = level[k], x = base + d * step;
  let path = d ? `M${x - step} 0V13M${x - step} 13h${step > 8 ? 8 : step - 2}` : "";
  for (let j = k; level[j] > 0; j = up[j]) if (pos[j] < size[j]) path += `M${base + (level[j] - 1) * step} 0V26`;
  if (foldable(vis[k]) && isOpen(vis[k])) path += `M${x} 19V26`;
  return svg(x, `<path d="${path}"/>`, "gd");
}
const ARROW = ["M4 2l4 4-4 4", "M2 4l4 4 4-4"], mark = p => p < 0 ? T.bundles[~p].mark : p;
function draw(el, k) {
  const p = vis[k], g = p < 0 ? T.bundles[~p] : null, i = first(p), fold = foldable(p), opened = isOpen(p), rest = g && !g.count;
  const end = g || !opened ? last(p) : i + 1, bad = T.badSum[end] - T.badSum[i];
  const hue = "svc-" + T.hues[T.service[i]], name = esc(T.operations[T.op[i]]);
  const set = { class: `r${bad ? " bad" : ""}${p === cur ? " sel" : ""}${hits[p] ? " hit" : ""}`, id: "r" + mark(p), "aria-level": level[k] + 1, "aria-posinset": pos[k], "aria-setsize": size[k], "aria-rowindex": k + 1, "aria-selected": p === cur, "aria-expanded": fold ? opened : null };
  for (const key in set) if (set[key] === null) el.removeAttribute(key); else el.setAttribute(key, set[key]);
  el.style.transform = `translateY(${k * ROW}px)`;
  el.innerHTML = `<div role="gridcell" class="lab">${guides(k)}<span class="tw">${fold ? `<svg viewBox="0 0 12 12" aria-hidden="true"><path d="${ARROW[+opened]}"/></svg>` : ""}</span>`
    + (rest ? `<span class="nm rest"><span>+${g.end - g.first} spans folded</span></span>`
      : `<a class="nm ${hue}" tabindex="-1" href="/trace/${T.trace_id}/span/row-${i}"><b>${esc(T.services[T.service[i]].name)}</b><span>${name}</span></a>`)
    + (g?.count ? `<em>×${g.count}</em>` : fold && !opened && !g ? `<em class="more">+${end - i - 1}</em>` : "")
    + (bad ? `<span class="ee"><span class="vh">error</span>${bad > 1 ? bad : ""}<i class="eg"></i></span>` : "")
    + `</div><div role="gridcell" class="tl ${hue}"><span class="vh">starts at +${duration(T.start[i])}</span>${svg("100%", g ? groupBar(g) : spanBar(i))}</div><div role="gridcell" class="du">${duration(g ? g.to - g.from : T.dur[i])}</div>`;
}
/** Draws what the window shows; `all` when folding, zoom or selection changed. */
function paint(all) {
  const from = Math.max(0, Math.floor(wf.scrollTop / ROW) - 8), n = pool.length;
  for (let k = from; k < from + n; k++) {
    const el = pool[k % n];
    el.hidden = k >= count;
    if (!el.hidden && (all || el.k !== k)) draw(el, el.k = k);
  }
  const drawn = seat(cur) >= from && seat(cur) < from + n; // an id that is not there would be an error
  if (drawn) wf.setAttribute("aria-activedescendant", "r" + mark(cur)); else wf.removeAttribute("aria-activedescendant");
}
function axis() {
  const narrow = width < 240, span = zoom[1] - zoom[0], raw = span * (narrow ? 50 : 84) / width, ten = 10 ** Math.floor(Math.log10(raw)), tick = [1, 2, 2.5, 5, 10].find(s => s * ten >= raw) * ten;
  const [unit, size] = zoom[1] < 1e4 ? ["ns", 1] : zoom[1] < 1e7 ? ["µs", 1e3] : zoom[1] < 1e10 ? ["ms", 1e6] : ["s", 1e9];
  let labels = "", grid = "";
  for (let t = Math.ceil(zoom[0] / tick) * tick; t < zoom[1]; t += tick) {
    const x = px(X(t)), final = X(t + tick) > width - 24;
    const text = narrow ? t && duration(t).replace(/\.0+ /, " ") : String(+(t / size).toPrecision(12)).replace(/\B(?=(\d{3})+$)/g, "\u2009") + (final ? " " + unit : "");
    if (x > width - 24) break;
    labels += `<text x="${x + 4}" y="14">${text}</text>`;
    grid += `<line x1="${x}" x2="${x}" y2="100%"/>`;
  }
  $(".t-axis svg").innerHTML = labels;
  $(".wf-grid").innerHTML = grid;
}
function measure() {
  const time = parseFloat(getComputedStyle(page).getPropertyValue("--time")), label = parseFloat(getComputedStyle(page).getPropertyValue("--label"));
  width = Math.max(60, lines.clientWidth - time - label);
  step = Math.max(2, Math.min(label < 240 ? 10 : 16, Math.floor(label / 2 / deepest)));
  const need = Math.max(POOL_MIN, Math.ceil(wf.clientHeight / ROW) + 16);
  while (pool.length < need) { const el = document.createElement("div"); el.setAttribute("role", "row"); pool.push(el); lines.append(el); }
}
const redraw = () => { axis(); paint(true); viewport(); remember(); };

// ---- zoom ----
function zoomTo(a, b) {
  const total = T.duration_ns;
  [a, b] = [Math.max(0, Math.min(a, b)), Math.min(total * 1.01, Math.max(a, b))];
  zoom = b - a < 100 || b - a > total * .995 ? [0, total * 1.01 || 1] : [a, b];
  redraw();
}
function viewport() {
  const total = T.duration_ns || 1, a = 100 * zoom[0] / total, b = Math.min(100, 100 * zoom[1] / total);
  $(".t-map .view").innerHTML = `<rect class="off" width="${a}%" height="44"/><rect class="off" x="${b}%" width="${100 - b}%" height="44"/>`
    + [a, b].map(x => `<line class="edge" x1="${x}%" x2="${x}%" y2="44"/><rect class="grip" x="${x}%" y="14" width="3" height="16"/>`).join("");
}
const map = $(".t-map");
function dragMap(from, to, over) {
  const [a, b] = [from, to].map(x => Math.max(0, Math.min(1, x / map.clientWidth))).sort((p, q) => p - q);
  $(".t-map .drag").innerHTML = over ? "" : `<rect x="${a * 100}%" width="${(b - a) * 100}%" height="44"/>`;
  if (over && Math.abs(from - to) > 4) zoomTo(a * T.duration_ns, b * T.duration_ns);
}

const drawer = $(".t-drawer");
let wanted, timer, saving;
function select(place, open) {
  cur = place;
  const top = seat(place) * ROW, room = wf.clientHeight;
  if (top < wf.scrollTop) wf.scrollTop = top - ROW; else if (top + ROW > wf.scrollTop + room) wf.scrollTop = top - room + 2 * ROW;
  paint(true);
  if (open || !drawer.hidden) show(place);
}
/** Jumps to a row wherever it is folded, in the middle of the window. */
function jump(row) {
  if (where[row] < 0) { reveal(row); measure(); axis(); }
  const top = where[row] * ROW;
  if (top < wf.scrollTop || top + ROW > wf.scrollTop + wf.clientHeight) wf.scrollTop = top - wf.clientHeight / 2;
  select(row, true); remember();
}
/** Fetches a row's span into the drawer; only the last one where keys are held down. */
function show(row) {
  if (row < 0) return;
  clearTimeout(timer); wanted?.abort();
  timer = setTimeout(async () => {
    wanted = new AbortController();
    const body = $(".s", drawer), url = `/trace/${T.trace_id}/span/row-${row}${location.search}`;
    try {
      const answer = await fetch(url, { headers: { "hx-request-type": "partial" }, signal: wanted.signal });
      if (!answer.ok) throw Error(`answer ${answer.status}`);
      body.outerHTML = await answer.text();
      hideDrawer(false); drawer.scrollTop = 0; remember();
    } catch (error) {
      if (error.name != "AbortError") { body.textContent = `The span was not loaded (${error.message}). Press Enter to try again.`; hideDrawer(false); }
    }
  }, 40);
}
function hideDrawer(hide) {
  if (drawer.hidden != hide) { drawer.hidden = hide; page.classList.toggle("split", !hide); measure(); redraw(); }
}
const resize = (from, to, over) => {
  page.style.setProperty("--drawer", Math.min(innerWidth / 2, Math.max(320, drawer.clientWidth + from - to)) + "px");
  if (over) { measure(); redraw(); }
};

const box = $(".t-find input[name=find]");
let found = [], match; // match comes with find-in-trace.js
function find(text) {
  const known = match(text, hits = new Uint8Array(T.n));
  found = [...hits.keys()].filter(i => hits[i]);
  box.setAttribute("aria-invalid", !known);
  counter(known ? "" : "unknown field");
}
function counter(problem = "") {
  const at = found.indexOf(cur);
  $(".t-find output").textContent = problem || (box.value.trim() ? `${at < 0 ? "" : at + 1 + " of "}${found.length}` : "");
}
/** The next (or previous) entry of the sorted `list` after the selection, round the end. */
function cycle(list, by) {
  if (!list.length) return;
  const here = first(cur), k = lower(list, here), on = list[k] === here && cur >= 0;
  jump(list[(by > 0 ? (on ? k + 1 : k) : k - 1 + list.length) % list.length]);
  counter();
}

function remember() {
  clearTimeout(saving);
  saving = setTimeout(() => {
    const url = new URL(location), put = (name, value) => value ? url.searchParams.set(name, value) : url.searchParams.delete(name);
    const folds = [...toggled].map(mark).join(".");
    put("zoom", zoom[0] > 0 || zoom[1] < T.duration_ns ? zoom.map(Math.round).join("-") : "");
    put("fold", toggled.size <= FOLDS_IN_URL ? folds : "");
    put("find", box.value.trim());
    put("critical", wf.classList.contains("nocrit") ? "off" : "");
    put("span", drawer.hidden ? wf.dataset.selected && "none" : $(".s", drawer).dataset.span);
    try { sessionStorage["trace:" + T.trace_id] = folds; } catch { /* full or forbidden: the address has most of it */ }
    if (url.href != location.href) history.replaceState(history.state, "", url);
    $("[data-press=y]").dataset.copy = url.href;
  }, 150);
}
function restore() {
  const ask = new URLSearchParams(location.search), [a, b] = (ask.get("zoom") || "").split("-").map(Number);
  zoom = b > a ? [a, b] : [0, T.duration_ns * 1.01 || 1];
  let folds = ask.get("fold");
  try { folds ??= sessionStorage["trace:" + T.trace_id]; } catch { /* forbidden */ }
  for (const p of places(folds || "")) setOpen(p, !isOpen(p));
  if (ask.get("critical") == "off") critOn(false);
}

const critOn = on => { wf.classList.toggle("nocrit", !on); $(".t-crit input").checked = on; };
function fold(places, to) {
  for (const p of places) setOpen(p, to);
  rebuild(); cur = standIn(cur);
  measure(); redraw();
}
const turn = p => { cur = p; fold([p], !isOpen(p)); };
const move = by => select(vis[Math.max(0, Math.min(count - 1, seat(cur) + by))]);
const next = by => cycle(found.length ? found : T.errors, by), screen = () => wf.clientHeight / ROW | 0;
const KEYS = {
  j: () => move(1), k: () => move(-1), Home: () => move(-count), End: () => move(count), PageDown: () => move(screen()), PageUp: () => move(-screen()),
  l: () => foldable(cur) && !isOpen(cur) ? turn(cur) : move(1),
  h: () => foldable(cur) && isOpen(cur) ? turn(cur) : up[seat(cur)] >= 0 && select(vis[up[seat(cur)]]),
  H: () => fold([...open.keys()].map(k => k < T.n ? k : ~(k - T.n)).filter(isOpen), false),
  L: () => fold(Array.from(vis.subarray(0, count)), true),
  Enter: () => cur < 0 ? turn(cur) : show(cur), " ": () => KEYS.Enter(),
  e: () => cycle(T.errors, 1), E: () => cycle(T.errors, -1), n: () => next(1), N: () => next(-1),
  c: () => { critOn(wf.classList.contains("nocrit")); remember(); },
  z: () => { const a = T.start[first(cur)], d = T.dur[first(cur)]; zoomTo(a - d * .05, a + d * 1.05); }, 0: () => zoomTo(0, 0),
  f: () => { box.focus(); box.select(); },
  Escape: () => { hideDrawer(true); wf.focus(); remember(); },
};
const ARROWS = { ArrowDown: "j", ArrowUp: "k", ArrowRight: "l", ArrowLeft: "h" };
let going = 0; // app.js: g and a letter go to another page
function onKey(e) {
  const plain = e.key.length == 1 && e.key != " ", at = s => e.target.closest(s), gone = Date.now() - going < 1500;
  going = e.key == "g" ? Date.now() : 0;
  if (gone || e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || at("input,textarea,select,dialog")) return;
  if (plain ? localStorage.keys == "off" : e.key != "Escape" && (at("a,button,summary") || !at(".wf"))) return;
  const act = KEYS[ARROWS[e.key] || e.key];
  if (act) { e.preventDefault(); act(); }
}
function onClick(e) {
  const el = e.target.closest(".r");
  if (!el || e.ctrlKey || e.metaKey || e.shiftKey || e.button) return;
  const place = vis[el.k];
  e.preventDefault();
  if (place < 0 || e.target.closest(".tw") && foldable(place)) turn(place); else select(place, true);
  wf.focus({ preventScroll: true });
}

async function start() {
  const answer = await fetch(wf.dataset.layout);
  if (!answer.ok) return;
  T = decode(await answer.json(), wf.dataset);
  const most = T.n + T.bundles.length;
  [vis, level, up, pos, size, family, where] = Array.from({ length: 7 }, () => new Int32Array(most + 1));
  open = new Uint8Array(most);
  for (const p of places(wf.dataset.open)) open[slot(p)] = 1;
  lines = $(".wf-rows"); cur = +wf.dataset.selected;
  restore(); rebuild();
  for (const row of page.querySelectorAll(".r,.t-more")) row.remove();
  wf.classList.add("live");
  if (where[cur] < 0) reveal(cur);
  measure();
  const top = where[cur] * ROW;
  if (top > wf.clientHeight - 2 * ROW) wf.scrollTop = top - wf.clientHeight / 2;
  axis(); paint(true); viewport();
  wf.addEventListener("scroll", () => requestAnimationFrame(() => paint(false)), { passive: true });
  wf.onclick = onClick;
  document.addEventListener("keydown", onKey);
  new ResizeObserver(() => { measure(); axis(); paint(true); }).observe(wf);
  drag(map, dragMap); drag($(".t-grip"), resize);
  map.ondblclick = KEYS[0];
  const check = $(".t-crit input");
  check.onchange = () => { critOn(check.checked); remember(); };
  box.oninput = () => { find(box.value); requestAnimationFrame(() => paint(true)); remember(); };
  box.form.onsubmit = e => { e.preventDefault(); cycle(found, e.submitter?.value == "previous" ? -1 : 1); };
  box.onkeydown = e => {
    if (e.key == "Enter") { e.preventDefault(); cycle(found, e.shiftKey ? -1 : 1); }
    if (e.key == "Escape") wf.focus();
  };
  drawer.onclick = e => { if (e.target.closest(".s-close")) { e.preventDefault(); KEYS.Escape(); } };
  page.dataset.ready = Math.round(performance.now());
  match = (await import(wf.dataset.find)).matcher(T);
  check.parentNode.hidden = box.form.hidden = false;
  if (box.value.trim()) { find(box.value); paint(true); }
}
if (wf) start();
