import { setTimeout as sleep } from 'node:timers/promises';
import type { Balancer } from '../src/client/index.ts';
import type { Key } from '../src/gen/keybalancer/v1/keybalancer_pb.ts';
import type { DemoGemini } from './gemini.ts';
import { stateName, stateNames } from './health.ts';
import type { CallCounts } from './messages.ts';
import type { Scene } from './scene.ts';
import type { Evidence, KeyEvidence } from './verdict.ts';

/** The evidence, and what a person would like to know besides. */
export interface Account extends Evidence {
  /** Failures as the server classed them, by ErrorClass name. */
  failuresByClass: Record<string, number>;
}

/** Answers by which Gemini refuses a key or its project, and not a call or for its own trouble. */
const BLAMES = ['400', '403', '429'];
/** Changes leave for watchers right after they are committed; so long they may take. */
const WATCHER_PATIENCE_MS = 2_000;
const WATCHER_POLL_MS = 20;

/** Waits a little for the watcher to hear of the last changes. */
export async function agree(scene: Scene, balancer: Balancer): Promise<void> {
  const end = performance.now() + WATCHER_PATIENCE_MS;
  while (performance.now() < end) {
    const keys = await listKeys(balancer);
    if (keys.every((key) => scene.keys.get(key.keyId)?.health?.state === stateOf(key))) return;
    await sleep(WATCHER_POLL_MS);
  }
}

/** Asks the server and the fake Gemini what they counted. */
export async function accountOf(
  { scene, gemini }: { scene: Scene; gemini: DemoGemini },
  balancer: Balancer,
): Promise<Omit<Account, 'serverExit'>> {
  const { pools } = await balancer.keyBalancer.getStats({ pools: ['default'] });
  const { counts } = gemini;
  const statuses = statusesByKey(counts);
  const refusedProjects = new Set<string>();
  for (const { apiKey, project } of scene.keys.values()) {
    if (isBlamed(statuses.get(apiKey)) && project !== '') refusedProjects.add(project);
  }
  const keys = (await listKeys(balancer)).map((listed): KeyEvidence => {
    const key = scene.keys.get(listed.keyId)!;
    const byStatus = statuses.get(key.apiKey) ?? {};
    const usage = listed.usage!;
    const answered = byStatus['200'] ?? 0;
    return {
      number: key.number,
      weight: key.weight,
      blamed: isBlamed(byStatus) || refusedProjects.has(key.project),
      stayedHealthy: key.stayedHealthy,
      state: stateOf(listed),
      watchedState: key.health?.state ?? 'nothing',
      acquired: Number(usage.acquired),
      succeeded: Number(usage.succeeded),
      failed: Number(usage.failed),
      unused: Number(usage.unused),
      active: listed.health?.activeLeases ?? 0,
      answered,
      refused: total(byStatus) - answered,
    };
  });
  const ofDemo = [...scene.keys.values()].reduce((sum, { apiKey }) => sum + total(counts.byKeyAndStatus[apiKey]), 0);
  return {
    keys,
    models: scene.models.length,
    backends: together(scene.backends.map((backend) => backend.counts)),
    states: stateNames(),
    strayRequests: counts.total - ofDemo,
    failuresByClass: Object.fromEntries(
      Object.entries(pools[0]?.failuresByClass ?? {}).map(([name, count]) => [name, Number(count)]),
    ),
  };
}

async function listKeys(balancer: Balancer): Promise<Key[]> {
  return (await balancer.keyAdmin.listKeys({ pageSize: 1000 })).keys;
}

function stateOf({ health }: Key): string {
  return health === undefined ? 'nothing' : stateName(health.state);
}

/** Answers to what the backends asked. The server asks about suspected keys itself, by listing models, which no backend does. */
function statusesByKey({ log }: DemoGemini['counts']): Map<string, Record<string, number>> {
  const byKey = new Map<string, Record<string, number>>();
  for (const { apiKey, method, status } of log) {
    if (method === 'models.list') continue;
    const statuses = byKey.get(apiKey) ?? {};
    statuses[status] = (statuses[status] ?? 0) + 1;
    byKey.set(apiKey, statuses);
  }
  return byKey;
}

function isBlamed(byStatus: Readonly<Record<string, number>> = {}): boolean {
  return BLAMES.some((status) => (byStatus[status] ?? 0) > 0);
}

function total(counts: Readonly<Record<string, number>> = {}): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

function together(all: readonly CallCounts[]): CallCounts {
  const sum: CallCounts = { calls: 0, succeeded: 0, failed: 0, attempts: 0, retries: 0, failures: {} };
  for (const { failures, ...counts } of all) {
    for (const [name, count] of Object.entries(counts)) sum[name as keyof typeof counts] += count;
    for (const [name, count] of Object.entries(failures)) sum.failures[name] = (sum.failures[name] ?? 0) + count;
  }
  return sum;
}
