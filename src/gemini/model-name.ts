const NAME = /^[A-Za-z0-9._/-]{1,128}$/;
const PREFIX = 'models/';

/**
 * A model's name as this project compares it: "models/gemini-2.5-flash" and "gemini-2.5-flash" are one. "" stays "" (any
 * model); undefined: no name, which is anything but at most 128 characters of [A-Za-z0-9._/-] after the prefix.
 */
export function normalizeModel(name: string): string | undefined {
  if (name === '') return '';
  const bare = name.startsWith(PREFIX) ? name.slice(PREFIX.length) : name;
  return NAME.test(bare) ? bare : undefined;
}
