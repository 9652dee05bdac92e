// The query bar's completions: an ARIA combobox over its text field, fed by the server. The form
// works without it; with it, chips and text are sent as one parameter.

/** Completions listed: what fits under the bar without scrolling the page. */
const LISTED_MAX = 12;
/** Milliseconds of rest before the server is asked. */
const REST_MS = 120;

/** Queries that this browser remembers for each page, and how many characters one may have. */
const REMEMBERED_MAX = 30;
const REMEMBERED_CHARS_MAX = 500;
/** Of those, offered at once. */
const OFFERED_MAX = 8;
const KEY = `queries:${location.pathname}`;

// Newest first; without storage, as in a private window, nothing is remembered.
const remembered = () => {
  try { return JSON.parse(localStorage.getItem(KEY)) ?? []; } catch { return []; }
};
const remember = (queries) => {
  try { localStorage.setItem(KEY, JSON.stringify(queries.slice(0, REMEMBERED_MAX))); } catch { /* private */ }
};

// The API counts characters; strings here count UTF-16 units.
const length = (text) => [...text].length;
const unitsOf = (text, characters) => [...text].slice(0, characters).join("").length;

document.documentElement.classList.add("has-js");
for (const form of document.querySelectorAll("form.qbar")) setUp(form);

function setUp(form) {
  const field = form.querySelector(".qtext input");
  const ghost = form.querySelector(".ghost");
  const list = document.createElement("ul");
  list.className = "combo";
  list.id = "completions";
  list.hidden = true;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Completions");
  const count = document.createElement("span");
  count.className = "vh";
  count.setAttribute("role", "status");
  form.append(list, count);
  for (const [name, value] of Object.entries({
    role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id,
  })) field.setAttribute(name, value);

  // Only queries that a person sent and that worked are remembered.
  try {
    const sent = sessionStorage.getItem(KEY);
    if (sent && sent.length <= REMEMBERED_CHARS_MAX && sent === form.elements.last.value && !form.matches(".bad")) {
      remember([sent, ...remembered().filter((query) => query !== sent)]);
    }
    sessionStorage.removeItem(KEY);
  } catch { /* private */ }

  let options = [];
  let chosen = -1;
  let timer = 0;
  let asked = null;
  // Tab completes only what was just typed; otherwise it leaves the field, as everywhere.
  let typed = false;

  const chips = () => [...form.querySelectorAll(".chip input")].map((input) => input.value);
  const before = () => chips().map((text) => `${text} `).join("");

  function close() {
    asked?.abort();
    clearTimeout(timer);
    list.hidden = true;
    options = [];
    choose(-1);
    field.setAttribute("aria-expanded", "false");
  }

  function choose(index) {
    chosen = index;
    [...list.children].forEach((item, at) => item.setAttribute("aria-selected", at === index));
    const item = list.children[index];
    if (item) {
      item.scrollIntoView({ block: "nearest" });
      field.setAttribute("aria-activedescendant", item.id);
    } else {
      field.removeAttribute("aria-activedescendant");
    }
  }

  function show(found) {
    options = found.slice(0, LISTED_MAX);
    list.replaceChildren(...options.map((option, at) => {
      const item = document.createElement("li");
      item.id = `completion-${at}`;
      item.setAttribute("role", "option");
      const label = document.createElement("span");
      label.textContent = option.label;
      item.append(label);
      const note = document.createElement("small");
      note.textContent = option.query ? "recent" : option.count == null ? option.kind : Number(option.count).toLocaleString("en").replaceAll(",", "\u2009");
      item.append(note);
      item.addEventListener("pointerdown", (event) => { event.preventDefault(); take(at); });
      return item;
    }));
    list.hidden = options.length === 0;
    field.setAttribute("aria-expanded", String(!list.hidden));
    count.textContent = list.hidden ? "" : `${options.length} completions`;
    choose(-1);
  }

  /** Puts a completion in place of what it replaces; offsets are characters of the whole query. */
  function take(index) {
    const option = options[index];
    if (option.forget) { remember([]); return close(); }
    if (option.query) return retake(option.query);
    const head = before();
    const query = head + field.value;
    const [from, to] = option.replace.map((offset) => unitsOf(query, offset) - head.length);
    const whole = option.kind === "value" && !/[,:]$/.test(option.insert);
    const insert = option.insert + (whole ? " " : "");
    field.value = field.value.slice(0, Math.max(0, from)) + insert + field.value.slice(Math.max(0, to)).trimStart();
    const caret = Math.max(0, from) + insert.length;
    field.setSelectionRange(caret, caret);
    mistakeGone();
    close();
    typed = false;
    ask();
  }

  /** A remembered query takes the place of everything in the bar. */
  function retake(query) {
    for (const chip of form.querySelectorAll(".chip")) chip.remove();
    field.value = query;
    field.placeholder = "";
    field.setSelectionRange(query.length, query.length);
    mistakeGone();
    close();
  }

  /** What this browser asked before, where nothing is typed yet. */
  function recent() {
    if (field.value.trim()) return [];
    const shown = before().trim();
    return remembered().filter((query) => query !== shown).slice(0, OFFERED_MAX).map((query) => ({ query, label: query }));
  }

  async function ask() {
    asked?.abort();
    asked = new AbortController();
    const head = before();
    const kept = recent();
    if (kept.length) return show([...kept, { forget: true, label: "Forget these", kind: "this browser only" }]);
    const url = new URL(form.dataset.suggest, location.href);
    const here = new URLSearchParams(location.search);
    for (const name of ["start", "end"]) if (here.get(name)) url.searchParams.set(name, here.get(name));
    url.searchParams.set("query", head + field.value);
    url.searchParams.set("at", length(head + field.value.slice(0, field.selectionStart ?? 0)));
    try {
      const answer = await fetch(url, { signal: asked.signal, headers: { accept: "application/json" } });
      if (!answer.ok || document.activeElement !== field) return;
      show((await answer.json()).suggestions ?? []);
    } catch { /* a newer question, or the server is away: typing goes on without completions */ }
  }

  function mistakeGone() {
    ghost?.remove();
    field.removeAttribute("aria-invalid");
  }

  /** A chip goes back into the text to be changed. */
  function edit(chip) {
    const text = chip.querySelector("input").value;
    const next = chip.nextElementSibling;
    chip.remove();
    field.value = field.value ? `${text} ${field.value}` : text;
    field.placeholder = "";
    // Only the last chip keeps the order of terms; any other goes to the front of the text.
    field.focus();
    const caret = next?.classList.contains("chip") ? text.length : field.value.length;
    field.setSelectionRange(caret, caret);
    mistakeGone();
  }

  field.addEventListener("input", () => {
    mistakeGone();
    typed = true;
    clearTimeout(timer);
    timer = setTimeout(ask, REST_MS);
  });
  field.addEventListener("blur", close);
  field.addEventListener("click", () => { if (list.hidden && recent().length) ask(); });
  // CSSOM, which the policy allows; an attribute would be blocked.
  field.addEventListener("scroll", () => { if (ghost) ghost.style.left = `${-field.scrollLeft}px`; });

  field.addEventListener("keydown", (event) => {
    const open = !list.hidden;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!open) return ask();
      const step = event.key === "ArrowDown" ? 1 : -1;
      choose((chosen + step + options.length + (chosen < 0 && step < 0 ? 1 : 0)) % options.length);
    } else if (event.key === "Enter" && open && chosen >= 0) {
      event.preventDefault();
      take(chosen);
    } else if (event.key === "Tab" && !event.shiftKey && open && (typed || chosen >= 0)) {
      event.preventDefault();
      take(Math.max(0, chosen));
    } else if (event.key === "Tab" && !event.shiftKey && field.getAttribute("aria-invalid")) {
      const fix = document.querySelector("a[data-fix]");
      if (fix) { event.preventDefault(); fix.click(); }
    } else if (event.key === "Escape" && open) {
      event.stopPropagation();
      event.preventDefault();
      close();
    } else if (event.key === "Backspace" && field.selectionEnd === 0) {
      const last = [...form.querySelectorAll(".chip")].at(-1);
      if (last) { event.preventDefault(); edit(last); }
    }
  });

  form.addEventListener("click", (event) => {
    const text = event.target.closest(".ct");
    if (text) edit(text.parentElement);
    else if (event.target === form) field.focus();
  });

  // One parameter with the whole query: the address stays as a person would write it.
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const url = new URL(form.action);
    const data = new FormData(form);
    const query = data.getAll("query").map((part) => part.trim()).filter(Boolean).join(" ");
    for (const [name, value] of data) if (name !== "query" && name !== "last" && value) url.searchParams.append(name, value);
    if (query) url.searchParams.set("query", query);
    try { sessionStorage.setItem(KEY, query); } catch { /* private */ }
    const good = data.get("last");
    if (good && good !== query) url.searchParams.set("last", good);
    location.assign(url);
  });
}

const bar = document.querySelector("form.qbar .qtext input");
if (bar) bar.dataset.focus = "q";
