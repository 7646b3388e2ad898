import { allNodes, type Flag, type Node, type Value } from './tree.ts';

/** A completion of zsh, from $fpath under the name _keybalancer or read by eval. */
export function zshCompletion(root: Node): string {
  return `#compdef keybalancer
# Completion of keybalancer for zsh: eval "$(keybalancer completion zsh)", after compinit
${allNodes(root).map(functionOf).join('\n')}
if [ "$funcstack[1]" = _keybalancer ]; then
  _keybalancer "$@"
else
  compdef _keybalancer keybalancer
fi
`;
}

function functionOf(node: Node): string {
  const specs = node.flags.map(flagSpec);
  const begin = `${nameOf(node.path)}() {`;
  if (node.commands.length === 0) {
    if (node.argument !== undefined) specs.push(quoted(`*:argument:${actionOf(node.argument)}`));
    return [begin, `  _arguments -S ${specs.join(' \\\n    ')}`, '}'].join('\n');
  }
  const described = node.commands.map(
    ({ name, summary }) => `      ${quoted(`${name}:${summary.replaceAll(':', '\\:')}`)}`,
  );
  const below = node.commands.map(({ name, path }) => `        ${name}) ${nameOf(path)} ;;`);
  return `${begin}
  local curcontext=$curcontext state line
  local -a commands
  _arguments -C ${[...specs, "'1:command:->command'", "'*::argument:->argument'"].join(' \\\n    ')}
  case $state in
    command)
      commands=(
${described.join('\n')}
      )
      _describe command commands
      ;;
    argument)
      case $words[1] in
${below.join('\n')}
      esac
      ;;
  esac
}`;
}

function nameOf(path: string): string {
  return path === '' ? '_keybalancer' : `_keybalancer_${path.replace(/[ -]/g, '_')}`;
}

function flagSpec({ name, summary, value, valueName }: Flag): string {
  const about = `[${summary.replace(/[[\]:\\]/g, '\\$&')}]`;
  if (value === undefined) return quoted(`${name}${about}`);
  return quoted(`*${name}=${about}:${valueName.replaceAll(':', '\\:')}:${actionOf(value)}`);
}

function actionOf(value: Value): string {
  switch (value.kind) {
    case 'words':
      return `(${value.words.join(' ')})`;
    case 'file':
      return '_files';
    case 'directory':
      return '_files -/';
    case 'other':
      return ' ';
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
