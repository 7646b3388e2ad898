import type { Answer } from '../answer.ts';
import type { Call } from '../call.ts';
import type { FileStore, Upload } from '../file-store.ts';
import type { OwnedStore } from '../owned-store.ts';
import { page } from '../page.ts';
import { badRequest, fileRefused, malformedJson, notFound, tooLarge } from '../refusals.ts';
import { field } from '../text.ts';
import { storeOperation } from './file-search-stores.ts';

/** `baseUrl` is where the fake listens, without a version. */
interface World {
  files: FileStore;
  owned: OwnedStore;
  baseUrl: string;
  maxFileBytes: number;
}

/** The resumable protocol: a start that names the file, then its bytes in one or more parts, the last one finalizing. */
export function uploadFile(call: Call, world: World): Answer {
  const commands = String(call.headers['x-goog-upload-command'] ?? '').split(/\s*,\s*/);
  const uploadId = call.query.get('upload_id');
  if (uploadId === null)
    return commands.includes('start') ? start(call, world) : badRequest('Upload must begin with the command start.');
  const upload = world.files.upload(uploadId);
  if (upload === undefined) return notFound();
  if (upload.project !== call.project) return fileRefused(upload.fileId);
  return proceed(call, world, uploadId, upload, commands);
}

export function listFiles(call: Call, { files }: World): Answer {
  return page('files', files.list(call.project), call.query, 100);
}

export function getFile(call: Call, { files }: World): Answer {
  const fileId = call.fileId ?? '';
  const file = files.get(fileId, call.project);
  return file === undefined ? fileRefused(fileId) : { kind: 'json', body: file.resource };
}

export function deleteFile(call: Call, { files }: World): Answer {
  const fileId = call.fileId ?? '';
  if (files.get(fileId, call.project) === undefined) return fileRefused(fileId);
  files.delete(fileId);
  return { kind: 'json', body: {} };
}

/** Gemini lets only generated files be downloaded; the fake gives back any. */
export function downloadFile(call: Call, { files }: World): Answer {
  const fileId = call.fileId ?? '';
  const file = files.get(fileId, call.project);
  return file === undefined
    ? fileRefused(fileId)
    : { kind: 'bytes', bytes: file.bytes, contentType: file.resource.mimeType };
}

function start(call: Call, { files, owned, baseUrl }: World): Answer {
  if (call.name !== undefined && owned.get(call.name, call.project) === undefined) return notFound();
  if (call.bytes.length > 0 && (typeof call.json !== 'object' || call.json === null)) return malformedJson();
  const file = field(call.json, 'file');
  const name = field(file, 'name');
  const displayName = field(file, 'displayName') ?? field(file, 'display_name');
  const named = typeof name === 'string' ? name.replace(/^files\//, '') : undefined;
  if (named !== undefined && !/^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/.test(named)) {
    return badRequest('File name must be of 1 to 40 lowercase letters, digits and dashes, with no dash at either end.');
  }
  if (named !== undefined && files.has(named)) return badRequest(`File files/${named} already exists.`);
  const uploadId = files.start({
    apiKey: call.apiKey,
    project: call.project,
    fileId: named ?? files.newId(),
    store: call.name,
    displayName: typeof displayName === 'string' ? displayName : undefined,
    mimeType: String(
      call.headers['x-goog-upload-header-content-type'] ?? field(file, 'mimeType') ?? 'application/octet-stream',
    ),
    parts: [],
    size: 0,
  });
  const to = call.name === undefined ? 'files' : `${call.name}:uploadToFileSearchStore`;
  const url = `${baseUrl}/upload/${call.version}/${to}?upload_id=${uploadId}&upload_protocol=resumable`;
  return { kind: 'json', body: {}, headers: { 'x-goog-upload-url': url, 'x-goog-upload-status': 'active' } };
}

function proceed(
  call: Call,
  { files, owned, baseUrl, maxFileBytes }: World,
  uploadId: string,
  upload: Upload,
  commands: string[],
): Answer {
  if (!commands.every((command) => command === 'upload' || command === 'finalize')) {
    return badRequest('Upload command must be of: upload, finalize.');
  }
  if (commands.includes('upload')) {
    const offset = Number(call.headers['x-goog-upload-offset'] ?? 0);
    if (offset !== upload.size) return badRequest(`Upload offset is ${offset}, but ${upload.size} bytes are here.`);
    if (upload.size + call.bytes.length > maxFileBytes) return tooLarge(maxFileBytes);
    upload.parts.push(call.bytes);
    upload.size += call.bytes.length;
  }
  if (!commands.includes('finalize')) {
    return {
      kind: 'json',
      body: {},
      headers: { 'x-goog-upload-status': 'active', 'x-goog-upload-size-received': String(upload.size) },
    };
  }
  const final = { 'x-goog-upload-status': 'final' };
  if (upload.store !== undefined) {
    files.drop(uploadId);
    return { kind: 'json', body: storeOperation(upload.store, upload.project, owned), headers: final };
  }
  const file = files.finish(uploadId, upload, `${baseUrl}/${call.version}`);
  return { kind: 'json', body: { file }, headers: final };
}
