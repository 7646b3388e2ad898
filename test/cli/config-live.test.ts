import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cli, type Served, startServe } from '../support/cli.ts';
import { tempDir } from '../support/temp-dir.ts';

async function served(
  config: string,
): Promise<{ server: Served; path: string; command: (...args: string[]) => ReturnType<typeof cli> }> {
  const dir = tempDir();
  const path = join(dir, 'keybalancer.yaml');
  writeFileSync(path, config);
  const dataDir = join(dir, 'data');
  const server = await startServe(dataDir, '--config', path);
  return { server, path, command: (...args) => cli([...args, '--data-dir', dataDir]) };
}

test('config reload brings into force what can change, and says what needs a restart', async () => {
  const { path, command } = await served('log_level: info\n');
  expect((await command('config', 'reload')).stdout).toBe('nothing changed in the server\n');
  writeFileSync(path, 'log_level: debug\nverify: off\n');
  expect(JSON.parse((await command('config', 'reload', '--json')).stdout)).toEqual({
    applied: ['log_level'],
    restartNeeded: ['verify'],
  });
  expect((await command('config', 'log-level', 'warn')).stdout).toBe('logs warn now, before debug\n');
  expect((await command('config', 'reload')).stdout).toBe('in force: log_level\nonly after a restart: verify\n');
});

test('series of single keys come and go with a reload, while the server runs', async () => {
  const { server, path, command } = await served('http: 127.0.0.1:0\n');
  const keySeries = async (): Promise<boolean> =>
    (await (await fetch(`http://${server.http}/metrics`)).text()).includes('keybalancer_keys_untold');
  expect(await keySeries()).toBe(false);
  for (const value of ['on', 'off']) {
    writeFileSync(path, `http: 127.0.0.1:0\nmetrics_per_key: ${value}\n`);
    expect((await command('config', 'reload')).stdout).toBe('in force: metrics_per_key\n');
    expect(await keySeries()).toBe(value === 'on');
  }
});

test('a configuration that cannot be used leaves the old one in force, by command and by SIGHUP, and is named', async () => {
  const { server, path, command } = await served('log_level: info\n');
  writeFileSync(path, 'log_level: debug\nlog_levle: x\n');
  const refused = await command('config', 'reload');
  expect(refused).toMatchObject({ exitCode: 1, stdout: '' });
  expect(refused.stderr).toBe(`keybalancer: "log_levle" in ${path} is no field; did you mean log_level?\n`);
  server.child.kill('SIGHUP');
  await expect
    .poll(() => server.log().find(({ level }) => level === 'error'))
    .toMatchObject({
      msg: 'the configuration cannot be used; the old one stays in force',
      problems: [expect.stringContaining('did you mean log_level?')],
    });
  expect((await command('config', 'log-level', 'info')).stdout).toBe('logs info now, before info\n');
  writeFileSync(path, 'log_level: debug\n');
  server.child.kill('SIGHUP');
  await expect.poll(() => server.log()).toContainEqual(expect.objectContaining({ applied: ['log_level'] }));
});

test('a level that there is not is refused with those there are, and so is a data dir without a server', async () => {
  const { command } = await served('');
  expect(await command('config', 'log-level', 'loud')).toMatchObject({
    exitCode: 1,
    stderr: 'keybalancer: level is "loud"; allowed: trace, debug, info, warn, error, fatal, silent\n',
  });
  const dataDir = tempDir();
  expect(await cli(['config', 'reload', '--data-dir', dataDir])).toEqual({
    exitCode: 3,
    stdout: '',
    stderr: `keybalancer: no server runs on data dir ${dataDir}\n`,
  });
});
