/** What the SDK reads while it makes a client. Each would change who is called, with which key, or print a warning. */
const READ_BY_SDK = [
  'GOOGLE_API_KEY',
  'GEMINI_API_KEY',
  'GOOGLE_GENAI_USE_VERTEXAI',
  'GOOGLE_GENAI_USE_ENTERPRISE',
  'GOOGLE_CLOUD_PROJECT',
  'GOOGLE_CLOUD_LOCATION',
  'GOOGLE_GENAI_API_VERSION',
  'GOOGLE_VERTEX_BASE_URL',
  'GOOGLE_GEMINI_BASE_URL',
];

/** Runs `make`, which does not wait for anything, as if those variables were not set. */
export function inPlainEnvironment<T>(make: () => T): T {
  const hidden = READ_BY_SDK.filter((name) => process.env[name] !== undefined).map((name) => [
    name,
    process.env[name]!,
  ]);
  for (const [name] of hidden) delete process.env[name!];
  try {
    return make();
  } finally {
    for (const [name, value] of hidden) process.env[name!] = value!;
  }
}
