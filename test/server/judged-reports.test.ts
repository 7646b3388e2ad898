import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { KeyBalancerError } from '../../src/client/errors.ts';
import { connectRemote } from '../../src/client/remote.ts';
import type { Report } from '../../src/client/reports.ts';
import { ErrorClassSchema, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { FAILURES, type Failure } from '../client/failing-calls.ts';
import { ServerProcess } from '../support/server-process.ts';

// A client in any language, which copies what it was told: each recorded failure, reported of the first of three keys.
const KEYS = ['failing', 'sibling', 'other'] as const;

interface Judged {
  errorClass: string;
  retry: boolean;
  sameKey: boolean;
  isLater: boolean;
  excludedKeys: string[];
  excludedProjects: string[];
  /** Which keys serve the call's model afterwards, and which another one. */
  serves: { model: string[]; another: string[] };
}

let server: ServerProcess;
let balancer: Balancer;
let dataDir: string;

beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'keybalancer-'));
  // Nobody answers there: suspected keys stay so.
  server = await ServerProcess.start({
    dataDir,
    more: ['--gemini-base-url', 'http://127.0.0.1:1'],
    endedBy: 'starter',
  });
  balancer = connectRemote(server.grpc);
});

afterAll(async () => {
  await balancer?.close();
  await server?.kill();
  rmSync(dataDir, { recursive: true, force: true });
});

/** Of a limit with a stated delay of 0 s. */
const SHORTEST_REST_MS = 2_000;

let cases = 0;

async function judge(error: NonNullable<Report['error']>): Promise<Judged> {
  const id = String(++cases).padStart(4, '0');
  const pool = `pool-${id}`;
  const model = `model-${id}`;
  const { keyBalancer, keyAdmin } = balancer;
  await keyAdmin.createPool({ pool: { pool } });
  const projects = [`project-${id}`, `project-${id}`, `other-project-${id}`];
  const keys = KEYS.map((name, index) => ({ apiKey: `AQ.test-${id}-${name}`, project: projects[index]! }));
  const { results } = await keyBalancer.importKeys({ pool, keys });
  const names = new Map(results.map(({ keyId }, index) => [keyId, KEYS[index] as string]));
  const { lease } = await keyBalancer.acquireKey({ pool, model, requireKeyId: results[0]!.keyId });
  const report = { leaseId: lease!.leaseId, outcome: Outcome.FAILURE, error };
  const reportedAt = performance.now();
  const { errorClass, retryAdvice } = await keyBalancer.reportResult(report);
  const serving = async (asked: string): Promise<string[]> => {
    const served = await Promise.all(results.map(({ keyId }) => isServed(pool, asked, keyId)));
    return KEYS.filter((_, index) => served[index]!);
  };
  const serves = { model: await serving(model), another: await serving(`another-${id}`) };
  // A machine that took so long looked too late.
  if (performance.now() - reportedAt >= SHORTEST_REST_MS) return judge(error);
  return {
    errorClass: ErrorClassSchema.value[errorClass]!.localName,
    retry: retryAdvice!.retry,
    sameKey: retryAdvice!.sameKey,
    isLater: durationMs(retryAdvice!.delay ?? durationFromMs(0)) > 0,
    excludedKeys: retryAdvice!.excludeKeyIds.map((keyId) => names.get(keyId) ?? keyId),
    excludedProjects: retryAdvice!.excludeProjects.map((project) => project.replace(id, '')),
    serves,
  };
}

async function isServed(pool: string, model: string, requireKeyId: string): Promise<boolean> {
  try {
    await balancer.keyBalancer.acquireKey({ pool, model, requireKeyId });
    return true;
  } catch (error) {
    if (error instanceof KeyBalancerError && error.reason === 'NO_KEY_AVAILABLE') return false;
    throw error;
  }
}

/** Long enough for any machine to look who serves before it is over; where it speaks, Gemini's own delay is taken. */
const DELAY = durationFromMs(30_000);

/** The ways in which a client may tell of the failure. */
function reportsOf({ meets, httpStatus, text }: Failure): Record<string, NonNullable<Report['error']>> {
  const recorded = { 'as the body': { httpStatus, body: text, retryDelay: DELAY } };
  const inMessage = { 'as the message': { httpStatus, message: text, retryDelay: DELAY } };
  switch (meets.by) {
    case 'live close':
      return { ...recorded, ...inMessage, 'as a close code': { closeCode: meets.code, message: meets.reason } };
    case 'fault':
      return { ...recorded, ...inMessage };
    case 'answer':
      return {
        ...recorded,
        ...inMessage,
        'in an array': { httpStatus, body: wrapped(meets.error.body, (body) => [body]), retryDelay: DELAY },
        'as a stream shows it': {
          httpStatus,
          body: typeof meets.error.body === 'string' ? text : `data: ${JSON.stringify(meets.error.body)}\r\n\r\n`,
          retryDelay: DELAY,
        },
        'as the SDK nests it': {
          httpStatus,
          body: wrapped(meets.error.body, (body) => ({
            error: { message: JSON.stringify(body), code: httpStatus, status: 'Too Many Requests' },
          })),
          retryDelay: DELAY,
        },
      };
  }
}

/** A page is no JSON and comes as it is. */
function wrapped(body: unknown, wrap: (body: unknown) => unknown): string {
  return typeof body === 'string' ? body : JSON.stringify(wrap(body));
}

function expectedOf({ expected, httpStatus }: Failure): Judged {
  const { class: errorClass, scope, retry_same_request_with_other_key: retry } = expected;
  const isOverloaded = errorClass === 'OVERLOADED';
  const isOfProject = scope === 'PROJECT' || scope === 'PROJECT_MODEL';
  const rested = isOfProject ? ['failing', 'sibling'] : scope === 'KEY' ? ['failing'] : [];
  const others = KEYS.filter((name) => !rested.includes(name));
  return {
    errorClass,
    retry: httpStatus !== 200 && retry,
    sameKey: isOverloaded,
    isLater: retry && scope === 'NONE',
    excludedKeys: scope === 'NONE' ? [] : ['failing'],
    excludedProjects: isOfProject ? ['project-'] : [],
    serves: { model: isOverloaded ? [] : others, another: scope === 'PROJECT_MODEL' ? [...KEYS] : others },
  };
}

describe.concurrent('a report of what Gemini said is judged alike however it is told, and those keys serve that may:', () => {
  test.for(FAILURES)('$name', async (failure) => {
    const reports = Object.entries(reportsOf(failure));
    const judged = await Promise.all(reports.map(async ([how, error]) => [how, await judge(error)] as const));
    const expected = expectedOf(failure);
    expect(Object.fromEntries(judged)).toEqual(Object.fromEntries(reports.map(([how]) => [how, expected])));
  });
});
