/** Tokens that the fake counts for a text: one for every four UTF-16 units begun. */
export function expectedTokens(text: string): number {
  return Math.ceil(text.length / 4);
}

/** The whole text that the fake answers to a prompt: the text of the last content, its parts joined. */
export function expectedAnswer(prompt: string): string {
  const characters = Array.from(prompt);
  return `You said: ${characters.length <= ECHOED ? prompt : `${characters.slice(0, ECHOED).join('')}...`}`;
}

/** How many characters of a prompt come back. */
const ECHOED = 500;
/** What Gemini counts for a small image; here for every piece of media. */
const MEDIA_TOKENS = 258;

/** Input tokens of a generateContent or countTokens body: system instruction and contents. */
export function inputTokens(body: unknown): number {
  const request = field(body, 'generateContentRequest') ?? body;
  const contents = [field(request, 'systemInstruction'), ...list(field(request, 'contents'))];
  return contents.flatMap(partsOf).reduce<number>((sum, part) => sum + partTokens(part), 0);
}

export function promptOf(body: unknown): string {
  const last = list(field(body, 'contents')).at(-1);
  return partsOf(last)
    .map((part) => field(part, 'text'))
    .filter((text) => typeof text === 'string')
    .join('');
}

/** The call of a declared function whose name the prompt has, and which is not answered yet. It has no arguments. */
export function functionCallOf(body: unknown): { name: string; args: object } | undefined {
  if (functionResponseOf(body) !== undefined) return undefined;
  const prompt = promptOf(body);
  const declared = list(field(body, 'tools')).flatMap((tool) => list(field(tool, 'functionDeclarations')));
  const name = declared
    .map((each) => field(each, 'name'))
    .find((each) => typeof each === 'string' && prompt.includes(each));
  return typeof name === 'string' ? { name, args: {} } : undefined;
}

/** What a function gave back, as JSON, where the last content is that. */
export function functionResponseOf(body: unknown): string | undefined {
  const responses = partsOf(list(field(body, 'contents')).at(-1)).map((part) => field(part, 'functionResponse'));
  const found = responses.find((response) => response !== undefined);
  return found === undefined ? undefined : JSON.stringify(field(found, 'response') ?? {});
}

/** Ids of the uploaded files that the contents name. */
export function fileIdsOf(body: unknown): string[] {
  const ids: string[] = [];
  for (const part of list(field(body, 'contents')).flatMap(partsOf)) {
    const uri = field(field(part, 'fileData'), 'fileUri');
    const match = typeof uri === 'string' ? /^(?:https?:\/\/[^/]+\/v\w+\/)?files\/([\w-]+)$/.exec(uri) : null;
    if (match?.[1] !== undefined) ids.push(match[1]);
  }
  return ids;
}

/** Splits into `count` pieces that join to the text again; short texts give empty pieces at the end. */
export function pieces(text: string, count: number): string[] {
  const characters = Array.from(text);
  const size = Math.ceil(characters.length / count);
  return Array.from({ length: count }, (_, at) => characters.slice(at * size, (at + 1) * size).join(''));
}

export function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Record<string, unknown>)[name];
}

export function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function partsOf(content: unknown): unknown[] {
  return list(field(content, 'parts'));
}

function partTokens(part: unknown): number {
  const text = field(part, 'text');
  if (typeof text === 'string') return expectedTokens(text);
  if (field(part, 'inlineData') !== undefined || field(part, 'fileData') !== undefined) return MEDIA_TOKENS;
  return expectedTokens(JSON.stringify(part) ?? '');
}
