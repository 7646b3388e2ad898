import {
  type HealthChange,
  HealthEventKind,
  type KeyHealth,
  KeyState,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { causeInWords, count, keyTurnInWords, stateInWords } from '../words.ts';
import type { Gap, GapReason, Told } from './event.ts';

const GAPS: Record<GapReason, string> = {
  reset: 'the server cannot tell what happened since the last event; how everything stands now follows',
  resumed: 'nobody watched for a while; what changed meanwhile follows as it stands now',
  merged: 'several changes of a key or pool were told as one, since the sink was slow',
};

export function gapInWords({ reason, changes }: Omit<Gap, 'time'>): string {
  return changes === 0 ? GAPS[reason] : `${GAPS[reason]} (${count(changes, 'change')} less)`;
}

/** One event in a line, such as "key-00000004: cooling, daily quota used up". */
export function eventInWords(told: Told): string {
  if ('gap' in told) return gapInWords(told.gap);
  const { event } = told.health;
  if (event.case === 'change') return changeInWords(event.value);
  if (event.case !== 'snapshot') return '';
  const [key] = event.value.keys;
  if (key !== undefined) return `${key.keyId} is in ${key.pool}, ${stateInWords(key.state)}`;
  const [pool] = event.value.pools;
  return pool === undefined
    ? ''
    : `pool ${pool.pool}: ${pool.availableKeys} of ${count(pool.totalKeys, 'key')} available`;
}

function changeInWords({ kind, pool, model, key, previousState }: HealthChange): string {
  const what = model === '' ? pool : `${pool}, ${model}`;
  switch (kind) {
    case HealthEventKind.POOL_EXHAUSTED:
      return `pool ${what} has no available key`;
    case HealthEventKind.POOL_RECOVERED:
      return `pool ${what} has available keys`;
    case HealthEventKind.POOL_CHANGED:
      return `pool ${pool} was changed`;
    case HealthEventKind.KEY_ADDED:
      return `${key?.keyId} was added to ${pool}`;
    case HealthEventKind.KEY_REMOVED:
      return `${key?.keyId} was removed from ${pool}`;
    default:
      return key === undefined ? '' : keyInWords(key, previousState);
  }
}

function keyInWords(key: KeyHealth, previousState: KeyState): string {
  const { keyId, state, cooldowns } = key;
  if (state !== KeyState.AVAILABLE || (cooldowns.length === 0 && previousState !== state)) return keyTurnInWords(key);
  const rests = cooldowns.map(({ model, cause }) => `rests for ${model}, ${causeInWords(cause)}`);
  return `${keyId}: ${[stateInWords(state), ...rests].join('; ')}`;
}
