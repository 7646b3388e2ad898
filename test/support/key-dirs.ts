import { connect } from '../../src/client/connect.ts';
import { tempDir } from './temp-dir.ts';

/** Keys "AQ.test-key-000001" and on. */
export function testKeys(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `AQ.test-key-${String(i + 1).padStart(6, '0')}`);
}

/** A data dir whose default pool has such keys, with ids key-00000001 and on, and that nobody uses. */
export async function dirWithKeys(count: number): Promise<string> {
  const dataDir = tempDir();
  const balancer = await connect({ dataDir, embedded: { warn() {} } });
  await balancer.keyBalancer.importKeys({ keys: testKeys(count).map((apiKey) => ({ apiKey })) });
  await balancer.close();
  return dataDir;
}
