/** One thing that a module exports, or a member of one. */
export interface Declaration {
  name: string;
  kind: 'function' | 'class' | 'interface' | 'type';
  /** Without "export", "declare" and the body, on one line. */
  signature: string;
  /** What its comment says, paragraphs kept. */
  comment: string;
  /** Names that it extends. */
  bases: string[];
  members: { signature: string; comment: string }[];
}

/**
 * The declarations of a .d.ts file as the compiler writes it: what begins at the margin ends at the margin, and members stand one
 * step in. The compiler's own API would be the better way to read it, and TypeScript 7 has none yet.
 */
export function declarationsOf(text: string): Map<string, Declaration> {
  const found = new Map<string, Declaration>();
  for (const { comment, lines } of blocks(text.split('\n'), '')) {
    const head = /^(?:export )?(?:declare )?(?:abstract )?(function|class|interface|type) (\w+)/.exec(lines[0] ?? '');
    if (head === null) continue;
    const [, kind, name] = head as unknown as [string, Declaration['kind'], string];
    const hasBody = (kind === 'class' || kind === 'interface') && lines.length > 1;
    const first = oneLine(hasBody ? lines.slice(0, 1) : lines).replace(/^(?:export )?(?:declare )?/, '');
    const signature = hasBody ? first.replace(/ \{$/, '') : first;
    const members = hasBody ? blocks(lines.slice(1, -1), '    ') : [];
    found.set(name, {
      name,
      kind,
      signature: signature.replace(/^function /, ''),
      comment,
      bases: kind === 'type' || kind === 'function' ? [] : basesOf(signature),
      members: members
        .map((member) => ({ signature: oneLine(member.lines), comment: member.comment }))
        .filter((member) => !/^(#private|private )/.test(member.signature)),
    });
  }
  return found;
}

/** Name, and file where it is declared, of each export of a module that only passes them on: by its name outside. */
export function exportsOf(text: string): Map<string, { name: string; file: string }> {
  const found = new Map<string, { name: string; file: string }>();
  for (const [, names, file] of text.matchAll(/^export (?:type )?\{([^}]*)\} from '([^']+)';$/gm)) {
    for (const each of names!.split(',')) {
      const [name, alias] = each
        .trim()
        .replace(/^type /, '')
        .split(' as ');
      if (name) found.set(alias ?? name, { name, file: file! });
    }
  }
  return found;
}

/** What stands at one indentation: the comment before it, if any, and its lines, to where it ends. */
function blocks(lines: readonly string[], indent: string): { comment: string; lines: string[] }[] {
  const found: { comment: string; lines: string[] }[] = [];
  let comment: string[] = [];
  let open: string[] = [];
  let inComment = false;
  for (const line of lines) {
    const text = line.slice(indent.length);
    if (open.length === 0 && (inComment || text.startsWith('/**'))) {
      if (!inComment) comment = [];
      comment.push(text);
      inComment = !text.endsWith('*/');
      continue;
    }
    if (text.trim() === '' && open.length === 0) continue;
    open.push(text);
    // At the margin again, and over: else it is the beginning of something longer.
    if (/^\S/.test(text) && /[;}]$/.test(text)) {
      found.push({ comment: words(comment), lines: open });
      comment = [];
      open = [];
    }
  }
  return found;
}

function words(comment: readonly string[]): string {
  const lines = comment
    .join('\n')
    .replace(/^\/\*\*/, '')
    .replace(/\*\/$/, '')
    .split('\n');
  return lines
    .map((line) => line.replace(/^\s*\* ?/, '').trim())
    .join('\n')
    .trim();
}

function oneLine(lines: readonly string[]): string {
  return lines
    .map((line) => line.trim())
    .join(' ')
    .replace(/;$/, '');
}

/** Plain names alone: of Omit<X, ...> the X. */
function basesOf(signature: string): string[] {
  const [, list = ''] = / extends (.*)$/.exec(signature) ?? [];
  return [...list.matchAll(/(?:^|, )(?:Omit<|Partial<)?(\w+)/g)].map(([, name]) => name!);
}
