// The waterfall: a virtual list over the columns of /api/v1/traces/{id}/layout. The server has
// already drawn the header, the minimap and the first rows; this file takes over from there and
// must never need more than those columns (details of a span come as HTML, one at a time).
const page = document.querySelector(".trace"), wf = page?.querySelector(".wf");
const ROW = 26, AROUND = 12, FOLD_CHARS = 400, FOLDS_KEPT = 2000;
const $ = (selector, from = page) => from.querySelector(selector);
const esc = text => text.replace(/[&<>"]/g, c => `&#${c.charCodeAt()};`);
const svg = (w, body, cls = "") => `<svg class="${cls}" width="${w}" height="26" aria-hidden="true">${body}</svg>`;
const px = n => +n.toFixed(1);
const attr = (el, name, value) => value === null ? el.removeAttribute(name) : el.setAttribute(name, value);
const UNITS = ["ns", "µs", "ms", "s"];
/** `4.31 ms`: as format.rs writes it. */
function duration(ns) {
  if (ns < 1000) return Math.round(ns) + " ns";
  for (const k of [1, 2, 3]) {
    const v = ns / 1e3 ** k;
    if (v < (k < 3 ? 999.5 : 59.95)) return v.toFixed(v < 9.995 ? 2 : v < 99.95 ? 1 : 0) + " " + UNITS[k];
  }
  const s = Math.round(ns / 1e9), two = n => String(n | 0).padStart(2, "0");
  return s < 3600 ? `${s / 60 | 0} m ${two(s % 60)} s` : `${s / 3600 | 0} h ${two(s / 60 % 60)} m`;
}
/** Calls `move(from, to, over)` with places in px from the left edge of `el` while it is dragged. */
function drag(el, move) {
  let from = null;
  const at = e => e.clientX - el.getBoundingClientRect().left;
  el.onpointerdown = e => { from = at(e); el.setPointerCapture(e.pointerId); };
  el.onpointermove = e => from !== null && move(from, at(e), false);
  el.onpointerup = e => { if (from !== null) move(from, at(e), true); from = null; };
  el.onpointercancel = () => from = null;
}

/** The trace: columns by row (preorder) as typed arrays, and the bundles of siblings. */
let T;
const sum = (steps, at = 0) => steps.map(step => at += step);
function decode(p, { hues, bundles }) {
  const { depth, duration_ns, kind, start_step_ns } = p.rows, n = depth.length, ints = fill => new Int32Array(n).fill(fill), pick = k => kind.map(x => p.kinds[x][k]);
  const t = { ...p, n, depth, service: pick(0), op: pick(1), start: sum(start_step_ns), dur: duration_ns, hues: hues.split("."), parent: ints(-1), bundleAt: ints(-1), end: ints(n), bad: new Uint8Array(n), badSum: new Int32Array(n + 1) };
  for (const i of p.errors) t.bad[i] = 1;
  for (let i = 0, path = []; i < n; i++) {
    const d = depth[i];
    while (path.length > d) t.end[path.pop()] = i;
    t.parent[i] = d ? path[d - 1] : -1;
    path.push(i);
    t.badSum[i + 1] = t.badSum[i] + t.bad[i];
  }
  const { row, start_step_ns: steps, end_ns } = p.critical, at = sum(steps);
  t.critical = row.map((r, k) => [r, at[k], at[k + 1] ?? end_ns]).sort((a, b) => a[0] - b[0]);
  const left = (bundles.match(/\d+-\d+/g) || []).map(text => ({ rows: text.split("-").map(Number) }));
  t.bundles = [...left, ...p.groups].sort((a, b) => a.rows[0] - b.rows[0] || b.rows[1] - a.rows[1]);
  t.marked = new Map();
  t.bundles.forEach((b, k) => {
    [b.first, b.end] = b.rows;
    t.marked.set(b.mark = (b.count ? "g" : "s") + b.first, ~k);
    if (t.bundleAt[b.first] < 0) t.bundleAt[b.first] = k;
    b.from = t.start[b.first];
    for (let i = b.first, to = 0; i < b.end; i = t.end[i]) b.to = to = Math.max(to, t.start[i] + t.dur[i]);
  });
  return t;
}
/** First index of the sorted `list` whose row is not below `x`. */
function lower(list, x) {
  let a = 0;
  for (let b = list.length; a < b;) { const m = a + b >> 1; if ((list[m][0] ?? list[m]) < x) a = m + 1; else b = m; }
  return a;
}
// A place is a row (>= 0) or a bundle (~index). Columns by visible line: place, level, the line
// above in the tree, position among siblings and their number.
let open, vis, level, up, pos, size, family, where, count = 0, deepest = 1;
const toggled = new Set(), slot = p => p < 0 ? T.n + ~p : p;
const isOpen = p => !!open[slot(p)];
const first = p => p < 0 ? T.bundles[~p].first : p, last = p => p < 0 ? T.bundles[~p].end : T.end[p];
const foldable = p => p < 0 || T.end[p] > p + 1, seat = p => where[slot(p)];
/** Places by their marks: `12.g40.s7`; marks of another version of the trace are passed over. */
const places = marks => marks.split(".").map(text => T.marked.get(text) ?? parseInt(text)).filter(p => p < T.n);
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
  // The last one's position is their number.
  for (let k = count; k--;) size[k] = family[up[k] + 1] ||= pos[k];
  lines.style.height = count * ROW + "px";
  attr(wf, "aria-rowcount", count);
}
/** Opens everything that hides the row. */
function reveal(row) {
  for (let i = T.parent[row]; i >= 0; i = T.parent[i]) setOpen(i, true);
  T.bundles.forEach((b, k) => { if (b.first <= row && row < b.end) setOpen(~k, true); });
  rebuild();
}
/** The line that stands for a place: itself, the closed bundle or the folded row it is in. */
function standIn(p) {
  let k = count;
  while (first(vis[--k]) > first(p));
  return seat(p) < 0 ? vis[k] : p;
}
let lines, pool = [], width, label, room, scrolled, zoom, hits = [], cur = 0, step;
const base = 28, X = t => (t - zoom[0]) * width / (zoom[1] - zoom[0]);
const rect = (cls, a, b, y = 8, h = 10) => {
  const x = Math.max(-4, X(a)), w = Math.max(2, Math.min(width + 4, X(b)) - x);
  return x > width || X(b) < 0 ? "" : `<rect class="${cls}" x="${px(x)}" y="${y}" width="${px(w)}" height="${h}"/>`;
};
/** Segments of the critical path on rows a..b, merged where they touch on the screen. */
function critical(a, b) {
  const parts = T.critical.slice(lower(T.critical, a), lower(T.critical, b)).sort((p, q) => p[1] - q[1]);
  let out = "", [, from, to] = parts[0] || [];
  for (const [, s, e] of parts)
    if (X(s) - X(to) < 1) to = Math.max(to, e);
    else { out += rect("cp", from, to, 19, 2); [from, to] = [s, e]; }
  return parts.length ? out + rect("cp", from, to, 19, 2) : "";
}
/** Where no child of row i runs between two places on the screen: its own time, drawn darker. */
function own(i, a, b) {
  const covered = new Uint8Array(width + 1), at = t => Math.max(0, Math.round(X(t)));
  let path = "";
  for (let k = i + 1; k < T.end[i]; k = T.end[k]) covered.fill(1, at(T.start[k]), at(T.start[k] + T.dur[k]));
  for (let x = at(a), to = Math.min(width, at(b)), from = x; x <= to; x++)
    if (covered[x] || x == to) { if (x > from) path += `M${from} 13h${x - from}`; from = x + 1; }
  return `<path class="own" d="${path}"/>`;
}
function spanBar(i) {
  const s = T.start[i], e = s + T.dur[i], p = T.parent[i], room = (zoom[1] - zoom[0]) / width, kids = T.end[i] > i + 1;
  const crit = critical(i, open[i] ? i + 1 : T.end[i]);
  // Columns are rounded: what ends with its parent may seem to end after it.
  let cut = p < 0 ? e : T.start[p] + T.dur[p] * 1.001;
  cut = cut < e && !T.bad[i] ? Math.min(e, Math.max(cut, s + 8 * room)) : e;
  const bar = rect(T.bad[i] ? "b tint" : kids ? "b kids" : "b", s, cut) + (kids ? own(i, s, cut) : "");
  if (T.bad[i]) return bar + rect("x", s, e, 8.5, 9) + rect("b", s, s + 4 * room) + crit;
  // Where it outlives its parent it is a thin tail.
  return bar + (cut < e ? rect("b", cut, e, 12, 2) : "") + crit;
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
  const after = x + room + 8 < width, text = `<text class="n1" x="${px(after ? x + 8 : X(a) - room)}" y="17">${note}</text>`;
  return rect("b soft", a, b) + `<path class="fence" d="${path}"/>` + crit + (after || X(a) > room + 8 ? text : "");
}
function guides(k) {
  const d = level[k], x = base + d * step;
  let path = d ? `M${x - step} 0V13M${x - step} 13h${step > 8 ? 8 : step - 2}` : "";
  for (let j = k; level[j] > 0; j = up[j]) if (pos[j] < size[j]) path += `M${base + (level[j] - 1) * step} 0V26`;
  if (foldable(vis[k]) && isOpen(vis[k])) path += `M${x} 19V26`;
  return svg(x, `<path d="${path}"/>`, "gd");
}
const mark = p => p < 0 ? T.bundles[~p].mark : p;
function draw(el, k) {
  const p = vis[k], g = p < 0 ? T.bundles[~p] : null, i = first(p), fold = foldable(p), opened = isOpen(p), rest = g && !g.count;
  const end = g || !opened ? last(p) : i + 1, bad = T.badSum[end] - T.badSum[i];
  const hue = "svc-" + T.hues[T.service[i]], name = esc(T.operations[T.op[i]]);
  const set = { class: `r${bad ? " bad" : ""}${p === cur ? " sel" : ""}${hits[p] ? " hit" : ""}`, id: "r" + mark(p), "aria-level": level[k] + 1, "aria-posinset": pos[k], "aria-setsize": size[k], "aria-rowindex": k + 1, "aria-selected": p === cur, "aria-expanded": fold ? opened : null };
  for (const key in set) attr(el, key, set[key]);
  el.style.transform = `translateY(${k * ROW}px)`;
  el.innerHTML = `<div role="gridcell" class="lab">${guides(k)}<span class="tw">${fold ? `<svg viewBox="0 0 12 12" aria-hidden="true"><path d="M4 2l4 4-4 4"/></svg>` : ""}</span>`
    + (rest ? `<span class="nm rest"><span>+${g.end - g.first} spans folded</span></span>`
      : `<a class="nm ${hue}" tabindex="-1" href="/trace/${T.trace_id}/span/row-${i}"><b>${esc(T.services[T.service[i]].name)}</b><span>${name}</span></a>`)
    + (g?.count ? `<em>×${g.count}</em>` : fold && !opened && !g ? `<em class="more">+${end - i - 1}</em>` : "")
    + (bad ? `<span class="ee"><span class="vh">error</span>${bad > 1 ? bad : ""}<i class="eg"></i></span>` : "")
    + `</div><div role="gridcell" class="tl ${hue}"><span class="vh">starts at +${duration(T.start[i])}</span>${svg("100%", g ? groupBar(g) : spanBar(i))}</div><div role="gridcell" class="du">${duration(g ? g.to - g.from : T.dur[i])}</div>`;
}
/** Draws what the window shows; `all` when folding or zoom changed. */
function paint(all) {
  // Folding may have left less than was scrolled past.
  const from = Math.max(0, (Math.min(scrolled, count * ROW - room) / ROW | 0) - AROUND), n = pool.length;
  for (let k = from; k < from + n; k++) {
    const el = pool[k % n];
    el.hidden = k >= count;
    if (!el.hidden && (all || el.k !== k)) draw(el, el.k = k);
  }
  // The id of a row that is not there would be an error.
  attr(wf, "aria-activedescendant", seat(cur) >= from && seat(cur) < from + n ? "r" + mark(cur) : null);
}
function axis() {
  const narrow = width < 240, raw = (zoom[1] - zoom[0]) * (narrow ? 50 : 84) / width, ten = 10 ** Math.floor(Math.log10(raw)), tick = [1, 2, 2.5, 5, 10].find(s => s * ten >= raw) * ten;
  const k = [1e4, 1e7, 1e10, 1 / 0].findIndex(limit => zoom[1] < limit), room = width - 24;
  let labels = "", grid = "";
  for (let t = Math.ceil(zoom[0] / tick) * tick, x; (x = px(X(t))) < room; t += tick) {
    const text = narrow ? t && duration(t).replace(/\.0+ /, " ") : String(+(t / 1e3 ** k).toPrecision(12)).replace(/\B(?=(\d{3})+$)/g, "\u2009") + (X(t + tick) > room ? " " + UNITS[k] : "");
    labels += `<text x="${x + 4}" y="14">${text}</text>`;
    grid += `<line x1="${x}" x2="${x}" y2="100%"/>`;
  }
  $(".t-axis svg").innerHTML = labels;
  $(".wf-grid").innerHTML = grid;
}
/** The only place that asks for the layout; what follows from it is written after. */
function measure() {
  const from = el => el.getBoundingClientRect(), bars = from($(".wf-grid"));
  label = bars.left - from(lines).left; width = Math.max(60, bars.width | 0); room = wf.clientHeight; scrolled = wf.scrollTop;
}
function fit() {
  step = Math.max(2, Math.min(label < 240 ? 10 : 16, label / 2 / deepest | 0));
  const drawn = pool.length;
  while (pool.length < room / ROW + 2 * AROUND) { const el = document.createElement("div"); attr(el, "role", "row"); pool.push(el); }
  paint(true);
  lines.append(...pool.slice(drawn)); axis(); viewport();
}
const redraw = () => { fit(); remember(); };
const whole = () => [0, T.duration_ns * 1.01 || 1];
function zoomTo(a, b) {
  zoom = b - a < 100 || b - a > T.duration_ns * .995 ? whole() : [Math.max(0, a), Math.min(whole()[1], b)];
  redraw();
}
function viewport() {
  const total = T.duration_ns || 1, a = 100 * zoom[0] / total, b = Math.min(100, 100 * zoom[1] / total);
  $(".t-map .view").innerHTML = [[0, a, a], [b, 100, b]].map(([x, to, edge]) => `<rect class="off" x="${x}%" width="${to - x}%" height="44"/><line class="edge" x1="${edge}%" x2="${edge}%" y2="44"/><rect class="grip" x="${edge}%" y="14" width="3" height="16"/>`).join("");
}
const map = $(".t-map");
function dragMap(from, to, over) {
  const [a, b] = [from, to].sort((p, q) => p - q), ns = x => x / map.clientWidth * T.duration_ns;
  $(".t-map .drag").innerHTML = over ? "" : `<rect x="${a}" width="${b - a}" height="44"/>`;
  if (over && b - a > 4) zoomTo(ns(a), ns(b));
}
let wanted, timer, saving, drawer = $(".t-drawer");
function select(place, open) {
  const top = seat(place) * ROW, over = top + ROW > scrolled + room;
  for (cur of [cur, place]) (pool[seat(cur) % pool.length] || {}).k = -1;
  if (over || top < scrolled) wf.scrollTop = scrolled = Math.max(0, top - (open ? room / 2 : over ? room - 2 * ROW : ROW));
  paint();
  if (open || !drawer.hidden) show(place);
}
/** Jumps to a row wherever it is folded. */
function jump(row) {
  if (where[row] < 0) { reveal(row); redraw(); }
  select(row, true); remember();
}
/** Fetches a row's span into the drawer; only the last one where keys are held down. */
function show(row) {
  if (row < 0) return;
  clearTimeout(timer); wanted?.abort();
  timer = setTimeout(async () => {
    wanted = new AbortController();
    const body = $(".s", drawer);
    try {
      const answer = await fetch(`/trace/${T.trace_id}/span/row-${row}${location.search || "?"}&at=${T.version}`, { headers: { "hx-request-type": "partial" }, signal: wanted.signal });
      if (!answer.ok) throw Error("answer " + answer.status);
      body.outerHTML = await answer.text();
      htmx.process(drawer); drawer.scrollTop = 0;
    } catch (error) {
      if (error.name == "AbortError") return;
      body.textContent = `Not loaded (${error.message}): press Enter to try again.`;
    }
    hideDrawer(false); remember();
  }, 40);
}
function hideDrawer(hide) {
  if (drawer.hidden != hide) { drawer.hidden = hide; page.classList.toggle("split", !hide); measure(); redraw(); }
}
const resize = (from, to) => page.style.setProperty("--drawer", drawer.clientWidth + from - to + "px");
let found = [], box = $(".t-find input");
/** One word of the query bar's language as a test over rows; undefined where it is not known here. */
function term(word) {
  const [, not, field, raw] = /^(-?)(?:([\w.]+):)?(.*)$/s.exec(word), value = raw.replace(/^"|"$/g, "").toLowerCase();
  const like = text => !field ? text.includes(value) : value.endsWith("*") ? text.startsWith(value.slice(0, -1)) : text == value;
  const over = (list, column) => { const ok = list.map(of => like((of.name ?? of).toLowerCase())); return i => ok[column[i]]; };
  const services = over(T.services, T.service), names = over(T.operations, T.op);
  const [, sign = "=", number, unit] = /^([<>]?=?)([\d.]+)([nuµm]?s|m)$/.exec(value.replace("us", "µs")) || [], bad = +(value == "error"), ns = number * (unit == "m" ? 6e10 : 1e3 ** UNITS.indexOf(unit));
  const test = {
    service: services, name: names, status: i => T.bad[i] == bad, [undefined]: i => services(i) || names(i),
    duration: ns >= 0 && (i => sign.includes("=") && T.dur[i] == ns || sign[0] == ">" && T.dur[i] > ns || sign[0] == "<" && T.dur[i] < ns),
  }[field];
  return test && (not ? i => !test(i) : test);
}
/** Marks the rows that match all words; says so where a field is not known here. */
function find() {
  const tests = (box.value.match(/-?(?:[\w.]+:)?"[^"]*"|\S+/g) || []).map(term), known = tests.every(Boolean);
  hits = new Uint8Array(T.n); found = [];
  // One test after the other: the first leaves few rows.
  if (known && tests[0]) for (let i = 0; i < T.n; i++) if (tests[0](i)) found.push(i);
  for (const test of tests.slice(1)) found = found.filter(i => test(i));
  found.forEach(i => hits[i] = 1);
  attr(box, "aria-invalid", !known); counter(known ? "" : "unknown field");
}
function counter(problem = "") {
  const at = found.indexOf(cur);
  $(".t-find output").textContent = problem || (box.value.trim() && (at < 0 ? "" : at + 1 + " of ") + found.length);
}
/** The next (or previous) entry of the sorted `list` after the selection, round the end. */
function cycle(list, by) {
  if (!list.length) return;
  const here = first(cur), k = lower(list, here), on = list[k] === here && cur >= 0;
  jump(list[(by > 0 ? (on ? k + 1 : k) : k - 1 + list.length) % list.length]); counter();
}
function remember() {
  clearTimeout(saving);
  saving = setTimeout(() => {
    const url = new URL(location), put = (name, value) => value ? url.searchParams.set(name, value) : url.searchParams.delete(name);
    const folds = toggled.size > FOLDS_KEPT ? "" : [...toggled].map(mark).join(".");
    put("zoom", zoom[0] > 0 || zoom[1] < T.duration_ns ? zoom.map(Math.round).join("-") : "");
    put("fold", folds.length > FOLD_CHARS ? "" : folds);
    put("find", box.value.trim());
    put("critical", wf.classList.contains("nocrit") ? "off" : "");
    put("span", drawer.hidden ? wf.dataset.selected && "none" : $(".s", drawer).dataset.span);
    // The address has not room for all folds.
    history.replaceState({ ...history.state, folds }, "", url);
    $("[data-press=y]").dataset.copy = url.href;
  }, 150);
}
const check = $(".t-crit input"), critOn = on => { wf.classList.toggle("nocrit", !on); check.checked = on; };
function fold(places, to) {
  for (const p of places) setOpen(p, to);
  rebuild(); cur = standIn(cur); redraw();
}
const turn = p => { cur = p; fold([p], !isOpen(p)); };
const move = by => select(vis[Math.max(0, Math.min(count - 1, seat(cur) + by))]);
const next = by => cycle(found[0] >= 0 ? found : T.errors, by), leap = by => move(by * (room / ROW | 0));
const KEYS = {
  j: () => move(1), k: () => move(-1), Home: () => move(-count), End: () => move(count), PageDown: () => leap(1), PageUp: () => leap(-1),
  l: () => foldable(cur) && !isOpen(cur) ? turn(cur) : move(1),
  h: () => foldable(cur) && isOpen(cur) ? turn(cur) : up[seat(cur)] >= 0 && select(vis[up[seat(cur)]]),
  H: () => fold([...open.keys()].map(k => k < T.n ? k : ~(k - T.n)).filter(isOpen), false),
  L: () => fold(Array.from(vis.subarray(0, count)), true),
  Enter: () => cur < 0 ? turn(cur) : show(cur), " ": () => KEYS.Enter(),
  e: () => cycle(T.errors, 1), E: () => cycle(T.errors, -1), n: () => next(1), N: () => next(-1),
  c: () => { critOn(wf.classList.contains("nocrit")); remember(); },
  z: (a = T.start[first(cur)], d = T.dur[first(cur)]) => zoomTo(a - d * .05, a + d * 1.05), 0: () => zoomTo(0, 0),
  f: () => { box.focus(); box.select(); },
  Escape: () => { hideDrawer(true); wf.focus(); remember(); },
};
const ARROWS = { ArrowDown: "j", ArrowUp: "k", ArrowRight: "l", ArrowLeft: "h" };
// app.js: g and a letter go to another page.
let going = 0;
function onKey(e) {
  const plain = e.key.length == 1 && e.key != " ", at = s => e.target.closest(s), gone = Date.now() - going < 1500;
  going = e.key == "g" ? Date.now() : 0;
  if (gone || e.ctrlKey || e.metaKey || e.altKey || at("input,textarea,select,dialog")) return;
  if (plain ? localStorage.keys == "off" : e.key != "Escape" && (at("a,button,summary") || !at(".wf"))) return;
  const act = KEYS[ARROWS[e.key] || e.key];
  if (act) { e.preventDefault(); act(); }
}
function onClick(e) {
  const el = e.target.closest(".r"), place = vis[el?.k];
  if (!el || e.ctrlKey || e.metaKey || e.shiftKey) return;
  e.preventDefault();
  if (place < 0 || e.target.closest(".tw") && foldable(place)) turn(place); else select(place, true);
  wf.focus();
}
async function start() {
  const answer = await fetch($("link[as=fetch]", document).href).catch(() => 0), rest = $("noscript");
  // Without columns the rows of the page stay, those below the window too.
  if (!answer.ok) { if (rest) rest.outerHTML = rest.textContent; return; }
  T = decode(await answer.json(), wf.dataset);
  const most = T.n + T.bundles.length;
  [vis, level, up, pos, size, family, where] = Array.from({ length: 7 }, () => new Int32Array(most + 1));
  open = new Uint8Array(most);
  for (const p of places(wf.dataset.open)) open[slot(p)] = 1;
  lines = $(".wf-rows"); cur = +wf.dataset.selected;
  const ask = new URLSearchParams(location.search), [a, b] = (ask.get("zoom") || "").split("-").map(Number);
  zoom = b > a ? [a, b] : whole();
  for (const p of places(ask.get("fold") || history.state?.folds || "")) setOpen(p, !isOpen(p));
  if (ask.get("critical") == "off") critOn(false);
  rebuild();
  if (where[cur] < 0) reveal(cur);
  lines.replaceChildren($(".wf-grid")); $(".t-more")?.remove();
  wf.classList.add("live");
  measure();
  const top = where[cur] * ROW;
  if (top > room - 2 * ROW) wf.scrollTop = scrolled = top - room / 2;
  fit();
  wf.onscroll = () => requestAnimationFrame(() => { scrolled = wf.scrollTop; paint(); });
  wf.onclick = onClick; document.addEventListener("keydown", onKey);
  new ResizeObserver(() => { const was = [width, room]; measure(); if (was != width + "," + room) fit(); }).observe(wf);
  drag(map, dragMap); drag($(".t-grip"), resize); map.ondblclick = KEYS[0]; check.onchange = KEYS.c;
  box.oninput = () => { find(); requestAnimationFrame(() => paint(true)); remember(); };
  box.form.onsubmit = e => { e.preventDefault(); cycle(found, +e.submitter.value); };
  box.onkeydown = e => {
    if (e.key == "Escape") wf.focus();
    if (e.key == "Enter") { e.preventDefault(); cycle(found, e.shiftKey ? -1 : 1); }
  };
  drawer.onclick = e => { if (e.target.closest(".s-close")) { e.preventDefault(); KEYS.Escape(); } };
  page.dataset.ready = performance.now() | 0;
  check.parentNode.hidden = box.form.hidden = false;
  if (box.value) { find(); paint(true); }
}
if (wf) start();
