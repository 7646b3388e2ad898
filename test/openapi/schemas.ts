import { readFileSync } from 'node:fs';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { OPENAPI } from '../../scripts/openapi.ts';

interface Operation {
  operationId: string;
  requestBody?: { content: Record<string, { schema: { $ref: string } }> };
  responses: Record<string, { content?: Record<string, { schema: { $ref: string } }> }>;
}

export interface Document {
  paths: Record<string, { post?: Operation; get?: Operation }>;
  components: { schemas: Record<string, object> };
}

export const document = JSON.parse(readFileSync(OPENAPI, 'utf8')) as Document;

/** Stricter than the document, which leaves room for what is to come: here a field that it does not have is an error. */
const ajv = new Ajv2020({ strict: true, strictTypes: false, allErrors: true });
addFormats.default(ajv);
// For people, not for a validator; int64 is a string here, which its pattern checks.
for (const format of ['password', 'int64', 'uint64']) ajv.addFormat(format, true);
for (const keyword of ['components']) ajv.addKeyword(keyword);
ajv.addSchema(closed({ components: { schemas: document.components.schemas } }) as object, 'openapi');

/** What is wrong with a value, by a schema of `components`; "": nothing. */
export function wrong(schema: string, value: unknown): string {
  return problems({ $ref: `openapi#/components/schemas/${schema}` }, value);
}

/** The same by a schema in the document. */
export function problems(schema: { $ref: string } | object, value: unknown): string {
  const key = JSON.stringify(schema);
  const validate = validators.get(key) ?? ajv.compile(absolute(schema));
  validators.set(key, validate);
  return validate(value) ? '' : ajv.errorsText(validate.errors, { separator: '\n' });
}

const validators = new Map<string, ValidateFunction>();

function absolute(schema: object): object {
  return JSON.parse(JSON.stringify(closed(schema)).replaceAll('"#/components', '"openapi#/components')) as object;
}

function closed(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(closed);
  if (typeof node !== 'object' || node === null) return node;
  const copy = Object.fromEntries(Object.entries(node).map(([name, value]) => [name, closed(value)]));
  const isObject = copy.type === 'object' && 'properties' in copy && !('additionalProperties' in copy);
  return isObject ? { ...copy, additionalProperties: false } : copy;
}
