import { createHash } from 'node:crypto';

/** A file as the API shows it. Sizes are strings there. */
export interface FileResource {
  name: string;
  displayName?: string;
  mimeType: string;
  sizeBytes: string;
  createTime: string;
  updateTime: string;
  expirationTime: string;
  sha256Hash: string;
  uri: string;
  state: 'ACTIVE';
  source: 'UPLOADED';
}

export interface StoredFile {
  project: string;
  resource: FileResource;
  bytes: Buffer;
}

/** An upload that was started and has not ended. */
export interface Upload {
  apiKey: string;
  project: string;
  fileId: string;
  /** The file search store that it goes to, instead of the files. */
  store: string | undefined;
  displayName: string | undefined;
  mimeType: string;
  parts: Buffer[];
  size: number;
}

/** Gemini keeps files for two days. */
const KEPT_MS = 48 * 3_600_000;

/** Uploaded files, each of the project whose key began its upload. */
export class FileStore {
  readonly #now: () => number;
  readonly #files = new Map<string, StoredFile>();
  readonly #uploads = new Map<string, Upload>();
  #made = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  newId(): string {
    this.#made += 1;
    return `fake${String(this.#made).padStart(8, '0')}`;
  }

  start(upload: Upload): string {
    const uploadId = this.newId();
    this.#uploads.set(uploadId, upload);
    return uploadId;
  }

  upload(uploadId: string): Upload | undefined {
    return this.#uploads.get(uploadId);
  }

  /** Ends the upload and makes it a file that `baseUrl` (with version) serves. */
  finish(uploadId: string, upload: Upload, baseUrl: string): FileResource {
    this.#uploads.delete(uploadId);
    const bytes = Buffer.concat(upload.parts);
    const created = new Date(this.#now()).toISOString();
    const resource: FileResource = {
      name: `files/${upload.fileId}`,
      ...(upload.displayName === undefined ? {} : { displayName: upload.displayName }),
      mimeType: upload.mimeType,
      sizeBytes: String(bytes.length),
      createTime: created,
      updateTime: created,
      expirationTime: new Date(this.#now() + KEPT_MS).toISOString(),
      // Google sends the base64 of the hexadecimal digits.
      sha256Hash: Buffer.from(createHash('sha256').update(bytes).digest('hex')).toString('base64'),
      uri: `${baseUrl}/files/${upload.fileId}`,
      state: 'ACTIVE',
      source: 'UPLOADED',
    };
    this.#files.set(upload.fileId, { project: upload.project, resource, bytes });
    return resource;
  }

  /** Ends an upload that goes elsewhere. */
  drop(uploadId: string): void {
    this.#uploads.delete(uploadId);
  }

  has(fileId: string): boolean {
    return this.#files.has(fileId);
  }

  /** undefined when there is no such file, or it is another project's: Gemini answers both alike. */
  get(fileId: string, project: string): StoredFile | undefined {
    const file = this.#files.get(fileId);
    return file?.project === project ? file : undefined;
  }

  list(project: string): FileResource[] {
    return [...this.#files.values()].filter((file) => file.project === project).map((file) => file.resource);
  }

  delete(fileId: string): void {
    this.#files.delete(fileId);
  }
}
