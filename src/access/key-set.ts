/**
 * The keys behind a JWKS URL.
 *
 * - A set is good if it came with status 200, has at most SET_BYTES_MAX bytes, and at least one key
 *   that checks signatures. Other entries are ignored. A good set replaces the last one: a key that
 *   the new set lacks is gone.
 * - After any other answer (an empty set, a web page, an error), or without one, the last good set
 *   stays in force, until `keepMsMax` after it was requested. Then tokens cannot be checked until a
 *   good set arrives.
 * - The set is requested again when it is older than `ageMsMax`, and when a token names an unknown
 *   key.
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import {
  createLocalJWKSet,
  errors,
  type FlattenedJWSInput,
  type JWK,
  type JWSHeaderParameters,
  type JWTVerifyGetKey,
} from 'jose';

export interface KeySetOptions {
  /** Minimum time between two fetches caused by tokens that name an unknown key, in ms. */
  readonly cooldownMs?: number;
  /** How long one request may take, including its body, in ms. */
  readonly timeoutMs?: number;
  /** Maximum age of a set before it is fetched again, in ms. */
  readonly ageMsMax?: number;
  /** How long a good set stays in force without a newer one, in ms. */
  readonly keepMsMax?: number;
  /** ms since 1970. */
  readonly now?: () => number;
  /** Called after each request of the URL: it returned a good set, or failed with `error`. */
  readonly onAsked?: (error?: Error) => void;
}

type LocalKeys = ReturnType<typeof createLocalJWKSet>;

/** Maximum bytes of a key set, after decompression. */
const SET_BYTES_MAX = 1_000_000;
/** Maximum keys used from a set: a token without a key id is tried with each. */
const KEYS_MAX = 100;
/** How long after a failed request the next one is made, if a set is known, in ms. */
const RETRY_MS = 30_000;
/** Minimum bits of an RSA key, as jose requires. */
const RSA_BITS_MIN = 2_048;

/**
 * Measures elapsed time as the larger of two clocks: the monotonic clock stands still while the
 * machine sleeps, and the wall clock may be set back.
 */
class Stopwatch {
  readonly #now: () => number;
  #wallAt = 0;
  #monotonicAt = 0;

  constructor(now: () => number) {
    this.#now = now;
    this.restart();
  }

  restart(): void {
    this.#wallAt = this.#now();
    this.#monotonicAt = performance.now();
  }

  get elapsedMs(): number {
    return Math.max(this.#now() - this.#wallAt, performance.now() - this.#monotonicAt);
  }
}

export class RemoteKeySet {
  readonly #url: string;
  readonly #options: Required<KeySetOptions>;
  readonly #algorithmsOf: (key: KeyObject) => readonly string[] | undefined;
  /** Time since the last good set was requested. */
  readonly #age: Stopwatch;
  /** Time since the last request. */
  readonly #tried: Stopwatch;
  #keys: LocalKeys | undefined;
  /** Number of good sets that have arrived. */
  #version = 0;
  #failure: Error | undefined;
  #fetching: Promise<void> | undefined;

  /** `algorithmsOf` returns the signature algorithms that a key can check. Undefined: none. */
  constructor(
    url: string,
    algorithmsOf: (key: KeyObject) => readonly string[] | undefined,
    options: KeySetOptions = {},
  ) {
    this.#url = url;
    this.#options = {
      cooldownMs: 10_000,
      timeoutMs: 5_000,
      ageMsMax: 600_000,
      keepMsMax: 86_400_000,
      now: Date.now,
      onAsked: () => {},
      ...options,
    };
    this.#algorithmsOf = algorithmsOf;
    this.#age = new Stopwatch(this.#options.now);
    this.#tried = new Stopwatch(this.#options.now);
  }

  /** Changes with each good set. Undefined: the set must be requested again. */
  get version(): number | undefined {
    return this.#keys !== undefined && this.#age.elapsedMs <= this.#options.ageMsMax ? this.#version : undefined;
  }

  readonly find: JWTVerifyGetKey = async (header, token) => {
    await this.#refresh();
    try {
      return await this.#match(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      if (this.#tried.elapsedMs >= this.#options.cooldownMs) {
        await this.#fetch();
        return this.#match(header, token);
      }
      // The key server's current answer is unknown.
      throw this.#failure ?? error;
    }
  };

  async #match(header: JWSHeaderParameters, token: FlattenedJWSInput) {
    if (this.#keys === undefined) throw this.#failure ?? new Error('Snö has not asked the key server yet');
    try {
      return await this.#keys(header, token);
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey && this.#failure !== undefined) throw this.#failure;
      throw error;
    }
  }

  /**
   * Fetches the set if that is due. If the known key server fails, it is retried in the background,
   * so that no client waits for it.
   */
  async #refresh(): Promise<void> {
    const { ageMsMax, keepMsMax } = this.#options;
    if (this.#keys !== undefined && this.#age.elapsedMs > keepMsMax) this.#keys = undefined;
    if (this.#keys === undefined) await this.#fetch();
    else if (this.#age.elapsedMs <= ageMsMax) return;
    else if (this.#failure === undefined) await this.#fetch();
    else if (this.#tried.elapsedMs > RETRY_MS) void this.#fetch();
  }

  /** Never rejects. One request at a time. */
  #fetch(): Promise<void> {
    this.#fetching ??= this.#ask().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #ask(): Promise<void> {
    const { timeoutMs, onAsked } = this.#options;
    this.#tried.restart();
    try {
      const signal = AbortSignal.timeout(timeoutMs);
      const headers = { accept: 'application/json, application/jwk-set+json' };
      const response = await fetch(this.#url, { signal, headers, redirect: 'manual' });
      if (response.status !== 200) {
        await response.body?.cancel();
        throw new Error(`it answered with status ${response.status}`);
      }
      this.#keys = createLocalJWKSet({ keys: this.#goodKeys(await textOf(response)) });
      this.#version++;
      this.#age.restart();
      this.#failure = undefined;
    } catch (error) {
      this.#failure = error as Error;
    }
    onAsked(this.#failure);
  }

  /** Throws if the set is not good. */
  #goodKeys(text: string): JWK[] {
    let set: unknown;
    try {
      set = JSON.parse(text);
    } catch {
      throw new Error('its answer is not JSON');
    }
    const keys = (set as { readonly keys?: unknown } | null)?.keys;
    if (!Array.isArray(keys)) throw new Error('its answer is not a key set (JWKS)');
    const good = keys.filter((key) => this.#isGood(key)).slice(0, KEYS_MAX);
    if (good.length === 0) throw new Error(`none of its ${keys.length} keys verifies signatures`);
    return good;
  }

  /** Whether the entry is a public key that checks signatures. */
  #isGood(key: unknown): key is JWK {
    if (typeof key !== 'object' || key === null || Array.isArray(key)) return false;
    const { kty, use, alg, d, key_ops: operations } = key as JWK;
    if (kty === 'oct' || d !== undefined || (use !== undefined && use !== 'sig')) return false;
    if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) return false;
    try {
      const parsed = createPublicKey({ key: key as never, format: 'jwk' });
      const bits = parsed.asymmetricKeyDetails?.modulusLength;
      if (bits !== undefined && bits < RSA_BITS_MIN) return false;
      const algorithms = this.#algorithmsOf(parsed);
      return algorithms !== undefined && (alg === undefined || algorithms.includes(alg));
    } catch {
      return false;
    }
  }
}

/** Throws if the body is longer than SET_BYTES_MAX, or breaks off. */
async function textOf({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    // Leaving the loop cancels the request.
    if (bytes > SET_BYTES_MAX) throw new Error(`its answer is longer than ${SET_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return new TextDecoder().decode(Buffer.concat(chunks));
}
