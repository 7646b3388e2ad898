import type { GoogleGenAI } from '@google/genai';
import { expect, onTestFinished, test } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { createGeminiWrapper } from '../../src/client/index.ts';
import type { Report } from '../../src/client/reports.ts';
import { KeyState, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { type CustomError, type FakeGemini, type FakeMethod, startFakeGemini } from '../fake-gemini/index.ts';
import { cliHere } from '../support/cli-here.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';
import { API_KEYS, errorsWith, Outputs, wordsWith } from './key-leaks.ts';

const MODEL = 'gemini-2.5-flash';
const EVERYTHING: readonly FakeMethod[] = ['generateContent', 'streamGenerateContent', 'models.list'];
type KeyName = keyof typeof API_KEYS;
const NAMES = Object.keys(API_KEYS) as KeyName[];

interface Bench {
  fake: FakeGemini;
  server: ServerProcess;
  dataDir: string;
  balancer: Balancer;
  outputs: Outputs;
  /** By the name of the key, which is its pool's too. */
  keyIds: Record<string, string>;
}

/** A server that logs all it can, with a pool for each key. */
async function bench(): Promise<Bench> {
  const fake = await startFakeGemini();
  onTestFinished(() => fake.close());
  const dataDir = tempDir();
  const more = ['--gemini-base-url', fake.url, '--log-level', 'trace'];
  const server = await ServerProcess.start({ dataDir, http: '127.0.0.1:0', more });
  const balancer = server.connect();
  const outputs = new Outputs();
  const keyIds: Record<string, string> = {};
  for (const name of NAMES) {
    fake.setKey(API_KEYS[name], {});
    outputs.note('CreatePool', await balancer.keyAdmin.createPool({ pool: { pool: name } }));
    const imported = await balancer.keyBalancer.importKeys({ pool: name, keys: [{ apiKey: API_KEYS[name] }] });
    outputs.note('ImportKeys', imported);
    keyIds[name] = imported.results[0]!.keyId;
  }
  return { fake, server, dataDir, balancer, outputs, keyIds };
}

/** Notes every message of WatchHealth. Returns the way to end it. */
function watch({ balancer, outputs }: Bench): () => Promise<void> {
  const leaving = new AbortController();
  const watching = (async () => {
    try {
      for await (const message of balancer.watchHealth({}, { signal: leaving.signal }))
        outputs.note('WatchHealth', message);
    } catch (error) {
      if (!leaving.signal.aborted) throw error;
    }
  })();
  // When the test has failed already, that is told.
  watching.catch(() => {});
  return () => {
    leaving.abort();
    return watching;
  };
}

/** Where something of a failure is kept. */
async function noteState({ balancer, outputs }: Bench): Promise<void> {
  const { keyBalancer, keyAdmin } = balancer;
  outputs.note('ListKeys', await keyAdmin.listKeys({}));
  outputs.note('GetStats', await keyBalancer.getStats({ includeKeys: true, includeModels: true }));
  outputs.note('ListQuotas', await keyAdmin.listQuotas({}));
}

async function noteRest({ balancer: { keyAdmin }, outputs, keyIds }: Bench): Promise<void> {
  outputs.note('ListPools', await keyAdmin.listPools({}));
  outputs.note('ListLeases', await keyAdmin.listLeases({}));
  outputs.note('ListImports', await keyAdmin.listImports({}));
  for (const keyId of Object.values(keyIds)) outputs.note('GetKey', await keyAdmin.getKey({ keyId }));
}

/** Has the server itself ask Gemini about every key, which says a lot in its answer. */
async function suspectAll({ fake, balancer, outputs, keyIds }: Bench): Promise<void> {
  for (const name of NAMES) {
    const error = errorsWith(API_KEYS[name]).find(({ status }) => status === (name === 'name' ? 502 : 403))!;
    fake.setKey(API_KEYS[name], { behaviour: { error, on: EVERYTHING } });
    const { lease } = await balancer.keyBalancer.acquireKey({ pool: name });
    const report = {
      leaseId: lease!.leaseId,
      outcome: Outcome.FAILURE,
      error: { httpStatus: 403, reason: 'GCP_SUSPENDED' },
    };
    await noteAnswer(outputs, 'ReportResult', balancer.keyBalancer.reportResult(report));
  }
  for (const name of NAMES) {
    const answered = async (): Promise<boolean> => {
      const { key } = await balancer.keyAdmin.getKey({ keyId: keyIds[name]! });
      outputs.note('GetKey', key);
      const { state, verification } = key!.health!;
      return state === KeyState.DISABLED_AUTO || (verification?.unanswered ?? 0) > 0;
    };
    await expect.poll(answered).toBe(true);
  }
}

/** Notes what a call answers, or why it is refused. */
async function noteAnswer(outputs: Outputs, where: string, answer: Promise<unknown>): Promise<void> {
  outputs.note(where, await answer.catch((error: unknown) => error));
}

async function noteDoors({ server, outputs }: Bench): Promise<void> {
  const paths = ['/metrics', '/healthz', '/readyz', '/'];
  for (const path of paths) outputs.note(`GET ${path}`, await (await fetch(`http://${server.http}${path}`)).text());
  for (const method of ['KeyBalancerService/GetStats', 'KeyAdminService/ListKeys', 'KeyAdminService/ListQuotas']) {
    const response = await fetch(`http://${server.http}/keybalancer.v1.${method}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    outputs.note(`POST ${method}`, await response.text());
  }
}

const SHOWING = [['list'], ['list', '--by-source'], ['stats', '--models'], ['health'], ['quota', 'list']];
const TESTING = [
  ['test-keys', '--pool', 'escaped'],
  ['test-keys', '--pool', 'auth', '--model', MODEL],
];

async function noteCli({ server, outputs }: Bench, commands: readonly string[][]): Promise<void> {
  for (const line of commands) {
    const { stdout, stderr } = await cliHere([...line, '--address', server.grpc]);
    outputs.note(`keybalancer ${line.join(' ')}`, `${stdout}${stderr}`);
    expect(stdout, line.join(' ')).not.toBe('');
  }
}

function withJson(commands: readonly string[][]): string[][] {
  return commands.flatMap((command) => [command, [...command, '--json']]);
}

/** No server is asked, so only what looks like a key is known to be one. */
async function noteExplained(outputs: Outputs): Promise<void> {
  const errors = [...errorsWith(API_KEYS.standard), ...errorsWith(API_KEYS.auth)].filter((_, index) => index % 7 === 1);
  const inputs = errors.map(({ body }) => (typeof body === 'string' ? body : JSON.stringify(body)));
  for (const input of inputs) {
    for (const form of [[], ['--json']]) {
      const { exitCode, stdout, stderr } = await cliHere(['explain', '-', ...form], { input });
      expect(exitCode).toBe(0);
      outputs.note('keybalancer explain', `${stdout}${stderr}`);
    }
  }
}

async function generate(ai: GoogleGenAI): Promise<void> {
  await ai.models.generateContent({ model: MODEL, contents: 'hello' });
}

async function stream(ai: GoogleGenAI): Promise<void> {
  for await (const _ of await ai.models.generateContentStream({ model: MODEL, contents: 'hello' }));
}

test('what Gemini says of a key, in whatever shape, shows it nowhere: not to the caller, not in any answer, event, page, log or file', async () => {
  const running = await bench();
  const { fake, server, dataDir, balancer, outputs, keyIds } = running;
  const leave = watch(running);
  await suspectAll(running);
  for (const name of NAMES) {
    const apiKey = API_KEYS[name];
    const wrapper = createGeminiWrapper({
      address: server.grpc,
      pool: name,
      maxRetries: 0,
      genai: { httpOptions: { baseUrl: fake.url } },
    });
    for (const error of errorsWith(apiKey)) {
      for (const [behaviour, call] of [
        [{ error }, generate],
        [{ error, wrapping: 'text' }, stream],
        [{ errorMidStream: error }, stream],
      ] as const) {
        fake.setKey(apiKey, { behaviour });
        await balancer.keyAdmin.resetKey({ keyId: keyIds[name]! });
        await noteAnswer(outputs, 'executeWithRetry', wrapper.executeWithRetry(call));
      }
      fake.setKey(apiKey, { behaviour: { error, on: EVERYTHING } });
      for await (const result of balancer.testKeys({ pool: name, model: MODEL })) outputs.note('TestKeys', result);
      for await (const result of balancer.testKeys({ pool: name, apply: true })) outputs.note('TestKeys', result);
      await noteState(running);
    }
    await wrapper.close();
    // Another error for each question that is still to come.
    let asked = 0;
    const errors = errorsWith(apiKey);
    fake.setKey(apiKey, { behaviour: () => ({ error: errors[asked++ % errors.length]!, on: EVERYTHING }) });
  }
  await noteRest(running);
  await noteDoors(running);
  await noteCli(running, withJson([...SHOWING, ...TESTING]));
  await noteExplained(outputs);
  await leave();
  outputs.noteFiles(dataDir);
  await server.stop();
  outputs.noteFiles(dataDir);
  outputs.note('log', server.stderr);
  outputs.note('standard output', server.stdout);
  // There was something to mask.
  for (const where of ['executeWithRetry', 'TestKeys', 'keybalancer explain']) {
    expect(outputs.textOf(where), where).toContain('[redacted]');
  }
  expect(outputs.textOf('executeWithRetry')).not.toContain('NO_KEY_AVAILABLE');
  expect(outputs.leaks).toEqual([]);
});

test('nor does what clients report that mask nothing', async () => {
  const running = await bench();
  const { server, dataDir, balancer, outputs, keyIds } = running;
  const leave = watch(running);
  for (const name of NAMES) {
    const apiKey = API_KEYS[name];
    for (const error of reportsWith(apiKey)) {
      // Without a model, so that the one that the error names is taken.
      for (const model of ['', MODEL]) {
        const { lease } = await balancer.keyBalancer.acquireKey({ pool: name, model });
        expect(lease?.apiKey).toBe(apiKey);
        const report = { leaseId: lease!.leaseId, outcome: Outcome.FAILURE, error };
        await noteAnswer(outputs, 'ReportResult', balancer.keyBalancer.reportResult(report));
        await noteState(running);
        outputs.note(
          'AcquireKey',
          await balancer.keyBalancer
            .acquireKey({ pool: name, model })
            .catch((refusal: unknown) => refusal)
            .then(withoutLease),
        );
        outputs.note('ResetKey', await balancer.keyAdmin.resetKey({ keyId: keyIds[name]! }));
      }
    }
  }
  await noteRest(running);
  await noteDoors(running);
  await noteCli(running, SHOWING);
  await leave();
  outputs.noteFiles(dataDir);
  await server.kill();
  outputs.noteFiles(dataDir);
  outputs.note('log', server.stderr);
  expect(outputs.leaks).toEqual([]);
});

test('nor is a key repeated that was given where the id of one belongs', async () => {
  const { server, balancer, outputs } = await bench();
  const { keyBalancer, keyAdmin } = balancer;
  for (const keyId of Object.values(API_KEYS)) {
    const outcome = Outcome.SUCCESS;
    await noteAnswer(outputs, 'GetKey', keyAdmin.getKey({ keyId }));
    await noteAnswer(outputs, 'ResetKey', keyAdmin.resetKey({ keyId }));
    await noteAnswer(outputs, 'DeleteKey', keyAdmin.deleteKey({ keyId }));
    await noteAnswer(outputs, 'UpdateKey', keyAdmin.updateKey({ key: { keyId } }));
    await noteAnswer(outputs, 'ListLeases', keyAdmin.listLeases({ keyId }));
    await noteAnswer(outputs, 'RevokeLease', keyAdmin.revokeLease({ leaseRef: keyId }));
    await noteAnswer(outputs, 'AcquireKey', keyBalancer.acquireKey({ pool: 'auth', requireKeyId: keyId }));
    await noteAnswer(outputs, 'ReportResult', keyBalancer.reportResult({ leaseId: keyId, outcome }));
    await noteAnswer(outputs, 'RenewLease', keyBalancer.renewLease({ leaseId: keyId }));
    const testing = (async () => {
      for await (const result of balancer.testKeys({ keyIds: [keyId] })) outputs.note('TestKeys', result);
    })();
    await noteAnswer(outputs, 'TestKeys', testing);
  }
  await server.stop();
  outputs.note('log', server.stderr);
  expect(outputs.leaks).toEqual([]);
});

/** The one place where a key may stand. */
function withoutLease(answer: unknown): unknown {
  return typeof answer === 'object' && answer !== null && 'lease' in answer ? { ...answer, lease: undefined } : answer;
}

function reportsWith(apiKey: string): NonNullable<Report['error']>[] {
  const words = wordsWith(apiKey);
  const bodies = errorsWith(apiKey).map(({ status, body }: CustomError) => ({
    httpStatus: status,
    body: typeof body === 'string' ? body : JSON.stringify(body),
  }));
  const fields = { message: words, reason: apiKey, status: apiKey, consumerProject: apiKey };
  const violation = { quotaValue: 7_000n, quotaMetric: apiKey, quotaDimensions: { model: apiKey, [apiKey]: apiKey } };
  return [
    ...bodies,
    ...bodies.map(({ body }) => ({ message: body })),
    { ...fields, httpStatus: 403 },
    { ...fields, httpStatus: 429, quotaViolations: [{ ...violation, quotaId: `RequestsPerDay-${apiKey}` }] },
    { httpStatus: 429, quotaViolations: [{ ...violation, quotaId: `RequestsPerMinute-${apiKey}` }] },
    { message: words, closeCode: 1008 },
    { message: `fetch failed: ${words}` },
  ];
}
