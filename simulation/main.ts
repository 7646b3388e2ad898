import { writeFileSync } from 'node:fs';
import { asked, throughput } from './asked.ts';
import { HELP, readOptions, type SimulationOptions } from './options.ts';
import { plotOf } from './plot.ts';
import { type Run, reportsOf, run } from './run.ts';
import { tableOf, whole } from './table.ts';

try {
  const options = readOptions(process.argv.slice(2));
  if (options.help) process.stdout.write(HELP);
  else show(run(options.seed, options.window, progress), options);
} catch (error) {
  process.stderr.write(`simulate: ${(error as Error).message}\n`);
  process.exitCode = 1;
}

function progress(step: string, tookMs: number): void {
  process.stderr.write(`simulate: ${step}, ${(tookMs / 1000).toFixed(1)} s\n`);
}

function show(day: Run, { seed, window, json, out }: SimulationOptions): void {
  const reports = reportsOf(day);
  const claims = asked(day.keyBalancer, day.oracle);
  if (out !== '') writeFileSync(out, plotOf(day.world, reports));
  if (claims.some(({ holds }) => !holds)) process.exitCode = 1;
  if (json) {
    const schedulers = reports.map((report) => ({ ...report, throughput: throughput(report, day.oracle) }));
    process.stdout.write(
      `${JSON.stringify({ seed, window, capacity: Math.round(day.load.capacity), schedulers, claims })}\n`,
    );
    return;
  }
  const share = ((100 * day.load.count) / day.load.capacity).toFixed(0);
  process.stdout.write(
    `A day of ${whole(day.load.count)} calls, ${share} % of what all projects admit; seed ${seed}, minutes ${window}.\n\n` +
      `${tableOf(reports)}\nAsked of KeyBalancer:\n` +
      claims.map(({ claim, figure, holds }) => `  ${holds ? 'yes' : 'NO '}  ${claim}: ${figure}\n`).join('') +
      (out === '' ? '' : `\nThe plot is in ${out}.\n`),
  );
}
