import { enumToJson } from '@bufbuild/protobuf';
import type { Command } from 'commander';
import { describePolicy } from '../../engine/describe-policy.ts';
import { explainError } from '../../gemini/explain.ts';
import type { Finding, Scope } from '../../gemini/finding.ts';
import { redact } from '../../gemini/redact.ts';
import { ErrorClassSchema } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { CommandContext } from '../command-context.ts';
import { CliError, EXIT } from '../exit-code.ts';
import { prettyJson } from '../json.ts';
import { openSource } from '../key-source.ts';
import { limitInWords } from '../limits.ts';
import { addHelpExamples, numberOption, verboseOption } from '../options.ts';
import type { Output } from '../output.ts';
import { Table } from '../table.ts';
import { causeInWords, milliseconds } from '../words.ts';

/** Bytes of the file that are looked at, as of an error body that a client reports. */
const LOOKED_AT = 16 * 1024;

const SCOPES: Record<Scope, string> = {
  none: 'neither the key nor its project',
  key: 'the key',
  project: "the key's project",
  'project-model': "the key's project, for the model of the call",
};

const BEYOND: Record<NonNullable<Finding['beyond']>, string> = {
  'billing-account': 'what lies behind it is the billing account, which other projects may share',
  'calling-host': 'what lies behind it is the calling host: its location or address',
};

export function define(command: Command, { output }: CommandContext): void {
  command
    .argument('<FILE>', 'an error as it was logged or received; - is standard input')
    .option(
      '--status <N>',
      'HTTP status that it came with, where the text does not say',
      numberOption('--status', { least: 100, most: 599, whole: true }),
    )
    .option('--json', 'print JSON, in a stable form')
    .addOption(verboseOption())
    .action((file: string, options: { status?: number; json?: true }) => explain(file, options, output));
  addHelpExamples(command, 'explain error.json', 'explain - --status 429 < body.txt').addHelpText(
    'after',
    [
      '',
      `No server is asked. At most ${LOOKED_AT / 1024} KiB are looked at: a JSON body, what an SDK threw, a live session's close, curl -i's output,`,
      'lines of a log. What looks like an API key is masked.',
      '--json prints errorClass, scope, beyond, rule, why, policy (rests, forHow, ends, costs, retry), error (what was read)',
      'and truncated.',
    ].join('\n'),
  );
}

async function explain(file: string, options: { status?: number; json?: true }, output: Output): Promise<void> {
  if (file === '-' && process.stdin.isTTY) output.complain('reading an error from the terminal; Ctrl-D ends it');
  const { text, truncated } = await readBeginning(file);
  if (text.trim() === '') {
    throw new CliError(
      EXIT.failed,
      `${file === '-' ? 'standard input' : 'FILE'} is empty; allowed: the text of an error`,
    );
  }
  const { finding, error, why } = explainError(text, options.status);
  const policy = describePolicy(finding);
  const errorClass = String(enumToJson(ErrorClassSchema, finding.errorClass));
  const { scope, beyond = null, rule } = finding;
  if (options.json) {
    const read = { ...error, retryDelayMs: error.retryDelayMs ?? null };
    return output.line(prettyJson({ errorClass, scope, beyond, rule, why, policy, error: read, truncated }));
  }
  const rows: [string, string][] = [
    ['class', `${errorClass.replace('ERROR_CLASS_', '')}: ${causeInWords(finding.errorClass)}`],
    ['rule', rule],
    ['why', why],
    ['speaks of', beyond === null ? SCOPES[scope] : `${SCOPES[scope]}; ${BEYOND[beyond]}`],
    ['rests', policy.rests],
    ['for', policy.forHow],
    ['ends', policy.ends],
    ['costs', policy.costs],
    ['retry', policy.retry],
    ...lessons(finding),
  ];
  await new Table<[string, string]>(output, [
    { title: 'ERROR', value: ([name]) => name },
    { title: 'JUDGEMENT', value: ([, value]) => value },
  ]).rows(rows);
  if (truncated) output.complain(`only the first ${LOOKED_AT / 1024} KiB were looked at`);
}

/** What else the error tells. */
function lessons({ retryDelayMs, delayDistrusted, project, limits }: Finding): [string, string][] {
  const rows: [string, string][] = [];
  if (retryDelayMs !== undefined) {
    const cut = delayDistrusted ? ', cut from an implausible one' : '';
    rows.push(['stated delay', `${milliseconds(retryDelayMs)}${cut}`]);
  } else if (delayDistrusted) {
    rows.push(['stated delay', 'implausible, so not obeyed']);
  }
  if (project !== undefined) rows.push(['project number', project]);
  for (const { name, value, quotaId, model } of limits) {
    const details = [redact(quotaId), redact(model)].filter((detail) => detail !== '').join(', ');
    rows.push(['stated limit', `${limitInWords(name, value)}${details === '' ? '' : ` (${details})`}`]);
  }
  return rows;
}

/** As UTF-8; bytes that are none are replaced. A file that goes on forever is left after the first bytes. */
async function readBeginning(file: string): Promise<{ text: string; truncated: boolean }> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of openSource(file, 'a readable file with the text of an error')) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > LOOKED_AT) break;
  }
  const truncated = size > LOOKED_AT;
  // A character that the cut divides is left out.
  const text = new TextDecoder().decode(Buffer.concat(chunks).subarray(0, LOOKED_AT), { stream: truncated });
  return { text, truncated };
}
