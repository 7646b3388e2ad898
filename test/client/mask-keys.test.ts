import { Agent, ClientRequest } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { maskKeys } from '../../src/client/mask-keys.ts';
import { everythingReachable } from '../support/everything-reachable.ts';
import { apiKeys } from '../support/orders.ts';

const [ONE, TWO] = apiKeys(2) as [string, string];
const SAID = `Consumer 'api_key:${ONE}' has been suspended.`;

function nested(depth: number): object {
  let value: object = { said: SAID };
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { inner: value };
  return value;
}

test.each<[string, () => Error]>([
  ['its words', () => new Error(SAID)],
  [
    'the parsed body of an answer',
    () => Object.assign(new Error('no'), { error: { error: { details: [{ metadata: { a: SAID } }] } } }),
  ],
  ['data that is deep', () => Object.assign(new Error('no'), { data: nested(500) })],
  [
    'a long chain of causes',
    () => Array.from({ length: 50 }).reduce<Error>((cause) => new Error('no', { cause }), new Error(SAID)),
  ],
  ['errors of several', () => new AggregateError([new Error('no'), new Error(SAID)], 'no')],
  ['headers', () => Object.assign(new Error('no'), { headers: new Headers({ 'x-said': SAID }) })],
  ['a response', () => Object.assign(new Error('no'), { response: new Response('', { headers: { 'x-said': SAID } }) })],
  [
    'a request',
    () => Object.assign(new Error('no'), { request: new Request('http://x', { headers: { 'x-goog-api-key': ONE } }) }),
  ],
  ['an address', () => Object.assign(new Error('no'), { url: new URL(`http://x/?key=${ONE}`) })],
  ['maps and sets', () => Object.assign(new Error('no'), { map: new Map([[1, SAID]]), set: new Set([SAID]) })],
  [
    'what no enumeration shows',
    () => Object.defineProperty(new Error('no'), 'body', { value: SAID, configurable: true }),
  ],
  ['what a symbol names', () => Object.assign(new Error('no'), { [Symbol('body')]: SAID })],
])('an error is masked everywhere: %s', (_, make) => {
  const error = make();
  expect(everythingReachable(error)).toContain(ONE);
  expect(maskKeys(error, [TWO, ONE])).toBe(error);
  expect(everythingReachable(error)).not.toContain(ONE);
});

test('what refers to itself is masked once', () => {
  const error = Object.assign(new Error(SAID), { self: undefined as unknown });
  error.self = [error, { error }];
  maskKeys(error, [ONE]);
  expect(everythingReachable(error)).not.toContain(ONE);
});

test('one part that cannot be looked at does not save the rest', () => {
  const closed = new Proxy(
    {},
    {
      ownKeys: () => {
        throw new Error('closed');
      },
    },
  );
  const error = Object.assign(new Error('no'), { closed, after: { said: SAID } });
  maskKeys(error, [ONE]);
  expect(error.after.said).not.toContain(ONE);
});

test('a request of the program’s own is masked, and those that wait behind it for its socket are not', () => {
  const agent = new Agent({ maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  const [mine, waiting] = ['/mine', '/waiting'].map((path) => {
    const request = new ClientRequest({ agent, host: '127.0.0.1', port: 1, path, headers: { 'x-goog-api-key': ONE } });
    request.on('error', () => undefined);
    onTestFinished(() => void request.destroy());
    return request;
  });
  maskKeys(Object.assign(new Error('no'), { request: mine }), [ONE]);
  expect(mine?.getHeader('x-goog-api-key')).not.toContain(ONE);
  expect(waiting?.getHeader('x-goog-api-key')).toBe(ONE);
});
