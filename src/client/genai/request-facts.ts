import { normalizeModel } from '../../gemini/model-name.ts';
import { nameInPath, namesInRequest, pageInUrl, uploadName } from './resource-names.ts';

/** How the answer of a request is read. */
export type AnswerKind =
  /** Server-sent events of generateContent, which end with a finishReason. */
  | 'generated-events'
  /** Other server-sent events, such as of interactions. */
  | 'events'
  /** Bytes that are no message: a download. */
  | 'bytes'
  /** One message, which nobody can use before it is whole. */
  | 'message';

/** What URL and body say of a request. */
export interface RequestFacts {
  /** Such as "files". */
  collection: string;
  /** For people: the verb of a model ("generateContent"), else collection and what is done ("files.get"). */
  method: string;
  /** Whose limits count the request; "": none's. */
  model: string;
  answer: AnswerKind;
  /** Whether the answer is a message that must be there. */
  mustSpeak: boolean;
  /** Resources that it names, of which each lives in one project. The first is the one it is about, if it is about one. */
  resources: string[];
  /** Whether it is about one of the resources, which a 404 then speaks of. */
  aboutResource: boolean;
  /** Whether the answer may tell of resources. A model's words may look like a name. */
  tellsResources: boolean;
  /** Whether it may make something that stays, such as a batch: once Gemini took it, a repeat might make that twice. */
  creates: boolean;
  /** Of the prompt; 0: none to speak of. */
  estimatedTokens: number;
}

/** Verbs that are limited by model. Others, such as countTokens, have limits of their own, and a resting model must not stop them. */
const LIMITED_BY_MODEL =
  /^(?:generateContent|streamGenerateContent|predict|predictLongRunning|embedContent|batchEmbedContents|batchGenerateContent|asyncBatchEmbedContent|generateAnswer)$/;
const GENERATES = /^(?:generateContent|streamGenerateContent|countTokens|embedContent|batchEmbedContents)$/;
/** Verbs of POST that leave nothing behind, or nothing more when they are repeated. */
const MAKES_NOTHING =
  /^(?:generateContent|streamGenerateContent|generateAnswer|countTokens|computeTokens|embedContent|batchEmbedContents|predict|cancel)$/;
/** Longest body that is searched, in UTF-16 units: Gemini takes 20 MB in a request. */
const MOST_SEARCHED = 64 * 1024 * 1024;

/** `url` without a key; `body`: as text, if it is one. */
export function requestFacts(url: string, httpMethod: string, accept: string, body: string | undefined): RequestFacts {
  const [, uploads, path = ''] =
    /^[a-z]+:\/\/[^/?#]+(?:\/[^?#]*?)??\/(upload\/)?v\d\w*\/([^?#]*)/.exec(url) ??
    /^[a-z]+:\/\/[^/?#]+\/(upload\/)?([^?#]*)/.exec(url) ??
    [];
  const [, collection = '', rest = '', verb] = /^([^/:]*)((?:\/[^:]*)?)(?::(\w+))?$/.exec(path) ?? [];
  const text = body !== undefined && body.length <= MOST_SEARCHED ? body : undefined;
  const about = uploadName(url) ?? nameInPath(path);
  const page = pageInUrl(url, collection);
  const interactions = collection === 'interactions';
  const inModel = collection === 'models' && !rest.includes('/', 1);
  const tuned = collection === 'tunedModels' && verb !== undefined;
  const generates = verb !== undefined && GENERATES.test(verb);
  const answer = answerKind();
  return {
    collection,
    method: uploads === undefined ? methodOf(collection, rest, verb, httpMethod) : `${collection}.upload`,
    model: modelOf(),
    answer,
    mustSpeak: answer === 'message' && httpMethod !== 'DELETE',
    resources: [
      ...[about, page].filter((name) => name !== undefined),
      ...(text === undefined ? [] : namesInRequest(text)),
    ],
    aboutResource: about !== undefined,
    tellsResources: !generates && (collection !== 'models' || rest.includes('/operations') || verb !== undefined),
    creates: httpMethod === 'POST' && !(verb !== undefined && MAKES_NOTHING.test(verb)),
    estimatedTokens:
      text !== undefined && (generates || interactions) ? Math.ceil(textLength(text, interactions) / 4) : 0,
  };

  function modelOf(): string {
    if (interactions && httpMethod === 'POST' && rest === '') {
      const named = /"model"\s{0,8}:\s{0,8}"([^"\\]{1,256})"/.exec(text ?? '')?.[1];
      return normalizeModel(named ?? '') ?? '';
    }
    if (verb === undefined || !LIMITED_BY_MODEL.test(verb)) return '';
    if (inModel) return normalizeModel(decoded(rest.slice(1))) ?? '';
    return tuned ? (normalizeModel(collection + decoded(rest)) ?? '') : '';
  }

  function answerKind(): AnswerKind {
    if (/[?&]alt=media\b/.test(url)) return 'bytes';
    if (/[?&]alt=sse\b/.test(url)) return verb === 'streamGenerateContent' ? 'generated-events' : 'events';
    return accept.includes('text/event-stream') ? 'events' : 'message';
  }
}

const DONE: Readonly<Record<string, string>> = { GET: 'get', DELETE: 'delete', PATCH: 'update', POST: 'create' };

function methodOf(collection: string, rest: string, verb: string | undefined, httpMethod: string): string {
  if (verb !== undefined)
    return collection === 'models' || collection === 'tunedModels' ? verb : `${collection}.${verb}`;
  const kind = rest.includes('/operations/') ? 'operations' : collection;
  return `${kind}.${httpMethod === 'GET' && rest === '' ? 'list' : (DONE[httpMethod] ?? httpMethod.toLowerCase())}`;
}

/** Characters of the texts in a prompt. What is inline in base64 is passed over: its length says nothing of its tokens. */
function textLength(body: string, interactions: boolean): number {
  let length = 0;
  for (const field of interactions ? ['"text":"', '"input":"'] : ['"text":"']) {
    for (let at = body.indexOf(field); at !== -1; at = body.indexOf(field, at)) {
      at += field.length;
      const end = stringEnd(body, at);
      length += end - at;
      at = end;
    }
  }
  return length;
}

/** Where the JSON string ends that `from` is in. */
function stringEnd(body: string, from: number): number {
  for (let at = body.indexOf('"', from); at !== -1; at = body.indexOf('"', at + 1)) {
    let escapes = 0;
    while (body[at - 1 - escapes] === '\\') escapes++;
    if (escapes % 2 === 0) return at;
  }
  return body.length;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
