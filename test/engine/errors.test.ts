import { expect, test } from 'vitest';
import { invalidField } from '../../src/engine/errors.ts';

test('a refusal names the field, shows the value cut and escaped, and says what is allowed', () => {
  expect(invalidField('model', 'a\nb', 'one line').message).toBe('model is "a\\nb"; allowed: one line');
  const long = invalidField('model', 'x'.repeat(1_000), 'less');
  expect(long.message).toBe(`model is "${'x'.repeat(80)}…"; allowed: less`);
  expect(long.violations).toEqual([{ field: 'model', description: long.message }]);
});

test('an API key that came into a wrong field is not quoted back', () => {
  for (const apiKey of [`AIza${'Sy0'.repeat(10)}`, `AQ.${'Ab8R'.repeat(12)}`]) {
    for (const value of [apiKey, `models/${apiKey}`, `${'x'.repeat(60)}${apiKey}`, `${'x'.repeat(150)}${apiKey}`]) {
      expect(invalidField('pool', value, 'a name').message).not.toContain(apiKey.slice(0, 12));
    }
  }
});
