import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { SETTINGS } from '../../src/server/config/settings.ts';
import { ROOT } from '../repository/root.ts';
import { INHERITED } from '../support/inherited.ts';
import { isInstalled } from '../support/programs.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';
import { DEPLOY, readText } from './manifests.ts';

const UNIT = 'systemd/keybalancer.service';
const BRIDGE_UNIT = 'systemd/keybalancer-bridge.service';
const text = readText(UNIT);
const bridgeText = readText(BRIDGE_UNIT);

/** Exposure by `systemd-analyze security`, from 0 to 10, times ten; what is above is to be thought about. */
const HIGHEST_EXPOSURE = 15;

const reason = isInstalled('systemd-analyze')
  ? ''
  : "the unit is not tried with systemd-analyze: Debian's package systemd is missing";
if (reason !== '') process.stderr.write(`${reason}\n`);

/** The unit with what it starts taken from here, so that it exists. */
function verify(unit: string, text = readText(unit)): { status: number | null; output: string } {
  const path = join(tempDir(), basename(unit));
  writeFileSync(path, text.replaceAll('/usr/bin/node', process.execPath));
  const { status, stderr } = spawnSync('systemd-analyze', ['verify', path], { encoding: 'utf8' });
  // It looks at what is installed beside too, which is not to be judged here.
  const output = stderr.split('\n').filter((line) => line.includes(path) || line.includes(basename(unit)));
  return { status, output: output.join('\n') };
}

function security(unit: string) {
  const path = join(tempDir(), 'keybalancer.service');
  writeFileSync(path, unit);
  const args = ['security', '--offline=true', '--no-pager', `--threshold=${HIGHEST_EXPOSURE}`, path];
  return spawnSync('systemd-analyze', args, { encoding: 'utf8' });
}

test.for([UNIT, BRIDGE_UNIT])(
  'systemd-analyze finds nothing wrong with %s, and something with a misspelt one',
  (unit, { skip }) => {
    skip(reason !== '', reason);
    const text = readText(unit);
    expect(verify(unit)).toEqual({ status: 0, output: '' });
    expect(verify(unit, text.replace('ProtectSystem=strict', 'ProtectSystm=strict')).output).toMatch(
      /Unknown key.* 'ProtectSystm'/,
    );
    expect(verify(unit, text.replace('Type=exec', 'Type=fork')).output).toMatch(/Failed to parse service type/i);
  },
);

test.for([UNIT, BRIDGE_UNIT])('systemd-analyze finds little that %s is exposed to', (unit, { skip }) => {
  skip(reason !== '', reason);
  const text = readText(unit);
  const { status, stdout } = security(text);
  expect(status, stdout).toBe(0);
  expect(security(text.replace('CapabilityBoundingSet=\n', '').replace(/^SystemCallFilter=.*$/gm, '')).status).not.toBe(
    0,
  );
});

test('it starts the program of the package where npm puts it, and no launcher of it', () => {
  const { name, bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    name: string;
    bin: Record<string, string>;
  };
  const [, prefix] = /npm install --global --prefix (\S+)/.exec(text)!;
  expect(text).toContain(`\nExecStart=/usr/bin/node ${prefix}/lib/node_modules/${name}/${bin[name]} serve\n`);
  expect(text).toContain(`${prefix}/bin/${name} import`);
  expect(existsSync(join(DEPLOY, UNIT))).toBe(true);
});

test('its settings are some that there are, and its data dir is the one that systemd makes', () => {
  const variables = Object.values(SETTINGS).map(({ variable }) => variable as string);
  const named = [...text.matchAll(/\b(KEYBALANCER_[A-Z_]+)=/g)].map(([, variable]) => variable!);
  expect(variables).toEqual(expect.arrayContaining(named));
  const [, state] = /^StateDirectory=(\S+)$/m.exec(text)!;
  expect(text).toContain(`KEYBALANCER_DATA_DIR=/var/lib/${state}\n`);
  // More than the 10 s in which the server drains.
  expect(Number(/^TimeoutStopSec=(\d+)$/m.exec(text)![1])).toBeGreaterThan(10);
});

test('it is started when its server answers at the socket, which none does by what a killed one left', async () => {
  const [, program] = /^ExecStartPost=\/usr\/bin\/node -e "(.*)"$/m.exec(text)!;
  // Systemd would take these for its own.
  expect(program).not.toMatch(/[$%\\]/);
  const dataDir = tempDir();
  const started = async (pid: number): Promise<number> => {
    const env = { ...INHERITED, KEYBALANCER_DATA_DIR: dataDir, MAINPID: String(pid) };
    const [code] = await once(spawn(process.execPath, ['-e', program!], { env, stdio: 'ignore' }), 'exit');
    return code;
  };
  const waiting = started(process.pid);
  const server = await ServerProcess.start({ dataDir });
  expect(await waiting).toBe(0);
  await server.kill();
  expect(existsSync(join(dataDir, 'keybalancer.sock'))).toBe(true);
  expect(await started(server.pid)).toBe(1);
});

test('the bridge is started as the server is, and keeps its state in the directory that systemd makes for it', () => {
  const [, program] = /^ExecStart=(\S+ \S+) serve$/m.exec(text)!;
  const [, state] = /^StateDirectory=(\S+)$/m.exec(bridgeText)!;
  const [, command] = /^ExecStart=(.*)$/m.exec(bridgeText)!;
  expect(command!.startsWith(`${program} bridge --`)).toBe(true);
  expect(command).toContain(` --state-file /var/lib/${state}/`);
  // More than the 5 s that the sink has for what is on its way.
  expect(Number(/^TimeoutStopSec=(\d+)$/m.exec(bridgeText)![1])).toBeGreaterThan(5);
});
