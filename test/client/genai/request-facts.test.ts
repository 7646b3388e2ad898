import { expect, test } from 'vitest';
import { requestFacts } from '../../../src/client/genai/request-facts.ts';
import { interactionsInAnswer, namesInAnswer } from '../../../src/client/genai/resource-names.ts';

const HOST = 'https://generativelanguage.googleapis.com';

function facts(
  url: string,
  { method = 'POST', accept = '', body }: { method?: string; accept?: string; body?: unknown } = {},
) {
  return requestFacts(url, method, accept, body === undefined ? undefined : JSON.stringify(body));
}

test.each([
  ['POST', `${HOST}/v1/models/gemini-2.5-flash:generateContent`, 'generateContent', 'gemini-2.5-flash', 'message'],
  [
    'POST',
    `${HOST}/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse`,
    'streamGenerateContent',
    'gemini-3-pro',
    'generated-events',
  ],
  ['POST', `http://proxy:80/some/where/v1/models/m:generateContent`, 'generateContent', 'm', 'message'],
  ['POST', `${HOST}/v1/tunedModels/abc:generateContent`, 'generateContent', 'tunedModels/abc', 'message'],
  ['POST', `${HOST}/v1/models/m:countTokens`, 'countTokens', '', 'message'],
  ['POST', `${HOST}/v1/models/m:batchEmbedContents`, 'batchEmbedContents', 'm', 'message'],
  ['GET', `${HOST}/v1/models/m`, 'models.get', '', 'message'],
  ['GET', `${HOST}/v1/models?pageSize=3`, 'models.list', '', 'message'],
  ['GET', `${HOST}/v1/files/abc:download?alt=media`, 'files.download', '', 'bytes'],
  ['DELETE', `${HOST}/v1/cachedContents/abc`, 'cachedContents.delete', '', 'message'],
  ['PATCH', `${HOST}/v1/cachedContents/abc`, 'cachedContents.update', '', 'message'],
  ['POST', `${HOST}/upload/v1/files`, 'files.upload', '', 'message'],
  ['POST', `${HOST}/upload/v1/files?upload_id=u1&upload_protocol=resumable`, 'files.upload', '', 'message'],
  ['GET', `${HOST}/v1/models/veo/operations/op1`, 'operations.get', '', 'message'],
  ['GET', HOST, '.list', '', 'message'],
])('%s %s is %s of model "%s", answered by %s', (method, url, name, model, answer) => {
  expect(facts(url, { method })).toMatchObject({ method: name, model, answer });
});

test.each([
  ['GET', `${HOST}/v1/files/abc`, undefined, ['files/abc']],
  ['POST', `${HOST}/v1/batches/abc:cancel`, undefined, ['batches/abc']],
  ['GET', `${HOST}/v1/fileSearchStores/s/upload/operations/o`, undefined, ['fileSearchStores/s']],
  ['GET', `${HOST}/v1/models/veo/operations/op1`, undefined, ['models/veo/operations/op1']],
  ['POST', `${HOST}/upload/v1/files?upload_id=u1`, undefined, ['uploads/u1']],
  [
    'POST',
    `${HOST}/v1/models/m:generateContent`,
    { contents: [{ parts: [{ fileData: { fileUri: `${HOST}/v1beta/files/abc` } }] }] },
    ['files/abc'],
  ],
  [
    'POST',
    `${HOST}/v1/models/m:generateContent`,
    { contents: [], cachedContent: 'cachedContents/c1' },
    ['cachedContents/c1'],
  ],
  [
    'POST',
    `${HOST}/v1/models/m:batchGenerateContent`,
    { batch: { inputConfig: { fileName: 'files/in' } } },
    ['files/in'],
  ],
  [
    'POST',
    `${HOST}/v1/models/m:generateContent`,
    { tools: [{ fileSearch: { fileSearchStoreNames: ['fileSearchStores/s'] } }] },
    ['fileSearchStores/s'],
  ],
  ['POST', `${HOST}/v1/interactions`, { previous_interaction_id: 'i1', input: 'x' }, ['interactions/i1']],
  ['POST', `${HOST}/v1/models/m:generateContent`, { contents: [{ parts: [{ text: '"fileUri":"files/abc"' }] }] }, []],
  [
    'POST',
    `${HOST}/v1/models/m:generateContent`,
    { contents: [{ parts: [{ fileData: { fileUri: 'https://youtu.be/x' } }] }] },
    [],
  ],
])('%s %s with %j names %j', (method, url, body, resources) => {
  expect(facts(url, { method, body }).resources).toEqual(resources);
});

test.each([
  ['POST', '/v1/models/m:generateContent', false],
  ['POST', '/v1/models/m:streamGenerateContent?alt=sse', false],
  ['POST', '/v1/tunedModels/t:generateContent', false],
  ['POST', '/v1/models/imagen:predict', false],
  ['POST', '/v1/batches/b:cancel', false],
  ['GET', '/v1/batches/b', false],
  ['PATCH', '/v1/cachedContents/c', false],
  ['DELETE', '/v1/cachedContents/c', false],
  ['POST', '/v1/cachedContents', true],
  ['POST', '/v1/tunedModels', true],
  ['POST', '/v1/models/m:batchGenerateContent', true],
  ['POST', '/v1/models/m:asyncBatchEmbedContent', true],
  ['POST', '/v1/models/veo:predictLongRunning', true],
  ['POST', '/v1/fileSearchStores/s:importFile', true],
  ['POST', '/upload/v1/files', true],
  ['POST', '/upload/v1/files?upload_id=u1', true],
  ['POST', '/v1/interactions', true],
])('%s %s may make something that a repeat makes again: %s', (method, path, creates) => {
  expect(facts(HOST + path, { method }).creates).toBe(creates);
});

test('an interaction is of the model in its body, and flows where that is asked for', () => {
  const body = { model: 'models/gemini-3-pro', input: 'hello you', stream: true };
  expect(facts(`${HOST}/v1/interactions`, { body, accept: 'text/event-stream' })).toMatchObject({
    model: 'gemini-3-pro',
    answer: 'events',
    estimatedTokens: 3,
  });
});

test('tokens are estimated by the texts alone, a quarter of their length', () => {
  const parts = [{ text: 'x'.repeat(400) }, { inlineData: { data: 'A'.repeat(1e6) } }, { text: 'a "quoted" \\ word' }];
  const { estimatedTokens } = facts(`${HOST}/v1/models/m:generateContent`, { body: { contents: [{ parts }] } });
  expect(estimatedTokens).toBe(Math.ceil((400 + JSON.stringify('a "quoted" \\ word').length - 2) / 4));
});

test('a body of 20 MB is looked through in no time to speak of', () => {
  const inlineData = { data: 'A'.repeat(20e6) };
  const body = {
    contents: [{ parts: [{ inlineData }, { text: '\\"'.repeat(1e5) }, { fileData: { fileUri: 'files/abc' } }] }],
  };
  expect(facts(`${HOST}/v1/models/m:generateContent`, { body }).resources).toEqual(['files/abc']);
});

test('answers tell of what was made, listed or put out, and words that quote do not', () => {
  const answer = JSON.stringify({
    name: 'batches/b1',
    output: { responsesFile: 'files/out' },
    video: { uri: `${HOST}/v1beta/files/vid:download?alt=media` },
    text: 'it said "files/no"',
  });
  expect(namesInAnswer(answer)).toEqual(['batches/b1', 'files/out', 'files/vid']);
  expect(interactionsInAnswer('{"id":"i1","steps":[{"id":"s1"}],"continuation_token":"t1"}')).toEqual([
    'interactions/i1',
    'continuations/t1',
  ]);
});
