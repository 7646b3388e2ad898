import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { linksOf } from '../docs/markdown.ts';
import { ROOT } from '../repository/root.ts';
import { install, nodes, pack, runIn } from './installed.ts';

const OLDEST = 'v22.15.';

/** Something of each entry point, put to use. */
const PROGRAM = `
import { createKeyBalancer, KeyBalancerError } from 'keybalancer';
import { connect } from 'keybalancer/client';
import { Outcome } from 'keybalancer/gen';
import { startServer } from 'keybalancer/server';
import { expectedAnswer, startFakeGemini } from 'keybalancer/testing';

await using fake = await startFakeGemini({ keys: { 'AQ.test-key-000001': {} } });
const server = await startServer({ dataDir: process.argv[2]!, geminiBaseUrl: fake.url });
const place = { address: server.grpc! };
const balancer = createKeyBalancer({
  ...place,
  // As a variable is that is not set.
  pool: process.env.NO_SUCH_VARIABLE,
  token: process.env.NO_SUCH_VARIABLE,
  genai: { httpOptions: { baseUrl: fake.url } },
});
await balancer.addKey('AQ.test-key-000001');
const ai = balancer.genai();
const answer = await ai.models.generateContent({ model: 'gemini-2.5-flash', contents: 'hello' });
if (answer.text !== expectedAnswer('hello')) throw new Error(\`answered \${answer.text}\`);
const calls = await connect(place);
const { lease } = await calls.keyBalancer.acquireKey({});
await calls.keyBalancer.reportResult({ leaseId: lease!.leaseId, outcome: Outcome.UNUSED });
await calls.close();
try {
  createKeyBalancer({ ...place, maxRetries: -1 });
} catch (error) {
  const { code, retryAfterMs }: { code: string; retryAfterMs: number | undefined } = error as KeyBalancerError;
  if (!(error instanceof KeyBalancerError) || code !== 'INVALID_ARGUMENT' || retryAfterMs) throw error;
}
await balancer.close();
await server.drain();
const own = createKeyBalancer({ dataDir: process.argv[2]! });
if ((await own.getStats()).total?.usage?.succeeded !== 1n) throw new Error('the report is lost');
await own.close();
process.stdout.write('done');
`;

/** Sets up what keeps the names of all that is told, and makes a call. */
const TRACED = `
import { readFileSync } from 'node:fs';
import { metrics, trace } from '@opentelemetry/api';
import { createKeyBalancer } from 'keybalancer';
import { startServer } from 'keybalancer/server';
import { startFakeGemini } from 'keybalancer/testing';

const { version } = JSON.parse(readFileSync('node_modules/@opentelemetry/api/package.json', 'utf8'));
if (!version.startsWith('1.9.')) throw new Error('another version: ' + version);
const told = new Set();
const key = 'AQ.test-key-000001';
await using fake = await startFakeGemini({ keys: { [key]: {} } });
const server = await startServer({ dataDir: 'data', geminiBaseUrl: fake.url });
const balancer = createKeyBalancer({ address: server.grpc, genai: { httpOptions: { baseUrl: fake.url } } });
const instrument = (name) => ({ add: () => told.add(name), record: () => told.add(name) });
metrics.setGlobalMeterProvider({ getMeter: () => ({ createHistogram: instrument, createCounter: instrument }) });
const startSpan = (name) => ({ setStatus() {}, end: () => told.add(name) });
trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan }) });
await balancer.addKey(key);
await balancer.genai().models.generateContent({ model: 'gemini-2.5-flash', contents: 'hello' });
await balancer.close();
await server.drain();
told.delete('gen_ai.client.token.usage');
console.log([...told].join(', '));
`;

const dir = mkdtempSync(join(tmpdir(), 'keybalancer-package-'));
let tarball: string;

beforeAll(async () => {
  tarball = await pack(dir);
  await install(tarball, dir, ['@types/node']);
  writeFileSync(join(dir, 'program.ts'), PROGRAM);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('a program that uses it compiles with skipLibCheck off, and runs on each Node that is here', async () => {
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2022',
    strict: true,
    skipLibCheck: false,
    exactOptionalPropertyTypes: true,
    types: ['node'],
  };
  writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['program.ts'] }));
  expect(await runIn(dir, 'tsc', '-p', '.')).toBe('');
  const here = await nodes();
  for (const { program } of here) {
    expect(await runIn(dir, program, 'program.js', mkdtempSync(join(dir, 'data-')))).toBe('done');
  }
  const versions = here.map(({ version }) => version);
  process.stdout.write(`the package ran on ${versions.join(', ')}\n`);
  if (!versions.some((version) => version.startsWith(OLDEST))) {
    process.stdout.write(`not tried on ${OLDEST}x: KEYBALANCER_TEST_NODES names no such Node\n`);
  }
});

test('the oldest Node that is tried is the oldest that the package takes', () => {
  const { engines } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { engines: { node: string } };
  expect(OLDEST).toBe(`v${engines.node.replace('>=', '')}.`);
});

test('an application gets spans and metrics by its own copy of OpenTelemetry’s API, also one that is older than ours', async () => {
  const app = mkdtempSync(join(dir, 'app-'));
  mkdirSync(join(app, 'node_modules/@opentelemetry'), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules/opentelemetry-api-1.9'), join(app, 'node_modules/@opentelemetry/api'));
  writeFileSync(join(app, 'program.mjs'), TRACED);
  expect(await runIn(app, process.execPath, 'program.mjs')).toBe(
    'keybalancer.client.lease.wait, gen_ai.client.operation.duration, generate_content gemini-2.5-flash\n',
  );
});

test('CommonJS can require it', async () => {
  const program =
    "const { createKeyBalancer } = require('keybalancer'); process.stdout.write(typeof createKeyBalancer);";
  expect(await runIn(dir, process.execPath, '--input-type=commonjs', '-e', program)).toBe('function');
});

test('nothing but the entry points can be reached', async () => {
  const program = "import('keybalancer/dist/src/client/index.js').catch(({ code }) => process.stdout.write(code));";
  expect(await runIn(dir, process.execPath, '-e', program)).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED');
});

test('the command of the package runs', async () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const command = join(dir, 'node_modules/keybalancer/dist/src/cli/main.js');
  expect(await runIn(dir, process.execPath, command, '--version')).toBe(`${version}\n`);
});

test('links and pictures of its README lead to what is in it', () => {
  const paths = linksOf('README.md').map((link) => link.replace(/#.*/, ''));
  expect(paths.filter((path) => !existsSync(join(dir, 'node_modules/keybalancer', path)))).toEqual([]);
});

test('publint finds nothing', async () => {
  expect(await runIn(dir, 'publint', 'run', tarball, '--strict')).toContain('All good!');
});

// The package is ESM alone. Left out are thus TypeScript's resolution of before Node 16, which knows no entry points, and the note that
// CommonJS may import it only dynamically, which Node 22.12 and newer no longer ask for.
test('the types of each entry point are those of what runs', async () => {
  const json = await runIn(dir, 'attw', tarball, '--profile', 'esm-only', '--no-definitely-typed', '--format', 'json');
  const { analysis } = JSON.parse(json) as { analysis: { entrypoints: object } };
  expect(Object.keys(analysis.entrypoints)).toEqual(
    expect.arrayContaining(['.', './client', './server', './testing', './gen']),
  );
});
