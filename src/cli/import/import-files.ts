import { importKeyStream } from '../../client/key-file.ts';
import { formatOf } from '../../client/key-formats/formats.ts';
import type { ImportCommandOptions } from '../commands/import.ts';
import { openKeySource } from '../key-source.ts';
import type { Output } from '../output.ts';
import { type ImportSource, runImport } from './run-import.ts';

/** Imports files of keys; "-" is standard input. */
export async function importFiles(
  files: readonly string[],
  options: ImportCommandOptions,
  output: Output,
): Promise<void> {
  const sources = files.map((file): ImportSource => {
    const name = file === '-' ? 'standard input' : file;
    return {
      name,
      place: 'line',
      read: (importer, importing, signal) => {
        if (file === '-' && process.stdin.isTTY) output.complain('reading keys from the terminal; Ctrl-D ends them');
        const format = options.format ?? formatOf(file);
        return importKeyStream(importer, openKeySource(file, signal), { ...importing, format }, name);
      },
    };
  });
  await runImport(sources, options, output);
}
