import { timestampMs } from '@bufbuild/protobuf/wkt';
import { ErrorClassSchema, type KeyHealth, KeyStateSchema } from '../src/gen/keybalancer/v1/keybalancer_pb.ts';
import type { Rest, WatchedKey } from './messages.ts';

/** What the demo looks at of a key's health, with enums by name. */
export function watchedKey({ keyId, state, project, weight, effectiveWeight, cooldowns }: KeyHealth): WatchedKey {
  const rests: Rest[] = cooldowns.map(({ model, cause, untilTime, projectWide }) => ({
    model,
    cause: ErrorClassSchema.value[cause]?.localName ?? String(cause),
    until: untilTime === undefined ? 0 : timestampMs(untilTime),
    projectWide,
  }));
  return { keyId, state: stateName(state), project, weight, effectiveWeight, rests };
}

/** Such as "AVAILABLE". */
export function stateName(state: KeyHealth['state']): string {
  return KeyStateSchema.value[state]?.localName ?? String(state);
}

/** The states that a key can be in, by name. */
export function stateNames(): string[] {
  return KeyStateSchema.values.filter(({ number }) => number !== 0).map(({ localName }) => localName);
}
