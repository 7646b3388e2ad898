import { accessSync, constants, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from './root.ts';

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

interface Lockfile {
  packages: Record<
    string,
    { resolved?: string; integrity?: string; link?: boolean; optionalDependencies?: Record<string, string> }
  >;
}

test('the lockfile names no place to download from, and the content of every package', () => {
  const { packages } = JSON.parse(read('package-lock.json')) as Lockfile;
  const installed = Object.entries(packages).filter(([path, { link }]) => path !== '' && !link);
  expect(installed.length).toBeGreaterThan(100);
  expect(installed.filter(([, { resolved }]) => resolved !== undefined).map(([path]) => path)).toEqual([]);
  expect(installed.filter(([, { integrity }]) => integrity === undefined).map(([path]) => path)).toEqual([]);
});

test('the lockfile has the optional packages of every platform, whoever wrote it last', () => {
  const { packages } = JSON.parse(read('package-lock.json')) as Lockfile;
  const wanted = Object.values(packages).flatMap(({ optionalDependencies = {} }) => Object.keys(optionalDependencies));
  expect(wanted).toContain('@biomejs/cli-win32-x64');
  expect(wanted.filter((name) => packages[`node_modules/${name}`] === undefined)).toEqual([]);
});

test('versions agree: the package, its lockfile and the newest entry of the changelog', () => {
  const { version } = JSON.parse(read('package.json')) as { version: string };
  expect((JSON.parse(read('package-lock.json')) as { version: string }).version).toBe(version);
  expect(/^## \[(\d[^\]]*)\]/m.exec(read('CHANGELOG.md'))?.[1]).toBe(version);
});

test('.ci/run can be run, and runs what package.json names', () => {
  accessSync(join(ROOT, '.ci/run'), constants.X_OK);
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const called = [...read('.ci/run').matchAll(/^step '.*' npm (?:run )?([a-z]+)$/gm)].map(([, name]) => name!);
  expect(called).toEqual(expect.arrayContaining(['ci', 'lint', 'types', 'test']));
  expect(called.filter((name) => name !== 'ci' && scripts[name] === undefined)).toEqual([]);
});
