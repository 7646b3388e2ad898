/** A cause of suspicion. */
export type Cause = 'invalid' | 'suspended';
/** What Gemini says when it is asked about a key. "limited": a quota is used up, so that it knows whose the key is. */
export type Says = 'takes' | 'limited' | 'invalid' | 'suspended' | 'nothing';

interface Suspected {
  cause: Cause;
  caller: string;
  held: boolean;
  refusals: number;
  unanswered: number;
  checkAt: number;
}

interface ModelKey {
  suspected: Suspected | undefined;
  disabled: boolean;
  lastAnswer: number;
  /** Rest of a key that was taken although it was called suspended. */
  cleared: { since: number; until: number; strikes: number } | undefined;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Quarantine by the words of its policy: plain cases, one after the other. */
export class QuarantineModel {
  now = 1_000;
  readonly verify: boolean;
  readonly keys: (ModelKey | undefined)[];
  readonly refuted = new Map<string, number[]>();
  readonly counts = new Map<string, { quarantined: number; confirmed: number; refuted: number }>();

  constructor(keys: number, verify: boolean) {
    this.verify = verify;
    this.keys = Array.from({ length: keys }, () => ({
      suspected: undefined,
      disabled: false,
      lastAnswer: -Infinity,
      cleared: undefined,
    }));
  }

  count(caller: string): { quarantined: number; confirmed: number; refuted: number } {
    let counts = this.counts.get(caller);
    if (counts === undefined) {
      counts = { quarantined: 0, confirmed: 0, refuted: 0 };
      this.counts.set(caller, counts);
    }
    return counts;
  }

  report(which: number, cause: Cause, caller: string): void {
    const key = this.keys[which]!;
    if (key.disabled || key.suspected !== undefined) return;
    if (!this.verify) {
      key.disabled = true;
      return;
    }
    const wrong = (this.refuted.get(caller) ?? []).filter((time) => time > this.now - DAY).length;
    const held = wrong < 3;
    const soonest = held && cause === 'invalid' ? this.now + MINUTE : this.now;
    const checkAt = Math.max(soonest, key.lastAnswer + 10 * MINUTE);
    key.suspected = { cause, caller, held, refusals: 0, unanswered: 0, checkAt };
    if (held) this.count(caller).quarantined++;
  }

  answer(which: number, says: Says): void {
    const key = this.keys[which]!;
    const { suspected } = key;
    if (suspected === undefined) return;
    if (says === 'nothing') {
      suspected.checkAt = this.now + Math.min(HOUR, MINUTE * 2 ** suspected.unanswered);
      suspected.unanswered++;
      return;
    }
    key.lastAnswer = this.now;
    suspected.unanswered = 0;
    if (says === 'takes' || says === 'limited') {
      key.suspected = undefined;
      if (says === 'takes') {
        this.count(suspected.caller).refuted++;
        this.refuted.set(suspected.caller, [...(this.refuted.get(suspected.caller) ?? []), this.now]);
      }
      if (suspected.cause === 'suspended' && suspected.held) this.#clear(key);
      return;
    }
    suspected.refusals++;
    if (says === 'suspended' || suspected.refusals === 2) {
      this.count(suspected.caller).confirmed++;
      key.disabled = true;
      key.suspected = undefined;
      return;
    }
    suspected.held = true;
    suspected.checkAt = this.now + 10 * MINUTE;
  }

  worked(which: number, began: number): void {
    const key = this.keys[which]!;
    if (key.cleared !== undefined && key.cleared.since <= began) key.cleared = undefined;
  }

  reset(which: number): void {
    const key = this.keys[which]!;
    key.suspected = undefined;
    key.disabled = false;
  }

  /** Keys that are out of use on the caller's word alone. */
  onWord(caller: string): number {
    return this.keys.filter((key) => {
      const suspected = key?.suspected;
      return suspected?.held && suspected.refusals === 0 && suspected.caller === caller;
    }).length;
  }

  state(which: number): 'AVAILABLE' | 'QUARANTINED' | 'DISABLED_AUTO' {
    const { disabled, suspected, cleared } = this.keys[which]!;
    if (disabled) return 'DISABLED_AUTO';
    return suspected?.held || (cleared?.until ?? 0) > this.now ? 'QUARANTINED' : 'AVAILABLE';
  }

  /** Back after 10 min; twice so in a day: after 24 h. */
  #clear(key: ModelKey): void {
    const old = key.cleared !== undefined && this.now < key.cleared.until + DAY ? key.cleared : undefined;
    const strikes = old === undefined ? 0 : old.strikes + (this.now >= old.until ? 1 : 0);
    const until = this.now + (strikes === 0 ? 10 * MINUTE : DAY);
    if (old === undefined || old.until < until) key.cleared = { since: this.now, until, strikes };
  }
}
