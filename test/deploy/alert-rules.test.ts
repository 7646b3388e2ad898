import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { isInstalled } from '../support/programs.ts';
import { tempDir } from '../support/temp-dir.ts';
import { DEPLOY } from './manifests.ts';

/** Series by name and labels, a value each minute as promtool writes them: "0+6x30" is 0, 6, 12 and so on. */
type Series = Record<string, string>;

/** The alert fires for just these pools after so many minutes of the series. */
function expectFiring(alert: string, minutes: number, series: Series, pools: readonly string[]): void {
  const expr = `count by (pool) (ALERTS{alertname="${alert}",alertstate="firing"})`;
  const exp_samples = pools.map((pool) => ({ labels: `{pool="${pool}"}`, value: 1 }));
  const tests = [
    {
      interval: '1m',
      input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
      promql_expr_test: [{ expr, eval_time: `${minutes}m`, exp_samples }],
    },
  ];
  const path = join(tempDir(), 'test.yml');
  writeFileSync(path, JSON.stringify({ rule_files: [RULES], evaluation_interval: '1m', tests }));
  const { status, stderr } = spawnSync('promtool', ['test', 'rules', path], { encoding: 'utf8' });
  expect(status, stderr).toBe(0);
}

const RULES = join(DEPLOY, 'prometheus/keybalancer.rules.yml');
const failures = 'keybalancer_failures_total';
const refusals = 'keybalancer_acquire_refusals_total';
const acquired = 'keybalancer_leases_acquired_total';

const missing = isInstalled('promtool') ? '' : "alerts are not tried: Debian's package prometheus is missing";
if (missing !== '') process.stderr.write(`${missing}\n`);

describe.skipIf(missing !== '')('by promtool', () => {
  test('the first key of a pool that Gemini refuses is told of', () => {
    const told = {
      [`${failures}{pool="a",class="key_invalid"}`]: '0x5 1x20',
      [`${failures}{pool="b",class="key_invalid"}`]: '0x25',
    };
    expectFiring('KeyBalancerKeysDisabled', 5, told, []);
    expectFiring('KeyBalancerKeysDisabled', 7, told, ['a']);
  });

  test('acquires that are refused are told of, callers that hang up while they wait are not', () => {
    const told = {
      [`${acquired}{pool="a"}`]: '0+60x30',
      [`${refusals}{pool="a",reason="no_key_available"}`]: '0+6x30',
      [`${acquired}{pool="b"}`]: '0+60x30',
      [`${refusals}{pool="b",reason="no_key_available"}`]: '0x30',
      [`${refusals}{pool="b",reason="operation_cancelled"}`]: '0+60x30',
    };
    expectFiring('KeyBalancerAcquiresRefused', 20, told, ['a']);
  });
});
