/** How the command line calls the fields of a request that it fills in. */
const WORDS: Record<string, string> = {
  api_key: 'KEY',
  pool: 'NAME',
  pools: '--pool',
  weight: '--weight',
  source: '--source',
  project: '--project',
  tier: '--tier',
  models: '--models',
  'labels name': '--label',
  labels: '--label',
  max_concurrent_leases: '--max-concurrent-leases',
  new_api_key: 'KEY',
  file: 'FILE',
  path: 'FILE',
  address: '--address',
  dataDir: '--data-dir',
  model: '--model',
  parallelism: '--parallelism',
  models_page_size: '--page-size',
  timeout: '--timeout',
  key_id: 'KEY_ID',
  key_ids: 'KEY_ID',
  lease_ref: 'REF',
  'pool.pool': 'NAME',
  'pool.default_lease_ttl': '--default-lease-ttl',
  'pool.max_lease_ttl': '--max-lease-ttl',
  'pool.description': '--description',
  'quota.project': 'PROJECT',
  'quota.model': '--model',
  'quota.requests_per_minute.value': '--requests-per-minute',
  'quota.input_tokens_per_minute.value': '--input-tokens-per-minute',
  'quota.requests_per_day.value': '--requests-per-day',
  'quota.tokens_per_day.value': '--tokens-per-day',
};

/** Such as `key.source is "a\0b"; allowed: ...`, `api_key is "empty"; ...`, or `key_ids[0] names no key`. */
const FIELD_FIRST = /^(?:key\.)?([A-Za-z_.]+(?: name)?)(?:\[[^\]]*\])? (?=is |names )/;

/** A refusal of a field of a file's line: its names are the file's own, but for the key's. */
export function inFileWords(message: string): string {
  return message.replace(/^api_key is "([^"]*)"/, 'the key is $1');
}

/** A refusal of a field in the words of the command line; a message of another form stays as it is. */
export function inCommandWords(message: string): string {
  const word = WORDS[FIELD_FIRST.exec(message)?.[1] ?? ''];
  if (word === undefined) return message;
  const rest = message.replace(FIELD_FIRST, '');
  // Of a key the server never quotes the value, but says what is wrong with it.
  return `${word} ${word === 'KEY' ? rest.replace(/^is "([^"]*)"/, 'is $1') : rest}`;
}
