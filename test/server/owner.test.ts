import { describe, expect, test } from 'vitest';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';

describe('a second server on a data dir', () => {
  test('is refused by an error that names the owner, its process and addresses, and the first keeps serving', async () => {
    const dataDir = tempDir();
    const first = await ServerProcess.start({ dataDir, http: '127.0.0.1:0' });
    const second = await ServerProcess.fail({ dataDir });
    expect(second).toMatchObject({ code: 1, stdout: '' });
    const line = `keybalancer: data dir ${dataDir} is in use by process ${first.pid} (${first.grpc}, ${first.http}, `;
    expect(second.stderr).toContain(line);
    expect(second.stderr.trim().split('\n')).toHaveLength(1);
    for (const address of [first.grpc, first.socket]) {
      await expect(first.connect(address).keyBalancer.getStats({})).resolves.toMatchObject({
        total: { totalKeys: 0n },
      });
    }
  });
});
