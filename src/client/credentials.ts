import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { type ChannelCredentials, credentials, Metadata } from '@grpc/grpc-js';
import type { Address } from './address.ts';
import { invalidOption, KeyBalancerError } from './errors.ts';

/** TLS to the server. Each of ca, cert and key is PEM text, or the path of a PEM file that is read once, as the client is made. */
export interface TlsOptions {
  /** Who may vouch for the server. Default: the authorities that Node trusts. */
  ca?: string | undefined;
  /** What this client shows of itself (mTLS), with its `key`. */
  cert?: string | undefined;
  /** The key of `cert`. Secret. */
  key?: string | undefined;
  /** The name that the server's certificate must have. Default: the host of the address; "localhost" for a unix socket. */
  serverName?: string | undefined;
}

/** How a server is told from others, and what it is shown. Without an address there is nobody to show it: they are refused. */
export interface CredentialOptions {
  /** true: with the authorities that Node trusts. Default: no TLS. */
  tls?: boolean | TlsOptions | undefined;
  /**
   * Sent with every call as `authorization: Bearer`. A function is asked before each call and each stream, so it may give
   * another in time. Without TLS it goes to loopback and unix sockets only.
   */
  token?: string | (() => string | Promise<string>) | undefined;
}

export interface Credentials {
  channel: ChannelCredentials;
  /** More channel options. */
  options: Record<string, string>;
  /** What every call says of its caller. */
  metadata: () => Metadata | Promise<Metadata>;
}

/** Throws INVALID_ARGUMENT for what cannot be. No error names a key or a token. */
export function credentialsOf({ tls, token }: CredentialOptions, addresses: readonly Address[]): Credentials {
  const secure = tls !== undefined && tls !== false;
  if (token !== undefined && !secure) {
    const exposed = addresses.find(({ local }) => !local);
    if (exposed !== undefined) {
      throw invalidOption(
        'token',
        `to be sent to ${exposed.text} in plaintext`,
        'with tls, or to loopback (127.0.0.1, [::1], localhost) or unix:PATH',
      );
    }
  }
  const metadata = metadataOf(token);
  if (!secure) return { channel: credentials.createInsecure(), options: {}, metadata };
  const { ca, cert, key, serverName } = tls === true ? {} : checkedTls(tls);
  if ((cert === undefined) !== (key === undefined)) {
    throw invalidOption(
      'tls',
      cert === undefined ? 'a key without its cert' : 'a cert without its key',
      'both or neither',
    );
  }
  const channel = channelOf(pem('ca', ca), pem('cert', cert), pem('key', key));
  const name = serverName ?? (addresses.every(({ target }) => target.startsWith('unix:')) ? 'localhost' : undefined);
  const options: Record<string, string> =
    name === undefined ? {} : { 'grpc.ssl_target_name_override': name, 'grpc.default_authority': name };
  return { channel, options, metadata };
}

/** Where a data dir is opened, whoever brings them meant a server, whose address was forgotten. */
export function refuseCredentials({ tls, token }: CredentialOptions): void {
  for (const [name, value] of Object.entries({ tls, token })) {
    if (value === undefined || value === false) continue;
    throw invalidOption(
      name,
      'given without an address',
      'with address or KEYBALANCER_ADDRESS, which a data dir has not',
    );
  }
}

function channelOf(ca: Buffer | null, cert: Buffer | null, key: Buffer | null): ChannelCredentials {
  try {
    // grpc-js looks at them only as it connects, when what is wrong with them could not be said any more.
    for (const each of [ca, cert]) if (each !== null) new X509Certificate(each);
    createSecureContext({ ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) });
    return credentials.createSsl(ca, key, cert);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    throw invalidOption('tls', `not usable (${code})`, 'certificates and their key in PEM');
  }
}

const TLS_OPTIONS = ['ca', 'cert', 'key', 'serverName'];

function checkedTls(tls: unknown): TlsOptions {
  if (typeof tls !== 'object' || tls === null) {
    throw invalidOption('tls', `a ${typeof tls}`, 'true, false or an object of ca, cert, key, serverName');
  }
  for (const [name, value] of Object.entries(tls)) {
    if (!TLS_OPTIONS.includes(name)) throw invalidOption('tls', `with "${name}"`, TLS_OPTIONS.join(', '));
    if (value !== undefined && (typeof value !== 'string' || value === '')) {
      const shown = value === '' ? 'empty' : `a ${typeof value}`;
      throw invalidOption(
        `tls.${name}`,
        shown,
        name === 'serverName' ? 'a host name' : 'PEM text or the path of a PEM file',
      );
    }
  }
  return tls;
}

function pem(name: string, value: string | undefined): Buffer | null {
  if (value === undefined) return null;
  if (value.includes('-----BEGIN ')) return Buffer.from(value);
  try {
    return readFileSync(value);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    // What was meant as PEM text may be a key: only a path is shown.
    const shown = value.length < 256 && value.includes('/') ? ` ${JSON.stringify(value)}` : '';
    throw invalidOption(
      `tls.${name}`,
      `a file${shown} that cannot be read (${code})`,
      'PEM text or the path of a PEM file',
    );
  }
}

/** Of any header's value; more than this would be somebody's whole file. */
const TOKEN = /^[\x21-\x7e]{1,8192}$/;
const TOKEN_ALLOWED = '1 to 8192 visible ASCII characters';

function metadataOf(token: CredentialOptions['token']): Credentials['metadata'] {
  if (token === undefined) return () => new Metadata();
  if (typeof token === 'string') {
    if (!TOKEN.test(token)) throw invalidOption('token', 'not one', TOKEN_ALLOWED);
    return () => bearer(token);
  }
  if (typeof token !== 'function')
    throw invalidOption('token', `a ${typeof token}`, 'a text or a function that gives one');
  return async () => {
    let given: unknown;
    try {
      given = await token();
    } catch (cause) {
      throw new KeyBalancerError('the token function failed', { code: 'UNAUTHENTICATED', cause });
    }
    if (typeof given === 'string' && TOKEN.test(given)) return bearer(given);
    throw new KeyBalancerError(`the token function gave no token; allowed: ${TOKEN_ALLOWED}`, {
      code: 'UNAUTHENTICATED',
    });
  };
}

function bearer(token: string): Metadata {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return metadata;
}
