import { createRequire } from 'node:module';

// By the package's own name: an import by path would leave a copy of the manifest in dist/.
const manifest = createRequire(import.meta.url)('keybalancer/package.json') as { version: string };

export const VERSION: string = manifest.version;
