import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer, type PeerCertificate } from 'node:tls';
import { create } from '@bufbuild/protobuf';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { skewFinding } from '../../src/cli/doctor/examine-server.ts';
import { certificateFindings, plaintextFinding } from '../../src/cli/doctor/examine-tls.ts';
import type { Finding } from '../../src/cli/doctor/finding.ts';
import { BalancerError } from '../../src/engine/errors.ts';
import { GetStatsResponseSchema } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { type Functions, listen } from '../client/scripted-balancer.ts';
import { type FakeGemini, startFakeGemini } from '../fake-gemini/index.ts';
import { cliHere, type Ran } from '../support/cli-here.ts';
import { dirWithKeys } from '../support/key-dirs.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';

let gemini: FakeGemini;
beforeAll(async () => {
  gemini = await startFakeGemini();
  return () => gemini.close();
});

interface Report extends Ran {
  reached: boolean;
  problems: number;
  warnings: number;
  findings: Finding[];
  /** Verdicts of a check, with what was found and is to be done. */
  of: (check: string) => string[];
}

async function doctor(...args: string[]): Promise<Report> {
  const ran = await cliHere(['doctor', '--json', '--gemini-base-url', gemini.url, ...args]);
  expect(ran.stdout + ran.stderr).not.toMatch(/AQ\.test-key/);
  const report = JSON.parse(ran.stdout) as Report;
  const of = (check: string): string[] =>
    report.findings.flatMap((each) =>
      each.check === check ? [`${each.verdict}: ${each.found}${each.advice === null ? '' : ` -> ${each.advice}`}`] : [],
    );
  return { ...ran, ...report, of };
}

test('doctor finds nothing wrong with a server on its data dir, by the socket and by the port', async () => {
  const dataDir = await dirWithKeys(1);
  const server = await ServerProcess.start({ dataDir });
  const local = await doctor('--data-dir', dataDir);
  expect(local).toMatchObject({ exitCode: 0, stderr: '', reached: true, problems: 0, warnings: 0 });
  const remote = await doctor('--address', server.grpc);
  expect(remote).toMatchObject({ exitCode: 0, stderr: '', reached: true, problems: 0, warnings: 0 });
  const several = await doctor('--address', `127.0.0.1:1,${server.grpc}`);
  expect(several).toMatchObject({ exitCode: 1, reached: true, problems: 1 });
  expect(several.of('server')).toEqual([
    expect.stringMatching(/^problem: no KeyBalancer answers at 127\.0\.0\.1:1 /),
    expect.stringContaining(`ok: ${server.grpc} answers`),
  ]);
  for (const report of [local, remote]) {
    expect(report.of('server')).toEqual([expect.stringMatching(/^ok: .* answers in \d+/)]);
    expect(report.of('version')).toEqual([expect.stringMatching(/^ok: the server is (\S+), this program \1$/)]);
    expect(report.of('clock')).toEqual(["ok: the server's clock and this one agree"]);
    expect(report.of('access')).toEqual(['ok: statistics and administration are allowed']);
    expect(report.of('keys')).toEqual(['ok: pool default: 1 of 1 key available']);
    expect(report.of('Gemini')).toEqual([expect.stringMatching(/^ok: .*no key was sent/)]);
  }
  expect(remote.of('TLS')).toEqual(['ok: none, and none is needed: what is sent stays on this machine']);
  expect(remote.of('data dir')).toEqual([]);
  expect(local.of('permissions')).toEqual(['ok: nobody but its user can read it']);
  expect(local.of('disk')).toEqual([expect.stringMatching(/^ok: .* free; the database has /)]);

  server.process.kill('SIGKILL');
  await server.exit;
  const killed = await doctor('--data-dir', dataDir);
  expect(killed).toMatchObject({ exitCode: 0, problems: 0, warnings: 1 });
  expect(killed.of('lock')).toEqual([expect.stringContaining(`ok: process ${server.pid} was killed`)]);
  expect(killed.of('server')).toEqual([expect.stringMatching(/^warning: none runs .*`keybalancer serve`/)]);
  expect(killed.of('database')).toEqual(['ok: it opens, and its keys are there']);
});

test('doctor tells of a data dir that others can read, and of keys that cannot serve, with what to do', async () => {
  const dataDir = await dirWithKeys(2);
  await cliHere(['update-key', 'key-00000001', 'key-00000002', '--disable', '--data-dir', dataDir]);
  chmodSync(join(dataDir, 'master.key'), 0o644);
  const report = await doctor('--data-dir', dataDir);
  expect(report).toMatchObject({ exitCode: 1, stderr: 'keybalancer: 2 problems, 2 warnings\n' });
  expect(report.of('permissions')).toEqual([
    `problem: ${dataDir}/master.key is open to other users of this machine: mode 644 -> chmod 600 ${dataDir}/master.key`,
  ]);
  expect(report.of('keys')).toEqual([
    expect.stringMatching(/^problem: pool default: 0 of 2 keys available, 2 disabled -> `keybalancer health --pool/),
  ]);
  expect(report.of('projects')).toEqual([
    expect.stringMatching(/^warning: 2 keys of 2 have no project -> .*update-key/),
  ]);
});

test('doctor without a server and without a data dir says so with exit code 3, and makes nothing', async () => {
  const dataDir = join(tempDir(), 'none');
  const report = await doctor('--data-dir', dataDir);
  expect(report).toMatchObject({ exitCode: 3, reached: false, problems: 1 });
  expect(report.of('data dir')).toEqual([expect.stringContaining(`problem: there is none at ${dataDir}`)]);
  expect(existsSync(dataDir)).toBe(false);
  const file = join(tempDir(), 'file');
  writeFileSync(file, '');
  expect((await doctor('--data-dir', file)).of('data dir')[0]).toContain('is not a directory');
});

test('doctor tells of a master key that is gone, or is another', async () => {
  const dataDir = await dirWithKeys(1);
  renameSync(join(dataDir, 'master.key'), join(dataDir, 'away'));
  const gone = await doctor('--data-dir', dataDir);
  expect(gone.of('master key')).toEqual([expect.stringContaining('master.key is missing')]);
  expect(gone).toMatchObject({ exitCode: 1, reached: true });
  writeFileSync(join(dataDir, 'master.key'), 'ab'.repeat(32), { mode: 0o600 });
  const other = await doctor('--data-dir', dataDir);
  expect(other.of('database')).toEqual([expect.stringMatching(/^problem: .*master key/)]);
  expect(other.stdout).not.toContain('abab');
});

test.skipIf(process.getuid?.() !== 0)('doctor tells of files that belong to another user', async () => {
  const dataDir = await dirWithKeys(1);
  chownSync(join(dataDir, 'keybalancer.db'), 1000, 1000);
  expect((await doctor('--data-dir', dataDir)).of('permissions')).toEqual([
    expect.stringMatching(/^warning: .*keybalancer\.db belongs to user 1000, and you are user 0/),
  ]);
});

test('doctor tells of a configuration that cannot be used, all of it', async () => {
  const file = join(tempDir(), 'keybalancer.yaml');
  writeFileSync(file, 'grcp: "off"\ndurability: maybe\n');
  const report = await doctor('--config', file);
  expect(report.exitCode).toBe(1);
  expect(report.of('config').join('\n')).toMatch(/grcp.*grpc|durability/s);
});

async function scripted(functions: Functions): Promise<string> {
  return (await listen(functions)).address;
}

test('doctor tells of a server of another version, of one that wants a token, and of one that is none', async () => {
  const getStats: Functions['getStats'] = async () =>
    create(GetStatsResponseSchema, {
      server: { version: '9.9.9' },
      pools: [{ pool: 'p', totalKeys: 1n, availableKeys: 1n }],
    });
  const other = await doctor('--address', await scripted({ getStats } as Functions));
  expect(other.of('version')).toEqual([expect.stringMatching(/^warning: the server is 9\.9\.9, this program /)]);
  expect(other.of('access')).toEqual([expect.stringMatching(/^problem: ListPools failed: /)]);
  expect(other.exitCode).toBe(1);

  const closed = await doctor(
    '--address',
    await scripted({
      async getStats() {
        throw new BalancerError('CREDENTIALS_INVALID', 'a token is needed');
      },
    } as Functions),
  );
  expect(closed).toMatchObject({ exitCode: 1, reached: true });
  expect(closed.of('access')).toEqual([expect.stringMatching(/^problem: a token is needed -> .*--data-dir/)]);

  const none = await doctor('--address', await scripted({} as Functions));
  expect(none.of('server')).toEqual([expect.stringMatching(/^problem: .* answers, but not as it should: /)]);
});

test('doctor says where nobody listens, or somebody who speaks something else, with exit code 3', async () => {
  const silent = createServer((socket) => socket.end('220 mail.example ESMTP\r\n'));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void silent.close());
  const mail = await doctor('--address', `127.0.0.1:${(silent.address() as AddressInfo).port}`);
  expect(mail).toMatchObject({ exitCode: 3, reached: false });
  expect(mail.of('server')).toEqual([expect.stringMatching(/^problem: no KeyBalancer answers at .* -> look whether/)]);
  const nobody = await doctor('--address', '127.0.0.1:1');
  expect(nobody).toMatchObject({ exitCode: 3, stderr: expect.stringContaining('nothing was reached') });
  expect(nobody.of('server')[0]).toContain('ECONNREFUSED');
});

const openssl = spawnSync('openssl', ['version']).status === 0;
if (!openssl) process.stdout.write('skipped: a certificate for doctor needs the command openssl, which is not here\n');

test.skipIf(!openssl)(
  'doctor tells of the certificate of whoever speaks TLS: how long, for whom, trusted or not',
  async () => {
    const dir = tempDir();
    const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
    const make = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '5'];
    const name = ['-subj', '/CN=keys.internal', '-addext', 'subjectAltName=DNS:keys.internal'];
    execFileSync('openssl', [...make, ...name, '-keyout', key, '-out', cert], { stdio: 'ignore' });
    const secure = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert), ALPNProtocols: ['h2'] });
    await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void secure.close());
    const report = await doctor('--address', `127.0.0.1:${(secure.address() as AddressInfo).port}`);
    expect(report).toMatchObject({ exitCode: 3, reached: false });
    expect(report.of('server')).toEqual([expect.stringContaining('speaks TLS')]);
    expect(report.of('TLS')).toEqual([
      expect.stringMatching(/^warning: the certificate is valid until .*, in [45] days -> renew it$/),
      expect.stringMatching(/^problem: the certificate is not for 127\.0\.0\.1/),
      expect.stringMatching(/^warning: the certificate is not trusted here: DEPTH_ZERO_SELF_SIGNED_CERT/),
    ]);
  },
);

test('a certificate that has ended is a problem, one that lasts is none', () => {
  const certificate = { valid_to: 'Jan  1 00:00:00 2027 GMT', subjectaltname: 'DNS:a.example' } as PeerCertificate;
  const at = (date: string) =>
    certificateFindings({ certificate, distrust: undefined }, { host: 'a.example', port: 1 }, Date.parse(date));
  expect(at('2027-01-02T00:00:00Z')).toMatchObject([{ verdict: 'problem' }]);
  expect(at('2026-12-30T00:00:00Z')).toMatchObject([{ verdict: 'warning' }]);
  expect(at('2026-06-01T00:00:00Z')).toMatchObject([{ verdict: 'ok' }]);
});

test('plain text is told of where others could read it', () => {
  expect(plaintextFinding({ host: '10.0.0.7', port: 50051 })).toMatchObject({ verdict: 'warning' });
  expect(plaintextFinding({ host: '::1', port: 50051 })).toMatchObject({ verdict: 'ok' });
});

test.each([
  [0, 'ok'],
  [-1_900, 'ok'],
  [2_100, 'warning'],
  [-60_000, 'warning'],
  [600_000, 'problem'],
])('a clock that is %i ms ahead is %s', (skew, verdict) => {
  const finding = skewFinding(skew);
  expect(finding.verdict).toBe(verdict);
  if (verdict !== 'ok') expect(finding.found).toContain(skew < 0 ? 'behind' : 'ahead of');
});

test('doctor prints a line for each check in a pipe, and what to do below it on a terminal', async () => {
  const args = ['doctor', '--gemini-base-url', gemini.url, '--data-dir', join(tempDir(), 'none')];
  const piped = await cliHere(args);
  expect(piped.stdout).toMatch(/^ok\tprogram\t.*\nok\tconfig\t.*\nproblem\tdata dir\tthere is none .*\tstart a server/);
  const terminal = await cliHere(args, { terminal: { colours: false } });
  expect(terminal.stdout).toMatch(
    /^ok {7}program {6}.*\nok {7}config .*\nproblem {2}data dir {5}there is none .*\n {22}start/,
  );
});
