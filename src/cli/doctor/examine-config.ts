import { effectiveConfig, readServerConfig } from '../../server/config/config.ts';
import { ConfigError } from '../../server/config/config-error.ts';
import { checkExposure } from '../../server/config/exposure.ts';
import type { Flags } from '../../server/config/settings.ts';
import { type Finding, ok, problem } from './finding.ts';

/** Whether flags, environment and config file can be used, by commands and by a server that would be started with them. */
export function examineConfig(flags: Flags): Finding[] {
  try {
    const { file, settings } = effectiveConfig(flags);
    checkExposure(readServerConfig(flags));
    const set = settings.filter(({ origin }) => origin !== 'default').length;
    return [ok('config', `valid: ${file === undefined ? 'no file' : file}, ${set} of ${settings.length} settings set`)];
  } catch (error) {
    if (error instanceof ConfigError) {
      return error.problems.map((each) =>
        problem('config', each, '`keybalancer config print` shows what is set where'),
      );
    }
    return [problem('config', (error as Error).message, 'change it before the server is started with it')];
  }
}
