import { existsSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, extname, isAbsolute, join, resolve } from 'node:path';
import { closest, distance } from 'fastest-levenshtein';
import { ConfigError } from './config-error.ts';
import { type FieldName, SETTINGS, type Setting } from './settings.ts';

/** For parsers of formats: each has dozens of modules, which every command would load at its start. */
const require = createRequire(import.meta.url);

/** What a config file says: text, as a flag would give it. */
export interface ConfigFile {
  path: string;
  values: ReadonlyMap<FieldName, string>;
}

const FILE_NAMES = ['keybalancer.yaml', 'keybalancer.yml', 'keybalancer.toml', 'keybalancer.json'];
const LARGEST_FILE = 1024 * 1024;
/** A mistyped name differs from the meant one in so many letters at most. */
const FAR = 4;

const NAMES_BY_FIELD = new Map(
  Object.entries(SETTINGS).flatMap(([name, setting]: [string, Setting]) =>
    setting.field === undefined ? [] : [[setting.field, name as FieldName]],
  ),
);

/** Settings whose value is a path: in a file it may be relative to the file. */
const PATHS: readonly FieldName[] = ['dataDir', 'masterKeyFile'];

/**
 * The file that counts where none is named: of the user, else of the machine. The working directory is not looked at, since
 * a command run in a stranger's directory would send keys where that stranger wants.
 */
export function findConfigFile(env: NodeJS.ProcessEnv): string | undefined {
  const xdg = env.XDG_CONFIG_HOME;
  const user = xdg !== undefined && isAbsolute(xdg) ? xdg : join(homedir(), '.config');
  for (const dir of [join(user, 'keybalancer'), '/etc/keybalancer']) {
    const found = FILE_NAMES.filter((name) => existsSync(join(dir, name)));
    if (found.length > 1) {
      throw new ConfigError([`${found.join(' and ')} are both in ${dir}; keep one of them, or name one by --config`]);
    }
    if (found[0] !== undefined) return join(dir, found[0]);
  }
  return undefined;
}

/** Throws a ConfigError that names all that is wrong with it. */
export function readConfigFile(path: string): ConfigFile {
  const read = parserOf(path);
  const content = read(textOf(path));
  if (content === null || content === undefined) return { path, values: new Map() };
  if (typeof content !== 'object' || Array.isArray(content)) {
    throw new ConfigError([`${path} is no table of fields, such as log_level: debug`]);
  }
  const values = new Map<FieldName, string>();
  const problems: string[] = [];
  for (const [field, value] of Object.entries(content)) {
    const name = NAMES_BY_FIELD.get(field);
    if (name === undefined) problems.push(unknownField(path, field));
    else if (!['string', 'number', 'boolean'].includes(typeof value)) {
      const what = value === null ? 'empty' : Array.isArray(value) ? 'a list' : 'a table';
      problems.push(`${field} in ${path} is ${what}; allowed: ${SETTINGS[name].allowed}`);
    } else values.set(name, textOfValue(path, name, value as string | number | boolean));
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return { path, values };
}

function textOfValue(path: string, name: FieldName, value: string | number | boolean): string {
  const text = String(value);
  return PATHS.includes(name) && text !== '' ? resolve(dirname(path), text) : text;
}

function unknownField(path: string, field: string): string {
  const secret = Object.values(SETTINGS).find(
    (setting: Setting) => setting.secret && setting.variable.toLowerCase() === `keybalancer_${field.toLowerCase()}`,
  );
  if (secret !== undefined) {
    return `${field} in ${path} is a secret, which does not belong in a config file; use master_key_file or ${secret.variable}`;
  }
  const plain = field
    .replace(/[a-z][A-Z]/g, ([a, b]) => `${a}_${b}`)
    .replaceAll('-', '_')
    .toLowerCase();
  const near = closest(plain, [...NAMES_BY_FIELD.keys()]);
  const hint =
    distance(plain, near) <= FAR ? `; did you mean ${near}?` : `; allowed: ${[...NAMES_BY_FIELD.keys()].join(', ')}`;
  return `${JSON.stringify(field.slice(0, 40))} in ${path} is no field${hint}`;
}

function textOf(path: string): string {
  try {
    const { size } = statSync(path);
    if (size > LARGEST_FILE) throw new ConfigError([`${path} is larger than 1 MiB, which no config file is`]);
    return readFileSync(path, 'utf8').replace(/^\uFEFF/, '');
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const why = { ENOENT: 'there is no such file', EACCES: 'permission denied', EISDIR: 'it is a directory' }[
      code ?? ''
    ];
    throw new ConfigError([`config file ${path} cannot be read: ${why ?? code}`]);
  }
}

/** Parsers quote what they do not understand, and that may be a secret: only the place is told. */
function parserOf(path: string): (text: string) => unknown {
  switch (extname(path)) {
    case '.yaml':
    case '.yml': {
      const { parse, YAMLParseError } = require('yaml') as typeof import('yaml');
      return located(path, 'YAML', parse, (error) => {
        if (!(error instanceof YAMLParseError) || error.linePos === undefined) return undefined;
        return { ...error.linePos[0], why: error.code === 'DUPLICATE_KEY' ? 'a field is there twice' : '' };
      });
    }
    case '.toml': {
      const { parse, TomlError } = require('smol-toml') as typeof import('smol-toml');
      return located(path, 'TOML', parse, (error) =>
        error instanceof TomlError ? { line: error.line, col: error.column } : undefined,
      );
    }
    case '.json':
      return located(path, 'JSON', JSON.parse, (error) => {
        const at = /line (\d+) column (\d+)/.exec((error as Error).message);
        return at === null ? undefined : { line: Number(at[1]), col: Number(at[2]) };
      });
    default:
      throw new ConfigError([
        `config file ${JSON.stringify(path)} is of no known kind; allowed: ${SETTINGS.config.allowed}`,
      ]);
  }
}

function located(
  path: string,
  format: string,
  parse: (text: string) => unknown,
  placeOf: (error: unknown) => { line: number; col: number; why?: string } | undefined,
): (text: string) => unknown {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      const place = placeOf(error);
      const at = place === undefined ? '' : `, line ${place.line} column ${place.col}`;
      throw new ConfigError([`${path}${at}: ${place?.why || `this is no ${format}`}`]);
    }
  };
}
