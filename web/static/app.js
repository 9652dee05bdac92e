// Keys, copy buttons, the viewer's time zone, theme and refresh. Pages work without it; nothing here
// builds HTML from data, and nothing needs eval or inline handlers.

const root = document.documentElement;
const setCookie = (name, value) => {
  document.cookie = `${name}=${encodeURIComponent(value)};path=/;max-age=31536000;samesite=lax`;
};
const store = {
  get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
  set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* private mode */ } },
};

// The server writes times in the zone of this cookie; on the first visit it cannot know it yet.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
// Every reading of the cookie asks another process.
const cookie = document.cookie;
if (zone && !cookie.split("; ").includes(`tz=${encodeURIComponent(zone)}`)) {
  setCookie("tz", zone);
  const stored = document.cookie.includes("tz=");
  if (stored && root.dataset.zone !== zone && !cookie.includes("utc=1")) location.reload();
}

// Copy buttons are hidden until there is something to run them.
const reveal = (within) => {
  for (const button of within.querySelectorAll("[data-copy]")) button.hidden = false;
};
const copy = async (button) => {
  const text = button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Plain HTTP off loopback has no clipboard API.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const label = button.lastChild;
  const was = label.textContent;
  label.textContent = "Copied";
  setTimeout(() => { label.textContent = was; }, 1200);
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) {
    event.preventDefault();
    copy(button);
  }
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// The theme button goes to the other of what is seen, also where the browser decided.
for (const button of document.querySelectorAll("button[name=theme]")) {
  if (!root.dataset.theme && matchMedia("(prefers-color-scheme:dark)").matches) button.value = "light";
}

// Keys. WCAG 2.1.4: single-key shortcuts can be switched off.
const typing = (element) => element.matches("input,textarea,select,[contenteditable]");
const help = document.getElementById("help");
const off = document.getElementById("keys-off");
if (off) {
  off.checked = store.get("keys") === "off";
  off.addEventListener("change", () => store.set("keys", off.checked ? "off" : "on"));
}
let going = 0;
const visible = (selector) => [...document.querySelectorAll(selector)].find((element) => element.isConnected);
const press = (key) => {
  if (key === "?") return help?.showModal();
  const field = visible(`[data-focus="${key}"]`);
  if (field) { field.focus(); return field.select?.(); }
  return visible(`[data-press="${key}"]`)?.click();
};
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
    if (typing(event.target)) event.target.blur();
    return;
  }
  if ((event.ctrlKey || event.metaKey) && event.key === "k") {
    event.preventDefault();
    press("/");
    return;
  }
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
  if (!plain || typing(event.target) || store.get("keys") === "off" || event.key.length !== 1) return;
  if (Date.now() - going < 1500) {
    going = 0;
    visible(`.rail [data-key="${CSS.escape(event.key)}"]`)?.click();
  } else if (event.key === "g") {
    going = Date.now();
  } else if (/^[a-z/?]$/.test(event.key)) {
    // The key that leads into a field is not typed there.
    if (event.key === "?" || visible(`[data-focus="${event.key}"]`)) event.preventDefault();
    press(event.key);
  }
});

// Dragging on the time ribbon narrows the range to what was dragged over.
const ribbon = document.querySelector(".ribbon[data-start]");
if (ribbon) {
  const svg = ribbon.querySelector(".bars");
  const box = document.createElementNS(svg.namespaceURI, "rect");
  box.setAttribute("class", "drag");
  box.setAttribute("height", "12");
  const share = (event) => {
    const area = svg.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - area.left) / area.width));
  };
  let from = null;
  const draw = (to) => {
    const bars = svg.viewBox.baseVal.width;
    box.setAttribute("x", Math.min(from, to) * bars);
    box.setAttribute("width", Math.abs(to - from) * bars);
  };
  ribbon.addEventListener("pointerdown", (event) => {
    from = share(event);
    draw(from);
    svg.append(box);
    ribbon.setPointerCapture(event.pointerId);
  });
  ribbon.addEventListener("pointermove", (event) => { if (from !== null) draw(share(event)); });
  const stop = () => { from = null; box.remove(); };
  ribbon.addEventListener("pointercancel", stop);
  ribbon.addEventListener("pointerup", (event) => {
    if (from === null) return;
    const ends = [from, share(event)].sort((a, b) => a - b);
    stop();
    if (ends[1] - ends[0] < 0.005) return;
    const [start, end] = [BigInt(ribbon.dataset.start), BigInt(ribbon.dataset.end)];
    const at = (part) => new Date(Number((start + (end - start) * BigInt(Math.round(part * 1e6)) / 1000000n) / 1000000n)).toISOString();
    const url = new URL(location.href);
    for (const name of ["range", "cursor"]) url.searchParams.delete(name);
    url.searchParams.set("start", at(ends[0]));
    url.searchParams.set("end", at(ends[1]));
    location.assign(url);
  });
}

// Refresh replaces the content in place, and waits while the page is hidden or being read closely.
const refresh = Number(document.querySelector("[data-refresh]")?.dataset.refresh ?? 0);
if (refresh > 0) {
  setInterval(() => {
    const busy = document.hidden || typing(document.activeElement) || !getSelection().isCollapsed;
    if (!busy && !document.querySelector("dialog[open],details.menu[open]")) {
      const url = new URL(location.href);
      // What a part of the page brought later comes with the page itself.
      if (document.getElementById("facets") && !url.searchParams.has("fields")) url.searchParams.set("fields", "some");
      htmx.ajax("GET", url.href, { target: "#main", select: "#main", swap: "outerMorph" });
    }
  }, refresh * 1000);
}

reveal(document);
document.addEventListener("htmx:after:swap", () => reveal(document));
