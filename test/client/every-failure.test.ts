import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { connect, createGeminiWrapper } from '../../src/client/index.ts';
import {
  type Cooldown,
  ErrorClass,
  ErrorClassSchema,
  type KeyHealth,
  KeyState,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import {
  type BehaviourSpec,
  type FakeGemini,
  type FakeMethod,
  nextPacificMidnight,
  startFakeGemini,
} from '../fake-gemini/index.ts';
import { ServerProcess } from '../support/server-process.ts';
import { type Expected, FAILURES, type Failure, type Way, waysToMeet } from './failing-calls.ts';
import { type LiveGemini, startLiveGemini } from './live-gemini.ts';

/**
 * Each recorded failure, in each way in which the SDK shows it, meets the project's client: a real server and a real
 * @google/genai, a pool of its own with three keys. The first key fails. The second is of the same project, the third is not.
 */
type Role = 'failing' | 'sibling' | 'other';
const ROLES: readonly Role[] = ['failing', 'sibling', 'other'];

interface Seen {
  /** As the server counted them. */
  failures: Record<string, number>;
  /** Whose keys were used, in turn. */
  used: Role[];
  /** Whether the caller got an answer in the end, or the error. */
  answered: boolean;
  /** What is out of use afterwards, or worth less. */
  rests: Record<Role, string[]>;
}

let fake: FakeGemini;
let live: LiveGemini;
let server: ServerProcess;
let balancer: Balancer;
let dataDir: string;
const refusals = new Map<string, { code: number; reason: string }>();
const liveCalls: string[] = [];

beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'keybalancer-'));
  fake = await startFakeGemini();
  live = await startLiveGemini((apiKey) => {
    liveCalls.push(apiKey);
    return refusals.get(apiKey);
  });
  server = await ServerProcess.start({ dataDir, more: ['--gemini-base-url', fake.url], endedBy: 'starter' });
  balancer = await connect({ address: server.grpc });
});

afterAll(async () => {
  await balancer?.close();
  await server?.kill();
  await fake?.close();
  await live?.close();
  rmSync(dataDir, { recursive: true, force: true });
});

let cases = 0;

async function meet(failure: Failure, way: Way): Promise<Seen> {
  const id = String(++cases).padStart(4, '0');
  const pool = `pool-${id}`;
  const model = `model-${id}`;
  const apiKeys = ROLES.map((role) => `AQ.test-${id}-${role}`);
  script(failure, way, apiKeys, model, id);
  await balancer.keyAdmin.createPool({ pool: { pool } });
  const projects = [`project-${id}`, `project-${id}`, `other-project-${id}`];
  const keys = apiKeys.map((apiKey, index) => ({ apiKey, project: projects[index]! }));
  const { results } = await balancer.keyBalancer.importKeys({ pool, keys });
  const wrapper = createGeminiWrapper({
    address: server.grpc,
    pool,
    model,
    retryDelay: 0,
    maxWait: 30_000,
    genai: {
      httpOptions: {
        baseUrl: failure.meets.by === 'live close' ? live.url : fake.url,
        ...(isSilence(failure) ? { timeout: TIME_LIMIT_MS } : {}),
      },
    },
  });
  const before = Date.now();
  let answered = true;
  try {
    await wrapper.executeWithRetry((ai) => way.call(ai, model));
  } catch (error) {
    if (!(error instanceof Error && 'attempts' in error)) throw error;
    answered = false;
  }
  await wrapper.close();
  const { keys: found } = await balancer.keyAdmin.listKeys({ pool });
  const { pools } = await balancer.keyBalancer.getStats({ pools: [pool] });
  const { cooldown } = failure.expected;
  // On a machine that took so long it is over before anyone could look.
  if (cooldown !== 0 && Date.now() >= before + 1_000 * Number(cooldown)) return meet(failure, way);
  const healths = results.map(({ keyId }) => found.find((key) => key.keyId === keyId)!.health!);
  const used = [
    ...fake.counts.log.filter(({ method }) => method !== 'models.list').map(({ apiKey }) => apiKey),
    ...liveCalls,
  ];
  return {
    failures: Object.fromEntries(
      Object.entries(pools[0]!.failuresByClass).map(([name, count]) => [name, Number(count)]),
    ),
    used: used.flatMap((apiKey) => ROLES[apiKeys.indexOf(apiKey)] ?? []),
    answered,
    rests: rolesOf((index) => restsOf(healths[index]!, model, failure.expected, before)),
  };
}

const TIME_LIMIT_MS = 2_000;

function isSilence({ meets }: Failure): boolean {
  return meets.by === 'fault' && meets.error === 'client_timeout_abort';
}

const CALLS: readonly FakeMethod[] = ['generateContent', 'streamGenerateContent', 'interactions.create'];
/** What the server asks about a key that is suspected. */
const QUESTION: FakeMethod = 'models.list';
const INTERACTION = { id: 'interaction-1', status: 'completed', output_text: 'hello' };

/** Has the first key fail that way; the others answer well. */
function script({ meets, expected }: Failure, way: Way, apiKeys: readonly string[], model: string, id: string): void {
  fake.setModel({ model, behaviour: 'healthy' });
  const projects = [`700000000${id}`, `700000000${id}`, `800000000${id}`];
  for (const [index, apiKey] of apiKeys.entries()) {
    const answer: BehaviourSpec = { error: { status: 200, body: INTERACTION }, on: ['interactions.create'] };
    fake.setKey(apiKey, { project: projects[index]!, behaviour: answer });
  }
  const [failing = '', sibling = ''] = apiKeys;
  if (meets.by === 'live close') {
    refusals.set(failing, meets);
    return;
  }
  const isOfKey = expected.class.startsWith('KEY_');
  const refused: BehaviourSpec = {
    error: meets.error,
    wrapping: way.wrapping,
    on: isOfKey ? [...CALLS, QUESTION] : CALLS,
  };
  const spec: BehaviourSpec =
    way.midStream && meets.by === 'answer' ? { errorMidStream: meets.error, wrapping: way.wrapping } : refused;
  fake.setKey(failing, { behaviour: spec });
  if (isOfKey && expected.scope === 'PROJECT') {
    const behaviour = ({ method }: { method: FakeMethod }): BehaviourSpec => (method === QUESTION ? refused : {});
    fake.setKey(sibling, { behaviour });
  }
}

function rolesOf<T>(each: (index: number) => T): Record<Role, T> {
  return { failing: each(0), sibling: each(1), other: each(2) };
}

const SUSPICIONS: readonly ErrorClass[] = [ErrorClass.KEY_INVALID, ErrorClass.KEY_SUSPENDED];
const OUT_OF_USE = 'out of use until Gemini was asked, or has answered';

function restsOf(health: KeyHealth, model: string, expected: Expected, before: number): string[] {
  const isSuspected = health.state === KeyState.QUARANTINED || health.state === KeyState.DISABLED_AUTO;
  // Of a suspected key the time until Gemini is asked is shown as a cooldown.
  const cooldowns = health.cooldowns.filter(({ cause }) => !isSuspected || !SUSPICIONS.includes(cause));
  const rests = cooldowns.map((cooldown) => cooldownInWords(cooldown, model, expected, before));
  if (isSuspected) rests.push(OUT_OF_USE);
  if (health.effectiveWeight < health.weight) rests.push(`worth ${health.effectiveWeight / health.weight}`);
  return rests;
}

function cooldownInWords(cooldown: Cooldown, model: string, expected: Expected, before: number): string {
  const what = cooldown.projectWide ? 'project' : 'key';
  const forWhat = cooldown.model === model ? 'this model' : cooldown.model || 'every model';
  const cause = ErrorClassSchema.value[cooldown.cause]!.localName;
  return `${what}, ${forWhat}: ${cause} for ${lengthInWords(timestampMs(cooldown.untilTime!), expected.cooldown, before)}`;
}

/** The length expected where it is so, some jitter allowed; else the real one, for whoever reads of the failure. */
function lengthInWords(until: number, expected: Expected['cooldown'], before: number): string {
  const [from, to] =
    typeof expected === 'number'
      ? [before + 1_000 * expected, Date.now() + 1_100 * expected]
      : [nextPacificMidnight(before), nextPacificMidnight(Date.now()) + 120_000];
  return until >= from - 1_000 && until <= to + 1_000 ? String(expected) : `${(until - before) / 1_000} s`;
}

const WORTH_LESS = 'worth 0.8';

function expectedOf({ expected, meets }: Failure): Seen {
  const { class: name, scope, cooldown, retry_same_request_with_other_key: isRetried } = expected;
  const blocked = meets.by === 'answer' && meets.error.status === 200;
  const isSuspected = name === 'KEY_INVALID' || name === 'KEY_SUSPENDED';
  const rest = isSuspected
    ? OUT_OF_USE
    : `${scope === 'KEY' ? 'key' : 'project'}, ${scope === 'PROJECT_MODEL' ? 'this' : 'every'} model: ${name} for ${cooldown}`;
  const isOfProject = scope === 'PROJECT' || scope === 'PROJECT_MODEL';
  const isOwnFault = name === 'KEY_INVALID' || (name === 'PERMISSION' && scope === 'KEY');
  return {
    failures: blocked ? {} : { [name]: 1 },
    used: isRetried ? ['failing', isOfProject ? 'other' : 'sibling'] : ['failing'],
    answered: isRetried || blocked,
    rests: {
      failing: scope === 'NONE' ? [] : [rest, ...(isOwnFault ? [WORTH_LESS] : [])],
      sibling: isOfProject ? [rest] : [],
      other: [],
    },
  };
}

describe('a failure is judged alike however the SDK shows it, and rests exactly what must rest:', () => {
  test.for(FAILURES)('$name', async (failure) => {
    const ways = waysToMeet(failure);
    const seen = await Promise.all(ways.map(async (way) => [way.name, await meet(failure, way)] as const));
    expect(Object.fromEntries(seen)).toEqual(Object.fromEntries(ways.map((way) => [way.name, expectedOf(failure)])));
  });
});
