/** Collections whose members live in the project that made them. */
const COLLECTIONS =
  'files|cachedContents|batches|operations|tunedModels|fileSearchStores|corpora|generatedFiles|interactions|agents|triggers|environments|credentials|voices|webhooks';
/** `models/veo/operations/abc`, as operations of models are named. */
const OF_MODEL = 'models/[\\w.-]{1,128}/operations';
const NAME = `(?:${COLLECTIONS}|${OF_MODEL})/[\\w.-]{1,256}`;
/** Files are named by their address, too. */
const ADDRESS = 'https?://[^"\\s/]{1,256}/(?:[^"\\s/]{1,256}/){0,4}?v\\d\\w{0,16}/';

const PATH = new RegExp(`^${NAME}`);
const FIELDS =
  'fileUri|file_uri|uri|cachedContent|cached_content|fileName|file_name|fileSearchStoreNames|file_search_store_names';
const IN_REQUEST = new RegExp(`"(?:${FIELDS})"\\s{0,8}:\\s{0,8}(?:\\[\\s{0,8})?"(?:${ADDRESS})?(${NAME})`, 'g');
const INTERACTION = /"(previous_interaction_id|continuation_token)"\s{0,8}:\s{0,8}"([^"\\]{1,4096})"/g;
/** A text that quotes another has its quotes escaped. */
const IN_ANSWER = new RegExp(`(?<!\\\\)"(?:${ADDRESS})?(${NAME})`, 'g');
const INTERACTION_ID = /"(?:interaction_id|id)"\s{0,8}:\s{0,8}"([^"\\]{1,256})"/;
const CONTINUATION = /"(continuation_token)"\s{0,8}:\s{0,8}"([^"\\]{1,4096})"/g;

/** What one request or answer is searched for, so that a list of thousands costs no more. */
const MOST = 1_000;

/** The resource that a path, without its version, is about. */
export function nameInPath(path: string): string | undefined {
  return PATH.exec(path)?.[0];
}

/** What a request's JSON refers to. In the words of a prompt the quotes are escaped, so that they name nothing. */
export function namesInRequest(body: string): string[] {
  return [...found(body, IN_REQUEST), ...interactionNames(body, INTERACTION)];
}

/** The resources that an answer tells of: made, listed, or the output of one. */
export function namesInAnswer(text: string): string[] {
  return [...new Set(found(text, IN_ANSWER))];
}

/** The interaction that an answer, or the first events of a stream, is of, and its means to go on. */
export function interactionsInAnswer(text: string): string[] {
  const id = INTERACTION_ID.exec(text)?.[1];
  return [...(id === undefined ? [] : [`interactions/${id}`]), ...interactionNames(text, CONTINUATION)];
}

/** The page that a list goes on with: its token is good in the project that gave it. */
export function pageInUrl(url: string, collection: string): string | undefined {
  const token = /[?&]pageToken=([^&#]{1,2048})/.exec(url)?.[1];
  return token === undefined ? undefined : pageName(collection, decoded(token));
}

export function pageInAnswer(text: string, collection: string): string | undefined {
  const token = /"nextPageToken"\s{0,8}:\s{0,8}"([^"\\]{1,2048})"/.exec(text)?.[1];
  return token === undefined ? undefined : pageName(collection, token);
}

function pageName(collection: string, token: string): string {
  return `pages/${collection}/${token.slice(-256)}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return text;
  }
}

/** An upload that has begun, by its URL. */
export function uploadName(url: string): string | undefined {
  const id = /[?&]upload_id=([^&#]{1,512})/.exec(url)?.[1];
  return id === undefined ? undefined : `uploads/${id}`;
}

function found(text: string, pattern: RegExp): string[] {
  const names: string[] = [];
  for (const match of text.matchAll(pattern)) {
    names.push(match[1]!);
    if (names.length >= MOST) break;
  }
  return names;
}

function interactionNames(text: string, pattern: RegExp): string[] {
  const names: string[] = [];
  for (const [, field, value] of text.matchAll(pattern)) {
    // Tokens are long, and their ends are what tells them apart.
    names.push(`${field === 'continuation_token' ? 'continuations' : 'interactions'}/${value!.slice(-256)}`);
    if (names.length >= MOST) break;
  }
  return names;
}
