import { Client, credentials } from '@grpc/grpc-js';
import { onTestFinished } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';

/** A gRPC client of its own connection, for what the project's client has no method for. It ends with the test. */
export function rawClient(address: string, options: Record<string, unknown> = {}): Client {
  const client = new Client(address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1, ...options });
  onTestFinished(() => client.close());
  return client;
}

/** Imports so many keys; gives their ids in order. */
export async function importKeys(balancer: Balancer, count: number, prefix = 'AQ.test-key'): Promise<string[]> {
  const keys = Array.from({ length: count }, (_, index) => ({ apiKey: `${prefix}-${String(index).padStart(6, '0')}` }));
  const { results } = await balancer.keyBalancer.importKeys({ keys });
  return results.map(({ keyId }) => keyId);
}
