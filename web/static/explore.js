// The boxes for PromQL: completions by an ARIA combobox fed by the server, Enter to run, formatting.
// The form works without it.

/** Milliseconds of rest before the server is asked. */
const REST_MS = 100;
/** Expressions that this browser remembers, characters one may have, and how many are offered. */
const REMEMBERED_MAX = 40;
const REMEMBERED_CHARS_MAX = 1000;
const OFFERED_MAX = 10;
const KEY = "promql";

// Newest first; without storage, as in a private window, nothing is remembered.
const remembered = () => {
  try { return JSON.parse(localStorage.getItem(KEY)) ?? []; } catch { return []; }
};
const remember = (list) => {
  try { localStorage.setItem(KEY, JSON.stringify(list.slice(0, REMEMBERED_MAX))); } catch { /* private */ }
};

// The API counts characters; strings here count UTF-16 units.
const length = (text) => [...text].length;
const unitsOf = (text, characters) => [...text].slice(0, characters).join("").length;

const form = document.querySelector("form.px");
const fields = form ? [...form.querySelectorAll("textarea")] : [];
fields.forEach(setUp);

// What worked is remembered: it is in the address and has no mistake.
for (const field of [...fields].reverse()) {
  const text = field.value.trim();
  if (text && text.length <= REMEMBERED_CHARS_MAX && !field.matches("[aria-invalid]")) {
    remember([text, ...remembered().filter((other) => other !== text)]);
  }
}

// A box just added is there to be typed into.
if (new URLSearchParams(location.search).has("add")) fields.at(-1)?.focus();

/** Empty boxes and empty settings stay out of the address. */
form?.addEventListener("submit", (event) => {
  if (event.submitter?.name === "format") {
    event.preventDefault();
    return format();
  }
  for (const element of form.elements) {
    if (element.name && !element.value.trim()) element.disabled = true;
  }
});
addEventListener("pageshow", () => { for (const element of form?.elements ?? []) element.disabled = false; });

/** Each expression as the server's printer writes it; what has a mistake stays. */
async function format() {
  await Promise.all(fields.map(async (field) => {
    if (!field.value.trim()) return;
    const url = new URL("/prometheus/api/v1/format_query", location.href);
    url.searchParams.set("query", field.value);
    try {
      const answer = await (await fetch(url)).json();
      if (answer.status === "success") field.value = answer.data;
      else tell(field, answer.error);
    } catch { /* the server is away: the text stays */ }
  }));
}

/** A mistake found by formatting, where the page has no place for it yet. */
function tell(field, text) {
  field.setAttribute("aria-invalid", "true");
  field.setCustomValidity(text);
  field.reportValidity();
  field.setCustomValidity("");
}

function setUp(field, number) {
  const box = field.parentElement;
  const list = document.createElement("ul");
  list.className = "combo";
  list.id = `offers-${number}`;
  list.hidden = true;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Completions");
  const count = document.createElement("span");
  count.className = "vh";
  count.setAttribute("role", "status");
  box.append(list, count);
  for (const [name, value] of Object.entries({
    role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id, "aria-haspopup": "listbox",
  })) field.setAttribute(name, value);

  let options = [];
  let chosen = -1;
  let asked = null;
  let timer = 0;

  function close() {
    asked?.abort();
    clearTimeout(timer);
    list.hidden = true;
    options = [];
    chosen = -1;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  }

  function choose(at) {
    chosen = at;
    for (const [n, item] of [...list.children].entries()) item.setAttribute("aria-selected", String(n === at));
    const item = list.children[at];
    item?.scrollIntoView({ block: "nearest" });
    if (item) field.setAttribute("aria-activedescendant", item.id);
  }

  function show(found) {
    options = found;
    if (!found.length) return close();
    list.replaceChildren(...found.map((option, n) => {
      const item = document.createElement("li");
      item.id = `offer-${number}-${n}`;
      item.setAttribute("role", "option");
      item.setAttribute("aria-selected", "false");
      const add = (tag, text) => item.append(Object.assign(document.createElement(tag), { textContent: text }));
      add("span", option.label);
      const series = option.series == null ? "" : `${option.series} series`;
      add("small", [option.detail || (option.kind === "metric" ? "" : option.kind), series].filter(Boolean).join(" · "));
      if (option.help) add("em", option.help);
      item.addEventListener("pointerdown", (event) => { event.preventDefault(); take(n); });
      return item;
    }));
    list.hidden = false;
    chosen = -1;
    field.setAttribute("aria-expanded", "true");
    field.removeAttribute("aria-activedescendant");
    count.textContent = `${found.length} completions`;
  }

  function take(at) {
    const option = options[at];
    if (!option) return;
    if (option.whole) {
      field.value = option.label;
      field.setSelectionRange(field.value.length, field.value.length);
      return close();
    }
    const [from, to] = option.replace.map((characters) => unitsOf(field.value, characters));
    field.setRangeText(option.insert, from, to, "end");
    mistakeGone();
    close();
    // A label wants a value, a function its argument.
    if (/[("]$/.test(option.insert) && option.kind !== "value") ask();
  }

  async function ask() {
    asked?.abort();
    asked = new AbortController();
    if (!field.value.trim()) {
      const kept = remembered().slice(0, OFFERED_MAX);
      if (kept.length) return show(kept.map((label) => ({ label, whole: true, kind: "recent" })));
    }
    const url = new URL("/api/v1/suggest/promql", location.href);
    const here = new URLSearchParams(location.search);
    for (const name of ["start", "end"]) {
      if (/^(\d{9,}|\d{4}-\d\d-\d\dT\S+)$/.test(here.get(name) ?? "")) url.searchParams.set(name, here.get(name));
    }
    url.searchParams.set("query", field.value);
    url.searchParams.set("at", length(field.value.slice(0, field.selectionStart ?? 0)));
    try {
      const answer = await fetch(url, { signal: asked.signal, headers: { accept: "application/json" } });
      if (!answer.ok || document.activeElement !== field) return;
      show((await answer.json()).suggestions ?? []);
    } catch { /* a newer question, or the server is away: typing goes on without completions */ }
  }

  function mistakeGone() {
    box.querySelector(".pghost")?.remove();
    box.classList.remove("bad");
    field.removeAttribute("aria-invalid");
  }

  field.addEventListener("input", () => {
    mistakeGone();
    clearTimeout(timer);
    timer = setTimeout(ask, REST_MS);
  });
  field.addEventListener("blur", close);
  field.addEventListener("click", () => { if (list.hidden && !field.value.trim()) ask(); });

  field.addEventListener("keydown", (event) => {
    const open = !list.hidden;
    const { key } = event;
    if ((event.ctrlKey || event.metaKey) && event.shiftKey && key.toLowerCase() === "f") {
      event.preventDefault();
      format();
    } else if ((event.ctrlKey && key === " ") || (key === "ArrowDown" && !open && !field.value.includes("\n"))) {
      event.preventDefault();
      ask();
    } else if (open && (key === "ArrowDown" || key === "ArrowUp")) {
      event.preventDefault();
      const step = key === "ArrowDown" ? 1 : -1;
      choose((chosen + step + options.length + (chosen < 0 && step < 0 ? 1 : 0)) % options.length);
    } else if (key === "Enter" && open && chosen >= 0) {
      event.preventDefault();
      take(chosen);
    } else if (key === "Tab" && !event.shiftKey && open) {
      event.preventDefault();
      take(Math.max(0, chosen));
    } else if (key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      form.requestSubmit();
    } else if (key === "Escape" && open) {
      event.stopPropagation();
      event.preventDefault();
      close();
    }
  });
}
