import { createHash } from 'node:crypto';

/** The SHA-256 of the value's JSON, in base64. */
export function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('base64');
}
