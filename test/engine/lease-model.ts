/** How a lease counts. */
export type Counted = 'active' | 'succeeded' | 'failed' | 'expired' | 'unused' | 'released';

/** What is known of one lease, kept for ever, since the model need not be small. */
export interface ModelLease {
  id: string;
  ref: string;
  keyId: string;
  model: string;
  caller: string;
  session: string;
  /** When its id says that it expires. */
  firstExpiry: number;
  expiry: number;
  /** When the call began that is reported next. */
  callTime: number;
  /** over: expired or left, and still to be reported. gone: nothing can be reported any more. */
  state: 'active' | 'over' | 'reported' | 'gone';
  counted: Counted;
  /** By its last report, while it is kept. */
  lastReport: Counted | undefined;
  late: number;
  calls: number;
  tokens: number;
}

export type Answer =
  | 'counted'
  | 'late'
  | 'duplicate'
  | 'LEASE_NOT_FOUND'
  | 'LEASE_NOT_OWNED'
  | 'LEASE_EXPIRED'
  | 'renewed';

const LATE_MS = 3_600_000;

/** A cooldown of a minute's limit. */
export interface ModelRest {
  since: number;
  until: number;
  strikes: number;
}

/** Its length by strikes, of a stated delay; and for how long after its end one that comes back has struck again. */
const GROWTH = [1, 2, 4, 8, 15];
const MEMORY_MS = 60_000;

/** What leases are by the API's words: plain lists, looked through from end to end. */
export class LeaseModel {
  now = 1_000;
  readonly cap: number;
  readonly autoSuccess: boolean;
  readonly leases: ModelLease[] = [];
  /** All that ever happened to them. */
  readonly counters: Record<string, number> = { ...usageOf([]) };
  /** Keys, and what rests of each: the key itself ("key"), or a model of its project ("model " and its name, "": all). */
  readonly keys = new Map<string, Map<string, ModelRest>>();

  constructor(cap: number, autoSuccess: boolean) {
    this.cap = cap;
    this.autoSuccess = autoSuccess;
  }

  pass(ms: number): void {
    this.now += ms;
    for (const lease of this.leases) {
      if (lease.state === 'active' && lease.expiry <= this.now) {
        this.#leave(lease, this.autoSuccess ? 'succeeded' : 'expired');
      }
      if (lease.state === 'over' && lease.expiry + LATE_MS <= this.now) lease.state = 'gone';
    }
  }

  active(keyId: string): number {
    return this.leases.filter((lease) => lease.keyId === keyId && lease.state === 'active').length;
  }

  mayServe(keyId: string, model: string): boolean {
    const rests = this.keys.get(keyId);
    if (rests === undefined || this.active(keyId) >= this.cap) return false;
    return [...restsOf(model)].every((name) => (rests.get(name)?.until ?? 0) <= this.now);
  }

  /** A call of the lease failed, and Gemini said that what is named is to rest for so long. */
  failed({ keyId }: ModelLease, began: number, name: string, forMs: number): void {
    const rests = this.keys.get(keyId)!;
    const found = rests.get(name);
    const old = found !== undefined && found.until + MEMORY_MS > this.now ? found : undefined;
    const strikes = old === undefined ? 0 : old.strikes + (began >= old.until ? 1 : 0);
    const until = this.now + forMs * GROWTH[Math.min(strikes, GROWTH.length - 1)]!;
    if (old !== undefined && old.until >= until) return;
    rests.set(name, { since: old !== undefined && began < old.since ? old.since : this.now, until, strikes });
  }

  /** A call of the lease worked: what began to rest before the call did rests no more. */
  worked({ keyId, model }: ModelLease, began: number): void {
    const rests = this.keys.get(keyId)!;
    for (const name of restsOf(model)) if ((rests.get(name)?.since ?? Infinity) <= began) rests.delete(name);
  }

  acquired(lease: Pick<ModelLease, 'id' | 'keyId' | 'model' | 'caller' | 'session' | 'expiry'>): void {
    this.#happened('acquired');
    this.leases.push({
      ...lease,
      callTime: this.now,
      ref: `1.${this.leases.length + 1}`,
      firstExpiry: lease.expiry,
      state: 'active',
      counted: 'active',
      lastReport: undefined,
      late: 0,
      calls: 0,
      tokens: 0,
    });
  }

  /** What a report is answered, and with `effect` what it does. */
  report(
    lease: ModelLease,
    caller: string,
    effect: { as: Counted; keep: boolean; tokens: number } | undefined,
  ): Answer {
    const refusal = this.#refusal(lease, caller);
    if (refusal !== undefined) return refusal;
    if (lease.state === 'reported') return 'duplicate';
    const late = lease.state === 'over';
    if (effect === undefined) return late ? 'late' : 'counted';
    if (late) {
      lease.late++;
      this.#happened('late');
    }
    if (effect.as !== 'unused') {
      lease.calls++;
      lease.tokens += effect.tokens;
      this.#happened('calls');
      this.#happened('inputTokens', effect.tokens);
    }
    lease.lastReport = effect.as;
    lease.callTime = this.now;
    if (late || !effect.keep) {
      lease.state = 'reported';
      lease.counted = effect.as;
      this.#happened(effect.as);
    }
    return late ? 'late' : 'counted';
  }

  renew(lease: ModelLease, caller: string, ttl: number | undefined): Answer {
    const refusal = this.#refusal(lease, caller);
    if (refusal !== undefined) return refusal;
    if (lease.state !== 'active') return 'LEASE_EXPIRED';
    if (ttl !== undefined) lease.expiry = Math.max(lease.expiry, this.now + Math.min(ttl, 3_600_000));
    return 'renewed';
  }

  /** Revoked, or its session ended. */
  release(lease: ModelLease): void {
    if (lease.state === 'active') this.#leave(lease, 'released');
  }

  deleteKey(keyId: string): void {
    this.keys.delete(keyId);
    for (const lease of this.leases) {
      if (lease.keyId !== keyId) continue;
      this.release(lease);
      lease.state = 'gone';
    }
  }

  #leave(lease: ModelLease, as: Counted): void {
    lease.counted = lease.lastReport ?? as;
    lease.state = 'over';
    this.#happened(lease.counted);
  }

  #happened(what: string, times = 1): void {
    this.counters[what]! += times;
  }

  #refusal(lease: ModelLease, caller: string): Answer | undefined {
    if (lease.caller !== caller) return 'LEASE_NOT_OWNED';
    if (lease.state === 'gone') return 'LEASE_NOT_FOUND';
    const forgotten = lease.state === 'reported' && lease.firstExpiry + LATE_MS <= this.now;
    return forgotten ? 'LEASE_NOT_FOUND' : undefined;
  }
}

/** Names of all rests that forbid a model. */
function restsOf(model: string): Set<string> {
  return new Set(['key', 'model ', `model ${model}`]);
}

/** What KeyUsage says of these leases. */
export function usageOf(leases: readonly ModelLease[]): Record<string, number> {
  const count = (as: Counted): number => leases.filter(({ counted }) => counted === as).length;
  const sum = (of: (lease: ModelLease) => number): number => leases.reduce((total, lease) => total + of(lease), 0);
  return {
    acquired: leases.length,
    succeeded: count('succeeded'),
    failed: count('failed'),
    expired: count('expired'),
    unused: count('unused'),
    released: count('released'),
    late: sum(({ late }) => late),
    calls: sum(({ calls }) => calls),
    inputTokens: sum(({ tokens }) => tokens),
    outputTokens: 0,
    cachedTokens: 0,
  };
}
