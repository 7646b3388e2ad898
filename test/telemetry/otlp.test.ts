import { Metadata } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { CATALOG, fullName } from '../../src/server/metrics/catalog.ts';
import { rawClient } from '../support/server-clients.ts';
import { type ServeOptions, ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';
import { Collector, type Mood } from './collector.ts';

const SERVICE = 'keybalancer.v1.KeyBalancerService';
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';
const traced = (flags = '01') => ({ traceparent: `00-${TRACE}-${PARENT}-${flags}` });
/** Metrics are sent so often, in milliseconds. */
const SOON = { OTEL_METRIC_EXPORT_INTERVAL: '200' };
/** A collector that may not answer is waited for so long. */
const IMPATIENT = { OTEL_EXPORTER_OTLP_TIMEOUT: '400' };

function serve(env: Record<string, string>, more: Partial<ServeOptions> = {}): Promise<ServerProcess> {
  return ServerProcess.start({ dataDir: tempDir(), http: '127.0.0.1:0', env: { ...SOON, ...env }, ...more });
}

/** Calls a method with an empty request. Resolves with its status code. */
function call(server: ServerProcess, method: string, headers: Record<string, string> = {}): Promise<number> {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  const client = rawClient(server.grpc);
  const same = (bytes: Buffer): Buffer => bytes;
  return new Promise((resolve) => {
    client.makeUnaryRequest(`/${SERVICE}/${method}`, same, same, Buffer.alloc(0), metadata, (error) =>
      resolve(error === null ? 0 : error.code),
    );
  });
}

function post(server: ServerProcess, method: string, headers: Record<string, string>): Promise<Response> {
  const url = `http://${server.http}/${SERVICE}/${method}`;
  return fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: '{}' });
}

/** Lines of the log with this message. */
function lines(server: ServerProcess, msg: string): Record<string, unknown>[] {
  const parsed = server.stderr.split('\n').filter((line) => line.startsWith('{'));
  return parsed.map((line) => JSON.parse(line) as Record<string, unknown>).filter((line) => line.msg === msg);
}

test('a call of each door is a span below that of its caller, and says how it ended', async () => {
  const collector = await Collector.start();
  const server = await serve({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_SERVICE_NAME: 'keys-of-team-a' });
  expect(await call(server, 'GetStats', traced())).toBe(0);
  expect(await call(server, 'AcquireKey', traced())).toBe(9);
  expect((await post(server, 'GetStats', traced())).status).toBe(200);
  expect((await post(server, 'AcquireKey', traced())).status).toBe(400);
  await server.stop();
  const ofCall = { traceId: TRACE, parentSpanId: PARENT, kind: 2, resource: { 'service.name': 'keys-of-team-a' } };
  const attributes = (system: string, method: string, status: string) => ({
    'rpc.system.name': system,
    'rpc.method': `${SERVICE}/${method}`,
    'rpc.response.status_code': status,
    'keybalancer.caller': 'local',
  });
  const empty = { 'error.type': 'POOL_EMPTY' };
  expect(collector.spans).toMatchObject([
    { ...ofCall, name: `${SERVICE}/GetStats`, attributes: attributes('grpc', 'GetStats', 'OK') },
    { ...ofCall, attributes: { ...attributes('grpc', 'AcquireKey', 'FAILED_PRECONDITION'), ...empty } },
    { ...ofCall, attributes: attributes('connectrpc', 'GetStats', 'ok') },
    { ...ofCall, attributes: { ...attributes('connectrpc', 'AcquireKey', 'failed_precondition'), ...empty } },
  ]);
  expect(new Set(collector.spans.map(({ spanId }) => spanId)).size).toBe(4);
});

test('calls are traced only if their callers trace them, unless traces of their own are asked for', async () => {
  const collector = await Collector.start();
  for (const [sampler, expected] of [
    ['', 1],
    ['parentbased_always_on', 3],
    ['always_on', 4],
    ['always_off', 0],
  ] as const) {
    collector.spans.length = 0;
    const server = await serve({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_TRACES_SAMPLER: sampler });
    await call(server, 'GetStats');
    await call(server, 'GetStats', { traceparent: 'nonsense' });
    await call(server, 'GetStats', traced('00'));
    await call(server, 'GetStats', traced('01'));
    await server.stop();
    expect(collector.spans, sampler).toHaveLength(expected);
  }
});

test('a Session is one span, however many calls it carries', async () => {
  const collector = await Collector.start();
  const server = await serve({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_TRACES_SAMPLER: 'parentbased_always_on',
  });
  const balancer = server.connect();
  for (let each = 0; each < 3; each++) await balancer.keyBalancer.acquireKey({}).catch(() => {});
  await server.stop();
  expect(collector.spans.map(({ name }) => name)).toEqual([`${SERVICE}/Session`]);
});

test('metrics are those of /metrics, under their OpenTelemetry names and with units', async () => {
  const collector = await Collector.start();
  const server = await serve({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }, { more: ['--metrics-per-key', 'on'] });
  await call(server, 'AcquireKey');
  const refusals = () => collector.metrics.find(({ name }) => name === 'keybalancer.acquire.refusals');
  await expect
    .poll(() => refusals()?.points.filter(({ value }) => value > 0))
    .toMatchObject([{ value: 1, attributes: { pool: 'default', reason: 'pool_empty' } }]);
  expect(refusals()).toMatchObject({ kind: 'sum', isMonotonic: true, unit: '{acquire}' });
  const units = Object.fromEntries(Object.values(CATALOG).map((metric) => [fullName(metric), metric.unit]));
  for (const { name, unit = '' } of collector.metrics) expect(unit, name).toBe(units[name]);
  const scrape = await (await fetch(`http://${server.http}/metrics`)).text();
  const atDoor = new Set(scrape.match(/^# TYPE \w+/gm));
  expect(collector.metrics).toHaveLength(atDoor.size);
  expect(collector.metrics.map(({ name }) => name)).toContain('keybalancer.keys.untold');
});

test('log lines are sent as they are written, with the trace of their call', async () => {
  const collector = await Collector.start();
  const server = await serve({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }, { more: ['--log-level', 'debug'] });
  await call(server, 'AcquireKey', { ...traced(), 'x-request-id': 'order-17' });
  await server.stop();
  expect(collector.logs.map(({ level, body }) => `${level} ${body}`)).toEqual(
    expect.arrayContaining(['info ready', 'info stopped']),
  );
  const sent = collector.logs.find(({ body }) => body === 'call');
  expect(sent).toMatchObject({
    severity: 5,
    traceId: TRACE,
    attributes: { method: 'AcquireKey', code: 'FAILED_PRECONDITION', reason: 'POOL_EMPTY', requestId: 'order-17' },
  });
  expect(lines(server, 'call')).toMatchObject([
    { level: 'debug', caller: 'local', requestId: 'order-17', trace_id: TRACE, span_id: sent?.spanId },
  ]);
});

test('a key in the id of a request, or in a header for the collector, is seen nowhere', async () => {
  const collector = await Collector.start();
  const secret = 'AQ.test-key-000001-in-an-id';
  const server = await serve(
    { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20sesame' },
    { more: ['--log-level', 'trace'] },
  );
  await call(server, 'AcquireKey', { ...traced(), 'x-request-id': secret });
  collector.mood = 401;
  await expect.poll(() => lines(server, WARNING).length).toBeGreaterThan(0);
  await server.stop();
  expect(collector.headers[0]?.authorization).toBe('Bearer sesame');
  expect(lines(server, 'call')).toHaveLength(1);
  const seen = `${server.stderr}${server.stdout}${Buffer.concat(collector.bodies).toString('latin1')}`;
  for (const hidden of [secret, 'sesame']) expect(seen).not.toContain(hidden);
});

test('of three signals any can stay at home, and any go elsewhere', async () => {
  const [one, other] = [await Collector.start(), await Collector.start()];
  const server = await serve({
    OTEL_EXPORTER_OTLP_ENDPOINT: one.url,
    OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: `${other.url}/v1/logs`,
    OTEL_METRICS_EXPORTER: 'none',
  });
  await call(server, 'GetStats', traced());
  await server.stop();
  expect(one.spans).toHaveLength(1);
  expect([one.logs, one.metrics, other.spans, other.metrics]).toEqual([[], [], [], []]);
  expect(other.logs.length).toBeGreaterThan(0);
});

const WARNING = 'telemetry cannot be sent; what is not is dropped, and the server goes on without';

test.each<[string, Mood | 'down']>([
  ['is down', 'down'],
  ['refuses', 403],
  ['is overloaded', 503],
  ['never answers', 'hangs'],
])(
  'a collector that %s is told of once for each signal; the server serves on, and ends in good order',
  async (_, mood) => {
    const collector = await Collector.start();
    if (mood === 'down') await collector.stop();
    else collector.mood = mood;
    const server = await serve({ ...IMPATIENT, OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
    const signals = () =>
      lines(server, WARNING)
        .map(({ signal }) => signal)
        .sort();
    for (let each = 0; each < 2; each++) {
      expect(await call(server, 'GetStats', traced())).toBe(0);
      await expect.poll(signals).toEqual(['logs', 'metrics', 'traces']);
      const before = collector.bodies.length;
      if (mood !== 'down') await expect.poll(() => collector.bodies.length).toBeGreaterThan(before + 2);
    }
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    expect(signals()).toEqual(['logs', 'metrics', 'traces']);
  },
);

test('a collector that comes back gets what is new, and the log says so', async () => {
  const collector = await Collector.start();
  collector.mood = 403;
  const server = await serve({ ...IMPATIENT, OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
  await expect.poll(() => lines(server, WARNING).some(({ signal }) => signal === 'metrics')).toBe(true);
  collector.mood = 'takes';
  await expect.poll(() => lines(server, 'telemetry is sent again').map(({ signal }) => signal)).toContain('metrics');
  expect(collector.metrics.length).toBeGreaterThan(0);
  await call(server, 'GetStats', traced());
  await server.stop();
  expect(collector.spans).toHaveLength(1);
});
