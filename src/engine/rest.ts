import type { ErrorClass } from '../gen/keybalancer/v1/keybalancer_pb.ts';

/** A cooldown: for one model, or ("") for every model, until a time on the engine's clock. */
export interface Rest {
  readonly model: string;
  readonly cause: ErrorClass;
  readonly until: number;
}

/** Rests of one key or project, at most one a model. A longer rest replaces a shorter one; a shorter never cuts a longer. */
export function withRest(rests: readonly Rest[], rest: Rest): readonly Rest[] {
  const old = rests.find((each) => each.model === rest.model);
  if (old !== undefined && old.until >= rest.until) return rests;
  return [...rests.filter((each) => each !== old), rest];
}

export function restsAfter(rests: readonly Rest[], now: number): readonly Rest[] {
  return rests.every((rest) => rest.until > now) ? rests : rests.filter((rest) => rest.until > now);
}

/** Until when these forbid the model; 0 when they do not. "" asks for every model at once. */
export function restsUntil(rests: readonly Rest[], model: string, now: number): number {
  let until = 0;
  for (const rest of rests) {
    if ((rest.model === '' || rest.model === model) && rest.until > now && rest.until > until) until = rest.until;
  }
  return until;
}

/** Whether something rests less long for a model than it was to. */
export function cutShort(before: readonly Rest[], after: readonly Rest[], now: number): boolean {
  return before.some(({ model, until }) => until > now && restsUntil(after, model, now) < until);
}

/** The earliest end; Infinity when there is none. */
export function earliestEnd(rests: readonly Rest[]): number {
  let earliest = Infinity;
  for (const rest of rests) if (rest.until < earliest) earliest = rest.until;
  return earliest;
}
