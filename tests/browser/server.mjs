// The real binary on ports and data of its own, and what an SDK would send to it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export class Server {
  stderr = "";
  #child;
  #dir;

  static async start(binary, args) {
    const server = new Server();
    server.#dir = await mkdtemp(join(tmpdir(), "watchpost-browser-"));
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("WATCHPOST_")));
    const listeners = ["--listen", "--otlp-grpc-listen", "--otlp-http-listen"];
    const given = listeners.filter((flag) => !args.includes(flag)).flatMap((flag) => [flag, "127.0.0.1:0"]);
    server.#child = spawn(binary, ["--data-dir", join(server.#dir, "data"), ...given, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
    server.#child.stderr.setEncoding("utf8").on("data", (text) => (server.stderr += text));
    const lines = createInterface({ input: server.#child.stdout });
    const ended = once(server.#child, "exit").then(() => assert.fail(`the server ended: ${server.stderr}`));
    const [ready] = await Promise.race([once(lines, "line"), ended]);
    ended.catch(() => {});
    const at = (name) => ready.match(new RegExp(`${name}=(\\S+)`))?.[1].replace("0.0.0.0", "127.0.0.1");
    server.base = `http://${at("http")}`;
    server.otlpHttp = `http://${at("otlp_http")}`;
    server.otlpGrpc = at("otlp_grpc");
    return server;
  }

  /** The path and query of the set-up link on stderr. */
  async setupLink() {
    for (let i = 0; i < 200; i++) {
      const link = this.stderr.match(/\/login\?setup=\S+/)?.[0];
      if (link) return this.base + link;
      await new Promise((done) => setTimeout(done, 10));
    }
    assert.fail(`no set-up link on stderr: ${this.stderr}`);
  }

  /** POSTs JSON; returns the response. */
  post(path, body, headers = {}) {
    return fetch(this.base + path, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) });
  }

  /** Sends spans as an SDK does; `spans` as OTLP/JSON, missing ids and times are filled in;
   *  `more` are attributes of the resource. */
  async sendSpans(service, spans, headers, more) {
    const answer = await this.post("/v1/traces", { resourceSpans: [{ resource: resource(service, more), scopeSpans: [{ scope: { name: "journey" }, spans: spans.map(span) }] }] }, headers);
    assert.equal(answer.status, 200, await answer.text());
  }

  /** Sends log records as an SDK does; `records` as OTLP/JSON, missing times are filled in. */
  async sendLogs(service, records, headers, more) {
    const answer = await this.post("/v1/logs", { resourceLogs: [{ resource: resource(service, more), scopeLogs: [{ scope: { name: "journey" }, logRecords: records.map(record) }] }] }, headers);
    assert.equal(answer.status, 200, await answer.text());
  }

  async stop() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exit = once(this.#child, "exit");
      this.#child.kill("SIGTERM");
      await exit;
    }
    await rm(this.#dir, { recursive: true, force: true });
  }
}

export const attributes = (values) => Object.entries(values).map(([key, value]) => ({ key, value: any(value) }));

const any = (value) => {
  if (typeof value === "boolean") return { boolValue: value };
  if (Number.isInteger(value)) return { intValue: String(value) };
  return typeof value === "number" ? { doubleValue: value } : { stringValue: String(value) };
};

const resource = (service, more) => ({ attributes: attributes({ "service.name": service, "service.version": "1.8.2", ...more }) });

export const hex = (bytes) => Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (b) => b.toString(16).padStart(2, "0")).join("");

/** Epoch ns as OTLP/JSON writes them; `ms` before now. */
export const nanosAgo = (ms) => String(BigInt(Math.round((Date.now() - ms) * 1000)) * 1000n);

const span = (given) => ({ traceId: hex(16), spanId: hex(8), kind: 2, startTimeUnixNano: nanosAgo(1200), endTimeUnixNano: nanosAgo(200), ...given });
const record = (given) => ({ timeUnixNano: nanosAgo(1000), severityNumber: 9, severityText: "INFO", ...given, body: any(given.body) });
