/** Writes the tables of metrics in docs/telemetry.md, from the catalog that the program itself uses. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CATALOG, fullName, type Metric, prometheusName } from '../src/server/metrics/catalog.ts';
import { markdownTable } from './markdown-table.ts';

export const TELEMETRY = join(resolve(import.meta.dirname, '..'), 'docs/telemetry.md');

const BEGIN = '<!-- Made by npm run metrics-reference';
const END = '<!-- The end of the tables. -->';

/** The document with its tables as they should be. */
export function withMetrics(text: string): string {
  const begin = text.indexOf('-->\n', text.indexOf(BEGIN)) + '-->\n'.length;
  const end = text.indexOf(END);
  if (begin < BEGIN.length || end < begin) throw new Error('docs/telemetry.md has lost the marks of its tables');
  const metrics: Metric[] = Object.values(CATALOG);
  const always = table(metrics.filter(({ perKey }) => !perKey));
  const perKey = table(metrics.filter((metric) => metric.perKey));
  return `${text.slice(0, begin)}\n${always}\nOf single keys, where that is asked for:\n\n${perKey}\n${text.slice(end)}`;
}

function table(metrics: readonly Metric[]): string {
  const head = ['At `/metrics`', 'OpenTelemetry', 'Kind', 'Unit', 'Labels', 'What it says'];
  const rows = metrics.map((metric) => [
    code(prometheusName(metric)),
    code(fullName(metric)),
    metric.kind,
    metric.unit === '' ? '' : code(metric.unit),
    metric.labels.map(code).join(', '),
    metric.help,
  ]);
  return markdownTable(head, rows);
}

function code(text: string): string {
  return `\`${text}\``;
}

if (import.meta.main) writeFileSync(TELEMETRY, withMetrics(readFileSync(TELEMETRY, 'utf8')));
