import { breakerOf } from '../../engine/breakers.ts';
import { resumeTrials, setRests } from '../../engine/cooldowns.ts';
import type { Engine, NewKey } from '../../engine/engine.ts';
import { gateFor, replaceMeter, setDefaults, setLimits } from '../../engine/gates.ts';
import type { Key, Project, Resting } from '../../engine/key.ts';
import { Meter } from '../../engine/quota/meter.ts';
import type { Moment } from '../../engine/quota/moment.ts';
import type { Rest } from '../../engine/rest.ts';
import type { CallerRow, CooldownRow, QuotaRow, Rows, StatusRow, StoredMeterRow } from './journal.ts';
import { callerOf, learnedOf, restOf, suspicionOf } from './judged-rows.ts';
import { limitsOf } from './quota-rows.ts';
import type { RowWriter } from './row-writer.ts';

/** What an earlier run judged of keys, projects, models and callers. It comes with the keys, and after them. */
export class JudgedLoading {
  readonly #engine: Engine;
  readonly #writer: RowWriter;
  readonly #clock: Moment;
  readonly #cooldowns: CooldownRow[] = [];
  readonly #status = new Map<number, StatusRow>();
  readonly #quotas: QuotaRow[] = [];
  readonly #meters: StoredMeterRow[] = [];
  readonly #callers: CallerRow[] = [];
  #rests: Map<string, Rest[]> | undefined;

  constructor(engine: Engine, writer: RowWriter, clock: Moment) {
    this.#engine = engine;
    this.#writer = writer;
    this.#clock = clock;
  }

  take(rows: Rows): void {
    for (const row of rows.cooldowns ?? []) this.#cooldowns.push(row);
    for (const row of rows.status ?? []) this.#status.set(row.ordinal, row);
    for (const row of rows.quotas ?? []) this.#quotas.push(row);
    for (const row of rows.meters ?? []) this.#meters.push(row);
    for (const row of rows.callers ?? []) this.#callers.push(row);
  }

  /** What a key is added with. All rows are taken by then. */
  ofKey(ordinal: number): Partial<NewKey> {
    this.#rests ??= this.#byOwner();
    const rests = this.#rests.get(`key ${ordinal}`) ?? [];
    const status = this.#status.get(ordinal);
    if (status === undefined) return { rests };
    const { verify } = this.#engine;
    return {
      rests,
      learnedProject: learnedOf(status, this.#clock),
      disabledFor: this.#disabledFor(status) as 0,
      suspicion: (key) => (verify ? suspicionOf(status, key, this.#clock) : undefined),
      lastVerified: status.verifiedTime === null ? undefined : status.verifiedTime - this.#clock.wallOffset,
    };
  }

  /** The key is in the engine. */
  added(key: Key): void {
    for (const rest of key.rests) this.#writer.knowRest(key, rest.model);
    if (this.#status.has(key.ordinal) && !this.#engine.verify) this.#engine.changes.status.add(key);
  }

  /** Cooldowns of projects and models, once all keys are in. */
  restRest(): void {
    for (const [name, rests] of this.#rests ?? this.#byOwner()) {
      const space = name.indexOf(' ');
      const resting = this.#restingOf(name.slice(0, space), name.slice(space + 1));
      if (resting === undefined || resting.kind === 'key') continue;
      for (const rest of rests) this.#writer.knowRest(resting, rest.model);
      setRests(this.#engine, resting, rests, this.#clock.now);
    }
    for (const row of this.#callers) this.#engine.callers.set(row.caller, callerOf(row, this.#clock.wallOffset));
  }

  /** What was set, used and learned of quotas. */
  restoreQuotas(): void {
    const at = this.#clock;
    for (const row of this.#quotas) {
      const project = this.projectOf(row.ownerKind, row.owner);
      if (project === undefined) continue;
      this.#writer.knowQuota(project, row.model);
      if (row.model === '') setDefaults(this.#engine, project, limitsOf(row), at.now);
      else if (gateFor(project, row.model) !== undefined) {
        setLimits(this.#engine, project, row.model, limitsOf(row), at.now);
      }
    }
    for (const row of this.#meters) {
      const project = this.projectOf(row.ownerKind, row.owner);
      const gate = project && gateFor(project, row.model);
      if (gate === undefined) continue;
      this.#writer.knowQuota(gate.project, row.model);
      const meter = Meter.restore(row.model, row, at);
      meter.merge(gate.meter, at);
      replaceMeter(this.#engine, gate, meter, at);
    }
  }

  /** Leases, which are in the engine by now, go on trying what they tried. */
  resumeTrials(): void {
    for (const { ownerKind, owner, model, trial } of this.#cooldowns) {
      if (trial === '') continue;
      const [boot, seq] = trial.split('.').map(Number);
      const lease = this.#engine.leases.get(boot!)?.get(seq!);
      const resting = this.#restingOf(ownerKind, owner);
      const rest = resting?.rests.find((each) => each.model === model);
      if (lease === undefined || rest === undefined) continue;
      resumeTrials(this.#engine, lease, [{ resting: resting!, rest }], this.#clock.now);
    }
  }

  /** undefined: none, or the key that it was of has another project now. */
  projectOf(kind: string, owner: string): Project | undefined {
    if (kind === 'project') return this.#engine.project(owner);
    const key = kind === 'solo' ? this.#engine.keys.get(Number(owner)) : undefined;
    return key?.project.name === '' ? key.project : undefined;
  }

  /** Nobody asks Gemini any more where verification was switched off since: the report that took the key out of use decides. */
  #disabledFor({ disabledFor, held, suspectedOf }: StatusRow): number {
    return disabledFor === 0 && held && !this.#engine.verify ? suspectedOf : disabledFor;
  }

  #restingOf(kind: string, owner: string): Resting | undefined {
    if (kind === 'key') return this.#engine.keys.get(Number(owner));
    return kind === 'model' ? breakerOf(this.#engine, owner) : this.projectOf(kind, owner);
  }

  #byOwner(): Map<string, Rest[]> {
    const rests = new Map<string, Rest[]>();
    for (const row of this.#cooldowns) {
      const name = `${row.ownerKind} ${row.owner}`;
      const rest = restOf(row, this.#clock);
      const ofOwner = rests.get(name);
      if (ofOwner === undefined) rests.set(name, [rest]);
      else ofOwner.push(rest);
    }
    return rests;
  }
}
