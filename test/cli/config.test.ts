import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readClientConfig, readServerConfig } from '../../src/server/config/config.ts';
import { checkExposure } from '../../src/server/config/exposure.ts';
import type { Flags } from '../../src/server/config/settings.ts';

const problems = (flags: Flags, env: NodeJS.ProcessEnv = {}): readonly string[] => {
  try {
    readServerConfig(flags, env);
  } catch (error) {
    expect(error).toMatchObject({ name: 'ConfigError' });
    return (error as { problems: string[] }).problems;
  }
  return [];
};

describe('settings of the server', () => {
  test('a variable with the name of none but nearly is refused; those that Kubernetes sets for a service are not', () => {
    expect(problems({}, { KEYBALANCER_LOG_LVEL: 'debug', KEYBALANCE_GRPC: 'off' })).toEqual([
      'KEYBALANCER_LOG_LVEL in the environment is no setting; did you mean KEYBALANCER_LOG_LEVEL?',
      'KEYBALANCE_GRPC in the environment is no setting; did you mean KEYBALANCER_GRPC?',
    ]);
    expect(problems({ grpc: 'nonsense' }, { KEYBALANCER_VERIFI: 'off', KEYBALANCER_HTPP: '' })).toEqual([
      'KEYBALANCER_VERIFI in the environment is no setting; did you mean KEYBALANCER_VERIFY?',
      expect.stringMatching(/^--grpc is "nonsense"; allowed: /),
    ]);
    const service = {
      KEYBALANCER_SERVICE_HOST: '10.0.0.1',
      KEYBALANCER_SERVICE_PORT: '50051',
      KEYBALANCER_SERVICE_PORT_GRPC: '50051',
      KEYBALANCER_SERVICE_PORT_HTTP: '8051',
      KEYBALANCER_PORT: 'tcp://10.0.0.1:50051',
      KEYBALANCER_PORT_8051_TCP: 'tcp://10.0.0.1:8051',
      KEYBALANCER_PORT_8051_TCP_ADDR: '10.0.0.1',
    };
    expect(problems({}, service)).toEqual([]);
  });

  test('are the documented defaults where nothing is said', () => {
    expect(readServerConfig({}, { XDG_DATA_HOME: '/var/data' })).toEqual({
      dataDir: '/var/data/keybalancer',
      grpc: { host: '127.0.0.1', port: 50_051 },
      http: { host: '127.0.0.1', port: 8051 },
      durability: 'full',
      masterKey: {},
      insecure: false,
      geminiBaseUrl: 'https://generativelanguage.googleapis.com',
      verify: true,
      logLevel: 'info',
    });
    for (const env of [{}, { XDG_DATA_HOME: '' }, { XDG_DATA_HOME: 'relative' }]) {
      expect(readServerConfig({}, env).dataDir).toBe(join(homedir(), '.local/share/keybalancer'));
    }
  });

  test('come from the environment, and flags win over it', () => {
    const env = {
      KEYBALANCER_DATA_DIR: '/env/dir',
      KEYBALANCER_GRPC: '[::1]:0',
      KEYBALANCER_HTTP: 'off',
      KEYBALANCER_DURABILITY: 'normal',
      KEYBALANCER_MASTER_KEY_FILE: '/env/key',
      KEYBALANCER_GEMINI_BASE_URL: 'http://127.0.0.1:9/',
      KEYBALANCER_VERIFY: 'off',
      KEYBALANCER_INSECURE: 'true',
      KEYBALANCER_LOG_LEVEL: 'debug',
    };
    expect(readServerConfig({}, env)).toEqual({
      dataDir: '/env/dir',
      grpc: { host: '::1', port: 0 },
      http: undefined,
      durability: 'normal',
      masterKey: { file: '/env/key' },
      insecure: true,
      geminiBaseUrl: 'http://127.0.0.1:9',
      verify: false,
      logLevel: 'debug',
    });
    const flags = { dataDir: '/flag/dir', grpc: 'off', http: 'localhost:1', durability: 'full', logLevel: 'warn' };
    expect(readServerConfig(flags, env)).toMatchObject({
      dataDir: '/flag/dir',
      grpc: undefined,
      http: { host: 'localhost', port: 1 },
      durability: 'full',
      logLevel: 'warn',
    });
  });

  test.each([
    ':x',
    ':50051',
    '1.2.3.4',
    '1.2.3:80',
    '1.2.3.999:80',
    'host:99999',
    'host:-1',
    '::1:80',
    '[::1]',
    '[host]:1',
    'a b:1',
    'http://host:1',
    '',
  ])('refuse %j as an address', (text) => {
    expect(problems({ grpc: text })).toEqual([
      `--grpc is ${JSON.stringify(text)}; allowed: HOST:PORT with a port of 0 to 65535, such as 127.0.0.1:50051 or [::1]:0, or off`,
    ]);
  });

  test.each([
    ['[::1]:0', { host: '::1', port: 0 }],
    ['0.0.0.0:65535', { host: '0.0.0.0', port: 65_535 }],
    ['key-host.internal:1', { host: 'key-host.internal', port: 1 }],
  ])('take %j as an address', (text, address) => {
    expect(readServerConfig({ grpc: text }, {}).grpc).toEqual(address);
  });

  test('are all named at once when they cannot be used, with where they came from', () => {
    expect(problems({ http: 'nowhere' }, { KEYBALANCER_DURABILITY: 'fast', KEYBALANCER_INSECURE: 'perhaps' })).toEqual([
      expect.stringMatching(/^--http is "nowhere"; allowed: HOST:PORT/),
      'KEYBALANCER_DURABILITY is "fast"; allowed: full or normal',
      'KEYBALANCER_INSECURE is "perhaps"; allowed: true or false',
    ]);
    expect(problems({ dataDir: '', logLevel: 'loud', geminiBaseUrl: 'ftp://x' })).toEqual([
      '--data-dir is ""; allowed: the path of a directory',
      '--gemini-base-url is "ftp://x"; allowed: an http or https URL without user, query and fragment',
      '--log-level is "loud"; allowed: trace, debug, info, warn, error, fatal, silent',
    ]);
  });

  test('show no secret: neither a master key nor what a URL carries', () => {
    const secret = 'not-to-be-seen';
    const said = [
      ...problems({}, { KEYBALANCER_MASTER_KEY: '' }),
      ...problems({}, { KEYBALANCER_MASTER_KEY: secret, KEYBALANCER_MASTER_KEY_FILE: '/file' }),
      ...problems({ geminiBaseUrl: `https://user:${secret}@host/` }),
      ...problems({ geminiBaseUrl: `https://host/?key=${secret}` }),
    ];
    expect(said).toHaveLength(4);
    expect(said[0]).toMatch(/^KEYBALANCER_MASTER_KEY is not usable; allowed: .*64 hexadecimal digits/);
    expect(said[1]).toContain('KEYBALANCER_MASTER_KEY and KEYBALANCER_MASTER_KEY_FILE are both set');
    expect(said.join('\n')).not.toContain(secret);
  });

  test('take the file of a flag before the master key of the environment', () => {
    const env = { KEYBALANCER_MASTER_KEY: 'a'.repeat(64) };
    expect(readServerConfig({ masterKeyFile: '/flag/key' }, env).masterKey).toEqual({ file: '/flag/key' });
    expect(readServerConfig({}, env).masterKey).toEqual({ value: 'a'.repeat(64) });
  });

  test('count an empty variable as not set', () => {
    expect(readServerConfig({}, { KEYBALANCER_GRPC: '', KEYBALANCER_LOG_LEVEL: '' })).toMatchObject({
      grpc: { port: 50_051 },
      logLevel: 'info',
    });
  });
});

describe('a door without TLS', () => {
  const at = (host: string, insecure = false) => ({ grpc: { host, port: 1 }, http: undefined, insecure });

  test.each(['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1', 'localhost', 'LOCALHOST'])('may be at %s', (host) => {
    expect(() => checkExposure(at(host))).not.toThrow();
  });

  test.each(['0.0.0.0', '::', '10.0.0.1', '192.168.1.1', '::ffff:10.0.0.1', 'localhost.example.com', 'keys.internal'])(
    'is refused at %s, with an error that names TLS and --insecure',
    (host) => {
      expect(() => checkExposure(at(host))).toThrow(/^--grpc .*:1 can be reached from other machines.*TLS.*--insecure/);
      expect(() => checkExposure({ ...at(host), grpc: undefined, http: { host, port: 1 } })).toThrow(/^--http /);
      expect(() => checkExposure(at(host, true))).not.toThrow();
    },
  );
});

describe('where a client looks', () => {
  const read = (flags: Flags, env: NodeJS.ProcessEnv = {}) => readClientConfig(flags, { XDG_DATA_HOME: '/x', ...env });

  test('is its flag, the address of the environment, the data dir of the environment, the default data dir', () => {
    const env = { KEYBALANCER_ADDRESS: 'env:1', KEYBALANCER_DATA_DIR: '/env' };
    expect(read({ address: 'flag:1' }, env)).toMatchObject({ address: 'flag:1' });
    expect(read({ dataDir: '/flag' }, env)).toMatchObject({ address: undefined, dataDir: '/flag' });
    expect(read({}, env)).toMatchObject({ address: 'env:1' });
    expect(read({}, { KEYBALANCER_DATA_DIR: '/env' })).toMatchObject({ address: undefined, dataDir: '/env' });
    expect(read({})).toMatchObject({ address: undefined, dataDir: '/x/keybalancer' });
  });

  test('cannot be two places, nor a port that nobody listens at', () => {
    expect(() => read({ address: 'a:1', dataDir: '/d' })).toThrow('--address and --data-dir both say where to look');
    for (const address of ['a:0', 'a', ':1', 'unix:', 'https://a:1', 'a:1,', 'a:1,b:0']) {
      expect(() => read({ address })).toThrow(
        `--address is ${JSON.stringify(address)}; allowed: HOST:PORT with a port of 1 to 65535, or unix:PATH`,
      );
    }
    for (const address of ['unix:/run/kb.sock', 'a:1,b:2', 'a:1, unix:/run/kb.sock']) {
      expect(read({ address }).address).toBe(address);
    }
  });
});
