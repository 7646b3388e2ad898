/** How long it takes to judge each recorded failure, and to explain it in a log, in microseconds. Run: node bench/classify.ts */
import { create } from '@bufbuild/protobuf';
import { classify } from '../src/gemini/classify.ts';
import { explainError } from '../src/gemini/explain.ts';
import { ProviderErrorSchema } from '../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { SAMPLES, textOf } from '../test/gemini/error-samples.ts';

const RUNS = 2_000;
const ROUNDS = 7;

const reports = SAMPLES.map((sample) => ({
  name: sample.name,
  report: create(ProviderErrorSchema, { body: textOf(sample), httpStatus: sample.httpStatus }),
}));
const largest = JSON.stringify({ error: { code: 400, message: 'x"\\'.repeat(2 ** 20), status: 'INVALID_ARGUMENT' } });
reports.push({
  name: '(4 MiB, cut at 16 KiB)',
  report: create(ProviderErrorSchema, { body: largest, httpStatus: 400 }),
});

const best = new Map<string, number>();
for (let round = 0; round < ROUNDS; round++) {
  for (const { name, report } of reports) {
    const start = performance.now();
    for (let run = 0; run < RUNS; run++) classify(report);
    const us = ((performance.now() - start) * 1000) / RUNS;
    best.set(name, Math.min(us, best.get(name) ?? us));
  }
}
const sorted = [...best].sort((a, b) => a[1] - b[1]);
for (const [name, us] of sorted) console.log(`${us.toFixed(2).padStart(8)} us  ${name}`);
const median = sorted[Math.floor(sorted.length / 2)]![1];
console.log(`${median.toFixed(2).padStart(8)} us  median of ${sorted.length}`);

const logs = SAMPLES.map((sample) => `10:01:02 ERROR call failed: ${textOf(sample)}\n    at somewhere (file.ts:1:2)`);
const start = performance.now();
for (let run = 0; run < RUNS / 10; run++) for (const log of logs) explainError(log);
const perLog = ((performance.now() - start) * 1000) / (RUNS / 10) / logs.length;
console.log(`${perLog.toFixed(2).padStart(8)} us  mean of explaining each in a log`);
