import { create } from '@bufbuild/protobuf';
import { type Key, keyId, type Suspicion } from '../../engine/key.ts';
import { tested, verified } from '../../engine/quarantine.ts';
import { classify } from '../../gemini/classify.ts';
import { describeThrown, type ProviderErrorInit } from '../../gemini/describe-thrown.ts';
import { type Finding, plainFinding } from '../../gemini/finding.ts';
import { ErrorClass, ProviderErrorSchema } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Probe, ProbeAnswer, ProbeOrder } from '../probe.ts';
import type { KeyTestOrder, KeyTestView } from '../store.ts';
import type { LeaseContext } from './lease-context.ts';
import type { LeaseGrants } from './lease-grants.ts';

/** Between two questions to Gemini: many keys asked about from one address look like abuse. */
const INTERVAL_MS = 1_000;
/** Questions under way at once, so that one without an answer holds up no other. */
const MAX_OPEN = 4;
const TIMEOUT_MS = 10_000;

/** Asks Gemini about suspected keys, at the pace that Gemini bears, and about any key when an administrator wants to know. */
export class VerificationDesk {
  readonly #context: LeaseContext;
  readonly #grants: LeaseGrants;
  readonly #probe: Probe | undefined;
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #lastAsked = -Infinity;

  constructor(context: LeaseContext, grants: LeaseGrants, probe: Probe | undefined) {
    this.#context = context;
    this.#grants = grants;
    this.#probe = probe;
  }

  /** Asks about keys that are due. To be called when time went on, or a key may have become suspected. */
  poke(): void {
    const { engine, clock } = this.#context;
    if (this.#probe === undefined || this.#closing.signal.aborted) return;
    while (this.#running.size < MAX_OPEN) {
      const now = clock.now();
      const next = Math.max(engine.checks.next, this.#lastAsked + INTERVAL_MS);
      if (next > now) {
        this.#wake(next - now);
        return;
      }
      const suspicion = engine.checks.popDue(now);
      if (suspicion === undefined) return;
      this.#lastAsked = now;
      const run = this.#verify(suspicion).finally(() => {
        this.#running.delete(run);
        this.poke();
      });
      this.#running.add(run);
    }
  }

  /** Rejects KEY_NOT_FOUND. */
  async test(order: KeyTestOrder): Promise<KeyTestView> {
    const { engine, committer, clock, alarm } = this.#context;
    const key = engine.key(order.keyId);
    const since = key.secretSince;
    const began = clock.now();
    const { model, modelsPageSize, timeoutMs, signal } = order;
    const answer = await this.#ask(key, { model, modelsPageSize, timeoutMs, signal });
    const finding = findingOf(answer.error);
    if (order.apply && key.secretSince === since) {
      tested(engine, key, order.model, finding, began, clock.now());
      alarm.arm();
      await committer.confirm();
    }
    const isAlive = finding === undefined || finding.errorClass === ErrorClass.CONTENT_BLOCKED;
    return {
      keyId: keyId(key.ordinal),
      ok: isAlive,
      errorClass: isAlive ? ErrorClass.UNSPECIFIED : finding.errorClass,
      error: isAlive ? undefined : answer.error,
      latencyMs: answer.latencyMs,
    };
  }

  /** Gives up what is under way, as if it had not been asked. */
  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#timer);
    await Promise.all(this.#running);
  }

  async #verify(suspicion: Suspicion): Promise<void> {
    const { engine, committer, clock, alarm } = this.#context;
    const { key } = suspicion;
    const since = key.secretSince;
    const order = { model: '', modelsPageSize: 1, timeoutMs: TIMEOUT_MS, signal: this.#closing.signal };
    // Where the key itself cannot be read nobody was asked either.
    const answer = await this.#ask(key, order).catch(() => UNREADABLE);
    if (this.#closing.signal.aborted || key.suspicion !== suspicion || key.secretSince !== since) return;
    verified(engine, key, suspicion, findingOf(answer.error), clock.now());
    alarm.arm();
    committer.touch();
  }

  async #ask(key: Key, order: Omit<ProbeOrder, 'apiKey'>): Promise<ProbeAnswer> {
    const { clock } = this.#context;
    const started = clock.now();
    const failed = (error: ProviderErrorInit): ProbeAnswer => ({ latencyMs: clock.now() - started, error });
    if (this.#probe === undefined) return failed({ message: 'this store was opened without a way to Gemini' });
    const apiKey = this.#grants.cachedSecret(key) ?? (await this.#grants.secret(key));
    try {
      return await this.#probe({ ...order, apiKey });
    } catch (error) {
      return failed(describeThrown(error, { apiKey }) ?? { message: 'the question could not be asked' });
    }
  }

  #wake(ms: number): void {
    clearTimeout(this.#timer);
    if (ms === Infinity) return;
    this.#timer = setTimeout(() => this.poke(), Math.min(ms, 2 ** 30));
    this.#timer.unref();
  }
}

const UNREADABLE: ProbeAnswer = { latencyMs: 0, error: { message: 'the stored key cannot be read' } };

function findingOf(error: ProviderErrorInit | undefined): Finding | undefined {
  if (error === undefined) return undefined;
  try {
    return classify(create(ProviderErrorSchema, error));
  } catch {
    return plainFinding(ErrorClass.UNKNOWN);
  }
}
