import { expect, test } from 'vitest';
import { secretOf, sinkHeaders, sinkUrl } from '../../../src/cli/bridge/sink-options.ts';

const url = sinkUrl('--webhook');

test('headers come from the command line and from the environment', () => {
  const env = { AUTH: 'Authorization: Bearer token:with:colons' };
  const warned: string[] = [];
  const headers = sinkHeaders({ header: ['X-Team:payments', 'x-empty:'], headerEnv: ['AUTH'] }, env, (message) =>
    warned.push(message),
  );
  expect(headers).toEqual({ 'x-team': 'payments', 'x-empty': '', authorization: 'Bearer token:with:colons' });
  expect(warned).toEqual([]);
});

test('a secret on the command line is warned of, by the name of its header alone', () => {
  const warned: string[] = [];
  sinkHeaders({ header: ['X-Api-Key: seen-by-all', 'X-Team: payments'] }, {}, (message) => warned.push(message));
  expect(warned).toEqual([expect.stringMatching(/^--header X-Api-Key: other users of this machine can see/)]);
  expect(warned.join()).not.toContain('seen-by-all');
});

test.each([
  ['one without a colon', 'secret-value'],
  ['one with a line break', 'X-A: secret\nvalue'],
  ['one whose name is none', 'secret name: value'],
  ['one without a name', ': secret'],
])('%s is no header, and is not shown', (_, text) => {
  const refused = (make: () => unknown): string => {
    try {
      return `taken: ${JSON.stringify(make())}`;
    } catch (error) {
      return (error as Error).message;
    }
  };
  const wrong = 'is no header; allowed: NAME: VALUE, such as "X-Team: payments"';
  expect(refused(() => sinkHeaders({ header: [text] }, {}, () => {}))).toBe(`--header ${wrong}`);
  expect(refused(() => sinkHeaders({ header: ['a: b', text] }, {}, () => {}))).toBe(`--header number 2 ${wrong}`);
  const fromEnv = refused(() => sinkHeaders({ headerEnv: ['H'] }, { H: text }, () => {}));
  expect(fromEnv).toBe(`the variable H of --header-env ${wrong}`);
});

test('a variable that is not set, is empty, or is a secret by mistake, is refused', () => {
  expect(() => secretOf('--header-env', 'NOT_SET', {})).toThrow(
    '--header-env is NOT_SET; allowed: the name of an environment',
  );
  expect(() => secretOf('--header-env', 'EMPTY', { EMPTY: '' })).toThrow('--header-env is EMPTY');
  expect(() => secretOf('--header-env', 'secret-value', {})).toThrow('--header-env is no name of one; allowed');
});

test.each([
  ['secret-path', '--webhook is no URL; allowed: http://HOST[:PORT][/PATH]'],
  ['ftp://h/secret-path', '--webhook is no URL'],
  ['http://me:secret-word@h/', '--webhook holds a user or password; give them as a header, by --header-env'],
])('the URL %s is refused, and not shown', (text, says) => {
  expect(() => url(text)).toThrow(says);
  expect(() => url(text)).not.toThrow('secret-');
});
