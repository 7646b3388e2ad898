import type { Report } from './account.ts';
import { percent, throughput } from './asked.ts';

/** The reports side by side, a line for each figure. The first is the oracle's. */
export function tableOf(reports: readonly [Report, ...Report[]]): string {
  const [oracle] = reports;
  const rows: [label: string, cell: (report: Report) => string][] = [
    ['calls', ({ calls }) => whole(calls)],
    ['answered', ({ answered }) => whole(answered)],
    ["  of the oracle's answers", (report) => percent(throughput(report, oracle))],
    ['unserved: no key in 30 s', ({ unserved }) => whole(unserved)],
    ['failed three times', ({ failed }) => whole(failed)],
    ['attempts', ({ attempts }) => whole(attempts)],
    ['429s', ({ tooMany }) => whole(tooMany)],
    ['  first lesson of a limit', ({ lessons }) => whole(lessons)],
    ['  half-open probes', ({ probes }) => whole(probes)],
    ['  others', ({ tooMany, lessons, probes }) => whole(tooMany - lessons - probes)],
    ['  others, of calls', ({ tooManyShare }) => percent(tooManyShare)],
    ['server errors (500)', ({ serverErrors }) => whole(serverErrors)],
    ['overloaded (503)', ({ overloaded }) => whole(overloaded)],
    ['attempts with dead keys', ({ deadPicks }) => whole(deadPicks)],
    ['  after their verification', ({ verifiedDeadPicks }) => whole(verifiedDeadPicks)],
    ['healthy keys disabled', ({ healthyKeysDisabled }) => whole(healthyKeysDisabled)],
    ['wait, mean', ({ meanWaitMs }) => seconds(meanWaitMs)],
    ['wait, p99', ({ p99WaitMs }) => seconds(p99WaitMs)],
  ];
  const lines = [
    ['', ...reports.map(({ name }) => name)],
    ...rows.map(([label, cell]) => [label, ...reports.map(cell)]),
  ];
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines
    .map((line) =>
      line.map((text, column) => (column === 0 ? text.padEnd(widths[0]!) : text.padStart(widths[column]!))),
    )
    .map((cells) => `${cells.join('   ').trimEnd()}\n`)
    .join('');
}

export function whole(value: number): string {
  return value.toLocaleString('en-US');
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}
