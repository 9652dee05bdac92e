// One journey's world: servers of its own, browser contexts of its own, and the gates that hold on
// every page it visits: no CSP violation, no console error, nothing from outside this machine.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { checkAccessible, checkWeight } from "./gates.mjs";
import { Server } from "./server.mjs";

const PATHS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const LOOPBACK = /^(127\.\d+\.\d+\.\d+|localhost|\[::1\])$/;

export async function launch() {
  const executablePath = process.env.CHROMIUM ?? PATHS.find(existsSync);
  assert(executablePath && existsSync(executablePath), "no chromium: set CHROMIUM to one");
  // No name but this machine's is found. Intercepting requests would do it too, and turn the cache
  // off: then no page is opened as a browser opens it.
  const alone = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1, EXCLUDE [::1]";
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", alone] });
}

export class Tour {
  #browser;
  #binary;
  #servers = [];
  #contexts = [];
  #noise = [];

  constructor(browser, binary, name) {
    this.#browser = browser;
    this.#binary = binary;
    this.name = name;
  }

  /** Starts a server; `args` come after loopback ports chosen by the system. */
  async server(args = []) {
    const server = await Server.start(this.#binary, args);
    this.#servers.push(server);
    return server;
  }

  /** A fresh browser profile with one page. `options` are Playwright's context options. */
  async page(options = {}) {
    const context = await this.#browser.newContext({ viewport: { width: 1280, height: 800 }, timezoneId: "Europe/Berlin", ...options });
    context.setDefaultTimeout(10_000);
    this.#contexts.push(context);
    if (options.javaScriptEnabled !== false) {
      await context.exposeFunction("__violation", (text) => this.#noise.push(`content security policy: ${text}`));
      await context.addInitScript(() => {
        addEventListener("securitypolicyviolation", (e) => window.__violation(`${e.violatedDirective} ${e.blockedURI} at ${e.sourceFile}:${e.lineNumber}`));
      });
    }
    const page = await context.newPage();
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.protocol.startsWith("http") && !LOOPBACK.test(url.hostname)) this.#noise.push(`a request to ${url} left this machine`);
    });
    page.on("console", (message) => {
      if (message.type() === "error") this.#noise.push(`console: ${message.text()} at ${message.location().url}`);
    });
    page.on("pageerror", (error) => this.#noise.push(`script error: ${error.stack}`));
    return page;
  }

  /** The page answers an expected 4xx: Chromium logs those as console errors, drop that one line. */
  expectStatus(status) {
    const at = this.#noise.findIndex((line) => line.includes(`the server responded with a status of ${status}`));
    assert(at >= 0, `no answer with status ${status} was logged: ${this.#noise}`);
    this.#noise.splice(at, 1);
  }

  /** axe in light and dark at 1280 and 360 px, and no sideways scrolling on a phone. */
  async accessible(page) {
    await checkAccessible(page);
  }

  /** Bytes over the wire of a first visit to `url` with an empty cache; `budget` is that of gates.mjs. */
  async weight(url, budget) {
    // An empty cache, and without the gates of `page`.
    const context = await this.#browser.newContext({ timezoneId: "UTC" });
    try {
      await checkWeight(await context.newPage(), url, budget);
    } finally {
      await context.close();
    }
  }

  assertQuiet() {
    assert.deepEqual(this.#noise, [], "the pages must stay quiet");
  }

  /** A picture of every open page, for whoever has to find out what went wrong. */
  async picture() {
    const out = join(import.meta.dirname, "out");
    const pages = this.#contexts.flatMap((context) => context.pages());
    for (const [i, page] of pages.entries()) {
      await page.screenshot({ path: join(out, `${this.name}-${i}.png`) }).catch(() => {});
    }
  }

  serverLog() {
    return this.#servers.map((server) => server.stderr).join("\n");
  }

  async end() {
    await Promise.all(this.#contexts.map((context) => context.close().catch(() => {})));
    await Promise.all(this.#servers.map((server) => server.stop()));
  }
}
