/**
 * Remembers tokens whose signature has been verified, so that clients that reconnect together need
 * no new verification. The times in the claims are not checked here. Only digests of tokens are
 * kept.
 */
import { createHash } from 'node:crypto';
import type { Claims } from './access.ts';

/** Maximum bytes of all remembered tokens together. Their claims take a few times as much. */
const BYTES_MAX = 2 * 1024 ** 2;

interface Verified<Key> {
  readonly claims: Claims;
  readonly key: Key;
  /** The version of the key when it verified the token. */
  readonly version: number;
  readonly bytes: number;
}

export class VerifiedTokens<Key> {
  readonly #bytesMax: number;
  /** By digest, the least recently used first. */
  readonly #tokens = new Map<string, Verified<Key>>();
  #bytes = 0;

  constructor(bytesMax = BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  get(token: string): Verified<Key> | undefined {
    const digest = digestOf(token);
    const found = this.#tokens.get(digest);
    if (found === undefined) return undefined;
    this.#tokens.delete(digest);
    this.#tokens.set(digest, found);
    return found;
  }

  keep(token: string, key: Key, version: number, claims: Claims): void {
    this.delete(token);
    const { length: bytes } = token;
    this.#tokens.set(digestOf(token), { claims, key, version, bytes });
    this.#bytes += bytes;
    for (const [digest, oldest] of this.#tokens) {
      if (this.#bytes <= this.#bytesMax) return;
      this.#tokens.delete(digest);
      this.#bytes -= oldest.bytes;
    }
  }

  delete(token: string): void {
    const digest = digestOf(token);
    this.#bytes -= this.#tokens.get(digest)?.bytes ?? 0;
    this.#tokens.delete(digest);
  }
}

function digestOf(token: string): string {
  return createHash('sha256').update(token).digest('base64');
}
