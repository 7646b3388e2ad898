import { existsSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { createKeyBalancer } from '../../src/client/index.ts';
import { connectOperator } from '../../src/client/operator.ts';
import { startServe } from '../support/cli.ts';
import { tempDir } from '../support/temp-dir.ts';

function operatorAt(address: string) {
  const operator = connectOperator(address);
  onTestFinished(() => operator.close());
  return operator;
}

test('the operator is served on the socket in the data dir, and on no port', async () => {
  const dataDir = tempDir();
  const server = await startServe(dataDir);
  const bySocket = operatorAt(`unix:${dataDir}/keybalancer.sock`);
  expect((await bySocket.check({})).result).toMatchObject({ problems: [], keys: 0n });
  const byPort = operatorAt(server.grpc);
  await expect(byPort.check({})).rejects.toMatchObject({ code: 'UNIMPLEMENTED' });
  await expect(byPort.setLogLevel({ level: 'silent' })).rejects.toMatchObject({ code: 'UNIMPLEMENTED' });
  await expect(byPort.backUp({ path: '/tmp/x' }).next()).rejects.toMatchObject({ code: 'UNIMPLEMENTED' });
  const byHttp = await fetch(`http://${server.http}/keybalancer.operator.v1.OperatorService/Check`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  });
  expect(byHttp.status).toBe(404);
});

test('an application that owns a data dir checks its database for others, and has no configuration of a server', async () => {
  const dataDir = tempDir();
  const balancer = createKeyBalancer({ dataDir });
  onTestFinished(() => balancer.close());
  await balancer.addKey('AQ.test-key-000001');
  const operator = operatorAt(`unix:${dataDir}/keybalancer.sock`);
  // The socket is there a moment after the data dir is open.
  await expect.poll(() => existsSync(`${dataDir}/keybalancer.sock`)).toBe(true);
  expect((await operator.check({})).result).toMatchObject({ problems: [], keys: 1n });
  await expect(operator.reloadConfig({})).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
});
