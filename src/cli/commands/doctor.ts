import type { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { examine } from '../doctor/examine.ts';
import type { Finding } from '../doctor/finding.ts';
import { CliError, EXIT } from '../exit-code.ts';
import { interruptible } from '../interruptible.ts';
import { prettyJson } from '../json.ts';
import { addClientOptions, addHelpExamples, type ClientOptions, settingOption } from '../options.ts';
import { type Output, printable } from '../output.ts';
import { count } from '../words.ts';

interface DoctorOptions extends ClientOptions {
  geminiBaseUrl?: string;
}

const STYLES = { ok: 'green', warning: 'yellow', problem: 'red' } as const;

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .addOption(settingOption('geminiBaseUrl'))
    .action((options: DoctorOptions) => doctor(options, output));
  addHelpExamples(command, 'doctor', 'doctor --address keys.internal:50051 --json').addHelpText(
    'after',
    [
      '',
      'Looks at the configuration, the data dir (permissions, disk, master key, what a killed process left), the server (version,',
      'clock, what it allows, TLS), the keys of each pool, and the way to Gemini, and says what to do. Changes nothing. Works on',
      'a server, here or elsewhere, and on a data dir that nobody uses.',
      'Exit code 0 also with warnings, 1 with a problem, 3 when there is neither a server nor a data dir.',
      '--json prints reached, problems and warnings (how many), and findings: check, verdict (ok, warning or problem), found,',
      'and advice (null: nothing to do).',
    ].join('\n'),
  );
}

async function doctor(options: DoctorOptions, output: Output): Promise<void> {
  await interruptible(async (signal) => {
    output.progress('examining');
    const { findings, reached } = await examine(options, signal);
    const number = (verdict: Finding['verdict']): number => findings.filter((each) => each.verdict === verdict).length;
    const [problems, warnings] = [number('problem'), number('warning')];
    if (options.json) {
      const list = findings.map(({ check, verdict, found, advice = null }) => ({ check, verdict, found, advice }));
      await output.line(prettyJson({ reached, problems, warnings, findings: list }));
    } else await print(findings, output);
    const tally = `${count(problems, 'problem')}, ${count(warnings, 'warning')}`;
    if (!reached) throw new CliError(EXIT.notReached, `nothing was reached: ${tally}`);
    if (problems > 0) throw new CliError(EXIT.failed, tally);
    if (output.terminal && !options.json) await output.line(output.style('dim', tally));
  });
}

/** What is wrong stands beside what to do on a line of its own on a terminal; in a pipe all in one, after tabs. */
async function print(findings: readonly Finding[], output: Output): Promise<void> {
  for (const { check, verdict, found, advice } of findings) {
    const texts = [check, found, ...(advice === undefined ? [] : [advice])].map(printable);
    if (!output.terminal) await output.line([verdict, ...texts].join('\t'));
    else {
      const [name, what, help] = texts as [string, string, string?];
      await output.line(`${output.style(STYLES[verdict], verdict.padEnd(9))}${name.padEnd(13)}${what}`);
      if (help !== undefined) await output.line(`${' '.repeat(22)}${help}`);
    }
  }
}
