import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { describe, expect, test } from 'vitest';
import { endInWords } from '../../src/cli/end-in-words.ts';
import { Resting } from '../../src/cli/resting.ts';
import { cooldownInWords } from '../../src/cli/words.ts';
import {
  CooldownSchema,
  ErrorClass,
  KeyHealthSchema,
  KeySchema,
  KeyState,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';

const NOW = new Date(2026, 2, 10, 14, 0, 0).getTime();
const SECOND = 1_000;
const at = (seconds: number) => timestampFromMs(NOW + seconds * SECOND);

type Health = MessageInitShape<typeof KeyHealthSchema>;

function resting(...healths: Health[]): Resting {
  const groups = new Resting();
  for (const health of healths) {
    groups.add(create(KeySchema, { pool: 'default', health: create(KeyHealthSchema, health) }));
  }
  return groups;
}

/** What each group is said to end with. */
function ends(...healths: Health[]): string[] {
  return resting(...healths)
    .groups()
    .map((group) => endInWords(group, NOW));
}

describe('what ends a rest is said in words', () => {
  const limit = { model: 'm', cause: ErrorClass.RATE_LIMITED_MINUTE, projectWide: true };

  test('of keys that come back by themselves: when the first and the last do', () => {
    const cooling = (seconds: number): Health => ({
      state: KeyState.COOLING,
      cooldowns: [{ ...limit, untilTime: at(seconds) }],
    });
    expect(ends(cooling(10))).toEqual(['14:00:10 (10 s left)']);
    expect(ends(cooling(10), cooling(5), cooling(7))).toEqual(['14:00:05 (5 s left) to 14:00:10 (10 s left)']);
  });

  test('of keys that one call may try earlier: from when', () => {
    const probing = (seconds: number): Health => ({
      state: KeyState.AVAILABLE,
      cooldowns: [{ ...limit, cause: ErrorClass.QUOTA_EXHAUSTED_DAY, untilTime: at(3600), probeTime: at(seconds) }],
    });
    expect(ends(probing(900))).toEqual(['15:00:00 (1 h left); one call tries it from 14:15:00, 15 min left']);
    expect(ends(probing(-1))).toEqual(['15:00:00 (1 h left); one call tries it now']);
  });

  test.each<[string, NonNullable<Health['verification']>, string]>([
    ['not yet asked', { nextTime: at(1) }, 'when Gemini takes it; asked at 14:00:01 (1 s left)'],
    ['just asked', { nextTime: at(0) }, 'when Gemini takes it; asked now'],
    [
      'refused once',
      { nextTime: at(60), refusals: 1 },
      'when Gemini takes it; Gemini refused it 1 time; asked again at 14:01:00 (1 min left)',
    ],
    [
      'not reached',
      { nextTime: at(120), unanswered: 3, unansweredClass: ErrorClass.NETWORK },
      'when Gemini takes it; Gemini could not be reached 3 times: network failed; asked again at 14:02:00 (2 min left)',
    ],
    ['not to be asked', {}, 'when an administrator resets it; Gemini is not asked, since verification is off'],
  ])('of a suspected key that Gemini was %s', (_what, verification, said) => {
    expect(ends({ state: KeyState.QUARANTINED, lastErrorClass: ErrorClass.KEY_INVALID, verification })).toEqual([said]);
  });

  test('of disabled keys: what an administrator must do', () => {
    expect(
      ends(
        { state: KeyState.DISABLED_AUTO, lastErrorClass: ErrorClass.KEY_SUSPENDED },
        { state: KeyState.DISABLED_ADMIN },
      ),
    ).toEqual(['when an administrator resets or replaces the key', 'when an administrator enables the key']);
  });
});

test('keys with the same reason are one group, those in another state of verification another', () => {
  const suspected = (unanswered: number, seconds: number): Health => ({
    state: KeyState.QUARANTINED,
    lastErrorClass: ErrorClass.KEY_INVALID,
    verification: { nextTime: at(seconds), unanswered, unansweredClass: ErrorClass.TIMEOUT },
  });
  const groups = resting(suspected(1, 9), suspected(1, 4), suspected(2, 60)).groups();
  expect(groups).toMatchObject([
    { keys: 2, cause: ErrorClass.KEY_INVALID, firstTry: NOW + 4 * SECOND, firstBack: undefined },
    { keys: 1, verification: { on: true, unanswered: 2 }, firstTry: NOW + 60 * SECOND },
  ]);
});

test('a key that is out of use counts for that alone, not for the cooldowns that it has besides', () => {
  const cooldowns = [{ model: 'm', cause: ErrorClass.RATE_LIMITED_MINUTE, untilTime: at(10) }];
  const groups = resting({ state: KeyState.DISABLED_ADMIN, lastErrorClass: ErrorClass.NETWORK, cooldowns }).groups();
  expect(groups).toMatchObject([{ state: KeyState.DISABLED_ADMIN, cause: ErrorClass.UNSPECIFIED, keys: 1, model: '' }]);
});

test('a later failure of another kind is not taken for the reason of a quarantine', () => {
  const groups = resting({ state: KeyState.QUARANTINED, lastErrorClass: ErrorClass.NETWORK }).groups();
  expect(groups).toMatchObject([{ cause: ErrorClass.UNSPECIFIED }]);
});

test('learned projects are counted, the largest first', () => {
  const of = (project: string, projectLearned = true): Health => ({
    state: KeyState.AVAILABLE,
    project,
    projectLearned,
  });
  const groups = resting(of('123'), of('77'), of('77'), of('set', false));
  expect(groups.learnedProjects()).toEqual([
    { project: '77', keys: 2 },
    { project: '123', keys: 1 },
  ]);
  expect(groups.groups()).toEqual([]);
});

test('a cooldown of one key is said with its end, its cause and when it is tried', () => {
  const cooldown = create(CooldownSchema, {
    model: 'm',
    cause: ErrorClass.QUOTA_EXHAUSTED_DAY,
    untilTime: at(3600),
    projectWide: true,
    probeTime: at(60),
  });
  expect(cooldownInWords(cooldown, NOW)).toBe(
    'm until 15:00:00 (1 h left): daily quota used up, whole project (one call tries it from 14:01:00, 1 min left)',
  );
});
