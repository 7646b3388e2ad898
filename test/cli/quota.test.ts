import { fromJson } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import {
  LimitOrigin,
  ListQuotasResponseSchema,
  SetQuotaResponseSchema,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { cli } from '../support/cli.ts';
import { cliHere } from '../support/cli-here.ts';
import { tempDir } from '../support/temp-dir.ts';

/** A data dir with a key of project p1. */
async function dirWithKey(): Promise<NodeJS.ProcessEnv> {
  const env = { KEYBALANCER_DATA_DIR: tempDir() };
  const added = await cliHere(['add-key', '-', '--project', 'p1'], { env, input: 'AQ.test-key-000001\n' });
  expect(added.exitCode).toBe(0);
  return env;
}

test('limits are set, listed with where they come from, and deleted', async () => {
  const env = await dirWithKey();
  const model = ['--model', 'gemini-2.5-flash'];
  const set = await cliHere(
    ['quota', 'set', 'p1', ...model, '--requests-per-minute', '10', '--requests-per-day', '0'],
    {
      env,
    },
  );
  expect(set).toMatchObject({ exitCode: 0, stderr: '' });
  expect(set.stdout).toBe(
    [
      'PROJECT\tMODEL\tLIMIT\tORIGIN\tUSED\tSTARTS ANEW',
      'p1\tgemini-2.5-flash\t10 requests a minute\tset\t0\t-',
      'p1\tgemini-2.5-flash\t0 requests a day\tset\t0\t-',
      '',
    ].join('\n'),
  );
  const json = await cliHere(
    ['quota', 'set', 'p2', '--input-tokens-per-minute', '250000', '--tokens-per-day', '1e6', '--json'],
    { env },
  );
  expect(fromJson(SetQuotaResponseSchema, JSON.parse(json.stdout)).quota).toMatchObject({
    project: 'p2',
    model: '',
    inputTokensPerMinute: { value: 250_000n, origin: LimitOrigin.SET },
    tokensPerDay: { value: 1_000_000n },
  });

  const listed = await cliHere(['quota', 'list', '--project', 'p2'], { env });
  expect(listed.stdout.split('\n').slice(1)).toEqual([
    'p2\tevery other model\t250000 input tokens a minute\tset\t-\t-',
    'p2\tevery other model\t1000000 tokens a day\tset\t-\t-',
    '',
  ]);
  const all = fromJson(
    ListQuotasResponseSchema,
    JSON.parse((await cliHere(['quota', 'list', '--json'], { env })).stdout),
  );
  expect(all.quotas.map((quota) => [quota.project, quota.model])).toEqual([
    ['p1', 'gemini-2.5-flash'],
    ['p2', ''],
  ]);

  const deleted = await cliHere(['quota', 'delete', 'p1', ...model], { env });
  expect(deleted).toEqual({ exitCode: 0, stdout: 'forgot the limits of project p1, gemini-2.5-flash\n', stderr: '' });
  expect(await cliHere(['quota', 'delete', 'p2', '--json'], { env })).toMatchObject({ exitCode: 0, stdout: '{}\n' });
  expect(JSON.parse((await cliHere(['quota', 'list', '--json'], { env })).stdout)).toMatchObject({ quotas: [] });
});

test.each([
  [['quota', 'set', 'p1'], 2, /no limit is given; allowed: at least one of --requests-per-minute, /],
  [['quota', 'set', 'p1', '--requests-per-day', '-1'], 2, /--requests-per-day is "-1"; allowed: a whole number from 0/],
  [['quota', 'set', 'p1', '--tokens-per-day', '1.5'], 2, /--tokens-per-day is "1.5"; allowed: a whole number/],
  [
    ['quota', 'set', 'p1', '--requests-per-day', '1', '--model', '*'],
    1,
    /^keybalancer: --model is "\*"; allowed: .*leave it empty/,
  ],
  [['quota', 'set', '', '--requests-per-day', '1'], 1, /^keybalancer: PROJECT is ""; allowed: a project/],
  [['quota', 'set'], 2, /missing required argument 'PROJECT'/],
  [['quota', 'lst'], 2, /unknown command 'lst'.*list/],
] as const)('%j ends with exit code %i and says why', async (args, exitCode, why) => {
  const result = await cliHere(args, { env: await dirWithKey() });
  expect(result).toMatchObject({ exitCode, stdout: '' });
  expect(result.stderr).toMatch(why);
});

test('limits may come before any key, and so make a data dir; to list them makes none', async () => {
  const env = { KEYBALANCER_DATA_DIR: tempDir() };
  expect(await cliHere(['quota', 'list'], { env })).toMatchObject({ exitCode: 3, stdout: '' });
  const set = await cliHere(['quota', 'set', 'to-come', '--requests-per-day', '250'], { env });
  expect(set.exitCode).toBe(0);
  const listed = await cliHere(['quota', 'list'], { env });
  expect(listed.stdout).toContain('to-come\tevery other model\t250 requests a day\tset\t');
});

test('without a subcommand there is help', async () => {
  const none = await cli(['quota']);
  const help = await cliHere(['quota', '--help']);
  const ofList = await cliHere(['help', 'quota', 'list']);
  expect(help).toMatchObject({ exitCode: 0, stderr: '' });
  for (const name of ['list', 'set', 'delete']) expect(help.stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
  expect(none).toEqual({
    exitCode: 2,
    stdout: '',
    stderr: `${help.stdout}keybalancer: the command to run is missing\n`,
  });
  expect(ofList).toEqual(await cliHere(['quota', 'list', '--help']));
});
