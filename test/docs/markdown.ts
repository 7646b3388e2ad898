import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../repository/root.ts';

/** Folders that are not in the repository. */
const MADE = ['node_modules', 'dist'];

export interface Fence {
  language: string;
  code: string;
  /** Of its first line of code. */
  line: number;
}

/** Documents for people, as paths from the root. */
export function documents(): string[] {
  const inDocs = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.md'))
    .map((path) => join('docs', path));
  return ['README.md', 'README.zh-CN.md', 'CHANGELOG.md', 'CONTRIBUTING.md', ...inDocs.sort()];
}

/** Fenced blocks of a document, in order. */
export function fencesOf(document: string): Fence[] {
  const fences: Fence[] = [];
  let open: Fence | undefined;
  for (const [index, line] of readFileSync(join(ROOT, document), 'utf8').split('\n').entries()) {
    if (!line.startsWith('```')) {
      if (open !== undefined) open.code += `${line}\n`;
    } else if (open === undefined) {
      open = { language: line.slice(3).trim(), code: '', line: index + 2 };
    } else {
      fences.push(open);
      open = undefined;
    }
  }
  if (open !== undefined) throw new Error(`${document}:${open.line}: the block does not end`);
  return fences;
}

/** Where a document's links and pictures lead, those to other sites left out. */
export function linksOf(document: string): string[] {
  const text = readFileSync(join(ROOT, document), 'utf8');
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target]) => target!)
    .filter((target) => !/^https?:/.test(target));
}

/** Paths in backticks that begin with a folder at the top of the repository. */
export function pathsOf(document: string): string[] {
  const folders = readdirSync(ROOT, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !MADE.includes(entry.name))
    .map(({ name }) => `${name}/`);
  const code = [...readFileSync(join(ROOT, document), 'utf8').matchAll(/`([^`\n]+)`/g)];
  return code
    .flatMap(([, words]) => words!.split(/\s+/))
    .filter((word) => folders.some((folder) => word.startsWith(folder)));
}

/** The anchors that headings of a document have. */
export function anchorsOf(document: string): string[] {
  return [...readFileSync(join(ROOT, document), 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}
