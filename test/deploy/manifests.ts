import { spawnSync } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';
import { ROOT } from '../repository/root.ts';
import { tempDir } from '../support/temp-dir.ts';

export const DEPLOY = join(ROOT, 'deploy');

export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
}

export function readText(path: string): string {
  return readFileSync(join(DEPLOY, path), 'utf8');
}

export function readYaml<T>(path: string): T {
  return parse(readText(path), { strict: true }) as T;
}

export function readManifests(text: string): Manifest[] {
  return parseAllDocuments(text).map((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    return document.toJS() as Manifest;
  });
}

/**
 * What Kubernetes would have against manifests, by its own schemas: values that are not allowed and fields that are missing are found by
 * kubernetes-models' validators, fields that do not exist by its types. "": nothing.
 */
export async function problemsOf(manifests: readonly Manifest[]): Promise<string> {
  const invalid: string[] = [];
  for (const manifest of manifests) {
    const module = (await import(modulePath(manifest))) as Record<string, new (data: object) => { validate(): void }>;
    try {
      new module[manifest.kind]!(manifest).validate();
    } catch (error) {
      invalid.push(`${manifest.kind}: ${(error as Error).message}`);
    }
  }
  return [...invalid, ...typeErrors(manifests)].join('\n');
}

function typeErrors(manifests: readonly Manifest[]): string[] {
  const dir = tempDir();
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  const lines = manifests.flatMap((manifest, index) => [
    `import type { I${manifest.kind} as Type${index} } from '${modulePath(manifest)}';`,
    `export const manifest${index}: Type${index} = ${JSON.stringify(manifest, undefined, 1)};`,
  ]);
  writeFileSync(join(dir, 'manifests.ts'), lines.join('\n'));
  const compilerOptions = { strict: true, noEmit: true, skipLibCheck: true, types: [], module: 'esnext' };
  const options = { ...compilerOptions, moduleResolution: 'bundler' };
  writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, include: ['manifests.ts'] }));
  const { status, stdout } = spawnSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', dir], { encoding: 'utf8' });
  return status === 0 ? [] : [stdout];
}

/** Such as kubernetes-models/apps/v1/StatefulSet. */
function modulePath({ apiVersion, kind }: Manifest): string {
  return `kubernetes-models/${apiVersion}/${kind}`;
}
