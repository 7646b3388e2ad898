import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { environmentOf, execForm, readCopy, readStages, textsOf } from './dockerfile.ts';
import { ROOT } from './root.ts';

// What the image does when it runs is tried by run-dockerfile.ts, which takes longer than a test may.
const stages = readStages(join(ROOT, 'Dockerfile'));
const final = stages.at(-1)!;

test('every file that the Dockerfile copies exists and reaches the builder', () => {
  const allowed = readFileSync(join(ROOT, '.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1));
  const copied = stages
    .flatMap((stage) => stage.instructions.filter(({ name }) => name === 'COPY').map(readCopy))
    .filter(({ from }) => from === undefined)
    .flatMap(({ sources }) => sources);
  expect(copied.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  expect([...copied].sort()).toEqual([...allowed].sort());
});

test('the final image runs the server itself, not as root, on a volume that its user owns', () => {
  const names = final.instructions.map(({ name }) => name);
  expect(textsOf(final, 'USER')).toEqual(['node']);
  expect(names.lastIndexOf('RUN')).toBeLessThan(names.indexOf('USER'));
  const { KEYBALANCER_DATA_DIR: dataDir } = environmentOf(final);
  expect(textsOf(final, 'VOLUME')).toEqual([dataDir]);
  expect(textsOf(final, 'RUN')).toEqual([`install -d -m 0700 -o node -g node ${dataDir}`]);
  expect(execForm(textsOf(final, 'ENTRYPOINT')[0]!)).toEqual(['node', '/app/dist/src/cli/main.js']);
  expect(execForm(textsOf(final, 'CMD')[0]!)).toEqual(['serve']);
});

test('the final image exposes the ports that its doors listen on, and asks one of them for its health', () => {
  const { KEYBALANCER_GRPC, KEYBALANCER_HTTP } = environmentOf(final);
  const ports = [KEYBALANCER_GRPC, KEYBALANCER_HTTP].map((address) => address!.split(':').at(-1));
  expect(textsOf(final, 'EXPOSE')).toEqual([ports.join(' ')]);
  expect(execForm(textsOf(final, 'HEALTHCHECK')[0]!)?.[0]).toBe('node');
});

test('the final image is not insecure by itself', () => {
  expect(environmentOf(final)).not.toHaveProperty('KEYBALANCER_INSECURE');
});

test('both stages stand on the same Node, one that the package takes', () => {
  const { engines } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { engines: { node: string } };
  expect(new Set(stages.map(({ image }) => image)).size).toBe(1);
  const major = Number(/^node:(\d+)-/.exec(final.image)?.[1]);
  expect(major).toBeGreaterThanOrEqual(Number(/\d+/.exec(engines.node)![0]));
});
