// Search inside a trace: the query bar's language over what the waterfall's columns hold (service,
// name, status, duration and free text). Loaded after the waterfall stands; knows no page.
const SCALE = { ns: 1, us: 1e3, "µs": 1e3, ms: 1e6, s: 1e9, m: 6e10 };
/** One word of the query bar's language as a test over rows; undefined where it is not known here. */
function term(T, word) {
  const [, not, field, raw] = /^(-?)(?:([\w.]+):)?(.*)$/s.exec(word), value = raw.replace(/^"|"$/g, "").toLowerCase();
  const like = text => !field ? text.includes(value) : value.endsWith("*") ? text.startsWith(value.slice(0, -1)) : text === value;
  const over = (list, column) => { const ok = list.map(of => like((of.name ?? of).toLowerCase())); return i => ok[column[i]]; };
  const services = over(T.services, T.service), names = over(T.operations, T.op);
  const [, sign = "=", number, unit] = /^([<>]?=?)([\d.]+)([a-zµ]+)$/.exec(value) || [], ns = number * SCALE[unit];
  const test = { service: services, name: names, status: i => T.bad[i] == (value == "error"),
    duration: ns >= 0 && (i => sign.includes("=") && T.dur[i] == ns || sign[0] == ">" && T.dur[i] > ns || sign[0] == "<" && T.dur[i] < ns),
    [undefined]: i => services(i) || names(i) }[field];
  return test && (not ? i => !test(i) : test);
}

/** Makes `match(text, hits)`: sets `hits[row]` of rows that match all words; false where a field is not known here. */
export const matcher = T => (text, hits) => {
  const tests = (text.match(/-?(?:[\w.]+:)?"[^"]*"|\S+/g) || []).map(word => term(T, word));
  if (!tests.every(Boolean)) return false;
  if (tests.length) for (let i = 0; i < T.n; i++) hits[i] = tests.every(test => test(i));
  return true;
};
