import { createHash } from 'node:crypto';

/** A short text that differs whenever the value's JSON does. */
export function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('base64');
}
