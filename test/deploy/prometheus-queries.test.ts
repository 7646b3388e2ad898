import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { parse } from 'yaml';
import { connect } from '../../src/client/connect.ts';
import { Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { anchorsOf } from '../docs/markdown.ts';
import { ROOT } from '../repository/root.ts';
import { freePort } from '../support/free-port.ts';
import { isInstalled } from '../support/programs.ts';
import { ServerProcess } from '../support/server-process.ts';

/** Whose quota is known. */
const PROJECT = '100000000001';
const RULES = join(ROOT, 'deploy/prometheus/keybalancer.rules.yml');
const DASHBOARDS = join(ROOT, 'deploy/grafana/dashboards');

interface Rule {
  alert: string;
  expr: string;
  annotations: { summary: string; runbook: string };
}
const rules = (parse(readFileSync(RULES, 'utf8')) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
);

/** Each query of a dashboard, with Grafana's variables as it would fill them in. */
function queriesOf(file: string): { title: string; query: string }[] {
  const { panels } = JSON.parse(readFileSync(join(DASHBOARDS, file), 'utf8')) as {
    panels: { title: string; targets?: { expr: string }[] }[];
  };
  return panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => ({ title, query: expr.replaceAll('$pool', '.*').replaceAll('$__rate_interval', '1m') })),
  );
}
const dashboards = readdirSync(DASHBOARDS).filter((name) => name.endsWith('.json'));

const missing = ['prometheus', 'promtool'].filter((name) => !isInstalled(name));
if (missing.length > 0)
  process.stderr.write(
    `queries of deploy/ are not tried: missing ${missing.join(' and ')} of Debian's package prometheus\n`,
  );

describe.skipIf(missing.length > 0)('against a real Prometheus that scrapes a real server', () => {
  let server: ServerProcess;
  let prometheus: ChildProcess;
  let url: string;
  const dirs: string[] = [];
  const ownDir = (): string => {
    const dir = mkdtempSync(join(tmpdir(), 'keybalancer-'));
    dirs.push(dir);
    return dir;
  };

  const ask = async (query: string): Promise<{ metric: Record<string, string>; value: [number, string] }[]> => {
    const answer = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(query)}`);
    const { status, data, error } = (await answer.json()) as {
      status: string;
      data: { result: never[] };
      error: string;
    };
    expect(`${status} ${error ?? ''}`, query).toBe('success ');
    return data.result;
  };

  beforeAll(async () => {
    server = await ServerProcess.start({
      dataDir: ownDir(),
      http: '127.0.0.1:0',
      more: ['--verify', 'off', '--metrics-per-key', 'on'],
      endedBy: 'starter',
    });
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    const dir = ownDir();
    const config = join(dir, 'prometheus.yml');
    const scrapes = [{ job_name: 'keybalancer', static_configs: [{ targets: [server.http] }] }];
    const global = { scrape_interval: '250ms', scrape_timeout: '250ms', evaluation_interval: '250ms' };
    writeFileSync(config, JSON.stringify({ global, rule_files: [RULES], scrape_configs: scrapes }));
    const storage = `--storage.tsdb.path=${join(dir, 'data')}`;
    prometheus = spawn('prometheus', [`--config.file=${config}`, storage, `--web.listen-address=127.0.0.1:${port}`], {
      stdio: 'ignore',
    });
    const patience = { timeout: 60_000, interval: 50 };
    await vi.waitFor(async () => expect((await fetch(`${url}/-/ready`)).status).toBe(200), patience);
    await vi.waitFor(async () => expect(await ask('keybalancer_start_time_seconds')).not.toEqual([]), patience);
    // Once, so that an alert has to see the first of everything.
    await use(server.grpc);
  });

  afterAll(async () => {
    prometheus?.kill('SIGKILL');
    await once(prometheus, 'exit');
    await server.kill();
    for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
  });

  test.each(dashboards)('every query of %s has an answer', async (file) => {
    const queries = queriesOf(file);
    expect(queries.length).toBeGreaterThan(20);
    // What has a series only since it was used has a rate after two scrapes.
    const unanswered = async (): Promise<string[]> => {
      const empty = [];
      for (const { title, query } of queries) if ((await ask(query)).length === 0) empty.push(`${title}: ${query}`);
      return empty;
    };
    await expect.poll(unanswered, { interval: 250 }).toEqual([]);
  });

  test('every metric that an alert looks at is there', async () => {
    const names = new Set(rules.flatMap(({ expr }) => expr.match(/\bkeybalancer_\w+/g) ?? []));
    expect(names.size).toBeGreaterThan(5);
    const absent = async (): Promise<string[]> => {
      const found = [];
      for (const name of names) if ((await ask(name)).length === 0) found.push(name);
      return found;
    };
    await expect.poll(absent, { interval: 250 }).toEqual([]);
  });

  test('an alert fires when its reason is there, and the others do not', async () => {
    const { data } = (await (await fetch(`${url}/api/v1/rules`)).json()) as {
      data: { groups: { rules: { name: string; state: string; health: string }[] }[] };
    };
    const states = Object.fromEntries(
      data.groups.flatMap((group) => group.rules).map(({ name, state }) => [name, state]),
    );
    expect(Object.keys(states).sort()).toEqual(rules.map(({ alert }) => alert).sort());
    await expect
      .poll(async () => (await ask('ALERTS{alertname="KeyBalancerKeysDisabled"}'))[0]?.metric)
      .toMatchObject({
        alertstate: 'firing',
        pool: 'default',
        class: 'key_invalid',
      });
    const quiet = ['KeyBalancerDown', 'KeyBalancerPoolExhausted', 'KeyBalancerStoreFailing'];
    expect(quiet.map((name) => states[name])).toEqual(quiet.map(() => 'inactive'));
  });
});

test('each alert has a runbook that is there', () => {
  const anchors = anchorsOf('docs/telemetry.md');
  expect(rules.map(({ annotations }) => annotations.runbook)).toEqual(
    rules.map(({ alert }) => `docs/telemetry.md#${alert.toLowerCase()}`),
  );
  expect(rules.filter(({ alert }) => !anchors.includes(alert.toLowerCase()))).toEqual([]);
});

/** Leases of every end, errors of several classes, one of which makes a project rest for an hour, and an acquire that is refused. */
async function use(address: string): Promise<void> {
  const balancer = await connect({ address });
  for (let key = 0; key < 5; key++) {
    const apiKey = `AQ.test-key-${String(performance.now()).replace('.', '')}-${key}`;
    await balancer.keyAdmin.createKey({ apiKey, ...(key === 0 && { key: { project: PROJECT } }) });
  }
  const limits = { requestsPerDay: { value: 1_000n }, requestsPerMinute: { value: 1_000n } };
  await balancer.keyAdmin.setQuota({ quota: { project: PROJECT, model: 'm', ...limits } });
  const lease = async () => (await balancer.keyBalancer.acquireKey({ model: 'm' })).lease!.leaseId;
  const usage = { inputTokens: 5n, outputTokens: 5n, cachedTokens: 1n };
  const latency = { seconds: 1n };
  for (let call = 0; call < 3; call++) {
    await balancer.keyBalancer.reportResult({ leaseId: await lease(), outcome: Outcome.SUCCESS, usage, latency });
  }
  const errors = [
    { httpStatus: 503, body: '{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}' },
    {
      httpStatus: 400,
      body: '{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}',
    },
    {
      httpStatus: 403,
      body: '{"error":{"code":403,"message":"Generative Language API has not been used in project 100000000002 before or it is disabled.","status":"PERMISSION_DENIED"}}',
    },
  ];
  for (const error of errors) {
    // Only the first of them is of the model.
    const { lease } = await balancer.keyBalancer.acquireKey({ model: error.httpStatus === 503 ? 'overloaded' : 'm' });
    await balancer.keyBalancer.reportResult({ leaseId: lease!.leaseId, outcome: Outcome.FAILURE, error });
  }
  await balancer.keyBalancer.acquireKey({ model: 'm', requireProject: 'nobody' }).catch(() => {});
  await balancer.keyBalancer.acquireKey({ model: 'm', leaseTtl: { seconds: 1n } });
  await balancer.close();
}
