import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { effectiveConfig, readClientConfig, readServerConfig } from '../../src/server/config/config.ts';
import type { Flags } from '../../src/server/config/settings.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'kb-config-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
});

function write(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

function problems(path: string, flags: Flags = {}): readonly string[] {
  try {
    readServerConfig({ config: path, ...flags }, {});
  } catch (error) {
    expect(error).toMatchObject({ name: 'ConfigError' });
    return (error as { problems: string[] }).problems;
  }
  return [];
}

describe('a config file', () => {
  test.each([
    ['keybalancer.yaml', 'grpc: 127.0.0.1:7\nhttp: off\nverify: false\nlog_level: debug # for now\n'],
    ['keybalancer.yml', '{grpc: "127.0.0.1:7", http: "off", verify: "off", log_level: debug}'],
    ['keybalancer.toml', 'grpc = "127.0.0.1:7"\nhttp = "off"\nverify = false\nlog_level = "debug"\n'],
    ['keybalancer.json', '{"grpc": "127.0.0.1:7", "http": "off", "verify": false, "log_level": "debug"}'],
  ])('is read as %s', (name, text) => {
    expect(readServerConfig({ config: write(name, text) }, {})).toMatchObject({
      grpc: { host: '127.0.0.1', port: 7 },
      http: undefined,
      verify: false,
      logLevel: 'debug',
    });
  });

  test('counts less than the environment, which counts less than flags', () => {
    const config = write('keybalancer.yaml', 'log_level: debug\ndurability: normal\nverify: off\n');
    const env = { KEYBALANCER_LOG_LEVEL: 'warn', KEYBALANCER_DURABILITY: 'full', KEYBALANCER_CONFIG: config };
    expect(readServerConfig({ logLevel: 'error' }, env)).toMatchObject({
      logLevel: 'error',
      durability: 'full',
      verify: false,
    });
  });

  test('that is empty, or all comment, says nothing', () => {
    for (const text of ['', '# log_level: debug\n']) {
      expect(readServerConfig({ config: write('keybalancer.yaml', text) }, {}).logLevel).toBe('info');
    }
  });

  test('may name paths relative to itself', () => {
    const config = write('keybalancer.yaml', 'data_dir: data\nmaster_key_file: ../key\n');
    expect(readServerConfig({ config }, {})).toMatchObject({
      dataDir: join(dir, 'data'),
      masterKey: { file: join(dir, '../key') },
    });
  });

  test('is found in the config dir of the user where none is named, and not in the working directory', () => {
    mkdirSync(join(dir, 'keybalancer'));
    write('keybalancer/keybalancer.toml', 'log_level = "trace"');
    const env = { XDG_CONFIG_HOME: dir };
    expect(readServerConfig({}, env).logLevel).toBe('trace');
    expect(readServerConfig({ config: 'off' }, env).logLevel).toBe('info');
    write('keybalancer/keybalancer.yaml', 'log_level: debug');
    expect(() => readServerConfig({}, env)).toThrow(
      `keybalancer.yaml and keybalancer.toml are both in ${join(dir, 'keybalancer')}; keep one of them, or name one by --config`,
    );
  });

  test('names unknown fields with the nearest known one, all problems at once, and what is allowed', () => {
    const path = write(
      'keybalancer.yaml',
      'loglevel: debug\ndata-dir: x\nlogLevel: debug\ncolour: red\ngrpc: [1]\nhttp:\ngemini_base_url: {}\n',
    );
    expect(problems(path)).toEqual([
      `"loglevel" in ${path} is no field; did you mean log_level?`,
      `"data-dir" in ${path} is no field; did you mean data_dir?`,
      `"logLevel" in ${path} is no field; did you mean log_level?`,
      expect.stringMatching(/^"colour" in .* is no field; allowed: data_dir, grpc, http, /),
      `grpc in ${path} is a list; allowed: HOST:PORT with a port of 0 to 65535, such as 127.0.0.1:50051 or [::1]:0, or off`,
      expect.stringMatching(/^http in .* is empty; allowed: HOST:PORT/),
      expect.stringMatching(/^gemini_base_url in .* is a table; allowed: an http or https URL/),
    ]);
  });

  test('names the field and the file of a value that cannot be used', () => {
    const path = write('keybalancer.toml', 'log_level = "loud"\ngrpc = 50051\n');
    expect(problems(path)).toEqual([
      `grpc in ${path} is "50051"; allowed: HOST:PORT with a port of 0 to 65535, such as 127.0.0.1:50051 or [::1]:0, or off`,
      `log_level in ${path} is "loud"; allowed: trace, debug, info, warn, error, fatal, silent`,
    ]);
    // Those values count for nothing where stronger ones are given.
    expect(problems(path, { logLevel: 'info', grpc: 'off' })).toEqual([]);
  });

  test.each([
    ['keybalancer.yaml', 'grpc: "not-to-be-seen\nhttp: off\n', /, line \d+ column \d+: this is no YAML$/],
    ['keybalancer.yaml', 'log_level: info\nlog_level: debug\n', /, line 2 column 1: a field is there twice$/],
    ['keybalancer.toml', 'grpc = not-to-be-seen\n', /, line 1 column \d+: this is no TOML$/],
    ['keybalancer.json', '{"grpc": not-to-be-seen}', /: this is no JSON$/],
    ['keybalancer.yaml', '- not-to-be-seen\n', /is no table of fields, such as log_level: debug$/],
    [
      'keybalancer.yaml',
      'master_key: not-to-be-seen\n',
      /master_key in .* is a secret.*; use master_key_file or KEYBALANCER_MASTER_KEY$/,
    ],
  ])('%s that holds %j is refused by its place, without what it holds', (name, text, expected) => {
    const said = problems(write(name, text));
    expect(said).toEqual([expect.stringMatching(expected)]);
    expect(said.join()).not.toContain('not-to-be-seen');
  });

  test('that is not there, a directory, too large or of another kind is refused', () => {
    expect(problems(join(dir, 'none.yaml'))).toEqual([
      `config file ${join(dir, 'none.yaml')} cannot be read: there is no such file`,
    ]);
    mkdirSync(join(dir, 'dir.yaml'));
    expect(problems(join(dir, 'dir.yaml'))).toEqual([expect.stringContaining('cannot be read: it is a directory')]);
    expect(problems(write('large.yaml', `#${'x'.repeat(1024 * 1024)}`))).toEqual([
      expect.stringContaining('larger than 1 MiB'),
    ]);
    expect(problems(write('keybalancer.ini', ''))).toEqual([
      expect.stringContaining(
        'is of no known kind; allowed: the path of a file whose name ends in .yaml, .yml, .toml or .json',
      ),
    ]);
  });

  test('tells commands where the server is, and a data dir of the environment wins over it', () => {
    const config = write('keybalancer.yaml', 'address: file:1\nhttp: nonsense\n');
    const read = (flags: Flags, env: NodeJS.ProcessEnv = {}) => readClientConfig({ config, ...flags }, env);
    expect(read({}).address).toBe('file:1');
    expect(read({}, { KEYBALANCER_DATA_DIR: '/env' })).toMatchObject({ address: undefined, dataDir: '/env' });
    expect(read({}, { KEYBALANCER_ADDRESS: 'env:1' }).address).toBe('env:1');
  });
});

test('effective settings tell their origin, and no secret', () => {
  const config = write('keybalancer.yaml', 'log_level: debug\ngrpc: 127.0.0.1:7\n');
  const env = { KEYBALANCER_MASTER_KEY: 'a'.repeat(64), KEYBALANCER_GRPC: '127.0.0.1:8' };
  const { file, settings } = effectiveConfig({ config, http: 'off' }, env);
  const of = (name: string) => settings.find((setting) => setting.name === name);
  expect(file).toBe(config);
  expect(of('logLevel')).toMatchObject({ value: 'debug', origin: 'file', by: `log_level in ${config}` });
  expect(of('grpc')).toMatchObject({ value: '127.0.0.1:8', origin: 'environment', by: 'KEYBALANCER_GRPC' });
  expect(of('http')).toMatchObject({ value: 'off', origin: 'flag', by: '--http' });
  expect(of('durability')).toMatchObject({ value: 'full', origin: 'default' });
  expect(of('masterKey')).toMatchObject({ value: null, origin: 'environment', by: 'KEYBALANCER_MASTER_KEY' });
  expect(of('address')).toMatchObject({ value: null, origin: 'default' });
  expect(JSON.stringify(settings)).not.toContain('aaaa');
});
