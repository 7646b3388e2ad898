import { serveWaiting } from '../../engine/acquire.ts';
import { BalancerError } from '../../engine/errors.ts';
import { type Key, keyId, projectName } from '../../engine/key.ts';
import { LeaseState } from '../../engine/lease.ts';
import type { Pool } from '../../engine/pool.ts';
import { learnProject } from '../../engine/projects.ts';
import { renew, type Settlement, settle } from '../../engine/settle.ts';
import { Outcome } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { KeyView, Renewal, RenewOrder, Report, ReportOutcome } from '../store.ts';
import type { LeaseContext } from './lease-context.ts';
import { keyView } from './views.ts';

/** Takes leases back: reports, renewals, the ends of sessions. Each is answered when it is stored. */
export class ReportDesk {
  readonly #context: LeaseContext;

  constructor(context: LeaseContext) {
    this.#context = context;
  }

  report(report: Report): Promise<ReportOutcome> {
    if (report.idempotency === undefined) return this.#report(report);
    return this.#context.replays.once(
      report.idempotency,
      () => this.#report(report),
      (answer) => ({ ...(JSON.parse(answer) as ReportOutcome), duplicate: true }),
    );
  }

  async renew(order: RenewOrder): Promise<Renewal> {
    const { engine, alarm, clock, committer, finder } = this.#context;
    const now = alarm.advance();
    const lease = finder.find(order.leaseId, order.caller, now);
    if (lease === 'ended') throw new BalancerError('LEASE_EXPIRED', 'the lease was reported; acquire a new one');
    const undo = renew(engine, lease, order.leaseTtlMs, now);
    alarm.arm();
    await committer.confirm(undo);
    const ttlMs = Math.max(0, lease.expireTime - clock.now());
    return { ttlMs, expireTime: lease.expireTime + clock.wallOffset() };
  }

  async endSession(sessionId: string): Promise<void> {
    const { engine, alarm, committer } = this.#context;
    const now = alarm.advance();
    const leases = engine.sessions.get(sessionId);
    if (leases === undefined) return;
    const pools = new Set<Pool>();
    for (const lease of [...leases]) {
      engine.suspend(lease, LeaseState.LEFT, now);
      pools.add(lease.key.pool);
    }
    for (const pool of pools) serveWaiting(engine, pool, now);
    await committer.confirm();
  }

  async #report(report: Report): Promise<ReportOutcome> {
    const { engine, alarm, committer, finder, latencies, replays } = this.#context;
    const now = alarm.advance();
    const lease = finder.find(report.leaseId, report.caller, now);
    if (lease === 'ended') {
      const key = finder.keyOf(report.leaseId);
      // Only once the report that ended it is stored is it true that nothing more is to be done.
      await committer.confirm();
      return { errorClass: 0, retryAdvice: undefined, key: this.#view(key), duplicate: true, late: false };
    }
    const { key } = lease;
    const settlement = settle(engine, lease, this.#withoutKey(report, key), now);
    serveWaiting(engine, key.pool, now);
    alarm.arm();
    if (report.latencyMs !== undefined && report.outcome !== Outcome.UNUSED) {
      latencies.record(key.pool, 'provider', report.latencyMs);
    }
    const outcome: ReportOutcome = {
      errorClass: settlement.errorClass,
      retryAdvice: adviceOf(settlement, key),
      key: this.#view(key),
      duplicate: false,
      late: settlement.late,
    };
    replays.remember(report.idempotency, outcome);
    await committer.confirm((at) => {
      replays.forget(report.idempotency);
      settlement.undo(at);
    }, report.relaxed);
    settlement.tally();
    const project = report.finding?.project;
    // Only once the report is stored: a lesson about projects cannot be undone with it.
    if (project !== undefined && learnProject(engine, key, project, report.caller, this.#context.clock.now())) {
      // The report is stored, whatever becomes of the lesson: that is written when the store takes writes again.
      await committer.confirm().catch(() => {});
      outcome.key = this.#view(key);
    }
    return outcome;
  }

  /**
   * The report, less models that hold the leased key: their names are kept and shown. The classifier masks what looks like a key,
   * but does not know the key itself. Where that is not at hand, no stated model is believed.
   */
  #withoutKey(report: Report, key: Key): Report {
    const { finding } = report;
    if (finding === undefined || finding.limits.every(({ model }) => model === '')) return report;
    const apiKey = this.#context.secrets.get(key.ordinal)?.toLowerCase();
    const isClean = (model: string): boolean => apiKey !== undefined && !model.toLowerCase().includes(apiKey);
    const limits = finding.limits.map((limit) => (isClean(limit.model) ? limit : { ...limit, model: '' }));
    return { ...report, finding: { ...finding, limits } };
  }

  #view(key: Key): KeyView {
    const { clock } = this.#context;
    return keyView(key, { now: clock.now(), wallOffset: clock.wallOffset() });
  }
}

function adviceOf({ advice }: Settlement, key: Key): ReportOutcome['retryAdvice'] {
  if (advice === undefined) return undefined;
  return {
    retry: advice.retry,
    sameKey: advice.sameKey,
    delayMs: advice.delayMs,
    excludeKeyIds: advice.excludeKey ? [keyId(key.ordinal)] : [],
    excludeProjects: advice.excludeProject && projectName(key) !== '' ? [projectName(key)] : [],
  };
}
