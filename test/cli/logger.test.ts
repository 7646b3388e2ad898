import { describe, expect, test } from 'vitest';
import { createLogger } from '../../src/server/logger.ts';

function logged(pretty: boolean, write: (logger: ReturnType<typeof createLogger>) => void): string {
  let text = '';
  const destination = {
    write: (line: string) => {
      text += line;
    },
  };
  write(createLogger({ level: 'info', pretty, destination }));
  return text;
}

describe('log', () => {
  test('is a JSON object a line, with its level in words and its time in ISO form', () => {
    const lines = logged(false, (logger) => {
      logger.info({ pool: 'default' }, 'first');
      logger.debug('below the level');
      logger.warn('second');
    })
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toEqual([
      { level: 'info', time: expect.stringMatching(/^\d{4}-.*Z$/), name: 'keybalancer', pool: 'default', msg: 'first' },
      { level: 'warn', time: expect.any(String), name: 'keybalancer', msg: 'second' },
    ]);
  });

  test.each([false, true])('shows no field that holds a secret, at any depth that is logged (pretty: %s)', (pretty) => {
    const secret = 'AQ.test-key-000001';
    const text = logged(pretty, (logger) => {
      for (const field of ['apiKey', 'api_key', 'newApiKey', 'masterKey', 'authorization', 'x-goog-api-key', 'token']) {
        logger.info({ [field]: secret }, 'top');
        logger.info({ request: { headers: { [field]: secret } } }, 'deep');
        logger.child({ [field]: secret }).info('child');
        logger.error({ err: Object.assign(new Error('failed'), { config: { [field]: secret } }) }, 'error');
      }
    });
    expect(text).toContain('[secret]');
    expect(text).toContain('failed');
    expect(text).not.toContain(secret);
  });
});
