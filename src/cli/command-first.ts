import { SETTINGS } from '../server/config/settings.ts';
import { VERBOSE } from './options.ts';

/** Options that every command has which asks a server, and those of them that take no value. */
const COMMON = [SETTINGS.address, SETTINGS.dataDir, SETTINGS.masterKeyFile, SETTINGS.config].map(({ flag }) => flag);
const SWITCHES: readonly string[] = ['--json', ...VERBOSE];

/**
 * Puts options that stand before the command behind it: easy-gemini-balance takes `--json` only there, and scripts go on writing it
 * so. Others stay in front, to be refused by name.
 */
export function commandFirst(argv: readonly string[]): string[] {
  let taken = 0;
  for (;;) {
    const [name = '', value] = argv[taken]?.split('=', 2) ?? [];
    if (SWITCHES.includes(name) && value === undefined) taken += 1;
    else if (COMMON.some((flag) => flag === name)) taken += value === undefined ? 2 : 1;
    else break;
  }
  const rest = argv.slice(taken);
  if (rest.length === 0) return [...argv];
  // Behind "--" they would be operands.
  const end = rest.includes('--') ? rest.indexOf('--') : rest.length;
  return [...rest.slice(0, end), ...argv.slice(0, taken), ...rest.slice(end)];
}
