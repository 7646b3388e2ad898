import { redact } from '../gemini/redact.ts';
import { CliError, EXIT } from './exit-code.ts';

/** Gathers the NAME=VALUE of an option that may be repeated, or ends the command with a sentence that names the option. */
export function labelOption(flag: string) {
  return (text: string, labels: Record<string, string> = {}): Record<string, string> => {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
    if (name !== undefined) return { ...labels, [name]: value! };
    throw new CliError(
      EXIT.usage,
      `${flag} is ${JSON.stringify(redact(text))}; allowed: NAME=VALUE, such as team=search`,
    );
  };
}
