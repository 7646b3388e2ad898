import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  delayInText,
  delayOf,
  firstPlausible,
  LONGEST_RETRY_DELAY_MS,
  parseDelay,
  retryInfoDelay,
} from '../../src/gemini/retry-delay.ts';

test.each([
  ['0s', 0],
  ['34s', 34_000],
  ['34.429760048s', 34_430],
  ['750ms', 750],
  ['1m2.5s', 62_500],
  ['16h30m', 59_400_000],
  ['373.801628ms', 374],
  ['1h16m30.5s', 4_590_500],
  ['250us', 1],
])('%s is a delay', (text, ms) => expect(firstPlausible([parseDelay(text)])).toEqual({ ms, distrusted: false }));

test.each([
  '',
  '-5s',
  'NaN',
  'NaNs',
  'Infinitys',
  '5',
  's',
  '5 s',
  '5s later',
  '1e9s',
  '.5s',
  '5.s',
  '5x',
  '٣s',
  `${'1'.repeat(200)}s`,
])('"%s" is no delay', (text) => expect(parseDelay(text)).toBeNaN());

test('a delay longer than a day is cut to a day, and distrusted', () => {
  const cut = { ms: LONGEST_RETRY_DELAY_MS, distrusted: true };
  expect(firstPlausible([parseDelay('1000000000s')])).toEqual(cut);
  expect(firstPlausible([parseDelay('99999999999999999999h')])).toEqual(cut);
  expect(firstPlausible([delayOf({ seconds: 10n ** 18n, nanos: 0 })])).toEqual(cut);
  expect(firstPlausible([delayOf({ seconds: 1e308 })])).toEqual(cut);
  expect(firstPlausible([parseDelay('24h')])).toEqual({ ms: LONGEST_RETRY_DELAY_MS, distrusted: false });
});

test('the first delay that makes sense counts, and those dropped before it are told', () => {
  expect(firstPlausible([])).toEqual({ ms: undefined, distrusted: false });
  expect(firstPlausible([undefined, 5, Number.NaN])).toEqual({ ms: 5, distrusted: false });
  expect(firstPlausible([-1, undefined, 5])).toEqual({ ms: 5, distrusted: true });
  expect(firstPlausible([Number.NaN])).toEqual({ ms: undefined, distrusted: true });
  expect(Object.is(firstPlausible([-0]).ms, 0)).toBe(true);
});

test('RetryInfo has its delay as text or as seconds and nanoseconds', () => {
  expect(retryInfoDelay({ retryDelay: '3s' })).toBe(3000);
  expect(retryInfoDelay({ retry_delay: { seconds: '3', nanos: 1_000_000 } })).toBe(3001);
  expect(retryInfoDelay({ retryDelay: { seconds: -3 } })).toBe(-3000);
  expect(retryInfoDelay({ retryDelay: { seconds: 'x' } })).toBeNaN();
  expect(retryInfoDelay({ retryDelay: 3 })).toBeNaN();
  expect(retryInfoDelay({ retryDelay: null })).toBeUndefined();
  expect(retryInfoDelay({})).toBeUndefined();
});

test('the last delay in a text counts, with or without its full stop', () => {
  expect(delayInText('Please retry in 1s. No: Please retry in 2.5s.')).toBe(2500);
  expect(delayInText('Please retry in 1m2s')).toBe(62_000);
  expect(delayInText('Please retry in 1s\nmore')).toBe(1000);
  expect(delayInText('Please retry in ')).toBeUndefined();
  expect(delayInText('Please retry in a moment.')).toBeUndefined();
  expect(delayInText('Please retry in -5s.')).toBeNaN();
});

test('any text gives a delay of 0 to a day, or none', () => {
  const pieces = fc.constantFrom('1', '59', '0', '.', 'h', 'm', 's', 'ms', '-', ' ', '99999999999');
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(pieces).map((parts) => parts.join('')),
      ),
      (text) => {
        const ms = firstPlausible([parseDelay(text)]).ms ?? 0;
        expect(Number.isInteger(ms) && ms >= 0 && ms <= LONGEST_RETRY_DELAY_MS).toBe(true);
      },
    ),
  );
});
