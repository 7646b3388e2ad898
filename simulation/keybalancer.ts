import { create } from '@bufbuild/protobuf';
import { acquireNow, type Granted, serveWaiting, wait } from '../src/engine/acquire.ts';
import { Changes } from '../src/engine/changes.ts';
import { Engine } from '../src/engine/engine.ts';
import { BalancerError } from '../src/engine/errors.ts';
import { keyId } from '../src/engine/key.ts';
import type { Lease } from '../src/engine/lease.ts';
import type { Order } from '../src/engine/order.ts';
import type { Pool } from '../src/engine/pool.ts';
import { verified } from '../src/engine/quarantine.ts';
import { DEFAULT_POOL } from '../src/engine/settings.ts';
import { settle } from '../src/engine/settle.ts';
import { classify } from '../src/gemini/classify.ts';
import type { Finding } from '../src/gemini/finding.ts';
import { KeyState, Outcome, ProviderErrorSchema } from '../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { newKey, order } from '../test/engine/rig.ts';
import type { Failure, Gemini } from './gemini.ts';
import { seeded } from './random.ts';
import { type Advice, type Call, type Callers, type Grant, type Scheduler, TRY_AGAIN } from './scheduler.ts';
import { MODELS, modelName, projectNumber, type World } from './world.ts';

/** Changes that nobody stores are dropped now and then. */
const FORGET_CHANGES_AT = 1_000;

interface LeasedGrant extends Grant {
  readonly lease: Lease;
}

/** The engine as the server has it, without a store. It is told keys and their projects, and no limit. */
export class KeyBalancer implements Scheduler {
  readonly #engine: Engine;
  readonly #pool: Pool;
  readonly #callers: Callers;
  readonly #gemini: Gemini;
  readonly #orders = Array.from({ length: MODELS }, (_, model) => orderFor(model, [], []));

  constructor(world: World, callers: Callers, gemini: Gemini) {
    this.#callers = callers;
    this.#gemini = gemini;
    this.#engine = new Engine(1, { random: seeded(world.seed) });
    this.#pool = this.#engine.addPool(DEFAULT_POOL);
    for (const { index, project } of world.keys) {
      this.#engine.addKey(this.#pool, newKey(index + 1, { project: projectNumber(project) }), world.start);
    }
  }

  get nextDeadline(): number {
    return Math.min(this.#engine.nextDeadline, this.#engine.checks.next);
  }

  advance(now: number): void {
    const { checks } = this.#engine;
    for (let suspicion = checks.popDue(now); suspicion; suspicion = checks.popDue(now)) {
      const answer = this.#gemini.listModels(suspicion.key.ordinal - 1, now);
      verified(this.#engine, suspicion.key, suspicion, findingOf(answer), now);
    }
    this.#engine.advance(now);
    if (this.#engine.changes.leases.size > FORGET_CHANGES_AT) this.#engine.changes = new Changes();
  }

  acquire(call: Call, giveUpAt: number, now: number): void {
    const { model, excludedKeys, excludedProjects } = call;
    const plain = excludedKeys.length === 0 && excludedProjects.length === 0;
    const order = plain ? this.#orders[model]! : orderFor(model, excludedKeys, excludedProjects);
    const granted = (leases: Granted, at: number): void =>
      this.#callers.granted(call, grantOf(leases.batches[0]![0]!), at);
    const leased = acquireNow(this.#engine, this.#pool, order, now);
    if (leased !== undefined) {
      granted(leased, now);
      return;
    }
    try {
      wait(this.#engine, this.#pool, order, giveUpAt, now, {
        granted,
        refused: () => this.#callers.refused(call, giveUpAt),
      });
    } catch (error) {
      // There is no use in waiting, or no room.
      if (!(error instanceof BalancerError)) throw error;
      this.#callers.refused(call, now);
    }
  }

  report(_: Call, grant: Grant, failure: Failure | undefined, now: number): Advice {
    const { lease } = grant as LeasedGrant;
    const { advice } = settle(
      this.#engine,
      lease,
      {
        outcome: failure === undefined ? Outcome.SUCCESS : Outcome.FAILURE,
        finding: findingOf(failure),
        inputTokens: 0,
        outputTokens: 0,
        cachedTokens: 0,
        keepLease: false,
      },
      now,
    );
    serveWaiting(this.#engine, this.#pool, now);
    return advice ?? TRY_AGAIN;
  }

  knowsDead(key: number): boolean {
    return this.#engine.keys.get(key + 1)!.state === KeyState.DISABLED_AUTO;
  }

  isDisabled(key: number): boolean {
    return this.knowsDead(key);
  }
}

function grantOf(lease: Lease): LeasedGrant {
  return { key: lease.key.ordinal - 1, probe: lease.trials !== undefined, lease };
}

function findingOf(failure: Failure | undefined): Finding | undefined {
  if (failure === undefined) return undefined;
  return classify(create(ProviderErrorSchema, { httpStatus: failure.httpStatus, body: failure.body() }));
}

function orderFor(model: number, excludedKeys: readonly number[], excludedProjects: readonly number[]): Order {
  return order({
    model: modelName(model),
    excludeKeyIds: excludedKeys.map((key) => keyId(key + 1)),
    excludeProjects: excludedProjects.map(projectNumber),
  });
}
