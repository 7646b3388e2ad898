/** Writes docs/configuration.md: every setting, from the table that the program itself reads. */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { FIELDS, SETTINGS, type Setting } from '../src/server/config/settings.ts';

export const REFERENCE = join(resolve(import.meta.dirname, '..'), 'docs/configuration.md');

const HEAD = `# Configuration

Made by \`npm run configuration-reference\` from \`src/server/config/settings.ts\`; not to be edited.

A setting comes from a flag, else from the environment, else from the config file, else it has its default. An empty variable counts as not
set, and one that starts as they do and has the name of none but for a letter or two is refused. Everything is checked before the server starts, and all that is wrong is named at once. \`config print\` shows what counts here, and why:

\`\`\`sh
cat > keybalancer.yaml <<'END'
data_dir: ./data        # relative to this file
log_level: debug
END
npx keybalancer config print --config keybalancer.yaml
npx keybalancer config print --config keybalancer.yaml --json > effective.json
\`\`\`

TOML and JSON have the same fields, one level deep:

\`\`\`sh
printf 'data_dir = "./data"\\nlog_level = "debug"\\n' > keybalancer.toml
echo '{"data_dir": "./data", "log_level": "debug"}' > keybalancer.json
npx keybalancer config print --config keybalancer.toml
npx keybalancer config print --config keybalancer.json
\`\`\`

Where no file is named, ${SETTINGS.config.fallback} is read, if there. The working directory is not looked at: a
command that runs in somebody else's directory must not send keys where that file says. \`--config off\` reads none.
`;

/** The text of the document. */
export function configurationReference(): string {
  return [HEAD, ...(['config', ...FIELDS] as const).map((name) => section(SETTINGS[name]))].join('\n');
}

function section(setting: Setting): string {
  const { flag, argument, variable, standard, field, description, allowed, fallback, secret, readBy, live } = setting;
  const sentence = `${description[0]!.toUpperCase()}${description.slice(1)}.`;
  const names = [
    flag === undefined
      ? 'no flag: every user of the machine could see it'
      : code(argument ? `${flag} ${argument}` : flag),
    standard === undefined ? code(variable) : `${code(variable)}, else ${code(standard)}`,
    ...(field === undefined
      ? [secret ? 'no field: a secret does not belong in a config file' : 'no field']
      : [code(field)]),
  ];
  const lines = [
    `- Flag, variable, field: ${names.join('; ')}`,
    `- Allowed: ${allowed}`,
    `- Default: ${fallback}`,
    `- Read by: ${{ server: '`serve`', commands: 'commands that ask a server', both: '`serve`, and commands that ask a server' }[readBy]}`,
    ...(readBy === 'commands' || field === undefined
      ? []
      : [
          `- A running server takes a change over: ${live ? 'yes, when it reads its configuration again' : 'no, it needs a restart'}`,
        ]),
  ];
  return `## ${field ?? variable}\n\n${sentence}\n\n${lines.join('\n')}\n`;
}

function code(text: string): string {
  return `\`${text}\``;
}

if (import.meta.main) writeFileSync(REFERENCE, configurationReference());
