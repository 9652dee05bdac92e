// How fast this browser on this machine runs now, against an idle machine of 2 cores: budgets of
// ui.md hold there, and grow by the same factor where other work takes the cores.
import assert from "node:assert/strict";

// Milliseconds of the loop below on the idle reference machine (2 cores of an AMD EPYC guest).
const REFERENCE_MS = 42;
// A slower machine than this says nothing about the page any more.
const FACTOR_MAX = 8;

/** The factor for budgets, at least 1. */
export async function pace(page) {
  const loops = await page.evaluate(() => Array.from({ length: 5 }, () => {
    const start = performance.now();
    // What the waterfall does: numbers into typed arrays, sorted, and text from them.
    const numbers = Float64Array.from({ length: 200_000 }, (_, i) => (i * 2_654_435_761) % 1_000_003).sort();
    let text = "";
    for (let i = 0; i < numbers.length; i += 4) text += `M${numbers[i]} 13h${i}`;
    return text.length ? performance.now() - start : 0;
  }));
  const factor = Math.max(1, loops.sort((a, b) => a - b)[2] / REFERENCE_MS);
  assert(factor <= FACTOR_MAX, `the browser is ${factor.toFixed(1)} times slower than the reference: ${loops}`);
  return factor;
}

/** Fails where `ms` is over the budget at this pace; returns a text for the log. */
export function within(what, ms, budget, factor) {
  assert(ms <= budget * factor, `${what}: ${ms.toFixed(1)} ms, the budget is ${budget} ms times ${factor.toFixed(2)} for this machine now`);
  return `${what} ${ms.toFixed(1)}/${budget} ms`;
}
