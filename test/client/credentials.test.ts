import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { create } from '@bufbuild/protobuf';
import { ServerCredentials, ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectRemote, type RemoteOptions } from '../../src/client/remote.ts';
import { GetStatsResponseSchema } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { tempDir } from '../support/temp-dir.ts';
import { listen, remote, SessionDesk } from './scripted-balancer.ts';

const TOKEN = 'token-that-nobody-may-see';

/** Serves sessions and GetStats, and keeps the authorization of each call. */
async function station(credentials = ServerCredentials.createInsecure(), target = '127.0.0.1:0') {
  const desk = new SessionDesk();
  desk.obliging = true;
  const authorizations: unknown[] = [];
  const interceptor: ServerInterceptor = (_, call) =>
    new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, pass) => {
            authorizations.push(metadata.get('authorization')[0]);
            pass(metadata);
          },
        }),
    });
  const functions = { session: desk.session, getStats: async () => create(GetStatsResponseSchema) };
  const { address } = await listen(functions, { target, credentials, options: { interceptors: [interceptor] } });
  return { address, desk, authorizations };
}

/** One call of each kind. */
async function callBoth(address: string, options: RemoteOptions): Promise<void> {
  const { keyBalancer } = remote(address, options);
  await keyBalancer.acquireKey({});
  await keyBalancer.getStats({});
}

async function errorOf(call: Promise<unknown>): Promise<Error> {
  return call.then(
    () => Promise.reject(new Error('it did not reject')),
    (error) => error as Error,
  );
}

test('a token goes with every call and stream', async () => {
  const { address, authorizations } = await station();
  await callBoth(address, { token: TOKEN });
  expect(authorizations).toEqual([`Bearer ${TOKEN}`, `Bearer ${TOKEN}`]);
});

test('without a token nothing is said of the caller', async () => {
  const { address, authorizations } = await station();
  await callBoth(address, {});
  expect(authorizations).toEqual([undefined, undefined]);
});

test('a token function is asked anew for each call, and what it cannot give is the error of the call', async () => {
  const { address, authorizations } = await station();
  let asked = 0;
  await callBoth(address, { token: async () => `token-${++asked}` });
  expect(authorizations).toEqual(['Bearer token-1', 'Bearer token-2']);
  const cause = new Error('vault is sealed');
  const failing = remote(address, { token: () => Promise.reject(cause) });
  for (const call of [() => failing.keyBalancer.acquireKey({}), () => failing.keyBalancer.getStats({})]) {
    expect(await errorOf(call())).toMatchObject({ code: 'UNAUTHENTICATED', cause });
  }
  const wrong = remote(address, { token: () => `${TOKEN}\r\nx-evil: 1` });
  const error = await errorOf(wrong.keyBalancer.acquireKey({}));
  expect(error).toMatchObject({ code: 'UNAUTHENTICATED', message: expect.stringContaining('gave no token') });
  expect(inspect(error)).not.toContain(TOKEN);
  expect(authorizations).toHaveLength(2);
});

test('a token is not sent in plaintext beyond this machine', () => {
  const error = (address: string | string[]): unknown => {
    try {
      void connectRemote(address, { token: TOKEN }).close();
      return undefined;
    } catch (thrown) {
      expect(inspect(thrown)).not.toContain(TOKEN);
      return (thrown as Error).message;
    }
  };
  for (const address of ['localhost:1', '127.0.0.1:1', '[::1]:1', 'unix:/tmp/none.sock']) {
    expect(error(address), address).toBeUndefined();
  }
  expect(error(['127.0.0.1:1', '10.0.0.1:1'])).toBe(
    'token is to be sent to 10.0.0.1:1 in plaintext; allowed: with tls, or to loopback (127.0.0.1, [::1], localhost) or unix:PATH',
  );
  expect(error('balancer.internal:1')).toContain('token is to be sent to balancer.internal:1 in plaintext');
});

test.each<[unknown, RegExp]>([
  [{ token: '' }, /^token is not one; allowed: 1 to 8192 visible/],
  [{ token: 7 }, /^token is a number/],
  [{ tls: 'yes' }, /^tls is a string; allowed: true, false or an object/],
  [{ tls: { CA: 'x' } }, /^tls is with "CA"; allowed: ca, cert, key, serverName/],
  [{ tls: { ca: '' } }, /^tls.ca is empty/],
  [{ tls: { ca: '/none/ca.pem' } }, /^tls.ca is a file "\/none\/ca.pem" that cannot be read \(ENOENT\)/],
  [{ tls: { cert: 'a' } }, /^tls is a cert without its key; allowed: both or neither/],
  [{ tls: { ca: '-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n' } }, /^tls is not usable \(ERR_OSSL/],
  [{ transport: 'pigeon' }, /^transport is pigeon; allowed: session, unary/],
])('%j is refused', (options, message) => {
  expect(() => connectRemote('127.0.0.1:1', options as RemoteOptions)).toThrow(message);
});

const openssl = spawnSync('openssl', ['version']).status === 0;

describe.skipIf(!openssl)(
  `TLS${openssl ? '' : ' (skipped: certificates need the command openssl, which is not here)'}`,
  () => {
    let dir: string;
    const path = (name: string): string => join(dir, name);
    const pem = (name: string): string => readFileSync(path(name), 'utf8');

    /** A key and a certificate that the CA vouches for. */
    function certify(name: string, extensions: string): void {
      writeFileSync(path(`${name}.ext`), extensions);
      const key = [
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-keyout',
        path(`${name}.key`),
      ];
      execFileSync('openssl', ['req', '-new', ...key, '-subj', `/CN=${name}`, '-out', path(`${name}.csr`)], QUIET);
      const by = ['-CA', path('ca.pem'), '-CAkey', path('ca.key'), '-CAcreateserial', '-days', '2'];
      const files = ['-in', path(`${name}.csr`), '-out', path(`${name}.pem`), '-extfile', path(`${name}.ext`)];
      execFileSync('openssl', ['x509', '-req', ...by, ...files], QUIET);
    }

    beforeAll(() => {
      dir = mkdtempSync(join(tmpdir(), 'keybalancer-tls-'));
      const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', path('ca.key')];
      const line = ['req', '-x509', ...key, '-subj', '/CN=a test authority', '-days', '2', '-out', path('ca.pem')];
      execFileSync('openssl', line, QUIET);
      certify('server', 'subjectAltName=IP:127.0.0.1,DNS:balancer.test');
      certify('client', 'extendedKeyUsage=clientAuth');
      certify('stranger', 'subjectAltName=DNS:elsewhere.test');
    });

    afterAll(() => rmSync(dir, { recursive: true, force: true }));

    function serverCredentials({ name = 'server', mutual = false } = {}): ServerCredentials {
      const pair = { private_key: readFileSync(path(`${name}.key`)), cert_chain: readFileSync(path(`${name}.pem`)) };
      return ServerCredentials.createSsl(readFileSync(path('ca.pem')), [pair], mutual);
    }

    test('a server is trusted by the authority that is given, as text or as a path, and gets the token', async () => {
      const { address, authorizations } = await station(serverCredentials());
      await callBoth(address, { tls: { ca: pem('ca.pem') }, token: TOKEN });
      await callBoth(address, { tls: { ca: path('ca.pem') } });
      expect(authorizations).toEqual([`Bearer ${TOKEN}`, `Bearer ${TOKEN}`, undefined, undefined]);
    });

    test('a server that nobody vouches for gets nothing', async () => {
      const { address, desk, authorizations } = await station(serverCredentials());
      const { keyBalancer } = remote(address, { tls: true, token: TOKEN });
      for (const call of [() => keyBalancer.acquireKey({}), () => keyBalancer.getStats({})]) {
        expect(await errorOf(call())).toMatchObject({
          code: 'UNAVAILABLE',
          message: expect.stringMatching(
            /^no KeyBalancer answers at .* \(its certificate is not trusted: .*certificate/,
          ),
        });
      }
      expect(desk.streams).toHaveLength(0);
      expect(authorizations).toEqual([]);
    });

    test('the certificate must have the name of the address, or the name that is given', async () => {
      const { address } = await station(serverCredentials({ name: 'stranger' }));
      const ca = pem('ca.pem');
      const refused = await errorOf(remote(address, { tls: { ca } }).keyBalancer.getStats({}));
      expect(refused.message).toMatch(/certificate is not trusted: .*altnames/);
      await callBoth(address, { tls: { ca, serverName: 'elsewhere.test' } });
    });

    test('a unix socket has TLS too', async () => {
      const { address } = await station(serverCredentials(), `unix:${join(tempDir(), 'tls.sock')}`);
      await callBoth(address, { tls: { ca: pem('ca.pem'), serverName: 'balancer.test' } });
    });

    test('a server that wants to know its clients knows them by their certificates', async () => {
      const { address, desk } = await station(serverCredentials({ mutual: true }));
      const tls = { ca: pem('ca.pem') };
      expect(await errorOf(remote(address, { tls }).keyBalancer.acquireKey({}))).toMatchObject({ code: 'UNAVAILABLE' });
      expect(desk.streams).toHaveLength(0);
      await callBoth(address, { tls: { ...tls, cert: path('client.pem'), key: pem('client.key') } });
      expect(desk.streams).toHaveLength(1);
    });

    test('a key that does not fit its certificate is refused, and not shown', () => {
      const key = pem('stranger.key');
      let thrown: unknown;
      try {
        void connectRemote('127.0.0.1:1', { tls: { cert: pem('client.pem'), key } }).close();
      } catch (error) {
        thrown = error;
      }
      expect((thrown as Error).message).toMatch(/^tls is not usable \(ERR_/);
      expect(inspect(thrown, { depth: 9 })).not.toContain(key.split('\n')[1]);
    });

    test('a client without TLS is told that it spoke to a server with it', async () => {
      const { address } = await station(serverCredentials());
      expect(await errorOf(remote(address).keyBalancer.getStats({}))).toMatchObject({ code: 'UNAVAILABLE' });
    });
  },
);

const QUIET = { stdio: 'ignore' } as const;
