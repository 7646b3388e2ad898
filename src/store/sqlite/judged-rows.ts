import type { CallerRecord } from '../../engine/callers.ts';
import type { Breaker, Key, LearnedProject, Project, Resting, Suspicion } from '../../engine/key.ts';
import { leaseRef } from '../../engine/lease.ts';
import type { Moment } from '../../engine/quota/moment.ts';
import { endAt } from '../../engine/quota/pacific-day.ts';
import type { Rest } from '../../engine/rest.ts';
import type { CallerRow, CooldownRow, StatusRow } from './journal.ts';

/** What was judged of keys, projects, models and callers, as rows and back. Times of the engine become wall-clock times. */

export function ownerOf(resting: Resting): Pick<CooldownRow, 'ownerKind' | 'owner'> {
  switch (resting.kind) {
    case 'key':
      return { ownerKind: 'key', owner: String((resting as Key).ordinal) };
    case 'model':
      return { ownerKind: 'model', owner: (resting as Breaker).model };
    case 'project': {
      const { name, keys } = resting as Project;
      if (name !== '') return { ownerKind: 'project', owner: name };
      const [only] = keys;
      return { ownerKind: 'solo', owner: String(only!.ordinal) };
    }
  }
}

export function restRow(rest: Rest, wallOffset: number): Omit<CooldownRow, 'ownerKind' | 'owner'> {
  const wall = (time: number): number | null => (Number.isFinite(time) ? time + wallOffset : null);
  return {
    model: rest.model,
    cause: rest.cause,
    untilTime: rest.until + wallOffset,
    sinceTime: rest.since + wallOffset,
    strikes: rest.strikes,
    probeTime: wall(rest.probeAt),
    forgetTime: wall(rest.forgetAt),
    halfOpen: rest.afterEnd === 'half-open',
    dayEnd: rest.dayEnd === undefined ? null : rest.dayEnd.wall,
    trial: rest.trial === undefined ? '' : leaseRef(rest.trial),
  };
}

/** Whoever tries it is not among the leases yet. */
export function restOf(row: CooldownRow, at: Moment): Rest {
  const engine = (time: number | null): number => (time === null ? Infinity : time - at.wallOffset);
  const dayEnd = row.dayEnd === null ? undefined : endAt(row.dayEnd, at);
  return {
    model: row.model,
    cause: row.cause as 0,
    since: engine(row.sinceTime),
    until: dayEnd?.engine ?? engine(row.untilTime),
    strikes: row.strikes,
    probeAt: engine(row.probeTime),
    afterEnd: row.halfOpen ? 'half-open' : 'over',
    forgetAt: engine(row.forgetTime),
    dayEnd,
    trial: undefined,
  };
}

/** What a row of a key's status tells of. */
export type Status = Pick<Key, 'ordinal' | 'learnedProject' | 'disabledFor' | 'lastVerified'> & {
  suspicion: Omit<Suspicion, 'key'> | undefined;
};

export function statusRow(key: Status, wallOffset: number): StatusRow {
  const { suspicion, learnedProject } = key;
  return {
    ordinal: key.ordinal,
    disabledFor: key.disabledFor,
    learnedProject: learnedProject?.name ?? '',
    learnedFrom: learnedProject?.caller ?? '',
    learnedTime: (learnedProject?.time ?? 0) + wallOffset,
    suspectedOf: suspicion?.cause ?? 0,
    suspectedTime: (suspicion?.since ?? 0) + wallOffset,
    suspectedBy: suspicion?.caller ?? '',
    held: suspicion?.held ?? false,
    refusals: suspicion?.refusals ?? 0,
    unanswered: suspicion?.unanswered ?? 0,
    unansweredClass: suspicion?.unansweredClass ?? 0,
    nextCheck: (suspicion?.deadline ?? 0) + wallOffset,
    verifiedTime: Number.isFinite(key.lastVerified) ? key.lastVerified + wallOffset : null,
  };
}

export function learnedOf(row: StatusRow | undefined, { wallOffset }: Moment): LearnedProject | undefined {
  if (row === undefined || row.learnedProject === '') return undefined;
  return { name: row.learnedProject, caller: row.learnedFrom, time: row.learnedTime - wallOffset };
}

/** undefined: the key is not suspected. */
export function suspicionOf(row: StatusRow, key: Key, { wallOffset }: Moment): Suspicion | undefined {
  if (row.suspectedOf === 0) return undefined;
  return {
    key,
    cause: row.suspectedOf as 0,
    since: row.suspectedTime - wallOffset,
    caller: row.suspectedBy,
    held: row.held,
    onWord: false,
    refusals: row.refusals,
    unanswered: row.unanswered,
    unansweredClass: row.unansweredClass as 0,
    deadline: row.nextCheck - wallOffset,
    heapIndex: -1,
  };
}

export function callerRow({ name, ...record }: CallerRecord, wallOffset: number): CallerRow {
  const wall = (times: readonly number[]): number[] => times.map((time) => time + wallOffset);
  return { ...record, caller: name, refutations: wall(record.refutations), lessons: wall(record.lessons) };
}

export function callerOf({ caller, ...row }: CallerRow, wallOffset: number): CallerRecord {
  const engine = (times: readonly number[]): number[] => times.map((time) => time - wallOffset);
  return { ...row, name: caller, refutations: engine(row.refutations), lessons: engine(row.lessons) };
}
