// The log and trace lists: opening lines in place, scrolling on, keys, and zooming by dragging.
// Every one of these is also a link that works without it; HTML comes from the server only.

/** Lines kept in the document; beyond, the far end is dropped and its link brings it back. */
const LINES_MAX = 500;

const fragment = async (href, signal) => {
  const answer = await fetch(href, { signal, headers: { "hx-request-type": "partial" } });
  if (!answer.ok) throw new Error(`${answer.status}`);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
};
const replaceAddress = (change) => {
  const url = new URL(location.href);
  change(url);
  history.replaceState(history.state, "", url);
};

// ---- lines ----
const lines = document.getElementById("lines");
if (lines) {
  const body = lines.tBodies[0];
  const rows = () => [...body.querySelectorAll("tr.ln")];

  // The style of open lines comes with the first of them.
  let styled = null;
  const style = () => (styled ??= new Promise((done) => {
    const href = lines.dataset.detail;
    if (document.querySelector(`link[href="${href}"]`)) return done();
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = href;
    link.onload = link.onerror = done;
    document.head.append(link);
  }));

  const toggle = async (row) => {
    const link = row.querySelector(".tw");
    const id = row.id.slice(2);
    const open = row.classList.contains("open");
    if (!open) {
      const href = new URL(location.href);
      href.pathname = `/logs/${id}`;
      for (const name of ["open", "cursor", "direction"]) href.searchParams.delete(name);
      const [part] = await Promise.all([fragment(href).catch(() => null), style()]);
      if (!part) return location.assign(link.href);
      const holder = body.insertRow(row.sectionRowIndex + 1);
      holder.className = "lx";
      holder.insertCell().append(part.querySelector(".dt"));
    } else if (row.nextElementSibling?.classList.contains("lx")) {
      row.nextElementSibling.remove();
    }
    row.classList.toggle("open", !open);
    link.setAttribute("aria-expanded", String(!open));
    replaceAddress((url) => {
      if (!open) url.searchParams.set("open", id);
      else if (url.searchParams.get("open") === id) url.searchParams.delete("open");
      url.hash = "";
    });
  };

  body.addEventListener("click", async (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    const part = event.target.closest("a[data-part]");
    if (part) {
      event.preventDefault();
      const found = await fragment(part.href).catch(() => null);
      if (found) part.closest(".dt").replaceWith(found.querySelector(".dt"));
      return;
    }
    const copied = event.target.closest("[data-copy-value]");
    if (copied) {
      const value = copied.closest(".dr").querySelector(".dv").textContent;
      await navigator.clipboard?.writeText(value);
      return;
    }
    const more = event.target.closest(".more a");
    if (more) {
      event.preventDefault();
      load(more);
      return;
    }
    const row = event.target.closest("tr.ln");
    const onToggle = event.target.closest(".tw");
    if (!row || (event.target.closest("a") && !onToggle) || (!onToggle && !getSelection().isCollapsed)) return;
    event.preventDefault();
    toggle(row);
  });

  // Scrolling on: the link at either end is replaced by the page it leads to.
  let loading = false;
  const load = async (link) => {
    if (loading) return;
    loading = true;
    const holder = link.closest("tr");
    const older = holder.classList.contains("older");
    try {
      const part = await fragment(link.href);
      const fresh = [...part.querySelector("#lines").tBodies[0].rows];
      const anchor = older ? null : rows()[0];
      const top = anchor?.getBoundingClientRect().top;
      // Of the fresh page only the end that goes on in this direction keeps its link, and the day
      // that goes on is not named again.
      const day = older && [...body.querySelectorAll("tr.day")].at(-1)?.textContent;
      const again = (row) => row.className === "day" && row.textContent === day;
      holder.replaceWith(...fresh.filter((row) => !row.classList.contains(older ? "newer" : "older") && !again(row)));
      prune(older);
      if (anchor) scrollBy(0, anchor.getBoundingClientRect().top - top);
      watch();
    } catch {
      link.textContent = "Loading failed. Try again";
    }
    loading = false;
  };

  const prune = (older) => {
    const all = rows();
    const surplus = all.length - LINES_MAX;
    if (surplus <= 0) return;
    const dropped = older ? all.slice(0, surplus) : all.slice(-surplus);
    const height = document.documentElement.scrollHeight;
    const edge = older ? all[surplus] : all.at(-surplus - 1);
    for (const row of dropped) {
      if (row.nextElementSibling?.classList.contains("lx")) row.nextElementSibling.remove();
      row.remove();
    }
    body.querySelector(older ? "tr.newer" : "tr.older")?.remove();
    const link = document.createElement("a");
    const url = new URL(location.href);
    url.searchParams.delete("open");
    url.searchParams.set("cursor", `${edge.id.slice(2)}-1`);
    if (older) url.searchParams.set("direction", "newer");
    else url.searchParams.delete("direction");
    link.href = url;
    link.textContent = older ? "Newer lines" : "Older lines";
    const row = document.createElement("tr");
    row.className = `more ${older ? "newer" : "older"}`;
    row.insertCell().append(link);
    if (older) body.prepend(row); else body.append(row);
    if (older) scrollBy(0, document.documentElement.scrollHeight - height);
  };

  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) load(entry.target);
  }, { rootMargin: "400px" });
  const watch = () => {
    near.disconnect();
    const link = body.querySelector(".older a");
    if (link) near.observe(link);
  };
  watch();

  // Keys: the toggle link of a line is its stop in the tab order.
  const move = (step) => {
    const all = rows();
    const at = all.indexOf(document.activeElement?.closest?.("tr.ln"));
    const next = all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + step))];
    next?.querySelector(".tw").focus();
    next?.scrollIntoView({ block: "nearest" });
  };
  addKeys({
    j: () => move(1),
    k: () => move(-1),
    t: () => document.activeElement?.closest?.("tr.ln")?.querySelector(".tchip")?.click(),
    w: () => document.getElementById("wrap")?.click(),
  });
}

// ---- rows of the trace list ----
const traces = document.querySelector(".tl tbody");
if (traces) {
  const links = [...traces.querySelectorAll("td.op > a:first-child")];
  const move = (step) => {
    const at = links.indexOf(document.activeElement);
    links[Math.min(links.length - 1, Math.max(0, at < 0 ? 0 : at + step))]?.focus();
  };
  addKeys({ j: () => move(1), k: () => move(-1) });
}

// ---- zooming in charts ----
for (const chart of document.querySelectorAll(".hist,.scatter")) zoom(chart);

function zoom(chart) {
  const svg = chart.querySelector("svg.bars");
  const box = document.createElementNS(svg.namespaceURI, "rect");
  box.setAttribute("class", "drag");
  const [start, end] = [BigInt(chart.dataset.start), BigInt(chart.dataset.end)];
  const view = svg.viewBox.baseVal;
  const both = chart.classList.contains("scatter");
  const clamp = (share) => Math.min(1, Math.max(0, share));
  const place = (event) => {
    const area = svg.getBoundingClientRect();
    return [clamp((event.clientX - area.left) / area.width), clamp((event.clientY - area.top) / area.height)];
  };
  const draw = (from, to) => {
    const [x, y] = [0, 1].map((axis) => Math.min(from[axis], to[axis]));
    box.setAttribute("x", x * view.width);
    box.setAttribute("width", Math.abs(to[0] - from[0]) * view.width);
    box.setAttribute("y", both ? y * view.height : 0);
    box.setAttribute("height", both ? Math.abs(to[1] - from[1]) * view.height : view.height);
    svg.append(box);
  };
  const at = (share) => {
    const ns = start + (end - start) * BigInt(Math.round(share * 1e6)) / 1000000n;
    return `${new Date(Number(ns / 1000000n)).toISOString().slice(0, -1)}${String(ns % 1000000n).padStart(6, "0")}Z`;
  };
  const go = (from, to) => {
    const url = new URL(location.href);
    for (const name of ["range", "cursor", "direction", "open"]) url.searchParams.delete(name);
    const [left, right] = [from[0], to[0]].sort((a, b) => a - b);
    url.searchParams.set("start", at(left));
    url.searchParams.set("end", at(right));
    if (both && Math.abs(to[1] - from[1]) > 0.02) {
      const [top, bottom] = [from[1], to[1]].sort((a, b) => a - b);
      const log = (share) => Math.round(10 ** (Number(chart.dataset.low) + (1 - share) * (chart.dataset.high - chart.dataset.low)));
      const query = (url.searchParams.get("query") ?? "").replace(/(^| )-?duration:\S+/g, "").trim();
      url.searchParams.set("query", `${query} duration:${log(bottom)}ns..${log(top)}ns`.trim());
    }
    location.assign(url);
  };

  let from = null;
  svg.addEventListener("pointerdown", (event) => { if (event.button === 0) from = place(event); });
  addEventListener("pointermove", (event) => { if (from) draw(from, place(event)); });
  addEventListener("pointerup", (event) => {
    if (!from) return;
    const [first, last] = [from, place(event)];
    from = null;
    box.remove();
    if (Math.abs(last[0] - first[0]) < 0.006) return;
    // The drag ends in a click on a bar, which would lead elsewhere.
    addEventListener("click", (click) => click.preventDefault(), { capture: true, once: true });
    setTimeout(() => go(first, last));
  });
  svg.addEventListener("dragstart", (event) => event.preventDefault());

  // One tab stop; arrows move, Shift selects, Enter zooms, Escape goes back.
  const bars = [...svg.querySelectorAll("a")];
  const stop = (index) => bars.forEach((bar, at) => bar.setAttribute("tabindex", at === index ? "0" : "-1"));
  stop(0);
  const xs = (bar) => {
    const rect = bar.querySelector("rect");
    return [rect.x.baseVal.value, rect.x.baseVal.value + rect.width.baseVal.value].map((x) => x / view.width);
  };
  let mark = -1;
  svg.addEventListener("keydown", (event) => {
    const index = bars.indexOf(event.target.closest("a"));
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -bars.length, End: bars.length }[event.key];
    if (step && index >= 0) {
      event.preventDefault();
      const next = Math.min(bars.length - 1, Math.max(0, index + step));
      if (!event.shiftKey) mark = -1;
      else if (mark < 0) mark = index;
      stop(next);
      bars[next].focus();
      if (mark >= 0) draw([Math.min(xs(bars[mark])[0], xs(bars[next])[0]), 0], [Math.max(xs(bars[mark])[1], xs(bars[next])[1]), 1]);
      else box.remove();
    } else if (event.key === "Enter" && mark >= 0) {
      event.preventDefault();
      go([Math.min(xs(bars[mark])[0], xs(bars[index])[0]), 0], [Math.max(xs(bars[mark])[1], xs(bars[index])[1]), 0]);
    }
  });
}

// Escape leaves a zoom by the way it was entered.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || event.target.matches("input,textarea,select")) return;
  if (document.querySelector("dialog[open],details.menu[open]")) return;
  const zoomed = new URLSearchParams(location.search).has("end");
  if (zoomed && history.length > 1 && document.referrer.startsWith(location.origin)) history.back();
});

// ---- facets: searching while typing; Enter asks the server for what is not listed ----
document.addEventListener("input", (event) => {
  if (!event.target.matches(".facets [name=find]")) return;
  const text = event.target.value.toLowerCase();
  for (const facet of document.querySelectorAll(".facet")) {
    const named = facet.querySelector("summary b").textContent.toLowerCase().includes(text);
    let any = named;
    for (const value of facet.querySelectorAll(".fv")) {
      const shown = named || value.textContent.toLowerCase().includes(text);
      value.hidden = !shown;
      any ||= shown;
    }
    facet.hidden = !any;
  }
});

function addKeys(keys) {
  document.addEventListener("keydown", (event) => {
    const busy = event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input,textarea,select");
    let off = false;
    try { off = localStorage.getItem("keys") === "off"; } catch { /* private mode */ }
    if (busy || off || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
}
