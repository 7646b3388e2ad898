import { type Duration, durationMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { type Cooldown, ErrorClass, type KeyHealth, KeyState } from '../gen/keybalancer/v1/keybalancer_pb.ts';

const STATES: Record<KeyState, string> = {
  [KeyState.UNSPECIFIED]: 'unknown',
  [KeyState.AVAILABLE]: 'available',
  [KeyState.COOLING]: 'cooling',
  [KeyState.QUARANTINED]: 'quarantined until verified',
  [KeyState.DISABLED_AUTO]: 'disabled: found invalid or suspended',
  [KeyState.DISABLED_ADMIN]: 'disabled by an administrator',
};

const CAUSES: Record<ErrorClass, string> = {
  [ErrorClass.UNSPECIFIED]: 'no cause given',
  [ErrorClass.KEY_INVALID]: 'the key was refused as invalid',
  [ErrorClass.KEY_SUSPENDED]: 'the key was refused as suspended or leaked',
  [ErrorClass.PERMISSION]: 'refused for lack of a permission',
  [ErrorClass.RATE_LIMITED_MINUTE]: 'too many requests a minute',
  [ErrorClass.RATE_LIMITED_TOKENS]: 'too many tokens a minute',
  [ErrorClass.SPEND_RATE_LIMITED]: 'spent too much in a short time',
  [ErrorClass.QUOTA_EXHAUSTED_DAY]: 'daily quota used up',
  [ErrorClass.QUOTA_ZERO]: 'project has no quota for the model',
  [ErrorClass.BILLING]: 'billing is off or used up',
  [ErrorClass.OVERLOADED]: 'model overloaded',
  [ErrorClass.SERVER_ERROR]: 'Gemini failed',
  [ErrorClass.TIMEOUT]: 'Gemini took too long',
  [ErrorClass.NETWORK]: 'network failed',
  [ErrorClass.BAD_REQUEST]: 'bad request',
  [ErrorClass.NOT_FOUND]: 'model or file not found',
  [ErrorClass.RESOURCE_MISMATCH]: 'file or cache of another project',
  [ErrorClass.LOCATION]: 'location not served',
  [ErrorClass.CONTENT_BLOCKED]: 'content blocked',
  [ErrorClass.CANCELLED]: 'cancelled',
  [ErrorClass.UNKNOWN]: 'unknown error',
};

export function stateInWords(state: KeyState): string {
  return STATES[state] ?? `state ${state}`;
}

export function causeInWords(cause: ErrorClass): string {
  return CAUSES[cause] ?? `cause ${cause}`;
}

/** What a key has come to, such as "key-00000004: cooling, daily quota used up". */
export function keyTurnInWords({ keyId, state, cooldowns, lastErrorClass }: KeyHealth): string {
  if (state === KeyState.AVAILABLE) return `${keyId}: available again`;
  const cause = state === KeyState.COOLING ? cooldowns[0]?.cause : lastErrorClass;
  const why = cause === undefined || state === KeyState.DISABLED_ADMIN ? '' : `, ${causeInWords(cause)}`;
  return `${keyId}: ${stateInWords(state)}${why}`;
}

/**
 * Such as "gemini-2.5-flash until 14:02:11 (12 s left): too many requests a minute, whole project", and, where one call may try
 * earlier, " (one call tries it from 13:50:00, 3 s left)".
 */
export function cooldownInWords({ model, cause, untilTime, projectWide, probeTime }: Cooldown, now: number): string {
  const until = untilTime === undefined ? undefined : timestampMs(untilTime);
  const why = `${causeInWords(cause)}${projectWide ? ', whole project' : ''}`;
  const probe = probeTime === undefined ? '' : ` (one call tries it ${fromInWords(timestampMs(probeTime), now)})`;
  return `${model === '' ? '' : `${model} `}until ${momentInWords(until, now)}: ${why}${probe}`;
}

/** Such as "14:02:11 (12 s left)"; undefined: not by itself. */
export function momentInWords(ms: number | undefined, now: number): string {
  if (ms === undefined) return '-';
  return ms > now ? `${localTime(ms, now)} (${milliseconds(ms - now)} left)` : 'now';
}

/** Such as "from 14:02:11, 12 s left", or "now". */
export function fromInWords(ms: number, now: number): string {
  return ms > now ? `from ${localTime(ms, now)}, ${milliseconds(ms - now)} left` : 'now';
}

/** Local wall time; the date is left out when it is today's. */
export function localTime(ms: number, now: number): string {
  const at = new Date(ms);
  const two = (value: number): string => String(value).padStart(2, '0');
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  if (at.toDateString() === new Date(now).toDateString()) return time;
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`;
}

export function duration(value: Duration | undefined): string {
  return value === undefined ? '-' : milliseconds(durationMs(value));
}

/** Two units at most, such as "3 h 20 min"; below a second in milliseconds. */
export function milliseconds(ms: number): string {
  if (ms < 1000) return `${Number(ms.toPrecision(2))} ms`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const units: [string, number][] = [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ];
  const first = units.findIndex(([, size]) => seconds >= size);
  const [unit, size] = units[first] as [string, number];
  const [nextUnit, nextSize] = units[first + 1] as [string, number];
  const rest = Math.floor((seconds % size) / nextSize);
  return `${Math.floor(seconds / size)} ${unit}${rest === 0 ? '' : ` ${rest} ${nextUnit}`}`;
}

/** Such as "12.3 MiB". */
export function bytes(value: bigint): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let amount = Number(value);
  let unit = 0;
  while (amount >= 1024 && unit < units.length - 1) {
    amount /= 1024;
    unit++;
  }
  return `${unit === 0 ? amount : amount.toFixed(1)} ${units[unit]}`;
}

/** A word with its number: "1 key", "2 keys". */
export function count(value: number | bigint, noun: string): string {
  return `${value} ${noun}${Number(value) === 1 ? '' : 's'}`;
}
