import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from '../repository/root.ts';

const run = promisify(execFile);

/** Packs what would be published. The path of the tarball. */
export async function pack(into: string): Promise<string> {
  // What it would build is built already, and others may be using it.
  const line = ['pack', '--ignore-scripts', '--json', '--pack-destination', into];
  const { stdout } = await run('npm', line, {
    cwd: ROOT,
    env: { ...process.env, npm_config_cache: join(into, 'cache') },
  });
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  return join(into, filename);
}

/**
 * An empty project with the tarball installed: unpacked as npm does, and beside it what it says that it depends on, the SDK, and
 * `more`. These come from this checkout, so that nothing is asked of a registry.
 */
export async function install(tarball: string, dir: string, more: readonly string[]): Promise<void> {
  const modules = join(dir, 'node_modules');
  mkdirSync(join(modules, 'keybalancer'), { recursive: true });
  await run('tar', ['-xzf', tarball, '--strip-components=1', '-C', join(modules, 'keybalancer')]);
  const { dependencies, peerDependencies } = JSON.parse(
    readFileSync(join(modules, 'keybalancer/package.json'), 'utf8'),
  ) as { dependencies: object; peerDependencies: object };
  for (const name of [...Object.keys(dependencies), ...Object.keys(peerDependencies), ...more]) {
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
  }
  writeFileSync(join(dir, 'package.json'), '{ "type": "module" }\n');
}

/** Runs a program of this checkout's packages or of Node, in a directory. What it wrote; rejects with it when it failed. */
export async function runIn(dir: string, program: string, ...line: string[]): Promise<string> {
  const env = {
    ...process.env,
    PATH: `${join(ROOT, 'node_modules/.bin')}${delimiter}${process.env.PATH}`,
    NO_COLOR: '1',
  };
  try {
    const { stdout } = await run(program, line, { cwd: dir, env, timeout: 240_000 });
    return stdout;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`${program} ${line.join(' ')} failed:\n${stdout}${stderr}`, { cause: error });
  }
}

/** Node programs to try the package on: this one, and those that KEYBALANCER_TEST_NODES names. */
export async function nodes(): Promise<{ program: string; version: string }[]> {
  const programs = [process.execPath, ...(process.env.KEYBALANCER_TEST_NODES ?? '').split(delimiter)].filter(Boolean);
  return Promise.all(
    programs.map(async (program) => ({ program, version: (await run(program, ['--version'])).stdout.trim() })),
  );
}
