import { once } from 'node:events';
import { createServer, type ServerHttp2Session } from 'node:http2';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { connect } from '../../src/client/connect.ts';
import { AcquireKeyResponseSchema } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { tempDir } from '../support/temp-dir.ts';

const remote = vi.hoisted(() => ({ make: (): unknown => undefined }));
vi.mock('../../src/client/remote.ts', () => ({ connectRemote: () => remote.make() }));

/** Somebody at the socket of a data dir, who can go, or be followed by another at once. */
async function owner(dataDir: string): Promise<{ go: () => void; change: () => void }> {
  const server = createServer();
  const sessions: ServerHttp2Session[] = [];
  server.on('session', (session) => sessions.push(session));
  server.listen(join(dataDir, 'keybalancer.sock'));
  await once(server, 'listening');
  const change = (): void => {
    for (const session of sessions) session.destroy();
  };
  const go = (): void => {
    server.close();
    change();
  };
  onTestFinished(go);
  return { go, change };
}

test('a call that has found its way to another owner is not cut off when its own is gone', async () => {
  vi.stubEnv('KEYBALANCER_MASTER_KEY', '00'.repeat(32));
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
  const dataDir = tempDir();
  const { go } = await owner(dataDir);
  const waiting = Promise.withResolvers<ReturnType<typeof create<typeof AcquireKeyResponseSchema>>>();
  const close = vi.fn(async () => {});
  const keyBalancer = { acquireKey: () => waiting.promise } as unknown as Balancer['keyBalancer'];
  remote.make = () => ({ keyBalancer, where: 'there', close });

  const balancer = await connect({ dataDir });
  onTestFinished(() => balancer.close());
  expect(balancer.where).toBe('there');
  const lease = balancer.keyBalancer.acquireKey({});
  go();
  await expect.poll(() => balancer.where).toBe(`data dir ${dataDir}`);
  expect(close).not.toHaveBeenCalled();
  waiting.resolve(create(AcquireKeyResponseSchema, { replayed: true }));
  expect(await lease).toMatchObject({ replayed: true });
  await expect.poll(() => close.mock.calls.length).toBe(1);
});

test('closing lets go of the owner that is there and of those that are gone', async () => {
  const dataDir = tempDir();
  const { change } = await owner(dataDir);
  const closed: string[] = [];
  const never = new Promise<never>(() => {});
  const keyBalancer = { acquireKey: () => never } as unknown as Balancer['keyBalancer'];
  let made = 0;
  remote.make = () => {
    const where = `owner ${++made}`;
    return { keyBalancer, where, close: async () => void closed.push(where) };
  };
  const balancer = await connect({ dataDir });
  void balancer.keyBalancer.acquireKey({});
  change();
  await expect.poll(() => balancer.where).toBe('owner 2');
  expect(closed).toEqual([]);
  await Promise.all([balancer.close(), balancer.close()]);
  expect(closed.toSorted()).toEqual(['owner 1', 'owner 2']);
  await expect(balancer.keyBalancer.acquireKey({})).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
});
